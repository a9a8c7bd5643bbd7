//! From configuration to what each part is given.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::actors::spending::SpendingRules;
use crate::actors::{ActionCalls, HubSettings, Reload, WorkerKit};
use crate::config::{Busy, Config, ConfigError, Live, LlmApi, Request};
use crate::domain::action;
use crate::domain::agent::{AgentProfile, BusyPolicy};
use crate::domain::skill::{self, Skill};
use crate::domain::tool_call::ToolPolicy;
use crate::error::Fault;
use crate::fanout::{HomeRules, Pool, PresenceRules, RingLimits};
use crate::limits::Limits;
use crate::providers::{ApiSettings, DemoSettings, ProviderSettings, Providers, TransportSettings, http};
use crate::telemetry;
use crate::tools::http_call::{BodyKind, CallSettings, HttpCall};
use crate::tools::http_tool::{HttpTool, HttpToolSettings};
use crate::tools::mcp::{self, Reach, ServerSettings, Servers};
use crate::tools::{HttpFetchSettings, ToolSettings, Tools};
use crate::transport::SocketLimits;
use crate::tuning::Tuning;

/// Bytes of what is known of an entity; the rest is cut off.
const CONTEXT_BYTES: usize = 64 << 10;

/// Bytes of one conversation's ring.
const SESSION_RING: usize = 256 << 10;

/// An idle conversation that nobody watches leaves memory after this.
const REST_AFTER: Duration = Duration::from_secs(300);

/// Fails where a budget makes no sense, which the configuration was checked for.
pub fn hub(config: &Config) -> Result<HubSettings, ConfigError> {
    let limits = &config.limits;
    let channels = &config.channels;
    let spending = SpendingRules {
        budgets: config.budget_rules()?,
        answer_tokens: config.spending.answer_tokens,
        refuse_unpriced: config.spending.refuse_unpriced,
    };
    let presence = PresenceRules { told: channels.presence_kinds(), named: channels.presence_members };
    let session_ring = RingLimits {
        events: limits.ring_events,
        bytes: SESSION_RING.min(limits.ring_bytes),
        age: 0,
        total_bytes: limits.ring_bytes,
        pool: Pool::Conversations,
    };
    let channel_ring = RingLimits {
        events: channels.history_events,
        bytes: channels.history_bytes,
        age: millis(channels.history_seconds),
        total_bytes: channels.total_bytes,
        pool: Pool::Channels,
    };
    let (skills, left_out) = crate::skills::read(&config.skills_folder());
    for sentence in left_out {
        tracing::warn!("{sentence}");
    }
    Ok(HubSettings {
        agents: agents(config, &skills),
        approval_timeout: millis(config.approvals.timeout_seconds),
        approval_grace: millis(config.approvals.grace_seconds),
        queue_turns: limits.queue_turns,
        steps_per_turn: u16::try_from(limits.steps_per_turn).unwrap_or(u16::MAX),
        session_home: HomeRules { ring: session_ring, presence },
        channel_home: HomeRules { ring: channel_ring, presence },
        rest_after: REST_AFTER.as_millis() as i64,
        subscriptions: limits.subscriptions,
        requests_in_flight: limits.requests_in_flight,
        message_bytes: limits.message_bytes,
        spending: Arc::new(spending),
        routing: Arc::new(config.routing_rules()?),
        context: config.context_rules(),
        templates: config.templates(),
        actions: config.action_rules()?.into_iter().map(Arc::new).collect(),
        skills,
        skill_time: Duration::from_secs(config.skills.time_seconds),
        tools_at_once: limits.tools_at_once,
        tool_book: config.tool_book()?,
    })
}

/// What follows where the configuration is changed while the hub runs, for all workers.
pub fn apply(limits: Arc<Limits>, settings: Live<HubSettings>) -> impl Fn(&Config) + Send + Sync {
    move |config| {
        limits.set(&config.limits);
        match hub(config) {
            Ok(fresh) => settings.set(Arc::new(fresh)),
            Err(error) => {
                tracing::error!(error = error.0, "the changed configuration does not reach the conversations")
            }
        }
        telemetry::set_level(config.log.level);
    }
}

/// How the administration has the configuration read once more.
pub fn reload(tuning: Arc<Tuning>) -> Reload {
    Arc::new(move || {
        let tuning = tuning.clone();
        Box::pin(async move { tuning.reload().await })
    })
}

fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX)
}

fn agents(config: &Config, skills: &[Arc<Skill>]) -> Vec<Arc<AgentProfile>> {
    let profile = |(name, agent): (&String, &crate::config::Agent)| {
        Arc::new(AgentProfile {
            name: name.clone(),
            description: agent.description.clone(),
            provider: config.provider_of(agent).to_owned(),
            model: config.model_of(agent).to_owned(),
            system: Some(agent.system.clone()).filter(|text| !text.is_empty()),
            tools: tools_of(config, agent, skills),
            busy: match agent.busy {
                Busy::Queue => BusyPolicy::Queue,
                Busy::Interrupt => BusyPolicy::Interrupt,
                Busy::Reject => BusyPolicy::Reject,
            },
            entity_types: agent.entity_types.clone(),
            suggested_prompts: agent.suggested_prompts.clone(),
            routing: agent.routing,
            default: name == Config::DEFAULT_AGENT,
        })
    };
    config.agents.iter().map(profile).collect()
}

/// The tools of an agent with their policies; `action_*` and `skill_*` are all of them. A policy that is set for a tool
/// by its name beats the one of its kind.
fn tools_of(config: &Config, agent: &crate::config::Agent, skills: &[Arc<Skill>]) -> Vec<(String, ToolPolicy)> {
    let set = |tool: &str| config.tools.get(tool).and_then(|tool| tool.policy);
    let actions = || config.actions.iter().map(|(id, action)| (format!("{}{id}", action::TOOL), action.policy));
    let skills = || skills.iter().map(|skill| (skill.tool_name(), ToolPolicy::Allow));
    let mut all: Vec<(String, ToolPolicy)> = Vec::new();
    for named in &agent.tools {
        let meant: Vec<(String, ToolPolicy)> = match named.strip_suffix('*') {
            Some(action::TOOL) => actions().collect(),
            Some(skill::TOOL) => skills().collect(),
            _ => match actions().chain(skills()).find(|(tool, _)| tool == named) {
                Some(known) => vec![known],
                None => vec![(named.clone(), ToolPolicy::Ask)],
            },
        };
        for (tool, policy) in meant {
            if !all.iter().any(|(known, _)| *known == tool) {
                let policy = set(&tool).unwrap_or(policy);
                all.push((tool, policy));
            }
        }
    }
    all
}

/// How often the sessions of another application are asked about that sockets are open with: what is remembered of
/// them is never much older than it may be, and the other side is not asked all the time.
pub fn foreign_pace(config: &Config) -> Option<Duration> {
    let auth = &config.auth;
    (!auth.session_url.is_empty()).then(|| Duration::from_secs((auth.session.seconds / 2).clamp(5, 30)))
}

/// The MCP servers.
pub fn mcp(config: &Config) -> Vec<ServerSettings> {
    let one = |(name, server): (&String, &crate::config::Mcp)| {
        let reach = match server.command.split_first() {
            Some((program, arguments)) => Reach::Program {
                program: program.clone(),
                arguments: arguments.to_vec(),
                directory: server.directory.clone(),
                environment: server.environment(),
                kill_on_abort: server.kill_on_abort,
            },
            None => Reach::Http {
                url: server.url.clone(),
                bearer: Some(server.bearer.clone()).filter(|bearer| !bearer.expose_secret().is_empty()),
            },
        };
        ServerSettings {
            name: name.clone(),
            reach,
            organizations: server.organizations(),
            connect_time: server.connect_time(),
        }
    };
    config.mcp.iter().map(one).collect()
}

/// What a worker builds for itself.
pub fn kit(config: &Config, servers: &Arc<Servers>) -> Result<WorkerKit, Fault> {
    let from = &config.providers;
    let transport = TransportSettings {
        connect_timeout: Duration::from_secs(from.connect_seconds),
        head_timeout: Duration::from_secs(from.first_token_seconds),
        idle_timeout: Duration::from_secs(from.idle_seconds),
        ..TransportSettings::default()
    };
    let mut transport = transport;
    transport.retry.attempts = from.retries.saturating_add(1);
    let known = |provider: &str| config.spending.table.get(provider).cloned().unwrap_or_default();
    let api = |name: &str, api: &LlmApi| ApiSettings {
        base_url: api.base_url.clone(),
        api_key: Some(api.api_key.clone()).filter(|key| !key.expose_secret().is_empty()),
        model: api.model.clone(),
        models: known(name),
        transport: transport.clone(),
    };
    let demo = DemoSettings { interval: Duration::from_millis(from.demo.word_interval_ms) };
    let mut list = vec![("demo".to_owned(), ProviderSettings::Demo(demo))];
    if from.openai.configured {
        list.push(("openai".to_owned(), ProviderSettings::OpenAi(api("openai", &from.openai))));
    }
    if from.anthropic.configured {
        list.push(("anthropic".to_owned(), ProviderSettings::Anthropic(api("anthropic", &from.anthropic))));
    }
    let mut fetch = HttpFetchSettings::default();
    if let Some(tool) = config.tools.get("http_fetch") {
        fetch.hosts = tool.allow_hosts.clone();
        fetch.allow_private = tool.allow_private.clone();
    }
    let tls = http::tls(&[])?;
    let mut tools = Tools::build(&ToolSettings { http_fetch: fetch, tls: tls.clone() })?;
    for (name, tool) in config.tools.iter().filter(|(_, tool)| tool.is_http()) {
        let settings = HttpToolSettings {
            name: name.clone(),
            description: tool.description.clone(),
            input_schema: tool.input_schema.clone(),
            request: call(&tool.request, &tool.allow_private, (tool.time_seconds, tool.max_bytes))
                .ok_or_else(|| Fault::field(&format!("tools.{name}.request.body_kind"), BODY_KINDS))?,
        };
        tools.add(HttpTool::new(&settings, &secret, tls.clone())?.boxed())?;
    }
    tools.add_source(Rc::new(mcp::Source(servers.clone())));
    Ok(WorkerKit {
        providers: Providers::build(&list)?,
        tools,
        calls: calls(config, &tls)?,
        contexts: contexts(config, &tls)?,
    })
}

const BODY_KINDS: &str = "must be one of json, form, text";

/// A secret of the environment.
fn secret(name: &str) -> Option<SecretString> {
    std::env::var(name).ok().map(Into::into)
}

fn call(request: &Request, private: &[String], (seconds, max_bytes): (u64, usize)) -> Option<CallSettings> {
    let kind = BodyKind::ALL.iter().find(|(word, _)| *word == request.body_kind);
    Some(CallSettings {
        method: request.method.clone(),
        url: request.url.clone(),
        headers: request.headers.clone(),
        body: request.body.clone(),
        body_kind: kind.map(|(_, kind)| *kind)?,
        allow_private: private.to_vec(),
        time_limit: Duration::from_secs(seconds),
        max_bytes,
    })
}

/// How what agents know of entities is asked for.
fn contexts(
    config: &Config,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<std::collections::BTreeMap<String, HttpCall>, Fault> {
    let private = config.tools.get("http_fetch").map(|tool| tool.allow_private.clone()).unwrap_or_default();
    let asked = config.agents.iter().filter(|(_, agent)| !agent.context_url.is_empty());
    let call = |(name, agent): (&String, &crate::config::Agent)| {
        let url =
            agent.context_url.replace("{{entityType}}", "{{entity.type}}").replace("{{entityId}}", "{{entity.id}}");
        let settings = CallSettings {
            method: "GET".to_owned(),
            url,
            headers: agent.context_headers.clone(),
            allow_private: private.clone(),
            time_limit: Duration::from_secs(agent.context_seconds),
            max_bytes: CONTEXT_BYTES,
            ..CallSettings::default()
        };
        let call = HttpCall::new(&format!("agents.{name}.context"), &settings, &secret, tls.clone()).map_err(
            |mut fault| {
                // The keys of such a request are the agent's own, in one word.
                fault.message = fault.message.replace(".context.", ".context_");
                fault
            },
        )?;
        Ok((name.clone(), call))
    };
    asked.map(call).collect()
}

/// The requests of the actions that are somebody's endpoint.
fn calls(
    config: &Config,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<std::collections::BTreeMap<String, Rc<ActionCalls>>, Fault> {
    let mut all = std::collections::BTreeMap::new();
    for (id, action) in config.actions.iter().filter(|(_, action)| action.kind == "http") {
        let one = |part: &str, request: &Request| {
            let key = format!("actions.{id}.{part}");
            let bounds = (action.time_seconds, action.max_bytes);
            let settings = call(request, &action.allow_private, bounds)
                .ok_or_else(|| Fault::field(&format!("{key}.body_kind"), BODY_KINDS))?;
            HttpCall::new(&key, &settings, &secret, tls.clone())
        };
        let maybe = |part: &str, request: &Request| match request.url.is_empty() {
            true => Ok(None),
            false => one(part, request).map(Some),
        };
        let calls = ActionCalls {
            execute: one("execute", &action.execute)?,
            preview: maybe("preview", &action.preview)?,
            undo: maybe("undo", &action.undo)?,
        };
        all.insert(id.clone(), Rc::new(calls));
    }
    Ok(all)
}

pub fn sockets(config: &Config) -> SocketLimits {
    let limits = &config.limits;
    SocketLimits {
        frame_bytes: limits.frame_bytes,
        soft_bytes: limits.soft_queue_bytes,
        hard_bytes: limits.hard_queue_bytes,
        ping_interval: Duration::from_secs(limits.ping_seconds),
        pong_timeout: Duration::from_secs(limits.pong_seconds),
        write_stall: Duration::from_secs(limits.stall_seconds),
        send_buffer: limits.send_buffer_bytes,
        ..SocketLimits::default()
    }
}

//! From configuration to what each part is given.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use crate::actors::spending::SpendingRules;
use crate::actors::{HubSettings, Reload, WorkerKit};
use crate::config::{Busy, Config, ConfigError, Live, LlmApi};
use crate::domain::agent::{AgentProfile, BusyPolicy};
use crate::domain::tool_call::ToolPolicy;
use crate::error::Fault;
use crate::fanout::{HomeRules, Pool, PresenceRules, RingLimits};
use crate::limits::Limits;
use crate::providers::{ApiSettings, DemoSettings, ProviderSettings, Providers, TransportSettings, http};
use crate::telemetry;
use crate::tools::mcp::{self, Reach, ServerSettings, Servers};
use crate::tools::{HttpFetchSettings, ToolSettings, Tools};
use crate::transport::SocketLimits;
use crate::tuning::Tuning;

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
    Ok(HubSettings {
        agents: agents(config),
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

fn agents(config: &Config) -> Vec<Arc<AgentProfile>> {
    let policy = |name: &str| config.tools.get(name).and_then(|tool| tool.policy).unwrap_or(ToolPolicy::Ask);
    let profile = |(name, agent): (&String, &crate::config::Agent)| {
        Arc::new(AgentProfile {
            name: name.clone(),
            description: agent.description.clone(),
            provider: config.provider_of(agent).to_owned(),
            model: config.model_of(agent).to_owned(),
            system: Some(agent.system.clone()).filter(|text| !text.is_empty()),
            tools: agent.tools.iter().map(|tool| (tool.clone(), policy(tool))).collect(),
            busy: match agent.busy {
                Busy::Queue => BusyPolicy::Queue,
                Busy::Interrupt => BusyPolicy::Interrupt,
                Busy::Reject => BusyPolicy::Reject,
            },
            default: name == Config::DEFAULT_AGENT,
        })
    };
    config.agents.iter().map(profile).collect()
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
    let mut tools = Tools::build(&ToolSettings { http_fetch: fetch, tls: http::tls(&[])? })?;
    tools.add_source(Rc::new(mcp::Source(servers.clone())));
    Ok(WorkerKit { providers: Providers::build(&list)?, tools })
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

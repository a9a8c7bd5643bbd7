//! Slash commands carried out, each by the commands of the hub that it stands for: who may not ask for those may not by
//! this way either.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;
use crate::actors::catalog;
use crate::domain::admin::AdminCommand;
use crate::domain::command::{Explanation, NewMessage, RoutingQuestion, Status};
use crate::domain::conversation::{SettingsChange, StopKind};
use crate::domain::generation::ThinkingLevel;
use crate::domain::policy::Access;
use crate::domain::routing::{Question as Asked, Wishes};
use crate::domain::settings::{Todo, TodoState};
use crate::domain::slash::{Builtin, CommandManifest, CommandResult, Completions, Line, Scope, manifest};
use crate::domain::usage::Usage;

/// The longest name of a model, in bytes.
const NAME: usize = 512;
/// Todos of a conversation.
const TODOS: usize = 500;

/// What a command says: for a human, and for a program.
type Said = Result<(String, Option<Value>), Fault>;

fn said(message: impl Into<String>) -> Said {
    Ok((message.into(), None))
}

impl LocalHub {
    pub(super) fn manifest(&self, caller: &Caller) -> CommandManifest {
        let settings = self.shared.settings.get();
        let agents = settings.agents.iter().map(|agent| agent.name.clone()).collect();
        let known = Completions { models: catalog().names(), agents };
        manifest(&settings.templates, &known, caller.principal.hub_admin)
    }

    /// Carries out a command in a conversation that the caller may change.
    ///
    /// # Errors
    /// Those of the conversation, and of a line that cannot be read. What goes wrong within a command is its result.
    pub(super) async fn execute(
        self,
        caller: Caller,
        name: SessionName,
        command: &str,
        args: Option<&str>,
    ) -> Result<CommandResult, Fault> {
        let line = Line::read(command, args)?;
        let id = session_named(&self, &caller, name).await?;
        match self.ask(caller.clone(), id, SessionCommand::Get).await? {
            Reply::Session(row, _) => policy::conversation(&caller.principal, &row, Access::Steer)?,
            _ => return Err(Fault::plain(Code::Internal)),
        }
        let templates = self.shared.settings.get().templates.clone();
        let at = At { hub: self, caller, id };
        let (command, outcome) = match (line.builtin(), line.template(&templates)) {
            (Some(builtin), _) => (builtin.name().to_owned(), at.builtin(builtin, &line).await),
            (None, Some(template)) => (template.name.clone(), at.send(template.filled(&line.rest)).await),
            (None, None) => {
                let why = format!("there is no command /{}; /help shows which there are", line.name);
                (line.name.clone(), Err(Fault::new(Code::BadRequest, why)))
            }
        };
        Ok(match outcome {
            Ok((message, data)) => CommandResult { command, success: true, message, data },
            Err(fault) => {
                let mut data = json!({ "code": fault.code.name() });
                if let Some(details) = fault.details {
                    data["details"] = details;
                }
                CommandResult { command, success: false, message: fault.message, data: Some(data) }
            }
        })
    }

    /// Who would answer that message of the caller's, and what each rule says of it. Nothing is sent.
    pub(super) async fn explain(&self, caller: Caller, question: RoutingQuestion) -> Result<Reply, Fault> {
        let settings = self.shared.settings.get();
        let row = match question.session {
            None => None,
            Some(name) => match self.ask_named(caller.clone(), name, SessionCommand::Get).await? {
                Reply::Session(row, _) => Some(row),
                _ => return Err(Fault::plain(Code::Internal)),
            },
        };
        let named = question.agent.as_deref().or(row.as_ref().map(|row| row.agent.as_str()));
        let agent = match named {
            // An agent that is gone is stood in for, but not one that is asked for.
            Some(name) if question.agent.is_some() => {
                settings.agent(name).ok_or_else(|| Fault::field("agent", "no such agent"))?
            }
            Some(name) => settings.agent(name).or(settings.default_agent()).ok_or_else(no_agent)?,
            None => settings.default_agent().ok_or_else(no_agent)?,
        };
        let tags = question.tags.or_else(|| row.as_ref().map(|row| row.tags.clone())).unwrap_or_default();
        let asked = Asked {
            content: &question.content,
            attachments: question.attachments,
            agent: &agent.name,
            user: &caller.principal.user,
            organization: &caller.principal.organization,
            tags: &tags,
        };
        let decided = settings.routing.decide(&asked).filter(|_| agent.routing);
        let choice = catalog().choose(Wishes {
            message: question.model.as_deref(),
            conversation: row.as_ref().and_then(|row| row.model.as_deref()),
            decided: decided.as_ref(),
            agent: (&agent.provider, &agent.model),
        });
        let rules = if agent.routing { settings.routing.explain(&asked) } else { Vec::new() };
        let fallback = settings.routing.fallback.clone();
        Ok(Reply::Explained(Box::new(Explanation { agent: agent.name.clone(), choice, rules, fallback })))
    }
}

fn no_agent() -> Fault {
    Fault::unavailable("no agent is configured")
}

/// A conversation, and who is there.
struct At {
    hub: LocalHub,
    caller: Caller,
    id: ConversationId,
}

impl At {
    /// Asks the hub as if the caller had, in every respect.
    async fn ask(&self, command: Command) -> Result<Reply, Fault> {
        self.hub.call(self.caller.clone(), command).await
    }

    async fn session(&self, command: SessionCommand) -> Result<Reply, Fault> {
        self.ask(Command::Session(self.id.into(), command)).await
    }

    async fn builtin(&self, builtin: Builtin, line: &Line) -> Said {
        match builtin {
            Builtin::Model => self.model(line).await,
            Builtin::Thinking => self.thinking(line).await,
            Builtin::Agent => self.agent(line).await,
            Builtin::Stop => self.stop(StopKind::Stop).await,
            Builtin::Abort => self.stop(StopKind::Abort).await,
            Builtin::Retry => {
                let retry = SessionCommand::Retry { turn: None, model: None, once: None };
                self.sent(retry, "the newest message is answered once more").await
            }
            Builtin::Clear => {
                self.session(SessionCommand::Clear).await?;
                said("a new context begins; what was said before stays stored")
            }
            Builtin::Compact => {
                self.session(SessionCommand::Compact).await?;
                let status = self.status().await?;
                said(format!("a summary stands in the place of what was said before; {}", fullness(&status)))
            }
            Builtin::Todo => self.todo(line).await,
            Builtin::Status => self.show_status().await,
            Builtin::Usage => self.usage(line).await,
            Builtin::Help => self.help(line),
            Builtin::Reload => {
                let reload = Command::Admin(self.caller.principal.organization.clone(), Box::new(AdminCommand::Reload));
                self.ask(reload).await?;
                said("the configuration was read once more")
            }
        }
    }

    async fn status(&self) -> Result<Status, Fault> {
        match self.session(SessionCommand::Status).await? {
            Reply::Status(status) => Ok(*status),
            _ => Err(Fault::plain(Code::Internal)),
        }
    }

    async fn change(&self, change: SettingsChange) -> Result<Status, Fault> {
        self.session(SessionCommand::Change(change)).await?;
        self.status().await
    }

    async fn model(&self, line: &Line) -> Said {
        let wish = line.from(0);
        if wish.len() > NAME {
            return Err(Fault::field("model", format!("at most {NAME} bytes")));
        }
        let clears = ["clear", "auto", "default"].contains(&wish.to_lowercase().as_str());
        let status = match wish.is_empty() {
            true => self.status().await?,
            false => {
                let model = Some(Some(wish).filter(|_| !clears));
                self.change(SettingsChange { model, ..SettingsChange::default() }).await?
            }
        };
        let by = match status.chosen {
            true => "chosen for this conversation",
            false if status.info.routing.is_some() => "chosen by a routing rule",
            false => "the agent's, unless a routing rule chooses another one",
        };
        let data = info(&status);
        Ok((format!("{}/{}: {by}", status.info.provider, status.info.model), Some(data)))
    }

    async fn thinking(&self, line: &Line) -> Said {
        let status = match line.word(0) {
            None => self.status().await?,
            Some(word) => {
                let levels = self.status().await?.info.levels;
                let level = ThinkingLevel::parse(&word.to_lowercase()).filter(|level| levels.contains(level));
                let names = levels.iter().map(|level| level.name()).collect::<Vec<_>>().join(", ");
                let unknown = || Fault::field("level", format!("{word:?} is not one of {names}"));
                let thinking = Some(level.ok_or_else(unknown)?);
                self.change(SettingsChange { thinking, ..SettingsChange::default() }).await?
            }
        };
        let names = status.info.levels.iter().map(|level| level.name()).collect::<Vec<_>>().join(", ");
        Ok((format!("thinking: {} (of {names})", status.info.thinking.name()), Some(info(&status))))
    }

    async fn agent(&self, line: &Line) -> Said {
        let status = match line.word(0) {
            None => self.status().await?,
            Some(name) => {
                let agent = Some(name.to_owned());
                self.change(SettingsChange { agent, ..SettingsChange::default() }).await?
            }
        };
        let Reply::Agents(agents) = self.ask(Command::AgentList).await? else {
            return Err(Fault::plain(Code::Internal));
        };
        let names = agents.iter().map(|agent| agent.name.as_str()).collect::<Vec<_>>().join(", ");
        Ok((format!("{} answers (of {names})", status.info.agent), Some(info(&status))))
    }

    async fn stop(&self, kind: StopKind) -> Said {
        match self.session(SessionCommand::Stop(None, kind)).await {
            Ok(Reply::Ended { turn, state, .. }) => {
                let data = json!({ "turnId": turn.to_string(), "state": state.name() });
                Ok((format!("the turn is {}", state.name()), Some(data)))
            }
            Ok(_) => said("nothing runs"),
            // Stopping what has ended is no mistake.
            Err(fault) if fault.code == Code::Conflict => said("nothing runs"),
            Err(fault) => Err(fault),
        }
    }

    async fn send(&self, content: String) -> Said {
        let limit = self.hub.shared.settings.get().message_bytes;
        if content.len() > limit {
            return Err(Fault::new(Code::TooLarge, format!("args: the prompt has more than {limit} bytes")));
        }
        let new = NewMessage { content, attachments: Vec::new(), model: None, yields: false, busy: None, once: None };
        self.sent(SessionCommand::Send(new), "sent").await
    }

    async fn sent(&self, command: SessionCommand, message: &str) -> Said {
        match self.session(command).await? {
            Reply::Sent { message: id, turn, state, .. } => {
                let data = json!({ "messageId": id.to_string(), "turnId": turn.to_string(), "state": state.name() });
                Ok((message.to_owned(), Some(data)))
            }
            _ => Err(Fault::plain(Code::Internal)),
        }
    }

    async fn todo(&self, line: &Line) -> Said {
        let Reply::Todos(mut todos) = self.session(SessionCommand::Todos).await? else {
            return Err(Fault::plain(Code::Internal));
        };
        let state = match line.word(0) {
            None | Some("list") => return shown_todos(&todos),
            Some("clear") => {
                todos.clear();
                None
            }
            Some("add") => {
                let content = line.from(1);
                if content.is_empty() || content.len() > 4096 || todos.len() >= TODOS {
                    return Err(Fault::field("text", format!("1 to 4096 bytes, and at most {TODOS} todos")));
                }
                let free = (1..).map(|n: usize| n.to_string()).find(|id| todos.iter().all(|todo| todo.id != *id));
                todos.push(Todo { id: free.unwrap_or_default(), content, state: TodoState::Pending });
                None
            }
            Some("remove") => {
                let at = place(&todos, line)?;
                todos.remove(at);
                None
            }
            Some("start") => Some(TodoState::InProgress),
            Some("done") => Some(TodoState::Completed),
            Some(_) => return Err(Fault::field("action", "not one of add, start, done, remove, clear")),
        };
        if let Some(state) = state {
            let at = place(&todos, line)?;
            todos[at].state = state;
        }
        self.session(SessionCommand::TodosReplace(todos.clone())).await?;
        shown_todos(&todos)
    }

    async fn show_status(&self) -> Said {
        let status = self.status().await?;
        let settings = &status.settings;
        let mut text = format!("{} answers with {}/{}", status.info.agent, status.info.provider, status.info.model);
        if let Some(decision) = &status.info.routing {
            let _ = write!(text, " (rule {}: {})", decision.rule_name, decision.reason);
        }
        let _ = write!(text, "; thinking {}; {}", status.info.thinking.name(), fullness(&status));
        match status.turn {
            Some(turn) => drop(write!(text, "; a turn is {}", turn.name())),
            None => drop(write!(text, "; the conversation is {}", settings.state.name())),
        }
        if status.queued > 0 {
            let _ = write!(text, "; {} turns wait", status.queued);
        }
        let mut data = info(&status);
        data["state"] = settings.state.name().into();
        data["turn"] = status.turn.map(|turn| turn.name()).into();
        data["queued"] = status.queued.into();
        data["usage"] = tokens(&settings.usage);
        Ok((text, Some(data)))
    }

    async fn usage(&self, line: &Line) -> Said {
        let period = match line.word(0) {
            None | Some("day") => Period::Day,
            Some("week") => Period::Week,
            Some("month") => Period::Month,
            Some(_) => return Err(Fault::field("period", "not one of day, week, month")),
        };
        let Reply::Usage(report) = self.ask(Command::Usage(period)).await? else {
            return Err(Fault::plain(Code::Internal));
        };
        let mut total = Usage::default();
        let mut turns = 0;
        for row in &report.rows {
            total.add(&row.usage);
            turns += row.turns;
        }
        let cost = total.cost.map_or(String::new(), |micros| format!(", {:.4} US dollars", micros as f64 / 1e6));
        let row = |row: &crate::domain::command::UsageRow| json!({ "provider": row.provider, "model": row.model, "turns": row.turns, "usage": tokens(&row.usage) });
        let data = json!({
            "turns": turns,
            "usage": tokens(&total),
            "byModel": report.rows.iter().map(row).collect::<Vec<_>>(),
        });
        let word = line.word(0).unwrap_or("day");
        Ok((format!("the last {word}: {turns} turns, {} tokens{cost}", total.total()), Some(data)))
    }

    fn help(&self, line: &Line) -> Said {
        let manifest = self.hub.manifest(&self.caller);
        let wanted = line.word(0).map(|word| word.trim_start_matches('/').to_lowercase());
        let is_wanted = |name: &String, aliases: &[String]| {
            wanted.as_ref().is_none_or(|wanted| wanted == name || aliases.contains(wanted))
        };
        let shown: Vec<_> =
            manifest.commands.iter().filter(|command| is_wanted(&command.name, &command.aliases)).collect();
        if shown.is_empty() {
            return Err(Fault::field("command", "there is no such command"));
        }
        let mut text = String::new();
        for command in shown {
            let args: Vec<String> = command.args.iter().map(|arg| format!(" [{}]", arg.name)).collect();
            let admin = if command.scope == Scope::Admin { " (administrators)" } else { "" };
            let _ = writeln!(text, "/{}{}: {}{admin}", command.name, args.concat(), command.description);
        }
        said(text.trim_end())
    }
}

/// Where the todo stands that the command names.
fn place(todos: &[Todo], line: &Line) -> Result<usize, Fault> {
    let id = line.from(1);
    let found = todos.iter().position(|todo| todo.id == id);
    found.ok_or_else(|| Fault::field("text", "the id of a todo"))
}

fn shown_todos(todos: &[Todo]) -> Said {
    let line = |todo: &Todo| format!("{}. {} ({})", todo.id, todo.content, todo.state.name());
    let text = match todos.is_empty() {
        true => "there are no todos".to_owned(),
        false => todos.iter().map(line).collect::<Vec<_>>().join("\n"),
    };
    let data = |todo: &Todo| json!({ "id": todo.id, "content": todo.content, "state": todo.state.name() });
    Ok((text, Some(json!({ "todos": todos.iter().map(data).collect::<Vec<_>>() }))))
}

fn tokens(usage: &Usage) -> Value {
    json!({
        "input": usage.input,
        "output": usage.output,
        "cacheRead": usage.cache_read,
        "cacheWrite": usage.cache_write,
        "total": usage.total(),
        "cost": usage.cost.map(|micros| micros as f64 / 1e6),
    })
}

fn fullness(status: &Status) -> String {
    let tokens = status.context.tokens.unwrap_or_default();
    match status.context.percent() {
        Some(percent) => format!("the context holds about {tokens} tokens, {percent} % of {}", status.context.window),
        None => format!("the context holds about {tokens} tokens"),
    }
}

fn info(status: &Status) -> Value {
    let levels: Vec<&str> = status.info.levels.iter().map(|level| level.name()).collect();
    let routing = status.info.routing.as_ref().map(|decision| {
        json!({
            "model": decision.model,
            "provider": decision.provider,
            "ruleName": decision.rule_name,
            "reason": decision.reason,
        })
    });
    json!({
        "provider": status.info.provider,
        "model": status.info.model,
        "chosen": status.chosen,
        "thinkingLevel": status.info.thinking.name(),
        "availableThinkingLevels": levels,
        "agent": status.info.agent,
        "routingDecision": routing,
        "context": {
            "tokens": status.context.tokens,
            "window": status.context.window,
            "percent": status.context.percent(),
        },
    })
}

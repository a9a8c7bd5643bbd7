//! What the hub answered, in the wire's words.

use protocol::{methods as m, model as w, rest as r};
use serde::Serialize;

use super::encode::write_listed;
use crate::domain::approval::ApprovalState;
use crate::domain::command::{Explanation, Page, Reply, UsageReport};
use crate::domain::event::PresenceList;
use crate::domain::routing::Judged;
use crate::domain::usage::Usage;
use crate::doors::{acting, words};

fn put(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let _ = serde_json::to_writer(out, value);
}

fn page<T, W>(page: &Page<T>, word: impl Fn(&T) -> W) -> w::Page<W> {
    w::Page { items: page.items.iter().map(word).collect(), next_cursor: page.next.clone() }
}

fn whole<T, W>(items: &[T], word: impl Fn(&T) -> W) -> w::Page<W> {
    w::Page { items: items.iter().map(word).collect(), next_cursor: None }
}

/// Writes the `result` of a response.
pub fn result(out: &mut Vec<u8>, reply: &Reply) {
    match reply {
        Reply::Project(project) => put(out, &words::project(project)),
        Reply::Projects(list) => put(out, &page(list, words::project)),
        Reply::Session(settings, alias) => put(out, &words::own_session(settings, alias.as_ref())),
        Reply::Sessions(list, aliases) => {
            put(out, &page(list, |settings| words::own_session(settings, aliases.get(&settings.id))));
        }
        Reply::Deleted => put(out, &m::Deleted { deleted: true }),
        Reply::Sent { message, turn, state, .. } => put(
            out,
            &m::MessageSent {
                message_id: message.to_string(),
                turn_id: turn.to_string(),
                state: words::turn_state(*state),
            },
        ),
        Reply::Message(id, message) => put(out, &words::message(*id, message)),
        Reply::Ended { turn, state, receipt, usage } => put(
            out,
            &m::TurnOutcome {
                turn_id: turn.to_string(),
                state: words::turn_state(*state),
                receipt: receipt.as_ref().map(|r| words::receipt(r, usage)),
            },
        ),
        // Asked for by doors that have words for them.
        Reply::Info(_, info) => put(out, &words::session_info(info)),
        Reply::NothingRan => out.extend_from_slice(b"{}"),
        Reply::Messages(id, list) => put(out, &page(list, |message| words::message(*id, message))),
        Reply::Count(count) => put(out, count),
        Reply::Turn(id, turn, answer) => put(
            out,
            &m::TurnDetails {
                turn: words::turn(turn),
                answer: answer.as_ref().map(|message| words::message(*id, message)),
            },
        ),
        Reply::Agents(list) => put(out, &whole(list, |agent| words::agent(agent))),
        Reply::Agent(agent) => put(out, &words::agent(agent)),
        Reply::Tools(list) => put(out, &whole(list, |(spec, policy)| words::tool(spec, *policy))),
        Reply::Models(list) => put(out, &whole(list, words::model)),
        Reply::Commands(manifest) => put(out, &words::manifest(manifest)),
        Reply::Executed(result) => put(out, &words::command_result(result)),
        Reply::Explained(explanation) => put(out, &explained(explanation)),
        Reply::Status(status) => put(out, &words::session(&status.settings)),
        Reply::Decided { applied, approval, rule } => put(
            out,
            &m::ToolDecided {
                request_id: approval.id.to_string(),
                applied: *applied,
                approved: approval.state == ApprovalState::Approved,
                state: words::approval_state(approval.state),
                by: approval.decision.as_ref().and_then(|d| d.by.as_ref()).map(ToString::to_string),
                rule_id: rule.map(|id| id.to_string()),
            },
        ),
        Reply::Approvals(list) => put(out, &page(list, |(id, approval)| words::approval(*id, approval))),
        Reply::Rules(list) => put(out, &page(list, words::approval_rule)),
        Reply::Todos(todos) => put(out, &m::TodoList { todos: todos.iter().map(words::todo).collect() }),
        Reply::Presence { count, users } => {
            put(out, &words::presence(&PresenceList { count: *count, users: users.clone() }));
        }
        Reply::History { epoch, seq, recovered, events } => {
            out.extend_from_slice(b"{\"epoch\":");
            put(out, &**epoch);
            out.extend_from_slice(format!(",\"seq\":{seq},\"recovered\":{recovered},\"events\":[").as_bytes());
            for (index, event) in events.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_listed(out, event);
            }
            out.extend_from_slice(b"]}");
        }
        Reply::Usage(report) => put(out, &usage_report(report)),
        Reply::Skills(list) => put(out, &whole(list, |skill| acting::skill(skill))),
        Reply::SkillDone(result) => put(out, &acting::skill_result(result)),
        Reply::Actions(list) => put(out, &whole(list, |action| acting::action(action))),
        Reply::ActionPreview(preview) => put(out, &acting::preview(preview)),
        Reply::Action(answer) => put(out, &acting::outcome(answer)),
        Reply::ActionUndone(execution) => put(out, &acting::undone(execution)),
        // The administration has no words on this wire.
        Reply::Admin(_) => out.extend_from_slice(b"null"),
    }
}

fn explained(explanation: &Explanation) -> r::RoutingExplanation {
    let Explanation { agent, choice, rules, fallback } = explanation;
    let rule = |rule: &Judged| r::RuleExplanation {
        name: rule.rule.clone(),
        provider: rule.target.provider.clone(),
        model: rule.target.model.clone(),
        matched: rule.matched,
        why: rule.why.clone(),
    };
    r::RoutingExplanation {
        agent: agent.clone(),
        provider: choice.target.provider.clone(),
        model: choice.target.model.clone(),
        chosen_by: choice.by.name().to_owned(),
        routing_decision: choice.decision.as_ref().map(words::routing_decision),
        rules: rules.iter().map(rule).collect(),
        fallback: fallback.iter().map(ToString::to_string).collect(),
    }
}

fn usage_report(report: &UsageReport) -> m::UsageReport {
    let mut total = Usage::default();
    for row in &report.rows {
        total.add(&row.usage);
    }
    m::UsageReport {
        period: words::period(report.period),
        from: report.from.to_rfc3339(),
        to: report.to.to_rfc3339(),
        turns: report.rows.iter().map(|r| r.turns).sum(),
        usage: words::usage(&total),
        by_model: report
            .rows
            .iter()
            .map(|row| m::ModelUsage {
                provider: row.provider.clone(),
                model: row.model.clone(),
                turns: row.turns,
                usage: words::usage(&row.usage),
            })
            .collect(),
    }
}

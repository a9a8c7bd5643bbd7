//! What an organization has used: by user, by agent, by model.

use std::collections::BTreeMap;

use actix_web::web;
use protocol::{methods as m, model as w};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Answer, Query, ask, shown};
use crate::domain::admin::{AdminCommand, OrganizationUsage, UsageCell};
use crate::domain::command::Period;
use crate::domain::usage::Usage;
use crate::doors::words;
use crate::error::Fault;
use crate::http::Edge;
use crate::http::endpoint::{Asking, HubHandle};

/// What one user used.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserUsage {
    user_id: String,
    turns: u64,
    usage: w::Usage,
}

/// What one agent used.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentUsage {
    agent: String,
    turns: u64,
    usage: w::Usage,
}

/// Turns that began in the period. Each of the three lists adds up to the whole.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageView {
    period: m::Period,
    from: String,
    to: String,
    turns: u64,
    usage: w::Usage,
    by_user: Vec<UserUsage>,
    by_agent: Vec<AgentUsage>,
    by_model: Vec<m::ModelUsage>,
}

pub(super) async fn report(Asking(caller): Asking, hub: HubHandle, edge: web::Data<Edge>, asked: Query) -> Answer {
    let period = match asked.period.as_deref() {
        None | Some("day") => Period::Day,
        Some("week") => Period::Week,
        Some("month") => Period::Month,
        Some(_) => return Err(Fault::field("period", "must be one of day, week, month").into()),
    };
    shown(ask(caller, (&hub, &edge), &asked, AdminCommand::Usage(period)).await?)
}

/// Turns and tokens by what `of` says, in its order.
fn sums<K: Ord>(cells: &[UsageCell], of: impl Fn(&UsageCell) -> K) -> BTreeMap<K, (u64, Usage)> {
    let mut sums: BTreeMap<K, (u64, Usage)> = BTreeMap::new();
    for cell in cells {
        let (turns, usage) = sums.entry(of(cell)).or_default();
        *turns += cell.turns;
        usage.add(&cell.usage);
    }
    sums
}

impl From<&OrganizationUsage> for UsageView {
    fn from(report: &OrganizationUsage) -> Self {
        let cells = &report.cells;
        let (turns, usage) = sums(cells, |_| ()).remove(&()).unwrap_or_default();
        let user = |(user_id, (turns, usage)): (String, (u64, Usage))| UserUsage {
            user_id,
            turns,
            usage: words::usage(&usage),
        };
        let agent =
            |(agent, (turns, usage)): (String, (u64, Usage))| AgentUsage { agent, turns, usage: words::usage(&usage) };
        let model = |((provider, model), (turns, usage)): ((String, String), (u64, Usage))| m::ModelUsage {
            provider,
            model,
            turns,
            usage: words::usage(&usage),
        };
        Self {
            period: words::period(report.period),
            from: report.from.to_rfc3339(),
            to: report.to.to_rfc3339(),
            turns,
            usage: words::usage(&usage),
            by_user: sums(cells, |cell| cell.user.to_string()).into_iter().map(user).collect(),
            by_agent: sums(cells, |cell| cell.agent.clone()).into_iter().map(agent).collect(),
            by_model: sums(cells, |cell| (cell.provider.clone(), cell.model.clone())).into_iter().map(model).collect(),
        }
    }
}

//! What a routing rule decided, as it lies in a turn's row.

use serde_json::{Value, json};

use super::fault::StoreFault;
use super::rows::{corrupt, json as read, owned};
use crate::domain::session_info::RoutingDecision;

pub(super) fn text(decision: &RoutingDecision) -> String {
    json!({
        "model": owned(&decision.model),
        "provider": owned(&decision.provider),
        "rule": owned(&decision.rule_name),
        "reason": owned(&decision.reason),
    })
    .to_string()
}

pub(super) fn decision(text: &str) -> Result<RoutingDecision, StoreFault> {
    let value = read("a routing decision", text)?;
    let field = |name: &str| {
        let text = value.get(name).and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| corrupt("a routing decision", &value))
    };
    Ok(RoutingDecision {
        model: field("model")?,
        provider: field("provider")?,
        rule_name: field("rule")?,
        reason: field("reason")?,
    })
}

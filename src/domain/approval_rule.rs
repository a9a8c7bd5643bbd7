//! Answers to approvals that are kept: what somebody allowed or forbade an agent once, for the next time.

use serde_json::Value;

use super::canonical::Digest;
use super::ids::{ApprovalId, OrganizationId, RuleId, Timestamp, UserId};
use super::tool_policy::Remembers;

/// How far an answer reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleScope {
    /// The very same arguments.
    Arguments,
    /// Whatever the arguments are.
    Tool,
}

impl RuleScope {
    pub const ALL: [Self; 2] = [Self::Arguments, Self::Tool];

    pub fn name(self) -> &'static str {
        match self {
            Self::Arguments => "arguments",
            Self::Tool => "tool",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == word)
    }

    /// Whether a tool that lets so much be remembered lets this be.
    pub fn within(self, remembers: Remembers) -> bool {
        match self {
            Self::Arguments => remembers >= Remembers::Arguments,
            Self::Tool => remembers >= Remembers::Tool,
        }
    }
}

/// One answer that is kept. It counts for turns of its own user with that agent, and for nobody else's.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalRule {
    pub id: RuleId,
    pub organization: OrganizationId,
    pub user: UserId,
    pub agent: String,
    pub tool: String,
    pub scope: RuleScope,
    /// Of the tool and the arguments that were seen; all that a rule for arguments is compared by.
    pub digest: Digest,
    /// The arguments that were seen, whole.
    pub input: Value,
    pub approved: bool,
    /// The question that was answered.
    pub request: ApprovalId,
    pub created_at: Timestamp,
}

impl ApprovalRule {
    fn speaks_of(&self, tool: &str, digest: Digest) -> bool {
        self.tool == tool && (self.scope == RuleScope::Tool || self.digest == digest)
    }
}

/// The rule that decides a call, if one does: a denial before a grant, and a grant only as far as the tool lets answers
/// be remembered now.
pub fn deciding<'a>(
    rules: &'a [ApprovalRule],
    tool: &str,
    digest: Digest,
    remembers: Remembers,
) -> Option<&'a ApprovalRule> {
    let mut found = rules.iter().filter(|rule| rule.speaks_of(tool, digest));
    let counts = |rule: &&ApprovalRule| !rule.approved || rule.scope.within(remembers);
    let grants = found.clone().filter(counts).find(|rule| rule.approved);
    found.find(|rule| !rule.approved).or(grants)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(n: u128, scope: RuleScope, input: &Value, approved: bool) -> ApprovalRule {
        ApprovalRule {
            id: RuleId(n),
            organization: OrganizationId::parse("acme").expect("a name"),
            user: UserId::parse("ann").expect("a name"),
            agent: "assistant".into(),
            tool: "t".into(),
            scope,
            digest: Digest::of("t", input),
            input: input.clone(),
            approved,
            request: ApprovalId(1),
            created_at: Timestamp(0),
        }
    }

    #[test]
    fn a_grant_counts_for_the_same_arguments_alone() {
        let (one, other) = (json!({"a": "x"}), json!({"a": "x "}));
        let rules = [rule(1, RuleScope::Arguments, &one, true)];
        let found = |tool: &str, input: &Value, remembers| deciding(&rules, tool, Digest::of(tool, input), remembers);
        assert_eq!(found("t", &one, Remembers::Arguments).map(|r| r.id), Some(RuleId(1)));
        assert!(found("t", &other, Remembers::Tool).is_none());
        assert!(found("u", &one, Remembers::Tool).is_none());
        // The tool lets nothing be remembered any more.
        assert!(found("t", &one, Remembers::Never).is_none());
    }

    #[test]
    fn a_denial_comes_first_and_always_counts() {
        let input = json!({"a": 1});
        let digest = Digest::of("t", &input);
        let rules = [rule(1, RuleScope::Tool, &input, true), rule(2, RuleScope::Arguments, &input, false)];
        assert_eq!(deciding(&rules, "t", digest, Remembers::Tool).map(|r| r.id), Some(RuleId(2)));
        assert_eq!(deciding(&rules, "t", digest, Remembers::Never).map(|r| r.id), Some(RuleId(2)));
        let elsewhere = Digest::of("t", &json!({"a": 2}));
        assert_eq!(deciding(&rules, "t", elsewhere, Remembers::Tool).map(|r| r.id), Some(RuleId(1)));
        assert!(deciding(&rules, "t", elsewhere, Remembers::Arguments).is_none());
    }
}

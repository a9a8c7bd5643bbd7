//! Answers to approvals that are kept: written with the answer, read when a call is judged, taken back by their user.

use diesel::prelude::*;

use super::Store;
use super::audit;
use super::connection::AnyConnection;
use super::fault::{CommitFault, StoreFault};
use super::pages::{all, asked, page};
use super::rows::{corrupt, id, json, owned, word};
use super::schema::approval_rule;
use crate::domain::account::AuditEntry;
use crate::domain::approval_rule::{ApprovalRule, RuleScope};
use crate::domain::canonical::{self, Digest};
use crate::domain::ids::{ApprovalId, OrganizationId, RuleId, Timestamp, UserId};
use crate::domain::record::Page;

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = approval_rule)]
struct RuleRow {
    organization_id: String,
    id: String,
    user_id: String,
    agent: String,
    tool: String,
    scope: String,
    digest: String,
    input: String,
    approved: bool,
    approval_id: String,
    created_at: i64,
}

impl From<&ApprovalRule> for RuleRow {
    fn from(rule: &ApprovalRule) -> Self {
        Self {
            organization_id: rule.organization.to_string(),
            id: rule.id.to_string(),
            user_id: rule.user.to_string(),
            agent: owned(&rule.agent),
            tool: owned(&rule.tool),
            scope: rule.scope.name().into(),
            digest: rule.digest.to_string(),
            input: canonical::text(&rule.input),
            approved: rule.approved,
            approval_id: rule.request.to_string(),
            created_at: rule.created_at.0,
        }
    }
}

impl TryFrom<RuleRow> for ApprovalRule {
    type Error = StoreFault;

    fn try_from(row: RuleRow) -> Result<Self, StoreFault> {
        Ok(Self {
            id: id(&row.id, RuleId::parse)?,
            organization: id(&row.organization_id, OrganizationId::parse)?,
            user: id(&row.user_id, UserId::parse)?,
            agent: row.agent,
            tool: row.tool,
            scope: word("a rule's scope", &row.scope, RuleScope::parse)?,
            digest: Digest::parse(&row.digest).ok_or_else(|| corrupt("a rule's digest", &row.digest))?,
            input: json("a rule's arguments", &row.input)?,
            approved: row.approved,
            request: id(&row.approval_id, ApprovalId::parse)?,
            created_at: Timestamp(row.created_at),
        })
    }
}

/// Writes the rule into the open transaction. One about the same thing that was there before is gone.
pub(super) fn put(c: &mut AnyConnection, rule: &ApprovalRule) -> QueryResult<()> {
    let row = RuleRow::from(rule);
    let same = approval_rule::table
        .filter(approval_rule::organization_id.eq(&row.organization_id))
        .filter(approval_rule::user_id.eq(&row.user_id))
        .filter(approval_rule::agent.eq(&row.agent))
        .filter(approval_rule::tool.eq(&row.tool))
        .filter(approval_rule::scope.eq(&row.scope));
    match rule.scope {
        RuleScope::Arguments => diesel::delete(same.filter(approval_rule::digest.eq(&row.digest))).execute(c)?,
        RuleScope::Tool => diesel::delete(same).execute(c)?,
    };
    diesel::insert_into(approval_rule::table).values(&row).execute(c)?;
    Ok(())
}

impl Store {
    /// The rules of one user and agent that may decide calls of these tools with arguments of these digests.
    pub async fn approval_rules_for(
        &self,
        (organization, user, agent): (&OrganizationId, &UserId, &str),
        tools: Vec<String>,
        digests: Vec<Digest>,
    ) -> Result<Vec<ApprovalRule>, StoreFault> {
        let (organization, user, agent) = (organization.to_string(), user.to_string(), owned(agent));
        let tools: Vec<String> = tools.iter().map(|tool| owned(tool)).collect();
        let digests: Vec<String> = digests.iter().map(ToString::to_string).collect();
        self.read(move |c| {
            let reaches = approval_rule::scope.eq(RuleScope::Tool.name());
            let reaches = diesel::BoolExpressionMethods::or(reaches, approval_rule::digest.eq_any(digests));
            let rows: Vec<RuleRow> = approval_rule::table
                .filter(approval_rule::organization_id.eq(organization))
                .filter(approval_rule::user_id.eq(user))
                .filter(approval_rule::agent.eq(agent))
                .filter(approval_rule::tool.eq_any(tools))
                .filter(reaches)
                .order(approval_rule::id)
                .select(RuleRow::as_select())
                .load(c)?;
            all(rows)
        })
        .await
    }

    /// A user's rules, oldest first.
    pub async fn approval_rules(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        after: Option<RuleId>,
        limit: usize,
    ) -> Result<Page<ApprovalRule, RuleId>, StoreFault> {
        let (organization, user) = (organization.to_string(), user.to_string());
        self.read(move |c| {
            let mut query = approval_rule::table
                .filter(approval_rule::organization_id.eq(organization))
                .filter(approval_rule::user_id.eq(user))
                .select(RuleRow::as_select())
                .into_boxed();
            if let Some(after) = after {
                query = query.filter(approval_rule::id.gt(after.to_string()));
            }
            let rows: Vec<RuleRow> = query.order(approval_rule::id).limit(asked(limit)).load(c)?;
            page(rows, limit, |rule: &ApprovalRule| rule.id)
        })
        .await
    }

    /// Takes a user's rule back, and writes down who did. `false` where the user has no such rule: then nothing is
    /// written.
    pub async fn revoke_approval_rule(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        rule: RuleId,
        entry: AuditEntry,
    ) -> Result<bool, CommitFault> {
        let (organization, user) = (organization.to_string(), user.to_string());
        self.write(move |c| {
            let gone = approval_rule::table
                .filter(approval_rule::organization_id.eq(organization))
                .filter(approval_rule::user_id.eq(user))
                .filter(approval_rule::id.eq(rule.to_string()));
            let gone = diesel::delete(gone).execute(c)? > 0;
            if gone {
                audit::append(c, &entry)?;
            }
            Ok(gone)
        })
        .await
    }
}

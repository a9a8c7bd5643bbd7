//! Ids that clients brought along: which conversation a user means by them.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::fault::{JobFault, StoreFault};
use super::rows::{id, word};
use super::schema::{conversation, conversation_alias};
use super::{Store, insert_new};
use crate::domain::alias::Alias;
use crate::domain::ids::{ConversationId, OrganizationId, UserId};
use crate::domain::settings::ConversationState;

/// The conversation is the user's own by that alias from now on, in the open transaction; `AliasTaken` where it is
/// another one's that is not archived.
pub(super) fn give(
    c: &mut AnyConnection,
    (organization, conversation): (&str, &str),
    (user, alias): (&UserId, &Alias),
    at: i64,
) -> Result<(), JobFault> {
    let row = (
        conversation_alias::organization_id.eq(organization),
        conversation_alias::user_id.eq(user.as_str()),
        conversation_alias::alias.eq(alias.as_str()),
        conversation_alias::conversation_id.eq(conversation),
        conversation_alias::created_at.eq(at),
    );
    if insert_new!(c, conversation_alias::table, row)? == 1 {
        return Ok(());
    }
    match meant(c, organization, user.as_str(), alias.as_str())? {
        Some((taken, state)) if state != ConversationState::Archived.name() => {
            let taken = ConversationId::parse(&taken);
            Err(taken.map_or_else(|_| JobFault::Refused("an alias's row is damaged".into()), JobFault::AliasTaken))
        }
        _ => {
            let known = conversation_alias::table.find((organization, user.as_str(), alias.as_str()));
            diesel::update(known).set(conversation_alias::conversation_id.eq(conversation)).execute(c)?;
            Ok(())
        }
    }
}

/// The conversation that the alias names, and its state.
fn meant(c: &mut AnyConnection, organization: &str, user: &str, alias: &str) -> QueryResult<Option<(String, String)>> {
    let of_alias = conversation::organization_id
        .eq(conversation_alias::organization_id)
        .and(conversation::id.eq(conversation_alias::conversation_id));
    conversation_alias::table
        .inner_join(conversation::table.on(of_alias))
        .filter(conversation_alias::organization_id.eq(organization))
        .filter(conversation_alias::user_id.eq(user))
        .filter(conversation_alias::alias.eq(alias))
        .select((conversation::id, conversation::state))
        .first(c)
        .optional()
}

impl Store {
    /// The conversation that this user calls so, and its state.
    pub async fn conversation_of_alias(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        alias: &Alias,
    ) -> Result<Option<(ConversationId, ConversationState)>, StoreFault> {
        let (organization, user, alias) = (organization.to_string(), user.to_string(), alias.to_string());
        self.read(move |c| {
            let Some((found, state)) = meant(c, &organization, &user, &alias)? else { return Ok(None) };
            let state = word("a conversation's state", &state, ConversationState::parse)?;
            Ok(Some((id(&found, ConversationId::parse)?, state)))
        })
        .await
    }

    /// What this user calls these conversations, where they have such a name.
    pub async fn aliases_of(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        conversations: &[ConversationId],
    ) -> Result<BTreeMap<ConversationId, Alias>, StoreFault> {
        let (organization, user) = (organization.to_string(), user.to_string());
        let asked: Vec<String> = conversations.iter().map(ToString::to_string).collect();
        self.read(move |c| {
            let rows: Vec<(String, String)> = conversation_alias::table
                .filter(conversation_alias::organization_id.eq(organization))
                .filter(conversation_alias::user_id.eq(user))
                .filter(conversation_alias::conversation_id.eq_any(asked))
                .select((conversation_alias::conversation_id, conversation_alias::alias))
                .load(c)?;
            let known =
                |(of, alias): (String, String)| Ok((id(&of, ConversationId::parse)?, id(&alias, Alias::parse)?));
            rows.into_iter().map(known).collect()
        })
        .await
    }
}

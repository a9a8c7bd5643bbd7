//! What an organization's administrators look over: turns that have not ended, and questions that wait, whosever.

use diesel::prelude::*;

use super::Store;
use super::connection::MultiBackend;
use super::fault::StoreFault;
use super::pages::{asked, cut};
use super::rows::{ApprovalRow, ConversationRow, TurnRow, id};
use super::schema::{approval, conversation, turn};
use crate::domain::admin::LiveState;
use crate::domain::approval::Approval;
use crate::domain::ids::{ApprovalId, ConversationId, OrganizationId, TurnId, UserId};
use crate::domain::record::Page;
use crate::domain::settings::{ConversationState, Settings};
use crate::domain::turn::Turn;

impl Store {
    /// Turns of an organization that have not ended, with their conversations, the newest first; `user`: only those of
    /// that user's conversations.
    pub async fn live_turns(
        &self,
        organization: &OrganizationId,
        which: Option<LiveState>,
        user: Option<UserId>,
        before: Option<TurnId>,
        limit: usize,
    ) -> Result<Page<(Settings, Turn), TurnId>, StoreFault> {
        let organization = organization.to_string();
        self.read(move |c| {
            let of_conversation =
                conversation::organization_id.eq(turn::organization_id).and(conversation::id.eq(turn::conversation_id));
            let mut query = turn::table
                .inner_join(conversation::table.on(of_conversation))
                .filter(turn::organization_id.eq(organization))
                .filter(turn::live)
                .select((ConversationRow::as_select(), TurnRow::as_select()))
                .into_boxed::<MultiBackend>();
            query = match which {
                None => query,
                Some(LiveState::Paused) => query.filter(conversation::state.eq(ConversationState::Paused.name())),
                Some(state) => query.filter(turn::state.eq(state.name())),
            };
            if let Some(user) = user {
                query = query.filter(conversation::user_id.eq(user.to_string()));
            }
            if let Some(before) = before {
                query = query.filter(turn::id.lt(before.to_string()));
            }
            let mut rows: Vec<(ConversationRow, TurnRow)> = query.order(turn::id.desc()).limit(asked(limit)).load(c)?;
            let more = cut(&mut rows, limit);
            let whole = |(settings, turn): (ConversationRow, TurnRow)| Ok((settings.try_into()?, turn.try_into()?));
            let items: Vec<(Settings, Turn)> = rows.into_iter().map(whole).collect::<Result<_, StoreFault>>()?;
            let next = items.last().filter(|_| more).map(|(_, turn)| turn.id);
            Ok(Page { items, next })
        })
        .await
    }

    /// Questions of all of an organization's conversations that wait, oldest first.
    pub async fn all_pending_approvals(
        &self,
        organization: &OrganizationId,
        after: Option<ApprovalId>,
        limit: usize,
    ) -> Result<Page<(ConversationId, Approval), ApprovalId>, StoreFault> {
        let organization = organization.to_string();
        self.read(move |c| {
            let mut query = approval::table
                .filter(approval::organization_id.eq(organization))
                .filter(approval::pending)
                .select(ApprovalRow::as_select())
                .into_boxed::<MultiBackend>();
            if let Some(after) = after {
                query = query.filter(approval::id.gt(after.to_string()));
            }
            let mut rows: Vec<ApprovalRow> = query.order(approval::id).limit(asked(limit)).load(c)?;
            let more = cut(&mut rows, limit);
            let whole = |row: ApprovalRow| Ok((id(&row.conversation_id, ConversationId::parse)?, row.try_into()?));
            let items: Vec<(ConversationId, Approval)> =
                rows.into_iter().map(whole).collect::<Result<_, StoreFault>>()?;
            let next = items.last().filter(|_| more).map(|(_, approval)| approval.id);
            Ok(Page { items, next })
        })
        .await
    }
}

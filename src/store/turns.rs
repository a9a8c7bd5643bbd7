//! One turn with its answer, and how many messages a conversation has.

use diesel::prelude::*;

use super::Store;
use super::connection::on_snapshot;
use super::fault::StoreFault;
use super::load::with_parts;
use super::rows::{MessageRow, TurnRow};
use super::schema::{message, turn};
use crate::domain::ids::{ConversationId, OrganizationId, TurnId};
use crate::domain::message::Message;
use crate::domain::turn::Turn;

impl Store {
    /// A turn and its answer, both of the same moment. Text that still grows is not in it.
    pub async fn turn(
        &self,
        organization: &OrganizationId,
        conversation: ConversationId,
        wanted: TurnId,
    ) -> Result<Option<(Turn, Option<Message>)>, StoreFault> {
        let (organization, conversation) = (organization.to_string(), conversation.to_string());
        self.read(move |c| {
            on_snapshot(c, |c| {
                let row: Option<TurnRow> = turn::table
                    .filter(turn::organization_id.eq(&organization))
                    .filter(turn::conversation_id.eq(&conversation))
                    .filter(turn::id.eq(wanted.to_string()))
                    .select(TurnRow::as_select())
                    .first(c)
                    .optional()?;
                let Some(found) = row.map(Turn::try_from).transpose()? else { return Ok(None) };
                let Some(answer) = found.answer else { return Ok(Some((found, None))) };
                let rows: Vec<MessageRow> = message::table
                    .filter(message::organization_id.eq(&organization))
                    .filter(message::conversation_id.eq(&conversation))
                    .filter(message::id.eq(answer.to_string()))
                    .select(MessageRow::as_select())
                    .load(c)?;
                let answer = with_parts(c, &organization, rows)?.pop();
                Ok(Some((found, answer)))
            })
        })
        .await
    }

    pub async fn count_messages(
        &self,
        organization: &OrganizationId,
        conversation: ConversationId,
    ) -> Result<u64, StoreFault> {
        let (organization, conversation) = (organization.to_string(), conversation.to_string());
        self.read(move |c| {
            let count: i64 = message::table
                .filter(message::organization_id.eq(organization))
                .filter(message::conversation_id.eq(conversation))
                .count()
                .get_result(c)?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
        .await
    }
}

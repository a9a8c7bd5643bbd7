//! A conversation, whole: what its actor starts from.

use std::collections::HashMap;

use diesel::dsl::min;
use diesel::prelude::*;

use super::connection::{AnyConnection, on_snapshot};
use super::fault::StoreFault;
use super::parts::{PartRow, extend};
use super::rows::{ApprovalRow, ConversationRow, MessageRow, TurnRow, id, todos_from_text};
use super::schema::{approval, conversation, message, part, part_tail, todo_list, turn};
use super::tails::{Rows, Tails};
use crate::domain::ids::{ConversationId, OrganizationId, PartId};
use crate::domain::message::{Message, Part};
use crate::domain::record::Stored;
use crate::domain::turn::Turn;

/// Ended turns that are loaded.
const ENDED_TURNS: i64 = 20;
/// Tries to read rows and remembered tails of the same moment.
const TRIES: usize = 10;
const CHUNK: usize = 500;

pub(super) fn load(
    connection: &mut AnyConnection,
    tails: &Tails,
    organization: &OrganizationId,
    conversation: ConversationId,
    message_limit: i64,
    bytes_limit: i64,
) -> Result<Option<Stored>, StoreFault> {
    let home = (organization.clone(), conversation);
    let mut reading = Reading {
        organization: organization.to_string(),
        conversation: conversation.to_string(),
        message_limit,
        bytes_limit,
        rows: Rows::new(),
    };
    let mut stored = None;
    for _ in 0..TRIES {
        reading.rows = tails.of(&home);
        stored = on_snapshot(connection, |c| reading.all(c))?;
        // Numbers are never used twice, so the same numbers mean that no tail was added or closed meanwhile.
        if tails.of(&home) == reading.rows {
            break;
        }
    }
    Ok(stored)
}

struct Reading {
    organization: String,
    conversation: String,
    message_limit: i64,
    bytes_limit: i64,
    rows: Rows,
}

impl Reading {
    fn all(&self, connection: &mut AnyConnection) -> Result<Option<Stored>, StoreFault> {
        let row: Option<ConversationRow> = conversation::table
            .filter(conversation::organization_id.eq(&self.organization))
            .filter(conversation::id.eq(&self.conversation))
            .select(ConversationRow::as_select())
            .first(connection)
            .optional()?;
        let Some(row) = row else { return Ok(None) };
        let turns = self.turns(connection)?;
        let (mut messages, more) = self.messages(connection)?;
        let open_parts = self.fold_tails(connection, &mut messages)?;
        let approvals: Vec<ApprovalRow> = approval::table
            .filter(approval::organization_id.eq(&self.organization))
            .filter(approval::conversation_id.eq(&self.conversation))
            .filter(approval::pending)
            .order((approval::requested_at, approval::id))
            .select(ApprovalRow::as_select())
            .load(connection)?;
        let todos: Option<String> = todo_list::table
            .filter(todo_list::organization_id.eq(&self.organization))
            .filter(todo_list::conversation_id.eq(&self.conversation))
            .select(todo_list::items)
            .first(connection)
            .optional()?;
        Ok(Some(Stored {
            settings: row.try_into()?,
            messages,
            more,
            turns,
            approvals: approvals.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            todos: todos.map_or(Ok(Vec::new()), |text| todos_from_text(&text))?,
            open_parts,
        }))
    }

    fn turns(&self, connection: &mut AnyConnection) -> Result<Vec<Turn>, StoreFault> {
        let of_this = turn::organization_id.eq(&self.organization).and(turn::conversation_id.eq(&self.conversation));
        let mut rows: Vec<TurnRow> =
            turn::table.filter(of_this).filter(turn::live).select(TurnRow::as_select()).load(connection)?;
        let ended: Vec<TurnRow> = turn::table
            .filter(of_this)
            .filter(diesel::dsl::not(turn::live))
            .order(turn::no.desc())
            .limit(ENDED_TURNS)
            .select(TurnRow::as_select())
            .load(connection)?;
        rows.extend(ended);
        rows.sort_by_key(|row| row.no);
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// The newest messages that fit both limits, at least one, and all that belong to turns which have not ended.
    fn messages(&self, connection: &mut AnyConnection) -> Result<(Vec<Message>, bool), StoreFault> {
        let live_from: Option<i64> = turn::table
            .filter(turn::organization_id.eq(&self.organization))
            .filter(turn::conversation_id.eq(&self.conversation))
            .filter(turn::live)
            .select(min(turn::no))
            .get_result(connection)?;
        let of_this =
            message::organization_id.eq(&self.organization).and(message::conversation_id.eq(&self.conversation));
        let newest = message::table
            .filter(of_this)
            .order((message::turn_no.desc(), message::idx.desc()))
            .select(MessageRow::as_select());
        let mut rows: Vec<MessageRow> = newest.limit(self.message_limit.max(1) + 1).load(connection)?;
        let oldest = rows.last().map_or(0, |row| row.turn_no);
        if let Some(live_from) = live_from.filter(|no| *no <= oldest) {
            let limit = self.message_limit.max(1);
            rows = message::table
                .filter(of_this)
                .filter(message::turn_no.ge(live_from))
                .order((message::turn_no.desc(), message::idx.desc()))
                .select(MessageRow::as_select())
                .load(connection)?;
            let kept = i64::try_from(rows.len()).unwrap_or(i64::MAX);
            let older = message::table
                .filter(of_this)
                .filter(message::turn_no.lt(live_from))
                .order((message::turn_no.desc(), message::idx.desc()))
                .select(MessageRow::as_select())
                .limit((limit - kept).max(0) + 1);
            rows.extend(older.load(connection)?);
        }
        let sizes = sizes(connection, &self.organization, &rows)?;
        let keep = self.how_many(&rows, &sizes, live_from);
        let more = keep < rows.len();
        rows.truncate(keep);
        rows.reverse();
        Ok((with_parts(connection, &self.organization, rows)?, more))
    }

    /// How many of `rows`, newest first, fit.
    fn how_many(&self, rows: &[MessageRow], sizes: &HashMap<String, i64>, live_from: Option<i64>) -> usize {
        let (mut bytes, mut keep) = (0_i64, 0_usize);
        for row in rows {
            bytes = bytes.saturating_add(sizes.get(&row.id).copied().unwrap_or(0));
            let fits = (keep as i64) < self.message_limit && bytes <= self.bytes_limit;
            let live = live_from.is_some_and(|from| row.turn_no >= from);
            if !(fits || live || keep == 0) {
                break;
            }
            keep += 1;
        }
        keep
    }

    /// Puts the text that was appended behind the texts of the parts. Gives the parts that had some.
    fn fold_tails(&self, connection: &mut AnyConnection, messages: &mut [Message]) -> Result<Vec<PartId>, StoreFault> {
        let ns: Vec<i64> = self.rows.values().flatten().copied().collect();
        let mut texts: Vec<(i64, String, String)> = Vec::new();
        for chunk in ns.chunks(CHUNK) {
            let rows = part_tail::table.filter(part_tail::n.eq_any(chunk.to_vec())).select((
                part_tail::n,
                part_tail::part_id,
                part_tail::text,
            ));
            texts.extend(rows.load(connection)?);
        }
        texts.sort_by_key(|row| row.0);
        let mut tails: HashMap<PartId, String> = HashMap::new();
        for (_, part, text) in texts {
            tails.entry(id(&part, PartId::parse)?).or_default().push_str(&text);
        }
        for part in messages.iter_mut().flat_map(|m| &mut m.parts) {
            if let Some(tail) = tails.get(&part.id) {
                extend(part, tail);
            }
        }
        let mut open: Vec<PartId> = tails.into_keys().collect();
        open.sort();
        Ok(open)
    }
}

/// Bytes of each message of `rows`.
pub(super) fn sizes(
    connection: &mut AnyConnection,
    organization: &str,
    rows: &[MessageRow],
) -> Result<HashMap<String, i64>, StoreFault> {
    let mut sizes = HashMap::new();
    for chunk in rows.chunks(CHUNK) {
        let of_these = part::message_id.eq_any(chunk.iter().map(|row| row.id.as_str()));
        let found: Vec<(String, i64)> = part::table
            .filter(part::organization_id.eq(organization).and(of_these))
            .select((part::message_id, part::size))
            .load(connection)?;
        for (message, size) in found {
            *sizes.entry(message).or_insert(0) += size;
        }
    }
    Ok(sizes)
}

/// The messages of `rows`, in that order, with their parts.
pub(super) fn with_parts(
    connection: &mut AnyConnection,
    organization: &str,
    rows: Vec<MessageRow>,
) -> Result<Vec<Message>, StoreFault> {
    let mut of_message: HashMap<String, Vec<Part>> = HashMap::new();
    // By name and not by a join: without statistics SQLite would walk all parts of the organization.
    for chunk in rows.chunks(CHUNK) {
        let of_these = part::message_id.eq_any(chunk.iter().map(|row| row.id.as_str()));
        let parts: Vec<PartRow> = part::table
            .filter(part::organization_id.eq(organization).and(of_these))
            .order((part::message_id, part::idx))
            .select(PartRow::as_select())
            .load(connection)?;
        for row in parts {
            of_message.entry(row.message_id.clone()).or_default().push(row.try_into()?);
        }
    }
    let whole = |row: MessageRow| {
        let parts = of_message.remove(&row.id).unwrap_or_default();
        let mut message: Message = row.try_into()?;
        message.parts = parts;
        Ok(message)
    };
    rows.into_iter().map(whole).collect()
}

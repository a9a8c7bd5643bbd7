//! Writes one batch into the open transaction.

use diesel::dsl::max;
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::fault::JobFault;
use super::parts::PartRow;
use super::rows::{ApprovalRow, ConversationRow, MessageRow, TodoRow, TurnRow, clean, owned};
use super::schema::{approval, conversation, fact, idempotency, message, part, part_tail, todo_list, turn};
use super::tails::{Change, Home, Tails};
use super::{aliases, approval_rules, audit, insert_new, search, upsert};
use crate::domain::ids::PartId;
use crate::domain::record::{Batch, Fact, Idempotency, Write};

/// How many rows one `delete … in (…)` names.
const CHUNK: usize = 500;

/// One batch on its way into the tables.
pub(super) struct Applying<'a> {
    pub connection: &'a mut AnyConnection,
    pub tails: &'a Tails,
    /// What the transaction has changed in `part_tail` so far, this batch and those before it.
    pub changes: &'a mut Vec<Change>,
    /// The boot id as it stands on turn rows.
    pub boot: &'a str,
    batch: &'a Batch,
    organization: String,
    conversation: String,
    home: Home,
    next_fact: Option<i64>,
}

pub(super) fn apply(
    connection: &mut AnyConnection,
    tails: &Tails,
    changes: &mut Vec<Change>,
    boot: &str,
    batch: &Batch,
) -> Result<(), JobFault> {
    let mut applying = Applying {
        connection,
        tails,
        changes,
        boot,
        batch,
        organization: batch.organization.to_string(),
        conversation: batch.conversation.to_string(),
        home: (batch.organization.clone(), batch.conversation),
        next_fact: None,
    };
    if let Some(key) = &batch.idempotency {
        claim(applying.connection, &applying.organization, &applying.conversation, batch.at.0, key)?;
    }
    for write in &batch.writes {
        applying.write(write)?;
    }
    Ok(())
}

impl Applying<'_> {
    fn write(&mut self, write: &Write) -> Result<(), JobFault> {
        let (organization, home) = (&self.batch.organization, self.batch.conversation);
        match write {
            Write::Conversation(settings) => {
                if settings.id != home || settings.organization != *organization {
                    return Err(JobFault::Refused(format!("{} does not belong into a batch of {home}", settings.id)));
                }
                let row = ConversationRow::from(settings);
                upsert!(self.connection, conversation::table, (conversation::organization_id, conversation::id), &row)?;
            }
            Write::Alias { user, alias } => {
                let place = (self.organization.as_str(), self.conversation.as_str());
                aliases::give(self.connection, place, (user, alias), self.batch.at.0)?;
            }
            Write::DeleteConversation => self.delete_conversation()?,
            Write::Turn(t) => {
                let row = TurnRow::new(organization, home, self.boot, t);
                upsert!(self.connection, turn::table, (turn::organization_id, turn::id), &row)?;
            }
            Write::Message(m) => {
                let row = MessageRow::new(organization, home, m);
                upsert!(self.connection, message::table, (message::organization_id, message::id), &row)?;
            }
            Write::Part { message, part: body } => {
                let row = PartRow::new(organization, *message, body);
                upsert!(self.connection, part::table, (part::organization_id, part::id), &row)?;
                self.close_tail(body.id)?;
            }
            Write::Tail { part, text } => self.append(*part, text)?,
            Write::Approval(a) => {
                let row = ApprovalRow::new(organization, home, a);
                upsert!(self.connection, approval::table, (approval::organization_id, approval::id), &row)?;
            }
            Write::ApprovalRule(rule) => approval_rules::put(self.connection, rule)?,
            Write::Todos(todos) => {
                let row = TodoRow::new(organization, home, todos);
                let key = (todo_list::organization_id, todo_list::conversation_id);
                upsert!(self.connection, todo_list::table, key, &row)?;
            }
            Write::Index(m) => {
                search::index(self.connection, &self.organization, &self.conversation, &m.to_string())?;
            }
            Write::Fact(f) => self.fact(f)?,
            Write::Audit(entry) => drop(audit::append(self.connection, entry)?),
        }
        Ok(())
    }

    /// Adds a piece of text to a part that is still being written.
    fn append(&mut self, part: PartId, text: &str) -> Result<(), JobFault> {
        let n: i64 = diesel::insert_into(part_tail::table)
            .values((
                part_tail::organization_id.eq(&self.organization),
                part_tail::conversation_id.eq(&self.conversation),
                part_tail::part_id.eq(part.to_string()),
                part_tail::text.eq(clean(text)),
            ))
            .returning(part_tail::n)
            .get_result(self.connection)?;
        self.changes.push(Change::Added(self.home.clone(), part, n));
        Ok(())
    }

    fn close_tail(&mut self, part: PartId) -> Result<(), JobFault> {
        let rows = self.tails.of_part(&self.home, part, self.changes);
        if !rows.is_empty() {
            self.delete_tails(&rows)?;
            self.changes.push(Change::Closed(self.home.clone(), part));
        }
        Ok(())
    }

    fn delete_tails(&mut self, rows: &[i64]) -> Result<(), JobFault> {
        for chunk in rows.chunks(CHUNK) {
            diesel::delete(part_tail::table.filter(part_tail::n.eq_any(chunk.to_vec()))).execute(self.connection)?;
        }
        Ok(())
    }

    fn fact(&mut self, f: &Fact) -> Result<(), JobFault> {
        let n = match self.next_fact {
            Some(n) => n,
            None => {
                let last: Option<i64> = fact::table
                    .filter(fact::organization_id.eq(&self.organization))
                    .filter(fact::conversation_id.eq(&self.conversation))
                    .select(max(fact::n))
                    .get_result(self.connection)?;
                last.unwrap_or(0) + 1
            }
        };
        diesel::insert_into(fact::table)
            .values((
                fact::organization_id.eq(&self.organization),
                fact::conversation_id.eq(&self.conversation),
                fact::n.eq(n),
                fact::at.eq(self.batch.at.0),
                fact::kind.eq(f.kind),
                fact::turn_id.eq(f.turn.map(|t| t.to_string())),
                fact::user_id.eq(f.by.as_ref().map(ToString::to_string)),
                fact::refs.eq(f.refs.to_string()),
            ))
            .execute(self.connection)?;
        self.next_fact = Some(n + 1);
        Ok(())
    }

    /// Children go with their parents by the tables' own rules; tails and keys have no parent.
    fn delete_conversation(&mut self) -> Result<(), JobFault> {
        let rows = self.tails.of_home(&self.home, self.changes);
        self.delete_tails(&rows)?;
        self.changes.push(Change::Gone(self.home.clone()));
        let keys = idempotency::table
            .filter(idempotency::organization_id.eq(&self.organization))
            .filter(idempotency::conversation_id.eq(&self.conversation));
        match &self.batch.idempotency {
            // The key of the deletion itself stays, so that a repeated deletion gets its answer.
            Some(own) => {
                let others = diesel::BoolExpressionMethods::or(
                    idempotency::key.ne(owned(&own.key)),
                    idempotency::user_id.ne(own.user.to_string()),
                );
                diesel::delete(keys.filter(others)).execute(self.connection)?
            }
            None => diesel::delete(keys).execute(self.connection)?,
        };
        let gone = conversation::table
            .filter(conversation::organization_id.eq(&self.organization))
            .filter(conversation::id.eq(&self.conversation));
        diesel::delete(gone).execute(self.connection)?;
        self.next_fact = None;
        Ok(())
    }
}

/// What a batch costs in the queue, bytes: its texts and a little for each row.
pub(super) fn cost(batch: &Batch) -> usize {
    use crate::domain::message::PartBody;
    let of_write = |write: &Write| match write {
        Write::Tail { text, .. } => text.len(),
        Write::Part { part, .. } => match &part.body {
            PartBody::Text { text } | PartBody::Thinking { text, .. } => text.len(),
            PartBody::ToolResult { result, .. } => result.output.len(),
            PartBody::Attachment(a) => a.data.as_ref().map_or(0, String::len),
            PartBody::ToolCall(_) => 256,
        },
        _ => 256,
    };
    batch.writes.iter().map(|write| 128 + of_write(write)).sum::<usize>() + 128
}

/// Takes a key for a request, in the open transaction; `Taken` with the first one's answer where it has an owner.
/// `conversation` is empty where the request made none.
pub(super) fn claim(
    connection: &mut AnyConnection,
    organization: &str,
    conversation: &str,
    at: i64,
    key: &Idempotency,
) -> Result<(), JobFault> {
    let row = (
        idempotency::organization_id.eq(organization),
        idempotency::user_id.eq(key.user.as_str()),
        idempotency::key.eq(owned(&key.key)),
        idempotency::conversation_id.eq(conversation),
        idempotency::request.eq(key.request.to_vec()),
        idempotency::answer.eq(owned(&key.answer)),
        idempotency::created_at.eq(at),
    );
    let inserted = insert_new!(connection, idempotency::table, row)?;
    if inserted == 1 {
        return Ok(());
    }
    let (request, answer): (Vec<u8>, String) = idempotency::table
        .filter(idempotency::organization_id.eq(organization))
        .filter(idempotency::user_id.eq(key.user.as_str()))
        .filter(idempotency::key.eq(clean(&key.key)))
        .select((idempotency::request, idempotency::answer))
        .first(connection)?;
    let request = request.try_into().map_err(|_| JobFault::Refused("an idempotency row is damaged".into()))?;
    Err(JobFault::Taken { request, answer })
}

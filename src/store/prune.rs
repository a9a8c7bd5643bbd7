//! What is forgotten by age. Small transactions, so that nobody waits long for the writer.

use diesel::prelude::*;

use super::Store;
use super::connection::AnyConnection;
use super::fault::CommitFault;
use crate::domain::ids::Timestamp;

/// Rows that one transaction forgets.
const AT_ONCE: usize = 500;
/// How long a change of rights can be read, milliseconds.
const CHANGES_KEPT: i64 = 3_600_000;
/// How long the books of budgets are kept, milliseconds: 400 days.
const BOOKS_KEPT: i64 = 400 * 86_400_000;

/// How long things are kept that do not end by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneSettings {
    /// Answers to repeated requests, milliseconds.
    pub keys_ms: i64,
    /// The history of conversations, milliseconds; `None` for ever.
    pub facts_ms: Option<i64>,
}

/// How many rows were forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    pub keys: usize,
    pub facts: usize,
    pub sign_in_links: usize,
    pub sessions: usize,
    pub pairing_codes: usize,
    pub tickets: usize,
    pub revoked_tokens: usize,
    pub changes: usize,
    pub books: usize,
}

/// Rows of `table` whose `age` is before a moment, and for which `besides` holds; there `it` is the row.
#[derive(Clone, Copy)]
struct Rule {
    table: &'static str,
    key: &'static str,
    age: &'static str,
    besides: &'static str,
}

impl Rule {
    const fn new(table: &'static str, key: &'static str, age: &'static str) -> Self {
        Self { table, key, age, besides: "true" }
    }

    /// At most `limit` of them. Only the hub's own words and numbers stand in the statement.
    fn forget(self, c: &mut AnyConnection, before: Timestamp, limit: usize) -> QueryResult<usize> {
        let Self { table, key, age, besides } = self;
        let before = before.0;
        let rows =
            format!("select {key} from {table} it where {age} < {before} and {besides} order by {age} limit {limit}");
        diesel::sql_query(format!("delete from {table} where ({key}) in ({rows})")).execute(c)
    }
}

const KEYS: Rule = Rule::new("idempotency", "organization_id, user_id, key", "created_at");
/// The newest one stays: the next one takes its number from it.
const FACTS: Rule = Rule {
    besides: "n < (select max(n) from fact f where f.organization_id = it.organization_id \
              and f.conversation_id = it.conversation_id)",
    ..Rule::new("fact", "organization_id, conversation_id, n", "at")
};
const LINKS: Rule = Rule::new("sign_in_link", "hash", "expires_at");
/// A user's newest one stays: it tells that this user was here.
const SESSIONS: Rule = Rule {
    besides: "exists (select 1 from hub_session s where s.organization_id = it.organization_id \
              and s.user_id = it.user_id and (s.created_at > it.created_at \
              or s.created_at = it.created_at and s.hash > it.hash))",
    ..Rule::new("hub_session", "hash", "expires_at")
};
const CODES: Rule = Rule::new("pairing_code", "hash", "expires_at");
const TICKETS: Rule = Rule::new("ticket", "hash", "expires_at");
const TOKENS: Rule = Rule::new("revoked_token", "organization_id, token_id", "expires_at");
/// The newest one stays: who reads on from it must not be told of a lower number.
const CHANGES: Rule =
    Rule { besides: "n < (select max(n) from identity_change)", ..Rule::new("identity_change", "n", "at") };
const BOOKS: Rule = Rule::new("budget_book", "organization_id, budget, subject, begins_at", "begins_at");

impl Store {
    /// Forgets what has ended and what is old, of the whole hub. The audit log is not among it: it is kept for ever.
    pub async fn prune(&self, now: Timestamp, settings: &PruneSettings) -> Result<Pruned, CommitFault> {
        let facts = match settings.facts_ms {
            Some(kept) => self.forget(FACTS, now.plus_millis(-kept)).await?,
            None => 0,
        };
        Ok(Pruned {
            keys: self.forget(KEYS, now.plus_millis(-settings.keys_ms)).await?,
            facts,
            sign_in_links: self.forget(LINKS, now).await?,
            sessions: self.forget(SESSIONS, now).await?,
            pairing_codes: self.forget(CODES, now).await?,
            tickets: self.forget(TICKETS, now).await?,
            revoked_tokens: self.forget(TOKENS, now).await?,
            changes: self.forget(CHANGES, now.plus_millis(-CHANGES_KEPT)).await?,
            books: self.forget(BOOKS, now.plus_millis(-BOOKS_KEPT)).await?,
        })
    }

    /// Forgets answers to repeated requests that are older than `before`, at most `limit` of them, of all
    /// organizations. Gives how many; the caller comes again while there are more.
    pub async fn forget_keys(&self, before: Timestamp, limit: usize) -> Result<usize, CommitFault> {
        self.write(move |c| Ok(KEYS.forget(c, before, limit)?)).await
    }

    async fn forget(&self, rule: Rule, before: Timestamp) -> Result<usize, CommitFault> {
        let mut forgotten = 0;
        loop {
            let gone = self.write(move |c| Ok(rule.forget(c, before, AT_ONCE)?)).await?;
            forgotten += gone;
            if gone < AT_ONCE {
                return Ok(forgotten);
            }
        }
    }
}

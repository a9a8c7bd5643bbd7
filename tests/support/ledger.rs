//! What the store holds, looked at beside the hub that writes it: what an attack changed, and what is written of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};

/// All rows of all tables, as text, as they stood when it was opened.
pub struct Ledger {
    file: PathBuf,
    before: BTreeMap<String, Vec<String>>,
    /// The newest row of the audit log then.
    audited: String,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Tables that are somebody else's business: the audit log is asked for itself, and the index follows the messages.
const TABLES: &str = "select name as line from sqlite_master where type = 'table' and name not like 'sqlite_%'
    and name not like '\\_\\_%' escape '\\' and name not like 'message_words%' and name <> 'audit'";

impl Ledger {
    /// Of the hub whose data lie in that folder.
    pub fn open(folder: &Path) -> Self {
        let mut ledger = Self { file: folder.join("hub.db"), before: BTreeMap::new(), audited: String::new() };
        ledger.before = ledger.rows();
        ledger.audited = ledger.ask("select cast(coalesce(max(n), 0) as text) as line from audit").remove(0);
        ledger
    }

    fn ask(&self, question: &str) -> Vec<String> {
        let mut store = SqliteConnection::establish(self.file.to_str().expect("a path")).expect("the database opens");
        store.batch_execute("pragma busy_timeout = 5000").expect("it waits for its turn");
        let lines: Vec<Line> = diesel::sql_query(question).load(&mut store).expect("an answer");
        lines.into_iter().map(|line| line.line).collect()
    }

    fn rows(&self) -> BTreeMap<String, Vec<String>> {
        let rows = |table: String| {
            // When a device was seen last changes with each of its requests.
            let columns = format!("select name as line from pragma_table_info('{table}') where name <> 'last_seen_at'");
            let columns = self.ask(&columns).iter().map(|name| format!("quote(\"{name}\")")).collect::<Vec<_>>();
            let rows = self.ask(&format!("select {} as line from \"{table}\" order by 1", columns.join("||' '||")));
            (table, rows)
        };
        self.ask(TABLES).into_iter().map(rows).collect()
    }

    /// The tables that do not hold any more what they held.
    pub fn changed(&self) -> Vec<String> {
        let after = self.rows();
        let changed = after.into_iter().filter(|(table, rows)| self.before.get(table) != Some(rows));
        changed.map(|(table, _)| table).collect()
    }

    /// Who was refused what since then: `user@organization action code times`, `nobody` for a stranger. A hub that runs
    /// writes the last of them when it ends.
    pub fn refused(&self) -> Vec<String> {
        let (who, code) = ("coalesce(actor || '@' || organization_id, 'nobody')", "json_extract(details, '$.code')");
        let times = "sum(coalesce(json_extract(details, '$.count'), 1))";
        self.ask(&format!(
            "select {who} || ' ' || action || ' ' || coalesce({code}, '-') || ' ' || {times} as line from audit
             where outcome = 'refused' and n > {} group by {who}, action, {code} order by 1",
            self.audited
        ))
    }

    /// Whether the audit log has this anywhere.
    pub fn tells(&self, secret: &str) -> bool {
        let rows = self.ask("select coalesce(target, '') || ' ' || action || ' ' || details as line from audit");
        rows.iter().any(|row| row.contains(secret))
    }
}

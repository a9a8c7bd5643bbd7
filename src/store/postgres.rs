//! What PostgreSQL alone needs: session settings, proof that a commit is durable, and the lock of the owner.

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{PgConnection, QueryableByName, RunQueryDsl};

use super::fault::StoreFault;

/// Key of the advisory lock: the bytes of `switchbd`.
const LOCK: i64 = 0x7377_6974_6368_6264;

#[derive(QueryableByName)]
struct Setting {
    #[diesel(sql_type = Text)]
    value: String,
}

fn setting(connection: &mut PgConnection, name: &str) -> Result<String, StoreFault> {
    let row: Setting =
        diesel::sql_query("select current_setting($1) as value").bind::<Text, _>(name).get_result(connection)?;
    Ok(row.value)
}

pub(super) fn prepare_writer(connection: &mut PgConnection) -> Result<(), StoreFault> {
    prepare_session(connection, "writer")?;
    if setting(connection, "synchronous_commit")? == "off" {
        return Err(StoreFault::Refused(
            "PostgreSQL runs with synchronous_commit = off, so it acknowledges what a power cut may lose; \
             set it to on for this database or role"
                .into(),
        ));
    }
    if setting(connection, "fsync")? == "off" {
        tracing::warn!("PostgreSQL runs with fsync = off: a power cut may destroy the database");
    }
    Ok(())
}

pub(super) fn prepare_reader(connection: &mut PgConnection) -> Result<(), StoreFault> {
    prepare_session(connection, "reader")?;
    Ok(connection.batch_execute("set default_transaction_read_only = on")?)
}

fn prepare_session(connection: &mut PgConnection, part: &str) -> Result<(), StoreFault> {
    let name = format!("switchboard {part}, process {}", std::process::id());
    let set = diesel::sql_query("select set_config('application_name', $1, false) as value").bind::<Text, _>(name);
    set.get_result::<Setting>(connection)?;
    // A statement that hangs must not hang the hub for ever, and `NOTICE` lines are nobody's concern.
    Ok(connection.batch_execute("set client_min_messages = warning; set lock_timeout = '10s'")?)
}

/// Takes the lock for as long as this connection lives. It is the writer's own connection: whoever lost it cannot
/// write any more, and whoever writes holds it.
pub(super) fn lock(connection: &mut PgConnection) -> Result<(), StoreFault> {
    // The server needs a moment to see that a former owner is gone: wait that long, not longer.
    let query = format!("set lock_timeout = '2s'; select pg_advisory_lock({LOCK}); set lock_timeout = '10s'");
    let Err(error) = connection.batch_execute(&query) else { return Ok(()) };
    if !error.to_string().contains("lock timeout") {
        return Err(error.into());
    }
    let holder = format!(
        "select a.application_name || ' at ' || coalesce(host(a.client_addr), 'this machine') || ' since ' || \
         to_char(a.backend_start at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as value \
         from pg_locks l join pg_stat_activity a on a.pid = l.pid where l.locktype = 'advisory' and l.granted \
         and l.database = (select oid from pg_database where datname = current_database()) \
         and l.classid::bigint = {} and l.objid::bigint = {} and l.objsubid = 1",
        LOCK >> 32,
        LOCK & 0xffff_ffff
    );
    let holder = diesel::sql_query(holder).get_result::<Setting>(connection);
    let holder = holder.map_or_else(|_| "another process".to_owned(), |row| row.value);
    Err(StoreFault::Refused(format!("the database is in use by {holder}")))
}

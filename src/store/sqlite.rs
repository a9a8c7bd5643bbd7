//! What SQLite alone needs: pragmas, the lock beside the database file, and checkpoints away from the writer.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use diesel::connection::SimpleConnection;
use diesel::sql_types::Integer;
use diesel::{QueryableByName, RunQueryDsl, SqliteConnection};
use rustix::fs::{FlockOperation, flock};

use super::connection::{AnyConnection, Backend};
use super::fault::StoreFault;

// `busy_timeout` comes first: switching to WAL may itself meet a lock.
const COMMON: &str = "pragma busy_timeout = 5000; pragma journal_mode = wal; pragma synchronous = full; \
                      pragma foreign_keys = on;";
/// The log file shrinks back to this after it was reset, bytes.
const LOG_KEPT: u64 = 64 << 20;
/// Frames in the log beyond which the checkpoint makes the writer wait, so that the log starts over (4 KiB each).
const LOG_HARD_FRAMES: i32 = 32_768;

pub(super) fn prepare_writer(connection: &mut SqliteConnection) -> Result<(), StoreFault> {
    connection.batch_execute(COMMON)?;
    let pragmas = format!("pragma wal_autocheckpoint = 0; pragma journal_size_limit = {LOG_KEPT};");
    Ok(connection.batch_execute(&pragmas)?)
}

pub(super) fn prepare_reader(connection: &mut SqliteConnection) -> Result<(), StoreFault> {
    connection.batch_execute(COMMON)?;
    Ok(connection.batch_execute("pragma query_only = on;")?)
}

/// The file exists before SQLite opens it, readable by its owner only: it holds the hub's keys.
pub(super) fn make_file(path: &str) -> Result<(), StoreFault> {
    let made = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    made.map(drop).map_err(|error| StoreFault::Unavailable(format!("cannot open {path}: {error}")))
}

/// Held as long as the value lives; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct FileLock(#[allow(dead_code, reason = "held, not read")] File);

pub(super) fn lock(path: &str) -> Result<FileLock, StoreFault> {
    let name = format!("{path}.lock");
    let failed = |error: &dyn std::fmt::Display| StoreFault::Unavailable(format!("cannot lock {name}: {error}"));
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&name);
    let mut file = opened.map_err(|e| failed(&e))?;
    if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(failed(&error));
        }
        let mut holder = String::new();
        let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
        let holder = if known { holder.trim() } else { "another process" };
        return Err(StoreFault::Refused(format!("the database {path} is in use by {holder}")));
    }
    let since = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let line = format!("process {} since {since}\n", std::process::id());
    file.set_len(0).and_then(|()| file.write_all(line.as_bytes())).map_err(|e| failed(&e))?;
    Ok(FileLock(file))
}

/// A thread with a connection of its own that moves the log into the database file when the writer says it has grown.
pub(super) struct Checkpoints {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub(super) fn start(backend: &Backend) -> Result<Self, StoreFault> {
        let AnyConnection::Sqlite(connection) = backend.writer()? else {
            return Err(StoreFault::Refused("only SQLite has checkpoints".into()));
        };
        let (wake, woken) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || checkpoint_loop(connection, &woken))
            .map_err(|e| StoreFault::Unavailable(format!("cannot start the checkpoint thread: {e}")))?;
        Ok(Self { wake: Some(wake), thread: Some(thread) })
    }

    /// Returns at once; one request that waits is enough.
    pub(super) fn ask(&self) {
        if let Some(wake) = &self.wake
            && let Err(TrySendError::Disconnected(())) = wake.try_send(())
        {
            tracing::error!("the checkpoint thread is gone; the log of the database grows");
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

#[derive(QueryableByName)]
struct Progress {
    #[diesel(sql_type = Integer)]
    log: i32,
    #[diesel(sql_type = Integer)]
    checkpointed: i32,
}

fn checkpoint_loop(mut connection: SqliteConnection, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        match checkpoint(&mut connection, "pragma wal_checkpoint(passive)") {
            Ok(progress) if progress.log > LOG_HARD_FRAMES => {
                // Under unbroken load a passive checkpoint never catches up, and the log would grow without end.
                if let Err(error) = checkpoint(&mut connection, "pragma wal_checkpoint(restart)") {
                    tracing::warn!(%error, frames = progress.log, moved = progress.checkpointed, "the log is long");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "a checkpoint failed; the next one tries again"),
        }
    }
}

fn checkpoint(connection: &mut SqliteConnection, pragma: &str) -> diesel::QueryResult<Progress> {
    diesel::sql_query(pragma).get_result(connection)
}

/// Whether the folder of `path` is there: SQLite's own words for that do not say which file it means.
pub(super) fn check_folder(path: &str) -> Result<(), StoreFault> {
    match Path::new(path).parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            Err(StoreFault::Refused(format!("the folder {} does not exist", folder.display())))
        }
        _ => Ok(()),
    }
}

//! What is on disk: one `Store` over SQLite and PostgreSQL. Reads go through a pool, writes through one writer that
//! acknowledges only what is committed.

mod actions;
mod aliases;
mod apply;
mod approval_rules;
mod audit;
mod budgets;
mod changes;
mod connection;
mod devices;
mod fault;
mod hub_settings;
mod identity;
mod keys;
mod load;
mod once;
mod overview;
mod pages;
mod pairing;
mod parts;
mod postgres;
mod projects;
mod prune;
mod reads;
mod routing;
mod rows;
mod schema;
mod search;
mod sign_ins;
mod sqlite;
mod tails;
mod tickets;
mod tokens;
mod turns;
mod usage;
mod users;
mod writer;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{Pool, R2D2Connection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tokio::sync::{mpsc, oneshot};

pub use self::actions::UndoEnd;
pub use self::audit::AuditQuery;
pub use self::budgets::Reservation;
use self::connection::{AnyConnection, Backend, Readers};
use self::fault::JobFault;
pub use self::fault::{CommitFault, StoreFault};
pub use self::identity::Counts;
pub use self::prune::{PruneSettings, Pruned};
pub use self::reads::{ConversationQuery, EntityQuery};
pub use self::search::Hit;
use self::sqlite::Checkpoints;
use self::tails::{Change, Tails};
pub use self::users::UserQuery;
use self::writer::{Job, QUEUE_BYTES, QUEUE_JOBS, Work, Writer};
use crate::domain::ids::{ConversationId, OrganizationId, PartId, UserId};
use crate::domain::record::{Batch, Stored};

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
/// How long a read waits for a free connection.
const POOL_WAIT: Duration = Duration::from_secs(5);

/// Inserts a row or replaces the one with the same key; with a fifth argument that is all that is replaced of it.
/// Diesel's enum over backends cannot say `on conflict`.
macro_rules! upsert {
    ($connection:expr, $table:expr, $key:expr, $row:expr) => {
        $crate::store::upsert!($connection, $table, $key, $row, $row)
    };
    ($connection:expr, $table:expr, $key:expr, $row:expr, $set:expr) => {
        match $connection {
            $crate::store::connection::AnyConnection::Sqlite(c) => {
                diesel::insert_into($table).values($row).on_conflict($key).do_update().set($set).execute(c)
            }
            $crate::store::connection::AnyConnection::Postgres(c) => {
                diesel::insert_into($table).values($row).on_conflict($key).do_update().set($set).execute(c)
            }
        }
    };
}
use upsert;

/// Inserts a row unless one with its key is there; gives how many rows it wrote.
macro_rules! insert_new {
    ($connection:expr, $table:expr, $row:expr) => {
        match $connection {
            $crate::store::connection::AnyConnection::Sqlite(c) => {
                diesel::insert_into($table).values($row).on_conflict_do_nothing().execute(c)
            }
            $crate::store::connection::AnyConnection::Postgres(c) => {
                diesel::insert_into($table).values($row).on_conflict_do_nothing().execute(c)
            }
        }
    };
}
use insert_new;

/// Where the rows are and how they are reached.
#[derive(Clone)]
pub struct StoreSettings {
    /// `sqlite:PATH` or `postgres://…`. May hold a password.
    pub url: String,
    /// Connections for reading.
    pub pool: u32,
    /// This start of the process; stands on the turns it writes.
    pub boot: u128,
}

/// Where the writer is within a transaction, for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitPoint {
    /// All is written, nothing committed.
    Before,
    /// Committed, nobody told.
    After,
}

/// Called on the writer's thread.
pub type CommitHook = Arc<dyn Fn(CommitPoint) + Send + Sync>;

/// What waits to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepth {
    pub jobs: usize,
    pub bytes: usize,
}

/// The handle. Clones share everything; when the last one goes, what was queued is still written, and its drop waits
/// for that.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("queue", &self.queue()).finish_non_exhaustive()
    }
}

struct Inner {
    pool: Pool<Readers>,
    queue: Option<mpsc::Sender<Job>>,
    waiting: Arc<AtomicUsize>,
    tails: Arc<Tails>,
    hook: Arc<Mutex<Option<CommitHook>>>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// Told of every change of somebody's rights that was written here.
    changed: tokio::sync::Notify,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue = None;
        join(&self.writer);
    }
}

fn join(writer: &Mutex<Option<std::thread::JoinHandle<()>>>) {
    let thread = writer.lock().unwrap_or_else(PoisonError::into_inner).take();
    // A hook that owns the last handle would have the writer wait for itself.
    if let Some(thread) = thread.filter(|t| t.thread().id() != std::thread::current().id())
        && thread.join().is_err()
    {
        tracing::error!("the store's writer panicked");
    }
}

impl Store {
    /// Brings the tables up to date and becomes the owner of the database. `Refused`, in a sentence, where another
    /// process owns it. Blocks.
    pub fn open(settings: StoreSettings) -> Result<Self, StoreFault> {
        Self::start(settings, true)
    }

    /// For the command line: works beside a running owner. Never for conversations, whose owner keeps them in memory.
    pub fn open_shared(settings: StoreSettings) -> Result<Self, StoreFault> {
        Self::start(settings, false)
    }

    fn start(settings: StoreSettings, owner: bool) -> Result<Self, StoreFault> {
        let backend = Backend::parse(&settings.url)?;
        if let Backend::Sqlite(path) = &backend {
            sqlite::check_folder(path)?;
            sqlite::make_file(path)?;
        }
        let mut lock = None;
        let mut connection = backend.writer()?;
        if owner || pending(&mut connection)? {
            match (&backend, &mut connection) {
                (Backend::Sqlite(path), _) => lock = Some(sqlite::lock(path)?),
                (_, AnyConnection::Postgres(c)) => postgres::lock(c)?,
                (Backend::Postgres(_), AnyConnection::Sqlite(_)) => {}
            }
            migrate(&mut connection)?;
            if !owner {
                lock = None;
                connection = backend.writer()?;
            }
        }
        let tails = Arc::new(Tails::default());
        if owner {
            remember(&mut connection, &tails)?;
            // A ticket is good for the run of the hub that made it.
            tickets::spoil(&mut connection)?;
            // An owner is alone: whoever had a call under way is gone.
            let left = settle_left(&mut connection, budgets::settle_left)?;
            if left > 0 {
                tracing::info!(left, "calls that the last run had under way are booked with the least they used");
            }
            let lost = settle_left(&mut connection, actions::settle_left)?;
            if lost > 0 {
                tracing::warn!(lost, "actions that the last run had under way are settled: they are not done again");
            }
        }
        let checkpoints = match backend {
            Backend::Sqlite(_) => Some(Checkpoints::start(&backend)?),
            Backend::Postgres(_) => None,
        };
        // What a crash left in the log is moved now: a hub that is killed again and again would never get to it.
        if let Some(checkpoints) = &checkpoints {
            checkpoints.ask();
        }
        let pool = Pool::builder()
            .max_size(settings.pool.max(1))
            .min_idle(Some(1))
            .connection_timeout(POOL_WAIT)
            .test_on_check_out(matches!(backend, Backend::Postgres(_)))
            .build_unchecked(Readers(backend.clone()));
        let (sender, queue) = mpsc::channel(QUEUE_JOBS);
        let waiting = Arc::new(AtomicUsize::new(0));
        let hook = Arc::new(Mutex::new(None));
        let writer = Writer {
            backend,
            connection: Some(connection),
            queue,
            waiting: waiting.clone(),
            tails: tails.clone(),
            boot: format!("{:032x}", settings.boot),
            hook: hook.clone(),
            checkpoints,
            owner,
            lock,
            written: 0,
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .map_err(|e| StoreFault::Unavailable(format!("cannot start the writer: {e}")))?;
        let writer = Mutex::new(Some(thread));
        Ok(Self(Arc::new(Inner {
            pool,
            queue: Some(sender),
            waiting,
            tails,
            hook,
            writer,
            changed: Default::default(),
        })))
    }

    /// Queues the batch now, before the first await: two calls in order stay in order. The future is done when the
    /// batch is on disk, or is not; dropping it takes nothing back.
    pub fn commit(&self, batch: Batch) -> impl Future<Output = Result<(), CommitFault>> + Send + use<> {
        self.enqueue(Work::Batch(Box::new(batch)))
    }

    fn enqueue(&self, work: Work) -> impl Future<Output = Result<(), CommitFault>> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        let queued = self.push(Job::new(work, answer));
        async move {
            queued?;
            answered.await.unwrap_or_else(|_| Err(CommitFault::Unavailable("the store is closed".into())))
        }
    }

    fn push(&self, job: Job) -> Result<(), CommitFault> {
        let Some(queue) = &self.0.queue else { return Err(CommitFault::Unavailable("the store is closed".into())) };
        let cost = job.cost;
        let control = matches!(job.work, Work::Flush | Work::Stop);
        let before = self.0.waiting.fetch_add(cost, Ordering::Relaxed);
        // One batch may be larger than all the room there is, if it comes to an empty queue.
        let pushed = if before > 0 && before + cost > QUEUE_BYTES && !control {
            Err(CommitFault::QueueFull)
        } else {
            queue.try_send(job).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => CommitFault::QueueFull,
                mpsc::error::TrySendError::Closed(_) => CommitFault::Unavailable("the store is closed".into()),
            })
        };
        if pushed.is_err() {
            self.0.waiting.fetch_sub(cost, Ordering::Relaxed);
        }
        pushed
    }

    /// Runs `write` on the writer's connection within its transaction; done when it is on disk.
    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut AnyConnection) -> Result<T, JobFault> + Send + 'static,
    ) -> Result<T, CommitFault> {
        self.write_now(write).await
    }

    /// The same, queued before the first await.
    fn write_now<T: Send + 'static, W>(
        &self,
        write: W,
    ) -> impl Future<Output = Result<T, CommitFault>> + Send + use<T, W>
    where
        W: FnOnce(&mut AnyConnection) -> Result<T, JobFault> + Send + 'static,
    {
        let (sender, mut receiver) = oneshot::channel();
        let call = move |connection: &mut AnyConnection| {
            let value = write(connection)?;
            let _ = sender.send(value);
            Ok(())
        };
        let written = self.enqueue(Work::Call(Box::new(call)));
        async move {
            written.await?;
            receiver.try_recv().map_err(|_| CommitFault::Unavailable("the writer gave no answer".into()))
        }
    }

    /// Runs `read` on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut AnyConnection) -> Result<T, StoreFault> + Send + 'static,
    ) -> Result<T, StoreFault> {
        let pool = self.0.pool.clone();
        let task = tokio::task::spawn_blocking(move || {
            let mut connection = pool.get().map_err(|e| StoreFault::Unavailable(e.to_string()))?;
            read(&mut connection)
        });
        task.await.unwrap_or_else(|e| Err(StoreFault::Unavailable(format!("a read was broken off: {e}"))))
    }

    /// A conversation with its newest messages: at most `message_limit` of them and `bytes_limit` bytes of text, but
    /// always the newest one and all of turns that have not ended; those turns and the last 20 that have; what still
    /// grows, with all its text.
    pub async fn load(
        &self,
        organization: &OrganizationId,
        conversation: ConversationId,
        message_limit: usize,
        bytes_limit: usize,
    ) -> Result<Option<Stored>, StoreFault> {
        let (organization, tails) = (organization.clone(), self.0.tails.clone());
        let [messages, bytes] = [message_limit, bytes_limit].map(|n| i64::try_from(n).unwrap_or(i64::MAX - 1));
        let messages = messages.min(i64::from(i32::MAX));
        self.read(move |c| load::load(c, &tails, &organization, conversation, messages, bytes)).await
    }

    /// Messages that hold all words of `text`, newest first, of conversations that `viewer` may read.
    pub async fn search(
        &self,
        organization: &OrganizationId,
        viewer: &UserId,
        text: &str,
        limit: usize,
    ) -> Result<Vec<Hit>, StoreFault> {
        let (organization, viewer, text) = (organization.clone(), viewer.clone(), text.to_owned());
        let limit = i64::try_from(limit.min(1000)).unwrap_or(1000);
        self.read(move |c| search::search(c, &organization, &viewer, &text, limit)).await
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreFault> {
        self.read(|c| Ok(c.ping()?)).await
    }

    pub fn queue(&self) -> QueueDepth {
        let jobs = self.0.queue.as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity());
        QueueDepth { jobs, bytes: self.0.waiting.load(Ordering::Relaxed) }
    }

    /// Done when all that was queued before is answered.
    pub fn flush(&self) -> impl Future<Output = Result<(), CommitFault>> + Send + use<> {
        self.enqueue(Work::Flush)
    }

    /// Writes what is queued, then ends the writer and lets go of the database. Later writes are refused.
    pub async fn close(&self) {
        if let Err(error) = self.enqueue(Work::Stop).await {
            tracing::debug!(%error, "the store was closed before");
        }
        let inner = self.0.clone();
        let _ = tokio::task::spawn_blocking(move || join(&inner.writer)).await;
    }

    /// For tests: called around every commit, on the writer's thread. A hook that panics ends the process.
    pub fn set_commit_hook(&self, hook: Option<CommitHook>) {
        *self.0.hook.lock().unwrap_or_else(PoisonError::into_inner) = hook;
    }
}

fn pending(connection: &mut AnyConnection) -> Result<bool, StoreFault> {
    let pending = match connection {
        AnyConnection::Sqlite(c) => c.has_pending_migration(SQLITE),
        AnyConnection::Postgres(c) => c.has_pending_migration(POSTGRES),
    };
    pending.map_err(|e| StoreFault::Unavailable(format!("cannot see the state of the tables: {e}")))
}

fn migrate(connection: &mut AnyConnection) -> Result<(), StoreFault> {
    let done = match connection {
        AnyConnection::Sqlite(c) => c.run_pending_migrations(SQLITE).map(|ran| ran.len()),
        AnyConnection::Postgres(c) => c.run_pending_migrations(POSTGRES).map(|ran| ran.len()),
    };
    done.map(|steps| tracing::info!(steps, "the tables are up to date"))
        .map_err(|e| StoreFault::Unavailable(format!("cannot bring the tables up to date: {e}")))
}

/// Settles what the last run had under way.
fn settle_left(
    connection: &mut AnyConnection,
    settle: fn(&mut AnyConnection) -> Result<usize, JobFault>,
) -> Result<usize, StoreFault> {
    connection.batch_execute(match connection {
        AnyConnection::Sqlite(_) => "begin immediate",
        AnyConnection::Postgres(_) => "begin",
    })?;
    let settled = settle(connection);
    connection.batch_execute(if settled.is_ok() { "commit" } else { "rollback" })?;
    settled.map_err(|fault| StoreFault::Unavailable(fault.judge().0.to_string()))
}

/// Finds the tails that the last run left.
fn remember(connection: &mut AnyConnection, tails: &Tails) -> Result<(), StoreFault> {
    use schema::part_tail::dsl::{conversation_id, n, organization_id, part_id, part_tail};
    let rows: Vec<(i64, String, String, String)> =
        part_tail.order(n).select((n, organization_id, conversation_id, part_id)).load(connection)?;
    let mut changes = Vec::with_capacity(rows.len());
    for (row, organization, conversation, part) in rows {
        let home = (rows::id(&organization, OrganizationId::parse)?, rows::id(&conversation, ConversationId::parse)?);
        changes.push(Change::Added(home, rows::id(&part, PartId::parse)?, row));
    }
    tails.apply(changes);
    Ok(())
}

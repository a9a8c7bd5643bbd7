//! The one writer: a thread with a bounded FIFO queue that commits all that waits in one transaction, and answers
//! only after it is on disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use diesel::connection::SimpleConnection;
use tokio::sync::{mpsc, oneshot};

use super::apply::{apply, cost};
use super::connection::{AnyConnection, Backend};
use super::fault::{CommitFault, JobFault, StoreFault};
use super::sqlite::{Checkpoints, FileLock};
use super::tails::{Change, Tails};
use super::{CommitHook, CommitPoint, postgres};
use crate::domain::record::{Batch, Write};
use crate::telemetry;

/// Jobs that may wait.
pub(super) const QUEUE_JOBS: usize = 4096;
/// Bytes of rows that may wait.
pub(super) const QUEUE_BYTES: usize = 64 << 20;
/// Jobs in one transaction.
const GROUP_JOBS: usize = 64;
/// Bytes of rows in one transaction; a single larger job goes alone.
const GROUP_BYTES: usize = 1 << 20;
/// Bytes written between two checkpoints, about.
const CHECKPOINT_BYTES: usize = 4 << 20;
/// What a transaction adds to the log beside its rows, bytes, about.
const GROUP_OVERHEAD: usize = 16 << 10;

pub(super) type Call = Box<dyn FnOnce(&mut AnyConnection) -> Result<(), JobFault> + Send>;
pub(super) type Answer = oneshot::Sender<Result<(), CommitFault>>;

pub(super) enum Work {
    Batch(Box<Batch>),
    /// Writes that are no conversation's, such as a new user.
    Call(Call),
    /// Nothing: its answer says that all before it is answered.
    Flush,
    /// The last one.
    Stop,
}

pub(super) struct Job {
    pub work: Work,
    pub cost: usize,
    pub answer: Answer,
}

impl Job {
    pub(super) fn new(work: Work, answer: Answer) -> Self {
        let cost = if let Work::Batch(batch) = &work { cost(batch) } else { 256 };
        Self { work, cost, answer }
    }

    /// A batch of tails alone has nothing that the tables could refuse: it needs no savepoint.
    fn is_plain(&self) -> bool {
        match &self.work {
            Work::Batch(batch) => {
                batch.idempotency.is_none() && batch.writes.iter().all(|w| matches!(w, Write::Tail { .. }))
            }
            Work::Call(_) => false,
            Work::Flush | Work::Stop => true,
        }
    }
}

pub(super) struct Writer {
    pub backend: Backend,
    /// Absent after a failure, until the next group.
    pub connection: Option<AnyConnection>,
    pub queue: mpsc::Receiver<Job>,
    /// Bytes that wait.
    pub waiting: Arc<AtomicUsize>,
    pub tails: Arc<Tails>,
    pub boot: String,
    pub hook: Arc<Mutex<Option<CommitHook>>>,
    pub checkpoints: Option<Checkpoints>,
    /// Whether this process owns the database, so that a new connection must take the lock again.
    pub owner: bool,
    pub lock: Option<FileLock>,
    pub written: usize,
}

impl Writer {
    /// Until the queue is closed and empty.
    pub(super) fn run(mut self) {
        if catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            end_the_process();
        }
        // The lock goes last: whoever gets it finds a database that nobody holds.
        let Self { connection, checkpoints, lock, .. } = self;
        drop(connection);
        drop(checkpoints);
        drop(lock);
    }

    fn work(&mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let group = self.gather(first);
            if group.iter().any(|job| matches!(job.work, Work::Stop)) {
                self.queue.close();
            }
            self.commit(group);
        }
    }

    fn gather(&mut self, first: Job) -> Vec<Job> {
        let mut bytes = first.cost;
        let mut group = vec![first];
        while group.len() < GROUP_JOBS && bytes < GROUP_BYTES {
            let Ok(job) = self.queue.try_recv() else { break };
            bytes += job.cost;
            group.push(job);
        }
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        self.written += bytes + GROUP_OVERHEAD;
        group
    }

    fn commit(&mut self, group: Vec<Job>) {
        let mut answers = Vec::with_capacity(group.len());
        let mut work = Vec::with_capacity(group.len());
        for job in group {
            let plain = job.is_plain();
            answers.push(job.answer);
            work.push((job.work, plain));
        }
        // Caught here, while the answers still wait: nobody hears of a panic before the process is gone.
        let done = catch_unwind(AssertUnwindSafe(|| self.transact(work))).unwrap_or_else(|_| end_the_process());
        match done {
            Ok(results) => {
                for (answer, result) in answers.into_iter().zip(results) {
                    // Whoever asked may be gone; what it asked for is done all the same.
                    let _ = answer.send(result);
                }
            }
            Err(fault) => {
                metrics::counter!(telemetry::STORE_FAILURES).increment(1);
                tracing::warn!(error = %fault, batches = answers.len(), "a commit failed");
                // A connection that failed once is not trusted: the next group gets a new one.
                self.connection = None;
                for answer in answers {
                    let _ = answer.send(Err(fault.clone()));
                }
            }
        }
        if self.written >= CHECKPOINT_BYTES {
            self.written = 0;
            if let Some(checkpoints) = &self.checkpoints {
                checkpoints.ask();
            }
        }
    }

    /// One transaction. `Err`: it failed as a whole and nothing of it is stored, or nobody knows.
    fn transact(&mut self, work: Vec<(Work, bool)>) -> Result<Vec<Result<(), CommitFault>>, CommitFault> {
        if work.iter().all(|(work, _)| matches!(work, Work::Flush | Work::Stop)) {
            return Ok(vec![Ok(()); work.len()]);
        }
        let begun = Instant::now();
        self.connect()?;
        let Some(connection) = &mut self.connection else {
            return Err(CommitFault::Unavailable("no connection".into()));
        };
        connection.batch_execute(match connection {
            AnyConnection::Sqlite(_) => "begin immediate",
            AnyConnection::Postgres(_) => "begin",
        })?;
        let mut changes = Vec::new();
        let mut results = Vec::with_capacity(work.len());
        let alone = work.len() == 1;
        for (work, plain) in work {
            let guarded = !alone && !plain;
            let result = one(connection, &self.tails, &mut changes, &self.boot, work, guarded);
            match result {
                Ok(result) => results.push(result),
                Err(fault) => {
                    let _ = connection.batch_execute("rollback");
                    return Err(fault);
                }
            }
        }
        if alone && results.iter().any(Result::is_err) {
            connection.batch_execute("rollback")?;
            return Ok(results);
        }
        self.point(CommitPoint::Before);
        if let Some(connection) = &mut self.connection
            && let Err(error) = connection.batch_execute("commit")
        {
            let _ = connection.batch_execute("rollback");
            return Err(error.into());
        }
        metrics::histogram!(telemetry::STORE_COMMIT_SECONDS).record(begun.elapsed().as_secs_f64());
        self.tails.apply(changes);
        self.point(CommitPoint::After);
        Ok(results)
    }

    fn point(&self, point: CommitPoint) {
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook(point);
        }
    }

    fn connect(&mut self) -> Result<(), CommitFault> {
        if self.connection.is_some() {
            return Ok(());
        }
        let made = self.backend.writer().and_then(|mut connection| {
            if let (AnyConnection::Postgres(c), true) = (&mut connection, self.owner) {
                postgres::lock(c)?;
            }
            Ok(connection)
        });
        match made {
            Ok(connection) => {
                self.connection = Some(connection);
                Ok(())
            }
            Err(StoreFault::Unavailable(text) | StoreFault::Refused(text) | StoreFault::Corrupt(text)) => {
                Err(CommitFault::Unavailable(text))
            }
        }
    }
}

/// A hub that cannot write must not go on as if it could; a restart finds everything that was acknowledged.
fn end_the_process() -> ! {
    tracing::error!("the store's writer panicked; the process ends");
    eprintln!("the store's writer panicked; the process ends");
    std::process::abort();
}

/// One job within the transaction. The outer `Err` fails the group.
fn one(
    connection: &mut AnyConnection,
    tails: &Tails,
    changes: &mut Vec<Change>,
    boot: &str,
    work: Work,
    guarded: bool,
) -> Result<Result<(), CommitFault>, CommitFault> {
    let mark = changes.len();
    if guarded {
        connection.batch_execute("savepoint job")?;
    }
    let done = match work {
        Work::Batch(batch) => apply(connection, tails, changes, boot, &batch),
        Work::Call(call) => call(connection),
        Work::Flush | Work::Stop => Ok(()),
    };
    let Err(fault) = done else {
        if guarded {
            connection.batch_execute("release job")?;
        }
        return Ok(Ok(()));
    };
    changes.truncate(mark);
    let (fault, harmless) = fault.judge();
    if !guarded {
        // Alone in its transaction, which ends with it; a plain batch takes the group with it.
        return if harmless { Ok(Err(fault)) } else { Err(fault) };
    }
    // What the database does not call full or broken may be this job's own: if the savepoint still holds, it was.
    let full = matches!(fault, CommitFault::Full(_));
    if full || connection.batch_execute("rollback to job; release job").is_err() {
        return Err(fault);
    }
    Ok(Err(fault))
}

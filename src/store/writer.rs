//! One thread that commits everything queued at once.
//!
//! Batching comes from the disk itself: while one batch is being flushed, the next one queues. A change
//! that fails is dropped and the rest of its batch applied again. When the disk fails, the whole batch is
//! answered with an error, the files are closed, opened anew and replayed; nobody is told that something
//! is durable that is not. The writer also says when a checkpoint is due.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::database::Database;
use super::journal::Record;
use super::log_head::Log;
use super::news::News;
use super::reseal::{self, Place, Slice, Turn};
use super::tables::{Tables, to_cbor};
use super::{Change, Known, StoreError};
use crate::metrics::Metrics;
use crate::model::Blob;

/// How many changes may wait.
const QUEUE: usize = 4096;

/// How many changes one commit takes at most: all of them are in memory several times.
const BATCH: usize = 128;

/// A checkpoint is due when the journal has so many bytes, not counting the copy of the small tables four times,
const CHECKPOINT_BYTES: u64 = 6 * 1024 * 1024;

/// or so many changes,
const CHECKPOINT_CHANGES: u64 = 1_000;

/// or when the oldest of them is so old. Each checkpoint costs about 120 kB, be it for two changes.
const CHECKPOINT_AGE: Duration = Duration::from_secs(600);

/// Large copies come less often: for each of so many bytes there is one change more.
const COPIED_CHANGE: u64 = 256;

/// How long a disk that refused is left alone, unless somebody tends the store: a reopening is work.
const RETRY: Duration = Duration::from_secs(1);

/// So many bytes of derived changes are journalled for their own sake.
const DEFERRED: usize = 256 * 1024;

/// How long a caller waits for room in the queue.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Writer {
    core: Arc<Mutex<Core>>,
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    done: Mutex<Option<oneshot::Receiver<()>>>,
    inline: bool,
}

impl Writer {
    pub(super) fn start(
        database: Arc<Database>,
        log: Log,
        news: News,
        metrics: Arc<Metrics>,
        inline: bool,
    ) -> Result<Writer, StoreError> {
        news.tell(&log);
        let core = Core {
            database,
            log,
            news,
            metrics,
            deferred: Vec::new(),
            deferred_bytes: 0,
            since: Since::default(),
            refused_at: None,
        };
        let core = Arc::new(Mutex::new(core));
        let (mut queue, mut done) = (None, None);
        if !inline {
            let (sender, receiver) = mpsc::channel(QUEUE);
            let (finished, wait) = oneshot::channel();
            let worker = core.clone();
            let run = move || {
                work(&worker, receiver);
                let _ = finished.send(());
            };
            std::thread::Builder::new()
                .name("store".to_owned())
                .spawn(run)
                .map_err(|error| StoreError::Unavailable(error.to_string()))?;
            (queue, done) = (Some(sender), Some(wait));
        }
        Ok(Writer { core, queue: Mutex::new(queue), done: Mutex::new(done), inline })
    }

    pub(super) fn is_inline(&self) -> bool {
        self.inline
    }

    pub(super) fn commit<C: Change>(&self, change: C) -> impl Future<Output = Result<C::Outcome, StoreError>> + Send {
        let (reply, answer) = oneshot::channel();
        let job = Job::Change(Box::new(Pending { change, outcome: None, reply }));
        // What waits has no more room for the change itself.
        async move {
            self.send(job).await?;
            // The writer answers every job; a lost answer means that it has gone.
            answer.await.unwrap_or_else(|_| Err(stopped()))
        }
    }

    /// Opens what was closed, and makes the checkpoint that is due. Returns when that is done, so that whoever waits
    /// knows that the thread is at work.
    pub(super) async fn tend(&self) -> Result<(), StoreError> {
        let (done, wait) = oneshot::channel();
        self.send(Job::Tend(Instant::now(), done)).await?;
        // It is dropped then.
        let _ = wait.await;
        Ok(())
    }

    pub(super) async fn checkpoint(&self, turn: Turn) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Checkpoint(turn, reply)).await?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Reseals some rows from a place on.
    pub(super) async fn reseal(&self, from: Place) -> Result<Slice, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Reseal(from, reply)).await?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Lets the queue run empty and the thread end, and makes a last checkpoint.
    pub(super) async fn stop(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(done) = done {
            let _ = done.await;
        }
        self.core.lock().unwrap_or_else(PoisonError::into_inner).end();
    }

    async fn send(&self, job: Job) -> Result<(), StoreError> {
        if self.inline {
            self.core.lock().unwrap_or_else(PoisonError::into_inner).process(vec![job]);
            return Ok(());
        }
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(stopped)?;
        match queue.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(stopped()),
            Err(TrySendError::Full(job)) => match Box::pin(tokio::time::timeout(PATIENCE, queue.send(job))).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(stopped()),
                Err(_) => Err(StoreError::Busy),
            },
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("inline", &self.inline).finish_non_exhaustive()
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("it is stopping".to_owned())
}

fn work(core: &Mutex<Core>, mut queue: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut jobs, BATCH) > 0 {
        core.lock().unwrap_or_else(PoisonError::into_inner).process(std::mem::take(&mut jobs));
    }
}

enum Job {
    Change(Box<dyn Applied>),
    Checkpoint(Turn, oneshot::Sender<Result<(), StoreError>>),
    Reseal(Place, oneshot::Sender<Result<Slice, StoreError>>),
    Tend(Instant, oneshot::Sender<()>),
}

/// A change whose type is forgotten.
trait Applied: Send {
    fn settle(&mut self, known: &Known<'_>) -> bool;
    fn is_derived(&self) -> bool;
    fn record(&self) -> Record;
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), StoreError>;
    fn answer(self: Box<Self>, durable: Result<(), StoreError>);
}

struct Pending<C: Change> {
    change: C,
    outcome: Option<C::Outcome>,
    reply: oneshot::Sender<Result<C::Outcome, StoreError>>,
}

impl<C: Change> Applied for Pending<C> {
    fn settle(&mut self, known: &Known<'_>) -> bool {
        self.outcome = self.change.settled(known);
        self.outcome.is_some()
    }

    fn is_derived(&self) -> bool {
        self.change.is_derived()
    }

    /// Made when its batch is: many more changes may be waiting.
    fn record(&self) -> Record {
        Record(C::NAME.to_owned(), Blob(to_cbor(&self.change)), self.change.is_packed())
    }

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        self.outcome = Some(self.change.apply(tables)?);
        Ok(())
    }

    fn answer(self: Box<Self>, durable: Result<(), StoreError>) {
        let Pending { outcome, reply, .. } = *self;
        // A caller that went away does not matter: the change is durable all the same.
        let _ = reply.send(durable.and_then(|()| outcome.ok_or_else(stopped)));
    }
}

/// What has happened since the last checkpoint.
#[derive(Debug, Default)]
struct Since {
    changes: u64,
    /// When the first of them was made.
    first: Option<Instant>,
    /// How many bytes of the journal the copy of the small tables takes.
    copy: u64,
}

struct Core {
    database: Arc<Database>,
    log: Log,
    news: News,
    metrics: Arc<Metrics>,
    /// Derived changes that were applied and are journalled with the next one that must be durable.
    deferred: Vec<Record>,
    deferred_bytes: usize,
    since: Since,
    /// When the files were last tried to be opened again.
    refused_at: Option<Instant>,
}

impl Core {
    fn process(&mut self, jobs: Vec<Job>) {
        if !self.database.is_open() {
            let now = Instant::now();
            let is_early = self.refused_at.is_some_and(|at| now.duration_since(at) < RETRY);
            if is_early && !jobs.iter().any(|job| matches!(job, Job::Tend(..))) {
                let error = StoreError::Unavailable("the disk refused".to_owned());
                return jobs.into_iter().for_each(|job| job.refuse(&error));
            }
            self.refused_at = Some(now);
            match self.reopen() {
                Ok(()) => tracing::info!("the store is open again"),
                Err(error) => {
                    tracing::debug!(%error, "the store cannot be opened yet");
                    return jobs.into_iter().for_each(|job| job.refuse(&error));
                }
            }
        }
        let mut changes = Vec::with_capacity(jobs.len());
        let (mut asked, mut reseals, mut now, mut tended) = (Vec::new(), Vec::new(), None, None);
        for job in jobs {
            match job {
                Job::Change(change) => changes.push(change),
                Job::Checkpoint(turn, reply) => asked.push((turn, reply)),
                Job::Reseal(from, reply) => reseals.push((from, reply)),
                Job::Tend(at, done) => (now, tended) = (Some(at), Some(done)),
            }
        }
        let bytes = self.commit(self.unsettled(changes));
        for (from, reply) in reseals {
            drop(reply.send(self.reseal(from)));
        }
        let is_old = |first: Instant| now.is_some_and(|now| now.duration_since(first) >= CHECKPOINT_AGE);
        let is_due = self.since.changes >= CHECKPOINT_CHANGES + self.since.copy / COPIED_CHANGE
            || bytes >= CHECKPOINT_BYTES + 4 * self.since.copy
            || self.since.first.is_some_and(is_old);
        if is_due && asked.is_empty() {
            // What went wrong was said, and dealt with.
            let _ = self.checkpoint(Turn::Stay);
        }
        for (turn, reply) in asked {
            drop(reply.send(self.checkpoint(turn)));
        }
        drop(tended);
    }

    /// Answers the changes that have been made before; returns the others.
    fn unsettled(&self, mut changes: Vec<Box<dyn Applied>>) -> Vec<Box<dyn Applied>> {
        let mut settled = Vec::new();
        // If it is closed now, all of them meet that in a moment.
        let _ = self.database.known(&self.log, |known| {
            settled = changes.extract_if(.., |change| change.settle(known)).collect();
        });
        for change in settled {
            change.answer(Ok(()));
        }
        changes
    }

    /// Returns how many bytes of the journal are used.
    fn commit(&mut self, mut changes: Vec<Box<dyn Applied>>) -> u64 {
        let batch = changes.len() as u64;
        let mut records = self.records(&changes);
        while !changes.is_empty() {
            let started = Instant::now();
            let mut failed = None;
            let result = self.database.commit(std::mem::take(&mut records), &mut self.log, |tables| {
                for (place, change) in changes.iter_mut().enumerate() {
                    change.apply(tables).inspect_err(|_| failed = Some(place))?;
                }
                Ok(())
            });
            match (result, failed) {
                (Ok(bytes), _) => {
                    self.metrics.committed(changes.len(), started.elapsed());
                    self.since.changes += batch;
                    self.since.first.get_or_insert(started);
                    self.news.tell(&self.log);
                    for change in changes {
                        change.answer(Ok(()));
                    }
                    return bytes;
                }
                // A damaged row costs the change that met it; the others are applied again without it. All
                // are in the journal by now, and a replay leaves out the same.
                (Err(error @ StoreError::Damaged { table }), Some(place)) => {
                    tracing::error!(table, "a row is damaged");
                    changes.remove(place).answer(Err(error));
                }
                (Err(error), _) => {
                    self.trouble(&error);
                    let error = StoreError::Unavailable("the disk refused".to_owned());
                    for change in changes {
                        change.answer(Err(error.clone()));
                    }
                    return 0;
                }
            }
        }
        0
    }

    /// What is to be journalled of a batch: all of it and what was deferred, or nothing yet if all of it is
    /// derived.
    fn records(&mut self, changes: &[Box<dyn Applied>]) -> Vec<Record> {
        let is_urgent = changes.iter().any(|change| !change.is_derived());
        for record in changes.iter().map(|change| change.record()) {
            self.deferred_bytes += record.1.0.len();
            self.deferred.push(record);
        }
        if !is_urgent && self.deferred_bytes < DEFERRED {
            return Vec::new();
        }
        self.deferred_bytes = 0;
        std::mem::take(&mut self.deferred)
    }

    /// Not journalled: it changes nothing that a row says, and is done again if it is lost.
    fn reseal(&mut self, from: Place) -> Result<Slice, StoreError> {
        let mut slice = Slice::default();
        let result = self.database.commit(Vec::new(), &mut self.log, |tables| {
            slice = reseal::slice(tables, &from)?;
            Ok(())
        });
        match result {
            Ok(_) => {
                self.since.changes += slice.weight;
                self.since.first.get_or_insert(Instant::now());
                Ok(slice)
            }
            Err(error) => {
                self.trouble(&error);
                Err(error)
            }
        }
    }

    fn checkpoint(&mut self, turn: Turn) -> Result<(), StoreError> {
        self.deferred_bytes = 0;
        match self.database.checkpoint(std::mem::take(&mut self.deferred), &mut self.log, turn, false) {
            Ok(copy) => {
                self.since = Since { copy, ..Since::default() };
                Ok(())
            }
            Err(error) => {
                self.trouble(&error);
                Err(error)
            }
        }
    }

    /// The last checkpoint. If it fails, the journal holds everything all the same.
    fn end(&mut self) {
        if self.database.is_open()
            && self.since.first.is_some()
            && let Err(error) = self.database.checkpoint(std::mem::take(&mut self.deferred), &mut self.log, Turn::Stay, true)
        {
            tracing::warn!(%error, "the last checkpoint failed; the journal is replayed at the next start");
        }
    }

    fn trouble(&mut self, error: &StoreError) {
        tracing::error!(%error, "a commit failed; the store is closed and opened again");
        self.database.close();
        if let Err(error) = self.reopen() {
            tracing::error!(%error, "the store cannot be opened again yet");
        }
    }

    /// What is in memory follows the files: they may hold less than was applied, or, after a flush whose
    /// failure was only reported, more.
    fn reopen(&mut self) -> Result<(), StoreError> {
        (self.deferred_bytes, self.deferred) = (0, Vec::new());
        self.since = Since::default();
        self.log = self.database.reopen()?;
        // What was reported as failed may be there all the same, and what was derived may be gone: followers look.
        self.news.grew.send_replace(self.log.newest());
        self.news.connections.send_replace(self.log.memo.connections());
        self.news.tell(&self.log);
        Ok(())
    }
}

impl Job {
    fn refuse(self, error: &StoreError) {
        match self {
            Job::Change(change) => change.answer(Err(error.clone())),
            Job::Checkpoint(_, reply) => drop(reply.send(Err(error.clone()))),
            Job::Reseal(_, reply) => drop(reply.send(Err(error.clone()))),
            Job::Tend(..) => {}
        }
    }
}

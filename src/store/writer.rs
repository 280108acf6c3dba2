//! One thread that commits everything queued at once.
//!
//! Batching comes from the disk itself: while one batch is being flushed, the next one queues. A change
//! that fails is dropped and the rest of its batch applied again. When the disk fails, the whole batch is
//! answered with an error, the file is closed and opened anew; nobody is told that something is durable
//! that is not.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::database::Database;
use super::tables::Tables;
use super::webhook_log::Window;
use super::{Change, StoreError};
use crate::metrics::Metrics;
use crate::model::Seq;

/// How many changes may wait.
const QUEUE: usize = 4096;

/// How many changes one commit takes at most.
const BATCH: usize = 1024;

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
        grew: watch::Sender<Seq>,
        metrics: Arc<Metrics>,
        inline: bool,
    ) -> Result<Writer, StoreError> {
        let window = database.read(Window::load)?;
        grew.send_replace(window.newest());
        let core = Arc::new(Mutex::new(Core { database, window, grew, metrics }));
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

    pub(super) async fn commit<C: Change>(&self, change: C) -> Result<C::Outcome, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Change(Box::new(Pending { change, outcome: None, reply }))).await?;
        // The writer answers every job; a lost answer means that it has gone.
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    pub(super) async fn heal(&self) -> Result<(), StoreError> {
        self.send(Job::Heal).await
    }

    /// Lets the queue run empty and the thread end.
    pub(super) async fn stop(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(done) = done {
            let _ = done.await;
        }
    }

    async fn send(&self, job: Job) -> Result<(), StoreError> {
        if self.inline {
            self.core.lock().unwrap_or_else(PoisonError::into_inner).process(vec![job]);
            return Ok(());
        }
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(stopped)?;
        match tokio::time::timeout(PATIENCE, queue.send(job)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(stopped()),
            Err(_) => Err(StoreError::Busy),
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
    Heal,
}

/// A change whose type is forgotten.
trait Applied: Send {
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), StoreError>;
    fn answer(self: Box<Self>, durable: Result<(), StoreError>);
}

struct Pending<C: Change> {
    change: C,
    outcome: Option<C::Outcome>,
    reply: oneshot::Sender<Result<C::Outcome, StoreError>>,
}

impl<C: Change> Applied for Pending<C> {
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

struct Core {
    database: Arc<Database>,
    window: Window,
    grew: watch::Sender<Seq>,
    metrics: Arc<Metrics>,
}

impl Core {
    fn process(&mut self, jobs: Vec<Job>) {
        if !self.database.is_open() {
            match self.reopen() {
                Ok(()) => tracing::info!("the store is open again"),
                Err(error) => {
                    tracing::debug!(%error, "the store cannot be opened yet");
                    for job in jobs {
                        if let Job::Change(change) = job {
                            change.answer(Err(error.clone()));
                        }
                    }
                    return;
                }
            }
        }
        let changes =
            jobs.into_iter().filter_map(|job| if let Job::Change(change) = job { Some(change) } else { None }).collect();
        self.commit(changes);
    }

    fn commit(&mut self, mut changes: Vec<Box<dyn Applied>>) {
        while !changes.is_empty() {
            let started = tokio::time::Instant::now();
            let window = &mut self.window;
            let mut failed = None;
            let result = self.database.write(|transaction, places| {
                let mut tables = Tables::new(transaction, places, window);
                for (place, change) in changes.iter_mut().enumerate() {
                    change.apply(&mut tables).inspect_err(|_| failed = Some(place))?;
                }
                Ok(())
            });
            match (result, failed) {
                (Ok(()), _) => {
                    self.window.keep();
                    self.metrics.committed(changes.len(), started.elapsed());
                    let newest = self.window.newest();
                    self.grew.send_if_modified(|seq| std::mem::replace(seq, newest) != newest);
                    return changes.into_iter().for_each(|change| change.answer(Ok(())));
                }
                // A damaged row costs the change that met it; the others are applied again without it.
                (Err(error @ StoreError::Damaged { table }), Some(place)) => {
                    tracing::error!(table, "a row is damaged");
                    self.window.forget();
                    changes.remove(place).answer(Err(error));
                }
                (Err(error), _) => {
                    tracing::error!(%error, "a commit failed; the store is closed and opened again");
                    self.database.close();
                    let error = StoreError::Unavailable("the disk refused".to_owned());
                    for change in changes {
                        change.answer(Err(error.clone()));
                    }
                    if let Err(error) = self.reopen() {
                        tracing::error!(%error, "the store cannot be opened again yet");
                    }
                    return;
                }
            }
        }
    }

    /// What is in memory follows the file: it may hold less than was applied, or, after a flush whose
    /// failure was only reported, more.
    fn reopen(&mut self) -> Result<(), StoreError> {
        self.database.reopen()?;
        match self.database.read(Window::load) {
            Ok(window) => {
                self.window = window;
                // What was reported as failed may be there all the same: followers look.
                self.grew.send_replace(self.window.newest());
                Ok(())
            }
            Err(error) => {
                self.database.close();
                Err(error)
            }
        }
    }
}

//! Writes frames to the journal on a thread of its own, so that a batch is applied to the tables while
//! the disk makes it durable.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::StoreError;
use super::journal::{Journal, Record};
use crate::model::Seq;

#[derive(Debug)]
pub(super) struct Flusher(Option<SyncSender<Job>>);

#[derive(Debug)]
struct Job {
    journal: Arc<Mutex<Journal>>,
    after: Seq,
    changes: Vec<Record>,
    done: SyncSender<Result<(), StoreError>>,
}

/// A frame on its way to the disk.
#[derive(Debug)]
pub(super) enum Flushing {
    Done(Result<(), StoreError>),
    Underway(Receiver<Result<(), StoreError>>),
}

impl Flusher {
    /// Without a thread, frames are written by whoever begins them.
    pub(super) fn start(inline: bool) -> Result<Flusher, StoreError> {
        if inline {
            return Ok(Flusher(None));
        }
        let (sender, jobs) = sync_channel::<Job>(1);
        let run = move || {
            for Job { journal, after, changes, done } in jobs {
                // Whoever began it may have given up.
                let _ = done.send(append(&journal, after, changes));
            }
        };
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(run);
        thread.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Flusher(Some(sender)))
    }

    pub(super) fn begin(&self, journal: &Arc<Mutex<Journal>>, after: Seq, changes: Vec<Record>) -> Flushing {
        let Some(thread) = &self.0 else { return Flushing::Done(append(journal, after, changes)) };
        let (done, result) = sync_channel(1);
        match thread.send(Job { journal: journal.clone(), after, changes, done }) {
            Ok(()) => Flushing::Underway(result),
            Err(_) => Flushing::Done(Err(ended())),
        }
    }
}

impl Flushing {
    pub(super) fn wait(self) -> Result<(), StoreError> {
        match self {
            Flushing::Done(result) => result,
            Flushing::Underway(result) => result.recv().unwrap_or_else(|_| Err(ended())),
        }
    }
}

fn append(journal: &Mutex<Journal>, after: Seq, changes: Vec<Record>) -> Result<(), StoreError> {
    journal.lock().unwrap_or_else(PoisonError::into_inner).append(after, changes)
}

fn ended() -> StoreError {
    StoreError::Unavailable("the journal's thread has ended".to_owned())
}

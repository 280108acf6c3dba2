//! What Smartcar was asked for lately, and what came of it: a client that asks again and again must not spend the
//! month's calls on a car that fails, or on what it never tells.
//!
//! What must stay true: of what came to nothing, nobody asks again before its wait is over, and each wait is twice as
//! long as the one before. Notes are in memory, for on disk each read that fails would cost a write: what is due for a
//! vehicle is asked for together, so a restart costs one call for each at most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

use crate::model::api_error::ApiError;
use crate::model::{Timestamp, VehicleId};

/// The name under which it is noted that a whole vehicle fails.
pub(super) const VEHICLE: &str = "/";

/// The name under which asking for everything is noted.
pub(super) const EVERYTHING: &str = "/signals";

/// The notes. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    /// How many reads have ended.
    ended: u64,
    of: HashMap<(VehicleId, &'static str), Note>,
    /// Who reads a vehicle now, and who waits for that.
    queues: HashMap<VehicleId, Weak<Queue<()>>>,
}

/// The last time something was asked for.
#[derive(Clone, Debug)]
pub(super) struct Note {
    /// When the answer was here.
    pub(super) at: Timestamp,
    /// When the question went out: the answer need not tell of anything later.
    pub(super) began: Timestamp,
    /// Which of the reads it was.
    number: u64,
    /// How often in a row nothing came of it.
    failures: u32,
    why: Vain,
}

/// Why nothing came.
#[derive(Clone, Debug)]
pub(super) enum Vain {
    /// It came.
    Not,
    /// Smartcar has told nothing of it, or that it cannot.
    Nothing,
    /// Smartcar said why.
    Failed(ApiError),
}

impl Note {
    /// Whether something came.
    pub(super) fn is_good(&self) -> bool {
        matches!(self.why, Vain::Not)
    }

    /// Whether a read that ended after the moment of [`Asked::moment`] has asked for it.
    pub(super) fn is_after(&self, moment: u64) -> bool {
        self.number > moment
    }

    /// Until when nobody asks again.
    pub(super) fn until(&self) -> Timestamp {
        let (first, least) = match &self.why {
            Vain::Not => return self.at,
            Vain::Nothing => (NOTHING_TOLD, Duration::ZERO),
            Vain::Failed(error) => (FAILED, error.retry_after.unwrap_or_default()),
        };
        self.at.after((first * (1 << self.failures.saturating_sub(1).min(9))).min(LONGEST).max(least))
    }

    /// What Smartcar said.
    pub(super) fn error(&self) -> Option<&ApiError> {
        if let Vain::Failed(error) = &self.why { Some(error) } else { None }
    }
}

impl Asked {
    /// Now: reads that end later count as fresh, whoever began them.
    pub(super) fn moment(&self) -> u64 {
        self.notes().ended
    }

    /// Waits until nobody else reads a vehicle.
    pub(super) async fn turn(&self, id: &VehicleId) -> OwnedMutexGuard<()> {
        let queue = {
            let queues = &mut self.notes().queues;
            queues.retain(|_, queue| queue.strong_count() > 0);
            let queue = queues.get(id).and_then(Weak::upgrade).unwrap_or_default();
            queues.insert(id.clone(), Arc::downgrade(&queue));
            queue
        };
        queue.lock_owned().await
    }

    /// When something was last asked for.
    pub(super) fn last(&self, id: &VehicleId, path: &'static str) -> Option<Note> {
        self.notes().of.get(&(id.clone(), path)).cloned()
    }

    /// Whether something else of a vehicle has failed since anything came.
    pub(super) fn is_failing(&self, id: &VehicleId, besides: &str) -> bool {
        let notes = self.notes();
        let of_vehicle = || notes.of.iter().filter(|((of, _), _)| of == id).map(|((_, path), note)| (*path, note));
        let came = of_vehicle().filter(|(_, note)| note.is_good()).map(|(_, note)| note.number).max();
        let is_other = |path: &str| path != besides && path != VEHICLE;
        of_vehicle().any(|(path, note)| is_other(path) && note.error().is_some() && Some(note.number) > came)
    }

    /// A read has ended that began at one time and ended at another, with this result for each of what it asked for.
    pub(super) fn note(
        &self,
        id: &VehicleId,
        (began, at): (Timestamp, Timestamp),
        results: impl IntoIterator<Item = (&'static str, Vain)>,
    ) {
        let mut notes = self.notes();
        notes.ended += 1;
        let number = notes.ended;
        for (path, why) in results {
            let before = notes.of.get(&(id.clone(), path)).map_or(0, |note| note.failures);
            let failures = if matches!(why, Vain::Not) { 0 } else { before.saturating_add(1) };
            notes.of.insert((id.clone(), path), Note { at, began, number, failures, why });
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first wait for what Smartcar had nothing of.
const NOTHING_TOLD: Duration = Duration::from_secs(3600);

/// The first wait after a failure that may pass.
const FAILED: Duration = Duration::from_secs(300);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

//! Times in which deliveries were refused that Smartcar had sent: because the store could not take them, or because what
//! proves them was the token of another application.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{REFUSALS, locked};
use crate::model::Timestamp;
use crate::model::gap::Unproven;

/// When deliveries were refused.
#[derive(Debug, Default)]
pub(super) struct Deaf {
    /// Since when proven ones have been, in milliseconds; 0 while they are taken.
    since: AtomicI64,
    /// Since when none could be proven, in milliseconds; 0 if the last could. What is behind the lock tells more.
    unproven_since: AtomicI64,
    unproven: Mutex<Option<Unproven>>,
    /// Times that are over.
    over: Mutex<VecDeque<(Timestamp, Timestamp)>>,
}

impl Deaf {
    /// A proven delivery could not be taken.
    pub(super) fn refused(&self, at: Timestamp) {
        let _ = self.since.compare_exchange(0, at.as_millis(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// None of `tokens` proves a delivery: anybody can send such a one, so it counts only if other tokens prove the next.
    pub(super) fn unproven(&self, unproven: Unproven) {
        let mut known = locked(&self.unproven);
        if known.is_none_or(|known| unproven.since < known.since) {
            *known = Some(unproven);
            self.unproven_since.store(unproven.since.as_millis(), Ordering::Relaxed);
        }
    }

    /// A delivery that `tokens` prove was taken.
    pub(super) fn taken(&self, at: Timestamp, tokens: impl FnOnce() -> [u8; 32]) {
        if self.since.load(Ordering::Relaxed) != 0 {
            let since = self.since.swap(0, Ordering::Relaxed);
            self.is_over((since != 0).then(|| Timestamp::from_millis(since)), at);
        }
        if self.unproven_since.load(Ordering::Relaxed) != 0 {
            let mut known = locked(&self.unproven);
            self.unproven_since.store(0, Ordering::Relaxed);
            let unproven = known.take().filter(|unproven| unproven.tokens != tokens());
            self.is_over(unproven.map(|unproven| unproven.since), at);
        }
    }

    fn is_over(&self, since: Option<Timestamp>, until: Timestamp) {
        let mut over = locked(&self.over);
        // Nobody may ask; a disk that stutters must not fill the memory.
        if let Some(since) = since
            && over.len() < REFUSALS
        {
            over.push_back((since, until));
        }
    }

    /// A time that is over: each is told once, the oldest first.
    pub(super) fn was(&self) -> Option<(Timestamp, Timestamp)> {
        locked(&self.over).pop_front()
    }

    /// Since when proven deliveries have been refused, if the last was.
    pub(super) fn since(&self) -> Option<Timestamp> {
        let since = self.since.load(Ordering::Relaxed);
        (since != 0).then(|| Timestamp::from_millis(since))
    }

    /// Since when no delivery could be proven, if the last could not.
    pub(super) fn has_unproven(&self) -> Option<Unproven> {
        *locked(&self.unproven)
    }
}

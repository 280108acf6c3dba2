//! Times in which deliveries were refused that Smartcar had sent: because the store could not take them, or because what
//! proves them was the token of another application.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::{REFUSALS, locked};
use crate::model::Timestamp;
use crate::model::gap::Unproven;

/// When deliveries were refused.
#[derive(Debug, Default)]
pub(super) struct Deaf {
    /// Since when proven ones have been, in milliseconds; 0 while they are taken.
    since: AtomicI64,
    /// Whether there is anything in `unproven`, and whether it tells of the present tokens: for whoever has no time to look.
    is_unproven: AtomicBool,
    is_noted: AtomicBool,
    /// Since when none could be proven, by the tokens that did not prove them.
    unproven: Mutex<Vec<Unproven>>,
    /// Times that are over.
    over: Mutex<VecDeque<(Timestamp, Timestamp)>>,
}

impl Deaf {
    /// A proven delivery could not be taken.
    pub(super) fn refused(&self, at: Timestamp) {
        let _ = self.since.compare_exchange(0, at.as_millis(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The present tokens do not prove a delivery: anybody can send such a one, so it counts only if others prove the next.
    pub(super) fn unproven(&self, unproven: impl FnOnce() -> Unproven) {
        if !self.is_noted.load(Ordering::Relaxed) {
            let mut all = locked(&self.unproven);
            note(&mut all, unproven());
            self.is_unproven.store(true, Ordering::Relaxed);
            self.is_noted.store(true, Ordering::Relaxed);
        }
    }

    /// Goes on from what was known before.
    pub(super) fn recall(&self, unproven: Vec<Unproven>) {
        let mut all = locked(&self.unproven);
        for each in unproven {
            note(&mut all, each);
        }
        self.is_unproven.store(!all.is_empty(), Ordering::Relaxed);
    }

    /// There are other tokens.
    pub(super) fn tokens_changed(&self) {
        self.is_noted.store(false, Ordering::Relaxed);
    }

    /// A delivery that these tokens prove was taken.
    pub(super) fn taken(&self, at: Timestamp, tokens: impl FnOnce() -> [u8; 32]) {
        if self.since.load(Ordering::Relaxed) != 0 {
            let since = self.since.swap(0, Ordering::Relaxed);
            self.is_over((since != 0).then(|| Timestamp::from_millis(since)), at);
        }
        if self.is_unproven.load(Ordering::Relaxed) {
            let mut all = locked(&self.unproven);
            self.is_unproven.store(false, Ordering::Relaxed);
            self.is_noted.store(false, Ordering::Relaxed);
            let tokens = tokens();
            let by_others = all.drain(..).filter(|unproven| unproven.tokens != tokens);
            self.is_over(by_others.map(|unproven| unproven.since).min(), at);
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

    /// Since when no delivery could be proven, by the tokens that did not prove them; empty if the last could.
    pub(super) fn all_unproven(&self) -> Vec<Unproven> {
        locked(&self.unproven).clone()
    }
}

fn note(all: &mut Vec<Unproven>, unproven: Unproven) {
    if let Some(known) = all.iter_mut().find(|known| known.tokens == unproven.tokens) {
        known.since = known.since.min(unproven.since);
    } else if all.len() < MISTAKES {
        all.push(unproven);
    }
}

/// How many sets of tokens are remembered that did not prove a delivery: who mistypes does not do so for ever.
const MISTAKES: usize = 8;

//! Whether the disk has room for more: a full one is met before it is full.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::files::Files;

#[derive(Debug)]
pub(super) struct Room {
    min_free: u64,
    is_low: AtomicBool,
    /// How much had been written at the last look.
    written: AtomicU64,
}

/// After so many bytes it is looked at again: under a burst a second is long.
const LOOK_AFTER: u64 = 1 << 20;

impl Room {
    pub(super) fn new(min_free: u64) -> Room {
        Room { min_free, is_low: AtomicBool::new(false), written: AtomicU64::new(0) }
    }

    /// Looks at the disk. One that tells nothing is taken to have room: its writes will say otherwise.
    pub(super) fn look(&self, files: &dyn Files) {
        self.written.store(files.written(), Ordering::Relaxed);
        let free = files.free().ok().flatten();
        let is_low = free.is_some_and(|free| free < self.min_free);
        if is_low == self.is_low.swap(is_low, Ordering::Relaxed) {
            return;
        }
        let min_free = self.min_free;
        if is_low {
            tracing::error!(free, min_free, "the disk is nearly full: no token is refreshed, and webhooks are answered 503");
        } else {
            tracing::info!(free, min_free, "the disk has room again");
        }
    }

    /// Whether it is low. Looks again if much was written since the last time.
    pub(super) fn is_low(&self, files: &dyn Files) -> bool {
        if files.written().wrapping_sub(self.written.load(Ordering::Relaxed)) >= LOOK_AFTER {
            self.look(files);
        }
        self.is_low.load(Ordering::Relaxed)
    }
}

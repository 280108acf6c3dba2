//! Whether the disk has room for more: a full one is met before it is full.

use std::sync::atomic::{AtomicBool, Ordering};

use super::files::Files;

#[derive(Debug)]
pub(super) struct Room {
    min_free: u64,
    is_low: AtomicBool,
}

impl Room {
    pub(super) fn new(min_free: u64) -> Room {
        Room { min_free, is_low: AtomicBool::new(false) }
    }

    /// Looks at the disk. One that tells nothing is taken to have room: its writes will say otherwise.
    pub(super) fn look(&self, files: &dyn Files) {
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

    pub(super) fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }
}

//! How much of the webhook log is kept, and how much of it may be unread.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How much the ring holds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ring {
    /// At most so many entries.
    pub events: u64,
    /// At most so many bytes of bodies.
    pub bytes: u64,
    /// How long event ids are remembered at least.
    pub dedupe_for: Duration,
}

impl Ring {
    /// With so many entries unread, new ones should wait: about three quarters of what it holds.
    pub fn pressure(&self) -> u64 {
        (self.holds() * 3 / 4).max(1)
    }

    /// So many entries may be unread for as long as more come in: about half of what it holds.
    pub fn patience(&self) -> u64 {
        self.holds() / 2
    }

    /// How many entries it holds, about.
    fn holds(&self) -> u64 {
        self.events.min(self.bytes / USUAL)
    }
}

/// What a body has in bytes, usually.
const USUAL: u64 = 4096;

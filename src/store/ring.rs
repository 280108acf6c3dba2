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

/// What of the log is still to become vehicle data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// So many places of it.
    pub unread: u64,
    /// How many entries the log has.
    pub entries: u64,
    /// Length of their bodies.
    pub bytes: u64,
}

impl Ring {
    /// Whether so much of it is unread that new entries should wait: three quarters of what it holds.
    pub fn is_pressed(&self, backlog: Backlog) -> bool {
        self.unread(backlog) >= 75
    }

    /// Whether no more of it should be unread, however many come in: half of what it holds.
    pub fn is_half_unread(&self, backlog: Backlog) -> bool {
        self.unread(backlog) >= 50
    }

    /// How much of it is unread, in hundredths: by count, or by bytes where bodies are long.
    fn unread(&self, Backlog { unread, entries, bytes }: Backlog) -> u64 {
        let unread_bytes = bytes / entries.max(1) * unread.min(entries);
        let hundredths = |part: u64, whole: u64| part.saturating_mul(100) / whole.max(1);
        hundredths(unread, self.events).max(hundredths(unread_bytes, self.bytes))
    }
}

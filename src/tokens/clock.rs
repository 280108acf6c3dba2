//! Whether the wall clock can be believed.
//!
//! A small machine may boot in 1970 and be set right minutes later; another one sleeps for a week. Each time
//! the wall clock and the time that really passed disagree, decisions that need a date wait until it is settled.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::Timestamp;

/// What was seen of the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    seen: (Timestamp, Instant),
    /// Since when it has gone steadily.
    steady_since: Instant,
    /// It has jumped at least once.
    has_jumped: bool,
}

/// A jump by less is none: access tokens live for hours.
const TOLERANCE: Duration = Duration::from_secs(300);

/// So long after a jump nothing is due: many a jump is taken back at once, and after a sleep the network is not
/// there yet.
const SETTLING: Duration = Duration::from_secs(120);

/// After so long a clock is taken at its word, whatever the store says.
const STEADY: Duration = Duration::from_secs(3600);

impl Watch {
    pub(super) fn new(wall: Timestamp) -> Watch {
        let now = Instant::now();
        Watch { seen: (wall, now), steady_since: now, has_jumped: false }
    }

    /// Looks at the clock; to be called every minute or so.
    pub(super) fn look(&mut self, wall: Timestamp) {
        let now = Instant::now();
        let (wall_before, before) = self.seen;
        let expected = wall_before.after(now - before);
        if wall.since(expected).max(expected.since(wall)) > TOLERANCE {
            tracing::warn!(from = %expected, to = %wall, "the clock has jumped: refreshes that are due wait a moment");
            (self.steady_since, self.has_jumped) = (now, true);
        }
        self.seen = (wall, now);
    }

    /// How long it is not to be decided what is due.
    pub(super) fn unsettled(&self) -> Option<Duration> {
        let since = self.steady_since.elapsed();
        (self.has_jumped && since < SETTLING).then(|| SETTLING.saturating_sub(since))
    }

    /// Whether times from the future are wrong rather than the clock.
    pub(super) fn is_steady(&self) -> bool {
        self.steady_since.elapsed() >= STEADY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_jump_unsettles_for_a_while() {
        let start = Timestamp::from_millis(1_760_000_000_000);
        let mut watch = Watch::new(start);
        let minute = Duration::from_secs(60);
        for minutes in 1..=60 {
            tokio::time::advance(minute).await;
            watch.look(start.after(minutes * minute));
            assert_eq!(watch.unsettled(), None);
        }
        assert!(watch.is_steady());
        for jumped in [start.after(1000 * 24 * 60 * minute), Timestamp::from_millis(0), start] {
            watch.look(jumped);
            assert!(watch.unsettled().is_some() && !watch.is_steady());
        }
        tokio::time::advance(2 * minute).await;
        watch.look(start.after(2 * minute));
        assert_eq!(watch.unsettled(), None);
        assert!(!watch.is_steady());
    }
}

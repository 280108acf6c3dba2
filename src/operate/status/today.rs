//! What was written since midnight, of a figure that only grows.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::Timestamp;
use crate::world::World;

/// The day that was seen last, and how far the figure had come before it.
#[derive(Debug)]
pub(super) struct Today(Mutex<(i64, u64)>);

impl Today {
    /// From a start with nothing on.
    pub(super) fn since(start: Timestamp) -> Today {
        Today(Mutex::new((day(start), 0)))
    }

    /// How much of `total` is of today. Whoever wants it right looks at the beginning of each day.
    pub(super) fn of(&self, total: u64, now: Timestamp) -> u64 {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != day(now) {
            *seen = (day(now), total);
        }
        total.saturating_sub(seen.1)
    }

    /// Looks at the beginning of each day.
    pub(super) async fn run(&self, total: impl Fn() -> u64, world: &World) {
        loop {
            let now = world.now();
            self.of(total(), now);
            tokio::time::sleep(Today::rest(now)).await;
        }
    }

    /// How long until the next look: until midnight, but an hour at most, since clocks are set.
    fn rest(now: Timestamp) -> Duration {
        let left = DAY - now.as_millis().rem_euclid(DAY);
        Duration::from_millis(left.unsigned_abs()).min(Duration::from_secs(3600))
    }
}

/// Days since 1970, in UTC.
fn day(time: Timestamp) -> i64 {
    time.as_millis().div_euclid(DAY)
}

/// In milliseconds.
const DAY: i64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_day_begins_with_nothing() {
        let at = Timestamp::from_millis;
        let today = Today::since(at(DAY - 10));
        assert_eq!(today.of(7, at(DAY - 1)), 7);
        assert_eq!(today.of(9, at(DAY)), 0);
        assert_eq!(today.of(12, at(2 * DAY - 1)), 3);
        assert_eq!(Today::rest(at(DAY - 10)), Duration::from_millis(10));
        assert_eq!(Today::rest(at(5)), Duration::from_secs(3600));
    }
}

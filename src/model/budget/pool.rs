//! The bucket that all calls of the application share.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rest;
use crate::model::Timestamp;

/// The bucket that all calls of the application share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// What is left, in thousandths of a call.
    pub level: u64,
    /// When that was so.
    pub at: Timestamp,
    /// Smartcar wants to be left alone until then.
    pub rests_until: Timestamp,
    /// How often in a row it said so.
    pub refusals: u32,
    /// When it said so last, which empties the bucket; 1970: never, or an earlier Carport did not keep it.
    #[serde(default)]
    pub refused_at: Timestamp,
}

/// How many calls the bucket holds, and how many come back each minute (Smartcar's `help/api-limits`).
pub const POOL: u64 = 120;
/// See [`POOL`].
pub const POOL_PER_MINUTE: u64 = 2;
/// How many milliseconds it takes for a thousandth of a call to come back.
const MILLIS: u64 = 60 / POOL_PER_MINUTE;
/// How many of them are left to others by a reason that leaves a share.
pub const POOL_SHARE: u32 = 30;
/// How many of them are left to others by whatever nobody waits for: who is told when the bucket opens finds it open.
pub const POOL_LAST: u32 = 1;
/// How many of them scheduled reads leave to others: to commands, and to whoever asks.
pub const POOL_HALF: u32 = 60;
/// Who leaves so many calls to others waits until it is full.
pub const POOL_BUT_ONE: u32 = 119;

impl Default for Pool {
    fn default() -> Pool {
        let never = Timestamp::default();
        Pool { level: POOL * 1000, at: never, rests_until: never, refusals: 0, refused_at: never }
    }
}

impl Pool {
    /// The same at another time, or up to 30 ms before: what is less than a thousandth of a call is counted on, so that the
    /// time at which it opens is the same whenever somebody asks. A clock that went back fills nothing.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Pool {
        let elapsed = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let back = elapsed / MILLIS;
        let level = self.level.saturating_add(back).min(POOL * 1000);
        let counts_on = now > self.at && level < POOL * 1000;
        let at = if counts_on { self.at.after(Duration::from_millis(back * MILLIS)) } else { now };
        Pool { level, at, ..self }
    }

    fn emptied() -> Pool {
        Pool { level: 0, ..Pool::default() }
    }

    /// Until when Smartcar wants to be left alone, if it does now.
    pub fn rest(&self, now: Timestamp) -> Option<Timestamp> {
        rest(self.rests_until, now)
    }

    /// How long until it holds a whole call more than `kept`.
    pub fn wait(&self, kept: u32) -> Duration {
        let wanted = (u64::from(kept) + 1) * 1000;
        Duration::from_millis(wanted.saturating_sub(self.level) * MILLIS)
    }

    /// When somebody who leaves `kept` calls to others may call, if nobody else does.
    pub fn opens_at(&self, kept: u32) -> Timestamp {
        self.at.after(self.wait(kept)).max(self.rest(self.at).unwrap_or_default())
    }

    /// Until when somebody who leaves `kept` calls to others has to wait for the bucket, if it holds too few now.
    pub fn closed_until(&self, kept: u32, now: Timestamp) -> Option<Timestamp> {
        Some(self.opens_at(kept)).filter(|opens_at| *opens_at > now)
    }

    /// When Smartcar refused the calls of the whole application, as long as somebody who leaves `kept` calls to others waits
    /// because of it: later, more have come back, and it is Carport that has made them.
    pub fn felt_refusal(&self, kept: u32) -> Option<Timestamp> {
        let is_felt = self.rest(self.at).is_some() || self.at.since(self.refused_at) < Pool::emptied().wait(kept);
        Some(self.refused_at).filter(|at| is_felt && *at != Timestamp::default() && *at <= self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn the_pool_fills_by_two_a_minute() {
        let begin = time("2026-11-22T00:00:00Z");
        let empty = Pool { level: 0, at: begin, ..Pool::default() };
        assert_eq!((empty.wait(0), empty.wait(1)), (Duration::from_secs(30), Duration::from_secs(60)));
        assert_eq!(empty.clone().at(begin.after(Duration::from_secs(30))).level, 1000);
        assert_eq!(empty.clone().at(begin.after(Duration::from_secs(86_400))).level, POOL * 1000);
        assert_eq!(empty.clone().at(begin.before(Duration::from_secs(60))).level, 0);
        // Nobody waits for a bucket that holds enough.
        let half_full = begin.after(Duration::from_secs(61 * 30));
        assert_eq!(empty.closed_until(POOL_HALF, begin), Some(half_full));
        assert_eq!(empty.clone().at(half_full).closed_until(POOL_HALF, half_full), None);
        // However often somebody asks, and whether that is kept or not, it opens when it was said to.
        let mut asked = empty.clone();
        for millis in (0..30_000).step_by(17) {
            let now = begin.after(Duration::from_millis(millis));
            asked = asked.at(now);
            let told = [asked.opens_at(0), empty.clone().at(now).opens_at(0)];
            assert_eq!(told, [begin.after(Duration::from_secs(30)); 2], "{millis}");
        }
    }

    #[test]
    fn a_refusal_is_felt_until_the_pool_is_full_again() {
        let begin = time("2026-11-22T00:00:00Z");
        let rests_until = begin.after(Duration::from_secs(90));
        let refused = Pool { level: 0, at: begin, rests_until, refusals: 1, refused_at: begin };
        assert_eq!((refused.opens_at(0), refused.opens_at(POOL_HALF)), (rests_until, begin.after(Duration::from_secs(1830))));
        let felt = |seconds, kept| refused.clone().at(begin.after(Duration::from_secs(seconds))).felt_refusal(kept).is_some();
        assert_eq!([0, 89, 90, 3599].map(|seconds| felt(seconds, 0)), [true, true, false, false], "while it rests");
        assert_eq!([90, 1829, 1830].map(|seconds| felt(seconds, POOL_HALF)), [true, true, false], "61 have come back by then");
        assert_eq!([0, 3599, 3600].map(|seconds| felt(seconds, POOL_BUT_ONE)), [true, true, false]);
        assert_eq!((POOL, Pool::default().at(begin).felt_refusal(POOL_BUT_ONE)), (u64::from(POOL_BUT_ONE) + 1, None));
    }
}

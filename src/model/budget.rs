//! Calls that count against Smartcar's plan: why they are made, the leave to make one, and what was made.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::ToSpan;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{Timestamp, VehicleId};

mod pool;

pub use pool::{POOL, POOL_BUT_ONE, POOL_HALF, POOL_LAST, POOL_PER_MINUTE, POOL_SHARE, Pool};

/// Why a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The first picture of a newly linked car.
    Picture,
    /// Deliveries may have been lost.
    Gap,
    /// Somebody asked Carport for fresh values.
    Request,
    /// A client of Smartcar's own API asked, and nothing good enough is stored.
    Compat,
    /// The same, with a token that may only read.
    Reader,
    /// A command.
    Command,
    /// A scheduled read (`poll.every`).
    Poll,
}

impl Reason {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Picture => "picture",
            Reason::Gap => "gap",
            Reason::Request => "request",
            Reason::Compat => "compat",
            Reason::Reader => "reader",
            Reason::Command => "command",
            Reason::Poll => "poll",
        }
    }

    /// Whether it may use what is kept in reserve.
    pub fn uses_reserve(self) -> bool {
        matches!(self, Reason::Gap | Reason::Command)
    }

    /// Whether it must leave something to all others: whoever may only read must not be able to keep an owner from
    /// asking.
    pub fn leaves_a_share(self) -> bool {
        self == Reason::Reader
    }

    /// How many calls of the application's bucket it leaves to others.
    pub fn leaves(self) -> u32 {
        match self {
            Reason::Reader => POOL_SHARE,
            Reason::Picture | Reason::Gap | Reason::Poll => POOL_LAST,
            Reason::Request | Reason::Compat | Reason::Command => 0,
        }
    }
}

/// The leave to call Smartcar about one vehicle, for one reason. A call that counts cannot be made without one, and
/// only the ledger (`budget`) grants them.
#[derive(Debug)]
pub struct Permit {
    /// The row of the vehicle, or [`APPLICATION`].
    pub vehicle: u32,
    /// Which vehicle that is: its row may be gone when the answer is here.
    pub car: Option<VehicleId>,
    /// Why.
    pub reason: Reason,
    /// Smartcar wanted to be left alone before: a good answer is news.
    pub rested: bool,
    sent: AtomicU32,
}

impl Permit {
    /// Grants one. For the ledger, which has counted one call by then.
    pub fn granted(vehicle: u32, reason: Reason, rested: bool) -> Permit {
        Permit { vehicle, car: None, reason, rested, sent: AtomicU32::new(0) }
    }

    /// The same, with the vehicle that it is about.
    pub fn about(self, car: Option<VehicleId>) -> Permit {
        Permit { car, ..self }
    }

    /// A request goes out under it.
    pub fn note_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests went out under it.
    pub fn sent(&self) -> u32 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// The number of `budget.calls_per_vehicle_month` under which something was learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Configured {
    /// An earlier Carport did not keep it.
    #[default]
    Unknown,
    /// As many as one likes.
    Unlimited,
    /// So many.
    Calls(u32),
}

impl From<Option<u32>> for Configured {
    fn from(calls: Option<u32>) -> Configured {
        calls.map_or(Configured::Unlimited, Configured::Calls)
    }
}

/// What was called about one vehicle in one month of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// When the month began.
    pub since: Timestamp,
    /// How many calls were made.
    pub used: u32,
    /// How many for each reason.
    pub reasons: BTreeMap<Reason, u32>,
    /// How many Smartcar has shown to allow, if that is fewer than we thought.
    pub limit: Option<u32>,
    /// Under which number that was learnt.
    #[serde(default)]
    pub learnt_under: Configured,
    /// When; 1970: it is not known.
    #[serde(default)]
    pub learnt_at: Timestamp,
    /// Smartcar wants to be left alone about this vehicle until then.
    pub rests_until: Timestamp,
    /// How often in a row it said so.
    pub refusals: u32,
    /// The last calls, oldest first.
    pub last: Vec<(Timestamp, Reason)>,
    /// How many calls were made on each day (its midnight UTC), also before this month: `budget.reset_day` may change. Calls
    /// that are in none of them were made nobody knows when.
    #[serde(default)]
    pub days: Vec<(Timestamp, Reason, u32)>,
}

impl Ledger {
    /// How many calls Smartcar has shown to allow. It holds as long as the number is configured under which it was learnt:
    /// who writes another one has another plan, or knows better.
    pub fn learnt(&self, configured: Option<u32>) -> Option<u32> {
        let holds = [Configured::Unknown, configured.into()].contains(&self.learnt_under);
        self.limit.filter(|_| holds)
    }

    /// How many calls may be made in all under the configured number; `None`: as many as one likes.
    pub fn allowed(&self, configured: Option<u32>) -> Option<u32> {
        configured.into_iter().chain(self.learnt(configured)).min()
    }

    /// How many of them are left.
    pub fn left(&self, configured: Option<u32>) -> Option<u32> {
        self.allowed(configured).map(|allowed| allowed.saturating_sub(self.used))
    }

    /// Why none is left to somebody who leaves `kept` calls to others, if that is so.
    pub fn spent(&self, configured: Option<u32>, kept: u32) -> Option<Spent> {
        match self.left(configured)? {
            0 => Some(Spent::Whole { told: self.learnt(configured) }),
            left if left <= kept => Some(Spent::ButKept),
            _ => None,
        }
    }

    /// The same in the month that began at `since`: the next one, or one that overlaps because `budget.reset_day` has changed
    /// or the clock went back. A call counts in every month that it may have been made in.
    #[must_use]
    pub fn within(self, since: Timestamp) -> Ledger {
        if since == self.since {
            return self;
        }
        let days = self.dated();
        let mut reasons: BTreeMap<Reason, u32> = BTreeMap::new();
        for (_, reason, calls) in days.iter().filter(|(day, ..)| *day >= since) {
            let of_reason = reasons.entry(*reason).or_default();
            *of_reason = of_reason.saturating_add(*calls);
        }
        let used = reasons.values().fold(0, |sum: u32, calls| sum.saturating_add(*calls));
        let learnt_at = if self.learnt_at == Timestamp::default() { last_day(self.since) } else { self.learnt_at };
        // What Smartcar has refused in this month, it still refuses.
        let limit = self.limit.filter(|_| learnt_at >= since).map(|_| used);
        Ledger { since, used, reasons, limit, learnt_at, days, ..self }
    }

    /// Whether no call in it can have been made at `since` or later.
    pub fn is_over(&self, since: Timestamp) -> bool {
        last_day(self.since) < since
    }

    /// All calls by their days. Those of which the day is not known are of the last day of the month.
    fn dated(&self) -> Vec<(Timestamp, Reason, u32)> {
        let mut days = self.days.clone();
        let first = midnight(self.since);
        for (reason, calls) in &self.reasons {
            let known = days.iter().filter(|(day, of, _)| of == reason && *day >= first);
            let known = known.fold(0, |sum: u32, (.., calls)| sum.saturating_add(*calls));
            if *calls > known {
                days.push((last_day(self.since), *reason, calls - known));
            }
        }
        days
    }

    /// Counts calls that are made at `at`.
    pub fn count(&mut self, reason: Reason, calls: u32, at: Timestamp) {
        if calls == 0 {
            return;
        }
        // A clock that went back makes no call one of an earlier month. A day that is far off and that none of the last calls
        // speaks for is long ago, or was told by a clock that was far ahead: nobody knows when its calls were made.
        let (oldest, newest) =
            self.last.iter().fold((at, at), |(oldest, newest), (last, _)| (oldest.min(*last), newest.max(*last)));
        let day = midnight(newest);
        self.days.retain(|(of, ..)| *of >= oldest.before(FAR) && *of <= day.max(at.after(FAR)));
        match self.days.iter_mut().find(|(of, why, _)| (*of, *why) == (day, reason)) {
            Some((.., count)) => *count = count.saturating_add(calls),
            None => self.days.push((day, reason, calls)),
        }
        self.used = self.used.saturating_add(calls);
        let of_reason = self.reasons.entry(reason).or_default();
        *of_reason = of_reason.saturating_add(calls);
        self.last.extend((0..calls).map(|_| (at, reason)));
        let excess = self.last.len().saturating_sub(LAST);
        self.last.drain(..excess);
    }

    /// Until when Smartcar wants to be left alone about this vehicle, if it does now.
    pub fn rest(&self, now: Timestamp) -> Option<Timestamp> {
        rest(self.rests_until, now)
    }

    /// Takes back a call that was counted and did not go out.
    pub fn take_back(&mut self, reason: Reason) {
        self.used = self.used.saturating_sub(1);
        if let Some(count) = self.reasons.get_mut(&reason) {
            *count = count.saturating_sub(1);
        }
        if let Some((.., count)) = self.days.iter_mut().rev().find(|(_, of, count)| *of == reason && *count > 0) {
            *count -= 1;
        }
        self.last.pop();
    }

    /// The same without a word of when.
    #[must_use]
    pub fn undated(self) -> Ledger {
        Ledger { last: Vec::new(), days: Vec::new(), learnt_at: Timestamp::default(), ..self }
    }
}

/// Why no call of a vehicle's month is left to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// All are made.
    Whole {
        /// After how many calls Smartcar has said so itself, if it has.
        told: Option<u32>,
    },
    /// What is left is kept in reserve.
    ButKept,
}

/// How many of its last calls a vehicle remembers.
const LAST: usize = 20;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Further than any month is long.
const FAR: Duration = Duration::from_secs(32 * 24 * 3600);

fn midnight(at: Timestamp) -> Timestamp {
    const DAY_MS: i64 = 24 * 3600 * 1000;
    Timestamp::from_millis(at.as_millis().div_euclid(DAY_MS).saturating_mul(DAY_MS))
}

/// The longest that Smartcar is left alone: the last doubling. What is longer was noted by a clock that was ahead.
pub const LONGEST_REST: Duration = Duration::from_secs(60 << 9);

/// A rest that is longer than any was noted by a clock that was ahead.
fn rest(until: Timestamp, now: Timestamp) -> Option<Timestamp> {
    Some(until).filter(|until| *until > now && until.since(now) <= LONGEST_REST)
}

/// The last day of the month that began at `since`.
fn last_day(since: Timestamp) -> Timestamp {
    let date = jiff::Timestamp::from_millisecond(since.as_millis()).unwrap_or_default().to_zoned(TimeZone::UTC).date();
    let (_, until) = month(since, date.day());
    midnight(until.before(DAY))
}

/// The row of what is about no vehicle. Vehicles have rows from 1 on.
pub const APPLICATION: u32 = 0;

/// What an answer taught about a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lesson {
    /// It came: nobody wants to be left alone any more.
    Good,
    /// The plan allows no more calls about this vehicle this month (430).
    MonthIsOver,
    /// The vehicle, or its manufacturer, is to be left alone.
    VehicleRests {
        /// For so many seconds, at least.
        seconds: Option<u64>,
    },
    /// The application has called too often.
    ApplicationRests {
        /// For so many seconds, at least.
        seconds: Option<u64>,
    },
}

/// The month of the plan that `now` is in: from the last `reset_day` to the next, at midnight UTC. Days are 1 to 28.
pub fn month(now: Timestamp, reset_day: i8) -> (Timestamp, Timestamp) {
    let here = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or_default().to_zoned(TimeZone::UTC).date();
    let this = here.first_of_month().saturating_add((reset_day.clamp(1, 28) - 1).days());
    let begin = if here >= this { this } else { this.saturating_sub(1.month()) };
    let at = |date: jiff::civil::Date| {
        let millis = date.to_zoned(TimeZone::UTC).map_or(0, |zoned| zoned.timestamp().as_millisecond());
        Timestamp::from_millis(millis)
    };
    (at(begin), at(begin.saturating_add(1.month())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn months_begin_on_the_reset_day() {
        for (now, day, since, until) in [
            ("2026-11-22T05:52:04Z", 1, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("2026-11-22T00:00:00Z", 22, "2026-11-22T00:00:00Z", "2026-12-22T00:00:00Z"),
            ("2026-11-21T23:59:59.999Z", 22, "2026-10-22T00:00:00Z", "2026-11-22T00:00:00Z"),
            ("2027-01-05T12:00:00Z", 28, "2026-12-28T00:00:00Z", "2027-01-28T00:00:00Z"),
            ("2028-02-29T12:00:00Z", 28, "2028-02-28T00:00:00Z", "2028-03-28T00:00:00Z"),
        ] {
            assert_eq!(month(time(now), day), (time(since), time(until)), "{now} {day}");
        }
        // A clock that is far off does no harm.
        month(Timestamp::from_millis(i64::MAX), 1);
        month(Timestamp::from_millis(i64::MIN), 1);
    }

    #[test]
    fn what_is_spent_is_spent_for_whoever_asks() {
        let of = |used, limit| Ledger { used, limit, learnt_under: Configured::Calls(10), ..Ledger::default() };
        let whole = |told| Some(Spent::Whole { told });
        for (used, limit, configured, kept, spent) in [
            (7, None, Some(10), 2, None),
            (8, None, Some(10), 2, Some(Spent::ButKept)),
            (8, None, Some(10), 0, None),
            (10, None, Some(10), 2, whole(None)),
            // What Smartcar has said holds under the number of then.
            (8, Some(8), Some(10), 0, whole(Some(8))),
            (8, Some(8), Some(11), 0, None),
            (8, Some(8), None, 0, None),
            (8, None, None, 2, None),
        ] {
            assert_eq!(of(used, limit).spent(configured, kept), spent, "{used} {limit:?} {configured:?} {kept}");
        }
    }

    #[test]
    fn a_call_counts_in_every_month_that_it_may_have_been_made_in() {
        let (first, late) = (time("2026-11-01T00:00:00Z"), time("2026-11-23T00:00:00Z"));
        let mut ledger = Ledger { since: first, ..Ledger::default() };
        ledger.count(Reason::Poll, 9, time("2026-11-10T08:00:00Z"));
        ledger.count(Reason::Request, 13, time("2026-11-23T03:00:00Z"));
        let used = |ledger: &Ledger, since| ledger.clone().within(since).used;
        assert_eq!((used(&ledger, first), used(&ledger, late)), (22, 13));
        // There and back again, with a call between.
        let mut moved = ledger.clone().within(late);
        moved.count(Reason::Request, 1, time("2026-11-23T04:00:00Z"));
        assert_eq!((moved.used, used(&moved, first)), (14, 23));
        assert_eq!(moved.clone().within(first).reasons, BTreeMap::from([(Reason::Poll, 9), (Reason::Request, 14)]));
        // The next month is a new one, on whichever day it begins after the last call.
        for next in ["2026-11-24T00:00:00Z", "2026-12-01T00:00:00Z", "2026-12-23T00:00:00Z"] {
            assert_eq!(used(&ledger, time(next)), 0, "{next}");
        }
        // If nobody knows when they were made, they may have been made at any time of the month.
        let undated = ledger.clone().undated();
        assert_eq!((used(&undated, late), used(&undated, time("2026-12-01T00:00:00Z"))), (22, 0));
        assert!(!undated.is_over(late) && undated.is_over(time("2026-12-01T00:00:00Z")));
        // A clock that went back, and is right again.
        let mut back = ledger.clone().within(time("1969-12-01T00:00:00Z"));
        assert_eq!(back.used, 22);
        for second in 1..=9 {
            back.count(Reason::Request, 1, Timestamp::from_millis(second * 1000));
        }
        assert_eq!(used(&back, first), 31);
        // One that was ahead, and is right again: what was counted then is no burden for years.
        let mut ahead = ledger.clone().within(time("2030-03-01T00:00:00Z"));
        ahead.count(Reason::Poll, 1, time("2030-03-05T00:00:00Z"));
        let mut right = ahead.within(first);
        right.count(Reason::Poll, 30, time("2026-11-24T00:00:00Z"));
        right.count(Reason::Poll, 1, time("2026-11-25T00:00:00Z"));
        assert_eq!((used(&right, first), used(&right, time("2026-12-01T00:00:00Z"))), (54, 0), "{right:?}");
        // What Smartcar has refused in a month that overlaps, it still refuses.
        let refused = Ledger { limit: Some(22), learnt_at: time("2026-11-23T03:00:00Z"), ..ledger };
        let limit = |since| refused.clone().within(since).limit;
        assert_eq!((limit(late), limit(time("2026-11-24T00:00:00Z"))), (Some(13), None));
    }

    #[test]
    fn a_clock_that_is_off_for_many_calls_forgets_none() {
        let first = time("2026-12-01T00:00:00Z");
        let mut ledger = Ledger { since: first, ..Ledger::default() };
        for day in 0..20 {
            ledger.count(Reason::Poll, 20, first.after(DAY * day));
        }
        for (wrong, calls, used) in
            [("2026-11-30T00:00:00Z", 25, 420), ("2026-12-31T00:00:00Z", 25, 425), ("2030-03-05T00:00:00Z", 12, 412)]
        {
            let (mut off, at) = (ledger.clone().within(month(time(wrong), 1).0), time(wrong));
            (0..calls).for_each(|_| off.count(Reason::Request, 1, at));
            assert_eq!(off.within(first).used, used, "{wrong}");
        }
    }
}

//! Everything that can happen on a bad day.

use std::time::Duration;

use super::day::Day;
use super::deeds::set_faults;
use super::net::Kind;
use crate::store::disk::{Chance, Fault as Broken};

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Deliver,
    DeliverAgain,
    DeliverUnsigned,
    DeliverHuge,
    DeliverUnknownCar,
    Connect,
    Deny,
    Revoke,
    Disconnect,
    WaitSeconds,
    WaitHours,
    SleepDays,
    Read,
    Refresh,
    Checkpoint,
    Restart,
    Faults,
    NoFaults,
    DiskRefuses,
    DiskFailsOnce,
    DiskIsFull,
    DiskIsMended,
    ClockJumps,
}

use Step::*;

/// How likely each is.
const STEPS: [(Step, &str, usize); 23] = [
    (Deliver, "deliver", 16),
    (DeliverAgain, "deliver again", 7),
    (DeliverUnsigned, "deliver unsigned", 2),
    (DeliverHuge, "deliver a huge one", 2),
    (DeliverUnknownCar, "deliver for an unknown car", 3),
    (Connect, "connect", 8),
    (Deny, "deny", 2),
    (Revoke, "revoke", 1),
    (Disconnect, "disconnect", 2),
    (WaitSeconds, "wait seconds", 12),
    (WaitHours, "wait hours", 10),
    (SleepDays, "sleep days", 2),
    (Read, "read", 9),
    (Refresh, "refresh", 14),
    (Checkpoint, "checkpoint", 3),
    (Restart, "restart", 3),
    (Faults, "faults", 12),
    (NoFaults, "no faults", 6),
    (DiskRefuses, "the disk refuses", 3),
    (DiskFailsOnce, "the disk fails once", 3),
    (DiskIsFull, "the disk is full", 1),
    (DiskIsMended, "the disk is mended", 5),
    (ClockJumps, "the clock jumps", 2),
];

pub(super) const NAMES: [&str; 23] = {
    let mut names = [""; 23];
    let mut at = 0;
    while at < 23 {
        names[at] = STEPS[at].1;
        at += 1;
    }
    names
};

/// When the power is cut.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    /// At a write or flush.
    Write(u64),
    Before(Kind),
    After(Kind),
    /// After so much time.
    Later(Duration),
    /// When the step is done.
    End,
}

pub(super) const MOMENTS: [&str; 6] =
    ["at a write", "before a question", "before an answer", "later", "at the end", "while it starts"];

impl Cut {
    pub(super) fn random(chance: &mut Chance) -> Cut {
        let kind = [Kind::Refresh, Kind::Refresh, Kind::Exchange, Kind::Other][chance.below(4)];
        match chance.below(5) {
            0 => Cut::Write(1 + chance.next() % 20),
            1 => Cut::Before(kind),
            2 => Cut::After(kind),
            3 => Cut::Later(Duration::from_millis(chance.next() % 20_000)),
            _ => Cut::End,
        }
    }

    pub(super) fn name(self) -> &'static str {
        MOMENTS[match self {
            Cut::Write(_) => 0,
            Cut::Before(_) => 1,
            Cut::After(_) => 2,
            Cut::Later(_) => 3,
            Cut::End => 4,
        }]
    }
}

impl Step {
    pub(super) fn random(chance: &mut Chance) -> Step {
        let mut left = chance.below(STEPS.iter().map(|(.., weight)| weight).sum());
        for (step, _, weight) in STEPS {
            if left < weight {
                return step;
            }
            left -= weight;
        }
        Deliver
    }

    pub(super) fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    /// Does it, and says what came of it.
    pub(super) fn take(self, day: &mut Day) -> Option<String> {
        match self {
            Deliver => day.deliver_new(false),
            DeliverUnknownCar => day.deliver_new(true),
            DeliverAgain => {
                let number = day.chance.below(1000);
                let (event, body) = day.beliefs.event(number)?;
                day.deliver(&event, &body).map(|status| format!("{event}: {status}"))
            }
            DeliverUnsigned => day.deliver_badly(),
            DeliverHuge => day.deliver_huge(),
            Connect => day.connect(),
            Deny => day.deny(),
            Revoke => {
                let account = super::deeds::OWNERS[0];
                let net = &day.machine.net;
                day.machine.with_time(|| net.revoke(account));
                Some(account.to_owned())
            }
            Disconnect => day.disconnect(),
            WaitSeconds => {
                let halves = 1 + day.chance.next() % 120;
                Some(day.wait(Duration::from_millis(500 * halves)))
            }
            WaitHours => {
                let minutes = 10 + day.chance.next() % 150;
                if day.chance.percent(10) {
                    return Some(day.wait(Duration::from_secs(60 * minutes)));
                }
                day.sleep(Duration::from_secs(60 * minutes))
            }
            SleepDays => {
                let hours = 24 + day.chance.next() % (7 * 24);
                day.sleep(Duration::from_secs(3600 * hours))
            }
            Read => day.read(),
            Refresh => day.refresh(),
            Checkpoint => {
                let store = day.machine.store();
                day.machine.run(async move { store.checkpoint().await }).map(|done| format!("{done:?}"))
            }
            Restart => day.restart(),
            Faults => Some(day.faults()),
            NoFaults => {
                set_faults(day, Vec::new());
                None
            }
            DiskRefuses => {
                let at = 1 + day.chance.next() % 6;
                day.disk_breaks(Broken { at, lasts: true, reads: false })
            }
            DiskFailsOnce => {
                let (at, reads) = (1 + day.chance.next() % 6, day.chance.percent(30));
                day.disk_breaks(Broken { at, lasts: false, reads })
            }
            DiskIsFull => {
                day.machine.disk.leave(1 << 20);
                let store = day.machine.store();
                day.machine.run(async move { store.tend().await })?;
                day.machine.with_time(|| day.machine.net.goes_wrong("disk"));
                None
            }
            DiskIsMended => day.disk_is_mended(),
            ClockJumps => {
                let millis = i64::try_from(day.chance.next() % 10_800_000).unwrap();
                let error = [0, millis, -millis, 2 * 365 * 86_400_000, -365 * 86_400_000][day.chance.below(5)];
                day.machine.time.set_error(error);
                Some(format!("by {error} ms"))
            }
        }
    }
}

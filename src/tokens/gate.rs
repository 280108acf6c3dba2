//! How much is asked of the token endpoints: so many at once, so many a second, and nothing but one probe at a
//! time while they are down, have told us to wait, or refuse our own credentials.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::locked;
use crate::model::ConnectionId;
use crate::model::token::Generation;

/// How many refreshes are under way at once.
pub(super) const AT_ONCE: usize = 8;

/// Between the starts of two refreshes: ten thousand take three quarters of an hour.
const APART: Duration = Duration::from_millis(250);

/// So many connections in a row without an answer: that is not theirs but Smartcar's or the network's fault.
const IN_A_ROW: usize = 3;

/// How long to wait behind a probe that is under way.
const PROBING: Duration = Duration::from_secs(5);

/// Why nothing is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// No answers come.
    Down,
    /// Smartcar told us to wait.
    Throttled,
    /// Our own credentials are refused.
    Refused,
}

/// A door that is shut.
#[derive(Clone, Debug)]
pub(super) struct Shut {
    pub(super) why: Why,
    /// What happened, in words.
    pub(super) what: String,
    /// When one may look whether it is over.
    pub(super) until: Instant,
    /// How often in a row it was not.
    pub(super) tries: u32,
    probing: bool,
}

#[derive(Debug, Default)]
struct Door {
    failed: Vec<ConnectionId>,
    shut: Option<Shut>,
}

#[derive(Debug)]
pub(super) struct Gate {
    places: Semaphore,
    next_start: Mutex<Option<Instant>>,
    doors: Mutex<HashMap<Generation, Door>>,
    /// Who stands aside.
    aside: AtomicUsize,
}

/// The right to ask, until it is dropped.
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    connection: ConnectionId,
    is_probe: bool,
    is_aside: bool,
    place: Option<SemaphorePermit<'a>>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate {
            places: Semaphore::new(AT_ONCE),
            next_start: Mutex::default(),
            doors: Mutex::default(),
            aside: AtomicUsize::new(0),
        }
    }
}

impl Gate {
    /// Why nothing is asked of a generation now, and until when.
    pub(super) fn shut(&self, generation: Generation) -> Option<Shut> {
        let doors = locked(&self.doors);
        let mut shut = doors.get(&generation)?.shut.clone()?;
        if shut.probing {
            shut.until = shut.until.max(Instant::now() + PROBING);
        }
        Some(shut)
    }

    /// Waits for a place and the time to start. What is urgent has been asked before, and is asked again whether
    /// answers come or not.
    pub(super) async fn enter(&self, connection: ConnectionId, is_urgent: bool) -> Result<Pass<'_>, Shut> {
        let generation = generation(connection);
        if !is_urgent && let Some(shut) = self.shut(generation).filter(|shut| shut.until > Instant::now()) {
            return Err(shut);
        }
        let place = if connection == ConnectionId::APPLICATION { None } else { self.places.acquire().await.ok() };
        if !is_urgent && place.is_some() {
            let start = self.take_start();
            tokio::time::sleep_until(start).await;
        }
        let mut pass = Pass { gate: self, connection, is_probe: false, is_aside: false, place };
        let mut doors = locked(&self.doors);
        if let Some(shut) = doors.entry(generation).or_default().shut.as_mut() {
            let excused = is_urgent && shut.why != Why::Refused;
            if !excused && (shut.probing || shut.until > Instant::now()) {
                let mut shut = shut.clone();
                shut.until = shut.until.max(Instant::now() + Duration::from_secs(1));
                return Err(shut);
            }
            if !excused {
                (shut.probing, pass.is_probe) = (true, true);
            }
        }
        drop(doors);
        Ok(pass)
    }

    /// How many wait for an answer and keep nobody from asking.
    pub(super) fn aside(&self) -> usize {
        self.aside.load(Ordering::Relaxed)
    }

    /// Something has changed that may open a door: the next one may look.
    pub(super) fn try_again(&self, generation: Generation) {
        if let Some(shut) = locked(&self.doors).get_mut(&generation).and_then(|door| door.shut.as_mut()) {
            shut.until = Instant::now();
        }
    }

    fn take_start(&self) -> Instant {
        let mut next_start = locked(&self.next_start);
        let start = next_start.unwrap_or_else(Instant::now).max(Instant::now());
        *next_start = Some(start + APART);
        start
    }
}

impl Pass<'_> {
    /// Whose.
    pub(super) fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Waits for minutes from now on: its place, and the probe, are another's. That no answer comes tells nothing new then.
    pub(super) fn stand_aside(&mut self) {
        if !self.is_aside {
            self.is_aside = true;
            self.gate.aside.fetch_add(1, Ordering::Relaxed);
            self.place = None;
            self.end_probe();
        }
    }

    fn end_probe(&mut self) {
        if std::mem::take(&mut self.is_probe)
            && let Some(shut) = locked(&self.gate.doors).get_mut(&generation(self.connection)).and_then(|door| door.shut.as_mut())
        {
            shut.probing = false;
        }
    }

    /// Smartcar has answered, be it yes or no. Returns what that has ended.
    pub(super) fn answered(&self) -> Option<Shut> {
        let mut doors = locked(&self.gate.doors);
        let door = doors.entry(generation(self.connection)).or_default();
        door.failed.clear();
        door.shut.take()
    }

    /// No answer came. Shuts the door when that is so for one connection after the other; `wait` says for how
    /// long, by the number of tries. Returns whether it was open before.
    pub(super) fn unanswered(&self, what: &str, wait: impl Fn(u32) -> Duration) -> bool {
        if self.is_aside {
            return false;
        }
        let mut doors = locked(&self.gate.doors);
        let door = doors.entry(generation(self.connection)).or_default();
        if !door.failed.contains(&self.connection) {
            door.failed.push(self.connection);
        }
        if door.failed.len() < IN_A_ROW && door.shut.is_none() {
            return false;
        }
        door.failed.truncate(IN_A_ROW);
        door.close(self.is_probe, Why::Down, what, wait)
    }

    /// Smartcar answered something that holds for everybody. Returns whether the door was open before.
    pub(super) fn shut(&self, why: Why, what: &str, wait: Duration) -> bool {
        let mut doors = locked(&self.gate.doors);
        doors.entry(generation(self.connection)).or_default().close(true, why, what, |_| wait)
    }
}

impl Door {
    fn close(&mut self, is_news: bool, why: Why, what: &str, wait: impl Fn(u32) -> Duration) -> bool {
        let was = self.shut.as_ref().map(|shut| (shut.why, shut.tries));
        // Those who were under way when it was shut tell nothing new.
        if was.is_some() && !is_news {
            return false;
        }
        let tries = was.map_or(0, |(_, tries)| tries).saturating_add(1);
        let probing = self.shut.as_ref().is_some_and(|shut| shut.probing);
        self.shut = Some(Shut { why, what: what.to_owned(), until: Instant::now() + wait(tries), tries, probing });
        was.is_none_or(|(before, _)| before != why)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.end_probe();
        if self.is_aside {
            self.gate.aside.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Which credentials renew the tokens of a connection.
pub(super) fn generation(connection: ConnectionId) -> Generation {
    if connection == ConnectionId::APPLICATION { Generation::V3 } else { Generation::V2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(number: u128) -> ConnectionId {
        ConnectionId(uuid::Uuid::from_u128(number + 1))
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_eight_at_once_and_four_a_second() {
        let gate = Gate::default();
        let began = Instant::now();
        let mut passes = Vec::new();
        for number in 0..8 {
            passes.push(gate.enter(connection(number), false).await.unwrap_or_else(|_| unreachable!("it is open")));
        }
        assert_eq!(began.elapsed(), Duration::from_millis(1750));
        assert!(tokio::time::timeout(Duration::from_secs(60), gate.enter(connection(9), false)).await.is_err());
        passes.pop();
        assert!(gate.enter(connection(9), false).await.is_ok());
        assert!(gate.enter(ConnectionId::APPLICATION, false).await.is_ok(), "it has a place of its own");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_minutes_keeps_nobody_from_asking() {
        let gate = Gate::default();
        let wait = |_| Duration::from_secs(10);
        let mut passes = Vec::new();
        for number in 0..8 {
            passes.push(gate.enter(connection(number), false).await.unwrap_or_else(|_| unreachable!("it is open")));
        }
        passes.iter_mut().for_each(Pass::stand_aside);
        assert_eq!(gate.aside(), 8);
        let other = gate.enter(connection(9), false).await;
        assert!(other.as_ref().is_ok_and(|other| other.answered().is_none()));
        for pass in &passes {
            pass.unanswered("no", wait);
        }
        assert!(gate.shut(Generation::V2).is_none(), "one was answered since they asked");
        passes.clear();
        drop(other);
        assert_eq!((gate.aside(), gate.places.available_permits()), (0, AT_ONCE));
        // A probe that waits is no probe any more.
        for number in 0..3 {
            gate.enter(connection(number), false).await.map(|pass| pass.unanswered("no", wait)).ok();
        }
        tokio::time::advance(Duration::from_secs(11)).await;
        let mut probe = gate.enter(connection(3), false).await.unwrap_or_else(|_| unreachable!("it is time"));
        assert!(gate.enter(connection(4), false).await.is_err());
        probe.stand_aside();
        assert!(gate.enter(connection(4), false).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn three_in_a_row_shut_the_door_and_one_probe_opens_it() {
        let gate = Gate::default();
        let wait = |tries| Duration::from_secs(u64::from(tries) * 10);
        for number in [0, 0, 0, 1] {
            gate.enter(connection(number), false).await.map(|pass| pass.unanswered("no", wait)).ok();
        }
        assert!(gate.shut(Generation::V2).is_none(), "two connections may be at fault themselves");
        gate.enter(connection(2), false).await.map(|pass| pass.unanswered("no", wait)).ok();
        assert!(gate.enter(connection(3), false).await.is_err_and(|shut| shut.why == Why::Down));
        assert!(gate.enter(connection(3), true).await.is_ok(), "what is urgent does not wait");
        tokio::time::advance(Duration::from_secs(11)).await;
        let probe = gate.enter(connection(3), false).await.ok();
        assert!(probe.is_some() && gate.enter(connection(4), false).await.is_err(), "one probe at a time");
        assert!(probe.as_ref().is_some_and(|probe| !probe.unanswered("no", wait)));
        drop(probe);
        tokio::time::advance(Duration::from_secs(11)).await;
        assert!(gate.enter(connection(3), false).await.is_err(), "each time for longer");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(gate.enter(connection(3), false).await.is_ok_and(|probe| probe.answered().is_some()));
        assert!(gate.enter(connection(4), false).await.is_ok() && gate.shut(Generation::V2).is_none());
    }
}

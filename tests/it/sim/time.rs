//! The time of a machine that is switched off now and then: each life of it has timers of its own, the time
//! goes on, and what the gateway takes for the time may be wrong.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use carport::model::Timestamp;
use carport::world::Clock;
use tokio::time::Instant;

/// When all lives begin.
const BEGIN: Timestamp = Timestamp::from_millis(1_760_000_000_000);

/// The time. Clones show the same.
#[derive(Clone, Debug)]
pub(super) struct Time(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// The time when the timers began to run, or stood still.
    base: Timestamp,
    /// The timers, while the machine is on.
    since: Option<Instant>,
    /// By how many milliseconds the wall clock is wrong.
    error: i64,
}

impl Time {
    pub(super) fn new() -> Time {
        Time(Arc::new(Mutex::new(State { base: BEGIN, since: None, error: 0 })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The true time. While the machine is on, only its runtime knows it.
    pub(super) fn now(&self) -> Timestamp {
        let state = self.state();
        state.since.map_or(state.base, |since| state.base.after(since.elapsed()))
    }

    /// The machine is switched on.
    pub(super) fn runs(&self) {
        self.state().since = Some(Instant::now());
    }

    /// The machine is switched off.
    pub(super) fn stands(&self) {
        let now = self.now();
        let mut state = self.state();
        (state.base, state.since) = (now, None);
    }

    /// Time passes while the machine is off.
    pub(super) fn pass(&self, time: Duration) {
        let mut state = self.state();
        state.base = state.base.after(time);
    }

    /// From now on the wall clock is wrong by this much.
    pub(super) fn set_error(&self, millis: i64) {
        self.state().error = millis;
    }

    /// The clock of Smartcar.
    pub(super) fn truth(&self) -> Arc<dyn Clock> {
        Arc::new(Truth(self.clone()))
    }

    /// The clock of the gateway.
    pub(super) fn wall(&self) -> Arc<dyn Clock> {
        Arc::new(Wall(self.clone()))
    }
}

#[derive(Debug)]
struct Truth(Time);

impl Clock for Truth {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

#[derive(Debug)]
struct Wall(Time);

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let error = self.0.state().error;
        Timestamp::from_millis(self.0.now().as_millis() + error)
    }
}

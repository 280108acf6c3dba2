//! Who was asked about and got no answer: Smartcar may have replaced the pair, and honours the old one for a minute
//! only. Kept by the timers, for the wall clock may jump just then.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::locked;
use crate::model::ConnectionId;

/// How long Smartcar takes a refresh token after its first use.
const WINDOW: Duration = Duration::from_secs(60);

/// So long at least from one look at a connection to the next, whatever has kept the token from being sent.
pub(super) const PACE: Duration = Duration::from_secs(2);

/// The longest pause after silence: short enough for three tries within the window.
pub(super) const SOON: Duration = Duration::from_secs(15);

/// After so many rounds in silence nothing reaches Smartcar, and the pauses may grow.
pub(super) const ROUNDS: u32 = 10;

/// Connections whose last request was followed by silence. Few: while no answers come, only they are asked about.
#[derive(Debug, Default)]
pub(super) struct Silences(Mutex<HashMap<ConnectionId, Silence>>);

#[derive(Clone, Copy, Debug)]
struct Silence {
    version: u64,
    since: Instant,
    not_before: Instant,
}

impl Silence {
    fn is_open(&self) -> bool {
        self.since.elapsed() < WINDOW
    }
}

impl Silences {
    /// The token of this version was sent, and no answer came.
    pub(super) fn note(&self, connection: ConnectionId, version: u64, since: Instant) {
        locked(&self.0).insert(connection, Silence { version, since, not_before: Instant::now() });
    }

    /// An answer came.
    pub(super) fn forget(&self, connection: ConnectionId) {
        locked(&self.0).remove(&connection);
    }

    /// Whether its token may have been spent so recently that it must be sent again.
    pub(super) fn is_open(&self, connection: ConnectionId) -> bool {
        locked(&self.0).get(&connection).is_some_and(Silence::is_open)
    }

    /// Whether there is any of those. The others are forgotten.
    pub(super) fn any(&self) -> bool {
        let mut silences = locked(&self.0);
        silences.retain(|_, silence| silence.is_open());
        !silences.is_empty()
    }

    /// Those to look at now, with the versions that were sent; none of them again before [`PACE`].
    pub(super) fn next(&self) -> Vec<(ConnectionId, u64)> {
        let now = Instant::now();
        let mut silences = locked(&self.0);
        let next = silences.iter_mut().filter(|(_, silence)| silence.is_open() && silence.not_before <= now);
        next.map(|(connection, silence)| {
            silence.not_before = now + PACE;
            (*connection, silence.version)
        })
        .collect()
    }
}

//! Deliveries go first: while they pour in, what was taken waits to become vehicle data.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::model::Seq;
use crate::store::Store;
use crate::store::webhook_log::Ring;

/// More than so many deliveries in a second are a burst: they want all of a small machine.
const POURING: u32 = 1_000;

/// Fewer than so many tell nothing of how often they come.
const FEW: u64 = 16;

/// With fewer unread, it has caught up.
const CAUGHT_UP: u64 = 256;

/// How long it is waited until the log is looked at again.
const LOOK: Duration = Duration::from_millis(50);

/// How long what was taken waits at most for a burst to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lets deliveries go first.
#[derive(Debug)]
pub(super) struct Precedence {
    store: Store,
    ring: Ring,
    /// How far the log reached when it was last looked at, and when that was.
    seen: (Seq, Instant),
    /// Since when deliveries have gone first.
    since: Option<Instant>,
}

impl Precedence {
    pub(super) fn new(store: Store, ring: Ring) -> Precedence {
        let seen = (*store.grew().borrow(), Instant::now());
        Precedence { store, ring, seen, since: None }
    }

    /// Returns when deliveries no longer pour in, or as much has waited as may, or for as long as it may: then it no
    /// longer waits, until hardly anything is unread.
    pub(super) async fn give_way(&mut self) {
        if self.store.backlog().unread < CAUGHT_UP {
            self.since = None;
        }
        while self.is_pouring() && !self.ring.is_half_unread(self.store.backlog()) {
            if self.since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                return;
            }
            sleep(LOOK).await;
        }
    }

    fn is_pouring(&mut self) -> bool {
        let (before, at) = std::mem::replace(&mut self.seen, (*self.store.grew().borrow(), Instant::now()));
        let (came, took) = (self.seen.0.0.saturating_sub(before.0), self.seen.1.duration_since(at));
        came >= FEW && Duration::from_secs(came) >= took.saturating_mul(POURING)
    }
}

//! By which the log and a client speak of the same request.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::{Builder, Uuid};

use crate::model::Timestamp;
use crate::world::Entropy;

/// Makes the ids of requests: a UUIDv7 each, of the time, chance of this run, and a count. They name, and open nothing: to
/// ask the system for chance with each of many forged deliveries would cost more than to prove them.
#[derive(Debug)]
pub(super) struct RequestIds {
    run: [u8; 10],
    made: AtomicU64,
}

/// How many bytes of chance a count takes up.
const COUNT: usize = 6;

impl RequestIds {
    /// Ids of this run.
    pub(super) fn new(entropy: &dyn Entropy) -> RequestIds {
        let mut run = [0; 10];
        entropy.fill(&mut run);
        RequestIds { run, made: AtomicU64::new(0) }
    }

    /// The next.
    pub(super) fn next(&self, now: Timestamp) -> Uuid {
        let made = self.made.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut chance = self.run;
        let from = chance.len() - COUNT;
        for (byte, count) in chance[from..].iter_mut().zip(&made[made.len() - COUNT..]) {
            *byte = byte.wrapping_add(*count);
        }
        Builder::from_unix_timestamp_millis(u64::try_from(now.as_millis()).unwrap_or(0), &chance).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::world::SystemEntropy;

    #[test]
    fn no_two_are_alike() {
        let now = Timestamp::from_millis(1_760_000_000_000);
        let [ours, others] = [(); 2].map(|()| RequestIds::new(&SystemEntropy));
        let made: HashSet<Uuid> = (0..1_000).flat_map(|_| [ours.next(now), others.next(now)]).collect();
        assert_eq!(made.len(), 2_000);
        assert!(made.iter().all(|id| id.get_version_num() == 7));
    }
}

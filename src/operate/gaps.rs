//! Gap healing: Carport knows when it was down or deaf for longer than Smartcar tries, and then has each car that
//! webhooks tell of read once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::ingest::Ingest;
use crate::model::Timestamp;
use crate::model::event::EventKind;
use crate::model::gap::{GapCause, Unproven};
use crate::store::gaps::{NoteAlive, NoteGap, NoteUnproven};
use crate::store::{Snapshot, Store, StoreError};
use crate::world::World;

/// For how long Smartcar tries to deliver an event, and then drops it: four times within three minutes.
const TRIED_FOR: Duration = Duration::from_secs(170);

/// Nothing at all for so long is a gap, if cars were told of in the time before.
const SILENCE: Duration = Duration::from_secs(86_400);

/// How often is looked.
const EVERY: Duration = Duration::from_secs(60);

/// How old the note of being alive gets: each costs a write, and a checkpoint if nothing else is written.
const ALIVE: Duration = Duration::from_secs(900);

/// After so many looks a clock that is behind is believed.
const CLOCK_IS_SET: u32 = 15;

/// Looks for gaps. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gaps {
    store: Store,
    ingest: Ingest,
    world: World,
    /// Whoever reads vehicles waits for this.
    to_read: Arc<Notify>,
}

impl Gaps {
    /// Looks for gaps in what came into `store` by `ingest`.
    pub fn new(store: Store, ingest: Ingest, world: World, to_read: Arc<Notify>) -> Gaps {
        Gaps { store, ingest, world, to_read }
    }

    /// Looks every minute until `shutdown`, and then notes when that was.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut watch = Watch::default();
        while !shutdown.is_cancelled() {
            if let Err(error) = self.look(&mut watch).await {
                tracing::debug!(%error, "gaps wait for the store");
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
        // What a start compares with; a clock that was not set yet tells nothing.
        let now = self.world.now();
        if watch.noted_at.is_some_and(|noted_at| noted_at < now)
            && let Err(error) = self.note_alive(now).await
        {
            tracing::warn!(%error, "the time of this stop is not kept: the next start may read cars for nothing");
        }
    }

    async fn look(&self, watch: &mut Watch) -> Result<(), StoreError> {
        let now = self.world.now();
        let signs = self.store.read(Signs::read).await?;
        // Deliveries of this run tell nothing of the time before it.
        let alive_at = signs.alive_at.map(|alive_at| alive_at.max(signs.newest_at.unwrap_or_default()));
        let before = *watch.before.get_or_insert(alive_at.unwrap_or(now));
        watch.looks += 1;
        if watch.looks == 1 {
            self.ingest.recall_unproven(signs.unproven.clone());
        }
        // It did not run before this run, nor while the machine slept, or its clock had begun with the time of the stop.
        let (idle_since, most) = match (watch.noted_at, watch.looked_at) {
            (Some(_), Some(looked_at)) => (looked_at, EVERY + TRIED_FOR),
            _ => (before, TRIED_FOR),
        };
        // A Pi has no battery clock: soon it will know the time.
        let knows_the_time = watch.noted_at.is_some() || now >= before || watch.looks >= CLOCK_IS_SET;
        if now.since(idle_since) > most {
            self.heal(watch, GapCause::Down, idle_since, now).await?;
            watch.noted_at = Some(now);
        } else if knows_the_time && watch.noted_at.is_none_or(|noted_at| now.since(noted_at) >= ALIVE) {
            self.note_alive(now).await?;
            watch.noted_at = Some(now);
        }
        watch.looked_at = Some(now);
        watch.deaf.extend(std::iter::from_fn(|| self.ingest.was_deaf()));
        while let Some((since, until)) = watch.deaf.front().copied() {
            if until.since(since) > TRIED_FOR {
                self.heal(watch, GapCause::Refused, since, until).await?;
            }
            watch.deaf.pop_front();
        }
        let mut unproven = self.ingest.unproven();
        unproven.retain(|unproven| now.since(unproven.since) > TRIED_FOR);
        if unproven != signs.unproven {
            self.store.commit(NoteUnproven { unproven }).await?;
        }
        if let Some(newest_at) = signs.newest_at
            && now.since(newest_at.max(signs.healed_until).max(watch.healed_until)) >= SILENCE
            && ![signs.silent_since, watch.silent_since].contains(&Some(newest_at))
        {
            self.heal(watch, GapCause::Silent, newest_at, now).await?;
            watch.silent_since = Some(newest_at);
        }
        Ok(())
    }

    /// While deliveries are refused it does not count as alive: should it be stopped now, the next start heals that.
    async fn note_alive(&self, now: Timestamp) -> Result<(), StoreError> {
        self.store.commit(NoteAlive { at: self.ingest.deaf_since().unwrap_or(now) }).await
    }

    async fn heal(&self, watch: &mut Watch, cause: GapCause, since: Timestamp, until: Timestamp) -> Result<(), StoreError> {
        let vehicles = self.store.commit(NoteGap { since, until, cause }).await?;
        if vehicles > 0 {
            watch.healed_until = watch.healed_until.max(until);
            let seconds = until.since(since).as_secs();
            tracing::warn!(?cause, seconds, vehicles, "deliveries may have been lost: each car is read once");
            self.to_read.notify_one();
        }
        Ok(())
    }
}

/// What a run remembers from look to look.
#[derive(Default)]
struct Watch {
    /// When the run before was alive, once that was read; of a first run, when it began.
    before: Option<Timestamp>,
    /// When it was noted last; `None` until it is known how long Carport was down.
    noted_at: Option<Timestamp>,
    looked_at: Option<Timestamp>,
    looks: u32,
    /// Times of refusals that are not dealt with.
    deaf: VecDeque<(Timestamp, Timestamp)>,
    /// When the last gap of this run ended.
    healed_until: Timestamp,
    /// From when on the last silence was, also if it concerned no car.
    silent_since: Option<Timestamp>,
}

/// Signs of life.
struct Signs {
    alive_at: Option<Timestamp>,
    /// When the newest delivery came in.
    newest_at: Option<Timestamp>,
    /// From when on the last silence was that was healed.
    silent_since: Option<Timestamp>,
    /// When the last gap ended.
    healed_until: Timestamp,
    /// Deliveries that could not be proven, and none since that could.
    unproven: Vec<Unproven>,
}

impl Signs {
    fn read(snapshot: &Snapshot<'_>) -> Result<Signs, StoreError> {
        let (newest, _) = snapshot.log_before(None, 1, usize::MAX, |_, header| header.kind != EventKind::Verify.as_str())?;
        let gaps = snapshot.gaps()?;
        let silence = gaps.iter().rev().find(|gap| gap.cause == GapCause::Silent);
        Ok(Signs {
            alive_at: snapshot.alive_at()?,
            newest_at: newest.first().map(|entry| entry.header.received_at),
            silent_since: silence.map(|gap| gap.since),
            healed_until: gaps.iter().map(|gap| gap.until).max().unwrap_or_default(),
            unproven: snapshot.unproven()?,
        })
    }
}

//! Gap healing: Carport knows when it was down or deaf for longer than Smartcar tries, and then has each car that
//! webhooks tell of read once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::ingest::Ingest;
use crate::model::Timestamp;
use crate::model::event::EventKind;
use crate::model::gap::GapCause;
use crate::store::gaps::{NoteAlive, NoteGap};
use crate::store::{Snapshot, Store, StoreError};
use crate::world::World;

/// For how long Smartcar tries to deliver an event, and then drops it: four times within three minutes.
const TRIED_FOR: Duration = Duration::from_secs(170);

/// Nothing at all for so long is a gap, if cars were told of in the time before.
const SILENCE: Duration = Duration::from_secs(86_400);

/// How often is looked.
const EVERY: Duration = Duration::from_secs(60);

/// How old the note of being alive gets: each costs a write.
const ALIVE: Duration = Duration::from_secs(900);

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
        let mut noted_at = None;
        while !shutdown.is_cancelled() {
            if let Err(error) = self.look(&mut noted_at).await {
                tracing::debug!(%error, "gaps wait for the store");
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
        // What a start compares with; a clock that was not set yet tells nothing.
        if noted_at.is_some_and(|noted_at| noted_at < self.world.now())
            && let Err(error) = self.store.commit(NoteAlive { at: self.world.now() }).await
        {
            tracing::warn!(%error, "the time of this stop is not kept: the next start may read cars for nothing");
        }
    }

    /// `noted_at` is `None` until it is known how long Carport was down.
    async fn look(&self, noted_at: &mut Option<Timestamp>) -> Result<(), StoreError> {
        let now = self.world.now();
        let Signs { alive_at, newest_at, silent_since } = self.store.read(Signs::read).await?;
        if noted_at.is_none() {
            let alive_at = alive_at.map(|alive_at| alive_at.max(newest_at.unwrap_or_default()));
            match alive_at {
                // A Pi has no battery clock: soon it will know the time.
                Some(alive_at) if now < alive_at => return Ok(()),
                Some(alive_at) if now.since(alive_at) > TRIED_FOR => self.heal(GapCause::Down, alive_at, now).await?,
                _ => self.store.commit(NoteAlive { at: now }).await?,
            }
            *noted_at = Some(now);
        }
        while let Some((since, until)) = self.ingest.was_deaf() {
            if until.since(since) > TRIED_FOR {
                self.heal(GapCause::Refused, since, until).await?;
            }
        }
        if let Some(newest_at) = newest_at
            && now.since(newest_at) >= SILENCE
            && silent_since != Some(newest_at)
        {
            self.heal(GapCause::Silent, newest_at, now).await?;
        }
        if noted_at.is_some_and(|noted_at| now.since(noted_at) >= ALIVE) {
            self.store.commit(NoteAlive { at: now }).await?;
            *noted_at = Some(now);
        }
        Ok(())
    }

    async fn heal(&self, cause: GapCause, since: Timestamp, until: Timestamp) -> Result<(), StoreError> {
        let vehicles = self.store.commit(NoteGap { since, until, cause }).await?;
        if vehicles > 0 {
            let seconds = until.since(since).as_secs();
            tracing::warn!(?cause, seconds, vehicles, "deliveries may have been lost: each car is read once");
            self.to_read.notify_one();
        }
        Ok(())
    }
}

/// Signs of life.
struct Signs {
    alive_at: Option<Timestamp>,
    /// When the newest delivery came in.
    newest_at: Option<Timestamp>,
    /// From when on the last silence was that was healed.
    silent_since: Option<Timestamp>,
}

impl Signs {
    fn read(snapshot: &Snapshot<'_>) -> Result<Signs, StoreError> {
        let (newest, _) = snapshot.log_before(None, 1, |header| header.kind != EventKind::Verify.as_str())?;
        let silence = snapshot.gaps()?.into_iter().rev().find(|gap| gap.cause == GapCause::Silent);
        Ok(Signs {
            alive_at: snapshot.alive_at()?,
            newest_at: newest.first().map(|entry| entry.header.received_at),
            silent_since: silence.map(|gap| gap.since),
        })
    }
}

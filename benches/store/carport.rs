//! The store itself, filled and loaded.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use carport::metrics::Metrics;
use carport::model::{Seq, Timestamp};
use carport::store::bookmark::Bookmark;
use carport::store::tellings::ApplyReadings;
use carport::store::webhook_log::{DeliveryResult, RecordDelivery, Recorded, Ring};
use carport::store::{Packed, Settings, Store};
use carport::vault::Vault;
use carport::world::{SystemClock, SystemEntropy, Transport, TransportError, World};
use futures_util::future::BoxFuture;
use http::{Request, Response};

use crate::disk::Disk;
use crate::event::{Event, Events, KIND, vehicle};
use crate::linking::{key, link};
use crate::load::{Keeps, load};

/// How many entries the follower of the log reads at once.
const SLICE: u64 = 256;

/// A store, and how much its ring holds.
#[derive(Clone, Debug)]
pub(crate) struct Carport {
    pub(crate) store: Store,
    ring: u64,
}

impl Carport {
    /// `inline` is for simulated time.
    pub(crate) fn open(disk: &Disk, ring: u64, inline: bool) -> anyhow::Result<Carport> {
        let world = World { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy), transport: Arc::new(Nowhere) };
        let settings = Settings { inline, ..Settings::default() };
        let store = Store::open_at(Arc::new(disk.clone()), settings, vault(), &world, Arc::new(Metrics::new()))?;
        Ok(Carport { store, ring })
    }

    /// Links as many cars as `events` are about, if none is linked, and fills the ring. Returns the number
    /// of the next event.
    pub(crate) async fn prepare(&self, events: Events) -> anyhow::Result<u64> {
        if self.store.read(|snapshot| snapshot.vehicle(&vehicle(0))).await?.is_none() {
            self.link(events.vehicles).await?;
        }
        let (newest, entries) = self.store.read(|snapshot| snapshot.log_extent().map(|log| (log.newest.0, log.entries))).await?;
        let end = newest + self.ring.saturating_sub(entries);
        load(self, 512, newest..end, move |number| Arc::new(events.event(number))).await;
        self.follow(Seq(end)).await?;
        Ok(end)
    }

    /// How much its log holds. Ids go when their events go, as in the reference.
    pub(crate) fn ring(&self) -> Ring {
        Ring { events: self.ring, bytes: u64::MAX, dedupe_for: Duration::from_secs(3600) }
    }

    /// Keeps one event.
    pub(crate) async fn record(&self, event: &Event) -> anyhow::Result<Recorded> {
        let change = RecordDelivery {
            event: event.id.clone(),
            kind: KIND.to_owned(),
            result: DeliveryResult::Accepted,
            vehicle: Some(event.vehicle.clone()),
            is_about_others: false,
            body: Packed::of(&event.body),
            received_at: event.received_at,
            ring: self.ring(),
        };
        Ok(self.store.commit(change).await?)
    }

    /// Says that the log was read so far, without readings: the reference reads nothing either.
    async fn follow(&self, cursor: Seq) -> anyhow::Result<()> {
        let from = self.store.read(|snapshot| snapshot.bookmark()).await?;
        self.store.commit(ApplyReadings::of(Vec::new()).moving(from, Bookmark::at(cursor))).await?;
        Ok(())
    }

    /// Checkpoints at once.
    pub(crate) async fn checkpoint(&self) -> anyhow::Result<()> {
        Ok(self.store.checkpoint().await?)
    }

    /// Links so many cars, ten to an owner.
    pub(crate) async fn link(&self, cars: u64) -> anyhow::Result<()> {
        link(&self.store, cars, Timestamp::from_millis(1_759_900_000_000)).await
    }
}

impl Keeps for Carport {
    async fn keep(&self, event: &Arc<Event>) {
        match self.record(event).await {
            Ok(Recorded::New(seq, _)) if seq.0.is_multiple_of(SLICE) => {
                self.follow(seq).await.expect("the store cannot follow");
            }
            Ok(Recorded::New(..) | Recorded::Duplicate(_)) => {}
            other => panic!("the store does not take an event: {other:?}"),
        }
    }
}

/// The same in every process.
pub(crate) fn vault() -> Vault {
    Vault::new(&key(), &SystemEntropy)
}

/// A network that leads nowhere.
#[derive(Debug)]
struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _: Request<Bytes>, _: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(async { Err(TransportError::Unreachable("there is no network in a measurement".to_owned())) })
    }
}

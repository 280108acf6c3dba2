//! The store itself, filled and loaded.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use carport::metrics::Metrics;
use carport::model::connection::{Connection, ConnectionStatus};
use carport::model::token::Generation;
use carport::model::user::User;
use carport::model::vehicle::VehicleFacts;
use carport::model::{Blob, ConnectionId, Seq, SmartcarUserId, Timestamp};
use carport::store::connections::{AdoptConnection, LinkVehicles, Linking};
use carport::store::tellings::ApplyReadings;
use carport::store::tokens::SealedTokens;
use carport::store::users::{PutUser, UserPut, When};
use carport::store::webhook_log::{DeliveryResult, RecordDelivery, Recorded, Ring};
use carport::store::{Packed, Settings, Store};
use carport::vault::{MasterKey, Vault};
use carport::world::{Entropy, SystemClock, SystemEntropy, Transport, TransportError, World};
use futures_util::future::BoxFuture;
use http::{Request, Response};

use crate::disk::Disk;
use crate::event::{CARS, Event, Events, KIND, owner, vehicle};
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

    /// Keeps one event.
    pub(crate) async fn record(&self, event: &Event) -> anyhow::Result<Recorded> {
        let change = RecordDelivery {
            event: event.id.clone(),
            kind: KIND.to_owned(),
            result: DeliveryResult::Accepted,
            vehicle: Some(event.vehicle.clone()),
            body: Packed::of(&event.body),
            received_at: event.received_at,
            // Ids go when their events go, as in the reference.
            ring: Ring { events: self.ring, bytes: u64::MAX, dedupe_for: Duration::from_secs(3600) },
        };
        Ok(self.store.commit(change).await?)
    }

    /// Says that the log was read so far, without readings: the reference reads nothing either.
    async fn follow(&self, cursor: Seq) -> anyhow::Result<()> {
        self.store.commit(ApplyReadings { tellings: Vec::new(), cursor: Some(cursor), revisited: None }).await?;
        Ok(())
    }

    /// Checkpoints at once.
    pub(crate) async fn checkpoint(&self) -> anyhow::Result<()> {
        Ok(self.store.checkpoint().await?)
    }

    /// Links so many cars, ten to an owner.
    pub(crate) async fn link(&self, cars: u64) -> anyhow::Result<()> {
        for first in (0..cars).step_by(usize::try_from(CARS).unwrap_or(1)) {
            let (user, at) = (owner(first), Timestamp::from_millis(1_759_900_000_000));
            let new = User { id: user.clone(), name: None, email: None, created_at: at };
            let put = self.store.commit(PutUser { user: new, when: When::New }).await?;
            assert_eq!(put, UserPut::Stored);
            let connection = Connection {
                id: ConnectionId(uuid::Uuid::from_u128(u128::from(first) + 1)),
                smartcar_user: Some(SmartcarUserId::new(format!("user-{first}"))),
                user,
                generation: Generation::V2,
                single: None,
                single_select: false,
                mode: None,
                status: ConnectionStatus::Active,
                scope: vec!["read_battery".to_owned(), "read_location".to_owned()],
                connected_at: at,
                last_error: None,
            };
            let month = Duration::from_secs(30 * 86_400);
            let tokens = SealedTokens {
                version: 1,
                sealed: Blob(vec![7; 250]),
                access_expires_at: at.after(month),
                refresh_expires_at: Some(at.after(2 * month)),
                issued_at: at,
                used_at: at,
                due_at: Some(at.after(month)),
            };
            self.store.commit(AdoptConnection { connection: connection.clone(), tokens }).await?;
            let of_owner = first..cars.min(first + CARS);
            let vehicles = of_owner.map(|car| VehicleFacts::unknown(vehicle(car))).collect();
            let linked = self.store.commit(LinkVehicles { connection, vehicles, at }).await?;
            assert_eq!(linked, Linking::Linked);
        }
        Ok(())
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

/// The same key in every process.
pub(crate) fn vault() -> Vault {
    Vault::new(&MasterKey::generate(&Sevens), &SystemEntropy)
}

#[derive(Debug)]
struct Sevens;

impl Entropy for Sevens {
    fn fill(&self, out: &mut [u8]) {
        out.fill(7);
    }
}

/// A network that leads nowhere.
#[derive(Debug)]
struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _: Request<Bytes>, _: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(async { Err(TransportError::Unreachable("there is no network in a measurement".to_owned())) })
    }
}

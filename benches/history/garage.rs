//! A gateway without listeners, and its five cars.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, ensure};
use bytes::Bytes;
use carport::app::App;
use carport::config::{ConfigFile, Environment, Overrides, Sources, load};
use carport::model::connection::{Connection, ConnectionStatus};
use carport::model::reading::Source;
use carport::model::token::Generation;
use carport::model::user::User;
use carport::model::vehicle::VehicleFacts;
use carport::model::{AppUserId, ConnectionId, SmartcarUserId, Timestamp, VehicleId};
use carport::store::connections::{LinkVehicles, Linking};
use carport::store::tellings::{ApplyReadings, Telling};
use carport::store::users::{PutUser, When};
use carport::web::{Peer, handle};
use carport::world::{Clock, SystemEntropy, Transport, TransportError, World};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, try_join_all};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};

use crate::car::{Car, SIGNALS};

pub(crate) const CARS: u64 = 5;

/// When all of it ends: midnight.
const END: u64 = 1_760_054_400_000;

/// One car's gateway.
pub(crate) struct Garage(App);

/// It is always the end.
#[derive(Debug)]
struct TheEnd;

impl Clock for TheEnd {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(END).unwrap_or(i64::MAX))
    }
}

#[derive(Debug)]
struct Nobody;

impl Transport for Nobody {
    fn send(&self, _: Request<Bytes>, _: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        async { Err(TransportError::Unreachable("there is no network".to_owned())) }.boxed()
    }
}

/// What is asked, by name.
pub(crate) fn queries() -> Vec<(&'static str, String)> {
    let time = |days_ago: u64| at(END - days_ago * 86_400_000).to_string();
    let of = |signal: &str, rest: &str| format!("/api/v1/vehicles/{}/history?signal={signal}&{rest}", id(0));
    let (day, year) = (format!("since={}&limit=500", time(1)), format!("since={}&limit=500", time(365)));
    vec![
        ("last day (level)", of("tractionbattery-stateofcharge", &day)),
        ("last day (place)", of("location-preciselocation", &day)),
        ("last year by day (level)", of("tractionbattery-stateofcharge", &format!("every=day&{year}"))),
        ("last year by day (odometer)", of("odometer-traveleddistance", &format!("every=day&{year}"))),
        ("last 30 days of charging", format!("/api/v1/vehicles/{}/charges?since={}&limit=500", id(0), time(30))),
        ("last year of driving", format!("/api/v1/vehicles/{}/trips?since={}&limit=500", id(0), time(365))),
    ]
}

impl Garage {
    pub(crate) async fn open(directory: &Path) -> anyhow::Result<Garage> {
        let overrides = Overrides::default().set("data_dir", directory.to_string_lossy(), "bench");
        let (environment, file) = (Environment::default(), ConfigFile::None);
        let config = load(&Sources { overrides, lan: false, environment, file, directory: directory.to_owned() })?;
        let world = World { clock: Arc::new(TheEnd), entropy: Arc::new(SystemEntropy), transport: Arc::new(Nobody) };
        Ok(Garage(App::build(&config, world).await?))
    }

    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.0.close().await;
        Ok(())
    }

    pub(crate) async fn link(&self) -> anyhow::Result<()> {
        let (store, at, user) = (self.0.store(), at(0), AppUserId::new("owner"));
        store
            .commit(PutUser { user: User { id: user.clone(), name: None, email: None, created_at: at }, when: When::New })
            .await?;
        let connection = Connection {
            id: ConnectionId(uuid::Uuid::from_u128(1)),
            smartcar_user: Some(SmartcarUserId::new("user")),
            user,
            generation: Generation::V3,
            single: None,
            single_select: false,
            mode: None,
            status: ConnectionStatus::Active,
            scope: Vec::new(),
            connected_at: at,
            last_error: None,
        };
        // Never opened.
        let vehicles = (0..CARS).map(|car| VehicleFacts::unknown(id(car))).collect();
        let linked = store.commit(LinkVehicles::new(connection, vehicles, at)).await?;
        ensure!(linked == Linking::Linked, "the cars cannot be linked: {linked:?}");
        Ok(())
    }

    /// Lets the cars tell of the last days, as the projector would, and returns how many readings that were.
    pub(crate) async fn fill(&self, days: u64) -> anyhow::Result<u64> {
        let store = self.0.store();
        let mut cars: Vec<(u32, Car)> = Vec::new();
        for car in 0..CARS {
            let vehicle = id(car);
            let found = store.read(move |snapshot| snapshot.vehicle(&vehicle)).await?;
            cars.push((found.ok_or_else(|| anyhow!("the car is not linked"))?.0, Car::new(car)));
        }
        let mut offered = 0;
        for day in 0..days {
            let midnight = END - (days - day) * 86_400_000;
            let mut changes = Vec::new();
            for (vehicle, car) in &mut cars {
                for (at, reports) in car.day(midnight) {
                    offered += SIGNALS;
                    let telling = Telling {
                        vehicle: *vehicle,
                        reports,
                        source: Source::Webhook,
                        at,
                        told_at: at,
                        facts: None,
                        errors: Vec::new(),
                        resolved: Vec::new(),
                    };
                    changes.push(ApplyReadings::of(vec![telling]));
                }
            }
            try_join_all(changes.into_iter().map(|change| store.commit(change))).await?;
        }
        Ok(offered)
    }

    /// Asks the API, and returns how many rows it told.
    pub(crate) async fn ask(&self, path: &str) -> anyhow::Result<usize> {
        let (head, body) = self.get(path).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        ensure!(head.status.is_success(), "{}", String::from_utf8_lossy(&body));
        let told: serde_json::Value = serde_json::from_slice(&body)?;
        Ok(told["items"].as_array().map_or(0, Vec::len))
    }

    pub(crate) async fn count_changes(&self) -> anyhow::Result<u64> {
        let mut body = self.get("/api/v1/export").await?.into_body();
        let mut lines = 0;
        while let Some(frame) = body.frame().await {
            let part = frame?.into_data().unwrap_or_default();
            // Each part ends with a line.
            lines += part.split(|byte| *byte == b'\n').count() as u64 - 1;
        }
        Ok(lines)
    }

    /// Reads all of it, and returns how many bytes that were.
    pub(crate) async fn export(&self) -> anyhow::Result<u64> {
        let mut body = self.get("/api/v1/export").await?.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame?.into_data().map_or(0, |part| part.len() as u64);
        }
        Ok(bytes)
    }

    async fn get(&self, path: &str) -> anyhow::Result<Response<carport::web::Body>> {
        let request = Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new())?;
        Ok(handle(self.0.services(), Peer::ourselves(), request).await)
    }
}

fn id(car: u64) -> VehicleId {
    VehicleId::new(format!("00000000-0000-4000-8000-{car:012}"))
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

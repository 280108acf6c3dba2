//! An export whose reader stalls, over a real socket: it holds nothing of the store.

use std::sync::mpsc;
use std::time::Duration;

use carport::model::connection::{Connection, ConnectionStatus};
use carport::model::reading::{Outcome, SignalReport, Source};
use carport::model::token::Generation;
use carport::model::user::User;
use carport::model::vehicle::VehicleFacts;
use carport::model::{AppUserId, ConnectionId, Json, SmartcarUserId, Timestamp, VehicleId};
use carport::store::Store;
use carport::store::connections::{LinkVehicles, Linking};
use carport::store::tellings::{ApplyReadings, Telling};
use carport::store::users::{PutUser, When};
use carport::store::vehicles::RenameVehicle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::rig::Gateway;

const READINGS: usize = 12_000;
const MEGABYTE: u64 = 1 << 20;

fn at(millis: usize) -> Timestamp {
    Timestamp::from_millis(1_760_000_000_000 + i64::try_from(millis).unwrap())
}

/// Text that does not pack.
fn noise(seed: usize, length: usize) -> String {
    let mut state = seed as u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
    };
    (0..length).map(|_| letter()).collect()
}

/// Time stands still until this goes: what has a limit of time does not reach it, however slow the machine is.
struct Still {
    /// While a blocking task is under way, time that is paused does not move on by itself.
    _blocks: mpsc::Sender<()>,
}

impl Still {
    fn begin() -> Still {
        tokio::time::pause();
        let (blocks, wait) = mpsc::channel();
        tokio::task::spawn_blocking(move || wait.recv());
        Still { _blocks: blocks }
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        tokio::time::resume();
    }
}

/// A car with a long history.
async fn fill(store: &Store) -> VehicleId {
    let (user, vehicle) = (AppUserId::new("owner"), VehicleId::new("car"));
    let new = User { id: user.clone(), name: None, email: None, created_at: at(0) };
    store.commit(PutUser { user: new, when: When::New }).await.unwrap();
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
        connected_at: at(0),
        last_error: None,
    };
    let vehicles = vec![VehicleFacts::unknown(vehicle.clone())];
    let linked = store.commit(LinkVehicles::new(connection, vehicles, at(0))).await.unwrap();
    assert_eq!(linked, Linking::Linked);
    let id = vehicle.clone();
    let (row, _) = store.read(move |snapshot| snapshot.vehicle(&id)).await.unwrap().unwrap();
    for first in (0..READINGS).step_by(1000) {
        let report = |number: usize| SignalReport {
            code: "test-text".to_owned(),
            group: None,
            name: None,
            outcome: Outcome::Value(Json::of(&serde_json::json!({ "value": noise(number, 200) }))),
            oem_updated_at: Some(at(number)),
            retrieved_at: None,
        };
        let telling = Telling {
            vehicle: row,
            reports: (first..first + 1000).map(report).collect(),
            source: Source::Webhook,
            at: at(READINGS),
            told_at: at(READINGS),
            facts: None,
            errors: Vec::new(),
            resolved: Vec::new(),
        };
        store.commit(ApplyReadings::of(vec![telling])).await.unwrap();
    }
    vehicle
}

/// Writes the same row again and again; returns how long the files are then.
async fn churn(store: &Store, vehicle: &VehicleId) -> u64 {
    for round in 0..8 {
        for step in 0..20 {
            let nickname = Some(noise(round * 100 + step, 16_000));
            store.commit(RenameVehicle { id: vehicle.clone(), nickname, user: None }).await.unwrap();
        }
        store.checkpoint().await.unwrap();
    }
    store.bytes()
}

#[tokio::test]
async fn a_stalled_export_does_not_grow_the_store() {
    let mut gateway = Gateway::new("stalled").await;
    let mut app = gateway.app.take().unwrap();
    app.bind(&gateway.config).await.unwrap();
    let (store, shutdown) = (app.store().clone(), CancellationToken::new());
    let running = tokio::spawn(app.run(shutdown.clone()));
    let vehicle = fill(&store).await;
    churn(&store, &vehicle).await;
    let settled = churn(&store, &vehicle).await;

    let mut reader = UnixStream::connect(&gateway.config.socket).await.unwrap();
    let request = "GET /api/v1/export HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    reader.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 1000];
    reader.read_exact(&mut head).await.unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    // Who does not read is sent away after some seconds, and this reader is to stay.
    let still = Still::begin();
    let stalled = churn(&store, &vehicle).await;
    assert!(stalled < settled + MEGABYTE, "{settled} bytes without, {stalled} with a reader who stalls");

    // What it would look like if it were held.
    let (let_go, wait) = mpsc::channel::<()>();
    let holder = store.clone();
    let held = tokio::spawn(async move { holder.read(move |_| Ok(wait.recv().is_ok())).await });
    let with_snapshot = churn(&store, &vehicle).await;
    assert!(with_snapshot > stalled + 2 * MEGABYTE, "a snapshot that is held shows: {stalled}, {with_snapshot}");
    let_go.send(()).unwrap();
    held.await.unwrap().unwrap();

    // And who reads on gets all of it.
    drop(still);
    let mut rest = Vec::new();
    timeout(Duration::from_secs(60), reader.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "it has an end");
    let all = [&head[..], &rest].concat();
    let lines = all.windows(b"\"signal\":\"test-text\"".len()).filter(|part| part == b"\"signal\":\"test-text\"").count();
    // A chunk's border may lie within a line's beginning.
    assert!(lines + 20 > READINGS && lines <= READINGS, "{lines}");
    shutdown.cancel();
    timeout(Duration::from_secs(20), running).await.unwrap().unwrap().unwrap();
}

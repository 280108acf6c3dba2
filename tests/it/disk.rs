//! A disk that fails: at the n-th call, once or from then on. Nothing that was acknowledged is missing
//! after a reopening, nothing panics, and all is well again when the disk is. What is no store of ours
//! is refused untouched.

use redb::{ReadableDatabase, TableDefinition};
use serde_json::{Value, json};

use carport::store::StoreError;

use crate::gateway::{Disk, Fault, TestGateway, events, is_long};
use crate::simulator::rig::ADA;

const ODOMETER: &str = "odometer-traveleddistance";
const T: i64 = 1_759_900_000_000;

fn event(number: i64, vehicle: &str) -> Value {
    events::state(&format!("e-{number}"), vehicle, &[events::signal(ODOMETER, number, T + number * 1000)])
}

/// Delivers and reads on a bad day; returns the places of what was acknowledged, and how often the disk
/// refused.
async fn bad_day(gateway: &TestGateway, vehicle: &str, fault: Fault) -> (Vec<(i64, u64)>, u64) {
    gateway.disk.break_at(fault);
    let mut acknowledged = Vec::new();
    for number in 0..4 {
        let answer = gateway.delivery(event(number, vehicle).to_string()).send().await;
        match answer.status {
            200 => acknowledged.push((number, answer.json()["seq"].as_u64().unwrap())),
            status => assert_eq!(status, 503, "{fault:?}: {}", answer.text()),
        }
        let _ = gateway.app().projector().catch_up().await;
        let seen = gateway.get(&format!("/api/v1/vehicles/{vehicle}")).bearer(&gateway.admin).send().await;
        assert!([200, 503].contains(&seen.status), "{fault:?}: {}", seen.text());
        let named = json!({ "nickname": format!("Herbie {number}") });
        let path = format!("/api/v1/vehicles/{vehicle}");
        let named = gateway.ask("PATCH", &path).json(&named).bearer(&gateway.admin).send().await;
        assert!([200, 503].contains(&named.status), "{fault:?}: {}", named.text());
    }
    (acknowledged, gateway.disk.mend())
}

/// What was acknowledged is there, and everything works.
async fn is_well(gateway: &TestGateway, vehicle: &str, acknowledged: &[(i64, u64)], fault: Fault) {
    gateway.app().store().heal().await;
    assert_eq!(gateway.get("/readyz").send().await.status, 200, "{fault:?}: not healthy again");
    for (number, seq) in acknowledged {
        let entry = gateway.told(&format!("/api/v1/webhooks/{seq}")).await;
        assert_eq!(entry["payload"], event(*number, vehicle), "{fault:?}");
        let answer = gateway.delivery(event(*number, vehicle).to_string()).send().await;
        assert_eq!(answer.json(), json!({ "status": "duplicate", "seq": seq }), "{fault:?}");
    }
    // What was not acknowledged comes again, as Smartcar does it.
    for number in 0..4 {
        let answer = gateway.delivery(event(number, vehicle).to_string()).send().await;
        assert_eq!(answer.status, 200, "{fault:?}: {}", answer.text());
    }
    gateway.catch_up().await;
    let history = gateway.told(&format!("/api/v1/vehicles/{vehicle}/history?signal={ODOMETER}")).await;
    let values: Vec<i64> =
        history["items"].as_array().unwrap().iter().map(|row| row["body"]["value"].as_i64().unwrap()).collect();
    assert_eq!(values, [0, 1, 2, 3], "{fault:?}");
}

async fn every_call(seed: u64, fault: fn(u64) -> Fault, crash: bool) {
    let mut n = 1;
    loop {
        let mut gateway = TestGateway::new(seed + n).await;
        gateway.connect("ada", ADA).await;
        gateway.catch_up().await;
        let vehicle = gateway.vehicles_of(ADA).remove(0);
        let fault = fault(n);
        let (acknowledged, refused) = bad_day(&gateway, &vehicle, fault).await;
        if crash {
            gateway.crash().await;
        }
        is_well(&gateway, &vehicle, &acknowledged, fault).await;
        if !crash {
            gateway.reopen().await;
            is_well(&gateway, &vehicle, &acknowledged, fault).await;
        }
        gateway.finish().await;
        if refused == 0 {
            assert!(n > 20, "the disk was hardly used");
            return;
        }
        // The first ones all, then a sample.
        n += if is_long() { 1 } else { 1 + n / 4 };
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_fails_once() {
    every_call(1000, Fault::Write, false).await;
    every_call(2000, Fault::Write, true).await;
}

#[tokio::test(start_paused = true)]
async fn writes_fail_from_then_on() {
    every_call(3000, Fault::WritesFrom, false).await;
    every_call(4000, Fault::WritesFrom, true).await;
}

#[tokio::test(start_paused = true)]
async fn any_call_fails_once() {
    every_call(5000, Fault::Call, false).await;
}

#[tokio::test(start_paused = true)]
async fn any_call_fails_from_then_on() {
    every_call(6000, Fault::CallsFrom, true).await;
}

const META: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta-1");

/// Opening must fail so, and must leave every byte as it was.
async fn is_refused_untouched(gateway: &mut TestGateway, disk: Disk) -> StoreError {
    let (before, own) = (disk.bytes(), std::mem::replace(&mut gateway.disk, disk));
    let error = gateway.open().await.unwrap_err();
    assert!(gateway.disk.bytes() == before, "the file was touched");
    gateway.disk = own;
    error
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_is_refused_untouched() {
    let mut gateway = TestGateway::new(110).await;
    gateway.connect("ada", ADA).await;
    gateway.stop().await;

    let own = gateway.take_key();
    let store = gateway.disk.copy();
    let error = is_refused_untouched(&mut gateway, store).await;
    assert!(matches!(error, StoreError::WrongKey { .. }), "{error:?}");
    gateway.give_key(own);

    let newer = gateway.disk.copy();
    let database = redb::Builder::new().create_with_backend(newer.clone()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert(&b"format"[..], &[0x18, 0x63][..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = is_refused_untouched(&mut gateway, newer).await;
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error:?}");

    let text = Disk::of(b"This is the diary of somebody else.\n".repeat(1000));
    let error = is_refused_untouched(&mut gateway, text).await;
    assert!(matches!(error, StoreError::NotAStore(_)), "{error:?}");

    // A file of redb, but of another program.
    let foreign = Disk::default();
    let database = redb::Builder::new().create_with_backend(foreign.clone()).unwrap();
    let transaction = database.begin_write().unwrap();
    let table: TableDefinition<'_, &str, u64> = TableDefinition::new("recipes");
    transaction.open_table(table).unwrap().insert("soup", 7).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = is_refused_untouched(&mut gateway, foreign.clone()).await;
    assert!(matches!(error, StoreError::NotAStore(_)), "{error:?}");
    let database = redb::Builder::new().create_with_backend(foreign).unwrap();
    assert_eq!(database.begin_read().unwrap().open_table(table).unwrap().get("soup").unwrap().unwrap().value(), 7);

    gateway.open().await.unwrap();
    gateway.finish().await;
}

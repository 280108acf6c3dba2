//! A disk that fails: at the n-th call, once or from then on. Nothing that was acknowledged is missing
//! after a reopening, nothing panics, and all is well again when the disk is. What is no store of ours
//! is refused untouched.

use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use serde_json::{Value, json};

use carport::store::{Part, StoreError};

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
        // Else the disk would hardly be used.
        let _ = gateway.app().store().checkpoint().await;
    }
    (acknowledged, gateway.disk.mend())
}

/// What was acknowledged is there, and everything works.
async fn is_well(gateway: &TestGateway, vehicle: &str, acknowledged: &[(i64, u64)], fault: Fault) {
    gateway.app().store().tend().await;
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

/// Why the gateway does not open over this disk.
async fn refusal(gateway: &mut TestGateway, disk: &Disk) -> StoreError {
    let own = std::mem::replace(&mut gateway.disk, disk.clone());
    let error = gateway.open().await.unwrap_err();
    gateway.disk = own;
    error
}

/// What a table of strangers or of ours holds. (redb keeps books of its own in a file that it opens, so the
/// bytes are not the same.)
fn rows(disk: &Disk, table: TableDefinition<'_, &[u8], &[u8]>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let database = redb::Builder::new().create_with_backend(disk.copy().backend(Part::Tables)).unwrap();
    let table = database.begin_read().unwrap().open_table(table).unwrap();
    let rows = table.iter().unwrap().map(Result::unwrap);
    rows.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())).collect()
}

fn write(disk: &Disk, table: TableDefinition<'_, &[u8], &[u8]>, key: &[u8], value: &[u8]) {
    let database = redb::Builder::new().create_with_backend(disk.backend(Part::Tables)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(table).unwrap().insert(key, value).unwrap();
    transaction.commit().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_is_refused_untouched() {
    let mut gateway = TestGateway::new(110).await;
    gateway.connect("ada", ADA).await;
    gateway.stop().await;

    let (own, store) = (gateway.take_key(), gateway.disk.clone());
    let before = rows(&store, META);
    for _ in 0..3 {
        let error = refusal(&mut gateway, &store).await;
        assert!(matches!(error, StoreError::WrongKey { .. }), "{error:?}");
        assert_eq!(rows(&store, META), before);
    }
    gateway.give_key(own);

    let newer = gateway.disk.copy();
    write(&newer, META, b"format", &[0x18, 99]);
    let before = rows(&newer, META);
    let error = refusal(&mut gateway, &newer).await;
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error:?}");
    assert_eq!(rows(&newer, META), before);

    let text = Disk::of(b"This is the diary of somebody else.\n".repeat(1000));
    let before = text.bytes();
    let error = refusal(&mut gateway, &text).await;
    assert!(matches!(error, StoreError::NotAStore(_)), "{error:?}");
    assert!(text.bytes() == before, "the file was touched");

    // A file of redb, but of another program.
    let (foreign, recipes) = (Disk::default(), TableDefinition::new("recipes"));
    write(&foreign, recipes, b"soup", b"boil it");
    let error = refusal(&mut gateway, &foreign).await;
    assert!(matches!(error, StoreError::Foreign), "{error:?}");
    assert_eq!(rows(&foreign, recipes).len(), 1);

    gateway.open().await.unwrap();
    assert_eq!(gateway.told("/api/v1/vehicles").await["items"].as_array().unwrap().len(), 2);
    gateway.finish().await;
}

/// A read that fails must not leave the store closed to reads until somebody writes.
#[tokio::test(start_paused = true)]
async fn a_failed_read_heals_without_a_write() {
    let mut gateway = TestGateway::new(111).await;
    gateway.connect("ada", ADA).await;
    // Without a cache every read reaches the disk.
    gateway.cache = 0;
    let mut failed = 0;
    for n in 1..30 {
        gateway.reopen().await;
        gateway.disk.break_at(Fault::Call(n));
        let answer = gateway.get("/api/v1/vehicles").bearer(&gateway.admin).send().await;
        assert!([200, 503].contains(&answer.status), "{}", answer.text());
        failed += u64::from(answer.status == 503);
        if gateway.disk.mend() == 0 {
            break;
        }
        gateway.app().store().tend().await;
        let ready = gateway.get("/readyz").send().await;
        assert_eq!(ready.status, 200, "call {n}: {}", ready.text());
        assert_eq!(gateway.told("/api/v1/vehicles").await["items"].as_array().unwrap().len(), 2);
    }
    assert!(failed > 2, "no read reached the disk");
    gateway.finish().await;
}

/// What the projector makes is journalled later: a store that is opened anew meanwhile may have forgotten it.
#[tokio::test(start_paused = true)]
async fn what_a_reopening_forgot_is_made_again() {
    // Where the first is the one that was told last, it is held back, and the cursor stays where it is.
    for told_last in [499, 0] {
        forget_and_make_again(told_last).await;
    }
}

async fn forget_and_make_again(told_last: i64) {
    let gateway = TestGateway::new(790).await;
    gateway.connect("ada", ADA).await;
    // Else all of the log is read for a car that is new.
    gateway.catch_up().await;
    let vehicle = gateway.vehicles_of(ADA).remove(0);
    for number in 0..500 {
        let mut event = event(number, &vehicle);
        event["meta"]["deliveredAt"] = json!(T - if number == told_last { 0 } else { 3_600_000 - number });
        gateway.deliver(&event).await;
    }
    gateway.app().store().checkpoint().await.unwrap();
    let projector = gateway.app().projector();
    let mut place = projector.place();
    let mut reading = Box::pin(projector.catch_up());
    tokio::select! {
        _ = &mut reading => panic!("it was one slice"),
        some = place.changed() => some.unwrap(),
    }
    gateway.disk.break_at(Fault::Write(1));
    let refused = gateway.delivery(event(500, &vehicle).to_string()).send().await;
    assert_eq!(refused.status, 503);
    assert_eq!(gateway.disk.mend(), 1);
    gateway.app().store().tend().await;
    reading.await.unwrap_err();
    gateway.catch_up().await;
    let path = format!("/api/v1/vehicles/{vehicle}/history?signal={ODOMETER}&limit=500");
    let history = gateway.told(&path).await;
    let values: Vec<i64> =
        history["items"].as_array().unwrap().iter().map(|row| row["body"]["value"].as_i64().unwrap()).collect();
    assert_eq!(values, (0..500).collect::<Vec<_>>());
    gateway.finish().await;
}

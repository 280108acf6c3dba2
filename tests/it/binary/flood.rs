//! A flood: each event several times and in any order, over many connections at once. Each counts once, what the cars
//! say is what was newest, and memory does not grow with what comes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::http::{Line, Say};
use super::load::{self, Chance, event_id, receipt};
use super::process::{Home, Server, until};
use super::smartcar::{MANAGEMENT, Smartcar, sign, walk};

const CONNECTIONS: usize = 64;
const TIMES: usize = 5;
/// None that a first picture of a car has.
const SIGNAL: &str = "flood-number";
const FIRST_AT: u64 = 1_760_000_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_of_a_flood_counts_once() {
    let events: u32 = if std::env::var_os("CARPORT_LONG").is_some() { 100_000 } else { 2_000 };
    let mut chance = Chance::new();
    let home = Home::new();
    let smartcar = Smartcar::start(&home).await;
    let ring = format!("[webhooks]\nkeep_events = {}\nkeep_bytes = \"1GiB\"\n", events + 1_000);
    home.write("config.toml", &(Smartcar::settings(smartcar.address) + &ring));
    let token = home.token().await;
    let server = Server::start(&home).await;
    let link = home.done(&["connect", "--user", "ada", "--create"]).await;
    assert!(walk(&link, "ada@example.com").await.text().contains("connected"));
    let cars = server.get("/api/v1/vehicles", &token).await.json();
    let cars: Vec<String> = cars["items"].as_array().unwrap().iter().map(|car| car["id"].as_str().unwrap().to_owned()).collect();
    assert!(cars.len() > 1, "{cars:?}");

    let mut numbers: Vec<u32> = (0..events).flat_map(|number| [number; TIMES]).collect();
    chance.shuffle(&mut numbers);
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let (mut memory, mut accepted) = (Vec::new(), 0);
    for part in numbers.chunks(numbers.len() / 5) {
        accepted += pour(&server, &cars, part, &seen).await;
        memory.push(server.program.resident());
    }
    let seen = seen.lock().unwrap().clone();
    assert_eq!((seen.len(), accepted), (usize::try_from(events).unwrap(), events));
    load::holds_exactly(&server, &token, &seen).await;

    for (place, car) in cars.iter().enumerate() {
        let newest = (0..events).rev().find(|number| about(&cars, *number) == place).unwrap();
        until("the newest value", || async {
            let path = format!("/api/v1/vehicles/{car}/signals/{SIGNAL}");
            let latest = server.get(&path, &token).await.json();
            (latest["body"]["value"] == newest && latest["status"] == "SUCCESS").then_some(())
        })
        .await;
    }
    let (first, last) = (memory[0], memory[memory.len() - 1]);
    println!("{events} events, {TIMES} times each; resident after each fifth: {memory:?} KiB");
    assert!(last < first + 8 * 1024, "it grew from {first} to {last} KiB");
    server.stop().await;
}

/// Sends these over all connections; whoever comes first gets a place in the log, all others are told the same.
/// Returns how many were told that theirs was the first.
async fn pour(server: &Server, cars: &[String], numbers: &[u32], seen: &Arc<Mutex<BTreeMap<u32, u64>>>) -> u32 {
    let queue = Arc::new(Mutex::new(numbers.to_vec()));
    let mut senders = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (queue, seen, cars) = (queue.clone(), seen.clone(), cars.to_vec());
        let mut line = Line::open(server.address).await.unwrap();
        senders.spawn(async move {
            let mut accepted = 0;
            loop {
                let Some(number) = queue.lock().unwrap().pop() else { return accepted };
                let body = event(&cars, number).to_string();
                let signature = sign(MANAGEMENT, &body);
                let say = Say::post("/api/webhooks/smartcar", body).header("sc-signature", &signature);
                let (status, seq) = receipt(&line.send(say).await.unwrap());
                let before = seen.lock().unwrap().insert(number, seq);
                assert!(before.is_none_or(|before| before == seq), "{number} is at {before:?} and at {seq}");
                assert!(["accepted", "duplicate"].contains(&status.as_str()), "{status}");
                accepted += u32::from(status == "accepted");
            }
        });
    }
    senders.join_all().await.into_iter().sum()
}

/// Which car an event is about.
fn about(cars: &[String], number: u32) -> usize {
    number as usize % cars.len()
}

/// A later number was recorded later. Every other event also says that a signal could not be had.
fn event(cars: &[String], number: u32) -> Value {
    let at = FIRST_AT + 1_000 * u64::from(number);
    let value = json!({
        "code": SIGNAL, "name": "Number", "group": "Flood",
        "body": { "value": number, "unit": "km" }, "status": { "value": "SUCCESS" },
        "meta": { "oemUpdatedAt": at, "retrievedAt": at },
    });
    let failed = json!({
        "code": "diagnostics-dtccount", "name": "DTCCount", "group": "Diagnostics",
        "status": { "value": "ERROR", "error": { "type": "COMPATIBILITY", "code": "VEHICLE_NOT_CAPABLE" } },
    });
    let signals = if number.is_multiple_of(2) { vec![value] } else { vec![value, failed] };
    json!({
        "eventId": event_id(number),
        "eventType": "VEHICLE_STATE",
        "data": { "vehicle": { "id": cars[about(cars, number)] }, "signals": signals },
        "triggers": [],
        "meta": { "version": "4.0", "mode": "LIVE", "deliveredAt": at },
    })
}

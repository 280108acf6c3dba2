//! What the cars tell, and what is kept of it: every signal, the past, and what follows from it.

use serde_json::Value;

use crate::gateway::TestGateway;
use crate::simulator::rig::ADA;

mod derived;
mod export;
mod refused;
mod retention;
mod signals;

/// Before the epoch of the stories' clock: 2025-10-08T05:06:40Z.
const T: i64 = 1_759_900_000_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A gateway with Ada's two cars, and the first of them.
async fn with_ada(seed: u64, keys: &[(&str, &str)]) -> (TestGateway, String) {
    let settings = carport::simulator::Settings { seed, ..carport::simulator::Settings::default() };
    let gateway = TestGateway::with(seed, keys, settings).await;
    gateway.connect("ada", ADA).await;
    let vehicle = gateway.vehicles_of(ADA).remove(0);
    (gateway, vehicle)
}

fn time(millis: i64) -> String {
    carport::model::Timestamp::from_millis(millis).to_string()
}

/// A signal with any body, recorded and fetched at these moments.
fn told(code: &str, body: &Value, at: i64) -> Value {
    let (group, name) = code.split_once('-').unwrap();
    serde_json::json!({
        "code": code, "name": name, "group": group, "body": body, "status": { "value": "SUCCESS" },
        "meta": { "oemUpdatedAt": at, "retrievedAt": at + 1000 },
    })
}

/// The items of all parts of a list.
async fn all(gateway: &TestGateway, path: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let part = gateway.told(&format!("{path}{cursor}")).await;
        items.extend(part["items"].as_array().unwrap().iter().cloned());
        match part["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

//! Deliveries as Smartcar sends them, and what was said about them.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use super::http::{Answer, Line, Say};
use super::process::{Home, Server};

const KEY: &str = "the management token of this story";

/// A folder whose gateway takes events, and never drops one.
pub(crate) fn configure(home: &Home, more: &str) {
    home.write(
        "config.toml",
        &format!(
            "[smartcar]\napplication_management_token = \"{KEY}\"\n[limits]\napi = \"100000/m\"\n\
             [webhooks]\nkeep_events = 1000000\nkeep_bytes = \"1GiB\"\n{more}"
        ),
    );
}

/// Posts an event.
pub(crate) async fn post(line: &mut Line, number: u32, filler: &str) -> hyper::Result<Answer> {
    let body = json!({
        "eventId": event_id(number),
        "eventType": "VEHICLE_STATE",
        "data": { "vehicle": { "id": format!("vehicle-{}", number % 7) }, "signals": [], "filler": filler },
        "meta": { "version": "4.0", "deliveryId": format!("delivery-{number}"), "deliveredAt": 1_760_000_000_000_u64 },
    });
    let body = body.to_string();
    let mut signature = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
    signature.update(body.as_bytes());
    let signature = data_encoding::HEXLOWER.encode(&signature.finalize().into_bytes());
    line.send(Say::post("/api/webhooks/smartcar", body).header("sc-signature", &signature)).await
}

/// What a 200 says: the status and the place.
pub(crate) fn receipt(answer: &Answer) -> (String, u64) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let receipt = answer.json();
    (receipt["status"].as_str().unwrap().to_owned(), receipt["seq"].as_u64().unwrap())
}

/// The log holds what was acknowledged: each event once, at the place that was told, and no other.
pub(crate) async fn holds_exactly(server: &Server, token: &str, acknowledged: &BTreeMap<u32, u64>) {
    let mut kept = BTreeMap::new();
    let mut before = String::new();
    loop {
        let part = server.get(&format!("/api/v1/webhooks?limit=500{before}"), token).await.json();
        for item in part["items"].as_array().unwrap() {
            let id = item["event_id"].as_str().unwrap().to_owned();
            let twice = kept.insert(id, item["seq"].as_u64().unwrap());
            assert_eq!(twice, None, "kept twice: {item}");
        }
        let Some(next) = part["next"].as_str() else { break };
        before = format!("&before={next}");
    }
    let wanted: BTreeMap<String, u64> = acknowledged.iter().map(|(number, seq)| (event_id(*number), *seq)).collect();
    assert!(kept == wanted, "lost: {:?}, made up: {:?}", without(&wanted, &kept), without(&kept, &wanted));
}

pub(crate) fn event_id(number: u32) -> String {
    format!("event-{number}")
}

fn without(left: &BTreeMap<String, u64>, right: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
    left.iter().filter(|(id, seq)| right.get(*id) != Some(seq)).map(|(id, seq)| (id.clone(), *seq)).take(20).collect()
}

/// Random moments; a run is as far repeatable by its seed as a machine is.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new() -> Chance {
        let given = std::env::var_os("CARPORT_SEED").and_then(|seed| seed.to_str()?.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        println!("CARPORT_SEED={seed}");
        Chance(seed)
    }

    pub(crate) fn up_to(&mut self, milliseconds: u64) -> Duration {
        Duration::from_millis(self.next() % (milliseconds + 1))
    }

    pub(crate) fn shuffle<T>(&mut self, all: &mut [T]) {
        for end in (1..all.len()).rev() {
            let place = usize::try_from(self.next() % (end as u64 + 1)).unwrap();
            all.swap(place, end);
        }
    }

    /// A text that cannot be packed.
    pub(crate) fn text(&mut self, length: usize) -> String {
        let letters = std::iter::repeat_with(|| self.next().to_be_bytes());
        letters.flatten().map(|byte| char::from(b'0' + byte % 64)).map(|c| if c == '\\' { 'z' } else { c }).take(length).collect()
    }

    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

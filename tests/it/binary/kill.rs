//! Killed at any moment under load, the gateway loses no event that it acknowledged, and takes none twice.
//!
//! This shows what a dying process leaves behind, not what a power cut does: the page cache survives.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use rustix::process::Signal;
use serde_json::json;
use sha2::Sha256;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::http::{Line, Say};
use super::process::{Home, Program, SERVE, Server};

#[tokio::test]
async fn acknowledged_events_survive_being_killed() {
    let rounds = if std::env::var_os("CARPORT_LONG").is_some() { 200 } else { 50 };
    let mut chance = Chance::new();
    let home = Home::new();
    home.write(
        "config.toml",
        &format!(
            "[smartcar]\napplication_management_token = \"{KEY}\"\n[limits]\napi = \"100000/m\"\n\
             [webhooks]\nkeep_events = 1000000\nkeep_bytes = \"1GiB\"\n"
        ),
    );
    let token = home.token().await;
    let began = Instant::now();
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let (mut slowest, mut most_polls) = (Duration::ZERO, 0);
    for round in 0..rounds {
        if round % 4 == 3 {
            // Also while it opens and mends the store.
            let program = Program::start(home.command(SERVE));
            tokio::time::sleep(chance.up_to(60)).await;
            program.signal(Signal::KILL);
            assert_eq!(program.end().await.signal, Some(9));
            continue;
        }
        let start = Instant::now();
        let server = Server::start(&home).await;
        (slowest, most_polls) = (slowest.max(start.elapsed()), most_polls.max(server.polls));
        let mut load = JoinSet::new();
        for _ in 0..CONNECTIONS {
            load.spawn(post_until_it_dies(server.address, ledger.clone()));
        }
        tokio::time::sleep(chance.up_to(500)).await;
        server.program.signal(Signal::KILL);
        assert_eq!(server.program.end().await.signal, Some(9));
        load.join_all().await;
    }

    let server = Server::start(&home).await;
    let mut line = Line::open(server.address).await.unwrap();
    let unanswered = std::mem::take(&mut ledger.lock().unwrap().unanswered);
    for &number in &unanswered {
        let (status, seq) = post(&mut line, number).await.unwrap();
        ledger.lock().unwrap().acknowledge(number, &status, seq);
    }
    let acknowledged = ledger.lock().unwrap().acknowledged.clone();
    assert!(acknowledged.len() > rounds, "the load was no load: {} events", acknowledged.len());

    let mut kept = BTreeMap::new();
    let mut before = String::new();
    loop {
        let part = server.get(&format!("/api/v1/webhooks?limit=500{before}"), &token).await.json();
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

    // Looking through a long log took longer than an idle connection may live.
    let mut line = Line::open(server.address).await.unwrap();
    for (&number, &seq) in acknowledged.iter().step_by(acknowledged.len() / 2000 + 1) {
        assert_eq!(post(&mut line, number).await.unwrap(), ("duplicate".to_owned(), seq));
    }
    println!(
        "{rounds} kills, {} events, {} of them answered only after a restart; slowest start {slowest:?} with {most_polls} \
         look(s) at /readyz; {:?} in all",
        acknowledged.len(),
        unanswered.len() + ledger.lock().unwrap().resent,
        began.elapsed()
    );
    server.stop().await;
}

/// What was sent, and what became of it.
#[derive(Debug, Default)]
struct Ledger {
    next: u32,
    /// Sent, but the process died before it answered.
    unanswered: VecDeque<u32>,
    acknowledged: BTreeMap<u32, u64>,
    resent: usize,
}

impl Ledger {
    fn pick(&mut self) -> u32 {
        if let Some(number) = self.unanswered.pop_front() {
            self.resent += 1;
            return number;
        }
        self.next += 1;
        self.next
    }

    fn acknowledge(&mut self, number: u32, status: &str, seq: u64) {
        assert!(status == "accepted" || status == "duplicate", "{status}");
        assert_eq!(self.acknowledged.insert(number, seq), None);
    }
}

async fn post_until_it_dies(address: std::net::SocketAddr, ledger: Arc<Mutex<Ledger>>) {
    let Ok(mut line) = Line::open(address).await else { return };
    loop {
        let number = ledger.lock().unwrap().pick();
        match post(&mut line, number).await {
            Ok((status, seq)) => ledger.lock().unwrap().acknowledge(number, &status, seq),
            Err(_) => return ledger.lock().unwrap().unanswered.push_back(number),
        }
    }
}

/// Posts an event; returns what is said about it.
async fn post(line: &mut Line, number: u32) -> hyper::Result<(String, u64)> {
    let body = json!({
        "eventId": event_id(number),
        "eventType": "VEHICLE_STATE",
        "data": { "vehicle": { "id": format!("vehicle-{}", number % 7) }, "signals": [] },
        "meta": { "version": "4.0", "deliveryId": format!("delivery-{number}"), "deliveredAt": 1_760_000_000_000_u64 },
    });
    let body = body.to_string();
    let mut signature = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
    signature.update(body.as_bytes());
    let signature = data_encoding::HEXLOWER.encode(&signature.finalize().into_bytes());
    let answer = line.send(Say::post("/api/webhooks/smartcar", body).header("sc-signature", &signature)).await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let receipt = answer.json();
    Ok((receipt["status"].as_str().unwrap().to_owned(), receipt["seq"].as_u64().unwrap()))
}

fn event_id(number: u32) -> String {
    format!("event-{number}")
}

fn without(left: &BTreeMap<String, u64>, right: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
    left.iter().filter(|(id, seq)| right.get(*id) != Some(seq)).map(|(id, seq)| (id.clone(), *seq)).take(20).collect()
}

/// Random moments; a run is as far repeatable by its seed as a machine is.
struct Chance(u64);

impl Chance {
    fn new() -> Chance {
        let given = std::env::var_os("CARPORT_SEED").and_then(|seed| seed.to_str()?.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        println!("CARPORT_SEED={seed}");
        Chance(seed)
    }

    fn up_to(&mut self, milliseconds: u64) -> Duration {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_millis((mixed ^ (mixed >> 31)) % (milliseconds + 1))
    }
}

const KEY: &str = "the management token of this story";
const CONNECTIONS: usize = 4;

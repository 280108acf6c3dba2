//! Killed at any moment under load, the gateway loses no event that it acknowledged, and takes none twice.
//!
//! This shows what a dying process leaves behind, not what a power cut does: the page cache survives.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::http::Line;
use super::load::{self, Chance};
use super::process::{Home, Program, SERVE, Server};

#[tokio::test]
async fn acknowledged_events_survive_being_killed() {
    let rounds = if std::env::var_os("CARPORT_LONG").is_some() { 200 } else { 50 };
    let mut chance = Chance::new();
    let home = Home::new();
    load::configure(&home, "");
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
        let mut senders = JoinSet::new();
        for _ in 0..CONNECTIONS {
            senders.spawn(post_until_it_dies(server.address, ledger.clone()));
        }
        tokio::time::sleep(chance.up_to(500)).await;
        server.program.signal(Signal::KILL);
        assert_eq!(server.program.end().await.signal, Some(9));
        senders.join_all().await;
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

    load::holds_exactly(&server, &token, &acknowledged).await;

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
    Ok(load::receipt(&load::post(line, number, "").await?))
}

const CONNECTIONS: usize = 4;

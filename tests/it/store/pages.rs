//! A page of the tables is gone, and with it perhaps what led to many others: it costs what it held.

use std::time::Duration;

use carport::model::connection::{Connection, ConnectionStatus};
use carport::model::reading::{Outcome, SignalReport, Source};
use carport::model::token::Generation;
use carport::model::user::User;
use carport::model::vehicle::VehicleFacts;
use carport::model::{Blob, ConnectionId, Json, SmartcarUserId, Timestamp};
use carport::store::bookmark::Bookmark;
use carport::store::connections::{AdoptConnection, LinkVehicles};
use carport::store::tellings::{ApplyReadings, Telling};
use carport::store::tokens::SealedTokens;
use carport::store::users::{PutUser, When};
use carport::store::vehicle_data::HistoryRange;
use carport::store::webhook_log::{DeliveryResult, RecordDelivery, Ring};
use carport::store::{Packed, Part, Store};
use serde_json::json;

use crate::gateway::is_long;

use super::deeds::{car, user};
use super::disk::{Chance, Disk};
use super::{BEGIN, now, open, under_seeds};

const PAGE: usize = 4096;
const EVENTS: u64 = 300;
const RING: Ring = Ring { events: 1_000, bytes: 1 << 24, dedupe_for: Duration::from_secs(3600) };

/// More entries than are in a page.
const ENTRIES: u64 = 20;
/// More readings than are in a page of blocks, and those that are not yet in blocks.
const READINGS: u64 = 160;

#[test]
fn a_page_costs_what_it_held() {
    let seeds = if is_long() { 3600..3620 } else { 3600..3602 };
    under_seeds(seeds, 10, |seed| {
        let mut chance = Chance::new(seed);
        let disk = Disk::new(chance.split());
        let store = open(&disk, &mut chance).unwrap();
        link(&store);
        for number in 1..=EVENTS {
            tell(&store, number);
            // So that the journal does not hold them any more.
            if number.is_multiple_of(100) || number > EVENTS - 3 {
                now(store.checkpoint()).unwrap();
            }
        }
        if seed.is_multiple_of(2) {
            now(store.close());
        }
        let (_, bytes) = disk.kill().parts().into_iter().find(|(part, _)| *part == Part::Tables).unwrap();
        let pages = (0..bytes / PAGE).filter(|page| is_long() || *page < 2 || chance.percent(10)).collect::<Vec<_>>();
        let played = pages.len() as u64;
        for page in pages {
            let disk = disk.kill();
            disk.spoil(Part::Tables, page * PAGE..(page + 1) * PAGE, &mut chance);
            let store = open(&disk, &mut chance).unwrap();
            let (entries, readings) = held(&store);
            let findings = store.findings();
            assert!(entries + ENTRIES >= EVENTS, "{entries} events without page {page}: {findings:?}");
            assert!(readings + READINGS >= EVENTS, "{readings} readings without page {page}: {findings:?}");
            assert!((entries, readings) == (EVENTS, EVENTS) || !findings.is_empty(), "in silence, without page {page}");
        }
        played
    });
}

#[test]
fn journals_of_another_time_are_told() {
    let mut chance = Chance::new(3650);
    let disk = Disk::new(chance.split());
    let store = open(&disk, &mut chance).unwrap();
    let tell_on = |numbers: std::ops::RangeInclusive<u64>| {
        for number in numbers {
            tell(&store, number);
            now(store.checkpoint()).unwrap();
        }
    };
    link(&store);
    tell_on(1..=3);
    let backup = disk.kill();
    tell_on(4..=8);
    tell(&store, 9);
    let mixed = disk.kill();
    mixed.copy(Part::JournalA, &backup);
    mixed.copy(Part::JournalB, &backup);
    let store = open(&mixed, &mut chance).unwrap();
    assert_eq!(held(&store), (8, 8));
    assert!(store.findings().iter().any(|finding| finding.contains("journal is older")), "{:?}", store.findings());
}

pub(super) fn link(store: &Store) {
    let new = User { id: user(0), name: None, email: None, created_at: BEGIN };
    now(store.commit(PutUser { user: new, when: When::New })).unwrap();
    let connection = Connection {
        id: ConnectionId(uuid::Uuid::from_u128(1)),
        smartcar_user: Some(SmartcarUserId::new("account")),
        user: user(0),
        generation: Generation::V2,
        single: None,
        single_select: false,
        mode: None,
        status: ConnectionStatus::Active,
        scope: Vec::new(),
        connected_at: BEGIN,
        last_error: None,
    };
    let month = Duration::from_secs(30 * 86_400);
    let tokens = SealedTokens {
        version: 1,
        sealed: Blob(vec![7; 250]),
        access_expires_at: BEGIN.after(month),
        refresh_expires_at: Some(BEGIN.after(2 * month)),
        issued_at: BEGIN,
        used_at: BEGIN,
        due_at: Some(BEGIN.after(month)),
    };
    now(store.commit(AdoptConnection { connection: connection.clone(), tokens })).unwrap();
    now(store.commit(LinkVehicles::new(connection, vec![VehicleFacts::unknown(car(0))], BEGIN))).unwrap();
}

/// An event of every hour, and what is made of it.
fn tell(store: &Store, number: u64) {
    let at = BEGIN.after(Duration::from_secs(3600) * u32::try_from(number).unwrap());
    let mut chance = Chance::new(number);
    let noise: String = (0..40).map(|_| chance.next().to_string()).collect();
    let event = RecordDelivery {
        event: format!("event-{number}"),
        kind: "VEHICLE_STATE".to_owned(),
        result: DeliveryResult::Accepted,
        vehicle: Some(car(0)),
        is_about_others: false,
        body: Packed::of(format!("{{\"noise\":\"{noise}\"}}").as_bytes()),
        received_at: at,
        ring: RING,
    };
    now(store.commit(event)).unwrap();
    let report = SignalReport {
        code: "odometer-traveleddistance".to_owned(),
        group: None,
        name: None,
        outcome: Outcome::Value(Json::of(&json!({ "noise": noise[..80] }))),
        oem_updated_at: Some(at),
        retrieved_at: None,
    };
    let telling = Telling {
        vehicle: 1,
        reports: vec![report],
        source: Source::Webhook,
        at,
        told_at: at,
        facts: None,
        errors: Vec::new(),
        resolved: Vec::new(),
    };
    let from = now(store.read(|snapshot| snapshot.bookmark())).unwrap();
    let change = ApplyReadings::of(vec![telling]).moving(from, Bookmark::at(carport::model::Seq(number)));
    assert!(now(store.commit(change)).unwrap());
}

/// How many events and how many readings there are.
fn held(store: &Store) -> (u64, u64) {
    let all = HistoryRange {
        vehicle: 1,
        signal: Some("odometer-traveleddistance".to_owned()),
        since: Timestamp::from_millis(0),
        until: BEGIN.after(Duration::from_secs(366 * 86_400)),
        after: None,
        limit: usize::MAX,
    };
    now(store.read(move |snapshot| Ok((snapshot.log_extent()?.entries, snapshot.history(&all)?.len() as u64)))).unwrap()
}

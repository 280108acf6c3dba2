//! Gaps: after a time in which deliveries may have been lost, each car is read once, and the status tells why.

use std::collections::BTreeSet;
use std::time::Duration;

use carport::simulator::{Settings, WebhookSettings};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::gateway::{HOUR, TestGateway, events, pass};
use crate::simulator::rig::ADA;

const ODOMETER: &str = "odometer-traveleddistance";
const MINUTE: Duration = Duration::from_secs(60);

/// A gateway that runs, with Ada's two cars, of which webhooks have told.
async fn with_two_cars(seed: u64) -> (TestGateway, Vec<String>) {
    let mut gateway = TestGateway::new(seed).await;
    gateway.connect("ada", ADA).await;
    gateway.start();
    let vehicles = gateway.vehicles_of(ADA);
    assert_eq!(vehicles.len(), 2);
    // First their pictures are taken.
    pass(MINUTE).await;
    tell(&gateway, &vehicles, 1).await;
    pass(MINUTE).await;
    (gateway, vehicles)
}

/// Delivers an event about each car.
async fn tell(gateway: &TestGateway, vehicles: &[String], number: i64) {
    for vehicle in vehicles {
        let at = gateway.now().as_millis();
        let event = events::state(&format!("{number}-{vehicle}"), vehicle, &[events::signal(ODOMETER, number, at)]);
        gateway.deliver(&event).await;
    }
}

/// How often each car was read.
fn reads(gateway: &TestGateway, vehicles: &[String]) -> Vec<usize> {
    vehicles.iter().map(|vehicle| gateway.net.count(&format!("POST /v2.0/vehicles/{vehicle}/batch"))).collect()
}

/// What `reads` tells when each car was read once since.
fn once_more(before: &[usize]) -> Vec<usize> {
    before.iter().map(|count| count + 1).collect()
}

/// Cause and number of cars of each gap.
async fn gaps(gateway: &TestGateway) -> Vec<(String, u64)> {
    let status = gateway.told("/api/v1/status").await;
    assert_eq!(status["webhooks"]["to_read"], 0, "{status}");
    let gap = |gap: &Value| (gap["cause"].as_str().unwrap().to_owned(), gap["vehicles"].as_u64().unwrap());
    status["webhooks"]["gaps"].as_array().unwrap().iter().map(gap).collect()
}

async fn restart_after(gateway: &mut TestGateway, outage: Duration) {
    gateway.stop().await;
    pass(outage).await;
    gateway.open().await.unwrap();
    gateway.start();
    pass(2 * MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn an_hour_off_is_healed_with_one_read_of_each_car() {
    let (mut gateway, vehicles) = with_two_cars(300).await;
    let before = reads(&gateway, &vehicles);
    let value = |told: &Value| told["body"]["value"].clone();
    let odometer = format!("/api/v1/vehicles/{}/signals/{ODOMETER}", vehicles[0]);
    assert_eq!(value(&gateway.told(&odometer).await), 1);

    restart_after(&mut gateway, HOUR).await;
    let after = reads(&gateway, &vehicles);
    assert_eq!(after, once_more(&before));
    assert_eq!(gaps(&gateway).await, [("down".to_owned(), 2)]);
    let healed = gateway.told(&odometer).await;
    assert_eq!(healed["source"], "read", "{healed}");
    assert_ne!(value(&healed), 1);

    // It is healed once, also by another start, and the page tells of it.
    restart_after(&mut gateway, MINUTE).await;
    assert_eq!((reads(&gateway, &vehicles), gaps(&gateway).await.len()), (after, 1));
    let page = gateway.get("/webhooks").local().bearer(&gateway.admin).header("accept", "text/html").send().await;
    assert_eq!(page.status, 200);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_short_stop_costs_no_call() {
    let (mut gateway, vehicles) = with_two_cars(301).await;
    let before = reads(&gateway, &vehicles);
    // Nothing came in for hours: what counts is when it was stopped.
    pass(5 * HOUR).await;
    restart_after(&mut gateway, Duration::from_secs(160)).await;
    assert_eq!((reads(&gateway, &vehicles), gaps(&gateway).await), (before, Vec::new()));
    gateway.finish().await;
}

/// Nobody notes when the power fails: the last note of being alive is a quarter of an hour old at most.
#[tokio::test(start_paused = true)]
async fn a_power_cut_is_a_gap_from_the_last_sign_of_life() {
    let (mut gateway, vehicles) = with_two_cars(302).await;
    let before = reads(&gateway, &vehicles);
    pass(10 * HOUR).await;
    let failed_at = gateway.now();
    gateway.lose_power(HOUR).await;
    gateway.start();
    pass(2 * MINUTE).await;
    assert_eq!(reads(&gateway, &vehicles), once_more(&before));
    assert_eq!(gaps(&gateway).await, [("down".to_owned(), 2)]);
    let status = gateway.told("/api/v1/status").await;
    let since = carport::model::Timestamp::parse(status["webhooks"]["gaps"][0]["since"].as_str().unwrap()).unwrap();
    assert!(since <= failed_at && failed_at.since(since) <= 16 * MINUTE, "{since:?} {failed_at:?}");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn refusals_that_last_are_a_gap() {
    let (gateway, vehicles) = with_two_cars(303).await;
    let before = reads(&gateway, &vehicles);
    let leave = async |free: u64| {
        gateway.disk.leave(free);
        gateway.app().store().tend().await;
    };
    let refused = async |number: i64| {
        let event = events::state(&number.to_string(), &vehicles[0], &[]);
        assert_eq!(gateway.delivery(event.to_string()).send().await.status, 503);
    };
    // Smartcar tries for longer than that.
    leave(1 << 20).await;
    refused(2).await;
    pass(2 * MINUTE).await;
    refused(2).await;
    leave(1 << 30).await;
    pass(MINUTE / 2).await;
    tell(&gateway, &vehicles, 3).await;
    pass(2 * MINUTE).await;
    assert_eq!((reads(&gateway, &vehicles), gaps(&gateway).await), (before.clone(), Vec::new()));

    leave(1 << 20).await;
    refused(4).await;
    pass(5 * MINUTE).await;
    refused(5).await;
    leave(1 << 30).await;
    pass(MINUTE).await;
    tell(&gateway, &vehicles, 6).await;
    pass(2 * MINUTE).await;
    assert_eq!(reads(&gateway, &vehicles), once_more(&before));
    assert_eq!(gaps(&gateway).await, [("refused".to_owned(), 2)]);
    gateway.finish().await;
}

/// The token of another application proves nothing. What was sent meanwhile is lost, and known to be once the right one is there;
/// a forger alone makes no gap.
#[tokio::test(start_paused = true)]
async fn a_time_with_a_wrong_token_is_a_gap() {
    const KEY: &str = "smartcar.application_management_token";
    let (mut gateway, vehicles) = with_two_cars(312).await;
    let before = reads(&gateway, &vehicles);
    let missing = async |gateway: &TestGateway| {
        let status = gateway.told("/api/v1/status").await;
        status["missing"].as_array().unwrap().iter().any(|missing| missing["code"] == "wrong_signature")
    };
    let refused = async |gateway: &TestGateway, signature: Option<&str>| {
        let event = events::state("2", &vehicles[0], &[]).to_string();
        let delivery = gateway.delivery(event);
        let delivery = match signature {
            Some(signature) => delivery.without("sc-signature").header("sc-signature", signature),
            None => delivery,
        };
        assert_eq!(delivery.send().await.status, 401);
    };
    let forged = "0".repeat(64);
    refused(&gateway, Some(&forged)).await;
    assert!(missing(&gateway).await);
    pass(5 * MINUTE).await;
    tell(&gateway, &vehicles, 3).await;
    pass(2 * MINUTE).await;
    assert!(!missing(&gateway).await);
    assert_eq!((reads(&gateway, &vehicles), gaps(&gateway).await), (before.clone(), Vec::new()));

    // He is there before and after, too, and that hides nothing.
    refused(&gateway, Some(&forged)).await;
    pass(5 * MINUTE).await;
    gateway.configure(KEY, "00000000-0000-4000-8000-000000000000");
    restart_after(&mut gateway, Duration::from_secs(5)).await;
    refused(&gateway, None).await;
    pass(5 * MINUTE).await;
    refused(&gateway, None).await;
    let right = gateway.management_token();
    gateway.configure(KEY, &right);
    restart_after(&mut gateway, Duration::from_secs(5)).await;
    refused(&gateway, Some(&forged)).await;
    assert!(missing(&gateway).await);
    tell(&gateway, &vehicles, 4).await;
    pass(2 * MINUTE).await;
    assert!(!missing(&gateway).await);
    assert_eq!(reads(&gateway, &vehicles), once_more(&before));
    assert_eq!(gaps(&gateway).await, [("refused".to_owned(), 2)]);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_ring_that_stays_full_is_one_gap() {
    let mut gateway = TestGateway::with(311, &[("webhooks.keep_events", "4")], Settings::default()).await;
    gateway.connect("ada", ADA).await;
    gateway.start_but_projecting();
    let vehicles = gateway.vehicles_of(ADA);
    pass(MINUTE).await;
    let event = |number: i64| events::state(&number.to_string(), &vehicles[0], &[events::signal(ODOMETER, number, number)]);
    for number in 1..=4 {
        gateway.deliver(&event(number)).await;
    }
    let before = reads(&gateway, &vehicles);
    for turn in 0..5 {
        assert_eq!(gateway.delivery(event(5 + turn).to_string()).send().await.status, 503);
        pass(MINUTE).await;
    }
    gateway.start_projecting();
    gateway.catch_up().await;
    gateway.deliver(&event(9)).await;
    pass(2 * MINUTE).await;
    assert_eq!(gaps(&gateway).await, [("refused".to_owned(), 1)]);
    assert_eq!(reads(&gateway, &vehicles)[0], before[0] + 1);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_day_of_silence_is_asked_about_once() {
    let (mut gateway, vehicles) = with_two_cars(304).await;
    let before = reads(&gateway, &vehicles);
    pass(25 * HOUR).await;
    let once = once_more(&before);
    assert_eq!((reads(&gateway, &vehicles), gaps(&gateway).await), (once.clone(), vec![("silent".to_owned(), 2)]));
    pass(30 * HOUR).await;
    restart_after(&mut gateway, MINUTE).await;
    assert_eq!((reads(&gateway, &vehicles), gaps(&gateway).await.len()), (once, 1));
    tell(&gateway, &vehicles, 2).await;
    pass(25 * HOUR).await;
    assert_eq!(gaps(&gateway).await.len(), 2);
    gateway.finish().await;
}

/// A Pi that starts does not know the time yet.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_not_set_makes_no_gap() {
    let (mut gateway, vehicles) = with_two_cars(305).await;
    let before = reads(&gateway, &vehicles);
    gateway.stop().await;
    gateway.set_clock(-50 * 365 * 86_400);
    pass(MINUTE).await;
    gateway.open().await.unwrap();
    gateway.start();
    pass(MINUTE / 2).await;
    gateway.set_clock(0);
    pass(2 * MINUTE).await;
    assert_eq!((reads(&gateway, &vehicles), gaps(&gateway).await), (before, Vec::new()));
    gateway.finish().await;
}

/// Whoever has made room for deliveries likes to restart what refused them.
#[tokio::test(start_paused = true)]
async fn a_stop_while_deliveries_are_refused_forgets_nothing() {
    let (mut gateway, vehicles) = with_two_cars(309).await;
    let before = reads(&gateway, &vehicles);
    gateway.disk.leave(1 << 20);
    gateway.app().store().tend().await;
    let event = events::state("2", &vehicles[0], &[]);
    assert_eq!(gateway.delivery(event.to_string()).send().await.status, 503);
    pass(HOUR).await;
    gateway.disk.leave(1 << 30);
    restart_after(&mut gateway, Duration::from_secs(5)).await;
    assert_eq!(reads(&gateway, &vehicles), once_more(&before));
    assert_eq!(gaps(&gateway).await, [("down".to_owned(), 2)]);
    gateway.finish().await;
}

/// Such a clock is set back to where it stood when the machine was stopped, and put right minutes later.
#[tokio::test(start_paused = true)]
async fn a_clock_that_begins_where_it_stopped_hides_no_gap() {
    let (mut gateway, vehicles) = with_two_cars(310).await;
    let before = reads(&gateway, &vehicles);
    gateway.stop().await;
    pass(10 * HOUR).await;
    gateway.set_clock(-36_000);
    gateway.open().await.unwrap();
    gateway.start();
    pass(3 * MINUTE).await;
    assert_eq!(gaps(&gateway).await, Vec::new());
    gateway.set_clock(0);
    pass(3 * MINUTE).await;
    assert_eq!(reads(&gateway, &vehicles), once_more(&before));
    assert_eq!(gaps(&gateway).await, [("down".to_owned(), 2)]);
    gateway.finish().await;
}

/// A car that no webhook has ever told of is not read: its owner may have none.
#[tokio::test(start_paused = true)]
async fn cars_without_webhooks_are_left_alone() {
    let mut gateway = TestGateway::new(306).await;
    gateway.connect("ada", ADA).await;
    gateway.start();
    pass(2 * MINUTE).await;
    let vehicles = gateway.vehicles_of(ADA);
    let before = reads(&gateway, &vehicles);
    restart_after(&mut gateway, 48 * HOUR).await;
    assert_eq!((reads(&gateway, &vehicles), gaps(&gateway).await), (before, Vec::new()));
    assert_eq!(gateway.told("/api/v1/status").await["webhooks"]["gaps"], json!([]));
    gateway.finish().await;
}

/// With Smartcar's own retries. What was sent while nobody was there is in the log afterwards, once.
#[tokio::test(start_paused = true)]
async fn an_outage_that_smartcar_bridges_loses_nothing() {
    for seconds in [90, 130, 170] {
        let mut gateway = living(307 + seconds).await;
        let sender = Sender::start(&gateway);
        pass(HOUR).await;
        gateway.stop().await;
        pass(Duration::from_secs(seconds)).await;
        gateway.open().await.unwrap();
        gateway.start();
        pass(HOUR).await;
        sender.stop().await;
        let counters = gateway.simulator.counters();
        assert_eq!(counters.dropped, 0);
        let retried = counters.events.values().filter(|event| event.sent > 1).count();
        assert!(retried > 0, "{seconds} s: nothing was sent meanwhile");
        assert_eq!(events_of(&gateway).await, counters.events.keys().cloned().collect::<BTreeSet<_>>());
        assert_eq!(gaps(&gateway).await, Vec::new(), "{seconds} s");
        gateway.finish().await;
    }
}

/// What Smartcar has dropped is not to be had any more, but what the cars are like is.
#[tokio::test(start_paused = true)]
async fn after_an_outage_that_smartcar_does_not_bridge_each_car_is_read_once() {
    let mut gateway = living(500).await;
    let sender = Sender::start(&gateway);
    pass(HOUR).await;
    let vehicles = gateway.vehicles_of(ADA);
    let before = reads(&gateway, &vehicles);
    gateway.stop().await;
    pass(HOUR).await;
    gateway.open().await.unwrap();
    gateway.start();
    pass(HOUR).await;
    sender.stop().await;
    let counters = gateway.simulator.counters();
    assert!(counters.dropped > 0);
    assert_eq!(gaps(&gateway).await, [("down".to_owned(), 2)]);
    assert_eq!(reads(&gateway, &vehicles), once_more(&before));
    gateway.finish().await;
}

/// A gateway to which Smartcar delivers, with Ada's two cars, which live fast.
async fn living(seed: u64) -> TestGateway {
    let webhook = WebhookSettings::new("https://gateway.example/api/webhooks/smartcar");
    let simulation = Settings { seed, speed: 60.0, webhook: Some(webhook), ..Settings::default() };
    let mut gateway = TestGateway::with(seed, &[], simulation).await;
    gateway.start();
    gateway.connect("ada", ADA).await;
    gateway
}

/// The ids of all events in the log.
async fn events_of(gateway: &TestGateway) -> BTreeSet<String> {
    let (mut ids, mut before) = (BTreeSet::new(), String::new());
    loop {
        let page = gateway.told(&format!("/api/v1/webhooks?limit=500{before}")).await;
        for item in page["items"].as_array().unwrap() {
            assert!(ids.insert(item["event_id"].as_str().unwrap().to_owned()), "{item}");
        }
        let Some(next) = page["next"].as_str() else { return ids };
        before = format!("&before={next}");
    }
}

/// Smartcar, as it delivers.
struct Sender {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Sender {
    fn start(gateway: &TestGateway) -> Sender {
        let (simulator, stop) = (gateway.simulator.clone(), CancellationToken::new());
        let until = stop.clone();
        Sender { stop, task: tokio::spawn(async move { simulator.run(until).await }) }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

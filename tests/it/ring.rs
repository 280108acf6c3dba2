//! The ring of deliveries: bounded by count and bytes in every commit, never ahead of its follower, and
//! outlived by the ids of its events.

use carport::simulator::Settings;
use serde_json::Value;

use crate::gateway::{DAY, TestGateway, events, is_problem, pass};

async fn ring(gateway: &TestGateway) -> (u64, u64, u64) {
    let status = gateway.told("/api/v1/status").await;
    let of = |name: &str| status["webhooks"][name].as_u64().unwrap();
    (of("newest"), of("entries"), of("bytes"))
}

async fn places(gateway: &TestGateway) -> Vec<u64> {
    let list = gateway.told("/api/v1/webhooks?limit=500").await;
    list["items"].as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()).collect()
}

fn numbered(number: u64) -> Value {
    events::state(&format!("e-{number}"), "v-1", &[])
}

#[tokio::test(start_paused = true)]
async fn the_oldest_go_in_the_same_commit() {
    let gateway = TestGateway::with(30, &[("webhooks.keep_events", "5")], Settings::default()).await;
    for number in 1..=23 {
        assert_eq!(gateway.deliver(&numbered(number)).await, number);
        let (newest, entries, _) = ring(&gateway).await;
        assert_eq!((newest, entries), (number, number.min(5)));
        gateway.catch_up().await;
    }
    assert_eq!(places(&gateway).await, [23, 22, 21, 20, 19]);
    is_problem(&gateway.get("/api/v1/webhooks/18").bearer(&gateway.admin).send().await, 404, "not_found");
    assert_eq!(gateway.told("/api/v1/webhooks/19").await["payload"], numbered(19));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn bytes_count_too() {
    let gateway = TestGateway::with(31, &[("webhooks.keep_bytes", "64KiB")], Settings::default()).await;
    // Bodies of 1 to 20 KiB, and one that fills the ring alone.
    for number in 1..=40_u64 {
        let length = if number == 30 { 64 * 1024 } else { usize::try_from(number * 7919 % 20 + 1).unwrap() * 1024 };
        let event = numbered(number).to_string();
        let body = format!("{event}{}", " ".repeat(length - event.len()));
        let answer = gateway.delivery(body).send().await;
        assert_eq!(answer.json()["seq"], number);
        gateway.catch_up().await;
        let (newest, entries, bytes) = ring(&gateway).await;
        assert!(newest == number && bytes <= 64 * 1024 && entries > 0, "{number}: {entries} entries, {bytes} bytes");
        let list = gateway.told("/api/v1/webhooks?limit=500").await;
        let listed: u64 = list["items"].as_array().unwrap().iter().map(|item| item["bytes"].as_u64().unwrap()).sum();
        assert_eq!(listed, bytes);
        assert_eq!(number == 30, entries == 1 && bytes == 64 * 1024);
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_that_its_follower_has_not_read() {
    let mut gateway = TestGateway::with(32, &[("webhooks.keep_events", "4")], Settings::default()).await;
    let connection = gateway.connect("ada", "ada@example.com").await;
    assert!(!connection.is_empty());
    let vehicle = gateway.vehicles_of("ada@example.com").remove(0);
    let told = |number: u64| {
        let at = 1_759_000_000_000 + i64::try_from(number).unwrap() * 60_000;
        events::state(&format!("e-{number}"), &vehicle, &[events::signal("odometer-traveleddistance", at / 60_000, at)])
    };
    for number in 1..=4 {
        gateway.deliver(&told(number)).await;
    }
    for _ in 0..2 {
        let answer = gateway.delivery(told(5).to_string()).send().await;
        is_problem(&answer, 503, "busy");
        assert_eq!(answer.header("retry-after"), Some("5"));
        // What was there before is known all the same.
        let answer = gateway.delivery(told(1).to_string()).send().await;
        assert_eq!(answer.json()["status"], "duplicate");
        gateway.crash().await;
    }
    assert_eq!(places(&gateway).await, [4, 3, 2, 1]);
    gateway.catch_up().await;
    assert_eq!(gateway.deliver(&told(5)).await, 5);
    assert_eq!(places(&gateway).await, [5, 4, 3, 2]);
    gateway.catch_up().await;
    let history = gateway.told(&format!("/api/v1/vehicles/{vehicle}/history?signal=odometer-traveleddistance")).await;
    assert_eq!(history["items"].as_array().unwrap().len(), 5, "none was lost");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn ids_outlive_the_ring() {
    let mut gateway = TestGateway::with(33, &[("webhooks.keep_events", "3")], Settings::default()).await;
    for number in 1..=6 {
        gateway.deliver(&numbered(number)).await;
        gateway.catch_up().await;
    }
    for turn in 0..4 {
        for number in 1..=6 {
            let answer = gateway.delivery(numbered(number).to_string()).send().await;
            assert_eq!(answer.text(), format!(r#"{{"status":"duplicate","seq":{number}}}"#), "turn {turn}");
        }
        // The window is read again from the disk.
        if turn % 2 == 0 {
            gateway.reopen().await;
        } else {
            gateway.crash().await;
        }
        pass(DAY).await;
    }
    // After a week they may go, with the next entry; the ring's own stay.
    pass(4 * DAY).await;
    assert_eq!(gateway.deliver(&numbered(7)).await, 7);
    gateway.catch_up().await;
    for number in [5, 6, 7] {
        let answer = gateway.delivery(numbered(number).to_string()).send().await;
        assert_eq!(answer.text(), format!(r#"{{"status":"duplicate","seq":{number}}}"#));
    }
    for (number, seq) in [(1, 8), (2, 9), (3, 10)] {
        assert_eq!(gateway.deliver(&numbered(number)).await, seq);
        gateway.catch_up().await;
    }
    gateway.reopen().await;
    assert_eq!(places(&gateway).await, [10, 9, 8]);
    gateway.finish().await;
}

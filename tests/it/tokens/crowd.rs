//! Ten thousand connections at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use carport::model::{AppUserId, Secret};
use carport::simulator::{Fault as Trouble, FaultKind, Faults, Settings};
use carport::smartcar::Granted;
use http::{Response, StatusCode};
use serde_json::json;

use super::{MINUTE, REFRESH, V2_ONLY};
use crate::gateway::{HOUR, TestGateway, is_long, pass};

/// Connections whose tokens no simulator knows; their answers are made up on the way back.
async fn crowd(seed: u64, size: usize) -> TestGateway {
    let gateway = TestGateway::with(seed, &V2_ONLY, Settings { seed, ..Settings::default() }).await;
    for number in 0..size {
        let granted = Granted {
            access: Secret::new(format!("a{number}")),
            expires_in: Duration::from_secs(7200),
            refresh: Some(Secret::new(format!("r{number}"))),
        };
        gateway.app().tokens().adopt(&AppUserId::new("ada"), granted, None, false).await.unwrap();
    }
    gateway
}

/// Smartcar answers everybody. The tokens are short, so that they are not looked for in all that was written.
fn answer_all(gateway: &TestGateway) {
    let count = AtomicUsize::new(0);
    gateway.net.change(move |request, _| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "access_token": format!("b{number}"), "refresh_token": format!("s{number}"), "expires_in": 7200 });
        (request.uri().path() == "/oauth/token").then(|| Ok(Response::new(Bytes::from(body.to_string()))))
    });
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_that_are_due_come_eight_at_a_time() {
    let size = if is_long() { 10_000 } else { 2_000 };
    let mut gateway = crowd(80, size).await;
    answer_all(&gateway);
    gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::Delay(Duration::from_secs(2)))]));
    pass(3 * HOUR).await;
    gateway.start_refreshing();
    let mut before = 0;
    for _ in 0..10 {
        pass(MINUTE).await;
        let asked = gateway.net.count(REFRESH);
        assert!(asked - before <= 241, "{} in a minute", asked - before);
        assert!(gateway.app().tokens().remembered() <= 8);
        before = asked;
    }
    pass(Duration::from_secs(size as u64 / 4)).await;
    pass(MINUTE).await;
    assert_eq!(gateway.net.count(REFRESH), size, "each of them once");
    assert_eq!(gateway.net.most_at_once(), 8);
    assert_eq!(gateway.app().tokens().remembered(), 0);
    // They were due together, and are not any more.
    pass(94 * MINUTE - Duration::from_secs(size as u64 / 4)).await;
    gateway.finish().await;
}

/// While Smartcar is down it is asked by one probe at a time; what is asked does not grow with the connections.
#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_down_is_left_alone() {
    let mut gateway = crowd(81, 300).await;
    gateway.net.change(|_, _| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        Some(Ok(response))
    });
    pass(3 * HOUR).await;
    gateway.start_refreshing();
    pass(6 * HOUR).await;
    let asked = gateway.net.count(REFRESH);
    assert!((6 * 60..6 * 60 * 16).contains(&asked), "{asked} requests in six hours");
    assert_eq!(gateway.logged().matches("one refresh at a time is tried").count(), 1, "said once");
    answer_all(&gateway);
    pass(5 * MINUTE).await;
    assert_eq!(gateway.app().tokens().remembered(), 0);
    let refreshed = gateway.net.count(REFRESH) - asked;
    assert!((300..330).contains(&refreshed), "{refreshed}: all of them, and at once");
    assert!(gateway.logged().contains("Smartcar answers again"));
    gateway.finish().await;
}

/// What Smartcar asks for holds for all connections.
#[tokio::test(start_paused = true)]
async fn nobody_asks_within_retry_after() {
    let mut gateway = crowd(82, 40).await;
    answer_all(&gateway);
    gateway.net.change(|_, _| {
        let mut response = Response::builder().header("retry-after", "900").body(Bytes::new()).unwrap();
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        Some(Ok(response))
    });
    pass(3 * HOUR).await;
    gateway.start_refreshing();
    pass(14 * MINUTE).await;
    let asked = gateway.net.count(REFRESH);
    assert!(asked <= 8, "{asked}: only those that were under way");
    answer_all(&gateway);
    pass(4 * MINUTE).await;
    assert!((40..=40 + asked).contains(&(gateway.net.count(REFRESH))));
    gateway.finish().await;
}

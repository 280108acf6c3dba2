//! Custody of tokens: one refresh at a time, kept alive for ever, on disk before anything else, and never
//! thrown away because of silence.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use carport::model::ConnectionId;
use carport::simulator::{Fault as Trouble, FaultKind, Faults, Settings};
use carport::tokens::{Access, TokenError};
use futures_util::future::join_all;
use http::{Request, Response};
use serde_json::{Value, json};

use crate::gateway::{DAY, Fault, HOUR, TestGateway, connection_id, pass};
use crate::simulator::rig::{ADA, GRACE, basic, encode};

mod clock;
mod crash;
mod crowd;
mod swaps;

const REFRESH: &str = "POST /oauth/token";
const MINUTE: Duration = Duration::from_secs(60);

/// Leaves credentials of v3 out.
const V2_ONLY: [(&str, &str); 2] = [("smartcar.v3.client_id", ""), ("smartcar.v3.client_secret", "")];

/// A gateway with Ada's connection.
async fn with_ada(seed: u64) -> (TestGateway, ConnectionId) {
    let gateway = TestGateway::new(seed).await;
    let connection = connection_id(&gateway.connect("ada", ADA).await);
    (gateway, connection)
}

/// The same, without v3: no application token is renewed along the way.
async fn with_ada_alone(seed: u64) -> (TestGateway, ConnectionId) {
    let gateway = TestGateway::with(seed, &V2_ONLY, Settings { seed, ..Settings::default() }).await;
    let connection = connection_id(&gateway.connect("ada", ADA).await);
    (gateway, connection)
}

async fn access(gateway: &TestGateway, connection: ConnectionId) -> Result<Access, TokenError> {
    gateway.app().tokens().access(connection).await
}

async fn token(gateway: &TestGateway, connection: ConnectionId) -> String {
    let access = access(gateway, connection).await.unwrap();
    assert!(access.expires_at > gateway.now());
    access.token.expose().to_owned()
}

async fn view(gateway: &TestGateway, connection: ConnectionId) -> Value {
    gateway.told(&format!("/api/v1/connections/{connection}")).await
}

/// Ada's car answers to the token that we have.
async fn proves_itself(gateway: &TestGateway) {
    let car = gateway.vehicles_of(ADA).remove(0);
    let answer = gateway.post(&format!("/api/v1/vehicles/{car}/refresh"), &json!({})).bearer(&gateway.admin).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_make_one_refresh() {
    let (gateway, connection) = with_ada(60).await;
    let before = gateway.net.count(REFRESH);
    gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::Delay(Duration::from_secs(3)))]));
    for round in 1..=3 {
        pass(2 * HOUR).await;
        let tokens = join_all((0..1000).map(|_| token(&gateway, connection))).await;
        assert!(tokens.iter().all(|token| *token == tokens[0]));
        assert_eq!(gateway.net.count(REFRESH), before + round);
    }
    assert_eq!(gateway.simulator.counters().most_refreshes_at_once, 1);
    let tokens = join_all((0..1000).map(|_| token(&gateway, ConnectionId::APPLICATION))).await;
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(gateway.simulator.counters().application_tokens, 1);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_lives_for_seventy_days() {
    let (mut gateway, connection) = with_ada_alone(61).await;
    gateway.start_refreshing();
    // In use, as it counts for a week after it was connected: before two hours are over.
    let mut refreshes = Vec::new();
    for day in 0..70 {
        let before = gateway.net.count(REFRESH);
        pass(DAY).await;
        refreshes.push(gateway.net.count(REFRESH) - before);
        if day == 30 {
            gateway.reopen().await;
            gateway.start_refreshing();
        }
    }
    assert!(refreshes[..7].iter().all(|count| (12..=14).contains(count)), "{refreshes:?}");
    assert_eq!(refreshes[7..].iter().sum::<usize>(), 9, "weekly: {refreshes:?}");
    assert_eq!(view(&gateway, connection).await["status"], "active");
    assert_eq!(gateway.simulator.counters().refreshes_refused, 0);
    proves_itself(&gateway).await;
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_application_token_is_renewed_before_each_hour_is_over() {
    let mut gateway = TestGateway::new(59).await;
    gateway.start_refreshing();
    for hour in 0..48 {
        pass(HOUR).await;
        let issued = gateway.simulator.counters().application_tokens;
        token(&gateway, ConnectionId::APPLICATION).await;
        assert_eq!(gateway.simulator.counters().application_tokens, issued, "the loop was there first");
        assert!((hour..=hour * 3 / 2 + 3).contains(&issued), "{issued} after {hour} hours");
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_uses_a_connection_never_waits_for_a_refresh() {
    let (mut gateway, connection) = with_ada_alone(62).await;
    gateway.start_refreshing();
    // Idle for three weeks, and then in use.
    pass(21 * DAY).await;
    token(&gateway, connection).await;
    pass(3 * HOUR).await;
    let mut seen = Vec::new();
    for _ in 0..60 {
        let before = gateway.net.count(REFRESH);
        seen.push(token(&gateway, connection).await);
        assert_eq!(gateway.net.count(REFRESH), before, "the loop was there first");
        pass(17 * MINUTE).await;
    }
    seen.dedup();
    assert!((9..=11).contains(&seen.len()), "{} tokens in 17 hours", seen.len());
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_refuses_costs_no_token() {
    for outage in [Duration::from_secs(5), 5 * MINUTE, 3 * HOUR] {
        let (mut gateway, connection) = with_ada(63).await;
        pass(3 * HOUR).await;
        let (refreshes, old) = (gateway.net.count(REFRESH), gateway.net.tokens());
        // The disk refuses in the moment in which Smartcar has answered.
        let disk = gateway.disk.clone();
        gateway.net.change(move |request, _| {
            if request.uri().path() == "/oauth/token" {
                disk.break_at(Fault::WritesFrom(1));
            }
            None
        });
        gateway.start_refreshing();
        let tokens = gateway.app().tokens().clone();
        let caller = tokio::spawn(async move { tokens.access(connection).await.map(|access| access.token.expose().to_owned()) });
        pass(outage).await;
        assert_eq!(gateway.net.count(REFRESH), refreshes + 1, "nothing is asked twice");
        assert_eq!(gateway.net.sent().last().map(String::as_str), Some(REFRESH), "and nothing used before it is on disk");
        let new: Vec<String> = gateway.net.tokens().into_iter().filter(|token| !old.contains(token)).collect();
        if outage > MINUTE {
            // Who does not wait is told so.
            assert!(matches!(access(&gateway, connection).await, Err(TokenError::Later { .. } | TokenError::Store(_))));
            assert_eq!(gateway.get("/readyz").send().await.status, 503);
        }
        gateway.net.leave_alone();
        assert!(gateway.disk.mend() > 0);
        pass(Duration::from_secs(3)).await;
        if outage < MINUTE {
            assert_eq!(caller.await.unwrap().unwrap(), new[0]);
        } else {
            assert!(caller.await.unwrap().is_err());
        }
        assert_eq!(view(&gateway, connection).await["last_error"], Value::Null);
        gateway.crash().await;
        if outage < HOUR {
            assert_eq!(token(&gateway, connection).await, new[0], "the new pair is on disk");
            assert_eq!(gateway.net.count(REFRESH), refreshes + 1);
        }
        proves_itself(&gateway).await;
        assert_eq!(gateway.simulator.counters().refreshes_refused, 0);
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_cannot_be_replaced_is_not_spent() {
    let (mut gateway, connection) = with_ada(64).await;
    let before = gateway.net.count(REFRESH);
    gateway.disk.break_at(Fault::WritesFrom(1));
    gateway.start_refreshing();
    pass(2 * HOUR).await;
    assert!(matches!(access(&gateway, connection).await, Err(TokenError::Later { .. } | TokenError::Store(_))));
    pass(3 * HOUR).await;
    assert_eq!(gateway.net.count(REFRESH), before);
    gateway.disk.mend();
    pass(10 * MINUTE).await;
    assert_eq!(gateway.net.count(REFRESH), before + 1);
    assert_eq!(view(&gateway, connection).await["status"], "active");
    proves_itself(&gateway).await;
    gateway.finish().await;
}

/// With little room on the disk no pair is spent; with room again, the loop is back within seconds.
#[tokio::test(start_paused = true)]
async fn no_refresh_is_sent_while_the_disk_has_little_room() {
    let (mut gateway, connection) = with_ada(66).await;
    let (before, applications) = (gateway.net.count(REFRESH), gateway.simulator.counters().application_tokens);
    gateway.disk.leave(1 << 20);
    gateway.app().store().tend().await;
    gateway.start_refreshing();
    pass(3 * HOUR).await;
    assert!(matches!(access(&gateway, connection).await, Err(TokenError::Store(_))));
    let asked = gateway.post(&format!("/api/v1/connections/{connection}/refresh"), &json!({}));
    assert_eq!(asked.bearer(&gateway.admin).send().await.status, 503);
    assert_eq!(gateway.net.count(REFRESH), before);
    assert!(gateway.simulator.counters().application_tokens > applications, "nothing is lost with an application token");
    gateway.disk.leave(1 << 30);
    gateway.app().store().tend().await;
    pass(Duration::from_secs(10)).await;
    assert_eq!(gateway.net.count(REFRESH), before + 1);
    assert_eq!(view(&gateway, connection).await["status"], "active");
    proves_itself(&gateway).await;
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again() {
    let times = |kind, times| Trouble { times: Some(times), ..Trouble::always(kind) };
    let faults = [
        times(FaultKind::RotateThenLose, 1),
        times(FaultKind::RotateThenLose, 5),
        times(FaultKind::LoseAnswer, 5),
        times(FaultKind::Refuse, 8),
        times(FaultKind::Garble, 4),
        times(FaultKind::Fail, 4),
        times(FaultKind::Throttle(Some(20)), 3),
        times(FaultKind::Throttle(None), 1),
        times(FaultKind::Delay(Duration::from_secs(25)), 1),
    ];
    for fault in faults {
        let (mut gateway, connection) = with_ada_alone(65).await;
        let first = token(&gateway, connection).await;
        gateway.start_refreshing();
        let before = gateway.simulator.counters().refreshes;
        gateway.simulator.set_faults(Faults::new([fault.clone()]));
        pass(2 * HOUR).await;
        let second = token(&gateway, connection).await;
        assert_ne!(first, second, "{fault:?}");
        let asked = gateway.simulator.counters().refreshes - before;
        assert!(asked <= u64::from(fault.times.unwrap()) + 1, "{fault:?}: {asked}");
        // What we have is the pair that lives: it can be refreshed again.
        pass(2 * HOUR).await;
        assert_ne!(second, token(&gateway, connection).await);
        assert_eq!(gateway.simulator.counters().refreshes_refused, 0, "{fault:?}");
        let view = view(&gateway, connection).await;
        assert_eq!((&view["status"], &view["last_error"]), (&json!("active"), &Value::Null));
        gateway.finish().await;
    }
}

/// Each request acts, and replaces the pair before: what the last one brings is waited for.
#[tokio::test(start_paused = true)]
async fn answers_that_are_always_late_cost_no_pair() {
    for seconds in [21, 35, 60, 200] {
        let (mut gateway, connection) = with_ada_alone(76).await;
        let first = token(&gateway, connection).await;
        gateway.start_refreshing();
        gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::Delay(Duration::from_secs(seconds)))]));
        pass(DAY).await;
        gateway.simulator.set_faults(Faults::default());
        pass(2 * HOUR).await;
        assert_ne!(first, token(&gateway, connection).await);
        assert_eq!(gateway.simulator.counters().refreshes_refused, 0, "{seconds} s");
        assert_eq!(view(&gateway, connection).await["status"], "active", "{seconds} s");
        gateway.finish().await;
    }
}

/// A stop waits no longer for an answer that is late than for any other.
#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_is_late_but_not_for_ever() {
    for (seconds, is_kept) in [(35, true), (200, false)] {
        let (mut gateway, connection) = with_ada_alone(77).await;
        pass(3 * HOUR).await;
        gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::Delay(Duration::from_secs(seconds)))]));
        gateway.start_refreshing();
        // The third request is under way.
        pass(Duration::from_secs(70)).await;
        let began = tokio::time::Instant::now();
        gateway.stop().await;
        assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
        gateway.simulator.set_faults(Faults::default());
        gateway.open().await.unwrap();
        gateway.start_refreshing();
        pass(3 * HOUR).await;
        assert_eq!(gateway.simulator.counters().refreshes_refused == 0, is_kept);
        assert_eq!(view(&gateway, connection).await["status"] == "active", is_kept);
        gateway.finish().await;
    }
}

/// Killed between Smartcar's answer and the disk: the old token is the one that is tried again.
#[tokio::test(start_paused = true)]
async fn a_crash_in_a_refresh_is_survived() {
    let (mut gateway, connection) = with_ada(66).await;
    gateway.start_refreshing();
    pass(HOUR).await;
    gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::Delay(Duration::from_secs(10)))]));
    let before = gateway.simulator.counters().refreshes;
    while gateway.simulator.counters().refreshes == before {
        pass(Duration::from_secs(1)).await;
    }
    gateway.crash().await;
    gateway.simulator.set_faults(Faults::default());
    pass(Duration::from_secs(20)).await;
    gateway.start_refreshing();
    pass(Duration::from_secs(5)).await;
    assert_eq!(gateway.simulator.counters().refreshes, before + 2);
    assert_eq!(gateway.simulator.counters().refreshes_refused, 0);
    pass(2 * HOUR).await;
    token(&gateway, connection).await;
    proves_itself(&gateway).await;
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_waits_for_its_owner_and_asks_no_more() {
    let (mut gateway, connection) = with_ada_alone(67).await;
    gateway.start_refreshing();
    let before = gateway.net.count(REFRESH);
    gateway.simulator.revoke(ADA);
    pass(3 * HOUR).await;
    for _ in 0..50 {
        assert!(matches!(access(&gateway, connection).await, Err(TokenError::NeedsReconnect(_))));
    }
    pass(10 * DAY).await;
    // Declared dead only after it was refused twice.
    assert_eq!(gateway.net.count(REFRESH), before + 2);
    let dead = view(&gateway, connection).await;
    assert_eq!(dead["status"], "needs_reconnect");
    assert_eq!(dead["reconnect_url"], "https://gateway.example/connections");
    assert_eq!(gateway.logged().matches("the owner must connect again").count(), 1);
    let car = gateway.vehicles_of(ADA).remove(0);
    assert_eq!(gateway.told(&format!("/api/v1/vehicles/{car}")).await["lights"]["authority"]["color"], "red");
    gateway.reopen().await;
    gateway.start_refreshing();
    pass(DAY).await;
    assert_eq!(gateway.net.count(REFRESH), before + 2);
    // The owner comes: the same connection lives again.
    assert_eq!(connection_id(&gateway.connect("ada", ADA).await), connection);
    assert_eq!(view(&gateway, connection).await["status"], "active");
    pass(2 * HOUR).await;
    proves_itself(&gateway).await;
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_are_no_connections_fault() {
    let (mut gateway, connection) = with_ada(68).await;
    let grace = connection_id(&gateway.connect("grace", GRACE).await);
    for key in ["smartcar.v2.client_secret", "smartcar.v3.client_secret"] {
        gateway.configure(key, "a-wrong-client-secret");
    }
    gateway.keep_secret("a-wrong-client-secret");
    gateway.reopen().await;
    gateway.start_refreshing();
    let before = gateway.net.count("POST /oauth");
    pass(2 * DAY).await;
    let asked = gateway.net.count("POST /oauth") - before;
    assert!((2..=2 * 2 * 288 + 2).contains(&asked), "{asked} requests in two days");
    for connection in [connection, grace] {
        let view = view(&gateway, connection).await;
        assert_eq!((&view["status"], &view["reconnect_url"]), (&json!("active"), &Value::Null));
        assert!(view["last_error"].is_string(), "{view}");
    }
    assert!(matches!(access(&gateway, connection).await, Err(TokenError::Configuration(_))));
    assert_eq!(gateway.logged().matches("no token can be refreshed").count(), 2, "one message for each generation");
    assert!(gateway.told("/api/v1/status").await["refresh"]["stopped"].is_string());
    // Mended by the operator alone.
    let application = gateway.simulator.settings().application.clone();
    gateway.configure("smartcar.v2.client_secret", &application.v2_client_secret);
    gateway.configure("smartcar.v3.client_secret", &application.v3_client_secret);
    gateway.reopen().await;
    gateway.start_refreshing();
    pass(MINUTE).await;
    proves_itself(&gateway).await;
    assert_eq!(gateway.told("/api/v1/status").await["refresh"]["stopped"], Value::Null);
    gateway.finish().await;
}

/// By v3 and by v2: what is not due has no trouble once Smartcar may be asked again.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_nobody_needed_leaves_no_trouble() {
    let (mut gateway, ada) = with_ada(63).await;
    let grace = connection_id(&gateway.connect("grace", GRACE).await);
    gateway.start_refreshing();
    pass(MINUTE).await;
    for connection in [ada, grace] {
        gateway.simulator.set_faults(Faults::new([Trouble::once(FaultKind::Throttle(Some(5)))]));
        let refresh = gateway.post(&format!("/api/v1/connections/{connection}/refresh"), &json!({}));
        let refused = refresh.bearer(&gateway.admin).send().await;
        assert_ne!(refused.status, 200, "{}", refused.text());
        assert!(view(&gateway, connection).await["last_error"].is_string());
        pass(2 * MINUTE).await;
        assert_eq!(view(&gateway, connection).await["last_error"], Value::Null);
    }
    gateway.finish().await;
}

/// While Smartcar's API refuses a token that is not due, and none is issued, everybody's calls wait longer and longer.
#[tokio::test(start_paused = true)]
async fn a_refused_token_that_is_not_due_is_no_reason_to_hammer() {
    let mut gateway = TestGateway::new(75).await;
    gateway.start_refreshing();
    pass(MINUTE).await;
    let refused = access(&gateway, ConnectionId::APPLICATION).await.unwrap();
    gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::Fail)]));
    let (before, began) = (gateway.net.count("POST /oauth"), tokio::time::Instant::now());
    while began.elapsed() < 10 * MINUTE {
        assert!(gateway.app().tokens().renew(ConnectionId::APPLICATION, Some(&refused)).await.is_err());
        pass(Duration::from_secs(1)).await;
    }
    let asked = gateway.net.count("POST /oauth") - before;
    assert!((2..=20).contains(&asked), "{asked} requests in ten minutes");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_away_loses_nothing() {
    let (mut gateway, connection) = with_ada(69).await;
    pass(3 * HOUR).await;
    let before = gateway.simulator.counters().refreshes;
    gateway.simulator.set_faults(Faults::new([Trouble::once(FaultKind::Delay(Duration::from_secs(5)))]));
    let caller = tokio::time::timeout(Duration::from_secs(1), access(&gateway, connection)).await;
    assert!(caller.is_err(), "the caller has gone");
    pass(Duration::from_secs(10)).await;
    let kept = token(&gateway, connection).await;
    gateway.crash().await;
    assert_eq!(token(&gateway, connection).await, kept);
    assert_eq!(gateway.simulator.counters().refreshes, before + 1);
    gateway.finish().await;
}

/// Whoever began a refresh, stopping waits until it is on disk.
#[tokio::test(start_paused = true)]
async fn stopping_waits_for_a_refresh_under_way() {
    for by_loop in [true, false] {
        let (mut gateway, connection) = with_ada(70).await;
        if by_loop {
            pass(3 * HOUR).await;
        } else {
            // Started first, so that there is nothing for it to do.
            gateway.start_refreshing();
            pass(MINUTE).await;
        }
        let before = gateway.simulator.counters().refreshes;
        gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::Delay(Duration::from_secs(8)))]));
        if by_loop {
            gateway.start_refreshing();
        } else {
            let tokens = gateway.app().tokens().clone();
            let gone = tokio::time::timeout(Duration::from_secs(1), async move { tokens.renew(connection, None).await }).await;
            assert!(gone.is_err());
        }
        pass(Duration::from_secs(1)).await;
        assert_eq!(gateway.simulator.counters().refreshes, before + 1);
        gateway.stop().await;
        gateway.simulator.set_faults(Faults::default());
        gateway.open().await.unwrap();
        let kept = token(&gateway, connection).await;
        assert!(gateway.net.tokens().iter().rev().take(2).any(|token| *token == kept), "the newest pair was stored");
        assert_eq!(gateway.simulator.counters().refreshes, before + 1);
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_refresh_token_leaves_the_old_one() {
    let (mut gateway, connection) = with_ada(71).await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    gateway.net.change(move |request, _| {
        let form: Vec<(String, String)> = url::form_urlencoded::parse(request.body()).into_owned().collect();
        let (_, token) = form.into_iter().find(|(name, _)| name == "refresh_token")?;
        let mut asked = noted.lock().unwrap();
        asked.push(token);
        let body = json!({ "access_token": format!("access-token-number-{}", asked.len()), "expires_in": 7200 });
        Some(Ok(Response::new(Bytes::from(body.to_string()))))
    });
    for number in 1..=3 {
        pass(2 * HOUR).await;
        assert_eq!(token(&gateway, connection).await, format!("access-token-number-{number}"));
        gateway.crash().await;
    }
    let asked = asked.lock().unwrap().clone();
    assert!(asked.len() == 3 && asked.iter().all(|token| *token == asked[0]), "the same one each time");
    let expires_at = view(&gateway, connection).await["refresh_expires_at"].clone();
    assert_eq!(expires_at, "2025-12-08T08:53:20.000Z", "as when it was issued");
    gateway.finish().await;
}

/// An answer that was late made our newest pair the dead one: the pair before it is still honoured.
#[tokio::test(start_paused = true)]
async fn the_pair_before_is_kept_for_a_while() {
    let (gateway, connection) = with_ada_alone(73).await;
    let spent = gateway.net.tokens().pop().unwrap();
    pass(2 * HOUR).await;
    token(&gateway, connection).await;
    let application = gateway.simulator.settings().application.clone();
    let request = Request::post("/oauth/token")
        .header("authorization", basic(&application.application_id, &application.v2_client_secret))
        .body(Bytes::from(encode(&[("grant_type", "refresh_token"), ("refresh_token", &spent)])));
    assert_eq!(gateway.simulator.handle(request.unwrap()).await.status(), 200);
    let before = gateway.net.count(REFRESH);
    gateway.app().tokens().renew(connection, None).await.unwrap();
    assert_eq!(gateway.net.count(REFRESH), before + 3, "twice the newest, and then the one before");
    assert_eq!(view(&gateway, connection).await["status"], "active");
    proves_itself(&gateway).await;
    gateway.finish().await;
}

/// And silence after it was sent is no refusal.
#[tokio::test(start_paused = true)]
async fn silence_about_the_pair_before_ends_nothing() {
    let (gateway, connection) = with_ada_alone(74).await;
    let spent = gateway.net.tokens().pop().unwrap();
    pass(2 * HOUR).await;
    token(&gateway, connection).await;
    let application = gateway.simulator.settings().application.clone();
    let request = Request::post("/oauth/token")
        .header("authorization", basic(&application.application_id, &application.v2_client_secret))
        .body(Bytes::from(encode(&[("grant_type", "refresh_token"), ("refresh_token", &spent)])));
    assert_eq!(gateway.simulator.handle(request.unwrap()).await.status(), 200);
    // What Smartcar answers to the third question, and the next two, is lost; it was acted upon.
    let asked = std::sync::atomic::AtomicUsize::new(0);
    gateway.net.change(move |request, _| {
        let number = if request.uri().path() == "/oauth/token" { asked.fetch_add(1, Ordering::Relaxed) } else { 0 };
        (2..5).contains(&number).then(|| Err(carport::world::TransportError::Lost("the story loses it".to_owned())))
    });
    gateway.app().tokens().renew(connection, None).await.unwrap();
    assert_eq!(view(&gateway, connection).await["status"], "active");
    proves_itself(&gateway).await;
    gateway.finish().await;
}

/// Smartcar honours for a minute what it may have replaced: a wait that is longer than that ends before it.
#[tokio::test(start_paused = true)]
async fn no_wait_that_smartcar_asks_for_costs_a_pair() {
    for status in [429, 503] {
        let (gateway, connection) = with_ada_alone(75).await;
        pass(2 * HOUR).await;
        let mut requests = 0;
        gateway.net.change(move |request, _| {
            requests += usize::from(request.uri().path() == "/oauth/token");
            let wait = || Response::builder().status(status).header("retry-after", "900").body(Bytes::new()).unwrap();
            match requests {
                1 => Some(Err(carport::world::TransportError::Lost("the story loses it".to_owned()))),
                2 => Some(Ok(wait())),
                _ => None,
            }
        });
        let before = gateway.net.count(REFRESH);
        // Whoever asked does not wait for the last of them.
        assert!(gateway.app().tokens().renew(connection, None).await.is_err(), "{status}");
        pass(MINUTE).await;
        assert_eq!(gateway.net.count(REFRESH), before + 3, "{status}");
        assert_eq!(view(&gateway, connection).await["status"], "active", "{status}");
        proves_itself(&gateway).await;
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn four_weeks_of_bad_days() {
    let faults = [
        Trouble { kind: FaultKind::RotateThenLose, probability: 0.1, times: None },
        Trouble { kind: FaultKind::Fail, probability: 0.05, times: None },
        Trouble { kind: FaultKind::Garble, probability: 0.05, times: None },
        Trouble { kind: FaultKind::Delay(Duration::from_secs(4)), probability: 0.1, times: None },
    ];
    let seeds = if crate::gateway::is_long() { 72..92 } else { 72..73 };
    for seed in seeds {
        let (mut gateway, connection) = with_ada_alone(seed).await;
        gateway.simulator.set_faults(Faults::new(faults.clone()));
        for week in 0..4 {
            gateway.start_refreshing();
            for _ in 0..14 {
                pass(12 * HOUR).await;
                let _ = access(&gateway, connection).await;
            }
            if week % 2 == 0 { gateway.crash().await } else { gateway.reopen().await }
        }
        gateway.simulator.set_faults(Faults::default());
        gateway.start_refreshing();
        pass(10 * MINUTE).await;
        assert_eq!(view(&gateway, connection).await["status"], "active");
        proves_itself(&gateway).await;
        assert_eq!(gateway.simulator.counters().refreshes_refused, 0);
        gateway.finish().await;
    }
}

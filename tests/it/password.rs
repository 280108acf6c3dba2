//! Signing in by a password: only where one was set, slowed for who guesses, and in nobody's way.

use std::time::Duration;

use carport::simulator::Settings;
use serde_json::{Value, json};

use crate::gateway::{TestGateway, is_problem, pass};
use crate::simulator::rig::Answer;

const PASSWORD: &str = "correct horse battery staple";

async fn gateway(seed: u64) -> TestGateway {
    let gateway = TestGateway::with(seed, &[("limits.login", "5/m")], Settings { seed, ..Settings::default() }).await;
    gateway.keep_secret(PASSWORD);
    gateway
}

async fn set(gateway: &TestGateway, password: Value) -> Answer {
    gateway.ask("PATCH", "/api/v1/password").json(&json!({ "password": password })).local().send().await
}

async fn sign_in(gateway: &TestGateway, address: &str, field: &str, value: &str) -> Answer {
    let ask = gateway.ask("POST", "/login").header("sec-fetch-site", "same-origin").form(&[(field, value)]);
    ask.from(address, true).send().await
}

async fn link(gateway: &TestGateway) -> String {
    let made = gateway.post("/api/v1/login-links", &json!({})).local().send().await;
    let link = made.json()["url"].as_str().unwrap().split_once("?t=").unwrap().1.to_owned();
    gateway.keep_secret(&link);
    link
}

#[tokio::test(start_paused = true)]
async fn there_is_no_password_until_somebody_sets_one() {
    let mut gateway = gateway(130).await;
    assert!(!gateway.get("/login").send().await.text().contains("type=\"password\""));
    for guess in ["", "admin", "password", "carport"] {
        assert_eq!(sign_in(&gateway, "198.51.100.7", "password", guess).await.status, 403, "{guess}");
    }
    // Only on the machine itself, and none that is soon guessed.
    let ask = gateway.ask("PATCH", "/api/v1/password").json(&json!({ "password": PASSWORD })).bearer(&gateway.admin);
    is_problem(&ask.send().await, 403, "forbidden");
    for short in [json!(""), json!("admin"), json!("x".repeat(11)), json!("x".repeat(201))] {
        is_problem(&set(&gateway, short).await, 400, "bad_request");
    }
    let none = gateway.ask("PATCH", "/api/v1/password").json(&json!({})).local().send().await;
    is_problem(&none, 400, "bad_request");

    pass(Duration::from_secs(60)).await;
    assert_eq!(set(&gateway, json!(PASSWORD)).await.status, 204);
    gateway.reopen().await;
    assert!(gateway.get("/login").send().await.text().contains("type=\"password\""));
    let wrong = sign_in(&gateway, "198.51.100.7", "password", "correct house battery staple").await;
    assert!(wrong.status == 403 && wrong.text().contains("not the password"), "{}", wrong.text());
    for (name, value) in [("origin", "https://evil.example"), ("x-nothing", "")] {
        let foreign = gateway.ask("POST", "/login").form(&[("password", PASSWORD)]).header(name, value);
        is_problem(&foreign.send().await, 403, "cross_site");
    }
    let answer = sign_in(&gateway, "198.51.100.7", "password", PASSWORD).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    gateway.keep_secret(cookie.split_once('=').unwrap().1);
    gateway.crash().await;
    assert_eq!(gateway.get("/").header("cookie", &cookie).send().await.status, 200, "sessions outlive a crash");
    let session = gateway.told("/api/v1/sessions").await["items"][0]["id"].clone();
    let noted = gateway.told("/api/v1/audit?limit=1").await["items"][0].clone();
    assert_eq!((&noted["actor"]["kind"], &noted["ids"]), (&json!("password"), &json!([session])));

    // Another one takes its place; then there is none again.
    assert_eq!(set(&gateway, json!("another horse battery staple")).await.status, 204);
    assert_eq!(sign_in(&gateway, "192.0.2.1", "password", PASSWORD).await.status, 403);
    assert_eq!(set(&gateway, Value::Null).await.status, 204);
    assert_eq!(sign_in(&gateway, "192.0.2.2", "password", "another horse battery staple").await.status, 403);
    let log = gateway.told("/api/v1/audit?limit=500").await;
    assert!(!log.to_string().contains("horse"), "{log}");
    let changes = log["items"].as_array().unwrap().iter().filter(|entry| entry["action"] == "PATCH /api/v1/password");
    let changes: Vec<&str> = changes.map(|entry| entry["ids"][0].as_str().unwrap()).collect();
    assert_eq!(changes, ["cleared", "set", "set"]);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn who_guesses_is_slowed_and_locks_nobody_out() {
    let gateway = gateway(131).await;
    assert_eq!(set(&gateway, json!(PASSWORD)).await.status, 204);
    let attacker = "203.0.113.5";
    for guess in 0..5 {
        assert_eq!(sign_in(&gateway, attacker, "password", &format!("guess {guess}")).await.status, 403);
    }
    for password in ["guess", PASSWORD] {
        is_problem(&sign_in(&gateway, attacker, "password", password).await, 429, "slow_down");
    }
    // Others are not concerned, not even from the same network; nor is a link, not even from the same address.
    let other = sign_in(&gateway, "203.0.113.6", "password", PASSWORD).await;
    assert_eq!(other.status, 303, "{}", other.text());
    gateway.keep_secret(other.header("set-cookie").unwrap().split(['=', ';']).nth(1).unwrap());
    is_problem(&sign_in(&gateway, attacker, "t", "guess").await, 429, "slow_down");
    let link = link(&gateway).await;
    let page = gateway.get(&format!("/login?t={link}")).from(attacker, true).send().await;
    assert!(page.status == 200 && page.text().contains("name=\"t\""));
    let by_link = sign_in(&gateway, attacker, "t", &link).await;
    assert_eq!(by_link.status, 303, "{}", by_link.text());
    gateway.keep_secret(by_link.header("set-cookie").unwrap().split(['=', ';']).nth(1).unwrap());
    // Patience helps.
    pass(Duration::from_secs(60)).await;
    let later = sign_in(&gateway, attacker, "password", PASSWORD).await;
    assert_eq!(later.status, 303);
    gateway.keep_secret(later.header("set-cookie").unwrap().split(['=', ';']).nth(1).unwrap());
    gateway.finish().await;
}

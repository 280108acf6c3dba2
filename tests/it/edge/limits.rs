//! How often a client may come: what it is told, what a failure costs, and what a million clients cost us.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::rig::{Gateway, MANAGEMENT_TOKEN, request, sign};
use crate::binary::http::{Line, Say};
use crate::binary::process::{Home, SERVE, Server, figure};

#[tokio::test]
async fn a_client_is_told_what_it_has_left() {
    let gateway = Gateway::with("allowance", &[("limits.api", "10/m")]).await;
    let token = gateway.api(Method::POST, "/api/v1/tokens", json!({ "name": "r", "scope": "read" })).await;
    let bearer = format!("Bearer {}", token.json()["token"].as_str().unwrap());
    let get = async |path: &str| {
        gateway.stranger(request(Method::GET, path).header("authorization", &bearer).body("".into()).unwrap()).await
    };
    let answer = get("/api/v1/users").await;
    assert_eq!(answer.header("ratelimit-policy"), "\"api\";q=10;w=60");
    assert_eq!((answer.status, answer.header("ratelimit").as_str()), (200, "\"api\";r=9;t=6"));
    // What is not there costs as much as three that are.
    let answer = get("/api/v1/users/nobody").await;
    assert_eq!((answer.status, answer.header("ratelimit").as_str()), (404, "\"api\";r=6;t=24"));
    let answer = get("/nowhere").await;
    assert_eq!((answer.status, answer.header("ratelimit").as_str()), (404, "\"api\";r=3;t=42"));
    for left in [2, 1, 0] {
        let answer = get("/api/v1/users").await;
        assert!(answer.header("ratelimit").starts_with(&format!("\"api\";r={left};")), "{}", answer.header("ratelimit"));
    }
    let answer = get("/api/v1/users").await;
    let wait = answer.header("retry-after");
    assert!((1..=6).contains(&wait.parse::<u32>().unwrap()), "{wait}");
    assert_eq!((answer.status, answer.header("ratelimit")), (429, format!("\"api\";r=0;t={wait}")));
    // Neither health nor the local administrator counts.
    for answer in [get("/healthz").await, gateway.api(Method::GET, "/api/v1/users", Value::Null).await] {
        assert_eq!((answer.status, answer.header("ratelimit")), (200, String::new()));
    }
}

/// Each from a network of its own, and all through one proxy that is believed. Whoever tries to fill the
/// memory in this way gets nowhere, and a proven delivery still gets in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_many_clients_do_not_fill_the_memory() {
    let clients: u32 = if std::env::var_os("CARPORT_LONG").is_some() { 1_000_000 } else { 8_000 };
    let home = Home::new();
    let mut command = home.command(SERVE);
    command.env("CARPORT_TRUSTED_PROXIES", "127.0.0.1").env("RUST_LOG", "warn");
    command.env("CARPORT_SMARTCAR_APPLICATION_MANAGEMENT_TOKEN", MANAGEMENT_TOKEN);
    let server = Arc::new(Server::of(command).await);
    let come = |range: std::ops::Range<u32>| {
        let server = server.clone();
        async move {
            let mut line = Line::open(server.address).await.unwrap();
            let mut refused = 0;
            for client in range {
                let address = format!("2001:{:x}:{:x}::1", client >> 16, client & 0xffff);
                let say = Say::get("/login").header("x-forwarded-for", &address);
                refused += u32::from(line.send(say).await.unwrap().status == 429);
            }
            refused
        }
    };
    // The first ones also make what is made once.
    come(0..clients / 8).await;
    let before = server.program.resident();
    let mut all = JoinSet::new();
    for part in 1..8 {
        all.spawn(come(clients / 8 * part..clients / 8 * (part + 1)));
    }
    let refused: u32 = all.join_all().await.into_iter().sum();
    let after = server.program.resident();
    figure(&format!("{clients} clients through a proxy: {refused} refused; memory from {before} to {after} KiB"));
    assert!(after < before + 4 * 1024, "it grew from {before} to {after} KiB");
    assert!(refused < clients / 100, "{refused} were refused for what others did");

    let body = json!({ "eventId": "e-1", "eventType": "VEHICLE_STATE", "data": { "signals": [] } }).to_string();
    let proven = Say::post("/api/webhooks/smartcar", body.clone()).header("sc-signature", &sign(&body));
    assert_eq!(server.send(proven).await.status, 200);
}

//! Proxies in front: the one that is trusted is believed, any other is named to the operator.

use std::net::IpAddr;

use bytes::Bytes;
use carport::web::Peer;
use http::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::rig::{Answer, Gateway, request};
use crate::binary::http::Say;
use crate::binary::process::{Home, Server, until};

#[tokio::test]
async fn a_proxy_that_is_not_trusted_is_named_once() {
    let home = Home::new();
    let server = Server::start(&home).await;
    for name in ["x-forwarded-for", "forwarded"] {
        server.send(Say::get("/healthz").header(name, "for=198.51.100.7")).await;
    }
    let log = async || Some(server.program.stderr()).filter(|log| log.contains("no trusted proxy"));
    until("the warning", log).await;
    let ran = server.stop().await;
    assert_eq!(ran.stderr.matches("no trusted proxy").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains(r#"trusted_proxies = [\"127.0.0.1\"]"#), "{}", ran.stderr);
    assert!(!ran.stderr.contains("198.51.100.7"), "addresses of people are not told");
}

/// What comes from an address, by way of a proxy that says whom it has signed in.
async fn ask(gateway: &Gateway, from: &str, head: http::request::Builder, body: &str) -> Answer {
    let peer = Peer::Remote { address: from.parse::<IpAddr>().unwrap(), tls: false };
    let head = head.header("x-forwarded-proto", "https").header("x-forwarded-for", "203.0.113.9");
    gateway.send(peer, head.body(Bytes::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn whom_a_trusted_proxy_names_is_signed_in() {
    let keys = [("trusted_proxies", "192.0.2.1"), ("auth.forward_header", "Remote-User")];
    let gateway = Gateway::with("forward-auth", &keys).await;
    let users = || request(Method::GET, "/api/v1/users");
    let named = |head: http::request::Builder| head.header("remote-user", "ada");
    assert_eq!(ask(&gateway, "192.0.2.1", users(), "").await.status, 401);
    assert_eq!(ask(&gateway, "192.0.2.1", named(users()), "").await.status, 200);
    // Whoever else sends it, or sends a second one along.
    assert_eq!(ask(&gateway, "192.0.2.2", named(users()), "").await.status, 401);
    assert_eq!(ask(&gateway, "127.0.0.1", named(users()), "").await.status, 401);
    assert_eq!(ask(&gateway, "192.0.2.1", named(named(users())), "").await.status, 401);
    // A token says more than the header: it may less.
    let wrong = named(users()).header("authorization", "Bearer carport_wrong");
    assert_eq!(ask(&gateway, "192.0.2.1", wrong, "").await.status, 401);

    // Other sites can lead a browser here, and the proxy names whoever sits before it.
    let page = ask(&gateway, "192.0.2.1", named(request(Method::GET, "/")), "").await;
    let token = page.text().split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let add = async |site: &str, csrf: &str| {
        let head = request(Method::POST, "/api/v1/users").header("content-type", "application/json");
        let head = named(head).header("sec-fetch-site", site).header("x-csrf-token", csrf);
        ask(&gateway, "192.0.2.1", head, r#"{"id":"grace"}"#).await.status
    };
    assert_eq!(add("cross-site", &token).await, 403);
    assert_eq!(add("same-origin", "guessed").await, 403);
    assert_eq!(add("same-origin", &token).await, 201);
    let audit = gateway.api(Method::GET, "/api/v1/audit", Value::Null).await.json();
    assert_eq!(audit["items"][0]["actor"], serde_json::json!({ "kind": "proxy", "user": "ada" }), "{audit}");
}

#[tokio::test]
async fn a_proxy_that_passes_connections_on_says_for_whom() {
    let home = Home::new();
    home.write("config.toml", "trusted_proxies = [\"127.0.0.2\"]\nproxy_protocol = true\n");
    let token = home.token().await;
    // From the proxy, nothing counts that does not begin with its header; from others, everything is as ever.
    let server = Server::start(&home).await;
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x05\xc0\0\x02\x01\xd4\x31\x01\xbb";
    let wrong =
        b"GET /api/v1/users HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer carport_wrong\r\nConnection: close\r\n\r\n";
    let say = async |bytes: &[u8]| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut stream = socket.connect(server.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // It may be reset with what was not read.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert_eq!(say(wrong).await, "");
    assert!(say(&[&header[..], wrong].concat()).await.starts_with("HTTP/1.1 401 "));
    let noted = async || {
        let audit = server.get("/api/v1/audit", &token).await.json();
        audit["items"].as_array().unwrap().iter().any(|item| item["address"] == "203.0.113.5").then_some(())
    };
    until("the note of a refusal", noted).await;
    server.stop().await;
}

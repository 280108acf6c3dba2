//! Proxies in front: the one that is trusted is believed, any other is named to the operator.

use std::net::IpAddr;

use bytes::Bytes;
use carport::web::Peer;
use http::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UnixStream};

use super::rig::{Answer, Gateway, request};
use crate::binary::http::Say;
use crate::binary::process::{Home, Program, Server, until};

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

/// A header of the PROXY protocol for somebody from this address.
fn introduction([a, b, c, d]: [u8; 4]) -> Vec<u8> {
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[a, b, c, d], b"\xc0\0\x02\x01\xd4\x31\x01\xbb"].concat()
}

/// What a proxy says that does not tell for whom it speaks.
const UNTOLD: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0";

/// All that comes back for these bytes.
async fn answered(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // It may be reset with what was not read.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A proxy that passes bytes on takes nothing from them: whatever they say of proxies, their sender says.
#[tokio::test]
async fn whose_connection_is_passed_on_does_not_speak_for_the_proxy() {
    let home = Home::new();
    let keys = "proxy_protocol = true\n[auth]\nforward_header = \"Remote-User\"\n";
    home.write("config.toml", &format!("trusted_proxies = [\"127.0.0.2\"]\n{keys}"));
    let token = home.token().await;
    let server = Server::start(&home).await;
    let ask = b"GET /api/v1/users HTTP/1.1\r\nHost: localhost\r\nRemote-User: mallory\r\nX-Forwarded-For: 198.51.100.9\r\n\
                Forwarded: for=198.51.100.9\r\nConnection: close\r\n\r\n";
    // Also where the proxy says an address that is trusted itself, or none.
    for header in [introduction([203, 0, 113, 5]), introduction([127, 0, 0, 2]), UNTOLD.to_vec()] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let stream = socket.connect(server.address).await.unwrap();
        let answer = answered(stream, &[&header[..], ask].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
    // Whom nobody names is not taken for this machine, which may sign in by plain http.
    let sign_in = b"GET /login?t=x HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nConnection: close\r\n\r\n";
    for (header, is_near) in [(UNTOLD, false), (b"PROXY UNKNOWN\r\n", false), (&introduction([127, 0, 0, 1])[..], true)] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let stream = socket.connect(server.address).await.unwrap();
        let answer = answered(stream, &[header, sign_in].concat()).await;
        assert_eq!(answer.contains("https_required"), !is_near, "{answer}");
    }
    let audit = server.get("/api/v1/audit", &token).await.text();
    assert!(!audit.contains("mallory") && !audit.contains("198.51.100.9"), "{audit}");
    server.stop().await;
}

/// A proxy on this machine comes over a socket file too.
#[tokio::test]
async fn a_proxy_says_over_a_socket_file_for_whom_it_speaks() {
    let home = Home::new();
    let path = home.path("http.sock");
    let listen = format!("listen = [\"127.0.0.1:0\", \"unix:{}\"]\n", path.display());
    home.write("config.toml", &format!("{listen}trusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = true\n"));
    let mut program = Program::start(home.command(&["serve"]));
    program.says("where it listens", |text| text.contains("listening  ").then_some(())).await;
    let ask = b"GET /api/v1/users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let say = async |bytes: &[u8]| answered(UnixStream::connect(&path).await.unwrap(), bytes).await;
    assert_eq!(say(ask).await, "");
    // Where to look for the cause is told, until it is gone.
    let told = async || {
        let checked = home.json(&["check", "--offline"]).await;
        checked["items"].as_array().unwrap().iter().find(|line| line["check"] == "proxy").cloned()
    };
    let found = until("the proxy to be named", told).await;
    assert!(found["text"].as_str().unwrap().starts_with("127.0.0.1 does not say by the PROXY protocol"), "{found}");
    assert!(found["remedy"].as_str().unwrap().contains("send-proxy-v2"), "{found}");
    let introduced = say(&[&introduction([203, 0, 113, 5])[..], ask].concat()).await;
    assert!(introduced.starts_with("HTTP/1.1 401 "), "{introduced}");
    assert_eq!(told().await, None);
    let in_words = say(&[&b"PROXY TCP4 203.0.113.5 192.0.2.1 56324 443\r\n"[..], ask].concat()).await;
    assert!(in_words.starts_with("HTTP/1.1 401 "), "{in_words}");
    assert_eq!(program.stop().await.code, Some(0));
}

#[tokio::test]
async fn a_proxy_that_passes_connections_on_says_for_whom() {
    let home = Home::new();
    home.write("config.toml", "trusted_proxies = [\"127.0.0.2\"]\nproxy_protocol = true\n");
    let token = home.token().await;
    // From the proxy, nothing counts that does not begin with its header; from others, everything is as ever.
    let server = Server::start(&home).await;
    let header = introduction([203, 0, 113, 5]);
    let wrong =
        b"GET /api/v1/users HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer carport_wrong\r\nConnection: close\r\n\r\n";
    let say = async |bytes: &[u8]| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        answered(socket.connect(server.address).await.unwrap(), bytes).await
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

//! The web edge as its clients meet it: the contract's status codes, cookies, tokens and limits.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::task::Poll;

use bytes::Bytes;
use carport::web::{Peer, handle};
use futures_util::stream;
use http::Method;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::{Value, json};

use rig::{Answer, Gateway, request, sign};

mod hostile;
mod limits;
mod origins;
mod proxies;
mod rig;
mod sockets;
mod stalled;

const WEBHOOK: &str = "/api/webhooks/smartcar";

fn event(id: &str) -> String {
    json!({ "eventId": id, "eventType": "VEHICLE_STATE", "data": { "signals": [] }, "meta": { "deliveryId": "d" } }).to_string()
}

async fn deliver(gateway: &Gateway, path: &str, body: &str, signature: Option<&str>) -> Answer {
    let mut post = request(Method::POST, path).body(body.to_owned().into()).unwrap();
    if let Some(signature) = signature {
        post.headers_mut().insert("sc-signature", signature.parse().unwrap());
    }
    gateway.stranger(post).await
}

#[tokio::test]
async fn deliveries_get_the_contracts_answers() {
    let gateway = Gateway::new("deliveries").await;
    let body = event("e-1");
    let valid = sign(&body);

    let answer = deliver(&gateway, WEBHOOK, &body, None).await;
    assert_eq!((answer.status, answer.code()), (401, "bad_signature".to_owned()));
    let answer = deliver(&gateway, WEBHOOK, &body, Some(&valid)).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "status": "accepted", "seq": 1 })));
    let answer = deliver(&gateway, "/api/webhooks/smartcar/", &body, Some(&valid)).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "status": "duplicate", "seq": 1 })));

    let verify = json!({ "eventType": "VERIFY", "data": { "challenge": "3fd8" } }).to_string();
    let answer = deliver(&gateway, WEBHOOK, &verify, None).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "challenge": sign("3fd8") })));
    let oracle = json!({ "eventType": "VERIFY", "data": { "challenge": event("forged") } }).to_string();
    let answer = deliver(&gateway, WEBHOOK, &oracle, None).await;
    assert_eq!((answer.status, answer.code()), (400, "challenge_refused".to_owned()));
    let answer = deliver(&gateway, WEBHOOK, "[1]", Some(&sign("[1]"))).await;
    assert_eq!((answer.status, answer.code()), (400, "not_an_event".to_owned()));

    let long = " ".repeat(64 * 1024 + 1);
    let answer = deliver(&gateway, WEBHOOK, &long, Some(&sign(&long))).await;
    assert_eq!((answer.status, answer.code()), (413, "too_large".to_owned()));
    assert_eq!(answer.header("connection"), "close");
    for stray in ["/api/webhooks", "/", "/system"] {
        let answer = deliver(&gateway, stray, &body, Some(&valid)).await;
        assert_eq!((answer.status, answer.code()), (404, "not_found".to_owned()), "{stray}");
    }

    let refused = gateway.api(Method::GET, "/api/v1/webhooks/refused", Value::Null).await.json();
    let codes: Vec<&str> = refused["items"].as_array().unwrap().iter().filter_map(|item| item["code"].as_str()).collect();
    assert!(codes.contains(&"too_large") && codes.contains(&"unknown_path") && codes.contains(&"bad_signature"), "{codes:?}");
    let listed = gateway.api(Method::GET, "/api/v1/webhooks?limit=1", Value::Null).await.json();
    assert_eq!(listed["items"][0]["seq"], 1);
}

#[tokio::test]
async fn no_limit_stands_before_a_valid_delivery() {
    let gateway = Gateway::new("limits").await;
    let body = event("e-1");
    let mut last = 0;
    for _ in 0..100 {
        let answer = deliver(&gateway, WEBHOOK, &body, Some("00")).await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
        }
        last = answer.status;
    }
    assert_eq!(last, 429);
    assert_eq!(deliver(&gateway, WEBHOOK, &body, Some(&sign(&body))).await.status, 200);
}

#[tokio::test]
async fn every_answer_is_dressed_and_every_host_checked() {
    let gateway = Gateway::new("dress").await;
    for path in ["/healthz", "/readyz", "/login", "/nowhere", "/api/v1/status", "/connect/unknown", "/openapi.json", "/"] {
        let answer = gateway.stranger(request(Method::GET, path).body(Bytes::new()).unwrap()).await;
        assert_eq!(answer.header("x-request-id").len(), 36, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
    }
    let mut rebound = request(Method::GET, "/healthz").body(Bytes::new()).unwrap();
    rebound.headers_mut().insert("host", "evil.example".parse().unwrap());
    assert_eq!(gateway.stranger(rebound).await.status, 421);

    let get = gateway.stranger(request(Method::GET, "/healthz").body(Bytes::new()).unwrap()).await;
    let head = gateway.stranger(request(Method::HEAD, "/healthz").body(Bytes::new()).unwrap()).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), get.body.len().to_string());

    let curious = request(Method::GET, WEBHOOK).header("accept", "text/html").body(Bytes::new()).unwrap();
    let answer = gateway.stranger(curious).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST".to_owned()));
    assert!(answer.header("content-type").starts_with("text/html"));
    let options = gateway.stranger(request(Method::OPTIONS, "/api/v1/users").body(Bytes::new()).unwrap()).await;
    assert_eq!((options.status, options.header("allow")), (405, "GET, POST, HEAD".to_owned()));
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let gateway = Gateway::new("panic").await;
    let body = stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, Infallible>>> { panic!("on purpose") });
    let post = request(Method::POST, "/api/v1/users").body(StreamBody::new(body)).unwrap();
    let answer = handle(gateway.app.as_ref().unwrap().services(), Peer::ourselves(), post).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["x-request-id"].len()), (500, 36));
    let metrics = gateway.api(Method::GET, "/metrics", Value::Null).await.text();
    assert!(metrics.contains("carport_http_requests_total{route=\"POST /api/v1/users\",status=\"500\"} 1\n"), "{metrics}");
    assert_eq!(gateway.api(Method::POST, "/api/v1/users", json!({ "id": "anna" })).await.status, 201);
}

#[tokio::test]
async fn a_browser_signs_in_and_out() {
    let gateway = Gateway::new("sign-in").await;
    let link = gateway.api(Method::POST, "/api/v1/login-links", json!({})).await;
    assert_eq!(link.status, 201);
    let url = link.json()["url"].as_str().unwrap().to_owned();
    let secret = url.split_once("?t=").unwrap().1.to_owned();

    let lost = gateway.stranger(request(Method::GET, "/").header("accept", "text/html").body(Bytes::new()).unwrap()).await;
    assert_eq!((lost.status, lost.header("location")), (303, "/login".to_owned()));

    for _ in 0..2 {
        let page = gateway.stranger(request(Method::GET, &format!("/login?t={secret}")).body(Bytes::new()).unwrap()).await;
        assert_eq!(page.status, 200, "showing the button spends nothing");
    }
    let form = |path: &str, body: String| {
        request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded").body(body.into()).unwrap()
    };
    let with = |mut request: http::Request<Bytes>, name: &'static str, value: &str| {
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    assert_eq!(gateway.stranger(form("/login", format!("t={secret}"))).await.status, 403);
    let own = "http://localhost:8000";
    let signed_in = gateway.stranger(with(form("/login", format!("t={secret}")), "origin", own)).await;
    assert_eq!((signed_in.status, signed_in.header("location")), (303, "/".to_owned()));
    let cookie = signed_in.header("set-cookie");
    assert!(cookie.starts_with("__Host-carport=") && cookie.contains("; Secure") && cookie.contains("; HttpOnly"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert_eq!(gateway.stranger(with(form("/login", format!("t={secret}")), "origin", own)).await.status, 403, "spent");

    let page = gateway.stranger(with(request(Method::GET, "/").body(Bytes::new()).unwrap(), "cookie", &cookie)).await;
    assert_eq!(page.status, 200);
    let token = page.text().split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    for path in ["/setup", "/webhooks", "/connections"] {
        let page = gateway.stranger(with(request(Method::GET, path).body(Bytes::new()).unwrap(), "cookie", &cookie)).await;
        assert_eq!(page.status, 200, "{path}");
    }

    let logout = |csrf: &str| with(form("/logout", format!("csrf={csrf}")), "cookie", &cookie);
    assert_eq!(gateway.stranger(logout(&token)).await.status, 403, "without an origin");
    assert_eq!(gateway.stranger(with(logout("other"), "sec-fetch-site", "same-origin")).await.status, 403);
    assert_eq!(gateway.stranger(with(logout(&token), "sec-fetch-site", "cross-site")).await.status, 403);
    let out = gateway.stranger(with(logout(&token), "sec-fetch-site", "same-origin")).await;
    assert_eq!((out.status, out.header("location")), (303, "/login".to_owned()));
    let page = gateway.stranger(with(request(Method::GET, "/").body(Bytes::new()).unwrap(), "cookie", &cookie)).await;
    assert_eq!(page.status, 401);
}

#[tokio::test]
async fn plain_http_from_afar_gets_no_cookie() {
    let gateway = Gateway::new("plain").await;
    let link = gateway.api(Method::POST, "/api/v1/login-links", json!({})).await.json();
    let secret = link["url"].as_str().unwrap().split_once("?t=").unwrap().1.to_owned();
    let from = |address: [u8; 4]| Peer::Remote { address: IpAddr::V4(Ipv4Addr::from(address)), tls: false };
    let form = || {
        request(Method::POST, "/login")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .body(format!("t={secret}").into())
            .unwrap()
    };
    let answer = gateway.send(from([8, 8, 8, 8]), form()).await;
    assert_eq!((answer.status, answer.code()), (403, "https_required".to_owned()));
    let answer = gateway.send(from([192, 168, 1, 7]), form()).await;
    assert!(answer.header("set-cookie").starts_with("carport="), "{:?}", answer.text());
    assert!(!answer.header("set-cookie").contains("Secure"));
}

#[tokio::test]
async fn tokens_open_what_they_should() {
    let gateway = Gateway::new("tokens").await;
    for id in ["anna", "ben"] {
        assert_eq!(gateway.api(Method::POST, "/api/v1/users", json!({ "id": id })).await.status, 201);
    }
    let mut secrets = Vec::new();
    for new in [
        json!({ "name": "r", "scope": "read", "user": "anna" }),
        json!({ "name": "m", "scope": "metrics" }),
        json!({ "name": "a", "scope": "admin" }),
        json!({ "name": "c", "scope": "connect", "user": "anna" }),
    ] {
        let made = gateway.api(Method::POST, "/api/v1/tokens", new).await;
        assert_eq!(made.status, 201, "{}", made.text());
        secrets.push(made.json()["token"].as_str().unwrap().to_owned());
    }
    let [read, metrics, admin, connect] = <[String; 4]>::try_from(secrets).unwrap();
    let ask = async |token: &str, method: Method, path: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let authorization = format!("Bearer {token}");
        let request = request(method, path).header("authorization", authorization).body(body.into()).unwrap();
        gateway.stranger(request).await.status
    };
    let get = async |token: &str, path: &str| ask(token, Method::GET, path, Value::Null).await;

    assert_eq!(get("carport_wrong", "/api/v1/users").await, 401);
    assert_eq!(get(&read, "/api/v1/users/anna").await, 200);
    assert_eq!(get(&read, "/api/v1/users/ben").await, 404);
    assert_eq!(get(&read, "/api/v1/users?page=2").await, 400);
    assert_eq!(get(&read, "/api/v1/tokens").await, 403);
    assert_eq!(get(&read, "/metrics").await, 403);
    assert_eq!(get(&read, "/api/v1/status").await, 403);
    assert_eq!(get(&read, "/api/v1/connections/not-an-id").await, 404);
    assert_eq!(get(&metrics, "/metrics").await, 200);
    assert_eq!(get(&metrics, "/api/v1/status").await, 200);
    assert_eq!(get(&metrics, "/api/v1/vehicles").await, 403);
    assert_eq!(ask(&admin, Method::PATCH, "/api/v1/users/anna", json!({ "name": "Anna" })).await, 200);
    assert_eq!(ask(&admin, Method::PATCH, "/api/v1/users/anna", json!({ "nmae": "Anna" })).await, 400);
    assert_eq!(ask(&connect, Method::POST, "/api/v1/connect", json!({ "user": "ben" })).await, 404);
    assert_eq!(ask(&connect, Method::POST, "/api/smartcar/exchange", json!({ "code": "c" })).await, 400);
    assert_eq!(get(&connect, "/api/v1/users").await, 403);
}

#[tokio::test]
async fn an_invite_leads_to_smartcar_and_previews_change_nothing() {
    let gateway = Gateway::new("invite").await;
    let invite =
        gateway.api(Method::POST, "/api/v1/connect", json!({ "user": "owner", "create": true, "mode": "simulated" })).await;
    assert_eq!(invite.status, 201, "{}", invite.text());
    let url = url::Url::parse(invite.json()["url"].as_str().unwrap()).unwrap();

    let head = gateway.stranger(request(Method::HEAD, url.path()).body(Bytes::new()).unwrap()).await;
    assert_eq!((head.status, head.header("set-cookie")), (200, String::new()));
    let begun = gateway.stranger(request(Method::GET, url.path()).body(Bytes::new()).unwrap()).await;
    assert_eq!(begun.status, 302, "{}", begun.text());
    let cookie = begun.header("set-cookie");
    assert!(cookie.starts_with("__Host-carport_attempt=") && cookie.contains("Max-Age=600"), "{cookie}");
    let authorize = url::Url::parse(&begun.header("location")).unwrap();
    let state = authorize.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();

    // Under another of our names the cookie would not come back.
    let mut elsewhere = request(Method::GET, url.path()).body(Bytes::new()).unwrap();
    elsewhere.headers_mut().insert("host", "127.0.0.1:8000".parse().unwrap());
    let moved = gateway.stranger(elsewhere).await;
    assert_eq!((moved.status, moved.header("location")), (303, format!("{url}?here=1")));
    // Behind a proxy that keeps the name to itself it would go on for ever.
    let mut again = request(Method::GET, &format!("{}?here=1", url.path())).body(Bytes::new()).unwrap();
    again.headers_mut().insert("host", "127.0.0.1:8000".parse().unwrap());
    assert_eq!(gateway.stranger(again).await.status, 302);

    let callback = |query: &str| {
        request(Method::GET, &format!("/api/smartcar/callback?{query}")).header("accept", "text/html").body(Bytes::new()).unwrap()
    };
    let answer = gateway.stranger(callback("code=c")).await;
    assert_eq!(answer.status, 400);
    assert!(answer.header("content-type").starts_with("text/html"));
    let denied = format!("error=access_denied&error_description=%3Cscript%3E&state={state}");
    assert_eq!(gateway.stranger(callback(&denied)).await.status, 400, "another browser");
    let mut own = callback(&denied);
    own.headers_mut().insert("cookie", cookie.split(';').next().unwrap().parse().unwrap());
    let answer = gateway.stranger(own).await;
    assert_eq!((answer.status, answer.header("location")), (303, format!("{}/done", url.path())), "{}", answer.text());
    let done = gateway.stranger(request(Method::GET, &answer.header("location")).body(Bytes::new()).unwrap()).await;
    assert_eq!(done.status, 200);
    assert!(!done.text().contains("<script>"));
}

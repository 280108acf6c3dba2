//! Pages of other origins: what a browser is told, and what it is not.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};

use super::rig::{Answer, Gateway, request};

const ALLOWED: &str = "https://app.example.org";
const CORS: [&str; 6] = ["allow-origin", "allow-methods", "allow-headers", "allow-credentials", "expose-headers", "max-age"];

fn from(origin: &str, method: Method, path: &str, lines: &[(&'static str, &str)]) -> Request<Bytes> {
    let mut request = request(method, path).header("origin", origin);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(Bytes::new()).unwrap()
}

/// The CORS headers of an answer, in a line each.
fn told(answer: &Answer) -> String {
    let lines = CORS.iter().map(|name| format!("access-control-{name}"));
    let told = lines.filter_map(|name| Some(format!("{}: {}", &name[15..], answer.headers.get(&name)?.to_str().unwrap())));
    told.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn allowed_pages_may_use_the_api_with_a_token() {
    let gateway = Gateway::with("cors", &[("api.allowed_origins", "https://APP.example.org:443, http://localhost:3000")]).await;
    let token = gateway.api(Method::POST, "/api/v1/tokens", json!({ "name": "app", "scope": "read" })).await;
    let bearer = format!("Bearer {}", token.json()["token"].as_str().unwrap());

    let ask = [("access-control-request-method", "DELETE"), ("access-control-request-headers", "authorization")];
    let preflight = gateway.stranger(from(ALLOWED, Method::OPTIONS, "/api/v1/users/anna", &ask)).await;
    assert_eq!((preflight.status, preflight.body.len()), (204, 0));
    expect_test::expect![[r"
        allow-origin: https://app.example.org
        allow-methods: GET, PATCH, DELETE, HEAD
        allow-headers: authorization, cache-control, content-type, sc-unit-system, sc-user-id
        expose-headers: location, ratelimit, ratelimit-policy, retry-after, x-request-id, sc-data-age, sc-fetched-at, sc-request-id, sc-unit-system
        max-age: 600"]]
    .assert_eq(&told(&preflight));

    for origin in [ALLOWED, "http://localhost:3000"] {
        let answer = gateway.stranger(from(origin, Method::GET, "/api/v1/users", &[("authorization", &bearer)])).await;
        assert_eq!((answer.status, answer.header("vary").as_str()), (200, "Origin"));
        assert_eq!(answer.header("access-control-allow-origin"), origin);
    }
    // A page must be able to read why it was refused.
    let answer = gateway.stranger(from(ALLOWED, Method::GET, "/api/v1/users", &[])).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin").as_str()), (401, ALLOWED));
    let exchange = from(ALLOWED, Method::POST, "/api/smartcar/exchange", &[("authorization", "Bearer carport_wrong")]);
    let answer = gateway.stranger(exchange).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin").as_str()), (401, ALLOWED));
}

#[tokio::test]
async fn others_are_told_nothing() {
    let gateway = Gateway::with("cors-not", &[("api.allowed_origins", ALLOWED)]).await;
    let ask = [("access-control-request-method", "GET")];
    for origin in [
        "https://evil.example",
        "null",
        "https://app.example.org.evil.example",
        "http://app.example.org",
        "HTTPS://APP.EXAMPLE.ORG",
    ] {
        let preflight = gateway.stranger(from(origin, Method::OPTIONS, "/api/v1/users", &ask)).await;
        assert_eq!((preflight.status, told(&preflight).as_str()), (405, ""), "{origin}");
        let answer = gateway.stranger(from(origin, Method::GET, "/api/v1/users", &[])).await;
        assert_eq!((told(&answer).as_str(), answer.header("vary").as_str()), ("", "Origin"), "{origin}");
    }
    // Everything that is no API, even for a page that may use the API.
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/login"),
        (Method::GET, "/healthz"),
        (Method::GET, "/metrics"),
        (Method::GET, "/openapi.json"),
        (Method::GET, "/connect/x"),
        (Method::GET, "/api/smartcar/callback"),
        (Method::POST, "/api/webhooks/smartcar"),
        (Method::GET, "/api/v1/nowhere"),
        (Method::POST, "/logout"),
    ] {
        let answer = gateway.stranger(from(ALLOWED, method.clone(), path, &[])).await;
        assert_eq!((told(&answer).as_str(), answer.header("vary").as_str()), ("", ""), "{path}");
        let ask = [("access-control-request-method", method.as_str())];
        let preflight = gateway.stranger(from(ALLOWED, Method::OPTIONS, path, &ask)).await;
        assert_eq!(told(&preflight), "", "{path}");
    }
    // A method that the address does not take, and none at all.
    for ask in [&[("access-control-request-method", "PUT")][..], &[]] {
        let preflight = gateway.stranger(from(ALLOWED, Method::OPTIONS, "/api/v1/users", ask)).await;
        assert_eq!((preflight.status, told(&preflight).as_str()), (405, ""));
    }
    let silent = Gateway::new("cors-off").await;
    let answer = silent.stranger(from(ALLOWED, Method::GET, "/api/v1/users", &[])).await;
    assert_eq!((told(&answer).as_str(), answer.header("vary").as_str()), ("", ""));
}

#[tokio::test]
async fn a_cookie_does_not_count_for_another_origin() {
    let gateway = Gateway::with("cors-cookie", &[("api.allowed_origins", ALLOWED)]).await;
    let link = gateway.api(Method::POST, "/api/v1/login-links", json!({})).await.json();
    let secret = link["url"].as_str().unwrap().split_once("?t=").unwrap().1.to_owned();
    let form = request(Method::POST, "/login").header("content-type", "application/x-www-form-urlencoded");
    let form = form.header("sec-fetch-site", "same-origin").body(format!("t={secret}").into()).unwrap();
    let cookie = gateway.stranger(form).await.header("set-cookie").split(';').next().unwrap().to_owned();

    let own = request(Method::GET, "/api/v1/users").header("cookie", &cookie).body(Bytes::new()).unwrap();
    assert_eq!(gateway.stranger(own).await.status, 200);
    let other = from(ALLOWED, Method::GET, "/api/v1/users", &[("cookie", &cookie), ("sec-fetch-site", "same-site")]);
    assert_eq!(gateway.stranger(other).await.status, 401);
    let nobody = gateway.api(Method::GET, "/api/v1/users", Value::Null).await;
    assert_eq!(told(&nobody), "");
}

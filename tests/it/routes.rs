//! What holds on every route there is: the list is the gateway's own, so that a new one cannot be forgotten.

use carport::model::notice::{Notice, Subject};
use carport::model::token::Generation;
use carport::store::notices::GiveNotice;
use carport::web;
use serde_json::{Value, json};

use crate::api::{connection_of, with_two_owners};
use crate::gateway::{Ask, TestGateway, connection_id, events, is_problem};
use crate::simulator::rig::{ADA, Answer, GRACE};

/// Ids that a path may name.
struct Ids {
    user: String,
    connection: String,
    vehicle: String,
    seq: String,
}

impl Ids {
    fn of(user: &str, connection: &str, vehicle: &str, seq: &str) -> Ids {
        let [user, connection, vehicle, seq] = [user, connection, vehicle, seq].map(str::to_owned);
        Ids { user, connection, vehicle, seq }
    }

    fn unknown() -> Ids {
        let nobody = "0199c82c-0000-7000-8000-000000000000";
        Ids::of("nobody", nobody, nobody, "4711")
    }

    /// In the places in braces.
    fn fill(&self, pattern: &str) -> String {
        let id = match pattern {
            // API v2.0 has no ids of connections: those of vehicles stand for them.
            "/v3/connections/{id}" => &self.vehicle,
            pattern if pattern.contains("/users/") => &self.user,
            pattern if pattern.contains("/connections/") => &self.connection,
            pattern if pattern.contains("/vehicles/") => &self.vehicle,
            _ => "unknown",
        };
        let path = pattern.replace("{id}", id).replace("{seq}", &self.seq).replace("{code}", "odometer-traveleddistance");
        // As much a read as a command.
        let path = path.replace("{endpoint}/{part}", "charge/limit").replace("{endpoint}", "charge");
        let path = path.replace("{webhook}", "unknown");
        let path = path.replace("{group}/{action}", "charge/start").replace("commands/{command}", "commands/unknown");
        path.replace("{invite}", "unknown").replace("{name}", "app.js")
    }
}

/// What a token that is bound to somebody else gets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    /// It concerns nobody, or whoever holds a link.
    Unbound,
    /// Lists and pages: those of its own only.
    Own,
    /// Names somebody else's: there is no such thing.
    NotFound,
    /// Concerns everybody, or needs a scope that a bound token cannot have: whatever it names.
    Forbidden,
}

/// Every route. A new one must be put here.
const ROUTES: &[(Expected, &[&str])] = &[
    (
        Expected::Unbound,
        &[
            "GET /healthz",
            "GET /readyz",
            "GET /openapi.json",
            "GET /assets/{name}",
            "GET /connect/{invite}",
            "GET /connect/{invite}/done",
            "GET /api/smartcar/callback",
            "POST /api/webhooks/smartcar",
            "GET /login",
            "POST /login",
            "POST /logout",
            "POST /units",
            "POST /oauth/token",
            "POST /oauth2/token",
            "GET /v2.0/compatibility",
            "GET /v2.0/compatibility/matrix",
        ],
    ),
    (
        Expected::Own,
        &[
            "GET /",
            "GET /webhooks",
            "GET /connections",
            "GET /api/v1/users",
            "GET /api/v1/connections",
            "GET /api/v1/budget",
            "GET /api/v1/vehicles",
            "GET /api/v1/webhooks",
            "GET /api/v1/webhooks/refused",
            "GET /api/v1/events",
            "POST /api/v1/events/ticket",
            "GET /v2.0/user",
            "GET /v2.0/vehicles",
            "GET /v2.0/management/connections",
            "GET /v3/connections",
        ],
    ),
    (
        Expected::NotFound,
        &[
            "GET /vehicles/{id}",
            "POST /vehicles/{id}/commands",
            "GET /vehicles/{id}/commands/{command}",
            "POST /vehicles/{id}/refresh",
            "GET /webhooks/{seq}",
            "GET /api/v1/users/{id}",
            "GET /api/v1/connections/{id}",
            "GET /api/v1/vehicles/{id}",
            "GET /api/v1/vehicles/{id}/signals",
            "GET /api/v1/vehicles/{id}/signals/{code}",
            "GET /api/v1/vehicles/{id}/history",
            "GET /api/v1/vehicles/{id}/charges",
            "GET /api/v1/vehicles/{id}/trips",
            "POST /api/v1/vehicles/{id}/refresh",
            "POST /api/v1/vehicles/{id}/commands/{group}/{action}",
            "GET /api/v1/vehicles/{id}/commands/{command}",
            "GET /api/v1/webhooks/{seq}",
            "POST /api/v1/connect",
            "POST /api/smartcar/exchange",
            "GET /v2.0/vehicles/{id}",
            "GET /v2.0/vehicles/{id}/permissions",
            "POST /v2.0/vehicles/{id}/batch",
            "GET /v2.0/vehicles/{id}/{endpoint}",
            "POST /v2.0/vehicles/{id}/{endpoint}",
            "GET /v2.0/vehicles/{id}/{endpoint}/{part}",
            "POST /v2.0/vehicles/{id}/{endpoint}/{part}",
            "GET /v3/connections/{id}",
            "GET /v3/vehicles/{id}",
            "GET /v3/vehicles/{id}/signals",
            "GET /v3/vehicles/{id}/signals/{code}",
            "POST /v3/vehicles/{id}/commands/{group}/{action}",
        ],
    ),
    (
        Expected::Forbidden,
        &[
            "POST /vehicles/{id}",
            "POST /vehicles/{id}/disconnect",
            "POST /connect",
            "POST /webhooks/{seq}",
            "POST /connections/{id}/refresh",
            "POST /connections/{id}/disconnect",
            "GET /setup",
            "GET /api/v1/setup",
            "GET /api/v1/settings",
            "PATCH /api/v1/settings",
            "POST /setup",
            "GET /system",
            "POST /system/devices",
            "POST /system/tokens",
            "POST /system/tokens/{id}",
            "POST /system/sessions/{id}",
            "GET /audit",
            "GET /answers/{id}",
            "GET /metrics",
            "GET /api/v1/status",
            "POST /setup/check",
            "POST /api/v1/users",
            "PATCH /api/v1/users/{id}",
            "DELETE /api/v1/users/{id}",
            "DELETE /api/v1/connections/{id}",
            "POST /api/v1/connections/{id}/refresh",
            "PATCH /api/v1/vehicles/{id}",
            "DELETE /api/v1/vehicles/{id}",
            "POST /api/v1/vehicles/{id}/subscribe",
            "POST /api/v1/connections/adopt",
            "POST /api/v1/connections/import",
            "POST /api/v1/connections/migrate",
            "POST /api/v1/webhooks/{seq}/replay",
            "GET /api/v1/tokens",
            "POST /api/v1/tokens",
            "DELETE /api/v1/tokens/{id}",
            "GET /api/v1/sessions",
            "DELETE /api/v1/sessions/{id}",
            "POST /api/v1/login-links",
            "PATCH /api/v1/password",
            "GET /api/v1/audit",
            "GET /api/v1/export",
            "GET /api/v1/key",
            "POST /api/v1/key/rotate",
            "DELETE /v2.0/vehicles/{id}/application",
            "POST /v2.0/vehicles/{id}/webhooks/{webhook}",
            "DELETE /v2.0/vehicles/{id}/webhooks/{webhook}",
            "DELETE /v2.0/management/connections",
            "DELETE /v3/connections/{id}",
            "DELETE /v3/users/{id}",
            "GET /v3/webhooks",
            "GET /v3/webhooks/{id}",
            "GET /v3/subscriptions",
            "POST /v3/subscriptions",
            "GET /v3/subscriptions/{id}",
            "DELETE /v3/subscriptions/{id}",
        ],
    ),
];

fn expected(method: &str, pattern: &str) -> Expected {
    let route = format!("{method} {pattern}");
    let found = ROUTES.iter().find(|(_, routes)| routes.contains(&route.as_str()));
    found.unwrap_or_else(|| panic!("{route} is new: say in ROUTES what a token gets that is bound to somebody else")).0
}

/// The bodies that name what is not in the path.
fn bodies(pattern: &str, ids: &Ids) -> Vec<Value> {
    match pattern {
        "/api/v1/connect" => vec![json!({ "user": ids.user }), json!({ "user": "ada", "vehicle_id": ids.vehicle })],
        "/api/smartcar/exchange" => vec![json!({ "user": ids.user, "code": "c", "state": "s" })],
        "/v2.0/vehicles/{id}/batch" => vec![json!({ "requests": [{ "path": "/odometer" }] })],
        "/v2.0/vehicles/{id}/{endpoint}" => vec![json!({ "action": "START" })],
        "/v2.0/vehicles/{id}/{endpoint}/{part}" => vec![json!({ "limit": 0.8 })],
        _ => vec![json!({})],
    }
}

/// An error in the shape of Carport's API, or of Smartcar's.
#[track_caller]
fn is_refusal(answer: &Answer, pattern: &str, status: u16, code: &str) {
    let body = || answer.json();
    if pattern.starts_with("/v2.0/") {
        assert_eq!((answer.status, &body()["statusCode"]), (status, &json!(status)), "{}", answer.text());
    } else if pattern.starts_with("/v3/") {
        assert_eq!((answer.status, &body()["errors"][0]["status"]), (status, &json!(status.to_string())), "{}", answer.text());
    } else {
        is_problem(answer, status, code);
    }
}

fn ask<'g>(gateway: &'g TestGateway, method: &str, path: &str, body: &Value) -> Ask<'g> {
    let ask = gateway.ask(method, path);
    if method == "GET" || method == "DELETE" { ask } else { ask.json(body) }
}

#[tokio::test(start_paused = true)]
async fn whats_somebody_elses_does_not_exist() {
    let gateway = with_two_owners(120).await;
    let grace_car = gateway.vehicles_of(GRACE).remove(0);
    let graces = Ids::of("grace", &connection_of(&gateway, "grace").await, &grace_car, "3");
    let account = gateway.simulator.accounts().into_iter().find(|account| account.email == GRACE).unwrap().user_id;
    let ada_car = gateway.vehicles_of(ADA).remove(0);
    let (mut refused, mut seen) = (0, 0);
    for bound in [json!({ "user": "ada" }), json!({ "vehicle": ada_car })] {
        let mut request = json!({ "name": "bound", "scope": "control" });
        request.as_object_mut().unwrap().extend(bound.as_object().unwrap().clone());
        let token = gateway.create_token(&request).await;
        for (method, pattern) in web::routes() {
            let expected = expected(method.as_str(), pattern);
            for (theirs, nobodys) in bodies(pattern, &graces).iter().zip(&bodies(pattern, &Ids::unknown())) {
                let answer = ask(&gateway, method.as_str(), &graces.fill(pattern), theirs).bearer(&token).send().await;
                let unknown = ask(&gateway, method.as_str(), &Ids::unknown().fill(pattern), nobodys).bearer(&token).send().await;
                let (route, text) = (format!("{method} {pattern} {bound} {theirs}"), answer.text());
                match expected {
                    Expected::Unbound => continue,
                    Expected::Own => assert!([200, 201].contains(&answer.status), "{route}: {text}"),
                    // A token of one vehicle connects nobody at all.
                    Expected::NotFound if pattern.ends_with("/connect") || pattern.ends_with("/exchange") => {
                        let status = if bound.get("user").is_some() { 404 } else { 403 };
                        assert_eq!(answer.status, status, "{route}: {text}");
                    }
                    Expected::NotFound => is_refusal(&answer, pattern, 404, "not_found"),
                    Expected::Forbidden => is_refusal(&answer, pattern, 403, "forbidden"),
                }
                // Nobody can tell what is somebody else's from what is not there.
                assert_eq!(told(&answer), told(&unknown), "{route}");
                for foreign in [&graces.user, &graces.vehicle, &graces.connection, &account] {
                    assert!(!text.contains(foreign.as_str()), "{route} tells of {foreign}");
                }
                refused += usize::from(expected != Expected::Own);
                seen += usize::from(expected == Expected::Own);
            }
        }
    }
    assert!(refused > 60 && seen > 15, "{refused} refused, {seen} seen");
    gateway.finish().await;
}

/// Trouble of Grace's, of her connection and car, and of the whole gateway.
async fn trouble(gateway: &TestGateway, connection: &str, car: &str) {
    for number in 0..37 {
        let signals = [events::signal("odometer-traveleddistance", 1000 + number, 1_759_900_000_000)];
        gateway.deliver(&events::state(&format!("more about {car} {number}"), car, &signals)).await;
    }
    gateway.catch_up().await;
    let subjects =
        [Subject::AccessEnding(connection_id(connection)), Subject::RenewalFailing(Generation::V2), Subject::CertificateRefused];
    for subject in subjects {
        let (since, reason) = (gateway.now(), Some("it says canary".to_owned()));
        let notice = Notice { subject, since, reason, ends_at: Some(since), days: Some(3) };
        gateway.app().store().commit(GiveNotice { notice }).await.unwrap();
    }
    let seen = gateway.get("/").bearer(&gateway.admin).send().await.text();
    assert!(seen.contains("canary"), "the operator is told of it");
}

/// Whatever happens to somebody else or to the gateway, a bound token sees nothing of it anywhere.
#[tokio::test(start_paused = true)]
async fn whats_somebody_elses_changes_nothing_that_is_seen() {
    let gateway = with_two_owners(122).await;
    let token = gateway.create_token(&json!({ "name": "bound", "scope": "control", "user": "ada" })).await;
    let own = web::routes().filter(|(method, pattern)| {
        *method == "GET" && expected("GET", pattern) == Expected::Own && !pattern.ends_with("/events")
    });
    let own: Vec<&str> = own.map(|(_, pattern)| pattern).collect();
    assert!(own.len() > 10, "{own:?}");
    let look = async || {
        let mut seen = Vec::new();
        for path in &own {
            let answer = gateway.get(path).bearer(&token).header("sc-user-id", "").send().await;
            seen.push((*path, told(&answer)));
        }
        seen
    };
    let before = look().await;
    trouble(&gateway, &connection_of(&gateway, "grace").await, &gateway.vehicles_of(GRACE)[0]).await;
    for (before, after) in before.iter().zip(look().await) {
        assert_eq!(before, &after);
    }
    gateway.finish().await;
}

/// An answer without what differs each time.
fn told(answer: &Answer) -> (u16, Value) {
    // A stream of events says that it is there now and then.
    let text = answer.text().replace(":\n\n", "");
    let mut body = serde_json::from_str(&text).unwrap_or_else(|_| json!(text));
    if let Some(problem) = body.as_object_mut() {
        problem.remove("request_id");
        problem.remove("ticket");
        problem.remove("requestId");
        if let Some(error) = problem.get_mut("errors").and_then(|errors| errors.get_mut(0)?.as_object_mut()) {
            error.remove("meta");
        }
    }
    (answer.status, body)
}

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                   frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// Every answer, whatever was asked by whomever, and whatever went wrong.
#[tokio::test(start_paused = true)]
async fn every_answer_bears_the_security_headers() {
    let gateway = with_two_owners(121).await;
    let ids = Ids::of("ada", &connection_of(&gateway, "ada").await, &gateway.vehicles_of(ADA)[0], "1");
    let reader = gateway.create_token(&json!({ "name": "reader", "scope": "read" })).await;
    let mut statuses = std::collections::BTreeSet::new();
    let patterns: std::collections::BTreeSet<&str> = web::routes().map(|(_, pattern)| pattern).chain(["/nowhere"]).collect();
    for pattern in patterns {
        for ids in [&Ids::unknown(), &ids] {
            let path = ids.fill(pattern);
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
                let plain = || gateway.ask(method, &path);
                let mut asks = vec![
                    plain(),
                    plain().header("accept", "text/html"),
                    plain().bearer(&reader).header("accept", "text/html"),
                    plain().bearer("carport_wrong"),
                    plain().without("host").header("host", "evil.example"),
                    plain().bearer(&gateway.admin).body(" ".repeat(64 * 1024 + 1)),
                    plain().bearer(&reader).header("content-type", "application/json").body("{"),
                ];
                if ["GET", "HEAD", "OPTIONS"].contains(&method) {
                    asks.push(plain().bearer(&gateway.admin));
                    asks.push(plain().bearer(&gateway.admin).header("accept", "text/html"));
                }
                for ask in asks {
                    let answer = ask.send().await;
                    statuses.insert(answer.status);
                    check(&answer, &format!("{method} {path}: {}", answer.status), pattern == "/assets/{name}");
                }
            }
        }
    }
    for status in [200, 302, 303, 400, 401, 403, 404, 405, 413, 421] {
        assert!(statuses.contains(&status) || status == 302, "{status} of {statuses:?}");
    }
    gateway.finish().await;
}

fn check(answer: &Answer, what: &str, is_asset: bool) {
    for (name, value) in [
        ("content-security-policy", CSP),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name} of {what}");
        assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{name} of {what}");
    }
    let kept = answer.header("cache-control").unwrap();
    assert!(kept == "no-store" || (is_asset && answer.status == 200), "{what} may be kept: {kept}");
    if answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
        let page = answer.text();
        for inline in ["<style", " style=", " onclick=", " onload=", " onsubmit=", "javascript:", "<script>"] {
            assert!(!page.contains(inline), "{inline} in {what}");
        }
    }
}

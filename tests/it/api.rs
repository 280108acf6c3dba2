//! The API and the sign-in: who may do what, who sees whose, and the shape of every refusal.

use carport::simulator::Settings;
use serde_json::{Value, json};

use crate::gateway::{Ask, DAY, HOUR, TestGateway, events, is_problem, pass};
use crate::simulator::rig::{ADA, Answer, GRACE};

const NOBODY: &str = "0199c82c-0000-7000-8000-000000000000";

/// A route as the description has it.
struct Route {
    method: String,
    path: String,
    scope: String,
    takes_json: bool,
    /// No token suffices.
    only_socket: bool,
}

impl Route {
    /// With ids in the places of names.
    fn at(&self, user: &str, connection: &str, vehicle: &str, seq: &str) -> String {
        let of = |collection: &str| match collection {
            "users" => user,
            "connections" => connection,
            "vehicles" => vehicle,
            "webhooks" => seq,
            _ => NOBODY,
        };
        let collection = self.path.split('/').nth(3).unwrap_or_default();
        let path = self.path.replace("{id}", of(collection)).replace("{seq}", of(collection));
        path.replace("{code}", "odometer-traveleddistance").replace("{group}/{action}", "security/lock")
    }

    fn ask<'g>(&self, gateway: &'g TestGateway, path: &str) -> Ask<'g> {
        let ask = gateway.ask(&self.method, path);
        if self.method == "GET" || self.method == "DELETE" { ask } else { ask.json(&json!({})) }
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// Every route that needs a token.
async fn routes(gateway: &TestGateway) -> Vec<Route> {
    let description = gateway.get("/openapi.json").send().await.json();
    let mut routes = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, route) in methods.as_object().unwrap() {
            let Some(scope) = route["x-scope"].as_str() else { continue };
            let takes_json = route.get("requestBody").is_some();
            let (method, only_socket) = (method.to_uppercase(), route["x-only-socket"] == true);
            routes.push(Route { method, path: path.clone(), scope: scope.to_owned(), takes_json, only_socket });
        }
    }
    assert!(routes.len() > 25, "{} routes", routes.len());
    routes
}

/// A gateway with Ada's cars, Grace's car, and a delivery about each.
pub(crate) async fn with_two_owners(seed: u64) -> TestGateway {
    let gateway = TestGateway::with(seed, &[], Settings { seed, ..Settings::default() }).await;
    for (user, account) in [("ada", ADA), ("grace", GRACE)] {
        gateway.connect(user, account).await;
        for car in gateway.vehicles_of(account) {
            let signals = [events::signal("odometer-traveleddistance", 10, 1_759_900_000_000)];
            gateway.deliver(&events::state(&format!("about {car}"), &car, &signals)).await;
        }
    }
    gateway.catch_up().await;
    gateway
}

pub(crate) async fn connection_of(gateway: &TestGateway, user: &str) -> String {
    let connections = gateway.told("/api/v1/connections").await;
    let mut all = connections["items"].as_array().unwrap().iter();
    all.find(|connection| connection["user"] == user).unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn scopes_open_the_routes_they_should() {
    let gateway = with_two_owners(100).await;
    let covers = |held: &str, needed: &str| match needed {
        "metrics" => ["metrics", "read", "control", "admin"].contains(&held),
        "connect" => ["connect", "control", "admin"].contains(&held),
        "read" => ["read", "control", "admin"].contains(&held),
        "control" => ["control", "admin"].contains(&held),
        _ => held == "admin",
    };
    let routes = routes(&gateway).await;
    for held in ["metrics", "connect", "read", "control", "admin"] {
        let user = (held == "connect").then_some("ada");
        let token = gateway.create_token(&json!({ "name": held, "scope": held, "user": user })).await;
        for route in &routes {
            let answer = route.ask(&gateway, &route.at(NOBODY, NOBODY, NOBODY, "99")).bearer(&token).send().await;
            if covers(held, &route.scope) && !route.only_socket {
                assert!(![401, 403, 405, 500].contains(&answer.status), "{held}: {} {}", route.name(), answer.text());
            } else {
                is_problem(&answer, 403, "forbidden");
            }
        }
    }
    for route in &routes {
        let path = route.at(NOBODY, NOBODY, NOBODY, "99");
        for credentials in ["", "Bearer carport_unknown", "Bearer x", "Basic YTpi", "carport_x"] {
            let ask = route.ask(&gateway, &path);
            let ask = if credentials.is_empty() { ask } else { ask.header("authorization", credentials) };
            let answer = ask.send().await;
            is_problem(&answer, 401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"carport\""));
        }
        // An administrator's token, but two of them.
        let twice = route.ask(&gateway, &path).bearer(&gateway.admin).bearer(&gateway.admin).send().await;
        is_problem(&twice, 401, "unauthorized");
        let unknown = route.ask(&gateway, &format!("{path}?unknown=1")).bearer(&gateway.admin).send().await;
        if route.path == "/metrics" {
            continue;
        }
        if route.only_socket {
            is_problem(&unknown, 403, "forbidden");
            continue;
        }
        is_problem(&unknown, 400, "bad_request");
        if route.takes_json {
            for body in [r#"{"unknown":1}"#, "[]", "null", "{", r#"{"a":1}{"#] {
                let ask = gateway.ask(&route.method, &path).header("content-type", "application/json").body(body.to_owned());
                is_problem(&ask.bearer(&gateway.admin).send().await, 400, "bad_request");
            }
            let text = gateway.ask(&route.method, &path).header("content-type", "text/plain").body("{}").bearer(&gateway.admin);
            is_problem(&text.send().await, 415, "not_json");
            let long = gateway.ask(&route.method, &path).body(" ".repeat(16 * 1024 + 1)).bearer(&gateway.admin).send().await;
            is_problem(&long, 413, "too_large");
        }
    }
    gateway.finish().await;
}

/// Whoever holds a token of one user sees nothing of another's, by no route and with no id.
#[tokio::test(start_paused = true)]
async fn a_bound_token_reaches_its_own_only() {
    let gateway = with_two_owners(101).await;
    let (ada_car, grace_car) = (gateway.vehicles_of(ADA).remove(0), gateway.vehicles_of(GRACE).remove(0));
    let grace_connection = connection_of(&gateway, "grace").await;
    let grace_user = gateway.simulator.accounts().into_iter().find(|account| account.email == GRACE).unwrap().user_id;
    let routes = routes(&gateway).await;
    for bound in [json!({ "user": "ada" }), json!({ "vehicle": ada_car })] {
        for scope in ["read", "control"] {
            let mut request = bound.clone();
            request["name"] = json!("bound");
            request["scope"] = json!(scope);
            let token = gateway.create_token(&request).await;
            for route in routes.iter().filter(|route| route.scope != "connect") {
                let path = route.at("grace", &grace_connection, &grace_car, "3");
                let answer = route.ask(&gateway, &path).bearer(&token).send().await;
                // Metrics, status and set-up tell of everybody.
                let is_of_all = ["admin", "metrics"].contains(&route.scope.as_str())
                    || ["/api/v1/setup", "/api/v1/settings"].contains(&&*route.path);
                if is_of_all || (scope == "read" && route.scope == "control") {
                    is_problem(&answer, 403, "forbidden");
                } else if route.path.contains('{') {
                    is_problem(&answer, 404, "not_found");
                } else {
                    assert!([200, 201].contains(&answer.status), "{}: {}", route.name(), answer.text());
                    for foreign in ["grace", &grace_car, &grace_connection, &grace_user] {
                        assert!(!answer.text().contains(foreign), "{} tells {bound} of {foreign}", route.name());
                    }
                }
            }
            for filter in ["vehicles?user=grace".to_owned(), format!("webhooks?vehicle={grace_car}")] {
                is_problem(&gateway.get(&format!("/api/v1/{filter}")).bearer(&token).send().await, 404, "not_found");
            }
            let own =
                gateway.get(&format!("/api/v1/vehicles/{ada_car}/signals/odometer-traveleddistance")).bearer(&token).send().await;
            assert_eq!(own.json()["body"]["value"], 10);
            let seen = gateway.get("/api/v1/vehicles").bearer(&token).send().await.json()["items"].as_array().unwrap().len();
            assert_eq!(seen, if bound.get("user").is_some() { 2 } else { 1 });
        }
        // Nor by the dashboard's pages.
        let mut request = bound.clone();
        request["name"] = json!("bound");
        request["scope"] = json!("read");
        let token = gateway.create_token(&request).await;
        for path in ["/", "/webhooks", "/connections", "/setup"] {
            let page = gateway.get(path).bearer(&token).send().await;
            for foreign in [&grace_car, &grace_connection, &grace_user] {
                assert!(!page.text().contains(foreign), "{path} tells {bound} of {foreign}");
            }
        }
        for path in [format!("/vehicles/{grace_car}"), "/webhooks/3".to_owned()] {
            assert_eq!(gateway.get(&path).bearer(&token).send().await.status, 404, "{path}");
        }
    }
    for (user, status, code) in [("grace", 404, "unknown_user"), ("nobody", 404, "unknown_user")] {
        let token = gateway.create_token(&json!({ "name": "app", "scope": "connect", "user": "ada" })).await;
        is_problem(&gateway.post("/api/v1/connect", &json!({ "user": user })).bearer(&token).send().await, status, code);
    }
    gateway.finish().await;
}

/// A user is shown with cars and the invites that may still be used, to whom it concerns.
#[tokio::test(start_paused = true)]
async fn users_have_cars_and_invites() {
    let gateway = with_two_owners(26).await;
    let user = async |id: &str| gateway.told(&format!("/api/v1/users/{id}")).await;
    let ada = user("ada").await;
    let (mut cars, mut all) = (ada["vehicles"].as_array().unwrap().clone(), gateway.vehicles_of(ADA));
    cars.sort_by_key(Value::to_string);
    all.sort();
    assert_eq!(json!(cars), json!(all), "{ada}");
    assert_eq!(ada["invites"], json!([]), "spent");
    let car = gateway.vehicles_of(GRACE).remove(0);
    gateway.invite(&json!({ "user": "grace", "expires_in": 7200, "mode": "simulated" })).await;
    gateway.invite(&json!({ "user": "grace", "expires_in": 3600, "vehicle_id": car })).await;
    let ends = |after: u64| gateway.now().after(std::time::Duration::from_secs(after)).to_string();
    let invites = json!([
        { "expires_at": ends(3600), "vehicle": car, "mode": null, "scope": null },
        { "expires_at": ends(7200), "vehicle": null, "mode": "simulated", "scope": null },
    ]);
    assert_eq!(user("grace").await["invites"], invites);
    let token = gateway.create_token(&json!({ "name": "own", "scope": "read", "user": "grace" })).await;
    let own = gateway.get("/api/v1/users").bearer(&token).send().await.json();
    assert_eq!((own["items"].as_array().unwrap().len(), &own["items"][0]["invites"]), (1, &invites), "{own}");

    // They end by time, by use and with the user; the car stays its own when it is disconnected.
    pass(HOUR).await;
    assert_eq!(user("grace").await["invites"].as_array().unwrap().len(), 1);
    gateway.ask("DELETE", &format!("/api/v1/vehicles/{car}")).bearer(&gateway.admin).send().await;
    assert_eq!(user("grace").await["vehicles"], json!([car]));
    pass(HOUR).await;
    assert_eq!(user("grace").await["invites"], json!([]));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn tokens_end() {
    let gateway = TestGateway::new(102).await;
    for (request, sentence) in [
        (json!({ "name": "x", "scope": "connect" }), "must be bound"),
        (json!({ "name": "x", "scope": "admin", "user": "ada" }), "cannot be bound"),
        (json!({ "name": "x", "scope": "read", "user": "nobody" }), "no user"),
        (json!({ "name": "", "scope": "read" }), "name"),
        (json!({ "name": "x", "scope": "root" }), "scope"),
    ] {
        let answer = gateway.post("/api/v1/tokens", &request).bearer(&gateway.admin).send().await;
        is_problem(&answer, 400, "bad_request");
        assert!(answer.json()["detail"].as_str().unwrap().contains(sentence) || sentence == "scope", "{}", answer.text());
    }
    let short = gateway.create_token(&json!({ "name": "short", "scope": "read", "expires_in": "1h" })).await;
    let long = gateway.create_token(&json!({ "name": "long", "scope": "read" })).await;
    let status = async |token: &str| gateway.get("/api/v1/users").bearer(token).send().await.status;
    assert_eq!((status(&short).await, status(&long).await), (200, 200));
    pass(HOUR).await;
    assert_eq!((status(&short).await, status(&long).await), (401, 200));
    let detail = async |token: &str| gateway.get("/api/v1/users").bearer(token).send().await.text();
    assert!(detail(&short).await.contains("has expired or was revoked"));
    let gone = gateway.ask("DELETE", "/api/v1/tokens/long").bearer(&gateway.admin).send().await;
    is_problem(&gone, 404, "not_found");
    assert!(gone.text().contains("`carport token list` has the ids"), "{}", gone.text());
    let listed = gateway.told("/api/v1/tokens").await;
    let listed = listed["items"].as_array().unwrap();
    assert!(listed.iter().all(|token| token.get("token").is_none() && token.get("hash").is_none()), "{listed:?}");
    let id = listed.iter().find(|token| token["name"] == "long").unwrap()["id"].as_str().unwrap();
    let gone = gateway.ask("DELETE", &format!("/api/v1/tokens/{id}")).bearer(&gateway.admin).send().await;
    assert_eq!(gone.status, 204);
    assert_eq!(status(&long).await, 401);
    is_problem(&gateway.ask("DELETE", &format!("/api/v1/tokens/{id}")).bearer(&gateway.admin).send().await, 404, "not_found");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn lists_have_pages() {
    let gateway = with_two_owners(103).await;
    for (path, key, count) in [("users", "id", 2), ("connections", "id", 2), ("vehicles", "id", 3), ("webhooks", "seq", 3)] {
        let whole = gateway.told(&format!("/api/v1/{path}")).await["items"].as_array().unwrap().clone();
        assert_eq!(whole.len(), count, "{path}");
        for limit in 1..=count {
            let (mut items, mut next) = (Vec::new(), String::new());
            loop {
                let page = gateway.told(&format!("/api/v1/{path}?limit={limit}{next}")).await;
                let part = page["items"].as_array().unwrap();
                assert!(part.len() <= limit);
                items.extend(part.iter().map(|item| item[key].clone()));
                let Some(cursor) = page["next"].as_str() else { break };
                let name = if path == "webhooks" { "before" } else { "cursor" };
                next = format!("&{name}={cursor}");
            }
            let expected: Vec<Value> = whole.iter().map(|item| item[key].clone()).collect();
            assert_eq!(items, expected, "{path} by {limit}");
        }
        let cursor = if path == "webhooks" { "before=x" } else { "cursor=x" };
        for wrong in ["limit=0", "limit=501", "limit=x", "limit=1&limit=2", cursor] {
            let answer = gateway.get(&format!("/api/v1/{path}?{wrong}")).bearer(&gateway.admin).send().await;
            is_problem(&answer, 400, "bad_request");
        }
    }
    let filters = gateway.told("/api/v1/webhooks?type=VEHICLE_STATE&result=accepted").await;
    assert_eq!(filters["items"].as_array().unwrap().len(), 3);
    assert_eq!(gateway.told("/api/v1/webhooks?type=VEHICLE_ERROR").await["items"], json!([]));
    // By when they came in: from a time on, and before one.
    pass(HOUR).await;
    let late = gateway.deliver(&events::state("e-late", "v-1", &[])).await;
    let now = gateway.now();
    for (period, seqs) in [
        ("since=30m".to_owned(), vec![late]),
        ("until=30m".to_owned(), vec![3, 2, 1]),
        ("since=2h".to_owned(), vec![late, 3, 2, 1]),
        (format!("since={now}"), vec![late]),
        (format!("until={now}"), vec![3, 2, 1]),
        ("since=30m&type=VEHICLE_ERROR".to_owned(), vec![]),
    ] {
        let found = gateway.told(&format!("/api/v1/webhooks?{period}")).await["items"].clone();
        let found: Vec<u64> = found.as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()).collect();
        assert_eq!(found, seqs, "{period}");
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn methods_paths_and_hosts() {
    let gateway = TestGateway::new(104).await;
    for (method, path, allow) in [
        ("PUT", "/api/v1/users/ada", "GET, PATCH, DELETE, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("GET", "/api/v1/connect", "POST"),
        ("DELETE", "/metrics", "GET, HEAD"),
        ("GET", "/api/v1/tokens/x", "DELETE"),
    ] {
        let answer = gateway.ask(method, path).bearer(&gateway.admin).send().await;
        is_problem(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allow));
    }
    for path in ["/nowhere", "/api/v1", "/api/v1/users//", "/api/v2/users", "/.env", "/api/v1/users/%ff"] {
        is_problem(&gateway.get(path).bearer(&gateway.admin).send().await, 404, "not_found");
        let page = gateway.get(path).header("accept", "text/html").send().await;
        assert_eq!(page.status, 404);
        assert_eq!(page.text().contains("<html"), !path.starts_with("/api/"), "{path}");
    }
    for path in ["/healthz", "/api/webhooks/smartcar", "/login"] {
        is_problem(&gateway.get(path).without("host").send().await, 400, "wrong_host");
        is_problem(&gateway.get(path).header("host", "gateway.example").send().await, 400, "wrong_host");
        for (host, status) in [("evil.example", 421), ("gateway.example.evil.example", 421), ("gateway.example/", 400), ("", 400)]
        {
            is_problem(&gateway.get(path).without("host").header("host", host).send().await, status, "wrong_host");
        }
    }
    assert_eq!(gateway.get("/healthz").send().await.json(), json!({ "status": "ok" }));
    assert_eq!(gateway.get("/readyz").send().await.json(), json!({ "ready": true, "reasons": [] }));
    let head = gateway.ask("HEAD", "/healthz").send().await;
    assert!(head.status == 200 && head.body.is_empty() && head.header("content-length") == Some("15"));
    // What came with a request is shown as text.
    let page = gateway.get("/%3Cscript%3Ealert(1)%3C%2Fscript%3E").header("accept", "text/html").send().await;
    assert!(!page.text().contains("<script>alert"));
    gateway.finish().await;
}

/// A browser that signs in by a link, from its home network.
pub(crate) async fn sign_in(gateway: &TestGateway) -> String {
    let answer = gateway.post("/api/v1/login-links", &json!({})).bearer(&gateway.admin).send().await;
    let url = answer.json()["url"].as_str().unwrap().to_owned();
    let (page, link) = url.split_once("?t=").unwrap();
    assert_eq!(page, "https://gateway.example/login");
    gateway.keep_secret(link);
    for _ in 0..3 {
        let page = gateway.get(&format!("/login?t={link}")).send().await;
        assert!(page.status == 200 && page.text().contains("<form"), "looking spends nothing");
    }
    for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("x-nothing", "")] {
        is_problem(&gateway.ask("POST", "/login").form(&[("t", link)]).header(name, value).send().await, 403, "cross_site");
    }
    let press =
        async || gateway.ask("POST", "/login").form(&[("t", link)]).header("origin", "https://gateway.example").send().await;
    let answer = press().await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
    let line = answer.header("set-cookie").unwrap();
    for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
        assert!(line.contains(attribute), "{line}");
    }
    let cookie = line.split(';').next().unwrap().to_owned();
    gateway.keep_secret(cookie.strip_prefix("__Host-carport=").unwrap());
    let again = press().await;
    assert!(again.status == 403 && again.header("set-cookie").is_none(), "a link is spent once");
    cookie
}

fn form_token(page: &Answer) -> String {
    let text = page.text();
    let (_, rest) = text.split_once("name=\"csrf\" value=\"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_browser_signs_in_changes_things_and_signs_out() {
    let gateway = with_two_owners(105).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    let cookie = sign_in(&gateway).await;
    let page = gateway.get("/").header("cookie", &cookie).send().await;
    assert_eq!(page.status, 200);
    let csrf = form_token(&page);
    gateway.keep_secret(&csrf);
    let other = sign_in(&gateway).await;
    let foreign = form_token(&gateway.get("/").header("cookie", &other).send().await);

    let rename = |origin: &str, token: Option<&str>| {
        let mut fields = vec![("nickname", "Herbie")];
        fields.extend(token.map(|token| ("csrf", token)));
        gateway.ask("POST", &format!("/vehicles/{car}")).header("cookie", &cookie).header("origin", origin).form(&fields).send()
    };
    let own = "https://gateway.example";
    for (origin, token) in [
        ("https://evil.example", Some(csrf.as_str())),
        ("null", Some(&csrf)),
        (own, None),
        (own, Some("")),
        (own, Some("wrong")),
        (own, Some(&foreign)),
    ] {
        is_problem(&rename(origin, token).await, 403, "cross_site");
    }
    let path = format!("/api/v1/vehicles/{car}");
    assert_eq!(gateway.told(&path).await["nickname"], Value::Null);
    assert_eq!(rename(own, Some(&csrf)).await.status, 303);
    assert_eq!(gateway.told(&path).await["nickname"], "Herbie");

    // The API by cookie: the same protection, the token in a header.
    let change = || gateway.ask("PATCH", &path).json(&json!({ "nickname": "Dudu" })).header("cookie", &cookie);
    is_problem(&change().send().await, 403, "cross_site");
    is_problem(&change().header("origin", own).send().await, 403, "cross_site");
    is_problem(&change().header("x-csrf-token", &csrf).send().await, 403, "cross_site");
    is_problem(
        &change().header("sec-fetch-site", "same-site").header("origin", own).header("x-csrf-token", &csrf).send().await,
        403,
        "cross_site",
    );
    assert_eq!(change().header("origin", own).header("x-csrf-token", &csrf).send().await.status, 200);
    is_problem(&gateway.ask("DELETE", &path).header("cookie", &cookie).send().await, 403, "cross_site");
    // A bearer token needs neither, wherever it comes from.
    let bearer = gateway.ask("PATCH", &path).json(&json!({ "nickname": null })).bearer(&gateway.admin);
    assert_eq!(bearer.header("origin", "https://evil.example").send().await.status, 200);

    assert_eq!(gateway.told("/api/v1/sessions").await["items"].as_array().unwrap().len(), 2);
    let out =
        gateway.ask("POST", "/logout").header("cookie", &cookie).header("origin", own).form(&[("csrf", &csrf)]).send().await;
    assert_eq!((out.status, out.header("location")), (303, Some("/login")));
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    is_problem(&gateway.get(&path).header("cookie", &cookie).send().await, 401, "unauthorized");
    let away = gateway.get("/").header("cookie", &cookie).header("accept", "text/html").send().await;
    assert_eq!((away.status, away.header("location")), (303, Some("/login")));
    assert_eq!(gateway.get("/").header("cookie", &other).send().await.status, 200, "the other browser stays");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn sessions_end_by_themselves() {
    let mut gateway = TestGateway::new(106).await;
    let cookie = sign_in(&gateway).await;
    for _ in 0..8 {
        pass(29 * DAY / 2).await;
        gateway.reopen().await;
        assert_eq!(gateway.get("/").header("cookie", &cookie).send().await.status, 200, "in use");
    }
    pass(31 * DAY).await;
    is_problem(&gateway.get("/").header("cookie", &cookie).send().await, 401, "unauthorized");
    // A link that nobody used dies too; plain http from afar gets no cookie at all.
    let answer = gateway.post("/api/v1/login-links", &json!({})).bearer(&gateway.admin).send().await;
    let link = answer.json()["url"].as_str().unwrap().split_once("?t=").unwrap().1.to_owned();
    gateway.keep_secret(&link);
    let login = || gateway.ask("POST", "/login").form(&[("t", &link)]).header("sec-fetch-site", "same-origin");
    is_problem(&login().from("198.51.100.7", false).send().await, 403, "https_required");
    pass(HOUR / 4).await;
    assert_eq!(login().send().await.status, 403);
    gateway.finish().await;
}

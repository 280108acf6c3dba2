//! The audit log: what it holds of every change, what it never holds, and that nobody can wear it out.

use std::time::Duration;

use carport::simulator::Settings;
use serde_json::{Value, json};

use crate::api::sign_in;
use crate::gateway::{Ask, CALLBACK, Cut, Fault, TestGateway, WEBHOOK, is_long, is_problem, pass};
use crate::simulator::rig::ADA;

/// All entries, oldest first.
async fn entries(gateway: &TestGateway) -> Vec<Value> {
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let part = gateway.told(&format!("/api/v1/audit?limit=500{next}")).await;
        all.extend(part["items"].as_array().unwrap().clone());
        match part["next"].as_str() {
            Some(before) => next = format!("&before={before}"),
            None => break,
        }
    }
    assert!(all.is_sorted_by_key(|entry| std::cmp::Reverse(entry["number"].as_u64().unwrap())));
    all.reverse();
    all
}

/// What was added by a request.
async fn noted(gateway: &TestGateway, ask: Ask<'_>) -> (u16, Vec<Value>) {
    let before = entries(gateway).await;
    let status = ask.send().await.status;
    let after = entries(gateway).await;
    (status, after.into_iter().filter(|entry| !before.contains(entry)).collect())
}

#[tokio::test(start_paused = true)]
async fn every_change_says_who_from_where_what_and_what_came_of_it() {
    let gateway = TestGateway::with(110, &[], Settings { seed: 110, ..Settings::default() }).await;
    let connection = gateway.connect("ada", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    let cookie = sign_in(&gateway).await;
    let page = gateway.get("/").header("cookie", &cookie).send().await.text();
    let csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let session = gateway.told("/api/v1/sessions").await["items"][0]["id"].clone();
    let admin = gateway.told("/api/v1/tokens").await["items"][0]["id"].clone();
    let by_token = json!({ "kind": "token", "id": admin, "name": "stories" });
    let by_browser = json!({ "kind": "session", "id": session });
    let local = gateway.ask("PATCH", &format!("/api/v1/vehicles/{car}")).json(&json!({ "nickname": "Dudu" })).local();
    let local = noted(&gateway, local).await.1[0]["actor"].clone();
    let uid = rustix::process::geteuid().as_raw();
    let list = std::fs::read_to_string("/etc/passwd").unwrap();
    let own = list.lines().find(|line| line.split(':').nth(2) == Some(&uid.to_string()));
    let name = own.map(|line| line.split(':').next().unwrap());
    assert_eq!((&local["kind"], &local["uid"], local["user"].as_str()), (&json!("local"), &json!(uid), name));

    let entry = |noted: (u16, Vec<Value>), status: u16, actor: &Value, address: Option<&str>, action: &str| {
        let (answered, mut entries) = noted;
        assert_eq!((answered, entries.len()), (status, 1), "{action}: {entries:?}");
        let entry = entries.remove(0);
        assert_eq!((&entry["actor"], entry["address"].as_str(), entry["action"].as_str()), (actor, address, Some(action)));
        assert_eq!((entry["status"].as_u64(), entry["count"].as_u64()), (Some(status.into()), Some(1)));
        assert_eq!(entry["at"], gateway.now().to_string());
        entry["ids"].as_array().unwrap().clone()
    };
    let far = Some("198.51.100.7");
    let ask = gateway.post("/api/v1/users", &json!({ "id": "grace", "email": "grace@example.com" })).bearer(&gateway.admin);
    assert_eq!(entry(noted(&gateway, ask).await, 201, &by_token, far, "POST /api/v1/users"), ["grace"]);
    let ask = gateway.ask("PATCH", &format!("/api/v1/vehicles/{car}")).json(&json!({ "nickname": "Herbie" })).local();
    assert_eq!(entry(noted(&gateway, ask).await, 200, &local, None, "PATCH /api/v1/vehicles/{id}"), [car.as_str()]);
    let rename = gateway.ask("POST", &format!("/vehicles/{car}")).header("cookie", &cookie);
    let rename = rename.header("sec-fetch-site", "same-origin").form(&[("nickname", "Dudu"), ("csrf", &csrf)]);
    let ids = entry(
        noted(&gateway, rename.from("192.168.1.9", true)).await,
        303,
        &by_browser,
        Some("192.168.1.9"),
        "POST /vehicles/{id}",
    );
    assert_eq!(ids, [car.as_str()]);
    let ask = gateway.post("/api/v1/tokens", &json!({ "name": "n", "scope": "read" })).bearer(&gateway.admin);
    let made = entry(noted(&gateway, ask).await, 201, &by_token, far, "POST /api/v1/tokens");
    let path = format!("/api/v1/tokens/{}", made[0].as_str().unwrap());
    let ask = gateway.ask("DELETE", &path).bearer(&gateway.admin);
    assert_eq!(entry(noted(&gateway, ask).await, 204, &by_token, far, "DELETE /api/v1/tokens/{id}"), made);
    let ask = gateway.post(&format!("/api/v1/connections/{connection}/refresh"), &json!({})).bearer(&gateway.admin);
    let ids = entry(noted(&gateway, ask).await, 200, &by_token, far, "POST /api/v1/connections/{id}/refresh");
    assert_eq!(ids, [connection.as_str()]);
    let ask = gateway.ask("DELETE", "/api/v1/users/grace").bearer(&gateway.admin);
    assert_eq!(entry(noted(&gateway, ask).await, 204, &by_token, far, "DELETE /api/v1/users/{id}"), ["grace"]);
    let out = gateway.ask("POST", "/logout").header("cookie", &cookie).header("sec-fetch-site", "same-origin");
    let out = out.form(&[("csrf", &csrf)]);
    assert!(entry(noted(&gateway, out).await, 303, &by_browser, far, "POST /logout").is_empty());

    // What changes nothing is not in it: what was refused, what is only read, and what cars and Smartcar do.
    let event = json!({ "eventId": "e", "eventType": "VEHICLE_STATE", "data": {}, "meta": {} }).to_string();
    for (ask, status) in [
        (gateway.get("/api/v1/users").bearer(&gateway.admin), 200),
        (gateway.post("/api/v1/users", &json!({ "id": "ada" })).bearer(&gateway.admin), 409),
        (gateway.ask("DELETE", "/api/v1/users/nobody").bearer(&gateway.admin), 404),
        (gateway.post("/api/v1/users", &json!({})), 401),
        (gateway.post(&format!("/api/v1/vehicles/{car}/refresh"), &json!({})).bearer(&gateway.admin), 200),
        (gateway.delivery(event), 200),
        // A token has no session to end.
        (gateway.ask("POST", "/logout").form(&[]).bearer(&gateway.admin), 400),
    ] {
        let (answered, added) = noted(&gateway, ask).await;
        assert_eq!((answered, added), (status, Vec::new()));
    }

    // The way in, too: the invite and its end, the link and what it was spent for.
    let all = entries(&gateway).await;
    let actions: Vec<&str> = all.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    for action in ["POST /api/v1/connect", "GET /api/smartcar/callback", "POST /api/v1/login-links", "POST /login"] {
        assert!(actions.contains(&action), "{action}: {actions:?}");
    }
    let connected = all.iter().find(|entry| entry["action"] == "GET /api/smartcar/callback").unwrap();
    assert_eq!(connected["ids"], json!(["ada", connection]));
    let login = all.iter().find(|entry| entry["action"] == "POST /login").unwrap();
    assert_eq!((&login["actor"], &login["ids"]), (&json!({ "kind": "link" }), &json!([session])));
    // Never a secret, what a body held, or what identifies a car to others.
    let vin = gateway.told(&format!("/api/v1/vehicles/{car}")).await["vin"].as_str().unwrap().to_owned();
    let text = serde_json::to_string(&all).unwrap();
    let secret = cookie.split_once('=').unwrap().1;
    for never in [&*gateway.admin, secret, &csrf, &vin, "grace@example.com", "Herbie", "Dudu", "carport_"] {
        assert!(!text.contains(never), "{never}");
    }
    // A page shows the same to whoever is an administrator, and to nobody else.
    let page = gateway.get("/audit").bearer(&gateway.admin).header("accept", "text/html").send().await;
    assert!(page.status == 200 && page.text().contains("DELETE /api/v1/users/{id}"), "{}", page.text());
    let reader = gateway.create_token(&json!({ "name": "r", "scope": "read" })).await;
    for path in ["/audit", "/api/v1/audit"] {
        is_problem(&gateway.get(path).bearer(&reader).send().await, 403, "forbidden");
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn strangers_cannot_fill_the_log() {
    let mut gateway = TestGateway::new(111).await;
    gateway.start();
    pass(Duration::from_secs(1)).await;
    let before = entries(&gateway).await.len();
    let refused = async |gateway: &TestGateway| {
        let all = entries(gateway).await;
        let refused = all.into_iter().filter(|entry| entry["actor"]["kind"] == "stranger");
        refused.map(|entry| (entry["action"].as_str().unwrap().to_owned(), entry["count"].as_u64().unwrap())).collect::<Vec<_>>()
    };
    for minute in 0..180 {
        for _ in 0..3 {
            is_problem(&gateway.get("/api/v1/users").bearer("carport_guess").send().await, 401, "unauthorized");
        }
        let guess = gateway.ask("POST", "/login").form(&[("t", "guess")]).header("sec-fetch-site", "same-origin");
        assert_eq!(guess.from("203.0.113.5", true).send().await.status, 403);
        pass(Duration::from_secs(60)).await;
        if minute == 0 {
            assert_eq!(refused(&gateway).await.len(), 2, "the first is told at once");
        }
    }
    let counted = refused(&gateway).await;
    assert!(counted.len() <= 8, "{counted:?}");
    // At the end, what was not noted yet is.
    gateway.reopen().await;
    let counted = refused(&gateway).await;
    let sum = |what: &str| counted.iter().filter(|(action, _)| action == what).map(|(_, count)| count).sum::<u64>();
    assert_eq!((sum("refused: API token"), sum("refused: sign-in link")), (540, 180));
    assert_eq!(entries(&gateway).await.len(), before + counted.len());
    let last = gateway.told("/api/v1/audit").await["items"].as_array().unwrap().clone();
    assert!(last.iter().any(|entry| entry["address"] == "203.0.113.5"), "{last:?}");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_oldest_go_and_little_rights_push_out_little() {
    let mut gateway = TestGateway::new(112).await;
    gateway.create_token(&json!({ "name": "first", "scope": "read" })).await;
    gateway.post("/api/v1/users", &json!({ "id": "ada" })).local().send().await;
    let connect = gateway.create_token(&json!({ "name": "app", "scope": "connect", "user": "ada" })).await;
    let administration = entries(&gateway).await;
    for _ in 0..410 {
        let answer = gateway.post("/api/v1/connect", &json!({ "user": "ada" })).bearer(&connect).send().await;
        assert_eq!(answer.status, 201);
        gateway.keep_secret(answer.json()["url"].as_str().unwrap().rsplit('/').next().unwrap());
    }
    let all = entries(&gateway).await;
    assert_eq!(all.len(), administration.len() + 400);
    assert!(administration.iter().all(|entry| all.contains(entry)));
    assert_eq!(all[administration.len()]["number"], administration.len() + 11, "the oldest of its ring went");
    // It outlives restarts, with and without warning.
    gateway.reopen().await;
    assert_eq!(entries(&gateway).await, all);
    gateway.crash().await;
    assert_eq!(entries(&gateway).await, all);
    gateway.finish().await;
}

/// Wherever the power is cut: what has changed has its entry, with an end if it was answered.
#[tokio::test(start_paused = true)]
async fn no_power_cut_parts_a_change_from_its_entry() {
    let (mut changed, mut n) = (0, 1);
    loop {
        let mut gateway = TestGateway::new(1140 + n).await;
        let link = gateway.post("/api/v1/login-links", &json!({})).bearer(&gateway.admin).send().await.json()["url"].clone();
        let link = link.as_str().unwrap().split_once("?t=").unwrap().1.to_owned();
        gateway.keep_secret(&link);
        gateway.disk.break_at(Fault::WritesFrom(n));
        let user = json!({ "id": "grace" });
        let added = gateway.post("/api/v1/users", &user).bearer(&gateway.admin).send().await.status;
        let renamed = gateway.ask("PATCH", "/api/v1/users/grace").json(&json!({ "name": "Grace" })).bearer(&gateway.admin);
        let renamed = renamed.send().await.status;
        let login = gateway.ask("POST", "/login").header("sec-fetch-site", "same-origin").form(&[("t", &link)]);
        let login = login.send().await;
        if let Some(cookie) = login.header("set-cookie").and_then(|line| line.split(['=', ';']).nth(1)) {
            gateway.keep_secret(cookie);
        }
        let was_refused = gateway.disk.has_refused();
        gateway.lose_power(Duration::from_secs(1)).await;

        let entries = entries(&gateway).await;
        let noted = |action: &str| entries.iter().find(|entry| entry["action"] == action);
        let users = gateway.told("/api/v1/users").await["items"].as_array().unwrap().clone();
        let sessions = gateway.told("/api/v1/sessions").await["items"].as_array().unwrap().clone();
        for (action, has_changed, status) in [
            ("POST /api/v1/users", !users.is_empty(), added),
            ("PATCH /api/v1/users/{id}", users.iter().any(|user| user["name"] == "Grace"), renamed),
            ("POST /login", !sessions.is_empty(), login.status),
        ] {
            assert!(!has_changed || noted(action).is_some(), "write {n}: {action} has no entry: {entries:#?}");
            assert!(has_changed || status >= 400, "write {n}: {action} was answered {status} and is lost");
            changed += u32::from(has_changed);
        }
        gateway.finish().await;
        if !was_refused {
            break;
        }
        n += if is_long() { 1 } else { 1 + n / 8 };
    }
    assert!(n > 8 && changed > 5, "the disk was hardly used: {n}, {changed}");
}

/// How many changes were committed so far, by the gateway's own count.
async fn committed(gateway: &TestGateway) -> u64 {
    let metrics = gateway.get("/metrics").local().send().await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("carport_commit_batch_size_sum "));
    line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
}

/// Whatever strangers send: a card is not worn out by it. Only what was refused is noted, once an hour at most.
#[tokio::test(start_paused = true)]
async fn what_strangers_send_is_not_written() {
    let gateway = TestGateway::new(116).await;
    assert!(
        gateway.ask("PATCH", "/api/v1/password").json(&json!({ "password": "a long password" })).local().send().await.status
            == 204
    );
    let invite = gateway.invite(&json!({ "user": "ada", "create": true })).await;
    let trip = gateway.begin(&invite).await;
    let unknown = "a".repeat(52);
    let (mine, theirs) = (trip.cookie.clone(), format!("__Host-carport_attempt={unknown}"));
    let back = |query: String, cookie: &str| gateway.get(&format!("{CALLBACK}?{query}")).header("cookie", cookie);
    let login = |pairs: &[(&str, &str)]| gateway.ask("POST", "/login").form(pairs).header("sec-fetch-site", "same-origin");
    let exchange = json!({ "code": "c", "state": unknown });

    // When the address was last verified is noted once an hour at most.
    let verify = || gateway.post(WEBHOOK, &json!({ "eventType": "VERIFY", "data": { "challenge": "3fd8" } }));
    assert_eq!(verify().send().await.status, 200);
    let (before, bytes) = (committed(&gateway).await, gateway.disk.bytes());
    assert!(before > 0);
    for (ask, status) in [
        // States that are made up, or of another browser.
        (back(format!("code=c&state={unknown}"), &theirs), 400),
        (back(format!("code=c&state={unknown}"), &mine), 400),
        (back(format!("error=access_denied&state={unknown}"), &theirs), 400),
        (back(format!("code=c&state={}", trip.state), &theirs), 400),
        (gateway.get(&format!("{CALLBACK}?code=c&state={}", trip.state)), 400),
        (gateway.get(&format!("{CALLBACK}?code=c")), 400),
        (gateway.ask("HEAD", &format!("{CALLBACK}?code=c&state={}", trip.state)).header("cookie", &mine), 200),
        // Invites that are made up, and looks at one that is not.
        (gateway.get(&format!("/connect/{unknown}")), 404),
        (gateway.get(&format!("/connect/{unknown}/done")), 404),
        (gateway.get(&format!("{invite}/done")), 200),
        (gateway.ask("HEAD", &invite), 200),
        // The way in.
        (gateway.get(&format!("/login?t={unknown}")), 404),
        (login(&[("t", &unknown)]), 403),
        (login(&[("password", "guess")]), 403),
        (gateway.get("/").header("cookie", &format!("__Host-carport={unknown}")), 401),
        (gateway.get("/api/v1/users").bearer("carport_guess"), 401),
        (gateway.post("/api/v1/users", &json!({ "id": "mallory" })), 401),
        (gateway.post("/api/smartcar/exchange", &exchange), 401),
        (gateway.ask("POST", "/logout").form(&[]), 401),
        // Deliveries that nobody has signed, and where none belong.
        (gateway.delivery("{}").without("sc-signature"), 401),
        (gateway.delivery("{}").without("sc-signature").header("sc-signature", "00"), 401),
        (gateway.post("/nowhere", &json!({})).header("sc-signature", "00"), 404),
        (verify(), 200),
    ] {
        for _ in 0..3 {
            let answer = ask.again().send().await;
            assert_eq!(answer.status, status, "{}", answer.text());
            assert_eq!(committed(&gateway).await, before, "a stranger has had it committed: {}", answer.text());
        }
    }
    assert!(gateway.disk.bytes() == bytes, "the disk was written to");
    // Nor has any of it spoiled the owner's trip.
    let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
    assert_eq!(gateway.back(&trip, &location).await.status, 303);
    assert_eq!(gateway.told("/api/v1/connections").await["items"].as_array().unwrap().len(), 1);
    assert!(committed(&gateway).await > before);
    gateway.finish().await;
}

/// What is refused once it was begun is taken back.
#[tokio::test(start_paused = true)]
async fn what_changed_nothing_leaves_nothing() {
    let gateway = TestGateway::new(115).await;
    let before = entries(&gateway).await;
    for (method, path) in [("PATCH", "/api/v1/users/nobody"), ("DELETE", "/api/v1/tokens/none")] {
        let answer = gateway.ask(method, path).json(&json!({})).bearer(&gateway.admin).send().await;
        assert!((400..500).contains(&answer.status), "{}", answer.text());
    }
    assert_eq!(entries(&gateway).await, before);
    gateway.finish().await;
}

/// What only reads, or changes nothing that stays; what cars and Smartcar tell is in the webhook log.
const NOT_NOTED: &[&str] = &[
    "POST /api/webhooks/smartcar",
    "POST /api/v1/events/ticket",
    "POST /api/v1/vehicles/{id}/refresh",
    "POST /vehicles/{id}/refresh",
    "POST /units",
    "POST /setup/check",
    "POST /oauth/token",
    "POST /oauth2/token",
    "POST /v2.0/vehicles/{id}/batch",
];

/// Where strangers come, or somebody may not be sure yet, an entry is begun when it is known that something changes: the
/// stories of each show it.
const BEGUN_LATER: &[&str] = &["POST /login", "POST /vehicles/{id}/commands"];

/// The list is the gateway's own, so that a new route cannot be forgotten: whatever is asked, an entry is on disk before
/// its handler is, and is taken back if nothing came of it.
#[tokio::test(start_paused = true)]
async fn every_route_that_changes_something_is_noted() {
    let gateway = TestGateway::new(117).await;
    let mut noted = 0;
    for (method, pattern) in carport::web::routes().filter(|(method, _)| **method != "GET") {
        let route = format!("{method} {pattern}");
        if BEGUN_LATER.contains(&&*route) {
            continue;
        }
        let path = pattern.replace("{seq}", "4711").replace(['{', '}'], "");
        let is_page = !["/api/", "/v2.0/", "/v3/", "/oauth"].iter().any(|start| pattern.starts_with(start));
        let ask = gateway.ask(method.as_str(), &path).local();
        let before = committed(&gateway).await;
        let answer = if is_page { ask.form(&[]) } else { ask.json(&json!({})) }.send().await;
        let changes = committed(&gateway).await - before;
        let expected = !NOT_NOTED.contains(&&*route);
        assert_eq!(changes >= 2, expected, "{route}: {changes} changes, {} {}", answer.status, answer.text());
        noted += usize::from(expected);
    }
    assert!(noted > 40, "{noted}");
    gateway.finish().await;
}

/// Who hangs up in the middle does not go unseen.
#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_is_noted() {
    let mut gateway = TestGateway::with(113, &[], Settings { seed: 113, ..Settings::default() }).await;
    let connection = gateway.connect("ada", ADA).await;
    let path = format!("/api/v1/connections/{connection}/refresh");
    gateway.net.cut_at(Cut::Before(1));
    {
        let mut ask = std::pin::pin!(gateway.post(&path, &json!({})).bearer(&gateway.admin).send());
        let at_once = futures_util::poll!(&mut ask);
        assert!(at_once.is_pending(), "Smartcar is still to answer");
    }
    pass(Duration::from_secs(1)).await;
    let last = entries(&gateway).await.pop().unwrap();
    let noted = (&last["action"], &last["status"], &last["ids"]);
    assert_eq!(noted, (&json!("POST /api/v1/connections/{id}/refresh"), &Value::Null, &json!([connection])));
    gateway.crash().await;
    gateway.finish().await;
}

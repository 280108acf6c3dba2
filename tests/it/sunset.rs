//! The end of API v2.0, which Smartcar has announced: it is known for what it is, nobody hammers it, and the way out is told.

use std::time::Duration;

use carport::simulator::Settings;
use serde_json::{Value, json};

use crate::gateway::{DAY, HOUR, TestGateway, is_problem, pass};
use crate::simulator::rig::{ADA, Answer, GRACE};

const BERT: &str = "v2-bert@example.com";

async fn refresh(gateway: &TestGateway, car: &str) -> Answer {
    gateway.post(&format!("/api/v1/vehicles/{car}/refresh"), &json!({})).bearer(&gateway.admin).send().await
}

async fn lock(gateway: &TestGateway, car: &str) -> Answer {
    let path = format!("/api/v1/vehicles/{car}/commands/security/lock");
    gateway.post(&path, &json!({})).bearer(&gateway.admin).send().await
}

async fn authority(gateway: &TestGateway, car: &str) -> Value {
    gateway.told(&format!("/api/v1/vehicles/{car}")).await["lights"]["authority"].clone()
}

async fn migrate(gateway: &TestGateway, body: Value) -> Answer {
    gateway.post("/api/v1/connections/migrate", &body).bearer(&gateway.admin).send().await
}

async fn of(gateway: &TestGateway, car: &str) -> Value {
    let budget = gateway.told("/api/v1/budget").await;
    budget["items"].as_array().unwrap().iter().find(|item| item["vehicle"] == car).unwrap()["used"].clone()
}

async fn codes(gateway: &TestGateway, list: &str) -> Vec<Value> {
    let status = gateway.told("/api/v1/status").await;
    status[list].as_array().unwrap().iter().map(|item| item["code"].clone()).collect()
}

/// What set-up says of the end, and of the credentials that are good for nothing then.
async fn told_of_v2(gateway: &TestGateway, fresh: bool) -> [Vec<Value>; 2] {
    let setup = gateway.told(&format!("/api/v1/setup?fresh={fresh}")).await;
    let items = setup["items"].as_array().unwrap().clone();
    let of = |check: &str| items.iter().filter(|item| item["check"] == check).cloned().collect();
    assert!(items.iter().all(|item| item["check"] != "v2 API"), "one name for one thing");
    [of("API v2.0"), of("v2 credentials")]
}

/// How often API v2.0 was asked for anything.
fn asked(gateway: &TestGateway) -> usize {
    ["GET", "POST", "DELETE"].into_iter().map(|method| gateway.net.count(&format!("{method} /v2.0/"))).sum()
}

/// The command that finds it out has Smartcar's word for it, in the audit log too.
#[tokio::test(start_paused = true)]
async fn a_command_that_finds_the_end_says_so() {
    let keys = [("smartcar.scope", "read_vehicle_info,control_security")];
    let gateway = TestGateway::with(1030, &keys, Settings { seed: 1030, ..Settings::default() }).await;
    gateway.connect("ada", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    gateway.simulator.turn("v2=ended").unwrap();
    let told = lock(&gateway, &car).await.json();
    let word = "RESOURCE_NOT_FOUND:VERSION";
    assert_eq!((&told["status"], &told["error"]["code"]), (&json!("failed"), &json!(word)), "{told}");
    let noted = gateway.told("/api/v1/audit?limit=1").await["items"][0]["ids"].clone();
    assert!(noted.as_array().unwrap().contains(&json!(word)), "{noted}");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_v2_is_told_once_and_leads_to_v3() {
    for (seed, knob) in [(1001, "v2=ended"), (1002, "v2=gone")] {
        let keys = [("smartcar.scope", "read_vehicle_info,read_odometer,read_battery,control_security")];
        let mut gateway = TestGateway::with(seed, &keys, Settings { seed, ..Settings::default() }).await;
        gateway.start();
        gateway.connect("ada", ADA).await;
        let car = gateway.vehicles_of(ADA).remove(0);
        pass(Duration::from_secs(600)).await;
        assert_eq!(refresh(&gateway, &car).await.status, 200);
        assert_eq!(authority(&gateway, &car).await["color"], "green");

        gateway.simulator.turn(knob).unwrap();
        let refused = refresh(&gateway, &car).await;
        is_problem(&refused, 503, "not_configured");
        assert!(
            refused.text().contains("ended its API v2.0") && refused.text().contains("carport migrate"),
            "{}",
            refused.text()
        );
        let light = authority(&gateway, &car).await;
        assert!(light["color"] == "red" && light["text"].as_str().unwrap().contains("carport migrate"), "{light}");

        // Nobody asks again, and nothing is spent; a command says why it is not even tried.
        let (before, spent) = (asked(&gateway), of(&gateway, &car).await);
        is_problem(&refresh(&gateway, &car).await, 503, "not_configured");
        let told = lock(&gateway, &car).await;
        is_problem(&told, 503, "not_configured");
        assert!(told.text().contains("carport migrate"), "{}", told.text());
        assert_eq!((asked(&gateway), of(&gateway, &car).await), (before, spent.clone()));

        pass(Duration::from_secs(60)).await;
        assert_eq!(codes(&gateway, "notices").await, ["v2_ended"]);
        assert!(codes(&gateway, "missing").await.contains(&json!("v2_ended")));
        pass(DAY).await;
        let hourly = asked(&gateway) - before;
        assert!((12..=30).contains(&hourly) && of(&gateway, &car).await == spent, "{hourly} times");
        assert_eq!(gateway.logged().matches("cars that are connected by it cannot be read").count(), 1);

        // What was known is known after a restart, before anything is spent.
        gateway.reopen().await;
        gateway.start();
        pass(Duration::from_secs(60)).await;
        assert_eq!((authority(&gateway, &car).await["color"].clone(), of(&gateway, &car).await), (json!("red"), spent.clone()));
        assert_eq!(codes(&gateway, "notices").await, ["v2_ended"]);

        // It was a mistake: that mends itself.
        gateway.simulator.turn("v2=on").unwrap();
        pass(2 * HOUR).await;
        assert_eq!(
            (authority(&gateway, &car).await["color"].clone(), codes(&gateway, "notices").await.len()),
            (json!("green"), 0)
        );
        assert_eq!(refresh(&gateway, &car).await.status, 200);

        // It was none: the way out.
        gateway.simulator.turn(knob).unwrap();
        is_problem(&refresh(&gateway, &car).await, 503, "not_configured");
        assert_eq!(migrate(&gateway, json!({})).await.status, 200);
        pass(Duration::from_secs(600)).await;
        assert_eq!(
            (authority(&gateway, &car).await["color"].clone(), codes(&gateway, "notices").await.len()),
            (json!("green"), 0)
        );
        assert_eq!(refresh(&gateway, &car).await.status, 200);
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_goes_back_to_what_has_ended_by_mistake() {
    let gateway = TestGateway::new(1003).await;
    let connection = gateway.connect("ada", ADA).await;
    assert_eq!(migrate(&gateway, json!({})).await.json()["can_return"], 1);
    let generation = async || gateway.told(&format!("/api/v1/connections/{connection}")).await["generation"].clone();
    let entries = async || gateway.told("/api/v1/audit").await["items"].as_array().unwrap().len();

    // What would go back is said, and nothing is done: neither here nor in the audit log.
    let before = entries().await;
    let would = migrate(&gateway, json!({ "undo": true, "dry_run": true })).await.json();
    assert_eq!((&would["items"][0]["result"], &would["dry_run"]), (&json!("would_return"), &json!(true)), "{would}");
    assert_eq!(would["items"][0]["vehicles"].as_array().unwrap().len(), 2);
    let would = migrate(&gateway, json!({ "dry_run": true })).await.json();
    assert_eq!((&would["items"], generation().await, entries().await), (&json!([]), json!("v3"), before));

    gateway.simulator.turn("v2=ended").unwrap();
    for body in [json!({ "undo": true, "dry_run": true }), json!({ "undo": true })] {
        let refused = migrate(&gateway, body).await;
        is_problem(&refused, 409, "refused");
        assert!(refused.text().contains("stay with v3"), "{}", refused.text());
    }
    assert_eq!(generation().await, "v3");
    is_problem(&migrate(&gateway, json!({ "force": true })).await, 400, "bad_request");
    let back = migrate(&gateway, json!({ "undo": true, "force": true })).await.json();
    assert_eq!((&back["items"][0]["result"], generation().await), (&json!("returned"), json!("v2")));
    let moved = migrate(&gateway, json!({})).await.json();
    assert_eq!((&moved["items"][0]["result"], &moved["can_return"]), (&json!("moved"), &json!(0)), "{moved}");

    // Whoever was told of the end by mistake goes back when it answers.
    gateway.simulator.turn("v2=on").unwrap();
    assert_eq!(migrate(&gateway, json!({ "undo": true })).await.json()["items"][0]["result"], "returned");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn who_asks_v3_does_not_keep_a_mistake_from_mending() {
    // Nobody but the notices asks v2.0 by itself.
    let mut gateway = TestGateway::with(1004, &[("webhooks.subscribe", "off")], Settings::default()).await;
    gateway.start();
    gateway.connect("ada", ADA).await;
    gateway.connect("bert", BERT).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    pass(Duration::from_secs(630)).await;
    gateway.simulator.turn("v2=gone").unwrap();
    is_problem(&refresh(&gateway, &car).await, 503, "not_configured");
    pass(Duration::from_secs(60)).await;
    assert_eq!(codes(&gateway, "notices").await, ["v2_ended"]);

    // Bert's tokens are dead: that is news, after which the notices look at another time than on the hour.
    gateway.simulator.revoke(BERT);
    pass(110 * Duration::from_secs(60)).await;
    assert!(codes(&gateway, "notices").await.contains(&json!("needs_reconnect")));

    gateway.simulator.turn("v2=on").unwrap();
    let before = gateway.net.count("GET /v3/connections");
    for _ in 0..120 {
        assert_eq!(migrate(&gateway, json!({ "dry_run": true })).await.status, 200);
        pass(Duration::from_secs(60)).await;
    }
    assert!(gateway.net.count("GET /v3/connections") >= before + 120);
    assert_eq!(codes(&gateway, "notices").await, ["needs_reconnect"]);
    assert_eq!(authority(&gateway, &car).await["color"], "green");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_renews_v3_asks_nothing_of_v2() {
    let mut gateway = TestGateway::new(1005).await;
    gateway.start();
    let old = gateway.connect("ada", ADA).await;
    let new = gateway.connect("grace", GRACE).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    gateway.simulator.turn("v2=gone").unwrap();
    is_problem(&refresh(&gateway, &car).await, 503, "not_configured");
    pass(Duration::from_secs(60)).await;

    let renew = async |connection: &str| {
        let before = asked(&gateway);
        let path = format!("/api/v1/connections/{connection}/refresh");
        let answer = gateway.ask("POST", &path).bearer(&gateway.admin).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        pass(Duration::from_secs(60)).await;
        asked(&gateway) - before
    };
    assert_eq!(renew(&new).await, 0);
    assert_eq!(renew(&old).await, 1);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn one_who_has_no_token_leaves_the_asking_to_the_next() {
    for (seed, blocked) in [(1006, ADA), (1007, BERT)] {
        let mut gateway = TestGateway::with(seed, &[("webhooks.subscribe", "off")], Settings::default()).await;
        gateway.start();
        let other = if blocked == ADA { BERT } else { ADA };
        gateway.connect("blocked", blocked).await;
        let tokens = gateway.net.tokens();
        pass(Duration::from_secs(60)).await;
        gateway.connect("other", other).await;
        let car = gateway.vehicles_of(other).remove(0);
        pass(Duration::from_secs(600)).await;
        gateway.net.change(move |request, _| {
            let body = String::from_utf8_lossy(request.body()).into_owned();
            let is_blocked = request.uri().path() == "/oauth/token" && tokens.iter().any(|token| body.contains(token));
            is_blocked.then(|| Ok(http::Response::builder().status(503).body("".into()).unwrap()))
        });
        gateway.simulator.turn("v2=gone").unwrap();
        is_problem(&refresh(&gateway, &car).await, 503, "not_configured");
        pass(5 * HOUR).await;
        assert!(codes(&gateway, "notices").await.contains(&json!("v2_ended")));

        gateway.simulator.turn("v2=on").unwrap();
        pass(2 * HOUR).await;
        assert!(!codes(&gateway, "notices").await.contains(&json!("v2_ended")), "{blocked}");
        assert_eq!(refresh(&gateway, &car).await.status, 200);
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_cannot_ask_does_not_send_anybody_back_to_what_has_ended() {
    for (seed, dead) in [(1008, ADA), (1010, BERT)] {
        let gateway = TestGateway::new(seed).await;
        let undo = async |dry_run: bool| migrate(&gateway, json!({ "undo": true, "dry_run": dry_run })).await;
        gateway.connect("ada", ADA).await;
        gateway.connect("bert", BERT).await;
        assert_eq!(migrate(&gateway, json!({})).await.json()["items"].as_array().unwrap().len(), 2);

        // The tokens of one are dead: the other one asks.
        gateway.simulator.revoke(dead);
        gateway.simulator.turn("v2=ended").unwrap();
        pass(3 * HOUR).await;
        is_problem(&undo(false).await, 409, "refused");

        // Nobody has an access token any more, nor gets one: what is known counts.
        pass(3 * HOUR).await;
        gateway.net.change(|request, _| {
            let down = || Ok(http::Response::builder().status(503).body("".into()).unwrap());
            (request.uri().path() == "/oauth/token").then(down)
        });
        is_problem(&undo(true).await, 409, "refused");
        is_problem(&undo(false).await, 409, "refused");
        gateway.finish().await;
    }
}

/// Once everything has moved, nothing here keeps it in mind that v2.0 has ended. Who cannot ask does not go back.
#[tokio::test(start_paused = true)]
async fn nobody_goes_back_to_where_nobody_answers() {
    let mut gateway = TestGateway::new(1015).await;
    let undo = async |gateway: &TestGateway, force: bool| migrate(gateway, json!({ "undo": true, "force": force })).await;
    gateway.connect("ada", ADA).await;
    gateway.simulator.turn("v2=ended").unwrap();
    assert_eq!(migrate(&gateway, json!({})).await.json()["items"][0]["result"], "moved");
    pass(3 * HOUR).await;
    gateway.reopen().await;
    gateway.net.change(|request, _| {
        let down = || Ok(http::Response::builder().status(503).body("".into()).unwrap());
        let path = request.uri().path();
        (path == "/oauth/token" || path.starts_with("/v2.0/")).then(down)
    });
    let refused = undo(&gateway, false).await;
    is_problem(&refused, 409, "refused");
    assert!(refused.text().contains("try again later"), "{}", refused.text());
    assert_eq!(undo(&gateway, true).await.json()["items"][0]["result"], "returned");
    gateway.finish().await;
}

/// A token that an ended API has made is not spent here.
#[tokio::test(start_paused = true)]
async fn nothing_is_imported_to_what_has_ended() {
    let mut gateway = TestGateway::new(1016).await;
    gateway.start();
    let token = crate::moving::foreign_token(&gateway).await;
    // Nobody has told of it before.
    gateway.simulator.turn("v2=ended").unwrap();
    let import = async || {
        let body = json!({ "user": "ada", "refresh_token": token });
        gateway.post("/api/v1/connections/import", &body).bearer(&gateway.admin).send().await
    };
    let refused = import().await;
    is_problem(&refused, 503, "not_configured");
    assert!(refused.text().contains("carport connections adopt"), "{}", refused.text());
    assert_eq!(gateway.told("/api/v1/connections").await["items"], json!([]));
    // It is good still when v2.0 is back, at once.
    gateway.simulator.turn("v2=on").unwrap();
    let taken = import().await;
    assert_eq!(taken.status, 201, "{}", taken.text());
    assert_eq!(taken.json()["vehicles"].as_array().unwrap().len(), 2);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn only_who_can_go_back_is_said_to() {
    let mut gateway = TestGateway::new(1009).await;
    gateway.connect("ada", ADA).await;
    assert_eq!(migrate(&gateway, json!({})).await.json()["items"][0]["result"], "moved");
    // Nobody renews what was kept, until it is too old.
    pass(70 * DAY).await;
    gateway.reopen().await;
    for dry_run in [true, false] {
        let would = migrate(&gateway, json!({ "undo": true, "dry_run": dry_run })).await.json();
        assert_eq!((&would["items"][0]["result"], &would["on_v2"]), (&json!("failed"), &json!(0)), "{would}");
        assert!(would["items"][0]["error"].as_str().unwrap().contains("stays with v3"), "{would}");
    }
    // It is our clock that says so: it may be wrong, and the operator knows.
    let back = migrate(&gateway, json!({ "undo": true, "force": true })).await.json();
    assert_eq!((&back["items"][0]["result"], &back["on_v2"]), (&json!("returned"), &json!(1)), "{back}");
    gateway.finish().await;
}

/// Scripts that speak Smartcar's API are told what is, and one strange answer is not the end.
#[tokio::test(start_paused = true)]
async fn scripts_are_told_of_the_end_and_of_nothing_else() {
    let gateway = TestGateway::with(1011, &[("webhooks.subscribe", "off")], Settings::default()).await;
    gateway.connect("ada", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    let ask = async |method: &str, path: &str| gateway.ask(method, path).bearer(&gateway.admin).send().await;
    let webhook = format!("/v2.0/vehicles/{car}/webhooks/some-webhook");
    let compatible = |number: u8| format!("/v2.0/compatibility?vin=0SC0000000000000{number}&scope=read_vin&country=DE");
    gateway.net.change(|request, _| {
        let is_one = request.method() == "DELETE" || request.uri().path() == "/v2.0/compatibility";
        is_one.then(|| Ok(http::Response::builder().status(410).body("".into()).unwrap()))
    });
    for (method, path) in [("DELETE", webhook.as_str()), ("GET", &compatible(1))] {
        let told = ask(method, path).await;
        assert!(told.status >= 400 && !told.text().contains("carport migrate"), "{method} {path}: {}", told.text());
    }
    assert_eq!(refresh(&gateway, &car).await.status, 200);
    gateway.net.leave_alone();
    // What was a mistake is not kept.
    assert_eq!(ask("GET", &compatible(1)).await.status, 200);

    gateway.simulator.turn("v2=gone").unwrap();
    let told = ask("DELETE", &webhook).await;
    assert!(told.text().contains("carport migrate"), "{}", told.text());
    let before = asked(&gateway);
    let application = format!("/v2.0/vehicles/{car}/application");
    for (method, path) in [("DELETE", application.as_str()), ("DELETE", &webhook), ("GET", &compatible(2))] {
        let told = ask(method, path).await;
        assert_eq!(told.json()["code"], "KNOWN_ISSUE", "{method} {path}: {}", told.text());
        assert!(told.text().contains("carport migrate"), "{method} {path}: {}", told.text());
    }
    let path = format!("/api/v1/vehicles/{car}");
    is_problem(&ask("DELETE", &path).await, 503, "not_configured");
    assert_eq!(asked(&gateway), before);
    gateway.finish().await;
}

/// Whoever connects by an API that has ended is told that nothing was changed, and nothing was.
#[tokio::test(start_paused = true)]
async fn connecting_by_what_has_ended_leaves_nothing_behind() {
    let mut gateway = TestGateway::new(1004).await;
    gateway.start();
    gateway.simulator.turn("v2=ended").unwrap();
    for _ in 0..2 {
        let invite = gateway.invite(&json!({ "user": "ada", "create": true })).await;
        let trip = gateway.begin(&invite).await;
        let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
        gateway.back(&trip, &location).await;
        pass(HOUR).await;
        assert_eq!(gateway.told("/api/v1/connections").await["items"], json!([]));
    }
    // An account without cars has nothing that could be moved; one with a car has.
    gateway.simulator.turn("v2=on").unwrap();
    pass(2 * HOUR).await;
    gateway.connect("ada", ADA).await;
    for car in gateway.vehicles_of(ADA) {
        gateway.simulator.turn("v2=ended").unwrap();
        is_problem(&refresh(&gateway, &car).await, 503, "not_configured");
        pass(Duration::from_secs(600)).await;
        assert_eq!(codes(&gateway, "notices").await, ["v2_ended"]);
        assert!(codes(&gateway, "missing").await.contains(&json!("v2_ended")));
        gateway.simulator.turn("v2=on").unwrap();
        pass(2 * HOUR).await;
        let path = format!("/api/v1/vehicles/{car}?force=true");
        assert_eq!(gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await.status, 204);
    }
    gateway.finish().await;
}

/// Whoever comes by an API that has ended while nobody is connected by it: the operator is told the way out, and nobody is
/// turned away any longer than it lasts.
#[tokio::test(start_paused = true)]
async fn where_nothing_is_connected_the_end_is_told_and_looked_at_again() {
    for (seed, knob) in [(1012, "v2=ended"), (1013, "v2=gone")] {
        let mut gateway = TestGateway::new(seed).await;
        gateway.start();
        let trip = async || {
            let invite = gateway.invite(&json!({ "user": "ada", "create": true })).await;
            let trip = gateway.begin(&invite).await;
            let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
            gateway.back(&trip, &location).await;
            gateway.told("/api/v1/connections").await["items"].as_array().unwrap().len()
        };
        let told = async |fresh: bool| told_of_v2(&gateway, fresh).await[0].clone();
        assert_eq!(told(true).await, Vec::<Value>::new());
        // Whoever checks meets it, also if nobody else has.
        gateway.simulator.turn(knob).unwrap();
        let found = told(true).await;
        assert!(found.len() == 1 && found[0]["text"].as_str().unwrap().contains("has ended its API v2.0"), "{found:?}");

        assert_eq!(trip().await, 0);
        assert!(codes(&gateway, "missing").await.contains(&json!("v2_unused")));
        let found = told(false).await;
        assert!(found.len() == 1 && found[0]["remedy"].as_str().unwrap().contains("carport connections adopt"), "{found:?}");
        assert!(gateway.logged().contains("`carport connections adopt` takes over"));
        // However often one looks, it is asked about once a minute at most; by itself once an hour.
        let before = asked(&gateway);
        for _ in 0..20 {
            told(false).await;
        }
        assert!(asked(&gateway) - before <= 1, "{} times", asked(&gateway) - before);
        let before = asked(&gateway);
        pass(5 * HOUR).await;
        let times = asked(&gateway) - before;
        assert!((4..=6).contains(&times), "{times} times");

        // It is back: the next owner gets in, and who checks is told so.
        assert_eq!(trip().await, 0);
        gateway.simulator.turn("v2=on").unwrap();
        assert_eq!(told(true).await, Vec::<Value>::new());
        gateway.simulator.turn(knob).unwrap();
        assert_eq!(trip().await, 0);
        gateway.simulator.turn("v2=on").unwrap();
        assert_eq!(trip().await, 1);
        assert!(!codes(&gateway, "missing").await.contains(&json!("v2_unused")));
        gateway.finish().await;
    }
}

/// Whoever checks meets the end by what is connected, before anything else has asked, and that it is over.
#[tokio::test(start_paused = true)]
async fn a_check_knows_what_there_is_to_migrate() {
    let mut gateway = TestGateway::new(1017).await;
    gateway.start();
    gateway.connect("ada", ADA).await;
    let found = async || told_of_v2(&gateway, true).await[0].clone();
    assert_eq!(found().await, Vec::<Value>::new());
    gateway.simulator.turn("v2=ended").unwrap();
    let [items, credentials] = told_of_v2(&gateway, true).await;
    assert_eq!((items.len(), &items[0]["result"]), (1, &json!("fail")), "{items:?}");
    let remedy = items[0]["remedy"].as_str().unwrap();
    assert!(remedy.contains("`carport migrate` moves") && remedy.contains("`carport connections adopt`"), "{items:?}");
    // The credentials are good, and good for nothing.
    assert_eq!(credentials[0]["result"], "ok");
    assert!(credentials[0]["text"].as_str().unwrap().contains("has ended its API v2.0"), "{credentials:?}");
    assert_eq!(authority(&gateway, &gateway.vehicles_of(ADA).remove(0)).await["color"], "red");
    gateway.simulator.turn("v2=on").unwrap();
    assert_eq!(found().await, Vec::<Value>::new());
    assert!(!told_of_v2(&gateway, true).await[1][0]["text"].as_str().unwrap().contains("ended"));
    gateway.finish().await;
}

/// Whoever has moved is told what is left to do, and nothing that is done or not so any more.
#[tokio::test(start_paused = true)]
async fn once_everything_has_moved_v2_can_go() {
    let mut gateway = TestGateway::new(1018).await;
    gateway.start();
    gateway.connect("ada", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    gateway.simulator.turn("v2=ended").unwrap();
    is_problem(&refresh(&gateway, &car).await, 503, "not_configured");
    // The tokens of v2.0 are dead as well: there is something to migrate all the same, and it is migrated.
    gateway.simulator.revoke(ADA);
    pass(3 * HOUR).await;
    assert!(codes(&gateway, "notices").await.contains(&json!("needs_reconnect")));
    assert!(codes(&gateway, "missing").await.contains(&json!("v2_ended")));
    let [end, _] = told_of_v2(&gateway, false).await;
    assert!(end[0]["remedy"].as_str().unwrap().contains("`carport migrate` moves"), "{end:?}");
    assert_eq!(codes(&gateway, "notices").await.len(), 2);
    assert_eq!(migrate(&gateway, json!({})).await.json()["items"][0]["result"], "moved");

    // At once, though nobody has looked at the notices since.
    assert!(!codes(&gateway, "notices").await.contains(&json!("v2_ended")));
    let [end, _] = told_of_v2(&gateway, false).await;
    let remedy = end[0]["remedy"].as_str().unwrap();
    assert!(remedy.contains("take smartcar.v2 out") && !remedy.contains("adopt"), "{end:?}");
    assert!(remedy.contains("`carport migrate --undo` cannot go back any more"), "{end:?}");
    gateway.finish().await;
}

/// Whoever brings many tokens asks once whether they are worth anything, and again when that may have changed.
#[tokio::test(start_paused = true)]
async fn a_file_of_tokens_asks_once() {
    let gateway = TestGateway::with(1019, &[("webhooks.subscribe", "off")], Settings::default()).await;
    let import = async |user: &str| {
        let body = json!({ "user": user, "refresh_token": crate::moving::foreign_token(&gateway).await });
        gateway.post("/api/v1/connections/import", &body).bearer(&gateway.admin).send().await.status
    };
    let users = || gateway.net.count("GET /v2.0/user");
    assert_eq!((import("ada").await, users()), (201, 2), "as nobody, and by the token");
    for number in 1..4 {
        assert_eq!((import(&format!("ada-{number}")).await, users()), (201, 2 + number));
    }
    gateway.simulator.turn("v2=ended").unwrap();
    pass(Duration::from_secs(60)).await;
    assert_eq!((import("late").await, users()), (503, 6));
    gateway.finish().await;
}

/// An owner who comes back by v2.0 takes the cars of the account with them: that is said.
#[tokio::test(start_paused = true)]
async fn who_comes_back_by_v2_is_told_of() {
    const LEFT: &str = "are connected by v2.0 now: `carport migrate` moves them back";
    let gateway = TestGateway::new(1020).await;
    let before = gateway.connect("ada", ADA).await;
    assert_eq!(migrate(&gateway, json!({})).await.json()["items"][0]["result"], "moved");
    let noted = async || {
        let audit = gateway.told("/api/v1/audit").await;
        audit["items"].as_array().unwrap().iter().any(|entry| entry["ids"].to_string().contains("left_v3"))
    };
    assert!(!noted().await && !gateway.logged().contains(LEFT));
    let car = gateway.vehicles_of(ADA).remove(0);
    let link = gateway.invite(&json!({ "user": "ada", "vehicle_id": car, "force": true })).await;
    let trip = gateway.begin(&link).await;
    let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
    gateway.back(&trip, &location).await;
    let now = gateway.told(&format!("/api/v1/vehicles/{car}")).await["connection"].clone();
    assert_ne!(now, before.as_str());
    assert_eq!(gateway.told(&format!("/api/v1/connections/{}", now.as_str().unwrap())).await["generation"], "v2");
    assert!(noted().await && gateway.logged().contains(LEFT));
    // The way back is as it is said, and whoever has connected by v2.0 before leaves nothing.
    assert_eq!(migrate(&gateway, json!({ "dry_run": true })).await.json()["items"][0]["result"], "would_move");
    let told = gateway.logged().matches(LEFT).count();
    gateway.connect("ada", ADA).await;
    assert_eq!(gateway.logged().matches(LEFT).count(), told);
    gateway.finish().await;
}

/// What an owner agreed to in vain is there for v3.
#[tokio::test(start_paused = true)]
async fn who_came_by_what_has_ended_is_taken_over() {
    let mut gateway = TestGateway::new(1014).await;
    gateway.start();
    gateway.simulator.turn("v2=ended").unwrap();
    let invite = gateway.invite(&json!({ "user": "ada", "create": true })).await;
    let trip = gateway.begin(&invite).await;
    let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
    let done = gateway.back(&trip, &location).await;
    let page = gateway.get(done.header("location").unwrap()).send().await.text();
    assert!(page.contains("you need not try again") && !page.contains("Try again"), "{page}");
    let remedy = async || told_of_v2(&gateway, false).await[0][0]["remedy"].as_str().unwrap().to_owned();
    assert!(remedy().await.contains("`carport connections adopt` takes over"));
    let adopted = gateway.post("/api/v1/connections/adopt", &json!({})).bearer(&gateway.admin).send().await;
    assert_eq!(adopted.status, 200, "{}", adopted.text());
    assert!(!remedy().await.contains("adopt"));
    let connections = gateway.told("/api/v1/connections").await;
    assert_eq!((&connections["items"][0]["user"], &connections["items"][0]["generation"]), (&json!("ada"), &json!("v3")));
    gateway.finish().await;
}

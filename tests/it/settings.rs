//! Settings made on the set-up page: tried before they are kept, in force at once, and still there after a crash.

use carport::simulator::Settings;
use carport::world::TransportError;
use serde_json::{Value, json};

use crate::gateway::{TestGateway, events, is_problem};
use crate::pages::Person;
use crate::simulator::rig::{ADA, Answer};

const APPLICATION: &str = "51a0ca12-0000-4000-8000-000000000001";
const V2_SECRET: &str = "51a0ca12-0000-4000-8000-000000000002";
const V3: &str = "client_simulated0000000000000003";
const V3_SECRET: &str = "51a0ca12-0000-4000-8000-000000000004";
const MANAGEMENT: &str = "51a0ca12-0000-4000-8000-000000000005";
const OTHER: &str = "51a0ca12-0000-4000-8000-00000000000f";

/// A gateway that knows nothing of an application yet.
async fn bare(seed: u64, keys: &[(&str, &str)]) -> TestGateway {
    const NONE: [(&str, &str); 6] = [
        ("smartcar.application_id", ""),
        ("smartcar.v2.client_id", ""),
        ("smartcar.v2.client_secret", ""),
        ("smartcar.v3.client_id", ""),
        ("smartcar.v3.client_secret", ""),
        ("smartcar.application_management_token", ""),
    ];
    let mut settings = Settings { seed, ..Settings::default() };
    settings.application.redirect_uris = vec!["https://gateway.example/api/smartcar/callback".to_owned()];
    let gateway = TestGateway::with(seed, &[&NONE, keys].concat(), settings).await;
    gateway.keep_secret(OTHER);
    gateway
}

async fn change(gateway: &TestGateway, changes: &Value) -> Answer {
    gateway.ask("PATCH", "/api/v1/settings").json(changes).bearer(&gateway.admin).send().await
}

async fn all(gateway: &TestGateway) -> Vec<Value> {
    gateway.told("/api/v1/settings").await["items"].as_array().unwrap().clone()
}

async fn one(gateway: &TestGateway, key: &str) -> Value {
    all(gateway).await.into_iter().find(|item| item["key"] == key).unwrap()
}

async fn delivered(gateway: &TestGateway, id: &str) -> u16 {
    let event = events::state(id, "nobody", &[]).to_string();
    let signature = carport::signature::answer(&carport::model::Secret::new(MANAGEMENT), &event);
    let ask = gateway.ask("POST", "/api/webhooks/smartcar").header("sc-signature", &signature).body(event);
    ask.send().await.status
}

fn right() -> Value {
    json!({
        "smartcar.application_id": APPLICATION,
        "smartcar.v2.client_id": APPLICATION,
        "smartcar.v2.client_secret": V2_SECRET,
        "smartcar.v3.client_id": V3,
        "smartcar.v3.client_secret": V3_SECRET,
        "smartcar.application_management_token": [MANAGEMENT],
    })
}

fn but(key: &str, value: &str) -> Value {
    let mut changes = right();
    changes[key] = json!(value);
    changes
}

#[tokio::test(start_paused = true)]
async fn what_is_typed_in_is_tried_then_kept_then_counts() {
    let mut gateway = bare(160, &[]).await;
    assert_eq!(delivered(&gateway, "before").await, 503);
    let empty = all(&gateway).await;
    assert!(empty.iter().all(|item| item["made"] == false), "{empty:?}");

    let swapped =
        json!({ "smartcar.application_id": V3, "smartcar.v3.client_id": APPLICATION, "smartcar.v3.client_secret": V3_SECRET });
    for (changes, words) in [
        (but("smartcar.v3.client_secret", OTHER), &["Smartcar refuses the v3 client id and secret", "Nothing was saved"][..]),
        (but("smartcar.application_management_token", OTHER), &["refuses the application management token (401)"]),
        (but("smartcar.application_id", OTHER), &["does not know the Application ID"]),
        (swapped, &["application_id begins with client_", "v3.client_id does not begin with client_"]),
        (
            json!({ "smartcar.v2.client_id": APPLICATION, "smartcar.v2.client_secret": OTHER }),
            &["Smartcar refuses the v2 client id and secret"],
        ),
    ] {
        let answer = change(&gateway, &changes).await;
        is_problem(&answer, 422, "refused");
        for word in words {
            assert!(answer.text().contains(word), "{word}: {}", answer.text());
        }
        assert_eq!(all(&gateway).await, empty, "{changes}");
    }

    // A permission that Smartcar does not have, and a value in another's box.
    for (changes, word) in [
        (json!({ "smartcar.scope": "read_odometer, read_batery" }), "smartcar.scope has read_batery"),
        (
            json!({ "smartcar.application_id": APPLICATION, "smartcar.webhook_id": APPLICATION }),
            "smartcar.webhook_id is the same",
        ),
    ] {
        let answer = change(&gateway, &changes).await;
        is_problem(&answer, 422, "mixed_up");
        assert!(answer.text().contains(word), "{}", answer.text());
        assert_eq!(all(&gateway).await, empty, "{changes}");
    }

    let answer = change(&gateway, &right()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for secret in [V3_SECRET, MANAGEMENT] {
        assert!(!answer.text().contains(secret), "{}", answer.text());
    }
    for (key, value) in [
        ("smartcar.application_id", json!(APPLICATION)),
        ("smartcar.v3.client_secret", Value::Null),
        ("smartcar.application_management_token", Value::Null),
    ] {
        let item = one(&gateway, key).await;
        assert_eq!((&item["value"], &item["is_set"], &item["origin"]), (&value, &json!(true), &json!("set-up page")), "{key}");
    }
    assert_eq!(one(&gateway, "smartcar.webhook_id").await["is_set"], false);
    // At once, for everything.
    assert_eq!(delivered(&gateway, "after").await, 200);
    gateway.connect("ada", ADA).await;
    let audit = gateway.told("/api/v1/audit?limit=10").await;
    let noted = audit["items"].as_array().unwrap().iter().find(|one| one["action"] == "PATCH /api/v1/settings").unwrap();
    let mut ids: Vec<&str> = noted["ids"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    ids.sort_unstable();
    assert_eq!(
        ids,
        [
            "smartcar.application_id",
            "smartcar.application_management_token",
            "smartcar.v2.client_id",
            "smartcar.v2.client_secret",
            "smartcar.v3.client_id",
            "smartcar.v3.client_secret"
        ]
    );
    // And after the power was gone.
    gateway.crash().await;
    assert_eq!(delivered(&gateway, "crashed").await, 200);
    assert_eq!(one(&gateway, "smartcar.v3.client_id").await["value"], V3);
    gateway.reopen().await;
    assert_eq!(delivered(&gateway, "reopened").await, 200);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_is_told_in_words() {
    let gateway = bare(161, &[("smartcar.mode", "simulated")]).await;
    for (changes, status, code, words) in [
        (json!({ "smartcar.mode": "live" }), 409, "fixed", "smartcar.mode is fixed by story"),
        (json!({ "smartcar.nothing": "x" }), 400, "bad_request", "smartcar.nothing cannot be set here"),
        (json!({ "data_dir": "/" }), 400, "bad_request", "data_dir cannot be set here"),
        (json!({ "smartcar.scope": 7 }), 400, "bad_request", "A setting is a text"),
        (json!({ "smartcar.scope": "" }), 400, "bad_request", "smartcar.scope: is empty"),
        (json!({ "smartcar.scope": "read_\nbattery" }), 400, "bad_request", "control characters"),
        (json!({ "smartcar.scope": "everything" }), 400, "bad_request", "is not a permission"),
        (json!({ "smartcar.scope": "x".repeat(3000) }), 400, "bad_request", "too long"),
        (json!({ "smartcar.v3.client_id": V3 }), 400, "bad_request", "of no use without smartcar.v3.client_secret"),
        (json!({ "smartcar.redirect_uri": "https://gateway.example/setup" }), 400, "bad_request", "Carport's own"),
        (json!({ "smartcar.application_management_token": "not a UUID" }), 422, "refused", "is no UUID"),
    ] {
        let answer = change(&gateway, &changes).await;
        is_problem(&answer, status, code);
        assert!(answer.text().contains(words), "{words}: {}", answer.text());
    }
    assert!(all(&gateway).await.iter().all(|item| item["made"] == false));
    let bound = gateway.create_token(&json!({ "name": "reader", "scope": "read" })).await;
    assert_eq!(gateway.get("/api/v1/settings").bearer(&bound).send().await.status, 200);
    let refused = gateway.ask("PATCH", "/api/v1/settings").json(&right()).bearer(&bound).send().await;
    is_problem(&refused, 403, "forbidden");

    // Nobody can be asked: untried only if that is wanted, and never what was refused.
    gateway.net.change(|request, _| {
        let is_token = request.uri().path() == "/oauth2/token";
        is_token.then(|| Err(TransportError::Unreachable("no route".to_owned())))
    });
    is_problem(&change(&gateway, &right()).await, 502, "untried");
    let force = |changes: Value| gateway.ask("PATCH", "/api/v1/settings?force=true").json(&changes).bearer(&gateway.admin);
    assert_eq!(force(right()).send().await.status, 200);
    gateway.net.leave_alone();
    is_problem(&force(json!({ "smartcar.v3.client_secret": OTHER })).send().await, 422, "refused");
    assert_eq!(delivered(&gateway, "still").await, 200);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_setting_is_taken_back_and_other_sources_stand_above_it() {
    let mut gateway = bare(162, &[]).await;
    assert_eq!(change(&gateway, &right()).await.status, 200);
    let half = change(&gateway, &json!({ "smartcar.v3.client_secret": null })).await;
    assert!(half.status == 400 && half.text().contains("of no use without"), "{}", half.text());
    let gone =
        json!({ "smartcar.v3.client_id": null, "smartcar.v3.client_secret": null, "smartcar.scope": "read_odometer,read_vin" });
    assert_eq!(change(&gateway, &gone).await.status, 200);
    assert_eq!(one(&gateway, "smartcar.v3.client_id").await["is_set"], false);
    assert_eq!(one(&gateway, "smartcar.scope").await["value"], "read_odometer,read_vin");
    assert_eq!(gateway.post("/api/v1/users", &json!({ "id": "ada" })).bearer(&gateway.admin).send().await.status, 201);
    let invite = gateway.invite(&json!({ "user": "ada" })).await;
    let trip = gateway.begin(&invite).await;
    assert!(format!("{trip:?}").contains("read_odometer"), "{trip:?}");

    gateway.configure("smartcar.application_management_token", OTHER);
    gateway.reopen().await;
    let fixed = one(&gateway, "smartcar.application_management_token").await;
    assert_eq!((&fixed["fixed"], &fixed["made"], &fixed["origin"]), (&json!(true), &json!(false), &json!("story")), "{fixed}");
    assert_eq!(delivered(&gateway, "fixed").await, 401);
    gateway.configure("smartcar.application_management_token", "");
    // What was made no longer fits what is configured now: it is left out, and nothing else.
    let elsewhere = json!({ "smartcar.redirect_uri": "https://gateway.example/hook" });
    gateway.reopen().await;
    assert_eq!(change(&gateway, &elsewhere).await.status, 200);
    gateway.configure("webhooks.path", "/hook");
    gateway.reopen().await;
    assert!(gateway.logged().contains("does not fit what is configured now"), "{}", gateway.logged());
    assert_eq!(one(&gateway, "smartcar.redirect_uri").await["value"], "https://gateway.example/api/smartcar/callback");
    assert_eq!(one(&gateway, "smartcar.v2.client_id").await["value"], APPLICATION);
    gateway.configure("webhooks.path", "");
    gateway.reopen().await;
    assert_eq!(delivered(&gateway, "back").await, 200);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_form_does_the_same() {
    let gateway = bare(163, &[("smartcar.mode", "live")]).await;
    let person = Person::of(&gateway).await;
    let page = person.look("/setup").await;
    for part in ["Values of Smartcar", "name=\"smartcar.v3.client_secret\" type=\"password\"", "fixed by story"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let typed = |secret: &'static str| {
        [
            ("smartcar.application_id", APPLICATION),
            ("smartcar.v3.client_id", V3),
            ("smartcar.v3.client_secret", secret),
            ("smartcar.application_management_token", MANAGEMENT),
            ("smartcar.scope", ""),
        ]
    };
    let refused = person.send("/setup", &typed(OTHER)).await;
    let text = refused.text();
    assert_eq!(refused.status, 422);
    for part in ["Not saved.", "data-page=\"/setup\"", "Smartcar refuses the v3 client id and secret", V3, APPLICATION] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(OTHER) && !text.contains(MANAGEMENT), "a secret is shown again: {text}");
    // The box is marked, and each secret is asked for again, as it is not sent back.
    let marked = "aria-invalid=\"true\" aria-describedby=\"smartcar.v3.client_secret-help smartcar.v3.client_secret-wrong\"";
    assert!(text.contains(marked) && text.matches("aria-invalid").count() == 1, "{text}");
    assert_eq!(text.matches("Type it again: secrets are never sent back to a page.").count(), 2, "{text}");
    let swapped =
        [("smartcar.application_id", V3), ("smartcar.v3.client_id", APPLICATION), ("smartcar.v3.client_secret", V3_SECRET)];
    let swapped = person.send("/setup", &swapped).await.text();
    assert!(swapped.contains("id=\"smartcar.application_id-wrong\">Application ID begins with client_"), "{swapped}");
    assert!(all(&gateway).await.iter().all(|item| item["made"] == false));

    assert_eq!(person.press("/setup", &typed(V3_SECRET)).await, "/setup?saved=true#settings");
    let page = person.look("/setup?saved=true").await;
    assert!(page.contains("Saved.") && page.contains("forget.smartcar.v3.client_secret"), "{page}");
    assert!(!page.contains(V3_SECRET) && !page.contains(MANAGEMENT), "{page}");
    assert_eq!(delivered(&gateway, "formed").await, 200);
    // Sent again as it stands, with its empty boxes of secrets, nothing changes.
    assert_eq!(person.press("/setup", &typed("")).await, "/setup?saved=true#settings");
    assert_eq!(delivered(&gateway, "again").await, 200);
    let nothing = [("smartcar.application_id", APPLICATION), ("smartcar.v3.client_id", V3), ("smartcar.v3.client_secret", "")];
    assert_eq!(person.press("/setup", &nothing).await, "/setup#settings");
    // Emptied and forgotten, it is gone.
    let gone = [
        ("smartcar.v3.client_id", ""),
        ("smartcar.v3.client_secret", ""),
        ("forget.smartcar.v3.client_secret", "true"),
        ("forget.smartcar.application_management_token", "true"),
        ("smartcar.application_management_token", ""),
    ];
    person.press("/setup", &gone).await;
    assert_eq!(one(&gateway, "smartcar.v3.client_secret").await["is_set"], false);
    assert_eq!(delivered(&gateway, "gone").await, 503);
    let forged = gateway.ask("POST", "/setup").header("cookie", person.cookie()).header("sec-fetch-site", "same-origin");
    assert_eq!(forged.form(&[("csrf", "x"), ("smartcar.scope", "dashboard")]).send().await.status, 403);
    let unknown = person.send("/setup", &[("data_dir", "/")]).await;
    assert_eq!(unknown.status, 400);
    gateway.finish().await;
}

//! Arriving and leaving: subscribing what is connected, taking over what Smartcar has already, and what comes after the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use carport::model::AppUserId;
use carport::simulator::{Fault, FaultKind, Faults, Settings, WebhookSettings};
use carport::store::users::RemoveUser;
use carport::world::TransportError;
use http::{Request, Response, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::gateway::events::{signal, state};
use crate::gateway::{DAY, HOUR, TestGateway, is_problem, pass};
use crate::pages::Person;
use crate::simulator::rig::{ADA, BACK, GRACE, basic, encode, parameter};

const WEBHOOK: &str = "https://gateway.example/api/webhooks/smartcar";
const ODOMETER: &str = "odometer-traveleddistance";

async fn show(gateway: &TestGateway, car: &str) -> Value {
    gateway.told(&format!("/api/v1/vehicles/{car}")).await
}

async fn missing(gateway: &TestGateway, car: &str) -> Value {
    show(gateway, car).await["missing"]["code"].clone()
}

async fn odometer(gateway: &TestGateway, car: &str) -> Value {
    show(gateway, car).await["signals"][ODOMETER]["body"]["value"].clone()
}

/// A delivery about a car, with the odometer at so many.
async fn tell(gateway: &TestGateway, car: &str, kilometres: i64) -> u64 {
    let at = gateway.now().as_millis();
    gateway.deliver(&state(&format!("event-{car}-{kilometres}"), car, &[signal(ODOMETER, kilometres, at)])).await
}

async fn end(gateway: &TestGateway, path: &str) -> u16 {
    gateway.ask("DELETE", path).bearer(&gateway.admin).send().await.status
}

fn subscribing(gateway: &TestGateway, car: &str) -> usize {
    gateway.net.count("POST /v3/subscriptions") + gateway.net.count(&format!("POST /v2.0/vehicles/{car}/webhooks/"))
}

#[tokio::test(start_paused = true)]
async fn each_new_car_is_subscribed_once_and_says_what_is_missing() {
    for (seed, account) in [(520, ADA), (521, GRACE)] {
        let mut gateway = TestGateway::new(seed).await;
        gateway.start();
        gateway.connect("owner", account).await;
        let car = gateway.vehicles_of(account).remove(0);
        pass(Duration::from_secs(200)).await;
        assert_eq!((missing(&gateway, &car).await, subscribing(&gateway, &car)), (json!("not_verified"), 0));
        let light = async |gateway: &TestGateway| show(gateway, &car).await["lights"]["data_flow"].clone();
        let told = light(&gateway).await;
        assert!(told["color"] == "yellow" && told["text"].as_str().unwrap().contains("has not verified the webhook"), "{told}");
        // Nobody is hammered for a webhook that is not there.
        pass(6 * HOUR).await;
        let asked = gateway.net.count("GET /v3/webhooks");
        assert!((2..20).contains(&asked), "{asked}");

        gateway.simulator.set_webhook(Some(WebhookSettings::new(WEBHOOK)));
        pass(Duration::from_secs(60)).await;
        assert_eq!(subscribing(&gateway, &car), 0, "it waits for long by now");
        let verify = json!({ "eventId": "v", "eventType": "VERIFY", "data": { "challenge": "abc" } });
        assert_eq!(gateway.delivery(verify.to_string()).send().await.status, 200);
        pass(Duration::from_secs(10)).await;
        assert_eq!(subscribing(&gateway, &car), 1);
        assert_eq!(missing(&gateway, &car).await, "no_first_delivery");
        tell(&gateway, &car, 1).await;
        pass(Duration::from_secs(5)).await;
        assert_eq!((missing(&gateway, &car).await, light(&gateway).await["color"].clone()), (Value::Null, json!("green")));

        // Once is enough, also after a restart; by hand it goes again, and does no harm.
        gateway.reopen().await;
        gateway.start();
        pass(HOUR).await;
        assert_eq!(subscribing(&gateway, &car), 1);
        let path = format!("/api/v1/vehicles/{car}/subscribe");
        let answer = gateway.post(&path, &json!({})).bearer(&gateway.admin).send().await;
        assert_eq!((answer.status, subscribing(&gateway, &car)), (200, 2), "{}", answer.text());

        // Who connects again may have ended the subscription.
        gateway.connect("owner", account).await;
        pass(Duration::from_secs(60)).await;
        assert!(subscribing(&gateway, &car) >= 3);

        // What goes is not said to tell anything, nor does its token open it for whoever has it next.
        let token = gateway.create_token(&json!({ "name": "one car", "scope": "read", "vehicle": car })).await;
        let tokens = async || gateway.told("/api/v1/tokens").await.to_string().matches("one car").count();
        assert_eq!(end(&gateway, &format!("/api/v1/vehicles/{car}")).await, 204);
        assert_eq!((light(&gateway).await["color"].clone(), tokens().await), (json!("grey"), 1));
        assert_eq!(end(&gateway, &format!("/api/v1/vehicles/{car}?history=erase")).await, 204);
        gateway.connect("owner", account).await;
        let refused = gateway.get(&format!("/api/v1/vehicles/{car}")).bearer(&token).send().await;
        assert_eq!((refused.status, tokens().await), (401, 0));
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_subscribes_by_hand_is_left_alone() {
    let simulation = Settings { seed: 522, webhook: Some(WebhookSettings::new(WEBHOOK)), ..Settings::default() };
    let mut gateway = TestGateway::with(522, &[("webhooks.subscribe", "off")], simulation).await;
    gateway.start();
    gateway.connect("owner", GRACE).await;
    let car = gateway.vehicles_of(GRACE).remove(0);
    pass(HOUR).await;
    assert_eq!(subscribing(&gateway, &car), 0);
    let verify = json!({ "eventId": "v", "eventType": "VERIFY", "data": { "challenge": "abc" } });
    assert_eq!(gateway.delivery(verify.to_string()).send().await.status, 200);
    let told = show(&gateway, &car).await["missing"].clone();
    assert_eq!(told["code"], "not_subscribed");
    assert!(told["remedy"].as_str().unwrap().contains(&format!("carport vehicles subscribe {car}")), "{told}");
    let status = gateway.told("/api/v1/status").await;
    let open = status["missing"].as_array().unwrap().iter().find(|missing| missing["code"] == "subscription").unwrap().clone();
    // It was read when it was connected, so that something is known all the same.
    assert!(
        open["what"].as_str().unwrap().contains("no delivery has come in of a car yet (Carport read it 60 minutes ago)"),
        "{open}"
    );
    assert!(open["remedy"].as_str().unwrap().contains(&format!("`carport vehicles show {car}`")), "{open}");
    gateway.finish().await;

    // A webhook that is configured need not be learnt.
    let mut gateway = TestGateway::with(523, &[("smartcar.webhook_id", "another")], Settings::default()).await;
    gateway.start();
    gateway.connect("owner", ADA).await;
    pass(HOUR).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    assert!(gateway.net.count(&format!("POST /v2.0/vehicles/{car}/webhooks/another")) > 0);
    assert_eq!((gateway.net.count("GET /v3/webhooks"), missing(&gateway, &car).await), (0, json!("not_verified")));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_the_end_is_not_data() {
    for (seed, how) in [(524, "forget"), (525, "users"), (526, "vehicles"), (527, "erase")] {
        let gateway = TestGateway::new(seed).await;
        let connection = gateway.connect("ada", ADA).await;
        let car = gateway.vehicles_of(ADA).remove(0);
        tell(&gateway, &car, 1).await;
        gateway.catch_up().await;
        // What came in before the end counts, whenever it is read.
        tell(&gateway, &car, 2).await;
        let path = match how {
            "forget" => format!("/api/v1/connections/{connection}?local=true"),
            "users" => "/api/v1/users/ada".to_owned(),
            "vehicles" => format!("/api/v1/vehicles/{car}"),
            _ => format!("/api/v1/vehicles/{car}?history=erase"),
        };
        let status = end(&gateway, &path).await;
        assert_eq!(status, if how == "forget" { 200 } else { 204 });
        if how == "erase" {
            let late = state("late", &car, &[signal(ODOMETER, 3, gateway.now().as_millis())]);
            let answer = gateway.delivery(late.to_string()).send().await;
            assert_eq!((answer.status, answer.json()["status"].clone()), (200, json!("erased")));
            let kept = gateway.told("/api/v1/webhooks").await;
            assert_eq!(kept["items"].as_array().unwrap().len(), 0, "{kept}");
            gateway.finish().await;
            continue;
        }
        gateway.catch_up().await;
        assert_eq!(odometer(&gateway, &car).await, 2, "{how}");
        pass(HOUR).await;
        let late = tell(&gateway, &car, 3).await;
        gateway.catch_up().await;
        let replay = gateway.post(&format!("/api/v1/webhooks/{late}/replay"), &json!({})).bearer(&gateway.admin).send().await;
        assert!(replay.status < 300, "{}", replay.text());
        assert_eq!(odometer(&gateway, &car).await, 2, "{how}");
        let result = async |seq: u64| gateway.told(&format!("/api/v1/webhooks/{seq}")).await["result"].clone();
        let found = async |result: &str| {
            let told = gateway.told(&format!("/api/v1/webhooks?result={result}")).await;
            told["items"].as_array().unwrap().iter().map(|entry| entry["seq"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!((result(late - 1).await, result(late).await), (json!("accepted"), json!("not_connected")), "{how}");
        assert_eq!(found("not_connected").await, [late], "{how}");
        let page = Person::of(&gateway).await.look(&format!("/webhooks/{late}")).await;
        assert!(page.contains("Nothing: the car was not connected here when it came in."), "{how}: {page}");

        // Connected again, it goes on.
        gateway.connect("ada", ADA).await;
        pass(HOUR).await;
        let again = tell(&gateway, &car, 4).await;
        gateway.catch_up().await;
        assert_eq!(odometer(&gateway, &car).await, 4, "{how}");
        assert_eq!((result(late).await, result(again).await), (json!("not_connected"), json!("accepted")), "{how}");
        gateway.finish().await;
    }
}

/// Whoever asks again after an answer was lost need not force anything; and no refusal counts as the end by itself.
#[tokio::test(start_paused = true)]
async fn a_disconnect_whose_answer_was_lost_is_simply_done_again() {
    for (seed, account) in [(530, ADA), (531, GRACE)] {
        let gateway = TestGateway::new(seed).await;
        gateway.connect("owner", account).await;
        let car = gateway.vehicles_of(account).remove(0);
        let path = format!("/api/v1/vehicles/{car}");
        // Smartcar, or something in its place, says no: it still lists the car.
        for fault in ["trouble=RESOURCE_NOT_FOUND.VERSION*1", "trouble=PERMISSION*1"] {
            gateway.simulator.set_faults(Faults::new([fault.parse::<Fault>().unwrap()]));
            assert!(end(&gateway, &path).await >= 400, "{account}: {fault}");
            assert!(show(&gateway, &car).await["connection"].is_string(), "{account}: {fault}");
        }
        gateway.simulator.set_faults(Faults::default());
        let lost = || Err(TransportError::Lost("the line broke".into()));
        gateway.net.change(move |request, _| (request.method() == "DELETE").then(lost));
        assert!(end(&gateway, &path).await >= 500, "{account}");
        assert!(show(&gateway, &car).await["connection"].is_string(), "{account}");
        gateway.net.leave_alone();
        assert_eq!(end(&gateway, &path).await, 204, "{account}");
        assert_eq!(show(&gateway, &car).await["connection"], Value::Null, "{account}");
        gateway.finish().await;
    }
}

/// An owner goes through Connect for somebody else's application: Smartcar knows, Carport does not.
pub(crate) async fn connected_elsewhere(gateway: &TestGateway, user: &str, account: &str) -> String {
    let invite = gateway.invite(&json!({ "user": user, "create": true })).await;
    let trip = gateway.begin(&invite).await;
    gateway.simulator.consent(trip.authorize.as_str(), account).await.unwrap();
    gateway.vehicles_of(account).remove(0)
}

#[tokio::test(start_paused = true)]
async fn what_smartcar_lists_is_taken_over() {
    let gateway = TestGateway::new(528).await;
    let car = connected_elsewhere(&gateway, "grace", GRACE).await;
    gateway.connect("ada", ADA).await;
    // It waits in quarantine.
    tell(&gateway, &car, 7).await;
    gateway.catch_up().await;
    let adopt = async |body: Value| {
        let answer = gateway.post("/api/v1/connections/adopt", &body).bearer(&gateway.admin).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let would = adopt(json!({ "dry_run": true })).await;
    assert_eq!((&would["known"], &would["dry_run"]), (&json!(2), &json!(true)), "{would}");
    let item = &would["items"][0];
    assert_eq!((&item["user"], &item["result"], &item["connection"]), (&json!("grace"), &json!("would_adopt"), &Value::Null));
    assert_eq!(item["vehicles"][0]["id"], car.as_str());
    is_problem(&gateway.get(&format!("/api/v1/vehicles/{car}")).bearer(&gateway.admin).send().await, 404, "not_found");

    let adopted = adopt(json!({})).await;
    let item = &adopted["items"][0];
    assert_eq!((adopted["items"].as_array().unwrap().len(), &item["result"]), (1, &json!("adopted")), "{adopted}");
    gateway.catch_up().await;
    let view = show(&gateway, &car).await;
    assert_eq!((&view["user"], &view["connection"]), (&json!("grace"), &item["connection"]));
    assert_eq!(view["signals"][ODOMETER]["body"]["value"], 7);
    let connection = gateway.told(&format!("/api/v1/connections/{}", item["connection"].as_str().unwrap())).await;
    assert_eq!((&connection["generation"], &connection["status"]), (&json!("v3"), &json!("active")), "{connection}");

    // Again, nothing is left to do, and nothing has changed hands.
    let again = adopt(json!({ "user": "thief" })).await;
    assert_eq!((&again["known"], again["items"].as_array().unwrap().len()), (&json!(3), 0), "{again}");
    assert_eq!(show(&gateway, &car).await["user"], "grace");
    gateway.finish().await;
}

/// Who asks too often hears for how long to wait, and nothing is taken over by halves.
#[tokio::test(start_paused = true)]
async fn limits_of_smartcar_are_told_with_the_time() {
    let gateway = TestGateway::new(529).await;
    connected_elsewhere(&gateway, "grace", GRACE).await;
    let adopt = async |body: Value| gateway.post("/api/v1/connections/adopt", &body).bearer(&gateway.admin).send().await;
    assert_eq!(adopt(json!({ "dry_run": true })).await.status, 200);
    for (told, waits) in [(Some(90), "90"), (None, "60")] {
        gateway.simulator.set_faults(Faults::new([Fault::once(FaultKind::Throttle(told))]));
        let answer = adopt(json!({})).await;
        is_problem(&answer, 429, "over_budget");
        assert_eq!(answer.header("retry-after"), Some(waits));
        assert!(answer.text().contains(&format!("try again in {waits} s")), "{}", answer.text());
    }
    assert_eq!(adopt(json!({})).await.json()["items"][0]["result"], "adopted");
    gateway.finish().await;
}

/// What another application holds: a refresh token of v2.
pub(crate) async fn foreign_token(gateway: &TestGateway) -> String {
    let application = gateway.simulator.settings().application.clone();
    let mut url = url::Url::parse("https://connect.smartcar.com/oauth/authorize").unwrap();
    url.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", &application.application_id),
        ("redirect_uri", BACK),
        ("scope", "read_vehicle_info read_odometer"),
        ("state", "s"),
    ]);
    let back = gateway.simulator.consent(url.as_str(), ADA).await.unwrap();
    let code = parameter(&url::Url::parse(&back).unwrap(), "code").unwrap();
    let form = encode(&[("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", BACK)]);
    let secret = basic(&application.application_id, &application.v2_client_secret);
    let request = Request::post("/oauth/token").header(header::AUTHORIZATION, secret);
    let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.into()).unwrap();
    let answer: Value = serde_json::from_slice(gateway.simulator.handle(request).await.body()).unwrap();
    let token = answer["refresh_token"].as_str().unwrap().to_owned();
    gateway.keep_secret(&token);
    token
}

/// A crash between the tokens, which come first, and the user leaves a connection of nobody.
#[tokio::test(start_paused = true)]
async fn an_import_that_was_cut_off_gets_its_user_and_its_cars() {
    let mut gateway = TestGateway::new(536).await;
    let token = foreign_token(&gateway).await;
    gateway.net.change(|request, _| {
        let lost = || Err(TransportError::Lost("the story loses it".to_owned()));
        request.uri().path().starts_with("/v2.0/").then(lost)
    });
    let body = json!({ "refresh_token": token, "user": "ada" });
    let answer = gateway.post("/api/v1/connections/import", &body).bearer(&gateway.admin).send().await;
    assert_eq!((answer.status, &answer.json()["vehicles"]), (201, &json!([])), "{}", answer.text());
    let gone = RemoveUser { id: AppUserId::new("ada") };
    gateway.app().store().commit(gone).await.unwrap();
    gateway.net.leave_alone();
    gateway.crash().await;
    gateway.start();
    pass(HOUR).await;
    let users = gateway.told("/api/v1/users").await["items"].clone();
    assert_eq!((&users[0]["id"], users[0]["vehicles"].as_array().map(Vec::len)), (&json!("ada"), Some(2)), "{users}");
    gateway.finish().await;
}

/// Smartcar replaces the token with each request, be its answer lost or late: the last request within the minute counts.
#[tokio::test(start_paused = true)]
async fn an_import_outlasts_answers_that_are_lost_or_late() {
    for (seconds, times) in [(1_000, 2), (35, 3), (200, 3)] {
        let mut gateway = TestGateway::new(530).await;
        let token = foreign_token(&gateway).await;
        let late = Fault { times: Some(times), ..Fault::always(FaultKind::Delay(Duration::from_secs(seconds))) };
        gateway.simulator.set_faults(Faults::new([late]));
        let body = json!({ "refresh_token": token, "user": "ada" });
        let answer = gateway.post("/api/v1/connections/import", &body).bearer(&gateway.admin).send().await;
        assert_eq!(answer.status, 201, "{seconds} s: {}", answer.text());
        gateway.start();
        pass(4 * HOUR).await;
        assert_eq!(gateway.simulator.counters().refreshes_refused, 0, "{seconds} s");
        let connections = gateway.told("/api/v1/connections").await;
        assert_eq!(connections["items"][0]["status"], "active", "{connections}");
        gateway.finish().await;
    }
}

/// What follows a silence is no reason to give up the token, be it refused on the way or by Smartcar.
#[tokio::test(start_paused = true)]
async fn an_import_goes_on_after_silence_whatever_comes_then() {
    for (number, status) in [(537, None), (538, Some(429)), (539, Some(503)), (540, Some(400))] {
        let mut gateway = TestGateway::new(number).await;
        let token = foreign_token(&gateway).await;
        let mut requests = 0;
        gateway.net.change(move |request, _| {
            requests += usize::from(request.uri().path() == "/oauth/token");
            match (requests, status) {
                (1, _) => Some(Err(TransportError::Lost("the story loses it".to_owned()))),
                (2..=4, None) => Some(Err(TransportError::Unreachable("the story has no route".to_owned()))),
                // Smartcar says this of a token that it is just replacing, too.
                (2, Some(400)) => Some(Ok(refusal(400, None))),
                (2..=4, Some(429)) => Some(Ok(refusal(429, None))),
                // Longer than Smartcar honours it.
                (2, Some(503)) => Some(Ok(refusal(503, Some("90")))),
                _ => None,
            }
        });
        let body = json!({ "refresh_token": token, "user": "ada" });
        let answer = gateway.post("/api/v1/connections/import", &body).bearer(&gateway.admin).send().await;
        assert_eq!(answer.status, 201, "{status:?}: {}", answer.text());
        gateway.net.leave_alone();
        gateway.start();
        pass(4 * HOUR).await;
        assert_eq!(gateway.simulator.counters().refreshes_refused, 0, "{status:?}");
        gateway.finish().await;
    }
}

fn refusal(status: u16, retry_after: Option<&str>) -> Response<Bytes> {
    let answer = retry_after.into_iter().fold(Response::builder(), |answer, after| answer.header("retry-after", after));
    answer.status(status).body(Bytes::from_static(br#"{"error":"invalid_grant"}"#)).unwrap()
}

/// Nothing on disk goes on with it after the stop.
#[tokio::test(start_paused = true)]
async fn an_import_asks_once_more_before_carport_stops() {
    let gateway = TestGateway::new(541).await;
    let token = foreign_token(&gateway).await;
    let stopping = Arc::new(AtomicBool::new(false));
    let (hears, began) = (stopping.clone(), Instant::now());
    gateway.net.change(move |request, _| {
        let is_lost = request.uri().path() == "/oauth/token" && !hears.load(Ordering::Relaxed);
        is_lost.then(|| Err(TransportError::Lost("the story loses it".to_owned())))
    });
    let body = json!({ "refresh_token": token, "user": "ada" });
    let before = gateway.net.count("POST /oauth/token");
    let stop = async {
        // From the sixth on it would rest until the end of the minute.
        while gateway.net.count("POST /oauth/token") < before + 6 {
            pass(Duration::from_millis(100)).await;
        }
        stopping.store(true, Ordering::Relaxed);
        gateway.app().tokens().stopping();
        pass(Duration::from_secs(1)).await;
        assert_eq!(gateway.net.count("POST /oauth/token"), before + 7);
    };
    let import = gateway.post("/api/v1/connections/import", &body).bearer(&gateway.admin).send();
    let (answer, ()) = tokio::join!(import, stop);
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
    gateway.net.leave_alone();
    gateway.finish().await;
}

/// A car that comes along is news, though its account was connected before.
#[tokio::test(start_paused = true)]
async fn an_import_is_known_if_nothing_but_its_tokens_is_new() {
    let gateway = TestGateway::new(542).await;
    let cars = gateway.vehicles_of(ADA);
    let import = async || {
        let body = json!({ "refresh_token": foreign_token(&gateway).await, "user": "ada" });
        let answer = gateway.post("/api/v1/connections/import", &body).bearer(&gateway.admin).send().await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let imported = answer.json();
        assert_eq!(imported["vehicles"].as_array().unwrap().len(), cars.len(), "{imported}");
        imported["known"].clone()
    };
    assert_eq!((import().await, import().await), (json!(false), json!(true)));
    assert_eq!(end(&gateway, &format!("/api/v1/vehicles/{}", cars[0])).await, 204);
    assert_eq!((import().await, import().await), (json!(false), json!(true)), "a car is back");
    assert_eq!(end(&gateway, &format!("/api/v1/vehicles/{}?history=erase", cars[1])).await, 204);
    assert_eq!((import().await, import().await), (json!(false), json!(true)), "a car is new");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn refresh_tokens_are_taken_in_and_renewed_at_once() {
    let mut gateway = TestGateway::new(529).await;
    let token = foreign_token(&gateway).await;
    let import = async |gateway: &TestGateway, token: &str| {
        let body = json!({ "refresh_token": token, "user": "ada" });
        gateway.post("/api/v1/connections/import", &body).bearer(&gateway.admin).send().await
    };
    // What is refused makes no user, and a mode that there is not spends no token.
    is_problem(&import(&gateway, "never").await, 409, "refused");
    let body = json!({ "refresh_token": token, "user": "ada", "mode": "simualted" });
    let answer = gateway.post("/api/v1/connections/import", &body).bearer(&gateway.admin).send().await;
    is_problem(&answer, 400, "bad_request");
    assert_eq!(gateway.told("/api/v1/users").await["items"], json!([]));
    let answer = import(&gateway, &token).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let imported = answer.json();
    assert_eq!((&imported["user"], imported["vehicles"].as_array().unwrap().len()), (&json!("ada"), 2), "{imported}");
    let id = imported["connection"].as_str().unwrap().to_owned();
    // Cut off in between, and run again: the same connection.
    let again = import(&gateway, &token).await;
    assert_eq!((again.status, &again.json()["connection"]), (201, &json!(id)), "{}", again.text());
    assert_eq!((&imported["known"], &again.json()["known"]), (&json!(false), &json!(true)));
    pass(Duration::from_secs(120)).await;
    is_problem(&import(&gateway, &token).await, 409, "refused");
    is_problem(&import(&gateway, "never").await, 409, "refused");
    assert_eq!(gateway.told("/api/v1/connections").await["items"].as_array().unwrap().len(), 1);

    gateway.lose_power(Duration::from_secs(5)).await;
    gateway.start();
    pass(Duration::from_secs(600)).await;
    // Of cars that were read just now nothing is asked again; later they are, as cars that are connected.
    let reasons = async |gateway: &TestGateway| {
        let budget = gateway.told("/api/v1/budget").await;
        budget["items"].as_array().unwrap().iter().map(|item| item["reasons"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&gateway).await, [json!({ "picture": 1 }), json!({ "picture": 1 })]);
    let cars: Vec<String> = gateway.told("/api/v1/vehicles").await["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|car| car["id"].as_str().unwrap().to_owned())
        .collect();
    for (wait, pictures) in [(Duration::from_secs(60), 1), (2 * HOUR, 2), (2 * HOUR, 3)] {
        pass(wait).await;
        if pictures == 3 {
            // A delivery of one signal makes the others no younger.
            for car in &cars {
                let told = signal("tractionbattery-stateofcharge", 50, gateway.now().as_millis());
                gateway.deliver(&state(&format!("level of {car}"), car, &[told])).await;
            }
            gateway.catch_up().await;
        }
        let next = foreign_token(&gateway).await;
        assert_eq!(import(&gateway, &next).await.status, 201);
        pass(Duration::from_secs(60)).await;
        assert_eq!(reasons(&gateway).await, [json!({ "picture": pictures }), json!({ "picture": pictures })]);
    }
    pass(DAY).await;
    let connection = gateway.told(&format!("/api/v1/connections/{id}")).await;
    assert_eq!((&connection["status"], &connection["last_error"]), (&json!("active"), &Value::Null), "{connection}");
    gateway.finish().await;
}

//! The budget: calls are counted before they are made, the limit holds, and what Smartcar says of limits is heard.

use std::time::Duration;

use carport::model::Timestamp;
use carport::simulator::{Settings, WebhookSettings};
use serde_json::{Value, json};

use crate::gateway::{DAY, HOUR, TestGateway, is_problem, pass};
use crate::pages::Person;
use crate::simulator::rig::{ADA, Answer, GRACE};

/// A gateway with Ada's two cars, and the first of them.
async fn with_budget(seed: u64, keys: &[(&str, &str)]) -> (TestGateway, String) {
    let gateway = TestGateway::with(seed, keys, Settings { seed, ..Settings::default() }).await;
    gateway.connect("ada", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    (gateway, car)
}

async fn refresh(gateway: &TestGateway, car: &str) -> Answer {
    gateway.post(&format!("/api/v1/vehicles/{car}/refresh"), &json!({})).bearer(&gateway.admin).send().await
}

async fn of(gateway: &TestGateway, car: &str) -> Value {
    let budget = gateway.told("/api/v1/budget").await;
    let mut all = budget["items"].as_array().unwrap().iter();
    all.find(|vehicle| vehicle["vehicle"] == car).unwrap().clone()
}

async fn show(gateway: &TestGateway, car: &str) -> Value {
    gateway.told(&format!("/api/v1/vehicles/{car}")).await
}

fn wait(answer: &Answer) -> u64 {
    answer.header("retry-after").unwrap().parse().unwrap()
}

fn reads(gateway: &TestGateway, car: &str) -> usize {
    gateway.net.count(&format!("POST /v2.0/vehicles/{car}/batch")) + gateway.net.count(&format!("GET /v3/vehicles/{car}/signals"))
}

#[tokio::test(start_paused = true)]
async fn calls_stop_before_the_limit_and_the_reserve_stays() {
    let (mut gateway, car) = with_budget(400, &[("budget.calls_per_vehicle_month", "8"), ("budget.reserve", "3")]).await;
    for _ in 0..5 {
        assert_eq!(refresh(&gateway, &car).await.status, 200);
    }
    let refused = refresh(&gateway, &car).await;
    is_problem(&refused, 429, "over_budget");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() > 86_400);
    assert_eq!(reads(&gateway, &car), 5);
    let told = of(&gateway, &car).await;
    assert_eq!((&told["used"], &told["remaining"], &told["limit"]), (&json!(5), &json!(3), &json!(8)));
    assert_eq!(told["reasons"], json!({ "request": 5 }));
    assert_eq!(told["last"].as_array().unwrap().len(), 5);
    let spent = told["spent"].as_str().unwrap();
    assert!(spent.contains("(budget.reserve)") && spent.contains(" days, on ") && told["refused_after"].is_null(), "{told}");

    // A power cut takes nothing of the ledger back, and the other car has a budget of its own.
    gateway.lose_power(Duration::from_secs(60)).await;
    assert_eq!(of(&gateway, &car).await["used"], 5);
    is_problem(&refresh(&gateway, &car).await, 429, "over_budget");
    let other = gateway.vehicles_of(ADA).remove(1);
    assert_eq!(refresh(&gateway, &other).await.status, 200);
    let status = gateway.told("/api/v1/status").await;
    assert_eq!((&status["budget"]["used"], &status["budget"]["spent"]), (&json!(6), &json!(1)), "{status}");

    // Another month, another budget.
    pass(32 * DAY).await;
    assert_eq!(of(&gateway, &car).await["remaining"], 8);
    assert_eq!(refresh(&gateway, &car).await.status, 200);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_applications_bucket_holds_all_calls() {
    let (gateway, car) = with_budget(401, &[("budget.calls_per_vehicle_month", "unlimited")]).await;
    let other = gateway.vehicles_of(ADA).remove(1);
    let left = async || gateway.told("/api/v1/budget").await["application"]["left"].as_u64().unwrap();
    let before = left().await;
    let page = Person::of(&gateway).await.look("/system").await;
    assert!(page.contains(&format!("{before} of the 120 calls are left")), "{page}");
    // Connecting has asked Smartcar too.
    assert!((100..120).contains(&before), "{before}");
    for number in 0..before {
        let car = if number % 2 == 0 { &car } else { &other };
        assert_eq!(refresh(&gateway, car).await.status, 200, "call {number}");
    }
    let refused = refresh(&gateway, &car).await;
    is_problem(&refused, 429, "over_budget");
    assert_eq!((refused.header("retry-after"), left().await), (Some("30"), 0));
    assert!(refused.text().contains("Carport has made as many calls as Smartcar allows"), "{}", refused.text());
    // Whenever somebody asks, header and sentence promise the same.
    for millis in [1, 17, 1_017, 2_029, 7_003] {
        pass(Duration::from_millis(millis)).await;
        let refused = refresh(&gateway, &car).await;
        assert!(refused.text().contains(&format!("try again in {} s.", wait(&refused))), "{}", refused.text());
    }
    pass(Duration::from_secs(21)).await;
    assert_eq!(refresh(&gateway, &car).await.status, 200);
    is_problem(&refresh(&gateway, &other).await, 429, "over_budget");
    pass(2 * HOUR).await;
    assert_eq!((left().await, &of(&gateway, &car).await["limit"]), (120, &Value::Null));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_bound_token_sees_its_own_part() {
    let (gateway, car) = with_budget(402, &[("metrics.vehicles", "true")]).await;
    let token = gateway.create_token(&json!({ "name": "one", "scope": "read", "vehicle": car })).await;
    let budget = gateway.get("/api/v1/budget").bearer(&token).send().await.json();
    assert_eq!((budget["items"].as_array().unwrap().len(), &budget["application"]), (1, &Value::Null), "{budget}");
    assert_eq!(budget["items"][0]["vehicle"], car.as_str());
    assert_eq!(refresh(&gateway, &car).await.status, 200);
    let metrics = gateway.get("/metrics").bearer(&gateway.admin).send().await.text();
    assert!(metrics.contains(&format!("carport_budget_remaining{{vehicle=\"{car}\"}} 99")), "{metrics}");
    let left = gateway.told("/api/v1/budget").await["application"]["left"].clone();
    for line in [
        "carport_smartcar_calls_total{reason=\"request\"} 1".to_owned(),
        format!("carport_budget_bucket {left}"),
        "carport_budget_reserve 20".to_owned(),
    ] {
        assert!(metrics.lines().any(|told| told == line), "{line} is not in {metrics}");
    }
    assert!(metrics.contains("\ncarport_budget_resets_seconds "), "{metrics}");
    gateway.finish().await;
}

/// Few calls are left because Smartcar has refused some, or because they were made: nobody is told the one for the other.
#[tokio::test(start_paused = true)]
async fn who_finds_the_bucket_empty_is_told_who_has_emptied_it() {
    let (gateway, car) = with_budget(410, &[("budget.calls_per_vehicle_month", "unlimited")]).await;
    gateway.net.change(|request, _| {
        let body = json!({ "type": "RATE_LIMIT", "code": "SMARTCAR_API", "statusCode": 429, "resolution": null });
        let answer = http::Response::builder().status(429).header("retry-after", "90").body(body.to_string().into()).unwrap();
        request.uri().path().ends_with("/batch").then_some(Ok(answer))
    });
    is_problem(&refresh(&gateway, &car).await, 429, "over_budget");
    gateway.net.leave_alone();
    let refused = async || {
        let answer = refresh(&gateway, &car).await;
        is_problem(&answer, 429, "over_budget");
        assert!(answer.text().contains("Smartcar has refused the calls of the whole application (429)"), "{}", answer.text());
        let application = gateway.told("/api/v1/budget").await["application"].clone();
        assert!(application["refused_at"].is_string(), "{application}");
        application
    };
    assert!(refused().await["rests_until"].is_string());
    // Three have come back by then, and are soon made.
    pass(Duration::from_secs(90)).await;
    for _ in 0..3 {
        assert_eq!(refresh(&gateway, &car).await.status, 200);
    }
    let application = refused().await;
    assert_eq!((&application["left"], &application["rests_until"]), (&json!(0), &Value::Null), "{application}");
    // Once it was full again, it is Carport that has made them.
    pass(2 * HOUR).await;
    for _ in 0..120 {
        assert_eq!(refresh(&gateway, &car).await.status, 200);
    }
    let spent = refresh(&gateway, &car).await;
    assert!(spent.text().contains("Carport has made as many calls as Smartcar allows"), "{}", spent.text());
    assert_eq!(gateway.told("/api/v1/budget").await["application"]["refused_at"], Value::Null);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_smartcar_says_of_its_limits_is_heard() {
    let (mut gateway, car) = with_budget(403, &[]).await;
    let other = gateway.vehicles_of(ADA).remove(1);
    let answer = |status: u16, retry_after: &'static str, kind: &'static str, code: &'static str| {
        gateway.net.change(move |request, _| {
            let body = json!({ "type": kind, "code": code, "statusCode": status, "resolution": null }).to_string();
            let answer = http::Response::builder().status(status).header("retry-after", retry_after).body(body.into());
            request.uri().path().ends_with("/batch").then(|| Ok(answer.unwrap()))
        });
    };
    // The vehicle is left alone as long as was asked for, also by who asks again; others are not concerned.
    answer(429, "90", "RATE_LIMIT", "VEHICLE");
    let refused = refresh(&gateway, &car).await;
    is_problem(&refused, 429, "over_budget");
    assert_eq!(wait(&refused), 90);
    gateway.net.leave_alone();
    let before = reads(&gateway, &car);
    let refused = refresh(&gateway, &car).await;
    is_problem(&refused, 429, "over_budget");
    assert_eq!((wait(&refused), reads(&gateway, &car)), (90, before));
    assert_eq!(refresh(&gateway, &other).await.status, 200);
    pass(Duration::from_secs(90)).await;
    assert_eq!(refresh(&gateway, &car).await.status, 200);
    // So is the application, for all of its vehicles; without a word of how long, for longer each time.
    answer(429, "", "RATE_LIMIT", "SMARTCAR_API");
    for expected in [60, 120] {
        for asked in [&car, &other] {
            let refused = refresh(&gateway, asked).await;
            is_problem(&refused, 429, "over_budget");
            assert_eq!(wait(&refused), expected);
        }
        pass(Duration::from_secs(expected)).await;
    }
    // The plan may allow less than the operator thought: that holds until the month is over, also after a restart.
    answer(430, "", "BILLING", "VEHICLE_REQUEST_LIMIT");
    let refused = refresh(&gateway, &car).await;
    is_problem(&refused, 429, "over_budget");
    assert!(wait(&refused) > 86_400);
    gateway.net.leave_alone();
    gateway.reopen().await;
    is_problem(&refresh(&gateway, &car).await, 429, "over_budget");
    let told = of(&gateway, &car).await;
    assert_eq!((&told["remaining"], &told["limit"]), (&json!(0), &told["used"]), "{told}");
    pass(32 * DAY).await;
    assert_eq!((refresh(&gateway, &car).await.status, &of(&gateway, &car).await["limit"]), (200, &json!(100)));
    gateway.finish().await;
}

/// What Smartcar has said of the month holds under the number that was configured then, and the sentence says so.
#[tokio::test(start_paused = true)]
async fn another_number_voids_what_smartcar_has_said() {
    let keys = |calls| [("budget.calls_per_vehicle_month", calls), ("budget.reserve", "0")];
    let (mut gateway, car) = with_budget(404, &keys("17")).await;
    let calls = async |gateway: &mut TestGateway, calls| {
        gateway.configure("budget.calls_per_vehicle_month", calls);
        gateway.reopen().await;
    };
    assert_eq!(refresh(&gateway, &car).await.status, 200);
    gateway.net.change(|request, _| {
        let body = json!({ "type": "BILLING", "code": "VEHICLE_REQUEST_LIMIT", "statusCode": 430, "resolution": null });
        let answer = http::Response::builder().status(430).body(body.to_string().into()).unwrap();
        request.uri().path().ends_with("/batch").then_some(Ok(answer))
    });
    let before = reads(&gateway, &car);
    let spent = async |gateway: &TestGateway, calls: u32| {
        let refused = refresh(gateway, &car).await;
        is_problem(&refused, 429, "over_budget");
        let text = refused.text();
        assert!(text.contains(&format!("as Smartcar itself has said after {calls} calls: ")), "{text}");
        assert!(text.contains("write another number than before into budget.calls_per_vehicle_month, and restart"), "{text}");
    };
    spent(&gateway, 2).await;
    gateway.net.leave_alone();
    // A restart, or erasing the car, is no other plan.
    gateway.reopen().await;
    spent(&gateway, 2).await;
    assert_eq!(
        gateway.ask("DELETE", &format!("/api/v1/vehicles/{car}?history=erase")).bearer(&gateway.admin).send().await.status,
        204
    );
    gateway.connect("ada", ADA).await;
    spent(&gateway, 2).await;
    assert_eq!(reads(&gateway, &car), before + 1);
    let told = of(&gateway, &car).await;
    assert_eq!((&told["limit"], &told["refused_after"]), (&json!(2), &json!(2)));
    assert!(told["spent"].as_str().unwrap().contains("write another number than before"), "{told}");
    for (number, limit) in [("18", json!(18)), ("17", json!(17))] {
        calls(&mut gateway, number).await;
        assert_eq!((refresh(&gateway, &car).await.status, &of(&gateway, &car).await["limit"]), (200, &limit));
        let told = of(&gateway, &car).await;
        assert_eq!((&told["refused_after"], &told["spent"]), (&Value::Null, &Value::Null), "{told}");
    }
    // Carport's own limit is another sentence.
    calls(&mut gateway, "4").await;
    let refused = refresh(&gateway, &car).await;
    is_problem(&refused, 429, "over_budget");
    assert!(!refused.text().contains("Smartcar itself"), "{}", refused.text());
    gateway.finish().await;
}

/// While it was asked to wait, the clock was years ahead: Carport does not wait for years.
#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_keeps_nobody_waiting() {
    for (seed, code) in [(407, "VEHICLE"), (408, "SMARTCAR_API")] {
        let (gateway, car) = with_budget(seed, &[]).await;
        gateway.net.change(move |request, _| {
            let body = json!({ "type": "RATE_LIMIT", "code": code, "statusCode": 429, "resolution": null }).to_string();
            let answer = http::Response::builder().status(429).body(body.into()).unwrap();
            request.uri().path().ends_with("/batch").then_some(Ok(answer))
        });
        gateway.set_clock(5 * 365 * 86_400);
        is_problem(&refresh(&gateway, &car).await, 429, "over_budget");
        gateway.net.leave_alone();
        is_problem(&refresh(&gateway, &car).await, 429, "over_budget");
        gateway.set_clock(0);
        let budget = gateway.told("/api/v1/budget").await;
        let rests = [&budget["application"]["rests_until"], &of(&gateway, &car).await["rests_until"]];
        assert_eq!(rests, [&Value::Null, &Value::Null], "{code}");
        if code == "SMARTCAR_API" {
            // The bucket is empty, and fills again.
            assert_eq!(refresh(&gateway, &car).await.header("retry-after"), Some("30"));
            pass(Duration::from_secs(30)).await;
        }
        assert_eq!(refresh(&gateway, &car).await.status, 200, "{code}");
        gateway.finish().await;
    }
}

/// What is asked without being counted meets Smartcar's limits as well: the next one waits, whatever it asks.
#[tokio::test(start_paused = true)]
async fn a_limit_that_an_uncounted_call_meets_is_heard() {
    let scope = [("smartcar.scope", "read_vehicle_info,read_odometer,control_security")];
    let gateway = TestGateway::with(406, &scope, Settings { seed: 406, ..Settings::default() }).await;
    let refuse = |path: String, status: u16| {
        gateway.net.change(move |request, _| {
            let answer = http::Response::builder().status(status).header("retry-after", "90").body("".into()).unwrap();
            (request.uri().path() == path).then_some(Ok(answer))
        });
    };
    // Nobody has told yet what make the car is.
    gateway.net.change(|request, answer| {
        let mut list: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        for item in list["data"].as_array_mut().into_iter().flatten() {
            item["attributes"]["vehicle"].as_object_mut().unwrap().remove("make");
        }
        (request.uri().path() == "/v3/connections").then(|| Ok(answer.clone().map(|_| list.to_string().into())))
    });
    gateway.connect("grace", GRACE).await;
    let car = gateway.vehicles_of(GRACE).remove(0);
    let make = async || gateway.told(&format!("/api/v1/vehicles/{car}")).await["make"].clone();
    let sent = || gateway.net.sent().len();

    // That it cannot be had keeps nobody from reading the car.
    refuse(format!("/v3/vehicles/{car}"), 500);
    assert_eq!((refresh(&gateway, &car).await.status, make().await), (200, Value::Null));
    refuse(format!("/v3/vehicles/{car}"), 429);
    let refused = refresh(&gateway, &car).await;
    is_problem(&refused, 429, "over_budget");
    let (waits, used, before) = (wait(&refused), of(&gateway, &car).await["used"].clone(), sent());
    assert_eq!((waits, used), (90, json!(1)));
    let lock = gateway.post(&format!("/api/v1/vehicles/{car}/commands/security/lock"), &json!({}));
    for answer in [refresh(&gateway, &car).await, lock.bearer(&gateway.admin).send().await] {
        is_problem(&answer, 429, "over_budget");
    }
    gateway.net.leave_alone();
    assert_eq!(sent(), before);
    pass(Duration::from_secs(90)).await;
    assert_eq!((refresh(&gateway, &car).await.status, make().await.is_string()), (200, true));

    // So it is with a list, and whoever is kept waiting is told for how long.
    refuse("/v3/connections".to_owned(), 429);
    let path = format!("/api/v1/vehicles/{car}");
    let refused = gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await;
    is_problem(&refused, 429, "over_budget");
    assert_eq!(wait(&refused), 90);
    is_problem(&refresh(&gateway, &car).await, 429, "over_budget");
    // Meanwhile nothing else is asked, but a car can be ended.
    gateway.net.leave_alone();
    let before = sent();
    let refused = gateway.post(&format!("{path}/subscribe"), &json!({})).bearer(&gateway.admin).send().await;
    is_problem(&refused, 429, "over_budget");
    assert_eq!((wait(&refused), sent()), (90, before));
    assert_eq!(gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await.status, 204);
    gateway.finish().await;
}

/// What Carport asks by itself does not take the call that somebody was told to come back for.
#[tokio::test(start_paused = true)]
async fn who_comes_back_when_told_finds_a_call() {
    let (mut gateway, car) = with_budget(411, &[("webhooks.subscribe", "off")]).await;
    gateway.connect("grace", GRACE).await;
    gateway.net.change(|request, _| {
        let is_read = ["/batch", "/signals"].iter().any(|read| request.uri().path().ends_with(read));
        is_read.then(|| Ok(http::Response::builder().status(429).header("retry-after", "60").body("".into()).unwrap()))
    });
    gateway.start();
    pass(Duration::from_secs(5)).await;
    let refused = refresh(&gateway, &car).await;
    is_problem(&refused, 429, "over_budget");
    let page = Person::of(&gateway).await.look("/system").await;
    assert!(page.contains(&format!("Smartcar asks to be left alone for {} s.", wait(&refused))), "{page}");
    gateway.net.leave_alone();
    // The first pictures of three cars come back as soon.
    pass(Duration::from_secs(wait(&refused) + 1)).await;
    let answer = refresh(&gateway, &car).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    pass(HOUR).await;
    for car in gateway.vehicles_of(ADA).iter().chain(&gateway.vehicles_of(GRACE)) {
        assert!(show(&gateway, car).await["signals"].as_object().is_some_and(|signals| !signals.is_empty()), "{car}");
    }
    gateway.finish().await;
}

/// Many that are refused at once have met one refusal: nobody waits for hours.
#[tokio::test(start_paused = true)]
async fn a_burst_of_refusals_is_one() {
    let webhook = Some(WebhookSettings::new("https://gateway.example/api/webhooks/smartcar"));
    let simulation = Settings { seed: 409, cars: 12, webhook, ..Settings::default() };
    let mut gateway = TestGateway::with(409, &[], simulation).await;
    let accounts = gateway.simulator.accounts();
    for (number, account) in accounts.iter().enumerate() {
        gateway.connect(&format!("owner-{number}"), &account.email).await;
    }
    let subscribes = |path: &str| path.contains("/webhooks/") || path.contains("/v3/subscriptions");
    let refused = || Ok(http::Response::builder().status(429).body("".into()).unwrap());
    gateway.net.change(move |request, _| subscribes(request.uri().path()).then(refused));
    gateway.start();
    pass(Duration::from_secs(10)).await;
    let asked = || gateway.net.sent().iter().filter(|sent| subscribes(sent)).count();
    assert_eq!(asked(), 1);
    let rests_until = async || {
        let told = gateway.told("/api/v1/budget").await["application"]["rests_until"].clone();
        Timestamp::parse(told.as_str().unwrap()).unwrap()
    };
    let until = rests_until().await;
    assert!(until.since(gateway.now()) <= Duration::from_secs(60), "{until}");
    // What is tried all the same, as the end of a car, makes it no longer.
    gateway.net.change(move |request, _| (request.method() != "POST").then(refused));
    let car = &accounts[0].vehicle_ids[0];
    for _ in 0..3 {
        let answer = gateway.ask("DELETE", &format!("/api/v1/vehicles/{car}")).bearer(&gateway.admin).send().await;
        is_problem(&answer, 429, "over_budget");
        assert_eq!(rests_until().await, until);
    }
    gateway.net.leave_alone();
    pass(Duration::from_secs(60)).await;
    // A limit of this car's own is heard, too.
    gateway.net.change(move |request, _| {
        let error = json!({ "type": "RATE_LIMIT", "code": "VEHICLE", "statusCode": 429, "resolution": null }).to_string();
        let answer = http::Response::builder().status(429).header("retry-after", "90").body(error.into()).unwrap();
        (request.method() == "DELETE").then_some(Ok(answer))
    });
    let answer = gateway.ask("DELETE", &format!("/api/v1/vehicles/{car}")).bearer(&gateway.admin).send().await;
    is_problem(&answer, 429, "over_budget");
    assert_eq!(wait(&answer), 90);
    assert!(of(&gateway, car).await["rests_until"].is_string());
    gateway.net.leave_alone();
    pass(HOUR).await;
    // The one that Smartcar has ended, though the answers did not come through, is tried at waits that double; all others are
    // subscribed once, and one of them was refused before.
    let cars: usize = accounts.iter().map(|account| account.vehicle_ids.len()).sum();
    let ended = gateway.net.sent().iter().filter(|sent| subscribes(sent) && sent.contains(car.as_str())).count();
    assert_eq!((cars, ended, asked() - ended), (12, 6, 11 + 1));
    gateway.finish().await;
}

/// Whoever writes another day on which Smartcar counts anew has made the same calls as before.
#[tokio::test(start_paused = true)]
async fn another_reset_day_forgets_no_call() {
    let (mut gateway, car) = with_budget(405, &[("budget.reserve", "0")]).await;
    let day = |gateway: &TestGateway| gateway.now().to_string()[8..10].parse::<u8>().unwrap();
    // To the second day of a month, so that there is a day of the same month before.
    while day(&gateway) != 2 {
        pass(DAY).await;
    }
    for _ in 0..3 {
        assert_eq!(refresh(&gateway, &car).await.status, 200);
    }
    pass(DAY * 10).await;
    for _ in 0..4 {
        assert_eq!(refresh(&gateway, &car).await.status, 200);
    }
    for (reset_day, used) in [("12", 4), ("1", 7), ("13", 7), ("3", 4), ("1", 7)] {
        gateway.configure("budget.reset_day", reset_day);
        gateway.reopen().await;
        let told = of(&gateway, &car).await;
        assert_eq!((&told["used"], &told["reasons"]["request"]), (&json!(used), &json!(used)), "{reset_day}: {told}");
    }
    // Also if a call is made between.
    for (reset_day, used) in [("12", 5), ("1", 9)] {
        gateway.configure("budget.reset_day", reset_day);
        gateway.reopen().await;
        assert_eq!(refresh(&gateway, &car).await.status, 200);
        assert_eq!(of(&gateway, &car).await["used"], used);
    }
    gateway.finish().await;
}

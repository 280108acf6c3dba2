//! Clients that ask again and again, all at once, or for what is everybody's: the calls that they cost stay few, and
//! they are told why in Smartcar's own words.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use super::{V2, V3, calls, is_error, reasons, with_owner};
use crate::gateway::{HOUR, TestGateway, events, pass};
use crate::simulator::rig::{ADA, Answer};

const ENDPOINTS: [&str; 16] = [
    "",
    "vin",
    "odometer",
    "battery",
    "battery/capacity",
    "battery/nominal_capacity",
    "charge",
    "charge/limit",
    "fuel",
    "engine/oil",
    "location",
    "tires/pressure",
    "security",
    "diagnostics/system_status",
    "diagnostics/dtcs",
    "service/history",
];

/// Asks for every endpoint of both generations for a day, and says which errors there were: one endpoint every so many
/// minutes, and all of them at the hour and the half hour.
async fn poll(gateway: &TestGateway, car: &str, token: &str, every: usize, cache_control: Option<&str>) -> BTreeSet<String> {
    let mut errors = BTreeSet::new();
    for minute in (0..24 * 60).step_by(every) {
        let all = minute % 30 == 0;
        let one = ENDPOINTS.into_iter().cycle().nth(minute / every);
        for path in ENDPOINTS.into_iter().filter(|path| all || one == Some(*path)) {
            let ask = gateway.get(&format!("/v2.0/vehicles/{car}/{path}")).bearer(token);
            let answer = if let Some(value) = cache_control { ask.header("cache-control", value) } else { ask }.send().await;
            if answer.status != 200 {
                let body = answer.json();
                assert_eq!(body["statusCode"], answer.status, "{path}: {body}");
                assert!(body["requestId"].is_string() && body["resolution"].is_object(), "{path}: {body}");
                errors.insert(format!("{}:{}", body["type"].as_str().unwrap(), body["code"].as_str().unwrap_or("-")));
            }
        }
        if all {
            let signals = gateway.get(&format!("/v3/vehicles/{car}/signals")).bearer(token).send().await;
            assert!(signals.status == 200 || signals.json()["errors"][0]["type"].is_string(), "{}", signals.text());
        }
        pass(Duration::from_secs(60 * u64::try_from(every).unwrap())).await;
    }
    errors
}

#[tokio::test(start_paused = true)]
async fn polling_a_car_that_fails_costs_few_calls() {
    for (seed, generation, every) in [(520, V2, 1), (521, V3, 5)] {
        let (gateway, car, token) = with_owner(seed, generation, &[]).await;
        gateway.simulator.set_trouble(&car, Some("VEHICLE_STATE.ASLEEP")).unwrap();
        // API v3 tells what Smartcar has stored of a car that sleeps: let it fail as a whole.
        gateway.net.change(|request, _| {
            let error = json!({ "errors": [{ "status": "409", "type": "VEHICLE_STATE", "code": "ASLEEP" }] });
            let answer = Response::builder().status(409).body(Bytes::from(error.to_string())).unwrap();
            request.uri().path().ends_with("/signals").then_some(Ok(answer))
        });
        let errors = poll(&gateway, &car, &token, every, None).await;
        let spent = calls(&gateway, &car);
        println!("a day of polling a car that sleeps: {spent} calls, {errors:?}");
        // 5, 10, 20, ... minutes apart.
        assert!((5..=10).contains(&spent), "{spent}");
        let expected = ["PERMISSION:-", "VEHICLE_STATE:ASLEEP"].map(str::to_owned);
        assert!(errors.iter().all(|error| expected.contains(error) || error.starts_with("COMPATIBILITY")), "{errors:?}");
        assert!(errors.contains("VEHICLE_STATE:ASLEEP"), "{errors:?}");
        // It wakes, and a delivery says so: nobody waits for the rest of the day.
        gateway.simulator.set_trouble(&car, None).unwrap();
        gateway.net.leave_alone();
        pass(Duration::from_secs(1)).await;
        let now = gateway.now().as_millis();
        gateway.deliver(&events::state("e", &car, &[events::signal("tractionbattery-stateofcharge", 50, now)])).await;
        gateway.catch_up().await;
        let answer = gateway.get(&format!("/v2.0/vehicles/{car}/odometer")).bearer(&token).send().await;
        assert_eq!((answer.status, calls(&gateway, &car)), (200, spent + 1), "{}", answer.text());
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn polling_for_what_a_car_never_tells_costs_few_calls() {
    for (seed, generation) in [(522, V2), (523, V3)] {
        let (gateway, _, token) = with_owner(seed, generation, &[]).await;
        for car in gateway.vehicles_of(generation.0) {
            let errors = poll(&gateway, &car, &token, 5, None).await;
            let spent = calls(&gateway, &car);
            println!("a day of polling everything of a car: {spent} calls, {errors:?}");
            assert!((1..=6).contains(&spent), "{spent}");
            let is_lasting = |error: &String| error.starts_with("COMPATIBILITY") || error.starts_with("PERMISSION");
            assert!(errors.iter().all(is_lasting) && !errors.is_empty(), "{errors:?}");
        }
        gateway.finish().await;
    }
}

/// A client that wants everything fresh, always, from a car that fails.
#[tokio::test(start_paused = true)]
async fn not_even_a_client_that_insists_asks_a_failing_car_each_time() {
    let (gateway, car, token) = with_owner(524, V2, &[]).await;
    assert_eq!(gateway.get(&format!("/v2.0/vehicles/{car}/odometer")).bearer(&token).send().await.status, 200);
    gateway.simulator.set_trouble(&car, Some("CONNECTED_SERVICES_ACCOUNT.SUBSCRIPTION")).unwrap();
    let before = calls(&gateway, &car);
    let insists = || gateway.get(&format!("/v2.0/vehicles/{car}/odometer")).bearer(&token).header("cache-control", "no-cache");
    is_error(&insists().send().await, 400, "CONNECTED_SERVICES_ACCOUNT", Some("SUBSCRIPTION"));
    let again = insists().send().await;
    is_error(&again, 400, "CONNECTED_SERVICES_ACCOUNT", Some("SUBSCRIPTION"));
    assert_eq!((again.header("retry-after"), calls(&gateway, &car)), (Some("300"), before + 1));
    // Who does not insist gets what is stored.
    assert_eq!(gateway.get(&format!("/v2.0/vehicles/{car}/odometer")).bearer(&token).send().await.status, 200);
    let errors = poll(&gateway, &car, &token, 5, Some("no-cache")).await;
    let spent = calls(&gateway, &car) - before;
    println!("a day of insisting on fresh values of a car that fails: {spent} calls, {errors:?}");
    assert!(spent <= 12, "{spent}");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn equal_reads_at_the_same_moment_are_one_call() {
    for (seed, generation, path) in [(525, V2, "v2.0/vehicles/{}/odometer"), (526, V3, "v3/vehicles/{}/signals")] {
        let (gateway, car, token) = with_owner(seed, generation, &[]).await;
        let ask = || {
            let path = format!("/{}", path.replace("{}", &car));
            gateway.get(&path).bearer(&token).header("cache-control", "no-cache").send()
        };
        let (a, b, c, d) = tokio::join!(ask(), ask(), ask(), ask());
        assert_eq!([a.status, b.status, c.status, d.status], [200; 4], "{}", a.text());
        assert_eq!((a.json(), calls(&gateway, &car)), (d.json(), 1));
        // The next moment is another one.
        assert_eq!((ask().await.status, calls(&gateway, &car)), (200, 2));
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_only_read_leaves_calls_to_the_owner() {
    let more = [("budget.calls_per_vehicle_month", "12"), ("budget.reserve", "2")];
    let (gateway, car, token) = with_owner(527, V2, &more).await;
    let reader = gateway.create_token(&json!({ "name": "page", "scope": "read", "user": "owner" })).await;
    let fresh = async |token: &str| {
        gateway.get(&format!("/v2.0/vehicles/{car}/odometer")).bearer(token).header("cache-control", "no-cache").send().await
    };
    for _ in 0..5 {
        assert_eq!(fresh(&reader).await.status, 200);
    }
    let refused = fresh(&reader).await;
    is_error(&refused, 430, "BILLING", Some("VEHICLE_REQUEST_LIMIT"));
    assert!(refused.json()["description"].as_str().unwrap().contains("scope `control`"), "{}", refused.text());
    for _ in 0..5 {
        assert_eq!(fresh(&token).await.status, 200);
    }
    is_error(&fresh(&token).await, 430, "BILLING", Some("VEHICLE_REQUEST_LIMIT"));
    assert_eq!(reasons(&gateway, &car).await, json!({ "compat": 5, "reader": 5 }));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_everybodys_is_asked_for_once_and_leaves_calls_to_cars() {
    let gateway = TestGateway::new(528).await;
    gateway.connect("owner", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    let reader = gateway.create_token(&json!({ "name": "page", "scope": "read" })).await;
    let ask = |path: &str| gateway.get(path).bearer(&reader).send();
    let matrix = "/v2.0/compatibility/matrix?region=EUROPE&make=TESLA";
    let (a, b) = tokio::join!(ask(matrix), ask(matrix));
    assert_eq!((a.status, a.json()), (200, b.json()));
    assert_eq!(ask(matrix).await.status, 200);
    assert_eq!(gateway.net.count("GET /v2.0/compatibility/matrix"), 1);
    for path in ["/v3/webhooks", "/v3/subscriptions"] {
        assert_eq!((ask(path).await.status, ask(path).await.status), (200, 200), "{path}");
        assert_eq!(gateway.net.count(&format!("GET {path}")), 1, "{path}");
    }
    pass(Duration::from_secs(61)).await;
    assert_eq!((ask("/v3/webhooks").await.status, gateway.net.count("GET /v3/webhooks")), (200, 2));

    // Each about another car: the application's bucket is not emptied.
    let mut answers: Vec<Answer> = Vec::new();
    for number in 0..150 {
        answers.push(ask(&format!("/v2.0/compatibility?vin=0SC000000000{number:05}&scope=read_vin&country=DE")).await);
    }
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    is_error(refused, 429, "RATE_LIMIT", Some("SMARTCAR_API"));
    assert!(refused.header("retry-after").is_some());
    assert!(refused.text().contains("tokens of scope `read` leave the last 30 to others"), "{}", refused.text());
    assert!(gateway.net.count("GET /v2.0/compatibility?") < 90);
    let left = gateway.told("/api/v1/budget").await["application"]["left"].as_u64().unwrap();
    assert!((29..=31).contains(&left), "{left}");
    let refresh = gateway.post(&format!("/api/v1/vehicles/{car}/refresh"), &json!({})).bearer(&gateway.admin).send().await;
    assert_eq!(refresh.status, 200, "{}", refresh.text());
    gateway.finish().await;
}

/// Smartcar says within a batch that a car wants to be left alone.
#[tokio::test(start_paused = true)]
async fn a_limit_in_a_part_of_a_batch_is_heard() {
    let (gateway, car, token) = with_owner(529, V2, &[]).await;
    gateway.net.change(|request, _| {
        let body = json!({ "type": "RATE_LIMIT", "code": "VEHICLE", "statusCode": 429, "resolution": { "type": "RETRY_LATER" } });
        let part = json!({ "path": "/odometer", "code": 429, "body": body, "headers": { "Retry-After": "90" } });
        let answer = Bytes::from(json!({ "responses": [part] }).to_string());
        request.uri().path().ends_with("/batch").then(|| Ok(Response::new(answer)))
    });
    let ask = async |path: &str| gateway.get(&format!("/v2.0/vehicles/{car}/{path}")).bearer(&token).send().await;
    is_error(&ask("odometer").await, 429, "RATE_LIMIT", Some("VEHICLE"));
    gateway.net.leave_alone();
    let before = calls(&gateway, &car);
    // Carport's own reads know it too.
    let refresh =
        async || gateway.post(&format!("/api/v1/vehicles/{car}/refresh"), &json!({})).bearer(&gateway.admin).send().await;
    let refused = refresh().await;
    assert_eq!((refused.status, refused.header("retry-after"), calls(&gateway, &car)), (429, Some("90"), before));
    pass(Duration::from_secs(91)).await;
    assert_eq!((refresh().await.status, calls(&gateway, &car)), (200, before + 1));
    assert_eq!(ask("odometer").await.status, 200);
    gateway.finish().await;
}

/// Smartcar says that it was asked too often, and not how long to wait: Carport says when it will ask again.
#[tokio::test(start_paused = true)]
async fn a_limit_of_smartcars_comes_with_a_time() {
    let (gateway, car, token) = with_owner(534, V2, &[]).await;
    for (status, body, code) in [
        (429, json!({ "type": "RATE_LIMIT", "code": "SMARTCAR_API", "statusCode": 429 }), "SMARTCAR_API"),
        (429, json!({ "type": "RATE_LIMIT", "code": "VEHICLE", "statusCode": 429 }), "VEHICLE"),
        (429, json!({}), "SMARTCAR_API"),
    ] {
        let body = Bytes::from(body.to_string());
        gateway.net.change(move |request, _| {
            let answer = Response::builder().status(status).body(body.clone()).unwrap();
            request.uri().path().ends_with("/batch").then_some(Ok(answer))
        });
        let ask = gateway.get(&format!("/v2.0/vehicles/{car}/odometer")).bearer(&token).header("cache-control", "no-cache");
        let refused = ask.send().await;
        is_error(&refused, 429, "RATE_LIMIT", Some(code));
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((60..=240).contains(&wait), "{wait}");
        gateway.net.leave_alone();
        pass(HOUR).await;
    }
    gateway.finish().await;
}

/// Erasing a car takes its data, and not what it has cost.
#[tokio::test(start_paused = true)]
async fn a_car_that_is_erased_and_comes_back_has_the_same_month() {
    let more = [("budget.calls_per_vehicle_month", "3"), ("budget.reserve", "0")];
    let (mut gateway, car, token) = with_owner(530, V2, &more).await;
    let fresh = async |gateway: &TestGateway, token: &str| {
        let ask = gateway.get(&format!("/v2.0/vehicles/{car}/odometer")).bearer(token).header("cache-control", "no-cache");
        ask.send().await
    };
    for _ in 0..2 {
        assert_eq!(fresh(&gateway, &token).await.status, 200);
    }
    let used = async |gateway: &TestGateway| {
        let budget = gateway.told("/api/v1/budget").await;
        let items = budget["items"].as_array().unwrap().clone();
        items.into_iter().filter(|item| item["vehicle"] == car.as_str()).map(|item| item["used"].clone()).next_back()
    };
    let path = format!("/api/v1/vehicles/{car}?history=erase");
    assert_eq!(gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await.status, 204);
    assert_eq!(used(&gateway).await, None);
    gateway.lose_power(Duration::from_secs(5)).await;
    gateway.connect("owner", ADA).await;
    assert_eq!(used(&gateway).await, Some(json!(2)));
    assert_eq!(fresh(&gateway, &token).await.status, 200);
    is_error(&fresh(&gateway, &token).await, 430, "BILLING", Some("VEHICLE_REQUEST_LIMIT"));

    // Nor does a new owner begin the month anew.
    gateway.connect("other", ADA).await;
    assert_eq!(used(&gateway).await, Some(json!(3)));
    let other = gateway.create_token(&json!({ "name": "other", "scope": "control", "user": "other" })).await;
    is_error(&fresh(&gateway, &other).await, 430, "BILLING", Some("VEHICLE_REQUEST_LIMIT"));
    pass(32 * crate::gateway::DAY).await;
    assert_eq!(fresh(&gateway, &other).await.status, 200);
    gateway.finish().await;
}

/// One that cannot be ended does not keep the others, and is named.
#[tokio::test(start_paused = true)]
async fn of_several_connections_all_are_ended_that_can_be() {
    let (gateway, car, _) = with_owner(531, V2, &[]).await;
    let others: Vec<String> = gateway.vehicles_of(ADA).split_off(1);
    let failing = format!("/v2.0/vehicles/{car}/application");
    gateway.net.change(move |request, _| {
        let body =
            json!({ "type": "UPSTREAM", "code": "NO_RESPONSE", "statusCode": 502, "resolution": { "type": "RETRY_LATER" } });
        let answer = Response::builder().status(502).body(Bytes::from(body.to_string())).unwrap();
        (request.uri().path() == failing).then_some(Ok(answer))
    });
    let user = gateway.get("/v2.0/management/connections").bearer(&gateway.admin).send().await.json();
    let user = user["connections"][0]["userId"].as_str().unwrap().to_owned();
    let path = format!("/v2.0/management/connections?user_id={user}");
    let answer = gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    let body: Value = answer.json();
    let text = body["description"].as_str().unwrap();
    assert!(text.starts_with(&format!("{} of {} connections were ended.", others.len(), others.len() + 1)), "{text}");
    assert!(text.contains(&car) && !others.iter().any(|other| text.contains(other)), "{text}");
    assert_eq!((&body["detail"][0]["field"], body["detail"].as_array().unwrap().len()), (&json!("vehicle_id"), 1));
    let left = gateway.get("/v2.0/vehicles").bearer(&gateway.admin).send().await.json();
    assert_eq!(left["vehicles"], json!([car]));
    gateway.finish().await;
}

/// A list in many pages is many calls, and none of them is made without leave.
#[tokio::test(start_paused = true)]
async fn pages_end_where_the_budget_does() {
    let more = [("budget.calls_per_vehicle_month", "3"), ("budget.reserve", "1")];
    let (gateway, car, token) = with_owner(532, V3, &more).await;
    let mut page = 0;
    gateway.net.change(move |request, _| {
        if !request.uri().path().ends_with("/signals") {
            return None;
        }
        page += 1;
        let code = format!("odometer-page{page}");
        let attributes = json!({ "code": code, "status": { "value": "SUCCESS" }, "body": { "value": page } });
        let answer = json!({
            "data": [{ "id": code, "attributes": attributes }],
            "meta": { "totalCount": 40 },
            "links": { "next": format!("/signals?page={page}") },
        });
        Some(Ok(Response::new(Bytes::from(answer.to_string()))))
    });
    let signals = gateway.get(&format!("/v3/vehicles/{car}/signals")).bearer(&token).send().await;
    // What has come is told.
    assert_eq!((signals.status, signals.json()["data"].as_array().unwrap().len()), (200, 2), "{}", signals.text());
    assert_eq!((calls(&gateway, &car), reasons(&gateway, &car).await), (2, json!({ "compat": 2 })));
    let insists = gateway.get(&format!("/v3/vehicles/{car}/signals")).bearer(&token).header("cache-control", "no-cache");
    assert_eq!((insists.send().await.status, calls(&gateway, &car)), (430, 2));
    gateway.finish().await;
}

//! Commands: what an owner is told of each end that they can have, in both generations, and what the audit log keeps.

use std::time::Duration;

use bytes::Bytes;
use carport::simulator::{Fault, FaultKind, Faults, Settings};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::gateway::{TestGateway, is_problem, pass};
use crate::simulator::rig::{ADA, Answer, GRACE};

const SCOPE: &str = "read_vehicle_info,read_vin,read_odometer,read_battery,read_charge,read_security,\
                     control_charge,control_security,control_navigation";

/// The owner's car, which is connected by v2 for Ada and by v3 for Grace.
async fn with_car(seed: u64, account: &str, keys: &[(&str, &str)]) -> (TestGateway, String) {
    let keys = [&[("smartcar.scope", SCOPE)], keys].concat();
    let mut gateway = TestGateway::with(seed, &keys, Settings { seed, ..Settings::default() }).await;
    gateway.start();
    gateway.connect("owner", account).await;
    let car = gateway.vehicles_of(account).remove(0);
    (gateway, car)
}

async fn give_with(gateway: &TestGateway, car: &str, command: &str, body: &Value) -> Answer {
    gateway.post(&format!("/api/v1/vehicles/{car}/commands/{command}"), body).bearer(&gateway.admin).send().await
}

async fn give(gateway: &TestGateway, car: &str, command: &str) -> Answer {
    give_with(gateway, car, command, &json!({})).await
}

/// The newest entry of the audit log: its action, the ids after the car's, and the status.
async fn noted(gateway: &TestGateway) -> (String, Vec<String>, Value) {
    let entry = gateway.told("/api/v1/audit?limit=1").await["items"][0].clone();
    let ids = entry["ids"].as_array().unwrap().iter().skip(1).map(|id| id.as_str().unwrap().to_owned()).collect();
    assert_eq!((&entry["actor"]["kind"], &entry["actor"]["name"]), (&json!("token"), &json!("stories")), "{entry}");
    (entry["action"].as_str().unwrap().to_owned(), ids, entry["status"].clone())
}

const RUN: &str = "POST /api/v1/vehicles/{id}/commands/{group}/{action}";

/// It has ended, and the audit log says how.
async fn ended(gateway: &TestGateway, answer: &Answer, command: &str, status: &str) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!((&told["command"], &told["status"]), (&json!(command), &json!(status)), "{told}");
    assert!(told["ended_at"].is_string(), "{told}");
    let (group, action) = command.split_once('/').unwrap();
    let told_of = [group, action, told["id"].as_str().unwrap()].into_iter().chain(told["error"]["code"].as_str());
    let ids = told_of.chain([status]).map(str::to_owned).collect();
    assert_eq!(noted(gateway).await, (RUN.to_owned(), ids, json!(200)));
    let path = format!("/api/v1/vehicles/{}/commands/{}", told["vehicle"].as_str().unwrap(), told["id"].as_str().unwrap());
    assert_eq!(gateway.told(&path).await, told);
    told
}

async fn refused(gateway: &TestGateway, answer: &Answer, status: u16, code: &str) {
    is_problem(answer, status, code);
    let (action, ids, noted) = noted(gateway).await;
    assert_eq!((&*action, ids.last().unwrap().as_str(), noted), (RUN, code, json!(status)));
}

fn sent(gateway: &TestGateway, car: &str) -> usize {
    ["commands", "security", "charge", "navigation"]
        .iter()
        .map(|part| {
            gateway.net.count(&format!("POST /v2.0/vehicles/{car}/{part}"))
                + gateway.net.count(&format!("POST /v3/vehicles/{car}/{part}"))
        })
        .sum()
}

async fn used(gateway: &TestGateway, car: &str) -> u64 {
    let budget = gateway.told("/api/v1/budget").await;
    let of = budget["items"].as_array().unwrap().iter().find(|vehicle| vehicle["vehicle"] == car).unwrap().clone();
    of["reasons"]["command"].as_u64().unwrap_or(0)
}

fn now(kind: FaultKind) -> Faults {
    Faults::new([Fault::once(kind)])
}

const LATE: FaultKind = FaultKind::Delay(Duration::from_secs(180));

#[tokio::test(start_paused = true)]
async fn the_car_does_it_or_says_why_not() {
    for (seed, account) in [(500, ADA), (501, GRACE)] {
        let (gateway, car) = with_car(seed, account, &[]).await;
        let told = ended(&gateway, &give(&gateway, &car, "security/unlock").await, "security/unlock", "success").await;
        assert_eq!(told["error"], Value::Null);
        ended(&gateway, &give(&gateway, &car, "security/lock").await, "security/lock", "success").await;
        let there = json!({ "latitude": 52.5, "longitude": 13.4 });
        let answer = give_with(&gateway, &car, "navigation/set-destination", &there).await;
        ended(&gateway, &answer, "navigation/set-destination", "success").await;

        for (trouble, part, after, url) in [
            ("VEHICLE_STATE.ASLEEP", "The car is asleep; open a door", json!(600), false),
            ("VEHICLE_STATE.IN_MOTION", "The car is driving; park it first", json!(600), false),
            ("CONNECTED_SERVICES_ACCOUNT.SUBSCRIPTION", "connected services have run out", Value::Null, false),
            // Connecting again is the only way from here on.
            ("CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED", "no longer accepts the owner's sign-in", Value::Null, true),
        ] {
            gateway.simulator.set_trouble(&car, Some(trouble)).unwrap();
            let told = ended(&gateway, &give(&gateway, &car, "security/lock").await, "security/lock", "failed").await;
            let error = &told["error"];
            assert_eq!(error["code"], trouble.replace('.', ":"), "{told}");
            assert!(error["sentence"].as_str().unwrap().contains(part), "{told}");
            assert_eq!((&error["retry_after"], error["resolution_url"].is_string()), (&after, url), "{told}");
        }
        let (before, answer) = (sent(&gateway, &car), give(&gateway, &car, "security/lock").await);
        refused(&gateway, &answer, 409, "reconnect_required").await;
        assert_eq!((sent(&gateway, &car), used(&gateway, &car).await), (before, 7));
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_told_before_a_call_is_spent() {
    let (gateway, car) = with_car(502, ADA, &[]).await;
    refused(&gateway, &give(&gateway, &car, "charge-port/open").await, 409, "not_possible").await;
    let before = noted(&gateway).await;
    is_problem(&give(&gateway, &car, "climate/start").await, 404, "not_found");
    for command in ["charge/set-limit", "charge/start"] {
        is_problem(&give_with(&gateway, &car, command, &json!({ "percent": 30 })).await, 400, "bad_request");
    }
    is_problem(&give(&gateway, "nobodys", "charge/start").await, 404, "not_found");
    // What nobody could have done says nothing of the car.
    assert_eq!(noted(&gateway).await, before);
    let reader = gateway.create_token(&json!({ "name": "reader", "scope": "read" })).await;
    let path = format!("/api/v1/vehicles/{car}/commands/charge/start");
    is_problem(&gateway.post(&path, &json!({})).bearer(&reader).send().await, 403, "forbidden");
    assert_eq!((sent(&gateway, &car), used(&gateway, &car).await), (0, 0));
    gateway.finish().await;

    // As it is by default: no owner is asked for control.
    for (seed, account) in [(503, ADA), (504, GRACE)] {
        let (gateway, car) = with_car(seed, account, &[("smartcar.scope", "read_vehicle_info,read_charge")]).await;
        let answer = give(&gateway, &car, "charge/start").await;
        refused(&gateway, &answer, 403, "no_permission").await;
        let remedy = format!("`carport connect --vehicle {car} --add-scope control_charge`");
        assert!(answer.json()["detail"].as_str().unwrap().contains(&remedy), "{}", answer.text());
        assert_eq!((sent(&gateway, &car), used(&gateway, &car).await), (0, 0));
        gateway.finish().await;
    }
}

/// Whatever is asked about a car that was disconnected, the answer is the same.
#[tokio::test(start_paused = true)]
async fn a_car_that_is_not_connected_says_so_and_what_to_do() {
    for (seed, account) in [(515, ADA), (516, GRACE)] {
        let (gateway, car) = with_car(seed, account, &[]).await;
        let connection = gateway.told(&format!("/api/v1/vehicles/{car}")).await["connection"].as_str().unwrap().to_owned();
        let ended = gateway.ask("DELETE", &format!("/api/v1/connections/{connection}")).bearer(&gateway.admin).send().await;
        assert_eq!(ended.status, 204, "{}", ended.text());
        let remedy = format!("This car is not connected: connect it again (`carport connect --vehicle {car}`).");
        let connection = format!("connections/{connection}");
        for asked in ["commands/security/lock", "refresh", "subscribe"].map(|rest| format!("vehicles/{car}/{rest}")) {
            let answer = gateway.post(&format!("/api/v1/{asked}"), &json!({})).bearer(&gateway.admin).send().await;
            is_problem(&answer, 409, "not_connected");
            assert_eq!(answer.json()["detail"], remedy, "{asked}");
        }
        let answer = gateway.post(&format!("/api/v1/{connection}/refresh"), &json!({})).bearer(&gateway.admin).send().await;
        is_problem(&answer, 409, "not_connected");
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_budget_holds_and_the_reserve_is_for_commands() {
    let keys = [("budget.calls_per_vehicle_month", "4"), ("budget.reserve", "2")];
    let (gateway, car) = with_car(505, GRACE, &keys).await;
    pass(Duration::from_secs(60)).await;
    let refresh = || gateway.post(&format!("/api/v1/vehicles/{car}/refresh"), &json!({})).bearer(&gateway.admin).send();
    while refresh().await.status == 200 {}
    is_problem(&refresh().await, 429, "over_budget");
    for _ in 0..2 {
        ended(&gateway, &give(&gateway, &car, "security/lock").await, "security/lock", "success").await;
    }
    let answer = give(&gateway, &car, "security/lock").await;
    refused(&gateway, &answer, 429, "over_budget").await;
    assert!(answer.header("retry-after").is_some());
    assert_eq!((sent(&gateway, &car), used(&gateway, &car).await), (2, 2));
    gateway.finish().await;
}

/// Smartcar answers 202 and tells the outcome minutes later, as the body of the same answer.
#[tokio::test(start_paused = true)]
async fn what_comes_late_is_told_where_the_answer_said() {
    const GOOD: &str = r#"{"data":{"type":"command","attributes":{"status":"SUCCESS"}}}"#;
    const BAD: &str = r#"{"errors":[{"status":"409","type":"VEHICLE_STATE","code":"UNREACHABLE","resolution":{"type":null}}]}"#;
    for (seed, body, status) in [(506, GOOD, "success"), (507, BAD, "failed"), (508, "", "unknown")] {
        let (gateway, car) = with_car(seed, GRACE, &[]).await;
        gateway.net.change(move |request, _| {
            let mut late = Response::new(Bytes::from_static(body.as_bytes()));
            *late.status_mut() = StatusCode::ACCEPTED;
            request.uri().path().contains("/commands/").then_some(Ok(late))
        });
        gateway.simulator.set_faults(now(LATE));
        let began = tokio::time::Instant::now();
        let answer = give(&gateway, &car, "charge/stop").await;
        assert_eq!((answer.status, began.elapsed()), (202, Duration::from_secs(25)), "{}", answer.text());
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("location"), Some(&*format!("/api/v1/vehicles/{car}/commands/{id}")));
        let path = answer.header("location").unwrap().to_owned();
        assert_eq!(gateway.told(&path).await["status"], "pending");
        let ids = ["charge", "stop", &id, "pending"].map(str::to_owned).to_vec();
        assert_eq!(noted(&gateway).await, (RUN.to_owned(), ids, json!(202)));

        // One at a time for each car.
        let second = give(&gateway, &car, "security/lock").await;
        refused(&gateway, &second, 409, "under_way").await;
        assert!(second.json()["detail"].as_str().unwrap().contains(&id), "{}", second.text());

        pass(Duration::from_secs(200)).await;
        let told = gateway.told(&path).await;
        assert_eq!(told["status"], status, "{told}");
        assert_eq!(told["error"].is_null(), status == "success", "{told}");
        let code = Some("VEHICLE_STATE:UNREACHABLE").filter(|_| status == "failed");
        let ids = ["charge/stop", &id].into_iter().chain(code).chain([status]).map(str::to_owned).collect();
        assert_eq!(noted(&gateway).await, ("command ended".to_owned(), ids, Value::Null));
        assert_eq!(sent(&gateway, &car), 1);

        // It is durable, and the car listens again.
        gateway.net.leave_alone();
        ended(&gateway, &give(&gateway, &car, "security/lock").await, "security/lock", "success").await;
        let mut gateway = gateway;
        gateway.lose_power(Duration::from_secs(5)).await;
        assert_eq!(gateway.told(&path).await, told);
        gateway.finish().await;
    }
}

/// A lost answer and a stranger's page say nothing of the car, and nothing is sent twice.
#[tokio::test(start_paused = true)]
async fn what_nobody_knows_is_said_to_be_unknown() {
    for (seed, account) in [(509, ADA), (510, GRACE)] {
        let (gateway, car) = with_car(seed, account, &[]).await;
        for (number, kind) in [FaultKind::LoseAnswer, FaultKind::Garble].into_iter().enumerate() {
            gateway.simulator.set_faults(now(kind));
            let told = ended(&gateway, &give(&gateway, &car, "security/unlock").await, "security/unlock", "unknown").await;
            assert!(told["error"]["sentence"].as_str().unwrap().starts_with("Nobody can say whether the car did it"), "{told}");
            assert_eq!(sent(&gateway, &car), number + 1);
        }
        // What never arrived has moved nothing.
        gateway.simulator.set_faults(now(FaultKind::Refuse));
        ended(&gateway, &give(&gateway, &car, "security/lock").await, "security/lock", "failed").await;
        gateway.simulator.set_faults(now(FaultKind::Throttle(Some(90))));
        let told = ended(&gateway, &give(&gateway, &car, "security/lock").await, "security/lock", "failed").await;
        assert_eq!(told["error"]["retry_after"], 90, "{told}");
        // The ledger has heard that, too.
        refused(&gateway, &give(&gateway, &car, "security/lock").await, 429, "over_budget").await;
        gateway.finish().await;
    }
}

/// Smartcar refuses for a limit, and does not say for how long: the record, the answer and the ledger name the same time.
#[tokio::test(start_paused = true)]
async fn a_limit_is_told_with_the_time_that_the_ledger_knows() {
    for (seed, account) in [(515, ADA), (516, GRACE)] {
        let (gateway, car) = with_car(seed, account, &[]).await;
        pass(Duration::from_secs(60)).await;
        let is_v2 = account == ADA;
        let refuse = |status: u16, error: Option<(&'static str, &'static str)>| {
            let body = match error {
                Some((kind, code)) if is_v2 => json!({ "type": kind, "code": code, "statusCode": status }),
                Some((kind, code)) => json!({ "errors": [{ "status": status.to_string(), "type": kind, "code": code }] }),
                None => json!({}),
            };
            gateway.net.change(move |request, _| {
                let answer = Response::builder().status(status).body(Bytes::from(body.to_string())).unwrap();
                let is_command = request.method() == "POST" && request.uri().path().contains("/security");
                is_command.then_some(Ok(answer))
            });
        };
        // In Smartcar's own words.
        let lock = async || {
            let (path, body) = if is_v2 {
                (format!("/v2.0/vehicles/{car}/security"), json!({ "action": "LOCK" }))
            } else {
                (format!("/v3/vehicles/{car}/commands/security/lock"), json!({}))
            };
            let answer = gateway.post(&path, &body).bearer(&gateway.admin).send().await;
            let told = answer.json();
            let error = if is_v2 { told } else { told["errors"][0].clone() };
            let wait = answer.header("retry-after").map(|after| after.parse::<u64>().unwrap());
            (answer.status, format!("{}:{}", error["type"].as_str().unwrap(), error["code"].as_str().unwrap()), wait)
        };
        for (error, code, name) in [
            (Some(("RATE_LIMIT", "SMARTCAR_API")), json!("RATE_LIMIT:SMARTCAR_API"), "RATE_LIMIT:SMARTCAR_API"),
            (Some(("RATE_LIMIT", "VEHICLE")), json!("RATE_LIMIT:VEHICLE"), "RATE_LIMIT:VEHICLE"),
            (None, Value::Null, "RATE_LIMIT:SMARTCAR_API"),
        ] {
            refuse(429, error);
            let told = ended(&gateway, &give(&gateway, &car, "security/lock").await, "security/lock", "failed").await;
            assert_eq!((&told["error"]["code"], &told["error"]["retry_after"]), (&code, &json!(60)), "{told}");
            let again = give(&gateway, &car, "security/lock").await;
            refused(&gateway, &again, 429, "over_budget").await;
            assert_eq!(again.header("retry-after"), Some("60"));
            // Twice as long the next time.
            pass(Duration::from_secs(60)).await;
            assert_eq!(lock().await, (429, name.to_owned(), Some(120)));
            pass(Duration::from_secs(120)).await;
            gateway.net.leave_alone();
            ended(&gateway, &give(&gateway, &car, "security/lock").await, "security/lock", "success").await;
        }
        // The month is over: so it is told, and when the next one begins.
        refuse(430, Some(("BILLING", "VEHICLE_REQUEST_LIMIT")));
        let month = if is_v2 {
            let told = ended(&gateway, &give(&gateway, &car, "security/lock").await, "security/lock", "failed").await;
            let (error, sentence) = (&told["error"], told["error"]["sentence"].as_str().unwrap());
            assert_eq!(error["code"], "BILLING:VEHICLE_REQUEST_LIMIT", "{told}");
            assert!(
                sentence.starts_with("The calls of this month for this car are spent, as Smartcar itself has said"),
                "{told}"
            );
            assert!(sentence.contains("another number than before into budget.calls_per_vehicle_month"), "{told}");
            error["retry_after"].as_u64()
        } else {
            let (status, code, wait) = lock().await;
            assert_eq!((status, &*code), (430, "BILLING:VEHICLE_REQUEST_LIMIT"));
            wait
        };
        let again = give(&gateway, &car, "security/lock").await;
        refused(&gateway, &again, 429, "over_budget").await;
        assert_eq!(again.header("retry-after"), Some(&*month.unwrap().to_string()));
        assert!(month.unwrap() > 86_400, "{month:?}");
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_between_is_told_honestly() {
    for (seed, account, is_clean) in [(511, ADA, false), (512, GRACE, false), (513, GRACE, true)] {
        let (mut gateway, car) = with_car(seed, account, &[]).await;
        gateway.simulator.set_faults(now(LATE));
        let answer = give(&gateway, &car, "security/lock").await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let path = answer.header("location").unwrap().to_owned();
        if is_clean {
            gateway.reopen().await;
        } else {
            gateway.lose_power(Duration::from_secs(5)).await;
        }
        let told = gateway.told(&path).await;
        assert_eq!(told["status"], "unknown", "{told}");
        assert!(told["error"]["sentence"].as_str().unwrap().contains("Carport was stopped before Smartcar answered"), "{told}");
        gateway.start();
        pass(Duration::from_secs(5)).await;
        let told = gateway.told(&path).await;
        assert_eq!((&told["status"], told["ended_at"].is_string()), (&json!("unknown"), true), "{told}");
        let (action, ids, _) = noted(&gateway).await;
        assert_eq!((&*action, ids.last().unwrap().as_str()), ("command ended", "unknown"));

        // Nothing was sent again, and the car takes commands.
        assert_eq!(sent(&gateway, &car), 1);
        gateway.simulator.set_faults(Faults::default());
        ended(&gateway, &give(&gateway, &car, "security/lock").await, "security/lock", "success").await;
        gateway.finish().await;
    }
}

/// Whoever asked may go away: the command goes on, and is kept.
#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_changes_nothing() {
    let (gateway, car) = with_car(514, GRACE, &[]).await;
    gateway.simulator.set_faults(now(FaultKind::Delay(Duration::from_secs(10))));
    let asked = tokio::time::timeout(Duration::from_secs(3), give(&gateway, &car, "security/unlock")).await;
    assert!(asked.is_err());
    refused(&gateway, &give(&gateway, &car, "security/lock").await, 409, "under_way").await;
    pass(Duration::from_secs(20)).await;
    let (action, ids, _) = noted(&gateway).await;
    assert_eq!((&*action, &*ids[0], &*ids[2]), ("command ended", "security/unlock", "success"));
    let path = format!("/api/v1/vehicles/{car}/commands/{}", ids[1]);
    assert_eq!(gateway.told(&path).await["status"], "success");

    // What is erased is gone with its car.
    let path_of_car = format!("/api/v1/vehicles/{car}?history=erase");
    assert_eq!(gateway.ask("DELETE", &path_of_car).bearer(&gateway.admin).send().await.status, 204);
    is_problem(&gateway.get(&path).bearer(&gateway.admin).send().await, 404, "not_found");
    gateway.finish().await;
}

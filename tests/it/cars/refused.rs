//! Reads that Smartcar refuses as a whole: what it says of the car's abilities, and an owner who has taken the access back.

use std::sync::OnceLock;
use std::time::Duration;

use carport::model::Timestamp;
use carport::simulator::{Fault, FaultKind, Faults, Settings};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::gateway::events::{signal, state, trouble};
use crate::gateway::{DAY, HOUR, TestGateway, is_problem, pass};
use crate::pages::Person;
use crate::simulator::rig::{ADA, GRACE, parameter};

async fn show(gateway: &TestGateway, car: &str) -> Value {
    gateway.told(&format!("/api/v1/vehicles/{car}")).await
}

async fn refresh(gateway: &TestGateway, car: &str) -> u16 {
    gateway.post(&format!("/api/v1/vehicles/{car}/refresh"), &json!({})).bearer(&gateway.admin).send().await.status
}

fn reads(gateway: &TestGateway, car: &str) -> usize {
    gateway.net.count(&format!("POST /v2.0/vehicles/{car}/batch")) + gateway.net.count(&format!("GET /v3/vehicles/{car}/signals"))
}

/// Every read of signals is refused with this error.
fn refuse(gateway: &TestGateway, status: u16, kind: &'static str, code: Option<&'static str>) {
    gateway.net.change(move |request, _| {
        let path = request.uri().path();
        let body = if path.ends_with("/signals") {
            json!({ "errors": [{ "status": status.to_string(), "type": kind, "code": code, "resolution": { "type": null } }] })
        } else if path.ends_with("/batch") {
            json!({ "type": kind, "code": code, "statusCode": status, "resolution": null })
        } else {
            return None;
        };
        let answer = Response::builder().status(StatusCode::from_u16(status).unwrap()).header("content-type", "application/json");
        Some(Ok(answer.body(body.to_string().into()).unwrap()))
    });
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_whole_read_counts_for_each_signal() {
    for (seed, account) in [(315, ADA), (316, GRACE)] {
        let gateway = TestGateway::with(seed, &[], Settings { seed, ..Settings::default() }).await;
        gateway.connect("owner", account).await;
        let car = gateway.vehicles_of(account).remove(0);
        assert_eq!(refresh(&gateway, &car).await, 200);
        let of = async |code: &str| {
            let told = show(&gateway, &car).await;
            told["capabilities"].as_array().unwrap().iter().find(|known| known["code"] == code).cloned().unwrap_or_default()
        };
        let odometer = "odometer-traveleddistance";
        let value = show(&gateway, &car).await["signals"][odometer]["body"].clone();
        for (status, kind, code, state) in [
            (501, "COMPATIBILITY", Some("VEHICLE_NOT_CAPABLE"), "not_capable"),
            (403, "PERMISSION", None, "no_permission"),
            (430, "BILLING", Some("INVALID_PLAN"), "not_in_plan"),
        ] {
            pass(HOUR).await;
            refuse(&gateway, status, kind, code);
            let answer = gateway.post(&format!("/api/v1/vehicles/{car}/refresh"), &json!({})).bearer(&gateway.admin).send().await;
            assert!(answer.status >= 400, "{}", answer.text());
            if kind == "PERMISSION" {
                is_problem(&answer, 403, "no_permission");
                let remedy = format!("`carport connect --vehicle {car} --add-scope PERMISSION`");
                assert!(answer.text().contains(&remedy), "{}", answer.text());
            }
            let told = of(odometer).await;
            assert_eq!((&told["state"], &told["error"]["type"]), (&json!(state), &json!(kind)), "{account}: {told}");
            assert!(told["reason"].is_string() && told["at"].is_string(), "{told}");
            // The last good value stays, and the connection too: Smartcar still lists the car.
            let shown = show(&gateway, &car).await;
            assert_eq!((&shown["signals"][odometer]["body"], shown["connection"].is_string()), (&value, true), "{shown}");
        }
        // What passes says nothing of what a car can.
        gateway.net.leave_alone();
        pass(HOUR).await;
        assert_eq!(refresh(&gateway, &car).await, 200);
        assert_eq!(of(odometer).await["state"], "seen");
        pass(HOUR).await;
        refuse(&gateway, 409, "VEHICLE_STATE", Some("ASLEEP"));
        assert!(refresh(&gateway, &car).await >= 400);
        assert_eq!(of(odometer).await["state"], "seen");
        gateway.net.leave_alone();
        gateway.finish().await;
    }
}

/// What was not permitted before the owner connected again is not known to be so any more.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_over_when_the_owner_has_connected_again() {
    for (seed, account) in [(332, ADA), (333, GRACE)] {
        let keys = [("smartcar.scope", "read_vehicle_info,read_odometer")];
        let gateway = TestGateway::with(seed, &keys, Settings { seed, ..Settings::default() }).await;
        gateway.connect("owner", account).await;
        let car = gateway.vehicles_of(account).remove(0);
        assert_eq!(refresh(&gateway, &car).await, 200);
        let (listed, other) = ("charge-ischarging", "climate-internaltemperature");
        let compat = gateway.create_token(&json!({ "name": "script", "scope": "read" })).await;
        let by_v3 = async || {
            let told = gateway.get(&format!("/v3/vehicles/{car}/signals")).bearer(&compat).send().await.text();
            [listed, other].map(|code| told.contains(code))
        };
        let refused = |code: &str| {
            let error = json!({ "type": "PERMISSION", "code": null });
            json!({ "code": code, "name": "Name", "group": "Group", "status": { "value": "ERROR", "error": error } })
        };
        gateway.deliver(&state("refused", &car, &[refused(listed), refused(other)])).await;
        gateway.catch_up().await;
        let states = async || {
            let shown = show(&gateway, &car).await;
            let capabilities = shown["capabilities"].as_array().unwrap().clone();
            let of = |code: &str| capabilities.iter().find(|known| known["code"] == code).map(|known| known["state"].clone());
            [listed, other].map(|code| (of(code), shown["signals"][code]["status"].clone()))
        };
        let no = (Some(json!("no_permission")), json!("ERROR"));
        assert_eq!((states().await, by_v3().await), ([no.clone(), no], [true, true]), "{account}");
        let shown = show(&gateway, &car).await;
        let mut refused = shown["capabilities"].as_array().unwrap().iter().filter(|known| known["state"] == "no_permission");
        let known = refused.find(|known| known["code"] == listed).unwrap();
        let reason = "The owner has not allowed this (read_charge)";
        assert_eq!((&known["permission"], &known["reason"]), (&json!("read_charge"), &json!(reason)), "{known}");

        pass(HOUR).await;
        let more = json!({ "user": "owner", "vehicle_id": car, "add_scope": ["read_charge", "read_climate"] });
        let trip = gateway.begin(&gateway.invite(&more).await).await;
        let location = gateway.simulator.consent(trip.authorize.as_str(), account).await.unwrap();
        gateway.back(&trip, &location).await;
        // Nobody has asked yet.
        assert_eq!((states().await, by_v3().await), ([const { (None, Value::Null) }; 2], [false, false]), "{account}");
        let path = format!("/api/v1/vehicles/{car}/signals/{listed}");
        is_problem(&gateway.get(&path).bearer(&gateway.admin).send().await, 404, "not_found");
        assert_eq!(refresh(&gateway, &car).await, 200);
        assert_eq!(states().await[0], (Some(json!("seen")), json!("SUCCESS")), "{account}");
        gateway.finish().await;
    }
}

/// Shown, no more calls, one notice; and connecting again mends it.
#[tokio::test(start_paused = true)]
async fn an_owner_who_takes_the_access_back_is_believed() {
    for (seed, account) in [(317, ADA), (318, GRACE)] {
        let keys = [("poll.every", "2h"), ("budget.calls_per_vehicle_month", "unlimited"), ("webhooks.subscribe", "off")];
        let mut gateway = TestGateway::with(seed, &keys, Settings { seed, ..Settings::default() }).await;
        gateway.start();
        let connection = gateway.connect("owner", account).await;
        let car = gateway.vehicles_of(account).remove(0);
        let more = json!({ "user": "owner", "vehicle_id": car, "add_scope": ["read_climate"] });
        let trip = gateway.begin(&gateway.invite(&more).await).await;
        let location = gateway.simulator.consent(trip.authorize.as_str(), account).await.unwrap();
        gateway.back(&trip, &location).await;
        pass(3 * HOUR).await;
        assert_eq!(show(&gateway, &car).await["lights"]["authority"]["color"], "green");
        gateway.simulator.take_back(account);
        pass(5 * HOUR).await;
        let told = gateway.told(&format!("/api/v1/connections/{connection}")).await;
        assert_eq!(told["status"], "needs_reconnect", "{account}: {told}");
        assert!(told["reconnect_url"].is_string(), "{told}");
        let shown = show(&gateway, &car).await;
        assert_eq!((&shown["lights"]["authority"]["color"], shown["signals"].is_null()), (&json!("red"), false), "{shown}");
        let before = reads(&gateway, &car);
        pass(DAY).await;
        assert_eq!(reads(&gateway, &car), before, "{account}");
        // Whoever asks is told, and Smartcar is not.
        let path = format!("/api/v1/vehicles/{car}/refresh");
        let asked = gateway.post(&path, &json!({})).bearer(&gateway.admin).send().await;
        is_problem(&asked, 409, "reconnect_required");
        assert_eq!(reads(&gateway, &car), before, "{account}");
        let notices = gateway.told("/api/v1/status").await["notices"].clone();
        let codes: Vec<&Value> = notices.as_array().unwrap().iter().map(|notice| &notice["code"]).collect();
        assert_eq!(codes, [&json!("needs_reconnect")], "{notices}");
        let told = gateway.logged().matches("a connection waits for its owner").count();
        assert_eq!(told, 1, "{account}");

        // The link for this car leads all the way: re-authentication knows no connection of it any more.
        let invite = gateway.invite(&json!({ "user": "owner", "vehicle_id": car })).await;
        let trip = gateway.begin(&invite).await;
        assert_eq!(trip.authorize.path(), "/oauth/authorize", "{account}");
        // What had been granted beside the configured permissions is asked for again, each once.
        let asked = parameter(&trip.authorize, "scope").unwrap();
        for permission in ["read_odometer", "read_climate"] {
            assert_eq!(asked.split(' ').filter(|asked| *asked == permission).count(), 1, "{account}: {asked}");
        }
        let location = gateway.simulator.consent(trip.authorize.as_str(), account).await.unwrap();
        gateway.back(&trip, &location).await;
        pass(Duration::from_secs(1)).await;
        assert_eq!(gateway.told("/api/v1/status").await["notices"], json!([]), "{account}");
        let told = gateway.told(&format!("/api/v1/connections/{connection}")).await;
        assert_eq!(told["status"], "active", "{told}");
        pass(HOUR).await;
        assert!(reads(&gateway, &car) > before);
        assert_eq!(gateway.told("/api/v1/status").await["notices"], json!([]));
        gateway.finish().await;
    }
}

/// Smartcar refuses to read, and lists none of the cars.
fn lose_sight(gateway: &TestGateway) {
    gateway.net.change(|request, answer| {
        let told = |status, body: Value| {
            let answer = answer.clone().map(|_| body.to_string().into());
            let (mut head, body): (_, bytes::Bytes) = answer.into_parts();
            head.status = status;
            Some(Ok(Response::from_parts(head, body)))
        };
        match request.uri().path().trim_end_matches('/') {
            "/v2.0/vehicles" => told(StatusCode::OK, json!({ "vehicles": [], "paging": { "count": 0, "offset": 0 } })),
            "/v3/connections" => told(StatusCode::OK, json!({ "data": [], "meta": { "totalCount": 0 } })),
            path if path.ends_with("/signals") => {
                let error = json!({ "status": "403", "type": "PERMISSION", "code": null, "resolution": { "type": null } });
                told(StatusCode::FORBIDDEN, json!({ "errors": [error] }))
            }
            path if path.ends_with("/batch") => {
                told(StatusCode::FORBIDDEN, json!({ "type": "PERMISSION", "code": null, "statusCode": 403, "resolution": null }))
            }
            _ => None,
        }
    });
}

/// Its list may have lagged behind: whoever asks for the car has it looked for again, at no cost.
#[tokio::test(start_paused = true)]
async fn a_car_that_smartcar_lists_again_is_read_on_request() {
    for (seed, account) in [(332, ADA), (333, GRACE)] {
        let gateway = TestGateway::with(seed, &[], Settings { seed, ..Settings::default() }).await;
        let connection = gateway.connect("owner", account).await;
        let car = gateway.vehicles_of(account).remove(0);
        let status = async || gateway.told(&format!("/api/v1/connections/{connection}")).await["status"].clone();
        assert_eq!(refresh(&gateway, &car).await, 200);
        pass(HOUR).await;
        lose_sight(&gateway);
        assert_eq!((refresh(&gateway, &car).await, status().await), (409, json!("needs_reconnect")));
        let light = show(&gateway, &car).await["lights"]["data_flow"].clone();
        let text = light["text"].as_str().unwrap();
        assert!(light["color"] == "grey" && text.ends_with("its owner has taken the access back."), "{account}: {light}");
        let before = reads(&gateway, &car);
        assert_eq!((refresh(&gateway, &car).await, reads(&gateway, &car)), (409, before), "{account}");
        gateway.net.leave_alone();
        assert_eq!((refresh(&gateway, &car).await, status().await), (200, json!("active")), "{account}");
        assert_eq!(reads(&gateway, &car), before + 1);
        gateway.finish().await;
    }
}

/// While Smartcar lists it again, the tokens are found to be dead: that it is listed mends no tokens.
#[tokio::test(start_paused = true)]
async fn a_car_that_is_listed_again_hides_no_dead_tokens() {
    let gateway = TestGateway::with(339, &[], Settings { seed: 339, ..Settings::default() }).await;
    let connection = gateway.connect("owner", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    pass(HOUR).await;
    lose_sight(&gateway);
    assert_eq!(refresh(&gateway, &car).await, 409);
    gateway.net.change(|request, answer| {
        let dead = || {
            let mut answer = answer.clone().map(|_| json!({ "error": "invalid_grant" }).to_string().into());
            *answer.status_mut() = StatusCode::BAD_REQUEST;
            Ok(answer)
        };
        request.uri().path().ends_with("/oauth/token").then(dead)
    });
    gateway.simulator.set_faults(Faults::new([Fault::once(FaultKind::Delay(Duration::from_secs(10)))]));
    let renew = async {
        pass(Duration::from_secs(5)).await;
        gateway.post(&format!("/api/v1/connections/{connection}/refresh"), &json!({})).bearer(&gateway.admin).send().await
    };
    let (read, renewed) = tokio::join!(refresh(&gateway, &car), renew);
    assert!(renewed.status >= 400, "{}", renewed.text());
    let told = gateway.told(&format!("/api/v1/connections/{connection}")).await;
    assert_eq!((read, &told["status"]), (409, &json!("needs_reconnect")), "{told}");
    gateway.finish().await;
}

/// A first picture is refused late: the owner has connected the car again meanwhile, and it is read for that.
#[tokio::test(start_paused = true)]
async fn a_late_refusal_takes_no_picture_from_a_new_connection() {
    let mut gateway = TestGateway::with(338, &[("webhooks.subscribe", "off")], Settings::default()).await;
    gateway.connect("owner", GRACE).await;
    let car = gateway.vehicles_of(GRACE).remove(0);
    let mut is_first = true;
    gateway.net.change(move |request, answer| {
        let is_read = request.uri().path().ends_with("/signals") && std::mem::take(&mut is_first);
        is_read.then(|| {
            let error = json!({ "status": "403", "type": "PERMISSION", "code": null, "resolution": { "type": null } });
            let mut answer = answer.clone().map(|_| json!({ "errors": [error] }).to_string().into());
            *answer.status_mut() = StatusCode::FORBIDDEN;
            Ok(answer)
        })
    });
    gateway.simulator.set_faults(Faults::new([Fault::once(FaultKind::Delay(Duration::from_secs(10)))]));
    gateway.start();
    pass(Duration::from_secs(5)).await;
    assert_eq!(reads(&gateway, &car), 1);
    gateway.connect("owner", GRACE).await;
    pass(Duration::from_secs(60)).await;
    let shown = show(&gateway, &car).await;
    assert_eq!(reads(&gateway, &car), 2, "{shown}");
    assert!(shown["signals"]["odometer-traveleddistance"]["body"].is_object(), "{shown}");
    gateway.finish().await;
}

/// What a command says of the account when it ends at last is less than what was found out meanwhile.
#[tokio::test(start_paused = true)]
async fn a_late_command_makes_no_less_of_access_that_was_taken_back() {
    for (seed, account) in [(336, ADA), (337, GRACE)] {
        let scope = "read_vehicle_info,read_odometer,read_battery,control_security";
        let gateway = TestGateway::with(seed, &[("smartcar.scope", scope)], Settings { seed, ..Settings::default() }).await;
        gateway.connect("owner", account).await;
        let car = gateway.vehicles_of(account).remove(0);
        assert_eq!(refresh(&gateway, &car).await, 200);
        pass(HOUR).await;
        gateway.simulator.set_trouble(&car, Some("CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED")).unwrap();
        lose_sight(&gateway);
        gateway.simulator.set_faults(Faults::new([Fault::once(FaultKind::Delay(Duration::from_secs(10)))]));
        let lock = gateway.post(&format!("/api/v1/vehicles/{car}/commands/security/lock"), &json!({})).bearer(&gateway.admin);
        let read = async {
            pass(Duration::from_secs(5)).await;
            refresh(&gateway, &car).await
        };
        let (locked, read) = tokio::join!(lock.send(), read);
        assert_eq!((&locked.json()["status"], read), (&json!("failed"), 409), "{account}: {}", locked.text());
        let invite = gateway.invite(&json!({ "user": "owner", "vehicle_id": car })).await;
        assert_eq!(gateway.begin(&invite).await.authorize.path(), "/oauth/authorize", "{account}");
        gateway.finish().await;
    }
}

/// An account that the manufacturer refuses may be taken back as well.
#[tokio::test(start_paused = true)]
async fn a_refused_account_may_be_found_taken_back() {
    for (seed, account) in [(334, ADA), (335, GRACE)] {
        let gateway = TestGateway::with(seed, &[], Settings { seed, ..Settings::default() }).await;
        let connection = gateway.connect("owner", account).await;
        let car = gateway.vehicles_of(account).remove(0);
        assert_eq!(refresh(&gateway, &car).await, 200);
        pass(HOUR).await;
        gateway.simulator.set_trouble(&car, Some("CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED")).unwrap();
        refresh(&gateway, &car).await;
        let status = async || gateway.told(&format!("/api/v1/connections/{connection}")).await["status"].clone();
        assert_eq!(status().await, "needs_reconnect", "{account}");
        lose_sight(&gateway);
        let before = reads(&gateway, &car);
        assert_eq!((refresh(&gateway, &car).await, reads(&gateway, &car)), (409, before + 1), "{account}");
        // Now it is known for what it is.
        assert_eq!((refresh(&gateway, &car).await, reads(&gateway, &car)), (409, before + 1), "{account}");
        let invite = gateway.invite(&json!({ "user": "owner", "vehicle_id": car })).await;
        assert_eq!(gateway.begin(&invite).await.authorize.path(), "/oauth/authorize", "{account}");
        gateway.finish().await;
    }
}

/// The manufacturer no longer takes the sign-in: Smartcar says so of every signal, but for what it knows by itself.
#[tokio::test(start_paused = true)]
async fn a_refused_account_is_left_alone_until_one_of_its_cars_tells_something() {
    for (seed, account) in [(321, ADA), (322, GRACE)] {
        let keys = [("poll.every", "2h"), ("budget.calls_per_vehicle_month", "unlimited")];
        let mut gateway = TestGateway::with(seed, &keys, Settings { seed, ..Settings::default() }).await;
        gateway.start();
        let connection = gateway.connect("owner", account).await;
        let car = gateway.vehicles_of(account).remove(0);
        pass(3 * HOUR).await;
        let before = gateway.now();
        let trouble =
            |what| gateway.vehicles_of(account).iter().for_each(|car| gateway.simulator.set_trouble(car, what).unwrap());
        trouble(Some("CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED"));
        pass(5 * HOUR).await;
        let status = async || gateway.told(&format!("/api/v1/connections/{connection}")).await["status"].clone();
        assert_eq!(status().await, "needs_reconnect", "{account}");
        let shown = show(&gateway, &car).await;
        assert_eq!(shown["lights"]["authority"]["color"], "red", "{shown}");
        let odometer = &shown["signals"]["odometer-traveleddistance"];
        assert!(odometer["body"].is_object() && odometer["error"]["code"] == "AUTHENTICATION_FAILED", "{odometer}");
        let asked = reads(&gateway, &car);
        pass(DAY).await;
        assert_eq!(reads(&gateway, &car), asked, "{account}");
        assert_eq!(gateway.logged().matches("a connection waits for its owner").count(), 1, "{account}");

        // Asked for by hand it is read, and that it fails is no news.
        refresh(&gateway, &car).await;
        assert_eq!((reads(&gateway, &car), status().await), (asked + 1, json!("needs_reconnect")));
        // A delivery of what the car said before shows nothing.
        let tell = async |event: &str, value: i64, at: Timestamp| {
            let told = signal("odometer-traveleddistance", value, at.as_millis());
            gateway.deliver(&state(event, &car, &[told])).await;
            pass(Duration::from_secs(60)).await;
        };
        tell("old", 1, before).await;
        assert_eq!(status().await, "needs_reconnect");
        trouble(None);
        pass(HOUR).await;
        tell("new", 100_000, gateway.now()).await;
        assert_eq!(status().await, "active");
        pass(HOUR).await;
        let notices = gateway.told("/api/v1/status").await["notices"].clone();
        assert!(notices.as_array().unwrap().iter().all(|notice| notice["code"] != "needs_reconnect"), "{notices}");
        gateway.finish().await;
    }
}

const ACCOUNT: &str = "CONNECTED_SERVICES_ACCOUNT";

/// Who polls nothing is told by a delivery.
#[tokio::test(start_paused = true)]
async fn a_delivery_tells_of_a_refused_account_and_of_its_end() {
    for (seed, account) in [(324, ADA), (325, GRACE)] {
        let mut gateway = TestGateway::new(seed).await;
        gateway.start();
        let connection = gateway.connect("owner", account).await;
        let car = gateway.vehicles_of(account).remove(0);
        pass(HOUR).await;
        let status = async || gateway.told(&format!("/api/v1/connections/{connection}")).await["status"].clone();
        let tell = async |event: &Value| {
            let seq = gateway.deliver(event).await;
            pass(Duration::from_secs(120)).await;
            seq
        };
        let signed_out = Some("AUTHENTICATION_FAILED");
        tell(&trouble("asleep", &car, "VEHICLE_STATE", Some("ASLEEP"), "ERROR")).await;
        tell(&trouble("plan", &car, ACCOUNT, Some("SUBSCRIPTION"), "ERROR")).await;
        assert_eq!(status().await, "active", "{account}");
        let told = tell(&trouble("out", &car, ACCOUNT, signed_out, "ERROR")).await;
        assert_eq!(status().await, "needs_reconnect", "{account}");
        pass(HOUR).await;
        assert_eq!(gateway.logged().matches("a connection waits for its owner").count(), 1, "{account}");
        let lock = gateway.post(&format!("/api/v1/vehicles/{car}/commands/security/lock"), &json!({}));
        assert_eq!(lock.bearer(&gateway.admin).send().await.status, 409, "{account}");
        tell(&trouble("in", &car, ACCOUNT, signed_out, "RESOLVED")).await;
        assert_eq!(status().await, "active", "{account}");
        // It is over, however often the beginning is told.
        let again = gateway.post(&format!("/api/v1/webhooks/{told}/replay"), &json!({})).bearer(&gateway.admin).send().await;
        assert!(again.status < 300, "{}", again.text());
        assert_eq!(status().await, "active", "{account}");
        // Its owner connects again, and nobody says that it is over.
        tell(&trouble("out again", &car, ACCOUNT, signed_out, "ERROR")).await;
        assert_eq!(status().await, "needs_reconnect", "{account}");
        gateway.connect("owner", account).await;
        pass(HOUR).await;
        assert_eq!(status().await, "active", "{account}");
        gateway.finish().await;
    }
}

/// What is wrong with one of several cars only says nothing of the account.
#[tokio::test(start_paused = true)]
async fn the_trouble_of_one_car_leaves_the_others_alone() {
    let gateway = TestGateway::new(323).await;
    let connection = gateway.connect("owner", ADA).await;
    let [bad, good] = <[String; 2]>::try_from(gateway.vehicles_of(ADA)).unwrap();
    gateway.simulator.set_trouble(&bad, Some("CONNECTED_SERVICES_ACCOUNT.SUBSCRIPTION")).unwrap();
    let status = async || gateway.told(&format!("/api/v1/connections/{connection}")).await["status"].clone();
    refresh(&gateway, &bad).await;
    assert_eq!((status().await, refresh(&gateway, &good).await), (json!("active"), 200));
    // With no other car it is the account's.
    gateway.ask("DELETE", &format!("/api/v1/vehicles/{good}")).bearer(&gateway.admin).send().await;
    pass(HOUR).await;
    refresh(&gateway, &bad).await;
    assert_eq!(status().await, "needs_reconnect");
    gateway.finish().await;
}

/// What is refused while the owner connects again was so before.
#[tokio::test(start_paused = true)]
async fn a_late_refusal_undoes_no_new_connection() {
    for (seed, account, how) in [(329, ADA, "trouble"), (330, GRACE, "all"), (331, ADA, "one")] {
        let gateway = TestGateway::new(seed).await;
        let connection = gateway.connect("owner", account).await;
        let car = gateway.vehicles_of(account).remove(0);
        assert_eq!(refresh(&gateway, &car).await, 200);
        pass(HOUR).await;
        match how {
            "trouble" => {
                gateway.simulator.set_trouble(&car, Some("CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED")).unwrap();
            }
            "all" => gateway.simulator.take_back(account),
            _ => untick(&gateway, &car, &gateway.vehicles_of(account)[1]),
        }
        // The read, and then perhaps the list.
        let late = Fault::always(FaultKind::Delay(Duration::from_secs(10)));
        let (times, wait) = if how == "trouble" { (1, 5) } else { (2, 15) };
        gateway.simulator.set_faults(Faults::new([Fault { times: Some(times), ..late }]));
        let again = async {
            pass(Duration::from_secs(wait)).await;
            gateway.simulator.set_trouble(&car, None).unwrap();
            gateway.connect("owner", account).await
        };
        let path = format!("/api/v1/vehicles/{car}/refresh");
        let asked = gateway.post(&path, &json!({})).bearer(&gateway.admin).send();
        let (told, again) = tokio::join!(asked, again);
        assert_eq!((told.status == 200, again), (how == "trouble", connection.clone()), "{account} {how}");
        assert!(!told.text().contains("taken the access back"), "{account} {how}: {}", told.text());
        let told = gateway.told(&format!("/api/v1/connections/{connection}")).await;
        assert_eq!(told["status"], "active", "{account} {how}: {told}");
        assert!(told["vehicles"].as_array().unwrap().contains(&json!(car)), "{account} {how}: {told}");
        gateway.finish().await;
    }
}

/// The owner unticks one of two cars at Smartcar: so it is for the tokens that are used first, and not for others.
fn untick(gateway: &TestGateway, gone: &str, kept: &str) {
    let (path, list) =
        (format!("/v2.0/vehicles/{gone}/batch"), json!({ "vehicles": [kept], "paging": { "count": 1, "offset": 0 } }));
    let first = OnceLock::new();
    gateway.net.change(move |request, answer| {
        let asked = request.uri().path();
        let access = request.headers().get("authorization")?;
        if !asked.starts_with("/v2.0/vehicles") || first.get_or_init(|| access.clone()) != access {
            return None;
        }
        if asked == path {
            let mut answer = answer.clone().map(|_| r#"{"type":"PERMISSION","code":null,"statusCode":403}"#.into());
            *answer.status_mut() = StatusCode::FORBIDDEN;
            return Some(Ok(answer));
        }
        (asked.trim_end_matches('/') == "/v2.0/vehicles").then(|| Ok(answer.clone().map(|_| list.to_string().into())))
    });
}

/// One of several cars: it is left without a connection, says why, and the others go on.
#[tokio::test(start_paused = true)]
async fn one_car_of_several_may_be_taken_back() {
    let gateway = TestGateway::new(319).await;
    let connection = gateway.connect("owner", ADA).await;
    let [gone, kept] = <[String; 2]>::try_from(gateway.vehicles_of(ADA)).unwrap();
    assert_eq!((refresh(&gateway, &gone).await, refresh(&gateway, &kept).await), (200, 200));
    untick(&gateway, &gone, &kept);
    pass(Duration::from_secs(60)).await;
    assert!(refresh(&gateway, &gone).await >= 400);
    let shown = show(&gateway, &gone).await;
    let found_at = gateway.now().plain();
    let authority = |shown: &Value| {
        let light = &shown["lights"]["authority"];
        (light["color"].as_str().unwrap().to_owned(), light["text"].as_str().unwrap().to_owned())
    };
    let (color, text) = authority(&shown);
    assert_eq!((&shown["connection"], &*color), (&Value::Null, "red"), "{shown}");
    assert_eq!(shown["lights"]["data_flow"]["color"], "grey", "{shown}");
    assert!(text.contains("taken the access to this car back") && text.contains(&found_at), "{text}");
    assert!(text.contains(&format!("`carport connect --vehicle {gone}`")), "{text}");
    assert!(shown["signals"]["odometer-traveleddistance"]["body"].is_object(), "its history stays: {shown}");
    assert_eq!(show(&gateway, &kept).await["connection"], json!(connection));
    assert_eq!(refresh(&gateway, &kept).await, 200);
    gateway.net.leave_alone();
    // It is over when the owner has connected it again, and no matter of a car that is disconnected here.
    assert_eq!(gateway.connect("owner", ADA).await, connection);
    assert_eq!(authority(&show(&gateway, &gone).await).0, "green");
    assert_eq!(gateway.ask("DELETE", &format!("/api/v1/vehicles/{gone}")).bearer(&gateway.admin).send().await.status, 204);
    assert_eq!(authority(&show(&gateway, &gone).await), ("grey".to_owned(), "This car is not connected.".to_owned()));
    gateway.finish().await;
}

/// One of several cars: a notice names it until it is connected again, or is nobody's matter any more.
#[tokio::test(start_paused = true)]
async fn a_car_that_was_taken_back_is_a_notice_until_it_is_back() {
    let keys = [("budget.calls_per_vehicle_month", "unlimited"), ("webhooks.subscribe", "off")];
    let mut gateway = TestGateway::with(330, &keys, Settings { seed: 330, ..Settings::default() }).await;
    gateway.start();
    let connection = gateway.connect("owner", ADA).await;
    let [gone, kept] = <[String; 2]>::try_from(gateway.vehicles_of(ADA)).unwrap();
    let metrics = gateway.create_token(&json!({ "name": "measures", "scope": "metrics" })).await;
    pass(Duration::from_secs(630)).await;
    let notices = async |gateway: &TestGateway| {
        pass(Duration::from_secs(1)).await;
        gateway.told("/api/v1/status").await["notices"].as_array().unwrap().clone()
    };
    let take_back = async |gateway: &TestGateway| {
        untick(gateway, &gone, &kept);
        assert!(refresh(gateway, &gone).await >= 400);
        gateway.net.leave_alone();
    };
    assert_eq!(notices(&gateway).await, Vec::<Value>::new());
    take_back(&gateway).await;
    let told = notices(&gateway).await;
    assert!(told.len() == 1 && told[0]["code"] == "taken_back" && told[0]["vehicle"] == gone.as_str(), "{told:?}");
    let found_at = told[0]["since"].as_str().and_then(Timestamp::parse).unwrap();
    assert!(gateway.now().since(found_at) <= Duration::from_secs(2), "{told:?}");
    assert!(told[0]["what"].as_str().unwrap().contains(&found_at.plain()), "{told:?}");
    for way in ["connect --vehicle", "vehicles disconnect"] {
        assert!(told[0]["remedy"].as_str().unwrap().contains(&format!("`carport {way} {gone}`")), "{told:?}");
    }
    let logged = gateway.logged();
    let line = logged.lines().find(|line| line.contains("taken_back")).unwrap();
    assert!(line.contains("vehicle.row=") && !line.contains(&gone), "{line}");
    // It is given once, also over a restart, and whoever only measures is told of no car.
    gateway.reopen().await;
    gateway.start();
    pass(HOUR).await;
    assert_eq!(notices(&gateway).await, told);
    let nameless = gateway.get("/api/v1/status").bearer(&metrics).send().await.text();
    assert!(nameless.contains("taken_back") && !nameless.contains(&gone), "{nameless}");
    gateway.connect("owner", ADA).await;
    assert_eq!(notices(&gateway).await, Vec::<Value>::new(), "connected again");
    for query in ["", "?history=erase"] {
        take_back(&gateway).await;
        assert_eq!(notices(&gateway).await[0]["code"], "taken_back", "{query}");
        let path = format!("/api/v1/vehicles/{gone}{query}");
        assert_eq!(gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await.status, 204);
        assert_eq!(notices(&gateway).await, Vec::<Value>::new(), "{query}");
        gateway.connect("owner", ADA).await;
    }
    // The pages say it.
    take_back(&gateway).await;
    let person = Person::of(&gateway).await;
    for page in ["/".to_owned(), format!("/vehicles/{gone}")] {
        let page = person.look(&page).await;
        assert!(
            page.contains("Its owner has taken the access to it back at Smartcar.") && page.contains(">Reconnect<"),
            "{page}"
        );
    }
    assert_eq!(notices(&gateway).await.len(), 1);
    let system = person.look("/system").await;
    assert!(system.contains("vehicles disconnect"), "{system}");
    // Where nothing of the account is connected any more, nobody waits for it, whatever else the owner has.
    gateway.connect("owner", GRACE).await;
    assert_eq!(notices(&gateway).await.len(), 1);
    assert_eq!(
        gateway.ask("DELETE", &format!("/api/v1/connections/{connection}")).bearer(&gateway.admin).send().await.status,
        204
    );
    assert_eq!(notices(&gateway).await, Vec::<Value>::new());
    assert_eq!(show(&gateway, &gone).await["lights"]["authority"]["color"], "grey");
    gateway.finish().await;
}

/// A notice comes and goes with the state of its connection, whoever has changed it: nobody waits for the next look.
#[tokio::test(start_paused = true)]
async fn a_notice_comes_and_goes_with_the_state_of_its_connection() {
    let keys = [("budget.calls_per_vehicle_month", "unlimited"), ("webhooks.subscribe", "off")];
    let mut gateway = TestGateway::with(329, &keys, Settings { seed: 329, ..Settings::default() }).await;
    gateway.start();
    let connection = gateway.connect("owner", ADA).await;
    let cars = gateway.vehicles_of(ADA);
    pass(Duration::from_secs(630)).await;
    let notices = async || {
        pass(Duration::from_secs(1)).await;
        gateway.told("/api/v1/status").await["notices"].as_array().unwrap().clone()
    };
    let waits = async |what: &str| {
        let notices = notices().await;
        assert!(notices.len() == 1 && notices[0]["code"] == "needs_reconnect", "{what}: {notices:?}");
        assert_eq!(notices[0]["connection"], connection.as_str(), "{what}");
        let remedy = notices[0]["remedy"].as_str().unwrap();
        assert!(cars.iter().any(|car| remedy.contains(&format!("`carport connect --vehicle {car}`"))), "{remedy}");
    };
    assert_eq!(notices().await, Vec::<Value>::new());

    gateway.deliver(&trouble("1", &cars[0], ACCOUNT, Some("AUTHENTICATION_FAILED"), "ERROR")).await;
    waits("a delivery").await;
    pass(HOUR).await;
    gateway.deliver(&state("2", &cars[0], &[signal("odometer-traveleddistance", 9, gateway.now().as_millis())])).await;
    assert_eq!(notices().await, Vec::<Value>::new(), "a delivery");

    let set = |what| cars.iter().for_each(|car| gateway.simulator.set_trouble(car, what).unwrap());
    set(Some("CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED"));
    refresh(&gateway, &cars[0]).await;
    waits("a read").await;
    set(None);
    refresh(&gateway, &cars[0]).await;
    assert_eq!(notices().await, Vec::<Value>::new(), "a read");

    gateway.simulator.take_back(ADA);
    refresh(&gateway, &cars[0]).await;
    waits("access that was taken back").await;
    gateway.finish().await;
}

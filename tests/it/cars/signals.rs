//! Every signal that Smartcar lists, and those that it does not.

use std::collections::BTreeSet;

use bytes::Bytes;
use carport::model::catalogue;
use carport::simulator::{Settings, WebhookSettings};
use http::Request;
use serde_json::{Value, json};

use super::{MINUTE, T, all, time, told, with_ada};
use crate::gateway::{HOST, TestGateway, WEBHOOK, events, is_problem, pass};
use crate::simulator::rig::encode;

const CATALOGUE: &str = include_str!("../../fixtures/catalogue.txt");
/// All that there is to read.
const READS: &str = "read_battery,read_charge,read_charge_records,read_climate,read_diagnostics,read_engine_oil,\
    read_extended_vehicle_info,read_fuel,read_location,read_odometer,read_security,read_service_history,read_speedometer,\
    read_thermometer,read_tires,read_user_profile,read_vehicle_info,read_vin";

/// Code, what it tells, and a body, of every signal of the reference.
fn listed() -> impl Iterator<Item = (&'static str, &'static str, Value)> {
    CATALOGUE.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<&str> = line.splitn(4, ' ').collect();
        (fields[1], fields[2], serde_json::from_str(fields[3]).unwrap())
    })
}

async fn page(gateway: &TestGateway, vehicle: &str) -> String {
    String::from_utf8(gateway.get(&format!("/vehicles/{vehicle}")).bearer(&gateway.admin).send().await.body.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_is_shown_with_value_unit_and_age() {
    let (gateway, vehicle) = with_ada(300, &[]).await;
    let now = gateway.now().as_millis();
    // Each is older than the one before by a minute.
    let at = |place: usize| now - (i64::try_from(place).unwrap() + 3) * MINUTE;
    let signals: Vec<Value> = listed().enumerate().map(|(place, (code, _, body))| told(code, &body, at(place))).collect();
    assert_eq!(signals.len(), 93);
    gateway.deliver(&events::state("all", &vehicle, &signals)).await;
    gateway.catch_up().await;
    let shown = page(&gateway, &vehicle).await;
    let of_vehicle = gateway.told(&format!("/api/v1/vehicles/{vehicle}")).await;
    for (place, (code, word, body)) in listed().enumerate() {
        let path = format!("/api/v1/vehicles/{vehicle}/signals/{code}");
        let signal = gateway.told(&path).await;
        assert_eq!(signal["body"], body, "{code}");
        assert_eq!(signal, of_vehicle["signals"][code], "{code}");
        assert_eq!((&signal["status"], &signal["source"]), (&json!("SUCCESS"), &json!("webhook")), "{code}");
        assert_eq!(
            (&signal["oem_updated_at"], &signal["retrieved_at"]),
            (&json!(time(at(place))), &json!(time(at(place) + 1000)))
        );
        let unit = match word {
            "percent" | "limits" => "%",
            "km" => "km",
            "kph" => "km/h",
            "kWh" | "capacity" => "kWh",
            "watts" => "kW",
            "ampere" => "A",
            "volts" => "V",
            "tires" => "bar",
            "celsius" => "\u{b0}C",
            "liters" => "l",
            "minutes" => "min",
            _ => "",
        };
        assert_eq!(signal["unit"].as_str().unwrap_or_default(), unit, "{code}");
        assert!(signal["kind"].is_string(), "{code}");
        assert_eq!(signal["value"].is_null(), word == "records", "{code}");
        if ["percent", "km", "kph", "kWh", "ampere", "volts", "celsius", "liters", "minutes", "count"].contains(&word) {
            assert_eq!(signal["value"], body["value"], "{code}");
        }
        let history = gateway.told(&format!("/api/v1/vehicles/{vehicle}/history?signal={code}")).await;
        assert_eq!((&history["items"][0]["value"], &history["items"][0]["body"]), (&signal["value"], &body), "{code}");
        // Place and VIN have their own places on the page.
        if !["location-preciselocation", "vehicleidentification-vin"].contains(&code) {
            let line = shown.split_once(&format!("title=\"{code}\"")).unwrap_or_else(|| panic!("{code} is not on the page")).1;
            let line = &line[..line.find("</tr>").unwrap()];
            assert!(line.contains(&format!("datetime=\"{}\"", time(at(place)))), "{code}: {line}");
        }
    }
    for text in [
        "52.37020, 4.89520",
        "0SCTEST0000000001",
        "Front left: closed, locked",
        "Plugged in",
        "18,343\u{202f}km",
        "4.7\u{202f}kW",
    ] {
        assert!(shown.contains(text), "{text}");
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn units_are_those_of_the_reader() {
    let (gateway, vehicle) = with_ada(301, &[("units", "imperial")]).await;
    let body = json!({"value": 100, "unit": "km"});
    gateway.deliver(&events::state("a", &vehicle, &[told("odometer-traveleddistance", &body, T)])).await;
    gateway.catch_up().await;
    let path = format!("/api/v1/vehicles/{vehicle}/signals/odometer-traveleddistance");
    let signal = gateway.told(&path).await;
    assert_eq!((&signal["value"], &signal["unit"], &signal["body"]), (&json!(62.137), &json!("mi"), &body));
    let signal = gateway.told(&format!("{path}?units=metric")).await;
    assert_eq!((&signal["value"], &signal["unit"]), (&json!(100), &json!("km")));
    for path in ["", "/signals", "/history"] {
        let told = gateway.told(&format!("/api/v1/vehicles/{vehicle}{path}?units=metric")).await;
        assert!(told.to_string().contains("\"unit\":\"km\""), "{path}");
    }
    assert!(page(&gateway, &vehicle).await.contains("62\u{202f}mi"));
    is_problem(&gateway.get(&format!("{path}?units=nautical")).bearer(&gateway.admin).send().await, 400, "bad_request");
    gateway.finish().await;
}

/// Whatever Smartcar adds to its list.
#[tokio::test(start_paused = true)]
async fn what_is_not_listed_is_kept_and_shown_just_the_same() {
    let (gateway, vehicle) = with_ada(302, &[]).await;
    let signals = [
        told("propeller-pitch", &json!({"value": 12.5, "unit": "degrees"}), T),
        told("propeller-isfolded", &json!({"value": true}), T),
        told("propeller-blades", &json!({"values": ["left", "right"]}), T),
        told("propeller-state", &json!({"strange": {"deep": 1}}), T),
    ];
    gateway.deliver(&events::state("a", &vehicle, &signals)).await;
    gateway.catch_up().await;
    let shown = page(&gateway, &vehicle).await;
    for (code, value, unit, text) in [
        ("propeller-pitch", json!(12.5), json!("degrees"), "12.5\u{202f}degrees"),
        ("propeller-isfolded", json!("yes"), json!(null), "Yes"),
        ("propeller-blades", json!(["left", "right"]), json!(null), "left, right"),
        ("propeller-state", json!(null), json!(null), "&#34;deep&#34;: 1"),
    ] {
        let signal = gateway.told(&format!("/api/v1/vehicles/{vehicle}/signals/{code}")).await;
        assert_eq!((&signal["value"], &signal["unit"], &signal["kind"]), (&value, &unit, &json!(null)), "{code}");
        assert!(shown.contains(text), "{code}");
        assert_eq!(all(&gateway, &format!("/api/v1/vehicles/{vehicle}/history?signal={code}")).await.len(), 1, "{code}");
    }
    // Who writes a name where a code belongs is not told that there is nothing.
    for name in ["Odometer.TraveledDistance", "odometer"] {
        let path = format!("/api/v1/vehicles/{vehicle}/history?signal={name}");
        let answer = gateway.get(&path).bearer(&gateway.admin).send().await;
        assert!(answer.status == 400 && answer.text().contains("odometer-traveleddistance"), "{}", answer.text());
    }
    gateway.finish().await;
}

/// What the simulated cars tell, by a webhook of Smartcar's shapes and by a read.
#[tokio::test(start_paused = true)]
async fn all_that_the_simulator_tells_is_understood() {
    let (mut gateway, _) = with_ada(303, &[]).await;
    gateway.start();
    pass(std::time::Duration::from_secs(3600)).await;
    gateway.catch_up().await;
    let vehicles = all(&gateway, "/api/v1/vehicles?limit=50").await;
    assert_eq!(vehicles.len(), 2);
    for vehicle in vehicles {
        let signals = vehicle["signals"].as_object().unwrap();
        assert!(signals.len() > 10, "{} signals", signals.len());
        for (code, signal) in signals {
            let known = catalogue::known(code).unwrap_or_else(|| panic!("{code}"));
            assert_eq!((&signal["group"], &signal["name"]), (&json!(known.group), &json!(known.name)));
            assert_eq!(signal["value"].is_null(), signal["status"] != "SUCCESS", "{code}: {signal}");
        }
    }
    gateway.finish().await;
}

/// Every signal of the catalogue, from a simulated car of each kind to the gateway's own API and to Smartcar's.
#[tokio::test(start_paused = true)]
async fn the_gateway_serves_each_signal_as_a_car_tells_it() {
    let webhook = WebhookSettings { data: Vec::new(), ..WebhookSettings::new(format!("https://{HOST}{WEBHOOK}")) };
    let settings = Settings { seed: 306, cars: 40, webhook: Some(webhook), ..Settings::default() };
    let gateway = TestGateway::with(306, &[("smartcar.scope", READS)], settings).await;
    let accounts = gateway.simulator.accounts();
    for (number, account) in accounts.iter().enumerate() {
        gateway.connect(&format!("owner{number}"), &account.email).await;
    }
    assert!(gateway.simulator.verify().await);
    // Until a minute has gone by, no car charges.
    pass(std::time::Duration::from_secs(61)).await;
    assert_eq!(gateway.simulator.deliver().await, 40);
    gateway.catch_up().await;
    let token = application_token(&gateway).await;
    let mut served = BTreeSet::new();
    for (account, vehicle) in accounts.iter().flat_map(|account| account.vehicle_ids.iter().map(move |id| (account, id))) {
        let path = format!("/v3/vehicles/{vehicle}/signals");
        for units in ["metric", "imperial"] {
            let request = Request::get(&path).header("authorization", format!("Bearer {token}"));
            let request = request.header("sc-user-id", &account.user_id).header("sc-unit-system", units);
            let told = gateway.simulator.handle(request.body(Bytes::new()).unwrap()).await;
            let told: Value = serde_json::from_slice(told.body()).unwrap();
            let ask = gateway.get(&path).bearer(&gateway.admin).header("sc-user-id", &account.user_id);
            let answer = ask.header("sc-unit-system", units).send().await.json();
            let own = gateway.told(&format!("/api/v1/vehicles/{vehicle}")).await;
            for signal in told["data"].as_array().unwrap() {
                let code = signal["id"].as_str().unwrap();
                let (attributes, own) = (&signal["attributes"], &own["signals"][code]);
                let given = answer["data"].as_array().unwrap().iter().find(|given| given["id"] == code);
                let given = given.unwrap_or_else(|| panic!("{code} is not served"));
                assert_eq!(given["attributes"]["status"]["value"], attributes["status"]["value"], "{code}: {given}");
                if attributes["status"]["value"] != "SUCCESS" {
                    continue;
                }
                served.insert(code.to_owned());
                is_near(code, &given["attributes"]["body"], &attributes["body"]);
                assert_eq!(given["meta"]["oemUpdatedAt"], signal["meta"]["oemUpdatedAt"], "{code}");
                if units == "metric" {
                    let known = catalogue::known(code).unwrap_or_else(|| panic!("{code}"));
                    assert_eq!((&own["group"], &own["name"]), (&json!(known.group), &json!(known.name)));
                    assert_eq!((&own["body"], &own["status"]), (&attributes["body"], &json!("SUCCESS")), "{code}");
                    assert_eq!(own["oem_updated_at"], signal["meta"]["oemUpdatedAt"], "{code}");
                    let is_told_by_its_body = known.kind == catalogue::Kind::Records;
                    assert!(is_told_by_its_body || !own["value"].is_null(), "{code}: {own}");
                }
            }
            assert_eq!(answer["data"].as_array().unwrap().len(), told["data"].as_array().unwrap().len());
        }
    }
    assert_eq!(served.iter().map(String::as_str).collect::<Vec<_>>(), listed().map(|(code, ..)| code).collect::<Vec<_>>());
    gateway.finish().await;
}

/// The same but for what converting a number adds: one rounds it to hundredths.
#[track_caller]
fn is_near(code: &str, given: &Value, told: &Value) {
    match (given, told) {
        (Value::Object(given), Value::Object(told)) => {
            assert_eq!(given.keys().collect::<BTreeSet<_>>(), told.keys().collect::<BTreeSet<_>>(), "{code}");
            told.iter().for_each(|(name, told)| is_near(code, &given[name], told));
        }
        (Value::Array(given), Value::Array(told)) => {
            assert_eq!(given.len(), told.len(), "{code}");
            given.iter().zip(told).for_each(|(given, told)| is_near(code, given, told));
        }
        (Value::Number(given), Value::Number(told)) => {
            assert!((given.as_f64().unwrap() - told.as_f64().unwrap()).abs() < 0.01, "{code}: {given} and {told}");
        }
        (given, told) => assert_eq!(given, told, "{code}"),
    }
}

async fn application_token(gateway: &TestGateway) -> String {
    let application = &gateway.simulator.settings().application;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", application.v3_client_id.as_str()),
        ("client_secret", application.v3_client_secret.as_str()),
    ];
    let answer = gateway.simulator.handle(Request::post("/oauth2/token").body(Bytes::from(encode(&form))).unwrap()).await;
    let answer: Value = serde_json::from_slice(answer.body()).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

/// Each fixture that tells of signals, with the values that it tells.
#[tokio::test(start_paused = true)]
async fn each_fixture_is_shown() {
    let (gateway, vehicle) = with_ada(304, &[]).await;
    let names = ["first-delivery-in-data", "first-delivery", "triggers-in-data", "signal-updated"];
    for name in names {
        let path = format!("{}/tests/fixtures/webhook-v4-vehicle-state-{name}.json", env!("CARGO_MANIFEST_DIR"));
        let mut event: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        event["eventId"] = json!(name);
        event["data"]["vehicle"]["id"] = json!(vehicle);
        // The fixtures are of one moment: of it holds what was told last.
        for signal in event["data"]["signals"].as_array_mut().unwrap() {
            let place = i64::try_from(names.iter().position(|other| *other == name).unwrap()).unwrap();
            if signal.get("body").is_some() {
                signal["meta"]["oemUpdatedAt"] = json!(T + place * MINUTE);
            }
        }
        gateway.deliver(&event).await;
        gateway.catch_up().await;
        for signal in event["data"]["signals"].as_array().unwrap() {
            let code = signal["code"].as_str().unwrap();
            let told = gateway.told(&format!("/api/v1/vehicles/{vehicle}/signals/{code}")).await;
            if signal.get("body").is_some() {
                assert_eq!(told["body"], signal["body"], "{name}: {code}");
                assert!(!told["value"].is_null(), "{name}: {code}");
                let at = signal["meta"]["oemUpdatedAt"].as_i64().unwrap();
                assert_eq!(told["oem_updated_at"], time(at), "{name}: {code}");
            } else {
                assert_eq!((&told["status"], &told["value"]), (&json!("ERROR"), &json!(null)), "{name}: {code}");
            }
        }
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_car_cannot_tell_is_said_with_reason_and_date() {
    let (gateway, vehicle) = with_ada(305, &[]).await;
    let failed = |code: &str, kind: &str, error: Value| {
        let mut signal = events::failed(code);
        signal["status"]["error"] = json!({ "type": kind, "code": error });
        signal
    };
    let of = async |code: &str| {
        let told = gateway.told(&format!("/api/v1/vehicles/{vehicle}")).await;
        let known = told["capabilities"].as_array().unwrap().iter().find(|known| known["code"] == code).cloned();
        known.unwrap_or_default()
    };
    let first = gateway.now();
    let signals = [
        failed("x-cannot", "COMPATIBILITY", json!("VEHICLE_NOT_CAPABLE")),
        failed("x-forbidden", "PERMISSION", json!(null)),
        failed("x-unpaid", "BILLING", json!("INVALID_PLAN")),
        failed("x-asleep", "VEHICLE_STATE", json!("ASLEEP")),
        told("x-seen", &json!({"value": 1}), T),
    ];
    gateway.deliver(&events::state("a", &vehicle, &signals)).await;
    gateway.catch_up().await;
    for (code, state, reason) in [
        ("x-cannot", "not_capable", "This car does not report this"),
        ("x-forbidden", "no_permission", "The owner has not allowed this"),
        ("x-unpaid", "not_in_plan", "The plan at Smartcar does not include this"),
    ] {
        let known = of(code).await;
        assert_eq!((&known["state"], &known["reason"]), (&json!(state), &json!(reason)));
        assert_eq!(known["at"], json!(first.to_string()), "{code}");
    }
    assert_eq!(of("x-seen").await["state"], "seen");
    assert_eq!(of("x-asleep").await, Value::Null, "what passes says nothing");
    let shown = page(&gateway, &vehicle).await;
    assert!(shown.contains("What this car does not tell") && shown.contains("not in the plan since "));

    // It stays, with its beginning, when something else fails later or it fails again; a value ends it.
    pass(std::time::Duration::from_secs(3600)).await;
    let again = [failed("x-cannot", "VEHICLE_STATE", json!("ASLEEP")), failed("x-forbidden", "PERMISSION", json!(null))];
    gateway.deliver(&events::state("b", &vehicle, &again)).await;
    gateway.deliver(&events::state("c", &vehicle, &[told("x-unpaid", &json!({"value": 1}), T)])).await;
    gateway.catch_up().await;
    for (code, state) in [("x-cannot", "not_capable"), ("x-forbidden", "no_permission")] {
        assert_eq!((&of(code).await["state"], &of(code).await["at"]), (&json!(state), &json!(first.to_string())), "{code}");
    }
    assert_eq!(of("x-unpaid").await["state"], "seen");

    // An error that names signals tells it of them, until it is resolved.
    let mut error = events::trouble("d", &vehicle, "COMPATIBILITY", Some("SMARTCAR_NOT_CAPABLE"), "ERROR");
    error["data"]["errors"][0]["signals"] = json!([{ "code": "x-named", "name": "Named", "group": "X" }]);
    gateway.deliver(&error).await;
    gateway.catch_up().await;
    assert_eq!(of("x-named").await["state"], "not_capable");
    error["eventId"] = json!("e");
    error["data"]["errors"][0]["state"] = json!("RESOLVED");
    gateway.deliver(&error).await;
    gateway.catch_up().await;
    assert_eq!(of("x-named").await, Value::Null);
    gateway.finish().await;
}

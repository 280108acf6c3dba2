//! What the simulated cars tell, held against the reference: each signal that it lists, of each kind of car that can have it.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const CATALOGUE: &str = include_str!("../../fixtures/catalogue.txt");
const EVERYTHING: &str = "read_battery read_charge read_charge_records read_climate read_diagnostics read_engine_oil \
    read_extended_vehicle_info read_fuel read_location read_odometer read_security read_service_history read_speedometer \
    read_thermometer read_tires read_user_profile read_vehicle_info read_vin";
/// Where the reference lists the words that may come: of which signal, where in its body, and which.
const WORDS: &[(&str, &str, &[&str])] = &[
    ("charge-chargelimits", "/values/0/type", &["GLOBAL", "LOCATION", "CONNECTOR"]),
    ("charge-detailedchargingstatus", "/value", &["CHARGING", "NOT_CHARGING", "FULLY_CHARGED"]),
    ("location-preciselocation", "/direction", &["N", "NE", "E", "SE", "S", "SW", "W", "NW"]),
    ("location-preciselocation", "/locationType", &["LAST_PARKED", "CURRENT"]),
    ("lowvoltagebattery-status", "/value", &["GOOD", "WARN", "BAD"]),
    ("tractionbattery-nominalcapacity", "/source", &["SMARTCAR", "USER_SELECTED"]),
    ("transmission-gearstate", "/value", &["PARK", "DRIVE", "REVERSE", "NEUTRAL"]),
];
/// What the reference has only sometimes.
const OPTIONAL: &[&str] = &["additionalValues", "location", "unit"];

/// By code: what the body tells, and a body as it may come.
fn listed() -> BTreeMap<&'static str, (&'static str, Value)> {
    let lines = CATALOGUE.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.splitn(4, ' ').collect();
            (fields[1], (fields[2], serde_json::from_str(fields[3]).unwrap()))
        })
        .collect()
}

/// Whether a car of this kind can have it at all.
fn fits(code: &str, kind: &str) -> bool {
    let electric = ["charge-", "tractionbattery-", "diagnostics-ev"];
    let engine = ["internalcombustionengine-", "diagnostics-oil", "diagnostics-emissions", "diagnostics-waterinfuel"];
    let is_one = |list: &[&str]| list.iter().any(|start| code.starts_with(start));
    !(kind == "ICE" && is_one(&electric) || kind == "BEV" && is_one(&engine))
}

/// The unit that the reference and the captures have, and what is plausible in it.
fn measure(code: &str, word: &str) -> Option<(Value, std::ops::RangeInclusive<f64>)> {
    Some(match word {
        "percent" => (json!("percent"), 0.0..=100.0),
        "km" => (json!("km"), 0.0..=200_000.0),
        // Of range, in an hour at the plug.
        "kph" if code == "charge-chargerate" => (json!("km/h"), 0.0..=700.0),
        "kph" => (json!("kph"), 0.0..=250.0),
        "kWh" => (json!("kWh"), 0.0..=120.0),
        "watts" => (json!("watts"), 0.0..=150_000.0),
        "ampere" => (json!("ampere"), 0.0..=400.0),
        "volts" => (json!("volts"), 0.0..=800.0),
        "celsius" => (json!("celsius"), -30.0..=45.0),
        "liters" => (json!("liters"), 0.0..=120.0),
        "minutes" => (Value::Null, 0.0..=2_000.0),
        "count" if code == "charge-chargerphases" => (Value::Null, 1.0..=3.0),
        "count" => (json!("count"), 0.0..=100.0),
        _ => return None,
    })
}

#[track_caller]
fn is_plausible(code: &str, (word, example): &(&str, Value), body: &Value) {
    // Neither is there always something that is wrong, nor something that was set.
    if ["diagnostics-dtclist", "charge-chargetimers"].contains(&code) && body["values"].as_array().unwrap().is_empty() {
        return;
    }
    let example = if *word == "status" { json!({ "status": "OK" }) } else { example.clone() };
    same_shape(&example, body, OPTIONAL);
    match (*word, measure(code, word)) {
        (_, Some((unit, range))) => {
            assert_eq!(body["unit"], unit, "{code}: {body}");
            assert!(range.contains(&body["value"].as_f64().unwrap()), "{code}: {body}");
        }
        ("limits", _) => assert!((50.0..=100.0).contains(&body["activeLimit"].as_f64().unwrap()), "{body}"),
        ("capacity", _) => assert!(body["unit"] == "kWh" && body["capacity"].as_f64().unwrap() > 5.0, "{body}"),
        ("tires", _) => assert!(
            body["unit"] == "kPa"
                && body["values"].as_array().unwrap().iter().all(|tire| tire["tirePressure"].as_f64().unwrap() > 200.0)
        ),
        ("status", _) => assert!(body["status"] == "OK" || body["status"] == "ALERT", "{code}: {body}"),
        ("word" | "string", _) => {
            let mut texts = body.as_object().unwrap().values();
            assert!(texts.all(|text| text.as_str().is_some_and(|text| !text.trim().is_empty())), "{code}: {body}");
        }
        _ => {}
    }
    for (_, place, words) in WORDS.iter().filter(|(other, ..)| *other == code) {
        let word = body.pointer(place).and_then(Value::as_str);
        assert!(word.is_some_and(|word| words.contains(&word)), "{code}: {body}");
    }
}

/// What one car tells at one time, by code, agrees; and into `seen` goes what of it is not always there.
fn agree(kind: &str, told: &BTreeMap<String, Value>, seen: &mut BTreeSet<String>) {
    let value = |code: &str| told.get(code).map(|body| &body["value"]);
    let number = |code: &str| value(code).and_then(Value::as_f64);
    if let (Some(flowing), Some(most)) = (number("charge-amperage"), number("charge-amperagemax")) {
        assert!(flowing <= most, "{flowing} A of {most} A");
        let asked = number("charge-amperagerequested");
        assert!(asked.is_none_or(|asked| flowing <= asked && asked <= most), "{flowing} A of {asked:?} A of {most} A");
        seen.extend((flowing > 100.0).then(|| "fast".to_owned()));
    }
    if let (Some(connector), Some(fast)) = (value("charge-chargingconnectortype"), value("charge-isfastchargerpresent")) {
        assert_eq!(connector == "CCS", *fast == true, "{told:?}");
        assert_eq!(told["charge-fastchargertype"]["value"] == "CCS", *fast == true, "{told:?}");
        assert!(kind == "BEV" || *fast == false, "no hybrid charges fast");
        let open = value("charge-ischargingportflapopen");
        assert!(open.is_none_or(|open| *open == (connector != "NONE")), "{told:?}");
    }
    let list = |code: &str| told.get(code).and_then(|body| body["values"].as_array()).into_iter().flatten();
    let currency = |longitude: &Value| if longitude.as_f64().unwrap() < -30.0 { "USD" } else { "EUR" };
    for record in list("charge-chargerecords") {
        let (public, connector) = (record["isPublicCharger"] == true, &record["connectorType"]);
        assert_eq!(connector, if public && kind == "BEV" { "CCS" } else { "TYPE_2" }, "{record}");
        assert_eq!(record["cost"]["currency"], currency(&record["location"]["longitude"]), "{record}");
        seen.insert(format!("{kind} {public} {}", record["cost"]["currency"].as_str().unwrap()));
    }
    if let Some(place) = told.get("location-preciselocation") {
        for record in list("service-records") {
            assert_eq!(record["cost"]["currency"], currency(&place["longitude"]), "{record}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_signal_of_the_reference_is_told_in_its_shape_and_unit() {
    // Among these is a car that charges fast, which few do.
    let rig = Rig::new(Settings { seed: 4, cars: 60, speed: 60.0, ..Settings::default() });
    rig.simulator.turn("unsubscribed=live").unwrap();
    for account in rig.simulator.accounts() {
        rig.consent(&account.email, &[("scope", EVERYTHING)]).await;
    }
    let (reference, token) = (listed(), rig.application_token().await);
    assert_eq!(reference.len(), 93);
    let (mut told, mut values) = (BTreeSet::new(), BTreeMap::<String, BTreeSet<String>>::new());
    let mut seen = BTreeSet::new();
    // Two days of their lives: closely at first, then in the morning, at noon, in the evening and at night.
    for seconds in [20; 9].into_iter().chain([360; 8]) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        for account in rig.simulator.accounts() {
            for vehicle in &account.vehicle_ids {
                let list = rig.get_as(&format!("/v3/vehicles/{vehicle}/signals"), &token, &account.user_id).await.json();
                let kind = list["included"]["vehicle"]["attributes"]["powertrainType"].as_str().unwrap();
                let (mut codes, mut bodies) = (BTreeSet::new(), BTreeMap::new());
                for signal in list["data"].as_array().unwrap() {
                    let (code, attributes) = (signal["id"].as_str().unwrap(), &signal["attributes"]);
                    assert!(codes.insert(code), "{code} is there twice");
                    if attributes["status"]["value"] == "SUCCESS" {
                        is_plausible(code, &reference[code], &attributes["body"]);
                        told.insert(code.to_owned());
                        bodies.insert(code.to_owned(), attributes["body"].clone());
                        values.entry(code.to_owned()).or_default().insert(attributes["body"].to_string());
                    } else {
                        assert_eq!(attributes["status"]["error"]["code"], "VEHICLE_NOT_CAPABLE", "{code}: {attributes}");
                    }
                }
                let expected: BTreeSet<&str> = reference.keys().copied().filter(|code| fits(code, kind)).collect();
                assert_eq!(codes, expected, "a car of the kind {kind}");
                agree(kind, &bodies, &mut seen);
            }
        }
    }
    assert_eq!(told.iter().map(String::as_str).collect::<Vec<_>>(), reference.keys().copied().collect::<Vec<_>>());
    for charge in ["fast", "BEV true EUR", "BEV false USD", "PHEV true EUR", "PHEV true USD"] {
        assert!(seen.contains(charge), "{charge} is not in {seen:?}");
    }
    // They live: what can change does.
    for code in
        ["charge-amperage", "charge-chargerecords", "charge-energyadded", "connectivitystatus-isasleep", "location-isathome"]
    {
        assert!(values[code].len() > 1, "{code} is {:?} at all times", values[code]);
    }
}

/// Cars that nobody had to connect tell all that they can.
#[tokio::test(start_paused = true)]
async fn owners_who_are_connected_from_the_start_grant_everything() {
    let rig = Rig::new(Settings { cars: 60, connected: true, ..Settings::default() });
    let (token, mut told) = (rig.application_token().await, BTreeSet::new());
    for account in rig.simulator.accounts().into_iter().skip(2) {
        for vehicle in &account.vehicle_ids {
            let list = rig.get_as(&format!("/v3/vehicles/{vehicle}/signals"), &token, &account.user_id).await.json();
            for signal in list["data"].as_array().unwrap() {
                let status = &signal["attributes"]["status"];
                assert!(status["value"] == "SUCCESS" || status["error"]["type"] == "COMPATIBILITY", "{signal}");
                told.extend((status["value"] == "SUCCESS").then(|| signal["id"].as_str().unwrap().to_owned()));
            }
        }
    }
    assert_eq!(told.len(), listed().len());
}

/// The flap of the port obeys, and is told alike by the signal and by v2.0.
#[tokio::test(start_paused = true)]
async fn the_charging_port_opens_and_closes() {
    let rig = Rig::new(Settings { speed: 60.0, ..Settings::default() });
    let scope = [("scope", "control_charge read_charge read_security")];
    let (access, _) = pair(&rig.exchange(&parameter(&rig.consent(ADA, &scope).await, "code").unwrap()).await);
    let (user_id, vehicle) = (rig.simulator.accounts()[0].user_id.clone(), rig.vehicles(ADA).remove(0));
    let token = rig.application_token().await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("sc-user-id", &user_id)];
    let tell = async |command: &str| {
        let answer = rig.send("POST", &format!("/v3/vehicles/{vehicle}/commands/charge-port/{command}"), &headers, "").await;
        (answer.status, answer.json()["errors"][0]["code"].as_str().map(str::to_owned))
    };
    let is_open = async || {
        let path = format!("/v3/vehicles/{vehicle}/signals/charge-ischargingportflapopen");
        let signal = rig.get_as(&path, &token, &user_id).await.json()["data"].clone();
        let security = rig.get(&format!("/v2.0/vehicles/{vehicle}/security"), &access).await;
        let port = security.json()["chargingPort"][0]["status"] == "OPEN";
        assert_eq!(signal["attributes"]["body"]["value"], port, "{signal} and {}", security.text());
        (port, signal["meta"]["oemUpdatedAt"].to_string(), security.header("sc-data-age").unwrap().to_owned())
    };
    assert_eq!(tell("close").await, (409, Some("CHARGING_PLUG_CONNECTED".to_owned())));
    assert!(is_open().await.0, "the cable is in it");
    let mut refused = BTreeSet::new();
    loop {
        rig.simulator.turn("unsubscribed=live").unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        match tell("open").await {
            (200, _) => break,
            (status, code) => assert!(status == 409 && (refused.insert(code), refused.len() <= 2).1, "{status} {refused:?}"),
        }
    }
    assert_eq!(refused.len(), 2, "at a plug, then on the road: {refused:?}");
    let opened = is_open().await;
    tokio::time::advance(Duration::from_millis(10)).await;
    assert_eq!(tell("close").await, (200, None));
    let closed = is_open().await;
    assert!(opened.0 && !closed.0 && opened.1 != closed.1 && opened.2 != closed.2, "{opened:?} then {closed:?}");
}

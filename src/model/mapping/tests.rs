use std::fmt::Write;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn check(path: &str, body: Value, imperial: bool, expect: Expect) {
    let mut text = String::new();
    for report in reports(path, &body, Provenance { imperial, ..Provenance::default() }) {
        let Outcome::Value(body) = report.outcome else { panic!("a value") };
        writeln!(text, "{} {}", report.code, body.as_str()).unwrap();
    }
    expect.assert_eq(&text);
}

#[test]
fn endpoints_become_signals() {
    check(
        "/odometer",
        json!({"distance": 18342.6}),
        false,
        expect![[r#"
        odometer-traveleddistance {"unit":"km","value":18342.6}
    "#]],
    );
    check(
        "battery/",
        json!({"percentRemaining": 0.58, "range": 283.24}),
        false,
        expect![[r#"
        tractionbattery-stateofcharge {"unit":"percent","value":58}
        tractionbattery-range {"unit":"km","value":283.24}
    "#]],
    );
    check(
        "/battery/capacity",
        json!({"capacity": 77}),
        false,
        expect![[r#"
        tractionbattery-nominalcapacity {"availableCapacities":[],"capacity":77,"unit":"kWh"}
    "#]],
    );
    let nominal = json!({"availableCapacities": [{"capacity": 70.9, "description": null}], "capacity": {"nominal": 80.9, "source": "USER_SELECTED"}, "url": null});
    check(
        "/battery/nominal_capacity",
        nominal,
        false,
        expect![[r#"
        tractionbattery-nominalcapacity {"availableCapacities":[{"capacity":70.9,"description":null}],"capacity":80.9,"source":"USER_SELECTED","unit":"kWh"}
    "#]],
    );
    check(
        "/charge",
        json!({"isPluggedIn": true, "state": "FULLY_CHARGED"}),
        false,
        expect![[r#"
        charge-ischargingcableconnected {"value":true}
        charge-detailedchargingstatus {"value":"FULLY_CHARGED"}
        charge-ischarging {"value":false}
    "#]],
    );
    check(
        "/charge/limit",
        json!({"limit": 0.8}),
        false,
        expect![[r#"
        charge-chargelimits {"activeLimit":80,"unit":"percent","values":[{"condition":null,"limit":80,"type":"GLOBAL"}]}
    "#]],
    );
    check(
        "/fuel",
        json!({"amountRemaining": 53.2, "percentRemaining": 0.3, "range": null}),
        false,
        expect![[r#"
        internalcombustionengine-fuellevel {"unit":"percent","value":30}
        internalcombustionengine-amountremaining {"unit":"liters","value":53.2}
    "#]],
    );
    check(
        "/engine/oil",
        json!({"lifeRemaining": 0.35}),
        false,
        expect![[r#"
        internalcombustionengine-oillife {"unit":"percent","value":35}
    "#]],
    );
    check(
        "/location",
        json!({"latitude": 37.4292, "longitude": -122.1381}),
        false,
        expect![[r#"
        location-preciselocation {"latitude":37.4292,"longitude":-122.1381}
    "#]],
    );
    let tires = json!({"frontLeft": 219.3, "frontRight": 219.3, "backLeft": null, "backRight": 219});
    check(
        "/tires/pressure",
        tires,
        false,
        expect![[r#"
        wheel-tires {"columnCount":2,"rowCount":2,"unit":"kPa","values":[{"column":0,"row":0,"tirePressure":219.3},{"column":1,"row":0,"tirePressure":219.3},{"column":1,"row":1,"tirePressure":219}]}
    "#]],
    );
    check(
        "/vin",
        json!({"vin": "0SCTEST0000000001"}),
        false,
        expect![[r#"
        vehicleidentification-vin {"value":"0SCTEST0000000001"}
    "#]],
    );
}

#[test]
fn security_becomes_closures() {
    let body = json!({
        "isLocked": null,
        "doors": [
            {"type": "frontLeft", "status": "LOCKED"}, {"type": "frontRight", "status": "OPEN"},
            {"type": "backRight", "status": "UNKNOWN"}, {"type": "gullwing", "status": "OPEN"},
        ],
        "windows": [{"type": "frontLeft", "status": "CLOSED"}],
        "sunroof": [{"type": "sunroof", "status": "CLOSED"}],
        "storage": [{"type": "rear", "status": "UNLOCKED"}, {"type": "front", "status": "UNKNOWN"}],
        "chargingPort": [{"type": "chargingPort", "status": "OPEN"}],
    });
    check(
        "/security",
        body,
        false,
        expect![[r#"
        closure-doors {"columnCount":2,"rowCount":2,"values":[{"column":0,"isLocked":true,"isOpen":null,"row":0},{"column":1,"isLocked":null,"isOpen":true,"row":0}]}
        closure-windows {"columnCount":2,"rowCount":2,"values":[{"column":0,"isOpen":false,"row":0}]}
        closure-sunroof {"isOpen":false}
        closure-reartrunk {"isLocked":false,"isOpen":null}
        charge-ischargingportflapopen {"value":true}
    "#]],
    );
    check(
        "/security",
        json!({"isLocked": true, "doors": [], "windows": [], "chargingPort": []}),
        false,
        expect![[r#"
        closure-islocked {"value":true}
    "#]],
    );
}

#[test]
fn imperial_becomes_metric() {
    check(
        "/odometer",
        json!({"distance": 100}),
        true,
        expect![[r#"
        odometer-traveleddistance {"unit":"km","value":160.9344}
    "#]],
    );
    check(
        "/fuel",
        json!({"amountRemaining": 10, "percentRemaining": 0.3, "range": 1.5}),
        true,
        expect![[r#"
        internalcombustionengine-fuellevel {"unit":"percent","value":30}
        internalcombustionengine-amountremaining {"unit":"liters","value":37.854118}
        internalcombustionengine-range {"unit":"km","value":2.414016}
    "#]],
    );
    check(
        "/tires/pressure",
        json!({"frontLeft": 32}),
        true,
        expect![[r#"
        wheel-tires {"columnCount":2,"rowCount":2,"unit":"kPa","values":[{"column":0,"row":0,"tirePressure":220.632233}]}
    "#]],
    );
}

#[test]
fn null_and_nonsense_give_nothing() {
    for endpoint in endpoints() {
        for body in [json!(null), json!([]), json!({}), json!("x")] {
            // No services at all are a good answer.
            if endpoint.path != "/service/history" || !body.is_array() {
                assert_eq!(reports(endpoint.path, &body, Provenance::default()), []);
            }
        }
        assert_eq!(failures(endpoint.path, &SignalFailure::default(), Provenance::default()).len(), endpoint.signals.len());
    }
    assert_eq!(reports("/nowhere", &json!({"value": 1}), Provenance::default()), []);
}

#[test]
fn a_permission_is_named_where_smartcar_says_what_it_opens() {
    for (code, opened_by) in [
        ("odometer-traveleddistance", Some("read_odometer")),
        ("charge-ischargingportflapopen", Some("read_charge")),
        ("charge-chargerecords", Some("read_charge_records")),
        ("climate-externaltemperature", Some("read_thermometer")),
        ("closure-tailgate", Some("read_security")),
        ("diagnostics-dtccount", Some("read_diagnostics")),
        ("hvac-issteeringheateractive", Some("read_climate")),
        ("motion-currentspeed", Some("read_speedometer")),
        ("tractionbattery-isheateractive", Some("read_battery")),
        ("vehicleidentification-vin", Some("read_vin")),
        ("vehicleidentification-trim", None),
        ("transmission-gearstate", None),
    ] {
        assert_eq!(permission(code), opened_by, "{code}");
    }
}

#[test]
fn without_known_permissions_everything_is_read_once() {
    let paths = open_to(None);
    assert!(paths.contains(&"/battery/capacity") && !paths.contains(&"/battery/nominal_capacity"));
    assert_eq!(paths.len(), endpoints().len() - 1);
}

#[test]
fn codes_belong_to_their_names() {
    for signal in endpoints().iter().flat_map(|endpoint| endpoint.signals) {
        assert_eq!(crate::model::wire::code_of(Some(signal.group), Some(signal.name)).as_deref(), Some(signal.code));
    }
}

proptest! {
    #[test]
    fn odd_fields_do_no_harm(number in any::<f64>(), text in ".{0,9}", list in any::<bool>()) {
        for endpoint in endpoints() {
            for value in [json!(number), json!(text), json!(list), json!([[number], {"type": text, "status": text}])] {
                let fields = ["distance", "percentRemaining", "range", "limit", "capacity", "state", "doors", "storage", "frontLeft"];
                let body = fields.iter().map(|field| ((*field).to_owned(), value.clone())).collect();
                reports(endpoint.path, &Value::Object(body), Provenance { imperial: list, ..Provenance::default() });
            }
        }
    }
}

/// What an endpoint says becomes signals, and the signals say the same again.
#[test]
fn there_and_back_again() {
    let bodies = [
        ("/odometer", json!({"distance": 18342.6})),
        ("/battery", json!({"percentRemaining": 0.58, "range": 283.24})),
        ("/battery", json!({"percentRemaining": 0.07, "range": null})),
        ("/battery/capacity", json!({"capacity": 77})),
        (
            "/battery/nominal_capacity",
            json!({"availableCapacities": [{"capacity": 70.9, "description": null}], "capacity": {"nominal": 80.9, "source": "USER_SELECTED"}, "url": null}),
        ),
        (
            "/battery/nominal_capacity",
            json!({"availableCapacities": [{"capacity": 70.9, "description": "LR"}], "capacity": null, "url": null}),
        ),
        ("/charge", json!({"isPluggedIn": true, "state": "FULLY_CHARGED"})),
        ("/charge", json!({"isPluggedIn": true, "state": "CHARGING"})),
        ("/charge", json!({"isPluggedIn": false, "state": "NOT_CHARGING"})),
        ("/charge/limit", json!({"limit": 0.8})),
        ("/fuel", json!({"amountRemaining": 53.2, "percentRemaining": 0.3, "range": 40.5})),
        ("/engine/oil", json!({"lifeRemaining": 0.35})),
        ("/location", json!({"latitude": 37.4292, "longitude": -122.1381})),
        ("/tires/pressure", json!({"frontLeft": 219.3, "frontRight": 219.3, "backLeft": null, "backRight": 219})),
        ("/vin", json!({"vin": "0SCTEST0000000001"})),
        (
            "/security",
            json!({
                "isLocked": true,
                "doors": [{"type": "frontLeft", "status": "LOCKED"}, {"type": "backRight", "status": "UNLOCKED"}],
                "windows": [{"type": "frontRight", "status": "OPEN"}, {"type": "backLeft", "status": "CLOSED"}],
                "sunroof": [{"type": "sunroof", "status": "CLOSED"}],
                "storage": [{"type": "front", "status": "OPEN"}, {"type": "rear", "status": "CLOSED"}],
                "chargingPort": [{"type": "chargingPort", "status": "OPEN"}],
            }),
        ),
        (
            "/diagnostics/system_status",
            json!({"systems": [
                {"systemId": "SYSTEM_ABS", "status": "OK", "description": null},
                {"systemId": "SYSTEM_TPMS", "status": "ALERT", "description": "Left rear tire sensor battery low"},
            ]}),
        ),
        ("/diagnostics/dtcs", json!({"activeCodes": [{"code": "P302D", "timestamp": "2024-09-05T14:48:00.000Z"}]})),
        (
            "/service/history",
            json!([{
                "serviceId": "12345", "serviceDate": "2022-07-10T16:20:00.000Z", "odometerDistance": 50000.1,
                "serviceTasks": [{"taskId": "262", "taskDescription": "Tire rotation"}],
                "serviceDetails": [{"type": "Service Details", "value": null}],
                "serviceCost": {"totalCost": null, "currency": null},
            }]),
        ),
    ];
    for (path, body) in &bodies {
        for imperial in [false, true] {
            let signals = reports(path, body, Provenance { imperial, ..Provenance::default() });
            let stored = |code: &str| match &signals.iter().find(|report| report.code == code)?.outcome {
                Outcome::Value(body) => Some(body.value()),
                Outcome::Failed(_) => None,
            };
            let again = endpoint(path).unwrap().answer(&stored, imperial).unwrap();
            assert_eq!(format!("{again:#}"), format!("{body:#}"), "{path} imperial: {imperial}");
        }
    }
    for each in endpoints() {
        assert!(bodies.iter().any(|(path, _)| *path == each.path), "{} is not tried", each.path);
        assert_eq!(each.answer(&|_| None, false), None);
    }
}

/// Signals as cars really tell them.
#[test]
fn signals_become_endpoints() {
    let answer = |path: &str, code: &str, body: Value, imperial: bool| {
        endpoint(path)
            .unwrap()
            .answer(&|asked: &str| (asked == code).then(|| body.clone()), imperial)
            .map(|body| body.to_string())
    };
    for (path, code, body, imperial, expected) in [
        (
            "/odometer",
            "odometer-traveleddistance",
            json!({"value": 100, "unit": "kilometers"}),
            true,
            r#"{"distance":62.137119}"#,
        ),
        ("/odometer", "odometer-traveleddistance", json!({"value": 100, "unit": "miles"}), false, r#"{"distance":160.9344}"#),
        ("/odometer", "odometer-traveleddistance", json!({"value": 100}), false, r#"{"distance":100}"#),
        (
            "/battery",
            "tractionbattery-stateofcharge",
            json!({"value": 64, "unit": "percent"}),
            false,
            r#"{"percentRemaining":0.64,"range":null}"#,
        ),
        (
            "/fuel",
            "internalcombustionengine-fuellevel",
            json!({"value": 0.4}),
            false,
            r#"{"amountRemaining":null,"percentRemaining":0.4,"range":null}"#,
        ),
        ("/charge", "charge-ischarging", json!({"value": false}), false, r#"{"isPluggedIn":null,"state":"NOT_CHARGING"}"#),
        (
            "/charge/limit",
            "charge-chargelimits",
            json!({"values": [], "activeLimit": 90, "unit": "percent"}),
            false,
            r#"{"limit":0.9}"#,
        ),
        (
            "/tires/pressure",
            "wheel-tires",
            json!({"values": [{"row": 0, "column": 1, "tirePressure": 2.2}, {"row": 7, "column": 0, "tirePressure": 1}], "unit": "bar"}),
            false,
            r#"{"backLeft":null,"backRight":null,"frontLeft":null,"frontRight":220}"#,
        ),
        (
            "/security",
            "closure-islocked",
            json!({"value": true}),
            false,
            r#"{"chargingPort":[],"doors":[],"isLocked":true,"storage":[],"sunroof":[],"windows":[]}"#,
        ),
    ] {
        assert_eq!(answer(path, code, body, imperial).as_deref(), Some(expected), "{path}");
    }
    assert_eq!(answer("/odometer", "odometer-traveleddistance", json!({"value": null}), false), None);
}

#[test]
fn a_level_is_what_its_unit_says() {
    // One percent is no full tank, unless the rest of the tank says so; and only levels of fuel were ever fractions.
    let fuel = |level: Value, amount: Option<f64>, range: Option<f64>| {
        let stored = |code: &str| match code {
            "internalcombustionengine-fuellevel" => Some(level.clone()),
            "internalcombustionengine-amountremaining" => amount.map(|amount| json!({ "value": amount })),
            _ => range.map(|range| json!({ "value": range, "unit": "miles" })),
        };
        endpoint("/fuel").unwrap().answer(&stored, false).unwrap()["percentRemaining"].as_f64().unwrap()
    };
    for (level, amount, range, expected) in [
        (json!({"value": 1}), None, None, 0.01),
        (json!({"value": 1, "unit": "percent"}), Some(60.0), Some(500.0), 0.01),
        (json!({"value": 1}), Some(0.6), Some(5.0), 0.01),
        (json!({"value": 1}), Some(60.0), None, 1.0),
        (json!({"value": 1.0}), None, Some(400.0), 1.0),
        (json!({"value": 0.4}), None, None, 0.4),
        (json!({"value": 40}), None, None, 0.4),
    ] {
        assert!((fuel(level.clone(), amount, range) - expected).abs() < 1e-9, "{level} {amount:?} {range:?}");
    }
    for (path, code, field) in [
        ("/battery", "tractionbattery-stateofcharge", "percentRemaining"),
        ("/engine/oil", "internalcombustionengine-oillife", "lifeRemaining"),
    ] {
        let stored = |asked: &str| (asked == code).then(|| json!({"value": 1}));
        assert_eq!(endpoint(path).unwrap().answer(&stored, false).unwrap()[field], 0.01);
    }
}

#[test]
fn bodies_in_the_other_unit_system() {
    let imperial = |code: &str, body: Value| imperial(code, body).to_string();
    assert_eq!(imperial("tractionbattery-range", json!({"value": 100})), r#"{"unit":"miles","value":62.137119}"#);
    assert_eq!(
        imperial("climate-externaltemperature", json!({"value": 21.5, "unit": "celsius"})),
        r#"{"unit":"fahrenheit","value":70.7}"#
    );
    // Without a unit they are in that of the catalogue.
    for (code, body, expected) in [
        ("climate-externaltemperature", json!({"value": 21.5}), r#"{"unit":"fahrenheit","value":70.7}"#),
        ("motion-currentspeed", json!({"value": 100}), r#"{"unit":"mph","value":62.137119}"#),
        ("charge-chargerate", json!({"value": 100, "unit": ""}), r#"{"unit":"mph","value":62.137119}"#),
        ("internalcombustionengine-range", json!({"value": 100}), r#"{"unit":"miles","value":62.137119}"#),
        ("internalcombustionengine-amountremaining", json!({"value": 10}), r#"{"unit":"gallons","value":2.641721}"#),
        ("wheel-tires", json!({"values": [{"tirePressure": 220}]}), r#"{"unit":"psi","values":[{"tirePressure":31.908302}]}"#),
        ("charge-timetocomplete", json!({"value": 30}), r#"{"value":30}"#),
        ("odometer-traveleddistance", json!({"value": 30, "unit": "miles"}), r#"{"unit":"miles","value":30}"#),
    ] {
        assert_eq!(imperial(code, body), expected, "{code}");
    }
    // What is metric in one direction is not in the other, however it is spelt.
    for (spelt, metric) in [("mi", 1.609_344), ("gal", 3.785_412), ("psi", 6.894_757)] {
        assert_eq!(self::imperial("x", json!({ "value": 2, "unit": spelt }))["unit"], spelt);
        assert!((units::metric(Some(&json!(spelt))) - metric).abs() < 1e-3, "{spelt}");
    }
    assert_eq!(imperial("x", json!({"value": 1, "unit": "bar"})), r#"{"unit":"psi","value":14.503774}"#);
    assert_eq!(imperial("charge-voltage", json!({"value": 230, "unit": "volts"})), r#"{"unit":"volts","value":230}"#);
}

//! The one table between signals and endpoints of API v2.0.
//!
//! Every row is data: an endpoint, and the signals that its body holds, each with the [`Shape`] that
//! says which field becomes which signal body. Signals are metric and percent counts to 100, whatever
//! unit system the endpoint answered in; a field that is null or missing gives no signal.

use serde_json::Value;

use super::reading::{Outcome, SignalFailure, SignalReport};
use super::{Json, Timestamp};

mod shape;

pub use shape::{CORNERS, Quantity, Shape};

/// One endpoint of API v2.0 that reads.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// The path below the vehicle, such as `/battery`.
    pub path: &'static str,
    /// The permission it needs.
    pub permission: &'static str,
    /// The signals in its body.
    pub signals: &'static [Signal],
}

/// One signal in the body of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// Smartcar's code.
    pub code: &'static str,
    /// The group.
    pub group: &'static str,
    /// The name within the group.
    pub name: &'static str,
    /// Where it stands in the body, and how.
    pub shape: Shape,
}

/// What the headers of an answer tell of its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// When the car recorded it (`SC-Data-Age`).
    pub oem_updated_at: Option<Timestamp>,
    /// When Smartcar fetched it (`SC-Fetched-At`).
    pub retrieved_at: Option<Timestamp>,
    /// Whether the body is in miles, gallons and psi (`SC-Unit-System`).
    pub imperial: bool,
}

impl Provenance {
    /// From headers, asked for by their names in lower case; what they do not say is as in `outer`.
    pub fn from_headers(header: impl Fn(&str) -> Option<String>, outer: Provenance) -> Provenance {
        let time = |name| header(name).and_then(|text| super::lenient::time_of(&text));
        Provenance {
            oem_updated_at: time("sc-data-age").or(outer.oem_updated_at),
            retrieved_at: time("sc-fetched-at").or(outer.retrieved_at),
            imperial: header("sc-unit-system").map_or(outer.imperial, |units| units.eq_ignore_ascii_case("imperial")),
        }
    }
}

/// The endpoints, in the order in which they are read.
pub fn endpoints() -> &'static [Endpoint] {
    ENDPOINTS
}

/// The endpoint of a path, with or without slashes around it.
pub fn endpoint(path: &str) -> Option<&'static Endpoint> {
    let path = path.trim_matches('/');
    ENDPOINTS.iter().find(|endpoint| &endpoint.path[1..] == path)
}

/// The endpoints that these permissions open; all of them if the permissions are not known. Of those that hold the
/// same signals only one.
pub fn open_to(permissions: Option<&[String]>) -> Vec<&'static str> {
    let mut codes: Vec<&str> = Vec::new();
    let mut paths = Vec::new();
    for endpoint in endpoints() {
        let is_open = permissions.is_none_or(|list| list.iter().any(|each| each == endpoint.permission));
        if is_open && endpoint.signals.iter().any(|signal| !codes.contains(&signal.code)) {
            codes.extend(endpoint.signals.iter().map(|signal| signal.code));
            paths.push(endpoint.path);
        }
    }
    paths
}

/// The signals that the body of an endpoint holds. What is null gives no signal.
pub fn reports(path: &str, body: &Value, provenance: Provenance) -> Vec<SignalReport> {
    let report = |signal: &Signal| {
        let body = signal.shape.signal(body, provenance.imperial)?;
        Some(signal.report(Outcome::Value(Json::of(&body)), provenance))
    };
    endpoint(path).map(|endpoint| endpoint.signals.iter().filter_map(report).collect()).unwrap_or_default()
}

/// The failure of an endpoint, for each signal that its body would have held.
pub fn failures(path: &str, failure: &SignalFailure, provenance: Provenance) -> Vec<SignalReport> {
    let report = |signal: &Signal| signal.report(Outcome::Failed(failure.clone()), provenance);
    endpoint(path).map(|endpoint| endpoint.signals.iter().map(report).collect()).unwrap_or_default()
}

impl Signal {
    fn report(&self, outcome: Outcome, provenance: Provenance) -> SignalReport {
        SignalReport {
            code: self.code.to_owned(),
            group: Some(self.group.to_owned()),
            name: Some(self.name.to_owned()),
            outcome,
            oem_updated_at: provenance.oem_updated_at,
            retrieved_at: provenance.retrieved_at,
        }
    }
}

macro_rules! table {
    ($($path:literal $permission:literal { $($code:literal $group:ident.$name:ident $shape:expr;)* })*) => {
        &[$(Endpoint {
            path: $path,
            permission: $permission,
            signals: &[$(Signal {
                code: $code,
                group: stringify!($group),
                name: stringify!($name),
                shape: $shape,
            }),*],
        }),*]
    };
}

const fn value(field: &'static str, quantity: Quantity) -> Shape {
    Shape::Value { field, quantity }
}

const ENDPOINTS: &[Endpoint] = table! {
    "/odometer" "read_odometer" {
        "odometer-traveleddistance" Odometer.TraveledDistance value("distance", Quantity::Distance);
    }
    "/battery" "read_battery" {
        "tractionbattery-stateofcharge" TractionBattery.StateOfCharge value("percentRemaining", Quantity::Percent);
        "tractionbattery-range" TractionBattery.Range value("range", Quantity::Distance);
    }
    "/battery/capacity" "read_battery" {
        "tractionbattery-nominalcapacity" TractionBattery.NominalCapacity Shape::Capacity;
    }
    "/battery/nominal_capacity" "read_battery" {
        "tractionbattery-nominalcapacity" TractionBattery.NominalCapacity Shape::NominalCapacity;
    }
    "/charge" "read_charge" {
        "charge-ischarging" Charge.IsCharging Shape::Equals { field: "state", word: "CHARGING" };
        "charge-ischargingcableconnected" Charge.IsChargingCableConnected value("isPluggedIn", Quantity::Plain);
        "charge-detailedchargingstatus" Charge.DetailedChargingStatus value("state", Quantity::Plain);
    }
    "/charge/limit" "read_charge" {
        "charge-chargelimits" Charge.ChargeLimits Shape::ChargeLimit;
    }
    "/fuel" "read_fuel" {
        "internalcombustionengine-fuellevel" InternalCombustionEngine.FuelLevel value("percentRemaining", Quantity::Percent);
        "internalcombustionengine-amountremaining" InternalCombustionEngine.AmountRemaining value("amountRemaining", Quantity::Volume);
        "internalcombustionengine-range" InternalCombustionEngine.Range value("range", Quantity::Distance);
    }
    "/engine/oil" "read_engine_oil" {
        "internalcombustionengine-oillife" InternalCombustionEngine.OilLife value("lifeRemaining", Quantity::Percent);
    }
    "/location" "read_location" {
        "location-preciselocation" Location.PreciseLocation Shape::Position;
    }
    "/tires/pressure" "read_tires" {
        "wheel-tires" Wheel.Tires Shape::Tires;
    }
    "/security" "read_security" {
        "closure-islocked" Closure.IsLocked value("isLocked", Quantity::Plain);
        "closure-doors" Closure.Doors Shape::Openings { field: "doors", locks: true };
        "closure-windows" Closure.Windows Shape::Openings { field: "windows", locks: false };
        "closure-sunroof" Closure.Sunroof Shape::Opening { field: "sunroof", kind: None, locks: false };
        "closure-fronttrunk" Closure.FrontTrunk Shape::Opening { field: "storage", kind: Some("front"), locks: true };
        "closure-reartrunk" Closure.RearTrunk Shape::Opening { field: "storage", kind: Some("rear"), locks: true };
        "charge-ischargingportflapopen" Charge.IsChargingPortFlapOpen Shape::Flap { field: "chargingPort" };
    }
    "/vin" "read_vin" {
        "vehicleidentification-vin" VehicleIdentification.VIN value("vin", Quantity::Plain);
    }
};

#[cfg(test)]
mod tests {
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
            charge-ischarging {"value":false}
            charge-ischargingcableconnected {"value":true}
            charge-detailedchargingstatus {"value":"FULLY_CHARGED"}
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
                assert_eq!(reports(endpoint.path, &body, Provenance::default()), []);
            }
            assert_eq!(failures(endpoint.path, &SignalFailure::default(), Provenance::default()).len(), endpoint.signals.len());
        }
        assert_eq!(reports("/nowhere", &json!({"value": 1}), Provenance::default()), []);
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
}

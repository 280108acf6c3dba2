//! The full reading of an event.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{EventKind, Meta, NotUnderstood, envelope};
use crate::model::reading::{Outcome, SignalReport};
use crate::model::vehicle::{VehicleError, VehicleFacts};
use crate::model::wire::{SignalWire, VehicleWire, keyed};
use crate::model::{SmartcarUserId, Timestamp, VehicleId, lenient};

mod error;
mod legacy;
mod trigger;

use error::ErrorWire;
use trigger::{distinct, triggered_by};

/// What an event says of vehicles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// Each vehicle it is about: at most one in v4, perhaps several in v2.0.
    pub vehicles: Vec<VehicleProjection>,
    /// When Smartcar sent it, by its own clock.
    pub delivered_at: Option<Timestamp>,
    /// Orders events that have the same times.
    pub sequence: Option<i64>,
    /// Why it was sent: codes of signals, or `FIRST_DELIVERY`.
    pub triggers: Vec<String>,
}

/// What an event says of one vehicle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VehicleProjection {
    /// The vehicle.
    pub id: VehicleId,
    /// The Smartcar user it belongs to.
    pub user: Option<SmartcarUserId>,
    /// What the event tells of the vehicle itself.
    pub facts: VehicleFacts,
    /// Its signals.
    pub reports: Vec<SignalReport>,
    /// What began or ended to be wrong with it.
    pub errors: Vec<ErrorChange>,
}

/// A problem that began or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorChange {
    /// The problem. Its `since` is when the event was sent, 1970 if Smartcar did not say: whoever keeps
    /// it knows better when it began.
    pub error: VehicleError,
    /// Whether it ended.
    pub resolved: bool,
}

/// A way to read events in full. A later Carport may understand what this one does not.
#[derive(Clone, Copy, Debug)]
pub struct Grammar {
    /// Goes up whenever something else is made of bytes that a log may hold: then logs are read again.
    pub version: u32,
    /// Reads one event: a pure function.
    pub project: fn(&[u8]) -> Result<Projection, NotUnderstood>,
}

impl Grammar {
    /// That of this version.
    pub const CURRENT: Grammar = Grammar { version: 1, project };
}

/// Reads an event in full. An event of an unknown kind gives whatever it has in the known places.
pub fn project(body: &[u8]) -> Result<Projection, NotUnderstood> {
    let event: Whole<'_> = envelope(body)?;
    match (event.event_type.as_deref(), event.event_name.as_deref()) {
        (Some(name), _) if EventKind::v4(name) == EventKind::Verify => Ok(Projection::default()),
        (Some(_), _) => Ok(event.v4()),
        (None, Some(name)) => legacy::project(&EventKind::legacy(name), body),
        (None, None) => Err(NotUnderstood::NoType),
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Whole<'a> {
    #[serde(deserialize_with = "lenient::text")]
    event_type: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    event_name: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    vehicle_id: Option<String>,
    #[serde(borrow, deserialize_with = "super::distinct::distinct")]
    data: Data<'a>,
    #[serde(borrow, deserialize_with = "lenient::values")]
    triggers: Vec<&'a RawValue>,
    #[serde(deserialize_with = "lenient::object")]
    meta: Meta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data<'a> {
    #[serde(deserialize_with = "lenient::object")]
    vehicle: VehicleWire,
    #[serde(deserialize_with = "lenient::object")]
    user: super::Named,
    #[serde(borrow, deserialize_with = "lenient::values")]
    triggers: Vec<&'a RawValue>,
    #[serde(borrow)]
    signals: Option<&'a RawValue>,
    #[serde(deserialize_with = "lenient::list")]
    errors: Vec<ErrorWire>,
}

impl Whole<'_> {
    fn v4(self) -> Projection {
        let delivered_at = self.meta.delivered_at.or(self.meta.delivery_time);
        let triggers = self.triggers.iter().chain(&self.data.triggers).filter_map(|trigger| triggered_by(trigger));
        let mut projection =
            Projection { delivered_at, sequence: self.meta.sequence, triggers: distinct(triggers), vehicles: Vec::new() };
        if let Some(id) = self.data.vehicle.id.clone().or(self.vehicle_id) {
            let id = VehicleId::new(id);
            let reports = self.data.signals.map(reports).unwrap_or_default();
            let since = delivered_at.unwrap_or_default();
            projection.vehicles.push(VehicleProjection {
                facts: facts(self.data.vehicle, id.clone(), &reports),
                id,
                user: self.data.user.id.map(SmartcarUserId::new),
                reports,
                errors: self.data.errors.into_iter().filter_map(|error| error.change(since)).collect(),
            });
        }
        projection
    }
}

fn reports(signals: &RawValue) -> Vec<SignalReport> {
    let list = lenient::elements_of(signals).map(|list| list.into_iter().filter_map(lenient::object_of).collect());
    let signals: Vec<SignalWire> = list.unwrap_or_else(|| keyed(signals));
    signals.into_iter().filter_map(SignalWire::report).collect()
}

/// The facts, with the VIN from its signal if it stands nowhere else.
fn facts(vehicle: VehicleWire, id: VehicleId, reports: &[SignalReport]) -> VehicleFacts {
    let mut facts = vehicle.facts(id);
    if facts.vin.is_none() {
        facts.vin = reports.iter().filter(|report| report.code == "vehicleidentification-vin").find_map(|report| {
            let Outcome::Value(body) = &report.outcome else { return None };
            Some(body.value().get("value")?.as_str()?.to_owned())
        });
    }
    facts
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "as expect-test writes them")]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::model::lenient::tests::any_json;

    /// A projection in lines.
    fn say(body: &[u8]) -> String {
        use std::fmt::Write;
        let Projection { vehicles, delivered_at, sequence, triggers } = project(body).unwrap();
        let when = |time: Option<Timestamp>| time.map_or("-".to_owned(), |time| time.to_string());
        let mut text = format!("sent {} sequence {sequence:?} triggers {triggers:?}\n", when(delivered_at));
        for vehicle in vehicles {
            let VehicleFacts { id, make, model, year, vin, mode, powertrain, .. } = vehicle.facts;
            assert_eq!(id, vehicle.id);
            let user = vehicle.user.map_or("-".to_owned(), |user| user.to_string());
            writeln!(text, "{id} of {user}: {make:?} {model:?} {year:?} {vin:?} {mode:?} {powertrain:?}").unwrap();
            for report in vehicle.reports {
                let outcome = match report.outcome {
                    Outcome::Value(body) => body.as_str().split_whitespace().collect(),
                    Outcome::Failed(failure) => format!("{failure:?}"),
                };
                writeln!(text, "  {} {} {} {outcome}", report.code, when(report.oem_updated_at), when(report.retrieved_at))
                    .unwrap();
            }
            for ErrorChange { error, resolved } in vehicle.errors {
                let VehicleError { kind, code, message, resolution, resolution_url: url, signals, since, .. } = error;
                writeln!(text, "  {kind} {code:?} {message:?} {resolution:?} {signals:?} since {since} resolved {resolved}")
                    .unwrap();
                if let Some(url) = url {
                    writeln!(text, "    mended at {url}").unwrap();
                }
            }
        }
        text
    }

    fn check(body: &str, expect: Expect) {
        expect.assert_eq(&say(body.as_bytes()));
    }

    macro_rules! fixture {
        ($name:literal, $expect:expr) => {
            $expect.assert_eq(&say(include_bytes!(concat!("../../../tests/fixtures/webhook-", $name, ".json"))))
        };
    }

    #[test]
    fn states_in_both_documented_forms() {
        fixture!(
            "v4-vehicle-state-signal-updated",
            expect![[r#"
            sent 2025-10-09T08:53:22.000Z sequence None triggers ["tractionbattery-stateofcharge"]
            b7e4c2a1-9d38-4f60-a5b1-1f2e3d4c5b6a of 6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b: Some("VOLKSWAGEN") Some("ID.4") Some(2023) None None None
              tractionbattery-stateofcharge 2025-10-09T08:53:20.000Z 2025-10-09T08:53:21.500Z {"value":64,"unit":"percent"}
              odometer-traveleddistance 2025-10-09T08:53:20.000Z 2025-10-09T08:53:21.500Z {"value":18342.6,"unit":"km"}
              location-preciselocation 2025-10-09T08:53:20.000Z 2025-10-09T08:53:21.500Z {"latitude":52.3702,"longitude":4.8952,"heading":132,"locationType":"LAST_PARKED"}
              charge-ischarging 2025-10-09T08:53:20.000Z 2025-10-09T08:53:21.500Z {"value":true}
              charge-wattage 2025-10-09T08:53:20.000Z 2025-10-09T08:53:21.500Z {"value":4683,"unit":"watts"}
              charge-chargelimits 2025-10-09T08:53:20.000Z 2025-10-09T08:53:21.500Z {"values":[{"type":"GLOBAL","limit":80,"condition":null}],"activeLimit":80,"unit":"percent"}
              tractionbattery-range 2025-10-09T08:53:20.000Z 2025-10-09T08:53:21.500Z {"value":265,"additionalValues":[],"unit":"km"}
              location-isathome - - SignalFailure { status: "ERROR", kind: Some("COMPATIBILITY"), code: Some("VEHICLE_NOT_CAPABLE") }
              diagnostics-dtccount - - SignalFailure { status: "ERROR", kind: Some("PERMISSION"), code: None }
        "#]]
        );
        fixture!(
            "v4-vehicle-state-first-delivery",
            expect![[r#"
            sent 2025-10-09T08:53:22.000Z sequence None triggers ["FIRST_DELIVERY"]
            b7e4c2a1-9d38-4f60-a5b1-1f2e3d4c5b6a of 6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b: Some("VOLKSWAGEN") Some("ID.4") Some(2023) None None None
              tractionbattery-stateofcharge 2025-10-09T08:53:20.000Z 2025-10-09T08:53:21.500Z {"value":65,"unit":"percent"}
              charge-ischarging 2025-10-09T08:53:20.000Z 2025-10-09T08:53:21.500Z {"value":false}
              charge-voltage 2025-10-09T08:53:20.000Z 2025-10-09T08:53:21.500Z {"value":0,"unit":"volts"}
        "#]]
        );
        fixture!(
            "v4-vehicle-state-triggers-in-data",
            expect![[r#"
            sent 2025-10-09T08:53:22.000Z sequence Some(1760000001873) triggers ["tractionbattery-stateofcharge"]
            b7e4c2a1-9d38-4f60-a5b1-1f2e3d4c5b6a of 6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b: Some("VOLKSWAGEN") Some("ID.4") Some(2023) None Some("live") Some("BEV")
              tractionbattery-stateofcharge 2025-10-09T08:53:20.000Z 2025-10-09T08:53:21.500Z {"unit":"percent","value":78}
              charge-ischarging 2025-10-09T08:53:20.000Z 2025-10-09T08:53:21.500Z {"value":true}
        "#]]
        );
        fixture!(
            "v4-vehicle-state-first-delivery-in-data",
            expect![[r#"
            sent 2025-10-09T08:53:22.000Z sequence None triggers ["FIRST_DELIVERY"]
            b7e4c2a1-9d38-4f60-a5b1-1f2e3d4c5b6a of 6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b: Some("VOLKSWAGEN") Some("ID.4") Some(2023) None None None
              tractionbattery-stateofcharge 2025-10-09T08:53:20.000Z 2025-10-09T08:53:21.500Z {"unit":"percent","value":65}
        "#]]
        );
        fixture!(
            "v4-vehicle-state-test-mode",
            expect![[r#"
            sent 2025-10-09T08:53:22.000Z sequence None triggers ["internalcombustionengine-fuellevel"]
            c8f5d3b2-0e49-4071-b6c2-2a3f4e5d6c7b of 6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b: Some("BMW") Some("118i") Some(2025) None None None
              internalcombustionengine-fuellevel 2025-10-09T08:53:20.000Z 2025-10-09T08:53:21.500Z {"value":77,"unit":"percent"}
        "#]]
        );
    }

    #[test]
    fn errors_in_all_seen_forms() {
        fixture!(
            "v4-vehicle-error-compatibility",
            expect![[r#"
            sent 2025-10-09T08:53:22.000Z sequence None triggers []
            b7e4c2a1-9d38-4f60-a5b1-1f2e3d4c5b6a of 6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b: Some("VOLKSWAGEN") Some("ID.4") Some(2023) None None None
              COMPATIBILITY Some("VEHICLE_NOT_CAPABLE") Some("Your car cannot do this.") Some("CONTACT_SUPPORT") ["location-preciselocation", "tractionbattery-stateofcharge"] since 2025-10-09T08:53:22.000Z resolved false
        "#]]
        );
        fixture!(
            "v4-vehicle-error-permission-two-errors",
            expect![[r#"
            sent 2025-10-09T08:53:22.000Z sequence None triggers []
            b7e4c2a1-9d38-4f60-a5b1-1f2e3d4c5b6a of 6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b: Some("VOLKSWAGEN") Some("ID.4") Some(2023) None None None
              PERMISSION None None Some("REAUTHENTICATE") ["closure-islocked"] since 2025-10-09T08:53:22.000Z resolved false
              CONNECTED_SERVICES_ACCOUNT Some("AUTHENTICATION_FAILED") Some("Your car got disconnected.") Some("REAUTHENTICATE") [] since 2025-10-09T08:53:22.000Z resolved false
                mended at https://connect.smartcar.com/oauth/reauthenticate?response_type=vehicle_id&client_id=11d8a6e5-3b7c-43a4-a9f5-5d6c7b8a9f0e&vehicle_id=b7e4c2a1-9d38-4f60-a5b1-1f2e3d4c5b6a
        "#]]
        );
        fixture!(
            "v4-vehicle-error-resolved",
            expect![[r#"
            sent 2025-10-09T08:53:22.000Z sequence None triggers []
            b7e4c2a1-9d38-4f60-a5b1-1f2e3d4c5b6a of 6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b: Some("VOLKSWAGEN") Some("ID.4") Some(2023) None None None
              VEHICLE_STATE Some("UNREACHABLE") None None ["location-preciselocation"] since 2025-10-09T08:53:22.000Z resolved true
        "#]]
        );
        check(
            r#"{"eventType":"VEHICLE_ERROR","vehicleId":"v","data":{"errors":[
                {"type":"VEHICLE_STATE","code":null,"state":"WORSE","resolution":"RETRY_LATER","signals":["Location.PreciseLocation"]},
                {"type":"PERMISSION","resolution":{"type":null},"signals":null}, {}, 7, ["PERMISSION"]]}}"#,
            expect![[r#"
                sent - sequence None triggers []
                v of -: None None None None None None
                  VEHICLE_STATE None None Some("RETRY_LATER") ["location-preciselocation"] since 1970-01-01T00:00:00.000Z resolved false
                  PERMISSION None None None [] since 1970-01-01T00:00:00.000Z resolved false
            "#]],
        );
    }

    #[test]
    fn legacy_events() {
        fixture!(
            "v2-scheduled",
            expect![[r#"
            sent - sequence None triggers []
            b7e4c2a1-9d38-4f60-a5b1-1f2e3d4c5b6a of -: None None None None None None
              tractionbattery-stateofcharge 2025-10-09T08:51:00.000Z - {"unit":"percent","value":58}
              tractionbattery-range 2025-10-09T08:51:00.000Z - {"unit":"km","value":283.24}
              odometer-traveleddistance 2025-10-09T08:51:00.000Z - {"unit":"km","value":18342.6}
              internalcombustionengine-fuellevel - - SignalFailure { status: "ERROR", kind: Some("COMPATIBILITY"), code: Some("VEHICLE_NOT_CAPABLE") }
              internalcombustionengine-amountremaining - - SignalFailure { status: "ERROR", kind: Some("COMPATIBILITY"), code: Some("VEHICLE_NOT_CAPABLE") }
              internalcombustionengine-range - - SignalFailure { status: "ERROR", kind: Some("COMPATIBILITY"), code: Some("VEHICLE_NOT_CAPABLE") }
        "#]]
        );
        fixture!(
            "v2-event-based",
            expect![[r#"
            sent - sequence None triggers ["charge-ischarging", "charge-detailedchargingstatus"]
            b7e4c2a1-9d38-4f60-a5b1-1f2e3d4c5b6a of -: None None None None None None
              charge-ischarging 2025-10-09T08:50:12.000Z - {"value":true}
              charge-detailedchargingstatus 2025-10-09T08:50:12.000Z - {"value":"CHARGING"}
        "#]]
        );
        fixture!(
            "v2-verify",
            expect![[r#"
            sent - sequence None triggers []
        "#]]
        );
        check(
            r#"{"eventName":"dynamic","payload":{"vehicleId":"v","data":[
                {"path":"odometer/","code":"200","body":{"distance":10},"headers":{"SC-Unit-System":"imperial","SC-Fetched-At":1760000000}},
                {"path":"/","body":{"make":"BMW","year":2020}}, {"path":"/vin","code":200,"body":{"vin":"0SC"}},
                {"path":"/location","code":409,"body":{"type":"VEHICLE_STATE","code":"ASLEEP"}}, {"path":"/charge/limit","code":500},
                {"path":"/engine/oil","code":204}, {"path":"/nowhere","code":200,"body":{}}, {"code":200}, 3]}}"#,
            expect![[r#"
                sent - sequence None triggers []
                v of -: Some("BMW") None Some(2020) Some("0SC") None None
                  odometer-traveleddistance - 2025-10-09T08:53:20.000Z {"unit":"km","value":16.09344}
                  vehicleidentification-vin - - {"value":"0SC"}
                  location-preciselocation - - SignalFailure { status: "ERROR", kind: Some("VEHICLE_STATE"), code: Some("ASLEEP") }
                  charge-chargelimits - - SignalFailure { status: "ERROR", kind: None, code: None }
                  internalcombustionengine-oillife - - SignalFailure { status: "NO_BODY", kind: None, code: None }
            "#]],
        );
    }

    #[test]
    fn all_shapes_of_triggers() {
        check(
            r#"{"eventType":"VEHICLE_STATE","triggers":[
                {"type":"SIGNAL_UPDATED","signal":{"code":"a-b","name":"x","group":"y"}},
                {"type":"SIGNAL_UPDATED","signal":"Odometer.TraveledDistance"}, {"type":"SIGNAL_UPDATED","signal":{"code":"c-d"}},
                {"type":"FIRST_DELIVERY"}, {"code":"e-f","name":"x","group":"y"}, "g-h", null, 3, {}],
                "data":{"triggers":[{"code":"FIRST_DELIVERY"},{"signal":{"name":"Tires","group":"Wheel"}}]}}"#,
            expect![[r#"
                sent - sequence None triggers ["a-b", "odometer-traveleddistance", "c-d", "FIRST_DELIVERY", "e-f", "g-h", "wheel-tires"]
            "#]],
        );
    }

    #[test]
    fn odd_signals() {
        check(
            r#"{"eventType":"VEHICLE_STATE","data":{"vehicle":{"id":"v","year":"2021","vin":3},"signals":[
                {"group":"Closure","name":"IsLocked","body":{"value":null}}, {"code":"no-body","status":{"value":"SUCCESS"},"meta":{}},
                {"code":"null-body","body":null,"status":"SUCCESS"}, {"code":"word","status":"UNAVAILABLE","body":{"value":1}},
                {"code":"times","body":{},"meta":{"oemUpdatedAt":1760000000,"fetchedAt":"2025-10-09T08:53:20Z"}},
                {"code":"no-times","body":{"a": 1.0},"meta":{"oemUpdatedAt":0,"retrievedAt":"soon"}},
                {"code":"error","body":{"value":1},"status":{"error":{"type":"SERVER","code":"INTERNAL"}}},
                {"name":"Nameless"}, "x", null, [["y"]]]}}"#,
            expect![[r#"
                sent - sequence None triggers []
                v of -: None None Some(2021) None None None
                  closure-islocked - - {"value":null}
                  no-body - - SignalFailure { status: "NO_BODY", kind: None, code: None }
                  null-body - - SignalFailure { status: "NO_BODY", kind: None, code: None }
                  word - - SignalFailure { status: "UNAVAILABLE", kind: None, code: None }
                  times 2025-10-09T08:53:20.000Z 2025-10-09T08:53:20.000Z {}
                  no-times - - {"a":1.0}
                  error - - SignalFailure { status: "ERROR", kind: Some("SERVER"), code: Some("INTERNAL") }
            "#]],
        );
        check(
            r#"{"eventType":"VEHICLE_STATE","data":{"vehicle":{"id":"v"},"signals":{
                "TractionBattery.StateOfCharge":{"value":64}, "Closure.IsLocked":{"body":{"value":true},"meta":{"retrievedAt":1760000000000}},
                "charge-voltage":7, "Wheel.Tires":null}}}"#,
            expect![[r#"
                sent - sequence None triggers []
                v of -: None None None None None None
                  closure-islocked - 2025-10-09T08:53:20.000Z {"value":true}
                  tractionbattery-stateofcharge - - {"value":64}
                  wheel-tires - - SignalFailure { status: "NO_BODY", kind: None, code: None }
                  charge-voltage - - {"value":7}
            "#]],
        );
    }

    proptest! {
        #[test]
        fn never_panics_on_bytes(body in any::<Vec<u8>>()) {
            let _ = project(&body);
        }

        #[test]
        fn never_panics_on_json(value in any_json()) {
            let _ = project(value.as_bytes());
        }
    }
}

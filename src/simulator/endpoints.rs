//! The read endpoints of the v2.0 API: which permission each needs, which signal a car must have for it, and what
//! it answers. Percent values are 0 to 1 here.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::car::Car;
use super::chance::Chance;
use super::exchange::Fields;
use super::model::Model;
use super::signals::{charging_state, lacks, signals};
use super::trouble::Trouble;
use super::units::{Units, rounded};
use super::workshop::{self, Service, System};
use crate::model::Timestamp;

/// One endpoint below `/v2.0/vehicles/{id}`.
pub(super) struct Endpoint {
    pub(super) permission: &'static str,
    /// Without a slash before it; empty: the vehicle itself.
    pub(super) path: &'static str,
    /// The signal that a car must have; empty: every car can.
    code: &'static str,
    /// What the compatibility matrix calls it.
    pub(super) title: &'static str,
}

/// Reads first, then commands.
pub(super) static ENDPOINTS: &[Endpoint] = &[
    of("read_vehicle_info", "", "", "Vehicle attributes"),
    of("read_vin", "vin", "", "VIN"),
    of("read_odometer", "odometer", "odometer-traveleddistance", "Odometer"),
    of("read_location", "location", "location-preciselocation", "Location"),
    of("read_fuel", "fuel", "internalcombustionengine-fuellevel", "Fuel tank"),
    of("read_battery", "battery", "tractionbattery-stateofcharge", "EV battery"),
    of("read_battery", "battery/capacity", "tractionbattery-nominalcapacity", "EV battery capacity"),
    of("read_battery", "battery/nominal_capacity", "tractionbattery-nominalcapacity", "EV battery capacity"),
    of("read_charge", "charge", "charge-ischarging", "EV charging status"),
    of("read_charge", "charge/limit", "charge-chargelimits", "EV charge limit"),
    of("read_engine_oil", "engine/oil", "internalcombustionengine-oillife", "Engine oil life"),
    of("read_tires", "tires/pressure", "wheel-tires", "Tire pressure"),
    of("read_security", "security", "closure-islocked", "Lock status"),
    of("read_service_history", "service/history", "service-records", "Service history"),
    of("read_diagnostics", "diagnostics/system_status", "diagnostics-mil", "System status"),
    of("read_diagnostics", "diagnostics/dtcs", "diagnostics-dtclist", "Diagnostic trouble codes"),
    of("control_charge", "charge", "charge-ischarging", "EV start & stop charge"),
    of("control_charge", "charge/limit", "charge-chargelimits", "EV charge limit"),
    of("control_security", "security", "closure-islocked", "Lock & unlock"),
    of("control_navigation", "navigation/destination", "", "Send destination"),
];

const fn of(permission: &'static str, path: &'static str, code: &'static str, title: &'static str) -> Endpoint {
    Endpoint { permission, path, code, title }
}

impl Endpoint {
    /// The one that is read at `path`.
    pub(super) fn read(path: &[&str]) -> Option<&'static Endpoint> {
        let path = path.join("/");
        ENDPOINTS.iter().find(|endpoint| endpoint.path == path && endpoint.permission.starts_with("read_"))
    }

    /// Whether the car has what it takes.
    pub(super) fn is_for(&self, car: &Car) -> bool {
        self.code.is_empty() || signals(car).iter().any(|signal| signal.code == self.code && signal.body.is_some())
    }

    /// The answer: its body, and when the car recorded it.
    pub(super) fn answer(&self, car: &Car, units: Units, query: &Fields, now: Timestamp) -> Result<Reading, Trouble> {
        if !self.is_for(car) {
            return Err(Trouble::not_capable());
        }
        let when = car.updated;
        let (updated_at, body) = match self.path {
            "" => {
                return Ok((
                    json!({ "id": car.vehicle_id, "make": car.model.make, "model": car.model.name, "year": car.year }),
                    None,
                ));
            }
            "vin" => return Ok((json!({ "vin": car.vin }), None)),
            "odometer" => (when.travel, json!({ "distance": rounded(units.distance(car.odometer), 1) })),
            "location" => (when.travel, json!({ "latitude": rounded(car.latitude, 4), "longitude": rounded(car.longitude, 4) })),
            "fuel" => (when.travel, fuel(car, units)),
            "battery" => {
                let range = rounded(units.distance(car.electric_range()), 0);
                (when.energy, json!({ "range": range, "percentRemaining": share(car.charge) }))
            }
            "battery/capacity" => (when.built, json!({ "capacity": rounded(car.model.battery, 1) })),
            "battery/nominal_capacity" => (when.built, nominal_capacity(car)),
            "charge" => (when.energy, json!({ "isPluggedIn": car.plugged, "state": charging_state(car) })),
            "charge/limit" => (when.energy, json!({ "limit": share(car.limit) })),
            "engine/oil" => (when.travel, json!({ "lifeRemaining": share(car.oil) })),
            "tires/pressure" => {
                let [front_left, front_right, back_left, back_right] = car.tires.map(|tire| rounded(units.pressure(tire), 1));
                let body = json!({
                    "frontLeft": front_left, "frontRight": front_right, "backLeft": back_left, "backRight": back_right,
                });
                (when.travel, body)
            }
            "security" => (when.closure, security(car)),
            "service/history" => (when.built, history(car, units, query, now)?),
            "diagnostics/system_status" => {
                let told = |system: &&System| !lacks(car, &system.code());
                let systems: Vec<Value> = workshop::systems(car).iter().filter(told).map(System::v2).collect();
                (when.travel, json!({ "systems": systems }))
            }
            "diagnostics/dtcs" => (when.travel, json!({ "activeCodes": workshop::codes(car) })),
            _ => return Err(Trouble::path()),
        };
        Ok((body, Some(updated_at)))
    }
}

/// Whether a car can do anything that a permission opens.
pub(super) fn is_able(car: &Car, permission: &str) -> bool {
    ENDPOINTS.iter().any(|endpoint| endpoint.permission == permission && endpoint.is_for(car))
        || signals(car).iter().any(|signal| {
            let is_opened = signal.permission == permission || (permission == CHARGE_EVENTS && signal.code == IS_CHARGING);
            is_opened && signal.body.is_some()
        })
}

/// Every permission with which a simulated car tells something.
pub(super) fn read_permissions() -> BTreeSet<&'static str> {
    let cars = Model::all().iter().map(|model| Car::new(model, Chance::of(0, "permissions"), 0));
    let of_signals = cars.flat_map(|car| signals(&car)).map(|signal| signal.permission);
    let of_endpoints = ENDPOINTS.iter().map(|endpoint| endpoint.permission).filter(|name| name.starts_with("read_"));
    of_signals.chain(of_endpoints).chain([CHARGE_EVENTS]).collect()
}

/// Opens the events of charging of legacy webhooks, and no endpoint.
pub(super) const CHARGE_EVENTS: &str = "read_charge_events";
/// The signal that makes those events.
pub(super) const IS_CHARGING: &str = "charge-ischarging";

/// The answer of one read: its body, and when the car recorded it (wall milliseconds).
pub(super) type Reading = (Value, Option<i64>);

fn fuel(car: &Car, units: Units) -> Value {
    let amount = car.fuel / 100.0 * car.model.tank;
    json!({
        "range": rounded(units.distance(car.fuel_range()), 0),
        "percentRemaining": share(car.fuel),
        "amountRemaining": rounded(units.volume(amount), 1),
    })
}

/// Of a Tesla, Smartcar cannot tell which battery it is, and the owner has not said.
fn nominal_capacity(car: &Car) -> Value {
    let capacity = rounded(car.model.battery, 1);
    if car.model.make == "TESLA" {
        let smaller = rounded(car.model.battery * 0.8, 1);
        let choices = json!([
            { "capacity": smaller, "description": "Standard range" }, { "capacity": capacity, "description": "Long range" },
        ]);
        let url = format!("https://connect.smartcar.com/battery-capacity?vehicle_id={}", car.vehicle_id);
        return json!({ "availableCapacities": choices, "capacity": null, "url": url });
    }
    let choices = json!([{ "capacity": capacity, "description": null }]);
    json!({ "availableCapacities": choices, "capacity": { "nominal": capacity, "source": "SMARTCAR" }, "url": null })
}

/// The services between two dates; the last year's when none is given.
fn history(car: &Car, units: Units, query: &Fields, now: Timestamp) -> Result<Value, Trouble> {
    let date = |name: &str, other: &str, default: Timestamp| {
        // The Node SDK says `undefined` when it is given none.
        let given = query.get(name).or_else(|| query.get(other)).filter(|text| *text != "undefined");
        let Some(text) = given else { return Ok(default) };
        let found = Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")));
        found.ok_or_else(|| Trouble::parameter(name, "is not a date such as 2025-10-09"))
    };
    let year = std::time::Duration::from_secs(365 * 24 * 3600);
    // The Python SDK writes them in its own way.
    let from = date("start_date", "startDate", now.before(year))?;
    let to = date("end_date", "endDate", now)?;
    let services = workshop::services(car);
    let fitting = services.iter().filter(|service| from <= service.at && service.at <= to);
    Ok(Value::Array(fitting.map(|service: &Service| service.v2(units)).collect()))
}

/// A car's open and closed parts by name.
fn security(car: &Car) -> Value {
    let corners = ["frontLeft", "frontRight", "backLeft", "backRight"];
    let lock = if car.locked { "LOCKED" } else { "UNLOCKED" };
    let doors = corners.map(|corner| json!({ "type": corner, "status": lock }));
    let windows = corners.map(|corner| {
        let open = car.window_open && corner == "frontLeft" && !lacks(car, "closure-windows");
        json!({ "type": corner, "status": if open { "OPEN" } else { "CLOSED" } })
    });
    let port = if car.port_open { "OPEN" } else { "CLOSED" };
    let ports = if car.model.battery > 0.0 { json!([{ "type": "chargingPort", "status": port }]) } else { json!([]) };
    let lids = |list: &[(&str, &str)]| -> Value {
        let told = list.iter().filter(|(_, code)| !lacks(car, code));
        told.map(|(kind, _)| json!({ "type": kind, "status": "CLOSED" })).collect()
    };
    json!({
        "isLocked": car.locked,
        "doors": doors,
        "windows": windows,
        "sunroof": lids(&[("sunroof", "closure-sunroof")]),
        "storage": lids(&[("front", "closure-fronttrunk"), ("rear", "closure-reartrunk")]),
        "chargingPort": ports,
    })
}

fn share(percent: f64) -> Value {
    rounded(percent.round() / 100.0, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(car: &Car, path: &[&str]) -> Option<Result<Reading, Trouble>> {
        let now = Timestamp::from_millis(1_760_000_000_000);
        Endpoint::read(path).map(|endpoint| endpoint.answer(car, Units::Metric, &Fields::default(), now))
    }

    fn car(model: &str) -> Car {
        Car::new(Model::named(model).unwrap(), Chance::of(5, model), 1_760_000_000_000)
    }

    #[test]
    fn both_generations_tell_the_same_state() {
        let car = car("ID.4");
        let battery = read(&car, &["battery"]).unwrap().unwrap().0;
        let charge = signals(&car).into_iter().find(|signal| signal.code == "tractionbattery-stateofcharge").unwrap();
        let percent = charge.body.unwrap()["value"].as_f64().unwrap();
        assert!((battery["percentRemaining"].as_f64().unwrap() * 100.0 - percent).abs() < 1e-9);
    }

    #[test]
    fn a_gap_is_a_failed_read() {
        let car = car("Leaf");
        for path in [&["location"][..], &["fuel"], &["service", "history"]] {
            assert_eq!(read(&car, path).unwrap().unwrap_err().code, Some("VEHICLE_NOT_CAPABLE"));
        }
        assert!(read(&car, &["nowhere"]).is_none());
        assert!(read(&car, &["navigation", "destination"]).is_none());
    }

    #[test]
    fn every_endpoint_is_known_to_answer() {
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.permission.starts_with("read_")) {
            let path: Vec<&str> = endpoint.path.split('/').filter(|part| !part.is_empty()).collect();
            let answered = ["ID.4", "Golf", "F-150"].iter().any(|model| read(&car(model), &path).unwrap().is_ok());
            assert!(answered, "{}", endpoint.path);
        }
    }
}

//! What a car has to say: its signals, as webhooks and v3 carry them (percent 0 to 100), and the same state
//! as the v2.0 endpoints give it (0 to 1).

use serde_json::{Value, json};

use super::car::Car;
use super::trouble::Trouble;

/// One signal of one car, not yet judged by anybody's permissions.
#[derive(Clone, Debug)]
pub(super) struct Signal {
    pub(super) code: String,
    pub(super) name: &'static str,
    pub(super) group: &'static str,
    pub(super) permission: &'static str,
    /// None: this car is not able to tell.
    pub(super) body: Option<Value>,
    /// Wall milliseconds.
    pub(super) updated_at: i64,
}

impl Signal {
    /// Identifies the signal in triggers and errors.
    pub(super) fn label(&self) -> Value {
        json!({ "code": self.code, "name": self.name, "group": self.group })
    }

    /// What stays of the signal when the owner granted only `permissions`: its body, or `type` and `code` of the failure.
    pub(super) fn judge(&self, permissions: &[String]) -> Result<&Value, Value> {
        if !permissions.iter().any(|granted| granted == self.permission) {
            return Err(json!({ "type": "PERMISSION", "code": null }));
        }
        self.body.as_ref().ok_or_else(|| json!({ "type": "COMPATIBILITY", "code": "VEHICLE_NOT_CAPABLE" }))
    }

    /// The signal as an item of a VEHICLE_STATE event.
    pub(super) fn item(&self, permissions: &[String], retrieved_at: i64) -> Value {
        let mut item = self.label();
        match self.judge(permissions) {
            Ok(body) => {
                item["body"] = body.clone();
                item["status"] = json!({ "value": "SUCCESS" });
                item["meta"] = json!({ "oemUpdatedAt": self.updated_at, "retrievedAt": retrieved_at });
            }
            Err(error) => item["status"] = json!({ "value": "ERROR", "error": error }),
        }
        item
    }
}

/// All signals of the car's kind, with those its model lacks as unable.
pub(super) fn signals(car: &Car) -> Vec<Signal> {
    let mut list = Builder { car, list: Vec::new() };
    let when = car.updated;
    list.add("VehicleIdentification", "VIN", "read_vin", when.built, json!({ "value": car.vin }));
    list.add("VehicleIdentification", "Nickname", "read_vehicle_info", when.built, json!({ "value": car.nickname }));
    list.add("Odometer", "TraveledDistance", "read_odometer", when.travel, measured(car.odometer, 1, "km"));
    list.add("Location", "PreciseLocation", "read_location", when.travel, place(car));
    list.add("Motion", "CurrentSpeed", "read_speedometer", when.travel, measured(car.speed, 0, "kph"));
    let doors = grid(|_, _| json!({ "isOpen": false, "isLocked": car.locked }));
    let windows = grid(|row, column| json!({ "isOpen": car.window_open && row + column == 0 }));
    list.add("Closure", "IsLocked", "read_security", when.closure, json!({ "value": car.locked }));
    list.add("Closure", "Doors", "read_security", when.closure, doors);
    list.add("Closure", "Windows", "read_security", when.closure, windows);
    list.add("Closure", "RearTrunk", "read_security", when.closure, json!({ "isOpen": false, "isLocked": car.locked }));
    let mut tires = grid(|row, column| json!({ "tirePressure": number(car.tires[row * 2 + column], 1) }));
    tires["unit"] = json!("kPa");
    list.add("Wheel", "Tires", "read_tires", when.travel, tires);
    if car.model.battery > 0.0 {
        list.battery();
    }
    if car.model.tank > 0.0 {
        list.engine();
    }
    list.list
}

struct Builder<'a> {
    car: &'a Car,
    list: Vec<Signal>,
}

impl Builder<'_> {
    fn add(&mut self, group: &'static str, name: &'static str, permission: &'static str, updated_at: i64, body: Value) {
        let code = format!("{group}-{name}").to_ascii_lowercase();
        let body = (!lacks(self.car, &code)).then_some(body);
        self.list.push(Signal { code, name, group, permission, body, updated_at });
    }

    fn battery(&mut self) {
        let (car, when) = (self.car, self.car.updated.energy);
        let group = "TractionBattery";
        self.add(group, "StateOfCharge", "read_battery", when, measured(car.charge, 0, "percent"));
        let mut range = measured(car.electric_range(), 0, "km");
        range["additionalValues"] = json!([]);
        self.add(group, "Range", "read_battery", when, range);
        let capacity = number(car.model.battery, 1);
        let choices = json!([{ "capacity": capacity, "description": car.model.name }]);
        let body = json!({ "capacity": capacity, "source": "SMARTCAR", "availableCapacities": choices, "unit": "kWh" });
        self.add(group, "NominalCapacity", "read_battery", car.updated.built, body);

        let group = "Charge";
        self.add(group, "IsCharging", "read_charge", when, json!({ "value": car.charging() }));
        self.add(group, "IsChargingCableConnected", "read_charge", when, json!({ "value": car.plugged }));
        self.add(group, "DetailedChargingStatus", "read_charge", when, json!({ "value": charging_state(car) }));
        let limit = number(car.limit, 0);
        let values = json!([{ "type": "GLOBAL", "limit": limit, "condition": null }]);
        let body = json!({ "values": values, "activeLimit": limit, "unit": "percent" });
        self.add(group, "ChargeLimits", "read_charge", when, body);
        self.add(group, "Wattage", "read_charge", when, measured(car.power * 1000.0, 0, "watts"));
        self.add(group, "TimeToComplete", "read_charge", when, json!({ "value": number(car.minutes_to_limit(), 0) }));
    }

    fn engine(&mut self) {
        let (car, when, group) = (self.car, self.car.updated.travel, "InternalCombustionEngine");
        self.add(group, "FuelLevel", "read_fuel", when, measured(car.fuel, 0, "percent"));
        self.add(group, "Range", "read_fuel", when, measured(car.fuel_range(), 0, "km"));
        self.add(group, "AmountRemaining", "read_fuel", when, measured(car.fuel / 100.0 * car.model.tank, 1, "liters"));
        self.add(group, "OilLife", "read_engine_oil", when, measured(car.oil, 0, "percent"));
    }
}

/// The answer of one v2.0 read: its body, and when the car recorded it (wall milliseconds).
pub(super) type Reading = (Value, Option<i64>);

/// What `GET /v2.0/vehicles/{id}/{path}` answers, with the permission it needs. None: no such endpoint.
pub(super) fn endpoint(car: &Car, path: &[&str]) -> Option<(&'static str, Result<Reading, Trouble>)> {
    let when = car.updated;
    let (permission, code, updated_at, body) = match path {
        [] => {
            let body = json!({ "id": car.vehicle_id, "make": car.model.make, "model": car.model.name, "year": car.year });
            return Some(("read_vehicle_info", Ok((body, None))));
        }
        ["vin"] => return Some(("read_vin", Ok((json!({ "vin": car.vin }), None)))),
        ["odometer"] => {
            ("read_odometer", "odometer-traveleddistance", when.travel, json!({ "distance": number(car.odometer, 1) }))
        }
        ["location"] => {
            let body = json!({ "latitude": number(car.latitude, 4), "longitude": number(car.longitude, 4) });
            ("read_location", "location-preciselocation", when.travel, body)
        }
        ["fuel"] => {
            let amount = number(car.fuel / 100.0 * car.model.tank, 1);
            let body =
                json!({ "range": number(car.fuel_range(), 0), "percentRemaining": share(car.fuel), "amountRemaining": amount });
            ("read_fuel", "internalcombustionengine-fuellevel", when.travel, body)
        }
        ["battery"] => {
            let body = json!({ "range": number(car.electric_range(), 0), "percentRemaining": share(car.charge) });
            ("read_battery", "tractionbattery-stateofcharge", when.energy, body)
        }
        ["battery", "capacity"] => {
            let body = json!({ "capacity": number(car.model.battery, 1) });
            ("read_battery", "tractionbattery-nominalcapacity", when.built, body)
        }
        ["charge"] => {
            let body = json!({ "isPluggedIn": car.plugged, "state": charging_state(car) });
            ("read_charge", "charge-ischarging", when.energy, body)
        }
        ["charge", "limit"] => ("read_charge", "charge-chargelimits", when.energy, json!({ "limit": share(car.limit) })),
        ["engine", "oil"] => {
            ("read_engine_oil", "internalcombustionengine-oillife", when.travel, json!({ "lifeRemaining": share(car.oil) }))
        }
        ["tires", "pressure"] => {
            let [front_left, front_right, back_left, back_right] = car.tires.map(|tire| number(tire, 1));
            let body =
                json!({ "frontLeft": front_left, "frontRight": front_right, "backLeft": back_left, "backRight": back_right });
            ("read_tires", "wheel-tires", when.travel, body)
        }
        ["security"] => ("read_security", "closure-islocked", when.closure, security(car)),
        _ => return None,
    };
    // A car is capable of an endpoint when it has the signal behind it.
    let able = signals(car).iter().any(|signal| signal.code == code && signal.body.is_some());
    Some((permission, if able { Ok((body, Some(updated_at))) } else { Err(Trouble::not_capable()) }))
}

/// The v2.0 security body: a car's open and closed parts by name.
fn security(car: &Car) -> Value {
    let corners = ["frontLeft", "frontRight", "backLeft", "backRight"];
    let lock = if car.locked { "LOCKED" } else { "UNLOCKED" };
    let doors = corners.map(|corner| json!({ "type": corner, "status": lock }));
    let windows = corners.map(|corner| {
        let open = car.window_open && corner == "frontLeft" && !lacks(car, "closure-windows");
        json!({ "type": corner, "status": if open { "OPEN" } else { "CLOSED" } })
    });
    let port = if car.plugged { "OPEN" } else { "CLOSED" };
    let ports = if car.model.battery > 0.0 { json!([{ "type": "chargingPort", "status": port }]) } else { json!([]) };
    let storage = json!([{ "type": "rear", "status": "CLOSED" }]);
    json!({
        "isLocked": car.locked, "doors": doors, "windows": windows, "sunroof": [], "storage": storage, "chargingPort": ports,
    })
}

fn place(car: &Car) -> Value {
    json!({
        "latitude": number(car.latitude, 4),
        "longitude": number(car.longitude, 4),
        "heading": number(car.heading, 0),
        "locationType": if car.driving() { "CURRENT" } else { "LAST_PARKED" },
    })
}

/// Two rows of two, row 0 in front, column 0 left.
fn grid(mut cell: impl FnMut(usize, usize) -> Value) -> Value {
    let values: Vec<Value> = [(0, 0), (0, 1), (1, 0), (1, 1)]
        .into_iter()
        .map(|(row, column)| {
            let mut value = cell(row, column);
            (value["row"], value["column"]) = (json!(row), json!(column));
            value
        })
        .collect();
    json!({ "values": values, "rowCount": 2, "columnCount": 2 })
}

fn charging_state(car: &Car) -> &'static str {
    match (car.charging(), car.plugged && car.charge >= car.limit) {
        (true, _) => "CHARGING",
        (false, true) => "FULLY_CHARGED",
        (false, false) => "NOT_CHARGING",
    }
}

fn lacks(car: &Car, code: &str) -> bool {
    car.model.gaps.contains(&code)
}

fn measured(value: f64, digits: i32, unit: &str) -> Value {
    json!({ "value": number(value, digits), "unit": unit })
}

/// Percent as the v2.0 API has it.
fn share(percent: f64) -> Value {
    number(percent.round() / 100.0, 2)
}

/// A rounded number as JavaScript prints it: without `.0`.
fn number(value: f64, digits: i32) -> Value {
    let factor = 10_f64.powi(digits);
    let rounded = (value * factor).round() / factor;
    #[expect(clippy::cast_possible_truncation, reason = "whole, and far below 2^53")]
    if rounded.fract() == 0.0 { json!(rounded as i64) } else { json!(rounded) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::chance::Chance;
    use crate::simulator::model::Model;

    fn car(model: &str) -> Car {
        Car::new(Model::named(model).unwrap(), Chance::of(5, model), 1_760_000_000_000)
    }

    fn body(car: &Car, code: &str) -> Value {
        signals(car).into_iter().find(|signal| signal.code == code).and_then(|signal| signal.body).unwrap()
    }

    #[test]
    fn both_generations_tell_the_same_state() {
        let car = car("ID.4");
        let (_, battery) = endpoint(&car, &["battery"]).unwrap();
        let percent = body(&car, "tractionbattery-stateofcharge")["value"].as_f64().unwrap();
        assert!((battery.unwrap().0["percentRemaining"].as_f64().unwrap() * 100.0 - percent).abs() < 1e-9);
        assert_eq!(body(&car, "charge-chargelimits")["values"][0]["condition"], Value::Null);
        assert_eq!(body(&car, "wheel-tires")["values"][3]["row"], 1);
    }

    #[test]
    fn a_gap_is_a_failed_signal_and_a_failed_read() {
        let car = car("Leaf");
        let place = signals(&car).into_iter().find(|signal| signal.code == "location-preciselocation").unwrap();
        let item = place.item(&["read_location".to_owned()], 0);
        assert_eq!(item["status"]["error"], json!({ "type": "COMPATIBILITY", "code": "VEHICLE_NOT_CAPABLE" }));
        assert!(item.get("body").is_none() && item.get("meta").is_none());
        assert!(endpoint(&car, &["location"]).unwrap().1.is_err());
        assert!(endpoint(&car, &["fuel"]).unwrap().1.is_err());
        assert!(endpoint(&car, &["nowhere"]).is_none());
    }

    #[test]
    fn a_missing_permission_hides_the_body() {
        let item = signals(&car("Golf"))[0].item(&[], 0);
        assert_eq!(item["status"]["error"], json!({ "type": "PERMISSION", "code": null }));
        assert!(item.get("body").is_none());
    }

    #[test]
    fn numbers_print_as_javascript_prints_them() {
        assert_eq!(number(64.0, 1).to_string(), "64");
        assert_eq!(number(18_342.649, 1).to_string(), "18342.6");
    }
}

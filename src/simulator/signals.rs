//! What a car has to say: its signals, as webhooks and v3 carry them. Percent values are 0 to 100.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::car::Car;
use super::chance::Chance;
use super::knobs::{Habits, SignalMeta};
use super::model::Model;
use super::units::rounded;
use super::workshop;

mod electric;

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

    /// Whether Smartcar knows it without asking the car.
    pub(super) fn is_known_without(&self) -> bool {
        self.group == "VehicleIdentification" || self.name == "NominalCapacity"
    }

    /// What stays of the signal when the owner granted only `permissions`: its body, or `type` and `code` of the failure.
    pub(super) fn judge(&self, permissions: &[String]) -> Result<&Value, Value> {
        if !permissions.iter().any(|granted| granted == self.permission) {
            return Err(json!({ "type": "PERMISSION", "code": null }));
        }
        self.body.as_ref().ok_or_else(|| json!({ "type": "COMPATIBILITY", "code": "VEHICLE_NOT_CAPABLE" }))
    }

    /// The signal as an item of a VEHICLE_STATE event.
    pub(super) fn item(&self, permissions: &[String], habits: &Habits, retrieved_at: i64) -> Value {
        let mut item = self.label();
        match self.judge(permissions) {
            Ok(body) => {
                item["body"] = body.clone();
                if habits.signal_status {
                    item["status"] = json!({ "value": "SUCCESS" });
                }
                let name = if habits.fetched_at { "fetchedAt" } else { "retrievedAt" };
                match habits.signal_meta {
                    SignalMeta::Whole => item["meta"] = json!({ "oemUpdatedAt": self.updated_at, name: retrieved_at }),
                    SignalMeta::Empty => item["meta"] = json!({}),
                    SignalMeta::None => {}
                }
            }
            Err(error) => item["status"] = json!({ "value": "ERROR", "error": error }),
        }
        item
    }
}

/// Whether any simulated car has a signal of this code. Err: the one that is meant, or all there are.
pub(super) fn known(code: &str) -> Result<(), String> {
    let all: BTreeSet<String> = Model::all()
        .iter()
        .flat_map(|model| signals(&Car::new(model, Chance::of(0, "codes"), 0)))
        .map(|signal| signal.code)
        .collect();
    if all.contains(code) {
        return Ok(());
    }
    // As the dashboard writes it: Group.Name
    let meant = code.trim().to_ascii_lowercase().replace('.', "-");
    if all.contains(&meant) {
        return Err(format!("`{code}` is not the code of a signal: write {meant}"));
    }
    let all: Vec<String> = all.into_iter().collect();
    Err(format!("no simulated car has a signal `{code}`. There are {}", all.join(", ")))
}

/// All signals of the car's kind, with those its model lacks as unable.
pub(super) fn signals(car: &Car) -> Vec<Signal> {
    let mut list = Builder { car, list: Vec::new() };
    list.identity();
    list.travel();
    list.openings();
    list.condition();
    list.comfort();
    if car.model.battery > 0.0 {
        list.battery();
        list.charging();
    }
    if car.model.tank > 0.0 {
        list.engine();
    }
    list.list
}

/// The signals of one car so far.
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

    /// What the car is, and whose.
    fn identity(&mut self) {
        let (car, when, group) = (self.car, self.car.updated.built, "VehicleIdentification");
        let more = "read_extended_vehicle_info";
        self.add(group, "VIN", "read_vin", when, json!({ "value": car.vin }));
        self.add(group, "Nickname", "read_vehicle_info", when, json!({ "value": car.nickname }));
        self.add(group, "ExteriorColor", more, when, json!({ "value": car.color() }));
        self.add(group, "Trim", more, when, json!({ "value": car.pick(&["Base", "Comfort", "Style", "Sport"]) }));
        let packages = [car.pick(&["Winter", "Business"]), car.pick(&["Towing", "Light", "Assistance"])];
        self.add(group, "Packages", more, when, json!({ "values": packages }));
        self.add("Wheel", "Style", more, when, json!({ "value": car.pick(&["Aero 18", "Sport 19", "Touring 17"]) }));
        self.add("VehicleUserAccount", "Role", "read_user_profile", when, json!({ "value": "OWNER" }));
        self.add("VehicleUserAccount", "Permissions", "read_user_profile", when, json!({ "values": ["READ", "WRITE"] }));
    }

    /// How far it went, and where it is.
    fn travel(&mut self) {
        let (car, when) = (self.car, self.car.updated.travel);
        self.add("Odometer", "TraveledDistance", "read_odometer", when, measured(car.odometer, 1, "km"));
        self.add("Location", "PreciseLocation", "read_location", when, place(car));
        self.add("Location", "IsAtHome", "read_location", when, json!({ "value": car.at_home() }));
        self.add("Motion", "CurrentSpeed", "read_speedometer", when, measured(car.speed, 0, "kph"));
        let gear = if car.driving() { "DRIVE" } else { "PARK" };
        self.add("Transmission", "GearState", "read_extended_vehicle_info", when, json!({ "value": gear }));
        let mode = car.pick(&["ECO", "NORMAL", "SPORT"]);
        let name = format!("{} mode", mode.to_ascii_lowercase());
        let body = json!({ "canonical": mode, "oemDisplayName": name });
        self.add("Transmission", "DriveMode", "read_extended_vehicle_info", when, body);
        let mut tires = grid(|row, column| json!({ "tirePressure": rounded(car.tires[row * 2 + column], 1) }));
        tires["unit"] = json!("kPa");
        self.add("Wheel", "Tires", "read_tires", when, tires);
    }

    fn openings(&mut self) {
        let (car, when, group, permission) = (self.car, self.car.updated.closure, "Closure", "read_security");
        let doors = grid(|_, _| json!({ "isOpen": false, "isLocked": car.locked }));
        let windows = grid(|row, column| json!({ "isOpen": car.window_open && row + column == 0 }));
        let lid = json!({ "isOpen": false, "isLocked": car.locked });
        self.add(group, "IsLocked", permission, when, json!({ "value": car.locked }));
        self.add(group, "Doors", permission, when, doors);
        self.add(group, "Windows", permission, when, windows);
        self.add(group, "RearTrunk", permission, when, lid.clone());
        self.add(group, "FrontTrunk", permission, when, lid);
        for name in ["EngineCover", "Sunroof", "Tailgate"] {
            self.add(group, name, permission, when, json!({ "isOpen": false }));
        }
        let watched = car.locked && !car.at_home();
        self.add("Surveillance", "IsEnabled", permission, when, json!({ "value": watched }));
        self.add("Surveillance", "Brand", permission, car.updated.built, json!({ "value": "Sentry Mode" }));
    }

    /// How the car is, and what its makers know of it.
    fn condition(&mut self) {
        let (car, when) = (self.car, self.car.updated);
        let more = "read_extended_vehicle_info";
        let since = when.travel.max(when.energy);
        let asleep = !car.driving() && !car.charging();
        self.add("ConnectivityStatus", "IsOnline", more, when.travel, json!({ "value": car.trouble.is_none() }));
        self.add("ConnectivityStatus", "IsAsleep", more, since, json!({ "value": asleep }));
        self.add("ConnectivityStatus", "IsDigitalKeyPaired", more, when.built, json!({ "value": true }));
        self.add("ConnectivitySoftware", "CurrentFirmwareVersion", more, when.built, json!({ "value": car.firmware() }));
        let group = "LowVoltageBattery";
        self.add(group, "StateOfCharge", "read_battery", when.travel, measured(car.starter(), 0, "percent"));
        let status = if car.starter() < 72.0 { "WARN" } else { "GOOD" };
        self.add(group, "Status", "read_battery", when.travel, json!({ "value": status }));
        self.add("Service", "IsInService", "read_service_history", when.built, json!({ "value": false }));
        self.add("Service", "Records", "read_service_history", when.built, workshop::records(car));
        let codes = workshop::codes(car);
        let count = json!({ "value": codes.len(), "unit": "count" });
        self.add("Diagnostics", "DTCCount", "read_diagnostics", when.travel, count);
        self.add("Diagnostics", "DTCList", "read_diagnostics", when.travel, json!({ "values": codes }));
        for system in workshop::systems(car) {
            self.add("Diagnostics", system.signal, "read_diagnostics", when.travel, json!({ "status": system.status() }));
        }
    }

    /// Warm and cold, inside and out.
    fn comfort(&mut self) {
        let (car, when, group, climate) = (self.car, self.car.updated.travel, "HVAC", "read_climate");
        let (outside, on) = (car.weather(), car.driving());
        let inside = if on { CABIN } else { outside + 3.0 };
        self.add("Climate", "ExternalTemperature", "read_thermometer", when, measured(outside, 1, "celsius"));
        self.add("Climate", "InternalTemperature", "read_thermometer", when, measured(inside, 1, "celsius"));
        self.add(group, "CabinTargetTemperature", climate, when, measured(CABIN, 1, "celsius"));
        for (name, below) in [
            ("IsCabinHVACActive", f64::INFINITY),
            ("IsFrontDefrosterActive", 6.0),
            ("IsRearDefrosterActive", 7.0),
            ("IsSteeringHeaterActive", 9.0),
        ] {
            self.add(group, name, climate, when, json!({ "value": on && outside < below }));
        }
    }

    fn engine(&mut self) {
        let (car, when, group) = (self.car, self.car.updated.travel, "InternalCombustionEngine");
        self.add(group, "FuelLevel", "read_fuel", when, measured(car.fuel, 0, "percent"));
        self.add(group, "Range", "read_fuel", when, measured(car.fuel_range(), 0, "km"));
        self.add(group, "AmountRemaining", "read_fuel", when, measured(car.fuel / 100.0 * car.model.tank, 1, "liters"));
        self.add(group, "OilLife", "read_engine_oil", when, measured(car.oil, 0, "percent"));
    }
}

fn place(car: &Car) -> Value {
    json!({
        "latitude": rounded(car.latitude, 4),
        "longitude": rounded(car.longitude, 4),
        "heading": rounded(car.heading, 0),
        "direction": direction(car.heading),
        "locationType": if car.driving() { "CURRENT" } else { "LAST_PARKED" },
    })
}

/// The nearest of the eight points of the compass.
fn direction(heading: f64) -> &'static str {
    let points = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"];
    let nearest = points.into_iter().zip(0_u8..).find(|(_, place)| heading < f64::from(*place) * 45.0 + 22.5);
    nearest.map_or("N", |(point, _)| point)
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

pub(super) fn charging_state(car: &Car) -> &'static str {
    match (car.charging(), car.plugged && car.charge >= car.limit) {
        (true, _) => "CHARGING",
        (false, true) => "FULLY_CHARGED",
        (false, false) => "NOT_CHARGING",
    }
}

pub(super) fn lacks(car: &Car, code: &str) -> bool {
    car.model.lacks(code)
}

/// What most people set, in degrees of Celsius.
const CABIN: f64 = 21.0;

fn measured(value: f64, digits: i32, unit: &str) -> Value {
    json!({ "value": rounded(value, digits), "unit": unit })
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
    fn bodies_are_the_documented_ones() {
        let car = car("ID.4");
        assert_eq!(body(&car, "charge-chargelimits")["values"][0]["condition"], Value::Null);
        assert_eq!(body(&car, "wheel-tires")["values"][3]["row"], 1);
        let points =
            [(0.0, "N"), (22.4, "N"), (22.5, "NE"), (90.0, "E"), (225.0, "SW"), (337.4, "NW"), (337.5, "N"), (359.9, "N")];
        assert!(points.iter().all(|(heading, point)| direction(*heading) == *point));
    }

    #[test]
    fn a_gap_is_a_failed_signal() {
        let car = car("Leaf");
        let place = signals(&car).into_iter().find(|signal| signal.code == "location-preciselocation").unwrap();
        let item = place.item(&["read_location".to_owned()], &Habits::default(), 0);
        assert_eq!(item["status"]["error"], json!({ "type": "COMPATIBILITY", "code": "VEHICLE_NOT_CAPABLE" }));
        assert!(item.get("body").is_none() && item.get("meta").is_none());
    }

    #[test]
    fn a_missing_permission_hides_the_body() {
        let item = signals(&car("Golf"))[0].item(&[], &Habits::default(), 0);
        assert_eq!(item["status"]["error"], json!({ "type": "PERMISSION", "code": null }));
        assert!(item.get("body").is_none());
    }
}

//! What a car has to say: its signals, as webhooks and v3 carry them. Percent values are 0 to 100.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::car::Car;
use super::chance::Chance;
use super::knobs::Habits;
use super::model::Model;
use super::units::rounded;
use super::workshop;

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
                item["meta"] = json!({ "oemUpdatedAt": self.updated_at, name: retrieved_at });
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
    let mut tires = grid(|row, column| json!({ "tirePressure": rounded(car.tires[row * 2 + column], 1) }));
    tires["unit"] = json!("kPa");
    list.add("Wheel", "Tires", "read_tires", when.travel, tires);
    list.condition();
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
        let capacity = rounded(car.model.battery, 1);
        let choices = json!([{ "capacity": capacity, "description": car.model.name }]);
        let body = json!({ "capacity": capacity, "source": "SMARTCAR", "availableCapacities": choices, "unit": "kWh" });
        self.add(group, "NominalCapacity", "read_battery", car.updated.built, body);

        let group = "Charge";
        self.add(group, "IsCharging", "read_charge", when, json!({ "value": car.charging() }));
        self.add(group, "IsChargingCableConnected", "read_charge", when, json!({ "value": car.plugged }));
        self.add(group, "DetailedChargingStatus", "read_charge", when, json!({ "value": charging_state(car) }));
        let limit = rounded(car.limit, 0);
        let values = json!([{ "type": "GLOBAL", "limit": limit, "condition": null }]);
        let body = json!({ "values": values, "activeLimit": limit, "unit": "percent" });
        self.add(group, "ChargeLimits", "read_charge", when, body);
        self.add(group, "Wattage", "read_charge", when, measured(car.power * 1000.0, 0, "watts"));
        let volts = if car.charging() { 230.0 } else { 0.0 };
        self.add(group, "Voltage", "read_charge", when, measured(volts, 0, "volts"));
        self.add(group, "ChargeTimers", "read_charge", car.updated.built, json!({ "values": car.timers() }));
        self.add(group, "TimeToComplete", "read_charge", when, json!({ "value": rounded(car.minutes_to_limit(), 0) }));
    }

    /// How the car itself is, and what it is.
    fn condition(&mut self) {
        let (car, when) = (self.car, self.car.updated);
        let more = "read_extended_vehicle_info";
        self.add("VehicleIdentification", "ExteriorColor", more, when.built, json!({ "value": car.color() }));
        self.add("ConnectivityStatus", "IsOnline", more, when.travel, json!({ "value": car.trouble.is_none() }));
        self.add("ConnectivitySoftware", "CurrentFirmwareVersion", more, when.built, json!({ "value": car.firmware() }));
        self.add("LowVoltageBattery", "StateOfCharge", "read_battery", when.travel, measured(car.starter(), 0, "percent"));
        self.add("Climate", "ExternalTemperature", "read_thermometer", when.travel, measured(car.weather(), 1, "celsius"));
        let gear = if car.driving() { "DRIVE" } else { "PARK" };
        self.add("Transmission", "GearState", more, when.travel, json!({ "value": gear }));
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

pub(super) fn charging_state(car: &Car) -> &'static str {
    match (car.charging(), car.plugged && car.charge >= car.limit) {
        (true, _) => "CHARGING",
        (false, true) => "FULLY_CHARGED",
        (false, false) => "NOT_CHARGING",
    }
}

pub(super) fn lacks(car: &Car, code: &str) -> bool {
    car.model.gaps.contains(&code)
}

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

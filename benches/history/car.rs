//! A car through its days: it drives in the morning and in the evening and charges at night, and tells about all of
//! its twenty signals whenever one of them has changed.

use carport::model::reading::{Outcome, SignalReport};
use carport::model::{Json, Timestamp};
use serde_json::{Value, json};

/// How many signals each webhook brings.
pub(crate) const SIGNALS: u64 = 20;

const MINUTE: u64 = 60_000;
const DAY: u64 = 86_400_000;

pub(crate) struct Car {
    chance: u64,
    odometer: f64,
    level: f64,
    north: f64,
    east: f64,
    energy: f64,
    inside: f64,
}

/// What it does.
#[derive(Clone, Copy, PartialEq)]
enum Doing {
    Driving,
    Charging,
    Standing,
}

impl Car {
    pub(crate) fn new(number: u64) -> Car {
        Car { chance: number + 1, odometer: 10_000.0, level: 70.0, north: 52.0, east: 4.9, energy: 0.0, inside: 19.0 }
    }

    /// What it tells on a day that begins at `midnight`, in milliseconds: each time with its signals.
    pub(crate) fn day(&mut self, midnight: u64) -> Vec<(Timestamp, Vec<SignalReport>)> {
        let mut told = Vec::new();
        let drives = [7 * 60 + self.up_to(40), 17 * 60 + self.up_to(60)];
        for start in drives {
            for minute in 0..32 {
                self.odometer += 0.4 + self.share();
                self.level -= 0.12 + self.share() * 0.1;
                (self.north, self.east) = (self.north + self.share() * 0.004 - 0.002, self.east + self.share() * 0.006 - 0.003);
                self.tell(midnight + (start + minute) * MINUTE, Doing::Driving, &mut told);
            }
            self.tell(midnight + (start + 33) * MINUTE, Doing::Standing, &mut told);
        }
        let start = 21 * 60 + self.up_to(20);
        self.energy = 0.0;
        for step in 0..70 {
            if self.level < 80.0 {
                self.level += 0.25;
                self.energy += 0.19;
            }
            self.tell(midnight + (start + step * 2) * MINUTE, Doing::Charging, &mut told);
        }
        self.tell(midnight + DAY - 5 * MINUTE, Doing::Standing, &mut told);
        told
    }

    fn tell(&mut self, at: u64, doing: Doing, told: &mut Vec<(Timestamp, Vec<SignalReport>)>) {
        self.inside += self.share() - 0.5;
        // To the second, and not all the same.
        let at = Timestamp::from_millis(i64::try_from(at + self.up_to(50) * 1000).unwrap_or(i64::MAX));
        let speed = if doing == Doing::Driving { self.up_to(110) } else { 0 };
        let (is_charging, is_driving) = (doing == Doing::Charging && self.level < 80.0, doing == Doing::Driving);
        let watts = if is_charging { 7_000 + self.up_to(300) } else { 0 };
        let door = |row: u32, column: u32| json!({"row": row, "column": column, "isOpen": false, "isLocked": !is_driving});
        let doors = json!({"values": [door(0, 0), door(0, 1), door(1, 0), door(1, 1)], "rowCount": 2, "columnCount": 2});
        let tire = |row: u32, column: u32| json!({"row": row, "column": column, "tirePressure": 240.0 + f64::from(row)});
        let tires =
            json!({"values": [tire(0, 0), tire(0, 1), tire(1, 0), tire(1, 1)], "rowCount": 2, "columnCount": 2, "unit": "kPa"});
        let limits =
            json!({"values": [{"type": "GLOBAL", "limit": 80, "condition": null}], "activeLimit": 80, "unit": "percent"});
        let place = json!({"latitude": to(self.north, 4), "longitude": to(self.east, 4), "heading": self.up_to(360) * u64::from(is_driving), "locationType": if is_driving { "CURRENT" } else { "LAST_PARKED" }});
        let left = ((80.0 - self.level).max(0.0) * 8.0).round() * f64::from(u8::from(is_charging));
        let plugged = doing == Doing::Charging;
        let state = if is_charging {
            "CHARGING"
        } else if plugged {
            "FULLY_CHARGED"
        } else {
            "NOT_CHARGING"
        };
        let all = [
            ("Odometer", "TraveledDistance", json!({"value": to(self.odometer, 1), "unit": "km"})),
            ("Location", "PreciseLocation", place),
            ("Motion", "CurrentSpeed", json!({"value": speed, "unit": "kph"})),
            ("TractionBattery", "StateOfCharge", json!({"value": self.level.round(), "unit": "percent"})),
            ("TractionBattery", "Range", json!({"value": (self.level * 4.1).round(), "unit": "km", "additionalValues": []})),
            (
                "TractionBattery",
                "NominalCapacity",
                json!({"capacity": 77, "source": "SMARTCAR", "availableCapacities": [], "unit": "kWh"}),
            ),
            ("Charge", "IsCharging", json!({"value": is_charging})),
            ("Charge", "IsChargingCableConnected", json!({"value": plugged})),
            ("Charge", "DetailedChargingStatus", json!({"value": state})),
            ("Charge", "ChargeLimits", limits),
            ("Charge", "Wattage", json!({"value": watts, "unit": "watts"})),
            ("Charge", "EnergyAdded", json!({"value": to(self.energy, 2), "unit": "kWh"})),
            ("Charge", "TimeToComplete", json!({"value": left})),
            ("Closure", "IsLocked", json!({"value": !is_driving})),
            ("Closure", "Doors", doors),
            ("Wheel", "Tires", tires),
            ("Climate", "ExternalTemperature", json!({"value": 11.5, "unit": "celsius"})),
            ("Climate", "InternalTemperature", json!({"value": (self.inside * 2.0).round() / 2.0, "unit": "celsius"})),
            ("ConnectivityStatus", "IsOnline", json!({"value": true})),
            ("VehicleIdentification", "VIN", json!({"value": "0SCTEST0000000001"})),
        ];
        told.push((at, all.into_iter().map(|(group, name, body)| report(group, name, &body, at)).collect()));
    }

    fn up_to(&mut self, most: u64) -> u64 {
        // SplitMix64.
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most
    }

    fn share(&mut self) -> f64 {
        self.up_to(1000) as f64 / 1000.0
    }
}

fn to(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}

fn report(group: &str, name: &str, body: &Value, at: Timestamp) -> SignalReport {
    SignalReport {
        code: format!("{group}-{name}").to_lowercase(),
        group: Some(group.to_owned()),
        name: Some(name.to_owned()),
        outcome: Outcome::Value(Json::of(body)),
        oem_updated_at: Some(at),
        retrieved_at: Some(Timestamp::from_millis(at.as_millis() + 1_500)),
    }
}

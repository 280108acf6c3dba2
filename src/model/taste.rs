//! The units of one person, who may have kilometers and pounds per square inch at the same time.

use std::fmt;

use serde_json::Value;

use super::catalogue::{Quantity, known};
use super::normal::{Amount, Normal, Units, shown};

/// The units that somebody wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taste {
    /// Of distances, and of all that is not named here.
    pub distance: Units,
    /// Of pressures.
    pub pressure: Pressure,
    /// Of temperatures.
    pub temperature: Units,
}

/// A unit of pressure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// 100 kPa.
    Bar,
    /// As Smartcar has it.
    Kpa,
    /// Pounds per square inch.
    Psi,
}

impl Taste {
    /// What a whole country has.
    pub fn of(units: Units) -> Taste {
        let pressure = if units == Units::Imperial { Pressure::Psi } else { Pressure::Bar };
        Taste { distance: units, pressure, temperature: units }
    }

    /// Reads `km`, `bar` and `c`, or what else there is.
    pub fn parse(distance: &str, pressure: &str, temperature: &str) -> Option<Taste> {
        let distance = match distance {
            "km" => Units::Metric,
            "mi" => Units::Imperial,
            _ => return None,
        };
        let pressure = match pressure {
            "bar" => Pressure::Bar,
            "kpa" => Pressure::Kpa,
            "psi" => Pressure::Psi,
            _ => return None,
        };
        let temperature = match temperature {
            "c" => Units::Metric,
            "f" => Units::Imperial,
            _ => return None,
        };
        Some(Taste { distance, pressure, temperature })
    }

    /// Reads what it is written as: `km-bar-c`.
    pub fn read(written: &str) -> Option<Taste> {
        let mut words = written.split('-');
        let (Some(distance), Some(pressure), Some(temperature), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return None;
        };
        Taste::parse(distance, pressure, temperature)
    }

    /// The words of its three units.
    pub fn words(self) -> [&'static str; 3] {
        let distance = if self.distance == Units::Imperial { "mi" } else { "km" };
        let pressure = match self.pressure {
            Pressure::Bar => "bar",
            Pressure::Kpa => "kpa",
            Pressure::Psi => "psi",
        };
        [distance, pressure, if self.temperature == Units::Imperial { "f" } else { "c" }]
    }

    /// A number of our own units, with its unit.
    pub fn amount(self, quantity: Quantity, value: f64) -> (f64, &'static str) {
        match (quantity, self.pressure) {
            (Quantity::Pressure, Pressure::Kpa) => (value * 100.0, "kPa"),
            _ => shown(quantity, value, self.units(quantity)),
        }
    }

    /// The normal form of a signal's body.
    pub fn normal(self, code: &str, body: &Value) -> Normal {
        let quantity = known(code).and_then(|known| known.kind.quantity()).unwrap_or(Quantity::Distance);
        let normal = Normal::of(code, body, self.units(quantity));
        if self.pressure == Pressure::Kpa { in_kpa(normal) } else { normal }
    }

    fn units(self, quantity: Quantity) -> Units {
        match quantity {
            Quantity::Pressure if self.pressure == Pressure::Psi => Units::Imperial,
            Quantity::Pressure => Units::Metric,
            Quantity::Temperature => self.temperature,
            _ => self.distance,
        }
    }
}

fn in_kpa(normal: Normal) -> Normal {
    match normal {
        Normal::Amount(amount) if amount.quantity == Some(Quantity::Pressure) && amount.unit == "bar" => {
            Normal::Amount(Amount { value: amount.value * 100.0, unit: "kPa".into(), ..amount })
        }
        Normal::Parts(parts) => Normal::Parts(parts.into_iter().map(|(place, part)| (place, in_kpa(part))).collect()),
        other => other,
    }
}

impl fmt::Display for Taste {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join("-"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_taste_is_read_as_it_is_written() {
        for written in ["km-bar-c", "km-kpa-c", "mi-psi-f", "mi-bar-c"] {
            assert_eq!(Taste::read(written).unwrap().to_string(), written);
        }
        for wrong in ["", "km", "km-bar", "km-bar-c-x", "KM-bar-c", "km-bar-k", "--"] {
            assert_eq!(Taste::read(wrong), None, "{wrong}");
        }
        assert_eq!(Taste::of(Units::Imperial).to_string(), "mi-psi-f");
    }

    #[test]
    fn each_quantity_has_its_own_unit() {
        let mixed = Taste::read("mi-kpa-c").unwrap();
        let tires = json!({ "values": [{ "row": 0, "column": 0, "tirePressure": 241.0 }], "unit": "kPa" });
        let Normal::Parts(parts) = mixed.normal("wheel-tires", &tires) else { panic!("no parts") };
        assert!(matches!(&parts[0].1, Normal::Amount(amount) if amount.unit == "kPa" && (amount.value - 241.0).abs() < 1e-9));
        let unit = |code: &str, body: Value| mixed.normal(code, &body).unit().map(str::to_owned);
        assert_eq!(unit("odometer-traveleddistance", json!({ "value": 1, "unit": "km" })).as_deref(), Some("mi"));
        assert_eq!(unit("climate-externaltemperature", json!({ "value": 1, "unit": "celsius" })).as_deref(), Some("\u{b0}C"));
        assert_eq!(mixed.amount(Quantity::Pressure, 2.4), (240.0, "kPa"));
        assert_eq!(mixed.amount(Quantity::Percent, 64.0), (64.0, "%"));
    }
}

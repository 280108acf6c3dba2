//! Signals in plain words: the normal form of their values, dressed for a page.

use std::collections::BTreeMap;

use serde_json::Value;

use super::format::{self, UNKNOWN};
use super::numbers::Numbers;
use crate::model::Timestamp;
use crate::model::catalogue::{self, Quantity};
use crate::model::normal::{Amount, Normal};
use crate::vehicles::SignalView;

/// The latest signals of a car, to be asked for by code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latest<'a>(pub(super) &'a BTreeMap<String, SignalView>);

impl<'a> Latest<'a> {
    /// A signal that has or had a value.
    pub(super) fn signal(self, code: &str) -> Option<&'a SignalView> {
        self.0.get(code).filter(|signal| signal.body.is_some())
    }

    /// The whole body.
    pub(super) fn body(self, code: &str) -> Option<Value> {
        Some(self.signal(code)?.body.as_ref()?.value())
    }

    /// When the car recorded it, else when it was fetched.
    pub(super) fn at(self, code: &str) -> Option<Timestamp> {
        let signal = self.signal(code)?;
        signal.oem_updated_at.or(signal.retrieved_at)
    }

    /// A number with its unit.
    pub(super) fn amount(self, code: &str) -> Option<&'a Amount> {
        match &self.signal(code)?.normal {
            Normal::Amount(amount) => Some(amount),
            _ => None,
        }
    }

    /// A truth value; `None` also when it is null.
    pub(super) fn truth(self, code: &str) -> Option<bool> {
        self.body(code)?.get("value")?.as_bool()
    }

    /// A text.
    pub(super) fn text(self, code: &str) -> Option<String> {
        Some(self.body(code)?.get("value")?.as_str()?.to_owned())
    }
}

/// The value of a signal, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// A few words.
    Words(String),
    /// One line a thing.
    Lines(Vec<String>),
    /// Nothing we know: the JSON, indented.
    Json(String),
}

/// The value of a signal in plain words; `None` if there never was one.
pub(super) fn shown(signal: &SignalView, numbers: &Numbers) -> Option<Shown> {
    let body = signal.body.as_ref()?;
    Some(match &signal.normal {
        Normal::Body => Shown::Json(format::indented(body.as_str())),
        Normal::Parts(parts) => match parts.first() {
            Some((_, first @ Normal::Word(_))) if parts.iter().all(|(_, part)| part == first) => {
                Shown::Words(format!("All {}", words(first, numbers)))
            }
            _ => Shown::Lines(parts.iter().map(|part| line(part, numbers)).collect()),
        },
        normal => Shown::Words(format::capital_of(normal, words(normal, numbers))),
    })
}

fn line((place, part): &(&str, Normal), numbers: &Numbers) -> String {
    let colon = if matches!(part, Normal::Word(_)) { ":" } else { "" };
    format!("{}{colon} {}", format::capital(place), words(part, numbers))
}

/// A value as part of a sentence.
pub(super) fn words(normal: &Normal, numbers: &Numbers) -> String {
    match normal {
        Normal::Nothing | Normal::Body => UNKNOWN.to_owned(),
        Normal::Amount(amount) => measure(amount, numbers),
        Normal::Word(text) | Normal::Text(text) => text.clone(),
        Normal::Place { latitude, longitude } => format!("{latitude:.5}, {longitude:.5}"),
        Normal::Parts(parts) => parts.iter().map(|part| line(part, numbers)).collect::<Vec<_>>().join("; "),
        Normal::List(texts) if texts.is_empty() => "None".to_owned(),
        Normal::List(texts) => texts.join(", "),
    }
}

/// A number with its unit, as exact as people want it.
pub(super) fn measure(amount: &Amount, numbers: &Numbers) -> String {
    let decimals = match amount.quantity {
        Some(Quantity::Percent | Quantity::Distance | Quantity::Speed) => 0,
        Some(Quantity::Energy | Quantity::Power) => 1,
        Some(Quantity::Pressure) => usize::from(amount.unit == "bar"),
        Some(Quantity::Time) if amount.value <= 0.0 => return UNKNOWN.to_owned(),
        Some(Quantity::Time) => return minutes(amount.value),
        _ => usize::from(amount.value.fract().abs() >= 0.05),
    };
    if amount.unit.is_empty() {
        numbers.number(amount.value, decimals)
    } else {
        numbers.amount(amount.value, decimals, &amount.unit)
    }
}

/// Minutes, as a duration.
fn minutes(value: f64) -> String {
    let length = std::time::Duration::try_from_secs_f64(value * 60.0).unwrap_or_default();
    format::duration(length)
}

/// Pressures of the tires, with their places.
pub(super) fn tires(signal: &SignalView, numbers: &Numbers) -> Vec<(String, String)> {
    let Normal::Parts(parts) = &signal.normal else { return Vec::new() };
    parts.iter().map(|(place, pressure)| (format::capital(place), words(pressure, numbers))).collect()
}

/// What a signal is called.
pub(super) fn label(signal: &SignalView) -> String {
    name(&signal.code, signal.name.as_deref())
}

/// What the signal of a code is called, which Smartcar calls `told`.
pub(super) fn name(code: &str, told: Option<&str>) -> String {
    let labelled = LABELS.iter().find(|(other, _)| *other == code).map(|(_, label)| (*label).to_owned());
    let listed = || catalogue::known(code).map(|known| known.name);
    let named = || told.filter(|name| !name.is_empty()).or_else(listed).map(format::words);
    labelled.or_else(named).unwrap_or_else(|| code.to_owned())
}

/// What a group is called, and its place on the page.
pub(super) fn group(name: Option<&str>) -> (usize, String) {
    let name = name.filter(|name| !name.is_empty()).unwrap_or("Other");
    match GROUPS.iter().position(|(group, _)| *group == name) {
        Some(place) => (place, GROUPS[place].1.to_owned()),
        None => (GROUPS.len(), format::words(name)),
    }
}

/// Where a signal stands in its group: what people look for comes first.
pub(super) fn rank(code: &str) -> usize {
    FIRST.iter().position(|first| *first == code).unwrap_or(FIRST.len())
}

const FIRST: &[&str] = &[
    "tractionbattery-stateofcharge",
    "tractionbattery-range",
    "internalcombustionengine-fuellevel",
    "internalcombustionengine-range",
    "charge-ischarging",
    "charge-detailedchargingstatus",
    "charge-ischargingcableconnected",
    "charge-wattage",
    "charge-timetocomplete",
    "closure-islocked",
];

const GROUPS: &[(&str, &str)] = &[
    ("TractionBattery", "Battery"),
    ("Charge", "Charging"),
    ("InternalCombustionEngine", "Engine and fuel"),
    ("Odometer", "Odometer"),
    ("Closure", "Doors and windows"),
    ("Wheel", "Wheels"),
    ("Motion", "Motion"),
    ("Transmission", "Transmission"),
    ("Climate", "Temperatures"),
    ("HVAC", "Climate control"),
    ("Location", "Place"),
    ("LowVoltageBattery", "12 V battery"),
    ("Diagnostics", "Diagnostics"),
    ("Service", "Service"),
    ("Surveillance", "Surveillance"),
    ("ConnectivityStatus", "Connectivity"),
    ("ConnectivitySoftware", "Software"),
    ("VehicleIdentification", "Identity"),
    ("VehicleUserAccount", "Account at the maker"),
];

const LABELS: &[(&str, &str)] = &[
    ("charge-amperagemax", "Maximum current"),
    ("charge-amperagerequested", "Requested current"),
    ("charge-amperage", "Current"),
    ("charge-chargelimits", "Charge limit"),
    ("charge-detailedchargingstatus", "Status"),
    ("charge-ischarging", "Charger"),
    ("charge-ischargingcableconnected", "Cable"),
    ("charge-ischargingcablelatched", "Cable latch"),
    ("charge-ischargingportflapopen", "Port flap"),
    ("charge-timetocomplete", "Time to complete"),
    ("charge-wattage", "Power"),
    ("closure-islocked", "Lock"),
    ("connectivitystatus-isasleep", "Sleep"),
    ("connectivitystatus-isdigitalkeypaired", "Digital key"),
    ("connectivitystatus-isonline", "Connection"),
    ("diagnostics-dtccount", "Trouble codes"),
    ("diagnostics-dtclist", "List of trouble codes"),
    ("diagnostics-mil", "Warning lamp"),
    ("internalcombustionengine-amountremaining", "Fuel left"),
    ("internalcombustionengine-fuellevel", "Fuel level"),
    ("internalcombustionengine-oillife", "Oil life"),
    ("location-isathome", "Home"),
    ("odometer-traveleddistance", "Distance traveled"),
    ("service-isinservice", "Service"),
    ("surveillance-isenabled", "Surveillance"),
    ("tractionbattery-isheateractive", "Battery heater"),
    ("tractionbattery-nominalcapacity", "Capacity"),
    ("tractionbattery-stateofcharge", "Level"),
    ("wheel-tires", "Tire pressure"),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::numbers::Language;
    use super::super::samples::signal_of;
    use super::*;

    fn check(code: &str, body: &Value, expected: &str) {
        let text = match shown(&signal_of(code, body), &Numbers::of(Language::default())) {
            Some(Shown::Words(words)) => words,
            Some(Shown::Lines(lines)) => lines.join("; "),
            Some(Shown::Json(_)) => "JSON".to_owned(),
            None => "nothing".to_owned(),
        };
        assert_eq!(text.replace(['\u{202f}', '\u{a0}'], " "), expected, "{code}");
    }

    #[test]
    fn values_become_words() {
        check("tractionbattery-stateofcharge", &json!({"value": 64, "unit": "percent"}), "64 %");
        check("internalcombustionengine-fuellevel", &json!({"value": 0.31}), "31 %");
        check("internalcombustionengine-fuellevel", &json!({"value": 1}), "1 %");
        check("tractionbattery-stateofcharge", &json!({"value": 0.4}), "0 %");
        check("odometer-traveleddistance", &json!({"value": 18342.6, "unit": "km"}), "18,343 km");
        check("odometer-traveleddistance", &json!({"value": 100, "unit": "miles"}), "161 km");
        check("charge-wattage", &json!({"value": 4683, "unit": "watts"}), "4.7 kW");
        check("charge-timetocomplete", &json!({"value": 100}), "1 h 40 min");
        check("charge-timetocomplete", &json!({"value": -1}), "\u{2013}");
        check("charge-timetocomplete", &json!({"value": 0.5}), "less than a minute");
        check("closure-islocked", &json!({"value": true}), "Locked");
        check("closure-islocked", &json!({"value": null}), "\u{2013}");
        check("charge-detailedchargingstatus", &json!({"value": "FULLY_CHARGED"}), "Fully charged");
        check("charge-chargelimits", &json!({"values": [], "activeLimit": 80}), "80 %");
        check("diagnostics-abs", &json!({"status": "ALERT", "description": "See a garage"}), "Alert: See a garage");
        check("climate-externaltemperature", &json!({"value": -7.5, "unit": "celsius"}), "-7.5 \u{b0}C");
        check("x-unknown", &json!({"strange": {"deep": 1}}), "JSON");
        check("x-unknown", &json!(null), "\u{2013}");
        check("x-unknown", &json!({"value": "as it is"}), "as it is");
    }

    #[test]
    fn lists_name_their_places() {
        let door = |row, column, locked| json!({"row": row, "column": column, "isOpen": false, "isLocked": locked});
        check("closure-doors", &json!({"values": [door(0, 0, true), door(0, 1, true)]}), "All closed, locked");
        check(
            "closure-doors",
            &json!({"values": [door(0, 0, true), door(1, 1, false)]}),
            "Front left: closed, locked; Rear right: closed, unlocked",
        );
        let tire = |column, pressure| json!({"row": 0, "column": column, "tirePressure": pressure});
        check("wheel-tires", &json!({"values": [tire(0, 241.3), tire(1, 699.9)]}), "Front left 2.4 bar; Front right \u{2013}");
    }
}

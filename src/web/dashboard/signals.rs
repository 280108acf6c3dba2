//! Signals in plain words. Bodies are kept as Smartcar sent them; what is odd about them is mended here,
//! for display only: missing units, levels from 0 to 1, nulls inside successes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::format::{self, UNKNOWN};
use crate::model::Timestamp;
use crate::model::reading::SignalFailure;
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

    /// A number as it was sent.
    pub(super) fn number(self, code: &str) -> Option<f64> {
        self.body(code)?.get("value")?.as_f64()
    }

    /// A truth value; `None` also when it is null.
    pub(super) fn truth(self, code: &str) -> Option<bool> {
        self.body(code)?.get("value")?.as_bool()
    }

    /// A text.
    pub(super) fn text(self, code: &str) -> Option<String> {
        Some(self.body(code)?.get("value")?.as_str()?.to_owned())
    }

    /// A level from 0 to 100.
    pub(super) fn percent(self, code: &str) -> Option<f64> {
        let body = self.body(code)?;
        Some(percent(code, body.get("value")?.as_f64()?, unit(&body)))
    }

    /// A distance in km.
    pub(super) fn distance(self, code: &str) -> Option<f64> {
        let body = self.body(code)?;
        Some(kilometers(body.get("value")?.as_f64()?, unit(&body)))
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

/// The value of a signal in plain words.
pub(super) fn shown(code: &str, body: &Value) -> Shown {
    let Some(fields) = body.as_object() else { return Shown::Words(scalar(code, body, None)) };
    if let Some(limit) = fields.get("activeLimit") {
        return Shown::Words(limit.as_f64().map_or_else(|| UNKNOWN.to_owned(), |limit| format::amount(limit, 0, "%")));
    }
    if let Some(values) = fields.get("values").and_then(Value::as_array) {
        return list(body, values);
    }
    if let Some(capacity) = fields.get("capacity").and_then(Value::as_f64) {
        return Shown::Words(format::amount(capacity, 1, "kWh"));
    }
    if let Some(mode) = ["oemDisplayName", "canonical"].iter().find_map(|key| fields.get(*key)?.as_str()) {
        return Shown::Words(mode.to_owned());
    }
    if let Some(status) = fields.get("status").and_then(Value::as_str) {
        let told = fields.get("description").and_then(Value::as_str);
        return Shown::Words(told.map_or_else(|| tame(status), |told| format!("{}: {told}", tame(status))));
    }
    if fields.contains_key("isOpen") || fields.contains_key("isLocked") {
        return Shown::Words(opening(body));
    }
    match fields.get("value") {
        Some(value) if !value.is_object() && !value.is_array() => Shown::Words(scalar(code, value, unit(body))),
        _ => Shown::Json(format::indented(&body.to_string())),
    }
}

/// What a signal is called.
pub(super) fn label(signal: &SignalView) -> String {
    let known = LABELS.iter().find(|(code, _)| *code == signal.code);
    let named = || signal.name.as_deref().filter(|name| !name.is_empty()).map(format::words);
    known.map(|(_, label)| (*label).to_owned()).or_else(named).unwrap_or_else(|| signal.code.clone())
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

/// Why a signal has no new value, in plain words.
pub(super) fn failure(failure: &SignalFailure) -> String {
    let code = failure.code.as_deref();
    match (failure.kind.as_deref(), code) {
        (Some("COMPATIBILITY"), Some("SMARTCAR_NOT_CAPABLE")) => "Smartcar cannot read this from this brand".to_owned(),
        (Some("COMPATIBILITY"), Some("PLATFORM_NOT_CAPABLE")) => "The car\u{2019}s online service does not offer this".to_owned(),
        (Some("COMPATIBILITY"), _) => "This car does not report this".to_owned(),
        (Some("PERMISSION"), _) => "The owner has not allowed this".to_owned(),
        (Some("VEHICLE_STATE"), Some("ASLEEP")) => "The car is asleep".to_owned(),
        (Some("VEHICLE_STATE"), Some("UNREACHABLE")) => "The car could not be reached".to_owned(),
        (Some("VEHICLE_STATE"), Some("REMOTE_ACCESS_DISABLED")) => "Remote access is switched off in the car".to_owned(),
        (Some("VEHICLE_STATE"), _) => "The car could not answer in its present state".to_owned(),
        (Some("CONNECTED_SERVICES_ACCOUNT"), Some("VIRTUAL_KEY_REQUIRED")) => {
            "The car needs Smartcar\u{2019}s virtual key".to_owned()
        }
        (Some("CONNECTED_SERVICES_ACCOUNT"), _) => "The account at the car\u{2019}s maker needs attention".to_owned(),
        (Some("SERVER" | "UPSTREAM"), _) => "Smartcar or the car\u{2019}s maker had a problem".to_owned(),
        (kind, code) => {
            let told: Vec<String> = [kind, code].into_iter().flatten().map(format::words).collect();
            if told.is_empty() { "No new value".to_owned() } else { format!("No new value: {}", told.join(", ")) }
        }
    }
}

/// Pressures of the tires in bar, with their places.
pub(super) fn tires(body: &Value) -> Vec<(String, String)> {
    let values = body.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    values
        .iter()
        .map(|tire| {
            let pressure = tire.get("tirePressure").and_then(Value::as_f64).and_then(|value| bar(value, unit(body)));
            (place(tire, body), pressure.map_or_else(|| UNKNOWN.to_owned(), |bar| format::amount(bar, 1, "bar")))
        })
        .collect()
}

fn unit(body: &Value) -> Option<&str> {
    body.get("unit").and_then(Value::as_str)
}

/// Older levels of fuel came as 0 to 1, without a unit. A whole 1 is rather one percent than a full tank.
fn percent(code: &str, value: f64, unit: Option<&str>) -> f64 {
    let is_fraction = code == "internalcombustionengine-fuellevel" && unit.is_none() && (0.0..1.0).contains(&value);
    let value = if is_fraction { value * 100.0 } else { value };
    value.clamp(0.0, 100.0)
}

fn kilometers(value: f64, unit: Option<&str>) -> f64 {
    if matches!(unit, Some("mi" | "mile" | "miles")) { value * 1.609_344 } else { value }
}

/// Some cars say 699.9 kPa (or all ones) for "no value".
fn bar(value: f64, unit: Option<&str>) -> Option<f64> {
    let bar = match unit {
        Some("psi") => value * 0.068_947_6,
        Some("bar" | "bars") => value,
        _ => value / 100.0,
    };
    (0.0..6.9).contains(&bar).then_some(bar)
}

fn scalar(code: &str, value: &Value, unit: Option<&str>) -> String {
    match value {
        Value::Bool(yes) => truth(code, *yes).to_owned(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |number| measure(code, number, unit)),
        Value::String(text) => tame(text),
        _ => UNKNOWN.to_owned(),
    }
}

fn truth(code: &str, yes: bool) -> &'static str {
    match (code, yes) {
        ("closure-islocked", true) => "Locked",
        ("closure-islocked", false) => "Unlocked",
        ("charge-ischarging", true) => "Charging",
        ("charge-ischarging", false) => "Not charging",
        ("charge-ischargingcableconnected", true) => "Plugged in",
        ("charge-ischargingcableconnected", false) => "Not plugged in",
        ("connectivitystatus-isonline", true) => "Online",
        ("connectivitystatus-isonline", false) => "Offline",
        (_, true) => "Yes",
        (_, false) => "No",
    }
}

fn measure(code: &str, value: f64, unit: Option<&str>) -> String {
    if code == "charge-timetocomplete" {
        return minutes(value);
    }
    let level = matches!(
        code,
        "internalcombustionengine-fuellevel" | "tractionbattery-stateofcharge" | "lowvoltagebattery-stateofcharge"
    );
    let decimals = usize::from(value.fract().abs() >= 0.05);
    match unit {
        _ if level => format::amount(percent(code, value, unit), 0, "%"),
        Some("percent" | "%") => format::amount(value, 0, "%"),
        Some("km" | "kilometers" | "mi" | "mile" | "miles") => format::amount(kilometers(value, unit), 0, "km"),
        None if code.starts_with("odometer-") || code.ends_with("-range") => format::amount(value, 0, "km"),
        Some("watts" | "W") => format::amount(value / 1000.0, 1, "kW"),
        Some("kPa" | "kilopascals") => bar(value, unit).map_or_else(|| UNKNOWN.to_owned(), |bar| format::amount(bar, 1, "bar")),
        Some("celsius") => format::amount(value, decimals, "\u{b0}C"),
        Some("ampere" | "amps" | "amperes") => format::amount(value, decimals, "A"),
        Some("volts" | "volt") => format::amount(value, decimals, "V"),
        Some("liters" | "litres") => format::amount(value, decimals, "l"),
        Some("kph") => format::amount(value, 0, "km/h"),
        None | Some("count" | "") => format::number(value, decimals),
        Some(other) => format::amount(value, decimals, other),
    }
}

/// Minutes, as a duration.
pub(super) fn minutes(value: f64) -> String {
    let length = std::time::Duration::try_from_secs_f64(value * 60.0).unwrap_or_default();
    format::duration(length)
}

/// Takes the shouting out of an enum's value; other text stays as it is.
fn tame(text: &str) -> String {
    let shouting = text.len() > 1 && text.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_');
    if shouting { format::words(text) } else { text.to_owned() }
}

fn list(body: &Value, values: &[Value]) -> Shown {
    let has = |key: &str| values.iter().any(|value| value.get(key).is_some());
    if values.is_empty() {
        Shown::Words("None".to_owned())
    } else if values.iter().all(Value::is_string) {
        Shown::Words(values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
    } else if has("tirePressure") {
        Shown::Lines(tires(body).into_iter().map(|(place, pressure)| format!("{place} {pressure}")).collect())
    } else if has("isOpen") || has("isLocked") {
        let states: Vec<String> = values.iter().map(opening).collect();
        if states.windows(2).all(|pair| pair[0] == pair[1]) {
            return Shown::Words(format!("All {}", states[0].to_lowercase()));
        }
        Shown::Lines(
            values.iter().zip(states).map(|(door, state)| format!("{}: {}", place(door, body), state.to_lowercase())).collect(),
        )
    } else {
        Shown::Json(format::indented(&body.to_string()))
    }
}

fn opening(door: &Value) -> String {
    let says = |key: &str| door.get(key).and_then(Value::as_bool);
    let open = says("isOpen").map(|open| if open { "Open" } else { "Closed" });
    let locked = says("isLocked").map(|locked| if locked { "Locked" } else { "Unlocked" });
    match (open, locked) {
        (Some(open), Some(locked)) => format!("{open}, {}", locked.to_lowercase()),
        (Some(word), None) | (None, Some(word)) => word.to_owned(),
        (None, None) => UNKNOWN.to_owned(),
    }
}

/// Rows count from the front, columns from the left.
fn place(value: &Value, body: &Value) -> String {
    let number = |from: &Value, key: &str| from.get(key).and_then(Value::as_u64);
    let (Some(row), Some(column)) = (number(value, "row"), number(value, "column")) else { return UNKNOWN.to_owned() };
    let last_row = number(body, "rowCount").map_or(1, |rows| rows.saturating_sub(1)).max(1);
    let last_column = number(body, "columnCount").map_or(1, |columns| columns.saturating_sub(1)).max(1);
    let row = if row == 0 {
        "Front"
    } else if row >= last_row {
        "Rear"
    } else {
        "Middle"
    };
    let column = if column == 0 {
        "left"
    } else if column >= last_column {
        "right"
    } else {
        "middle"
    };
    format!("{row} {column}")
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
    ("charge-ischargingcablelatched", "Cable latched"),
    ("charge-ischargingportflapopen", "Port flap open"),
    ("charge-timetocomplete", "Time to complete"),
    ("charge-wattage", "Power"),
    ("closure-islocked", "Lock"),
    ("connectivitystatus-isasleep", "Asleep"),
    ("connectivitystatus-isdigitalkeypaired", "Digital key paired"),
    ("connectivitystatus-isonline", "Connection"),
    ("diagnostics-dtccount", "Trouble codes"),
    ("diagnostics-dtclist", "List of trouble codes"),
    ("diagnostics-mil", "Warning lamp"),
    ("internalcombustionengine-amountremaining", "Fuel left"),
    ("internalcombustionengine-fuellevel", "Fuel level"),
    ("internalcombustionengine-oillife", "Oil life"),
    ("location-isathome", "At home"),
    ("odometer-traveleddistance", "Distance traveled"),
    ("service-isinservice", "In service"),
    ("surveillance-isenabled", "Surveillance on"),
    ("tractionbattery-isheateractive", "Battery heater on"),
    ("tractionbattery-nominalcapacity", "Capacity"),
    ("tractionbattery-stateofcharge", "Level"),
    ("wheel-tires", "Tire pressure"),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(code: &str, body: &Value, expected: &str) {
        let text = match shown(code, body) {
            Shown::Words(words) => words,
            Shown::Lines(lines) => lines.join("; "),
            Shown::Json(_) => "JSON".to_owned(),
        };
        assert_eq!(text.replace(['\u{202f}', '\u{a0}'], " "), expected, "{code}");
    }

    #[test]
    fn values_become_words() {
        check("tractionbattery-stateofcharge", &json!({"value": 64, "unit": "percent"}), "64 %");
        check("internalcombustionengine-fuellevel", &json!({"value": 0.31}), "31 %");
        check("internalcombustionengine-fuellevel", &json!({"value": 1}), "1 %");
        check("tractionbattery-stateofcharge", &json!({"value": 0.4}), "0 %");
        check("odometer-traveleddistance", &json!({"value": 18342.6, "unit": "km"}), "18 343 km");
        check("odometer-traveleddistance", &json!({"value": 100, "unit": "miles"}), "161 km");
        check("charge-wattage", &json!({"value": 4683, "unit": "watts"}), "4.7 kW");
        check("charge-timetocomplete", &json!({"value": 100}), "1 h 40 min");
        check("charge-timetocomplete", &json!({"value": -1}), "less than a minute");
        check("closure-islocked", &json!({"value": true}), "Locked");
        check("closure-islocked", &json!({"value": null}), "\u{2013}");
        check("charge-detailedchargingstatus", &json!({"value": "FULLY_CHARGED"}), "Fully charged");
        check("charge-chargelimits", &json!({"values": [], "activeLimit": 80}), "80 %");
        check("diagnostics-abs", &json!({"status": "ALERT", "description": "See a garage"}), "Alert: See a garage");
        check("climate-externaltemperature", &json!({"value": -7.5, "unit": "celsius"}), "\u{2212}7.5 \u{b0}C");
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

    #[test]
    fn failures_are_told_in_plain_words() {
        let told = |kind: &str, code: Option<&str>| {
            failure(&SignalFailure { status: "ERROR".into(), kind: Some(kind.into()), code: code.map(str::to_owned) })
        };
        assert_eq!(told("PERMISSION", None), "The owner has not allowed this");
        assert_eq!(told("NEW_KIND", Some("NEW_CODE")), "No new value: New kind, New code");
        assert_eq!(failure(&SignalFailure::default()), "No new value");
    }
}

//! The one normal form of a signal's value, for display: a number in one unit, or a few words.
//!
//! The body stays as it was received; what is odd about it is mended here: missing units, levels from 0 to 1, nulls
//! inside successes. What the catalogue does not know is told by the shape of its body.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::catalogue::{Kind, Quantity, known};

mod unit;

/// The units of a country.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// Kilometers, bar, degrees of Celsius, liters.
    #[default]
    Metric,
    /// Miles, pounds per square inch, degrees of Fahrenheit, gallons of the United States.
    Imperial,
}

impl Units {
    /// Reads `metric` or `imperial`.
    pub fn parse(text: &str) -> Option<Units> {
        match text {
            "metric" => Some(Units::Metric),
            "imperial" => Some(Units::Imperial),
            _ => None,
        }
    }
}

/// A value in its normal form.
#[derive(Clone, Debug, PartialEq)]
pub enum Normal {
    /// The car says that it does not know.
    Nothing,
    /// A number of something.
    Amount(Amount),
    /// A few words in lower case, such as `closed, locked`.
    Word(String),
    /// A text as it was received.
    Text(String),
    /// A place on earth, in degrees.
    Place {
        /// North of the equator.
        latitude: f64,
        /// East of Greenwich.
        longitude: f64,
    },
    /// Several things, each with its place in the car.
    Parts(Vec<(&'static str, Normal)>),
    /// Several texts.
    List(Vec<String>),
    /// Something that only its body tells.
    Body,
}

/// A number with its unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Amount {
    /// The number.
    pub value: f64,
    /// Its unit, such as `km`; empty if there is none.
    pub unit: Cow<'static, str>,
    /// What it counts, if that is known.
    pub quantity: Option<Quantity>,
}

impl Amount {
    fn of(quantity: Quantity, value: f64, units: Units) -> Amount {
        let (value, unit) = unit::shown(quantity, value, units);
        Amount { value, unit: unit.into(), quantity: Some(quantity) }
    }
}

impl Normal {
    /// The normal form of a signal's body.
    pub fn of(code: &str, body: &Value, units: Units) -> Normal {
        let kind = known(code).map(|known| known.kind);
        let Some(fields) = body.as_object() else { return scalar(code, kind, body, None, units) };
        if let Some(limit) = fields.get("activeLimit") {
            let percent = |limit| Normal::Amount(Amount::of(Quantity::Percent, limit, units));
            return limit.as_f64().map_or(Normal::Nothing, percent);
        }
        if let Some(values) = fields.get("values").and_then(Value::as_array) {
            return list(kind, body, values, units);
        }
        if let Some(capacity) = fields.get("capacity").and_then(Value::as_f64) {
            return Normal::Amount(Amount::of(Quantity::Energy, capacity, units));
        }
        if let Some(mode) = ["oemDisplayName", "canonical"].iter().find_map(|key| fields.get(*key)?.as_str()) {
            return Normal::Text(mode.to_owned());
        }
        if let Some(status) = fields.get("status").and_then(Value::as_str) {
            let told = fields.get("description").and_then(Value::as_str);
            return match (word(status), told) {
                (Normal::Word(word), Some(told)) => Normal::Word(format!("{word}: {told}")),
                (status, _) => status,
            };
        }
        if fields.contains_key("isOpen") || fields.contains_key("isLocked") {
            return opening(body);
        }
        if let (Some(latitude), Some(longitude)) = (number_at(body, "latitude"), number_at(body, "longitude")) {
            return Normal::Place { latitude, longitude };
        }
        fields.get("value").map_or(Normal::Body, |value| Normal::of_value(code, value, unit_of(body), units))
    }

    /// Of a body that is a value and perhaps its unit, no more.
    pub(super) fn of_value(code: &str, value: &Value, unit: Option<&str>, units: Units) -> Normal {
        if value.is_object() || value.is_array() {
            return Normal::Body;
        }
        let kind = known(code).map(|known| known.kind);
        scalar(code, kind, value, unit, units)
    }

    /// As JSON: a number, a text, a list or an object; null if only the body tells it, or nothing is known.
    pub fn value(&self) -> Value {
        match self {
            Normal::Nothing | Normal::Body => Value::Null,
            Normal::Amount(amount) => rounded(amount.value),
            Normal::Word(text) | Normal::Text(text) => json!(text),
            Normal::Place { latitude, longitude } => json!({ "latitude": latitude, "longitude": longitude }),
            Normal::Parts(parts) => parts.iter().map(|(place, part)| json!({ "place": place, "value": part.value() })).collect(),
            Normal::List(texts) => json!(texts),
        }
    }

    /// The unit of the number, or of all the numbers.
    pub fn unit(&self) -> Option<&str> {
        match self {
            Normal::Amount(amount) => Some(&*amount.unit).filter(|unit| !unit.is_empty()),
            Normal::Parts(parts) => parts.iter().find_map(|(_, part)| part.unit()),
            _ => None,
        }
    }
}

/// A number in metric units as people have it, to a thousandth, with its unit if the catalogue tells it.
pub fn in_units(code: &str, value: f64, units: Units) -> (f64, Option<&'static str>) {
    let quantity = known(code).and_then(|known| known.kind.quantity());
    let (value, unit) = quantity.map_or((value, ""), |quantity| unit::shown(quantity, value, units));
    ((value * 1000.0).round() / 1000.0, Some(unit).filter(|unit| !unit.is_empty()))
}

/// A number of our own units (km, bar, degrees of Celsius, ...) as people have it, with its unit.
pub fn shown(quantity: Quantity, value: f64, units: Units) -> (f64, &'static str) {
    unit::shown(quantity, value, units)
}

/// To a thousandth: what a conversion adds is not known.
fn rounded(value: f64) -> Value {
    let rounded = (value * 1000.0).round() / 1000.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole, and far below 2^53")]
    if rounded.fract() == 0.0 && rounded.abs() < 9e15 { json!(rounded as i64) } else { json!(rounded) }
}

fn number_at(value: &Value, key: &str) -> Option<f64> {
    value.get(key).and_then(Value::as_f64)
}

fn unit_of(body: &Value) -> Option<&str> {
    body.get("unit").and_then(Value::as_str)
}

fn scalar(code: &str, kind: Option<Kind>, value: &Value, unit: Option<&str>, units: Units) -> Normal {
    match value {
        Value::Bool(yes) => {
            let (affirmed, denied) =
                if let Some(Kind::State(affirmed, denied)) = kind { (affirmed, denied) } else { ("yes", "no") };
            Normal::Word(if *yes { affirmed } else { denied }.to_owned())
        }
        Value::Number(number) => number.as_f64().map_or(Normal::Body, |number| measure(code, kind, number, unit, units)),
        // A nickname may be written in capitals.
        Value::String(text) if kind == Some(Kind::Text) => Normal::Text(text.clone()),
        Value::String(text) => word(text),
        _ => Normal::Nothing,
    }
}

fn measure(code: &str, kind: Option<Kind>, value: f64, unit: Option<&str>, units: Units) -> Normal {
    let unit = unit.filter(|unit| !unit.is_empty());
    let expected = if let Some(Kind::Amount(quantity)) = kind { Some(quantity) } else { None };
    let amount = match unit.and_then(|unit| unit::read(unit, value)) {
        // A unit of something else than what it should be: the car may know better.
        Some((quantity, value)) => Amount::of(quantity, level(code, quantity, value, unit), units),
        None if unit.is_none() && expected.is_some() => {
            let quantity = expected.unwrap_or(Quantity::Count);
            Amount::of(quantity, level(code, quantity, unit::usual(quantity, value), unit), units)
        }
        None => Amount { value, unit: unit.unwrap_or_default().to_owned().into(), quantity: None },
    };
    if amount.quantity == Some(Quantity::Pressure) && !is_pressure(amount.value, units) {
        return Normal::Nothing;
    }
    Normal::Amount(amount)
}

/// Older levels of fuel came as 0 to 1, without a unit. A whole 1 is rather one percent than a full tank.
fn level(code: &str, quantity: Quantity, value: f64, unit: Option<&str>) -> f64 {
    if quantity != Quantity::Percent {
        return value;
    }
    let is_fraction = code == "internalcombustionengine-fuellevel" && unit.is_none() && (0.0..1.0).contains(&value);
    let value = if is_fraction { value * 100.0 } else { value };
    value.clamp(0.0, 100.0)
}

/// Some cars say 699.9 kPa (or all ones) for "no value".
fn is_pressure(value: f64, units: Units) -> bool {
    let most = unit::shown(Quantity::Pressure, 6.9, units).0;
    (0.0..most).contains(&value)
}

/// Takes the shouting out of an enum's value; other text stays as it is.
fn word(text: &str) -> Normal {
    let shouting = text.len() > 1
        && text.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_')
        && text.starts_with(|letter: char| letter.is_ascii_uppercase());
    if shouting { Normal::Word(text.replace('_', " ").to_lowercase()) } else { Normal::Text(text.to_owned()) }
}

fn list(kind: Option<Kind>, body: &Value, values: &[Value], units: Units) -> Normal {
    let has = |key: &str| values.iter().any(|value| value.get(key).is_some());
    let parts =
        |part: &dyn Fn(&Value) -> Normal| Normal::Parts(values.iter().map(|value| (place(value, body), part(value))).collect());
    if values.is_empty() {
        Normal::List(Vec::new())
    } else if values.iter().all(Value::is_string) {
        Normal::List(values.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    } else if has("tirePressure") {
        parts(&|tire| match number_at(tire, "tirePressure") {
            Some(pressure) => measure("wheel-tires", Some(Kind::Amount(Quantity::Pressure)), pressure, unit_of(body), units),
            None => Normal::Nothing,
        })
    } else if has("isOpen") || has("isLocked") {
        parts(&opening)
    } else if kind == Some(Kind::List) && values.iter().all(|value| value["code"].is_string()) {
        Normal::List(values.iter().filter_map(|value| value["code"].as_str()).map(str::to_owned).collect())
    } else {
        Normal::Body
    }
}

fn opening(door: &Value) -> Normal {
    let says = |key: &str| door.get(key).and_then(Value::as_bool);
    let open = says("isOpen").map(|open| if open { "open" } else { "closed" });
    let locked = says("isLocked").map(|locked| if locked { "locked" } else { "unlocked" });
    match (open, locked) {
        (Some(open), Some(locked)) => Normal::Word(format!("{open}, {locked}")),
        (Some(word), None) | (None, Some(word)) => Normal::Word(word.to_owned()),
        (None, None) => Normal::Nothing,
    }
}

/// Rows count from the front, columns from the left.
fn place(value: &Value, body: &Value) -> &'static str {
    let number = |from: &Value, key: &str| from.get(key).and_then(Value::as_u64);
    let (Some(row), Some(column)) = (number(value, "row"), number(value, "column")) else { return "somewhere" };
    let last = |count: &str| number(body, count).map_or(1, |count| count.saturating_sub(1)).max(1);
    let which = |place: u64, count: &str| match place {
        0 => 0,
        place if place >= last(count) => 2,
        _ => 1,
    };
    PLACES[which(row, "rowCount")][which(column, "columnCount")]
}

/// From the front to the rear, from left to right.
const PLACES: [[&str; 3]; 3] = [
    ["front left", "front middle", "front right"],
    ["middle left", "middle middle", "middle right"],
    ["rear left", "rear middle", "rear right"],
];

#[cfg(test)]
mod tests;

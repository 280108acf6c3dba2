//! Signal bodies in the other unit system.

use serde_json::{Value, json};

use super::Stored;
use super::shape::{KM_PER_MILE, KPA_PER_PSI, LITRES_PER_GALLON, scaled};
use crate::model::catalogue::{Kind, Quantity, known};

/// How units are spelt, what they are in the imperial system, and how many of the metric unit one of them is.
const UNITS: &[(&[&str], &str, f64)] = &[
    (&["km", "kilometers", "kilometres"], "miles", 1.0),
    (&["miles", "mile", "mi"], "miles", KM_PER_MILE),
    (&["km/h", "kph", "kmh"], "mph", 1.0),
    (&["mph"], "mph", KM_PER_MILE),
    (&["l", "liters", "litres"], "gallons", 1.0),
    (&["gallons", "gal"], "gallons", LITRES_PER_GALLON),
    (&["kPa", "kpa", "kilopascals"], "psi", 1.0),
    (&["bar"], "psi", 100.0),
    (&["psi"], "psi", KPA_PER_PSI),
];

fn unit(spelt: &str) -> Option<&'static (&'static [&'static str], &'static str, f64)> {
    UNITS.iter().find(|(spellings, ..)| spellings.contains(&spelt))
}

/// What a unit is in the imperial system, and how many of it make one; `None` if it is of that system, or not known.
fn foreign(spelt: &str) -> Option<(&'static str, f64)> {
    let (spellings, imperial, metric) = unit(spelt)?;
    let (_, _, per) = unit(imperial).filter(|_| !spellings.contains(imperial))?;
    Some((*imperial, per / metric))
}

/// The unit that goes without saying for a signal: the one that the catalogue gives it.
fn usual(code: &str) -> Option<&'static str> {
    match known(code)?.kind {
        Kind::Amount(Quantity::Distance) => Some("km"),
        Kind::Amount(Quantity::Speed) => Some("km/h"),
        Kind::Amount(Quantity::Volume) => Some("liters"),
        Kind::Amount(Quantity::Temperature) => Some("celsius"),
        Kind::Amount(Quantity::Pressure) | Kind::Tires => Some("kPa"),
        _ => None,
    }
}

/// A level of fuel as percent from 0 to 100, as all signals have it (Smartcar's API reference, "Signals"). Captured
/// payloads show older levels of fuel, and of nothing else, from 0 to 1 without a unit. A bare 1 is one percent, unless
/// what else the car says of its tank tells of more.
pub(super) fn whole_percent(code: &str, told: Value, stored: &Stored<'_>) -> Value {
    let level = told["value"].as_f64().filter(|level| code == FUEL && (0.0..=1.0).contains(level));
    let Some(level) = level.filter(|_| told["unit"].as_str().is_none_or(str::is_empty)) else { return told };
    let tells_of_more = |code: &str, most: f64| {
        let told = stored(code);
        told.is_some_and(|told| told["value"].as_f64().is_some_and(|value| value * metric(told.get("unit")) > most))
    };
    let is_full = || {
        tells_of_more("internalcombustionengine-amountremaining", 5.0) || tells_of_more("internalcombustionengine-range", 50.0)
    };
    #[expect(clippy::float_cmp, reason = "a whole number")]
    if level == 1.0 && !is_full() {
        return told;
    }
    json!({ "value": level * 100.0, "unit": "percent" })
}

const FUEL: &str = "internalcombustionengine-fuellevel";

/// A signal's body in miles, gallons, psi and degrees Fahrenheit; as it is if it measures nothing of that kind.
pub fn imperial(code: &str, mut body: Value) -> Value {
    let said = body.get("unit").and_then(Value::as_str).filter(|unit| !unit.is_empty()).map(str::to_owned);
    let said = said.as_deref().or_else(|| usual(code));
    if matches!(said, Some("celsius" | "c" | "C")) {
        let value = body.get("value").and_then(Value::as_f64);
        if let Some(degrees) = value {
            body["value"] = ((degrees * 9.0 / 5.0 + 32.0) * 10.0).round().into();
            body["value"] = scaled(&body["value"], 0.1).unwrap_or_default();
            body["unit"] = "fahrenheit".into();
        }
        return body;
    }
    let Some((unit, per_foreign)) = said.and_then(foreign) else { return body };
    for (list, field) in [("values", "tirePressure"), ("additionalValues", "value")] {
        for item in body.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(value) = item.get_mut(field) {
                *value = scaled(value, 1.0 / per_foreign).unwrap_or_default();
            }
        }
    }
    if let Some(value) = body.get_mut("value") {
        *value = scaled(value, 1.0 / per_foreign).unwrap_or_default();
    }
    if let Some(body) = body.as_object_mut() {
        body.insert("unit".to_owned(), unit.into());
    }
    body
}

/// How many metric units one of `unit` is, for what Smartcar told in miles, gallons or psi although it was not asked to.
pub(super) fn metric(spelt: Option<&Value>) -> f64 {
    spelt.and_then(Value::as_str).and_then(unit).map_or(1.0, |(.., metric)| *metric)
}

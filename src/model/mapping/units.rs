//! Signal bodies in the other unit system.

use serde_json::Value;

use super::shape::{KM_PER_MILE, KPA_PER_PSI, LITRES_PER_GALLON, scaled};
use super::{ENDPOINTS, Quantity, Shape};

/// What a unit is in the imperial system, and how many of the metric unit make one.
fn foreign(unit: &str) -> Option<(&'static str, f64)> {
    Some(match unit {
        "km" | "kilometers" => ("miles", KM_PER_MILE),
        "km/h" | "kph" => ("mph", KM_PER_MILE),
        "liters" => ("gallons", LITRES_PER_GALLON),
        "kPa" | "kpa" => ("psi", KPA_PER_PSI),
        _ => return None,
    })
}

/// The unit that goes without saying for a signal.
fn usual(code: &str) -> Option<&'static str> {
    let mut signals = ENDPOINTS.iter().flat_map(|endpoint| endpoint.signals);
    match signals.find(|signal| signal.code == code)?.shape {
        Shape::Value { quantity: Quantity::Distance, .. } => Some("km"),
        Shape::Value { quantity: Quantity::Volume, .. } => Some("liters"),
        Shape::Tires => Some("kPa"),
        _ => None,
    }
}

/// A signal's body in miles, gallons, psi and degrees Fahrenheit; as it is if it measures nothing of that kind.
pub fn imperial(code: &str, mut body: Value) -> Value {
    let said = body.get("unit").and_then(Value::as_str).map(str::to_owned);
    if said.as_deref() == Some("celsius") {
        if let Some(degrees) = body["value"].as_f64() {
            body["value"] = ((degrees * 9.0 / 5.0 + 32.0) * 10.0).round().into();
            body["value"] = scaled(&body["value"], 0.1).unwrap_or_default();
            body["unit"] = "fahrenheit".into();
        }
        return body;
    }
    let Some((unit, per_foreign)) = said.as_deref().or_else(|| usual(code)).and_then(foreign) else { return body };
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
pub(super) fn metric(unit: Option<&Value>) -> f64 {
    match unit.and_then(Value::as_str).unwrap_or_default() {
        "miles" | "mi" | "mile" => KM_PER_MILE,
        "gallons" | "gal" => LITRES_PER_GALLON,
        "psi" => KPA_PER_PSI,
        "bar" => 100.0,
        _ => 1.0,
    }
}

//! Both unit systems: a car thinks in metric units, an answer may be asked for in imperial ones.

use serde_json::{Value, json};

/// What `sc-unit-system` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Units {
    Metric,
    Imperial,
}

/// What is paid with in a region.
pub(super) fn currency(region: &str) -> &'static str {
    if region == "US" { "USD" } else { "EUR" }
}

impl Units {
    /// The word of the header, in any case.
    pub(super) fn named(text: &str) -> Option<Units> {
        [Units::Metric, Units::Imperial].into_iter().find(|units| text.eq_ignore_ascii_case(units.word()))
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Units::Metric => "metric",
            Units::Imperial => "imperial",
        }
    }

    /// Kilometers, or miles.
    pub(super) fn distance(self, kilometers: f64) -> f64 {
        if self == Units::Imperial { kilometers / KILOMETERS_A_MILE } else { kilometers }
    }

    /// Litres, or US gallons.
    pub(super) fn volume(self, liters: f64) -> f64 {
        if self == Units::Imperial { liters / LITERS_A_GALLON } else { liters }
    }

    /// kPa, or psi.
    pub(super) fn pressure(self, kilopascals: f64) -> f64 {
        if self == Units::Imperial { kilopascals / KILOPASCALS_A_PSI } else { kilopascals }
    }

    /// The body of a signal, whose `unit` says what it is.
    pub(super) fn signal(self, mut body: Value) -> Value {
        let known = BODIES.iter().find(|(unit, ..)| body["unit"] == *unit).filter(|_| self == Units::Imperial);
        let Some((_, unit, factor, added)) = known else { return body };
        let convert = |value: &mut Value| {
            if let Some(number) = value.as_f64() {
                *value = rounded(number * factor + added, 2);
            }
        };
        for name in ["value", "tirePressure"] {
            body.get_mut(name).map(convert);
            for list in ["values", "additionalValues"] {
                let items = body.get_mut(list).and_then(Value::as_array_mut);
                items.into_iter().flatten().filter_map(|item| item.get_mut(name)).for_each(convert);
            }
        }
        body["unit"] = json!(unit);
        body
    }
}

/// A rounded number as JavaScript prints it: without `.0`.
pub(super) fn rounded(value: f64, digits: i32) -> Value {
    let factor = 10_f64.powi(digits);
    let rounded = (value * factor).round() / factor;
    #[expect(clippy::cast_possible_truncation, reason = "whole, and far below 2^53")]
    if rounded.fract() == 0.0 { json!(rounded as i64) } else { json!(rounded) }
}

const KILOMETERS_A_MILE: f64 = 1.609_344;
const LITERS_A_GALLON: f64 = 3.785_411_784;
const KILOPASCALS_A_PSI: f64 = 6.894_757;
/// Metric unit, imperial unit, and how one becomes the other.
const BODIES: &[(&str, &str, f64, f64)] = &[
    ("km", "miles", 1.0 / KILOMETERS_A_MILE, 0.0),
    ("kph", "mph", 1.0 / KILOMETERS_A_MILE, 0.0),
    ("km/h", "mph", 1.0 / KILOMETERS_A_MILE, 0.0),
    ("liters", "gallons", 1.0 / LITERS_A_GALLON, 0.0),
    ("kPa", "psi", 1.0 / KILOPASCALS_A_PSI, 0.0),
    ("celsius", "fahrenheit", 1.8, 32.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_follows_its_unit() {
        let imperial = |body| Units::Imperial.signal(body);
        assert_eq!(imperial(json!({ "value": 160.9344, "unit": "km" })), json!({ "value": 100, "unit": "miles" }));
        assert_eq!(imperial(json!({ "value": 20, "unit": "celsius" })), json!({ "value": 68, "unit": "fahrenheit" }));
        assert_eq!(imperial(json!({ "value": 64, "unit": "percent" })), json!({ "value": 64, "unit": "percent" }));
        let tires = json!({ "values": [{ "row": 0, "tirePressure": 240.0 }], "unit": "kPa" });
        assert_eq!(imperial(tires.clone())["values"][0]["tirePressure"], 34.81);
        assert_eq!(Units::Metric.signal(tires.clone()), tires);
    }

    #[test]
    fn numbers_print_as_javascript_prints_them() {
        assert_eq!(rounded(64.0, 1).to_string(), "64");
        assert_eq!(rounded(18_342.649, 1).to_string(), "18342.6");
    }
}

//! What charts and sums need of a reading, in little room.

use std::borrow::Cow;
use std::mem::{size_of, size_of_val};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::Json;
use super::normal::{Normal, Units};

/// What a reading says, in short.
#[derive(Clone, Debug, PartialEq)]
pub enum Gist {
    /// A number, in metric units: always finite.
    Number(f64),
    /// Numbers of several places in the car.
    Parts(Arc<[(&'static str, f64)]>),
    /// Yes or no.
    Yes(bool),
    /// One of a few words, in lower case.
    Word(Arc<str>),
    /// Nothing of these.
    Nothing,
}

impl Gist {
    /// Of a signal's body.
    pub fn of(code: &str, body: &Json) -> Gist {
        // Most bodies are so, and read many times as fast as others. An array would be taken for one, too.
        let plain = if body.as_str().starts_with('{') { serde_json::from_str(body.as_str()).ok() } else { None };
        let normal = match plain {
            Some(Plain { value: Value::Bool(yes), .. }) => return Gist::Yes(yes),
            Some(Plain { value, unit }) => Normal::of_value(code, &value, unit.as_deref(), Units::Metric),
            None => {
                let body = body.value();
                match body.get("value").and_then(Value::as_bool) {
                    Some(yes) => return Gist::Yes(yes),
                    None => Normal::of(code, &body, Units::Metric),
                }
            }
        };
        of(normal)
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        if let Gist::Number(number) = self { Some(*number) } else { None }
    }

    /// How many bytes it takes besides itself.
    pub fn extent(&self) -> usize {
        match self {
            Gist::Parts(parts) => COUNTS + size_of_val(&**parts),
            Gist::Word(word) => COUNTS + word.len(),
            Gist::Number(_) | Gist::Yes(_) | Gist::Nothing => 0,
        }
    }
}

/// What an `Arc` keeps beside its value.
const COUNTS: usize = 2 * size_of::<usize>();

/// A body without anything else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain<'a> {
    value: Value,
    #[serde(default, borrow)]
    unit: Option<Cow<'a, str>>,
}

fn of(normal: Normal) -> Gist {
    match normal {
        Normal::Parts(parts) => {
            Gist::Parts(parts.into_iter().filter_map(|(place, part)| Some((place, number(&part)?))).collect())
        }
        Normal::Word(word) => Gist::Word(word.into()),
        normal => number(&normal).map_or(Gist::Nothing, Gist::Number),
    }
}

fn number(normal: &Normal) -> Option<f64> {
    if let Normal::Amount(amount) = normal { Some(amount.value).filter(|value| value.is_finite()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::catalogue::CATALOGUE;

    /// What is read in haste says the same as what is read with care.
    #[test]
    fn another_field_makes_no_difference() {
        for code in CATALOGUE.iter().map(|known| known.code).chain(["x-y"]) {
            for array in ["[5]", r#"[5,"km"]"#, "[true]", "[]"] {
                let body = Json::received(array.as_bytes());
                assert_eq!(Gist::of(code, &body), of(Normal::of(code, &body.value(), Units::Metric)), "{code} {array}");
            }
            for value in ["null", "true", "false", "0", "-1", "7.5", "1e400", "\"CHARGING\"", "\"a\\u0041\"", "{}", "[1]"] {
                for unit in ["", r#","unit":null"#, r#","unit":"""#, r#","unit":"mi""#, r#","unit":"\u006dm""#, r#","unit":7"#] {
                    let gist =
                        |more: &str| Gist::of(code, &Json::received(format!("{{\"value\":{value}{unit}{more}}}").as_bytes()));
                    assert_eq!(gist(""), gist(r#","more":1"#), "{code} {value} {unit}");
                }
            }
        }
    }

    #[test]
    fn all_that_is_drawn_is_in_it() {
        let gist = |code: &str, body: &str| Gist::of(code, &Json::received(body.as_bytes()));
        assert_eq!(gist("odometer-traveleddistance", r#"{"value":10,"unit":"miles"}"#), Gist::Number(16.09344));
        assert_eq!(gist("charge-ischarging", r#"{"value":true}"#), Gist::Yes(true));
        assert_eq!(gist("charge-detailedchargingstatus", r#"{"value":"CHARGING"}"#), Gist::Word("charging".into()));
        assert_eq!(gist("charge-wattage", r#"{"value":null,"unit":"watts"}"#), Gist::Nothing);
        assert_eq!(gist("vehicleidentification-vin", r#"{"value":"5YJSA1CN5DFP00101"}"#), Gist::Nothing);
        assert_eq!(gist("location-preciselocation", r#"{"latitude":52.5,"longitude":13.4}"#), Gist::Nothing);
        let tires = r#"{"values":[{"row":0,"column":0,"tirePressure":240},{"row":1,"column":1,"tirePressure":null}],
            "rowCount":2,"columnCount":2,"unit":"kPa"}"#;
        assert_eq!(gist("wheel-tires", tires), Gist::Parts([("front left", 2.4)].into()));
    }
}

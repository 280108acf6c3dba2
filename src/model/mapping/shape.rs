use serde_json::{Map, Value, json};

/// How one signal stands in the body of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A field that becomes `{"value"}`, with a unit if the quantity has one.
    Value {
        /// The field.
        field: &'static str,
        /// What it measures.
        quantity: Quantity,
    },
    /// Whether a field says a word.
    Equals {
        /// The field.
        field: &'static str,
        /// The word.
        word: &'static str,
    },
    /// `{"capacity"}` in kWh, the older answer.
    Capacity,
    /// `{"availableCapacities", "capacity": {"nominal", "source"}}`, the newer one.
    NominalCapacity,
    /// `{"limit"}` from 0 to 1.
    ChargeLimit,
    /// `{"latitude", "longitude"}`.
    Position,
    /// A pressure for each of [`CORNERS`].
    Tires,
    /// A list of `{"type", "status"}`, one for each of [`CORNERS`].
    Openings {
        /// The field with the list.
        field: &'static str,
        /// Whether the signal has `isLocked` beside `isOpen`.
        locks: bool,
    },
    /// One element of such a list.
    Opening {
        /// The field with the list.
        field: &'static str,
        /// The `type` of the element; the first one if missing.
        kind: Option<&'static str>,
        /// Whether the signal has `isLocked` beside `isOpen`.
        locks: bool,
    },
    /// The element of the list `systems` that has this id.
    System {
        /// The id.
        id: &'static str,
    },
    /// The list `activeCodes`.
    TroubleCodes,
    /// The whole body, a list of services.
    Records,
    /// Whether the first element of such a list is open.
    Flap {
        /// The field with the list.
        field: &'static str,
    },
}

/// What a number measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Nothing: the value goes over as it is.
    Plain,
    /// 0 to 1 at the endpoint, 0 to 100 in the signal.
    Percent,
    /// Kilometres or miles.
    Distance,
    /// Litres or US gallons.
    Volume,
}

/// The four corners of a car as endpoints name them, with row (0 is front) and column (0 is left).
pub const CORNERS: [(&str, u8, u8); 4] = [("frontLeft", 0, 0), ("frontRight", 0, 1), ("backLeft", 1, 0), ("backRight", 1, 1)];

impl Shape {
    /// What a signal says of a word: in which field, which word, and whether that is what stands there.
    fn claim(self, told: &Value) -> Option<(&'static str, &str, bool)> {
        match self {
            Shape::Value { field, .. } => Some((field, told["value"].as_str()?, true)),
            Shape::Equals { field, word } => Some((field, word, told["value"].as_bool()?)),
            _ => None,
        }
    }

    /// Whether what one signal tells and what another of the same endpoint tells cannot both be so.
    pub(super) fn contradicts(self, told: &Value, other: Shape, others: &Value) -> bool {
        let (Some((field, word, is)), Some((of, another, is_too))) = (self.claim(told), other.claim(others)) else {
            return false;
        };
        field == of && if word == another { is != is_too } else { is && is_too }
    }

    /// The body of the signal, out of the body of the endpoint.
    pub(super) fn signal(self, body: &Value, imperial: bool) -> Option<Value> {
        match self {
            Shape::Value { field, quantity } => quantity.signal(body.get(field)?, imperial),
            Shape::Equals { field, word } => body.get(field)?.as_str().map(|said| json!({ "value": said == word })),
            Shape::Capacity => {
                let capacity = number(body.get("capacity")?)?;
                Some(json!({ "capacity": capacity, "availableCapacities": [], "unit": "kWh" }))
            }
            Shape::NominalCapacity => {
                let available = body.get("availableCapacities").filter(|list| list.is_array()).cloned();
                let nominal = body.get("capacity").filter(|capacity| capacity.get("nominal").is_some_and(Value::is_number));
                if nominal.is_none() && available.is_none() {
                    return None;
                }
                Some(json!({
                    "capacity": nominal.map(|capacity| &capacity["nominal"]),
                    "source": nominal.and_then(|capacity| capacity.get("source")),
                    "availableCapacities": available.unwrap_or_else(|| json!([])),
                    "unit": "kWh",
                }))
            }
            Shape::ChargeLimit => {
                let limit = scaled(body.get("limit")?, 100.0)?;
                Some(json!({
                    "values": [{ "type": "GLOBAL", "limit": limit, "condition": null }],
                    "activeLimit": limit,
                    "unit": "percent",
                }))
            }
            Shape::Position => {
                let (latitude, longitude) = (number(body.get("latitude")?)?, number(body.get("longitude")?)?);
                Some(json!({ "latitude": latitude, "longitude": longitude }))
            }
            Shape::Tires => tires(body, imperial),
            Shape::Openings { field, locks } => openings(body.get(field)?.as_array()?, locks),
            Shape::Opening { field, kind, locks } => {
                let mut all = body.get(field)?.as_array()?.iter();
                let element = all.find(|element| kind.is_none_or(|kind| word(element, "type") == Some(kind)))?;
                opening(element, locks).map(Value::Object)
            }
            Shape::System { id } => {
                let is_meant = |system: &&Value| word(system, "systemId").is_some_and(|said| is_same_system(said, id));
                let system = body.get("systems")?.as_array()?.iter().find(is_meant)?;
                Some(json!({ "status": word(system, "status")?, "description": system.get("description") }))
            }
            Shape::TroubleCodes => Some(json!({ "values": body.get("activeCodes").filter(|codes| codes.is_array())? })),
            Shape::Records => Some(super::service::signal(body.as_array()?, imperial)),
            Shape::Flap { field } => {
                let element = body.get(field)?.as_array()?.first()?;
                Some(json!({ "value": opening(element, false)?.get("isOpen")? }))
            }
        }
    }
}

impl Quantity {
    fn signal(self, value: &Value, imperial: bool) -> Option<Value> {
        let (per_foreign, unit) = match self {
            Quantity::Plain if value.is_boolean() || value.is_string() || value.is_number() => {
                return Some(json!({ "value": value }));
            }
            Quantity::Plain => return None,
            Quantity::Percent => return Some(json!({ "value": scaled(value, 100.0)?, "unit": "percent" })),
            Quantity::Distance => (KM_PER_MILE, "km"),
            Quantity::Volume => (LITRES_PER_GALLON, "liters"),
        };
        Some(json!({ "value": if imperial { scaled(value, per_foreign)? } else { number(value)? }, "unit": unit }))
    }
}

fn tires(body: &Value, imperial: bool) -> Option<Value> {
    let pressure = |value: &Value| if imperial { scaled(value, KPA_PER_PSI) } else { number(value) };
    let wheel = |(corner, row, column)| {
        let pressure = pressure(body.get(corner)?)?;
        Some(json!({ "row": row, "column": column, "tirePressure": pressure }))
    };
    let values: Vec<Value> = CORNERS.into_iter().filter_map(wheel).collect();
    (!values.is_empty()).then(|| json!({ "values": values, "rowCount": 2, "columnCount": 2, "unit": "kPa" }))
}

fn openings(elements: &[Value], locks: bool) -> Option<Value> {
    let place = |element: &Value| {
        let (_, row, column) = CORNERS.into_iter().find(|(corner, ..)| word(element, "type") == Some(corner))?;
        let mut value = opening(element, locks)?;
        value.insert("row".to_owned(), json!(row));
        value.insert("column".to_owned(), json!(column));
        Some(Value::Object(value))
    };
    let values: Vec<Value> = elements.iter().filter_map(place).collect();
    (!values.is_empty()).then(|| json!({ "values": values, "rowCount": 2, "columnCount": 2 }))
}

/// A door that is locked says nothing of open or closed, and the other way round: that half is null, as
/// it is in Smartcar's own signals.
fn opening(element: &Value, locks: bool) -> Option<Map<String, Value>> {
    let (is_open, is_locked) = match word(element, "status")? {
        "OPEN" => (Some(true), None),
        "CLOSED" => (Some(false), None),
        "LOCKED" => (None, Some(true)),
        "UNLOCKED" => (None, Some(false)),
        _ => return None,
    };
    let mut map = Map::new();
    map.insert("isOpen".to_owned(), json!(is_open));
    if locks {
        map.insert("isLocked".to_owned(), json!(is_locked));
    }
    (locks || is_open.is_some()).then_some(map)
}

/// Pages write ids of systems with and without the first word.
fn is_same_system(said: &str, id: &str) -> bool {
    let bare = |text: &str| text.to_ascii_uppercase().trim_start_matches("SYSTEM").replace('_', "");
    bare(said) == bare(id)
}

fn word<'a>(element: &'a Value, field: &str) -> Option<&'a str> {
    element.get(field)?.as_str()
}

pub(super) fn number(value: &Value) -> Option<Value> {
    value.is_number().then(|| value.clone())
}

/// Times `factor`, to six places: 0.58 is to become 58 and not 57.99999999999999.
pub(super) fn scaled(value: &Value, factor: f64) -> Option<Value> {
    let exact = value.as_f64()? * factor;
    let rounded = (exact * 1e6).round() / 1e6;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number far below 2^53")]
    if rounded.fract() == 0.0 && rounded.abs() < 1e15 {
        return Some(json!(rounded as i64));
    }
    rounded.is_finite().then(|| json!(rounded))
}

pub(super) const KM_PER_MILE: f64 = 1.609_344;
pub(super) const LITRES_PER_GALLON: f64 = 3.785_411_784;
pub(super) const KPA_PER_PSI: f64 = 6.894_757_293;

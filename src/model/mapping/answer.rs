//! From stored signals back to the bodies of endpoints.

use serde_json::{Map, Value, json};

use super::shape::{CORNERS, KM_PER_MILE, KPA_PER_PSI, LITRES_PER_GALLON, number, scaled};
use super::{Endpoint, Quantity, Shape, service, units};

/// Finds the body of a signal by its code.
pub type Stored<'a> = dyn Fn(&str) -> Option<Value> + 'a;

impl Endpoint {
    /// The body that the stored signals make, in the unit system that is asked for; `None` if there is none of them.
    /// What is not stored is null, or an empty list.
    pub fn answer(&self, stored: &Stored<'_>, imperial: bool) -> Option<Value> {
        let mut body = Map::new();
        for signal in self.signals {
            let Some(told) = stored(signal.code).map(|told| units::whole_percent(signal.code, told, stored)) else { continue };
            if signal.shape == Shape::Records {
                return service::answer(&told, imperial);
            }
            signal.shape.answer(&told, imperial, &mut body);
        }
        if body.is_empty() {
            return None;
        }
        for signal in self.signals {
            signal.shape.fill_blank(&mut body);
        }
        Some(Value::Object(body))
    }
}

impl Shape {
    /// Puts what a signal says into the body of the endpoint.
    fn answer(self, told: &Value, imperial: bool, body: &mut Map<String, Value>) {
        match self {
            Shape::Value { field, quantity } => put(body, field, quantity.answer(told, imperial)),
            Shape::Equals { field, word } => match (told["value"].as_bool(), body.get(field).and_then(Value::as_str)) {
                (Some(true), _) => put(body, field, Some(word.into())),
                // Both may be told at different times; "not" is nearer than a word that says the contrary.
                (Some(false), said) if said.is_none_or(|said| said == word) => {
                    put(body, field, Some(format!("NOT_{word}").into()));
                }
                _ => {}
            },
            Shape::Capacity => put(body, "capacity", told.get("capacity").and_then(number)),
            Shape::NominalCapacity => {
                let nominal = told.get("capacity").and_then(number);
                let source = told["source"].as_str().unwrap_or("SMARTCAR");
                let capacity = nominal.map(|nominal| json!({ "nominal": nominal, "source": source }));
                let available = told.get("availableCapacities").filter(|list| list.is_array()).cloned();
                body.insert("availableCapacities".to_owned(), available.unwrap_or_else(|| json!([])));
                body.insert("capacity".to_owned(), capacity.into());
                body.insert("url".to_owned(), Value::Null);
            }
            Shape::ChargeLimit => {
                let limits = told["values"].as_array().map(Vec::as_slice).unwrap_or_default();
                let global = limits.iter().find(|limit| limit["type"] == "GLOBAL").or(limits.first());
                let limit = told.get("activeLimit").filter(|limit| limit.is_number()).or(global.map(|limit| &limit["limit"]));
                put(body, "limit", limit.and_then(|limit| scaled(limit, 0.01)));
            }
            Shape::Position => {
                if let (Some(latitude), Some(longitude)) = (number(&told["latitude"]), number(&told["longitude"])) {
                    body.extend([("latitude".to_owned(), latitude), ("longitude".to_owned(), longitude)]);
                }
            }
            Shape::Tires => {
                let per_asked = if imperial { KPA_PER_PSI } else { 1.0 };
                let factor = units::metric(told.get("unit")) / per_asked;
                for wheel in told["values"].as_array().into_iter().flatten() {
                    if let Some(corner) = corner(wheel) {
                        put(body, corner, scaled(&wheel["tirePressure"], factor));
                    }
                }
            }
            Shape::Openings { field, locks } => {
                for part in told["values"].as_array().into_iter().flatten() {
                    if let Some(corner) = corner(part) {
                        let word = match status(part, locks) {
                            "UNKNOWN" => status(part, !locks),
                            word => word,
                        };
                        push(body, field, json!({ "type": corner, "status": word }));
                    }
                }
            }
            Shape::Opening { field, kind, .. } => {
                let word = match status(told, false) {
                    "UNKNOWN" => status(told, true),
                    word => word,
                };
                push(body, field, json!({ "type": kind.unwrap_or(field), "status": word }));
            }
            Shape::Flap { field } => {
                push(body, field, json!({ "type": field, "status": status(&json!({ "isOpen": told["value"] }), false) }));
            }
            Shape::System { id } => {
                if told["status"].is_string() {
                    let system = json!({ "systemId": id, "status": told["status"], "description": told.get("description") });
                    push(body, "systems", system);
                }
            }
            Shape::TroubleCodes => put(body, "activeCodes", told.get("values").filter(|codes| codes.is_array()).cloned()),
            // The body is no object: see `Endpoint::answer`.
            Shape::Records => {}
        }
    }

    /// Puts null or an empty list where nothing was told.
    fn fill_blank(self, body: &mut Map<String, Value>) {
        match self {
            Shape::Value { field, .. } | Shape::Equals { field, .. } => {
                body.entry(field).or_insert(Value::Null);
            }
            Shape::Openings { field, .. } | Shape::Opening { field, .. } | Shape::Flap { field } => {
                body.entry(field).or_insert_with(|| json!([]));
            }
            Shape::Tires => {
                for (corner, ..) in CORNERS {
                    body.entry(corner).or_insert(Value::Null);
                }
            }
            _ => {}
        }
    }
}

impl Quantity {
    fn answer(self, told: &Value, imperial: bool) -> Option<Value> {
        let value = told.get("value").filter(|value| !value.is_null())?;
        let per_asked = match self {
            Quantity::Plain => return Some(value.clone()),
            Quantity::Percent => return scaled(value, 0.01),
            Quantity::Distance if imperial => KM_PER_MILE,
            Quantity::Volume if imperial => LITRES_PER_GALLON,
            Quantity::Distance | Quantity::Volume => 1.0,
        };
        scaled(value, units::metric(told.get("unit")) / per_asked)
    }
}

fn put(body: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    if let Some(value) = value {
        body.insert(field.to_owned(), value);
    }
}

fn push(body: &mut Map<String, Value>, field: &str, item: Value) {
    let list = body.entry(field).or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut() {
        list.push(item);
    }
}

/// What the endpoint calls the corner of a part.
fn corner(part: &Value) -> Option<&'static str> {
    let (row, column) = (part["row"].as_u64()?, part["column"].as_u64()?);
    CORNERS
        .iter()
        .find(|(_, own_row, own_column)| (u64::from(*own_row), u64::from(*own_column)) == (row, column))
        .map(|(corner, ..)| *corner)
}

fn status(part: &Value, locks: bool) -> &'static str {
    match (locks, part["isOpen"].as_bool(), part["isLocked"].as_bool()) {
        (true, _, Some(true)) => "LOCKED",
        (true, _, Some(false)) => "UNLOCKED",
        (false, Some(true), _) => "OPEN",
        (false, Some(false), _) => "CLOSED",
        _ => "UNKNOWN",
    }
}

//! A piece of JSON kept as it was received.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::lenient;

/// A JSON value as its text, so that what Smartcar sent comes out again to the letter.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// The JSON `null`.
    pub fn null() -> Json {
        Json("null".to_owned())
    }

    /// Prints a value.
    pub fn of(value: &serde_json::Value) -> Json {
        Json(value.to_string())
    }

    /// What was received: as it is if it is JSON, else as a JSON text with unreadable bytes replaced. So
    /// is what is nested deeper than any event: not every reader of ours could follow.
    pub fn received(bytes: &[u8]) -> Json {
        match serde_json::from_slice::<&RawValue>(bytes) {
            Ok(raw) if !lenient::is_too_deep(raw.get()) => Json(raw.get().to_owned()),
            _ => Json::of(&serde_json::Value::String(String::from_utf8_lossy(bytes).into_owned())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value; `null` if the text is not JSON, which cannot happen to what was received as JSON.
    pub fn value(&self) -> serde_json::Value {
        serde_json::from_str(&self.0).unwrap_or(serde_json::Value::Null)
    }

    /// Whether both say the same, whatever the order of keys and the white space.
    pub fn same_as(&self, other: &Json) -> bool {
        self.0 == other.0 || self.value() == other.value()
    }
}

/// A body may be a location: its text stays out of logs.
impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.0.len())
    }
}

impl From<Box<RawValue>> for Json {
    fn from(raw: Box<RawValue>) -> Json {
        Json(raw.get().to_owned())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            let raw = RawValue::from_string(self.0.clone()).map_err(serde::ser::Error::custom)?;
            raw.serialize(serializer)
        } else {
            serializer.serialize_str(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        if deserializer.is_human_readable() {
            Box::<RawValue>::deserialize(deserializer).map(Json::from)
        } else {
            String::deserialize(deserializer).map(Json)
        }
    }
}

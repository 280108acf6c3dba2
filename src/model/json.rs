//! A piece of JSON kept as it was received.

use std::fmt;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::lenient;

/// A JSON value as its text, so that what Smartcar sent comes out again to the letter. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Arc<str>);

impl Json {
    /// The JSON `null`.
    pub fn null() -> Json {
        Json("null".into())
    }

    /// Prints a value.
    pub fn of(value: &Value) -> Json {
        Json(value.to_string().into())
    }

    /// What was received: as it is if it is JSON, else as a JSON text with unreadable bytes replaced. So
    /// is what is nested deeper than any event: not every reader of ours could follow.
    pub fn received(bytes: &[u8]) -> Json {
        match serde_json::from_slice::<&RawValue>(bytes) {
            Ok(raw) if !lenient::is_too_deep(raw.get()) => Json(raw.get().into()),
            _ => Json::of(&Value::String(String::from_utf8_lossy(bytes).into_owned())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value; `null` if the text is not JSON, which cannot happen to what was received as JSON.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }

    /// Whether both say the same, whatever the order of keys and the white space.
    pub fn same_as(&self, other: &Json) -> bool {
        self.0 == other.0 || !differ_in_a_number(&self.0, &other.0) && self.value() == other.value()
    }
}

/// Whether the first difference of two texts is that of two numbers, or of true and false, in the same place: so most
/// readings differ, and need not be read for it. Where a key stands twice, the one that does not count may differ.
fn differ_in_a_number(one: &str, other: &str) -> bool {
    let alike = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    let bare = |text: &str| {
        let begin = text.as_bytes()[..alike].iter().rposition(|byte| *byte == b':')? + 1;
        let rest = &text[begin..];
        let length = rest.find([',', '}']).filter(|length| begin + length >= alike)?;
        serde_json::from_str::<Value>(&rest[..length]).ok().filter(|value| value.is_number() || value.is_boolean())
    };
    matches!((bare(one), bare(other)), (Some(one), Some(other)) if one != other)
}

/// A body may be a location: its text stays out of logs.
impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.0.len())
    }
}

impl From<&RawValue> for Json {
    fn from(raw: &RawValue) -> Json {
        Json(raw.get().into())
    }
}

impl From<Box<RawValue>> for Json {
    fn from(raw: Box<RawValue>) -> Json {
        Json(Box::<str>::from(raw).into())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serde_json::from_str::<&RawValue>(&self.0).map_err(serde::ser::Error::custom)?.serialize(serializer)
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
            deserializer.deserialize_str(Text)
        }
    }
}

/// Takes a text over from where it was read, without a copy between.
struct Text;

impl Visitor<'_> for Text {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value as text")
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::lenient::tests::any_json;

    fn same(one: &str, other: &str) -> bool {
        Json(one.into()).same_as(&Json(other.into()))
    }

    #[test]
    fn what_says_the_same_is_the_same() {
        for (one, other) in [
            (r#"{"value":1.5,"unit":"km"}"#, r#"{"unit":"km","value":1.50}"#),
            (r#"{"value":1.5}"#, r#"{"value":15e-1}"#),
            (r#"{"a":[1,2],"b":1}"#, r#"{"a": [1, 2], "b": 1 }"#),
            (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#),
        ] {
            assert!(same(one, other) && same(other, one), "{one} {other}");
        }
        for (one, other) in [
            (r#"{"value":1,"unit":"km"}"#, r#"{"value":12,"unit":"km"}"#),
            (r#"{"value":true}"#, r#"{"value":false}"#),
            (r#"{"value":1}"#, r#"{"value":null}"#),
            (r#"{"at":"10:20"}"#, r#"{"at":"10:30"}"#),
            (r#"{"a":[1,2]}"#, r#"{"a":[1,3]}"#),
            ("{\"\u{e8}\":1}", "{\"\u{e9}\":1}"),
            ("", r#"{"value":1}"#),
        ] {
            assert!(!same(one, other) && !same(other, one), "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn a_glance_tells_what_reading_tells(one in any_json(), place: prop::sample::Index, digit in "[0-9]") {
            // One digit of it is another, most often one of a number.
            let digits: Vec<usize> = one.match_indices(|c: char| c.is_ascii_digit()).map(|(at, _)| at).collect();
            prop_assume!(!digits.is_empty());
            let at = *place.get(&digits);
            let mut other = one.clone();
            other.replace_range(at..=at, &digit);
            let [one, other] = [Json(one.into()), Json(other.into())];
            prop_assert_eq!(one.same_as(&other), one.value() == other.value());
        }

        #[test]
        fn a_glance_tells_what_reading_tells_of_one_number(before in ".{0,3}", one: f64, other in -3..3_i32, after in "[,}: a-c]{0,3}") {
            let text = |number: String| Json(serde_json::json!({ "a": before, "b": 0, "c": after }).to_string().replace(":0", &format!(":{number}")).into());
            let [one, other, third] = [one.to_string(), other.to_string(), format!("{other}.0")].map(text);
            prop_assert_eq!(one.same_as(&other), one.value() == other.value());
            prop_assert_eq!(third.same_as(&other), third.value() == other.value());
        }
    }
}

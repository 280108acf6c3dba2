//! Reading what may have any shape: a field of an unexpected type is as good as missing.
//!
//! Smartcar's payloads vary by age and page of the documentation (ids that are null, objects where
//! arrays were, times as numbers or text). These helpers keep one odd field from spoiling the rest:
//! whatever well-formed JSON stands in the field, they do not fail. They are for
//! `#[serde(default, deserialize_with = "..")]` and work on JSON text in memory only
//! (`serde_json::from_slice`, `from_str`), since they look at a value as text first.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Json, Timestamp};

/// A text; an empty one is as good as missing, too.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    raw(deserializer).map(text_of)
}

/// An integer, also as a float without a fraction or as a text.
pub fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    raw(deserializer).map(|value| integer_of(bare(value).as_deref().unwrap_or_else(|| value.get())))
}

/// A time: seconds or milliseconds since 1970, or text of RFC 3339. 0 means unknown.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    raw(deserializer).map(|value| time_of(bare(value).as_deref().unwrap_or_else(|| value.get())))
}

/// Any value but null, kept to the letter.
pub fn json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    raw(deserializer).map(|value| Some(Json::from(value.to_owned())).filter(|json| json.as_str() != "null"))
}

/// A map that fits `T`; else the default of `T`.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    raw(deserializer).map(|value| object_of(value).unwrap_or_default())
}

/// The elements of a list that are maps and fit `T`.
pub fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    values(deserializer).map(|values| values.into_iter().filter_map(object_of).collect())
}

/// The elements of a list that are texts; `None` unless it is a list.
pub fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let elements = raw(deserializer).map(elements_of)?;
    Ok(elements.map(|elements| elements.into_iter().filter_map(text_of).collect()))
}

/// The elements of a list, unread; empty unless it is a list.
pub fn values<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<&'de RawValue>, D::Error> {
    raw(deserializer).map(|value| elements_of(value).unwrap_or_default())
}

/// The value, if it is a text and not empty.
pub fn text_of(value: &RawValue) -> Option<String> {
    serde_json::from_str::<String>(value.get()).ok().filter(|text| !text.is_empty())
}

/// The value, if it is a map that fits `T`. Derived code alone would take a list for a map.
pub fn object_of<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    if !value.get().starts_with('{') {
        return None;
    }
    serde_json::from_str(value.get()).ok()
}

/// The elements, if the value is a list.
pub fn elements_of(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

/// An integer in text.
pub fn integer_of(text: &str) -> Option<i64> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<f64>().ok().and_then(whole))
}

/// A time in text: digits are seconds or milliseconds since 1970, anything else must be of RFC 3339, where
/// a missing offset means UTC. 0, negative and absurd times are unknown.
pub fn time_of(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let millis = match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(number), _) if number < FIRST_MILLIS => number.checked_mul(1000)?,
        (Ok(number), _) => number,
        #[expect(clippy::cast_precision_loss, reason = "the bound is exact in both types")]
        (Err(_), Ok(number)) if number < FIRST_MILLIS as f64 => whole((number * 1000.0).round())?,
        (Err(_), Ok(number)) => whole(number.round())?,
        (Err(_), Err(_)) => Timestamp::parse(text).or_else(|| utc(text))?.as_millis(),
    };
    (1..=LAST_MILLIS).contains(&millis).then(|| Timestamp::from_millis(millis))
}

/// How deep maps and lists are nested in a JSON text. For a text that is no JSON it is some number.
pub fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'de RawValue, D::Error> {
    <&RawValue>::deserialize(deserializer)
}

/// What stands between the quotes, if the value is a text.
fn bare(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn whole(number: f64) -> Option<i64> {
    // Doubles hold every integer up to 2^53; NaN is in no range.
    #[expect(clippy::cast_possible_truncation, reason = "checked on the line")]
    ((-9.0e15..=9.0e15).contains(&number) && number.fract() == 0.0).then_some(number as i64)
}

fn utc(text: &str) -> Option<Timestamp> {
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    let time = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(Timestamp::from_millis(time.as_millisecond()))
}

/// Numbers below this are seconds; in milliseconds it is a day of 1973.
const FIRST_MILLIS: i64 = 100_000_000_000;

/// The end of the year 9999.
const LAST_MILLIS: i64 = 253_402_300_799_999;

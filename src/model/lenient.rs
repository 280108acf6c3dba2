//! Reading what may have any shape: a field of an unexpected type is as good as missing.
//!
//! Smartcar's payloads vary by age and page of the documentation (ids that are null, objects where
//! arrays were, times as numbers or text). These helpers keep one odd field from spoiling the rest:
//! whatever well-formed JSON stands in the field, they do not fail. They are for
//! `#[serde(default, deserialize_with = "..")]` and work on JSON text in memory only
//! (`serde_json::from_slice`, `from_str`), since they look at a value as text first.

use std::borrow::Cow;

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
    raw(deserializer).map(|value| Some(value).filter(|value| value.get() != "null").map(Json::from))
}

/// A map that fits `T`; else the default of `T`.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    raw(deserializer).map(|value| object_of(value).unwrap_or_default())
}

/// A map that fits `T`, on the heap; else nothing.
pub fn map<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Box<T>>, D::Error> {
    raw(deserializer).map(|value| object_of(value).map(Box::new))
}

/// The elements of a list that are maps and fit `T`.
pub fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    values(deserializer).map(|values| values.into_iter().filter_map(object_of).collect())
}

/// The elements of a list that are maps and fit `T`; `None` unless it is a list.
pub fn some_list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    let elements = raw(deserializer).map(elements_of)?;
    Ok(elements.map(|elements| elements.into_iter().filter_map(object_of).collect()))
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
    bare(value).filter(|text| !text.is_empty()).map(Cow::into_owned)
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
    // An error is far more work than a look.
    if !value.get().starts_with('[') {
        return None;
    }
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

/// Whether a JSON text is nested deeper than any event of Smartcar's is.
pub fn is_too_deep(text: &str) -> bool {
    // Of most deliveries a glance tells: who opens so little goes no deeper. Counted by the byte, many are at once.
    let openings = |some: &[u8]| some.iter().map(|byte| u8::from(matches!(byte, b'{' | b'['))).sum::<u8>();
    let openings: usize = text.as_bytes().chunks(u8::MAX.into()).map(|some| usize::from(openings(some))).sum();
    openings > DEEPEST && depth(text) > DEEPEST
}

/// How deep maps and lists are nested in a JSON text. For a text that is no JSON it is some number.
fn depth(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut depth, mut deepest, mut at) = (0_usize, 0, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = after_quote(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The place after the quote that ends a text. Most bytes of a document are in texts, and every delivery is looked
/// through.
fn after_quote(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// A whole document of ours to read: JSON, a map outside, not nested too deep.
pub fn document<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    outside('{', bytes)
}

/// The same with a list outside.
pub fn documents<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<Vec<T>> {
    outside('[', bytes)
}

fn outside<'a, T: Deserialize<'a>>(opening: char, bytes: &'a [u8]) -> Option<T> {
    let text = std::str::from_utf8(bytes).ok()?.trim_ascii();
    if is_too_deep(text) || !text.starts_with(opening) {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'de RawValue, D::Error> {
    <&RawValue>::deserialize(deserializer)
}

/// What stands between the quotes, if the value is a text.
fn bare(value: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = value.get();
    let inside = quoted.strip_prefix('"')?.strip_suffix('"')?;
    // Well-formed, so that nothing but a backslash stands for anything else.
    if inside.contains('\\') { serde_json::from_str(quoted).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inside)) }
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

/// The deepest nesting that is read. Real documents have about eight levels; every level of ours costs
/// stack, so nothing deeper may come near the functions above.
const DEEPEST: usize = 64;

/// Numbers below this are seconds; in milliseconds it is a day of 1973.
const FIRST_MILLIS: i64 = 100_000_000_000;

/// The end of the year 9999.
const LAST_MILLIS: i64 = 253_402_300_799_999;

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    /// Any JSON, with the keys and words of Smartcar more often than not.
    pub(crate) fn any_json() -> impl Strategy<Value = String> {
        let word = prop::sample::select(&WORDS[..]).prop_map(str::to_owned);
        let text = prop_oneof![3 => word.clone(), 1 => ".{0,12}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
            Just(json!("2025-10-09T08:53:20.000Z")),
        ];
        let tree = leaf.prop_recursive(7, 60, 6, move |inner| {
            prop_oneof![
                1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                4 => prop::collection::vec((text.clone(), inner), 0..6).prop_map(|map| Value::Object(Map::from_iter(map))),
            ]
        });
        (tree, word).prop_map(|(mut tree, word)| {
            if let Value::Object(map) = &mut tree {
                map.insert("eventType".to_owned(), Value::from(word));
            }
            tree.to_string()
        })
    }

    const WORDS: [&str; 42] = [
        "eventType",
        "eventName",
        "data",
        "payload",
        "meta",
        "vehicle",
        "vehicles",
        "user",
        "id",
        "signals",
        "triggers",
        "errors",
        "status",
        "value",
        "body",
        "code",
        "name",
        "group",
        "type",
        "signal",
        "attributes",
        "relationships",
        "links",
        "next",
        "totalCount",
        "responses",
        "path",
        "headers",
        "paging",
        "count",
        "permissions",
        "error",
        "resolution",
        "url",
        "access_token",
        "expires_in",
        "VEHICLE_STATE",
        "VEHICLE_ERROR",
        "schedule",
        "eventBased",
        "/battery",
        "Group.Name",
    ];

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Probe {
        #[serde(deserialize_with = "text")]
        text: Option<String>,
        #[serde(deserialize_with = "integer")]
        integer: Option<i64>,
        #[serde(deserialize_with = "time")]
        time: Option<Timestamp>,
        #[serde(deserialize_with = "json")]
        json: Option<Json>,
        #[serde(deserialize_with = "object")]
        object: BTreeMap<String, i64>,
        #[serde(deserialize_with = "map")]
        map: Option<Box<Probe>>,
        #[serde(deserialize_with = "list")]
        list: Vec<Probe>,
        #[serde(deserialize_with = "texts")]
        texts: Option<Vec<String>>,
    }

    #[test]
    fn a_fitting_field_is_read() {
        let probe: Probe = serde_json::from_str(
            r#"{"text":"a","integer":7.0,"time":1760000000,"json":{"b": 1.0},"object":{"c":3},"map":{"text":"d"},
                "list":[{"text":"e"},["f"],7,null],"texts":["g",null,""]}"#,
        )
        .unwrap();
        let inner = |word: &str| Probe { text: Some(word.to_owned()), ..Probe::default() };
        assert_eq!(
            probe,
            Probe {
                text: Some("a".to_owned()),
                integer: Some(7),
                time: Some(Timestamp::from_millis(1_760_000_000_000)),
                json: serde_json::from_str(r#"{"b": 1.0}"#).ok(),
                object: BTreeMap::from([("c".to_owned(), 3)]),
                map: Some(Box::new(inner("d"))),
                list: vec![inner("e")],
                texts: Some(vec!["g".to_owned()]),
            }
        );
        assert_eq!(probe.json.unwrap().as_str(), r#"{"b": 1.0}"#);
    }

    #[test]
    fn times_in_all_forms() {
        let time = Some(Timestamp::from_millis(1_760_000_000_000));
        for good in [
            "1760000000000",
            "1760000000",
            "1760000000.0",
            "1.76e12",
            "2025-10-09T08:53:20Z",
            "2025-10-09T10:53:20.000+02:00",
            "2025-10-09T08:53:20",
            " 2025-10-09 08:53:20 ",
        ] {
            assert_eq!(time_of(good), time, "{good}");
        }
        assert_eq!(time_of("1760000000.25"), Some(Timestamp::from_millis(1_760_000_000_250)));
        for bad in [
            "",
            "0",
            "-5",
            "0.0",
            "null",
            "true",
            "soon",
            "1e300",
            "-1e300",
            "NaN",
            "inf",
            "1e999",
            "9223372036854775807",
            "-9223372036854775808",
            "0001-01-01T00:00:00Z",
            "2025-13-09T08:53:20Z",
            "[]",
            "{}",
            "99999999999999999999999",
        ] {
            assert_eq!(time_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn deep_documents_are_refused() {
        let deep = |levels: usize| format!(r#"{{"map":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(document::<Probe>(deep(60).as_bytes()).is_some());
        assert!(document::<Probe>(deep(64).as_bytes()).is_none());
        assert!(document::<Probe>(deep(500_000).as_bytes()).is_none());
        assert!(document::<Probe>(br#"["a"]"#).is_none());
        assert_eq!(depth(r#"{"a\"[[":"\\","b":[{}]}"#), 3);
    }

    proptest! {
        #[test]
        fn no_value_spoils_the_rest(value in any_json()) {
            let fields = ["text", "integer", "time", "json", "object", "map", "list", "texts"];
            let body: Vec<String> = fields.iter().map(|field| format!("{field:?}:{value}")).collect();
            let read = serde_json::from_str::<Probe>(&format!("{{{}}}", body.join(",")));
            prop_assert!(read.is_ok());
        }

        #[test]
        fn no_text_is_a_time_that_cannot_be_said(text in ".{0,30}", number in any::<f64>()) {
            for time in [time_of(&text), time_of(&number.to_string())].into_iter().flatten() {
                prop_assert!(time.as_millis() > 0 && !time.to_string().ends_with("ms"));
            }
        }
    }
}

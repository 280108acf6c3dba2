//! What an answer must be, told by example: every value as it stands there, or a pattern in angle brackets.
//!
//! - `<uuid>`, `<time>` (RFC 3339), `<vin>` (of a test car), `<permission>`, `<text>` (not empty), `<null>`
//! - `<0.3..0.8>`: a number from one to the other; any other word stands for itself; `|` is between alternatives
//! - a list of one example stands for a list of any length but none
//! - a field whose name ends in `?` may be missing; no other field may, and none may be one too many

use carport::model::Timestamp;
use serde_json::Value;

/// Where `answer` is not what `wanted` says; empty when it is.
pub(super) fn differences(wanted: &Value, answer: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", wanted, answer, &mut found);
    found
}

fn compare(at: &str, wanted: &Value, answer: &Value, found: &mut Vec<String>) {
    match (wanted, answer) {
        (Value::Object(wanted), Value::Object(answer)) => {
            for (name, value) in wanted {
                let (name, optional) = name.strip_suffix('?').map_or((name.as_str(), false), |name| (name, true));
                match answer.get(name) {
                    Some(given) => compare(&format!("{at}/{name}"), value, given, found),
                    None if optional => {}
                    None => found.push(format!("{at}/{name} is missing")),
                }
            }
            let known = |name: &String| wanted.contains_key(name) || wanted.contains_key(&format!("{name}?"));
            found.extend(answer.keys().filter(|name| !known(name)).map(|name| format!("{at}/{name} is one too many")));
        }
        (Value::Array(wanted), Value::Array(answer)) if wanted.len() == answer.len() || wanted.len() == 1 => {
            if answer.is_empty() && !wanted.is_empty() {
                found.push(format!("{at} is empty"));
            }
            for (place, item) in answer.iter().enumerate() {
                let example = wanted.get(place).unwrap_or(&wanted[0]);
                compare(&format!("{at}/{place}"), example, item, found);
            }
        }
        (Value::String(pattern), _) if pattern.starts_with('<') && pattern.ends_with('>') => {
            if !pattern[1..pattern.len() - 1].split('|').any(|word| fits(word, answer)) {
                found.push(format!("{at} is {answer}, not {pattern}"));
            }
        }
        (Value::Number(wanted), Value::Number(answer)) if wanted.as_f64() == answer.as_f64() => {}
        (wanted, answer) if wanted == answer => {}
        _ => found.push(format!("{at} is {answer}, not {wanted}")),
    }
}

fn fits(word: &str, value: &Value) -> bool {
    if let Some((low, high)) = word.split_once("..") {
        let (low, high): (f64, f64) = (low.parse().unwrap(), high.parse().unwrap());
        return value.as_f64().is_some_and(|number| (low..=high).contains(&number));
    }
    if word == "null" {
        return value.is_null();
    }
    let Some(text) = value.as_str() else { return false };
    match word {
        "uuid" => uuid::Uuid::try_parse(text).is_ok(),
        "time" => Timestamp::parse(text).is_some(),
        "vin" => text.len() == 17 && text.starts_with("0SC"),
        "permission" => text.starts_with("read_") || text.starts_with("control_"),
        "text" => !text.is_empty(),
        word => text == word,
    }
}

#[test]
fn an_example_can_fail() {
    let told = |wanted: &str, answer: &str| {
        differences(&serde_json::from_str(wanted).unwrap(), &serde_json::from_str(answer).unwrap()).len()
    };
    for (wanted, answer) in [
        (r#"{"a":"<0..1>","b":[{"c":"<uuid>"}],"d?":1}"#, r#"{"a":0.3,"b":[{"c":"36ab27d0-fd9d-4455-823a-ce30af709ffc"}]}"#),
        (r#"["<text|null>"]"#, r#"[null,"x"]"#),
        (r#"{"a":[],"b":1.0}"#, r#"{"a":[],"b":1}"#),
    ] {
        assert_eq!(told(wanted, answer), 0, "{wanted} {answer}");
    }
    for (wanted, answer) in [
        (r#"{"a":"<0..1>"}"#, r#"{"a":64}"#),
        (r#"{"a":["<text>"]}"#, r#"{"a":[]}"#),
        (r#"{"a":[]}"#, r#"{"a":[1]}"#),
        (r#"{"a":1}"#, r#"{"a":null}"#),
        (r#"{"a":null}"#, r#"{"a":1}"#),
        (r#"{"a":"<uuid>"}"#, r#"{"a":"x"}"#),
        ("{}", r#"{"a":1}"#),
        (r#"{"a":1}"#, "{}"),
        (r#""x""#, r#""y""#),
    ] {
        assert_eq!(told(wanted, answer), 1, "{wanted} {answer}");
    }
}

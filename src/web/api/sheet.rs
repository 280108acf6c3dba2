//! Tables for spreadsheets: RFC 4180, a head, CRLF, quotes where needed.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use crate::model::Timestamp;
use crate::vehicles::{HistoryView, RollupView, Whose};

/// The head of changes.
pub(super) const CHANGES: &str = "signal,at,value,unit,oem_updated_at,retrieved_at,source,body\r\n";

/// The head of an export.
pub(super) const EXPORT: &str = "vehicle,signal,at,value,unit,oem_updated_at,retrieved_at,source,body,user\r\n";

/// The head of roll-ups.
pub(super) const ROLLUPS: &str = "signal,at,count,min,max,mean,first,last,unit\r\n";

/// The head of charging sessions: the fields of one.
pub(super) const CHARGES: &str =
    "started_at,start_seen,ended_at,state,ended_before,last_seen_at,duration_s,start_level,end_level,energy,energy_from\r\n";

/// The head of days of driving: the fields of one.
pub(super) const TRIPS: &str = "date,distance,unit,start_odometer,end_odometer,first_at,last_at,unsure_distance,unsure_since\r\n";

/// A line of changes; of an export, between the vehicle and its user.
pub(super) fn change(out: &mut String, whose: Option<&Whose>, row: &HistoryView) {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let value = text(&row.value);
    let cells = [
        &row.signal,
        &row.at.to_string(),
        &value,
        row.unit.as_deref().unwrap_or_default(),
        &time(row.oem_updated_at),
        &time(row.retrieved_at),
        row.source.as_str(),
        row.body.as_str(),
    ];
    let (vehicle, user) = whose.map(|whose| (whose.vehicle.as_str(), whose.user.as_str())).unzip();
    line(out, vehicle.into_iter().chain(cells).chain(user));
}

/// A line of roll-ups.
pub(super) fn rollup(out: &mut String, row: &RollupView) {
    let numbers = [row.min, row.max, row.mean, row.first, row.last].map(|number| number.to_string());
    let (at, count) = (row.at.to_string(), row.count.to_string());
    let [min, max, mean, first, last] = &numbers;
    line(out, [&row.signal, &at, &count, min, max, mean, first, last, row.unit.unwrap_or_default()].into_iter());
}

/// A line of what follows from signals: the fields that the head names.
pub(super) fn derived(out: &mut String, head: &str, row: &impl Serialize) {
    let row = serde_json::to_value(row).unwrap_or_default();
    let cells: Vec<String> = head.trim_end().split(',').map(|name| text(&row[name])).collect();
    line(out, cells.iter().map(String::as_str));
}

/// A value as it stands in a cell.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The last line of a table of this head that is not whole: a sentence, and as many cells as in any other.
pub(super) fn left_out(head: &str, sentence: &str) -> String {
    let mut out = String::new();
    line(&mut out, std::iter::once(sentence).chain(head.split(',').skip(1).map(|_| "")));
    out
}

fn line<'a>(out: &mut String, cells: impl Iterator<Item = &'a str>) {
    for (place, text) in cells.enumerate() {
        if place > 0 {
            out.push(',');
        }
        out.push_str(&cell(text));
    }
    out.push_str("\r\n");
}

/// One cell. Spreadsheets run what begins like a formula, so such a text is led by an apostrophe;
/// a negative number is a number.
fn cell(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    let text: Cow<'_, str> = if is_formula { format!("'{text}").into() } else { text.into() };
    if text.contains(['"', ',', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Json;
    use crate::model::reading::Source;

    #[test]
    fn cells_are_quoted_and_harmless() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+cmd|x", "'+cmd|x"),
            ("-5.5", "-5.5"),
            ("-5+cmd", "'-5+cmd"),
            ("\t=1", "'\t=1"),
            ("=\"a\"", "\"'=\"\"a\"\"\""),
            ("", ""),
        ] {
            assert_eq!(cell(text), expected, "{text}");
        }
    }

    #[test]
    fn a_table_has_a_line_a_reading() {
        let row = HistoryView {
            signal: "tractionbattery-stateofcharge".to_owned(),
            value: json!(80),
            unit: Some("%".to_owned()),
            body: Json::of(&json!({ "unit": "percent", "value": 80 })),
            at: Timestamp::from_millis(0),
            oem_updated_at: None,
            retrieved_at: Some(Timestamp::from_millis(1)),
            source: Source::Webhook,
        };
        let mut table = CHANGES.to_owned();
        change(&mut table, None, &row);
        assert_eq!(
            table,
            "signal,at,value,unit,oem_updated_at,retrieved_at,source,body\r\n\
             tractionbattery-stateofcharge,1970-01-01T00:00:00.000Z,80,%,,1970-01-01T00:00:00.001Z,webhook,\
             \"{\"\"unit\"\":\"\"percent\"\",\"\"value\"\":80}\"\r\n"
        );
    }
}

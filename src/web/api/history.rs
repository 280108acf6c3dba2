//! Changes of signals, as JSON or as a table for spreadsheets.

use std::borrow::Cow;

use http::header::{CONTENT_DISPOSITION, HeaderName};
use http::{HeaderValue, StatusCode};

use super::super::Call;
use super::super::answer::{self, Answer};
use super::super::problem::Problem;
use super::vehicles::id;
use crate::model::reach::Page;
use crate::model::reading::Source;
use crate::vehicles::{HistoryQuery, HistoryView};

/// `GET vehicles/{id}/history?signal=&since=&until=&limit=&cursor=&format=json|csv`
pub(in crate::web) async fn show(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let as_csv = match query.take("format").as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(Problem::bad_request("`format` must be json or csv.")),
    };
    let wanted = HistoryQuery {
        signal: query.take("signal"),
        since: query.time("since")?,
        until: query.time("until")?,
        page: query.page()?,
    };
    query.finish()?;
    let page = call.services.vehicles.history(call.reach()?, &id(call)?, wanted).await?;
    if !as_csv {
        return answer::ok(&page);
    }
    let mut response = answer::text(StatusCode::OK, "text/csv; charset=utf-8", csv(&page));
    let headers = response.headers_mut();
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"history.csv\""));
    if let Some(next) = page.next.and_then(|next| HeaderValue::try_from(next).ok()) {
        headers.insert(NEXT_CURSOR, next);
    }
    Ok(response)
}

/// RFC 4180: a head, CRLF, quotes where needed.
fn csv(page: &Page<HistoryView>) -> String {
    let mut out = String::from("signal,at,value,oem_updated_at,retrieved_at,source\r\n");
    for row in &page.items {
        let time = |time: Option<crate::model::Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        let source = match row.source {
            Source::Webhook => "webhook",
            Source::Read => "read",
        };
        let (at, oem_updated_at, retrieved_at) = (row.at.to_string(), time(row.oem_updated_at), time(row.retrieved_at));
        for (place, text) in
            [row.signal.as_str(), &at, row.body.as_str(), &oem_updated_at, &retrieved_at, source].into_iter().enumerate()
        {
            if place > 0 {
                out.push(',');
            }
            out.push_str(&cell(text));
        }
        out.push_str("\r\n");
    }
    out
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

/// Where the next part of a table begins: a table has no room for it.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Json, Timestamp};

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
    fn a_table_has_a_head_and_a_line_a_reading() {
        let row = HistoryView {
            signal: "tractionbattery-stateofcharge".to_owned(),
            body: Json::of(&json!({ "unit": "percent", "value": 80 })),
            at: Timestamp::from_millis(0),
            oem_updated_at: None,
            retrieved_at: Some(Timestamp::from_millis(1)),
            source: Source::Webhook,
        };
        let table = csv(&Page { items: vec![row], next: None });
        assert_eq!(
            table,
            "signal,at,value,oem_updated_at,retrieved_at,source\r\n\
             tractionbattery-stateofcharge,1970-01-01T00:00:00.000Z,\"{\"\"unit\"\":\"\"percent\"\",\"\"value\"\":80}\",,\
             1970-01-01T00:00:00.001Z,webhook\r\n"
        );
    }
}

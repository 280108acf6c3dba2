//! Reading what a request brings: bodies within their limits, queries, forms and JSON. All of it is
//! strict: what is not known is refused by name, so that a typing mistake is not a silent default.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use super::problem::Problem;
use crate::model::normal::Units;
use crate::model::reach::PageRequest;
use crate::model::{Timestamp, nearest, perhaps, span};

/// The whole body: at most `cap` bytes, within `time`.
pub(super) async fn body<B>(headers: &HeaderMap, body: B, cap: usize, time: Duration) -> Result<Bytes, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Before the first byte: who announces too much is not even told to go on.
    if announced(headers).is_some_and(|length| length > u64::try_from(cap).unwrap_or(u64::MAX)) {
        return Err(Problem::too_large(cap));
    }
    match tokio::time::timeout(time, Limited::new(body, cap).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(cap)),
        Ok(Err(_)) => Err(Problem::broken_body()),
        Err(_) => Err(Problem::too_slow()),
    }
}

/// The length that the head announces.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// User name and password of a line `Basic ...` (RFC 7617).
pub(super) fn basic(line: &str) -> Option<(String, String)> {
    let (scheme, pair) = line.split_once(' ')?;
    let pair = data_encoding::BASE64.decode(pair.trim().as_bytes()).ok()?;
    let (user, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (user.to_owned(), password.to_owned()))
}

/// A strict JSON object. No body at all is an empty object.
pub(super) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    if content_type.is_some_and(|kind| !is_json(kind)) && !body.is_empty() {
        let sentence = "Send JSON, with `Content-Type: application/json`.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", sentence));
    }
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    // serde also reads a struct from an array; an interface that takes both cannot grow.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::bad_request("The body must be a JSON object."));
    }
    serde_json::from_slice(body).map_err(|error| unfit(&error.to_string()))
}

/// What serde says of a body, with the word that was probably meant: after an unknown one it names all that it knows.
fn unfit(said: &str) -> Problem {
    let mut words = said.split('`').skip(1).step_by(2);
    let unknown = words.next().filter(|_| said.starts_with("unknown "));
    let meant = unknown.map_or_else(String::new, |unknown| perhaps(unknown, words));
    Problem::bad_request(format!("The body does not fit: {said}{meant}."))
}

fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// Whether a body says that it is a form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Named values, of a query or a form. Each is taken by its name; what is left at the end is refused.
#[derive(Debug)]
pub(super) struct Fields {
    pairs: Vec<(String, String)>,
    /// The names that were asked for: there are no others.
    known: Vec<String>,
}

impl Fields {
    /// Reads `a=b&c=d`. A name that comes twice is refused: whoever reads it may pick the other.
    pub(super) fn parse(raw: &[u8]) -> Result<Fields, Problem> {
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(raw).map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let mut seen = BTreeSet::new();
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !seen.insert(name)) {
            return Err(Problem::bad_request(format!("`{}` comes twice.", printable(name))));
        }
        Ok(Fields { pairs, known: Vec::new() })
    }

    /// Whether a value is still to be taken.
    pub(super) fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(own, value)| own == name && !value.is_empty())
    }

    /// Takes a value; an empty one counts as missing.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.given(name).filter(|value| !value.is_empty())
    }

    /// Takes a value, be it empty.
    pub(super) fn given(&mut self, name: &str) -> Option<String> {
        self.known.push(name.to_owned());
        let place = self.pairs.iter().position(|(own, _)| own == name)?;
        Some(self.pairs.swap_remove(place).1)
    }

    /// Takes a time.
    fn time(&mut self, name: &str, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
        let wrong = || {
            Problem::bad_request(format!(
                "`{name}` must be a day (UTC) such as 2026-01-31, a time of RFC 3339 such as 2026-01-31T12:00:00Z, or how long ago it \
                 was, such as 30d or 12h."
            ))
        };
        self.take(name).map(|text| Timestamp::written(&text, now).ok_or_else(wrong)).transpose()
    }

    /// Takes `since` and `until`. A period that ends before it begins would be an empty answer.
    pub(super) fn period(&mut self, now: Timestamp) -> Result<(Option<Timestamp>, Option<Timestamp>), Problem> {
        match (self.time("since", now)?, self.time("until", now)?) {
            (Some(since), Some(until)) if since > until => Err(Problem::bad_request(format!(
                "`since` ({since}) is later than `until` ({until}), so there is nothing between them: the other way round, perhaps?"
            ))),
            period => Ok(period),
        }
    }

    /// Takes one of a few words.
    pub(super) fn one_of(&mut self, name: &str, words: &[&'static str]) -> Result<Option<&'static str>, Problem> {
        self.take(name).map(|text| one_of(name, &text, words)).transpose()
    }

    /// Takes `metric` or `imperial`.
    pub(super) fn units(&mut self) -> Result<Option<Units>, Problem> {
        Ok(self.one_of("units", &["metric", "imperial"])?.and_then(Units::parse))
    }

    /// Takes `true` or `false`.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        Ok(self.one_of(name, &["true", "false"])? == Some("true"))
    }

    /// Takes `limit`: 1 to 500, else 50.
    pub(super) fn limit(&mut self) -> Result<usize, Problem> {
        let Some(text) = self.take("limit") else { return Ok(50) };
        let wrong = || Problem::bad_request("`limit` must be a number from 1 to 500.");
        text.parse().ok().filter(|limit| (1..=500).contains(limit)).ok_or_else(wrong)
    }

    /// Takes `limit` and `cursor`.
    pub(super) fn page(&mut self) -> Result<PageRequest, Problem> {
        Ok(PageRequest { limit: self.limit()?, cursor: self.take("cursor") })
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.pairs.first() {
            None => Ok(()),
            Some((name, _)) => Err(unknown(name, &self.known.iter().map(String::as_str).collect::<Vec<_>>())),
        }
    }
}

/// One of a few words; any other is refused with all of them, and the one that was probably meant.
pub(super) fn one_of(name: &str, text: &str, words: &[&'static str]) -> Result<&'static str, Problem> {
    let wrong = || {
        let meant = perhaps(text, words.iter().copied());
        Problem::bad_request(format!("`{name}` must be {}{meant}.", either(words)))
    };
    words.iter().find(|word| **word == text).copied().ok_or_else(wrong)
}

/// A name that nobody asks for, refused with the one that was probably meant, or all that there may be.
pub(super) fn unknown(name: &str, known: &[&str]) -> Problem {
    let instead = match (nearest(name, known.iter().copied()), known) {
        (Some(meant), _) => format!("{meant}, perhaps?"),
        (None, []) => "nothing is asked for.".to_owned(),
        (None, _) => format!("there may be {}.", known.join(", ")),
    };
    Problem::bad_request(format!("`{}` is not known here: {instead}", printable(name)))
}

/// `a`, `a or b`, `a, b or c`.
fn either(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}

/// A name that came from outside, short and in plain characters.
pub(super) fn printable(name: &str) -> String {
    name.chars().take(40).map(|c| if c.is_ascii_graphic() && c != '`' { c } else { '?' }).collect()
}

/// A span of time in JSON: seconds as a number, or `"24h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Seconds(u64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer) {
            Ok(Written::Seconds(seconds)) => format!("{seconds}s"),
            Ok(Written::Text(text)) if text.ends_with(|c: char| c.is_ascii_digit()) => format!("{text}s"),
            Ok(Written::Text(text)) => text,
            Err(_) => String::new(),
        };
        span(&text)
            .filter(|span| !span.is_zero())
            .map(Span)
            .ok_or_else(|| D::Error::custom("a span of time is a number of seconds or a text such as \"24h\" or \"7d\""))
    }
}

/// For `PATCH`: a field that is missing stays as it is, one that is null is taken away.
#[expect(clippy::option_option, reason = "missing, null and a value are three things in a PATCH")]
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(clippy::option_option, reason = "as the real ones")]
    struct Patch {
        #[serde(default, deserialize_with = "present")]
        name: Option<Option<String>>,
        expires_in: Option<Span>,
    }

    fn patch(body: &str) -> Result<Patch, String> {
        json(&HeaderMap::new(), body.as_bytes()).map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn json_is_strict() {
        assert_eq!(patch(""), Ok(Patch { name: None, expires_in: None }));
        assert_eq!(patch(r#"{"name":null}"#).unwrap().name, Some(None));
        assert_eq!(patch(r#"{"name":"x"}"#).unwrap().name, Some(Some("x".to_owned())));
        assert_eq!(patch(r#"{"expires_in":60}"#).unwrap().expires_in, Some(Span(Duration::from_secs(60))));
        assert_eq!(patch(r#"{"expires_in":"90"}"#).unwrap().expires_in, Some(Span(Duration::from_secs(90))));
        assert_eq!(patch(r#"{"expires_in":"24h"}"#).unwrap().expires_in, Some(Span(Duration::from_secs(86_400))));
        let refused = patch(r#"{"nmae":"x"}"#).unwrap_err();
        assert!(refused.contains("unknown field `nmae`, expected `name` or `expires_in`"), "{refused}");
        assert!(refused.contains("(name, perhaps?)"), "{refused}");
        for other in [r#"{"colour":"x"}"#, r#"{"name":1}"#, r#"{"`":1}"#] {
            assert!(!patch(other).unwrap_err().contains("perhaps"), "{other}");
        }
        for body in [
            "[]",
            "null",
            "{",
            r#"{"name":1}"#,
            r#"{"name":"x"} x"#,
            r#"{"expires_in":-1}"#,
            r#"{"expires_in":0}"#,
            r#"{"expires_in":"0d"}"#,
        ] {
            assert!(patch(body).is_err(), "{body}");
        }
        let mut form = HeaderMap::new();
        form.insert(CONTENT_TYPE, "text/plain".parse().unwrap());
        assert_eq!(json::<Patch>(&form, b"{}").unwrap_err().code(), "not_json");
    }

    #[test]
    fn fields_are_strict() {
        let mut fields = Fields::parse(b"limit=7&since=2026-01-31T12%3A00%3A00Z&empty=").unwrap();
        assert_eq!(fields.limit(), Ok(7));
        assert_eq!(fields.period(Timestamp::default()), Ok((Timestamp::parse("2026-01-31T12:00:00Z"), None)));
        assert_eq!(fields.take("empty"), None);
        fields.finish().unwrap();
        assert!(Fields::parse(b"a=1&a=2").is_err());
        assert!(Fields::parse(b"x=1").unwrap().finish().is_err());
        let mut fields = Fields::parse(b"mod=live&kind=liv").unwrap();
        assert_eq!(fields.take("mode"), None);
        let refused = format!("{:?}", fields.one_of("kind", &["live", "simulated"]));
        assert!(refused.contains("`kind` must be live or simulated (live, perhaps?)."), "{refused}");
        let refused = format!("{:?}", fields.finish());
        assert!(refused.contains("`mod` is not known here: mode, perhaps?"), "{refused}");
        for query in ["limit=0", "limit=501", "limit=x", "limit=-1"] {
            assert!(Fields::parse(query.as_bytes()).unwrap().limit().is_err(), "{query}");
        }
        assert_eq!(Fields::parse(b"").unwrap().limit(), Ok(50));
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_keep_to_their_limits() {
        let second = Duration::from_secs(1);
        let none = HeaderMap::new();
        let read = body(&none, Full::new(Bytes::from_static(b"1234")), 4, second).await;
        assert_eq!(read.unwrap(), "1234");
        let read = body(&none, Full::new(Bytes::from_static(b"12345")), 4, second).await;
        assert_eq!(read.unwrap_err().code(), "too_large");
        let mut announced = HeaderMap::new();
        announced.insert(CONTENT_LENGTH, 5.into());
        let never =
            || StreamBody::new(futures_util::stream::pending::<Result<hyper::body::Frame<Bytes>, std::convert::Infallible>>());
        assert_eq!(body(&announced, never(), 4, second).await.unwrap_err().code(), "too_large");
        assert_eq!(body(&none, never(), 4, second).await.unwrap_err().code(), "too_slow");
    }
}

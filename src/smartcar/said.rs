//! What an answer says when it is an error, in whichever of Smartcar's forms.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use serde::Deserialize;

use super::Failure;
use crate::model::lenient;
use crate::model::resolution::Resolution;

/// What a bad answer says, whichever of Smartcar's error forms it has.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) failure: Failure,
    /// The HTTP status; that of the error in the body if the answer pretends to be good.
    pub(super) status: u16,
    pub(super) resolution: Option<String>,
    pub(super) url: Option<String>,
    pub(super) retry_after: Option<Duration>,
    /// OAuth's explanation. Looked at, never handed on.
    pub(super) description: Option<String>,
    /// Whether the body is an error in one of Smartcar's forms.
    pub(super) understood: bool,
}

impl Said {
    pub(super) fn of(endpoint: &'static str, response: &Response<Bytes>) -> Said {
        let Body { error, error_description, errors } = lenient::document(response.body()).unwrap_or_default();
        let own: ErrorWire = lenient::document(response.body()).unwrap_or_default();
        // Resources have a `type` too; only an error has a `statusCode` beside it.
        let good = response.status().is_success();
        let understood = error.is_some() || !errors.is_empty() || own.kind.is_some() && (!good || own.status_code.is_some());
        // The first error of v3's envelope has the fields of v2.0's object.
        let own = errors.into_iter().next().unwrap_or(own);
        let said = Said { description: error_description, understood, ..Said::from(endpoint, response, own) };
        let kind = said.failure.kind.clone().or_else(|| error.and_then(word));
        Said { failure: Failure { kind, ..said.failure }, ..said }
    }

    /// What an error says that stands deeper in the body of an answer.
    pub(super) fn within(endpoint: &'static str, response: &Response<Bytes>, error: &serde_json::Value) -> Said {
        Said::from(endpoint, response, lenient::document(error.to_string().as_bytes()).unwrap_or_default())
    }

    /// What a part of a batch says that was refused.
    pub(super) fn of_part(failure: Failure, status: u16, retry_after: Option<Duration>) -> Said {
        Said { failure, status, resolution: None, url: None, retry_after, description: None, understood: true }
    }

    fn from(endpoint: &'static str, response: &Response<Bytes>, own: ErrorWire) -> Said {
        let good = response.status().is_success();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let status = response.status().as_u16();
        let request_id = own.request_id.or(own.meta.debug.request_id);
        let Resolution { kind: resolution, url } = own.resolution;
        Said {
            failure: Failure {
                endpoint,
                status: Some(status),
                kind: own.kind.and_then(word),
                code: own.code.and_then(word),
                request_id: request_id.and_then(id).or_else(|| header("sc-request-id").map(str::to_owned).and_then(id)),
                may_have_acted: false,
                note: None,
            },
            status: match own.status.or(own.status_code).and_then(|status| u16::try_from(status).ok()) {
                Some(inner) if good => inner,
                _ => status,
            },
            resolution,
            url: url.filter(|url| url.len() <= 2048 && (url.starts_with("https://") || url.starts_with("http://"))),
            retry_after: header("retry-after").and_then(|after| retry_after(after, header("date"))),
            description: None,
            understood: true,
        }
    }

    /// Whether the body is an error, whatever the status.
    pub(super) fn is_error(&self) -> bool {
        self.understood
    }
}

/// Seconds or an HTTP date, at most an hour. A date counts from the answer's own `Date`, which spares us
/// from comparing two clocks.
pub(super) fn retry_after(text: &str, date: Option<&str>) -> Option<Duration> {
    let text = text.trim();
    let seconds = if let Ok(seconds) = text.parse::<f64>() {
        seconds
    } else {
        let parser = jiff::fmt::rfc2822::DateTimeParser::new();
        let until = parser.parse_timestamp(text).ok()?;
        let from = parser.parse_timestamp(date?.trim()).ok()?;
        until.duration_since(from).as_secs_f64()
    };
    (!seconds.is_nan()).then(|| Duration::from_secs_f64(seconds.clamp(0.0, 3600.0)))
}

/// One of Smartcar's words. Anything else might be a value and stays out of errors and logs; with digits
/// it might be a VIN.
pub(super) fn word(text: String) -> Option<Box<str>> {
    let plain = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-');
    ((1..=64).contains(&text.len()) && text.bytes().all(plain)).then(|| text.into())
}

fn id(text: String) -> Option<Box<str>> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    ((1..=64).contains(&text.len()) && text.bytes().all(plain)).then(|| text.into())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    /// OAuth's form, and that of v1.
    #[serde(deserialize_with = "lenient::text")]
    error: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    error_description: Option<String>,
    /// v3's form.
    #[serde(deserialize_with = "lenient::list")]
    errors: Vec<ErrorWire>,
}

/// v2.0's form, and one element of v3's.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ErrorWire {
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    kind: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    code: Option<String>,
    #[serde(deserialize_with = "lenient::integer")]
    status: Option<i64>,
    #[serde(deserialize_with = "lenient::integer")]
    status_code: Option<i64>,
    #[serde(deserialize_with = "lenient::text")]
    request_id: Option<String>,
    resolution: Resolution,
    #[serde(deserialize_with = "lenient::object")]
    meta: Meta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    #[serde(deserialize_with = "lenient::object")]
    debug: Debugging,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Debugging {
    #[serde(deserialize_with = "lenient::text")]
    request_id: Option<String>,
}

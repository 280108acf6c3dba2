//! What an answer means.
//!
//! Smartcar uses 400 for "the owner must act", 430 for the bill and 409 for a car asleep, so its words
//! (`type`, `code`, `resolution`) decide first and the status only where they are silent. A token is
//! never declared dead on a guess: that takes the very words of OAuth.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::call::Audience;
use super::grant::EXCHANGE;
use super::{Failure, SmartcarError};
use crate::model::lenient;
use crate::world::TransportError;

/// What a bad answer says, whichever of Smartcar's error forms it has.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) failure: Failure,
    /// The HTTP status; that of the error in the body if the answer pretends to be good.
    status: u16,
    resolution: Option<String>,
    url: Option<String>,
    retry_after: Option<Duration>,
    /// OAuth's explanation. Looked at, never handed on.
    description: Option<String>,
    /// Whether the body is an error in one of Smartcar's forms.
    understood: bool,
}

impl Said {
    pub(super) fn of(endpoint: &'static str, response: &Response<Bytes>) -> Said {
        let Body { error, error_description, errors } = lenient::document(response.body()).unwrap_or_default();
        let own: Fault = lenient::document(response.body()).unwrap_or_default();
        // Resources have a `type` too; only an error has a `statusCode` beside it.
        let good = response.status().is_success();
        let understood = error.is_some() || !errors.is_empty() || own.kind.is_some() && (!good || own.status_code.is_some());
        // The first error of v3's envelope has the fields of v2.0's object.
        let own = errors.into_iter().next().unwrap_or(own);
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let status = response.status().as_u16();
        let request_id = own.request_id.or(own.meta.debug.request_id);
        let Resolution { kind: resolution, url } = own.resolution;
        Said {
            failure: Failure {
                endpoint,
                status: Some(status),
                kind: own.kind.or(error).and_then(word),
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
            description: error_description,
            understood,
        }
    }

    /// Whether the body is an error, whatever the status.
    pub(super) fn is_error(&self) -> bool {
        self.understood
    }

    fn later(self) -> SmartcarError {
        let may_have_acted = self.status >= 500 || self.status < 300;
        SmartcarError::Later { after: self.retry_after, what: Failure { may_have_acted, ..self.failure } }
    }

    fn configuration(self, note: &str) -> SmartcarError {
        SmartcarError::Configuration { what: Failure { note: Some(note.to_owned()), ..self.failure } }
    }

    fn not_possible(self) -> SmartcarError {
        SmartcarError::NotPossible { what: self.failure }
    }

    fn reconnect(self, audience: Audience) -> SmartcarError {
        if audience == Audience::Owner {
            SmartcarError::Reconnect { what: self.failure, url: self.url }
        } else {
            self.configuration("the application may not ask this: check its credentials and its plan in Smartcar's dashboard")
        }
    }
}

/// No answer came.
pub(super) fn from_transport(endpoint: &'static str, error: &TransportError) -> SmartcarError {
    let may_have_acted = !matches!(error, TransportError::Unreachable(_));
    let what = Failure { endpoint, note: Some(error.to_string()), may_have_acted, ..Failure::default() };
    match error {
        TransportError::Unreachable(cause) if cause.contains("certificate") => {
            let note = format!("{error}: check the clock and smartcar.origins; something may stand between here and Smartcar");
            SmartcarError::Configuration { what: Failure { note: Some(note), ..what } }
        }
        _ => SmartcarError::Later { after: None, what },
    }
}

/// A data call was refused.
pub(super) fn from_answer(said: Said, audience: Audience) -> SmartcarError {
    let kind = said.failure.kind.clone().unwrap_or_default();
    match (kind.as_str(), said.resolution.as_deref()) {
        ("AUTHENTICATION", _) => SmartcarError::Unauthorized { what: said.failure },
        ("BILLING", Some("FINANCE")) => said.configuration("the account is suspended: see Smartcar's dashboard"),
        ("BILLING", _) => said.configuration("the plan does not cover this: see Smartcar's dashboard"),
        (_, Some("REAUTHENTICATE")) | ("CONNECTED_SERVICES_ACCOUNT" | "PERMISSION", _) => said.reconnect(audience),
        ("COMPATIBILITY" | "RESOURCE_NOT_FOUND" | "VALIDATION", _) => said.not_possible(),
        ("RATE_LIMIT" | "UPSTREAM" | "VEHICLE_STATE", _) | (_, Some("RETRY_LATER")) => said.later(),
        // A record that is missing or doubled at Smartcar does not mend itself.
        ("SERVER", Some("CONTACT_SUPPORT")) => said.not_possible(),
        ("SERVER", _) => said.later(),
        (_, Some("ACTION_REQUIRED" | "USER_ACTION_REQUIRED")) => said.reconnect(audience),
        (_, Some("FINANCE" | "CONTACT_SUPPORT")) => said.configuration("ask Smartcar's support"),
        _ => from_status(said, audience),
    }
}

/// Smartcar's words do not decide: they are unknown or missing, or a proxy answered.
fn from_status(said: Said, audience: Audience) -> SmartcarError {
    match said.status {
        401 => SmartcarError::Unauthorized { what: said.failure },
        403 if said.understood => said.reconnect(audience),
        300..400 => said.configuration(REDIRECTED),
        404 | 405 | 410 | 501 => said.not_possible(),
        408 | 409 | 425 | 429 => said.later(),
        430 => said.configuration("the plan does not cover this: see Smartcar's dashboard"),
        400..500 if said.understood => said.not_possible(),
        _ => said.later(),
    }
}

/// A token endpoint refused.
pub(super) fn from_token_answer(said: Said, audience: Audience) -> SmartcarError {
    let kind = said.failure.kind.clone().unwrap_or_default();
    let description = said.description.as_deref().unwrap_or_default().to_ascii_lowercase();
    let redirect =
        said.failure.endpoint == EXCHANGE && ["redirect_uri", "redirect uri"].iter().any(|word| description.contains(word));
    match (said.status, kind.as_str()) {
        (300..400, _) => said.configuration(REDIRECTED),
        (400..500, "invalid_grant" | "invalid_request") if redirect => said.configuration(REDIRECT_URI),
        (400..500, "invalid_grant" | "invalid_request") if audience == Audience::OwnerToken => {
            SmartcarError::Rejected { what: said.failure }
        }
        (429, _) => said.later(),
        (
            400..500,
            "invalid_client"
            | "unauthorized_client"
            | "unsupported_grant_type"
            | "invalid_scope"
            | "invalid_grant"
            | "invalid_request"
            | "AUTHENTICATION",
        )
        | (401, _) => said.configuration(if audience == Audience::OwnerToken { V2_CREDENTIALS } else { V3_CREDENTIALS }),
        (_, "BILLING") | (430, _) => said.configuration("the plan does not cover this: see Smartcar's dashboard"),
        // Anything else may be a bad day of Smartcar or of a proxy. Waiting costs nothing, while a token
        // that is given up costs the owner another trip through Connect.
        _ => said.later(),
    }
}

/// Seconds or an HTTP date, at most an hour. A date counts from the answer's own `Date`, which spares us
/// from comparing two clocks.
fn retry_after(text: &str, date: Option<&str>) -> Option<Duration> {
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
fn word(text: String) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-');
    ((1..=64).contains(&text.len()) && text.bytes().all(plain)).then_some(text)
}

fn id(text: String) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    ((1..=64).contains(&text.len()) && text.bytes().all(plain)).then_some(text)
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
    errors: Vec<Fault>,
}

/// v2.0's form, and one element of v3's.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Fault {
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
    #[serde(deserialize_with = "resolution")]
    resolution: Resolution,
    #[serde(deserialize_with = "lenient::object")]
    meta: Meta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resolution {
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    kind: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    url: Option<String>,
}

/// `{"type", "url"}`, or the bare word.
fn resolution<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Resolution, D::Error> {
    let value = <&RawValue>::deserialize(deserializer)?;
    let word = || Resolution { kind: lenient::text_of(value), url: None };
    Ok(lenient::object_of(value).unwrap_or_else(word))
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

const REDIRECTED: &str = "a redirect, which is not followed: check smartcar.origins";
const REDIRECT_URI: &str = "register exactly this redirect URI (smartcar.redirect_uri) in Smartcar's dashboard";
const V2_CREDENTIALS: &str = "check smartcar.v2.client_id and smartcar.v2.client_secret";
const V3_CREDENTIALS: &str = "check smartcar.v3.client_id and smartcar.v3.client_secret";

//! Every failure that a client can see, on one page: what each room's error means in HTTP.
//!
//! Programs get `application/problem+json`, people a page. Answers of 500 and above say fixed sentences;
//! what really happened goes to the log, once.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{ALLOW, CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::Body;
use super::allowance::Allowance;
use super::answer;
use super::router::Bucket;
use crate::budget::Refused;
use crate::connect::ConnectError;
use crate::ingest::IngestError;
use crate::model::api_error::ApiError;
use crate::model::in_seconds;

mod commands;
mod operate;
mod page;
mod settings;
mod vehicles;

/// An error as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    sentence: Cow<'static, str>,
    retry_after: Option<Duration>,
    allow: Option<Box<str>>,
    /// What the limit says that the request counted by.
    allowance: Option<Box<Allowance>>,
    /// The rest of the request is not worth reading.
    close: bool,
    /// For the log only.
    cause: Option<Box<str>>,
    /// What it is in Smartcar's words, where its API is spoken.
    error: Option<Box<ApiError>>,
}

impl Problem {
    /// A problem without frills.
    pub(super) fn new(status: StatusCode, code: &'static str, sentence: impl Into<Cow<'static, str>>) -> Problem {
        let sentence = sentence.into();
        Problem {
            status,
            code,
            sentence,
            retry_after: None,
            allow: None,
            allowance: None,
            close: false,
            cause: None,
            error: None,
        }
    }

    pub(super) fn bad_request(sentence: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", sentence)
    }

    pub(super) fn not_found() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here.")
    }

    pub(super) fn method_not_allowed(allow: String) -> Problem {
        let sentence = format!("This address takes other methods: {allow}.");
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", sentence);
        Problem { allow: Some(allow.into()), ..problem }
    }

    pub(super) fn unauthorized() -> Problem {
        let sentence = "Send `Authorization: Bearer carport_...`; `carport token create` makes a token.";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", sentence)
    }

    pub(super) fn unknown_token() -> Problem {
        let sentence = "This token is unknown, has expired or was revoked: `carport token list` shows which there are, and until when they count. A token is sent \
                        whole, with `carport_` before it.";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", sentence)
    }

    pub(super) fn forbidden(sentence: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", sentence)
    }

    pub(super) fn cross_site() -> Problem {
        let sentence = "This request did not come from Carport's own page. Reload the page and try again.";
        Problem::new(StatusCode::FORBIDDEN, "cross_site", sentence)
    }

    pub(super) fn https_required() -> Problem {
        let sentence = "Signing in over plain http works only from this machine and from private networks. Use https; if a \
                        proxy does that already, name it in trusted_proxies.";
        Problem::new(StatusCode::FORBIDDEN, "https_required", sentence)
    }

    pub(super) fn https_only() -> Problem {
        let sentence = "Nothing is taken here over plain http: use the same address with https.";
        Problem::new(StatusCode::FORBIDDEN, "https_required", sentence)
    }

    pub(super) fn slow_down(refused: Allowance) -> Problem {
        let instead = match refused.bucket {
            Bucket::Login => " A link of `carport login` signs in meanwhile.",
            _ => "",
        };
        let sentence = format!("Too many requests. Wait {} s.{instead}", in_seconds(refused.wait));
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "slow_down", sentence);
        Problem { retry_after: Some(refused.wait), allowance: Some(Box::new(refused)), ..problem }
    }

    pub(super) fn crowded(sentence: &'static str) -> Problem {
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many", sentence);
        Problem { retry_after: Some(Duration::from_secs(30)), ..problem }
    }

    pub(super) fn too_large(cap: usize) -> Problem {
        let sentence = format!("The body is longer than {cap} bytes.");
        Problem { close: true, ..Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", sentence) }
    }

    pub(super) fn too_slow() -> Problem {
        let sentence = "The body did not come in time.";
        Problem { close: true, ..Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", sentence) }
    }

    pub(super) fn broken_body() -> Problem {
        Problem { close: true, ..Problem::bad_request("The body broke off.") }
    }

    pub(super) fn misdirected(status: StatusCode, sentence: &'static str) -> Problem {
        Problem { close: true, ..Problem::new(status, "wrong_host", sentence) }
    }

    /// A mistake of our own.
    pub(super) fn internal() -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong here.")
    }

    fn busy(cause: impl Into<Box<str>>) -> Problem {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Carport cannot take this now. Try again soon.");
        Problem { retry_after: Some(Duration::from_secs(5)), cause: Some(cause.into()), ..problem }
    }

    fn upstream(cause: impl Into<Box<str>>) -> Problem {
        let problem = Problem::new(StatusCode::BAD_GATEWAY, "upstream", "Smartcar did not do what it was asked for.");
        Problem { cause: Some(cause.into()), ..problem }
    }

    /// Ends the connection too: what follows on it is not to be trusted, or not worth reading.
    pub(super) fn closing(self) -> Problem {
        Problem { close: true, ..self }
    }

    /// Tells what is left of a limit, unless another limit spoke before.
    pub(super) fn within(self, allowance: Option<Allowance>) -> Problem {
        Problem { allowance: self.allowance.or(allowance.map(Box::new)), ..self }
    }

    /// The same of something that the address names.
    pub(super) fn absent(self) -> Problem {
        Problem { status: StatusCode::NOT_FOUND, code: "not_found", ..self }
    }

    /// Adds one thing that can be done about it.
    pub(super) fn advised(mut self, advice: &str) -> Problem {
        self.sentence = format!("{} {advice}", self.sentence).into();
        self
    }

    /// The same in other words.
    pub(super) fn saying(self, sentence: impl Into<Cow<'static, str>>) -> Problem {
        Problem { sentence: sentence.into(), ..self }
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer to a program: problem+json.
    pub(super) fn respond(self, request_id: &str) -> Response<Body> {
        self.log(request_id);
        let status = self.status.as_u16();
        let details =
            Details { kind: "about:blank", title: self.title(), status, code: self.code, detail: &self.sentence, request_id };
        // Text and numbers always serialise.
        let details = serde_json::to_vec(&details).unwrap_or_default();
        let mut response = answer::bytes(self.status, "application/problem+json", details);
        self.show(response.headers_mut());
        response
    }

    fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }

    /// What it is in Smartcar's words, if it was said in them.
    pub(super) fn error(&self) -> Option<&ApiError> {
        self.error.as_deref()
    }

    pub(super) fn sentence(&self) -> &str {
        &self.sentence
    }

    pub(super) fn log(&self, request_id: &str) {
        if let Some(cause) = &self.cause {
            tracing::warn!(request.id = request_id, code = self.code, cause, "could not serve a request");
        }
    }

    /// The headers that say more of it.
    pub(super) fn show(&self, headers: &mut HeaderMap) {
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(in_seconds(wait)));
        }
        if let Some(allowance) = &self.allowance {
            allowance.show(headers);
        }
        if let Some(allow) = self.allow.as_ref().and_then(|allow| HeaderValue::try_from(&**allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        if self.code == "unauthorized" {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"carport\""));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// As RFC 9457 has it, and two members of our own.
#[derive(Serialize)]
struct Details<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    request_id: &'a str,
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Problem {
        let problem = |status, code| Problem::new(status, code, sentence(&error.to_string()));
        match error {
            IngestError::NotConfigured => problem(StatusCode::SERVICE_UNAVAILABLE, "not_configured"),
            IngestError::BadSignature => problem(StatusCode::UNAUTHORIZED, "bad_signature"),
            IngestError::ChallengeRefused => problem(StatusCode::BAD_REQUEST, "challenge_refused"),
            IngestError::NotAnEvent => problem(StatusCode::BAD_REQUEST, "not_an_event"),
            IngestError::Busy | IngestError::NoRoom => Problem::busy(error.to_string()),
        }
    }
}

impl From<ConnectError> for Problem {
    fn from(error: ConnectError) -> Problem {
        let problem = |status, code| Problem::new(status, code, sentence(&error.to_string()));
        match &error {
            ConnectError::UnknownInvite => problem(StatusCode::NOT_FOUND, "unknown_invite"),
            ConnectError::SpentInvite => problem(StatusCode::GONE, "spent_invite"),
            ConnectError::UnknownUser => problem(StatusCode::NOT_FOUND, "unknown_user"),
            ConnectError::UnknownVehicle | ConnectError::OtherUsers => problem(StatusCode::NOT_FOUND, "not_found"),
            ConnectError::NoState => problem(StatusCode::BAD_REQUEST, "no_state"),
            ConnectError::UnknownState => problem(StatusCode::BAD_REQUEST, "unknown_state"),
            ConnectError::UnknownRedirectUri => problem(StatusCode::BAD_REQUEST, "unknown_redirect_uri"),
            ConnectError::BadRequest(_) => problem(StatusCode::BAD_REQUEST, "bad_request"),
            ConnectError::Refused { .. } => problem(StatusCode::CONFLICT, "refused"),
            ConnectError::Unconfirmed => problem(StatusCode::FORBIDDEN, "unconfirmed"),
            ConnectError::NotConfigured(_) | ConnectError::Ended => problem(StatusCode::SERVICE_UNAVAILABLE, "not_configured"),
            ConnectError::Limited { after, .. } => later(StatusCode::TOO_MANY_REQUESTS, "over_budget", &error, *after),
            ConnectError::Later { what, after } => {
                Problem { cause: Some(what.as_str().into()), ..later(StatusCode::BAD_GATEWAY, "upstream", &error, *after) }
            }
            ConnectError::Upstream(cause) => Problem::upstream(cause.as_str()),
            ConnectError::Store => Problem::busy(error.to_string()),
        }
    }
}

/// It passes by itself.
fn later(status: StatusCode, code: &'static str, error: &impl std::fmt::Display, after: Duration) -> Problem {
    let sentence = sentence(&format!("{error}; try again in {} s", in_seconds(after)));
    Problem { retry_after: Some(after), ..Problem::new(status, code, sentence) }
}

/// The plan, or Smartcar, wants no call now.
fn over_budget(refused: &Refused) -> Problem {
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "over_budget", sentence(&refused.to_string()));
    Problem { retry_after: Some(refused.after()), ..problem }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Problem {
        let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = Problem::new(status, "smartcar", error.description.to_string());
        Problem { retry_after: error.retry_after, error: Some(Box::new(error)), ..problem }
    }
}

/// An error's own words as a sentence.
fn sentence(words: &str) -> String {
    // A key of the configuration is written as it is.
    let is_key = words.split([' ', ':']).next().is_some_and(|first| first.contains(['.', '_']));
    let mut characters = words.chars();
    let first = characters.next().map(|first| if is_key { first } else { first.to_ascii_uppercase() });
    let mut sentence: String = first.into_iter().chain(characters).collect();
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use http_body_util::BodyExt;
    use serde_json::json;

    use super::*;
    use crate::model::VehicleId;
    use crate::vehicles::VehiclesError;
    use crate::web::Quota;

    async fn shape(problem: Problem) -> (Response<()>, serde_json::Value) {
        let (head, body) = problem.respond("id-1").into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (Response::from_parts(head, ()), serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_problem_says_what_the_contract_lists() {
        let (response, body) = shape(Problem::from(IngestError::BadSignature)).await;
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            body,
            json!({
                "type": "about:blank",
                "title": "Unauthorized",
                "status": 401,
                "code": "bad_signature",
                "detail": "The signature is missing or wrong.",
                "request_id": "id-1",
            })
        );
    }

    #[tokio::test]
    async fn the_webhooks_table() {
        for (error, status, code) in [
            (IngestError::NotConfigured, 503, "not_configured"),
            (IngestError::BadSignature, 401, "bad_signature"),
            (IngestError::ChallengeRefused, 400, "challenge_refused"),
            (IngestError::NotAnEvent, 400, "not_an_event"),
            (IngestError::Busy, 503, "busy"),
            (IngestError::NoRoom, 503, "busy"),
        ] {
            let (response, body) = shape(error.into()).await;
            assert_eq!((response.status().as_u16(), body["code"].as_str()), (status, Some(code)));
            assert_eq!(response.headers().contains_key(RETRY_AFTER), code == "busy");
        }
    }

    #[tokio::test]
    async fn who_must_wait_is_told_how_long_in_whole_seconds() {
        for (millis, expected) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (59_999, "60")] {
            let (bucket, quota) = (Bucket::Api, Quota::new(600, Duration::from_secs(60)));
            let refused = Allowance { bucket, quota, left: 0, wait: Duration::from_millis(millis) };
            let (response, _) = shape(Problem::slow_down(refused)).await;
            assert_eq!(response.headers()[RETRY_AFTER], expected);
            assert!(response.headers()["ratelimit"].to_str().unwrap().starts_with("\"api\";r=0;t="));
        }
    }

    #[tokio::test]
    async fn smartcars_words_stay_in_the_log() {
        let (response, body) = shape(VehiclesError::Upstream("canary".to_owned()).into()).await;
        assert_eq!(response.status(), 502);
        assert!(!body.to_string().contains("canary"));
        let failed = vec![(VehicleId::new("v-1"), VehiclesError::Upstream("canary".to_owned()))];
        let (response, body) = shape(VehiclesError::Partly { of: 2, failed }.into()).await;
        assert!(response.status() == 502 && body["detail"].as_str().unwrap().contains("v-1"), "{body}");
        assert!(!body.to_string().contains("canary"));
        let (_, body) = shape(ConnectError::Upstream("canary".to_owned()).into()).await;
        assert!(!body.to_string().contains("canary"));
    }

    #[tokio::test]
    async fn a_body_that_is_not_read_ends_the_connection() {
        for problem in [Problem::too_large(10), Problem::too_slow(), Problem::broken_body()] {
            let (response, _) = shape(problem).await;
            assert_eq!(response.headers()[CONNECTION], "close");
        }
        let (response, _) = shape(Problem::method_not_allowed("GET, HEAD".to_owned())).await;
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
    }
}

//! One request and its answer.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;

use super::meaning::{from_answer, from_token_answer, from_transport};
use super::said::Said;
use super::{Failure, Smartcar, SmartcarError};
use crate::model::budget::Permit;
use crate::model::{Secret, lenient};

/// How long a token endpoint may take, usually.
pub const TOKEN: Duration = Duration::from_secs(20);

/// How long reads and commands may take: Smartcar may really wait for the car, and the official SDKs wait so long. A token
/// endpoint may as well, when nothing that is sent later brings what its answer would.
pub const PATIENCE: Duration = Duration::from_secs(310);

/// How long a limit lasts of which Smartcar does not say it.
pub const UNSAID: Duration = Duration::from_secs(60);

/// How long any other call may take.
pub(super) const OTHER: Duration = Duration::from_secs(30);

/// One request to be. Not `Debug`: it holds tokens.
pub(super) struct Call {
    endpoint: &'static str,
    method: Method,
    url: String,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
    deadline: Duration,
    audience: Audience,
}

/// Who is asked, and in whose name: the same answer means different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// A token endpoint, for an owner: what it refuses may be the owner's code or refresh token.
    OwnerToken,
    /// A token endpoint, for the application.
    ApplicationToken,
    /// The data of one owner: what is refused may be granted again.
    Owner,
    /// The data of the whole application: what is refused is the operator's to mend.
    Application,
}

impl Call {
    /// A request without a body, with the longest usual deadline.
    pub(super) fn new(endpoint: &'static str, audience: Audience, method: Method, url: String) -> Call {
        let headers = vec![(ACCEPT, JSON.to_owned())];
        Call { endpoint, method, url, headers, body: Bytes::new(), deadline: OTHER, audience }
    }

    /// Waits as long as `deadline`.
    pub(super) fn within(mut self, deadline: Duration) -> Call {
        self.deadline = deadline;
        self
    }

    /// Shows an access token.
    pub(super) fn bearer(self, access: &Secret) -> Call {
        self.header(AUTHORIZATION, format!("Bearer {}", access.expose()))
    }

    /// Shows a client id and its secret.
    pub(super) fn basic(self, client_id: &str, client_secret: &Secret) -> Call {
        let pair = data_encoding::BASE64.encode(format!("{client_id}:{}", client_secret.expose()).as_bytes());
        self.header(AUTHORIZATION, format!("Basic {pair}"))
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: HeaderName, value: String) -> Call {
        self.headers.push((name, value));
        self
    }

    /// Sends a form.
    pub(super) fn form(mut self, fields: &[(&str, &str)]) -> Call {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body = Bytes::from(form);
        self.header(CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned())
    }

    /// Sends JSON.
    pub(super) fn json(mut self, value: &serde_json::Value) -> Call {
        self.body = Bytes::from(value.to_string());
        self.header(CONTENT_TYPE, JSON.to_owned())
    }

    fn request(&self) -> Result<Request<Bytes>, SmartcarError> {
        let mut request = Request::builder().method(&self.method).uri(&self.url);
        for (name, value) in &self.headers {
            // A value that is no header can only be a token or an id that Smartcar never gave.
            let mut value = HeaderValue::from_str(value).map_err(|_| self.unsendable("a token or an id is malformed"))?;
            value.set_sensitive(*name == AUTHORIZATION);
            request = request.header(name, value);
        }
        let malformed =
            || SmartcarError::Configuration { what: self.failure("the origin in smartcar.origins is not an address") };
        request.body(self.body.clone()).map_err(|_| malformed())
    }

    fn unsendable(&self, note: &str) -> SmartcarError {
        SmartcarError::NotPossible { what: self.failure(note) }
    }

    fn failure(&self, note: &str) -> Failure {
        Failure { endpoint: self.endpoint, note: Some(note.into()), ..Failure::default() }
    }
}

/// A good answer, status 2xx.
#[derive(Debug)]
pub(super) struct Answer {
    endpoint: &'static str,
    response: Response<Bytes>,
}

impl Answer {
    /// Reads the body. One that is not understood counts as no answer: a proxy or a half-written page may
    /// stand in for Smartcar at any time.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, SmartcarError> {
        lenient::document(self.response.body()).ok_or_else(|| self.not_understood())
    }

    /// Reads a body that is a list.
    pub(super) fn list(&self) -> Result<Vec<serde_json::Value>, SmartcarError> {
        lenient::documents(self.response.body()).ok_or_else(|| self.not_understood())
    }

    /// The error for a body that lacks what it must have.
    pub(super) fn not_understood(&self) -> SmartcarError {
        let what = Said::of(self.endpoint, &self.response).failure;
        let note = Some("the answer is not understood".into());
        SmartcarError::Later { after: None, what: Failure { may_have_acted: true, note, ..what } }
    }

    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Whether there is no body.
    pub(super) fn is_empty(&self) -> bool {
        self.response.body().trim_ascii().is_empty()
    }

    /// The error that stands within the body.
    pub(super) fn refused(&self, error: &serde_json::Value) -> SmartcarError {
        match Said::within(self.endpoint, &self.response, error) {
            Said { failure: Failure { kind: None, .. }, .. } => self.failed("the car has not done it"),
            said => from_answer(said, Audience::Owner),
        }
    }

    /// The error for a body that says that it went wrong, without Smartcar's words for it.
    pub(super) fn failed(&self, note: &str) -> SmartcarError {
        let what = Said::of(self.endpoint, &self.response).failure;
        let (kind, code) = (Some("UPSTREAM".into()), Some("UNKNOWN_ISSUE".into()));
        SmartcarError::Later { after: None, what: Failure { may_have_acted: true, kind, code, note: Some(note.into()), ..what } }
    }

    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.response.headers().get(name)?.to_str().ok().map(str::to_owned)
    }
}

impl Smartcar {
    /// Sends a request that counts against the plan.
    pub(super) async fn permitted(&self, call: Call, permit: &Permit) -> Result<Answer, SmartcarError> {
        permit.note_sent();
        self.call(call).await
    }

    /// Sends a request; anything but a 2xx is an error.
    pub(super) async fn call(&self, call: Call) -> Result<Answer, SmartcarError> {
        let request = call.request()?;
        let outcome = self.transport.send(request, call.deadline).await;
        if let Some(observer) = &self.observer {
            observer(call.endpoint, outcome.as_ref().map_or(0, |response| response.status().as_u16()));
        }
        let response = outcome.map_err(|error| from_transport(call.endpoint, &error))?;
        let token = matches!(call.audience, Audience::OwnerToken | Audience::ApplicationToken);
        let said = Said::of(call.endpoint, &response);
        if response.status().is_success() && (token || !said.is_error()) {
            return Ok(Answer { endpoint: call.endpoint, response });
        }
        Err(if token { from_token_answer(said, call.audience) } else { from_answer(said, call.audience) })
    }
}

/// The address of `path` below `origin`.
pub(super) fn join(origin: &str, path: &str) -> String {
    let origin = origin.trim_end_matches('/');
    if origin.ends_with(path) { origin.to_owned() } else { format!("{origin}{path}") }
}

/// An id as one segment of a path. Ids are opaque, so everything but plain characters is encoded; an id
/// that a client would resolve away (empty, `.`, `..`) would name another resource and is refused.
pub(super) fn segment(endpoint: &'static str, id: &str) -> Result<String, SmartcarError> {
    if matches!(id, "" | "." | "..") {
        let note = Some("this id cannot be asked for".into());
        return Err(SmartcarError::NotPossible { what: Failure { endpoint, note, ..Failure::default() } });
    }
    let mut text = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    Ok(text)
}

const JSON: &str = "application/json";

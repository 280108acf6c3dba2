use serde::Deserialize;
use serde_json::Value;

use crate::model::mapping::{self, Provenance};
use crate::model::reading::{SignalFailure, SignalReport};
use crate::model::{Json, lenient};

/// The answer of one endpoint within a batch or a scheduled delivery of v2.0.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Part {
    /// The path below the vehicle, such as `/battery`.
    #[serde(deserialize_with = "lenient::text")]
    pub path: Option<String>,
    #[serde(deserialize_with = "lenient::integer")]
    code: Option<i64>,
    #[serde(deserialize_with = "lenient::json")]
    body: Option<Json>,
    #[serde(deserialize_with = "lenient::json")]
    headers: Option<Json>,
}

impl Part {
    /// The body, if the part went well.
    pub fn body(&self) -> Option<Value> {
        let good = self.code.is_none_or(|code| (200..300).contains(&code));
        self.body.as_ref().filter(|_| good).map(Json::value).filter(|body| body.is_object() || body.is_array())
    }

    /// The signals it holds, or the failure of each signal that it would hold. Its own headers stand
    /// over `outer`, those of the whole answer.
    pub fn reports(&self, outer: Provenance) -> Vec<SignalReport> {
        let Some(path) = self.path.as_deref() else { return Vec::new() };
        let headers = self.headers.as_ref().map(Json::value).unwrap_or_default();
        let header = |name: &str| {
            let found = headers.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            Some(found.1.as_str().map_or_else(|| found.1.to_string(), str::to_owned))
        };
        let provenance = Provenance::from_headers(header, outer);
        if let Some(body) = self.body() {
            return mapping::reports(path, &body, provenance);
        }
        let error = self.body.as_ref().map(Json::value).unwrap_or_default();
        let word = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
        let status = if self.body.is_some() || self.code.is_some_and(|code| code >= 300) { "ERROR" } else { "NO_BODY" };
        mapping::failures(path, &SignalFailure { status: status.to_owned(), kind: word("type"), code: word("code") }, provenance)
    }
}

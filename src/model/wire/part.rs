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

/// Why a part of a batch holds nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartRefusal {
    /// Its own status.
    pub status: u16,
    /// Smartcar's `type`.
    pub kind: Option<String>,
    /// Smartcar's `code`.
    pub code: Option<String>,
    /// Its own header `Retry-After`.
    pub retry_after: Option<String>,
}

impl Part {
    /// The body, if the part went well.
    pub fn body(&self) -> Option<Value> {
        let good = self.code.is_none_or(|code| (200..300).contains(&code));
        self.body.as_ref().filter(|_| good).map(Json::value).filter(|body| body.is_object() || body.is_array())
    }

    /// Why it holds nothing, if it was refused.
    pub fn refusal(&self) -> Option<PartRefusal> {
        let status = self.code.and_then(|code| u16::try_from(code).ok()).filter(|status| *status >= 300)?;
        Some(PartRefusal { status, kind: self.said("type"), code: self.said("code"), retry_after: self.header("retry-after") })
    }

    fn said(&self, key: &str) -> Option<String> {
        self.body.as_ref()?.value().get(key)?.as_str().map(str::to_owned)
    }

    fn header(&self, name: &str) -> Option<String> {
        let headers = self.headers.as_ref()?.value();
        let (_, found) = headers.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    }

    /// The signals it holds, or the failure of each signal that it would hold. Its own headers stand
    /// over `outer`, those of the whole answer.
    pub fn reports(&self, outer: Provenance) -> Vec<SignalReport> {
        let Some(path) = self.path.as_deref() else { return Vec::new() };
        let provenance = Provenance::from_headers(|name| self.header(name), outer);
        if let Some(body) = self.body() {
            return mapping::reports(path, &body, provenance);
        }
        let status = if self.body.is_some() || self.code.is_some_and(|code| code >= 300) { "ERROR" } else { "NO_BODY" };
        mapping::failures(
            path,
            &SignalFailure { status: status.to_owned(), kind: self.said("type"), code: self.said("code") },
            provenance,
        )
    }
}

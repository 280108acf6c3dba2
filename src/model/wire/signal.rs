use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::reading::{Outcome, SignalFailure, SignalReport};
use crate::model::{Json, Timestamp, lenient};

/// One signal: flat in webhooks; in API v3 most of it lies in `attributes`, beside `meta`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SignalWire {
    /// The code; in v3 also the id of the resource.
    #[serde(deserialize_with = "lenient::text")]
    id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    code: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    group: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    name: Option<String>,
    #[serde(deserialize_with = "lenient::json")]
    body: Option<Json>,
    #[serde(deserialize_with = "status")]
    status: Status,
    #[serde(deserialize_with = "lenient::object")]
    meta: Meta,
    #[serde(deserialize_with = "lenient::map")]
    attributes: Option<Box<SignalWire>>,
}

impl SignalWire {
    /// What it reports; `None` if it does not say which signal it is.
    pub fn report(mut self) -> Option<SignalReport> {
        if let Some(inner) = self.attributes.take() {
            self = self.over(*inner);
        }
        let SignalWire { id, code, group, name, body, status, meta, .. } = self;
        let code = code.or_else(|| code_of(group.as_deref(), name.as_deref())).or(id)?;
        let (oem_updated_at, retrieved_at) = (meta.oem_updated_at, meta.retrieved_at.or(meta.fetched_at));
        Some(SignalReport { code, group, name, outcome: status.outcome(body), oem_updated_at, retrieved_at })
    }

    fn over(self, inner: SignalWire) -> SignalWire {
        SignalWire {
            id: self.id,
            code: inner.code.or(self.code),
            group: inner.group.or(self.group),
            name: inner.name.or(self.name),
            body: inner.body.or(self.body),
            status: if inner.status.value.is_some() { inner.status } else { self.status },
            meta: Meta {
                oem_updated_at: self.meta.oem_updated_at.or(inner.meta.oem_updated_at),
                retrieved_at: self.meta.retrieved_at.or(inner.meta.retrieved_at),
                fetched_at: self.meta.fetched_at.or(inner.meta.fetched_at),
            },
            attributes: None,
        }
    }

    /// A signal that stands under its name `Group.Name` in a map. The value is either a signal as
    /// elsewhere, or its body at once.
    fn under(key: &str, value: &RawValue) -> Option<SignalWire> {
        let (group, name) = key.split_once('.').unzip();
        let whole = lenient::object_of::<BTreeMap<String, &RawValue>>(value)
            .is_some_and(|map| ["body", "status", "meta", "attributes"].iter().any(|field| map.contains_key(*field)));
        let mut signal = if whole {
            lenient::object_of::<SignalWire>(value)?
        } else {
            SignalWire { body: body_of(value), ..SignalWire::default() }
        };
        signal.group = signal.group.or(group.map(str::to_owned));
        signal.name = signal.name.or(name.map(str::to_owned));
        signal.id = signal.id.or(group.is_none().then(|| key.to_owned()));
        Some(signal)
    }
}

/// The signals of a map from `Group.Name`, which one page of the documentation shows in place of a list.
pub fn keyed(map: &RawValue) -> Vec<SignalWire> {
    let map = lenient::object_of::<BTreeMap<String, &RawValue>>(map).unwrap_or_default();
    map.into_iter().filter_map(|(key, value)| SignalWire::under(&key, value)).collect()
}

/// The code that belongs to a group and a name.
pub fn code_of(group: Option<&str>, name: Option<&str>) -> Option<String> {
    Some(format!("{}-{}", group?, name?).to_lowercase())
}

/// A value without its wrapping is wrapped as in the list form.
fn body_of(value: &RawValue) -> Option<Json> {
    match value.get() {
        "null" => None,
        text if text.starts_with('{') => Some(Json::from(value)),
        text => serde_json::from_str(&format!("{{\"value\":{text}}}")).ok(),
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    /// Missing in older payloads of good signals.
    #[serde(deserialize_with = "lenient::text")]
    value: Option<String>,
    #[serde(deserialize_with = "lenient::object")]
    error: Error,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Error {
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    kind: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    code: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "Smartcar's names")]
struct Meta {
    #[serde(deserialize_with = "lenient::time")]
    oem_updated_at: Option<Timestamp>,
    #[serde(deserialize_with = "lenient::time")]
    retrieved_at: Option<Timestamp>,
    /// The newer name of the same.
    #[serde(deserialize_with = "lenient::time")]
    fetched_at: Option<Timestamp>,
}

impl Status {
    fn outcome(self, body: Option<Json>) -> Outcome {
        let good = self.value.as_deref().is_none_or(|value| value.eq_ignore_ascii_case("SUCCESS"));
        let failed = self.error.kind.is_some() && self.value.is_none();
        match body {
            Some(body) if good && !failed => Outcome::Value(body),
            _ => {
                let status = match self.value {
                    Some(value) if !good => value,
                    _ if failed => "ERROR".to_owned(),
                    _ => NO_BODY.to_owned(),
                };
                Outcome::Failed(SignalFailure { status, kind: self.error.kind, code: self.error.code })
            }
        }
    }
}

/// `{"value": ..}`, or the bare word.
fn status<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
    let value = <&RawValue>::deserialize(deserializer)?;
    let word = || Status { value: lenient::text_of(value), ..Status::default() };
    Ok(lenient::object_of(value).unwrap_or_else(word))
}

/// The status we give to a signal that is said to be good and has no body.
const NO_BODY: &str = "NO_BODY";

use serde::Deserialize;

use super::ErrorChange;
use super::trigger::{distinct, triggered_by};
use crate::model::resolution::Resolution;
use crate::model::vehicle::VehicleError;
use crate::model::{Timestamp, lenient};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ErrorWire {
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    kind: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    code: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    state: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    description: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    suggested_user_message: Option<String>,
    resolution: Resolution,
    #[serde(deserialize_with = "codes")]
    signals: Vec<String>,
}

impl ErrorWire {
    /// Only `RESOLVED` ends a problem: a state we do not know is not good news.
    pub(super) fn change(self, since: Timestamp) -> Option<ErrorChange> {
        Some(ErrorChange {
            resolved: self.state.is_some_and(|state| state.eq_ignore_ascii_case("RESOLVED")),
            error: VehicleError {
                kind: self.kind?,
                code: self.code,
                description: self.description,
                message: self.suggested_user_message,
                resolution: self.resolution.kind,
                resolution_url: self.resolution.url,
                signals: self.signals,
                since,
            },
        })
    }
}

/// The signals of an error have the same forms as triggers.
fn codes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(distinct(lenient::values(deserializer)?.into_iter().filter_map(triggered_by)))
}

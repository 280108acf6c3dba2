//! What it means in HTTP that a setting was not made.

use http::StatusCode;

use super::{Problem, sentence};
use crate::operate::settings::SettingsError;

impl From<SettingsError> for Problem {
    fn from(error: SettingsError) -> Problem {
        let problem = |status, code| Problem::new(status, code, format!("{} Nothing was saved.", sentence(&error.to_string())));
        match &error {
            SettingsError::Unknown(_) | SettingsError::Wrong(_) => problem(StatusCode::BAD_REQUEST, "bad_request"),
            SettingsError::Fixed { .. } => problem(StatusCode::CONFLICT, "fixed"),
            SettingsError::MixedUp(_) => problem(StatusCode::UNPROCESSABLE_ENTITY, "mixed_up"),
            SettingsError::Refused(_) => problem(StatusCode::UNPROCESSABLE_ENTITY, "refused"),
            SettingsError::Untried(_) => problem(StatusCode::BAD_GATEWAY, "untried"),
            SettingsError::Store(error) => Problem::busy(error.to_string()),
        }
    }
}

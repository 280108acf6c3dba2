//! What the errors of commands mean in HTTP.

use http::StatusCode;

use super::{Problem, sentence};
use crate::commands::CommandError;

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Problem {
        let problem = |status, code| Problem::new(status, code, sentence(&error.to_string()));
        match &error {
            CommandError::NotFound | CommandError::UnknownCommand => problem(StatusCode::NOT_FOUND, "not_found"),
            CommandError::Damaged => problem(StatusCode::INTERNAL_SERVER_ERROR, "damaged"),
            CommandError::NotConnected(_) => problem(StatusCode::CONFLICT, "not_connected"),
            CommandError::Reconnect { .. } => problem(StatusCode::CONFLICT, "reconnect_required"),
            CommandError::NoPermission { .. } => problem(StatusCode::FORBIDDEN, "no_permission"),
            CommandError::NotPossible => problem(StatusCode::CONFLICT, "not_possible"),
            CommandError::UnderWay { .. } => problem(StatusCode::CONFLICT, "under_way"),
            CommandError::Ended(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "not_configured"),
            CommandError::OverBudget(refused) => super::over_budget(refused),
            CommandError::Store => Problem::busy(error.to_string()),
        }
    }
}

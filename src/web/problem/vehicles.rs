//! What can go wrong with vehicles and their owners.

use http::StatusCode;

use super::{Problem, later, over_budget, sentence};
use crate::model::VehicleId;
use crate::vehicles::VehiclesError;

impl From<VehiclesError> for Problem {
    fn from(error: VehiclesError) -> Problem {
        of(&error)
    }
}

impl Problem {
    /// Smartcar did not disconnect what it was to: `anyway` says how to do without.
    pub(in crate::web) fn not_disconnected(error: &VehiclesError, anyway: &str) -> Problem {
        match error {
            VehiclesError::NotFound
            | VehiclesError::UnknownUser
            | VehiclesError::Unreadable { .. }
            | VehiclesError::Damaged
            | VehiclesError::Store => of(error),
            refused => of(refused).advised(anyway),
        }
    }
}

fn of(error: &VehiclesError) -> Problem {
    let problem = |status, code| Problem::new(status, code, sentence(&error.to_string()));
    match error {
        VehiclesError::NotFound | VehiclesError::UnknownUser | VehiclesError::Untold(_) => {
            problem(StatusCode::NOT_FOUND, "not_found")
        }
        VehiclesError::Exists => problem(StatusCode::CONFLICT, "exists"),
        VehiclesError::BadRequest(_) | VehiclesError::UnknownSignal(_) => problem(StatusCode::BAD_REQUEST, "bad_request"),
        VehiclesError::NotConnected(_) | VehiclesError::ConnectionEnded => problem(StatusCode::CONFLICT, "not_connected"),
        VehiclesError::NoPermission { .. } => problem(StatusCode::FORBIDDEN, "no_permission"),
        VehiclesError::Reconnect { .. } => problem(StatusCode::CONFLICT, "reconnect_required"),
        VehiclesError::Upstream(cause) => Problem::upstream(cause.as_str()),
        VehiclesError::Partly { of, failed } => partly(*of, failed),
        VehiclesError::Later { after, .. } => later(StatusCode::BAD_GATEWAY, "upstream", error, *after),
        VehiclesError::OverBudget(refused) => over_budget(refused),
        VehiclesError::NotConfigured(_) | VehiclesError::Ended(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "not_configured"),
        VehiclesError::Unreadable { .. } | VehiclesError::Damaged => problem(StatusCode::INTERNAL_SERVER_ERROR, "damaged"),
        VehiclesError::Store => Problem::busy(error.to_string()),
    }
}

/// Something has changed and something has not: that is no fault of the client's.
fn partly(all: usize, failed: &[(VehicleId, VehiclesError)]) -> Problem {
    let parts: Vec<(&VehicleId, Problem)> = failed.iter().map(|(id, error)| (id, of(error))).collect();
    let these: Vec<String> = parts.iter().map(|(id, part)| format!("{id}: {}", part.sentence)).collect();
    let causes: Vec<&str> = parts.iter().filter_map(|(_, part)| part.cause.as_deref()).collect();
    let sentence = format!("{} of {all} cars were disconnected. These were not: {}", all - failed.len(), these.join(" "));
    Problem {
        retry_after: parts.iter().filter_map(|(_, part)| part.retry_after).max(),
        cause: Some(causes.join("; ").into()),
        ..Problem::new(StatusCode::BAD_GATEWAY, "upstream", sentence)
    }
}

//! What the operator's room could not do, in HTTP.

use std::time::Duration;

use http::StatusCode;

use super::{Problem, sentence};
use crate::operate::access::AccessError;
use crate::operate::audit::AuditError;
use crate::operate::deliveries::DeliveriesError;
use crate::operate::rotation::RotationError;

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Problem {
        match &error {
            AccessError::Unknown => Problem::new(StatusCode::NOT_FOUND, "not_found", sentence(&error.to_string())),
            AccessError::BadRequest(text) => Problem::bad_request(sentence(text)),
            AccessError::Crowded => {
                let wait = Some(Duration::from_secs(5));
                Problem {
                    retry_after: wait,
                    ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", sentence(&error.to_string()))
                }
            }
            AccessError::Store => Problem::busy(error.to_string()),
        }
    }
}

impl From<AuditError> for Problem {
    fn from(error: AuditError) -> Problem {
        Problem::busy(error.to_string())
    }
}

impl From<RotationError> for Problem {
    fn from(error: RotationError) -> Problem {
        let words = sentence(&error.to_string());
        match &error {
            RotationError::NotSwapped { .. } => Problem::new(StatusCode::CONFLICT, "key_not_swapped", words),
            RotationError::Key(_) => Problem::new(StatusCode::CONFLICT, "key_file", words),
            RotationError::Store(_) => Problem::busy(error.to_string()),
        }
    }
}

impl From<DeliveriesError> for Problem {
    fn from(error: DeliveriesError) -> Problem {
        match &error {
            DeliveriesError::NotFound | DeliveriesError::UnknownVehicle => {
                Problem::new(StatusCode::NOT_FOUND, "not_found", sentence(&error.to_string()))
            }
            DeliveriesError::UnknownType(_) => Problem::bad_request(sentence(&error.to_string())),
            DeliveriesError::Store => Problem::busy(error.to_string()),
        }
    }
}

//! Limits that are told within a good answer: a part of a batch, or a page of several, may be refused by itself.

use std::cmp::Reverse;

use super::meaning::from_answer;
use super::said::{Said, retry_after, word};
use super::{Failure, SmartcarError};
use crate::model::reading::SignalReport;
use crate::model::wire::Part;
use crate::smartcar::call::Audience;

/// What was read of a vehicle.
#[derive(Debug)]
pub struct Read {
    /// Its signals.
    pub reports: Vec<SignalReport>,
    /// A limit that stood in the way of some of them.
    pub limit: Option<SmartcarError>,
}

impl Read {
    pub(super) fn of(reports: Vec<SignalReport>, limits: impl IntoIterator<Item = SmartcarError>) -> Read {
        // The hardest, and of these the longest.
        let limit = limits.into_iter().filter_map(|error| Some((rank(&error)?, error))).min_by_key(|(rank, _)| *rank);
        Read { reports, limit: limit.map(|(_, error)| error) }
    }
}

/// The refusal of a part of a batch.
pub(super) fn of_part(endpoint: &'static str, part: &Part, date: Option<&str>) -> Option<SmartcarError> {
    let refusal = part.refusal()?;
    let after = refusal.retry_after.and_then(|text| retry_after(&text, date));
    let (kind, code) = (refusal.kind.and_then(word), refusal.code.and_then(word));
    let failure = Failure { endpoint, status: Some(refusal.status), kind, code, ..Failure::default() };
    Some(from_answer(Said::of_part(failure, refusal.status, after), Audience::Owner))
}

/// What ends a month comes before what stops the application, and that before what concerns a vehicle; `None` is no limit.
fn rank(error: &SmartcarError) -> Option<(u8, Reverse<u64>)> {
    let (what, after) = match error {
        SmartcarError::Later { what, after } => (what, after.map_or(0, |after| after.as_secs())),
        error => (error.failure(), 0),
    };
    let rank = match (what.kind.as_deref(), what.code.as_deref(), what.status) {
        (Some("BILLING"), Some("VEHICLE_REQUEST_LIMIT"), _) => 0,
        (Some("RATE_LIMIT"), Some("VEHICLE"), _) | (Some("UPSTREAM"), Some("RATE_LIMIT"), _) => 2,
        (Some("RATE_LIMIT"), _, _) | (_, _, Some(429)) => 1,
        _ => return None,
    };
    Some((rank, Reverse(after)))
}

//! One endpoint of API v2.0 out of stored signals.

use serde_json::{Value, json};

use super::lacking::{failure, has_none, lack};
use super::{Reply, Wish, is_granted};
use crate::model::Timestamp;
use crate::model::api_error::ApiError;
use crate::model::capability::lasts;
use crate::model::mapping::{Endpoint, Signal};
use crate::model::reading::{Reading, SignalFailure};
use crate::store::tellings::Latest;
use crate::vehicles::known::Known;

/// The answer of an endpoint. `failed` says why Smartcar, which was asked for it just now, has told nothing.
pub(super) fn answer(known: &Known, endpoint: &Endpoint, wish: Wish, failed: Option<&ApiError>) -> Result<Reply, ApiError> {
    if !is_granted(known, endpoint.permission) {
        return Err(ApiError::permission());
    }
    let latest = || endpoint.signals.iter().filter_map(|signal| known.latest.get(signal.code));
    let refusal = || latest().find_map(|latest| lack(known, latest).or_else(|| failure(known, latest)));
    // Who asked for fresh values is not given old ones; who did not, is.
    let was_asked = wish.max_age.is_some();
    if let Some(error) = failed.filter(|_| was_asked) {
        return Err(error.clone());
    }
    let mut telling = telling(known, endpoint);
    telling.retain(|latest| !was_asked || latest.failure.is_none());
    let vin = || known.vehicle.facts.vin.as_ref().map(|vin| json!({ "value": vin }));
    let stored = |code: &str| -> Option<Value> {
        let found = telling.iter().find(|latest| latest.code == code).and_then(|latest| body(latest));
        if code == "vehicleidentification-vin" { found.or_else(vin) } else { found }
    };
    let Some(answer) = endpoint.answer(&stored, wish.imperial) else {
        let missing = || failed.cloned().or_else(|| refusal().map(|failure| of_failure(&failure)));
        return Err(missing().unwrap_or_else(|| nothing(known, endpoint)));
    };
    Ok(Reply {
        body: answer,
        oem_updated_at: telling.iter().filter_map(|latest| usable(latest)?.oem_updated_at).min(),
        fetched_at: telling.iter().filter_map(|latest| latest.fetched_at()).min(),
    })
}

/// The signals that an endpoint is answered from: those with a value that no other has contradicted since, for of two that
/// tell the same field the fresher one is right.
pub(super) fn telling<'k>(known: &'k Known, endpoint: &Endpoint) -> Vec<&'k Latest> {
    let all = endpoint.signals.iter().filter_map(|signal| Some((signal, known.latest.get(signal.code)?)));
    let all: Vec<(&Signal, &Latest, &Reading)> =
        all.filter_map(|(signal, latest)| Some((signal, latest, usable(latest)?))).collect();
    let is_right = |signal: &Signal, reading: &Reading| {
        let mut later = all.iter().filter(|(_, _, other)| other.at > reading.at);
        !later.any(|(other, _, told)| signal.contradicts(&reading.body.value(), other, &told.body.value()))
    };
    all.iter().filter(|(signal, _, reading)| is_right(signal, reading)).map(|(_, latest, _)| *latest).collect()
}

fn body(latest: &Latest) -> Option<Value> {
    usable(latest).map(|reading| reading.body.value())
}

/// The value of a signal, unless it was taken back since: then the failure lasts.
pub(super) fn usable(latest: &Latest) -> Option<&Reading> {
    let taken_back = latest.failure.as_ref().is_some_and(|(failure, _)| lasts(failure));
    latest.reading.as_ref().filter(|_| !taken_back)
}

/// When Smartcar fetched that value.
pub(super) fn fetched_at(latest: &Latest) -> Option<Timestamp> {
    usable(latest).and_then(|_| latest.fetched_at())
}

/// A failure of a signal as an error. That of our own token is none of the client's.
pub(super) fn of_failure(failure: &SignalFailure) -> ApiError {
    match failure.kind.as_deref() {
        None | Some("AUTHENTICATION") => ApiError::of("UPSTREAM", Some("UNKNOWN_ISSUE")),
        Some(kind) => ApiError::of(kind, failure.code.as_deref()),
    }
}

/// Smartcar has told nothing of it.
fn nothing(known: &Known, endpoint: &Endpoint) -> ApiError {
    if has_none(known, endpoint) {
        return ApiError::not_capable("VEHICLE_NOT_CAPABLE");
    }
    ApiError::not_capable("SMARTCAR_NOT_CAPABLE").because("Smartcar has told nothing of this for the vehicle.")
}

//! One endpoint of API v2.0 out of stored signals.

use serde_json::{Value, json};

use super::{Reply, Wish, is_granted};
use crate::model::Timestamp;
use crate::model::fault::Fault;
use crate::model::mapping::{self, Endpoint, Signal};
use crate::model::reading::{Reading, SignalFailure};
use crate::store::tellings::Latest;
use crate::vehicles::known::Known;

/// The answer of an endpoint. `failed` says why Smartcar, which was asked for it just now, has told nothing.
pub(super) fn answer(known: &Known, endpoint: &Endpoint, wish: Wish, failed: Option<&Fault>) -> Result<Reply, Fault> {
    if !is_granted(known, endpoint.permission) {
        return Err(Fault::permission());
    }
    let latest = || endpoint.signals.iter().filter_map(|signal| known.latest.get(signal.code));
    let refusal = || latest().find_map(|latest| lack(known, latest).or_else(|| failure(known, latest)));
    // Who asked for fresh values is not given old ones; who did not, is.
    let was_asked = wish.max_age.is_some();
    if let Some(fault) = failed.filter(|_| was_asked) {
        return Err(fault.clone());
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

/// Why a signal has no value, as far as that still holds: a permission may have been granted since.
pub(super) fn failure(known: &Known, latest: &Latest) -> Option<SignalFailure> {
    let (failure, _) = latest.failure.as_ref()?;
    (!is_mended(known, latest, failure)).then(|| failure.clone())
}

/// Whether a permission was granted since.
fn is_mended(known: &Known, latest: &Latest, failure: &SignalFailure) -> bool {
    failure.kind.as_deref() == Some("PERMISSION")
        && mapping::permission(&latest.code)
            .is_some_and(|permission| known.permissions().is_some() && is_granted(known, permission))
}

/// Whether nothing of an endpoint can be had, by what Smartcar has said before. A failure that passes, told since,
/// changes nothing about that.
pub(super) fn can_never(known: &Known, endpoint: &Endpoint) -> bool {
    let latest = || endpoint.signals.iter().filter_map(|signal| known.latest.get(signal.code));
    latest().any(|latest| lack(known, latest).is_some()) && latest().all(|latest| usable(latest).is_none())
}

/// Whether the vehicle is of a kind that has nothing of it, or what it tells is known for good.
pub(super) fn is_impossible(known: &Known, endpoint: &Endpoint) -> bool {
    let nothing_told = || endpoint.signals.iter().all(|signal| known.latest.get(signal.code).and_then(usable).is_none());
    let is_vin = endpoint.path == "/vin";
    if is_vin { known.vehicle.facts.vin.is_some() } else { has_none(known, endpoint) && nothing_told() }
}

/// Why a signal cannot be had, as long as that holds.
fn lack(known: &Known, latest: &Latest) -> Option<SignalFailure> {
    let newest = failure(known, latest).filter(lasts);
    let before = latest.lack.as_ref().filter(|lack| latest.told_at.is_none_or(|told| told < lack.told_at));
    newest.or_else(|| before.map(|lack| lack.failure.clone()).filter(|failure| !is_mended(known, latest, failure)))
}

/// Whether asking again would give the same.
pub(super) fn lasts(failure: &SignalFailure) -> bool {
    matches!(failure.kind.as_deref(), Some("COMPATIBILITY" | "PERMISSION"))
}

/// A failure of a signal as an error. That of our own token is none of the client's.
pub(super) fn of_failure(failure: &SignalFailure) -> Fault {
    match failure.kind.as_deref() {
        None | Some("AUTHENTICATION") => Fault::of("UPSTREAM", Some("UNKNOWN_ISSUE")),
        Some(kind) => Fault::of(kind, failure.code.as_deref()),
    }
}

/// Whether the drive of the vehicle has none of it.
fn has_none(known: &Known, endpoint: &Endpoint) -> bool {
    let drive = known.vehicle.facts.powertrain.as_deref().unwrap_or_default();
    match endpoint.permission {
        "read_fuel" | "read_engine_oil" => drive == "BEV",
        "read_battery" | "read_charge" => matches!(drive, "ICE" | "HEV" | "MHEV"),
        _ => false,
    }
}

/// Smartcar has told nothing of it.
fn nothing(known: &Known, endpoint: &Endpoint) -> Fault {
    if has_none(known, endpoint) {
        return Fault::not_capable("VEHICLE_NOT_CAPABLE");
    }
    Fault::not_capable("SMARTCAR_NOT_CAPABLE").because("Smartcar has told nothing of this for the vehicle.")
}

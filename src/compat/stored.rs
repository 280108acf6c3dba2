//! One endpoint of API v2.0 out of stored signals.

use serde_json::{Value, json};

use super::{Reply, Wish, is_granted};
use crate::model::fault::Fault;
use crate::model::mapping::{Endpoint, Signal};
use crate::model::reading::{Reading, SignalFailure};
use crate::store::tellings::Latest;
use crate::vehicles::known::Known;

/// The answer of an endpoint. `failed` says why Smartcar, which was asked for it just now, has told nothing.
pub(super) fn answer(known: &Known, endpoint: &Endpoint, wish: Wish, failed: Option<&Fault>) -> Result<Reply, Fault> {
    if !is_granted(known, endpoint.permission) {
        return Err(Fault::permission());
    }
    let latest = || endpoint.signals.iter().filter_map(|signal| known.latest.get(signal.code));
    let refusal = || latest().find_map(|latest| failure(known, latest));
    // Who asked for fresh values is not given old ones; who did not, is.
    let was_asked = wish.max_age.is_some();
    if let Some(fault) = failed.filter(|_| was_asked) {
        return Err(fault.clone());
    }
    let is_current = |latest: &Latest| !was_asked || latest.failure.is_none();
    let told = |latest: &Latest| usable(latest).filter(|_| is_current(latest)).map(|reading| reading.body.value());
    let vin = || known.vehicle.facts.vin.as_ref().map(|vin| json!({ "value": vin }));
    let stored = |code: &str| -> Option<Value> {
        let found = known.latest.get(code).and_then(told);
        if code == "vehicleidentification-vin" { found.or_else(vin) } else { found }
    };
    let Some(body) = endpoint.answer(&stored, wish.imperial) else {
        let missing = || failed.cloned().or_else(|| refusal().map(|failure| of_failure(&failure)));
        return Err(missing().unwrap_or_else(|| nothing(known, endpoint)));
    };
    let readings: Vec<&Reading> = latest().filter(|latest| is_current(latest)).filter_map(usable).collect();
    Ok(Reply {
        body,
        oem_updated_at: readings.iter().filter_map(|reading| reading.oem_updated_at).min(),
        fetched_at: readings.iter().map(|reading| reading.retrieved_at.unwrap_or(reading.at)).min(),
    })
}

/// The value of a signal, unless it was taken back since: then the failure lasts.
pub(super) fn usable(latest: &Latest) -> Option<&Reading> {
    let taken_back = latest.failure.as_ref().is_some_and(|(failure, _)| lasts(failure));
    latest.reading.as_ref().filter(|_| !taken_back)
}

/// Why a signal has no value, as far as that still holds: a permission may have been granted since.
pub(super) fn failure(known: &Known, latest: &Latest) -> Option<SignalFailure> {
    let (failure, _) = latest.failure.as_ref()?;
    let is_mended = failure.kind.as_deref() == Some("PERMISSION")
        && permission(&latest.code).is_some_and(|permission| known.permissions().is_some() && is_granted(known, permission));
    (!is_mended).then(|| failure.clone())
}

/// Whether asking again would give the same.
pub(super) fn lasts(failure: &SignalFailure) -> bool {
    matches!(failure.kind.as_deref(), Some("COMPATIBILITY" | "PERMISSION"))
}

/// The permission that a signal needs, if the table knows it.
pub(super) fn permission(code: &str) -> Option<&'static str> {
    let holds = |endpoint: &&Endpoint| endpoint.signals.iter().any(|signal: &Signal| signal.code == code);
    crate::model::mapping::endpoints().iter().find(holds).map(|endpoint| endpoint.permission)
}

/// A failure of a signal as an error. That of our own token is none of the client's.
pub(super) fn of_failure(failure: &SignalFailure) -> Fault {
    match failure.kind.as_deref() {
        None | Some("AUTHENTICATION") => Fault::of("UPSTREAM", Some("UNKNOWN_ISSUE")),
        Some(kind) => Fault::of(kind, failure.code.as_deref()),
    }
}

/// Smartcar has told nothing of it.
fn nothing(known: &Known, endpoint: &Endpoint) -> Fault {
    let drive = known.vehicle.facts.powertrain.as_deref().unwrap_or_default();
    let cannot = match endpoint.permission {
        "read_fuel" | "read_engine_oil" => drive == "BEV",
        "read_battery" | "read_charge" => matches!(drive, "ICE" | "HEV" | "MHEV"),
        _ => false,
    };
    if cannot {
        return Fault::not_capable("VEHICLE_NOT_CAPABLE");
    }
    Fault::not_capable("SMARTCAR_NOT_CAPABLE").because("Smartcar has told nothing of this for the vehicle.")
}

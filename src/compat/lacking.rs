//! What a car lacks: what Smartcar has said that it cannot have of it, and what none of its kind has.

use super::is_granted;
use super::stored::usable;
use crate::model::capability::lasts;
use crate::model::mapping::{self, Endpoint};
use crate::model::reading::SignalFailure;
use crate::store::tellings::Latest;
use crate::vehicles::known::Known;

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
pub(super) fn lack(known: &Known, latest: &Latest) -> Option<SignalFailure> {
    let newest = failure(known, latest).filter(lasts);
    let before = latest.lack.as_ref().filter(|lack| latest.told_at.is_none_or(|told| told < lack.told_at));
    newest.or_else(|| before.map(|lack| lack.failure.clone()).filter(|failure| !is_mended(known, latest, failure)))
}

/// Whether the drive of the vehicle has none of it.
pub(super) fn has_none(known: &Known, endpoint: &Endpoint) -> bool {
    let drive = known.vehicle.facts.powertrain.as_deref().unwrap_or_default();
    match endpoint.permission {
        "read_fuel" | "read_engine_oil" => drive == "BEV",
        "read_battery" | "read_charge" => matches!(drive, "ICE" | "HEV" | "MHEV"),
        _ => false,
    }
}

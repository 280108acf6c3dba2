//! What a car can tell, learnt from what it told and what Smartcar answered.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::mapping;
use super::reading::SignalFailure;
use super::vehicle::{Vehicle, VehicleError};

/// Whether a signal of a car can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ability {
    /// It told a value.
    Seen,
    /// The car, its brand, or Smartcar for it, cannot.
    NotCapable,
    /// The owner has not allowed it.
    NoPermission,
    /// The plan at Smartcar does not include it.
    NotInPlan,
}

/// Why a signal of a car cannot be had, as long as no value was told since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// What Smartcar said.
    pub failure: SignalFailure,
    /// Since when it says so.
    pub since: Timestamp,
    /// When it said so last.
    pub told_at: Timestamp,
}

impl Lack {
    /// After another failure was told. What passes, such as a car that sleeps, says nothing of what it can.
    pub fn after(known: Option<Lack>, failure: &SignalFailure, told_at: Timestamp) -> Option<Lack> {
        let Some(ability) = lacking(failure.kind.as_deref(), failure.code.as_deref()) else { return known };
        Some(match known {
            Some(known) if known.ability() == ability => {
                Lack { since: known.since.min(told_at), told_at: known.told_at.max(told_at), failure: failure.clone() }
            }
            Some(known) if known.told_at > told_at => known,
            _ => Lack { failure: failure.clone(), since: told_at, told_at },
        })
    }

    /// What it lacks.
    pub fn ability(&self) -> Ability {
        lacking(self.failure.kind.as_deref(), self.failure.code.as_deref()).unwrap_or(Ability::NotCapable)
    }
}

/// Whether asking again would give the same failure.
pub fn lasts(failure: &SignalFailure) -> bool {
    lacking(failure.kind.as_deref(), failure.code.as_deref()).is_some()
}

/// Whether the owner has not allowed it, and may yet.
pub fn is_refusal(failure: &SignalFailure) -> bool {
    lacking(failure.kind.as_deref(), failure.code.as_deref()) == Some(Ability::NoPermission)
}

/// The permission that opens a signal which its owner has not allowed, if it is known by which.
pub fn opened_by(code: &str, failure: &SignalFailure) -> Option<&'static str> {
    if failure.kind.as_deref() == Some("PERMISSION") { mapping::permission(code) } else { None }
}

/// What an error of Smartcar's says of what can be had at all; `None` if it may pass.
fn lacking(kind: Option<&str>, code: Option<&str>) -> Option<Ability> {
    match (kind?, code) {
        ("COMPATIBILITY", _) => Some(Ability::NotCapable),
        ("PERMISSION", _) | ("CONNECTED_SERVICES_ACCOUNT", Some("PERMISSION")) => Some(Ability::NoPermission),
        ("BILLING", Some("INVALID_PLAN")) => Some(Ability::NotInPlan),
        _ => None,
    }
}

/// What the errors of a vehicle, and what its owner granted, say of signals: by their codes.
pub fn told_otherwise(vehicle: &Vehicle) -> Vec<(&str, Lack)> {
    let of_error = |error: &VehicleError| {
        let (kind, code) = (Some(error.kind.clone()), error.code.clone());
        let failure = SignalFailure { status: "ERROR".to_owned(), kind, code };
        Lack::after(None, &failure, error.since)
    };
    let errors = vehicle.errors.iter().filter_map(|error| Some((error, of_error(error)?)));
    let by_error = errors.flat_map(|(error, lack)| error.signals.iter().map(move |code| (code.as_str(), lack.clone())));
    let granted = vehicle.facts.permissions.iter().flat_map(|granted| {
        let is_refused = |signal: &&mapping::Signal| {
            mapping::permission(signal.code).is_some_and(|needed| !granted.iter().any(|each| each == needed))
        };
        mapping::endpoints().iter().flat_map(|endpoint| endpoint.signals).filter(is_refused)
    });
    let failure = SignalFailure { status: "ERROR".to_owned(), kind: Some("PERMISSION".to_owned()), code: None };
    let refused = Lack { failure, since: vehicle.linked_at, told_at: vehicle.linked_at };
    by_error.chain(granted.map(|signal| (signal.code, refused.clone()))).collect()
}

/// Why a signal has no new value, in plain words.
pub fn in_words(failure: &SignalFailure) -> String {
    let told = match (failure.kind.as_deref(), failure.code.as_deref()) {
        (Some("COMPATIBILITY"), Some("SMARTCAR_NOT_CAPABLE")) => "Smartcar cannot read this from this brand",
        (Some("COMPATIBILITY"), Some("PLATFORM_NOT_CAPABLE")) => "The car\u{2019}s online service does not offer this",
        (Some("COMPATIBILITY"), _) => "This car does not report this",
        (Some("PERMISSION"), _) => "The owner has not allowed this",
        (Some("BILLING"), Some("INVALID_PLAN")) => "The plan at Smartcar does not include this",
        (Some("BILLING"), _) => "The plan at Smartcar is used up or suspended",
        (Some("VEHICLE_STATE"), Some("ASLEEP")) => "The car is asleep",
        (Some("VEHICLE_STATE"), Some("UNREACHABLE")) => "The car could not be reached",
        (Some("VEHICLE_STATE"), Some("REMOTE_ACCESS_DISABLED")) => "Remote access is switched off in the car",
        (Some("VEHICLE_STATE"), _) => "The car could not answer in its present state",
        (Some("CONNECTED_SERVICES_ACCOUNT"), Some("VIRTUAL_KEY_REQUIRED")) => "The car needs Smartcar\u{2019}s virtual key",
        (Some("CONNECTED_SERVICES_ACCOUNT"), Some("PERMISSION")) => "The account at the car\u{2019}s maker does not allow this",
        (Some("CONNECTED_SERVICES_ACCOUNT"), _) => "The account at the car\u{2019}s maker needs attention",
        (Some("SERVER" | "UPSTREAM"), _) => "Smartcar or the car\u{2019}s maker had a problem",
        (kind, code) => {
            let told: Vec<String> = [kind, code].into_iter().flatten().map(calm).collect();
            return if told.is_empty() { "No new value".to_owned() } else { format!("No new value: {}", told.join(", ")) };
        }
    };
    told.to_owned()
}

/// `NEW_KIND` as `New kind`.
fn calm(word: &str) -> String {
    let calm = word.replace('_', " ").to_lowercase();
    let mut letters = calm.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: &str, code: Option<&str>) -> SignalFailure {
        SignalFailure { status: "ERROR".into(), kind: Some(kind.into()), code: code.map(str::to_owned) }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn only_what_lasts_is_a_lack() {
        for (kind, code, expected) in [
            ("COMPATIBILITY", Some("VEHICLE_NOT_CAPABLE"), Some(Ability::NotCapable)),
            ("PERMISSION", None, Some(Ability::NoPermission)),
            ("CONNECTED_SERVICES_ACCOUNT", Some("PERMISSION"), Some(Ability::NoPermission)),
            ("CONNECTED_SERVICES_ACCOUNT", Some("AUTHENTICATION_FAILED"), None),
            ("BILLING", Some("INVALID_PLAN"), Some(Ability::NotInPlan)),
            ("BILLING", Some("VEHICLE_REQUEST_LIMIT"), None),
            ("VEHICLE_STATE", Some("ASLEEP"), None),
            ("RATE_LIMIT", Some("VEHICLE"), None),
        ] {
            assert_eq!(lasts(&failure(kind, code)), expected.is_some(), "{kind} {code:?}");
            let lack = Lack::after(None, &failure(kind, code), at(1));
            assert_eq!(lack.map(|lack| lack.ability()), expected, "{kind} {code:?}");
        }
    }

    #[test]
    fn a_lack_keeps_its_beginning_and_outlasts_what_passes() {
        let asleep = failure("VEHICLE_STATE", Some("ASLEEP"));
        let first = Lack::after(None, &failure("COMPATIBILITY", None), at(10));
        let again = Lack::after(first, &failure("COMPATIBILITY", Some("VEHICLE_NOT_CAPABLE")), at(20));
        let lack = Lack::after(again, &asleep, at(30)).unwrap();
        assert_eq!((lack.since, lack.told_at), (at(10), at(20)));
        assert_eq!(lack.failure.code.as_deref(), Some("VEHICLE_NOT_CAPABLE"));
        // Another reason counts if it is newer.
        let late = Lack::after(Some(lack.clone()), &failure("PERMISSION", None), at(15)).unwrap();
        assert_eq!(late, lack);
        let newer = Lack::after(Some(lack), &failure("PERMISSION", None), at(40)).unwrap();
        assert_eq!((newer.ability(), newer.since), (Ability::NoPermission, at(40)));
    }

    #[test]
    fn failures_are_told_in_plain_words() {
        assert_eq!(in_words(&failure("PERMISSION", None)), "The owner has not allowed this");
        assert_eq!(in_words(&failure("NEW_KIND", Some("NEW_CODE"))), "No new value: New kind, New code");
        assert_eq!(in_words(&SignalFailure::default()), "No new value");
    }
}

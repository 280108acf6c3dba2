//! Smartcar's errors in words that an owner can act on.

use std::time::Duration;

use crate::budget::Refused;
use crate::model::command::{CommandFailure, CommandOutcome};
use crate::model::{VehicleId, in_seconds, in_words};
use crate::smartcar::{Failure, SmartcarError, in_two};
use crate::tokens::{CallError, TokenError};

/// What really happened, as far as an error tells, to a car of which something was asked that needs a permission. `sent` is how
/// many requests went out, and `limit` what the ledger says of a limit of Smartcar's that they met.
pub(super) fn outcome(
    error: &CallError,
    (car, permission): (&VehicleId, &str),
    sent: u32,
    limit: Option<&Refused>,
) -> CommandOutcome {
    let error = match error {
        CallError::Smartcar(error @ SmartcarError::Ended { what }) => {
            let sentence = format!("The command was not carried out: {}.", in_two(&error.to_string()).0);
            return CommandOutcome::Failed(CommandFailure { code: word(what), sentence, ..CommandFailure::default() });
        }
        CallError::Smartcar(error) => error,
        // Without a token nothing was sent. A token that was refused has moved no car.
        CallError::Token(TokenError::Later { after, what }) => {
            let sentence = format!("The command was not sent: {}; try again in {}.", in_two(what).0, in_words(*after));
            return failed(sentence, Some(*after));
        }
        CallError::Token(TokenError::NeedsReconnect(what)) => {
            return failed(format!("The owner must connect again: {}.", in_two(what).0), None);
        }
        other => return failed(format!("The command was not sent: {other}."), None),
    };
    if sent == 0 {
        return failed(format!("The command was not sent: {error}."), None);
    }
    let Failure { kind, code, status, may_have_acted, .. } = error.failure();
    let code_text = word(error.failure());
    // Smartcar's own words are believed; silence, and words that did not come from it, say nothing of the car.
    let is_silence = kind.is_none() && *may_have_acted
        || *status == Some(504)
        || matches!((kind.as_deref(), code.as_deref()), (Some("UPSTREAM"), Some("NO_RESPONSE")));
    if is_silence {
        let sentence = format!("Nobody can say whether the car did it: {}. {LOOK}", in_two(&error.to_string()).0);
        return CommandOutcome::Unknown(CommandFailure { code: code_text, sentence, ..CommandFailure::default() });
    }
    let (after, resolution_url) = match error {
        SmartcarError::Later { after, .. } => (*after, None),
        SmartcarError::Reconnect { url, .. } => (None, url.clone()),
        _ => (None, None),
    };
    let (what, mut remedy, usual) = meaning(kind.as_deref(), code.as_deref(), error);
    let ask = format!("ask for {permission} (`carport connect --vehicle {car} --add-scope {permission}`)");
    if kind.as_deref() == Some("PERMISSION") {
        remedy = &ask;
    }
    // Until then nothing is sent again.
    let after = limit.map(Refused::after).or(after).or(usual);
    let sentence = match (limit, remedy, after) {
        (Some(month @ Refused::MonthIsOver { .. }), ..) => format!("{}.", capital(&month.to_string())),
        (_, "", Some(after)) => format!("{what}; try again in {}.", in_words(after)),
        (_, "", None) => format!("{what}."),
        (_, remedy, Some(after)) => format!("{what}; {remedy}, or try again in {}.", in_words(after)),
        (_, remedy, None) => format!("{what}: {remedy}."),
    };
    let retry_after = after.map(in_seconds);
    CommandOutcome::Failed(CommandFailure { code: code_text, sentence, retry_after, resolution_url, status: *status })
}

/// `TYPE:CODE`, as far as Smartcar has said it.
fn word(what: &Failure) -> Option<String> {
    match (&what.kind, &what.code) {
        (Some(kind), Some(code)) => Some(format!("{kind}:{code}")),
        (Some(word), None) | (None, Some(word)) => Some(word.to_string()),
        (None, None) => None,
    }
}

/// What an error is, what the owner can do, and when trying again usually makes sense.
#[rustfmt::skip]
fn meaning(kind: Option<&str>, code: Option<&str>, error: &SmartcarError) -> (String, &'static str, Option<Duration>) {
    const MINUTE: Duration = Duration::from_secs(60);
    let said = |what: &str, remedy, after| (what.to_owned(), remedy, after);
    match (kind.unwrap_or_default(), code.unwrap_or_default()) {
        ("VEHICLE_STATE", "ASLEEP") => said("The car is asleep", "open a door or its own app to wake it", Some(10 * MINUTE)),
        ("VEHICLE_STATE", "IN_MOTION") => said("The car is driving", "park it first", Some(10 * MINUTE)),
        ("VEHICLE_STATE", "IGNITION_ON") => said("The car is switched on", "switch it off first", Some(10 * MINUTE)),
        ("VEHICLE_STATE", "UNREACHABLE") => said("The car cannot be reached, perhaps it has no reception", "", Some(15 * MINUTE)),
        ("VEHICLE_STATE", "CHARGING_PLUG_NOT_CONNECTED") => said("The charging cable is not plugged in", "plug it in first", None),
        ("VEHICLE_STATE", "CHARGING_PLUG_CONNECTED") => said("The charging cable is plugged in", "unplug it first", None),
        ("VEHICLE_STATE", "CHARGING_IN_PROGRESS") => said("The car is charging already", "stop that first if you want otherwise", None),
        ("VEHICLE_STATE", "NOT_CHARGING") => said("The car is not charging", "there is nothing to stop", None),
        ("VEHICLE_STATE", "FULLY_CHARGED") => said("The car is charged up to its limit", "raise the charge limit to charge on", None),
        ("VEHICLE_STATE", "CHARGE_FAULT") => said("The car or the charger reports a fault", "look at both", None),
        ("VEHICLE_STATE", "DOOR_OPEN") => said("A door is open", "close it first", None),
        ("VEHICLE_STATE", "HOOD_OPEN") => said("The hood is open", "close it first", None),
        ("VEHICLE_STATE", "TRUNK_OPEN") => said("The trunk is open", "close it first", None),
        ("VEHICLE_STATE", "REMOTE_ACCESS_DISABLED") => said("Remote access is switched off in the car", "switch it on in the car's settings", None),
        ("VEHICLE_STATE", "VEHICLE_OFFLINE_FOR_SERVICE") => said("The car is in service", "", Some(60 * MINUTE)),
        ("VEHICLE_STATE", _) => said("The car cannot do this in its present state", "", Some(10 * MINUTE)),
        ("CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED") => said("The car wants a virtual key", "the owner adds it in the manufacturer's app", None),
        ("CONNECTED_SERVICES_ACCOUNT", "AUTHENTICATION_FAILED") => said("The manufacturer no longer accepts the owner's sign-in", "connect the car again", None),
        ("CONNECTED_SERVICES_ACCOUNT", "SUBSCRIPTION") => said("The manufacturer's connected services have run out for this car", "renew them with the manufacturer", None),
        ("CONNECTED_SERVICES_ACCOUNT", "PERMISSION") => said("The owner's account at the manufacturer may not do this", "use the main driver's account, and connect again", None),
        ("CONNECTED_SERVICES_ACCOUNT", "VEHICLE_MISSING" | "NO_VEHICLES") => said("The car is no longer in the owner's account at the manufacturer", "add it there, and connect again", None),
        ("CONNECTED_SERVICES_ACCOUNT", _) => said("The owner's account at the manufacturer has a problem", "the owner opens the manufacturer's app and follows it", None),
        ("PERMISSION", _) => said("The owner has not granted this", "", None),
        ("COMPATIBILITY", _) => said("This car, or Smartcar for this car, cannot do this", "nothing helps but another car", None),
        ("RATE_LIMIT", "VEHICLE") | ("UPSTREAM", "RATE_LIMIT") => said("This car was asked too often", "", Some(30 * MINUTE)),
        ("RATE_LIMIT", _) => said("Smartcar was asked too often", "", Some(MINUTE)),
        ("BILLING", "VEHICLE_REQUEST_LIMIT") => said("The calls of this month for this car are spent at Smartcar", "see your plan in Smartcar's dashboard", None),
        ("UPSTREAM", "UNKNOWN_ISSUE") => said("The car did not do it, and nobody says why", "", Some(5 * MINUTE)),
        ("UPSTREAM", _) => said("The manufacturer has a problem", "", Some(5 * MINUTE)),
        ("SERVER", "INTERNAL") => said("Smartcar has a problem", "", Some(5 * MINUTE)),
        ("VALIDATION", _) => said("Smartcar does not accept what goes with the command", "this car may allow other values only", None),
        _ => {
            let usual = matches!(error, SmartcarError::Later { .. }).then_some(5 * MINUTE);
            (capital(in_two(&error.to_string()).0), "", usual)
        }
    }
}

/// As a sentence begins.
fn capital(text: &str) -> String {
    let first = text.chars().next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(text.chars().skip(1)).collect()
}

/// Carport was stopped before the answer came.
pub(super) fn cut_off() -> CommandFailure {
    let sentence = format!("Nobody can say whether the car did it: Carport was stopped before Smartcar answered. {LOOK}");
    CommandFailure { sentence, ..CommandFailure::default() }
}

/// Smartcar's answer ended while the command was under way.
pub(super) fn ended_early() -> CommandFailure {
    let sentence = format!("Nobody can say whether the car did it: Smartcar ended its answer before it knew. {LOOK}");
    CommandFailure { sentence, ..CommandFailure::default() }
}

/// Carport was stopped before the command went out.
pub(super) fn not_sent() -> CommandFailure {
    let sentence = "The command was not sent: Carport was stopped.".to_owned();
    CommandFailure { sentence, ..CommandFailure::default() }
}

fn failed(sentence: String, after: Option<Duration>) -> CommandOutcome {
    let retry_after = after.map(in_seconds);
    CommandOutcome::Failed(CommandFailure { sentence, retry_after, ..CommandFailure::default() })
}

const LOOK: &str = "Look at the car before you try again.";

#[cfg(test)]
mod tests {
    use super::*;

    fn what(status: u16, kind: Option<&str>, code: Option<&str>, may_have_acted: bool) -> Failure {
        let word = |text: Option<&str>| text.map(Into::into);
        Failure {
            endpoint: "v3.command",
            status: Some(status),
            kind: word(kind),
            code: word(code),
            may_have_acted,
            ..Failure::default()
        }
    }

    fn told(error: SmartcarError) -> (&'static str, CommandFailure) {
        let outcome = outcome(&error.into(), (&VehicleId::new("v1"), "control_security"), 1, None);
        let word = outcome.as_str();
        (word, outcome.failure().cloned().unwrap())
    }

    #[test]
    fn an_owner_is_told_what_to_do() {
        let asleep = |after| SmartcarError::Later { after, what: what(409, Some("VEHICLE_STATE"), Some("ASLEEP"), false) };
        let (word, failure) = told(asleep(None));
        assert_eq!((word, failure.code.as_deref(), failure.retry_after), ("failed", Some("VEHICLE_STATE:ASLEEP"), Some(600)));
        assert_eq!(failure.sentence, "The car is asleep; open a door or its own app to wake it, or try again in 10 minutes.");
        let (_, failure) = told(asleep(Some(Duration::from_secs(30))));
        assert!(failure.sentence.ends_with("or try again in 30 s."), "{}", failure.sentence);
        let url = Some("https://connect.smartcar.com/x".to_owned());
        let key = what(400, Some("CONNECTED_SERVICES_ACCOUNT"), Some("VIRTUAL_KEY_REQUIRED"), false);
        let (_, failure) = told(SmartcarError::Reconnect { what: key, url: url.clone() });
        assert_eq!(failure.sentence, "The car wants a virtual key: the owner adds it in the manufacturer's app.");
        assert_eq!(failure.resolution_url, url);
        let (_, failure) = told(SmartcarError::NotPossible { what: what(403, Some("PERMISSION"), None, false) });
        let asked = "ask for control_security (`carport connect --vehicle v1 --add-scope control_security`).";
        assert_eq!(failure.sentence, format!("The owner has not granted this: {asked}"));
    }

    #[test]
    fn silence_is_no_outcome() {
        for unclear in [
            what(502, None, None, true),
            what(504, Some("SERVER"), None, true),
            what(502, Some("UPSTREAM"), Some("NO_RESPONSE"), true),
        ] {
            let (word, failure) = told(SmartcarError::Later { after: None, what: unclear });
            assert_eq!((word, failure.retry_after), ("unknown", None));
            assert!(failure.sentence.ends_with(LOOK), "{}", failure.sentence);
        }
        let (word, _) = told(SmartcarError::Later { after: None, what: what(500, Some("SERVER"), Some("INTERNAL"), true) });
        assert_eq!(word, "failed");
        let unsent = outcome(&TokenError::Gone.into(), (&VehicleId::new("v1"), "control_charge"), 0, None);
        assert!(matches!(unsent, CommandOutcome::Failed(_)));
    }
}

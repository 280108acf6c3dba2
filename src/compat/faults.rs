//! What goes wrong below, as errors of Smartcar's.

use crate::budget::Refused;
use crate::commands::{CommandError, CommandView};
use crate::model::fault::Fault;
use crate::smartcar::SmartcarError;
use crate::store::StoreError;
use crate::tokens::{CallError, TokenError};
use crate::vehicles::VehiclesError;

/// The store is in trouble.
pub(super) fn of_store(_: StoreError) -> Fault {
    Fault::of("SERVER", Some("INTERNAL")).because("Carport's store cannot be read now. Try again soon.")
}

/// A call that gave nothing.
pub(super) fn of_call(error: &CallError) -> Fault {
    match error {
        CallError::Budget(refused) => of_refusal(refused),
        CallError::Smartcar(error) => of_smartcar(error),
        CallError::Token(TokenError::NeedsReconnect(_)) => reconnect(),
        CallError::Token(TokenError::Gone) => Fault::permission().because("This car is not connected any more."),
        CallError::Token(TokenError::Later { after, .. }) => unreachable().after(*after),
        CallError::Token(TokenError::Configuration(_)) => refused_credentials(),
        CallError::Token(TokenError::Store(error)) => of_store(error.clone()),
    }
}

/// Why a command was not sent.
pub(super) fn of_command(error: &CommandError) -> Fault {
    match error {
        CommandError::NotFound => Fault::no_vehicle(),
        CommandError::NotConnected => Fault::permission().because("This car is not connected any more."),
        CommandError::Reconnect(_) => reconnect(),
        CommandError::NoPermission(_) => Fault::permission().because(in_a_sentence(error)),
        CommandError::NotPossible => Fault::not_capable("SMARTCAR_NOT_CAPABLE").because(in_a_sentence(error)),
        CommandError::UnderWay { .. } => Fault::of("VEHICLE_STATE", Some("UNKNOWN")).because(in_a_sentence(error)),
        CommandError::OverBudget(refused) => of_refusal(refused),
        _ => of_store(StoreError::Busy),
    }
}

fn in_a_sentence(error: &CommandError) -> String {
    format!("Carport has not sent the command: {error}.")
}

/// The error of a command that has ended otherwise than well; `None` if it has not.
pub fn of_outcome(view: &CommandView) -> Option<Fault> {
    let fault = view.error.as_ref()?;
    let (kind, code) = fault.code.as_deref().map_or(("", None), |text| match text.split_once(':') {
        Some((kind, code)) => (kind, Some(code)),
        None => (text, None),
    });
    let told = match in_smartcars_words(Some(kind), code, fault.status) {
        Some(told) if view.status == "failed" => told,
        // It said no, and not why.
        None if view.status == "failed" && fault.status.is_some() => Fault::of("UPSTREAM", Some("UNKNOWN_ISSUE")),
        // Nobody knows whether the car has done it, or it was not sent at all.
        _ => unreachable(),
    };
    let url = fault.resolution_url.as_deref().map(Into::into);
    let retry_after = fault.retry_after.map(std::time::Duration::from_secs);
    Some(Fault { url, retry_after, ..told.because(fault.sentence.as_str()) })
}

/// What a room said of a vehicle.
pub(super) fn of_vehicles(error: &VehiclesError) -> Fault {
    match error {
        VehiclesError::NotFound => Fault::no_vehicle(),
        VehiclesError::Reconnect(_) => reconnect(),
        VehiclesError::Later { after, .. } => unreachable().after(*after),
        VehiclesError::OverBudget(refused) => of_refusal(refused),
        VehiclesError::NotConfigured(_) => refused_credentials(),
        VehiclesError::Store => of_store(StoreError::Busy),
        _ => Fault::of("UPSTREAM", Some("UNKNOWN_ISSUE")),
    }
}

fn of_refusal(refused: &Refused) -> Fault {
    let fault = match refused {
        Refused::MonthIsOver { .. } | Refused::Reserved { .. } | Refused::ShareIsSpent { .. } => {
            Fault::of("BILLING", Some("VEHICLE_REQUEST_LIMIT"))
        }
        Refused::VehicleRests { .. } => Fault::of("RATE_LIMIT", Some("VEHICLE")),
        Refused::ApplicationRests { .. } => Fault::of("RATE_LIMIT", Some("SMARTCAR_API")),
        Refused::Store(error) => of_store(error.clone()),
    };
    fault.because(format!("Carport has not asked Smartcar: {refused}.")).after(refused.after())
}

/// What Smartcar said, with the status that it answered; `None` if it has no type of Smartcar's, or if that is about our
/// token, which is no fault of the client's.
fn in_smartcars_words(kind: Option<&str>, code: Option<&str>, status: Option<u16>) -> Option<Fault> {
    let is_type = |kind: &&str| !kind.is_empty() && kind.bytes().all(|byte| byte == b'_' || byte.is_ascii_uppercase());
    let Some(kind) = kind.filter(is_type).filter(|kind| *kind != "AUTHENTICATION") else {
        // An older form of v3's errors has no types. Nothing but the state of a car is a conflict.
        return (status == Some(409)).then(|| Fault::of("VEHICLE_STATE", Some("UNKNOWN")));
    };
    let fault = Fault::of(kind, code);
    let is_error = |status: &u16| (400..600).contains(status) && *status != 401;
    Some(Fault { status: status.filter(is_error).unwrap_or(fault.status), ..fault })
}

/// Smartcar's words, as far as there are any.
fn of_smartcar(error: &SmartcarError) -> Fault {
    let what = error.failure();
    let fault = match (in_smartcars_words(what.kind.as_deref(), what.code.as_deref(), what.status), error) {
        (Some(fault), _) => fault,
        (None, SmartcarError::Unauthorized { .. } | SmartcarError::Configuration { .. }) => refused_credentials(),
        (None, _) if what.status.is_none() => unreachable(),
        (None, _) => Fault::of("UPSTREAM", Some("UNKNOWN_ISSUE")),
    };
    match error {
        SmartcarError::Later { after: Some(after), .. } => fault.after(*after),
        SmartcarError::Reconnect { url, .. } => Fault { url: url.as_deref().map(Into::into), ..fault },
        _ => fault,
    }
}

fn reconnect() -> Fault {
    Fault::of("CONNECTED_SERVICES_ACCOUNT", Some("AUTHENTICATION_FAILED"))
}

fn unreachable() -> Fault {
    Fault::of("UPSTREAM", Some("NO_RESPONSE"))
}

fn refused_credentials() -> Fault {
    let text = "Smartcar does not accept Carport's credentials, or they are not set: see Carport's status.";
    Fault::of("UPSTREAM", Some("KNOWN_ISSUE")).because(text)
}

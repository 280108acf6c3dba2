//! What goes wrong below, as errors of Smartcar's.

use crate::budget::Refused;
use crate::commands::{CommandError, CommandView};
use crate::model::api_error::ApiError;
use crate::smartcar::{SmartcarError, sunset};
use crate::store::StoreError;
use crate::tokens::{CallError, TokenError};
use crate::vehicles::VehiclesError;

/// The store is in trouble.
pub(super) fn of_store(_: StoreError) -> ApiError {
    ApiError::of("SERVER", Some("INTERNAL")).because("Carport's store cannot be read now. Try again soon.")
}

/// A call that gave nothing.
pub(super) fn of_call(error: &CallError) -> ApiError {
    match error {
        CallError::Budget(refused) => of_refusal(refused),
        CallError::Smartcar(error) => of_smartcar(error),
        CallError::Token(TokenError::NeedsReconnect(_)) => reconnect(),
        CallError::Token(TokenError::Gone) => ApiError::permission().because("This car is not connected any more."),
        CallError::Token(TokenError::Later { after, .. }) => unreachable().after(*after),
        CallError::Token(TokenError::Configuration(_)) => refused_credentials(),
        CallError::Token(TokenError::Store(error)) => of_store(error.clone()),
    }
}

/// Why a command was not sent.
pub(super) fn of_command(error: &CommandError) -> ApiError {
    match error {
        CommandError::NotFound => ApiError::no_vehicle(),
        CommandError::NotConnected(_) => ApiError::permission().because("This car is not connected any more."),
        CommandError::Reconnect { .. } => reconnect(),
        CommandError::NoPermission { .. } => ApiError::permission().because(in_a_sentence(error)),
        CommandError::NotPossible => ApiError::not_capable("SMARTCAR_NOT_CAPABLE").because(in_a_sentence(error)),
        CommandError::UnderWay { .. } => ApiError::of("VEHICLE_STATE", Some("UNKNOWN")).because(in_a_sentence(error)),
        CommandError::Ended(error) => of_smartcar(error),
        CommandError::OverBudget(refused) => of_refusal(refused),
        _ => of_store(StoreError::Busy),
    }
}

fn in_a_sentence(error: &CommandError) -> String {
    format!("Carport has not sent the command: {error}.")
}

/// The error of a command that has ended otherwise than well; `None` if it has not.
pub fn of_outcome(view: &CommandView) -> Option<ApiError> {
    let failure = view.error.as_ref()?;
    let (kind, code) = failure.code.as_deref().map_or(("", None), |text| match text.split_once(':') {
        Some((kind, code)) => (kind, Some(code)),
        None if ApiError::is_type(text) => (text, None),
        // An older form of v3's errors has no types.
        None => ("", Some(text)),
    });
    let told = match in_smartcars_words(Some(kind), code, failure.status) {
        Some(told) if view.status == "failed" => told,
        None if view.status == "failed" && failure.status == Some(429) => ApiError::of("RATE_LIMIT", Some("SMARTCAR_API")),
        // It said no, and not why.
        None if view.status == "failed" && failure.status.is_some() => ApiError::of("UPSTREAM", Some("UNKNOWN_ISSUE")),
        // Nobody knows whether the car has done it, or it was not sent at all.
        _ => unreachable(),
    };
    let url = failure.resolution_url.as_deref().map(Into::into);
    let retry_after = failure.retry_after.map(std::time::Duration::from_secs);
    Some(ApiError { url, retry_after, ..told.because(failure.sentence.as_str()) })
}

/// What a room said of a vehicle.
pub(super) fn of_vehicles(error: &VehiclesError) -> ApiError {
    match error {
        VehiclesError::NotFound | VehiclesError::UnknownUser => ApiError::no_vehicle(),
        VehiclesError::NotConnected(_) => ApiError::permission().because("This car is not connected any more."),
        VehiclesError::Reconnect { .. } => reconnect(),
        VehiclesError::Later { after, .. } => unreachable().after(*after),
        VehiclesError::OverBudget(refused) => of_refusal(refused),
        VehiclesError::NotConfigured(_) => refused_credentials(),
        VehiclesError::Ended(error) => of_smartcar(error),
        VehiclesError::Store | VehiclesError::Damaged => of_store(StoreError::Busy),
        _ => ApiError::of("UPSTREAM", Some("UNKNOWN_ISSUE")),
    }
}

fn of_refusal(refused: &Refused) -> ApiError {
    let error = match refused {
        Refused::MonthIsOver { .. } | Refused::Reserved { .. } | Refused::ShareIsSpent { .. } => {
            ApiError::of("BILLING", Some("VEHICLE_REQUEST_LIMIT"))
        }
        Refused::VehicleRests { .. } => ApiError::of("RATE_LIMIT", Some("VEHICLE")),
        Refused::ApplicationRests { .. } => ApiError::of("RATE_LIMIT", Some("SMARTCAR_API")),
        Refused::Store(error) => of_store(error.clone()),
    };
    error.because(format!("Carport has not asked Smartcar: {refused}.")).after(refused.after())
}

/// What Smartcar said, with the status that it answered; `None` if it has no type of Smartcar's, or if that is about our
/// token, which is no fault of the client's.
fn in_smartcars_words(kind: Option<&str>, code: Option<&str>, status: Option<u16>) -> Option<ApiError> {
    let is_type = |kind: &&str| !kind.is_empty() && kind.bytes().all(|byte| byte == b'_' || byte.is_ascii_uppercase());
    let Some(kind) = kind.filter(is_type).filter(|kind| *kind != "AUTHENTICATION") else {
        // An older form of v3's errors has no types. Nothing but the state of a car is a conflict.
        return (status == Some(409)).then(|| ApiError::of("VEHICLE_STATE", Some("UNKNOWN")));
    };
    let error = ApiError::of(kind, code);
    let is_error = |status: &u16| (400..600).contains(status) && *status != 401;
    Some(ApiError { status: status.filter(is_error).unwrap_or(error.status), ..error })
}

/// Smartcar's words, as far as there are any.
fn of_smartcar(error: &SmartcarError) -> ApiError {
    if let SmartcarError::Ended { .. } = error {
        return ApiError::of("UPSTREAM", Some("KNOWN_ISSUE")).because(format!("{}.", sunset::of_a_car()));
    }
    let what = error.failure();
    let told = match (in_smartcars_words(what.kind.as_deref(), what.code.as_deref(), what.status), error) {
        (Some(told), _) => told,
        (None, SmartcarError::Unauthorized { .. } | SmartcarError::Configuration { .. }) => refused_credentials(),
        (None, _) if what.status.is_none() => unreachable(),
        (None, _) if what.status == Some(429) => ApiError::of("RATE_LIMIT", Some("SMARTCAR_API")),
        (None, _) => ApiError::of("UPSTREAM", Some("UNKNOWN_ISSUE")),
    };
    match error {
        SmartcarError::Later { after: Some(after), .. } => told.after(*after),
        SmartcarError::Reconnect { url, .. } => ApiError { url: url.as_deref().map(Into::into), ..told },
        _ => told,
    }
}

fn reconnect() -> ApiError {
    ApiError::of("CONNECTED_SERVICES_ACCOUNT", Some("AUTHENTICATION_FAILED"))
}

fn unreachable() -> ApiError {
    ApiError::of("UPSTREAM", Some("NO_RESPONSE"))
}

fn refused_credentials() -> ApiError {
    let text = "Smartcar does not accept Carport's credentials, or they are not set: see Carport's status.";
    ApiError::of("UPSTREAM", Some("KNOWN_ISSUE")).because(text)
}

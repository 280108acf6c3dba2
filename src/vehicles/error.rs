//! What can go wrong with vehicles and users, by what can be done about it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::budget::Refused;
use crate::model::catalogue::alike;
use crate::model::{AppUserId, VehicleId};
use crate::smartcar::SmartcarError;
use crate::store::StoreError;
use crate::tokens::{CallError, TokenError};

/// Why something about vehicles or users cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VehiclesError {
    /// There is no such vehicle, or it is out of the caller's reach.
    #[error("there is no car of this id: `carport vehicles list` shows them all")]
    NotFound,
    /// There is no such user, or it is out of the caller's reach.
    #[error("there is no user of this id: `carport users list` shows them all")]
    UnknownUser,
    /// Smartcar lists no such signal, and no car has told of one.
    #[error("{}", unknown_signal(.0))]
    UnknownSignal(String),
    /// The car has not told of a signal.
    #[error(
        "this car has told nothing of this signal: `carport signals {0}` shows what it has told, with --missing what it cannot"
    )]
    Untold(VehicleId),
    /// The id is taken.
    #[error("there is one of that id already")]
    Exists,
    /// The request does not make sense.
    #[error("{0}")]
    BadRequest(&'static str),
    /// The vehicle has no connection.
    #[error("this car is not connected: connect it again{}", by_link(.0.as_ref(), ""))]
    NotConnected(Option<VehicleId>),
    /// The connection has ended.
    #[error("this connection has ended: connect its car again (`carport connect --vehicle ID`)")]
    ConnectionEnded,
    /// The owner has not granted what Smartcar was asked for.
    #[error("the owner has not granted this: make a link to ask for it{} ({why})", by_link(.vehicle.as_ref(), " --add-scope PERMISSION"))]
    NoPermission {
        /// What Smartcar says.
        why: String,
        /// The car, if it is known.
        vehicle: Option<VehicleId>,
    },
    /// Only a new Connect helps.
    #[error("the owner must connect again (Reconnect on the dashboard{}): {why}", or_by_link(.vehicle.as_ref()))]
    Reconnect {
        /// What is wrong.
        why: String,
        /// One of the cars that it is about, if that is known.
        vehicle: Option<VehicleId>,
    },
    /// Smartcar cannot be asked now.
    #[error("{what}")]
    Later {
        /// What happened.
        what: String,
        /// When to try again.
        after: Duration,
    },
    /// No call may be made now.
    #[error("{0}")]
    OverBudget(Refused),
    /// Smartcar did not do what was asked.
    #[error("Smartcar: {0}")]
    Upstream(String),
    /// Only the operator can help.
    #[error("{0}")]
    NotConfigured(String),
    /// Smartcar has ended the API by which it is connected.
    #[error("{0}")]
    Ended(SmartcarError),
    /// Of several vehicles some were disconnected and some were not. To ask again is to ask for these alone.
    #[error("{} of {of} vehicles could not be disconnected", failed.len())]
    Partly {
        /// How many were to be.
        of: usize,
        /// Which are still there, and why: one at least.
        failed: Vec<(VehicleId, VehiclesError)>,
    },
    /// What could be read is erased; rows that are damaged tell nobody what they were of.
    #[error("{}", unreadable(*.rows, .left_to.as_ref()))]
    Unreadable {
        /// How many.
        rows: usize,
        /// Whose they are, if they are not erased, too: they go with them. `None` for one who is not known any more.
        left_to: Option<BTreeSet<Option<AppUserId>>>,
    },
    /// Its row in the store is damaged, so that nobody can tell what it is.
    #[error(
        "it is damaged in the store: stop carport and run `carport check --repair`, which saves what can be read; its owner can \
         connect again before or after that"
    )]
    Damaged,
    /// The store is in trouble.
    #[error("the store cannot take it now")]
    Store,
}

impl VehiclesError {
    /// Only a new Connect helps.
    pub(super) fn reconnect(why: impl Into<String>) -> VehiclesError {
        VehiclesError::Reconnect { why: why.into(), vehicle: None }
    }

    /// The same with a car that it is about, so that what is to be done can be told in full.
    pub(super) fn about(mut self, car: &VehicleId) -> VehiclesError {
        if let VehiclesError::Reconnect { vehicle, .. }
        | VehiclesError::NoPermission { vehicle, .. }
        | VehiclesError::NotConnected(vehicle) = &mut self
        {
            vehicle.get_or_insert_with(|| car.clone());
        }
        self
    }

    /// Why a read gave nothing.
    pub(super) fn of_read(error: CallError) -> VehiclesError {
        match error {
            CallError::Smartcar(SmartcarError::Reconnect { what, .. }) if what.kind.as_deref() == Some("PERMISSION") => {
                VehiclesError::NoPermission { why: what.to_string(), vehicle: None }
            }
            other => other.into(),
        }
    }
}

fn or_by_link(vehicle: Option<&VehicleId>) -> String {
    vehicle.map(|id| format!(", or `carport connect --vehicle {id}`")).unwrap_or_default()
}

fn by_link(vehicle: Option<&VehicleId>, flag: &str) -> String {
    vehicle.map(|id| format!(" (`carport connect --vehicle {id}{flag}`)")).unwrap_or_default()
}

fn unknown_signal(code: &str) -> String {
    let shown: String = code.chars().take(80).map(|c| if c.is_control() || c == '`' { '?' } else { c }).collect();
    let meant = match &*alike(code) {
        [] => String::new(),
        [one] => format!(" ({one}, perhaps?)"),
        [first @ .., last] => format!(" ({} or {last}, perhaps?)", first.join(", ")),
    };
    format!("there is no signal `{shown}`{meant}: `carport signals` shows those that the cars have told")
}

fn unreadable(rows: usize, left_to: Option<&BTreeSet<Option<AppUserId>>>) -> String {
    let is_one = rows == 1;
    let Some(users) = left_to else {
        let (rows, are) = if is_one { ("1 row of a car".to_owned(), "is") } else { (format!("{rows} rows of cars"), "are") };
        return format!(
            "it is erased, with {rows} that {are} damaged: if one of these cars is still connected at Smartcar, end it in its \
             dashboard"
        );
    };
    let (rows, goes) = if is_one { ("1 damaged row".to_owned(), "goes") } else { (format!("{rows} damaged rows"), "go") };
    let users: Vec<&str> = users.iter().map(|user| user.as_ref().map_or("a removed user", AppUserId::as_str)).collect();
    let (their, users) = (if users.len() == 1 { "its user" } else { "their users" }, users.join(", "));
    format!(
        "what could be read is erased; {rows} may belong to it, and {goes} with {their}: {users} (`carport users remove ID \
         --erase`)"
    )
}

impl From<StoreError> for VehiclesError {
    fn from(error: StoreError) -> VehiclesError {
        // To try again would bring the same.
        if matches!(error, StoreError::Damaged { .. }) { VehiclesError::Damaged } else { VehiclesError::Store }
    }
}

impl From<CallError> for VehiclesError {
    fn from(error: CallError) -> VehiclesError {
        match error {
            CallError::Token(TokenError::NeedsReconnect(what)) => VehiclesError::reconnect(what),
            CallError::Token(TokenError::Gone) => VehiclesError::NotConnected(None),
            CallError::Token(TokenError::Store(_)) | CallError::Budget(Refused::Store(_)) => VehiclesError::Store,
            CallError::Token(TokenError::Later { what, after }) => VehiclesError::Later { what, after },
            CallError::Budget(refused) => VehiclesError::OverBudget(refused),
            CallError::Smartcar(SmartcarError::Reconnect { what, .. }) => VehiclesError::reconnect(what.to_string()),
            CallError::Token(TokenError::Configuration(what)) => VehiclesError::NotConfigured(what),
            CallError::Smartcar(SmartcarError::Configuration { what }) => VehiclesError::NotConfigured(what.to_string()),
            CallError::Smartcar(error @ SmartcarError::Ended { .. }) => VehiclesError::Ended(error),
            other => VehiclesError::Upstream(other.to_string()),
        }
    }
}

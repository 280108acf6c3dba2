//! Why a journey did not go on.

use std::borrow::Cow;
use std::time::Duration;

use crate::budget::Refused;
use crate::smartcar::{SmartcarError, UNSAID, sunset};
use crate::store::StoreError;
use crate::tokens::{CallError, TokenError};

/// Why a journey did not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No such invite, or it has expired.
    #[error("this link is unknown or has expired: ask for a new one")]
    UnknownInvite,
    /// The invite led to a connection before.
    #[error("this link has been used: the connection is made")]
    SpentInvite,
    /// No such user, and it was not asked to be made.
    #[error("there is no user of that id: `carport connect --user ID --create` makes it, as does `create` in the API")]
    UnknownUser,
    /// No such vehicle.
    #[error("there is no such vehicle: `carport vehicles list` has the ids")]
    UnknownVehicle,
    /// The vehicle is another user's.
    #[error("this vehicle is another user's: leave the user out, or name the one that `carport vehicles list` shows")]
    OtherUsers,
    /// The state is missing.
    #[error("start from a Carport link")]
    NoState,
    /// The state is unknown, expired, used, or of another browser.
    #[error("this attempt is unknown or has expired: start again from the Carport link")]
    UnknownState,
    /// The redirect URI is not one of the configured.
    #[error("the redirect URI is not configured: add it to smartcar.redirect_uris")]
    UnknownRedirectUri,
    /// The request lacks something.
    #[error("{0}")]
    BadRequest(&'static str),
    /// Smartcar's redirect was an error.
    #[error("{sentence}")]
    Refused {
        /// Smartcar's word.
        code: String,
        /// In plain words.
        sentence: String,
    },
    /// `/connections` does not confirm the Smartcar user, or it is another owner's.
    #[error("Smartcar does not confirm this account for this user: start again from the Carport link")]
    Unconfirmed,
    /// Carport lacks credentials.
    #[error("{0}")]
    NotConfigured(String),
    /// No call may be made now.
    #[error("{what}")]
    Limited {
        /// Why.
        what: String,
        /// When to try again.
        after: Duration,
    },
    /// Something passes by itself.
    #[error("{what}")]
    Later {
        /// What happened.
        what: String,
        /// When to try again.
        after: Duration,
    },
    /// Smartcar did not do what was asked.
    #[error("Smartcar: {0}")]
    Upstream(String),
    /// The API that an owner came by, or that a token is of, has ended.
    #[error("{}", sunset::in_vain())]
    Ended,
    /// The store is in trouble.
    #[error("the store cannot take it now")]
    Store,
}

impl From<StoreError> for ConnectError {
    fn from(_: StoreError) -> ConnectError {
        ConnectError::Store
    }
}

impl From<SmartcarError> for ConnectError {
    fn from(error: SmartcarError) -> ConnectError {
        match error {
            SmartcarError::Configuration { what } => ConnectError::NotConfigured(what.to_string()),
            ended @ SmartcarError::Ended { .. } => ConnectError::NotConfigured(ended.to_string()),
            SmartcarError::Later { after, .. } if matches!(error.failure().status, Some(429 | 430)) => {
                ConnectError::Limited { what: error.to_string(), after: after.unwrap_or(UNSAID) }
            }
            SmartcarError::Later { after, .. } => ConnectError::Later { what: error.to_string(), after: after.unwrap_or(UNSAID) },
            other => ConnectError::Upstream(other.to_string()),
        }
    }
}

impl From<CallError> for ConnectError {
    fn from(error: CallError) -> ConnectError {
        match error {
            CallError::Smartcar(error) => error.into(),
            CallError::Token(TokenError::Configuration(what)) => ConnectError::NotConfigured(what),
            CallError::Token(TokenError::Store(_)) | CallError::Budget(Refused::Store(_)) => ConnectError::Store,
            CallError::Token(TokenError::Later { what, after }) => ConnectError::Later { what, after },
            CallError::Token(other) => ConnectError::Upstream(other.to_string()),
            CallError::Budget(refused) => ConnectError::Limited { what: refused.to_string(), after: refused.after() },
        }
    }
}

impl ConnectError {
    /// What is ours to mend. All else may hold what came in an address, and is not for the log.
    pub(super) fn for_operator(&self) -> Option<Cow<'_, str>> {
        match self {
            ConnectError::NotConfigured(what) => Some(what.into()),
            ConnectError::Ended => Some(sunset::in_vain().into()),
            _ => None,
        }
    }

    /// Whether Smartcar may well do it when it is asked again.
    pub(super) fn passes(&self) -> bool {
        use ConnectError::{Later, Limited, Upstream};
        matches!(self, Limited { .. } | Later { .. } | Upstream(_))
    }

    /// The contract's or Smartcar's word for it.
    pub fn code(&self) -> &str {
        match self {
            ConnectError::UnknownInvite => "unknown_invite",
            ConnectError::SpentInvite => "spent_invite",
            ConnectError::UnknownUser => "unknown_user",
            ConnectError::UnknownVehicle | ConnectError::OtherUsers => "unknown_vehicle",
            ConnectError::NoState => "no_state",
            ConnectError::UnknownState => "unknown_state",
            ConnectError::UnknownRedirectUri => "unknown_redirect_uri",
            ConnectError::BadRequest(_) => "bad_request",
            ConnectError::Refused { code, .. } => code,
            ConnectError::Unconfirmed => "unconfirmed",
            ConnectError::NotConfigured(_) | ConnectError::Ended => "not_configured",
            ConnectError::Limited { .. } => "over_budget",
            ConnectError::Later { .. } | ConnectError::Upstream(_) => "upstream",
            ConnectError::Store => "busy",
        }
    }
}

//! What can go wrong with Smartcar, by what the caller can do about it.

use std::fmt;
use std::time::Duration;

/// Why a call gave nothing, by what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SmartcarError {
    /// Nothing is wrong that will not pass: ask again later.
    #[error("{what}")]
    Later {
        /// How long Smartcar asks to wait, at most an hour; `None` if it did not say.
        after: Option<Duration>,
        /// What happened.
        what: Failure,
    },
    /// The access token is not accepted: refresh it, once.
    #[error("{what}")]
    Unauthorized {
        /// What happened.
        what: Failure,
    },
    /// This code or refresh token is dead.
    #[error("{what}")]
    Rejected {
        /// What happened.
        what: Failure,
    },
    /// Only the owner can help, through Connect or at the manufacturer.
    #[error("{what}")]
    Reconnect {
        /// What happened.
        what: Failure,
        /// Where Smartcar sends the owner.
        url: Option<String>,
    },
    /// Only the operator can help; the failure's note says how.
    #[error("{what}")]
    Configuration {
        /// What happened.
        what: Failure,
    },
    /// Asking again would give the same answer.
    #[error("{what}")]
    NotPossible {
        /// What happened.
        what: Failure,
    },
}

impl SmartcarError {
    /// What happened.
    pub fn failure(&self) -> &Failure {
        match self {
            SmartcarError::Later { what, .. }
            | SmartcarError::Unauthorized { what }
            | SmartcarError::Rejected { what }
            | SmartcarError::Reconnect { what, .. }
            | SmartcarError::Configuration { what }
            | SmartcarError::NotPossible { what } => what,
        }
    }
}

/// What happened, fit for logs: never a token, an address with its query, a VIN, or text of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The name of the call, such as `token.refresh`.
    pub endpoint: &'static str,
    /// The HTTP status, if an answer came.
    pub status: Option<u16>,
    /// Smartcar's `type`, such as `VEHICLE_STATE`, or OAuth's `error`.
    pub kind: Option<Box<str>>,
    /// Smartcar's `code`, such as `ASLEEP`.
    pub code: Option<Box<str>>,
    /// Smartcar's id of the request, which its support asks for.
    pub request_id: Option<Box<str>>,
    /// Whether the request may have been acted upon although no good answer came.
    pub may_have_acted: bool,
    /// The cause or the remedy, in our own words.
    pub note: Option<Box<str>>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.endpoint)?;
        match (self.status, &self.note) {
            (Some(status), _) => write!(f, "Smartcar answered {status}")?,
            (None, None) => f.write_str("no answer")?,
            (None, Some(note)) => return f.write_str(note),
        }
        match (&self.kind, &self.code) {
            (Some(kind), Some(code)) => write!(f, " {kind}:{code}")?,
            (Some(word), None) | (None, Some(word)) => write!(f, " {word}")?,
            (None, None) => {}
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        if let Some(note) = &self.note {
            write!(f, ": {note}")?;
        }
        Ok(())
    }
}

//! What can go wrong with Smartcar, by what the caller can do about it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::grant::EXCHANGE;
use super::meaning::from_transport;
use super::sunset;
use crate::world::TransportError;

/// Why a call gave nothing, by what to do next.
/// Shown, it says it in plain words first, and what exactly happened in parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SmartcarError {
    /// Nothing is wrong that will not pass: ask again later.
    Later {
        /// How long Smartcar asks to wait, at most an hour; `None` if it did not say.
        after: Option<Duration>,
        /// What happened.
        what: Failure,
    },
    /// The access token is not accepted: refresh it, once.
    Unauthorized {
        /// What happened.
        what: Failure,
    },
    /// This code or refresh token is dead.
    Rejected {
        /// What happened.
        what: Failure,
    },
    /// Only the owner can help, through Connect or at the manufacturer.
    Reconnect {
        /// What happened.
        what: Failure,
        /// Where Smartcar sends the owner.
        url: Option<String>,
    },
    /// Only the operator can help; the failure's note says how.
    Configuration {
        /// What happened.
        what: Failure,
    },
    /// Asking again would give the same answer.
    NotPossible {
        /// What happened.
        what: Failure,
    },
    /// Smartcar has ended the API that was asked: only moving to the next one helps.
    Ended {
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
            | SmartcarError::NotPossible { what }
            | SmartcarError::Ended { what } => what,
        }
    }

    /// That the API of which `endpoint` is a call has ended, as it is known from before.
    pub(crate) fn ended(endpoint: &'static str) -> SmartcarError {
        SmartcarError::Ended { what: Failure { endpoint, ..Failure::default() } }
    }

    /// That nobody has waited any longer for an answer of `endpoint`: it may have acted.
    pub(crate) fn unanswered(endpoint: &'static str, patience: Duration) -> SmartcarError {
        from_transport(endpoint, &TransportError::TooSlow(patience))
    }

    /// What it means, for whoever owns the car or runs Carport.
    fn plain(&self) -> Cow<'_, str> {
        let Failure { endpoint, status, kind, note, .. } = self.failure();
        Cow::Borrowed(match self {
            SmartcarError::Later { .. } => match (kind.as_deref(), status) {
                (Some("VEHICLE_STATE"), _) => "the car cannot be read at the moment",
                (Some("UPSTREAM"), _) => "the car's manufacturer does not answer at the moment",
                (_, None) => "Smartcar cannot be reached",
                (_, Some(429)) => "Smartcar asks us to slow down",
                (_, Some(500..)) => "Smartcar is having trouble",
                (_, Some(_)) => "the answer did not come from Smartcar, or cannot be understood",
            },
            SmartcarError::Unauthorized { .. } => "Smartcar does not accept our access token",
            SmartcarError::Rejected { .. } if *endpoint == EXCHANGE => "Smartcar does not accept the code of this sign-in",
            SmartcarError::Rejected { .. } => "Smartcar no longer accepts what the owner agreed to",
            SmartcarError::Reconnect { .. } if kind.as_deref() == Some("PERMISSION") => "the owner has not permitted this",
            SmartcarError::Reconnect { .. } => "the car's manufacturer refuses the owner's account",
            SmartcarError::Configuration { .. } => match note.as_deref() {
                Some(keys) if keys.starts_with("check smartcar.v") => {
                    return format!("Smartcar refuses our credentials: {keys}").into();
                }
                note => note.unwrap_or("Smartcar refuses our request"),
            },
            SmartcarError::NotPossible { .. } => "Smartcar cannot do this for this car",
            SmartcarError::Ended { .. } => return sunset::of_a_car().into(),
        })
    }
}

impl fmt::Display for SmartcarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plain, failure) = (self.plain(), self.failure());
        // What has been said is not said twice.
        let note = failure.note.clone().filter(|_| !matches!(self, SmartcarError::Configuration { .. }));
        let rest = Failure { note, ..failure.clone() };
        match (rest.status, &rest.note) {
            (None, None) => write!(f, "{plain} ({})", rest.endpoint),
            _ => write!(f, "{plain} ({rest})"),
        }
    }
}

impl std::error::Error for SmartcarError {}

/// The plain words of what a [`SmartcarError`] said of itself, and what exactly happened.
pub fn in_two(said: &str) -> (&str, Option<&str>) {
    // More may follow the exact words.
    said.split_once(" (").map_or((said, None), |(plain, exact)| (plain, Some(exact.strip_suffix(')').unwrap_or(exact))))
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

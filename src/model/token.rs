//! What Smartcar's token endpoints hand out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Secret, Timestamp};

/// Which of Smartcar's two APIs a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// Opaque pairs by authorization code, rotating (access 2 h, refresh 60 days).
    V2,
    /// One application token for everybody (1 h, client credentials) and `sc-user-id`.
    V3,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Generation::V2 => "v2",
            Generation::V3 => "v3",
        })
    }
}

/// How an access token is renewed.
#[derive(Clone, Debug)]
pub enum Renewal {
    /// By a refresh token, which is replaced by each use.
    Refresh {
        /// The refresh token.
        token: Secret,
        /// When it dies if it is not used: 60 days after it was issued, by every SDK's reckoning.
        expires_at: Timestamp,
    },
    /// By the application's own credentials; there is nothing to keep.
    ClientCredentials,
    /// Not at all: Smartcar sent no refresh token.
    Impossible,
}

/// An access token and what renews it.
#[derive(Clone, Debug)]
pub struct TokenSet {
    /// The access token.
    pub access: Secret,
    /// When it dies.
    pub access_expires_at: Timestamp,
    /// When Smartcar issued the set, by our clock.
    pub issued_at: Timestamp,
    /// What renews it.
    pub renewal: Renewal,
}

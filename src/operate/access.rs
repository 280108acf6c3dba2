//! Who may: API tokens, sign-in links and sessions. All are kept as hashes only.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::reach::Reach;
use crate::model::{AppUserId, Secret, Timestamp, VehicleId};

/// What a token may do. `Metrics` and `Connect` stand beside the ladder `Read` < `Control` < `Admin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Only `/metrics` and `status`.
    Metrics,
    /// Only `POST connect` and exchange, for its own user, with a state.
    Connect,
    /// Reading.
    Read,
    /// Reading and commanding.
    Control,
    /// Everything.
    Admin,
}

impl Scope {
    /// Whether a caller with this scope may do what needs `needed`.
    pub fn covers(self, needed: Scope) -> bool {
        use Scope::{Admin, Connect, Control, Metrics, Read};
        match needed {
            Metrics => matches!(self, Metrics | Read | Control | Admin),
            Connect => matches!(self, Connect | Control | Admin),
            Read => matches!(self, Read | Control | Admin),
            Control => matches!(self, Control | Admin),
            Admin => self == Admin,
        }
    }
}

/// Who is calling.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What it may do.
    pub scope: Scope,
    /// What it may see.
    pub reach: Reach,
    /// Its session's id, if it signed in with a browser.
    pub session: Option<String>,
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// Only for this user.
    pub user: Option<AppUserId>,
    /// Only for this vehicle.
    pub vehicle: Option<VehicleId>,
    /// For how long; `None`: until it is revoked.
    pub expires_in: Option<Duration>,
}

/// A token, as shown; never the secret.
#[derive(Clone, Debug, Serialize)]
pub struct TokenView {
    /// Its id, for revoking.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// The user it is bound to.
    pub user: Option<AppUserId>,
    /// The vehicle it is bound to.
    pub vehicle: Option<VehicleId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A session, as shown.
#[derive(Clone, Debug, Serialize)]
pub struct SessionView {
    /// Its id, for revoking.
    pub id: String,
    /// When it was signed in.
    pub created_at: Timestamp,
    /// When it was last used, to the hour.
    pub last_seen_at: Timestamp,
    /// The browser, by its own word.
    pub browser: Option<String>,
}

/// Why access cannot be given or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// Unknown, expired or revoked.
    #[error("unknown, expired or revoked")]
    Unknown,
    /// A token may be bound to a user or to a vehicle; `connect` must be bound to a user.
    #[error("{0}")]
    BadRequest(&'static str),
    /// The store is in trouble.
    #[error("the store cannot take it now")]
    Store,
}

/// Tokens, sign-in links and sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Access {
    shared: Arc<()>,
}

impl Access {
    /// Who holds this bearer token (`carport_…`)?
    pub async fn bearer(&self, token: &str) -> Result<Caller, AccessError> {
        let _ = (&self.shared, token);
        todo!()
    }

    /// Whose session is this cookie?
    pub async fn session(&self, cookie: &str) -> Result<Caller, AccessError> {
        let _ = cookie;
        todo!()
    }

    /// Makes a token; the secret is shown once.
    pub async fn create_token(&self, request: TokenRequest) -> Result<(TokenView, Secret), AccessError> {
        let _ = request;
        todo!()
    }

    /// All tokens, oldest first.
    pub async fn tokens(&self) -> Result<Vec<TokenView>, AccessError> {
        todo!()
    }

    /// Ends a token at once.
    pub async fn revoke_token(&self, id: &str) -> Result<(), AccessError> {
        let _ = id;
        todo!()
    }

    /// Makes a one-time sign-in link's secret, good for `expires_in`.
    pub async fn sign_in_link(&self, expires_in: Duration) -> Result<Secret, AccessError> {
        let _ = expires_in;
        todo!()
    }

    /// Whether a sign-in link could still be spent. Spends nothing.
    pub async fn sign_in_link_is_good(&self, link: &str) -> Result<bool, AccessError> {
        let _ = link;
        todo!()
    }

    /// Spends a sign-in link: a session whose cookie value is returned.
    pub async fn sign_in(&self, link: &str, browser: Option<String>) -> Result<Secret, AccessError> {
        let _ = (link, browser);
        todo!()
    }

    /// All sessions, newest first.
    pub async fn sessions(&self) -> Result<Vec<SessionView>, AccessError> {
        todo!()
    }

    /// Signs a session out.
    pub async fn revoke_session(&self, id: &str) -> Result<(), AccessError> {
        let _ = id;
        todo!()
    }

    /// Whether anybody could get in: there is a token or a session.
    pub async fn anybody(&self) -> Result<bool, AccessError> {
        todo!()
    }
}

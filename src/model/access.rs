//! Who may do what, as it is kept.

use serde::{Deserialize, Serialize};

use super::{AppUserId, Timestamp, VehicleId};

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
    /// Its word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Metrics => "metrics",
            Scope::Connect => "connect",
            Scope::Read => "read",
            Scope::Control => "control",
            Scope::Admin => "admin",
        }
    }

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

/// A token for the API; its secret is known by its hash only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
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

/// A browser that signed in; its cookie is known by its hash only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id, for revoking.
    pub id: String,
    /// When it was signed in.
    pub created_at: Timestamp,
    /// When it was last used, to the hour.
    pub last_seen_at: Timestamp,
    /// The browser, by its own word.
    pub browser: Option<String>,
}

/// The owner's password; known by its Argon2id hash only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    /// Chance, new for each password.
    pub salt: [u8; 16],
    /// The hash.
    pub hash: [u8; 32],
    /// What it cost: memory in KiB, and how often it was passed over.
    pub cost: (u32, u32),
}

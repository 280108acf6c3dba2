//! The audit log: who changed what, from where, and what came of it. Never a secret, a body, or what a car tells.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Who asked for a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// The user that runs Carport, or root: a command, or Carport itself.
    Local {
        /// The user's number; none in entries of older versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uid: Option<u32>,
        /// The user's name, where the machine tells it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
    },
    /// A program with an API token.
    Token {
        /// The token's id.
        id: String,
        /// What people called it.
        name: String,
    },
    /// A browser that is signed in.
    Session {
        /// The session's id.
        id: String,
    },
    /// Whoever held a link that Carport had made: a sign-in link, an invite.
    Link,
    /// Whoever knew the password.
    Password,
    /// Somebody whom a trusted proxy has named.
    Proxy {
        /// By what name.
        user: String,
    },
    /// Nobody that is known.
    Stranger,
}

/// The log keeps so many of each of these, so that nobody can push out what weighs more than what they may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ring {
    /// What only administrators may do, and sign-ins.
    Administration,
    /// What owners and their applications do.
    Use,
    /// Sign-ins that were refused.
    Refusals,
}

impl Ring {
    /// All of them.
    pub const ALL: [Ring; 3] = [Ring::Administration, Ring::Use, Ring::Refusals];

    /// How many entries are kept; the oldest go first.
    pub fn keeps(self) -> usize {
        match self {
            Ring::Administration => 1000,
            Ring::Use => 400,
            Ring::Refusals => 100,
        }
    }
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When it was over; when it began, as long as it is not.
    pub at: Timestamp,
    /// Who asked.
    pub actor: Actor,
    /// From which address; `None` over Carport's own socket.
    pub address: Option<IpAddr>,
    /// The name of the route, such as `DELETE /api/v1/users/{id}`, or what was refused.
    pub action: String,
    /// The ids that were named, and those of what was made.
    pub ids: Vec<String>,
    /// The status that was answered; `None` while it is under way, and if it was cut off or nobody waited for it.
    pub status: Option<u16>,
    /// How often: more than once only for what is refused.
    pub count: u32,
}

//! Plain values and their parsing. No I/O, no clock, no cryptography.
//!
//! Words are Smartcar's and OAuth's own; `ARCHITECTURE.md` lists them.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub mod access;
pub mod api_error;
pub mod audit;
mod blob;
pub mod budget;
pub mod capability;
pub mod catalogue;
pub mod charging;
pub mod command;
pub mod connection;
mod count;
mod current;
pub mod driving;
pub mod event;
pub mod gap;
pub mod gist;
pub mod journey;
pub mod json;
pub mod lenient;
pub mod mapping;
mod nearest;
pub mod normal;
pub mod notice;
pub mod reach;
pub mod reading;
pub mod resolution;
pub mod rollup;
mod secret;
pub mod subscription;
pub mod taste;
mod time;
pub mod token;
pub(crate) mod unnamed;
pub mod user;
pub mod vehicle;
pub mod wire;

pub use blob::Blob;
pub use count::count;
pub use current::Current;
pub use json::Json;
pub use nearest::{nearest, perhaps, wrong_letters};
pub use secret::Secret;
pub use time::{Timestamp, in_seconds, in_words, span};

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the id as it is: ids are opaque.
            pub fn new(id: impl Into<String>) -> $name {
                $name(id.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque_id!(
    /// Smartcar's id of a vehicle.
    VehicleId
);
opaque_id!(
    /// Smartcar's id of one connected-services account.
    SmartcarUserId
);
opaque_id!(
    /// The operator's own id of an owner; goes to Connect as `external_id`.
    AppUserId
);
opaque_id!(
    /// Smartcar's id of an event: the same on every retry.
    EventId
);

/// The id of a connection: a UUIDv7 made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectionId(pub Uuid);

impl ConnectionId {
    /// The place of the application token (v3), which serves every owner.
    pub const APPLICATION: ConnectionId = ConnectionId(Uuid::nil());

    /// Reads an id as the API prints it.
    pub fn parse(text: &str) -> Option<ConnectionId> {
        Uuid::try_parse(text).ok().filter(|id| !id.is_nil()).map(ConnectionId)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in the webhook log. The first entry has 1; 0 is "before everything".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The place after this one.
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

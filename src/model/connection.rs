//! Connections: one owner's authority over one Smartcar user.

use serde::{Deserialize, Serialize};

use super::token::Generation;
use super::{AppUserId, ConnectionId, SmartcarUserId, Timestamp, VehicleId};

/// One owner's authority over one Smartcar user (over one vehicle with single select).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Our id.
    pub id: ConnectionId,
    /// The owner.
    pub user: AppUserId,
    /// Smartcar's id of the account; `None` until Smartcar has been asked, after a code was exchanged.
    pub smartcar_user: Option<SmartcarUserId>,
    /// Which API it speaks.
    pub generation: Generation,
    /// With single select, the one vehicle.
    pub single: Option<VehicleId>,
    /// Whether it came from a single-select run of Connect, so that `single` is to be filled.
    pub single_select: bool,
    /// `live` or `simulated`, if the attempt said so.
    pub mode: Option<String>,
    /// How it fares.
    pub status: ConnectionStatus,
    /// What the owner granted.
    pub scope: Vec<String>,
    /// When the owner last connected.
    pub connected_at: Timestamp,
    /// What went wrong last, if that was not mended since.
    pub last_error: Option<String>,
}

impl Connection {
    /// Whether its cars are asked by API v2.0.
    pub fn is_active_by_v2(&self) -> bool {
        self.generation == Generation::V2 && self.status == ConnectionStatus::Active
    }

    /// Something went well that shows `cause` to be mended; whether that changed anything.
    pub fn mended(&mut self, cause: Cause) -> bool {
        let was_broken = match &self.status {
            ConnectionStatus::NeedsReconnect { cause: Cause::Access, .. } => matches!(cause, Cause::Access | Cause::Account),
            ConnectionStatus::NeedsReconnect { cause: known, .. } => *known == cause,
            ConnectionStatus::Active | ConnectionStatus::Disconnected => false,
        };
        if was_broken {
            self.status = ConnectionStatus::Active;
        }
        let was_in_error = self.status == ConnectionStatus::Active && self.last_error.take().is_some();
        was_broken || was_in_error
    }

    /// What makes two trips through Connect the same connection; `None` while that is not known.
    pub fn identity(&self) -> Option<String> {
        let smartcar_user = self.smartcar_user.as_ref()?;
        let single = self.single.as_ref().map_or("", VehicleId::as_str);
        Some(format!("{}\0{}\0{}\0{}", self.user, smartcar_user, self.generation, single))
    }
}

/// How a connection fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConnectionStatus {
    /// It works, as far as we know.
    Active,
    /// Only the owner can mend it.
    NeedsReconnect {
        /// Why.
        reason: String,
        /// What is broken, and so what shows that it was mended.
        cause: Cause,
        /// When that was last seen of an account: what its cars tell later shows that it was mended.
        #[serde(default)]
        since: Option<Timestamp>,
    },
    /// It was ended here.
    Disconnected,
}

/// What is broken about a connection that needs its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Its tokens are dead: a good refresh shows that it was mended.
    Tokens,
    /// The manufacturer refuses the account: a good read, or news of one of its cars, shows that it was mended.
    Account,
    /// The owner has taken the access back at Smartcar: only a whole trip through Connect, news of one of its cars, or that
    /// Smartcar lists them again shows that it was mended.
    Access,
}

impl ConnectionStatus {
    /// The contract's word.
    pub fn as_str(&self) -> &'static str {
        match self {
            ConnectionStatus::Active => "active",
            ConnectionStatus::NeedsReconnect { .. } => "needs_reconnect",
            ConnectionStatus::Disconnected => "disconnected",
        }
    }
}

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
        /// Smartcar's page for it, if it named one.
        url: Option<String>,
    },
    /// It was ended here.
    Disconnected,
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

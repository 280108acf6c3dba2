//! The owner's trip through Connect, as it is kept: the invite and each attempt.

use serde::{Deserialize, Serialize};

use super::{AppUserId, Timestamp, VehicleId};

/// What an invite asks of Smartcar Connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Re-authenticate this vehicle instead of connecting.
    pub vehicle: Option<VehicleId>,
    /// `live` or `simulated`, if other than configured.
    pub mode: Option<String>,
    /// Permissions, if other than configured.
    pub scope: Option<Vec<String>>,
    /// Skips the choice of brand.
    pub make: Option<String>,
    /// Shows the permission screen again.
    pub force: bool,
}

/// An invitation to connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The owner it is for.
    pub user: AppUserId,
    /// What it asks of Connect.
    pub terms: Terms,
    /// Until when it may be used.
    pub expires_at: Timestamp,
    /// Whether it led to a connection.
    pub spent: bool,
    /// How the last trip ended.
    pub ending: Ending,
}

/// One trip through Connect, from state to callback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The invite's link (sealed with the rest), for the way back; `None` if a caller vouched instead.
    pub invite: Option<String>,
    /// The owner it is for.
    pub user: AppUserId,
    /// What it asked of Connect.
    pub terms: Terms,
    /// Where Smartcar was told to send the browser; repeated when the code is exchanged.
    pub redirect_uri: String,
    /// Whether one vehicle was to be chosen.
    pub single_select: bool,
    /// Hash of the cookie of the browser that began; `None` for an app, which holds the state itself.
    pub browser: Option<[u8; 32]>,
    /// Until when the callback is accepted.
    pub expires_at: Timestamp,
}

/// A vehicle, as named on the closing page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedVehicle {
    /// Smartcar's id.
    pub id: VehicleId,
    /// Such as `2023 VOLKSWAGEN ID.4`.
    pub name: String,
}

/// How the journey of a browser ended: for the closing page, `/connect/{invite}/done`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// Connected.
    Connected {
        /// The vehicles.
        vehicles: Vec<LinkedVehicle>,
        /// Tesla: where the owner adds the virtual key.
        virtual_key_url: Option<String>,
    },
    /// Not connected; the invite can be used again.
    Failed {
        /// The contract's or Smartcar's code, such as `access_denied`.
        code: String,
        /// In plain words, for the owner.
        sentence: String,
        /// Whether it would end so again. An earlier Carport did not say.
        #[serde(default)]
        is_final: bool,
    },
    /// The link has not been used yet.
    NotYet,
}

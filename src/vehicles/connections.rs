//! Connections, for API, dashboard and command line: how they fare, renewing them, ending them.

use serde::Serialize;

use super::{History, Vehicles, VehiclesError};
use crate::model::reach::{Page, PageRequest, Reach};
use crate::model::token::Generation;
use crate::model::{AppUserId, ConnectionId, SmartcarUserId, Timestamp, VehicleId};

/// A connection, as shown. No token, ever.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionView {
    /// Our id.
    pub id: ConnectionId,
    /// The owner.
    pub user: AppUserId,
    /// Smartcar's id of the account; null while it is not known yet.
    pub smartcar_user_id: Option<SmartcarUserId>,
    /// `v2` or `v3`.
    pub generation: Generation,
    /// `active`, `needs_reconnect` or `disconnected`.
    pub status: &'static str,
    /// Why it is not active.
    pub reason: Option<String>,
    /// Where the owner mends it.
    pub reconnect_url: Option<String>,
    /// What the owner granted.
    pub scope: Vec<String>,
    /// What is configured but not granted.
    pub missing_scope: Vec<String>,
    /// When the access token dies.
    pub access_expires_at: Option<Timestamp>,
    /// When the refresh token dies; null for v3.
    pub refresh_expires_at: Option<Timestamp>,
    /// When its tokens were last renewed.
    pub last_refresh: Option<Timestamp>,
    /// When they are due.
    pub next_refresh: Option<Timestamp>,
    /// What went wrong last, if that was not mended since.
    pub last_error: Option<String>,
    /// Its vehicles.
    pub vehicles: Vec<VehicleId>,
}

impl Vehicles {
    /// Connections within reach, oldest first.
    pub async fn connections(&self, reach: &Reach, page: PageRequest) -> Result<Page<ConnectionView>, VehiclesError> {
        let _ = (reach, page);
        todo!()
    }

    /// One connection.
    pub async fn connection(&self, reach: &Reach, id: ConnectionId) -> Result<ConnectionView, VehiclesError> {
        let _ = (reach, id);
        todo!()
    }

    /// Renews its tokens now.
    pub async fn refresh_connection(&self, id: ConnectionId) -> Result<ConnectionView, VehiclesError> {
        let _ = id;
        todo!()
    }

    /// Disconnects all its vehicles at Smartcar, then here. With `force` also when Smartcar refuses.
    pub async fn disconnect_connection(&self, id: ConnectionId, history: History, force: bool) -> Result<(), VehiclesError> {
        let _ = (id, history, force);
        todo!()
    }
}

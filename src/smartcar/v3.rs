//! API v3: one application token for everybody, the Smartcar user in a header.

use super::grant::soon;
use super::{Smartcar, SmartcarError};
use crate::model::reading::SignalReport;
use crate::model::vehicle::VehicleFacts;
use crate::model::{Secret, SmartcarUserId, VehicleId};

/// Which connections to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionFilter {
    /// Of this Smartcar user only.
    pub user: Option<SmartcarUserId>,
    /// Of this vehicle only.
    pub vehicle: Option<VehicleId>,
    /// `live` or `simulated`; both if missing.
    pub mode: Option<String>,
}

/// One connection as Smartcar lists it: one vehicle of one Smartcar user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmartcarConnection {
    /// Smartcar's id of the connection; it may change when the owner reconnects.
    pub id: String,
    /// The vehicle, if Smartcar named it.
    pub vehicle: Option<VehicleId>,
    /// The Smartcar user, if Smartcar named it.
    pub user: Option<SmartcarUserId>,
    /// The operator's own id of the owner, as it went to Connect.
    pub external_id: Option<String>,
    /// What it tells of the vehicle. The id is empty exactly when `vehicle` is `None`.
    pub facts: VehicleFacts,
    /// What the owner granted; `None` if Smartcar did not say.
    pub permissions: Option<Vec<String>>,
}

impl Smartcar {
    /// Lists connections, all pages.
    pub async fn connections(&self, app: &Secret, filter: ConnectionFilter) -> Result<Vec<SmartcarConnection>, SmartcarError> {
        let _ = (app, filter);
        Err(soon())
    }

    /// What Smartcar tells of a vehicle.
    pub async fn vehicle_v3(&self, app: &Secret, vehicle: &VehicleId) -> Result<VehicleFacts, SmartcarError> {
        let _ = (app, vehicle);
        Err(soon())
    }

    /// The latest signals of a vehicle from Smartcar's store. An empty list is a good answer: nothing has
    /// filled the store yet.
    pub async fn signals(
        &self,
        app: &Secret,
        user: &SmartcarUserId,
        vehicle: &VehicleId,
    ) -> Result<Vec<SignalReport>, SmartcarError> {
        let _ = (app, user, vehicle);
        Err(soon())
    }

    /// Takes a vehicle away from the application, by Smartcar's id of the connection.
    pub async fn disconnect_v3(&self, app: &Secret, smartcar_connection_id: &str) -> Result<(), SmartcarError> {
        let _ = (app, smartcar_connection_id);
        Err(soon())
    }
}

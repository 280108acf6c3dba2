//! API v2.0: one access token for each owner, one endpoint for each kind of data.

use super::grant::soon;
use super::{Smartcar, SmartcarError};
use crate::model::reading::SignalReport;
use crate::model::vehicle::VehicleFacts;
use crate::model::{Secret, SmartcarUserId, VehicleId};

impl Smartcar {
    /// The Smartcar user a token belongs to.
    pub async fn user(&self, access: &Secret) -> Result<SmartcarUserId, SmartcarError> {
        let _ = access;
        Err(soon())
    }

    /// All vehicles a token opens.
    pub async fn vehicles(&self, access: &Secret) -> Result<Vec<VehicleId>, SmartcarError> {
        let _ = access;
        Err(soon())
    }

    /// What Smartcar tells of a vehicle: attributes, permissions, and the VIN when it is granted.
    pub async fn vehicle(&self, access: &Secret, vehicle: &VehicleId) -> Result<VehicleFacts, SmartcarError> {
        let _ = (access, vehicle);
        Err(soon())
    }

    /// Reads, in one batch, every endpoint of the mapping table that `permissions` open.
    pub async fn read(
        &self,
        access: &Secret,
        vehicle: &VehicleId,
        permissions: Option<&[String]>,
    ) -> Result<Vec<SignalReport>, SmartcarError> {
        let _ = (access, vehicle, permissions);
        Err(soon())
    }

    /// Takes the vehicle away from the application.
    pub async fn disconnect(&self, access: &Secret, vehicle: &VehicleId) -> Result<(), SmartcarError> {
        let _ = (access, vehicle);
        Err(soon())
    }
}

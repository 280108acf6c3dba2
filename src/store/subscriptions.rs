//! Which vehicles are subscribed to our webhook.

use serde::{Deserialize, Serialize};

use super::tables::{Record, Typed};
use super::{Change, Snapshot, StoreError, Tables};
use crate::model::connection::Connection;
use crate::model::subscription::Subscription;
use crate::model::vehicle::Vehicle;

impl Record for Subscription {
    const TABLE: &'static str = "subscriptions-1";
    const IS_SECRET: bool = false;
}

/// Smartcar says that a vehicle is subscribed.
#[derive(Debug, Serialize, Deserialize)]
pub struct NoteSubscription {
    /// The row of the vehicle.
    pub vehicle: u32,
    /// To what, by whom.
    pub subscription: Subscription,
}

impl Change for NoteSubscription {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        // Smartcar was asked meanwhile: it may be erased, or another's.
        let vehicle = tables.get_sound::<Vehicle>(self.vehicle)?;
        if vehicle.is_none_or(|vehicle| vehicle.connection != Some(self.subscription.connection)) {
            return Ok(());
        }
        tables.put(self.vehicle, &self.subscription)
    }
}

/// A vehicle is erased.
pub(super) fn erase(tables: &mut Tables<'_>, vehicle: u32) -> Result<(), StoreError> {
    tables.remove::<Subscription>(vehicle)
}

impl Snapshot<'_> {
    /// The subscription of a vehicle, if it is of this connection as it is now.
    pub fn subscription(&self, vehicle: u32, connection: &Connection) -> Result<Option<Subscription>, StoreError> {
        let found = self.get_sound::<Subscription>(vehicle)?;
        Ok(found.filter(|found| found.connection == connection.id && found.connected_at == connection.connected_at))
    }
}

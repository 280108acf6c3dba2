//! Connecting a vehicle again.
//!
//! Smartcar's re-authentication mends the sign-in at the manufacturer and gives no tokens. A connection whose
//! tokens are dead, or that has ended, is mended by a whole trip through Connect; it keeps its id, its vehicles
//! and their history all the same, because the same owner connects the same account. So does whoever is asked for more
//! than the sign-in, such as another permission: re-authentication knows none of that.

use super::{ConnectError, Shared};
use crate::model::connection::{Cause, Connection, ConnectionStatus};
use crate::model::journey::Terms;

/// Which way an owner goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// All the way.
    Connect {
        /// Whether one vehicle only may be chosen.
        single_select: bool,
    },
    /// Only the sign-in at the manufacturer.
    SignIn,
}

impl Shared {
    /// The way by these terms; for a vehicle that goes all the way, what is known of it is filled in.
    pub(super) async fn way(&self, mut terms: Terms) -> Result<(Terms, Way), ConnectError> {
        let configured = self.smartcar.settings().single_select;
        let Some(id) = terms.vehicle.clone() else { return Ok((terms, Way::Connect { single_select: configured })) };
        let found = self.store.read(move |snapshot| {
            let Some((_, vehicle)) = snapshot.vehicle(&id)? else { return Ok(None) };
            let connection = vehicle.connection.map_or(Ok(None), |id| snapshot.sound_connection(id))?;
            Ok(Some((vehicle.facts, connection)))
        });
        let (facts, connection) = found.await?.ok_or(ConnectError::UnknownVehicle)?;
        if !is_dead(connection.as_ref()) && !asks_for_more(&terms) {
            return Ok((terms, Way::SignIn));
        }
        // Without a word Smartcar takes live.
        let is_told = |mode: &String| mode != "live" || self.settings.get().mode.is_some();
        let single_select = connection.as_ref().map_or(configured, |connection| connection.single_select);
        let mode = connection.and_then(|connection| connection.mode).or(facts.mode).filter(is_told);
        terms.mode = terms.mode.or(mode);
        terms.make = terms.make.or(facts.make);
        Ok((terms, Way::Connect { single_select }))
    }
}

/// Whether there is something that only a whole trip can do.
fn asks_for_more(Terms { vehicle: _, mode, scope, make, force }: &Terms) -> bool {
    *force || mode.is_some() || scope.is_some() || make.is_some()
}

fn is_dead(connection: Option<&Connection>) -> bool {
    match connection.map(|connection| &connection.status) {
        None | Some(ConnectionStatus::Disconnected) => true,
        Some(ConnectionStatus::NeedsReconnect { cause, .. }) => *cause == Cause::Tokens,
        Some(ConnectionStatus::Active) => false,
    }
}

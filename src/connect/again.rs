//! Connecting a vehicle again.
//!
//! Smartcar's re-authentication mends the sign-in at the manufacturer and gives no tokens. A connection whose
//! tokens are dead, whose access was taken back, or that has ended, is mended by a whole trip through Connect; it keeps its id, its vehicles
//! and their history all the same, because the same owner connects the same account. So does whoever is asked for more
//! than the sign-in, such as another permission: re-authentication knows none of that.

use super::{Connect, ConnectError, Shared};
use crate::model::VehicleId;
use crate::model::connection::{Cause, Connection, ConnectionStatus};
use crate::model::journey::Terms;
use crate::model::vehicle::VehicleFacts;
use crate::smartcar::Scope;
use crate::store::{Snapshot, StoreError};

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

impl Connect {
    /// The permissions to ask for when some are to be added: those that are configured, those that the owner of `vehicle` has
    /// granted already, and these, each once.
    pub async fn with_added(&self, vehicle: Option<&VehicleId>, added: Vec<String>) -> Result<Vec<String>, ConnectError> {
        let mut scope = self.shared.configured().unwrap_or_default();
        if let Some(id) = vehicle {
            let known = self.shared.known(id).await?;
            add(&mut scope, known.map(|(facts, connection)| granted(&facts, connection.as_ref())).unwrap_or_default());
        }
        if scope.is_empty() {
            return Err(ConnectError::BadRequest(
                "smartcar.scope leaves the permissions to Smartcar's dashboard, so Carport knows none to add to: name all of them with \
                 --scope (`scope`), or the car with --vehicle (`vehicle_id`), whose own are added to",
            ));
        }
        add(&mut scope, added);
        Ok(scope)
    }
}

/// Adds what is not there yet, be it required or not.
fn add(scope: &mut Vec<String>, added: Vec<String>) {
    for permission in added.into_iter().filter(|permission| !permission.is_empty()) {
        if !scope.iter().any(|known| plain(known) == plain(&permission)) {
            scope.push(permission);
        }
    }
}

/// What the owner of a vehicle has granted, by its connection or, without one, for the vehicle itself.
fn granted(facts: &VehicleFacts, connection: Option<&Connection>) -> Vec<String> {
    let scope = connection.map(|connection| connection.scope.clone()).filter(|scope| !scope.is_empty());
    scope.or_else(|| facts.permissions.clone()).unwrap_or_default()
}

fn plain(permission: &str) -> &str {
    permission.strip_prefix("required:").unwrap_or(permission)
}

impl Shared {
    /// The permissions that are asked for, unless that is left to Smartcar's dashboard.
    fn configured(&self) -> Option<Vec<String>> {
        match &self.smartcar.settings().scope {
            Scope::List(configured) => Some(configured.clone()),
            Scope::Dashboard => None,
        }
    }

    /// What is known of a vehicle, and its connection.
    async fn known(&self, id: &VehicleId) -> Result<Option<(VehicleFacts, Option<Connection>)>, StoreError> {
        let id = id.clone();
        let look = move |snapshot: &Snapshot<'_>| {
            let Some((_, vehicle)) = snapshot.vehicle(&id)? else { return Ok(None) };
            let connection = vehicle.connection.map_or(Ok(None), |id| snapshot.sound_connection(id))?;
            Ok(Some((vehicle.facts, connection)))
        };
        self.store.read(look).await
    }

    /// The way by these terms; for a vehicle that goes all the way, what is known of it is filled in.
    pub(super) async fn way(&self, mut terms: Terms) -> Result<(Terms, Way), ConnectError> {
        let configured = self.smartcar.settings().single_select;
        let Some(id) = &terms.vehicle else { return Ok((terms, Way::Connect { single_select: configured })) };
        let (facts, connection) = self.known(id).await?.ok_or(ConnectError::UnknownVehicle)?;
        if !is_dead(connection.as_ref()) && !asks_for_more(&terms) {
            return Ok((terms, Way::SignIn));
        }
        // Without a word Smartcar takes live.
        let is_told = |mode: &String| mode != "live" || self.settings.get().mode.is_some();
        if let (None, Some(mut scope)) = (&terms.scope, self.configured()) {
            // A new trip replaces what was granted: who is not asked for all of it loses the rest.
            add(&mut scope, granted(&facts, connection.as_ref()));
            terms.scope = Some(scope);
        }
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
        Some(ConnectionStatus::NeedsReconnect { cause, .. }) => matches!(cause, Cause::Tokens | Cause::Access),
        Some(ConnectionStatus::Active) => false,
    }
}

//! Access that an owner has taken back at Smartcar: seen by what Smartcar refuses, and believed when it does not list the
//! vehicle any more. Then nothing is asked about it by itself, and the owner's connecting again mends it.

use super::Shared;
use super::limits::Urgency;
use crate::model::budget::APPLICATION;
use crate::model::connection::{Cause, Connection, ConnectionStatus};
use crate::model::reading::{Outcome, SignalReport};
use crate::model::token::Generation;
use crate::model::vehicle::Vehicle;
use crate::model::{ConnectionId, Secret, VehicleId};
use crate::smartcar::{ConnectionFilter, Smartcar};
use crate::store::StoreError;
use crate::store::connections::{MarkConnection, NoteGoodRead};
use crate::store::vehicles::ForgetVehicle;
use crate::tokens::{CallError, TokenError, vehicles_of};

/// What to do about a read that Smartcar refused. Returns whether the owner has taken the access back.
pub(super) async fn look(
    shared: &Shared,
    vehicle: &Vehicle,
    connection: &Connection,
    result: &Result<Vec<SignalReport>, CallError>,
) -> Result<bool, StoreError> {
    // A refused account may be taken back as well.
    let is_open = match &connection.status {
        ConnectionStatus::Active => true,
        ConnectionStatus::NeedsReconnect { cause, .. } => *cause == Cause::Account,
        ConnectionStatus::Disconnected => false,
    };
    if !is_open || !may_mean_it(result) {
        return Ok(false);
    }
    let listed = match listed(shared, connection, Urgency::CanWait).await {
        Ok(listed) => listed,
        Err(error) => {
            tracing::info!(%error, "Smartcar refuses a read, and does not tell whether the owner took the access back");
            return Ok(false);
        }
    };
    if listed.contains(&vehicle.facts.id) {
        return Ok(false);
    }
    let (id, served) = (connection.id, connection.clone());
    let served = shared.store.read(move |snapshot| snapshot.vehicles_of(&served)).await?;
    if served.iter().any(|vehicle| listed.contains(vehicle)) {
        tracing::info!(connection.id = %id, "an owner has taken back the access to one of several cars");
        // While Smartcar was asked, its owner may have connected it again: then it is not taken back.
        let (user, car, at) = (vehicle.user.clone(), vehicle.facts.id.clone(), shared.world.now());
        let served_by = Some((id, connection.connected_at));
        return shared.store.commit(ForgetVehicle { served_by, ..ForgetVehicle::of(user, car, false, at) }).await;
    }
    let reason = TAKEN_BACK.to_owned();
    let since = Some(shared.world.now());
    let status = ConnectionStatus::NeedsReconnect { reason: reason.clone(), cause: Cause::Access, since };
    let seen = Some(connection.connected_at);
    shared.store.commit(MarkConnection { id, status: Some(status), error: Some(reason), seen }).await
}

/// Whether Smartcar lists again what seemed to be taken back, which mends the connection. That is looked for when somebody asks
/// for the vehicle by hand.
pub(super) async fn is_back(shared: &Shared, vehicle: &Vehicle, connection: &mut Connection) -> Result<bool, CallError> {
    if !listed(shared, connection, Urgency::CanWait).await?.contains(&vehicle.facts.id) {
        return Ok(false);
    }
    let (id, seen) = (connection.id, Some(connection.connected_at));
    let cause = Cause::Access;
    // While Smartcar was asked, its tokens may have died.
    let is_back = shared.store.commit(NoteGoodRead { id, cause, seen }).await.map_err(TokenError::from)?;
    if is_back {
        connection.mended(cause);
    }
    Ok(is_back)
}

/// What was found out of a connection, or of one of its cars.
pub(super) const TAKEN_BACK: &str = "the owner has taken the access back at Smartcar";

/// A refusal for want of permission, or because there is no such vehicle.
fn may_mean_it(result: &Result<Vec<SignalReport>, CallError>) -> bool {
    match result {
        Err(error) if error.is_of_end() => false,
        Err(CallError::Smartcar(error)) => {
            let what = error.failure();
            what.kind.as_deref() == Some("PERMISSION") || what.status == Some(404)
        }
        Ok(reports) => {
            let is_refused = |report: &SignalReport| match &report.outcome {
                Outcome::Failed(failure) => failure.kind.as_deref() == Some("PERMISSION"),
                Outcome::Value(_) => false,
            };
            !reports.is_empty() && reports.iter().all(is_refused)
        }
        Err(_) => false,
    }
}

/// The vehicles that a connection's account has opened to us, as Smartcar lists them. That costs no call of the plan.
pub(super) async fn listed(shared: &Shared, connection: &Connection, urgency: Urgency) -> Result<Vec<VehicleId>, CallError> {
    let about = (APPLICATION, urgency);
    match (connection.generation, &connection.smartcar_user) {
        (Generation::V2, _) => shared.ask(about, connection.id, vehicles_of).await,
        (Generation::V3, Some(user)) => {
            let filter = &ConnectionFilter { user: Some(user.clone()), ..ConnectionFilter::default() };
            let list = |smartcar: Smartcar, access: Secret| async move { smartcar.connections(&access, filter.clone()).await };
            let listed = shared.ask(about, ConnectionId::APPLICATION, list).await?;
            Ok(listed.into_iter().filter_map(|listed| listed.vehicle).collect())
        }
        (Generation::V3, None) => Err(TokenError::Gone.into()),
    }
}

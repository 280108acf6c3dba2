//! From what Smartcar's redirect said to linked vehicles.
//!
//! A code is exchanged and its tokens are on disk before anything else is tried; what remains is done in
//! a task of its own and again after a crash. A `user_id` counts only after `/connections` confirms it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{CallbackOutcome, ConnectError, Ending, Linked, LinkedVehicle, Shared, words};
use crate::model::connection::{Cause, Connection, ConnectionStatus};
use crate::model::journey::Attempt;
use crate::model::token::Generation;
use crate::model::vehicle::VehicleFacts;
use crate::model::{AppUserId, ConnectionId, Secret, SmartcarUserId, Timestamp, VehicleId};
use crate::smartcar::ConnectionFilter;
use crate::smartcar::sunset::Cars;
use crate::store::connections::{EndConnection, LinkVehicles, Linking, MarkConnection};
use crate::store::{Snapshot, StoreError};
use crate::tokens::{CallError, vehicles_of};

/// How long a browser waits for the vehicles of a connection that is safe already.
const PATIENCE: Duration = Duration::from_secs(25);

impl Linked {
    fn new(connection: ConnectionId, user: AppUserId, vehicles: Vec<LinkedVehicle>) -> Linked {
        Linked { connection, user, vehicles, virtual_key_url: None, left_v3: false }
    }

    /// What the closing page says of it.
    pub(super) fn ending(&self) -> Ending {
        Ending::Connected { vehicles: self.vehicles.clone(), virtual_key_url: self.virtual_key_url.clone() }
    }
}

pub(super) async fn complete(shared: Arc<Shared>, attempt: Attempt, outcome: CallbackOutcome) -> Result<Linked, ConnectError> {
    let (code, user_id, vehicle_id, virtual_key_url) = match outcome {
        CallbackOutcome::Refused { error, description, vehicle } => {
            return Err(words::refused(error, description.as_deref(), vehicle.as_deref()));
        }
        CallbackOutcome::Agreed { code, user_id, vehicle_id, virtual_key_url } => (code, user_id, vehicle_id, virtual_key_url),
    };
    let smartcar = shared.smartcar.settings();
    let linked = match (code, user_id, vehicle_id) {
        (_, Some(user), _) if smartcar.v3.is_some() => by_user(&shared, &attempt, SmartcarUserId::new(user)).await,
        (Some(code), ..) if smartcar.v2.is_some() => by_code(&shared, &attempt, &code).await,
        (None, None, Some(vehicle)) => by_vehicle(&shared, &attempt, VehicleId::new(vehicle)).await,
        (None, None, None) => Err(ConnectError::BadRequest("Smartcar's answer has neither code, user_id nor vehicle_id")),
        (Some(_), ..) => {
            Err(ConnectError::NotConfigured(
                "Smartcar sent a code, as it does for API v2.0: set smartcar.v2.client_id (the Application ID) and its client secret"
                    .to_owned(),
            ))
        }
        (None, Some(_), _) => {
            Err(ConnectError::NotConfigured(
                "Smartcar sent a user_id, as it does for API v3: set smartcar.v3.client_id (client_...) and smartcar.v3.client_secret"
                    .to_owned(),
            ))
        }
    }?;
    Ok(Linked { virtual_key_url, ..linked })
}

/// v2: the code becomes a pair of tokens.
async fn by_code(shared: &Arc<Shared>, attempt: &Attempt, code: &Secret) -> Result<Linked, ConnectError> {
    let granted = shared.smartcar.exchange(code, &attempt.redirect_uri).await?;
    let mode = attempt.terms.mode.clone().or_else(|| shared.settings.get().mode.clone());
    let id = shared.tokens.adopt(&attempt.user, granted, mode, attempt.single_select).await.map_err(CallError::from)?;
    // From here on nothing can be lost, so the owner need not wait for slow answers.
    let task = shared.tokens.tasks().spawn({
        let shared = shared.clone();
        async move {
            let has_ended = async || shared.tokens.ended().is_some() && shared.tokens.ask_of_end(&[id]).await == Some(true);
            // Nobody is turned away for what was so an hour ago.
            let was_over = has_ended().await;
            let learned = learn(&shared, id).await;
            if learned.is_err() && (was_over || has_ended().await) {
                // Its owner is told that nothing was changed.
                shared.store.commit(EndConnection { id, erase: true, if_empty: true, at: shared.world.now() }).await?;
                return Err(ConnectError::Ended);
            }
            learned
        }
    });
    let nothing_yet = Linked::new(id, attempt.user.clone(), Vec::new());
    let learned = tokio::time::timeout(PATIENCE, task).await;
    if !matches!(learned, Ok(Ok(Ok(_)))) {
        shared.half_done.notify_one();
    }
    match learned {
        Ok(Ok(Ok(linked))) => Ok(linked),
        Ok(Ok(Err(error))) if error.passes() => {
            tracing::warn!(connection.id = %id, %error, "Smartcar does not tell the vehicles of a new connection; it is asked again");
            Ok(nothing_yet)
        }
        Ok(Ok(Err(error))) => Err(error),
        Ok(Err(_)) | Err(_) => Ok(nothing_yet),
    }
}

/// That the vehicles of a connection are being asked for, until it is dropped.
struct Learning<'a> {
    shared: &'a Shared,
    id: ConnectionId,
}

impl<'a> Learning<'a> {
    /// `None` if somebody else is at it.
    fn begin(shared: &'a Shared, id: ConnectionId) -> Option<Learning<'a>> {
        let is_first = shared.learning.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        is_first.then_some(Learning { shared, id })
    }
}

impl Drop for Learning<'_> {
    fn drop(&mut self) {
        self.shared.learning.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Asks Smartcar whose tokens these are and which vehicles they open, and links them. Only one at a time
/// for each connection.
pub(super) async fn learn(shared: &Shared, id: ConnectionId) -> Result<Linked, ConnectError> {
    let _learning = Learning::begin(shared, id).ok_or_else(|| ConnectError::Upstream("it is being asked already".to_owned()))?;
    let kept = shared.store.read(move |snapshot| snapshot.connection(id)).await?;
    let kept = kept.ok_or_else(|| ConnectError::Upstream("the connection has ended".to_owned()))?;
    let tokens = &shared.tokens;
    let user = tokens.call(id, |smartcar, access| async move { smartcar.user(&access).await }).await?;
    let ids = tokens.call(id, vehicles_of).await?;
    let mut vehicles = Vec::with_capacity(ids.len());
    for vehicle in ids {
        let wanted = &vehicle;
        let told = tokens.call(id, |smartcar, access| async move { smartcar.vehicle(&access, wanted).await }).await;
        let mut facts = told.unwrap_or_else(|error| {
            tracing::info!(%error, "Smartcar does not tell of a vehicle; it is linked all the same");
            VehicleFacts::unknown(vehicle.clone())
        });
        facts.mode = facts.mode.or_else(|| kept.mode.clone()).or_else(|| Some("live".to_owned()));
        vehicles.push(facts);
    }
    let single = if kept.single_select { vehicles.first().map(|facts| facts.id.clone()) } else { None };
    let connection = Connection { smartcar_user: Some(user), single, scope: scope(&vehicles), ..kept };
    link(shared, connection, vehicles).await
}

/// v3: the application token serves this Smartcar user, if `/connections` confirms it.
async fn by_user(shared: &Shared, attempt: &Attempt, user: SmartcarUserId) -> Result<Linked, ConnectError> {
    let mode = attempt.terms.mode.clone().or_else(|| shared.settings.get().mode.clone());
    let filter = &ConnectionFilter { user: Some(user.clone()), mode, ..ConnectionFilter::default() };
    let application = ConnectionId::APPLICATION;
    let listed = shared
        .tokens
        .call(application, |smartcar, access| async move { smartcar.connections(&access, filter.clone()).await })
        .await?;
    // SECURITY: the user_id came in an address that anybody can write. The external id, which we sent along,
    // says whose trip it was.
    let foreign = |external: &Option<String>| external.as_ref().is_some_and(|external| external != attempt.user.as_str());
    if listed.is_empty() || listed.iter().any(|connection| foreign(&connection.external_id)) {
        return Err(ConnectError::Unconfirmed);
    }
    let vouched = listed.iter().any(|connection| connection.external_id.is_some());
    let mut vehicles = Vec::with_capacity(listed.len());
    for connection in listed {
        let Some(id) = connection.vehicle else { continue };
        if !vouched && belongs_to_another(shared, &id, &attempt.user).await? {
            return Err(ConnectError::Unconfirmed);
        }
        vehicles.push(VehicleFacts {
            id,
            smartcar_connection_id: Some(connection.id).filter(|id| !id.is_empty()),
            permissions: connection.permissions.or(connection.facts.permissions),
            ..connection.facts
        });
    }
    let now = shared.world.now();
    let single = if attempt.single_select { vehicles.first().map(|facts| facts.id.clone()) } else { None };
    let connection = Connection {
        id: ConnectionId(shared.world.uuid()),
        user: attempt.user.clone(),
        smartcar_user: Some(user),
        generation: Generation::V3,
        single,
        single_select: attempt.single_select,
        mode: attempt.terms.mode.clone(),
        status: ConnectionStatus::Active,
        scope: scope(&vehicles),
        connected_at: now,
        last_error: None,
    };
    link(shared, connection, vehicles).await
}

/// Re-authentication: the vehicle that was sent there has come back.
async fn by_vehicle(shared: &Shared, attempt: &Attempt, id: VehicleId) -> Result<Linked, ConnectError> {
    if attempt.terms.vehicle.as_ref() != Some(&id) {
        return Err(ConnectError::Unconfirmed);
    }
    let wanted = id.clone();
    let vehicle = shared.store.read(move |snapshot| snapshot.vehicle(&wanted)).await?;
    let (_, vehicle) = vehicle.filter(|(_, vehicle)| vehicle.user == attempt.user).ok_or(ConnectError::UnknownVehicle)?;
    let connection = vehicle.connection.ok_or(ConnectError::UnknownVehicle)?;
    let active = MarkConnection { id: connection, status: Some(ConnectionStatus::Active), error: None, seen: None };
    shared.store.commit(active).await?;
    shared.tokens.revive(connection).await.map_err(CallError::from)?;
    Ok(Linked::new(connection, attempt.user.clone(), vec![named(&vehicle.facts)]))
}

/// Links, to the connection that the owner had before if there is one: its ids and history stay.
pub(super) async fn link(
    shared: &Shared,
    mut connection: Connection,
    vehicles: Vec<VehicleFacts>,
) -> Result<Linked, ConnectError> {
    let at: Timestamp = shared.world.now();
    connection.connected_at = at;
    connection.status = ConnectionStatus::Active;
    connection.last_error = None;
    let left_v3 = connection.generation == Generation::V2 && are_by_v3(shared, &connection.user, &vehicles).await;
    loop {
        let change = LinkVehicles::new(connection.clone(), vehicles.clone(), at);
        match shared.store.commit(change).await? {
            Linking::Linked => break,
            Linking::Existing(before) => {
                if connection.generation == Generation::V2 {
                    shared.tokens.hand_over(connection.id, before).await.map_err(CallError::from)?;
                }
                connection.id = before;
            }
            Linking::Gone => return Err(ConnectError::Upstream("the connection has ended".to_owned())),
        }
    }
    tracing::info!(connection.id = %connection.id, generation = %connection.generation, vehicles = vehicles.len(), "connected");
    if left_v3 {
        tracing::warn!(
            connection.id = %connection.id,
            "an owner has connected again by API v2.0, and cars that were connected by v3 are connected by v2.0 now: `carport migrate` \
             moves them back"
        );
    }
    shared.projector.vehicles_were_linked();
    shared.linked.notify_one();
    if let Err(error) = forget_dead_ends(shared, &connection).await {
        tracing::warn!(connection.id = %connection.id, %error, "what this connection replaces stays listed");
    }
    let vehicles = vehicles.iter().map(named).collect();
    Ok(Linked { left_v3, ..Linked::new(connection.id, connection.user, vehicles) })
}

/// Whether some of these vehicles are connected by v3, for the same owner. Only to be told: damage must not keep them from
/// being linked anew.
async fn are_by_v3(shared: &Shared, user: &AppUserId, vehicles: &[VehicleFacts]) -> bool {
    let (user, ids) = (user.clone(), vehicles.iter().map(|facts| facts.id.clone()).collect::<Vec<_>>());
    let found = shared.store.read(move |snapshot| {
        for id in &ids {
            let vehicle = snapshot.vehicle(id)?.map(|(_, vehicle)| vehicle).filter(|vehicle| vehicle.user == user);
            let connection = vehicle.and_then(|vehicle| vehicle.connection);
            let connection = connection.map_or(Ok(None), |id| snapshot.sound_connection(id))?;
            if connection.is_some_and(|connection| Cars::of(&connection) == Cars::ByV3) {
                return Ok(true);
            }
        }
        Ok(false)
    });
    found.await.unwrap_or(false)
}

/// A trip of the same owner whose tokens died before anybody knew what they open: this one has replaced it, and
/// nothing else could ever mend it.
async fn forget_dead_ends(shared: &Shared, connection: &Connection) -> Result<(), StoreError> {
    let (id, user) = (connection.id, connection.user.clone());
    let dead_ends = shared.store.read(move |snapshot| {
        let mut connections = snapshot.connections(None, usize::MAX)?;
        connections.retain(|other| {
            let is_dead = matches!(other.status, ConnectionStatus::NeedsReconnect { cause: Cause::Tokens, .. });
            is_dead && other.smartcar_user.is_none() && other.user == user && other.id != id
        });
        Ok(connections)
    });
    for dead_end in dead_ends.await? {
        shared.store.commit(EndConnection { id: dead_end.id, erase: true, if_empty: true, at: shared.world.now() }).await?;
        tracing::info!(connection.id = %dead_end.id, "a connection that was never complete is forgotten: its owner has connected again");
    }
    Ok(())
}

/// Completes what was left half done; whether nothing is.
pub(super) async fn heal(shared: &Shared) -> bool {
    let now = shared.world.now();
    let unfinished = shared.store.read(move |snapshot| {
        let mut connections = snapshot.connections(None, usize::MAX)?;
        connections.retain(|connection| connection.smartcar_user.is_none() && connection.status == ConnectionStatus::Active);
        Ok(connections)
    });
    let mut is_done = true;
    for connection in unfinished.await.unwrap_or_default() {
        if connection.generation == Generation::V2 && shared.tokens.ended().is_some() {
            is_done = false;
            continue;
        }
        // Its own callback is completing it.
        let age = now.since(connection.connected_at).max(connection.connected_at.since(now));
        if age <= PATIENCE {
            is_done = false;
            continue;
        }
        match complete_import(shared, &connection).await {
            Ok(_) => tracing::info!(connection.id = %connection.id, "a connection that was left half done is complete"),
            Err(error) => {
                tracing::warn!(connection.id = %connection.id, %error, "a connection cannot be completed yet");
                is_done = false;
            }
        }
    }
    is_done
}

/// An import may have been cut off before its user was made.
async fn complete_import(shared: &Shared, connection: &Connection) -> Result<Linked, ConnectError> {
    let id = connection.id;
    // While others were completed, it may have gone with its user.
    if shared.store.read(move |snapshot| snapshot.sound_connection(id)).await?.is_some() {
        shared.user(&connection.user, true).await?;
    }
    learn(shared, id).await
}

async fn belongs_to_another(shared: &Shared, id: &VehicleId, user: &AppUserId) -> Result<bool, ConnectError> {
    let (id, user) = (id.clone(), user.clone());
    let look = move |snapshot: &Snapshot<'_>| match snapshot.vehicle(&id) {
        // Whose a damaged row is, is known by its user's list.
        Err(StoreError::Damaged { .. }) => Ok(!snapshot.is_damaged_of(&id, &user)?),
        vehicle => Ok(vehicle?.is_some_and(|(_, vehicle)| vehicle.user != user)),
    };
    Ok(shared.store.read(look).await?)
}

/// Everything that was granted for any of the vehicles.
pub(super) fn scope(vehicles: &[VehicleFacts]) -> Vec<String> {
    let mut scope: Vec<String> = vehicles.iter().flat_map(|facts| facts.permissions.iter().flatten().cloned()).collect();
    scope.sort();
    scope.dedup();
    scope
}

pub(super) fn named(facts: &VehicleFacts) -> LinkedVehicle {
    let year = facts.year.map(|year| year.to_string());
    let parts: Vec<&str> = [year.as_deref(), facts.make.as_deref(), facts.model.as_deref()].into_iter().flatten().collect();
    let name = if parts.is_empty() { "a car".to_owned() } else { parts.join(" ") };
    LinkedVehicle { id: facts.id.clone(), name }
}

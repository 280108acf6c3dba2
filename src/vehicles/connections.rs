//! Connections, for API, dashboard and command line: how they fare, renewing them, ending them.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{History, Note, SCAN, Shared, VehicleView, Vehicles, VehiclesError, to_its_end};
use crate::model::connection::{Connection, ConnectionStatus};
use crate::model::reach::{Page, PageRequest, Reach};
use crate::model::token::Generation;
use crate::model::{AppUserId, ConnectionId, SmartcarUserId, Timestamp, VehicleId};
use crate::smartcar::Scope;
use crate::store::connections::EndConnection;
use crate::store::{Snapshot, StoreError};
use crate::tokens::CallError;

/// A connection, as shown. No token, ever.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionView {
    /// Our id.
    pub id: ConnectionId,
    /// The owner.
    pub user: AppUserId,
    /// Smartcar's id of the account; null while Smartcar has not told it and the vehicles yet.
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
    /// Whether it is complete, active, and serves no vehicle (any more) for certain. Its account may still open some at
    /// Smartcar.
    pub serves_none: bool,
}

impl ConnectionView {
    /// Whether Smartcar has not told its vehicles yet, and nothing is known against it. It is asked again, every few minutes.
    pub fn awaits_vehicles(&self) -> bool {
        self.status == ConnectionStatus::Active.as_str() && self.smartcar_user_id.is_none() && self.last_error.is_none()
    }
}

/// What became of a connection that was forgotten here.
#[derive(Clone, Debug, Serialize)]
pub struct Forgotten {
    /// The connection.
    pub id: ConnectionId,
    /// The vehicles that it served. They are without a connection now.
    pub vehicles: Vec<VehicleId>,
    /// Whether the vehicles and their history stay readable.
    pub history: History,
    /// Always `not_asked`: Smartcar goes on with its own connection until it is ended there.
    pub smartcar: &'static str,
}

impl Vehicles {
    /// Connections within reach, oldest first.
    pub async fn connections(&self, reach: &Reach, page: PageRequest) -> Result<Page<ConnectionView>, VehiclesError> {
        let bad = VehiclesError::BadRequest("the cursor is not one of this list");
        let mut after = page.cursor.map(|cursor| ConnectionId::parse(&cursor).ok_or(bad)).transpose()?;
        let (shared, reach) = (self.shared.clone(), reach.clone());
        let found = self.shared.store.read(move |snapshot| {
            let mut items = Vec::new();
            loop {
                let connections = snapshot.connections(after, SCAN)?;
                let end = connections.len() < SCAN;
                for connection in connections {
                    let wanted = is_within(&reach, &connection);
                    if wanted && items.len() == page.limit {
                        return Ok(Page { items, next: after.map(|id| id.to_string()) });
                    }
                    after = Some(connection.id);
                    if wanted {
                        items.push(shared.view(snapshot, connection)?);
                    }
                }
                if end {
                    return Ok(Page { items, next: None });
                }
            }
        });
        Ok(found.await?)
    }

    /// The connections of these vehicles that are within reach; damaged ones are left out.
    pub async fn connections_of(&self, reach: &Reach, vehicles: &[VehicleView]) -> Result<Vec<ConnectionView>, VehiclesError> {
        let ids: BTreeSet<ConnectionId> = vehicles.iter().filter_map(|vehicle| vehicle.connection).collect();
        let (shared, reach) = (self.shared.clone(), reach.clone());
        let found = self.shared.store.read(move |snapshot| {
            let mut found = Vec::new();
            for id in ids {
                if let Some(connection) = snapshot.sound_connection(id)?.filter(|connection| is_within(&reach, connection)) {
                    found.push(shared.view(snapshot, connection)?);
                }
            }
            Ok(found)
        });
        Ok(found.await?)
    }

    /// One connection. Only the operator is told of one that is damaged: nobody knows whose it is.
    pub async fn connection(&self, reach: &Reach, id: ConnectionId) -> Result<ConnectionView, VehiclesError> {
        let (shared, reach) = (self.shared.clone(), reach.clone());
        let found = self.shared.store.read(move |snapshot| match snapshot.connection(id) {
            Err(StoreError::Damaged { .. }) if reach == Reach::All => Ok(Err(VehiclesError::Damaged)),
            Err(StoreError::Damaged { .. }) => Ok(Err(VehiclesError::NotFound)),
            found => match found?.filter(|connection| is_within(&reach, connection)) {
                Some(connection) => shared.view(snapshot, connection).map(Ok),
                None => Ok(Err(VehiclesError::NotFound)),
            },
        });
        found.await?
    }

    /// Renews its tokens now.
    pub async fn refresh_connection(&self, id: ConnectionId) -> Result<ConnectionView, VehiclesError> {
        let view = self.connection(&Reach::All, id).await?;
        if view.status == ConnectionStatus::Disconnected.as_str() {
            return Err(VehiclesError::ConnectionEnded);
        }
        let holder = if view.generation == Generation::V3 { ConnectionId::APPLICATION } else { id };
        self.shared.tokens.renew(holder, None).await.map_err(|error| {
            let error = VehiclesError::from(CallError::from(error));
            view.vehicles.iter().fold(error, VehiclesError::about)
        })?;
        if view.generation == Generation::V2 && self.shared.tokens.ended().is_some() {
            // What is answered now is told now.
            self.shared.tokens.ask_of_end(&[id]).await;
        }
        self.connection(&Reach::All, id).await
    }

    /// Disconnects all its vehicles at Smartcar, then here, and at Smartcar also what its account opens of cars that are not
    /// its own here (any more). With `force` also when Smartcar refuses; without it a connection of which some vehicles are
    /// left stays for these. No more is erased than what its user had of them. The cars that go are noted.
    pub async fn disconnect_connection(
        &self,
        id: ConnectionId,
        (history, force): (History, bool),
        note: &Note,
    ) -> Result<(), VehiclesError> {
        let ConnectionView { user, vehicles, .. } = self.connection(&Reach::All, id).await?;
        self.disconnect_all(&Reach::User(user.clone()), &vehicles, (history, force), note).await?;
        let (shared, note) = (self.shared.clone(), note.clone());
        let end = async move {
            shared.end_left_behind(id, force, &note).await?;
            let (erase, at) = (history == History::Erase, shared.world.now());
            // While Smartcar was asked its owner may have connected it again.
            shared.store.commit(EndConnection { id, erase, if_empty: true, at }).await?;
            Ok::<(), VehiclesError>(())
        };
        to_its_end(end).await?;
        self.say_unreadable(history, user).await
    }

    /// After an erasure: what of a user's cannot be read is still there.
    async fn say_unreadable(&self, history: History, user: AppUserId) -> Result<(), VehiclesError> {
        if history == History::Keep {
            return Ok(());
        }
        let owner = user.clone();
        match self.shared.store.read(move |snapshot| snapshot.unreadable_vehicles(Some(&owner))).await? {
            0 => Ok(()),
            rows => Err(VehiclesError::Unreadable { rows, left_to: Some([Some(user)].into()) }),
        }
    }
}

impl Vehicles {
    /// Forgets a connection with its tokens here, and does not ask Smartcar. What Smartcar sends later about a
    /// vehicle that stays is kept in the log and does not become data. The cars that go are noted.
    pub async fn forget_connection(&self, id: ConnectionId, history: History, note: &Note) -> Result<Forgotten, VehiclesError> {
        let ConnectionView { vehicles, user, .. } = self.connection(&Reach::All, id).await?;
        let (shared, owner, note) = (self.shared.clone(), user.clone(), note.clone());
        let end = async move {
            let of = owner.clone();
            let mut served = shared.store.read(move |snapshot| snapshot.vehicles_of_user(&of)).await?;
            served.retain(|(_, vehicle)| vehicle.connection == Some(id));
            for (_, vehicle) in served {
                if history == History::Erase {
                    shared.end(&vehicle, Some(owner.clone()), history).await?;
                }
                note(&vehicle.facts.id);
            }
            let at = shared.world.now();
            shared.store.commit(EndConnection { id, erase: true, if_empty: false, at }).await?;
            Ok::<(), VehiclesError>(())
        };
        to_its_end(end).await?;
        tracing::info!(connection.id = %id, "a connection was forgotten here; Smartcar was not asked");
        self.say_unreadable(history, user).await?;
        Ok(Forgotten { id, vehicles, history, smartcar: "not_asked" })
    }
}

impl Shared {
    /// What keeps the access of an active connection from being renewed, or used.
    pub(super) fn hindrance(&self, connection: &Connection) -> Option<Hindrance> {
        if connection.status != ConnectionStatus::Active {
            return None;
        }
        if let Some(error) = self.tokens.ended().filter(|_| connection.generation == Generation::V2) {
            return Some(Hindrance::Ended(error.to_string()));
        }
        if let Some(what) = self.tokens.stopped(connection.generation) {
            return Some(Hindrance::Refused(what));
        }
        // Behind a shut door nobody is asked, so nobody has a trouble of its own.
        let trouble = self.tokens.trouble(holder(connection)).or_else(|| self.tokens.held_up(connection.generation));
        trouble.or_else(|| connection.last_error.clone()).map(Hindrance::Passing)
    }

    fn view(&self, snapshot: &Snapshot<'_>, connection: Connection) -> Result<ConnectionView, StoreError> {
        let is_over = connection.status == ConnectionStatus::Disconnected;
        let tokens = if is_over { None } else { snapshot.sound_tokens(holder(&connection))? };
        let (reason, reconnect_url) = match &connection.status {
            ConnectionStatus::NeedsReconnect { reason, .. } => {
                (Some(reason.clone()), Some(format!("{}/connections", self.settings.get().dashboard_url)))
            }
            ConnectionStatus::Active | ConnectionStatus::Disconnected => (None, None),
        };
        let vehicles = snapshot.vehicles_of(&connection)?;
        let is_complete = connection.status == ConnectionStatus::Active && connection.smartcar_user.is_some();
        Ok(ConnectionView {
            id: connection.id,
            serves_none: is_complete && vehicles.is_empty() && !snapshot.has_damaged_vehicles(&connection.user)?,
            status: connection.status.as_str(),
            reason,
            reconnect_url,
            missing_scope: self.missing_scope(&connection.scope),
            access_expires_at: tokens.as_ref().map(|tokens| tokens.access_expires_at),
            refresh_expires_at: tokens.as_ref().and_then(|tokens| tokens.refresh_expires_at),
            last_refresh: tokens.as_ref().map(|tokens| tokens.issued_at),
            next_refresh: tokens.as_ref().and_then(|tokens| tokens.due_at),
            last_error: self.hindrance(&connection).map(Hindrance::what).or_else(|| connection.last_error.clone()),
            vehicles,
            user: connection.user,
            smartcar_user_id: connection.smartcar_user,
            generation: connection.generation,
            scope: connection.scope,
        })
    }

    /// What is configured but was not granted. Nothing is missing from a grant that Smartcar did not tell.
    fn missing_scope(&self, granted: &[String]) -> Vec<String> {
        match &self.smartcar.settings().scope {
            Scope::List(wanted) if !granted.is_empty() => {
                let wanted = wanted.iter().map(|permission| permission.strip_prefix("required:").unwrap_or(permission));
                wanted.filter(|permission| !granted.iter().any(|known| known == permission)).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// What keeps access from being renewed or used, in the words of whoever noticed.
#[derive(Debug)]
pub(super) enum Hindrance {
    /// Smartcar refuses our own credentials: the operator must act.
    Refused(String),
    /// It passes by itself.
    Passing(String),
    /// Smartcar has ended the API by which it is connected: the operator must move it.
    Ended(String),
}

impl Hindrance {
    fn what(self) -> String {
        match self {
            Hindrance::Refused(what) | Hindrance::Passing(what) | Hindrance::Ended(what) => what,
        }
    }
}

/// Whose tokens serve a connection.
fn holder(connection: &Connection) -> ConnectionId {
    if connection.generation == Generation::V3 { ConnectionId::APPLICATION } else { connection.id }
}

/// All connections of a user.
pub(super) fn of_user(snapshot: &Snapshot<'_>, user: &AppUserId) -> Result<Vec<Connection>, StoreError> {
    let mut connections = snapshot.connections(None, usize::MAX)?;
    connections.retain(|connection| connection.user == *user);
    Ok(connections)
}

fn is_within(reach: &Reach, connection: &Connection) -> bool {
    match reach {
        Reach::All => true,
        Reach::User(user) => connection.user == *user,
        // A connection tells of all its vehicles, so one of them opens none.
        Reach::Vehicle(_) => false,
    }
}

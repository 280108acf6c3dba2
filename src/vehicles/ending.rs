//! Ending a vehicle: at Smartcar, then here, and with it, if it is to be erased, what is kept of it.
//!
//! A car may have changed hands. What a former owner had of it is in rows to which no id leads: they go with the car when
//! the operator erases it, and with their user. At Smartcar is something of them only where the owners have accounts of
//! their own: it ends with the former owner's connection.

use super::limits::Urgency;
use super::{History, Note, Shared, Vehicles, VehiclesError, revoked, to_its_end};
use crate::model::budget::APPLICATION;
use crate::model::connection::{Connection, ConnectionStatus};
use crate::model::reach::Reach;
use crate::model::token::Generation;
use crate::model::vehicle::Vehicle;
use crate::model::{AppUserId, ConnectionId, Secret, SmartcarUserId, VehicleId};
use crate::smartcar::{ConnectionFilter, Smartcar, SmartcarConnection, SmartcarError};
use crate::store::connections::EndConnection;
use crate::store::former::{EraseFormer, EraseUnreadable};
use crate::store::vehicles::ForgetVehicle;
use crate::store::{Snapshot, StoreError};
use crate::tokens::{CallError, TokenError};

impl Vehicles {
    /// Disconnects a vehicle at Smartcar, then here. With `force` also when Smartcar refuses. With [`History::Erase`] goes
    /// what is within reach of it: of a car that has changed hands the operator erases all, a user what was theirs. With the
    /// last car of a connection ends what its account still opens. The cars that go are noted.
    pub async fn disconnect(
        &self,
        reach: &Reach,
        id: &VehicleId,
        (history, force): (History, bool),
        note: &Note,
    ) -> Result<(), VehiclesError> {
        let vehicle = match self.within(reach, id).await {
            Ok((_, vehicle)) => Some(vehicle),
            Err(VehiclesError::Damaged | VehiclesError::NotFound)
                if history == History::Erase && *reach == Reach::All && self.erase_unreadable(id).await? =>
            {
                note(id);
                return Err(VehiclesError::Unreadable { rows: 1, left_to: None });
            }
            // What a former owner had is erased, though nobody has the car, or somebody out of reach.
            Err(VehiclesError::NotFound) if history == History::Erase => None,
            Err(error) => return Err(error),
        };
        let whose = match (reach, &vehicle) {
            (Reach::All, _) => None,
            (Reach::User(user), _) => Some(user.clone()),
            (Reach::Vehicle(_), Some(vehicle)) => Some(vehicle.user.clone()),
            (Reach::Vehicle(_), None) => return Err(VehiclesError::NotFound),
        };
        let (shared, id, note) = (self.shared.clone(), id.clone(), note.clone());
        let end = async move {
            let (car, owner) = (id.clone(), whose.clone());
            match vehicle {
                Some(vehicle) => shared.disconnect(&vehicle, whose, (history, force), &note).await?,
                None if shared.store.commit(EraseFormer { id: id.clone(), user: whose }).await? => note(&id),
                None => return Err(VehiclesError::NotFound),
            }
            if history == History::Keep {
                return Ok(());
            }
            match shared.store.read(move |snapshot| snapshot.unreadable_beside(&car, owner.as_ref())).await? {
                (0, _) => Ok(()),
                (rows, users) => Err(VehiclesError::Unreadable { rows, left_to: Some(users) }),
            }
        };
        to_its_end(end).await
    }

    /// Erases a vehicle whose row is damaged or lost, so that nothing but its id leads there; `false` if it is neither.
    async fn erase_unreadable(&self, id: &VehicleId) -> Result<bool, VehiclesError> {
        let erased = self.shared.store.commit(EraseUnreadable { id: Some(id.clone()), user: None }).await?;
        if erased > 0 {
            self.shared.store.commit(EraseFormer { id: id.clone(), user: None }).await?;
        }
        Ok(erased > 0)
    }

    /// Disconnects several. One that cannot be stops none of the others, unless the store is in trouble: then nobody
    /// could keep what has happened.
    pub(super) async fn disconnect_all(
        &self,
        reach: &Reach,
        ids: &[VehicleId],
        how: (History, bool),
        note: &Note,
    ) -> Result<(), VehiclesError> {
        let mut failed = Vec::new();
        for id in ids {
            match self.disconnect(reach, id, how, note).await {
                // Whoever asked for all of them says what could not be read; or somebody else was faster.
                Ok(()) | Err(VehiclesError::Unreadable { .. } | VehiclesError::NotFound) => {}
                Err(VehiclesError::Store) => return Err(VehiclesError::Store),
                Err(error) => failed.push((id.clone(), error)),
            }
        }
        let Some((_, first)) = failed.first() else { return Ok(()) };
        // Where nothing has changed, and for one reason, that is all there is to say.
        let reason = std::mem::discriminant(first);
        let is_one = failed.len() == ids.len() && failed.iter().all(|(_, error)| std::mem::discriminant(error) == reason);
        Err(if is_one { failed.swap_remove(0).1 } else { VehiclesError::Partly { of: ids.len(), failed } })
    }
}

impl Shared {
    async fn disconnect(
        &self,
        vehicle: &Vehicle,
        whose: Option<AppUserId>,
        (history, force): (History, bool),
        note: &Note,
    ) -> Result<(), VehiclesError> {
        let mut is_left_behind_ended = false;
        if let Some(connection) = vehicle.connection {
            if self.serves(connection).await?.is_some_and(|cars| cars < 2) {
                self.end_left_behind(connection, force, note).await?;
                is_left_behind_ended = true;
            }
            or_by_force(force, connection, self.disconnect_upstream(&vehicle.facts.id, connection).await)?;
        }
        self.end(vehicle, whose, history).await?;
        note(&vehicle.facts.id);
        // Asked again: while Smartcar was asked, others of the connection may have been ended.
        if let Some(id) = vehicle.connection
            && self.serves(id).await? == Some(0)
        {
            if !is_left_behind_ended && let Err(error) = self.end_left_behind(id, force, note).await {
                // The car has gone all the same; the connection stays in sight, without a car.
                tracing::warn!(connection.id = %id, %error, "what a connection opens at Smartcar could not be ended with its last car");
                return Ok(());
            }
            let at = self.world.now();
            self.store.commit(EndConnection { id, erase: false, if_empty: true, at }).await?;
        }
        Ok(())
    }

    /// Ends a vehicle here; to erase it, also what is left of former owners, or of one of them.
    pub(super) async fn end(&self, vehicle: &Vehicle, whose: Option<AppUserId>, history: History) -> Result<(), StoreError> {
        let id = &vehicle.facts.id;
        let erases = history == History::Erase;
        let former = EraseFormer { id: id.clone(), user: whose };
        if erases {
            // First: as long as the id leads anywhere, who is cut off can do it again.
            self.store.commit(former.clone()).await?;
        }
        // Somebody else may have connected the car by now: that is not what was to end, but what was is former since.
        let forget = ForgetVehicle::of(vehicle.user.clone(), id.clone(), erases, self.world.now());
        let is_ended = self.store.commit(forget).await?;
        if erases && !is_ended {
            self.store.commit(former).await?;
        }
        Ok(())
    }

    /// How many vehicles a connection serves; `None` if nobody can tell, as a row that cannot be read may be one of them.
    async fn serves(&self, id: ConnectionId) -> Result<Option<usize>, StoreError> {
        let look = move |snapshot: &Snapshot<'_>| match snapshot.sound_connection(id)? {
            Some(connection) if !snapshot.has_damaged_vehicles(&connection.user)? => {
                Ok(Some(snapshot.vehicles_of(&connection)?.len()))
            }
            _ => Ok(None),
        };
        self.store.read(look).await
    }

    /// Ends at Smartcar what a connection's account opens and the connection does not serve: cars that are served by another
    /// account's, or that nobody has here any more. Nothing else here leads there. An account that another owner has
    /// connected, too, is theirs.
    pub(super) async fn end_left_behind(&self, id: ConnectionId, force: bool, note: &Note) -> Result<(), VehiclesError> {
        let look = move |snapshot: &Snapshot<'_>| match snapshot.sound_connection(id)? {
            Some(connection) if is_open(&connection) && !is_there_another(snapshot, &connection, false)? => Ok(Some(connection)),
            _ => Ok(None),
        };
        let Some(connection) = self.store.read(look).await? else { return Ok(()) };
        let listed = match revoked::listed(self, &connection, Urgency::Urgent).await {
            Ok(listed) => listed,
            Err(CallError::Token(TokenError::Gone)) => return Ok(()),
            Err(error) => return or_by_force(force, id, Err(refusal(error))).map(drop),
        };
        for car in listed {
            let (of, id) = (connection.clone(), car.clone());
            let look = move |snapshot: &Snapshot<'_>| Ok((is_left_behind(snapshot, &of, &id)?, row_of(snapshot, &id)?));
            let (true, row) = self.store.read(look).await? else { continue };
            if or_by_force(force, connection.id, self.end_at_smartcar(row, &car, &connection).await)? {
                note(&car);
            }
        }
        Ok(())
    }

    async fn disconnect_upstream(&self, car: &VehicleId, connection: ConnectionId) -> Result<(), VehiclesError> {
        let id = car.clone();
        let look = move |snapshot: &Snapshot<'_>| {
            let served = snapshot.vehicle(&id)?.filter(|(_, vehicle)| vehicle.connection == Some(connection));
            Ok((snapshot.sound_connection(connection)?, served.map(|(row, vehicle)| (row, vehicle.user))))
        };
        match self.store.read(look).await? {
            (Some(connection), Some((row, _))) => self.end_at_smartcar(row, car, &connection).await,
            (None, Some((row, owner))) => self.end_without_connection(row, car, owner).await,
            // Somebody else was faster. By now the same account may be another owner's.
            (_, None) => Ok(()),
        }
    }

    /// Nobody can read the connection that serves a car, nor its tokens: the application ends what v3 lists of it as this
    /// owner's, but for accounts that are connected here still. Of several accounts one may be another gateway's.
    async fn end_without_connection(&self, row: u32, car: &VehicleId, owner: AppUserId) -> Result<(), VehiclesError> {
        let damaged = || VehiclesError::reconnect("its connection is damaged in the store").about(car);
        if self.smartcar.settings().v3.is_none() {
            return Err(damaged());
        }
        let known = self.store.read(|snapshot| snapshot.connections(None, usize::MAX)).await?;
        let is_known = |account: &SmartcarUserId| {
            known.iter().any(|connection| is_open(connection) && connection.smartcar_user.as_ref() == Some(account))
        };
        let is_its = |listed: &SmartcarConnection| {
            listed.external_id.as_deref() == Some(owner.as_str())
                && listed.user.as_ref().is_some_and(|account| !is_known(account))
        };
        let the_only_one = |mut listed: Vec<SmartcarConnection>| {
            listed.retain(is_its);
            let is_one = listed.windows(2).all(|pair| pair[0].user == pair[1].user);
            if is_one { listed } else { Vec::new() }
        };
        match self.disconnect_v3(row, car, None, the_only_one).await {
            Ok(0) => Err(damaged()),
            result => result.map(drop).map_err(refusal),
        }
    }

    /// A vehicle that Smartcar lists no more is as good as disconnected: the answer to an earlier try may have been lost.
    async fn end_at_smartcar(&self, row: u32, car: &VehicleId, connection: &Connection) -> Result<(), VehiclesError> {
        let result = match connection.generation {
            Generation::V2 => {
                self.ask((row, Urgency::Urgent), connection.id, |smartcar, access| async move {
                    smartcar.disconnect(&access, car).await
                })
                .await
            }
            Generation::V3 => self.disconnect_v3(row, car, connection.smartcar_user.clone(), |listed| listed).await.map(drop),
        };
        match result {
            Err(CallError::Token(TokenError::Gone)) => Ok(()),
            // What a refusal means is not documented, and a wrong address or the end of an API refuses as well: only a list
            // that Smartcar gives to the same token shows that the vehicle is gone.
            Err(CallError::Smartcar(SmartcarError::NotPossible { .. } | SmartcarError::Reconnect { .. }))
                if revoked::listed(self, connection, Urgency::Urgent).await.is_ok_and(|listed| !listed.contains(car)) =>
            {
                Ok(())
            }
            result => result.map_err(refusal),
        }
    }

    /// Smartcar's id of a connection may have changed since it was noted, so it is asked for again. Returns how many were ended
    /// of those that it has of the car.
    async fn disconnect_v3(
        &self,
        row: u32,
        car: &VehicleId,
        user: Option<SmartcarUserId>,
        which: impl FnOnce(Vec<SmartcarConnection>) -> Vec<SmartcarConnection>,
    ) -> Result<usize, CallError> {
        let filter = ConnectionFilter { vehicle: Some(car.clone()), user, ..ConnectionFilter::default() };
        let application = ConnectionId::APPLICATION;
        let filter = &filter;
        let list = |smartcar: Smartcar, access: Secret| async move { smartcar.connections(&access, filter.clone()).await };
        let listed = self.ask((row, Urgency::Urgent), application, list).await?;
        let mut ended = 0;
        let of_car = listed.into_iter().filter(|connection| connection.vehicle.as_ref() == Some(car)).collect();
        for connection in which(of_car) {
            let id = &connection.id;
            let end = |smartcar: Smartcar, access: Secret| async move { smartcar.disconnect_v3(&access, id).await };
            self.ask((row, Urgency::Urgent), application, end).await?;
            ended += 1;
        }
        Ok(ended)
    }
}

/// By force it goes on without Smartcar. Whether it was done there.
fn or_by_force(force: bool, id: ConnectionId, ended: Result<(), VehiclesError>) -> Result<bool, VehiclesError> {
    match ended {
        Err(error) if force => {
            tracing::warn!(connection.id = %id, %error, "a car was ended here by force, and may still be connected at Smartcar");
            Ok(false)
        }
        ended => ended.map(|()| true),
    }
}

/// Why Smartcar could not be asked, or did not do it. Tokens that cannot be read do not come back.
fn refusal(error: CallError) -> VehiclesError {
    match error {
        CallError::Token(TokenError::Store(StoreError::Damaged { .. })) => VehiclesError::reconnect("its tokens are damaged"),
        error => error.into(),
    }
}

fn is_open(connection: &Connection) -> bool {
    connection.status != ConnectionStatus::Disconnected
}

/// Whether the same account is connected once more: by the same owner, or by another one.
fn is_there_another(snapshot: &Snapshot<'_>, connection: &Connection, by_same: bool) -> Result<bool, StoreError> {
    let same = |other: &Connection| other.smartcar_user.is_some() && other.smartcar_user == connection.smartcar_user;
    let all = snapshot.connections(None, usize::MAX)?;
    let mut others = all.iter().filter(|other| other.id != connection.id && is_open(other) && same(other));
    Ok(others.any(|other| (other.user == connection.user) == by_same))
}

/// Where a vehicle's calls are counted; one that nobody has here, or nobody can read, is as good as none.
fn row_of(snapshot: &Snapshot<'_>, car: &VehicleId) -> Result<u32, StoreError> {
    match snapshot.vehicle(car) {
        Err(StoreError::Damaged { .. }) => Ok(APPLICATION),
        vehicle => Ok(vehicle?.map_or(APPLICATION, |(row, _)| row)),
    }
}

/// Whether a car that an account opens is served by no connection of that account but the one that ends. One of which nobody
/// can read what serves it goes with the only connection of its owner's to that account; whose it is, is known still.
fn is_left_behind(snapshot: &Snapshot<'_>, connection: &Connection, car: &VehicleId) -> Result<bool, StoreError> {
    let server = match snapshot.vehicle(car) {
        Err(StoreError::Damaged { .. }) => {
            return Ok(snapshot.is_damaged_of(car, &connection.user)? && !is_there_another(snapshot, connection, true)?);
        }
        vehicle => vehicle?.and_then(|(_, vehicle)| vehicle.connection),
    };
    let Some(server) = server else { return Ok(true) };
    Ok(snapshot.sound_connection(server)?.is_some_and(|server| {
        let is_known = server.smartcar_user.is_some() && connection.smartcar_user.is_some();
        server.id != connection.id && is_known && server.smartcar_user != connection.smartcar_user
    }))
}

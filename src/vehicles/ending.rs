//! Ending a vehicle: at Smartcar, then here, and with it, if it is to be erased, what is kept of it.
//!
//! A car may have changed hands. What a former owner had of it is in rows to which no id leads: they go with the car when
//! the operator erases it, and with their user. Nothing of them is at Smartcar, so that nobody is asked about them.

use super::{History, Shared, Vehicles, VehiclesError, revoked, to_its_end};
use crate::model::reach::Reach;
use crate::model::token::Generation;
use crate::model::vehicle::Vehicle;
use crate::model::{AppUserId, ConnectionId, SmartcarUserId, VehicleId};
use crate::smartcar::{ConnectionFilter, SmartcarError};
use crate::store::StoreError;
use crate::store::connections::EndConnection;
use crate::store::former::{EraseFormer, EraseUnreadable};
use crate::store::vehicles::ForgetVehicle;
use crate::tokens::{CallError, TokenError};

impl Vehicles {
    /// Disconnects a vehicle at Smartcar, then here. With `force` also when Smartcar refuses. With [`History::Erase`] goes
    /// what is within reach of it: of a car that has changed hands the operator erases all, a user what was theirs.
    pub async fn disconnect(&self, reach: &Reach, id: &VehicleId, history: History, force: bool) -> Result<(), VehiclesError> {
        let vehicle = match self.within(reach, id).await {
            Ok((_, vehicle)) => Some(vehicle),
            // What a former owner had is erased, though nobody has the car, or somebody out of reach.
            Err(VehiclesError::NotFound) if history == History::Erase => None,
            Err(VehiclesError::Store)
                if history == History::Erase && *reach == Reach::All && self.erase_unreadable(id).await? =>
            {
                return Err(VehiclesError::Unreadable { rows: 1, erased: true });
            }
            Err(error) => return Err(error),
        };
        let whose = match (reach, &vehicle) {
            (Reach::All, _) => None,
            (Reach::User(user), _) => Some(user.clone()),
            (Reach::Vehicle(_), Some(vehicle)) => Some(vehicle.user.clone()),
            (Reach::Vehicle(_), None) => return Err(VehiclesError::NotFound),
        };
        let (shared, id) = (self.shared.clone(), id.clone());
        let end = async move {
            let owner = whose.clone();
            match vehicle {
                Some(vehicle) => shared.disconnect(&vehicle, whose, history, force).await?,
                None if shared.store.commit(EraseFormer { id, user: whose }).await? => {}
                None => return Err(VehiclesError::NotFound),
            }
            if history == History::Keep {
                return Ok(());
            }
            match shared.store.read(move |snapshot| snapshot.unreadable_vehicles(owner.as_ref())).await? {
                0 => Ok(()),
                rows => Err(VehiclesError::Unreadable { rows, erased: false }),
            }
        };
        to_its_end(end).await
    }

    /// Erases a vehicle whose row is damaged, so that nothing but its id leads there; `false` if it is not damaged.
    async fn erase_unreadable(&self, id: &VehicleId) -> Result<bool, VehiclesError> {
        let erased = self.shared.store.commit(EraseUnreadable { id: Some(id.clone()), user: None }).await?;
        if erased > 0 {
            self.shared.store.commit(EraseFormer { id: id.clone(), user: None }).await?;
        }
        Ok(erased > 0)
    }

    /// Disconnects several. One that cannot be stops none of the others, unless the store is in trouble: then nobody
    /// could note what has happened.
    pub(super) async fn disconnect_all(
        &self,
        reach: &Reach,
        ids: &[VehicleId],
        history: History,
        force: bool,
    ) -> Result<(), VehiclesError> {
        let mut failed = Vec::new();
        for id in ids {
            match self.disconnect(reach, id, history, force).await {
                // Somebody else was faster.
                Ok(()) | Err(VehiclesError::NotFound) => {}
                // It is done; whoever asked for all of them says the rest.
                Err(VehiclesError::Unreadable { .. }) => {}
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
        history: History,
        force: bool,
    ) -> Result<(), VehiclesError> {
        if let Some(connection) = vehicle.connection {
            match self.disconnect_upstream(vehicle, connection).await {
                Err(error) if force => {
                    tracing::warn!(%error, "a car was ended here by force, and may still be connected at Smartcar");
                }
                gone => gone?,
            }
        }
        self.end(vehicle, whose, history).await?;
        if let Some(connection) = vehicle.connection {
            let at = self.world.now();
            self.store.commit(EndConnection { id: connection, erase: false, if_empty: true, at }).await?;
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

    /// A vehicle that Smartcar lists no more is as good as disconnected: the answer to an earlier try may have been lost.
    async fn disconnect_upstream(&self, vehicle: &Vehicle, connection: ConnectionId) -> Result<(), VehiclesError> {
        let id = &vehicle.facts.id;
        let row = self.store.read(move |snapshot| snapshot.connection(connection)).await?;
        let Some(row) = row else { return Ok(()) };
        let result = match row.generation {
            Generation::V2 => {
                self.tokens.call(connection, |smartcar, access| async move { smartcar.disconnect(&access, id).await }).await
            }
            Generation::V3 => self.disconnect_v3(vehicle, row.smartcar_user.clone()).await,
        };
        match result {
            Err(CallError::Token(TokenError::Gone)) => Ok(()),
            // What a refusal means is not documented, and a wrong address or the end of an API refuses as well: only a list
            // that Smartcar gives to the same token shows that the vehicle is gone.
            Err(CallError::Smartcar(SmartcarError::NotPossible { .. } | SmartcarError::Reconnect { .. }))
                if revoked::listed(self, &row).await.is_ok_and(|listed| !listed.contains(id)) =>
            {
                Ok(())
            }
            result => Ok(result?),
        }
    }

    /// Smartcar's id of a connection may have changed since it was noted, so it is asked for again.
    async fn disconnect_v3(&self, vehicle: &Vehicle, user: Option<SmartcarUserId>) -> Result<(), CallError> {
        let filter = ConnectionFilter { vehicle: Some(vehicle.facts.id.clone()), user, ..ConnectionFilter::default() };
        let application = ConnectionId::APPLICATION;
        let filter = &filter;
        let listed = self
            .tokens
            .call(application, |smartcar, access| async move { smartcar.connections(&access, filter.clone()).await })
            .await?;
        for connection in listed.iter().filter(|connection| connection.vehicle.as_ref() == Some(&vehicle.facts.id)) {
            self.tokens
                .call(application, |smartcar, access| async move { smartcar.disconnect_v3(&access, &connection.id).await })
                .await?;
        }
        Ok(())
    }
}

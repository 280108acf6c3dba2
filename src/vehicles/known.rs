//! A vehicle as it is kept, for whoever answers from it in Smartcar's own words, and what is asked of Smartcar about it.

use std::collections::BTreeMap;

use http::Method;
use serde_json::Value;

use super::{Vehicles, picture, to_its_end, view};
use crate::budget::Refused;
use crate::model::budget::Reason;
use crate::model::connection::Connection;
use crate::model::reach::Reach;
use crate::model::reading::SignalReport;
use crate::model::vehicle::Vehicle;
use crate::model::{ConnectionId, Secret, VehicleId};
use crate::smartcar::{HandedOn, Smartcar};
use crate::store::tellings::Latest;
use crate::store::{Snapshot, StoreError};
use crate::tokens::{CallError, TokenError};

/// A vehicle as it is kept.
#[derive(Clone, Debug)]
pub struct Known {
    row: u32,
    /// The vehicle.
    pub vehicle: Vehicle,
    /// The connection that serves it; `None` after it was disconnected.
    pub connection: Option<Connection>,
    /// The latest of its signals, by code; empty in lists.
    pub latest: BTreeMap<String, Latest>,
}

impl Known {
    fn of(snapshot: &Snapshot<'_>, row: u32, vehicle: Vehicle) -> Result<Known, StoreError> {
        let connection = vehicle.connection.map_or(Ok(None), |id| snapshot.sound_connection(id))?;
        Ok(Known { row, vehicle, connection, latest: BTreeMap::new() })
    }

    /// Its id.
    pub fn id(&self) -> &VehicleId {
        &self.vehicle.facts.id
    }

    /// What the owner granted; `None` if Smartcar did not say.
    pub fn permissions(&self) -> Option<&[String]> {
        let scope = self.connection.as_ref().map(|connection| connection.scope.as_slice());
        self.vehicle.facts.permissions.as_deref().or(scope.filter(|scope| !scope.is_empty()))
    }
}

impl Vehicles {
    /// A vehicle with its signals; `None` if there is none within reach.
    pub async fn known(&self, reach: &Reach, id: &VehicleId) -> Result<Option<Known>, StoreError> {
        let (reach, id) = (reach.clone(), id.clone());
        let look = move |snapshot: &Snapshot<'_>| {
            let Some((row, vehicle)) = snapshot.vehicle(&id)?.filter(|(_, vehicle)| reach.covers(vehicle)) else {
                return Ok(None);
            };
            let known = Known::of(snapshot, row, vehicle)?;
            let latest = snapshot.latest(row)?.into_iter();
            let latest = latest.filter_map(|latest| view::as_of_now(latest, known.connection.as_ref()));
            let latest = latest.map(|latest| (latest.code.clone(), latest)).collect();
            Ok(Some(Known { latest, ..known }))
        };
        self.shared.store.read(look).await
    }

    /// The connected vehicles within reach, oldest first, without their signals.
    pub async fn all_known(&self, reach: &Reach) -> Result<Vec<Known>, StoreError> {
        let reach = reach.clone();
        let look = move |snapshot: &Snapshot<'_>| {
            let within = snapshot.vehicles(0, usize::MAX)?.into_iter().filter(|(_, vehicle)| reach.covers(vehicle));
            let all = within.map(|(row, vehicle)| Known::of(snapshot, row, vehicle)).collect::<Result<Vec<_>, _>>()?;
            Ok(all.into_iter().filter(|known| known.connection.is_some()).collect())
        };
        self.shared.store.read(look).await
    }

    /// Reads these endpoints from Smartcar (through API v3 everything there is), and keeps what comes.
    pub async fn read(&self, known: &Known, only: Option<&[&'static str]>, reason: Reason) -> Result<(), CallError> {
        let (shared, known, only) = (self.shared.clone(), known.clone(), only.map(<[_]>::to_vec));
        to_its_end(async move { picture::read(&shared, known.row, &known.vehicle, only.as_deref(), reason).await }).await
    }

    /// The limit of Smartcar's own that a call about a vehicle ran into, and when it is over.
    pub async fn refusal(&self, known: &Known, error: &CallError) -> Option<Refused> {
        self.shared.refusal(known.row, error).await
    }

    /// Reads the services of a vehicle between two dates through API v2.0. What comes is not kept: it is a part of all there
    /// is, and another part than the one that is kept.
    pub async fn services(
        &self,
        known: &Known,
        (since, until): (Option<String>, Option<String>),
        reason: Reason,
    ) -> Result<SignalReport, CallError> {
        let (shared, known) = (self.shared.clone(), known.clone());
        to_its_end(async move {
            let connection = known.connection.as_ref().ok_or(TokenError::Gone)?.id;
            shared.tokens.may_call(connection)?;
            let permit = &shared.budget.permit(known.row, reason).await?;
            let (car, dates) = (known.id(), (since.as_deref(), until.as_deref()));
            let call = |smartcar: Smartcar, access: Secret| async move { smartcar.history(&access, car, dates, permit).await };
            let result = shared.tokens.call(connection, call).await;
            shared.settle(permit, &result).await;
            result
        })
        .await
    }

    /// Subscribes a car to a webhook, or takes it from there, through API v2.0.
    pub async fn subscribe_v2(&self, known: &Known, webhook: &str, ends: bool, reason: Reason) -> Result<HandedOn, CallError> {
        let connection = known.connection.as_ref().ok_or(TokenError::Gone)?;
        let car = known.id();
        self.shared.tokens.may_call(connection.id)?;
        let permit = &self.shared.budget.permit_application(reason).await?;
        let result = if ends {
            let result = self.shared.smartcar.unsubscribe_v2(car, webhook).await;
            self.shared.tokens.believed(Some(connection.id), result).await
        } else {
            let call = |smartcar: Smartcar, access: Secret| async move { smartcar.subscribe_v2(&access, car, webhook).await };
            self.shared.tokens.call(connection.id, call).await
        };
        self.shared.settle(permit, &result).await;
        result
    }

    /// Asks the management API v3, with the application's token.
    pub async fn forward(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        reason: Reason,
    ) -> Result<HandedOn, CallError> {
        let permit = &self.shared.budget.permit_application(reason).await?;
        let call = |smartcar: Smartcar, access: Secret| async move {
            smartcar.forward_v3(&access, method.clone(), path, body, permit).await
        };
        let result = self.shared.tokens.call(ConnectionId::APPLICATION, call).await;
        self.shared.settle(permit, &result).await;
        result
    }

    /// Asks Smartcar what a make or a car is capable of.
    pub async fn compatibility(&self, path: &str, query: &str, reason: Reason) -> Result<HandedOn, CallError> {
        self.shared.tokens.may_call_v2()?;
        let permit = self.shared.budget.permit_application(reason).await?;
        let result = self.shared.smartcar.compatibility(path, query, &permit).await;
        let result = self.shared.tokens.believed(None, result).await;
        self.shared.settle(&permit, &result).await;
        result
    }
}

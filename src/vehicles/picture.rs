//! A picture of a vehicle, read from Smartcar: when it was linked, and on request.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::model::ConnectionId;
use crate::model::connection::ConnectionStatus;
use crate::model::reading::Source;
use crate::model::token::Generation;
use crate::model::vehicle::Vehicle;
use crate::smartcar::SmartcarError;
use crate::store::StoreError;
use crate::store::connections::MarkConnection;
use crate::store::vehicle_data::{ApplyReadings, Telling};
use crate::store::vehicles::{NoteFacts, PictureTaken};
use crate::tokens::{CallError, TokenError};

/// How long the loop waits before it asks again for a picture that it did not get.
const AGAIN: Duration = Duration::from_secs(60);

/// Reads what Smartcar tells of a vehicle and its signals, and keeps it.
pub(super) async fn read(shared: &Shared, row: u32, vehicle: &Vehicle) -> Result<(), CallError> {
    let id = vehicle.connection.ok_or(TokenError::Gone)?;
    let connection =
        shared.store.read(move |snapshot| snapshot.connection(id)).await.map_err(TokenError::from)?.ok_or(TokenError::Gone)?;
    let car = &vehicle.facts.id;
    let result = match (connection.generation, &connection.smartcar_user) {
        (Generation::V2, _) => {
            let granted = vehicle.facts.permissions.as_deref();
            shared.tokens.call(id, |smartcar, access| async move { smartcar.read(&access, car, granted).await }).await
        }
        (Generation::V3, Some(user)) => {
            let application = ConnectionId::APPLICATION;
            if vehicle.facts.make.is_none() {
                let facts = shared
                    .tokens
                    .call(application, |smartcar, access| async move { smartcar.vehicle_v3(&access, car).await })
                    .await?;
                shared.store.commit(NoteFacts { facts }).await.map_err(TokenError::from)?;
            }
            shared.tokens.call(application, |smartcar, access| async move { smartcar.signals(&access, user, car).await }).await
        }
        (Generation::V3, None) => return Err(TokenError::Gone.into()),
    };
    if let Err(CallError::Smartcar(SmartcarError::Reconnect { what, url })) = &result
        && what.kind.as_deref() == Some("CONNECTED_SERVICES_ACCOUNT")
    {
        let status = ConnectionStatus::NeedsReconnect { reason: what.to_string(), url: url.clone() };
        let mark = MarkConnection { id, status: Some(status), error: Some(what.to_string()) };
        shared.store.commit(mark).await.map_err(TokenError::from)?;
    }
    let telling = Telling {
        vehicle: row,
        reports: result?,
        source: Source::Read,
        at: shared.world.now(),
        errors: Vec::new(),
        resolved: Vec::new(),
    };
    let change = ApplyReadings { tellings: vec![telling], cursor: None, revisited: None };
    Ok(shared.store.commit(change).await.map_err(TokenError::from)?)
}

/// Reads first pictures of linked vehicles until `shutdown`. The wish for one is in the store, so that a
/// restart does not forget it.
pub(super) async fn run(shared: &Shared, shutdown: CancellationToken) {
    loop {
        let wait = tokio::select! {
            () = shutdown.cancelled() => return,
            all = take_all(shared) => match all {
                Ok(true) => Duration::MAX,
                Ok(false) => AGAIN,
                Err(error) => {
                    tracing::warn!(%error, "first pictures wait for the store");
                    AGAIN
                }
            },
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = shared.linked.notified() => {}
            () = tokio::time::sleep(wait.min(Duration::from_secs(86_400))) => {}
        }
    }
}

/// Whether none is left to be asked for again.
async fn take_all(shared: &Shared) -> Result<bool, StoreError> {
    let mut complete = true;
    for row in shared.store.read(|snapshot| snapshot.vehicles_to_read(64)).await? {
        let vehicle = shared.store.read(move |snapshot| snapshot.vehicle_at(row)).await?;
        let result = match &vehicle {
            Some(vehicle) => read(shared, row, vehicle).await,
            None => Ok(()),
        };
        match result {
            Err(CallError::Smartcar(SmartcarError::Later { what, .. })) => {
                tracing::info!(error = %what, "a first picture of a vehicle is asked for again");
                complete = false;
            }
            Err(CallError::Token(TokenError::Later { .. } | TokenError::Store(_))) => complete = false,
            // Webhooks bring the data in any case.
            Err(error) => {
                tracing::warn!(%error, "a first picture of a vehicle cannot be had");
                shared.store.commit(PictureTaken { vehicle: row }).await?;
            }
            Ok(()) => shared.store.commit(PictureTaken { vehicle: row }).await?,
        }
    }
    Ok(complete)
}

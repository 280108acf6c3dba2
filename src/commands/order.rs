//! A command on its way: sent once, waited for, and its outcome kept.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Permit, Shared, Turn, words};
use crate::model::audit::{AuditEntry, Ring};
use crate::model::command::{Command, CommandOutcome, CommandRecord, Ended};
use crate::model::connection::{Cause, Connection, ConnectionStatus};
use crate::model::token::Generation;
use crate::model::{ConnectionId, Secret, VehicleId};
use crate::smartcar::{Smartcar, SmartcarError, Told};
use crate::store::StoreError;
use crate::store::audit::NoteAudit;
use crate::store::commands::EndCommand;
use crate::store::connections::MarkConnection;
use crate::tokens::{CallError, TokenError};

/// All that is needed to send it.
pub(super) struct Order {
    pub(super) car: VehicleId,
    pub(super) row: u32,
    pub(super) connection: Connection,
    pub(super) command: Command,
    pub(super) record: CommandRecord,
    pub(super) address: Option<IpAddr>,
}

/// Sends it and keeps the outcome. `told` is whether nobody waits for it any more; set when it has ended.
pub(super) async fn carry_out(
    shared: Arc<Shared>,
    order: Order,
    permit: Permit,
    turn: Turn,
    told: Arc<AtomicBool>,
) -> CommandRecord {
    let result = tokio::select! {
        result = send(&shared, &order, &permit) => Some(result),
        () = shared.closing.cancelled() => None,
    };
    let error = match &result {
        Some(Err(CallError::Smartcar(error))) => Some(error),
        _ => None,
    };
    shared.budget.settle(&permit, error).await;
    let mut limit = None;
    if let Some(error) = error {
        note_refused_account(&shared, &order.connection, error).await;
        limit = shared.budget.refusal(order.row, error).await;
    }
    let outcome = match result {
        Some(Ok(Told::Done)) => CommandOutcome::Success,
        Some(Ok(Told::Pending)) => CommandOutcome::Unknown(words::ended_early()),
        Some(Err(error)) => words::outcome(&error, (&order.car, order.command.permission()), permit.sent(), limit.as_ref()),
        None if permit.sent() == 0 => CommandOutcome::Failed(words::not_sent()),
        None => CommandOutcome::Unknown(words::cut_off()),
    };
    let Order { car, row, record, address, .. } = order;
    tracing::info!(command = record.name, outcome = outcome.as_str(), "a command has ended");
    let ended = Ended { at: shared.world.now(), outcome };
    // Of what nobody knows it may be done all the same.
    if !matches!(ended.outcome, CommandOutcome::Failed(_)) {
        shared.done.lock().unwrap_or_else(PoisonError::into_inner).insert(car.clone(), ended.at);
    }
    let record = CommandRecord { ended: Some(ended.clone()), ..record };
    let note = told.swap(true, Ordering::AcqRel).then(|| note(&car, &record, &ended, address));
    keep(&shared, EndCommand { vehicle: row, id: record.id, ended, note }).await;
    drop(turn);
    record
}

async fn send(shared: &Shared, order: &Order, permit: &Permit) -> Result<Told, CallError> {
    let Order { car, connection, command, .. } = order;
    match (connection.generation, &connection.smartcar_user) {
        (Generation::V2, _) => {
            let call =
                |smartcar: Smartcar, access: Secret| async move { smartcar.command_v2(&access, car, *command, permit).await };
            shared.tokens.call(connection.id, call).await
        }
        (Generation::V3, Some(user)) => {
            let call = |smartcar: Smartcar, access: Secret| async move {
                smartcar.command_v3(&access, user, car, *command, permit).await
            };
            shared.tokens.call(ConnectionId::APPLICATION, call).await
        }
        (Generation::V3, None) => Err(TokenError::Gone.into()),
    }
}

/// The manufacturer no longer takes the owner's sign-in: that is so for reads too.
async fn note_refused_account(shared: &Shared, connection: &Connection, error: &SmartcarError) {
    let what = error.failure();
    if what.kind.as_deref() != Some("CONNECTED_SERVICES_ACCOUNT") || what.code.as_deref() != Some("AUTHENTICATION_FAILED") {
        return;
    }
    let reason = what.to_string();
    let since = Some(shared.world.now());
    let status = ConnectionStatus::NeedsReconnect { reason: reason.clone(), cause: Cause::Account, since };
    let (id, seen) = (connection.id, Some(connection.connected_at));
    let mark = MarkConnection { id, status: Some(status), error: Some(reason), seen };
    if let Err(error) = shared.store.commit(mark).await {
        tracing::warn!(%error, "that an owner must connect again is not kept");
    }
}

/// Keeps an outcome; when the disk refuses, offers it again for as long as Carport runs, and nobody waits for that.
async fn keep(shared: &Arc<Shared>, end: EndCommand) {
    let Err(error) = shared.store.commit(end.clone()).await else { return };
    tracing::warn!(%error, "the outcome of a command waits for the disk");
    let kept = shared.clone();
    shared.tasks.spawn(async move {
        loop {
            tokio::select! {
                () = kept.closing.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
            if kept.store.commit(end.clone()).await.is_ok() {
                return;
            }
        }
    });
}

/// Ends what an earlier run of Carport left under way: nobody can know how it ended.
pub(super) async fn end_forsaken(shared: &Shared) -> Result<(), StoreError> {
    let run = shared.run;
    let forsaken = shared.store.read(move |snapshot| {
        let mut forsaken = Vec::new();
        for (row, record) in snapshot.commands_under_way()? {
            if record.run != run {
                forsaken.extend(snapshot.vehicle_at(row)?.map(|vehicle| (row, vehicle.facts.id, record)));
            }
        }
        Ok(forsaken)
    });
    for (vehicle, car, record) in forsaken.await? {
        let ended = Ended { at: shared.world.now(), outcome: CommandOutcome::Unknown(words::cut_off()) };
        let note = Some(note(&car, &record, &ended, None));
        shared.store.commit(EndCommand { vehicle, id: record.id, ended, note }).await?;
        tracing::warn!(command = record.name, "Carport was stopped before Smartcar answered to a command");
    }
    Ok(())
}

/// What the audit log says of a command whose outcome came after the answer to its request.
fn note(car: &VehicleId, record: &CommandRecord, ended: &Ended, address: Option<IpAddr>) -> NoteAudit {
    let code = ended.outcome.failure().and_then(|failure| failure.code.as_deref());
    let told = [car.as_str(), &record.name, &record.id.to_string()].map(str::to_owned).into_iter();
    let ids = told.chain(code.map(str::to_owned)).chain([ended.outcome.as_str().to_owned()]).collect();
    let (actor, action) = (record.actor.clone(), ENDED.to_owned());
    NoteAudit { ring: Ring::Use, entry: AuditEntry { at: ended.at, actor, address, action, ids, status: None, count: 1 } }
}

/// What the audit log calls that.
pub const ENDED: &str = "command ended";

/// How soon the disk is tried again.
const AGAIN: Duration = Duration::from_secs(5);

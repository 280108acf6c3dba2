//! A picture of a vehicle, read from Smartcar: when it was linked, and on request.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::limits::Urgency;
use super::{Shared, refused, revoked};
use crate::model::budget::{Permit, Reason};
use crate::model::capability::Lack;
use crate::model::connection::{Cause, Connection, ConnectionStatus};
use crate::model::mapping;
use crate::model::reading::{Outcome, SignalFailure, SignalReport, Source};
use crate::model::token::Generation;
use crate::model::vehicle::Vehicle;
use crate::model::{ConnectionId, Secret, Timestamp};
use crate::smartcar::{Beyond, Read, Smartcar, SmartcarError};
use crate::store::connections::{MarkConnection, NoteGoodRead};
use crate::store::tellings::{ApplyReadings, Latest, Telling};
use crate::store::vehicles::{NoteFacts, PictureTaken};
use crate::store::{Snapshot, StoreError};
use crate::tokens::{CallError, TokenError};

/// Reads what Smartcar tells of a vehicle and its signals, and keeps it. Of API v2.0 perhaps only some endpoints;
/// v3 tells everything at once.
pub(super) async fn read(
    shared: &Shared,
    row: u32,
    vehicle: &Vehicle,
    only: Option<&[&str]>,
    reason: Reason,
) -> Result<(), CallError> {
    let id = vehicle.connection.ok_or(TokenError::Gone)?;
    let connection = shared.store.read(move |snapshot| snapshot.sound_connection(id)).await.map_err(TokenError::from)?;
    let mut connection = connection.ok_or(TokenError::Gone)?;
    if let ConnectionStatus::NeedsReconnect { cause: Cause::Access, reason: why, .. } = &connection.status {
        let why = why.clone();
        if reason != Reason::Request || !revoked::is_back(shared, vehicle, &mut connection).await? {
            return Err(TokenError::NeedsReconnect(why).into());
        }
    }
    let began = shared.world.now();
    let result = ask(shared, row, vehicle, &connection, only, reason).await;
    let at = shared.world.now();
    let refusal = refused::look(shared, row, &connection, &result).await.map_err(TokenError::from)?;
    if let Some(reason) = refusal.clone() {
        let status = ConnectionStatus::NeedsReconnect { reason: reason.clone(), cause: Cause::Account, since: Some(at) };
        let mark = MarkConnection { id, status: Some(status), error: Some(reason), seen: Some(connection.connected_at) };
        shared.store.commit(mark).await.map_err(TokenError::from)?;
    }
    let is_taken_back = revoked::look(shared, vehicle, &connection, &result).await.map_err(TokenError::from)?;
    let lacks = match &result {
        Err(CallError::Smartcar(error)) if !is_taken_back => {
            lacking(shared, row, vehicle, only, error).await.map_err(TokenError::from)?
        }
        _ => Vec::new(),
    };
    if !lacks.is_empty() {
        keep(shared, row, lacks, (began, at)).await?;
    }
    let taken_back = || CallError::from(TokenError::NeedsReconnect(revoked::TAKEN_BACK.to_owned()));
    let reports = result.map_err(|error| if is_taken_back { taken_back() } else { error })?;
    if refusal.is_none()
        && reports.iter().any(refused::is_of_car)
        && matches!(connection.status, ConnectionStatus::NeedsReconnect { cause: Cause::Account, .. })
    {
        shared.store.commit(NoteGoodRead { id, cause: Cause::Account, seen: None }).await.map_err(TokenError::from)?;
    }
    keep(shared, row, reports, (began, at)).await?;
    if is_taken_back { Err(taken_back()) } else { Ok(()) }
}

/// Keeps what was told between two times. What Smartcar does not date counts from the first: it may have been so before what
/// happened meanwhile.
async fn keep(
    shared: &Shared,
    row: u32,
    reports: Vec<SignalReport>,
    (told_at, at): (Timestamp, Timestamp),
) -> Result<(), CallError> {
    // Meanwhile the car may have been taken away: what was read then is not the owner's any more.
    let vehicle = shared.store.read(move |snapshot| snapshot.sound_vehicle_at(row)).await.map_err(TokenError::from)?;
    if vehicle.is_none_or(|vehicle| vehicle.connection.is_none()) {
        return Ok(());
    }
    let (errors, resolved) = (Vec::new(), Vec::new());
    let telling = Telling { vehicle: row, reports, source: Source::Read, at, told_at, facts: None, errors, resolved };
    let change = ApplyReadings::of(vec![telling]);
    shared.store.commit(change).await.map_err(TokenError::from)?;
    Ok(())
}

/// What the error of a whole read says of each signal that was asked for; nothing if it may pass.
async fn lacking(
    shared: &Shared,
    row: u32,
    vehicle: &Vehicle,
    only: Option<&[&str]>,
    error: &SmartcarError,
) -> Result<Vec<SignalReport>, StoreError> {
    let what = error.failure();
    let (kind, code) = (what.kind.as_deref().map(str::to_owned), what.code.as_deref().map(str::to_owned));
    let failure = SignalFailure { status: "ERROR".to_owned(), kind, code };
    if Lack::after(None, &failure, Timestamp::default()).is_none() {
        return Ok(Vec::new());
    }
    let asked = only.map_or_else(|| mapping::open_to(vehicle.facts.permissions.as_deref()), <[&str]>::to_vec);
    let mut codes: BTreeSet<String> = asked
        .into_iter()
        .filter_map(mapping::endpoint)
        .flat_map(|endpoint| endpoint.signals)
        .map(|signal| signal.code.to_owned())
        .collect();
    if only.is_none() {
        codes.extend(shared.store.read(move |snapshot| snapshot.latest(row)).await?.into_iter().map(|latest| latest.code));
    }
    let report = |code| SignalReport {
        code,
        group: None,
        name: None,
        outcome: Outcome::Failed(failure.clone()),
        oem_updated_at: None,
        retrieved_at: None,
    };
    Ok(codes.into_iter().map(report).collect())
}

/// Asks Smartcar, if the plan allows it.
async fn ask(
    shared: &Shared,
    row: u32,
    vehicle: &Vehicle,
    connection: &Connection,
    only: Option<&[&str]>,
    reason: Reason,
) -> Result<Vec<SignalReport>, CallError> {
    let car = &vehicle.facts.id;
    let all = mapping::open_to(vehicle.facts.permissions.as_deref());
    let paths = only.unwrap_or(&all);
    match (connection.generation, &connection.smartcar_user) {
        (Generation::V2, _) if paths.is_empty() => Ok(Vec::new()),
        (Generation::V2, _) => {
            shared.tokens.may_call(connection.id)?;
            let permit = &shared.budget.permit(row, reason).await?;
            let call = |smartcar: Smartcar, access: Secret| async move { smartcar.read(&access, car, paths, permit).await };
            let result = shared.tokens.call(connection.id, call).await;
            settled(shared, permit, result).await
        }
        (Generation::V3, Some(user)) => {
            let application = ConnectionId::APPLICATION;
            let permit = &shared.budget.permit(row, reason).await?;
            if vehicle.facts.make.is_none() {
                let call = |smartcar: Smartcar, access: Secret| async move { smartcar.vehicle_v3(&access, car).await };
                match shared.ask((row, Urgency::CanWait), application, call).await {
                    Ok(facts) => {
                        let note = NoteFacts { facts, connection: Some(connection.id) };
                        shared.store.commit(note).await.map_err(TokenError::from)?;
                    }
                    // It can be told of another time. Whoever does not answer, or asks us to wait, is not asked for more.
                    Err(CallError::Smartcar(error)) if error.failure().status.is_some() => {
                        tracing::info!(%error, "Smartcar does not tell of a vehicle; it is read all the same");
                    }
                    Err(error) => {
                        let unread = Err(error);
                        shared.settle(permit, &unread).await;
                        return unread;
                    }
                }
            }
            // What may be called is asked before each further request: an answer must not spend what is kept for others.
            let leave = || -> BoxFuture<'_, Option<Permit>> { Box::pin(async { shared.budget.further(row, reason).await.ok() }) };
            let beyond = Beyond { leave: &leave, absent: &shared.absent };
            let call =
                |smartcar: Smartcar, access: Secret| async move { smartcar.signals(&access, user, car, permit, beyond).await };
            let result = shared.tokens.call(application, call).await;
            settled(shared, permit, result).await
        }
        (Generation::V3, None) => Err(TokenError::Gone.into()),
    }
}

/// Keeps what a read has cost and taught: a limit may be told within a good answer too.
async fn settled(shared: &Shared, permit: &Permit, result: Result<Read, CallError>) -> Result<Vec<SignalReport>, CallError> {
    if let Ok(Read { limit: Some(limit), .. }) = &result {
        shared.budget.settle(permit, Some(limit)).await;
    } else {
        shared.settle(permit, &result).await;
    }
    result.map(|read| read.reports)
}

/// Reads first pictures of linked vehicles until `shutdown`. The wish for one is in the store, so that a
/// restart does not forget it.
pub(super) async fn run(shared: &Shared, shutdown: CancellationToken) {
    let mut waiting = HashMap::new();
    loop {
        let wait = tokio::select! {
            () = shutdown.cancelled() => return,
            wait = take_all(shared, &mut waiting) => wait.unwrap_or_else(|error| {
                tracing::warn!(%error, "first pictures wait for the store");
                SHORTEST
            }),
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = shared.linked.notified() => shared.unsubscribed.notify_one(),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// A vehicle whose picture was not to be had: how often, and when to ask again. A sleeping car would
/// otherwise eat the plan's calls.
struct Waiting {
    tries: u32,
    until: Instant,
}

/// Asks for every picture that is wanted and not waited for; returns how long there is nothing to ask.
async fn take_all(shared: &Shared, waiting: &mut HashMap<u32, Waiting>) -> Result<Duration, StoreError> {
    let rows = shared.store.read(|snapshot| snapshot.vehicles_to_read(usize::MAX)).await?;
    waiting.retain(|row, _| rows.contains(row));
    for row in rows {
        if waiting.get(&row).is_some_and(|waiting| waiting.until > Instant::now()) {
            continue;
        }
        let (vehicle, connection) = shared.store.read(move |snapshot| wanted(snapshot, row)).await?;
        let result = match &vehicle {
            // Its owner has to connect again, and then a picture is wanted anew.
            Some(_) if connection.as_ref().is_some_and(is_closed) => Ok(()),
            Some(vehicle) => {
                let (known, now) = (vehicle.clone(), shared.world.now());
                match shared.store.read(move |snapshot| wish(snapshot, row, &known, now)).await? {
                    Some(reason) => read(shared, row, vehicle, None, reason).await,
                    None => Ok(()),
                }
            }
            None => Ok(()),
        };
        let least = match &result {
            Err(CallError::Smartcar(SmartcarError::Later { after, .. })) => after.unwrap_or_default(),
            Err(CallError::Token(TokenError::Later { after, .. })) => *after,
            Err(CallError::Budget(refused)) => refused.after(),
            Err(
                CallError::Smartcar(SmartcarError::Configuration { .. } | SmartcarError::Ended { .. })
                | CallError::Token(TokenError::Store(_) | TokenError::Configuration(_)),
            ) => Duration::ZERO,
            // Webhooks bring the data in any case.
            Ok(()) | Err(_) => {
                if let Err(error) = result {
                    tracing::warn!(%error, "a first picture of a vehicle cannot be had");
                }
                waiting.remove(&row);
                // Its owner may have connected it again meanwhile: that picture is still to be taken.
                let served_by = connection.map(|connection| (connection.id, connection.connected_at));
                shared.store.commit(PictureTaken { vehicle: row, served_by }).await?;
                continue;
            }
        };
        let tries = waiting.get(&row).map_or(0, |waiting| waiting.tries).saturating_add(1);
        let wait = (SHORTEST * (1 << tries.saturating_sub(1).min(9))).min(LONGEST).max(least);
        tracing::info!(tries, again_in_s = wait.as_secs(), "a first picture of a vehicle is asked for again");
        waiting.insert(row, Waiting { tries, until: Instant::now() + wait });
    }
    let next = waiting.values().map(|waiting| waiting.until).min();
    Ok(next.map_or(LONGEST, |until| until.saturating_duration_since(Instant::now())))
}

/// The vehicle of a row, and the connection that serves it.
fn wanted(snapshot: &Snapshot<'_>, row: u32) -> Result<(Option<Vehicle>, Option<Connection>), StoreError> {
    let vehicle = snapshot.vehicle_at(row)?;
    let id = vehicle.as_ref().and_then(|vehicle| vehicle.connection);
    Ok((vehicle, id.map_or(Ok(None), |id| snapshot.sound_connection(id))?))
}

/// Whether an owner has to connect again because of the account, or of the access to it.
fn is_closed(connection: &Connection) -> bool {
    matches!(connection.status, ConnectionStatus::NeedsReconnect { cause: Cause::Account | Cause::Access, .. })
}

/// Why a picture is wanted; `None` if it would show nothing new: whoever connects a car again, or imports its tokens once
/// more, asks nothing that was not answered just now.
fn wish(snapshot: &Snapshot<'_>, row: u32, vehicle: &Vehicle, now: Timestamp) -> Result<Option<Reason>, StoreError> {
    let latest = snapshot.latest(row)?;
    let connection = vehicle.connection.map_or(Ok(None), |id| snapshot.sound_connection(id))?;
    let lost_at = snapshot.gaps()?.last().map(|gap| gap.until);
    let since = connection.map_or(Timestamp::default(), |connection| connection.connected_at);
    if latest.iter().any(|latest| latest.reading.is_some()) && lost_at.is_some_and(|lost_at| lost_at >= since) {
        return Ok(Some(Reason::Gap));
    }
    let is_fresh = |at: Timestamp| at <= now && now.since(at) < FRESH && lost_at.is_none_or(|lost_at| lost_at < at);
    // What was permitted only now has been refused until now, or has no answer at all.
    let was_answered = |latest: &Latest| match &latest.failure {
        Some((failure, at)) => failure.kind.as_deref() != Some("PERMISSION") && is_fresh(*at),
        None => latest.reading.is_some() && latest.told_at.is_some_and(is_fresh),
    };
    let was_told = |code: &str| latest.iter().any(|latest| latest.code == code && was_answered(latest));
    let is_known =
        |path: &str| mapping::endpoint(path).is_some_and(|endpoint| endpoint.signals.iter().any(|signal| was_told(signal.code)));
    let is_whole = mapping::open_to(vehicle.facts.permissions.as_deref()).into_iter().all(is_known);
    Ok((!is_whole).then_some(Reason::Picture))
}

/// How old the values of a car may be that is connected again, and not read for it.
const FRESH: Duration = Duration::from_secs(3600);

/// The first wait for a picture; each further one is twice as long, up to the longest.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(6 * 3600);

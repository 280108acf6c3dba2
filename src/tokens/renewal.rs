//! Renewing one token set: ask Smartcar, put the answer on disk, and only then use it.

use std::time::Duration;

use tokio::time::Instant;

use super::gate::{Pass, Shut, Why, generation};
use super::offer::offer;
use super::rotation::{self, Held, Spent};
use super::{Access, Shared, TokenError, due, locked};
use crate::model::ConnectionId;
use crate::model::connection::ConnectionStatus;
use crate::model::token::{Renewal, TokenSet};
use crate::smartcar::{Failure, Granted, SmartcarError, UNSAID};
use crate::store::Snapshot;
use crate::store::rotation::{PostponeRefresh, RefuseTokens, Refused};
use crate::store::tokens::{RotateTokens, Rotated, SealedTokens};

/// How long a generation rests after its credentials were refused.
const REST: Duration = Duration::from_secs(300);

/// How long to wait at most before looking whether Smartcar answers again.
const PROBE: Duration = Duration::from_secs(60);

/// Renews, unless somebody else has done so since version `seen`.
pub(super) async fn renew(shared: &Shared, connection: ConnectionId, seen: u64) -> Result<Access, TokenError> {
    // Who must wait in any case does not queue for it.
    may_ask(shared, connection)?;
    let turn = shared.turns.of(connection);
    let _one_at_a_time = turn.come().await;
    let (tokens, row) =
        shared.store.read(move |snapshot| Ok((snapshot.tokens(connection)?, snapshot.sound_connection(connection)?))).await?;
    if let Some(tokens) = &tokens
        && tokens.version != seen
    {
        return shared.access(connection, tokens);
    }
    if let Some(ConnectionStatus::NeedsReconnect { reason, .. }) = row.map(|row| row.status)
        && tokens.as_ref().is_some_and(|tokens| tokens.due_at.is_none())
    {
        return Err(TokenError::NeedsReconnect(reason));
    }
    may_ask(shared, connection)?;
    match tokens {
        _ if connection == ConnectionId::APPLICATION => mint(shared, tokens.as_ref()).await,
        Some(tokens) => rotate(shared, connection, &tokens).await,
        None => Err(TokenError::Gone),
    }
}

/// A new application token. There is nothing to lose with one, so there is no intent, and a full disk is no
/// reason not to ask.
async fn mint(shared: &Shared, before: Option<&SealedTokens>) -> Result<Access, TokenError> {
    let connection = ConnectionId::APPLICATION;
    let pass = enter(shared, connection, false).await?;
    match shared.smartcar.application_token().await {
        Ok(granted) => {
            told(shared, &pass, Ok(()));
            let set = shared.token_set(connection, granted, None);
            store(shared, connection, before, set).await
        }
        Err(error) => {
            told(shared, &pass, Err(&error));
            let error = failed(shared, connection, &error);
            if let Some(before) = before {
                postpone(shared, connection, before.version, &error, true).await;
            }
            Err(error)
        }
    }
}

/// Has what may pass tried again when it may have passed, or looked at whether it is still to be tried. Those who wait for
/// Smartcar or the operator stay due: the door is shut for all of them.
async fn postpone(shared: &Shared, connection: ConnectionId, version: u64, error: &TokenError, unspent: bool) {
    let TokenError::Later { after, .. } = error else { return };
    let change = PostponeRefresh { connection, version, due_at: shared.world.now().after(*after), unspent };
    if let Err(error) = shared.store.commit(change).await {
        tracing::debug!(%error, "a refresh could not be postponed");
    }
    // Somebody else than the loop may have tried.
    shared.wake.notify_one();
}

/// The next pair of an owner's connection.
async fn rotate(shared: &Shared, connection: ConnectionId, tokens: &SealedTokens) -> Result<Access, TokenError> {
    let set = shared.open(connection, tokens)?;
    let version = tokens.version;
    let read = move |snapshot: &Snapshot<'_>| snapshot.intent(connection);
    let pending = shared.store.read(read).await?.filter(|intent| intent.version == version);
    let is_urgent =
        pending.is_some_and(|intent| rotation::is_open(intent, shared.world.now()) || shared.silences.is_open(connection));
    let Renewal::Refresh { token, .. } = &set.renewal else {
        let note = Some("Smartcar sent no refresh token".into());
        let what = Failure { endpoint: "token.refresh", note, ..Failure::default() };
        return refuse(shared, connection, version, &what.to_string()).await;
    };
    let mut pass = enter(shared, connection, is_urgent).await?;
    if !is_urgent && !rotation::begin(shared, connection, version).await? {
        return superseded(shared, connection).await;
    }
    let held = Held { pass: &mut pass, version };
    let (mut spent, mut before) = (rotation::spend(shared, Some(held), token, pending).await, set.clone());
    if let Spent::Rejected(_) = spent
        && let Some(previous) = rotation::previous(shared, connection, tokens).await
        && let Renewal::Refresh { token, .. } = &previous.renewal
    {
        let of_previous = rotation::spend(shared, Some(Held { pass: &mut pass, version }), token, None).await;
        if let Spent::Granted(_) = of_previous {
            tracing::warn!(connection.id = %connection, "the newest tokens were refused; those before them were not");
        }
        (spent, before) = (of_previous, previous);
    }
    match spent {
        Spent::Granted(granted) => keep(shared, connection, tokens, &before, granted).await,
        Spent::Rejected(error) => refuse(shared, connection, version, &error.to_string()).await,
        Spent::Failed { error, is_ambiguous, silent_at } => {
            drop(pass);
            if let Some(silent_at) = silent_at {
                shared.silences.note(connection, version, silent_at);
            }
            let error = failed(shared, connection, &error);
            postpone(shared, connection, version, &error, !is_ambiguous).await;
            if is_ambiguous {
                shared.add_to_trouble(connection, UNCLEAR);
            }
            Err(error)
        }
    }
}

/// What the owner of a trouble should know of it.
const UNCLEAR: &str = "; whether the tokens were replaced is not known, so the same ones are tried again";

async fn keep(
    shared: &Shared,
    connection: ConnectionId,
    tokens: &SealedTokens,
    before: &TokenSet,
    granted: Granted,
) -> Result<Access, TokenError> {
    let set = shared.token_set(connection, granted, Some(before));
    store(shared, connection, Some(tokens), set).await
}

async fn store(
    shared: &Shared,
    connection: ConnectionId,
    before: Option<&SealedTokens>,
    set: TokenSet,
) -> Result<Access, TokenError> {
    let from_version = before.map_or(0, |tokens| tokens.version);
    let used_at = match before {
        Some(tokens) if connection != ConnectionId::APPLICATION => tokens.used_at,
        _ => set.issued_at,
    };
    let tokens = shared.seal(connection, from_version + 1, &set, used_at);
    let access = Access { token: set.access, expires_at: set.access_expires_at };
    // Smartcar has replaced the old pair: this memory is the only place that has the new one.
    match offer(shared, connection, RotateTokens { connection, from_version, tokens }).await? {
        Rotated::Stored => {
            shared.forget_trouble(connection);
            Ok(access)
        }
        Rotated::Superseded | Rotated::Gone => superseded(shared, connection).await,
    }
}

/// The owner ended or renewed the connection meanwhile: what is stored counts.
async fn superseded(shared: &Shared, connection: ConnectionId) -> Result<Access, TokenError> {
    shared.forget_trouble(connection);
    let stored = shared.store.read(move |snapshot| snapshot.tokens(connection)).await?;
    shared.access(connection, &stored.ok_or(TokenError::Gone)?)
}

/// Asks no more: only the owner can help. Says so once.
async fn refuse(shared: &Shared, connection: ConnectionId, version: u64, what: &str) -> Result<Access, TokenError> {
    match shared.store.commit(RefuseTokens { connection, version, reason: what.to_owned() }).await {
        Ok(Refused::Superseded) => superseded(shared, connection).await,
        Ok(outcome) => {
            if outcome == Refused::Marked {
                tracing::warn!(connection.id = %connection, error = what, "the owner must connect again");
                shared.news.notify_one();
            }
            shared.forget_trouble(connection);
            Err(TokenError::NeedsReconnect(what.to_owned()))
        }
        Err(error) => {
            shared.note_trouble(connection, what, Duration::ZERO);
            Err(error.into())
        }
    }
}

/// Notes a failure that passes.
fn failed(shared: &Shared, connection: ConnectionId, error: &SmartcarError) -> TokenError {
    let what = error.to_string();
    match error {
        SmartcarError::Later { after, what: failure } => {
            // Smartcar's "at once" is no leave to hammer, and its limits last longer than a second.
            let least = if failure.status == Some(429) && after.is_none() { UNSAID } else { Duration::ZERO };
            let after = shared.note_trouble(connection, &what, after.unwrap_or(least));
            TokenError::Later { after, what }
        }
        // Our own credentials are refused, or the answer makes no sense: that is no connection's fault.
        _ => TokenError::Configuration(what),
    }
}

/// Tells the gate what has come of one request.
pub(super) fn told(shared: &Shared, pass: &Pass<'_>, outcome: Result<(), &SmartcarError>) {
    let generation = generation(pass.connection());
    shared.metrics.refreshed(generation, outcome.is_ok());
    let error = match outcome {
        Ok(()) | Err(SmartcarError::Rejected { .. }) => {
            if let Some(shut) = pass.answered() {
                tracing::info!(%generation, after = shut.what, "Smartcar answers again: tokens are refreshed");
                shared.wake.notify_one();
                shared.news.notify_one();
            }
            return;
        }
        Err(error) => error,
    };
    let what = error.to_string();
    match error {
        SmartcarError::Later { after, what: failure } if failure.status == Some(429) => {
            pass.shut(Why::Throttled, &what, after.unwrap_or(UNSAID));
        }
        SmartcarError::Later { what: failure, .. } if failure.status.is_none_or(|status| !(300..500).contains(&status)) => {
            let wait = |tries: u32| due::backoff(tries.saturating_add(2), shared.world.entropy.as_ref()).min(PROBE);
            if pass.unanswered(&what, wait) {
                tracing::error!(%generation, error = what, "Smartcar does not answer: one refresh at a time is tried");
            }
        }
        SmartcarError::Later { .. } => {}
        _ => {
            if pass.shut(Why::Refused, &what, REST) {
                tracing::error!(%generation, error = what, "no token can be refreshed");
                shared.news.notify_one();
            }
        }
    }
}

async fn enter(shared: &Shared, connection: ConnectionId, is_urgent: bool) -> Result<Pass<'_>, TokenError> {
    shared.gate.enter(connection, is_urgent).await.map_err(closed)
}

fn closed(shut: Shut) -> TokenError {
    match shut.why {
        Why::Refused => TokenError::Configuration(shut.what),
        Why::Down | Why::Throttled => {
            TokenError::Later { after: shut.until.saturating_duration_since(Instant::now()), what: shut.what }
        }
    }
}

/// Whether Smartcar may be asked now.
fn may_ask(shared: &Shared, connection: ConnectionId) -> Result<(), TokenError> {
    let now = Instant::now();
    if let Some(shut) = shared.gate.shut(generation(connection)).filter(|shut| shut.why == Why::Refused && shut.until > now) {
        return Err(closed(shut));
    }
    match locked(&shared.troubles).get(&connection) {
        Some(trouble) if trouble.not_before > now => {
            Err(TokenError::Later { after: trouble.not_before - now, what: trouble.what.clone().unwrap_or_default() })
        }
        _ => Ok(()),
    }
}

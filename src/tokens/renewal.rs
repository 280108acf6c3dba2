//! Renewing one token set: ask Smartcar, put the answer on disk, and only then use it.

use std::time::Duration;

use tokio::time::Instant;

use super::{Access, Shared, TokenError, Trouble, locked};
use crate::model::ConnectionId;
use crate::model::connection::{Cause, ConnectionStatus};
use crate::model::token::{Generation, Renewal, TokenSet};
use crate::smartcar::{Failure, Granted, SmartcarError};
use crate::store::connections::MarkConnection;
use crate::store::tokens::{Reschedule, RotateTokens, Rotated, SealedTokens};
use crate::store::{Change, StoreError};

/// How long a generation rests after its credentials were refused.
const REST: Duration = Duration::from_secs(300);

/// How often a new set is offered to a disk that refuses it when Carport stops, a second apart. Until
/// then there is no end to it.
const LAST_OFFERS: u32 = 30;

/// Renews, unless somebody else has done so since version `seen`.
pub(super) async fn renew(shared: &Shared, connection: ConnectionId, seen: u64) -> Result<Access, TokenError> {
    // Who must wait in any case does not queue for it.
    may_ask(shared, connection)?;
    let lock = shared.lock(connection);
    let _one_at_a_time = lock.lock().await;
    let (tokens, row) =
        shared.store.read(move |snapshot| Ok((snapshot.tokens(connection)?, snapshot.connection(connection)?))).await?;
    if let Some(tokens) = &tokens
        && tokens.version != seen
    {
        return shared.access(connection, tokens);
    }
    if connection != ConnectionId::APPLICATION && tokens.is_none() {
        return Err(TokenError::Gone);
    }
    if let Some(ConnectionStatus::NeedsReconnect { reason, .. }) = row.map(|row| row.status)
        && tokens.as_ref().is_some_and(|tokens| tokens.due_at.is_none())
    {
        return Err(TokenError::NeedsReconnect(reason));
    }
    may_ask(shared, connection)?;
    let before = tokens.as_ref().map(|tokens| shared.open(connection, tokens)).transpose()?;
    if let Some(tokens) = tokens.as_ref().filter(|_| connection != ConnectionId::APPLICATION) {
        // A pair that cannot be replaced on disk must not be spent: the disk proves itself first.
        if !shared.store.has_room() {
            return Err(StoreError::Unavailable("the disk is nearly full".to_owned()).into());
        }
        let proof = Reschedule { connection, version: tokens.version, used_at: tokens.used_at, due_at: tokens.due_at };
        if let Err(error) = shared.store.commit(proof).await {
            let what = error.to_string();
            let after = shared.note_trouble(connection, &what, Duration::ZERO);
            return Err(TokenError::Later { after, what });
        }
    }
    match ask(shared, before.as_ref()).await {
        Ok(granted) => {
            shared.forget_trouble(connection);
            locked(&shared.stopped).remove(&generation(connection));
            shared.metrics.refreshed(generation(connection), true);
            let set = shared.token_set(connection, granted, before.as_ref());
            store(shared, connection, tokens.as_ref(), set).await
        }
        Err(error) => {
            shared.metrics.refreshed(generation(connection), false);
            Err(failed(shared, connection, tokens.as_ref(), &error).await)
        }
    }
}

/// One call. A refresh token is declared dead only after it was refused twice.
async fn ask(shared: &Shared, before: Option<&TokenSet>) -> Result<Granted, SmartcarError> {
    match before.map(|set| &set.renewal) {
        Some(Renewal::Refresh { token, .. }) => match shared.smartcar.refresh(token).await {
            Err(SmartcarError::Rejected { .. }) => shared.smartcar.refresh(token).await,
            result => result,
        },
        Some(Renewal::Impossible) => {
            let note = Some("Smartcar sent no refresh token".into());
            Err(SmartcarError::Rejected { what: Failure { endpoint: "token.refresh", note, ..Failure::default() } })
        }
        Some(Renewal::ClientCredentials) | None => shared.smartcar.application_token().await,
    }
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
        // The owner ended or renewed the connection meanwhile: what is stored counts.
        Rotated::Superseded | Rotated::Gone => {
            let stored = shared.store.read(move |snapshot| snapshot.tokens(connection)).await?;
            shared.access(connection, &stored.ok_or(TokenError::Gone)?)
        }
    }
}

/// Offers a change that must not be lost to the disk, for as long as it refuses and Carport runs.
pub(super) async fn offer<C: Change + Clone>(
    shared: &Shared,
    connection: ConnectionId,
    change: C,
) -> Result<C::Outcome, StoreError> {
    let (mut offers, mut last_offers) = (0_u32, 0);
    loop {
        let error = match shared.store.commit(change.clone()).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        if offers.is_multiple_of(60) {
            tracing::error!(connection.id = %connection, %error, "a new token set cannot be written; it is kept in memory");
        }
        offers = offers.saturating_add(1);
        last_offers += u32::from(shared.closing.is_cancelled());
        if last_offers > LAST_OFFERS {
            return Err(error);
        }
        let what = "a new token set waits for the disk".to_owned();
        let trouble = Trouble { tries: 0, not_before: Instant::now() + Duration::from_secs(2), what };
        locked(&shared.troubles).insert(connection, trouble);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn failed(shared: &Shared, connection: ConnectionId, tokens: Option<&SealedTokens>, error: &SmartcarError) -> TokenError {
    let what = error.to_string();
    match error {
        SmartcarError::Rejected { .. } | SmartcarError::Reconnect { .. } if connection != ConnectionId::APPLICATION => {
            tracing::warn!(connection.id = %connection, error = what, "the owner must connect again");
            let status = ConnectionStatus::NeedsReconnect { reason: what.clone(), cause: Cause::Tokens };
            let mark = MarkConnection { id: connection, status: Some(status), error: Some(what.clone()) };
            let marked = shared.store.commit(mark).await;
            if let Some(tokens) = tokens {
                // Asking again would be in vain.
                let rest = Reschedule { connection, version: tokens.version, used_at: tokens.used_at, due_at: None };
                if let Err(error) = marked.and(shared.store.commit(rest).await.map(|()| true)) {
                    return error.into();
                }
            }
            shared.forget_trouble(connection);
            TokenError::NeedsReconnect(what)
        }
        SmartcarError::Later { after, what: failure } => {
            // Smartcar's "at once" is no leave to hammer, and its limits last longer than a second.
            let least = if failure.status == Some(429) && after.is_none() { Duration::from_secs(60) } else { Duration::ZERO };
            let after = shared.note_trouble(connection, &what, after.unwrap_or(least));
            TokenError::Later { after, what }
        }
        // Our own credentials are refused, or the answer makes no sense: that is no connection's fault.
        _ => {
            let mut stopped = locked(&shared.stopped);
            if stopped.insert(generation(connection), (Instant::now() + REST, what.clone())).is_none() {
                tracing::error!(generation = %generation(connection), error = what, "no token can be refreshed");
            }
            TokenError::Configuration(what)
        }
    }
}

/// Whether Smartcar may be asked now.
fn may_ask(shared: &Shared, connection: ConnectionId) -> Result<(), TokenError> {
    let now = Instant::now();
    if let Some((until, what)) = locked(&shared.stopped).get(&generation(connection))
        && *until > now
    {
        return Err(TokenError::Configuration(what.clone()));
    }
    match locked(&shared.troubles).get(&connection) {
        Some(trouble) if trouble.not_before > now => {
            Err(TokenError::Later { after: trouble.not_before - now, what: trouble.what.clone() })
        }
        _ => Ok(()),
    }
}

pub(super) fn generation(connection: ConnectionId) -> Generation {
    if connection == ConnectionId::APPLICATION { Generation::V3 } else { Generation::V2 }
}

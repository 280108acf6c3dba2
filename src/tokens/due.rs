//! When a token set is to be renewed, and the loop that does it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{self, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Tokens, locked};
use crate::model::connection::{Cause, ConnectionStatus};
use crate::model::{ConnectionId, Timestamp};
use crate::store::connections::MarkConnection;
use crate::store::tokens::{DropDue, Reschedule, SealedTokens};
use crate::store::{Snapshot, StoreError};
use crate::world::Entropy;

/// When tokens are renewed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long before its expiry an access token is renewed, while the connection is in use.
    pub access_margin: Duration,
    /// How long before its expiry a refresh token is renewed at the latest.
    pub refresh_margin: Duration,
    /// How often an idle connection is renewed; also how long a connection counts as in use.
    pub idle_renewal: Duration,
    /// How long a refresh token lives. Smartcar does not say it in its answers; its SDKs reckon 60 days.
    pub refresh_life: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        let day = Duration::from_secs(86_400);
        Settings {
            access_margin: Duration::from_secs(600),
            refresh_margin: 5 * day,
            idle_renewal: 7 * day,
            refresh_life: 60 * day,
        }
    }
}

/// How many refreshes are under way at once.
const AT_ONCE: usize = 8;

/// How long to wait for room on the disk before looking again.
const ROOM: Duration = Duration::from_secs(5);

/// The longest sleep: a wall clock that was set shows within this time.
const LONGEST: Duration = Duration::from_secs(60);

/// The contract's rule: in use, before the access token dies; idle, by `idle_renewal`, and in any case
/// before the refresh token dies. A margin longer than a third of a token's life counts as a third.
pub(super) fn due_at(settings: &Settings, tokens: &SealedTokens, now: Timestamp) -> Timestamp {
    if is_from_the_future(tokens, now) {
        return now;
    }
    let before = |expires_at: Timestamp, margin: Duration| expires_at.before(margin.min(expires_at.since(tokens.issued_at) / 3));
    let Some(refresh_expires_at) = tokens.refresh_expires_at else {
        return before(tokens.access_expires_at, settings.access_margin);
    };
    let at_the_latest = before(refresh_expires_at, settings.refresh_margin);
    if now.since(tokens.used_at) < settings.idle_renewal {
        return before(tokens.access_expires_at, settings.access_margin).min(at_the_latest);
    }
    tokens.issued_at.after(settings.idle_renewal).min(at_the_latest)
}

/// Whether an access token will outlive the call it is asked for.
pub(super) fn is_fresh(tokens: &SealedTokens, now: Timestamp) -> bool {
    let life = tokens.access_expires_at.since(tokens.issued_at);
    !is_from_the_future(tokens, now) && tokens.access_expires_at.before(Duration::from_secs(60).min(life / 6)) > now
}

/// Whether tokens were issued while the clock was ahead: then none of their times can be believed.
fn is_from_the_future(tokens: &SealedTokens, now: Timestamp) -> bool {
    tokens.issued_at > now.after(Duration::from_secs(300))
}

/// 1, 2, 4, ... seconds up to five minutes, each anywhere between its half and its whole.
pub(super) fn backoff(tries: u32, entropy: &dyn Entropy) -> Duration {
    let whole = Duration::from_secs(1 << tries.saturating_sub(1).min(9)).min(Duration::from_secs(300));
    let mut chance = [0; 2];
    entropy.fill(&mut chance);
    whole / 2 + whole.mul_f64(f64::from(u16::from_be_bytes(chance)) / 131_072.0)
}

pub(super) async fn run(tokens: &Tokens, shutdown: CancellationToken) {
    let mut running = JoinSet::new();
    let mut busy: HashMap<task::Id, ConnectionId> = HashMap::new();
    loop {
        let wait = match look(tokens, &mut running, &mut busy).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(%error, "the refresh loop cannot read the store");
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokens.shared.wake.notified() => {}
            Some(done) = running.join_next_with_id() => {
                // One that panicked has ended as well.
                busy.remove(&done.map_or_else(|error| error.id(), |(id, ())| id));
            }
            () = tokio::time::sleep(wait) => {}
        }
    }
    // What Smartcar may have answered must reach the disk, also for callers who did not wait.
    tokens.shared.closing.cancel();
    while running.join_next().await.is_some() {}
    let locks: Vec<_> = locked(&tokens.shared.locks).values().cloned().collect();
    for lock in locks {
        drop(lock.lock().await);
    }
}

/// Starts what is due; returns how long nothing will be.
async fn look(
    tokens: &Tokens,
    running: &mut JoinSet<()>,
    busy: &mut HashMap<task::Id, ConnectionId>,
) -> Result<Duration, StoreError> {
    let shared = &tokens.shared;
    let waiting: HashMap<ConnectionId, Instant> =
        locked(&shared.troubles).iter().map(|(id, trouble)| (*id, trouble.not_before)).collect();
    let limit = 4 * AT_ONCE + waiting.len() + busy.len();
    let read = move |snapshot: &Snapshot<'_>| {
        Ok((snapshot.next_due(limit)?, snapshot.last_due(AT_ONCE)?, snapshot.tokens(ConnectionId::APPLICATION)?.is_some()))
    };
    let (mut due, last, there_is_an_application_token) = shared.store.read(read).await?;
    let (now, instant) = (shared.world.now(), Instant::now());
    // Nothing can be due later than a refresh token lives: such times were made while the clock was ahead.
    let nonsense = now.after(shared.settings.refresh_life);
    due.splice(0..0, last.into_iter().filter(|(due_at, _)| *due_at > nonsense));
    if !there_is_an_application_token && shared.smartcar.settings().v3.is_some() {
        due.insert(0, (now, ConnectionId::APPLICATION));
    }
    let mut wait = LONGEST;
    for (due_at, connection) in due {
        if due_at > now && due_at <= nonsense {
            wait = wait.min(due_at.since(now));
            break;
        }
        let unwanted = connection == ConnectionId::APPLICATION && shared.smartcar.settings().v3.is_none();
        if unwanted || busy.values().any(|other| *other == connection) {
            continue;
        }
        // The application token is made anew, not spent: there is nothing to lose.
        if connection != ConnectionId::APPLICATION && !shared.store.has_room() {
            wait = wait.min(ROOM);
            continue;
        }
        let stopped = locked(&shared.stopped).get(&super::renewal::generation(connection)).map(|(until, _)| *until);
        if let Some(until) = waiting.get(&connection).copied().max(stopped).filter(|until| *until > instant) {
            wait = wait.min(until - instant);
            continue;
        }
        if running.len() == AT_ONCE {
            // One that ends wakes the loop.
            break;
        }
        let tokens = tokens.clone();
        let started = running.spawn(async move { keep_alive(&tokens, connection, due_at).await });
        busy.insert(started.id(), connection);
    }
    Ok(wait)
}

/// Renews one that is due, unless its rule has changed since it was put into the order. Whatever goes wrong
/// is noted as trouble, so that the loop comes back later and not at once.
async fn keep_alive(tokens: &Tokens, connection: ConnectionId, marked: Timestamp) {
    let shared = &tokens.shared;
    let done = match shared.store.read(move |snapshot| snapshot.tokens(connection)).await {
        Ok(None) if connection == ConnectionId::APPLICATION => {
            // Failures are noted where they happen.
            let _ = tokens.refreshed(connection, 0).await;
            return;
        }
        Ok(Some(seen)) if seen.due_at == Some(marked) => {
            let now = shared.world.now();
            let due_at = due_at(&shared.settings, &seen, now);
            if due_at <= now {
                let _ = tokens.refreshed(connection, seen.version).await;
                return;
            }
            let change = Reschedule { connection, version: seen.version, used_at: seen.used_at, due_at: Some(due_at) };
            shared.store.commit(change).await
        }
        // The order names a time that its connection does not have.
        Ok(_) => shared.store.commit(DropDue { due_at: marked, connection }).await,
        Err(StoreError::Damaged { .. }) => {
            let reason = "its tokens are damaged in the store".to_owned();
            let status = ConnectionStatus::NeedsReconnect { reason: reason.clone(), cause: Cause::Tokens };
            let told = shared.store.commit(MarkConnection { id: connection, status: Some(status), error: Some(reason) }).await;
            told.and(shared.store.commit(DropDue { due_at: marked, connection }).await)
        }
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        shared.note_trouble(connection, &error.to_string(), Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Blob;
    use crate::world::SystemEntropy;

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);

    fn issued_at_zero(access: Duration, refresh: Option<Duration>) -> SealedTokens {
        let zero = Timestamp::from_millis(0);
        SealedTokens {
            version: 1,
            sealed: Blob(Vec::new()),
            access_expires_at: zero.after(access),
            refresh_expires_at: refresh.map(|life| zero.after(life)),
            issued_at: zero,
            used_at: zero,
            due_at: None,
        }
    }

    fn at(after: Duration) -> Timestamp {
        Timestamp::from_millis(0).after(after)
    }

    #[test]
    fn in_use_by_access_expiry_and_idle_by_the_week() {
        let settings = Settings::default();
        let tokens = issued_at_zero(2 * HOUR, Some(60 * DAY));
        assert_eq!(due_at(&settings, &tokens, at(HOUR)), at(Duration::from_secs(6600)));
        assert_eq!(due_at(&settings, &tokens, at(8 * DAY)), at(7 * DAY));
        let rarely = Settings { idle_renewal: 90 * DAY, ..settings };
        assert_eq!(due_at(&rarely, &tokens, at(91 * DAY)), at(55 * DAY));
    }

    #[test]
    fn a_long_margin_counts_as_a_third() {
        let settings = Settings::default();
        assert_eq!(due_at(&settings, &issued_at_zero(Duration::from_secs(30), None), at(HOUR)), at(Duration::from_secs(20)));
        assert_eq!(due_at(&settings, &issued_at_zero(2 * HOUR, Some(6 * DAY)), at(30 * DAY)), at(4 * DAY));
    }

    #[test]
    fn backoff_grows_to_five_minutes_and_never_overflows() {
        for (tries, whole) in [(1, 1), (2, 2), (5, 16), (9, 256), (10, 300), (u32::MAX, 300)] {
            let waited = backoff(tries, &SystemEntropy);
            assert!(waited >= Duration::from_secs(whole) / 2 && waited <= Duration::from_secs(whole), "{tries}: {waited:?}");
        }
    }
}

//! The loop that keeps all tokens alive.
//!
//! It looks at the first few of those that are due and never at all of them, so that a tick costs the same for one
//! connection and for ten thousand. What was under way when Carport last stopped comes before anything else.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::task::{self, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::gate::{AT_ONCE, Why, generation};
use super::silence::PACE;
use super::{TokenError, Tokens, due, locked, rotation};
use crate::model::connection::{Cause, ConnectionStatus};
use crate::model::token::Generation;
use crate::model::{ConnectionId, Timestamp};
use crate::store::connections::MarkConnection;
use crate::store::switching::DropSpare;
use crate::store::tokens::{DropDue, DropOrphaned, Reschedule, SealedTokens};
use crate::store::{Snapshot, StoreError};

/// How many of those that are due one look takes in.
const GLANCE: usize = 4 * AT_ONCE;

/// How many refreshes are taken up again at the start: never more were under way than this.
const PENDING: usize = 64;

/// How long to wait for room on the disk before looking again.
const ROOM: Duration = Duration::from_secs(5);

/// The longest sleep: a wall clock that was set shows within this time.
const LONGEST: Duration = Duration::from_secs(60);

/// How long a trouble is remembered that nobody has tried to mend.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// Refreshes under way that the loop has started.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    busy: HashMap<task::Id, ConnectionId>,
}

/// What one look at the store tells.
struct Glance {
    first: Vec<(Timestamp, ConnectionId)>,
    last: Vec<(Timestamp, ConnectionId)>,
    application: Option<SealedTokens>,
}

pub(super) async fn run(tokens: &Tokens, shutdown: CancellationToken) {
    let shared = &tokens.shared;
    let mut running = Running::default();
    let mut pending = None;
    let mut swept_at = Instant::now();
    loop {
        let wait = match look(tokens, &mut pending, &mut running).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(%error, "the refresh loop cannot read the store");
                Duration::from_secs(1)
            }
        };
        if swept_at.elapsed() >= FORGOTTEN {
            swept_at = Instant::now();
            locked(&shared.troubles).retain(|_, trouble| trouble.not_before.elapsed() < FORGOTTEN);
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = shared.wake.notified() => {}
            Some(done) = running.tasks.join_next_with_id() => {
                // One that panicked has ended as well.
                running.busy.remove(&done.map_or_else(|error| error.id(), |(id, ())| id));
            }
            () = tokio::time::sleep(wait) => {}
        }
    }
    // What Smartcar may have answered must reach the disk, also for callers who did not wait.
    shared.closing.cancel();
    while running.tasks.join_next().await.is_some() {}
    shared.turns.all_over().await;
}

/// Starts what is due; returns how long nothing will be.
async fn look(
    tokens: &Tokens,
    pending: &mut Option<VecDeque<(ConnectionId, u64)>>,
    running: &mut Running,
) -> Result<Duration, StoreError> {
    let shared = &tokens.shared;
    // What began now could outlast what stops Carport.
    if shared.closing.is_cancelled() {
        return Ok(LONGEST);
    }
    let now = shared.world.now();
    let (unsettled, clock_is_right) = {
        let mut clock = locked(&shared.clock);
        clock.look(now);
        (clock.unsettled(), clock.is_steady())
    };
    if pending.is_none() {
        *pending = Some(left_over(tokens, now).await?);
    }
    let waiting = pending.get_or_insert_default();
    while running.asking(tokens) < AT_ONCE
        && let Some((connection, version)) = waiting.pop_front()
    {
        let tokens = tokens.clone();
        running.start(connection, async move {
            // Failures are noted where they happen.
            let _ = tokens.refreshed(connection, version).await;
        });
    }
    let silent = ask_again(tokens, running);
    let limit = GLANCE + running.busy.len();
    let read = move |snapshot: &Snapshot<'_>| {
        let (first, last) = (snapshot.next_due(limit)?, snapshot.last_due(AT_ONCE)?);
        Ok(Glance { first, last, application: snapshot.tokens(ConnectionId::APPLICATION)? })
    };
    let glance = shared.store.read(read).await?;
    let latest = due::latest(&shared.settings, now);
    let mut wait = application(tokens, glance.application.as_ref(), now, latest, running).min(silent.unwrap_or(LONGEST));
    if waiting.front().is_some() {
        // One that ends wakes the loop.
        return Ok(wait);
    }
    if let Some(unsettled) = unsettled {
        return Ok(wait.min(unsettled));
    }
    let mut due = glance.first;
    if clock_is_right {
        due.splice(0..0, glance.last.into_iter().filter(|(due_at, _)| *due_at > latest));
    }
    let mut may_start = match blocked(tokens, running) {
        Ok(may_start) => may_start,
        Err(blocked) => return Ok(wait.min(blocked)),
    };
    // While no answers come, those who may lose a pair ask for all.
    if silent.is_some() && tokens.held_up(Generation::V2).is_some() {
        return Ok(wait);
    }
    for (due_at, connection) in due {
        if due_at > now && due_at <= latest {
            wait = wait.min(due_at.since(now));
            break;
        }
        if due_at > now && !clock_is_right || connection == ConnectionId::APPLICATION || running.has(connection) {
            continue;
        }
        if let Some(rest) = resting(tokens, connection) {
            wait = wait.min(rest);
            continue;
        }
        if may_start == 0 {
            break;
        }
        may_start -= 1;
        let tokens = tokens.clone();
        running.start(connection, async move { keep_alive(&tokens, connection, due_at).await });
    }
    Ok(wait)
}

/// Sends what silence has followed once more, whatever the clock says. Returns how long nothing is to be done about
/// it; `None` if there was no silence.
fn ask_again(tokens: &Tokens, running: &mut Running) -> Option<Duration> {
    let silences = &tokens.shared.silences;
    if !silences.any() {
        return None;
    }
    for (connection, version) in silences.next() {
        if running.has(connection) || running.asking(tokens) >= AT_ONCE || resting(tokens, connection).is_some() {
            continue;
        }
        let tokens = tokens.clone();
        running.start(connection, async move {
            // Failures are noted where they happen.
            let _ = tokens.refreshed(connection, version).await;
        });
    }
    Some(PACE)
}

/// What was under way when Carport last stopped: first that whose window may still be open, the most pressing
/// ahead; the rest is due, and comes in its order.
async fn left_over(tokens: &Tokens, now: Timestamp) -> Result<VecDeque<(ConnectionId, u64)>, StoreError> {
    let mut found = tokens.shared.store.read(|snapshot| snapshot.intents(usize::MAX)).await?;
    found.sort_by_key(|(_, intent)| (!rotation::is_open(*intent, now), intent.started_at));
    found.truncate(PENDING);
    if !found.is_empty() {
        tracing::info!(refreshes = found.len(), "refreshes were cut off: the same tokens are sent again");
    }
    Ok(found.into_iter().map(|(connection, intent)| (connection, intent.version)).collect())
}

/// The application token has nothing to wait for but its own door; returns how long it waits.
fn application(
    tokens: &Tokens,
    set: Option<&SealedTokens>,
    now: Timestamp,
    latest: Timestamp,
    running: &mut Running,
) -> Duration {
    let (shared, connection) = (&tokens.shared, ConnectionId::APPLICATION);
    let due_at = set.map_or(now, |set| set.due_at.unwrap_or(now));
    if shared.smartcar.settings().v3.is_none() || running.has(connection) {
        return LONGEST;
    }
    if due_at > now && due_at <= latest {
        return due_at.since(now).min(LONGEST);
    }
    shared.look_for_a_new_secret(Generation::V3);
    if let Some(rest) = resting(tokens, connection).max(shut(tokens, connection)) {
        return rest.min(LONGEST);
    }
    let tokens = tokens.clone();
    running.start(connection, async move { keep_alive(&tokens, connection, due_at).await });
    LONGEST
}

/// How many refreshes of owners' connections may be started now; `Err` says how long none.
fn blocked(tokens: &Tokens, running: &Running) -> Result<usize, Duration> {
    let shared = &tokens.shared;
    if !shared.store.has_room() {
        return Err(ROOM);
    }
    shared.look_for_a_new_secret(Generation::V2);
    let owners = running.busy.values().filter(|connection| **connection != ConnectionId::APPLICATION).count();
    let owners = owners.saturating_sub(shared.gate.aside());
    match shared.gate.shut(Generation::V2) {
        None => Ok(AT_ONCE.saturating_sub(owners)),
        Some(shut) => match left(shut.until) {
            Some(rest) => Err(rest),
            // The probe.
            None => Ok(1_usize.saturating_sub(owners)),
        },
    }
}

/// How long a connection waits because of what went wrong with it.
fn resting(tokens: &Tokens, connection: ConnectionId) -> Option<Duration> {
    left(locked(&tokens.shared.troubles).get(&connection)?.not_before)
}

/// How long a generation waits.
fn shut(tokens: &Tokens, connection: ConnectionId) -> Option<Duration> {
    left(tokens.shared.gate.shut(generation(connection))?.until)
}

/// How long it is until then, if then is not past.
fn left(until: Instant) -> Option<Duration> {
    until.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())
}

impl Running {
    fn has(&self, connection: ConnectionId) -> bool {
        self.busy.values().any(|other| *other == connection)
    }

    /// How many of them keep others from asking.
    fn asking(&self, tokens: &Tokens) -> usize {
        self.tasks.len().saturating_sub(tokens.shared.gate.aside())
    }

    fn start(&mut self, connection: ConnectionId, task: impl Future<Output = ()> + Send + 'static) {
        let started = self.tasks.spawn(task);
        self.busy.insert(started.id(), connection);
    }
}

impl Tokens {
    /// The credentials of a generation have changed: if they were refused, they are tried at once.
    pub fn try_again(&self, generation: Generation) {
        self.shared.gate.try_again(generation);
        self.shared.wake.notify_one();
    }
}

impl super::Shared {
    /// Our credentials are refused: perhaps the operator has put others in their place.
    fn look_for_a_new_secret(&self, generation: Generation) {
        let is_refused = self.gate.shut(generation).is_some_and(|shut| shut.why == Why::Refused);
        if is_refused && self.smartcar.reread(generation) {
            tracing::info!(%generation, "the client secret has changed: it is tried at once");
            self.gate.try_again(generation);
        }
    }
}

/// Renews one that is due, unless its rule has changed since it was put into the order. Whatever goes wrong
/// is noted as trouble, so that the loop comes back later and not at once.
async fn keep_alive(tokens: &Tokens, connection: ConnectionId, marked: Timestamp) {
    let shared = &tokens.shared;
    let read = move |snapshot: &Snapshot<'_>| {
        Ok((snapshot.tokens(connection)?, snapshot.intent(connection)?, snapshot.has_spare_tokens(connection)?))
    };
    match drop_orphaned(tokens, connection).await {
        Ok(false) => {}
        Ok(true) => return,
        Err(error) => {
            shared.note_trouble(connection, &error.to_string(), Duration::ZERO);
            return;
        }
    }
    let done = match shared.store.read(read).await {
        Ok((None, ..)) if connection == ConnectionId::APPLICATION => {
            let _ = tokens.refreshed(connection, 0).await;
            return;
        }
        // The operator has given up v2, and nobody asks for these.
        Ok((Some(seen), _, true)) if shared.smartcar.settings().v2.is_none() && seen.due_at == Some(marked) => {
            let change = Reschedule { connection, version: seen.version, used_at: seen.used_at, due_at: None };
            shared.store.commit(change).await
        }
        Ok((Some(seen), intent, _)) if seen.due_at == Some(marked) => {
            let now = shared.world.now();
            let due_at = due::due_at(&shared.settings, connection, &seen, now);
            if due_at <= now || intent.is_some_and(|intent| intent.version == seen.version) {
                match tokens.refreshed(connection, seen.version).await {
                    Err(TokenError::Store(StoreError::Damaged { .. })) => give_up(tokens, connection, marked).await,
                    Err(TokenError::Store(error)) => Err(error),
                    // What else goes wrong is noted where it happens.
                    _ => return,
                }
            } else {
                // Whoever tried it early may have had trouble with it; there is nothing to try now.
                shared.hush_trouble(connection);
                let change = Reschedule { connection, version: seen.version, used_at: seen.used_at, due_at: Some(due_at) };
                shared.store.commit(change).await
            }
        }
        // The order names a time that its connection does not have.
        Ok(_) => {
            shared.forget_trouble(connection);
            shared.store.commit(DropDue { due_at: marked, connection }).await
        }
        Err(StoreError::Damaged { .. }) => give_up(tokens, connection, marked).await,
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        shared.note_trouble(connection, &error.to_string(), Duration::ZERO);
    }
}

/// Drops tokens whose connection a repair could not save: nothing shows them, and nothing but the loop would use them.
async fn drop_orphaned(tokens: &Tokens, connection: ConnectionId) -> Result<bool, StoreError> {
    let store = &tokens.shared.store;
    if !store.read(move |snapshot| snapshot.has_orphaned_tokens(connection)).await? {
        return Ok(false);
    }
    let is_dropped = store.commit(DropOrphaned { connection }).await?;
    if is_dropped {
        tracing::warn!(connection.id = %connection, "the tokens of a connection that was lost in a repair are dropped");
        tokens.shared.forget_trouble(connection);
    }
    Ok(is_dropped)
}

/// Tokens that do not open are as good as lost.
async fn give_up(tokens: &Tokens, connection: ConnectionId, marked: Timestamp) -> Result<(), StoreError> {
    let store = &tokens.shared.store;
    if store.commit(DropSpare { connection }).await? {
        return store.commit(DropDue { due_at: marked, connection }).await;
    }
    let reason = "its tokens are damaged in the store".to_owned();
    let status = ConnectionStatus::NeedsReconnect { reason: reason.clone(), cause: Cause::Tokens, since: None };
    store.commit(MarkConnection { id: connection, status: Some(status), error: Some(reason), seen: None }).await?;
    tokens.shared.news.notify_one();
    store.commit(DropDue { due_at: marked, connection }).await
}

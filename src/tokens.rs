//! The only door to a valid access token, and the loop that keeps all of them alive.
//!
//! One refresh at a time for each connection, however many ask; it runs in a task of its own, so that no
//! caller who goes away can lose the answer; the new set is on disk before anybody uses it. The invariant:
//! a token set is replaced only by what Smartcar answered, never discarded on silence.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::model::connection::{Connection, ConnectionStatus};
use crate::model::token::{Generation, Renewal, TokenSet};
use crate::model::{AppUserId, ConnectionId, Secret, Timestamp};
use crate::smartcar::{Granted, Smartcar};
use crate::store::connections::{AdoptConnection, HandOver, HandedOver};
use crate::store::tokens::{Reschedule, SealedTokens};
use crate::store::{Snapshot, Store, StoreError};
use crate::vault::Vault;
use crate::world::World;

mod call;
mod clock;
mod due;
mod end;
mod gate;
mod offer;
mod renewal;
mod rotation;
mod run;
mod sealing;
mod silence;
mod turn;

pub use call::{CallError, vehicles_of};
pub use due::Settings;
pub use end::Doubt;

use clock::Watch;
use end::End;
use gate::{Gate, Shut, Why};
use silence::Silences;
use turn::Turns;

/// An access token, good for now.
#[derive(Clone, Debug)]
pub struct Access {
    /// The token.
    pub token: Secret,
    /// When it dies.
    pub expires_at: Timestamp,
}

/// Why there is no access token.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Smartcar cannot be asked now.
    #[error("{what}")]
    Later {
        /// How long to wait.
        after: Duration,
        /// What happened.
        what: String,
    },
    /// The refresh token is dead: only a new Connect helps.
    #[error("the owner must connect again: {0}")]
    NeedsReconnect(String),
    /// Our credentials are wrong or missing: only the operator can help.
    #[error("{0}")]
    Configuration(String),
    /// There is no such connection, or it was ended.
    #[error("this connection has ended")]
    Gone,
    /// The store is in trouble.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The door. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    store: Store,
    vault: Vault,
    smartcar: Smartcar,
    world: World,
    metrics: Arc<Metrics>,
    /// One refresh at a time for each connection.
    turns: Turns,
    /// Connections whose last refresh failed for a reason that passes.
    troubles: Mutex<HashMap<ConnectionId, Trouble>>,
    silences: Silences,
    /// How much is asked at once, and whether at all.
    gate: Gate,
    /// Whether API v2.0 has ended.
    end: End,
    clock: Mutex<Watch>,
    wake: Notify,
    /// A fault that does not mend itself has begun or ended.
    news: Notify,
    /// What must end before the store is closed.
    tasks: TaskTracker,
    /// Carport stops: what cannot be written soon is given up.
    closing: CancellationToken,
}

#[derive(Clone, Debug)]
struct Trouble {
    tries: u32,
    not_before: Instant,
    /// `None` when it is none any more, as nothing is due: but who is tried again soon begins where it stood.
    what: Option<String>,
}

impl Tokens {
    /// The door to the tokens in `store`.
    pub fn new(
        settings: Settings,
        store: Store,
        vault: Vault,
        smartcar: Smartcar,
        world: World,
        metrics: Arc<Metrics>,
    ) -> Tokens {
        let clock = Mutex::new(Watch::new(world.now()));
        Tokens {
            shared: Arc::new(Shared {
                settings,
                store,
                vault,
                smartcar,
                world,
                metrics,
                turns: Turns::default(),
                troubles: Mutex::default(),
                silences: Silences::default(),
                gate: Gate::default(),
                end: End::default(),
                clock,
                wake: Notify::new(),
                news: Notify::new(),
                tasks: TaskTracker::new(),
                closing: CancellationToken::new(),
            }),
        }
    }

    /// Keeps a fresh pair under a new connection; on disk when it returns. The Smartcar user is not known yet.
    pub async fn adopt(
        &self,
        user: &AppUserId,
        granted: Granted,
        mode: Option<String>,
        single_select: bool,
    ) -> Result<ConnectionId, TokenError> {
        let shared = &self.shared;
        let now = shared.world.now();
        let connection = Connection {
            id: ConnectionId(shared.world.uuid()),
            user: user.clone(),
            smartcar_user: None,
            generation: Generation::V2,
            single: None,
            single_select,
            mode,
            status: ConnectionStatus::Active,
            scope: Vec::new(),
            connected_at: now,
            last_error: None,
        };
        let id = connection.id;
        let set = shared.token_set(id, granted, None);
        let tokens = shared.seal(id, 1, &set, now);
        // The code is spent: this memory is the only place that has the pair.
        offer::offer(shared, id, AdoptConnection { connection, tokens }).await?;
        shared.forget_trouble(id);
        shared.wake.notify_one();
        Ok(id)
    }

    /// Moves the tokens of a new connection to the one that the owner had before, if they are good for certain.
    pub async fn hand_over(&self, from: ConnectionId, to: ConnectionId) -> Result<(), TokenError> {
        let shared = &self.shared;
        // Neither may be refreshed meanwhile, or the newer pair would be the lost one.
        let (first, second) = (shared.turns.of(from.min(to)), shared.turns.of(from.max(to)));
        let (_first, _second) = (first.come().await, second.come().await);
        let read =
            move |snapshot: &Snapshot<'_>| Ok((snapshot.tokens(from)?, snapshot.intent(from)?, snapshot.sound_tokens(to)?));
        let (fresh, intent, before) = shared.store.read(read).await?;
        // Those of `to` may be good: what is dead, or perhaps spent, must not take their place.
        let fresh = fresh.filter(|fresh| fresh.due_at.is_some()).ok_or(TokenError::Gone)?;
        if intent.is_some_and(|intent| intent.version == fresh.version) {
            return Err(TokenError::Later { after: Duration::from_secs(60), what: UNSETTLED.to_owned() });
        }
        let set = shared.open(from, &fresh)?;
        let to_version = before.map_or(0, |tokens| tokens.version);
        let tokens = shared.seal(to, to_version + 1, &set, shared.world.now());
        match shared.store.commit(HandOver { from, to, to_version, tokens }).await? {
            HandedOver::Done => {}
            HandedOver::Superseded => return Err(StoreError::Busy.into()),
        }
        shared.forget_trouble(to);
        shared.wake.notify_one();
        Ok(())
    }

    /// An access token for a connection (for [`ConnectionId::APPLICATION`], the application token):
    /// fresh enough, refreshing it if it is not.
    pub async fn access(&self, connection: ConnectionId) -> Result<Access, TokenError> {
        let shared = &self.shared;
        let Some(tokens) = shared.store.read(move |snapshot| snapshot.tokens(connection)).await? else {
            if connection != ConnectionId::APPLICATION {
                return Err(TokenError::Gone);
            }
            return self.soon(connection, 0).await;
        };
        let now = shared.world.now();
        shared.note_use(connection, &tokens, now).await;
        if due::is_fresh(&tokens, now, locked(&shared.clock).is_steady()) {
            return shared.access(connection, &tokens);
        }
        match self.soon(connection, tokens.version).await {
            // What is not fresh may still be good, also when it was the last one.
            Err(error) if tokens.access_expires_at > now && !matches!(error, TokenError::Gone) => {
                shared.access(connection, &tokens)
            }
            result => result,
        }
    }

    /// Renews the tokens of a connection now, unless somebody else has since `access` was handed out.
    pub async fn renew(&self, connection: ConnectionId, refused: Option<&Access>) -> Result<Access, TokenError> {
        let shared = &self.shared;
        let tokens = shared.store.read(move |snapshot| snapshot.tokens(connection)).await?;
        let Some(tokens) = tokens else {
            return if connection == ConnectionId::APPLICATION { self.soon(connection, 0).await } else { Err(TokenError::Gone) };
        };
        let current = shared.access(connection, &tokens)?;
        if refused.is_some_and(|refused| refused.token.expose() != current.token.expose()) {
            return Ok(current);
        }
        // Only an operator who asks may jump the queue; a refused token waits as the loop does.
        if refused.is_none() {
            shared.rest_no_more(connection);
            shared.gate.try_again(gate::generation(connection));
        }
        self.soon(connection, tokens.version).await
    }

    /// The owner has mended a connection: its tokens are tried again.
    pub async fn revive(&self, connection: ConnectionId) -> Result<(), TokenError> {
        let shared = &self.shared;
        if let Some(tokens) = shared.store.read(move |snapshot| snapshot.tokens(connection)).await? {
            let now = shared.world.now();
            let due_at = Some(tokens.due_at.unwrap_or(now));
            shared.store.commit(Reschedule { connection, version: tokens.version, used_at: now, due_at }).await?;
        }
        shared.rest_no_more(connection);
        shared.wake.notify_one();
        shared.news.notify_one();
        Ok(())
    }

    /// Waits until a fault that does not mend itself has begun or ended. For one listener.
    pub async fn news(&self) {
        self.shared.news.notified().await;
    }

    /// Carport stops: from now on nobody waits for minutes.
    pub fn stopping(&self) {
        self.shared.closing.cancel();
    }

    /// Stops, and waits for what Smartcar may still answer to reach the disk.
    pub async fn stop(&self) {
        self.stopping();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Where tasks run whose answer must reach the disk before the store is closed.
    pub fn tasks(&self) -> &TaskTracker {
        &self.shared.tasks
    }

    /// Why no refresh is sent at all, for a generation: our credentials are refused.
    pub fn stopped(&self, generation: Generation) -> Option<String> {
        self.shared.gate.shut(generation).filter(|shut| shut.why == Why::Refused).map(|shut| shut.what)
    }

    /// Why refreshes of a generation wait although our credentials are good: no answers come, or Smartcar says so.
    pub fn held_up(&self, generation: Generation) -> Option<String> {
        // Who is due asks again when the time is over. If nobody does, nobody waits.
        let holds = |shut: &Shut| shut.why != Why::Refused && shut.until + ASKED_WITHIN > Instant::now();
        self.shared.gate.shut(generation).filter(holds).map(|shut| shut.what)
    }

    /// When a set ought to be renewed, whatever has kept it from that since.
    pub fn ought_at(&self, connection: ConnectionId, tokens: &SealedTokens, now: Timestamp) -> Timestamp {
        due::due_at(&self.shared.settings, connection, tokens, now)
    }

    /// What went wrong with the last refresh of a connection, if that has not been mended.
    pub fn trouble(&self, connection: ConnectionId) -> Option<String> {
        let troubles = locked(&self.shared.troubles);
        troubles.get(&connection).and_then(|trouble| trouble.what.clone())
    }

    /// How many connections memory knows something of: those that are being refreshed or have failed.
    pub fn remembered(&self) -> usize {
        self.shared.turns.len().max(locked(&self.shared.troubles).len())
    }

    /// The refresh loop: renews what is due until `shutdown`, then waits for refreshes under way.
    pub async fn run(&self, shutdown: CancellationToken) {
        run::run(self, shutdown).await;
    }

    /// A refresh for a caller, who does not wait for a disk that heals in an hour.
    async fn soon(&self, connection: ConnectionId, seen: u64) -> Result<Access, TokenError> {
        let what = || self.trouble(connection).unwrap_or_else(|| "the refresh has not ended yet".to_owned());
        let refreshed = tokio::time::timeout(PATIENCE, self.refreshed(connection, seen)).await;
        refreshed.unwrap_or_else(|_| Err(TokenError::Later { after: Duration::from_secs(5), what: what() }))
    }

    async fn refreshed(&self, connection: ConnectionId, seen: u64) -> Result<Access, TokenError> {
        // In a task of its own: a caller that goes away must not cancel what Smartcar may have answered.
        let shared = self.shared.clone();
        let renewed = self.shared.tasks.spawn(async move { renewal::renew(&shared, connection, seen).await });
        renewed.await.unwrap_or_else(|_| {
            Err(TokenError::Later { after: Duration::from_secs(1), what: "the refresh was cut off".to_owned() })
        })
    }
}

const UNSETTLED: &str = "whether the tokens of the new connection were replaced is not known yet";

/// How soon somebody asks again when a door may be tried, if anybody is due.
const ASKED_WITHIN: Duration = Duration::from_secs(60);

/// How long a caller waits for a refresh: about as long as an answer that was lost can be asked for again.
const PATIENCE: Duration = Duration::from_secs(50);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("remembered", &self.remembered()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Notes a failure that passes; returns how long to wait before the next try, at least `least`.
    fn note_trouble(&self, connection: ConnectionId, what: &str, least: Duration) -> Duration {
        let mut troubles = locked(&self.troubles);
        let tries = troubles.get(&connection).map_or(0, |trouble| trouble.tries).saturating_add(1);
        let most = if tries <= silence::ROUNDS && self.silences.is_open(connection) { silence::SOON } else { Duration::MAX };
        let after = due::backoff(tries, self.world.entropy.as_ref()).min(most).max(least);
        troubles.insert(connection, Trouble { tries, not_before: Instant::now() + after, what: Some(what.to_owned()) });
        tracing::warn!(connection.id = %connection, error = what, tries, again_in_s = after.as_secs(), "a refresh failed");
        after
    }

    /// Notes what delays a refresh that is under way.
    fn note_delay(&self, connection: ConnectionId, what: String) {
        let mut troubles = locked(&self.troubles);
        let fresh = Trouble { tries: 0, not_before: Instant::now(), what: None };
        troubles.entry(connection).or_insert(fresh).what = Some(what);
    }

    /// Says more about a trouble that was noted.
    fn add_to_trouble(&self, connection: ConnectionId, more: &str) {
        if let Some(what) = locked(&self.troubles).get_mut(&connection).and_then(|trouble| trouble.what.as_mut()) {
            what.push_str(more);
        }
    }

    /// Nothing is due that it would keep from anything.
    fn hush_trouble(&self, connection: ConnectionId) {
        if let Some(trouble) = locked(&self.troubles).get_mut(&connection) {
            trouble.what = None;
        }
    }

    /// All is well with it, or it is over.
    fn forget_trouble(&self, connection: ConnectionId) {
        self.rest_no_more(connection);
        self.silences.forget(connection);
    }

    /// It may be tried at once.
    fn rest_no_more(&self, connection: ConnectionId) {
        locked(&self.troubles).remove(&connection);
    }

    fn token_set(&self, connection: ConnectionId, granted: Granted, before: Option<&TokenSet>) -> TokenSet {
        let issued_at = self.world.now();
        let renewal = match (granted.refresh, before.map(|set| set.renewal.clone())) {
            (Some(token), _) => Renewal::Refresh { token, expires_at: issued_at.after(self.settings.refresh_life) },
            // An answer without a refresh token leaves us the old one.
            (None, Some(renewal)) => renewal,
            (None, None) if connection == ConnectionId::APPLICATION => Renewal::ClientCredentials,
            (None, None) => Renewal::Impossible,
        };
        TokenSet { access: granted.access, access_expires_at: issued_at.after(granted.expires_in), issued_at, renewal }
    }

    fn access(&self, connection: ConnectionId, tokens: &SealedTokens) -> Result<Access, TokenError> {
        let set = self.open(connection, tokens)?;
        Ok(Access { token: set.access, expires_at: set.access_expires_at })
    }

    /// Notes that a connection is in use, at most once in a seventh of `idle_renewal`: the due time of a
    /// connection that was idle moves to the expiry of its access token.
    async fn note_use(&self, connection: ConnectionId, tokens: &SealedTokens, now: Timestamp) {
        if now.since(tokens.used_at) < self.settings.idle_renewal / 7 {
            return;
        }
        let due_at = due::due_at(&self.settings, connection, &SealedTokens { used_at: now, ..tokens.clone() }, now);
        let change = Reschedule { connection, version: tokens.version, used_at: now, due_at: tokens.due_at.and(Some(due_at)) };
        // A store in trouble shows elsewhere; the token is good all the same.
        if self.store.commit(change).await.is_ok() {
            self.wake.notify_one();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

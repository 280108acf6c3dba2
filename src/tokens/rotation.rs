//! Spending one refresh token so that no silence can lose its successor.
//!
//! Smartcar honours a refresh token for a minute after its first use. So the intent is on disk before the first
//! request, and whatever becomes of its answer, the same token is sent again within that minute.

use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use super::gate::Pass;
use super::renewal::told;
use super::{Shared, TokenError, Tokens, due};
use crate::model::token::TokenSet;
use crate::model::{ConnectionId, Secret, Timestamp};
use crate::smartcar::{Granted, PATIENCE, REFRESH, SmartcarError, TOKEN};
use crate::store::rotation::{BeginRefresh, Intent, KEPT};
use crate::store::tokens::SealedTokens;
use crate::store::{Snapshot, StoreError};

/// How long after the first request the last one is sent.
const WINDOW: Duration = Duration::from_secs(55);

/// When the last request is sent if all of the others were in vain early.
const LAST: Duration = Duration::from_secs(50);

/// How long an intent says that the token may have been spent just now.
const FRESH: Duration = Duration::from_secs(60);

/// So long at most between a request and the next.
const PAUSES: [u64; 5] = [1, 2, 4, 8, 16];

/// What came of spending a refresh token.
pub(super) enum Spent {
    /// Its successor.
    Granted(Granted),
    /// Smartcar refused it, and again when asked once more, or somebody has replaced it meanwhile.
    Rejected(SmartcarError),
    /// No answer that decides.
    Failed {
        error: SmartcarError,
        /// It may have been spent all the same.
        is_ambiguous: bool,
        /// When a request was last followed by silence.
        silent_at: Option<Instant>,
    },
}

/// Whether a token may have been spent so recently that it must be sent again at once.
pub(super) fn is_open(intent: Intent, now: Timestamp) -> bool {
    now.since(intent.started_at) < FRESH && intent.started_at.since(now) < FRESH
}

/// Puts the intent on disk: a pair that cannot be replaced there must not be spent. False if there is a newer one.
pub(super) async fn begin(shared: &Shared, connection: ConnectionId, version: u64) -> Result<bool, TokenError> {
    if !shared.store.has_room() {
        return Err(StoreError::Unavailable("the disk is nearly full".to_owned()).into());
    }
    let intent = Intent { version, started_at: shared.world.now() };
    shared.store.commit(BeginRefresh { connection, intent }).await.map_err(|error| {
        let what = error.to_string();
        let after = shared.note_trouble(connection, &what, Duration::ZERO);
        TokenError::Later { after, what }
    })
}

/// A connection's token: others may replace it, and all of them queue to ask.
pub(super) struct Held<'a, 'g> {
    pub(super) pass: &'a mut Pass<'g>,
    pub(super) version: u64,
}

impl Held<'_, '_> {
    /// Whether the tokens that were sent are still those that are stored.
    async fn is_current(&self, shared: &Shared) -> bool {
        let connection = self.pass.connection();
        let stored = shared.store.read(move |snapshot| snapshot.tokens(connection)).await;
        // A store that cannot be read has not been changed by anybody.
        stored.map_or(true, |tokens| tokens.is_some_and(|tokens| tokens.version == self.version))
    }

    /// Waits for minutes from now on.
    fn stand_aside(&mut self, shared: &Shared) {
        self.pass.stand_aside();
        shared.wake.notify_one();
    }
}

/// Sends the token until an answer decides, for as long as Smartcar honours one that was spent. `before`: an earlier
/// request may have spent it.
pub(super) async fn spend(shared: &Shared, mut held: Option<Held<'_, '_>>, token: &Secret, before: Option<Intent>) -> Spent {
    let (began, began_at) = (Instant::now(), shared.world.now());
    let sent_before = before.filter(|intent| is_open(*intent, began_at)).map(|intent| began_at.since(intent.started_at));
    // Until when a pair may be lost: that of an earlier request, and of one of these.
    let mut minutes = [sent_before.and_then(|before| LAST.checked_sub(before)).map(|left| began + left), None];
    let sent_before = sent_before.unwrap_or_default();
    let mut pauses = PAUSES.into_iter();
    let (mut is_ambiguous, mut silent_at, mut was_rejected, mut is_last) = (before.is_some(), None, false, false);
    loop {
        let sent_at = Instant::now();
        let patience = if is_last { PATIENCE } else { patience(sent_before + began.elapsed()) };
        let mut asked = pin!(answer(shared, token, patience));
        let outcome = tokio::select! {
            outcome = &mut asked => outcome,
            () = tokio::time::sleep(TOKEN), if patience > TOKEN => {
                if let Some(held) = &mut held {
                    held.stand_aside(shared);
                }
                asked.await
            }
        };
        if let Some(held) = &held {
            told(shared, held.pass, outcome.as_ref().map(|_| ()));
        }
        let error = match outcome {
            Ok(granted) => return Spent::Granted(granted),
            Err(error) => error,
        };
        let asked_to_wait = match &error {
            SmartcarError::Rejected { .. } => {
                let is_current = match &held {
                    Some(held) => held.is_current(shared).await,
                    None => true,
                };
                if was_rejected || !is_current {
                    return Spent::Rejected(error);
                }
                was_rejected = true;
                continue;
            }
            SmartcarError::Later { after, what } => {
                is_ambiguous |= what.may_have_acted;
                if what.may_have_acted {
                    minutes[1].get_or_insert(sent_at + LAST);
                }
                // A bad day of Smartcar's is no silence: it has answered.
                if what.may_have_acted && what.status.is_none_or(|status| status < 500) {
                    silent_at = Some(sent_at);
                }
                after.unwrap_or_default()
            }
            _ => return Spent::Failed { error, is_ambiguous, silent_at },
        };
        if !is_ambiguous || is_last {
            return Spent::Failed { error, is_ambiguous, silent_at };
        }
        let now = Instant::now();
        let mut ahead = minutes.into_iter().flatten().filter(|end| *end > now);
        let next = ahead.clone().min();
        let pause = pauses.next().map(|most| jittered(shared, most).max(asked_to_wait));
        let pause = match (pause, next) {
            (Some(pause), Some(end)) if now + pause < end => pause,
            // However long Smartcar asks us to wait: after its minute the pair is lost.
            (_, Some(end)) => {
                is_last = ahead.all(|other| other <= end);
                end - now
            }
            (Some(pause), None) if began.elapsed() + pause <= WINDOW => pause,
            _ => return Spent::Failed { error, is_ambiguous, silent_at },
        };
        if let Some(held) = &held {
            shared.note_delay(held.pass.connection(), error.to_string());
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // One more before Carport stops, for the next start may be too late; but what does not press waits for that.
            () = shared.closing.cancelled() => match next {
                None if !asked_to_wait.is_zero() => return Spent::Failed { error, is_ambiguous, silent_at },
                _ => is_last = true,
            },
        }
        // The machine has slept meanwhile, with its timers or without: that would be no repetition any more, but a new
        // beginning.
        if began.elapsed() > 2 * WINDOW || shared.world.now().since(began_at) > 2 * WINDOW {
            return Spent::Failed { error, is_ambiguous, silent_at };
        }
    }
}

/// How long to wait for the answer to a request that is sent so long after the first: as long as may be, if nothing that
/// is sent after it brings what its answer would.
fn patience(sent_for: Duration) -> Duration {
    if sent_for + TOKEN > WINDOW { PATIENCE } else { TOKEN }
}

impl Tokens {
    /// The next pair for a refresh token that is no connection's yet. An error tells whether any of the requests may have
    /// spent it.
    pub async fn renew_foreign(&self, token: &Secret) -> Result<Granted, SmartcarError> {
        match spend(&self.shared, None, token, None).await {
            Spent::Granted(granted) => Ok(granted),
            Spent::Rejected(error) => Err(error),
            Spent::Failed { mut error, is_ambiguous, .. } => {
                if let SmartcarError::Later { what, .. } = &mut error {
                    what.may_have_acted |= is_ambiguous;
                }
                Err(error)
            }
        }
    }
}

/// Sends it once. Whoever wants to stop waits no longer than for any other token.
async fn answer(shared: &Shared, token: &Secret, patience: Duration) -> Result<Granted, SmartcarError> {
    let stopped = async {
        shared.closing.cancelled().await;
        tokio::time::sleep(TOKEN).await;
    };
    tokio::select! {
        outcome = shared.smartcar.refresh(token, patience) => outcome,
        () = stopped => Err(SmartcarError::unanswered(REFRESH, TOKEN)),
    }
}

/// The set before, which is still honoured if the present one has never reached Smartcar's books; none if `tokens` are
/// not the present one.
pub(super) async fn previous(shared: &Shared, connection: ConnectionId, tokens: &SealedTokens) -> Option<TokenSet> {
    if shared.world.now().since(tokens.issued_at) >= KEPT {
        return None;
    }
    let current = tokens.clone();
    let read = move |snapshot: &Snapshot<'_>| match snapshot.tokens(connection)? {
        Some(tokens) if tokens.version == current.version => snapshot.previous(connection, &current),
        _ => Ok(None),
    };
    let previous = shared.store.read(read).await.ok().flatten()?;
    shared.open(connection, &previous).ok()
}

/// Anything up to `most` seconds.
fn jittered(shared: &Shared, most: u64) -> Duration {
    Duration::from_secs(most).mul_f64(due::chance(shared.world.entropy.as_ref()))
}

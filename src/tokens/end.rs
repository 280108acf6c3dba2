//! The end of API v2.0, which Smartcar has announced.
//!
//! Once Smartcar has told of it, asking there would bring nothing but that again, so it is asked no more; now and then, and
//! for whoever wants to know, it is asked all the same, so that a mistake mends itself.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::call::{CallError, vehicles_of};
use super::{Tokens, locked};
use crate::model::ConnectionId;
use crate::model::connection::Connection;
use crate::smartcar::SmartcarError;
use crate::store::{Snapshot, StoreError};

/// What is known of the end of API v2.0.
#[derive(Debug, Default)]
pub(super) struct End(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// That Smartcar has told of it.
    told: Option<Told>,
    /// When it answered somebody last.
    answered_at: Option<Instant>,
}

#[derive(Debug)]
struct Told {
    error: SmartcarError,
    /// When it was asked last, if this Carport has.
    asked_at: Option<Instant>,
    /// When one call may look whether it is so still.
    again_at: Instant,
}

impl Told {
    fn now(error: SmartcarError) -> Told {
        let mut told = Told { error, asked_at: None, again_at: Instant::now() };
        told.is_asked();
        told
    }

    fn is_asked(&mut self) {
        let now = Instant::now();
        (self.asked_at, self.again_at) = (Some(now), now + AGAIN);
    }
}

impl End {
    fn known(&self) -> MutexGuard<'_, Known> {
        locked(&self.0)
    }

    fn told(&self) -> Option<SmartcarError> {
        self.known().told.as_ref().map(|told| told.error.clone())
    }

    /// Whether nothing is to be asked now. Whoever `goes` when the time is over, goes alone.
    pub(super) fn bars(&self, goes: bool) -> Option<SmartcarError> {
        let mut known = self.known();
        let told = known.told.as_mut()?;
        if told.again_at > Instant::now() {
            return Some(told.error.clone());
        }
        if goes {
            told.is_asked();
        }
        None
    }

    /// Whether somebody who wants to know may ask although it is not time: not twice within a minute.
    fn may_be_doubted(&self) -> bool {
        let mut known = self.known();
        let may_be = |told: &&mut Told| told.asked_at.is_none_or(|at| at.elapsed() >= BARELY);
        let Some(told) = known.told.as_mut().filter(may_be) else { return false };
        told.is_asked();
        true
    }

    /// Whether it has answered somebody within a minute.
    fn answers(&self) -> bool {
        self.known().answered_at.is_some_and(|at| at.elapsed() < BARELY)
    }

    /// Nobody has answered.
    fn is_unanswered(&self) {
        if let Some(told) = self.known().told.as_mut() {
            told.again_at = Instant::now() + UNANSWERED;
        }
    }

    /// Takes note of an answer; whether that is news.
    fn hear<T>(&self, result: &Result<T, SmartcarError>) -> bool {
        let mut known = self.known();
        match result {
            Err(error @ SmartcarError::Ended { .. }) => {
                known.answered_at = None;
                known.told.replace(Told::now(error.clone())).is_none()
            }
            Ok(_) => {
                known.answered_at = Some(Instant::now());
                known.told.take().is_some()
            }
            // What else goes wrong says nothing of it.
            Err(_) => false,
        }
    }
}

/// Who asks whether API v2.0 has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Nobody: it is looked at when it is time, if it was told.
    InTime,
    /// Somebody who looks at what was told: not twice within a minute.
    Looking,
    /// Somebody who checks: at once, and also if nobody has told, where something is connected by it.
    Checking,
}

impl Tokens {
    /// What Smartcar said when it told that API v2.0 has ended; `None` if it has not, or answers again.
    pub fn ended(&self) -> Option<SmartcarError> {
        self.shared.end.told()
    }

    /// API v2.0 had ended when Carport ran last. The next call looks whether that is so still.
    pub fn recall_end(&self) {
        let told = Told { error: SmartcarError::ended("v2.0"), asked_at: None, again_at: Instant::now() };
        self.shared.end.known().told.get_or_insert(told);
    }

    /// Takes note of an answer of API v2.0.
    pub(super) fn hear<T>(&self, result: &Result<T, SmartcarError>) {
        if self.shared.end.hear(result) {
            match result {
                Ok(_) => tracing::info!("API v2.0 answers again"),
                Err(error) => tracing::warn!(%error, "API v2.0 is asked no more, but once an hour"),
            }
            self.shared.news.notify_one();
        }
    }

    /// What API v2.0 has answered to somebody who came without an access token: that it has ended is believed if it says
    /// so to this connection, too, or if that was known.
    pub async fn believed<T>(&self, connection: Option<ConnectionId>, result: Result<T, SmartcarError>) -> Result<T, CallError> {
        if self.ended().is_some() {
            self.hear(&result);
        }
        let Err(SmartcarError::Ended { what }) = &result else { return Ok(result?) };
        if let Some(connection) = connection {
            // What comes of it is noted there.
            let _ = self.call(connection, vehicles_of).await;
        }
        if self.ended().is_some() {
            return Ok(result?);
        }
        Err(SmartcarError::NotPossible { what: what.clone() }.into())
    }

    /// Whether API v2.0 says that it has ended: asked now, by the first of these connections whose tokens are good, else as
    /// nobody. Not all of many are tried. `None` if nobody gets an answer.
    pub async fn ask_of_end(&self, connections: &[ConnectionId]) -> Option<bool> {
        for &id in connections.iter().take(ASKED) {
            let asked = match self.access(id).await {
                Ok(access) => self.call_with(id, access, vehicles_of).await.map(|_| ()),
                Err(error) => Err(error.into()),
            };
            match asked {
                Ok(()) => return Some(false),
                Err(error) if error.is_of_end() => return Some(true),
                // It may be that this one's tokens are dead.
                Err(CallError::Token(_) | CallError::Smartcar(SmartcarError::Unauthorized { .. })) => {}
                Err(error) => {
                    tracing::debug!(connection.id = %id, %error, "it tells nothing of the end of v2.0");
                    return None;
                }
            }
        }
        let asked = self.shared.smartcar.find_v2().await;
        // Nobody may be refused before anything else is looked at: that says less than what was told to somebody.
        let is_there = asked.is_ok() && (connections.is_empty() || self.ended().is_none());
        let has_ended = matches!(asked, Err(SmartcarError::Ended { .. }));
        if self.ended().is_some() && (is_there || has_ended) {
            self.hear(&asked);
        }
        (is_there || has_ended).then_some(has_ended)
    }

    /// Whether API v2.0 has ended, for somebody who would spend a token there: asked as nobody, unless it has just answered
    /// somebody else.
    pub async fn has_ended_by_now(&self) -> bool {
        !self.shared.end.answers() && self.ask_of_end(&[]).await == Some(true)
    }

    /// Looks whether API v2.0 has ended, or has not after all, as soon as it is time for whoever doubts it.
    pub async fn doubt_end(&self, doubt: Doubt) {
        let (end, is_told) = (&self.shared.end, self.ended().is_some());
        let is_time = match doubt {
            Doubt::InTime => is_told && end.bars(true).is_none(),
            Doubt::Looking => end.may_be_doubted(),
            Doubt::Checking => true,
        };
        if !is_time {
            return;
        }
        let Ok(connections) = self.shared.store.read(by_v2).await else { return };
        if is_told || !connections.is_empty() {
            let asked = tokio::time::timeout(PATIENCE, self.ask_of_end(&connections)).await;
            if !matches!(asked, Ok(Some(_))) {
                end.is_unanswered();
            }
        }
    }
}

/// Connections that can ask API v2.0: as many as are tried.
fn by_v2(snapshot: &Snapshot<'_>) -> Result<Vec<ConnectionId>, StoreError> {
    let mut found = Vec::new();
    for connection in snapshot.connections(None, usize::MAX)?.into_iter().filter(Connection::is_active_by_v2) {
        let tokens = snapshot.sound_tokens(connection.id)?;
        if tokens.is_some_and(|tokens| tokens.due_at.is_some()) {
            found.push(connection.id);
        }
        if found.len() == ASKED {
            break;
        }
    }
    Ok(found)
}

/// How often an API that has ended is asked all the same.
const AGAIN: Duration = Duration::from_secs(3600);

/// How soon, if nobody has answered.
const UNANSWERED: Duration = Duration::from_secs(600);

/// How long a look may take: others wait for it.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long it is not asked again by whoever wants to know.
const BARELY: Duration = Duration::from_secs(60);

/// How many connections ask one after the other, before somebody asks as nobody.
const ASKED: usize = 8;

//! The end of API v2.0, which Smartcar has announced.
//!
//! Once Smartcar has told of it, asking there would bring nothing but that again, so it is asked no more; now and then, and
//! for whoever wants to know, it is asked all the same, so that a mistake mends itself.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::call::CallError;
use super::{Tokens, locked};
use crate::model::{ConnectionId, Secret, VehicleId};
use crate::smartcar::{Smartcar, SmartcarError};

/// The end of API v2.0, if Smartcar has told of it.
#[derive(Debug, Default)]
pub(super) struct End(Mutex<Option<Told>>);

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
    fn told(&self) -> Option<SmartcarError> {
        locked(&self.0).as_ref().map(|told| told.error.clone())
    }

    /// Whether nothing is to be asked now. Whoever `goes` when the time is over, goes alone.
    pub(super) fn bars(&self, goes: bool) -> Option<SmartcarError> {
        let mut told = locked(&self.0);
        let told = told.as_mut()?;
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
        let mut told = locked(&self.0);
        let Some(told) = told.as_mut().filter(|told| told.asked_at.is_none_or(|at| at.elapsed() >= BARELY)) else { return false };
        told.is_asked();
        true
    }

    /// Nobody has answered.
    fn is_unanswered(&self) {
        if let Some(told) = locked(&self.0).as_mut() {
            told.again_at = Instant::now() + UNANSWERED;
        }
    }

    /// Takes note of an answer; whether that is news.
    fn hear<T>(&self, result: &Result<T, SmartcarError>) -> bool {
        let mut told = locked(&self.0);
        match result {
            Err(error @ SmartcarError::Ended { .. }) => told.replace(Told::now(error.clone())).is_none(),
            Ok(_) => told.take().is_some(),
            // What else goes wrong says nothing of it.
            Err(_) => false,
        }
    }
}

impl Tokens {
    /// What Smartcar said when it told that API v2.0 has ended; `None` if it has not, or answers again.
    pub fn ended(&self) -> Option<SmartcarError> {
        self.shared.end.told()
    }

    /// API v2.0 had ended when Carport ran last. The next call looks whether that is so still.
    pub fn recall_end(&self) {
        let error = SmartcarError::ended("v2.0");
        locked(&self.shared.end.0).get_or_insert(Told { error, asked_at: None, again_at: Instant::now() });
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
            let _ = self.call(connection, vehicles).await;
        }
        if self.ended().is_some() {
            return Ok(result?);
        }
        Err(SmartcarError::NotPossible { what: what.clone() }.into())
    }

    /// Whether API v2.0 says that it has ended: asked now, by the first of these connections whose tokens are good, else as
    /// nobody. `None` if nobody gets an answer.
    pub async fn ask_of_end(&self, connections: &[ConnectionId]) -> Option<bool> {
        for &id in connections {
            let asked = match self.access(id).await {
                Ok(access) => self.call_with(id, access, vehicles).await.map(|_| ()),
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

    /// Looks whether API v2.0 has really ended, if that was told: for somebody who wants to know, not twice within a minute.
    pub async fn doubt_end(&self, connections: &[ConnectionId]) {
        if self.shared.end.may_be_doubted() {
            self.look_for_end(connections).await;
        }
    }

    /// The same by itself, when it is time.
    pub async fn doubt_end_in_time(&self, connections: &[ConnectionId]) {
        if self.ended().is_some() && self.shared.end.bars(true).is_none() {
            self.look_for_end(connections).await;
        }
    }

    /// The same now.
    pub async fn look_for_end(&self, connections: &[ConnectionId]) {
        let asked = tokio::time::timeout(PATIENCE, self.ask_of_end(connections)).await;
        if !matches!(asked, Ok(Some(_))) {
            self.shared.end.is_unanswered();
        }
    }
}

async fn vehicles(smartcar: Smartcar, access: Secret) -> Result<Vec<VehicleId>, SmartcarError> {
    smartcar.vehicles(&access).await
}

/// How often an API that has ended is asked all the same.
const AGAIN: Duration = Duration::from_secs(3600);

/// How soon, if nobody has answered.
const UNANSWERED: Duration = Duration::from_secs(600);

/// How long a look may take: others wait for it.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long it is not asked again by whoever wants to know.
const BARELY: Duration = Duration::from_secs(60);

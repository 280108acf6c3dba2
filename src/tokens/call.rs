//! Calling Smartcar with an access token, and what is kept of the end of API v2.0.
//!
//! Smartcar has announced that v2.0 ends. Once it has told so, asking there would bring nothing but that again, so it is
//! asked no more; now and then one call goes through all the same, so that a mistake mends itself.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::gate::generation;
use super::{Access, TokenError, Tokens, locked};
use crate::budget::Refused;
use crate::model::token::Generation;
use crate::model::{ConnectionId, Secret};
use crate::smartcar::{Smartcar, SmartcarError};

/// Why a call to Smartcar gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// There is no access token to call with.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Smartcar answered with an error, or not at all.
    #[error(transparent)]
    Smartcar(#[from] SmartcarError),
    /// The plan does not allow it now.
    #[error(transparent)]
    Budget(#[from] Refused),
}

impl CallError {
    /// Whether the API that was asked has ended.
    pub fn is_of_end(&self) -> bool {
        matches!(self, CallError::Smartcar(SmartcarError::Ended { .. }))
    }
}

/// The end of API v2.0, if Smartcar has told of it.
#[derive(Debug, Default)]
pub(super) struct End(Mutex<Option<Told>>);

#[derive(Debug)]
struct Told {
    error: SmartcarError,
    /// When one call may look whether it is so still.
    again_at: Instant,
}

impl End {
    fn told(&self) -> Option<SmartcarError> {
        locked(&self.0).as_ref().map(|told| told.error.clone())
    }

    /// Whether nothing is to be asked now. Whoever `goes` when the time is over, goes alone.
    fn bars(&self, goes: bool) -> Option<SmartcarError> {
        let mut told = locked(&self.0);
        let told = told.as_mut()?;
        if told.again_at > Instant::now() {
            return Some(told.error.clone());
        }
        if goes {
            told.again_at = Instant::now() + AGAIN;
        }
        None
    }

    /// Whether somebody who wants to know may ask although it is not time: not twice within a minute.
    fn may_be_doubted(&self) -> bool {
        let mut told = locked(&self.0);
        let was_asked = |told: &&mut Told| told.again_at > Instant::now() + AGAIN.saturating_sub(BARELY);
        let Some(told) = told.as_mut().filter(|told| !was_asked(told)) else { return false };
        told.again_at = Instant::now() + AGAIN;
        true
    }

    /// Takes note of an answer; whether that is news.
    fn hear<T>(&self, result: &Result<T, SmartcarError>) -> bool {
        let mut told = locked(&self.0);
        match result {
            Err(error @ SmartcarError::Ended { .. }) => {
                told.replace(Told { error: error.clone(), again_at: Instant::now() + AGAIN }).is_none()
            }
            Ok(_) => told.take().is_some(),
            // What else goes wrong says nothing of it.
            Err(_) => false,
        }
    }
}

impl Tokens {
    /// Calls Smartcar with an access token; if Smartcar does not accept that one, renews it and calls once more.
    pub async fn call<T, F>(&self, connection: ConnectionId, call: impl Fn(Smartcar, Secret) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, SmartcarError>>,
    {
        self.may_call(connection)?;
        let access = self.access(connection).await?;
        // Neither a call of v3 nor one that has no token goes in the place of the one that may look.
        if generation(connection) == Generation::V2
            && let Some(error) = self.shared.end.bars(true)
        {
            return Err(error.into());
        }
        self.call_with(connection, access, call).await
    }

    async fn call_with<T, F>(
        &self,
        connection: ConnectionId,
        mut access: Access,
        call: impl Fn(Smartcar, Secret) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, SmartcarError>>,
    {
        let smartcar = &self.shared.smartcar;
        let mut result = call(smartcar.clone(), access.token.clone()).await;
        if let Err(SmartcarError::Unauthorized { .. }) = result {
            access = self.renew(connection, Some(&access)).await?;
            result = call(smartcar.clone(), access.token.clone()).await;
        }
        if let Err(SmartcarError::Ended { what }) = &result
            && self.ended().is_none()
            && !matches!(smartcar.vehicles(&access.token).await, Err(SmartcarError::Ended { .. }))
        {
            // One answer may be a mistake, or be about one path only.
            result = Err(SmartcarError::NotPossible { what: what.clone() });
        }
        if generation(connection) == Generation::V2 {
            self.hear(&result);
        }
        Ok(result?)
    }

    /// Takes note of an answer of API v2.0.
    fn hear<T>(&self, result: &Result<T, SmartcarError>) {
        if self.shared.end.hear(result) {
            match result {
                Ok(_) => tracing::info!("API v2.0 answers again"),
                Err(error) => tracing::warn!(%error, "API v2.0 is asked no more, but once an hour"),
            }
            self.shared.news.notify_one();
        }
    }

    /// Refuses what would be asked of an API that has ended: before a call is counted.
    pub fn may_call(&self, connection: ConnectionId) -> Result<(), CallError> {
        if generation(connection) == Generation::V2 { self.may_call_v2() } else { Ok(()) }
    }

    /// As [`Tokens::may_call`], for what asks API v2.0 about no connection.
    pub fn may_call_v2(&self) -> Result<(), CallError> {
        self.shared.end.bars(false).map_or(Ok(()), |error| Err(error.into()))
    }

    /// What API v2.0 has answered to somebody who came without an access token: that it has ended is believed if it says
    /// so to this connection, too, or if that was known.
    pub async fn believed<T>(&self, connection: Option<ConnectionId>, result: Result<T, SmartcarError>) -> Result<T, CallError> {
        let Err(SmartcarError::Ended { what }) = &result else { return Ok(result?) };
        if let Some(connection) = connection {
            let list = |smartcar: Smartcar, access: Secret| async move { smartcar.vehicles(&access).await };
            // What comes of it is noted there.
            let _ = self.call(connection, list).await;
        }
        if self.ended().is_some() {
            return Ok(result?);
        }
        Err(SmartcarError::NotPossible { what: what.clone() }.into())
    }

    /// What Smartcar said when it told that API v2.0 has ended; `None` if it has not, or answers again.
    pub fn ended(&self) -> Option<SmartcarError> {
        self.shared.end.told()
    }

    /// Whether API v2.0 says that it has ended: asked now, by the first of these connections that gets an answer. If none
    /// does, what was known before counts. Whatever else it says, it may be there.
    pub async fn ask_of_end(&self, connections: &[ConnectionId]) -> bool {
        let list = |smartcar: Smartcar, access: Secret| async move { smartcar.vehicles(&access).await };
        for &id in connections {
            let asked = match self.access(id).await {
                Ok(access) => self.call_with(id, access, list).await.map(|_| ()),
                Err(error) => Err(error.into()),
            };
            match asked {
                Ok(()) => return false,
                Err(error) if error.is_of_end() => return true,
                Err(error) => tracing::debug!(connection.id = %id, %error, "it tells nothing of the end of v2.0"),
            }
        }
        self.ended().is_some()
    }

    /// Looks whether API v2.0 has really ended, if that was told: for somebody who wants to know, by one of these
    /// connections, not twice within a minute. Where there are none, it is asked as nobody: that is refused where it answers.
    pub async fn doubt_end_by(&self, connections: &[ConnectionId]) {
        if !self.shared.end.may_be_doubted() {
            return;
        }
        if connections.is_empty() {
            self.hear(&self.shared.smartcar.find_v2().await);
        } else {
            self.ask_of_end(connections).await;
        }
    }

    /// The same where nothing is connected by API v2.0 any more, as often as that is asked by itself.
    pub async fn doubt_end_as_nobody(&self) {
        if self.ended().is_some() && self.shared.end.bars(true).is_none() {
            self.hear(&self.shared.smartcar.find_v2().await);
        }
    }

    /// API v2.0 had ended when Carport ran last. The next call looks whether that is so still.
    pub fn recall_end(&self) {
        let error = SmartcarError::ended("v2.0");
        locked(&self.shared.end.0).get_or_insert(Told { error, again_at: Instant::now() });
    }

    /// The next call may look whether API v2.0 has really ended.
    pub(super) fn doubt_end(&self) {
        if let Some(told) = locked(&self.shared.end.0).as_mut() {
            told.again_at = Instant::now();
            self.shared.news.notify_one();
        }
    }
}

/// How often an API that has ended is asked all the same.
const AGAIN: Duration = Duration::from_secs(3600);

/// How long it is not asked again by whoever wants to know.
const BARELY: Duration = Duration::from_secs(60);

//! Calling Smartcar with an access token.

use super::gate::generation;
use super::{Access, TokenError, Tokens};
use crate::budget::Refused;
use crate::model::token::Generation;
use crate::model::{ConnectionId, Secret, VehicleId};
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

/// What API v2.0 is asked most often: the vehicles that an account opens to us.
pub async fn vehicles_of(smartcar: Smartcar, access: Secret) -> Result<Vec<VehicleId>, SmartcarError> {
    smartcar.vehicles(&access).await
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

    pub(super) async fn call_with<T, F>(
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
            && !matches!(vehicles_of(smartcar.clone(), access.token.clone()).await, Err(SmartcarError::Ended { .. }))
        {
            // One answer may be a mistake, or be about one path only.
            result = Err(SmartcarError::NotPossible { what: what.clone() });
        }
        if generation(connection) == Generation::V2 {
            self.hear(&result);
        }
        Ok(result?)
    }

    /// Refuses what would be asked of an API that has ended: before a call is counted.
    pub fn may_call(&self, connection: ConnectionId) -> Result<(), CallError> {
        if generation(connection) == Generation::V2 { self.may_call_v2() } else { Ok(()) }
    }

    /// As [`Tokens::may_call`], for what asks API v2.0 about no connection.
    pub fn may_call_v2(&self) -> Result<(), CallError> {
        self.shared.end.bars(false).map_or(Ok(()), |error| Err(error.into()))
    }
}

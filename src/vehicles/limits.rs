//! Smartcar's limits: what a call met of them is kept in the ledger, and told as the ledger tells it to whoever asks next.

use super::Shared;
use crate::budget::Refused;
use crate::model::budget::Permit;
use crate::model::{ConnectionId, Secret};
use crate::smartcar::{Smartcar, SmartcarError};
use crate::tokens::CallError;

/// Whether something is asked while Smartcar wants the whole application to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// It can wait.
    CanWait,
    /// It is tried all the same: what a car's end needs.
    Urgent,
}

impl Shared {
    /// Asks Smartcar without a permit, about the vehicle in row `row` or about none (`APPLICATION`).
    pub(super) async fn ask<T, F>(
        &self,
        (row, urgency): (u32, Urgency),
        connection: ConnectionId,
        call: impl Fn(Smartcar, Secret) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, SmartcarError>>,
    {
        if urgency == Urgency::CanWait {
            self.budget.may_ask().await?;
        }
        let result = self.tokens.call(connection, call).await;
        if let Err(CallError::Smartcar(error)) = &result {
            self.budget.hear(row, error).await;
            if let Some(refused) = self.budget.refusal(row, error).await {
                return Err(refused.into());
            }
        }
        result
    }

    /// Keeps what a permitted call has cost and taught.
    pub(super) async fn settle<T>(&self, permit: &Permit, result: &Result<T, CallError>) {
        let error = match result {
            Err(CallError::Smartcar(error)) => Some(error),
            _ => None,
        };
        self.budget.settle(permit, error).await;
    }

    /// The limit of Smartcar's own that a call ran into.
    pub(super) async fn refusal(&self, row: u32, error: &CallError) -> Option<Refused> {
        match error {
            CallError::Smartcar(error) => self.budget.refusal(row, error).await,
            _ => None,
        }
    }
}

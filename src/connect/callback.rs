//! What a browser, or an app's front end, brings back from Smartcar.

use super::{Connect, ConnectError, Shared, hash};
use crate::model::journey::Attempt;
use crate::model::{AppUserId, Secret};
use crate::store::attempts::TakeAttempt;

/// What the browser came back with.
#[derive(Debug)]
pub struct Callback {
    /// The state; without it nothing counts.
    pub state: Option<Secret>,
    /// What happened at Smartcar.
    pub outcome: CallbackOutcome,
}

/// What happened at Smartcar, by the redirect.
#[derive(Debug)]
pub enum CallbackOutcome {
    /// The owner agreed. At least one of the three is there.
    Agreed {
        /// An authorization code (v2).
        code: Option<Secret>,
        /// A Smartcar user (v3); unproven until `/connections` confirms it.
        user_id: Option<String>,
        /// A re-authenticated vehicle.
        vehicle_id: Option<String>,
        /// Tesla: where the owner adds the virtual key.
        virtual_key_url: Option<String>,
    },
    /// An error, in Smartcar's words.
    Refused {
        /// Such as `access_denied`; unknown values are shown, not dropped.
        error: String,
        /// Smartcar's explanation.
        description: Option<String>,
        /// `vehicle_incompatible`: what the owner let Smartcar tell, such as `2019 Lada Niva`. Never the VIN.
        vehicle: Option<String>,
    },
}

impl Connect {
    /// Whether a callback belongs to an attempt of this browser. Takes nothing.
    pub async fn expects(&self, callback: &Callback, browser: Option<&str>) -> Result<bool, ConnectError> {
        let (Some(state), Some(browser)) = (&callback.state, browser) else { return Ok(false) };
        let (state, browser) = (hash(state.expose()), hash(browser));
        let attempt = self.shared.store.read(move |snapshot| snapshot.attempt(state)).await?;
        Ok(attempt.is_some_and(|attempt| attempt.browser == Some(browser)))
    }
}

impl Shared {
    /// Takes an attempt, once; one that does not fit stays for whom it belongs to.
    pub(super) async fn take(
        &self,
        state: &Secret,
        browser: Option<[u8; 32]>,
        user: Option<AppUserId>,
        redirect_uri: Option<String>,
    ) -> Result<Attempt, ConnectError> {
        let hash = hash(state.expose());
        let taken = TakeAttempt { hash, browser, user, redirect_uri, at: self.world.now() };
        // SECURITY: what a stranger makes up is looked for and not written: it would wear out the card.
        let attempt = self.store.read(move |snapshot| snapshot.attempt(hash)).await?;
        if !attempt.is_some_and(|attempt| taken.fits(&attempt)) {
            return Err(ConnectError::UnknownState);
        }
        self.store.commit(taken).await?.ok_or(ConnectError::UnknownState)
    }
}

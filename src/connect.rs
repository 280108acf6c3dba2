//! The owner's journey: invite, attempt, callback, linked vehicles.
//!
//! An invite is spent only by a completed connection. A state is single-use, ten minutes old at most,
//! and belongs to one browser. What Smartcar's redirect says counts only with such a state, and a
//! `user_id` only after `/connections` confirmed it.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use url::Url;

use crate::model::{AppUserId, ConnectionId, Secret, Timestamp, VehicleId};

/// What an invite is for.
#[derive(Clone, Debug)]
pub struct InviteRequest {
    /// The owner who will connect.
    pub user: AppUserId,
    /// Make the user if there is none; else an unknown user is an error.
    pub create: bool,
    /// How long the invite may be used.
    pub expires_in: Duration,
    /// Re-authenticate this vehicle instead of connecting.
    pub vehicle: Option<VehicleId>,
    /// `live` or `simulated`, if other than configured.
    pub mode: Option<String>,
    /// Permissions, if other than configured.
    pub scope: Option<Vec<String>>,
    /// Skips the choice of brand.
    pub make: Option<String>,
    /// Shows the permission screen again.
    pub force: bool,
    /// A registered redirect URI of an app: the answer then has `authorize_url` and `state`.
    pub redirect_uri: Option<String>,
}

/// An invite.
#[derive(Clone, Debug, Serialize)]
pub struct Invite {
    /// The link to give to the owner.
    pub url: String,
    /// Until when it may be used.
    pub expires_at: Timestamp,
    /// Where the app's SDK sends the owner, when a redirect URI was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorize_url: Option<String>,
    /// The state in it, to be handed back to `exchange`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// An attempt that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Where to send the browser.
    pub authorize_url: Url,
    /// The value of the cookie that binds the attempt to this browser.
    pub browser: Secret,
}

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

/// A completed connection.
#[derive(Clone, Debug, Serialize)]
pub struct Linked {
    /// Our id of the connection.
    pub connection: ConnectionId,
    /// The owner.
    pub user: AppUserId,
    /// Its vehicles.
    pub vehicles: Vec<LinkedVehicle>,
    /// Tesla: where the owner adds the virtual key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_key_url: Option<String>,
}

/// A vehicle, as named on the closing page.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct LinkedVehicle {
    /// Smartcar's id.
    pub id: VehicleId,
    /// Such as `2023 VOLKSWAGEN ID.4`.
    pub name: String,
}

/// How the journey of a browser ended: for the closing page, `/connect/{invite}/done`.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub enum Ending {
    /// Connected.
    Connected {
        /// The vehicles.
        vehicles: Vec<LinkedVehicle>,
        /// Tesla: where the owner adds the virtual key.
        virtual_key_url: Option<String>,
    },
    /// Not connected; the invite can be used again.
    Failed {
        /// The contract's or Smartcar's code, such as `access_denied`.
        code: String,
        /// In plain words, for the owner.
        sentence: String,
    },
    /// The link has not been used yet.
    NotYet,
}

/// An app hands over what its front end received.
#[derive(Debug)]
pub struct Exchange {
    /// The owner; a `control` token vouches for it. `None`: whom the state belongs to.
    pub user: Option<AppUserId>,
    /// The state; must be there unless the caller may vouch for `user`.
    pub state: Option<Secret>,
    /// What the front end received.
    pub outcome: CallbackOutcome,
    /// The redirect URI that the front end used; must be configured.
    pub redirect_uri: Option<String>,
    /// Whether the caller's token may vouch for `user` without a state (`control` and above).
    pub vouched: bool,
}

/// Why a journey did not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No such invite, or it has expired.
    #[error("this link is unknown or has expired: ask for a new one")]
    UnknownInvite,
    /// The invite led to a connection before.
    #[error("this link has been used: the connection is made")]
    SpentInvite,
    /// No such user, and it was not asked to be made.
    #[error("there is no user of that id: create it first")]
    UnknownUser,
    /// No such vehicle, or it is not the user's.
    #[error("there is no such vehicle")]
    UnknownVehicle,
    /// The state is missing.
    #[error("start from a Carport link")]
    NoState,
    /// The state is unknown, expired, used, or of another browser.
    #[error("this attempt is unknown or has expired: start again from the Carport link")]
    UnknownState,
    /// The redirect URI is not one of the configured.
    #[error("the redirect URI is not configured: add it to smartcar.redirect_uris")]
    UnknownRedirectUri,
    /// The request lacks something.
    #[error("{0}")]
    BadRequest(&'static str),
    /// Smartcar's redirect was an error.
    #[error("{sentence}")]
    Refused {
        /// Smartcar's word.
        code: String,
        /// In plain words.
        sentence: String,
    },
    /// `/connections` does not confirm the Smartcar user, or it is another owner's.
    #[error("Smartcar does not confirm this account for this user: start again from the Carport link")]
    Unconfirmed,
    /// Carport lacks credentials.
    #[error("{0}")]
    NotConfigured(String),
    /// Smartcar did not do what was asked.
    #[error("Smartcar: {0}")]
    Upstream(String),
    /// The store is in trouble.
    #[error("the store cannot take it now")]
    Store,
}

/// The owner's journey. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connect {
    shared: Arc<()>,
}

impl Connect {
    /// Makes an invite.
    pub async fn invite(&self, request: InviteRequest) -> Result<Invite, ConnectError> {
        let _ = (&self.shared, request);
        todo!()
    }

    /// Opens an invite in a browser: a new attempt, bound to it.
    pub async fn begin(&self, invite: &str) -> Result<Begun, ConnectError> {
        let _ = invite;
        todo!()
    }

    /// The browser came back. `Ok` is the invite whose closing page tells the rest, whatever happened at
    /// Smartcar; `Err` means that there is no attempt of this browser.
    pub async fn finish(&self, callback: Callback, browser: Option<&str>) -> Result<String, ConnectError> {
        let _ = (callback, browser);
        todo!()
    }

    /// What the closing page of an invite says.
    pub async fn ending(&self, invite: &str) -> Result<Ending, ConnectError> {
        let _ = invite;
        todo!()
    }

    /// Completes a connection for an app.
    pub async fn exchange(&self, exchange: Exchange) -> Result<Linked, ConnectError> {
        let _ = exchange;
        todo!()
    }
}

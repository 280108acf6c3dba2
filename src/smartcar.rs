//! The client of Smartcar: Connect's addresses, both token endpoints, and the calls of both APIs.
//!
//! One method is one question to Smartcar (or, where a list has pages, one list). Nothing is retried and
//! nothing is kept: that is left to the rooms above. What an answer means for the caller is in
//! [`SmartcarError`], decided from Smartcar's own words rather than from the HTTP status alone. Whatever
//! comes back, no answer can make a method panic, and no text of an answer reaches an error.

use std::fmt;
use std::sync::Arc;

use crate::model::token::Generation;
use crate::model::{Current, Secret};
use crate::world::Transport;

mod authorize;
mod call;
mod commands;
mod error;
mod grant;
mod limits;
mod meaning;
mod said;
#[cfg(test)]
mod script;
mod subscribe;
pub mod sunset;
mod v2;
mod v3;

pub use authorize::{Authorize, is_known_permission, nearest_permission};
pub use call::{PATIENCE, TOKEN, UNSAID};
pub use commands::{HandedOn, Told};
pub use error::{Failure, SmartcarError, in_two};
pub use grant::{Granted, REFRESH};
pub use limits::Read;
pub use meaning::tells_the_end;
pub use subscribe::{SmartcarWebhook, is_subscribed};
pub use v3::{Beyond, ConnectionFilter, SmartcarConnection};

/// What the client must know of the application at Smartcar.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connect's `client_id`; by default that of the v2 credentials.
    pub application_id: Option<String>,
    /// Of the authorization-code flow.
    pub v2: Option<Credentials>,
    /// Of the client-credentials flow.
    pub v3: Option<Credentials>,
    /// The application management token.
    pub management_token: Option<Secret>,
    /// The permissions to ask owners for.
    pub scope: Scope,
    /// Whether an owner may choose one vehicle only.
    pub single_select: bool,
    /// Where Smartcar is.
    pub origins: Origins,
}

impl Settings {
    /// What goes to Connect as `client_id`.
    pub fn application_id(&self) -> Option<&str> {
        let named = self.application_id.as_deref();
        named.or_else(|| self.v2.as_ref().map(|credentials| credentials.client_id.as_str()))
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            application_id: None,
            v2: None,
            v3: None,
            management_token: None,
            scope: Scope::Dashboard,
            single_select: false,
            origins: Origins::default(),
        }
    }
}

/// A client id and its secret.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The client id.
    pub client_id: String,
    /// The client secret.
    pub client_secret: Secret,
}

/// The permissions to ask owners for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those chosen in Smartcar's dashboard.
    Dashboard,
    /// These, each perhaps with the prefix `required:`.
    List(Vec<String>),
}

/// Where Smartcar is. An origin may have a path; a slash at its end does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    /// Connect, where owners go.
    pub connect: String,
    /// The token endpoint of the authorization-code flow. The whole address of it will do as well: one
    /// official SDK wants it like that in the same variable.
    pub auth: String,
    /// The token endpoint of the client-credentials flow.
    pub iam: String,
    /// API v2.0.
    pub api: String,
    /// API v3.
    pub vehicle: String,
    /// Management API v2.0.
    pub management: String,
    /// Management API v3.
    pub management_v3: String,
}

impl Default for Origins {
    fn default() -> Origins {
        Origins {
            connect: "https://connect.smartcar.com".to_owned(),
            auth: "https://auth.smartcar.com".to_owned(),
            iam: "https://iam.smartcar.com".to_owned(),
            api: "https://api.smartcar.com".to_owned(),
            vehicle: "https://vehicle.api.smartcar.com".to_owned(),
            management: "https://management.smartcar.com".to_owned(),
            management_v3: "https://management.api.smartcar.com".to_owned(),
        }
    }
}

/// Reads the client secret of a generation where it was read first; `None` if it cannot change while Carport runs.
pub type Reread = Arc<dyn Fn(Generation) -> Option<Secret> + Send + Sync>;

/// Whether a call to an endpoint is made with a permit, that is, was counted before.
pub fn needs_permit(endpoint: &str) -> bool {
    let of_vehicle = matches!(endpoint, "v2.batch" | "v2.history" | "v3.signals" | "v3.signal" | "v2.command" | "v3.command");
    of_vehicle || matches!(endpoint, "v2.compatibility" | "v3.forward")
}

/// Told of every exchange: the endpoint's name and the HTTP status, 0 if no answer came.
pub type Observer = Arc<dyn Fn(&'static str, u16) + Send + Sync>;

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct Smartcar {
    transport: Arc<dyn Transport>,
    settings: Current<Settings>,
    observer: Option<Observer>,
    reread: Option<Reread>,
}

impl Smartcar {
    /// A client of the application that `settings` describe.
    pub fn new(transport: Arc<dyn Transport>, settings: Settings) -> Smartcar {
        Smartcar { transport, settings: Current::new(settings), observer: None, reread: None }
    }

    /// The same client, with `observer` told of every exchange.
    pub fn observed(mut self, observer: Observer) -> Smartcar {
        self.observer = Some(observer);
        self
    }

    /// The same client, that finds changed client secrets with `reread`.
    pub fn rereading(mut self, reread: Reread) -> Smartcar {
        self.reread = Some(reread);
        self
    }

    /// Reads the client secret of a generation again; whether it has changed.
    pub fn reread(&self, generation: Generation) -> bool {
        let Some(read) = self.reread.as_ref().and_then(|reread| reread(generation)) else { return false };
        let has_changed = self.credentials(generation).is_some_and(|known| known.client_secret.expose() != read.expose());
        if has_changed {
            self.replace_secret(generation, &read);
        }
        has_changed
    }

    /// Puts another client secret in the place of a generation's.
    fn replace_secret(&self, generation: Generation, secret: &Secret) {
        self.settings.change(|settings| {
            let mut settings = settings.clone();
            let credentials = match generation {
                Generation::V2 => &mut settings.v2,
                Generation::V3 => &mut settings.v3,
            };
            if let Some(credentials) = credentials {
                credentials.client_secret = secret.clone();
            }
            settings
        });
    }

    /// Is the client of another application, or of the same by other credentials, from now on.
    pub fn replace_settings(&self, settings: Settings) {
        self.settings.replace(settings);
    }

    /// The credentials of a generation, as they are now.
    fn credentials(&self, generation: Generation) -> Option<Credentials> {
        let settings = self.settings();
        match generation {
            Generation::V2 => settings.v2.clone(),
            Generation::V3 => settings.v3.clone(),
        }
    }

    /// The settings, as they are now.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.get()
    }
}

impl fmt::Debug for Smartcar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smartcar").field("settings", &self.settings).finish_non_exhaustive()
    }
}

//! The owner's journey: invite, attempt, callback, linked vehicles.
//!
//! An invite is spent only by a completed connection. A state is single-use, ten minutes old at most,
//! and belongs to one browser. What Smartcar's redirect says counts only with such a state, and a
//! `user_id` only after `/connections` confirmed it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::model::journey::{Attempt, Invite as KeptInvite, Terms};
use crate::model::user::User;
use crate::model::{AppUserId, ConnectionId, Current, Secret, Timestamp, VehicleId};
use crate::projector::Projector;
use crate::smartcar::{Authorize, Smartcar};
use crate::store::Store;
use crate::store::attempts::{EndTrip, OpenAttempt, PutInvite};
use crate::store::users::{PutUser, When};
use crate::tokens::Tokens;
use crate::world::World;

mod again;
mod arriving;
mod callback;
mod error;
mod linking;
mod migrating;
mod settings;
mod words;

pub use crate::model::journey::{Ending, LinkedVehicle};
use again::Way;
pub use arriving::{Adopted, Adoption, Imported};
pub use callback::{Callback, CallbackOutcome};
pub use error::ConnectError;
pub use migrating::{Migrate, Migration, Moved};
pub use settings::Settings;

/// What an invite is for.
#[derive(Clone, Debug)]
pub struct InviteRequest {
    /// The owner who will connect.
    pub user: AppUserId,
    /// Make the user if there is none; else an unknown user is an error.
    pub create: bool,
    /// How long the invite may be used.
    pub expires_in: Duration,
    /// Re-authenticate this vehicle instead of connecting; with any of the terms below, connect its account again.
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
    /// Whether cars of the owner's have come from v3 to v2.0 by it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub left_v3: bool,
}

/// A trip through Connect that came back.
#[derive(Debug)]
pub struct Finished {
    /// The invite that it began with.
    pub invite: String,
    /// What it led to; `None` if to nothing.
    pub linked: Option<Linked>,
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

/// The owner's journey. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connect {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Current<Settings>,
    store: Store,
    tokens: Tokens,
    smartcar: Smartcar,
    projector: Projector,
    world: World,
    linked: Arc<Notify>,
    /// Connections whose vehicles are being asked for.
    learning: Mutex<HashSet<ConnectionId>>,
    /// A connection has its tokens and not yet its vehicles.
    half_done: Notify,
}

impl Connect {
    /// The journey over `store`. `linked` wakes whoever reads first pictures of vehicles.
    pub fn new(
        settings: Settings,
        store: Store,
        tokens: Tokens,
        smartcar: Smartcar,
        projector: Projector,
        world: World,
        linked: Arc<Notify>,
    ) -> Connect {
        Connect {
            shared: Arc::new(Shared {
                settings: Current::new(settings),
                store,
                tokens,
                smartcar,
                projector,
                world,
                linked,
                learning: Mutex::default(),
                half_done: Notify::new(),
            }),
        }
    }

    /// Makes an invite.
    pub async fn invite(&self, request: InviteRequest) -> Result<Invite, ConnectError> {
        let shared = &self.shared;
        let InviteRequest { user, create, expires_in, vehicle, mode, scope, make, force, redirect_uri } = request;
        let settings = shared.settings.get();
        shared.may_be_user(&user, create).await?;
        if let Some(vehicle) = vehicle.clone() {
            let owner =
                shared.store.read(move |snapshot| Ok(snapshot.vehicle(&vehicle)?.map(|(_, vehicle)| vehicle.user))).await?;
            match owner {
                None => return Err(ConnectError::UnknownVehicle),
                Some(owner) if owner != user => return Err(ConnectError::OtherUsers),
                Some(_) => {}
            }
        }
        let (link, at) = (shared.world.random_key(), shared.world.now());
        let terms = Terms { vehicle, mode, scope, make, force };
        let expires_at = at.after(expires_in);
        // Credentials that are missing show now, not to the owner later.
        let (asked, way) = shared.way(terms.clone()).await?;
        shared.authorize_url(&asked, way, &user, &settings.redirect_uri, "check")?;
        let invite = KeptInvite { user: user.clone(), terms: terms.clone(), expires_at, spent: false, ending: Ending::NotYet };
        if redirect_uri.as_ref().is_some_and(|uri| !settings.redirect_uris.contains(uri)) {
            // Not even the browser callback: it takes no attempt of an app.
            return Err(ConnectError::UnknownRedirectUri);
        }
        // Last: what is refused leaves no user behind.
        shared.user(&user, create).await?;
        shared.store.commit(PutInvite { hash: hash(&link), invite, at }).await?;
        let app = match redirect_uri {
            Some(redirect_uri) => Some(shared.open_attempt(Some(link.clone()), user, terms, redirect_uri, None).await?),
            None => None,
        };
        let (authorize_url, state) = app.map_or((None, None), |(url, state)| (Some(url.to_string()), Some(state)));
        Ok(Invite { url: format!("{}/connect/{link}", settings.public_url), expires_at, authorize_url, state })
    }

    /// Opens an invite in a browser: a new attempt, bound to it.
    pub async fn begin(&self, link: &str) -> Result<Begun, ConnectError> {
        let shared = &self.shared;
        let invite = shared.kept_invite(link).await?;
        if invite.spent {
            return Err(ConnectError::SpentInvite);
        }
        if invite.expires_at <= shared.world.now() {
            return Err(ConnectError::UnknownInvite);
        }
        shared.user(&invite.user, false).await?;
        let browser = shared.world.random_key();
        let redirect_uri = shared.settings.get().redirect_uri.clone();
        let (authorize_url, _) =
            shared.open_attempt(Some(link.to_owned()), invite.user, invite.terms, redirect_uri, Some(hash(&browser))).await?;
        Ok(Begun { authorize_url, browser: Secret::new(browser) })
    }

    /// The browser came back. `Ok` has the invite whose closing page tells the rest, whatever happened at
    /// Smartcar; `Err` means that there is no attempt of this browser.
    pub async fn finish(&self, callback: Callback, browser: Option<&str>) -> Result<Finished, ConnectError> {
        let state = callback.state.ok_or(ConnectError::NoState)?;
        // An app's attempt has no browser, and does not come back here.
        let browser = hash(browser.ok_or(ConnectError::UnknownState)?);
        let shared = self.shared.clone();
        self.to_the_end(async move {
            let attempt = shared.take(&state, Some(browser), None, None).await?;
            let link = attempt.invite.clone().ok_or(ConnectError::UnknownState)?;
            if shared.kept_invite(&link).await?.spent {
                // SECURITY: an attempt that began before the invite was spent must not spend it again.
                return Ok(Finished { invite: link, linked: None });
            }
            let completed = linking::complete(shared.clone(), attempt, callback.outcome).await;
            let ending = match &completed {
                Ok(linked) => linked.ending(),
                Err(error) => {
                    let (code, why) = (error.code(), error.for_operator());
                    tracing::warn!(code, why = why.as_deref(), "a trip through Connect did not lead to a connection");
                    words::ending(error)
                }
            };
            shared.store.commit(EndTrip { hash: hash(&link), ending }).await?;
            Ok(Finished { invite: link, linked: completed.ok() })
        })
        .await
    }

    /// What the closing page of an invite says.
    pub async fn ending(&self, link: &str) -> Result<Ending, ConnectError> {
        let shared = &self.shared;
        let invite = shared.kept_invite(link).await?;
        if invite.expires_at.after(CLOSING) <= shared.world.now() {
            return Err(ConnectError::UnknownInvite);
        }
        Ok(invite.ending)
    }

    /// Completes a connection for an app.
    pub async fn exchange(&self, exchange: Exchange) -> Result<Linked, ConnectError> {
        exchange.redirect_uri.as_deref().map_or(Ok(()), |uri| self.shared.check_redirect_uri(uri))?;
        let shared = self.shared.clone();
        self.to_the_end(async move {
            let attempt = match &exchange.state {
                // SECURITY: a state of another user would link that user's attempt to this caller's car.
                Some(state) => shared.take(state, None, exchange.user.clone(), exchange.redirect_uri.clone()).await?,
                None if exchange.vouched => shared.vouched(&exchange).await?,
                None => return Err(ConnectError::NoState),
            };
            let link = attempt.invite.clone();
            if let Some(link) = &link
                && shared.kept_invite(link).await?.spent
            {
                return Err(ConnectError::SpentInvite);
            }
            let linked = linking::complete(shared.clone(), attempt, exchange.outcome).await?;
            if let Some(link) = link {
                shared.store.commit(EndTrip { hash: hash(&link), ending: linked.ending() }).await?;
            }
            Ok(linked)
        })
        .await
    }

    /// Runs in a task of its own: a browser that goes away must not leave its owner half connected.
    async fn to_the_end<T: Send + 'static>(
        &self,
        trip: impl Future<Output = Result<T, ConnectError>> + Send + 'static,
    ) -> Result<T, ConnectError> {
        let task = self.shared.tokens.tasks().spawn(trip);
        task.await.unwrap_or_else(|_| Err(ConnectError::Upstream("the connection was cut off".to_owned())))
    }

    /// Completes connections whose tokens were kept but whose vehicles were not linked, because of a crash
    /// or because Smartcar did not answer; until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut wait = HEAL_SOON;
        loop {
            let is_done = tokio::select! {
                () = shutdown.cancelled() => return,
                is_done = linking::heal(&self.shared) => is_done,
            };
            wait = if is_done { HEAL_EVERY } else { (2 * wait).min(HEAL_EVERY) };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.shared.half_done.notified() => wait = HEAL_SOON,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

impl Shared {
    async fn kept_invite(&self, link: &str) -> Result<KeptInvite, ConnectError> {
        let hash = hash(link);
        self.store.read(move |snapshot| snapshot.invite(hash)).await?.ok_or(ConnectError::UnknownInvite)
    }

    /// The attempt of a caller who may vouch for the user, in place of a state.
    async fn vouched(&self, exchange: &Exchange) -> Result<Attempt, ConnectError> {
        let user = exchange.user.clone().ok_or(ConnectError::BadRequest("`user` is needed when there is no `state`"))?;
        self.user(&user, false).await?;
        let vehicle = match &exchange.outcome {
            CallbackOutcome::Agreed { vehicle_id, .. } => vehicle_id.clone().map(VehicleId::new),
            CallbackOutcome::Refused { .. } => None,
        };
        Ok(Attempt {
            invite: None,
            user,
            terms: Terms { vehicle, ..Terms::default() },
            redirect_uri: exchange.redirect_uri.clone().unwrap_or_else(|| self.settings.get().redirect_uri.clone()),
            single_select: self.smartcar.settings().single_select,
            browser: None,
            expires_at: self.world.now(),
        })
    }

    /// Whether there is a user of that id; if not, whether one may be made.
    async fn may_be_user(&self, id: &AppUserId, create: bool) -> Result<bool, ConnectError> {
        let wanted = id.clone();
        if self.store.read(move |snapshot| snapshot.user(&wanted)).await?.is_some() {
            return Ok(true);
        }
        if !create {
            return Err(ConnectError::UnknownUser);
        }
        if !User::is_good_id(id.as_str()) {
            return Err(ConnectError::BadRequest(User::ID_RULE));
        }
        Ok(false)
    }

    /// Makes sure that there is a user of that id.
    async fn user(&self, id: &AppUserId, create: bool) -> Result<(), ConnectError> {
        if self.may_be_user(id, create).await? {
            return Ok(());
        }
        let user = User { id: id.clone(), name: None, email: None, created_at: self.world.now() };
        self.store.commit(PutUser { user, when: When::New }).await?;
        Ok(())
    }

    async fn open_attempt(
        &self,
        invite: Option<String>,
        user: AppUserId,
        terms: Terms,
        redirect_uri: String,
        browser: Option<[u8; 32]>,
    ) -> Result<(Url, String), ConnectError> {
        let (state, at) = (self.world.random_key(), self.world.now());
        let (terms, way) = self.way(terms).await?;
        let url = self.authorize_url(&terms, way, &user, &redirect_uri, &state)?;
        let single_select = way == Way::Connect { single_select: true };
        let attempt = Attempt { invite, user, terms, redirect_uri, single_select, browser, expires_at: at.after(ATTEMPT) };
        self.store.commit(OpenAttempt { hash: hash(&state), attempt, at }).await?;
        Ok((url, state))
    }

    fn authorize_url(
        &self,
        terms: &Terms,
        way: Way,
        user: &AppUserId,
        redirect_uri: &str,
        state: &str,
    ) -> Result<Url, ConnectError> {
        let single_select = match (way, &terms.vehicle) {
            (Way::Connect { single_select }, _) => Some(single_select),
            (Way::SignIn, None) => None,
            (Way::SignIn, Some(vehicle)) => {
                return Ok(self.smartcar.reauthenticate_url(vehicle, Some(redirect_uri), state, Some(user.as_str()))?);
            }
        };
        let authorize = Authorize {
            redirect_uri: Some(redirect_uri.to_owned()),
            state: state.to_owned(),
            scope: terms.scope.clone(),
            mode: terms.mode.clone().or_else(|| self.settings.get().mode.clone()),
            make: terms.make.clone(),
            force: terms.force,
            single_select,
            external_id: Some(user.as_str().to_owned()),
            ..Authorize::default()
        };
        Ok(self.smartcar.connect_url(&authorize)?)
    }

    fn check_redirect_uri(&self, uri: &str) -> Result<(), ConnectError> {
        let Settings { redirect_uri, redirect_uris, .. } = &*self.settings.get();
        // Compared whole: a registered prefix is no permission.
        if uri == redirect_uri || redirect_uris.iter().any(|known| known == uri) {
            Ok(())
        } else {
            Err(ConnectError::UnknownRedirectUri)
        }
    }
}

/// How long the callback of an attempt is accepted.
const ATTEMPT: Duration = Duration::from_secs(600);

/// How long the closing page outlives its invite.
const CLOSING: Duration = Duration::from_secs(3600);

/// How soon the first look comes at a connection that was left half done; the next ones come ever later.
const HEAL_SOON: Duration = Duration::from_secs(8);

/// How often connections are looked for that were left half done.
const HEAL_EVERY: Duration = Duration::from_secs(300);

/// The secrets are 256 random bits, so that a plain hash is all they need.
fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

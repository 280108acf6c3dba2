//! Who may: API tokens, sign-in links, a password, and sessions. All are kept as hashes only.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::password::{Crowded, Passwords};
use crate::model::access::PasswordHash;
use crate::model::access::{ApiToken, Session};
use crate::model::audit::Actor;
use crate::model::reach::Reach;
use crate::model::{AppUserId, Secret, Timestamp, VehicleId};
use crate::store::access::{
    PutApiToken, PutSignInLink, RevokeApiToken, RevokeSession, SetPassword, SignIn, SignInByPassword, TouchSession,
};
use crate::store::{Store, StoreError};
use crate::world::World;

pub use crate::model::access::Scope;

/// Who is calling.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What it may do.
    pub scope: Scope,
    /// What it may see.
    pub reach: Reach,
    /// Who it is.
    pub actor: Actor,
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// Only for this user.
    pub user: Option<AppUserId>,
    /// Only for this vehicle.
    pub vehicle: Option<VehicleId>,
    /// For how long; `None`: until it is revoked.
    pub expires_in: Option<Duration>,
}

/// A token, as shown; never the secret.
pub type TokenView = ApiToken;

/// A session, as shown.
pub type SessionView = Session;

/// Why access cannot be given or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// Unknown, expired or revoked.
    #[error("unknown, expired or revoked")]
    Unknown,
    /// A token may be bound to a user or to a vehicle; `connect` must be bound to a user.
    #[error("{0}")]
    BadRequest(&'static str),
    /// Too many try passwords at this moment.
    #[error("too many sign in by password at this moment: try again in a moment, or use a link of `carport login`")]
    Crowded,
    /// The store is in trouble.
    #[error("the store cannot take it now")]
    Store,
}

impl From<Crowded> for AccessError {
    fn from(_: Crowded) -> AccessError {
        AccessError::Crowded
    }
}

impl From<StoreError> for AccessError {
    fn from(_: StoreError) -> AccessError {
        AccessError::Store
    }
}

/// That somebody knew the password.
#[derive(Clone, Debug)]
pub struct Proven(PasswordHash);

/// How long sessions last.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Without being used.
    pub idle: Duration,
    /// In any case.
    pub max: Duration,
}

/// Tokens, sign-in links and sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Access {
    settings: Settings,
    store: Store,
    world: World,
    passwords: Passwords,
}

/// What API tokens begin with, so that scanners for leaked secrets know them.
const PREFIX: &str = "carport_";

impl Access {
    /// Who may do what, by `store`.
    pub fn new(settings: Settings, store: Store, world: World) -> Access {
        Access { settings, store, world, passwords: Passwords::new() }
    }

    /// Who holds this bearer token (`carport_...`)?
    pub async fn bearer(&self, token: &str) -> Result<Caller, AccessError> {
        let hash = hash(token.strip_prefix(PREFIX).ok_or(AccessError::Unknown)?);
        let token = self.store.read(move |snapshot| snapshot.api_token(hash)).await?.ok_or(AccessError::Unknown)?;
        if token.expires_at.is_some_and(|expires_at| expires_at <= self.world.now()) {
            return Err(AccessError::Unknown);
        }
        let reach = match (token.vehicle, token.user) {
            (Some(vehicle), _) => Reach::Vehicle(vehicle),
            (None, Some(user)) => Reach::User(user),
            (None, None) => Reach::All,
        };
        Ok(Caller { scope: token.scope, reach, actor: Actor::Token { id: token.id, name: token.name } })
    }

    /// Whose session is this cookie?
    pub async fn session(&self, cookie: &str) -> Result<Caller, AccessError> {
        let (hash, now) = (hash(cookie), self.world.now());
        let session = self.store.read(move |snapshot| snapshot.session(hash)).await?.ok_or(AccessError::Unknown)?;
        if !self.is_alive(&session) {
            return Err(AccessError::Unknown);
        }
        if now.since(session.last_seen_at) > (self.settings.idle / 4).min(Duration::from_secs(3600)) {
            // Only for the list of sessions and their idle end: the caller is who it is all the same.
            let _ = self.store.commit(TouchSession { hash, at: now }).await;
        }
        Ok(Caller { scope: Scope::Admin, reach: Reach::All, actor: Actor::Session { id: session.id } })
    }

    /// Whether somebody who was let in still may: the token is not revoked, the session not ended.
    pub async fn still_may(&self, caller: &Caller) -> Result<bool, AccessError> {
        let now = self.world.now();
        Ok(match &caller.actor {
            Actor::Token { id, .. } => {
                let lasts = |token: &TokenView| token.id == *id && token.expires_at.is_none_or(|expires_at| expires_at > now);
                self.tokens().await?.iter().any(lasts)
            }
            Actor::Session { id } => self.sessions().await?.iter().any(|session| session.id == *id),
            _ => true,
        })
    }

    /// Makes a token; the secret is shown once.
    pub async fn create_token(&self, request: TokenRequest) -> Result<(TokenView, Secret), AccessError> {
        let TokenRequest { name, scope, user, vehicle, expires_in } = request;
        let fault = match (scope, &user, &vehicle) {
            _ if name.trim().is_empty() || name.chars().count() > 100 => Some("a token needs a name of 1 to 100 characters"),
            (_, Some(_), Some(_)) => Some("a token is bound to a user or to a vehicle, not to both"),
            (Scope::Connect, None, _) => Some("a connect token must be bound to a user"),
            (Scope::Admin | Scope::Metrics, user, vehicle) if user.is_some() || vehicle.is_some() => {
                Some("a token of this scope cannot be bound: leave user and vehicle out, or take read, control or connect")
            }
            _ => None,
        };
        if let Some(fault) = fault {
            return Err(AccessError::BadRequest(fault));
        }
        let (bound_user, bound_vehicle) = (user.clone(), vehicle.clone());
        let (user_is_there, vehicle_is_there) = self
            .store
            .read(move |snapshot| {
                let user = bound_user.map_or(Ok(true), |id| snapshot.user(&id).map(|user| user.is_some()))?;
                let vehicle = bound_vehicle.map_or(Ok(true), |id| snapshot.vehicle(&id).map(|vehicle| vehicle.is_some()))?;
                Ok((user, vehicle))
            })
            .await?;
        if !user_is_there {
            return Err(AccessError::BadRequest("there is no user of that id: add it first (carport users add)"));
        }
        if !vehicle_is_there {
            return Err(AccessError::BadRequest("there is no vehicle of that id"));
        }
        let (secret, now) = (self.world.random_key(), self.world.now());
        let id = self.world.uuid().to_string();
        let expires_at = expires_in.map(|life| now.after(life));
        let token = ApiToken { id, name, scope, user, vehicle, created_at: now, expires_at };
        self.store.commit(PutApiToken { hash: hash(&secret), token: token.clone() }).await?;
        Ok((token, Secret::new(format!("{PREFIX}{secret}"))))
    }

    /// All tokens, oldest first.
    pub async fn tokens(&self) -> Result<Vec<TokenView>, AccessError> {
        let mut tokens = self.store.read(|snapshot| snapshot.api_tokens()).await?;
        tokens.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(tokens)
    }

    /// Ends a token at once.
    pub async fn revoke_token(&self, id: &str) -> Result<(), AccessError> {
        let found = self.store.commit(RevokeApiToken { id: id.to_owned() }).await?;
        if found { Ok(()) } else { Err(AccessError::Unknown) }
    }

    /// Makes a one-time sign-in link's secret, good for `expires_in`.
    pub async fn sign_in_link(&self, expires_in: Duration) -> Result<Secret, AccessError> {
        let (secret, at) = (self.world.random_key(), self.world.now());
        self.store.commit(PutSignInLink { hash: hash(&secret), expires_at: at.after(expires_in), at }).await?;
        Ok(Secret::new(secret))
    }

    /// Whether a sign-in link could still be spent. Spends nothing.
    pub async fn sign_in_link_is_good(&self, link: &str) -> Result<bool, AccessError> {
        let hash = hash(link);
        let expires_at = self.store.read(move |snapshot| snapshot.sign_in_link(hash)).await?;
        Ok(expires_at.is_some_and(|expires_at| expires_at > self.world.now()))
    }

    /// Spends a sign-in link: a session, and the value of its cookie.
    pub async fn sign_in(&self, link: &str, browser: Option<String>) -> Result<(SessionView, Secret), AccessError> {
        // What is not good must not be written down to find that out.
        if !self.sign_in_link_is_good(link).await? {
            return Err(AccessError::Unknown);
        }
        let (session, cookie, idle_before) = self.new_session(browser);
        let change = SignIn { link: hash(link), hash: hash(&cookie), session: session.clone(), idle_before };
        if self.store.commit(change).await? { Ok((session, Secret::new(cookie))) } else { Err(AccessError::Unknown) }
    }

    /// Whether this is the password; nothing is while none is set.
    pub async fn prove(&self, password: Secret) -> Result<Proven, AccessError> {
        let kept = self.store.read(|snapshot| snapshot.password()).await?.ok_or(AccessError::Unknown)?;
        if self.passwords.is(password, &kept).await? { Ok(Proven(kept)) } else { Err(AccessError::Unknown) }
    }

    /// A session for whoever knew the password, unless it was changed meanwhile.
    pub async fn sign_in_by_password(
        &self,
        Proven(password): Proven,
        browser: Option<String>,
    ) -> Result<(SessionView, Secret), AccessError> {
        let (session, cookie, idle_before) = self.new_session(browser);
        let change = SignInByPassword { password, hash: hash(&cookie), session: session.clone(), idle_before };
        if self.store.commit(change).await? { Ok((session, Secret::new(cookie))) } else { Err(AccessError::Unknown) }
    }

    fn new_session(&self, browser: Option<String>) -> (Session, String, Timestamp) {
        let (cookie, now) = (self.world.random_key(), self.world.now());
        let session = Session { id: self.world.uuid().to_string(), created_at: now, last_seen_at: now, browser };
        (session, cookie, now.before(self.settings.idle))
    }

    /// Sets the password. Sessions stay.
    pub async fn set_password(&self, password: Secret) -> Result<(), AccessError> {
        if !(SHORTEST_PASSWORD..=LONGEST_PASSWORD).contains(&password.expose().chars().count()) {
            return Err(AccessError::BadRequest("a password needs 12 to 200 characters"));
        }
        let mut salt = [0; 16];
        self.world.entropy.fill(&mut salt);
        let kept = self.passwords.keep(password, salt).await?;
        Ok(self.store.commit(SetPassword { password: Some(kept) }).await?)
    }

    /// Takes the password away. Sessions stay.
    pub async fn clear_password(&self) -> Result<(), AccessError> {
        Ok(self.store.commit(SetPassword { password: None }).await?)
    }

    /// Whether there is a password.
    pub async fn has_password(&self) -> Result<bool, AccessError> {
        Ok(self.store.read(|snapshot| snapshot.password()).await?.is_some())
    }

    /// All sessions, newest first.
    pub async fn sessions(&self) -> Result<Vec<SessionView>, AccessError> {
        let mut sessions = self.store.read(|snapshot| snapshot.sessions()).await?;
        sessions.retain(|session| self.is_alive(session));
        sessions.sort_by(|a, b| b.id.cmp(&a.id));
        Ok(sessions)
    }

    /// Signs a session out.
    pub async fn revoke_session(&self, id: &str) -> Result<(), AccessError> {
        let found = self.store.commit(RevokeSession { id: id.to_owned() }).await?;
        if found { Ok(()) } else { Err(AccessError::Unknown) }
    }

    /// Whether anybody could get in: there is a token or a session.
    pub async fn anybody(&self) -> Result<bool, AccessError> {
        let now = self.world.now();
        let holds = |token: &TokenView| token.expires_at.is_none_or(|expires_at| expires_at > now);
        Ok(self.tokens().await?.iter().any(holds) || !self.sessions().await?.is_empty())
    }

    fn is_alive(&self, session: &Session) -> bool {
        let now = self.world.now();
        now.since(session.last_seen_at) < self.settings.idle && now.since(session.created_at) < self.settings.max
    }
}

/// In characters.
const SHORTEST_PASSWORD: usize = 12;
const LONGEST_PASSWORD: usize = 200;

/// The secrets are 256 random bits, so that a plain hash is all they need.
fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

//! API tokens, sessions and sign-in links, each found by the hash of its secret; and the password.

use serde::{Deserialize, Serialize};

use super::tables::{ALL, META, Record, Typed};
use super::{Change, Snapshot, StoreError, Tables};
use crate::model::Timestamp;
use crate::model::access::{ApiToken, PasswordHash, Session};

impl Record for ApiToken {
    const TABLE: &'static str = "api_tokens-1";
}

impl Record for Session {
    const TABLE: &'static str = "sessions-1";
}

/// A sign-in link that has not been spent.
#[derive(Debug, Serialize, Deserialize)]
struct SignInLink {
    expires_at: Timestamp,
}

impl Record for SignInLink {
    const TABLE: &'static str = "sign_in_links-1";
}

/// Keeps a token.
#[derive(Debug, Serialize, Deserialize)]
pub struct PutApiToken {
    /// Hash of its secret.
    pub hash: [u8; 32],
    /// The token.
    pub token: ApiToken,
}

impl Change for PutApiToken {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        tables.put(self.hash, &self.token)
    }
}

/// Ends a token, by its id.
#[derive(Debug, Serialize, Deserialize)]
pub struct RevokeApiToken {
    /// Which.
    pub id: String,
}

impl Change for RevokeApiToken {
    type Outcome = bool;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        let found = tables.list::<ApiToken>(ALL, false, usize::MAX)?.into_iter().find(|(_, token)| token.id == self.id);
        found.map_or(Ok(false), |(key, _)| tables.remove_raw(ApiToken::TABLE, &key).map(|()| true))
    }
}

/// Ends every token that is bound to one of these, which goes.
pub(super) fn drop_api_tokens(
    tables: &mut Tables<'_>,
    is_bound: impl Fn(&Tables<'_>, &ApiToken) -> bool,
) -> Result<(), StoreError> {
    for (key, token) in tables.list::<ApiToken>(ALL, false, usize::MAX)? {
        if is_bound(tables, &token) {
            tables.remove_raw(ApiToken::TABLE, &key)?;
        }
    }
    Ok(())
}

/// Keeps a sign-in link.
#[derive(Debug, Serialize, Deserialize)]
pub struct PutSignInLink {
    /// Hash of its secret.
    pub hash: [u8; 32],
    /// Until when it may be spent.
    pub expires_at: Timestamp,
    /// Now: what has expired is dropped.
    pub at: Timestamp,
}

impl Change for PutSignInLink {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        for (key, link) in tables.list::<SignInLink>(ALL, false, usize::MAX)? {
            if link.expires_at <= self.at {
                tables.remove_raw(SignInLink::TABLE, &key)?;
            }
        }
        tables.put(self.hash, &SignInLink { expires_at: self.expires_at })
    }
}

/// Spends a sign-in link: once, in time. Its place is taken by a session.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignIn {
    /// Hash of the link's secret.
    pub link: [u8; 32],
    /// Hash of the session's cookie.
    pub hash: [u8; 32],
    /// The session.
    pub session: Session,
    /// What was last seen before this has ended and is dropped.
    pub idle_before: Timestamp,
}

impl Change for SignIn {
    type Outcome = bool;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        match tables.get::<SignInLink>(self.link)? {
            Some(link) if link.expires_at > self.session.created_at => {}
            _ => return Ok(false),
        }
        tables.remove::<SignInLink>(self.link)?;
        open_session(tables, self.hash, &self.session, self.idle_before).map(|()| true)
    }
}

fn open_session(tables: &mut Tables<'_>, hash: [u8; 32], session: &Session, idle_before: Timestamp) -> Result<(), StoreError> {
    for (key, session) in tables.list::<Session>(ALL, false, usize::MAX)? {
        if session.last_seen_at < idle_before {
            tables.remove_raw(Session::TABLE, &key)?;
        }
    }
    tables.put(hash, session)
}

/// Sets the password, or takes it away.
#[derive(Debug, Serialize, Deserialize)]
pub struct SetPassword {
    /// The new one.
    pub password: Option<PasswordHash>,
}

impl Change for SetPassword {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        match &self.password {
            Some(password) => tables.put_value(META, PASSWORD, password),
            None => tables.remove_raw(META, PASSWORD.as_bytes()),
        }
    }
}

/// Opens a session for whoever knew the password, if it is still this one.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignInByPassword {
    /// The password that was known.
    pub password: PasswordHash,
    /// Hash of the session's cookie.
    pub hash: [u8; 32],
    /// The session.
    pub session: Session,
    /// What was last seen before this has ended and is dropped.
    pub idle_before: Timestamp,
}

impl Change for SignInByPassword {
    type Outcome = bool;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        if tables.value::<PasswordHash>(META, PASSWORD)?.as_ref() != Some(&self.password) {
            return Ok(false);
        }
        open_session(tables, self.hash, &self.session, self.idle_before).map(|()| true)
    }
}

const PASSWORD: &str = "password";

/// Notes that a session was used.
#[derive(Debug, Serialize, Deserialize)]
pub struct TouchSession {
    /// Hash of its cookie.
    pub hash: [u8; 32],
    /// Now.
    pub at: Timestamp,
}

impl Change for TouchSession {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        let Some(mut session) = tables.get::<Session>(self.hash)? else { return Ok(()) };
        session.last_seen_at = self.at;
        tables.put(self.hash, &session)
    }
}

/// Signs a session out, by its id.
#[derive(Debug, Serialize, Deserialize)]
pub struct RevokeSession {
    /// Which.
    pub id: String,
}

impl Change for RevokeSession {
    type Outcome = bool;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        let found = tables.list::<Session>(ALL, false, usize::MAX)?.into_iter().find(|(_, session)| session.id == self.id);
        found.map_or(Ok(false), |(key, _)| tables.remove_raw(Session::TABLE, &key).map(|()| true))
    }
}

impl Snapshot<'_> {
    /// A token, by the hash of its secret.
    pub fn api_token(&self, hash: [u8; 32]) -> Result<Option<ApiToken>, StoreError> {
        self.get(hash)
    }

    /// All tokens, in no order.
    pub fn api_tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        Ok(self.list::<ApiToken>(ALL, false, usize::MAX)?.into_iter().map(|(_, token)| token).collect())
    }

    /// A session, by the hash of its cookie.
    pub fn session(&self, hash: [u8; 32]) -> Result<Option<Session>, StoreError> {
        self.get(hash)
    }

    /// All sessions, in no order.
    pub fn sessions(&self) -> Result<Vec<Session>, StoreError> {
        Ok(self.list::<Session>(ALL, false, usize::MAX)?.into_iter().map(|(_, session)| session).collect())
    }

    /// The password, if there is one.
    pub fn password(&self) -> Result<Option<PasswordHash>, StoreError> {
        self.value(META, PASSWORD)
    }

    /// Until when a sign-in link may be spent, by the hash of its secret.
    pub fn sign_in_link(&self, hash: [u8; 32]) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.get::<SignInLink>(hash)?.map(|link| link.expires_at))
    }
}

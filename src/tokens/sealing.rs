//! Token sets as they are sealed. With `vault` and `smartcar`, one of the rooms that see plain tokens.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Shared, TokenError, due};
use crate::model::token::{Renewal, TokenSet};
use crate::model::{Blob, ConnectionId, Secret, Timestamp};
use crate::store::StoreError;
use crate::store::tokens::{SealedTokens, seal_key, seal_row};

/// The plain form: never leaves this file.
#[derive(Serialize)]
struct Plain<'a> {
    access: &'a str,
    refresh: Option<&'a str>,
}

#[derive(Deserialize)]
struct Opened {
    access: Secret,
    refresh: Option<Secret>,
}

const TABLE: &str = "smartcar_tokens";

impl Shared {
    /// Seals a set for a connection and a version; it opens for no other.
    pub(super) fn seal(&self, connection: ConnectionId, version: u64, set: &TokenSet, used_at: Timestamp) -> SealedTokens {
        let (refresh, refresh_expires_at) = match &set.renewal {
            Renewal::Refresh { token, expires_at } => (Some(token.expose()), Some(*expires_at)),
            Renewal::ClientCredentials | Renewal::Impossible => (None, None),
        };
        let mut plain = Zeroizing::new(Vec::with_capacity(4096));
        ciborium::into_writer(&Plain { access: set.access.expose(), refresh }, &mut *plain).expect("memory does not fail");
        let key = seal_key(connection, version);
        let sealed = Blob(self.vault.seal(seal_row(&key), &plain));
        let access_expires_at = set.access_expires_at;
        let mut tokens = SealedTokens {
            version,
            sealed,
            access_expires_at,
            refresh_expires_at,
            issued_at: set.issued_at,
            used_at,
            due_at: None,
        };
        tokens.due_at = Some(due::due_at(&self.settings, connection, &tokens, self.world.now()));
        tokens
    }

    /// Opens a set.
    pub(super) fn open(&self, connection: ConnectionId, tokens: &SealedTokens) -> Result<TokenSet, TokenError> {
        let damaged = TokenError::Store(StoreError::Damaged { table: TABLE });
        let key = seal_key(connection, tokens.version);
        let plain = self.vault.open(seal_row(&key), &tokens.sealed.0).map_err(|_| damaged.clone())?;
        let opened: Opened = ciborium::from_reader(plain.as_slice()).map_err(|_| damaged)?;
        let renewal = match (opened.refresh, tokens.refresh_expires_at) {
            (Some(token), Some(expires_at)) => Renewal::Refresh { token, expires_at },
            _ if connection == ConnectionId::APPLICATION => Renewal::ClientCredentials,
            _ => Renewal::Impossible,
        };
        Ok(TokenSet { access: opened.access, access_expires_at: tokens.access_expires_at, issued_at: tokens.issued_at, renewal })
    }
}

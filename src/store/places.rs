//! What turns values into rows: the vault, and the key of the index.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::tables::{EVENT_IDS, META, WEBHOOK_LOGS};
use super::{event_ids, log_head};
use crate::vault::{Row, Vault, VaultError};

/// What an index entry leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    User = 1,
    Vehicle = 2,
    Signal = 3,
    Connection = 4,
    Event = 5,
}

/// Seals for rows, and hashes for the index.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) vault: Vault,
    index_key: Zeroizing<[u8; 32]>,
}

impl Places {
    pub(super) fn new(vault: Vault, index_key: Zeroizing<[u8; 32]>) -> Places {
        Places { vault, index_key }
    }

    /// The keyed hash under which an id is looked up.
    pub(super) fn hash(&self, kind: Kind, id: &str) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.index_key).expect("HMAC takes keys of any length");
        mac.update(&[kind as u8]);
        mac.update(id.as_bytes());
        let mut hash = [0; 16];
        hash.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        hash
    }

    pub(super) fn index_entry(&self, kind: Kind, id: &str) -> Vec<u8> {
        [&[kind as u8][..], &self.hash(kind, id)].concat()
    }

    /// Whether a row is what was once written at its place.
    pub(super) fn is_sound(&self, table: &str, key: &[u8], value: &[u8]) -> bool {
        match sealed(table, key, value) {
            Ok(Some((row, sealed))) => self.vault.open(row, sealed).is_ok(),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// A row's value sealed under the present key; `None` if it is so already.
    pub(super) fn resealed(&self, table: &str, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        let Some((row, sealed)) = sealed(table, key, value)? else { return Ok(None) };
        let resealed = self.vault.reseal(row, sealed)?;
        Ok(resealed.map(|resealed| [&value[..value.len() - sealed.len()], &resealed].concat()))
    }
}

/// The sealed part of a value, which is its end, and what it is bound to. `None` if the row stands in clear.
fn sealed<'a>(table: &'a str, key: &'a [u8], value: &'a [u8]) -> Result<Option<(Row<'a>, &'a [u8])>, VaultError> {
    let (context, sealed) = match table {
        META if CLEAR.contains(&key) => return Ok(None),
        WEBHOOK_LOGS => log_head::parts(value).ok_or(VaultError::DoesNotOpen)?,
        EVENT_IDS => event_ids::parts(value).ok_or(VaultError::DoesNotOpen)?,
        _ => (&[][..], value),
    };
    Ok(Some((Row { table, key, context }, sealed)))
}

/// What stands in clear in `meta`, to be read before the key is known to fit.
pub(super) const FORMAT: &[u8] = b"format";
/// The id of the key that rows are sealed under.
pub(super) const KEY: &[u8] = b"key";
/// The id of the key that rows may be sealed under still; only while the key is being replaced.
pub(super) const KEY_BEFORE: &[u8] = b"key_before";
const CLEAR: &[&[u8]] = &[FORMAT, KEY, KEY_BEFORE];

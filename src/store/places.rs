//! What turns values into rows: the vault, and the key of the index.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::log_head;
use super::tables::{META, WEBHOOK_LOGS};
use crate::vault::{Row, Vault};

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
        let (context, sealed) = match table {
            META if CLEAR.contains(&key) => return true,
            WEBHOOK_LOGS => match log_head::parts(value) {
                Some(parts) => parts,
                None => return false,
            },
            _ => (&[][..], value),
        };
        self.vault.open(Row { table, key, context }, sealed).is_ok()
    }
}

/// What stands in clear in `meta`, to be read before the key is known to fit.
pub(super) const FORMAT: &[u8] = b"format";
pub(super) const KEY: &[u8] = b"key";
const CLEAR: &[&[u8]] = &[FORMAT, KEY];

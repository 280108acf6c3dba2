//! Sealing: XChaCha20-Poly1305 under one master key. Stores nothing.
//!
//! A sealed value is bound to its place (format, table, key, context) and to the id of its key, so that
//! it opens nowhere else. Nonces are 16 random bytes of this run and a counter: they never repeat.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::world::Entropy;

/// The place that a sealed value belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The table.
    pub table: &'a str,
    /// The key within the table.
    pub key: &'a [u8],
    /// What stands in clear beside the sealed value and must not change.
    pub context: &'a [u8],
}

/// Why a sealed value or a key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The value was changed, moved, or sealed under another key.
    #[error("a sealed value does not open: it was changed, moved, or sealed under another key")]
    DoesNotOpen,
    /// The text is not a key.
    #[error("this is no master key: 56 letters and digits (base32) are expected, and their checksum must fit")]
    NotAKey,
}

/// Names a master key without telling anything about it: 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// The id's bytes.
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// An id as it was stored.
    pub fn from_bytes(bytes: [u8; 8]) -> KeyId {
        KeyId(bytes)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The master key: 32 bytes, printed as base32 with a checksum of three bytes.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// Makes a new key.
    pub fn generate(entropy: &dyn Entropy) -> MasterKey {
        let mut key = Zeroizing::new([0; 32]);
        entropy.fill(&mut *key);
        MasterKey(key)
    }

    /// Reads the printed form; white space and dashes are skipped, case does not matter.
    pub fn parse(text: &str) -> Result<MasterKey, VaultError> {
        let text: Zeroizing<String> =
            Zeroizing::new(text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase()).collect());
        let bytes = Zeroizing::new(data_encoding::BASE32_NOPAD.decode(text.as_bytes()).map_err(|_| VaultError::NotAKey)?);
        let (key, checksum) = bytes.split_at_checked(32).ok_or(VaultError::NotAKey)?;
        let mut master = MasterKey(Zeroizing::new([0; 32]));
        master.0.copy_from_slice(key);
        if checksum == master.checksum() { Ok(master) } else { Err(VaultError::NotAKey) }
    }

    /// The printed form: 56 letters and digits.
    pub fn print(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(35));
        bytes.extend_from_slice(&*self.0);
        bytes.extend_from_slice(&self.checksum());
        Zeroizing::new(data_encoding::BASE32_NOPAD.encode(&bytes))
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        let hash = Sha256::new_with_prefix(b"carport key id").chain_update(*self.0).finalize();
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        KeyId(id)
    }

    fn checksum(&self) -> [u8; 3] {
        let hash = Sha256::new_with_prefix(b"carport key checksum").chain_update(*self.0).finalize();
        [hash[0], hash[1], hash[2]]
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id())
    }
}

/// Seals and opens. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    shared: Arc<Shared>,
}

struct Shared {
    cipher: XChaCha20Poly1305,
    id: KeyId,
    run: [u8; 16],
    sealed: AtomicU64,
}

impl Vault {
    /// How much longer a sealed value is than the plain one: nonce and tag.
    pub const OVERHEAD: usize = NONCE + 16;

    /// A vault under `key`.
    pub fn new(key: &MasterKey, entropy: &dyn Entropy) -> Vault {
        let mut run = [0; 16];
        entropy.fill(&mut run);
        let cipher = XChaCha20Poly1305::new((&*key.0).into());
        Vault { shared: Arc::new(Shared { cipher, id: key.id(), run, sealed: AtomicU64::new(0) }) }
    }

    /// The id of the key.
    pub fn key_id(&self) -> KeyId {
        self.shared.id
    }

    /// Seals `plain` for `row`: nonce, ciphertext and tag, 40 bytes longer than `plain`.
    ///
    /// # Panics
    /// For a `plain` of 256 GiB or more.
    pub fn seal(&self, row: Row<'_>, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        nonce[..16].copy_from_slice(&self.shared.run);
        nonce[16..].copy_from_slice(&self.shared.sealed.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let payload = Payload { msg: plain, aad: &self.associated(row) };
        let sealed = self.shared.cipher.encrypt(&XNonce::from(nonce), payload).expect("only a value of 256 GiB cannot be sealed");
        [&nonce[..], &sealed].concat()
    }

    /// Opens what was sealed for `row`.
    pub fn open(&self, row: Row<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(VaultError::DoesNotOpen)?;
        let payload = Payload { msg: sealed, aad: &self.associated(row) };
        self.shared.cipher.decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| VaultError::DoesNotOpen)
    }

    /// Each part is preceded by its length, so that no two places look alike.
    fn associated(&self, row: Row<'_>) -> Vec<u8> {
        let parts = [FORMAT, self.shared.id.as_bytes(), row.table.as_bytes(), row.key, row.context];
        let mut bytes = Vec::with_capacity(64 + row.context.len());
        for part in parts {
            bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({})", self.shared.id)
    }
}

const NONCE: usize = 24;
const FORMAT: &[u8] = b"carport-1";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::world::SystemEntropy;

    fn row<'a>(table: &'a str, key: &'a [u8], context: &'a [u8]) -> Row<'a> {
        Row { table, key, context }
    }

    #[test]
    fn opens_only_in_its_place_and_under_its_key() {
        let vault = Vault::new(&MasterKey::generate(&SystemEntropy), &SystemEntropy);
        let sealed = vault.seal(row("users", b"1", b""), b"secret");
        assert_eq!(vault.open(row("users", b"1", b""), &sealed).unwrap().as_slice(), b"secret");
        for other in [row("users", b"2", b""), row("user", b"s1", b""), row("users", b"1", b"x"), row("users", b"", b"1")] {
            assert_eq!(vault.open(other, &sealed), Err(VaultError::DoesNotOpen));
        }
        let stranger = Vault::new(&MasterKey::generate(&SystemEntropy), &SystemEntropy);
        assert_eq!(stranger.open(row("users", b"1", b""), &sealed), Err(VaultError::DoesNotOpen));
    }

    #[test]
    fn a_printed_key_reads_back_and_a_typing_error_is_found() {
        let key = MasterKey::generate(&SystemEntropy);
        let printed = key.print();
        assert_eq!(printed.len(), 56);
        assert_eq!(MasterKey::parse(&printed.to_lowercase()).unwrap().id(), key.id());
        for place in 0..printed.len() {
            let mut wrong = printed.to_string();
            let other = if &wrong[place..=place] == "A" { "B" } else { "A" };
            wrong.replace_range(place..=place, other);
            assert_eq!(MasterKey::parse(&wrong).err(), Some(VaultError::NotAKey), "place {place}");
        }
    }

    proptest! {
        #[test]
        fn round_trips_and_no_flipped_bit_opens(plain: Vec<u8>, at: prop::sample::Index, bit in 0..8u8) {
            let vault = Vault::new(&MasterKey::generate(&SystemEntropy), &SystemEntropy);
            let mut sealed = vault.seal(row("t", b"k", b"c"), &plain);
            let opened = vault.open(row("t", b"k", b"c"), &sealed).unwrap();
            prop_assert_eq!(opened.as_slice(), plain.as_slice());
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(vault.open(row("t", b"k", b"c"), &sealed).is_err());
        }
    }
}

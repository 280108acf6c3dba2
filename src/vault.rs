//! Sealing: XChaCha20-Poly1305 under one master key. Stores nothing.
//!
//! A sealed value is bound to its place (format, table, key, context) and to the id of its key, so that
//! it opens nowhere else. Nonces are 16 random bytes of this run and a counter: they never repeat.
//! While the master key is being replaced, a vault knows two: it opens by either, and seals under one.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use chacha20poly1305::aead::{Aead, AeadInOut, KeyInit, Payload};
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
        // Made large enough at once: a text that grows leaves copies of itself behind.
        let mut letters = Zeroizing::new(String::with_capacity(text.len()));
        letters.extend(text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase()));
        let bytes = Zeroizing::new(data_encoding::BASE32_NOPAD.decode(letters.as_bytes()).map_err(|_| VaultError::NotAKey)?);
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
    keys: RwLock<Keys>,
    run: [u8; 16],
    sealed: AtomicU64,
}

struct Keys {
    /// What is sealed, is sealed under this one.
    present: Cipher,
    /// What was sealed under this one opens too.
    other: Option<Cipher>,
}

struct Cipher {
    cipher: XChaCha20Poly1305,
    id: KeyId,
}

impl Vault {
    /// How much longer a sealed value is than the plain one: nonce and tag.
    pub const OVERHEAD: usize = NONCE + 16;

    /// A vault under `key`.
    pub fn new(key: &MasterKey, entropy: &dyn Entropy) -> Vault {
        let mut run = [0; 16];
        entropy.fill(&mut run);
        let keys = RwLock::new(Keys { present: Cipher::new(key), other: None });
        Vault { shared: Arc::new(Shared { keys, run, sealed: AtomicU64::new(0) }) }
    }

    /// Takes note of a second key, which opens from now on. It replaces the second key that was known.
    pub fn learn(&self, key: &MasterKey) {
        let mut keys = self.shared.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.present.id != key.id() {
            keys.other = Some(Cipher::new(key));
        }
    }

    /// Seals under another of the known keys from now on. `false` if it is not known.
    pub fn turn_to(&self, id: KeyId) -> bool {
        let mut guard = self.shared.keys.write().unwrap_or_else(PoisonError::into_inner);
        let keys = &mut *guard;
        match &mut keys.other {
            _ if keys.present.id == id => true,
            Some(other) if other.id == id => {
                std::mem::swap(&mut keys.present, other);
                true
            }
            _ => false,
        }
    }

    /// The id of the key that is sealed under.
    pub fn key_id(&self) -> KeyId {
        self.keys().present.id
    }

    /// Whether what was sealed under a key opens.
    pub fn knows(&self, id: KeyId) -> bool {
        self.keys().all().any(|cipher| cipher.id == id)
    }

    /// Seals `plain` for `row`: nonce, ciphertext and tag, 40 bytes longer than `plain`.
    ///
    /// # Panics
    /// For a `plain` of 256 GiB or more.
    pub fn seal(&self, row: Row<'_>, plain: &[u8]) -> Vec<u8> {
        self.seal_under(&self.keys().present, row, plain)
    }

    /// Opens what was sealed for `row`.
    pub fn open(&self, row: Row<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.keys().all().find_map(|cipher| cipher.open(row, sealed)).ok_or(VaultError::DoesNotOpen)
    }

    /// Seals again what was sealed under the other key; `None` if it need not be.
    pub fn reseal(&self, row: Row<'_>, sealed: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        let keys = self.keys();
        let Some(other) = &keys.other else { return Ok(None) };
        if keys.present.open(row, sealed).is_some() {
            return Ok(None);
        }
        let plain = other.open(row, sealed).ok_or(VaultError::DoesNotOpen)?;
        Ok(Some(self.seal_under(&keys.present, row, &plain)))
    }

    fn seal_under(&self, cipher: &Cipher, row: Row<'_>, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plain.len() + Vault::OVERHEAD);
        out.extend_from_slice(&self.shared.run);
        out.extend_from_slice(&self.shared.sealed.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let nonce = XNonce::try_from(&out[..NONCE]).expect("16 bytes and 8 are 24");
        out.extend_from_slice(plain);
        let tag = cipher.cipher.encrypt_inout_detached(&nonce, &associated(cipher.id, row), (&mut out[NONCE..]).into());
        out.extend_from_slice(&tag.expect("only a value of 256 GiB cannot be sealed"));
        out
    }

    fn keys(&self) -> RwLockReadGuard<'_, Keys> {
        self.shared.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn all(&self) -> impl Iterator<Item = &Cipher> {
        std::iter::once(&self.present).chain(&self.other)
    }
}

impl Cipher {
    fn new(key: &MasterKey) -> Cipher {
        Cipher { cipher: XChaCha20Poly1305::new((&*key.0).into()), id: key.id() }
    }

    fn open(&self, row: Row<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: sealed, aad: &associated(self.id, row) };
        self.cipher.decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).ok()
    }
}

/// Each part is preceded by its length, so that no two places look alike.
fn associated(key: KeyId, row: Row<'_>) -> Vec<u8> {
    let parts = [FORMAT, key.as_bytes(), row.table.as_bytes(), row.key, row.context];
    let mut bytes = Vec::with_capacity(64 + row.context.len());
    for part in parts {
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({})", self.key_id())
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

    #[test]
    fn a_key_reads_as_people_copy_it_and_nothing_else_does() {
        let key = MasterKey::generate(&SystemEntropy);
        let printed = key.print();
        let groups: Vec<&str> = (0..printed.len()).step_by(7).map(|at| &printed[at..at + 7]).collect();
        let (dashes, lines) = (groups.join("-"), groups.join("\r\n  "));
        for copied in [format!("{}\n", *printed), format!(" {}\r\n\n", *printed), dashes, lines] {
            assert_eq!(MasterKey::parse(&copied).unwrap().id(), key.id(), "{copied:?}");
        }
        let (short, long) = (printed[..55].to_owned(), format!("{}A", *printed));
        let (twice, odd) = (format!("{}{}", *printed, *printed), printed.replacen(&printed[..1], "1", 1));
        for wrong in [String::new(), "-".to_owned(), short, printed[..51].to_owned(), long, twice, odd, format!("{}=", *printed)]
        {
            assert_eq!(MasterKey::parse(&wrong).err(), Some(VaultError::NotAKey), "{wrong:?}");
        }
    }

    #[test]
    fn two_keys_open_and_one_seals() {
        let (old, new) = (MasterKey::generate(&SystemEntropy), MasterKey::generate(&SystemEntropy));
        let vault = Vault::new(&old, &SystemEntropy);
        let place = row("users", b"1", b"");
        let before = vault.seal(place, b"secret");
        assert!(!vault.turn_to(new.id()) && !vault.knows(new.id()));
        assert_eq!(vault.reseal(place, &before), Ok(None));
        vault.learn(&new);
        assert_eq!((vault.key_id(), vault.reseal(place, &before)), (old.id(), Ok(None)));
        assert!(vault.turn_to(new.id()) && vault.knows(old.id()));
        assert_eq!(vault.open(place, &before).unwrap().as_slice(), b"secret");
        let after = vault.reseal(place, &before).unwrap().unwrap();
        assert_eq!(vault.reseal(place, &after), Ok(None));
        assert_eq!(vault.reseal(row("users", b"2", b""), &before), Err(VaultError::DoesNotOpen));
        assert_eq!(Vault::new(&new, &SystemEntropy).open(place, &after).unwrap().as_slice(), b"secret");
        assert_eq!(Vault::new(&old, &SystemEntropy).open(place, &after), Err(VaultError::DoesNotOpen));
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

//! Packing before sealing: LZ4 with a dictionary of what Smartcar and our own rows say all the time.
//!
//! A packed value begins with the way it was packed, then its length. The dictionaries belong to the store's
//! format: what was packed with one opens with no other. A better one is another file and another [`Way`];
//! these stay for as long as a store may hold what they packed.

use std::cell::RefCell;
use std::fmt;

use lz4_flex::block;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::model::Blob;

/// Webhook bodies first, then the words of our rows: what is nearest to the end is cheapest to refer to.
const DICTIONARY: &[u8] = include_bytes!("dictionary.txt");

/// How much of its end holds the words of rows.
const WORDS: usize = 1104;

/// How much of its end what is long is packed with: the rest would gain 2 % and take a third of the time, for all of a
/// dictionary is looked through first.
const RECENT: usize = 4096;

/// A value shorter than this is packed with the words alone: looking through more would take longer than it saves.
const SHORT: usize = 512;

/// The longest value that is unpacked.
const LONGEST: usize = 64 * 1024 * 1024;

/// Way and length.
const HEAD: usize = 5;

/// How a value was packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Way {
    Plain = 0,
    /// LZ4 with the whole dictionary: nothing is packed so any more.
    Dictionary = 1,
    /// LZ4 with the words of rows.
    Words = 2,
    /// LZ4 with the end of the dictionary.
    Recent = 3,
}

impl Way {
    fn read(byte: u8) -> Option<Way> {
        [Way::Plain, Way::Dictionary, Way::Words, Way::Recent].into_iter().find(|way| *way as u8 == byte)
    }

    fn dictionary(self) -> &'static [u8] {
        match self {
            Way::Plain => &[],
            Way::Dictionary => DICTIONARY,
            Way::Words => &DICTIONARY[DICTIONARY.len() - WORDS..],
            Way::Recent => &DICTIONARY[DICTIONARY.len() - RECENT..],
        }
    }
}

/// Packs bytes; as they are where that is shorter.
///
/// # Panics
/// For 4 GiB or more.
pub(super) fn pack(plain: &[u8]) -> Vec<u8> {
    let way = if plain.len() < SHORT { Way::Words } else { Way::Recent };
    SCRATCH.with_borrow_mut(|scratch| {
        let most = block::get_maximum_output_size(plain.len());
        scratch.resize(scratch.len().max(most), 0);
        let (way, bytes) = match block::compress_into_with_dict(plain, scratch, way.dictionary()) {
            Ok(length) if length < plain.len() => (way, &scratch[..length]),
            _ => (Way::Plain, plain),
        };
        let out = with_head(way, plain.len(), bytes);
        // It may have been a secret.
        scratch[..most].fill(0);
        if scratch.len() > ROOM {
            *scratch = Vec::new();
        }
        out
    })
}

/// Makes of bytes that are packed or sealed already what [`pack`] makes of others.
///
/// # Panics
/// For 4 GiB or more.
pub(super) fn as_it_is(plain: &[u8]) -> Vec<u8> {
    with_head(Way::Plain, plain.len(), plain)
}

fn with_head(way: Way, length: usize, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + bytes.len());
    out.push(way as u8);
    out.extend_from_slice(&u32::try_from(length).expect("nothing here is that long").to_be_bytes());
    out.extend_from_slice(bytes);
    out
}

thread_local! {
    /// Where a value is packed, before it is known how short it gets: what is kept, and waits with many others, leaves
    /// no holes behind.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How much of it each thread keeps, in bytes.
const ROOM: usize = 16 * 1024;

/// What was packed; `None` if it was not packed here.
pub(super) fn unpack(packed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (way, length, bytes) = parts(packed)?;
    if length > LONGEST {
        return None;
    }
    if way == Way::Plain {
        return (bytes.len() == length).then(|| Zeroizing::new(bytes.to_vec()));
    }
    let mut plain = Zeroizing::new(vec![0; length]);
    let unpacked = block::decompress_into_with_dict(bytes, &mut plain, way.dictionary()).ok()?;
    (unpacked == length).then_some(plain)
}

fn parts(packed: &[u8]) -> Option<(Way, usize, &[u8])> {
    let (head, bytes) = packed.split_first_chunk::<HEAD>()?;
    let [way, length @ ..] = *head;
    Some((Way::read(way)?, u32::from_be_bytes(length).try_into().ok()?, bytes))
}

/// A body that is packed where it comes from, on many threads, and stored as it is by the one writer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Packed(Blob);

impl Packed {
    /// Packs a body.
    pub fn of(plain: &[u8]) -> Packed {
        Packed(Blob(pack(plain)))
    }

    /// Length of the body in bytes.
    pub fn plain_len(&self) -> usize {
        parts(&self.0.0).map_or(0, |(_, length, _)| length)
    }

    /// The body; `None` if this is none.
    pub fn unpack(&self) -> Option<Zeroizing<Vec<u8>>> {
        unpack(&self.0.0)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0.0
    }

    pub(super) fn from_bytes(bytes: Vec<u8>) -> Packed {
        Packed(Blob(bytes))
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} bytes in {})", self.plain_len(), self.0.0.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    /// Compact, as Smartcar sends it, in its own order.
    fn fixture(name: &str) -> Vec<u8> {
        let text = std::fs::read_to_string(format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"))).unwrap();
        text.lines().map(|line| line.trim_start().replacen("\": ", "\":", 1)).collect::<String>().into_bytes()
    }

    #[test]
    fn the_dictionary_is_what_it_was() {
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(DICTIONARY));
        assert_eq!(
            hash, "4104e4faf746f54a56b2743680d4dcdcfa75b039b91cf2d52ab2747e4003ff2a",
            "stores were packed with the old one: add a new file and a new way"
        );
        assert!(Way::Words.dictionary().starts_with(b"msmartcar_user"));
        assert!(Way::Recent.dictionary().starts_with(br#"e":16,"unit":"ampere"{"code""#));
    }

    #[test]
    fn what_smartcar_sends_shrinks() {
        for (name, share) in [
            ("webhook-v4-vehicle-state-signal-updated", 30),
            ("webhook-v4-vehicle-state-triggers-in-data", 50),
            ("webhook-v4-vehicle-error-compatibility", 60),
            ("v3-signals", 35),
        ] {
            let plain = fixture(name);
            let packed = Packed::of(&plain);
            assert_eq!(packed.unpack().unwrap().as_slice(), plain);
            assert_eq!(packed.plain_len(), plain.len());
            let percent = packed.as_bytes().len() * 100 / plain.len();
            assert!(percent < share, "{name}: {percent} %");
        }
    }

    #[test]
    fn nothing_can_claim_to_be_huge() {
        for way in 0..5 {
            let mut packed = vec![way];
            packed.extend_from_slice(&u32::MAX.to_be_bytes());
            packed.extend_from_slice(b"some bytes");
            assert!(unpack(&packed).is_none());
        }
        assert!(unpack(&[]).is_none());
        assert!(unpack(&[9, 0, 0, 0, 0]).is_none());
    }

    proptest! {
        #[test]
        fn round_trips(plain in prop::collection::vec(any::<u8>(), 0..3000), again in 1..30_usize) {
            let plain = plain.repeat(again);
            let unpacked = unpack(&pack(&plain)).unwrap();
            prop_assert_eq!(&*unpacked, &plain);
        }

        #[test]
        fn garbage_does_no_harm(way in 0..4_u8, length in 0..100_000_u32, bytes: Vec<u8>) {
            let packed = [&[way][..], &length.to_be_bytes(), &bytes].concat();
            let _ = unpack(&packed);
        }
    }
}

//! The gists of blocks, kept in memory: the chart of a year opens many blocks, and few of them have changed since
//! somebody looked at it last.
//!
//! What is erased is not looked for any more, and goes when others need the room; places and free texts are in no gist.

use std::collections::HashMap;
use std::mem::{size_of, size_of_val, take};
use std::sync::{Arc, Mutex, PoisonError};

use super::moments::Moment;
use super::vehicle_data::KEY;

/// What was looked at lately, in at most a few megabytes. What was erased stays until other blocks push it out: a gist holds no text
/// and no place.
#[derive(Debug, Default)]
pub struct Gists(Mutex<Halves>);

/// What is asked for again moves to the young; when these are full, they are the old ones, and the old ones go.
#[derive(Debug, Default)]
struct Halves {
    young: HashMap<Key, Kept>,
    old: HashMap<Key, Kept>,
    /// Of the young.
    bytes: usize,
}

type Key = [u8; KEY];

/// What a block holds, for as long as it ends in this seal: what is written anew is sealed anew.
#[derive(Clone, Debug)]
struct Kept {
    seal: Seal,
    moments: Arc<[Moment]>,
}

/// The authentication tag.
type Seal = [u8; 16];

/// How many bytes half of them may take.
const HALF: usize = 2 * 1024 * 1024;

impl Gists {
    /// What a block holds, if it is still known.
    pub(super) fn of(&self, key: &[u8], sealed: &[u8]) -> Option<Arc<[Moment]>> {
        let (key, seal) = (Key::try_from(key).ok()?, sealed.last_chunk()?);
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = halves.young.get(&key) {
            return (kept.seal == *seal).then(|| kept.moments.clone());
        }
        let kept = halves.old.remove(&key).filter(|kept| kept.seal == *seal)?;
        halves.keep(key, kept.clone());
        Some(kept.moments)
    }

    /// Keeps what a block holds.
    pub(super) fn keep(&self, key: &[u8], sealed: &[u8], moments: Arc<[Moment]>) {
        if let (Ok(key), Some(seal)) = (key.try_into(), sealed.last_chunk()) {
            let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            halves.keep(key, Kept { seal: *seal, moments });
        }
    }
}

impl Halves {
    fn keep(&mut self, key: Key, kept: Kept) {
        self.bytes += kept.size();
        if let Some(before) = self.young.insert(key, kept) {
            self.bytes -= before.size();
        }
        if self.bytes > HALF {
            (self.old, self.bytes) = (take(&mut self.young), 0);
        }
    }
}

impl Kept {
    fn size(&self) -> usize {
        let around = size_of::<(Key, Kept)>() + 2 * size_of::<usize>();
        around + size_of_val(&*self.moments) + self.moments.iter().map(|moment| moment.gist.extent()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::model::gist::Gist;

    fn moments(value: f64) -> Arc<[Moment]> {
        (0..64).map(|at| Moment { at: Timestamp::from_millis(at), gist: Gist::Number(value) }).collect()
    }

    fn key(number: u32) -> Key {
        let mut key = Key::default();
        key[..4].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[test]
    fn what_was_written_anew_is_not_known() {
        let gists = Gists::default();
        gists.keep(&key(1), &[1; 40], moments(1.0));
        assert_eq!(gists.of(&key(1), &[1; 40]), Some(moments(1.0)));
        assert_eq!(gists.of(&key(1), &[2; 40]), None);
        assert_eq!(gists.of(&key(2), &[1; 40]), None);
        gists.keep(&key(1), &[2; 40], moments(2.0));
        assert_eq!(gists.of(&key(1), &[2; 40]), Some(moments(2.0)));
        assert_eq!(gists.of(b"short", b""), None);
    }

    #[test]
    fn what_is_asked_for_stays_and_the_room_is_bounded() {
        let gists = Gists::default();
        for number in 0..5_000 {
            gists.keep(&key(number), &[1; 40], moments(1.0));
            assert!(gists.of(&key(0), &[1; 40]).is_some());
            if number % 500 == 0 {
                let Halves { young, old, .. } = &*gists.0.lock().unwrap();
                let bytes: usize = young.values().chain(old.values()).map(Kept::size).sum();
                assert!(bytes <= 2 * HALF);
            }
        }
        assert_eq!(gists.of(&key(1), &[1; 40]), None);
        assert!(gists.of(&key(4_999), &[1; 40]).is_some());
    }
}

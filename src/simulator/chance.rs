//! Seeded chance (splitmix64): the same seed and label give the same cars, ids and tokens again.

use uuid::Uuid;

/// A small generator. Not for secrets: everything here is pretence.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    /// A generator of its own for `label`, so that what one account draws never moves another's cars.
    pub(super) fn of(seed: u64, label: &str) -> Chance {
        let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Chance(label.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed.rotate_left(32), fnv))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` up to, not including, `high`.
    pub(super) fn whole(&mut self, low: u32, high: u32) -> u32 {
        let span = u64::from(high.saturating_sub(low).max(1));
        low.saturating_add(u32::try_from(self.next() % span).unwrap_or(0))
    }

    /// A number from `low` to `high`.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        let part = u32::try_from(self.next() >> 32).unwrap_or(0);
        low + (high - low) * f64::from(part) / f64::from(u32::MAX)
    }

    /// True with this probability. Always draws, so that a changed probability moves nothing else.
    pub(super) fn hit(&mut self, probability: f64) -> bool {
        let drawn = self.between(0.0, 1.0);
        probability >= 1.0 || drawn < probability
    }

    /// One of `choices`, which must not be empty.
    pub(super) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let count = u64::try_from(choices.len()).unwrap_or(1).max(1);
        &choices[usize::try_from(self.next() % count).unwrap_or(0)]
    }

    /// An id in the form of a random UUID.
    pub(super) fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next().to_be_bytes());
        bytes[8..].copy_from_slice(&self.next().to_be_bytes());
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// 32 letters and digits.
    pub(super) fn word(&mut self) -> String {
        Uuid::from_u64_pair(self.next(), self.next()).simple().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_its_own_line_of_chance() {
        let draw = |seed, label| Chance::of(seed, label).uuid();
        assert_eq!(draw(7, "a"), draw(7, "a"));
        assert_ne!(draw(7, "a"), draw(7, "b"));
        assert_ne!(draw(7, "a"), draw(8, "a"));
    }

    #[test]
    fn stays_within_bounds() {
        let mut chance = Chance::of(1, "bounds");
        for _ in 0..1000 {
            assert!((3..9).contains(&chance.whole(3, 9)));
            assert!((-1.0..=1.0).contains(&chance.between(-1.0, 1.0)));
            assert!(chance.hit(1.0) && !chance.hit(0.0));
        }
    }
}

//! What must be nowhere on a disk.

/// The number plates of a run: what its cars and owners would not want to be read.
#[derive(Clone, Debug)]
pub(super) struct Canaries {
    pub(super) vin: String,
    pub(super) latitude: String,
}

impl Canaries {
    pub(super) fn of(seed: u64) -> Canaries {
        Canaries { vin: format!("WVGCANARY{:08}", seed % 100_000_000), latitude: format!("48.77{:07}1", seed % 10_000_000) }
    }
}

/// So much is passed over at once, where nothing was written.
const STRETCH: usize = 256;

/// Panics if one of `secrets` is in `bytes`.
pub(super) fn check(bytes: &[u8], secrets: &[String]) {
    let mut begins = vec![false; 1 << 16];
    for secret in secrets {
        assert!(secret.len() >= 8, "too short to be looked for");
        begins[usize::from(secret.as_bytes()[0]) << 8 | usize::from(secret.as_bytes()[1])] = true;
    }
    let nothing = [0; STRETCH];
    for (number, stretch) in bytes.chunks(STRETCH).enumerate() {
        if stretch == &nothing[..stretch.len()] {
            continue;
        }
        let begin = number * STRETCH;
        let pairs = bytes[begin..].windows(2).take(STRETCH).enumerate();
        for (at, _) in pairs.filter(|(_, pair)| begins[usize::from(pair[0]) << 8 | usize::from(pair[1])]) {
            for secret in secrets {
                assert!(!bytes[begin + at..].starts_with(secret.as_bytes()), "the disk holds a secret: {secret}");
            }
        }
    }
}

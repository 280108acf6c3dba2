//! When a token set is to be renewed.

use std::time::Duration;

use crate::model::{ConnectionId, Timestamp};
use crate::store::tokens::SealedTokens;
use crate::world::Entropy;

/// When tokens are renewed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long before its expiry an access token is renewed, while the connection is in use.
    pub access_margin: Duration,
    /// How long before its expiry a refresh token is renewed at the latest.
    pub refresh_margin: Duration,
    /// How often an idle connection is renewed; also how long a connection counts as in use.
    pub idle_renewal: Duration,
    /// How long a refresh token lives. Smartcar does not say it in its answers; its SDKs reckon 60 days.
    pub refresh_life: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        let day = Duration::from_secs(86_400);
        Settings {
            access_margin: Duration::from_secs(600),
            refresh_margin: 5 * day,
            idle_renewal: 7 * day,
            refresh_life: 60 * day,
        }
    }
}

/// When a set is due: by the contract's rule, and up to a sixteenth of that time earlier, so that connections
/// that were connected or refreshed together do not stay together. Of a set from the future nothing is known.
pub(super) fn due_at(settings: &Settings, connection: ConnectionId, tokens: &SealedTokens, now: Timestamp) -> Timestamp {
    if is_from_the_future(tokens, now) {
        return now;
    }
    let due_at = rule(settings, tokens, now);
    due_at.before((due_at.since(tokens.issued_at) / 16).mul_f64(share(connection, tokens.version)))
}

/// The contract's rule: in use, before the access token dies; idle, by `idle_renewal`, and in any case
/// before the refresh token dies. A margin longer than a third of a token's life counts as a third.
fn rule(settings: &Settings, tokens: &SealedTokens, now: Timestamp) -> Timestamp {
    let before = |expires_at: Timestamp, margin: Duration| expires_at.before(margin.min(expires_at.since(tokens.issued_at) / 3));
    let Some(refresh_expires_at) = tokens.refresh_expires_at else {
        return before(tokens.access_expires_at, settings.access_margin);
    };
    let at_the_latest = before(refresh_expires_at, settings.refresh_margin);
    if now.since(tokens.used_at) < settings.idle_renewal {
        return before(tokens.access_expires_at, settings.access_margin).min(at_the_latest);
    }
    tokens.issued_at.after(settings.idle_renewal).min(at_the_latest)
}

/// No set is due later than this: such times were made while the clock was ahead, or are read while it is behind.
pub(super) fn latest(settings: &Settings, now: Timestamp) -> Timestamp {
    let longest_access = Duration::from_secs(86_400);
    now.after(settings.idle_renewal.min(settings.refresh_life).max(longest_access))
}

/// Whether an access token will outlive the call it is asked for. One from the future is tried before it is
/// renewed, unless the clock is known to be right: Smartcar says soon enough if it is dead.
pub(super) fn is_fresh(tokens: &SealedTokens, now: Timestamp, clock_is_right: bool) -> bool {
    if is_from_the_future(tokens, now) {
        return !clock_is_right;
    }
    let life = tokens.access_expires_at.since(tokens.issued_at);
    tokens.access_expires_at.before(Duration::from_secs(60).min(life / 6)) > now
}

/// Whether tokens were issued while the clock was ahead: then none of their times can be believed.
fn is_from_the_future(tokens: &SealedTokens, now: Timestamp) -> bool {
    tokens.issued_at > now.after(Duration::from_secs(300))
}

/// 1, 2, 4, ... seconds up to five minutes, each anywhere between its half and its whole.
pub(super) fn backoff(tries: u32, entropy: &dyn Entropy) -> Duration {
    let whole = Duration::from_secs(1 << tries.saturating_sub(1).min(9)).min(Duration::from_secs(300));
    whole / 2 + whole.mul_f64(chance(entropy) / 2.0)
}

/// Anything from 0 to 1.
pub(super) fn chance(entropy: &dyn Entropy) -> f64 {
    let mut chance = [0; 2];
    entropy.fill(&mut chance);
    f64::from(u16::from_be_bytes(chance)) / 65_536.0
}

/// A number from 0 to 1 that is always the same for a set, and another one for every other.
fn share(connection: ConnectionId, version: u64) -> f64 {
    // FNV-1a: no secret, only spread.
    let bytes = connection.0.as_bytes().iter().copied().chain(version.to_be_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let [.., high, low] = (hash ^ (hash >> 32)).to_be_bytes();
    f64::from(u16::from_be_bytes([high, low])) / 65_536.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Blob;
    use crate::world::SystemEntropy;

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);

    fn issued_at_zero(access: Duration, refresh: Option<Duration>) -> SealedTokens {
        let zero = Timestamp::from_millis(0);
        SealedTokens {
            version: 1,
            sealed: Blob(Vec::new()),
            access_expires_at: zero.after(access),
            refresh_expires_at: refresh.map(|life| zero.after(life)),
            issued_at: zero,
            used_at: zero,
            due_at: None,
        }
    }

    fn at(after: Duration) -> Timestamp {
        Timestamp::from_millis(0).after(after)
    }

    #[test]
    fn in_use_by_access_expiry_and_idle_by_the_week() {
        let settings = Settings::default();
        let tokens = issued_at_zero(2 * HOUR, Some(60 * DAY));
        assert_eq!(rule(&settings, &tokens, at(HOUR)), at(Duration::from_secs(6600)));
        assert_eq!(rule(&settings, &tokens, at(8 * DAY)), at(7 * DAY));
        let rarely = Settings { idle_renewal: 90 * DAY, ..settings };
        assert_eq!(rule(&rarely, &tokens, at(91 * DAY)), at(55 * DAY));
    }

    #[test]
    fn a_long_margin_counts_as_a_third() {
        let settings = Settings::default();
        assert_eq!(rule(&settings, &issued_at_zero(Duration::from_secs(30), None), at(HOUR)), at(Duration::from_secs(20)));
        assert_eq!(rule(&settings, &issued_at_zero(2 * HOUR, Some(6 * DAY)), at(30 * DAY)), at(4 * DAY));
    }

    #[test]
    fn sets_that_came_together_are_due_one_after_the_other() {
        let (settings, tokens) = (Settings::default(), issued_at_zero(2 * HOUR, Some(60 * DAY)));
        let due = |number| due_at(&settings, ConnectionId(uuid::Uuid::from_u128(number)), &tokens, at(HOUR));
        let mut minutes = [0; 8];
        for number in 0..8000 {
            let early = at(Duration::from_secs(6600)).since(due(number));
            minutes[usize::try_from(early.as_secs() / 60).unwrap()] += 1;
        }
        assert!(minutes[..6].iter().all(|count| (900..1500).contains(count)) && minutes[7] == 0, "{minutes:?}");
        assert_eq!(due(7), due(7));
    }

    #[test]
    fn a_set_from_the_future_is_tried_while_the_clock_may_be_wrong() {
        let tokens = issued_at_zero(2 * HOUR, None);
        let before = Timestamp::from_millis(-3_600_000);
        assert!(is_fresh(&tokens, before, false) && !is_fresh(&tokens, before, true));
        assert!(is_fresh(&tokens, at(HOUR), true) && !is_fresh(&tokens, at(2 * HOUR), false));
    }

    #[test]
    fn backoff_grows_to_five_minutes_and_never_overflows() {
        for (tries, whole) in [(1, 1), (2, 2), (5, 16), (9, 256), (10, 300), (u32::MAX, 300)] {
            let waited = backoff(tries, &SystemEntropy);
            assert!(waited >= Duration::from_secs(whole) / 2 && waited <= Duration::from_secs(whole), "{tries}: {waited:?}");
        }
    }
}

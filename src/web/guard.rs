//! How often: a bucket for each client and purpose, in a table of fixed size.
//!
//! governor's own keyed store grows with every address it sees. Here each purpose has a table of 65,536 slots, which
//! clients share under a hash with a secret key: memory has a bound, nothing needs sweeping, and nobody can choose to
//! share a slot with somebody else. Whoever has a whole IPv6 site (a /48) has 65,536 networks in it: so sites have
//! buckets too, sixteen times as large, in a smaller table.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::time::Instant;

use super::allowance::Allowance;
use super::router::Bucket;
use super::settings::{self, Limits};
use crate::world::Entropy;

/// All buckets of all clients.
pub(super) struct Guard {
    webhook_failures: Limit,
    callback: Limit,
    sign_in: Limit,
    login: Limit,
    tokens: Limit,
    api: Limit,
}

struct Limit {
    quota: settings::Quota,
    households: Limiter,
    /// Each of many households.
    sites: Limiter,
}

type Limiter = RateLimiter<Household, Table, TokioClock, StateInformationMiddleware>;

impl Guard {
    /// Full buckets.
    pub(super) fn new(limits: &Limits, entropy: &dyn Entropy) -> Guard {
        let mut key = [0; 32];
        entropy.fill(&mut key);
        let clock = TokioClock(Instant::now());
        let limiter =
            |quota: settings::Quota, pages| RateLimiter::new(governor_quota(quota), Table::new(key, pages), clock.clone());
        let limit = |quota| Limit { quota, households: limiter(quota, PAGES), sites: limiter(times(quota, SITE), SITE_PAGES) };
        Guard {
            webhook_failures: limit(limits.webhook_failures),
            callback: limit(limits.callback),
            sign_in: limit(times(limits.login, SIGN_IN)),
            login: limit(limits.login),
            tokens: limit(limits.login),
            api: limit(limits.api),
        }
    }

    /// Takes one from a bucket of a client, and says what is left; an empty one says when it will have one again.
    pub(super) fn take(&self, bucket: Bucket, address: IpAddr) -> Result<Allowance, Allowance> {
        let Limit { quota, households, sites } = match bucket {
            Bucket::WebhookFailures => &self.webhook_failures,
            Bucket::Callback => &self.callback,
            Bucket::SignIn => &self.sign_in,
            Bucket::Login => &self.login,
            Bucket::Tokens => &self.tokens,
            Bucket::Api => &self.api,
        };
        let allowance = |left: u32, wait| Allowance { bucket, quota: *quota, left, wait };
        let take = |limiter: &Limiter, of: Household| {
            let taken = limiter.check_key(&of).map(|state| state.remaining_burst_capacity());
            taken.map_err(|until| allowance(0, until.wait_time_from(limiter.clock().now())))
        };
        let left = take(households, Household::of(address))?;
        let left = Household::site_of(address).map_or(Ok(left), |site| Ok(take(sites, site)?.min(left)))?;
        Ok(allowance(left, quota.period / quota.count.max(1) * quota.count.saturating_sub(left)))
    }

    /// Takes what a failure costs more than a success, as far as it is there.
    pub(super) fn charge(&self, bucket: Bucket, address: IpAddr) -> Allowance {
        let mut last = self.take(bucket, address);
        for _ in 1..SURCHARGE {
            last = last.and_then(|_| self.take(bucket, address));
        }
        last.unwrap_or_else(|empty| empty)
    }
}

/// A request that fails counts three times.
const SURCHARGE: u32 = 2;

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

impl Bucket {
    /// Its name in metrics and in `RateLimit` headers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Bucket::WebhookFailures => "webhook_failures",
            Bucket::Callback => "callback",
            Bucket::SignIn => "sign_in",
            Bucket::Login => "login",
            Bucket::Tokens => "tokens",
            Bucket::Api => "api",
        }
    }
}

/// Who shares a bucket: an IPv4 address, or the 64 bits of an IPv6 network that one household has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Household([u8; 8]);

impl Household {
    /// That of an address.
    pub(super) fn of(address: IpAddr) -> Household {
        match address.to_canonical() {
            // No IPv6 network begins with 0xffff.
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                Household([0xff, 0xff, 0xff, 0xff, a, b, c, d])
            }
            IpAddr::V6(address) => {
                let mut network = [0; 8];
                network.copy_from_slice(&address.octets()[..8]);
                Household(network)
            }
        }
    }

    /// The first 48 bits of an IPv6 address: what one customer may have at most.
    fn site_of(address: IpAddr) -> Option<Household> {
        let Household(mut network) = Household::of(address);
        network[6..].fill(0);
        address.to_canonical().is_ipv6().then_some(Household(network))
    }
}

/// The slots of one purpose.
struct Table {
    key: [u8; 32],
    /// Made when the first client comes that falls on them: most households have few.
    pages: Vec<OnceLock<Page>>,
}

type Page = Box<[InMemoryState; SLOTS]>;

impl Table {
    fn new(key: [u8; 32], pages: usize) -> Table {
        Table { key, pages: (0..pages).map(|_| OnceLock::new()).collect() }
    }

    fn slot(&self, client: Household) -> &InMemoryState {
        let mut hash = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        hash.update(&client.0);
        let hash = hash.finalize().into_bytes();
        let page = &self.pages[usize::from(hash[0]) % self.pages.len()];
        &page.get_or_init(|| Box::new(std::array::from_fn(|_| InMemoryState::default())))[usize::from(hash[1])]
    }
}

impl StateStore for Table {
    type Key = Household;

    fn measure_and_replace<T, F, E>(&self, client: &Household, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.slot(*client).measure_and_replace(&NotKeyed::NonKey, decide)
    }
}

/// governor's clock over tokio's, which tests can pause.
#[derive(Clone, Debug)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

fn governor_quota(quota: settings::Quota) -> Quota {
    let count = NonZeroU32::new(quota.count).unwrap_or(NonZeroU32::MIN);
    let each = (quota.period / count.get()).max(Duration::from_nanos(1));
    Quota::with_period(each).map_or_else(|| Quota::per_second(count), |rate| rate.allow_burst(count))
}

/// So many times a quota.
fn times(quota: settings::Quota, factor: u32) -> settings::Quota {
    settings::Quota { count: quota.count.saturating_mul(factor), ..quota }
}

/// What a whole site has, in households.
const SITE: u32 = 16;

/// How often the sign-in may be asked for, in tries to sign in.
pub(super) const SIGN_IN: u32 = 10;

/// As many pages of households, and slots on each page, as a byte can count.
const PAGES: usize = 256;
const SLOTS: usize = 256;

/// Pages of sites.
const SITE_PAGES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Sevens;

    impl Entropy for Sevens {
        fn fill(&self, out: &mut [u8]) {
            out.fill(7);
        }
    }

    fn guard() -> Guard {
        let limits = Limits { login: settings::Quota::new(3, Duration::from_secs(30)), ..Limits::default() };
        Guard::new(&limits, &Sevens)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_empties_and_fills_again() {
        let guard = guard();
        for _ in 0..3 {
            guard.take(Bucket::Login, address("192.0.2.1")).unwrap();
        }
        let refused = guard.take(Bucket::Login, address("192.0.2.1")).unwrap_err();
        assert_eq!((refused.left, refused.wait), (0, Duration::from_secs(10)));
        // Others, and the same client for other purposes, are not concerned.
        guard.take(Bucket::Login, address("192.0.2.2")).unwrap();
        guard.take(Bucket::Api, address("192.0.2.1")).unwrap();
        tokio::time::advance(Duration::from_secs(10)).await;
        guard.take(Bucket::Login, address("192.0.2.1")).unwrap();
        assert!(guard.take(Bucket::Login, address("192.0.2.1")).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_told_and_failures_cost_more() {
        let limits = Limits { api: settings::Quota::new(10, Duration::from_secs(20)), ..Limits::default() };
        let guard = Guard::new(&limits, &Sevens);
        let left = |allowance: Allowance| (allowance.left, allowance.wait.as_secs());
        let client = address("192.0.2.1");
        assert_eq!(left(guard.take(Bucket::Api, client).unwrap()), (9, 2));
        assert_eq!(left(guard.charge(Bucket::Api, client)), (7, 6));
        for _ in 0..6 {
            guard.take(Bucket::Api, client).unwrap();
        }
        // An empty bucket takes no debts: who waits for one gets one.
        assert_eq!(left(guard.charge(Bucket::Api, client)), (0, 2));
        tokio::time::advance(Duration::from_secs(2)).await;
        guard.take(Bucket::Api, client).unwrap();
    }

    /// Behind a trusted proxy anybody may come from as many networks as there are.
    #[tokio::test(start_paused = true)]
    async fn a_million_clients_take_no_more_room_than_the_table_has() {
        let guard = guard();
        let (mut served, mut refused) = (0, 0);
        for network in 0..1_000_000_u128 {
            let client = IpAddr::V6((0x2001_0000_0000_0000_0000_0000_0000_0001 | (network << 80)).into());
            match guard.take(Bucket::Api, client) {
                Ok(_) => served += 1,
                Err(_) => refused += 1,
            }
        }
        let made = |limiter: Limiter| limiter.into_state_store().pages.iter().filter(|page| page.get().is_some()).count();
        let bytes = (made(guard.api.households) + made(guard.api.sites)) * size_of::<[InMemoryState; SLOTS]>();
        println!("a million clients: {bytes} bytes, {served} served, {refused} refused");
        assert!(bytes <= 576 * 1024);
        // They share buckets; with one request each, none of these is empty.
        assert_eq!(refused, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_site_has_as_much_as_sixteen_households() {
        let guard = guard();
        let network = |number: u32| address(&format!("2001:db8:1:{number:x}::1"));
        for number in 0..48 {
            guard.take(Bucket::Login, network(number)).unwrap();
        }
        // However full the household's own bucket is.
        assert_eq!(guard.take(Bucket::Login, network(99)).unwrap_err().left, 0);
        guard.take(Bucket::Login, address("2001:db8:2::1")).unwrap();
        guard.take(Bucket::Login, address("192.0.2.1")).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        guard.take(Bucket::Login, network(98)).unwrap();
    }

    /// However many come for one purpose, another is not concerned.
    #[tokio::test(start_paused = true)]
    async fn purposes_share_no_slots() {
        let guard = guard();
        for client in 0..50_000_u32 {
            let client = IpAddr::V4(client.into());
            while guard.take(Bucket::Tokens, client).is_ok() {}
        }
        for client in 0..1000_u32 {
            guard.take(Bucket::Login, IpAddr::V4(client.into())).unwrap();
        }
    }

    #[test]
    fn one_household_is_one_client() {
        let client = |text| Household::of(address(text));
        assert_eq!(client("2001:db8:1:2::1"), client("2001:db8:1:2:ffff::9"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
    }
}

//! The store on disks that fail, lie, or lose what was not flushed: what it has acknowledged it keeps, and
//! what is lost all the same it reports.
//!
//! A model of plain maps says what a store should hold (`model`), random histories of all changes drive
//! both (`deeds`), and everything that can be read of the two is compared (`view`). Every story names the
//! seeds under which it fails; `CARPORT_SEED` plays one of them alone.

use std::fmt::Write;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use carport::app::Keys;
use carport::metrics::Metrics;
use carport::model::Timestamp;
use carport::store::{Settings, Store, StoreError};
use carport::vault::MasterKey;
use carport::world::{Clock, Entropy, Transport, TransportError, World};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::runtime::{Builder, Runtime};

use crate::gateway::is_long;

mod belief;
mod deeds;
pub(crate) mod disk;
mod faults;
mod late;
mod lies;
mod model;
mod pages;
mod past;
mod power;
mod replay;
mod reseal;
mod rot;
mod view;

use disk::{Chance, Disk};
use view::View;

/// When all histories begin.
const BEGIN: Timestamp = Timestamp::from_millis(1_760_000_000_000);

/// A world in which nothing happens but chance.
#[derive(Debug)]
struct Stillness(Mutex<Chance>);

impl Clock for Stillness {
    fn now(&self) -> Timestamp {
        BEGIN
    }
}

impl Entropy for Stillness {
    fn fill(&self, out: &mut [u8]) {
        let mut chance = self.0.lock().unwrap();
        out.fill_with(|| chance.next().to_le_bytes()[0]);
    }
}

impl Transport for Stillness {
    fn send(&self, _: Request<Bytes>, _: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        unreachable!("a store knows no network")
    }
}

/// Always the same, with another one that is to replace it.
fn keys(with_next: bool) -> Keys {
    let key = |seed| MasterKey::generate(&Stillness(Mutex::new(Chance::new(seed))));
    Keys { key: key(0), next: with_next.then(|| key(1)) }
}

/// Opens the store of a disk, always under the same key.
fn open(disk: &Disk, chance: &mut Chance) -> Result<Store, StoreError> {
    open_with(disk, &keys(false), chance)
}

fn open_with(disk: &Disk, keys: &Keys, chance: &mut Chance) -> Result<Store, StoreError> {
    let world = Arc::new(Stillness(Mutex::new(chance.split())));
    let vault = keys.vault(&*world);
    let world = World { clock: world.clone(), entropy: world.clone(), transport: world };
    // With a small cache pages reach the disk before their time.
    let cache = [0, 64 * 1024, Settings::default().cache][chance.below(3)];
    Store::open_at(
        Arc::new(disk.clone()),
        Settings { cache, inline: true, ..Settings::default() },
        vault,
        &world,
        Arc::new(Metrics::new()),
    )
}

/// What a store without threads of its own answers, in no time.
fn now<T>(answer: impl Future<Output = T>) -> T {
    thread_local! {
        static TIME: Runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    }
    TIME.with(|time| time.block_on(answer))
}

fn view(store: &Store) -> Result<View, StoreError> {
    now(store.read(View::of_store))
}

/// The body of an event is the same whenever it comes. Some are large.
fn body_of(event: &str) -> String {
    let mut chance = Chance::new(event.bytes().fold(0, |hash, byte| hash * 31 + u64::from(byte)));
    let length = match event.as_bytes().last() {
        Some(b'0') => 14_000,
        Some(b'1' | b'2') => 5_000,
        _ => chance.below(900),
    };
    let mut body = format!("{{\"eventId\":\"{event}\",\"noise\":\"");
    while body.len() < length {
        write!(body, "{:x}", chance.next()).unwrap();
    }
    body.push_str("\"}");
    body
}

/// Tells a story under many seeds, in the long form on every processor; fails with the names of those
/// under which it failed. What a story returns is summed up, and must be so much.
pub(crate) fn under_seeds(seeds: Range<u64>, at_least: u64, story: impl Fn(u64) -> u64 + Sync) -> u64 {
    let (seeds, at_least) = match std::env::var_os("CARPORT_SEED").and_then(|seed| seed.to_str()?.parse().ok()) {
        Some(seed) => (seed..seed + 1, 0),
        None => (seeds, at_least),
    };
    let (next, sum, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || failed.lock().unwrap().len() > 20 {
                return;
            }
            if let Ok(value) = catch_unwind(AssertUnwindSafe(|| story(seed))) {
                sum.fetch_add(value, Ordering::Relaxed);
            } else {
                eprintln!("the seed was {seed}");
                failed.lock().unwrap().push(seed);
            }
        }
    };
    let threads = if is_long() { std::thread::available_parallelism().map_or(1, |count| count.get()) } else { 1 };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "under the seeds {failed:?} of {seeds:?}; CARPORT_SEED plays one of them alone");
    let sum = sum.into_inner();
    assert!(sum >= at_least, "only {sum}");
    sum
}

//! What is measured in a child: flushes, and commits under load.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use redb::StorageBackend;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::carport::{Carport, vault};
use crate::disk::Disk;
use crate::event::Events;
use crate::flat;
use crate::job::{Engine, Figures};
use crate::load::{Keeps, load, runtime};
use crate::plain::Plain;

/// How fast the disk is by itself.
pub(crate) fn flushes(directory: &Path, count: u64, delay_ms: u64) -> anyhow::Result<Figures> {
    let disk = Disk::new(directory);
    let file = disk.file("flushes")?;
    let blocks = 64;
    file.write(0, &vec![1; blocks * 4096])?;
    file.sync_data()?;
    disk.slow_down(delay_ms);
    let began = Instant::now();
    for number in 0..count {
        file.write(number % blocks as u64 * 4096, &[number.to_le_bytes()[0]; 4096])?;
        file.sync_data()?;
    }
    Ok(figures([("rate", float(count) / began.elapsed().as_secs_f64())]))
}

/// Commits of events, after the ring is full.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) engine: Engine,
    pub(crate) in_flight: u64,
    pub(crate) events: u64,
    pub(crate) ring: u64,
    pub(crate) vehicles: u64,
    /// Added to each flush of the measured part.
    pub(crate) delay_ms: u64,
    /// Other events each time, should the directory be used again.
    pub(crate) seed: u64,
}

impl Load {
    pub(crate) fn run(&self, directory: &Path) -> anyhow::Result<Figures> {
        runtime()?.block_on(async {
            let disk = Disk::new(directory);
            let events = Events { seed: self.seed, vehicles: self.vehicles };
            let fill = move |number| Arc::new(events.event(number));
            match self.engine {
                Engine::Carport => {
                    let carport = Carport::open(&disk, self.ring, false)?;
                    let start = carport.prepare(events).await?;
                    let figures = self.measure(&carport, &disk, start, async || carport.checkpoint().await).await?;
                    carport.store.close().await;
                    Ok(figures)
                }
                Engine::Plain => {
                    let queue = Plain::open(&disk, vault())?.start(self.ring);
                    load(&queue, 512, 0..self.ring, fill).await;
                    self.measure(&queue, &disk, self.ring, async || Ok(())).await
                }
                Engine::Flat => self.measure(&flat::start(&disk, vault())?, &disk, 0, async || Ok(())).await,
            }
        })
    }

    /// The time counts until the last caller has its answer; bytes, until all is settled.
    async fn measure(
        &self,
        keeper: &impl Keeps,
        disk: &Disk,
        start: u64,
        settle: impl AsyncFn() -> anyhow::Result<()>,
    ) -> anyhow::Result<Figures> {
        let numbers = start..start + self.events;
        let event = self.made(numbers.clone());
        settle().await?;
        disk.slow_down(self.delay_ms);
        let (flushes, journal, written) = (disk.flushes(), disk.journal(), disk.written());
        let took = load(keeper, self.in_flight, numbers, event).await;
        let flushes = disk.flushes() - flushes;
        disk.slow_down(0);
        settle().await?;
        Ok(figures([
            ("rate", float(self.events) / took.as_secs_f64()),
            ("bytes", float(disk.written() - written) / float(self.events)),
            ("journal", float(disk.journal() - journal) / float(self.events)),
            ("flushes", float(flushes) / float(self.events)),
        ]))
    }

    /// Events that are made before the clock runs.
    fn made(&self, numbers: Range<u64>) -> impl Fn(u64) -> Arc<crate::event::Event> + Clone + use<> {
        let events = Events { seed: self.seed, vehicles: self.vehicles };
        let start = numbers.start;
        let made: Arc<[_]> = numbers.map(|number| Arc::new(events.event(number))).collect();
        move |number| made[usize::try_from(number - start).expect("as many as fit into memory")].clone()
    }
}

pub(crate) fn figures<const N: usize>(named: [(&str, f64); N]) -> Figures {
    named.into_iter().map(|(name, figure)| (name.to_owned(), figure)).collect()
}

/// A count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "nothing here counts to 2^52")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

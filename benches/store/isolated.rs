//! What a lone event costs, with everything that a gateway does for it: log entry, readings, checkpoints.
//! Time is simulated: two events a second, and the store tended once a second.

use std::path::Path;
use std::time::Duration;

use carport::model::event::Grammar;
use carport::projector::Projector;
use futures_util::future::try_join_all;
use tokio::runtime::Builder;

use crate::carport::Carport;
use crate::disk::Disk;
use crate::event::Events;
use crate::job::Figures;
use crate::load::runtime;
use crate::measure::{figures, float};

/// `events` are measured after the ring is full and every car has data.
pub(crate) fn run(directory: &Path, events: u64, ring: u64, vehicles: u64) -> anyhow::Result<Figures> {
    let made = Events { seed: 1, vehicles };
    runtime()?.block_on(fill(directory, ring, made))?;
    let paused = Builder::new_current_thread().enable_all().start_paused(true).build()?;
    paused.block_on(async {
        let disk = Disk::new(directory);
        let carport = Carport::open(&disk, ring, true)?;
        let projector = Projector::new(carport.store.clone(), carport.ring(), Grammar::CURRENT);
        carport.checkpoint().await?;

        let (mut until_answered, mut in_all) = (Vec::new(), Vec::new());
        let (written, journal, flushed) = (disk.written(), disk.journal(), disk.flushes());
        for number in ring..ring + events {
            let event = made.event(number);
            let before = disk.flushes();
            carport.record(&event).await?;
            until_answered.push(disk.flushes() - before);
            projector.catch_up().await?;
            in_all.push(disk.flushes() - before);
            tokio::time::advance(Duration::from_millis(500)).await;
            if number % 2 == 1 {
                carport.store.tend().await;
            }
        }
        carport.checkpoint().await?;
        let figures = figures([
            ("bytes", float(disk.written() - written) / float(events)),
            ("journal", float(disk.journal() - journal) / float(events)),
            ("flushes", float(disk.flushes() - flushed) / float(events)),
            ("flushes of most", middle(in_all)),
            ("flushes until answered", middle(until_answered)),
        ]);
        carport.store.close().await;
        Ok(figures)
    })
}

async fn fill(directory: &Path, ring: u64, made: Events) -> anyhow::Result<()> {
    let carport = Carport::open(&Disk::new(directory), ring, false)?;
    let projector = Projector::new(carport.store.clone(), carport.ring(), Grammar::CURRENT);
    carport.link(made.vehicles).await?;
    for first in (0..ring).step_by(256) {
        let some: Vec<_> = (first..ring.min(first + 256)).map(|number| made.event(number)).collect();
        try_join_all(some.iter().map(|event| carport.record(event))).await?;
        projector.catch_up().await?;
    }
    carport.store.close().await;
    Ok(())
}

/// Checkpoints are few, and do not show.
fn middle(mut flushes: Vec<u64>) -> f64 {
    flushes.sort_unstable();
    flushes.get(flushes.len() / 2).copied().map_or(0.0, float)
}

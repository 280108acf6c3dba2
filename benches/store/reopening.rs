//! A store that is killed in the middle of its work, and opened again.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use tokio::time::Instant;

use crate::carport::Carport;
use crate::disk::Disk;
use crate::event::Events;
use crate::job::Figures;
use crate::load::{load, runtime};
use crate::measure::figures;

/// How many events are committed between two lines.
pub(crate) const LINE: u64 = 100;

/// Fills the ring, then commits until it is killed, with a line after every hundred.
pub(crate) fn endless(directory: &Path, ring: u64, seed: u64) -> anyhow::Result<Figures> {
    runtime()?.block_on(async {
        let carport = Carport::open(&Disk::new(directory), ring, false)?;
        let events = Events { seed, vehicles: 500 };
        let mut start = carport.prepare(events).await?;
        loop {
            load(&carport, 64, start..start + LINE, move |number| Arc::new(events.event(number))).await;
            start += LINE;
            writeln!(std::io::stdout(), "{start}")?;
        }
    })
}

/// Opens it, and looks that it is there.
pub(crate) fn open(directory: &Path, ring: u64) -> anyhow::Result<Figures> {
    runtime()?.block_on(async {
        let disk = Disk::new(directory);
        let began = Instant::now();
        let carport = Carport::open(&disk, ring, false)?;
        let took = began.elapsed();
        let entries = carport.store.read(|snapshot| Ok(snapshot.log_extent()?.entries)).await?;
        anyhow::ensure!(entries > ring * 9 / 10, "{entries} entries instead of {ring}");
        // Not closed: the next opening is to find what the kill left, and more.
        Ok(figures([("ms", took.as_secs_f64() * 1000.0)]))
    })
}

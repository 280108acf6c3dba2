//! What the refresh loop costs with ten, a thousand and ten thousand connections.
//!
//! `cargo bench --bench tokens` plays hours in simulated time over a store on the real disk, and counts the time
//! that the processor was busy. Only ratios are judged, so that the table means the same on another machine. It
//! ends with exit code 1 if the work for a connection grows with their number.

use std::process::ExitCode;
use std::time::Duration;

mod rig;

use rig::Rig;

/// How many connections, and how often all of them are refreshed.
const SIZES: [(usize, usize); 3] = [(10, 100), (1_000, 3), (10_000, 1)];

/// A thousand times the connections may cost this much more for each: trees are a little deeper, and pages fall
/// out of the cache.
const MOST: f64 = 2.0;

struct Row {
    size: usize,
    tick: Duration,
    due: Duration,
    memory: u64,
    remembered: usize,
}

fn main() -> anyhow::Result<ExitCode> {
    // `cargo test --all-targets` runs it without.
    if !std::env::args().any(|word| word == "--bench") {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:>12} {:>14} {:>14} {:>14} {:>12}", "connections", "an idle tick", "a connection", "memory", "remembered");
    let mut rows = Vec::new();
    for (size, rounds) in SIZES {
        let row = measure(size, rounds)?;
        let (tick, due) = (micros(row.tick), micros(row.due));
        println!("{:>12} {tick:>14} {due:>14} {:>10} KiB {:>12}", row.size, row.memory, row.remembered);
        rows.push(row);
    }
    let times = |cost: fn(&Row) -> Duration| {
        let (small, large) = (&rows[0], &rows[rows.len() - 1]);
        cost(large).as_secs_f64() / cost(small).as_secs_f64()
    };
    let (tick, due) = (times(|row| row.tick), times(|row| row.due));
    println!("ten thousand against ten: {tick:.2} times for a tick, {due:.2} times for a connection that is due");
    let is_constant = tick <= MOST && due <= MOST && rows.iter().all(|row| row.remembered == 0);
    println!(
        "work for a connection that is due stays constant (at most {MOST} times): {}",
        if is_constant { "yes" } else { "NO" }
    );
    Ok(if is_constant { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(size: usize, rounds: usize) -> anyhow::Result<Row> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(async {
        let rig = Rig::with(size).await?;
        let (mut busy, mut asked) = (Duration::ZERO, 0);
        for _ in 0..rounds {
            let (before, count) = (rig::busy()?, rig.asked());
            while rig.asked() < count + size {
                rig::pass(60).await;
            }
            busy += rig::busy()?.saturating_sub(before);
            asked += rig.asked() - count;
        }
        // By now none is due for an hour.
        let (before, count) = (rig::busy()?, rig.asked());
        let minutes = 30;
        rig::pass(60 * minutes).await;
        let ticks = u32::try_from(minutes)?;
        let idle = rig::busy()?.saturating_sub(before) / ticks;
        anyhow::ensure!(rig.asked() == count, "a tick was not idle");
        let row =
            Row { size, tick: idle, due: busy / u32::try_from(asked)?, memory: rig::memory()?, remembered: rig.remembered() };
        rig.end().await?;
        Ok(row)
    })
}

fn micros(time: Duration) -> String {
    format!("{:.1} us", time.as_secs_f64() * 1e6)
}

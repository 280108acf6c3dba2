//! A year of five cars: what their history takes on the disk, and how soon it is read.
//!
//! `cargo bench --bench history` offers about five million readings through the store, as webhooks bring them, and
//! reads them back through the API. `quick` after `--` does a tenth of it. Nothing is judged: figures depend on the
//! machine.
#![expect(clippy::cast_precision_loss, reason = "nobody needs a figure to the last bit")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use tokio::time::Instant;

mod car;
mod garage;

use garage::Garage;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match words[..] {
        [EXPORT, directory] => runtime.block_on(export(Path::new(directory)))?,
        // `cargo test --all-targets` runs it without.
        _ if words.contains(&"--bench") => {
            let days = if words.contains(&"quick") { 37 } else { 365 };
            let scratch = Scratch::new()?;
            runtime.block_on(bench(&scratch.0, days))?;
        }
        _ => {}
    }
    Ok(ExitCode::SUCCESS)
}

const EXPORT: &str = "export-in-a-process-of-its-own";

async fn bench(directory: &Path, days: u64) -> anyhow::Result<()> {
    let garage = Garage::open(directory).await?;
    garage.link().await?;
    let began = Instant::now();
    let offered = garage.fill(days).await?;
    let took = began.elapsed().as_secs_f64();
    garage.close().await?;
    let size = std::fs::metadata(directory.join("carport.redb")).context("the tables")?.len();
    say("readings offered", &format!("{offered} in {days} days of {} cars", garage::CARS));
    say("taken in at", &format!("{:.0} a second", offered as f64 / took));

    // Opened anew: nothing is in memory.
    let garage = Garage::open(directory).await?;
    let began = Instant::now();
    let kept = garage.count_changes().await?;
    say("changes kept", &format!("{kept}, counted by an export in {:.1} s", began.elapsed().as_secs_f64()));
    say("store", &format!("{:.1} MB, {:.0} bytes a change", size as f64 / 1e6, size as f64 / kept as f64));
    for (name, query) in garage::queries() {
        let (mut times, mut rows) = (Vec::new(), 0);
        for _ in 0..15 {
            let began = Instant::now();
            rows = garage.ask(&query).await?;
            times.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        let first = times[0];
        times.sort_by(f64::total_cmp);
        say(name, &format!("{:.1} ms (first time {first:.1} ms), {rows} rows", times[times.len() / 2]));
    }
    garage.close().await?;

    let child = Command::new(std::env::current_exe()?).args([EXPORT.as_ref(), directory.as_os_str()]).output()?;
    ensure!(child.status.success(), "the export failed: {}", String::from_utf8_lossy(&child.stderr));
    print!("{}", String::from_utf8_lossy(&child.stdout));
    Ok(())
}

/// Reads all of it, and tells how much memory that took at most.
async fn export(directory: &Path) -> anyhow::Result<()> {
    let garage = Garage::open(directory).await?;
    garage.ask(&garage::queries()[0].1).await?;
    let before = memory("VmRSS:")?;
    // Forgets the peak of the start.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let (began, bytes) = (Instant::now(), garage.export().await?);
    let took = began.elapsed().as_secs_f64();
    let peak = memory("VmHWM:")?;
    garage.close().await?;
    say("full export", &format!("{:.0} MB in {took:.1} s", bytes as f64 / 1e6));
    say("its memory", &format!("{:.1} MB at most, {:.1} MB before it", peak / 1e6, before / 1e6));
    Ok(())
}

fn say(what: &str, figure: &str) {
    println!("{what:<28} {figure}");
}

/// A figure of this process, in bytes.
fn memory(name: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("not told")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}

/// A directory that is gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Scratch> {
        let path = std::env::temp_dir().join(format!("carport-bench-history-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

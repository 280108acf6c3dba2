//! Webhook intake beside reference programs and beside what a user would write instead, as one table.
//!
//! `cargo bench --bench intake` measures everything in half an hour. Words after `--` choose rows by their names
//! (see `rows.rs`); `quick` measures shorter and once, which tells little. Every program is a process of its own, and
//! the load comes from this one. Rates are judged only as ratios, in interleaved rounds, so that the table means the
//! same on another machine. It ends with exit code 1 if something is not as it must be. A row whose programs cannot be
//! had is skipped, and says so.

use std::path::Path;
use std::process::ExitCode;

#[path = "../store/chance.rs"]
mod chance;
#[allow(dead_code, reason = "the store's benchmark counts more of it")]
#[path = "../store/disk.rs"]
mod disk;
#[allow(dead_code, reason = "the store's benchmark needs more of it")]
#[path = "../store/event.rs"]
mod event;
#[path = "../store/linking.rs"]
mod linking;
#[path = "../store/rounds.rs"]
mod rounds;
#[path = "../store/scratch.rs"]
mod scratch;
#[allow(dead_code, reason = "the store's benchmark has more units")]
#[path = "../store/table.rs"]
mod table;

mod burst;
mod garage;
mod gateway;
mod job;
mod line;
mod load;
mod memory;
mod others;
mod process;
mod program;
mod readers;
mod reference;
mod requests;
mod rows;
mod simulate;
mod steady;
mod trust;

use program::{CHILD, Inside};
use rounds::Extent;
use rows::{ALL, Bench};
use table::Table;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [CHILD, program, directory, delay_ms] => {
            Inside::named(program)?.serve(Path::new(directory), delay_ms.parse()?)?;
            Ok(ExitCode::SUCCESS)
        }
        // `cargo test --all-targets` runs it without.
        ref words if words.contains(&"--bench") => bench(words),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn bench(words: &[&str]) -> anyhow::Result<ExitCode> {
    let chosen: Vec<&str> = words.iter().copied().filter(|word| !["--bench", "quick"].contains(word)).collect();
    if let Some(unknown) = chosen.iter().find(|word| !ALL.iter().any(|(name, _)| name.contains(**word))) {
        let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        anyhow::bail!("no row is called {unknown}; there are: quick {}", names.join(" "));
    }
    let extent = if words.contains(&"quick") { Extent::QUICK } else { Extent::FULL };
    let bench = Bench::new(extent)?;
    let mut table = Table::begin();
    bench.tell_disk()?;
    for (name, measure) in ALL {
        if chosen.is_empty() || chosen.iter().any(|word| name.contains(word)) {
            measure(&bench)?.iter().for_each(|row| table.add(row));
        }
    }
    Ok(if table.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

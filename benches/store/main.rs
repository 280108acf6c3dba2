//! The store's figures against what they must be and what they should be, as one table.
//!
//! `cargo bench --bench store` measures everything in a quarter of an hour or so. Words after `--` choose
//! rows by their names (see `rows.rs`); `quick` measures shorter and once, which tells little.
//! Only ratios of rates are judged, so that the table means the same on another machine. It ends with exit
//! code 1 if something is not as it must be.

use std::path::Path;
use std::process::ExitCode;

mod carport;
mod chance;
mod disk;
mod event;
mod flat;
mod isolated;
mod job;
mod linking;
mod load;
mod measure;
mod memory;
mod plain;
mod queue;
mod reading;
mod reopening;
mod rounds;
mod rows;
#[allow(dead_code, reason = "the intake's benchmark copies into it")]
mod scratch;
mod table;

use job::{CHILD, Job};
use rounds::Extent;
use rows::{ALL, Bench};
use table::Table;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [CHILD, job, directory] => child(job, Path::new(directory)),
        // `cargo test --all-targets` runs it without.
        ref words if words.contains(&"--bench") => bench(words),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn child(job: &str, directory: &Path) -> anyhow::Result<ExitCode> {
    let figures = serde_json::from_str::<Job>(job)?.run(directory)?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(ExitCode::SUCCESS)
}

fn bench(words: &[&str]) -> anyhow::Result<ExitCode> {
    let chosen: Vec<&str> = words.iter().copied().filter(|word| !["--bench", "quick"].contains(word)).collect();
    if let Some(unknown) = chosen.iter().find(|word| !ALL.iter().any(|(name, _)| name.contains(**word))) {
        let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        anyhow::bail!("no row is called {unknown}; there are: quick {}", names.join(" "));
    }
    let extent = if words.contains(&"quick") { Extent::QUICK } else { Extent::FULL };
    let (mut table, bench) = (Table::begin(), Bench::new(extent));
    rows::tell_disk(extent)?;
    for (name, measure) in ALL {
        if chosen.is_empty() || chosen.iter().any(|word| name.contains(word)) {
            measure(&bench)?.iter().for_each(|row| table.add(row));
        }
    }
    Ok(if table.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

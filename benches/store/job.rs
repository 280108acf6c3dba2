//! One measurement: done by a process of its own, in a directory of its own, told as numbers by name.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::measure::Load;
use crate::scratch::Scratch;
use crate::{isolated, measure, reading, reopening};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Engine {
    /// The store.
    Carport,
    /// One redb file, one durable commit for each batch.
    Plain,
    /// A flat file that is only appended to.
    Flat,
}

/// A measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Overwrite 4 KiB and flush, again and again.
    Flushes { count: u64, delay_ms: u64 },
    /// Commit events, so many at once.
    Load(Load),
    /// One event at a time, with everything that it costs.
    Isolated { events: u64, ring: u64, vehicles: u64 },
    /// Fill the ring, then commit events until killed.
    Endless { ring: u64, seed: u64 },
    /// Open what was killed.
    Open { ring: u64 },
    /// Read the newest 50 entries, so many times.
    Pages { engine: Engine, count: u64 },
    /// Read the latest state of a car, so many times.
    Latest { engine: Engine, count: u64 },
}

/// What came of it.
pub(crate) type Figures = BTreeMap<String, f64>;

impl Job {
    /// Does it, in this process.
    pub(crate) fn run(self, directory: &Path) -> anyhow::Result<Figures> {
        match self {
            Job::Flushes { count, delay_ms } => measure::flushes(directory, count, delay_ms),
            Job::Load(load) => load.run(directory),
            Job::Isolated { events, ring, vehicles } => isolated::run(directory, events, ring, vehicles),
            Job::Endless { ring, seed } => reopening::endless(directory, ring, seed),
            Job::Open { ring } => reopening::open(directory, ring),
            Job::Pages { engine, count } => reading::pages(directory, engine, count),
            Job::Latest { engine, count } => reading::latest(directory, engine, count),
        }
    }

    /// Has a process of its own do it, in a fresh directory.
    pub(crate) fn measure(&self) -> anyhow::Result<Figures> {
        self.measure_in(&Scratch::new()?)
    }

    /// Has a process of its own do it, where others may have been at work.
    pub(crate) fn measure_in(&self, scratch: &Scratch) -> anyhow::Result<Figures> {
        let mut child = self.start(scratch)?;
        let mut text = String::new();
        child.stdout.take().context("no output")?.read_to_string(&mut text)?;
        ensure!(child.wait()?.success(), "{self:?} failed");
        Ok(serde_json::from_str(&text)?)
    }

    /// Kills it in the middle, after it has said so many lines.
    pub(crate) fn kill_after(&self, lines: u64, scratch: &Scratch) -> anyhow::Result<()> {
        let mut child = self.start(scratch)?;
        let mut said = BufReader::new(child.stdout.take().context("no output")?).lines();
        for _ in 0..lines {
            said.next().with_context(|| format!("{self:?} ended by itself"))??;
        }
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn start(&self, scratch: &Scratch) -> anyhow::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(CHILD).arg(serde_json::to_string(self)?).arg(&scratch.0);
        Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
    }
}

/// The argument that makes this program one of its own children: a job and a directory follow.
pub(crate) const CHILD: &str = "child";

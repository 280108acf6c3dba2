//! The programs that are measured, and how each is started.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::gateway::{self, DATA};
use crate::others::{Other, Others};
use crate::process::{Listening, Process};
use crate::reference;
use crate::scratch::Scratch;
use crate::simulate;

/// The argument that makes this program one of its own children: a name, a directory and the delay of a flush follow.
pub(crate) const CHILD: &str = "child";

/// A program that takes deliveries. Those with a number add so many milliseconds to each flush.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    /// The real program. Its log keeps so many events; the cars that send them are linked, or nobody knows them.
    Carport { keep_events: usize, linked: bool },
    /// The same, over TLS with a certificate of its own making.
    CarportOverTls,
    /// The same, which believes what a simulated Smartcar signs.
    CarportOfSimulator,
    /// The same rooms in a child of this program. The real one is static: nothing can get between it and its disk.
    CarportOver(u64),
    /// Proves and commits to redb.
    Reference(u64),
    /// Proves, and forgets.
    Hasher,
    /// What a user would write instead.
    Other(Other, u64),
}

/// What this program can be a child as.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Inside {
    Carport,
    Reference,
    Hasher,
}

impl Inside {
    pub(crate) fn named(name: &str) -> anyhow::Result<Inside> {
        [Inside::Carport, Inside::Reference, Inside::Hasher].into_iter().find(|one| one.name() == name).context("no such child")
    }

    fn name(self) -> &'static str {
        match self {
            Inside::Carport => "carport",
            Inside::Reference => "reference",
            Inside::Hasher => "hasher",
        }
    }

    /// Serves until killed.
    pub(crate) fn serve(self, directory: &Path, delay_ms: u64) -> anyhow::Result<()> {
        match self {
            Inside::Carport => gateway::serve(directory, delay_ms),
            Inside::Reference => reference::keep(directory, delay_ms),
            Inside::Hasher => reference::hash(),
        }
    }
}

impl Program {
    /// How many deliveries it takes until it does as it always will: Carport's log is full, code is compiled.
    pub(crate) fn warmth(self) -> usize {
        match self {
            Program::Carport { .. } | Program::CarportOver(_) | Program::CarportOverTls | Program::CarportOfSimulator => 10_000,
            Program::Reference(_) | Program::Hasher => 2_000,
            Program::Other(Other::Webhook, _) => 50,
            Program::Other(_, 0) => 1_000,
            Program::Other(..) => 200,
        }
    }

    /// Starts it in a fresh directory. `linked` is a data directory of Carport's with linked cars.
    pub(crate) fn start(self, linked: &Path, others: &Others) -> anyhow::Result<Process> {
        let scratch = Scratch::new()?;
        match self {
            Program::Carport { keep_events, linked: is_linked } => {
                prepare(&scratch, is_linked.then_some(linked), keep_events)?;
                Process::start(carport(), scratch, Listening::Told)
            }
            Program::CarportOverTls => {
                prepare(&scratch, Some(linked), 10_000)?;
                let mut command = carport();
                command.env("CARPORT_TLS_MODE", "self-signed");
                Process::start(command, scratch, Listening::Told)
            }
            Program::CarportOfSimulator => {
                prepare(&scratch, Some(linked), 10_000)?;
                let mut command = carport();
                command.env("CARPORT_SMARTCAR_APPLICATION_MANAGEMENT_TOKEN", simulate::TOKEN);
                Process::start(command, scratch, Listening::Told)
            }
            Program::CarportOver(delay_ms) => {
                prepare(&scratch, Some(linked), 10_000)?;
                child(Inside::Carport, scratch, delay_ms)
            }
            Program::Reference(delay_ms) => child(Inside::Reference, scratch, delay_ms),
            Program::Hasher => child(Inside::Hasher, scratch, 0),
            Program::Other(other, delay_ms) => {
                let address = free()?;
                Process::start(others.command(other, address, delay_ms)?, scratch, Listening::At(address))
            }
        }
    }
}

/// Says where a child of this program listens, as Carport does.
pub(crate) fn tell(address: SocketAddr) {
    let _ = writeln!(std::io::stdout(), "listening  {address}");
}

fn prepare(scratch: &Scratch, linked: Option<&Path>, keep_events: usize) -> anyhow::Result<()> {
    fs::write(scratch.0.join("config.toml"), gateway::config(keep_events))?;
    linked.map_or(Ok(()), |linked| scratch.copy(linked, DATA))
}

fn carport() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carport"));
    command.arg("serve").env_clear();
    command
}

fn child(inside: Inside, scratch: Scratch, delay_ms: u64) -> anyhow::Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(CHILD).arg(inside.name()).arg(&scratch.0).arg(delay_ms.to_string());
    Process::start(command, scratch, Listening::Told)
}

/// An address that nobody has. Somebody may take it before it is used, and then the round fails.
fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

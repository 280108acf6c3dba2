//! Words on the command line, made into one call.
//!
//! `serve`, `demo` and `simulate` run things; every administrative command is a client of `/api/v1`
//! ([`client`]), over the socket of a running server or in-process. What a command prints goes to standard
//! output, what it says about its work to standard error. Exit codes are [`Exit`].

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::config::{Config, ConfigFile, Environment, Overrides, Sources, load};
use crate::supervisor::Supervisor;

mod access;
pub mod args;
mod arriving;
mod car;
mod check;
pub mod client;
mod descriptors;
mod exit;
mod greeting;
mod hidden;
mod init;
mod key;
mod local;
mod log;
mod made;
mod memory;
#[cfg(feature = "simulator")]
mod play;
mod print;
mod proxy;
mod qr;
mod records;
mod reread;
mod run;
mod sandbox;
mod signals;
#[cfg(feature = "simulator")]
mod simulate;
#[cfg(test)]
mod tests;
mod webhooks;
pub mod wiring;

pub use args::Cli;
pub use exit::{Exit, Failure};

/// Parses the command line, runs the command, and says how it ended. Wrong usage ends the process here.
pub fn main() -> ExitCode {
    let mut cli = Cli::parse();
    cli.common.quiet_log = !run::is_service(&cli.command);
    log::install(&cli.common);
    crate::store::log_caught_panics();
    memory::keep_to_itself();
    memory::gain_nothing();
    match run::run(cli, &Place::of_process()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Where a command runs: what it would otherwise ask the process for.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The environment.
    pub environment: Environment,
    /// The current directory.
    pub directory: PathBuf,
    /// Somebody sits at standard input and reads standard error: may be asked.
    pub can_ask: bool,
    /// Standard output is a terminal.
    pub terminal: bool,
    /// The service manager, if one started the process.
    pub supervisor: Supervisor,
}

impl Place {
    /// That of this process.
    pub fn of_process() -> Place {
        Place {
            environment: Environment::of_process(),
            directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            can_ask: std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
            terminal: std::io::stdout().is_terminal(),
            supervisor: Supervisor::of_process(),
        }
    }

    /// The sources of the configuration by the common flags.
    pub fn sources(&self, common: &args::Common) -> Sources {
        let overrides = match &common.data_dir {
            Some(path) => Overrides::default().set("data_dir", path.to_string_lossy(), "--data-dir"),
            None => Overrides::default(),
        };
        Sources {
            overrides,
            lan: false,
            environment: self.environment.clone(),
            file: ConfigFile::usual(common.config.as_deref(), &self.directory),
            directory: self.directory.clone(),
        }
    }

    /// The configuration by the common flags.
    pub fn config(&self, common: &args::Common) -> Result<Config, Failure> {
        Ok(load(&self.sources(common))?)
    }
}

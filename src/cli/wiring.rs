//! Where the command line meets the application: the only calls from here into the rooms below.

use std::sync::Arc;

use super::args::{Serve, Simulate};
use super::client::Handler;
use super::{Exit, Failure, Place};
use crate::config::{Config, Credentials, Origins};

/// An application without listeners, for administrative commands while no server runs. Makes the data
/// directory if there is none: whether that is wanted was asked before.
pub async fn application(config: Config) -> Result<Arc<dyn Handler>, Failure> {
    drop(config);
    Err(missing("administration without a running server"))
}

/// Runs the gateway until it is told to stop.
pub async fn serve(config: Config, place: &Place) -> Result<(), Failure> {
    let _ = (config, place);
    Err(missing("serve"))
}

/// Runs gateway and simulator in one process. `data_dir` is a temporary one unless it was named.
#[cfg(feature = "simulator")]
pub async fn demo(flags: Serve, data_dir: Option<std::path::PathBuf>) -> Result<(), Failure> {
    let _ = (flags, data_dir);
    Err(missing("demo"))
}

/// Runs the simulator alone.
#[cfg(feature = "simulator")]
pub async fn simulate(flags: Simulate) -> Result<(), Failure> {
    let _ = flags;
    Err(missing("simulate"))
}

/// How Smartcar takes credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It gave a token.
    Good,
    /// It refused them; the text says why.
    Refused(String),
    /// It could not be asked; the text says why.
    Unreachable(String),
}

/// Tries client credentials (v3) at Smartcar's token endpoint.
pub async fn probe(credentials: &Credentials, origins: &Origins) -> Probe {
    let _ = (credentials, origins);
    Probe::Unreachable("this build cannot try credentials".to_owned())
}

fn missing(what: &str) -> Failure {
    Failure::new(Exit::Failed, format!("{what} is not part of this build"))
}

//! From a parsed command line to the one function that does it.

use super::args::{Command, Common, Serve};
use super::client::connect;
use super::{Cli, Failure, Place, access, init, local, records, webhooks, wiring};
use crate::config::load;

/// Runs a command.
pub(super) async fn run(cli: Cli, place: &Place) -> Result<(), Failure> {
    let common = &cli.common;
    match cli.command {
        Command::Serve(flags) => serve(flags, common, place).await,
        #[cfg(feature = "simulator")]
        Command::Demo(flags) => wiring::demo(flags, common.data_dir.clone()).await,
        #[cfg(feature = "simulator")]
        Command::Simulate(flags) => wiring::simulate(flags).await,
        Command::Init(flags) => init::init(flags, common, place, wiring::probe).await,
        Command::Connect(flags) => access::invite(&connect(place, common, true).await?, flags, common, place).await,
        Command::Login(flags) => access::login(&connect(place, common, true).await?, flags).await,
        Command::Token(command) => access::token(&connect(place, common, true).await?, command, place).await,
        Command::Users(command) => records::users(&connect(place, common, false).await?, command, place).await,
        Command::Vehicles(command) => records::vehicles(&connect(place, common, false).await?, command, place).await,
        Command::Connections(command) => records::connections(&connect(place, common, false).await?, command, place).await,
        Command::Webhooks(command) => webhooks::webhooks(&connect(place, common, false).await?, command).await,
        Command::Config(command) => local::config(command, common, place),
        Command::Healthcheck => local::healthcheck(common, place).await,
        Command::Completions { shell } => local::completions(shell),
    }
}

/// Whether a command runs on: then its log is what people watch.
pub(super) fn is_service(command: &Command) -> bool {
    match command {
        Command::Serve(_) => true,
        #[cfg(feature = "simulator")]
        Command::Demo(_) | Command::Simulate(_) => true,
        _ => false,
    }
}

async fn serve(flags: Serve, common: &Common, place: &Place) -> Result<(), Failure> {
    let mut sources = place.sources(common);
    sources.overrides = sources.overrides.set_list("listen", &flags.listen, "--listen");
    sources.lan = flags.lan;
    let config = load(&sources)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    wiring::serve(config, place).await
}

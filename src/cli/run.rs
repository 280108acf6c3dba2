//! From a parsed command line to the one function that does it.

use std::net::TcpListener;

use super::args::{Command, Common, Key, Serve, Token};
use super::client::{Client, connect};
#[cfg(feature = "simulator")]
use super::play;
use super::print::say;
use super::{
    Cli, Failure, Place, access, arriving, check, descriptors, init, key, local, records, sandbox, signals, webhooks, wiring,
};
use crate::config::{Config, Listen, Overrides, Sources, load};

/// Runs a command.
pub(super) fn run(cli: Cli, place: &Place) -> Result<(), Failure> {
    let common = &cli.common;
    match cli.command {
        Command::Serve(flags) => serve(flags, common, place),
        other => on_threads(perform(other, common, place)),
    }
}

/// Runs a command that needs no walls.
pub(super) async fn perform(command: Command, common: &Common, place: &Place) -> Result<(), Failure> {
    match command {
        #[cfg(feature = "simulator")]
        Command::Demo(flags) => play::demo(flags, common.data_dir.clone(), &place.environment).await,
        #[cfg(feature = "simulator")]
        Command::Simulate(flags) => super::simulate::simulate(&flags).await,
        Command::Init(flags) => init::init(flags, common, place, wiring::probe).await,
        Command::Check(flags) => check::check(flags, common, place).await,
        Command::Config(command) => local::config(command, common, place).await,
        Command::Healthcheck => local::healthcheck(common, place).await,
        Command::Key(Key::Generate) => key::generate(),
        Command::Key(Key::ShowId(flags)) => key::show_id(flags, common, place).await,
        Command::Completions { shell } => local::completions(shell),
        Command::Version => say(concat!("carport ", env!("CARGO_PKG_VERSION"))),
        Command::Signals(flags) if flags.known => signals::known(&flags),
        administrative => administer(administrative, common, place).await,
    }
}

/// The clients of the API. Only commands that make sense before a server ever ran make a data directory.
async fn administer(command: Command, common: &Common, place: &Place) -> Result<(), Failure> {
    let may_create = matches!(command, Command::Connect(_) | Command::Login(_) | Command::Token(Token::Create { .. }));
    let makes_a_link = matches!(command, Command::Connect(_) | Command::Login(_));
    let client = connect(place, common, may_create).await?;
    let done = match command {
        Command::Connect(flags) => access::invite(&client, flags, place).await,
        Command::Login(flags) => access::login(&client, flags).await,
        Command::Password(command) => access::password(&client, command, place).await,
        Command::Sessions(command) => access::sessions(&client, command, place).await,
        Command::Token(command) => access::token(&client, command, place).await,
        Command::Users(command) => records::users(&client, command, place).await,
        Command::Vehicles(command) => records::vehicles(&client, command, place).await,
        Command::Connections(command) => records::connections(&client, command, place).await,
        Command::Migrate(flags) => arriving::migrate(&client, flags).await,
        Command::Leave(flags) => arriving::leave(&client, flags, place).await,
        Command::Webhooks(command) => webhooks::webhooks(&client, command).await,
        Command::Signals(flags) => signals::signals(&client, flags).await,
        Command::Export(flags) => signals::export(&client, flags).await,
        Command::Key(Key::Rotate(flags)) => key::rotate(&client, flags).await,
        _ => Ok(()),
    };
    client.close().await;
    if makes_a_link && done.is_ok() && matches!(client, Client::InProcess(_)) {
        let data_dir = place.config(common)?.data_dir;
        eprintln!("No server is running in {}: the link works once carport serve runs there.", data_dir.display());
    }
    done
}

/// Whether a command's log is what people watch. Of `demo` they watch the dashboard.
pub(super) fn is_service(command: &Command) -> bool {
    match command {
        Command::Serve(_) => true,
        #[cfg(feature = "simulator")]
        Command::Simulate(_) => true,
        _ => false,
    }
}

fn serve(flags: Serve, common: &Common, place: &Place) -> Result<(), Failure> {
    let mut sources = place.sources(common);
    sources.overrides = sources.overrides.set_list("listen", &flags.listen, "--listen");
    sources.lan = flags.lan;
    let mut config = load(&sources)?;
    // Read again, it must not be another one.
    sources.file = sources.file.found(&config.files);
    if let Some(overrides) = real_ports(&config, &sources) {
        sources.overrides = overrides;
        config = load(&sources)?;
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    descriptors::provide(&mut config);
    here(wiring::prepare(&config, place))?;
    // Threads have the walls of whoever starts them.
    sandbox::enter(&config, place);
    on_threads(wiring::serve(config, sources, place))
}

/// Does something on threads of its own.
fn on_threads(what: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(READERS).enable_all().build();
    runtime.map_err(cannot_start)?.block_on(what)
}

/// Does something without making a thread.
fn here(what: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(cannot_start)?.block_on(what)
}

fn cannot_start(error: std::io::Error) -> Failure {
    Failure::from(anyhow::Error::from(error).context("cannot start"))
}

/// How many threads read the store at once. More would wait for the same disk, and each takes memory.
const READERS: usize = 6;

/// Port 0 means any free one. It is chosen before anything else is made of the configuration, because the links that
/// people are given hold it.
fn real_ports(config: &Config, sources: &Sources) -> Option<Overrides> {
    let is_any = |listen: &Listen| matches!(listen, Listen::Tcp(address) if address.port() == 0);
    let mut overrides = None;
    for (key, all) in [("listen", &config.listen), ("private_listen", &config.private_listen)] {
        if all.iter().any(is_any) {
            let real: Vec<String> = all.iter().map(with_a_real_port).collect();
            overrides = Some(overrides.unwrap_or_else(|| sources.overrides.clone()).set_list(key, &real, "a free port"));
        }
    }
    overrides
}

fn with_a_real_port(listen: &Listen) -> String {
    let wanted = if let Listen::Tcp(address) = listen { Some(*address).filter(|address| address.port() == 0) } else { None };
    let free = wanted.and_then(|address| TcpListener::bind(address).and_then(|listener| listener.local_addr()).ok());
    free.map_or_else(|| listen.to_string(), |address| address.to_string())
}

//! The command line, as clap reads it.
#![expect(
    rustdoc::bare_urls,
    rustdoc::broken_intra_doc_links,
    reason = "these comments are the help texts, and are printed as they are"
)]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::model::span;

mod access;
mod check;
mod config;
mod connections;
mod key;
mod signals;
#[cfg(feature = "simulator")]
mod simulate;
mod webhooks;

pub use access::{Password, Sessions};
pub use check::Check;
pub use config::{ConfigCommand, Proxy};
pub use connections::{Adopt, Connections, Import, Leave, Migrate};
pub use key::Key;
pub use signals::{Export, Format, Signals, Units};
#[cfg(feature = "simulator")]
pub use simulate::Simulate;
pub use webhooks::{WebhookFilter, Webhooks};

/// The command line.
#[derive(Clone, Debug, Parser)]
#[command(name = "carport", version, about = "A self-hosted Smartcar gateway", max_term_width = 100)]
#[command(after_help = "Try it without an account: carport demo")]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Default, Args)]
pub struct Common {
    /// The configuration file [default: ./config.toml, then /etc/carport/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where store, key and socket lie
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How the log is written [default: text on a terminal, else json]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Say more in the log (-v, -vv)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Set by the command: nobody waits for its log.
    #[arg(skip)]
    pub quiet_log: bool,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the gateway
    Serve(Serve),
    /// Try everything: gateway and simulated Smartcar with three cars, no account needed
    #[cfg(feature = "simulator")]
    Demo(Serve),
    /// Run a simulated Smartcar alone
    #[cfg(feature = "simulator")]
    Simulate(Box<Simulate>),
    /// Ask for Smartcar's credentials and write the configuration
    Init(Init),
    /// Look for what is wrong, and say what to do about it
    Check(Check),
    /// Make a link by which an owner connects a car
    Connect(Connect),
    /// Make a one-time sign-in link for the dashboard
    Login(Json),
    /// A password for the dashboard; there is none unless you set one
    #[command(subcommand)]
    Password(Password),
    /// Browsers that are signed in
    #[command(subcommand)]
    Sessions(Sessions),
    /// API tokens
    #[command(subcommand)]
    Token(Token),
    /// Owners of cars
    #[command(subcommand)]
    Users(Users),
    /// Cars
    #[command(subcommand)]
    Vehicles(Vehicles),
    /// The latest values of the cars, and how old they are
    Signals(Signals),
    /// Write everything that is kept of the past to standard output
    Export(Export),
    /// Connections to Smartcar accounts
    #[command(subcommand)]
    Connections(Connections),
    /// Move connections of API v2.0 to v3, or back: ids, names and history stay
    ///
    /// Smartcar ends v2.0 in December 2026. A connection is moved when Smartcar lists all of its cars for v3, and always as
    /// a whole; cut off, run it again. The tokens of v2.0 are kept alive, so that --undo can go back.
    Migrate(Migrate),
    /// Disconnect every car at Smartcar, and say what remains to be deleted in its dashboard
    Leave(Leave),
    /// The webhook log
    #[command(subcommand)]
    Webhooks(Webhooks),
    /// The master key
    #[command(subcommand)]
    Key(Key),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ask the running gateway whether it is well; for Docker and systemd
    Healthcheck,
    /// As --version
    #[command(hide = true)]
    Version,
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Flags of `serve` and `demo`.
#[derive(Clone, Debug, Default, Args)]
pub struct Serve {
    /// Where to listen: IP:PORT, [::]:PORT or unix:PATH; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// Listen for the home network too (0.0.0.0, IPv4), not only for this machine
    #[arg(long)]
    pub lan: bool,
}

/// Flags of `init`. What is not given is asked for.
#[derive(Clone, Debug, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct Init {
    /// Ask nothing; take the flags
    #[arg(long)]
    pub non_interactive: bool,
    /// Set up a service: /etc/carport, the user carport, its data in /var/lib/carport, units of systemd. As root
    #[arg(long)]
    pub system: bool,
    /// Replace what is there
    #[arg(long)]
    pub force: bool,
    /// Do not try the credentials at Smartcar
    #[arg(long)]
    pub offline: bool,
    /// Where Smartcar and browsers reach Carport, such as https://cars.example.org
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Where https comes from: acme (Carport itself, by Let's Encrypt), self-signed, off (a proxy)
    #[arg(long, value_name = "MODE")]
    pub tls: Option<String>,
    /// Whom Let's Encrypt may write to
    #[arg(long, value_name = "ADDRESS")]
    pub acme_email: Option<String>,
    /// The address that a proxy in front comes from
    #[arg(long, value_name = "IP")]
    pub trusted_proxy: Option<String>,
    /// Application ID
    #[arg(long, value_name = "ID")]
    pub application_id: Option<String>,
    /// Client ID, begins with client_
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// A file with the client secret (- for standard input)
    #[arg(long, value_name = "FILE")]
    pub client_secret_file: Option<PathBuf>,
    /// A file with the Application Management Token (- for standard input)
    #[arg(long, value_name = "FILE")]
    pub application_management_token_file: Option<PathBuf>,
    /// live or simulated
    #[arg(long)]
    pub mode: Option<String>,
}

/// Flags of `connect`.
#[derive(Clone, Debug, Args)]
pub struct Connect {
    /// Whose car it is [default: whose --vehicle is, else owner]
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// Make the user if there is none
    #[arg(long)]
    pub create: bool,
    /// How long the link may be used
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    pub expires: Duration,
    /// Re-authenticate this vehicle; with a flag below, connect its account again: ids and history stay
    #[arg(long, value_name = "ID")]
    pub vehicle: Option<String>,
    /// live or simulated
    #[arg(long)]
    pub mode: Option<String>,
    /// Ask for these permissions instead of the configured; separated by commas. What is nearly one that Smartcar lists is
    /// refused as misspelt; of what is not known you are only warned
    #[arg(long, value_name = "PERMISSIONS", value_delimiter = ',')]
    pub scope: Vec<String>,
    /// Ask for these as well as for the configured, and with --vehicle for what its owner granted already; separated by commas
    #[arg(long, value_name = "PERMISSIONS", value_delimiter = ',', conflicts_with = "scope")]
    pub add_scope: Vec<String>,
    /// Skip the choice of brand, such as TESLA
    #[arg(long)]
    pub make: Option<String>,
    /// Show the permission screen again
    #[arg(long)]
    pub force: bool,
    /// Print what the API answered
    #[arg(long)]
    pub json: bool,
}

/// Only `--json`.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Json {
    /// Print what the API answered
    #[arg(long)]
    pub json: bool,
}

/// An id and `--json`.
#[derive(Clone, Debug, Args)]
pub struct Show {
    /// The id
    pub id: String,
    /// Print what the API answered
    #[arg(long)]
    pub json: bool,
}

/// A car and `--json`.
#[derive(Clone, Debug, Args)]
pub struct ShowCar {
    /// Which, by its id or its name
    pub car: String,
    /// Print what the API answered
    #[arg(long)]
    pub json: bool,
}

/// An id, `--yes` and `--json`.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// The id
    pub id: String,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Print {} when it is done
    #[arg(long)]
    pub json: bool,
}

/// An id, `--yes`, and how to deal with Smartcar.
#[derive(Clone, Debug, Args)]
pub struct Disconnect {
    /// The id and whether to ask
    #[command(flatten)]
    pub which: Which,
    /// Also when Smartcar refuses to disconnect
    #[arg(long)]
    pub force: bool,
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TokenScope {
    /// Only /metrics and status
    Metrics,
    /// Only making invites and exchanging, for its own user
    Connect,
    /// Reading everything within its reach
    Read,
    /// Also telling cars what to do, reading fresh from Smartcar, and vouching for users
    Control,
    /// Everything
    Admin,
}

/// `token`.
#[derive(Clone, Debug, Subcommand)]
pub enum Token {
    /// Make a token; its secret is shown once
    Create {
        /// What to call it
        #[arg(long)]
        name: String,
        /// What it may do
        #[arg(long)]
        scope: TokenScope,
        /// Only for what belongs to this user
        #[arg(long, value_name = "ID", conflicts_with = "vehicle")]
        user: Option<String>,
        /// Only for this car, by its id or its name
        #[arg(long, value_name = "CAR")]
        vehicle: Option<String>,
        /// For how long, such as 90d [default: until it is revoked]
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        expires: Option<Duration>,
        /// Print what the API answered
        #[arg(long)]
        json: bool,
    },
    /// List the tokens
    List(Json),
    /// End a token
    Revoke(Which),
}

/// `users`.
#[derive(Clone, Debug, Subcommand)]
pub enum Users {
    /// List the users
    List(Json),
    /// Make a user
    Add {
        /// Your own id of the user [default: one is made]
        id: Option<String>,
        /// The name
        #[arg(long)]
        name: Option<String>,
        /// The e-mail address
        #[arg(long)]
        email: Option<String>,
        /// Print what the API answered
        #[arg(long)]
        json: bool,
    },
    /// Give a user another name
    Rename {
        /// The id
        id: String,
        /// The new name
        name: String,
        /// Print what the API answered
        #[arg(long)]
        json: bool,
    },
    /// Disconnect all cars of a user and remove it
    ///
    /// Cars that another user has by now stay theirs. With --erase also of a user who was removed before: what was left of
    /// its cars goes.
    Remove {
        /// Which, and how to deal with Smartcar
        #[command(flatten)]
        disconnect: Disconnect,
        /// Erase the history of its cars too
        #[arg(long)]
        erase: bool,
    },
}

/// `vehicles`.
#[derive(Clone, Debug, Subcommand)]
pub enum Vehicles {
    /// List the cars
    List {
        /// Only of this user
        #[arg(long, value_name = "ID")]
        user: Option<String>,
        /// Only live or simulated ones
        #[arg(long)]
        mode: Option<String>,
        /// Print what the API answered
        #[arg(long)]
        json: bool,
    },
    /// Show a car with its latest signals
    Show(ShowCar),
    /// Give a car a name of your own, or take it away
    Rename {
        /// Which, by its id or its name
        car: String,
        /// The new name [default: none]
        name: Option<String>,
        /// Print what the API answered
        #[arg(long)]
        json: bool,
    },
    /// Subscribe a car to the webhook at Smartcar now; a connected car is subscribed by itself (webhooks.subscribe)
    Subscribe(ShowCar),
    /// Disconnect a car at Smartcar; its history stays
    Disconnect(Disconnect),
    /// Disconnect a car at Smartcar and erase its history
    ///
    /// Of a car that has changed hands goes what all its owners had of it; with --user only what this one had, and whoever
    /// else has the car now keeps it.
    Erase {
        /// Which, and how to deal with Smartcar
        #[command(flatten)]
        disconnect: Disconnect,
        /// Only what this user has or had of it
        #[arg(long, value_name = "ID")]
        user: Option<String>,
    },
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    span(text).filter(|duration| !duration.is_zero()).ok_or("write 90s, 10m, 24h or 5d")
}

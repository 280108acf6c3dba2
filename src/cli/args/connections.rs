use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Disconnect, Json, Show, Which};

/// `connections`.
#[derive(Clone, Debug, Subcommand)]
pub enum Connections {
    /// List the connections
    List(Json),
    /// Show a connection: how it fares, until when, and what mends it
    Show(Show),
    /// Renew the tokens of a connection now
    Refresh(Show),
    /// End a connection at Smartcar; the history of its cars stays
    Disconnect(Disconnect),
    /// Forget a connection and its tokens here, without asking Smartcar
    ///
    /// Its cars stay with their names and their history, without a connection; connecting them again takes them up
    /// where they were. With --erase they go, and so does the history that its owner had of them. What Smartcar sends about
    /// them meanwhile does not become data. Smartcar is not told: its own connection, and what it costs, goes on until it is
    /// ended in Smartcar's dashboard. To end it there as well, use `disconnect`.
    Forget {
        /// Which, and whether to ask
        #[command(flatten)]
        which: Which,
        /// Erase the cars that it serves, and the history that its owner had of them, too
        #[arg(long)]
        erase: bool,
    },
    /// Take over what Smartcar already lists for the application and Carport lacks (v3); nobody logs in again
    ///
    /// A car whose Smartcar user has an external id goes to the user of that id, any other to --user. Users are made
    /// where there are none. What had come in about the cars before becomes data. Safe to run again.
    Adopt(Adopt),
    /// Take refresh tokens of API v2.0 from another application, as JSON lines on standard input
    ///
    /// A line is {"refresh_token":"...","user":"anna"}, and perhaps "mode":"simulated". Each token is renewed at
    /// once, and so is worth nothing any more elsewhere; the new one is on disk before the next line is read. A line that
    /// fails is told, and the rest goes on, unless Smartcar does not answer. Safe to run again: what was taken before is
    /// connected already, which the answer says within a minute; later its token is refused, and it stays connected.
    Import(Import),
}

/// Flags of `connections adopt`.
#[derive(Clone, Debug, Args)]
pub struct Adopt {
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Whose the cars are that have no external id at Smartcar
    #[arg(long, value_name = "ID", default_value = "owner")]
    pub user: String,
    /// Print what the API answered
    #[arg(long)]
    pub json: bool,
}

/// Flags of `connections import`.
#[derive(Clone, Debug, Args)]
pub struct Import {
    /// Whose the connections are, where a line does not say
    #[arg(long, value_name = "ID", default_value = "owner")]
    pub user: String,
    /// Print what the API answered, a line each
    #[arg(long)]
    pub json: bool,
}

/// Flags of `migrate`.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Clone, Copy, Debug, Args)]
pub struct Migrate {
    /// Only say what would be moved (with --undo: what would go back), and what would not and why
    #[arg(long)]
    pub dry_run: bool,
    /// Go back to v2.0; refused when Smartcar has ended it
    #[arg(long)]
    pub undo: bool,
    /// Go back even if Smartcar has ended v2.0
    #[arg(long, requires = "undo")]
    pub force: bool,
    /// Print what the API answered
    #[arg(long)]
    pub json: bool,
}

/// Flags of `leave`.
#[derive(Clone, Debug, Args)]
pub struct Leave {
    /// Write everything that is kept of the past into this directory first (history.jsonl, for its owner alone; the next one is
    /// history-2.jsonl)
    #[arg(long, value_name = "DIR")]
    pub export: Option<PathBuf>,
    /// Erase history, deliveries and users too
    #[arg(long)]
    pub erase: bool,
    /// End connections here also when Smartcar refuses, and erase also what the export had to leave out
    #[arg(long)]
    pub force: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

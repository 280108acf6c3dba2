use clap::Subcommand;

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
    /// where they were. Smartcar is not told: its own connection, and what it costs, goes on until it is ended in
    /// Smartcar's dashboard. To end it there as well, use `disconnect`.
    Forget(Which),
}

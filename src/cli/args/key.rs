use clap::Subcommand;

use super::Json;

/// `key`.
#[derive(Clone, Debug, Subcommand)]
pub enum Key {
    /// Print a new master key; nothing is changed
    Generate,
    /// Print the id of the master key, which tells nothing about it
    ShowId(Json),
    /// Replace the master key: everything in the store is sealed anew while the server goes on
    ///
    /// The new key is made, or taken from master.key.next in the data directory. What is cut off is gone on with
    /// at the next start, or when this is said again.
    Rotate(Json),
}

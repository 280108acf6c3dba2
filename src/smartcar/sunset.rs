//! The end of API v2.0 in words, for all who tell of it: that it has come, what that means here, and the way out.

use crate::model::connection::{Connection, ConnectionStatus};
use crate::model::token::Generation;

/// What has happened.
pub const ENDED: &str = "Smartcar has ended its API v2.0";

/// How cars are connected here: those that the end concerns most come last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cars {
    /// There are none.
    #[default]
    None,
    /// By v3.
    ByV3,
    /// By v2.0, the tokens dead or not: `carport migrate` moves them.
    ByV2,
}

impl Cars {
    /// Those of a connection.
    pub fn of(connection: &Connection) -> Cars {
        match (&connection.status, connection.generation) {
            (ConnectionStatus::Disconnected, _) => Cars::None,
            (_, Generation::V3) => Cars::ByV3,
            (_, Generation::V2) => Cars::ByV2,
        }
    }
}

/// What has happened, and what it means here.
pub fn what(cars: Cars) -> String {
    let means = if cars == Cars::ByV2 { "cars that are connected by it cannot be read, nor told anything" } else { NOBODY };
    format!("{ENDED}, and {means}")
}

/// What there is to do. Without credentials for v3 that is to make some, first of all.
pub fn way_out(cars: Cars, has_v3: bool) -> String {
    let first = if has_v3 { "" } else { CREDENTIALS };
    match cars {
        Cars::ByV2 => format!("{first}{MIGRATE} (`carport migrate --dry-run` says what); then {ADOPT}; at last {LEAVE}"),
        Cars::ByV3 => format!("{first}{LEAVE}"),
        Cars::None => format!("{first}{ADOPT} (there is nothing to migrate); then {LEAVE}"),
    }
}

/// In short, to whoever asks about a car that is connected by it.
pub fn of_a_car() -> String {
    format!("{ENDED}: {MIGRATE}")
}

/// In short, of what somebody wants to connect by it.
pub fn in_vain() -> String {
    format!("{ENDED}, and {NOBODY}: {ADOPT} (it needs smartcar.v3.client_id and smartcar.v3.client_secret)")
}

const NOBODY: &str = "nobody can connect a car by it any more";

const CREDENTIALS: &str = "make credentials for API v3 in Smartcar's dashboard, set smartcar.v3.client_id and \
                           smartcar.v3.client_secret, and restart; then ";

const MIGRATE: &str = "`carport migrate` moves what is connected by it to v3";

const ADOPT: &str = "`carport connections adopt` takes over what owners have connected at Smartcar and is not here";

const LEAVE: &str = "take smartcar.v2 out of the configuration, with its client_id as smartcar.application_id if that is not set \
                     (`carport migrate --undo` cannot go back any more then)";

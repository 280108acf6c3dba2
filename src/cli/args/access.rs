use clap::Subcommand;

use super::Json;

/// `sessions`.
#[derive(Clone, Debug, Subcommand)]
pub enum Sessions {
    /// List the browsers that are signed in
    List(Json),
    /// Sign a browser out, or all
    #[command(override_usage = "carport sessions revoke <ID>\n       carport sessions revoke --all")]
    Revoke {
        /// Which session
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// All sessions
        #[arg(long)]
        all: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Print {} when it is done
        #[arg(long)]
        json: bool,
    },
}

/// `password`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Password {
    /// Set a password for the dashboard: asked for twice, or the first line of standard input
    Set(Json),
    /// Take the password away: only links of `carport login` sign in then
    Clear(Json),
}

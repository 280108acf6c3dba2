use clap::Args;

/// Flags of `check`.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Check {
    /// Ask nobody in the network
    #[arg(long)]
    pub offline: bool,
    /// Save what can be read of a damaged store, keep the damaged file, and check again
    #[arg(long)]
    pub repair: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

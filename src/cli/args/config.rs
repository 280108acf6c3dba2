use clap::{Subcommand, ValueEnum};

use super::Json;

/// `config`.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every key, its value, and where it comes from
    Show(Json),
    /// Print what to write into the proxy in front of Carport
    Proxy {
        /// Which proxy
        proxy: Proxy,
    },
}

/// A proxy that Carport knows how to stand behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Proxy {
    /// A site of the Caddyfile
    Caddy,
    /// A server of nginx
    Nginx,
    /// A file of Traefik's file provider
    Traefik,
}

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::args::{Common, LogFormat};

/// Sends the log to standard error: text on a terminal, else JSON, unless `--log-format` says which.
/// Administrative commands speak for themselves, so there the log begins at warnings.
pub(super) fn install(common: &Common) {
    let own = match (common.quiet_log, common.verbose) {
        (true, 0) => LevelFilter::WARN,
        (false, 0) | (true, 1) => LevelFilter::INFO,
        (_, 1) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    // SECURITY: libraries stay at `info`: below it they may print headers, which carry tokens.
    let filter = Targets::new().with_default(own.min(LevelFilter::INFO)).with_target(env!("CARGO_CRATE_NAME"), own);
    let text = match common.log_format {
        Some(format) => format == LogFormat::Text,
        None => std::io::stderr().is_terminal(),
    };
    let log = tracing_subscriber::fmt().with_max_level(own).with_writer(std::io::stderr).with_target(false);
    // Told of on standard error too, which would panic: whoever read the log has gone, the gateway has not.
    let log = log.log_internal_errors(false);
    // A second installation can only come from a program that embeds Carport: its own log stays.
    let _ = if text {
        let ansi = std::io::stderr().is_terminal();
        log.with_ansi(ansi).finish().with(filter).try_init().map_err(drop)
    } else {
        log.json().flatten_event(true).finish().with(filter).try_init().map_err(drop)
    };
}

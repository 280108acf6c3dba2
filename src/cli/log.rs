use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::args::{Common, LogFormat};

/// Sends the log to standard error: text on a terminal, else JSON, unless `--log-format` says which.
/// Administrative commands speak for themselves, so there the log begins at warnings.
pub(super) fn install(common: &Common) {
    let filter = EnvFilter::new(match (common.quiet_log, common.verbose) {
        (true, 0) => "warn",
        (false, 0) | (true, 1) => "info",
        (_, 1) => "info,carport=debug",
        // SECURITY: libraries stay at `info`: below it they may print headers, which carry tokens.
        _ => "info,carport=trace",
    });
    let text = match common.log_format {
        Some(format) => format == LogFormat::Text,
        None => std::io::stderr().is_terminal(),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Told of on standard error too, which would panic: whoever read the log has gone, the gateway has not.
    let log = log.log_internal_errors(false);
    // A second installation can only come from a program that embeds Carport: its own log stays.
    let _ = if text {
        let ansi = std::io::stderr().is_terminal();
        log.with_ansi(ansi).try_init().map_err(drop)
    } else {
        log.json().flatten_event(true).try_init().map_err(drop)
    };
}

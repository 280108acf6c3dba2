//! What SIGHUP, and `systemctl reload`, mean to a running gateway: what was configured is read again, whole or not at all.

use crate::app::{Reload, Reloaded};
use crate::config::{Config, Mistakes, Sources, load};
use crate::supervisor::Supervisor;
use crate::tls::Source;

/// Reads the configuration again, from where it was read first.
#[derive(Debug)]
pub(super) struct Rereading {
    reload: Reload,
    sources: Sources,
    supervisor: Supervisor,
}

impl Rereading {
    pub(super) fn new(reload: Reload, sources: Sources, supervisor: Supervisor) -> Rereading {
        Rereading { reload, sources, supervisor }
    }

    /// Reads it, takes over what can be, and says in the log what came of it.
    pub(super) async fn begin(&self) {
        self.supervisor.reloading();
        self.reload.certificate();
        let status = match load(&self.sources) {
            Ok(config) => self.take(&config).await,
            Err(mistakes) => {
                tracing::error!("SIGHUP: nothing is changed, for {}", in_a_line(&mistakes));
                "The configuration that was read again is refused; the one before goes on"
            }
        };
        self.supervisor.reloaded(status);
    }

    async fn take(&self, config: &Config) -> &'static str {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let Reloaded { taken, left, left_out } = match self.reload.take(config).await {
            Ok(reloaded) => reloaded,
            Err(error) => {
                tracing::error!(%error, "SIGHUP: nothing is changed, for it cannot be noted in the audit log");
                return "The configuration that was read again could not be noted; the one before goes on";
            }
        };
        for mistake in left_out {
            tracing::warn!("SIGHUP: a setting made on the set-up page does not fit any more, and is left out: {mistake}");
        }
        match taken.as_slice() {
            [] => tracing::info!("SIGHUP: certificates are read again; nothing else has changed that counts without a restart"),
            taken => tracing::info!("SIGHUP: certificates are read again; from now on these count: {}", taken.join(", ")),
        }
        let is_self_signed = config.tls.as_ref().is_some_and(|tls| matches!(tls.source, Source::SelfSigned));
        if is_self_signed && taken.contains(&"hosts") {
            tracing::warn!("SIGHUP: the certificate of Carport's own making is made out to the new hosts at the next start");
        }
        if left.is_empty() {
            return "";
        }
        tracing::warn!("SIGHUP: restart Carport for what has changed of {}", left.join(", "));
        "A part of the configuration that was read again counts after a restart"
    }
}

/// All mistakes in one line, as a log has it.
fn in_a_line(mistakes: &Mistakes) -> String {
    let mut line: String = mistakes.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ");
    if line.contains("ermission denied") {
        line.push_str(
            " A server that is shut in reaches only the directories that it knew at its start; a restart lets it see others.",
        );
    }
    line
}

//! Whether our own certificate is one that the world takes, and for how long.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::super::{greeting, local};
use super::Line;
use crate::config::{Config, Listen};
use crate::tls::{self, Facts, Settings, Source, TlsError, Unusable};
use crate::world::{Clock, SystemClock, roots};

const CHECK: &str = "certificate";

/// Looks at what the running server shows; without one, at the files. Nothing without TLS of our own.
pub(super) async fn certificate(config: &Config) -> Option<Line> {
    let settings = config.tls.as_ref()?;
    let name = config.public_url.host_str()?.trim_matches(['[', ']']);
    let listen = config.listen.iter().find_map(|listen| match listen {
        Listen::Tcp(address) => Some(*address),
        Listen::Unix(_) => None,
    });
    if let Some(address) = listen
        && let Ok(Ok(facts)) = tokio::time::timeout(PATIENCE, look(config, address, name)).await
    {
        return Some(judge(config, settings, &facts, name));
    }
    let Source::Files(files) = &settings.source else {
        return Some(Line::ok(CHECK, "not looked at: no server shows it here"));
    };
    Some(match files.read() {
        Ok(certificate) => judge(config, settings, &certificate.facts, name),
        Err(error @ TlsError::File { error: Unusable::Unreadable(_), .. }) => {
            Line::fail(CHECK, error.to_string(), "run this as the server's user, or set tls.cert and tls.key right")
        }
        Err(error) => Line::fail(CHECK, error.to_string(), "mend it: Carport does not start like this"),
    })
}

async fn look(config: &Config, address: SocketAddr, name: &str) -> io::Result<Facts> {
    tls::look(local::connect(config, address).await?, name).await
}

fn judge(config: &Config, settings: &Settings, facts: &Facts, name: &str) -> Line {
    let now = SystemClock.now();
    let ends = facts.ends_at.to_string();
    let ends = ends.split('T').next().unwrap_or(&ends);
    let remedy = match settings.source {
        Source::Files(_) => "renew it; tls.cert and tls.key are read again without a restart",
        Source::Acme(_) => "look into the log and the notices: they say why no other is issued",
        Source::SelfSigned => "restart Carport: it makes another",
    };
    if facts.ends_at <= now {
        return Line::fail(CHECK, format!("it has ended on {ends}"), remedy);
    }
    if now < facts.begins_at {
        let text = format!("it counts only from {}", facts.begins_at);
        return Line::fail(CHECK, text, "set the clock of this machine right, or have one issued that counts today");
    }
    if let Some((key, other)) = greeting::not_certified(config, facts).into_iter().next() {
        let own = if facts.names.is_empty() { "no name".to_owned() } else { facts.names.join(", ") };
        let remedy = format!("set {key} to a name that it is for, or have it issued for {other} too");
        return Line::warn(CHECK, format!("it is for {own}, not for {other} ({key})"), remedy);
    }
    if matches!(settings.source, Source::SelfSigned) {
        return Line::ok(CHECK, format!("of Carport's own making until {ends}: Smartcar's webhooks do not come that way"));
    }
    if let Some(why) = tls::vouched_for(facts, name, roots(), now) {
        let remedy = "Smartcar posts webhooks only to a name with a publicly trusted certificate and its whole chain";
        return Line::warn(CHECK, why, remedy);
    }
    if facts.ends_at <= now.after(SOON) {
        return Line::warn(CHECK, format!("it ends on {ends}"), remedy);
    }
    Line::ok(CHECK, format!("the world takes it for {name}, until {ends}"))
}

const PATIENCE: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_secs(14 * 86_400);

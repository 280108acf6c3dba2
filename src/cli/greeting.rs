//! What `serve` says on the screen: where things are, what is missing, and the way in.

use std::fmt::Write;

use super::Place;
use super::print::announce;
use super::wiring::SIGN_IN;
use crate::app::App;
use crate::config::Config;
use crate::operate::audit::{Done, Ring};
use crate::tls::{Facts, Source, Tls};
use crate::web::server::Listener;

/// Says it on standard output, in one screen.
pub(super) async fn say(config: &Config, app: &App, place: &Place) {
    let mut screen = String::new();
    let services = app.services();
    let dashboard = config.private_url.as_str().trim_end_matches('/').to_owned();
    let listening: Vec<String> = app.listeners().iter().filter_map(Listener::place).collect();
    line(&mut screen, &format!("Carport {}", env!("CARGO_PKG_VERSION")));
    line(&mut screen, &format!("  data       {}", config.data_dir.display()));
    line(&mut screen, &format!("  listening  {}", listening.join(", ")));
    line(&mut screen, &format!("  dashboard  {dashboard}"));
    if let (Some(Source::SelfSigned), Some(shown)) = (config.tls.as_ref().map(|tls| &tls.source), app.tls().and_then(Tls::shown))
    {
        line(&mut screen, "  warning    browsers will say that they do not know the certificate; let them go on if they show");
        line(&mut screen, &format!("             SHA-256 {}", shown.facts.fingerprint));
    }
    if let Some(shown) = app.tls().and_then(Tls::shown) {
        for (key, name) in not_certified(config, &shown.facts) {
            line(&mut screen, &format!("  warning    the certificate is not for {name} ({key}): browsers will refuse it there"));
        }
    }
    let status = services.rooms.status.show().await;
    if !status.missing.is_empty() {
        line(&mut screen, "\nStill missing:");
        for missing in &status.missing {
            line(&mut screen, &format!("  - {}:\n    {}", missing.what, missing.remedy));
        }
    }
    // While nobody can get in, the way in is shown to whoever sees this screen.
    if !services.rooms.access.anybody().await.unwrap_or(true)
        && services.rooms.audit.begin(Ring::Administration, Done::locally("carport serve: sign-in link")).await.is_ok()
        && let Ok(link) = services.rooms.access.sign_in_link(SIGN_IN).await
    {
        line(&mut screen, "\nSign in within 15 minutes, once, at:");
        line(&mut screen, &format!("  {dashboard}/login?t={}", link.expose()));
        if let Some(tunnel) = tunnel(config, place) {
            line(&mut screen, &format!("This machine is reached by SSH, so open a tunnel on your own first:\n  {tunnel}"));
        }
        line(&mut screen, &format!("Later: carport login --data-dir {}", config.data_dir.display()));
    }
    announce(&screen);
}

/// The names that people are sent to by https, and that a certificate is not for, with the settings that hold them.
pub(super) fn not_certified(config: &Config, facts: &Facts) -> Vec<(&'static str, String)> {
    let mut urls = vec![("public_url", &config.public_url)];
    if config.private_url != config.public_url {
        urls.push(("private_url", &config.private_url));
    }
    let names = urls.into_iter().filter(|(_, url)| url.scheme() == "https").filter_map(|(key, url)| Some((key, url.host_str()?)));
    names.filter(|(_, name)| !facts.is_for(name)).map(|(key, name)| (key, name.to_owned())).collect()
}

/// How to reach a loopback listener from where the SSH session came from.
fn tunnel(config: &Config, place: &Place) -> Option<String> {
    let connection = place.environment.get("SSH_CONNECTION")?;
    let host = config.private_url.host_str()?;
    if host != "localhost" && host != "127.0.0.1" {
        return None;
    }
    let server = connection.split_whitespace().nth(2)?;
    let port = config.private_url.port_or_known_default()?;
    let user = place.environment.get("USER").unwrap_or("root");
    Some(format!("ssh -L {port}:127.0.0.1:{port} {user}@{server}"))
}

fn line(screen: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(screen, "{text}");
}

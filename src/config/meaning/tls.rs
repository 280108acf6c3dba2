//! What `tls.*` means.

use std::net::{IpAddr, SocketAddr};

use url::Url;

use super::super::Listen;
use super::super::values::{self, TlsMode};
use super::{Reader, default};
use crate::tls::{Challenge, Files, Settings, Source};

impl Reader<'_> {
    /// Our own certificate, which is for `names` if it is made here, and where plain HTTP is led to https.
    pub(super) fn tls(&mut self, mode: TlsMode, public_url: &Url, names: Vec<String>) -> (Option<Settings>, Option<SocketAddr>) {
        let http_listen = self.optional("tls.http_listen", values::address_or_off);
        let (settings, http_listen) = match mode {
            TlsMode::Off => {
                if http_listen.flatten().is_some() {
                    let warning = "tls.http_listen is not used: with tls.mode \"off\" there is no https to lead to";
                    self.collected.warnings.push(warning.to_owned());
                }
                (None, None)
            }
            TlsMode::Files => {
                (self.tls_files().map(|files| Settings { source: Source::Files(files), names }), http_listen.flatten())
            }
            TlsMode::SelfSigned => (Some(Settings { source: Source::SelfSigned, names }), http_listen.flatten()),
            TlsMode::Acme => {
                let ordered = self.acme(public_url, http_listen != Some(None));
                let needs_it = ordered.as_ref().is_some_and(|(acme, _)| acme.challenges.contains(&Challenge::Http));
                let address =
                    http_listen.unwrap_or_else(|| default("tls.http_listen", values::address_or_off).filter(|_| needs_it));
                (ordered.map(|(acme, names)| Settings { source: Source::Acme(acme), names }), address)
            }
        };
        if !self.is_written("tls.http_listen") {
            let shown = http_listen.map_or_else(|| "off".to_owned(), |address| address.to_string());
            self.derived("tls.http_listen", shown, "tls.mode");
        }
        (settings, http_listen)
    }

    fn tls_files(&mut self) -> Option<Files> {
        let [chain, key] = ["tls.cert", "tls.key"].map(|key| {
            let base = self.base(key);
            let path = self.optional(key, |raw| values::path(raw, &base));
            if path.is_none() && !self.is_written(key) {
                let origin = self.origin("tls.mode");
                let remedy = format!("Set {key}, such as /etc/letsencrypt/live/NAME/{}", USUAL[usize::from(key == "tls.key")]);
                self.collected.mistake("tls.mode", origin, format!("\"files\" needs {key}"), &remedy);
            }
            path
        });
        Some(Files { chain: chain?, key: key? })
    }
}

/// What certbot calls them.
const USUAL: [&str; 2] = ["fullchain.pem", "privkey.pem"];

/// Where the people of the house come in, as far as an address tells it.
pub(super) fn url_of(address: SocketAddr, public_url: &Url, mode: TlsMode) -> Url {
    let ip = address.ip();
    let mut url = public_url.clone();
    // Of a URL with a host, each of these can be changed.
    let _ = url.set_scheme(if mode == TlsMode::Off || ip.is_loopback() { "http" } else { "https" });
    if ip.is_loopback() {
        let _ = url.set_host(Some("localhost"));
    } else if !ip.is_unspecified() {
        let _ = url.set_ip_host(ip);
    }
    let _ = url.set_port(Some(address.port()));
    url
}

/// By which names and addresses people come here, as far as the configuration knows them.
pub(super) fn names(public_url: &Url, private_url: &Url, hosts: &[String], listen: &[Listen]) -> Vec<String> {
    let of_url = |url: &Url| url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned());
    let mut names: Vec<String> = [public_url, private_url].into_iter().filter_map(of_url).collect();
    names.extend(hosts.iter().map(|host| host.trim_matches(['[', ']']).to_owned()));
    names.push("localhost".to_owned());
    let addresses = listen.iter().filter_map(|listen| match listen {
        Listen::Tcp(address) if !address.ip().is_unspecified() => Some(address.ip()),
        _ => None,
    });
    names.extend(addresses.chain([IpAddr::from([127, 0, 0, 1])]).map(|address| address.to_string()));
    names.sort();
    names.dedup();
    names
}

//! What `tls.*` means.

use std::net::{IpAddr, SocketAddr};

use url::Url;

use super::super::Listen;
use super::super::values::{self, TlsMode};
use super::Reader;
use crate::tls::{Files, Settings, Source};

impl Reader<'_> {
    /// Our own certificate, which is for `names` if it is made for us.
    pub(super) fn tls(&mut self, mode: TlsMode, names: &[String]) -> Option<Settings> {
        let source = match mode {
            TlsMode::Off => return None,
            TlsMode::Files => Source::Files(self.tls_files()?),
            TlsMode::SelfSigned => Source::SelfSigned,
        };
        Some(Settings { source, names: names.to_vec() })
    }

    /// Where plain HTTP is led to https.
    pub(super) fn http_listen(&mut self, mode: TlsMode) -> Option<SocketAddr> {
        let address = self.optional("tls.http_listen", values::address);
        if mode != TlsMode::Off {
            return address;
        }
        if address.is_some() {
            self.collected
                .warnings
                .push("tls.http_listen is not used: with tls.mode \"off\" there is no https to lead to".to_owned());
        }
        None
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

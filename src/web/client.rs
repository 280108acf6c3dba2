//! Who is at the other end, and over what: the client's address behind proxies, and the `Host` check.
//!
//! Forwarding headers count only from networks in `trusted_proxies`, and of their hops only what such
//! proxies wrote: the right-most one that is not itself trusted. The scheme is taken from nobody else, the
//! host from nobody.

use std::net::IpAddr;

use http::header::{HOST, HeaderMap};
use http::{StatusCode, Uri};

use super::problem::Problem;
use super::settings::is_private;
use super::{Peer, Services, Settings};

mod forwarded;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// The user that runs Carport, or root.
    Local {
        /// Who of them.
        uid: u32,
    },
    /// Somebody on the network.
    Remote {
        /// Behind trusted proxies: the address that they saw.
        address: IpAddr,
        /// Whether the browser speaks https, with us or with a trusted proxy.
        https: bool,
        /// The connection itself comes from this machine.
        loopback: bool,
        /// A trusted proxy passed it on.
        by_proxy: bool,
    },
}

impl Client {
    /// By the connection and, from trusted proxies, the headers.
    pub(super) fn of(peer: Peer, headers: &HeaderMap, settings: &Settings) -> Client {
        let (peer, tls) = match peer {
            // SECURITY: a proxy of the same user in front of our own socket must not make everybody an
            // administrator. Our command line sends none of these.
            Peer::Local { .. } if FORWARDING.iter().any(|name| headers.contains_key(*name)) => {
                return Client::Remote {
                    address: std::net::Ipv4Addr::LOCALHOST.into(),
                    https: false,
                    loopback: true,
                    by_proxy: false,
                };
            }
            Peer::Local { uid } => return Client::Local { uid },
            // SECURITY: a proxy that passes bytes on takes nothing away from them.
            Peer::Passed { address, tls } => {
                let address = address.to_canonical();
                return Client::Remote { address, https: tls, loopback: address.is_loopback(), by_proxy: false };
            }
            Peer::Remote { address, tls } => (address.to_canonical(), tls),
        };
        if !settings.trusts(peer) {
            return Client::Remote { address: peer, https: tls, loopback: peer.is_loopback(), by_proxy: false };
        }
        let mut address = peer;
        for hop in forwarded::hops(headers) {
            // What cannot be read was not written by a proxy of ours: the one before it is the client.
            let Some(hop) = hop else { break };
            address = hop;
            if !settings.trusts(hop) {
                break;
            }
        }
        let https = tls || forwarded::is_https(headers);
        Client::Remote { address, https, loopback: address.is_loopback(), by_proxy: true }
    }

    /// Whether it is on our own socket, or in our own process.
    pub(super) fn is_local(self) -> bool {
        matches!(self, Client::Local { .. })
    }

    /// The address that limits count by.
    pub(super) fn address(self) -> Option<IpAddr> {
        match self {
            Client::Local { .. } => None,
            Client::Remote { address, .. } => Some(address),
        }
    }
}

/// Says once that a proxy nearby is not believed, and what to write so that it is. Until then all its clients
/// count as one, and https ends before Carport can see it. Who is far away may forge these headers, and is not worth a line.
pub(super) fn notice_proxy(services: &Services, peer: Peer, headers: &HeaderMap) {
    let Peer::Remote { address, .. } = peer else { return };
    if forwarded::is_there(headers) && is_private(address) && !services.settings.trusts(address) {
        services.rooms.status.saw_untrusted_proxy(address.to_canonical());
    }
}

/// The one host of a request, without its port, in lower case.
pub(super) fn host(headers: &HeaderMap, uri: &Uri) -> Result<String, Problem> {
    host_and_port(headers, uri).map(|(host, _)| host)
}

/// The one host of a request, in lower case, and its port if it has one.
pub(super) fn host_and_port(headers: &HeaderMap, uri: &Uri) -> Result<(String, Option<u16>), Problem> {
    let wrong = || Problem::misdirected(StatusCode::BAD_REQUEST, "The request needs exactly one valid Host header.");
    let mut lines = headers.get_all(HOST).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Err(wrong()) };
    let line = line.to_str().map_err(|_| wrong())?;
    if uri.authority().is_some_and(|authority| authority.as_str() != line) {
        return Err(wrong());
    }
    let (name, port) = match line.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            (address, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(wrong)?) })
        }
        None => match line.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (line, None),
        },
    };
    let name_is_good = line.starts_with('[') || name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let port = match port.filter(|port| !port.is_empty()) {
        // What parse takes, too, is a plus.
        Some(port) if port.starts_with('+') => return Err(wrong()),
        Some(port) => Some(port.parse::<u16>().map_err(|_| wrong())?),
        None => None,
    };
    if name.is_empty() || !name_is_good {
        return Err(wrong());
    }
    Ok((name.trim_end_matches('.').to_ascii_lowercase(), port))
}

/// Whether we answer to this name. A page elsewhere whose name was turned to our address (DNS
/// rebinding) comes with its own name and is refused.
pub(super) fn check_host(name: &str, settings: &Settings) -> Result<(), Problem> {
    let of_url = |url: &url::Url| url.host_str().is_some_and(|own| is_same_host(own, name));
    let known = of_url(&settings.public_url)
        || settings.private_url.as_ref().is_some_and(of_url)
        || settings.hosts.iter().any(|own| is_same_host(own, name))
        || name == "localhost"
        || name.strip_suffix(".local").is_some()
        || name.parse::<IpAddr>().is_ok_and(is_private);
    if known {
        Ok(())
    } else {
        let sentence = "Carport does not answer to this host name. Set public_url, or add the name to hosts.";
        Err(Problem::misdirected(StatusCode::MISDIRECTED_REQUEST, sentence))
    }
}

/// Whether a configured host is the one of a request. An address may be written in many ways, and in brackets.
pub(super) fn is_same_host(own: &str, name: &str) -> bool {
    let own = own.trim_matches(['[', ']']);
    match (own.parse::<IpAddr>(), name.parse::<IpAddr>()) {
        (Ok(own), Ok(address)) => own.to_canonical() == address.to_canonical(),
        _ => own.eq_ignore_ascii_case(name),
    }
}

/// What proxies add.
const FORWARDING: [&str; 6] = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "forwarded", "via"];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn network(address: &str, prefix: u8) -> crate::web::Network {
        crate::web::Network::new(address.parse().unwrap(), prefix).unwrap()
    }

    fn address_of(peer: &str, forwarded: &[&'static str]) -> String {
        let settings = Settings { trusted_proxies: vec![network("10.0.0.0", 8), network("fd00::", 8)], ..Settings::default() };
        let pairs: Vec<_> = forwarded.iter().map(|line| ("x-forwarded-for", *line)).collect();
        let peer = Peer::Remote { address: peer.parse().unwrap(), tls: false };
        Client::of(peer, &headers(&pairs), &settings).address().unwrap().to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(address_of("192.0.2.9", &["198.51.100.1"]), "192.0.2.9");
        assert_eq!(address_of("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(address_of("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(address_of("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_right_most_hop_that_is_not_trusted_counts() {
        assert_eq!(address_of("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.9.9.9"]), "198.51.100.1");
        assert_eq!(address_of("10.0.0.1", &["1.1.1.1", "198.51.100.1", "10.9.9.9"]), "198.51.100.1");
        assert_eq!(address_of("10.0.0.1", &["10.1.1.1, 10.2.2.2"]), "10.1.1.1");
        assert_eq!(address_of("10.0.0.1", &["1.1.1.1, unknown, 10.2.2.2"]), "10.2.2.2");
        assert_eq!(address_of("10.0.0.1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(address_of("fd00::1", &["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(address_of("fd00::1", &["2001:db8::7"]), "2001:db8::7");
    }

    #[test]
    fn https_is_believed_from_trusted_proxies_only() {
        let https = |trusted: &str, prefix: u8, proto: &'static str| {
            let settings = Settings { trusted_proxies: vec![network(trusted, prefix)], ..Settings::default() };
            let peer = Peer::Remote { address: "10.0.0.1".parse().unwrap(), tls: false };
            matches!(Client::of(peer, &headers(&[("x-forwarded-proto", proto)]), &settings), Client::Remote { https: true, .. })
        };
        assert!(https("10.0.0.0", 8, "https"));
        assert!(https("10.0.0.0", 8, "http, https"));
        assert!(!https("10.0.0.0", 8, "http"));
        assert!(!https("192.0.2.0", 24, "https"));
    }

    #[test]
    fn a_proxy_before_our_own_socket_is_nobody() {
        let settings = Settings::default();
        assert_eq!(Client::of(Peer::Local { uid: 7 }, &HeaderMap::new(), &settings), Client::Local { uid: 7 });
        for name in FORWARDING {
            let client = Client::of(Peer::ourselves(), &headers(&[(name, "x")]), &settings);
            assert!(matches!(client, Client::Remote { .. }), "{name}");
        }
    }

    fn check(line: &'static str) -> u16 {
        let settings = Settings {
            public_url: "https://cars.example".parse().unwrap(),
            private_url: Some("http://carport.lan:8000".parse().unwrap()),
            hosts: vec!["Nas".to_owned(), "[2001:db8::7]".to_owned()],
            ..Settings::default()
        };
        match host(&headers(&[("host", line)]), &Uri::from_static("/")).and_then(|name| check_host(&name, &settings)) {
            Ok(()) => 200,
            Err(problem) => problem.status().as_u16(),
        }
    }

    #[test]
    fn we_answer_to_our_own_names() {
        for line in [
            "cars.example",
            "CARS.example:443",
            "cars.example.",
            "carport.lan:8000",
            "nas",
            "localhost:8000",
            "pi.local",
            "127.0.0.1:8000",
            "192.168.1.5",
            "10.1.2.3:80",
            "172.16.0.1",
            "100.100.1.1",
            "[::1]:8000",
            "[2001:DB8:0::7]:8000",
            "[fd12::1]",
            "[fe80::1]",
        ] {
            assert_eq!(check(line), 200, "{line}");
        }
        for line in ["evil.example", "cars.example.evil", "local", "8.8.8.8", "[2001:db8::1]", "xlocalhost", "172.32.0.1"] {
            assert_eq!(check(line), 421, "{line}");
        }
        for line in
            ["", ":80", "a b", "cars.example/", "u@cars.example", "cars.example:x", "cars.example:99999", "[::1", "[x]", "a,b"]
        {
            assert_eq!(check(line), 400, "{line}");
        }
    }

    #[test]
    fn there_is_exactly_one_host() {
        let uri = Uri::from_static("/");
        assert!(host(&HeaderMap::new(), &uri).is_err());
        assert!(host(&headers(&[("host", "localhost"), ("host", "localhost")]), &uri).is_err());
        let absolute = Uri::from_static("http://evil.example/");
        assert!(host(&headers(&[("host", "localhost")]), &absolute).is_err());
    }
}

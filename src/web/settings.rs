use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use http::header::HeaderName;
use url::Url;

/// How the edge was configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What Smartcar and browsers use: an origin without a path.
    pub public_url: Url,
    /// Where people open the dashboard, if elsewhere.
    pub private_url: Option<Url>,
    /// Further accepted `Host` names, without ports.
    pub hosts: Vec<String>,
    /// Whose forwarding headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// Trusted proxies begin each connection with the PROXY protocol.
    pub proxy_protocol: bool,
    /// The header by which a trusted proxy says who has signed in there.
    pub forward_header: Option<HeaderName>,
    /// Pages of other origins that may use the API with a token: origins as browsers write them.
    pub allowed_origins: Vec<String>,
    /// Where Smartcar posts to.
    pub webhook_path: String,
    /// The longest delivery, in bytes.
    pub webhook_max_body: usize,
    /// `smartcar.redirect_uri`, whole: shown on the set-up page.
    pub redirect_uri: String,
    /// The path of `smartcar.redirect_uri`: the callback's route.
    pub callback_path: String,
    /// The permissions that owners are asked for, as `smartcar.scope` has them; none if that is left to
    /// Smartcar's dashboard.
    pub permissions: Vec<String>,
    /// `--lan`: peers outside private networks are turned away.
    pub lan_only: bool,
    /// Browsers are told never to come without TLS again, where we speak it ourselves with a certificate that they trust.
    pub hsts: bool,
    /// `session.max`: how long browsers keep the cookie of a session.
    pub session_max: Duration,
    /// How often, how many, how long.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            public_url: Url::parse("http://localhost:8000").expect("a constant that is a URL"),
            private_url: None,
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            forward_header: None,
            allowed_origins: Vec::new(),
            webhook_path: "/api/webhooks/smartcar".to_owned(),
            webhook_max_body: 64 * 1024,
            redirect_uri: "http://localhost:8000/api/smartcar/callback".to_owned(),
            callback_path: "/api/smartcar/callback".to_owned(),
            permissions: Vec::new(),
            lan_only: false,
            hsts: false,
            session_max: Duration::from_secs(180 * 86_400),
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// Whether an address is that of a trusted proxy.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }

    /// The whole URL that Smartcar posts to.
    pub fn webhook_url(&self) -> String {
        format!("{}{}", self.public_url.as_str().trim_end_matches('/'), self.webhook_path)
    }
}

/// How often, how many, how long. The quotas count per client: an IPv4 address or an IPv6 /64; a whole /48 has
/// sixteen times as much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Deliveries that failed their proof.
    pub webhook_failures: Quota,
    /// Connect links and callbacks.
    pub callback: Quota,
    /// Sign-ins; and, counted on their own, tokens that are not known. The page of the sign-in has ten times as many.
    pub login: Quota,
    /// Everything else.
    pub api: Quota,
    /// Connections at the same time, per listener.
    pub connections: usize,
    /// How long the head of a request may take, and a handshake; also how long an idle connection is kept.
    pub header_time: Duration,
    /// How long the body of a request may take.
    pub body_time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            webhook_failures: Quota::new(60, Duration::from_secs(60)),
            callback: Quota::new(30, Duration::from_secs(60)),
            login: Quota::new(10, Duration::from_secs(60)),
            api: Quota::new(600, Duration::from_secs(60)),
            connections: 512,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(10),
        }
    }
}

/// So many in a period; all of them may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many; at least 1.
    pub count: u32,
    /// In what time.
    pub period: Duration,
}

impl Quota {
    /// `count` in `period`.
    pub const fn new(count: u32, period: Duration) -> Quota {
        Quota { count, period }
    }
}

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The addresses whose first `prefix` bits are those of `address`; `None` if there are not so many bits.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Network> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= longest).then_some(Network { address, prefix })
    }

    /// Whether `address` lies within. An IPv4 address in IPv6 clothes counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                u32::from(own) & mask == u32::from(other) & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                u128::from(own) & mask == u128::from(other) & mask
            }
            _ => false,
        }
    }

    /// Whether strangers may have some of its addresses: it is a range, and not one within a home, a machine or a
    /// container.
    pub fn is_open(&self) -> bool {
        let longest = if self.address.is_ipv4() { 32 } else { 128 };
        let private = PRIVATE.iter().any(|network| network.contains(self.address) && network.prefix <= self.prefix);
        self.prefix < longest && !private
    }
}

/// Loopback, private and link-local addresses: those of a machine, a home, a container. 100.64.0.0/10 is what Tailscale
/// and its like hand out.
const PRIVATE: [Network; 9] = [
    Network { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix: 8 },
    Network { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), prefix: 8 },
    Network { address: IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), prefix: 12 },
    Network { address: IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), prefix: 16 },
    Network { address: IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), prefix: 16 },
    Network { address: IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)), prefix: 10 },
    Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
    Network { address: IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), prefix: 7 },
    Network { address: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), prefix: 10 },
];

/// Whether an address is one of a machine, a home or a container.
pub(super) fn is_private(address: IpAddr) -> bool {
    PRIVATE.iter().any(|network| network.contains(address))
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses() {
        let holds = |network: &str, address: &str| {
            let (base, prefix) = network.split_once('/').unwrap();
            Network::new(base.parse().unwrap(), prefix.parse().unwrap()).unwrap().contains(address.parse().unwrap())
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(holds("192.168.1.7/32", "192.168.1.7"));
        assert!(!holds("192.168.1.7/32", "192.168.1.8"));
        assert!(holds("fd00::/8", "fd12::1"));
        assert!(!holds("fd00::/8", "10.0.0.1"));
        assert!(holds("0.0.0.0/0", "8.8.8.8"));
        assert!(holds("::/0", "2001:db8::1"));
    }

    #[test]
    fn strangers_may_be_in_a_range_of_the_internet() {
        let open = |network: &str| {
            let (base, prefix) = network.split_once('/').unwrap();
            Network::new(base.parse().unwrap(), prefix.parse().unwrap()).unwrap().is_open()
        };
        for network in ["0.0.0.0/0", "::/0", "10.0.0.0/7", "172.16.0.0/11", "198.51.100.0/24", "2001:db8::/64", "fd00::/6"] {
            assert!(open(network), "{network}");
        }
        for network in [
            "10.0.0.0/8",
            "10.1.2.3/8",
            "172.18.0.0/16",
            "127.0.0.1/32",
            "100.64.0.0/10",
            "fd12::/16",
            "::1/128",
            "198.51.100.7/32",
            "2001:db8::7/128",
        ] {
            assert!(!open(network), "{network}");
        }
    }
}

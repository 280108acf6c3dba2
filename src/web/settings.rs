use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
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
    /// Where Smartcar posts to.
    pub webhook_path: String,
    /// The longest delivery, in bytes.
    pub webhook_max_body: usize,
    /// `smartcar.redirect_uri`, whole: shown on the set-up page.
    pub redirect_uri: String,
    /// The path of `smartcar.redirect_uri`: the callback's route.
    pub callback_path: String,
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
            webhook_path: "/api/webhooks/smartcar".to_owned(),
            webhook_max_body: 64 * 1024,
            redirect_uri: "http://localhost:8000/api/smartcar/callback".to_owned(),
            callback_path: "/api/smartcar/callback".to_owned(),
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// The whole URL that Smartcar posts to.
    pub fn webhook_url(&self) -> String {
        format!("{}{}", self.public_url.as_str().trim_end_matches('/'), self.webhook_path)
    }
}

/// How often, how many, how long. The quotas count per client: an IPv4 address or an IPv6 /64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Deliveries that failed their proof.
    pub webhook_failures: Quota,
    /// Connect links and callbacks.
    pub callback: Quota,
    /// Sign-ins, and bearer tokens that are not known.
    pub login: Quota,
    /// Everything else.
    pub api: Quota,
    /// Connections at the same time, per listener.
    pub connections: usize,
    /// How long the head of a request may take; also how long an idle connection is kept.
    pub header_time: Duration,
    /// How long the body of a request may take.
    pub body_time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            webhook_failures: Quota::new(30, Duration::from_secs(60)),
            callback: Quota::new(30, Duration::from_secs(60)),
            login: Quota::new(10, Duration::from_secs(60)),
            api: Quota::new(600, Duration::from_secs(60)),
            connections: 512,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(10),
        }
    }
}

/// So many in a period; all of them may come at once. Written `30/1m`.
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

impl FromStr for Quota {
    type Err = String;

    fn from_str(text: &str) -> Result<Quota, String> {
        let wrong = || format!("`{text}` is not a limit such as `30/1m` (s, m, h or d)");
        let (count, period) = text.split_once('/').ok_or_else(wrong)?;
        let count = count.trim().parse().ok().filter(|count| *count > 0).ok_or_else(wrong)?;
        let period = super::time::span(period.trim()).ok_or_else(wrong)?;
        Ok(Quota { count, period })
    }
}

/// In the unit that gives a whole number, so that what is printed can be written.
impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.period.as_secs();
        match seconds {
            s if s > 0 && s.is_multiple_of(86_400) => write!(f, "{}/{}d", self.count, s / 86_400),
            s if s > 0 && s.is_multiple_of(3600) => write!(f, "{}/{}h", self.count, s / 3600),
            s if s > 0 && s.is_multiple_of(60) => write!(f, "{}/{}m", self.count, s / 60),
            s => write!(f, "{}/{s}s", self.count),
        }
    }
}

impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Quota, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// What was written is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address or a network such as 10.0.0.0/8")]
pub struct NetworkError(String);

impl Network {
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
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.trim().parse().ok().filter(|prefix| *prefix <= longest).ok_or_else(wrong)?,
            None => longest,
        };
        Ok(Network { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Network, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses() {
        let holds = |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(holds("192.168.1.7", "192.168.1.7"));
        assert!(!holds("192.168.1.7", "192.168.1.8"));
        assert!(holds("fd00::/8", "fd12::1"));
        assert!(!holds("fd00::/8", "10.0.0.1"));
        assert!(holds("0.0.0.0/0", "8.8.8.8"));
        assert!(holds("::/0", "2001:db8::1"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "host", "10.0.0.0/-1", "10.0.0.0/8/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_quota_reads_what_it_prints() {
        for text in ["30/1m", "10/90s", "600/1h", "5/2d"] {
            assert_eq!(text.parse::<Quota>().unwrap().to_string(), text);
        }
        for text in ["", "0/1m", "30", "30/", "30/1y", "-1/1m", "30/0m"] {
            assert!(text.parse::<Quota>().is_err(), "{text}");
        }
    }
}

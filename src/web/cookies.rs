//! Cookies: which of two kinds a request may have, and how they are read and set.
//!
//! Over https and on loopback they are `__Host-` cookies, which no other host and no plain http can set.
//! On plain http from a private network there is a second kind without that protection, and pages say
//! so. Elsewhere there are none.

use http::HeaderValue;
use http::header::{COOKIE, HeaderMap, USER_AGENT};

use super::client::Client;
use super::settings::is_private;

/// Which kind of cookie a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `__Host-...; Secure`.
    Secure,
    /// Without `Secure`: plain http in a private network.
    Plain,
}

impl Kind {
    /// What the connection of this client allows; `None`: no session at all.
    pub(super) fn of(client: Client, headers: &HeaderMap) -> Option<Kind> {
        match client {
            Client::Remote { https: true, .. } => Some(Kind::Secure),
            // Safari alone refuses Secure cookies on http://localhost.
            Client::Remote { loopback: true, .. } if is_safari(headers) => Some(Kind::Plain),
            Client::Remote { loopback: true, .. } => Some(Kind::Secure),
            Client::Remote { address, .. } if is_private(address) => Some(Kind::Plain),
            Client::Local { .. } | Client::Remote { .. } => None,
        }
    }
}

/// One of our cookies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    secure: &'static str,
    plain: &'static str,
}

/// The session.
pub(super) const SESSION: Name = Name { secure: "__Host-carport", plain: "carport" };

/// Binds an attempt to connect to the browser that began it.
pub(super) const ATTEMPT: Name = Name { secure: "__Host-carport_attempt", plain: "carport_attempt" };

/// The units that somebody wants to see.
pub(super) const UNITS: Name = Name { secure: "__Host-carport_units", plain: "carport_units" };

impl Name {
    fn of(self, kind: Kind) -> &'static str {
        match kind {
            Kind::Secure => self.secure,
            Kind::Plain => self.plain,
        }
    }

    /// The value that the browser sent. Of two cookies of one name, neither: one is not ours.
    pub(super) fn read(self, kind: Kind, headers: &HeaderMap) -> Option<&str> {
        let name = self.of(kind);
        let mut found = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(own, value)| *own == name && is_value(value))
            .map(|(_, value)| value);
        let first = found.next()?;
        found.all(|other| other == first).then_some(first)
    }

    /// Sets it, for so many seconds or for as long as the browser runs.
    pub(super) fn set(self, kind: Kind, value: &str, seconds: Option<u64>) -> Option<HeaderValue> {
        let secure = if kind == Kind::Secure { "; Secure" } else { "" };
        let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let line = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}", self.of(kind));
        let mut line = HeaderValue::try_from(line).ok().filter(|_| is_value(value))?;
        line.set_sensitive(true);
        Some(line)
    }

    /// Takes it away.
    pub(super) fn clear(self, kind: Kind) -> Option<HeaderValue> {
        self.set(kind, "-", Some(0))
    }
}

/// Our values are letters and digits; whatever else comes is not ours.
fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn is_safari(headers: &HeaderMap) -> bool {
    let browser = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    browser.contains("Safari/") && !["Chrome/", "Chromium/", "Edg/"].iter().any(|other| browser.contains(other))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn remote(address: &str, https: bool) -> Client {
        let address: IpAddr = address.parse().unwrap();
        Client::Remote { address, https, loopback: address.is_loopback(), by_proxy: false }
    }

    fn with(name: http::HeaderName, lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&name, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn the_kind_follows_the_connection() {
        let kind = |address, https| Kind::of(remote(address, https), &HeaderMap::new());
        assert_eq!(kind("198.51.100.1", true), Some(Kind::Secure));
        assert_eq!(kind("127.0.0.1", false), Some(Kind::Secure));
        assert_eq!(kind("::1", false), Some(Kind::Secure));
        assert_eq!(kind("192.168.1.5", false), Some(Kind::Plain));
        assert_eq!(kind("fd00::1", false), Some(Kind::Plain));
        assert_eq!(kind("198.51.100.1", false), None);
        let safari =
            with(USER_AGENT, &["Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15"]);
        assert_eq!(Kind::of(remote("127.0.0.1", false), &safari), Some(Kind::Plain));
        assert_eq!(Kind::of(remote("127.0.0.1", true), &safari), Some(Kind::Secure));
    }

    #[test]
    fn cookies_are_read_by_their_kind() {
        let headers = with(COOKIE, &["a=b; __Host-carport=abc1; carport=other", "carport_attempt=x-y_z"]);
        assert_eq!(SESSION.read(Kind::Secure, &headers), Some("abc1"));
        assert_eq!(SESSION.read(Kind::Plain, &headers), Some("other"));
        assert_eq!(ATTEMPT.read(Kind::Plain, &headers), Some("x-y_z"));
        assert_eq!(ATTEMPT.read(Kind::Secure, &headers), None);
        assert_eq!(SESSION.read(Kind::Plain, &with(COOKIE, &["carport=one; carport=two"])), None);
        assert_eq!(SESSION.read(Kind::Plain, &with(COOKIE, &["carport=\"quoted\""])), None);
        assert_eq!(SESSION.read(Kind::Plain, &with(COOKIE, &["carport="])), None);
    }

    #[test]
    fn cookies_are_set_with_all_their_attributes() {
        let line = SESSION.set(Kind::Secure, "abc", None).unwrap();
        assert_eq!(line, "__Host-carport=abc; Path=/; HttpOnly; SameSite=Lax; Secure");
        let line = ATTEMPT.set(Kind::Plain, "abc", Some(600)).unwrap();
        assert_eq!(line, "carport_attempt=abc; Path=/; HttpOnly; SameSite=Lax; Max-Age=600");
        assert!(SESSION.set(Kind::Plain, "a;b", None).is_none());
        assert_eq!(SESSION.clear(Kind::Plain).unwrap(), "carport=-; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    }
}

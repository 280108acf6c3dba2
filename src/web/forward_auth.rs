//! Who somebody is by the word of a trusted proxy: `auth.forward_header`. The proxy signs people in, and must take
//! the header from whatever they send themselves.

use hmac::{Hmac, KeyInit, Mac};
use http::header::{HeaderMap, HeaderName};
use sha2::Sha256;

use super::client::Client;
use super::session::Identity;
use crate::model::reach::Reach;
use crate::operate::access::{Caller, Scope};
use crate::operate::audit::Actor;

/// The header, and what stands for the cookie of those who come by it.
#[derive(Debug)]
pub(super) struct ForwardAuth {
    header: HeaderName,
    key: String,
}

impl ForwardAuth {
    /// `key` is a secret of this process.
    pub(super) fn new(header: HeaderName, key: String) -> ForwardAuth {
        ForwardAuth { header, key }
    }

    /// Whom a trusted proxy has named.
    pub(super) fn identify(&self, client: Client, headers: &HeaderMap) -> Option<Identity> {
        // SECURITY: anybody can send the header; only who a trusted proxy is counts.
        if !matches!(client, Client::Remote { by_proxy: true, .. }) {
            return None;
        }
        let mut lines = headers.get_all(&self.header).iter();
        // Of two, one may be what somebody has sent along.
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        let user = line.to_str().ok()?.trim();
        if user.is_empty() || user.len() > LONGEST {
            return None;
        }
        let actor = Actor::Proxy { user: user.to_owned() };
        let caller = Caller { scope: Scope::Admin, reach: Reach::All, actor };
        Some(Identity { caller, cookie: Some(self.cookie(user)) })
    }

    /// SECURITY: a browser brings its proxy's word along wherever a form leads from, as it does with a cookie. Forms
    /// need a token that other sites cannot make, so it is made of something that only we know.
    fn cookie(&self, user: &str) -> String {
        let mut hash = Hmac::<Sha256>::new_from_slice(self.key.as_bytes()).expect("HMAC takes keys of any length");
        hash.update(user.as_bytes());
        data_encoding::HEXLOWER.encode(&hash.finalize().into_bytes())
    }
}

/// The longest name of a user, in bytes.
const LONGEST: usize = 200;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(by_proxy: bool) -> Client {
        Client::Remote { address: "203.0.113.7".parse().unwrap(), https: true, loopback: false, by_proxy }
    }

    fn named(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (HeaderName::from_static("remote-user"), HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn only_the_one_word_of_a_trusted_proxy_counts() {
        let auth = ForwardAuth::new(HeaderName::from_static("remote-user"), "a key".to_owned());
        let ada = auth.identify(client(true), &named(&["ada"])).unwrap();
        assert_eq!((ada.caller.scope, ada.caller.actor), (Scope::Admin, Actor::Proxy { user: "ada".to_owned() }));
        assert!(auth.identify(client(false), &named(&["ada"])).is_none());
        assert!(auth.identify(Client::Local { uid: 0 }, &named(&["ada"])).is_none());
        for lines in [&[][..], &[""], &["  "], &["ada", "grace"], &["ada", ""]] {
            let headers = named(lines);
            assert!(auth.identify(client(true), &headers).is_none(), "{lines:?}");
        }
        let grace = auth.identify(client(true), &named(&["grace"])).unwrap();
        assert!(grace.cookie != ada.cookie && !ada.cookie.unwrap().contains("ada"));
    }
}

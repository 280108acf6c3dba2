//! What a proxy wrote about the hops before it, in either of two dialects: `X-Forwarded-For` and
//! `X-Forwarded-Proto`, or `Forwarded` (RFC 7239).
//!
//! SECURITY: a proxy that writes one of them passes the other on as the client sent it, and nobody can tell which is
//! which. So where both are there they count for what they agree on: who cannot be told apart is the proxy itself, and
//! https is what both say, or one of which the other is silent.

use std::net::IpAddr;

use http::header::{FORWARDED, HeaderMap, HeaderName};

/// Nearest hop first; `None` for one that is no address.
pub(super) fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines: Vec<&str> = headers.get_all(X_FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or("?")).collect();
    let x: Vec<_> = lines.into_iter().rev().flat_map(|line| line.rsplit(',')).map(|hop| address(hop.trim())).collect();
    let standard: Vec<_> = elements(headers).into_iter().map(|element| address(&parameter(&element, "for")?)).collect();
    match (speaks_x(headers), headers.contains_key(FORWARDED)) {
        (true, true) if x.first() != standard.first() => vec![None],
        (true, _) => x,
        (false, _) => standard,
    }
}

/// Whether the nearest proxy was reached by https.
pub(super) fn is_https(headers: &HeaderMap) -> bool {
    let last = headers.get_all(X_FORWARDED_PROTO).iter().next_back().and_then(|line| line.to_str().ok());
    let x = last.and_then(|line| line.rsplit(',').next()).map(|scheme| scheme.trim().to_owned());
    let standard = elements(headers).first().and_then(|element| parameter(element, "proto"));
    let is_https = |scheme: &String| scheme.eq_ignore_ascii_case("https");
    match (x, standard) {
        (Some(x), Some(standard)) => is_https(&x) && is_https(&standard),
        (Some(x), None) => is_https(&x),
        (None, Some(standard)) => !speaks_x(headers) && is_https(&standard),
        (None, None) => false,
    }
}

/// Whether anything here says that a proxy passed it on.
pub(super) fn is_there(headers: &HeaderMap) -> bool {
    speaks_x(headers) || headers.contains_key(FORWARDED)
}

fn speaks_x(headers: &HeaderMap) -> bool {
    headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(X_FORWARDED_PROTO)
}

/// An address, in brackets or not, with a port or not.
fn address(hop: &str) -> Option<IpAddr> {
    let address = match hop.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if hop.contains('.') && !hop.contains("::") => hop.split(':').next()?,
        None => hop,
    };
    address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// The elements of all `Forwarded` lines, nearest first.
fn elements(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(FORWARDED).iter().map(|line| line.to_str().unwrap_or("?"));
    let mut elements: Vec<String> = lines.flat_map(|line| split(line, ',')).collect();
    elements.reverse();
    elements
}

/// The value of a parameter, without its quotes. One that comes twice has none.
fn parameter(element: &str, name: &str) -> Option<String> {
    let mut values = split(element, ';').into_iter().filter_map(|pair| {
        let (own, value) = pair.split_once('=')?;
        own.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    });
    let (value, None) = (values.next()?, values.next()) else { return None };
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Some(bare.map(str::to_owned).unwrap_or(value))
}

/// The parts between separators that do not stand in quotes.
fn split(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for letter in text.chars() {
        if letter == separator && !quoted {
            parts.push(String::new());
            continue;
        }
        quoted ^= letter == '"' && !escaped;
        escaped = quoted && letter == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts
}

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn read(pairs: &[(&'static str, &str)]) -> String {
        let hop = |hop: &Option<IpAddr>| hop.map_or("?".to_owned(), |address| address.to_string());
        hops(&headers(pairs)).iter().map(hop).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn both_dialects_are_read_from_the_right() {
        assert_eq!(
            read(&[("x-forwarded-for", "1.1.1.1, 2.2.2.2"), ("x-forwarded-for", "3.3.3.3:80")]),
            "3.3.3.3 2.2.2.2 1.1.1.1"
        );
        assert_eq!(
            read(&[("forwarded", "for=1.1.1.1, for=2.2.2.2;proto=https"), ("forwarded", "For=3.3.3.3")]),
            "3.3.3.3 2.2.2.2 1.1.1.1"
        );
        assert_eq!(read(&[("forwarded", "for=\"[2001:db8::7]:4711\";by=_x")]), "2001:db8::7");
        assert_eq!(read(&[("forwarded", "for=unknown, for=_hidden, proto=https, for=1.1.1.1;for=2.2.2.2")]), "? ? ? ?");
        assert_eq!(read(&[]), "");
    }

    #[test]
    fn what_stands_in_quotes_divides_nothing() {
        assert_eq!(read(&[("forwarded", "for=\"1.1.1.1, for=2.2.2.2\"")]), "?");
        assert_eq!(read(&[("forwarded", "for=1.1.1.1;host=\"a\\\",for=2.2.2.2\"")]), "1.1.1.1");
        // A quote that is never closed takes the rest with it: it names nobody.
        assert_eq!(read(&[("forwarded", "for=\"1.1.1.1, for=2.2.2.2")]), "?");
    }

    #[test]
    fn where_both_dialects_are_there_one_may_be_forged() {
        assert_eq!(read(&[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "1.1.1.1")]), "?");
        assert_eq!(read(&[("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "6.6.6.6, 1.1.1.1")]), "1.1.1.1 6.6.6.6");
        assert_eq!(read(&[("forwarded", "for=6.6.6.6"), ("x-forwarded-proto", "https")]), "?");
        assert_eq!(read(&[("forwarded", "proto=https"), ("x-forwarded-for", "1.1.1.1")]), "?");
        assert!(!is_https(&headers(&[("forwarded", "proto=http"), ("x-forwarded-proto", "https")])));
        assert!(!is_https(&headers(&[("forwarded", "proto=https"), ("x-forwarded-proto", "http")])));
        assert!(is_https(&headers(&[("forwarded", "for=1.1.1.1"), ("x-forwarded-proto", "https")])));
        assert!(!is_https(&headers(&[("forwarded", "proto=https"), ("x-forwarded-for", "1.1.1.1")])));
        assert!(is_https(&headers(&[("forwarded", "for=1.1.1.1;proto=http, for=2.2.2.2;proto=HTTPS")])));
        assert!(is_https(&headers(&[("x-forwarded-proto", "http, https")])));
        assert!(!is_https(&headers(&[("x-forwarded-proto", "https, http")])));
    }

    proptest! {
        #[test]
        fn anything_is_read(line in "[ -~]{0,60}") {
            for name in ["forwarded", "x-forwarded-for", "x-forwarded-proto"] {
                let headers = headers(&[(name, &line)]);
                prop_assert!(hops(&headers).len() <= line.len() + 1);
                is_https(&headers);
            }
        }
    }
}

//! The head: `Host`, field syntax (RFC 9112 section 5), sizes, and headers that lie about who is calling.

use super::{CANARY, Case, case};

/// A request for `/healthz` with these lines, and no others.
fn bare(name: &str, lines: impl AsRef<[u8]>, expected: &'static str) -> Case {
    case(name, [b"GET /healthz HTTP/1.1\r\n", lines.as_ref(), b"\r\n\r\n"].concat(), expected)
}

/// The same with a good `Host`.
fn head(name: &str, lines: impl AsRef<[u8]>, expected: &'static str) -> Case {
    bare(name, [b"Host: localhost\r\n", lines.as_ref()].concat(), expected)
}

/// A private address with these lines.
fn private(name: &str, lines: &str, expected: &'static str) -> Case {
    case(name, format!("GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n"), expected)
}

pub(super) fn cases() -> Vec<Case> {
    let many = |count: usize| (0..count).map(|at| format!("X-{at}: y")).collect::<Vec<_>>().join("\r\n");
    vec![
        // Host.
        bare("no Host", "X: y", "400 close"),
        bare("an empty Host", "Host:", "400 close"),
        bare("two equal Hosts", "Host: localhost\r\nHost: localhost", "400 close"),
        bare("two Hosts", "Host: localhost\r\nHost: evil.example", "400 close"),
        bare("two Hosts in other order", "Host: evil.example\r\nHost: localhost", "400 close"),
        bare("another Host", "Host: evil.example", "421 close"),
        bare("a Host that only begins well", "Host: localhost.evil.example", "421 close"),
        bare("a Host with a user", "Host: localhost@evil.example", "400 close"),
        bare("a Host with a path", "Host: localhost/evil", "400 close"),
        bare("a Host with a space", "Host: localhost evil.example", "400 close"),
        bare("Hosts in a list", "Host: localhost, evil.example", "400 close"),
        bare("a Host with a port that is none", "Host: localhost:http", "400 close"),
        bare("a Host with a port that is too large", "Host: localhost:65536", "400 close"),
        bare("a Host with a bracket", "Host: [::1", "400 close"),
        bare("a public address as Host", "Host: 203.0.113.9", "421 close"),
        bare("a Host in decimal", "Host: 2130706433", "421 close"),
        bare("a Host of bytes", b"Host: \xff\xfe", "400 close"),
        bare("a space before the colon of Host", "Host : localhost", "400 close"),
        bare("a very long Host", format!("Host: {}", "a".repeat(10_000)), "421 close"),
        case("no Host in HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n", "400 close"),
        bare("a forwarded Host", "Host: evil.example\r\nX-Forwarded-Host: localhost", "421 close"),
        // Fields.
        head("an obsolete fold", "X: a\r\n b", "400 close"),
        head("an obsolete fold with a tab", "X: a\r\n\tb", "400 close"),
        bare("a fold before the first field", " X: a\r\nHost: localhost", "400 close"),
        bare("a folded Host", "Host:\r\n localhost", "400 close"),
        head("a null byte in a value", b"X: a\0b", "400 close"),
        head("a null byte in a name", b"X\0: a", "400 close"),
        head("a null byte on a line of its own", b"\0", "400 close"),
        head("a carriage return in a value", "X: a\rb", "400 close"),
        // RFC 9112, section 2.2, lets a server take a lone line feed for the end of a line, and hyper does without telling:
        // what reaches us has no line feeds any more. It is a risk only behind a proxy that hands one on inside a value,
        // which RFC 9110, section 5.5, forbids; those that the README names end lines there too, or refuse. In the framing
        // of bodies, where two readings would differ, a lone line feed is refused (`framing.rs`).
        head("a line feed alone", "X: a\nY: b", "200 keep"),
        case("line feeds alone", "GET /healthz HTTP/1.1\nHost: localhost\n\n", "200 keep"),
        case("carriage returns alone", "GET /healthz HTTP/1.1\rHost: localhost\r\r", "400 close"),
        head("a space in a name", "X Y: a", "400 close"),
        head("a space before a colon", "X : a", "400 close"),
        head("a tab before a colon", "X\t: a", "400 close"),
        head("no name", ": a", "400 close"),
        head("no colon", "X", "400 close"),
        head("no value", "X:", "200 keep"),
        head("quotes in a name", "\"X\": a", "400 close"),
        head("a name of bytes", b"X\xff: a", "400 close"),
        head("a value of bytes", b"X: \xff\xfe\x80", "200 keep"),
        head("control characters in a value", b"X: \x01\x1b[2J\x7f", "400 close"),
        // Sizes.
        head("sixty headers", many(60), "200 keep"),
        head("seventy headers", many(70), "431 close"),
        head("a thousand headers", many(1_000), "431 close"),
        head("a long header", format!("X: {}", "y".repeat(20_000)), "200 keep"),
        head("a header that is too long", format!("X: {}", "y".repeat(100_000)), "431 close"),
        head("a header bomb", format!("X: {}", "y".repeat(2_000_000)), "431 close"),
        head("a long name", format!("{}: y", "X".repeat(20_000)), "200 keep"),
        head("a name that is too long", format!("{}: y", "X".repeat(100_000)), "431 close"),
        case("a second first line", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ", "400 close"),
        // Connections.
        head("two wishes for the connection", "Connection: keep-alive\r\nConnection: close", "200 close"),
        head("a connection that names Host", "Connection: host", "200 keep"),
        head("a keep-alive with numbers", "Connection: keep-alive\r\nKeep-Alive: timeout=99999999999999999999", "200 keep"),
        case("HTTP/1.0 that stays", "GET /healthz HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n", "200 keep"),
        head("a range", "Range: bytes=0-0,1-1,2-2,3-3", "200 keep"),
        head("an encoding bomb", format!("Accept-Encoding: {}", "gzip,".repeat(4_000)), "200 keep"),
        // Who is calling.
        private(
            "forged forwarding",
            "X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\nForwarded: for=127.0.0.1",
            "401 keep",
        ),
        private("a long way of hops", &format!("X-Forwarded-For: {}", "1.1.1.1,".repeat(3_000)), "401 keep"),
        private("a token that is none", &format!("Authorization: Bearer {CANARY}"), "401 keep"),
        private("an unknown token", &format!("Authorization: Bearer carport_{CANARY}"), "401 keep"),
        private("two tokens", "Authorization: Bearer carport_a\r\nAuthorization: Bearer carport_b", "401 keep"),
        private("a very long token", &format!("Authorization: Bearer carport_{}", "a".repeat(20_000)), "401 keep"),
        private("another scheme", "Authorization: Basic YWRtaW46YWRtaW4=", "401 keep"),
        private("a cookie that is none", &format!("Cookie: __Host-carport={CANARY}"), "401 keep"),
        private("two cookies of one name", "Cookie: __Host-carport=a; __Host-carport=b\r\nCookie: __Host-carport=c", "401 keep"),
        private("many cookies", &format!("Cookie: {}", "a=b; ".repeat(4_000)), "401 keep"),
        private("a cookie without a name", "Cookie: =;=;;;=x;", "401 keep"),
        private("a user from a header", "X-Remote-User: admin\r\nRemote-User: admin\r\nX-Forwarded-User: admin", "401 keep"),
        private("another method in a header", "X-HTTP-Method-Override: DELETE", "401 keep"),
        private("another path in a header", "X-Original-URL: /healthz\r\nX-Rewrite-URL: /healthz", "401 keep"),
        private("a page elsewhere", "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site", "401 keep"),
    ]
}

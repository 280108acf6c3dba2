//! The first line: methods, targets and versions (RFC 9112 section 3), and what is not HTTP/1.1 at all.

use super::{Case, case, ends, waits};

fn first_line(line: &str, expected: &'static str) -> Case {
    case(line.chars().take(60).collect::<String>(), format!("{line}\r\nHost: localhost\r\n\r\n"), expected)
}

fn get(path: &str, expected: &'static str) -> Case {
    first_line(&format!("GET {path} HTTP/1.1"), expected)
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn cases() -> Vec<Case> {
    let asset = |path: &str| format!("/assets/{path}");
    vec![
        // What is right, to compare.
        get("/healthz", "200 keep"),
        get("/healthz?query", "200 keep"),
        get("/healthz/", "200 keep"),
        // Targets.
        get("*", "404 keep"),
        get("healthz", "400 close"),
        get("//healthz", "404 keep"),
        get("/./healthz", "404 keep"),
        get("/x/../healthz", "404 keep"),
        get("/x/%2e%2e/healthz", "404 keep"),
        get("/healthz%00", "404 keep"),
        get("/%68ealthz", "404 keep"),
        // RFC 9112, section 3.2, has no fragment in a target. hyper reads up to it and drops the rest without telling, so
        // that there is one reading here: the path before it, for the limits and the handler alike.
        get("/healthz#fragment", "200 keep"),
        get("/nowhere#/../healthz", "404 keep"),
        get("/api/v1/status#/healthz", "401 keep"),
        get("\\healthz", "400 close"),
        get(&asset("..%2f..%2fetc%2fpasswd"), "404 keep"),
        get(&asset("../../etc/passwd"), "404 keep"),
        get(&asset("..%5c..%5cetc"), "404 keep"),
        get(&asset("%"), "404 keep"),
        get(&asset("%z1"), "404 keep"),
        get(&asset("%1"), "404 keep"),
        get(&asset("%ff%fe"), "404 keep"),
        get(&asset("%c0%ae%c0%ae"), "404 keep"),
        get(&asset("%25%32%65"), "404 keep"),
        get(&asset("%0d%0aX-Injected:%20hostile-canary"), "404 keep"),
        get("/api/v1/users/%0a%1b[2Jhostile-canary", "401 keep"),
        get("/login?t=%00", "404 keep"),
        get("/login?t=%zz", "404 keep"),
        get("/login?t=1&t=2", "400 keep"),
        get("/connect/%3Cscript%3Ehostile-canary", "404 keep"),
        get("/api/smartcar/callback?code=%ff&state=%00", "400 keep"),
        get("/api/smartcar/callback?error=%3Cscript%3E&state=hostile-canary", "400 keep"),
        get(&format!("/{}", "a".repeat(8_000)), "404 keep"),
        get(&format!("/{}", "a".repeat(20_000)), "404 keep"),
        get(&format!("/{}", "a".repeat(200_000)), "431 close"),
        get(&"/x".repeat(4_000), "404 keep"),
        get(&format!("/assets/{}", "%41".repeat(5_000)), "404 keep"),
        get(&format!("/login?{}", "a=b&".repeat(5_000)), "400 keep"),
        // Absolute targets, and authorities.
        get("http://localhost/healthz", "200 keep"),
        get("http://evil.example/healthz", "400 close"),
        get("https://evil.example/healthz", "400 close"),
        get("http://localhost:80/healthz", "400 close"),
        get("http://user:word@localhost/healthz", "400 close"),
        get("http://localhost@evil.example/healthz", "400 close"),
        get("ftp://localhost/healthz", "400 close"),
        get("http://", "400 close"),
        get("http:///healthz", "400 close"),
        get("http://[::1/healthz", "400 close"),
        get("evil.example:443", "400 close"),
        first_line("CONNECT evil.example:443 HTTP/1.1", "400 close"),
        first_line("CONNECT localhost HTTP/1.1", "404 keep"),
        first_line("CONNECT /healthz HTTP/1.1", "405 keep"),
        first_line("OPTIONS * HTTP/1.1", "404 keep"),
        // Methods.
        first_line("TRACE /healthz HTTP/1.1", "405 keep"),
        first_line("TRACK /login HTTP/1.1", "405 keep"),
        first_line("get /healthz HTTP/1.1", "405 keep"),
        first_line("PROPFIND / HTTP/1.1", "405 keep"),
        first_line("PRI /healthz HTTP/1.1", "405 keep"),
        first_line("G\u{e4}T /healthz HTTP/1.1", "400 close"),
        first_line("G@T /healthz HTTP/1.1", "400 close"),
        first_line(" /healthz HTTP/1.1", "400 close"),
        first_line(&format!("{} /healthz HTTP/1.1", "A".repeat(10_000)), "405 keep"),
        first_line(&format!("{} /healthz HTTP/1.1", "A".repeat(200_000)), "431 close"),
        // Spaces and versions.
        first_line("GET  /healthz HTTP/1.1", "400 close"),
        first_line("GET /healthz  HTTP/1.1", "400 close"),
        first_line("GET /healthz HTTP/1.1 ", "400 close"),
        first_line("GET\t/healthz\tHTTP/1.1", "400 close"),
        first_line(" GET /healthz HTTP/1.1", "400 close"),
        first_line("GET /heal thz HTTP/1.1", "400 close"),
        first_line("GET /heal\tthz HTTP/1.1", "400 close"),
        first_line("GET /heal\x00thz HTTP/1.1", "400 close"),
        first_line("GET /heal\x7fthz HTTP/1.1", "400 close"),
        first_line("GET /heal\u{fc}thz HTTP/1.1", "404 keep"),
        first_line("GET /healthz", "400 close"),
        first_line("GET /healthz HTTP/0.9", "400 close"),
        first_line("GET /healthz HTTP/1.0", "200 close"),
        first_line("GET /healthz HTTP/1.2", "400 close"),
        first_line("GET /healthz HTTP/1.10", "400 close"),
        first_line("GET /healthz HTTP/2.0", "400 close"),
        first_line("GET /healthz HTTP/9.9", "400 close"),
        first_line("GET /healthz http/1.1", "400 close"),
        first_line("GET /healthz HTTPS/1.1", "400 close"),
        first_line("GET /healthz HTTP/1", "400 close"),
        first_line("GET /healthz HTTP/-1.1", "400 close"),
        first_line("GET /healthz HTTP/1.1\x00", "400 close"),
        // Another protocol.
        case("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "close"),
        case(
            "an upgrade to h2c",
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
            "200 keep",
        ),
        case(
            "an upgrade to websockets",
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            "401 keep",
        ),
        case(
            "a line of the PROXY protocol",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "400 close",
        ),
        case(
            "the PROXY protocol, version 2",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x01\0\x02",
            "400 close",
        ),
        case("a greeting of SSH", "SSH-2.0-OpenSSH_9.9\r\n", "400 close"),
        case("a greeting of SMTP", "EHLO evil.example\r\n", "400 close"),
        case("a request of a printer", "\x1b%-12345X@PJL INFO ID\r\n", "400 close"),
        case("bytes of all kinds", (0..=255).collect::<Vec<u8>>(), "400 close"),
        case("zeros", vec![0; 50_000], "400 close"),
        case("empty lines", "\r\n".repeat(20), "keep"),
        case("very many empty lines", "\r\n".repeat(100_000), "431 close"),
        ends(case("nothing at all", "", "close")),
        waits(case("silence", "", "close")),
        waits(case("half a line, then silence", "GET /heal", "close")),
        waits(case("half a head, then silence", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ", "close")),
        waits(case("a request, then silence", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "200 close")),
        ends(case("half a line", "GET /heal", "close")),
        ends(case("half a head", "GET /healthz HTTP/1.1\r\nHost: local", "close")),
        ends(case("a head without its last line", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n", "close")),
        // Pipelining.
        case("three requests at once", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3), "200 200 200 keep"),
        case("a good request, then a bad one", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nBAD\r\n\r\n", "200 400 close"),
        case("an empty line between two requests", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n", "200 keep"),
        case(
            "a request behind the last one",
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "200 close",
        ),
    ]
}

//! Bodies: what stands in them, on routes that read them and on those that do not.

use serde_json::json;

use super::{CANARY, Case, case};
use crate::edge::rig;

/// A post with its right length.
fn post(name: &str, path: &str, lines: &str, body: impl AsRef<[u8]>, expected: &'static str) -> Case {
    let body = body.as_ref();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: {}\r\n\r\n", body.len());
    case(name, [head.as_bytes(), body].concat(), expected)
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\n";

pub(super) fn cases() -> Vec<Case> {
    let unsigned = |name: &str, body: &[u8], expected| post(name, "/api/webhooks/smartcar", "", body, expected);
    let signed = |name: &str, body: &str, expected| {
        post(name, "/api/webhooks/smartcar", &format!("SC-Signature: {}\r\n", rig::sign(body)), body, expected)
    };
    let signature = |name: &str, lines: &str, expected| post(name, "/api/webhooks/smartcar", lines, "{}", expected);
    let login = |name: &str, body: &[u8], expected| post(name, "/login", FORM, body, expected);
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(8_000), "}".repeat(8_000));
    let verify = |challenge: &str| json!({ "eventType": "VERIFY", "data": { "challenge": challenge } }).to_string();
    vec![
        unsigned("deep arrays", deep.as_bytes(), "401 keep"),
        unsigned("deep objects", deep_object.as_bytes(), "401 keep"),
        unsigned("bytes", &[0xff; 1_000], "401 keep"),
        unsigned("exactly as much as may come", &[b' '; 64 * 1024], "401 keep"),
        unsigned("one byte more", &[b' '; 64 * 1024 + 1], "413 close"),
        unsigned("a mebibyte", &[b' '; 1024 * 1024], "413 close"),
        unsigned("an unsigned challenge that is an event", verify("{\"eventId\":\"1\"}").as_bytes(), "400 keep"),
        unsigned("a challenge with a line break", verify("a\r\nb").as_bytes(), "400 keep"),
        unsigned("an endless challenge", verify(&"a".repeat(5_000)).as_bytes(), "401 keep"),
        unsigned("a number that is none", b"{\"eventId\": NaN}", "401 keep"),
        unsigned("a key twice", b"{\"eventId\":\"a\",\"eventId\":\"b\"}", "401 keep"),
        signed("signed deep objects", &deep_object, "200 keep"),
        signed("signed deep arrays", &deep, "400 keep"),
        signed("a signed challenge that is an event", &verify("{\"eventId\":\"1\"}"), "400 keep"),
        signed("a signed null", "null", "400 keep"),
        signed("a signed nothing", "", "400 keep"),
        signature("an empty signature", "SC-Signature:\r\n", "401 keep"),
        signature("a signature of letters", &format!("SC-Signature: {CANARY}\r\n"), "401 keep"),
        signature("a long signature", &format!("SC-Signature: {}\r\n", "a".repeat(10_000)), "401 keep"),
        signature("two signatures", &format!("SC-Signature: {0}\r\nSC-Signature: {0}\r\n", rig::sign("{}")), "401 keep"),
        signature("two signatures in a list", &format!("SC-Signature: {0},{0}\r\n", rig::sign("{}")), "401 keep"),
        signature("half a signature", &format!("SC-Signature: {}\r\n", &rig::sign("{}")[..32]), "401 keep"),
        post(
            "a signed body elsewhere",
            "/api/webhooks/elsewhere",
            &format!("SC-Signature: {}\r\n", rig::sign("{}")),
            "{}",
            "404 keep",
        ),
        login("a form without fields", b"", "403 keep"),
        login("a form of bytes", b"t=%ff%00%zz", "403 keep"),
        login("a field twice", b"t=1&t=2", "400 keep"),
        login("a field that is not known", b"t=1&other=hostile-canary", "400 keep"),
        login("many fields", "a=b&".repeat(4_000).as_bytes(), "400 keep"),
        login("a form that is too long", &[b'a'; 16 * 1024 + 1], "413 close"),
        post("a form from elsewhere", "/login", "Sec-Fetch-Site: cross-site\r\n", "t=1", "403 keep"),
        post(
            "a form that is JSON",
            "/login",
            "Content-Type: application/json\r\nSec-Fetch-Site: same-origin\r\n",
            "{}",
            "400 keep",
        ),
        post(
            "a form in parts",
            "/login",
            "Content-Type: multipart/form-data; boundary=\"\r\nSec-Fetch-Site: same-origin\r\n",
            "--",
            "400 keep",
        ),
        post("a command of a stranger", "/api/v1/users", "Content-Type: application/json\r\n", "{}", "401 keep"),
        post("a giant of a stranger", "/api/v1/users", "", [b' '; 100_000], "401 close"),
        post("an exchange of a stranger", "/api/smartcar/exchange", "", format!("{{\"code\":\"{CANARY}\"}}"), "401 keep"),
        post("a body where nothing is", "/nowhere", "", [b' '; 200_000], "404 close"),
        post("a body of another method", "/healthz", "", [b' '; 200_000], "405 close"),
    ]
}

//! Proxies in front: the one that is trusted is believed, any other is named to the operator.

use crate::binary::http::Say;
use crate::binary::process::{Home, Server, until};

#[tokio::test]
async fn a_proxy_that_is_not_trusted_is_named_once() {
    let home = Home::new();
    let server = Server::start(&home).await;
    for name in ["x-forwarded-for", "forwarded"] {
        server.send(Say::get("/healthz").header(name, "for=198.51.100.7")).await;
    }
    let log = async || Some(server.program.stderr()).filter(|log| log.contains("no trusted proxy"));
    until("the warning", log).await;
    let ran = server.stop().await;
    assert_eq!(ran.stderr.matches("no trusted proxy").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains(r#"trusted_proxies = [\"127.0.0.1\"]"#), "{}", ran.stderr);
    assert!(!ran.stderr.contains("198.51.100.7"), "addresses of people are not told");
}

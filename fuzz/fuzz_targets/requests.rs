//! Whatever is sent to the port, through hyper and the whole router: as it comes, and as the query, the forwarding
//! headers and the cookies of requests that are otherwise good, and of somebody with a token. The peer is a proxy that
//! is believed. Also as what a proxy says before the first byte.
//!
//! What must hold: nothing panics, the connection ends, and no answer says that something went wrong here.
#![no_main]

use std::convert::Infallible;
use std::sync::LazyLock;
use std::time::Duration;

use carport::app::App;
use carport::config::{ConfigFile, Overrides, Sources, load};
use carport::operate::access::{Scope, TokenRequest};
use carport::web::server::proxy_protocol;
use carport::web::{Peer, Services, handle};
use carport::world::World;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::Runtime;

static GATEWAY: LazyLock<(Runtime, App, String)> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("threads");
    let directory = std::env::temp_dir().join(format!("carport-fuzz-{}", std::process::id()));
    let limits = ["limits.api", "limits.callback", "limits.login", "limits.webhook_failures"];
    let overrides = Overrides::default()
        .set("data_dir", directory.to_string_lossy(), "fuzz")
        .set("trusted_proxies", "10.0.0.0/8", "fuzz")
        .set("api.allowed_origins", "https://app.example.org", "fuzz")
        .set("smartcar.application_management_token", "amt-fixture-0b9f6c1e5d7a4e1f", "fuzz");
    let overrides = limits.iter().fold(overrides, |overrides, key| overrides.set(key, "1000000/s", "fuzz"));
    let config = load(&Sources { overrides, file: ConfigFile::None, directory, ..Sources::default() }).expect("a configuration");
    let app = runtime.block_on(async { App::build(&config, World::system().expect("a world")).await.expect("an application") });
    let request = TokenRequest { name: "fuzz".to_owned(), scope: Scope::Admin, user: None, vehicle: None, expires_in: None };
    let (_, token) = runtime.block_on(app.services().rooms.access.create_token(request)).expect("a token");
    let token = token.expose().to_owned();
    (runtime, app, token)
});

fuzz_target!(|data: &[u8]| {
    let (runtime, app, token) = &*GATEWAY;
    // Heads are short, and what is long costs time: limits of length have their stories.
    let data = &data[..data.len().min(4_000)];
    // What stands in a line of a head has no line breaks.
    let line: Vec<u8> = data.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
    let word: Vec<u8> = line.iter().copied().filter(|byte| byte.is_ascii_graphic()).collect();
    let with = |head: &str, hostile: &[u8], rest: &str| [head.as_bytes(), hostile, rest.as_bytes()].concat();
    let end = " HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let known = format!(" HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n");
    let json = format!("{known}content-type: application/json\r\ncontent-length: {}\r\n\r\n", data.len());
    let form = json.replace("application/json", "application/x-www-form-urlencoded");
    let whole = [
        data.to_vec(),
        with("GET /", &word, end),
        with("GET /api/smartcar/callback?", &word, end),
        with("GET /api/v1/status HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: ", &line, "\r\n\r\n"),
        with("GET /login HTTP/1.1\r\nhost: localhost\r\nforwarded: ", &line, "\r\n\r\n"),
        with("GET / HTTP/1.1\r\nhost: localhost\r\nx-forwarded-proto: https\r\ncookie: ", &line, "\r\n\r\n"),
        with("GET /api/v1/", &word, &format!("{known}\r\n")),
        with("GET /api/v1/webhooks?", &word, &format!("{known}\r\n")),
        with("GET /v2.0/", &word, &format!("{known}\r\n")),
        with("GET /v3/vehicles/", &word, &format!("{known}\r\n")),
        with(&format!("POST /api/v1/users{json}"), data, ""),
        with(&format!("POST /api/v1/tokens{json}"), data, ""),
        with(&format!("POST /v2.0/vehicles/v/batch{json}"), data, ""),
        with(&format!("POST /oauth/token{form}"), data, ""),
        with("OPTIONS /api/v1/users HTTP/1.1\r\norigin: https://app.example.org\r\nhost: ", &line, "\r\n\r\n"),
    ];
    runtime.block_on(async {
        for introduction in [
            data.to_vec(),
            with("\r\n\r\n\0\r\nQUIT\n\x21", data, ""),
            with("PROXY TCP", data, "\r\n"),
            with("PROXY U", data, "\r\n"),
        ] {
            let mut rest = &introduction[..];
            // Whatever it makes of it, what follows is left alone.
            if proxy_protocol::source(&mut rest, Duration::from_secs(1)).await.is_ok() {
                let length = if introduction.starts_with(b"PROXY ") {
                    introduction.windows(2).position(|end| end == b"\r\n").unwrap() + 2
                } else {
                    16 + usize::from(u16::from_be_bytes([introduction[14], introduction[15]]))
                };
                assert_eq!(introduction.len() - rest.len(), length);
            }
        }
        for request in &whole {
            let told = talk(app.services(), request).await;
            assert!(!told.starts_with(b"HTTP/1.1 500"), "{}", String::from_utf8_lossy(&told));
        }
    });
});

/// What comes back until the connection ends.
async fn talk(services: &Services, request: &[u8]) -> Vec<u8> {
    let (near, mut far) = duplex(64 * 1024);
    let peer = Peer::Remote { address: [10, 0, 0, 1].into(), tls: false };
    let service = service_fn(|request| async move { Ok::<_, Infallible>(handle(services, peer, request).await) });
    let mut http = http1::Builder::new();
    let serving = http.max_buf_size(32 * 1024).max_headers(64).serve_connection(TokioIo::new(near), service);
    let asking = async {
        // The gateway may have ended it before all was sent.
        let _ = far.write_all(request).await;
        let _ = far.shutdown().await;
        let mut told = Vec::new();
        let _ = far.read_to_end(&mut told).await;
        told
    };
    tokio::join!(serving, asking).1
}

//! What only real sockets show: limits of time, the socket for commands, a clean stop.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::rig::Gateway;

const SOON: Duration = Duration::from_secs(8);

/// All that comes until the other side closes.
async fn all<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut bytes = Vec::new();
    timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("the connection stays open").unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn sockets_keep_to_their_limits() {
    let mut gateway = Gateway::new("sockets").await;
    let mut app = gateway.app.take().unwrap();
    app.bind(&gateway.config).await.unwrap();
    let address = app.listeners().iter().find_map(carport::web::server::Listener::address).unwrap();
    let socket = gateway.config.socket.clone();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(app.run(shutdown.clone()));

    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(get("/healthz").as_bytes()).await.unwrap();
    assert!(all(&mut stream).await.starts_with("HTTP/1.1 200 "));

    // Whoever asks and then says nothing more is not waited for either.
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(all(&mut idle).await.starts_with("HTTP/1.1 200 "));

    // Over TCP nobody in particular, over the socket the one who runs it.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(get("/api/v1/users").as_bytes()).await.unwrap();
    assert!(all(&mut stream).await.starts_with("HTTP/1.1 401 "));
    let mut stream = UnixStream::connect(&socket).await.unwrap();
    stream.write_all(get("/api/v1/users").as_bytes()).await.unwrap();
    assert!(all(&mut stream).await.starts_with("HTTP/1.1 200 "));

    // A head that never ends, and one that never begins, are not waited for.
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: local").await.unwrap();
    let mut silent = TcpStream::connect(address).await.unwrap();
    let (slow, silent) = tokio::join!(all(&mut slow), all(&mut silent));
    assert!(slow.is_empty() || slow.starts_with("HTTP/1.1 408 "), "{slow}");
    assert!(silent.is_empty(), "{silent}");

    // An announced giant is refused before a byte of it came.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"POST /api/webhooks/smartcar HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
        .await
        .unwrap();
    let answer = all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("connection: close"), "{answer}");

    shutdown.cancel();
    timeout(SOON, running).await.expect("it does not stop").unwrap().unwrap();
    assert!(!socket.exists(), "the socket file is removed");
}

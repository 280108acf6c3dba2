//! Handshakes that somebody leaves half done: whoever comes behind them is served all the same.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::http::Say;
use super::process::{Home, SERVE};
use super::tls::{Issuer, Secure, configure};

/// More than are welcomed at once by any measure, and fewer than there is room for.
const HALF_DONE: usize = 200;

/// Says the first words of a handshake, and nothing more.
async fn begin(address: SocketAddr, client: &ClientConfig) -> TcpStream {
    let mut client = ClientConnection::new(Arc::new(client.clone()), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&hello).await.unwrap();
    stream
}

#[tokio::test]
async fn half_done_handshakes_keep_nobody_out() {
    let (home, issuer) = (Home::new(), Issuer::new());
    issuer.issue(&home, 90);
    configure(&home, "");
    let mut command = home.command(SERVE);
    // Longer than anybody here waits.
    command.env("CARPORT_LIMITS_HEADER_TIME", "60s");
    let server = Secure::of(command, &issuer).await;
    let mut half_done = Vec::new();
    for _ in 0..HALF_DONE {
        half_done.push(begin(server.address, &server.client).await);
    }
    assert_eq!(server.send(Say::get("/healthz")).await.status, 200);
    // Nobody had to go for it: each has its answer, and the connection is still there.
    for stream in &mut half_done {
        let mut words = [0; 16 * 1024];
        assert_ne!(stream.read(&mut words).await.unwrap(), 0, "it was not answered");
        assert_ne!(stream.try_read(&mut words).ok(), Some(0), "it was sent away");
    }
}

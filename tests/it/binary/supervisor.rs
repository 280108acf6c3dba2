//! Started by a service manager: its sockets are served, and it hears how Carport is.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixDatagram};

use super::http::{Line, Say};
use super::process::{Home, Program, SERVE, Server, until};

/// The next message but those that say again that it is alive.
pub(super) async fn news(socket: &UnixDatagram) -> String {
    loop {
        let message = message(socket).await;
        if message != "WATCHDOG=1" {
            return message;
        }
    }
}

async fn message(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 256];
    let length = socket.recv(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[..length]).trim_end().to_owned()
}

#[tokio::test]
async fn it_hears_that_we_are_ready_alive_and_stopping() {
    let home = Home::new();
    let manager = UnixDatagram::bind(home.path("notify")).unwrap();
    let mut command = home.command(SERVE);
    command.env("NOTIFY_SOCKET", home.path("notify")).env("WATCHDOG_USEC", "30000000");
    let server = Server::of(command).await;
    assert_eq!(news(&manager).await, "READY=1");
    while message(&manager).await != "WATCHDOG=1" {}
    server.program.signal(Signal::TERM);
    assert_eq!(news(&manager).await, "STOPPING=1");
    assert_eq!(server.program.end().await.code, Some(0));
}

#[tokio::test]
async fn its_sockets_are_served_from_before_the_start() {
    let home = Home::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // The kernel takes it, though nobody serves it yet.
    let mut waiting = Line::open(address).await.unwrap();
    // Only whoever is to have the sockets knows its own number.
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve --listen \"$1\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_carport"), &address.to_string()]);
    command.current_dir(&home.0).env_clear().stdin(Stdio::from(OwnedFd::from(socket)));
    let program = Program::start(command);
    let answer = waiting.send(Say::get("/healthz")).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(program.stop().await.code, Some(0));
}

/// Told to stop, it waits for what is under way; told once more, for nothing.
#[tokio::test]
async fn the_second_signal_stops_it_now() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)] {
        let home = Home::new();
        let mut command = home.command(SERVE);
        command.env("CARPORT_LIMITS_BODY_TIME", "10m");
        let mut server = Server::of(command).await;
        let mut under_way = TcpStream::connect(server.address).await.unwrap();
        let head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
        under_way.write_all(head).await.unwrap();
        // It waits for the body.
        let mut word = [0; 12];
        under_way.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"HTTP/1.1 100");
        server.program.signal(first);
        until("it to say that it stops", async || server.program.stderr().contains("once more to stop at once").then_some(()))
            .await;
        assert!(server.program.is_running());
        server.program.signal(second);
        let ran = server.program.end().await;
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        assert!(ran.stderr.contains("stopped at once"), "{}", ran.stderr);
        // What it has answered and noted is there: it starts again as ever.
        Server::start(&home).await.stop().await;
    }
}

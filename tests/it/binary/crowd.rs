//! More connections than there is room for: who brings a request is served, and who keeps Carport waiting goes.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};

use super::http::{Line, Say};
use super::process::{Home, SERVE, Server, until};

const SOON: Duration = Duration::from_secs(20);

async fn open(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(from.parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Asks on a connection, which stays open.
async fn ask(line: &mut Line) -> u16 {
    line.send(Say::get("/healthz")).await.unwrap().status
}

#[tokio::test]
async fn whoever_opens_many_makes_room_for_others() {
    let home = Home::new();
    home.write("config.toml", "[limits]\nconnections = 8\nheader_time = \"10m\"\n");
    let server = Server::of(home.command(SERVE)).await;
    // Somebody with one connection, which is the oldest, and does nothing.
    let modest = open("127.0.0.2:0", server.address).await;
    // Fills the place, and waits for the last of them to be let in.
    let mut greedy = Vec::new();
    for _ in 0..7 {
        greedy.push(open("127.0.0.3:0", server.address).await);
    }
    let mut lines = Vec::new();
    for gone in 0..3 {
        let mut line = Line::over(open("127.0.0.1:0", server.address).await, server.address.port()).await.unwrap();
        assert_eq!(ask(&mut line).await, 200);
        // The oldest of those who have most.
        let closed = tokio::time::timeout(SOON, greedy.remove(0).read(&mut [0; 1])).await;
        assert_eq!(closed.expect("it stays").unwrap_or(0), 0, "{gone}");
        lines.push(line);
    }
    let mut byte = [0];
    assert!(modest.try_read(&mut byte).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    assert!(greedy.iter().all(|stream| stream.try_read(&mut byte).is_err()), "the others stay");
    let mut modest = Line::over(modest, server.address.port()).await.unwrap();
    assert_eq!(ask(&mut modest).await, 200);
    server.stop().await;
}

/// Where the system allows few open files, fewer connections are let in, and some files stay for Carport itself.
#[tokio::test]
async fn few_open_files_are_few_connections() {
    let home = Home::new();
    let carport = home.command(SERVE);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 128; exec \"$0\" \"$@\""]).arg(carport.get_program()).args(carport.get_args());
    command.current_dir(carport.get_current_dir().unwrap()).env_clear();
    command.envs(carport.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let server = Server::of(command).await;
    let mut greedy = Vec::new();
    for _ in 0..200 {
        greedy.push(open("127.0.0.3:0", server.address).await);
    }
    let mut line = Line::over(open("127.0.0.1:0", server.address).await, server.address.port()).await.unwrap();
    assert_eq!(ask(&mut line).await, 200);
    // A new file, too.
    home.token().await;
    let ran = server.stop().await;
    assert!(ran.stderr.contains("limits.connections is taken for 32, not 512"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("cannot accept"), "{}", ran.stderr);
}

/// And should there be none left: who keeps Carport waiting goes, whoever brings a request is served.
#[tokio::test]
async fn without_a_file_left_it_serves_on() {
    let home = Home::new();
    home.write("config.toml", "[limits]\nheader_time = \"10m\"\n");
    let server = Server::of(home.command(SERVE)).await;
    assert_eq!(server.get("/healthz", "").await.status, 200);
    let id = server.program.id();
    let files = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count();
    let limit = Rlimit { current: Some(files as u64 + 4), maximum: Some(files as u64 + 4) };
    prlimit(Pid::from_raw(id.try_into().unwrap()), Resource::Nofile, limit).unwrap();
    let mut greedy = Vec::new();
    for _ in 0..40 {
        greedy.push(open("127.0.0.3:0", server.address).await);
    }
    for _ in 0..3 {
        let mut line = Line::over(open("127.0.0.1:0", server.address).await, server.address.port()).await.unwrap();
        assert_eq!(ask(&mut line).await, 200);
    }
    until("the log to tell of it", async || server.program.stderr().contains("cannot accept connections").then_some(())).await;
    drop(greedy);
    assert_eq!(server.get("/healthz", "").await.status, 200);
    let ran = server.stop().await;
    assert_eq!(ran.stderr.matches("cannot accept connections").count(), 1, "{}", ran.stderr);
}

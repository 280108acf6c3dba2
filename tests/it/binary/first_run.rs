//! The first start in an empty folder, and how a run ends.

use std::net::SocketAddr;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::http::Say;
use super::process::{Home, Program, SERVE, Server, mode, until};

#[tokio::test]
async fn an_empty_folder_becomes_a_gateway() {
    let home = Home::new();
    let server = Server::start(&home).await;
    assert_eq!(server.get("/healthz", "").await.status, 200);
    let screen = server.program.stdout();
    let (data, origin) = (home.data().display().to_string(), server.origin());
    assert!(screen.contains(&format!("data       {data}\n")), "{screen}");
    assert!(screen.contains(&format!("dashboard  {origin}\n")), "{screen}");
    for missing in ["smartcar.v3.client_id", "smartcar.application_management_token", "public_url", "carport connect"] {
        assert!(screen.contains(missing), "{missing} is not named: {screen}");
    }
    assert!(screen.lines().count() <= 24, "more than one screen: {screen}");
    for (path, wanted) in [("", 0o700), ("master.key", 0o600), ("carport.redb", 0o600), ("carport.sock", 0o600)] {
        assert_eq!(mode(&home.data().join(path)), wanted, "{path}");
    }
    let key = std::fs::read_to_string(home.key()).unwrap();
    assert!(!screen.contains(key.trim()) && !server.program.stderr().contains(key.trim()), "the key is on the screen");

    // A link shows a button as often as one likes, and signs one browser in.
    let link = sign_in_link(&screen).unwrap();
    let path = link.strip_prefix(&origin).unwrap();
    for _ in 0..2 {
        let page = server.get(path, "").await;
        assert_eq!((page.status, page.cookie().as_str()), (200, ""));
        assert!(page.text().contains("<button type=\"submit\" class=\"wide\">Sign in</button>"), "{}", page.text());
    }
    let secret = path.split_once("?t=").unwrap().1;
    let press = || Say::form("/login", &format!("t={secret}")).header("origin", &origin);
    assert_eq!(server.send(Say::form("/login", &format!("t={secret}"))).await.status, 403, "not from our page");
    let signed_in = server.send(press()).await;
    assert_eq!((signed_in.status, signed_in.header("location")), (303, "/"));
    let cookie = signed_in.cookie();
    assert!(cookie.starts_with("__Host-carport="), "{cookie}");
    for word in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(signed_in.header("set-cookie").contains(word), "{word}: {}", signed_in.header("set-cookie"));
    }
    let home_page = server.send(Say::get("/").header("cookie", &cookie).header("accept", "text/html")).await;
    assert_eq!(home_page.status, 200);
    assert!(home_page.text().contains("No car yet"), "{}", home_page.text());
    let again = server.send(press()).await;
    assert_eq!((again.status, again.cookie().as_str()), (403, ""));
    assert!(again.text().contains("This link is no longer good"), "{}", again.text());
    server.stop().await;
    assert!(!home.path("carport-data/carport.sock").exists(), "the socket is left behind");

    // Somebody can get in now, so the screen shows no way in any more.
    let server = Server::start(&home).await;
    assert_eq!(sign_in_link(&server.program.stdout()), None);
    let kept = server.send(Say::get("/").header("cookie", &cookie).header("accept", "text/html")).await;
    assert_eq!(kept.status, 200, "the session is gone after a restart");
    server.stop().await;
}

#[tokio::test]
async fn a_token_too_ends_the_links_on_the_screen() {
    let home = Home::new();
    let token = home.token().await;
    assert!(token.starts_with("carport_"), "{token}");
    assert_eq!((mode(&home.data()), mode(&home.key()), mode(&home.store())), (0o700, 0o600, 0o600));
    let server = Server::start(&home).await;
    assert_eq!(sign_in_link(&server.program.stdout()), None);
    assert_eq!(server.get("/api/v1/status", &token).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn over_ssh_the_screen_names_the_tunnel() {
    let home = Home::new();
    let mut command = home.command(SERVE);
    command.env("SSH_CONNECTION", "198.51.100.7 50000 192.0.2.1 22").env("USER", "pi");
    let server = Server::of(command).await;
    let port = server.address.port();
    let tunnel = format!("ssh -L {port}:127.0.0.1:{port} pi@192.0.2.1");
    assert!(server.program.stdout().contains(&tunnel), "{}", server.program.stdout());
    server.stop().await;
}

#[tokio::test]
async fn two_cannot_share_a_data_directory() {
    let home = Home::new();
    let server = Server::start(&home).await;
    let second = home.run(SERVE).await;
    assert_eq!(second.code, Some(75), "{second:?}");
    assert_eq!(second.stdout, "");
    assert_eq!(second.complaint().lines().count(), 1, "{second:?}");
    assert!(second.complaint().contains("is carport running already?"), "{second:?}");
    assert_eq!(server.get("/readyz", "").await.status, 200, "the first one was disturbed");
    assert!(home.path("carport-data/carport.sock").exists(), "the second one took the socket away");
    server.stop().await;
}

#[tokio::test]
async fn what_was_started_is_finished_before_the_end() {
    let home = Home::new();
    let server = Server::start(&home).await;
    let mut half = half_a_request(server.address).await;
    let asked = Instant::now();
    server.program.signal(Signal::TERM);
    let address = server.address;
    until("the end of listening", || async { TcpStream::connect(address).await.err() }).await;
    half.write_all(b"xyz").await.unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let ran = server.program.end().await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(asked.elapsed() < carport::web::server::GRACE, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn asked_twice_it_ends_at_once() {
    let home = Home::new();
    let mut server = Server::start(&home).await;
    let half = half_a_request(server.address).await;
    server.program.signal(Signal::INT);
    let address = server.address;
    until("the end of listening", || async { TcpStream::connect(address).await.err() }).await;
    assert!(server.program.is_running(), "it did not wait for the request");
    let asked = Instant::now();
    server.program.signal(Signal::INT);
    let ran = server.program.end().await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(asked.elapsed().as_secs() < 5, "{:?}", asked.elapsed());
    drop(half);
    Server::start(&home).await.stop().await;
}

#[tokio::test]
async fn a_hangup_ends_nothing() {
    let home = Home::new();
    let server = Server::start(&home).await;
    server.program.signal(Signal::HUP);
    until("the line in the log", || async { server.program.stderr().contains("nothing else has changed").then_some(()) }).await;
    assert_eq!(server.get("/readyz", "").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn readers_that_go_away_end_nothing() {
    let home = Home::new();
    // As in `carport serve 2>&1 | true`: each line of the log is in vain too.
    let mut program = Program::unheard(home.command(SERVE));
    let socket = home.path("carport-data/carport.sock");
    until("the socket", || async { socket.exists().then_some(()) }).await;
    home.done(&["token", "list"]).await;
    assert!(program.is_running());
    assert_eq!(program.stop().await.code, Some(0));
    // A refusal keeps its exit code.
    assert_eq!(Program::unheard(home.command(&["serve", "--config", "none.toml"])).end().await.code, Some(64));
}

/// The head of a form, and less of its body than it promises.
pub(super) async fn half_a_request(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /login HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:{}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        address.port()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body, so it has begun with the request.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"t=").await.unwrap();
    stream
}

fn sign_in_link(screen: &str) -> Option<String> {
    screen.lines().map(str::trim).find(|line| line.contains("/login?t=")).map(str::to_owned)
}

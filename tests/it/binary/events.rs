//! Server-sent events over a real socket: they come as they happen, and end when the server does.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::http::Say;
use super::process::{Home, Server};
use super::smartcar::{MANAGEMENT, sign};

async fn read_until(stream: &mut TcpStream, text: &mut String, wanted: &str) {
    while !text.contains(wanted) {
        let mut part = [0; 1024];
        let length = stream.read(&mut part).await.unwrap();
        assert_ne!(length, 0, "the end came before {wanted:?}: {text}");
        text.push_str(str::from_utf8(&part[..length]).unwrap());
    }
}

#[tokio::test]
async fn a_stream_tells_at_once_and_ends_with_the_server() {
    let home = Home::new();
    home.write("config.toml", &format!("[smartcar]\napplication_management_token = \"{MANAGEMENT}\"\n"));
    let token = home.token().await;
    let server = Server::start(&home).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let asked = format!("GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut text = String::new();
    read_until(&mut stream, &mut text, "retry: 3000\nid: 0\n\n").await;
    let event = r#"{"eventId":"e-1","eventType":"VEHICLE_STATE","data":{"signals":[]}}"#;
    let delivered =
        server.send(Say::post("/api/webhooks/smartcar", event).header("sc-signature", &sign(MANAGEMENT, event))).await;
    assert_eq!(delivered.status, 200);
    read_until(&mut stream, &mut text, "id: 1\nevent: delivery\ndata: {\"seq\":1,").await;
    // Ended, not cut off: the last chunk is there.
    let (_, end) = tokio::join!(server.stop(), async {
        let mut end = String::new();
        stream.read_to_string(&mut end).await.unwrap();
        end
    });
    assert!(end.ends_with("0\r\n\r\n"), "{end:?}");
}

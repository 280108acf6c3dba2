//! Each mistake that people make with a set-up, made on purpose: `carport check` and the set-up page find it, name it,
//! and say the one thing to do.

use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::http::Say;
use super::process::{Home, Program, SERVE, Server, chmod};
use super::smartcar::{APPLICATION, MANAGEMENT, Smartcar, V2_SECRET, V3_CLIENT, V3_SECRET, sign};
use super::tls::{self, Issuer, Secure};

const OTHER: &str = "51a0ca12-0000-4000-8000-00000000000f";
const SWAPPED: &str = "51a0ca12-0000-4000-8000-0000000000ff";

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    /// One text of the configuration has another in its place.
    Text(&'static str, &'static str),
    Swapped,
    RedirectUri,
    Path,
    Certificate,
    Clock,
    Disk,
    Directory,
    Proxy,
}

/// What is wrong, the beginning of the line of `check`, and what both say of it and of what to do.
const MISTAKES: &[(Wrong, &str, &str, &str)] = &[
    (Wrong::Swapped, "warn  configuration ", "smartcar.application_id begins with client_", ""),
    (
        Wrong::Text(V3_SECRET, OTHER),
        "fail  credentials ",
        "refuses the v3 client id and secret",
        "from Smartcar's dashboard again",
    ),
    (
        Wrong::Text(V2_SECRET, OTHER),
        "fail  v2 credentials ",
        "refuses the v2 client id and secret",
        "from Smartcar's dashboard again",
    ),
    (Wrong::Text(MANAGEMENT, OTHER), "fail  management token ", "refuses the application management token", "copy it again"),
    (Wrong::RedirectUri, "fail  redirect URI ", "Smartcar Connect refuses the redirect URI", "register exactly this one"),
    (Wrong::Path, "fail  webhook path ", "/api/webhook/smartcar", "set the webhook's URL to"),
    (Wrong::Certificate, "fail  certificate of the public URL ", "it is incomplete", "fullchain.pem"),
    (Wrong::Clock, "fail  clock ", "ahead of Smartcar's clock", "timedatectl set-ntp true"),
    (Wrong::Disk, "fail  store ", "the disk", "make room on the disk"),
    (Wrong::Directory, "warn  permissions ", "others may look into", "chmod 700"),
    (Wrong::Proxy, "warn  proxy ", "127.0.0.1 passes requests on", "trusted_proxies"),
];

/// Stands where Connect is, and says the same to everybody.
async fn stand_in(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    origin
}

/// A server that listens, ready or not.
async fn listening(home: &Home) -> Server {
    let mut program = Program::start(home.command(SERVE));
    let [address] = tls::listening(&mut program).await;
    Server { program, address, polls: 0 }
}

fn answering(status: &str, date: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ndate: {date}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn each_mistake_is_found_by_the_doctor_and_on_the_page() {
    let outside = Home::new();
    let smartcar = Smartcar::start(&outside).await;
    let good = Smartcar::settings(smartcar.address);
    let connect_at =
        |origin: &str| good.replace(&format!("connect = \"http://{}\"", smartcar.address), &format!("connect = \"{origin}\""));
    let (elsewhere, issuer) = (Home::new(), Issuer::new());
    issuer.issue(&elsewhere, 90);
    elsewhere.write("config.toml", "[tls]\nmode = \"files\"\ncert = \"cert.pem\"\nkey = \"key.pem\"\n");
    let front = Secure::start(&elsewhere, &issuer).await;
    for (wrong, line, text, remedy) in MISTAKES {
        let home = Home::new();
        let config = match wrong {
            Wrong::Text(right, other) => good.replace(right, other),
            Wrong::Swapped => {
                let v3 = good
                    .replace(V3_CLIENT, SWAPPED)
                    .replace(&format!("application_id = \"{APPLICATION}\""), &format!("application_id = \"{V3_CLIENT}\""));
                v3.replace(SWAPPED, APPLICATION)
            }
            Wrong::RedirectUri => {
                let said = answering("400 Bad Request", "", "redirect_uri is not one of the application's.");
                connect_at(&stand_in(said).await)
            }
            Wrong::Clock => connect_at(&stand_in(answering("200 OK", "Thu, 01 Jan 2015 00:00:00 GMT", "")).await),
            Wrong::Certificate => format!("public_url = \"https://localhost:{}\"\n{good}", front.address.port()),
            Wrong::Disk => format!("{good}\n[store]\nmin_free = \"900000GiB\"\n"),
            Wrong::Path | Wrong::Directory | Wrong::Proxy => good.clone(),
        };
        home.write("config.toml", &config);
        let token = home.token().await;
        // Without room on the disk it is not ready, but it says why.
        let server = if *wrong == Wrong::Disk { listening(&home).await } else { Server::start(&home).await };
        match wrong {
            Wrong::Path => {
                let event = json!({ "eventId": "astray", "eventType": "VEHICLE_STATE", "data": {} }).to_string();
                let signature = sign(MANAGEMENT, &event);
                let astray = server.send(Say::post("/api/webhook/smartcar", event).header("sc-signature", &signature)).await;
                assert_eq!(astray.status, 404);
            }
            Wrong::Directory => chmod(&home.data(), 0o755),
            Wrong::Proxy => {
                server.send(Say::get("/healthz").header("x-forwarded-for", "198.51.100.7")).await;
            }
            _ => {}
        }
        let said = home.run(&["check"]).await.stdout;
        let own = said.lines().find(|said| said.starts_with(line) && said.contains(text));
        let own = own.unwrap_or_else(|| panic!("{wrong:?} is not found by check: {said}"));
        assert!(own.contains(remedy), "{wrong:?}: {own}");

        let setup = server.get("/api/v1/setup?fresh=true", &token).await.json();
        let page = server.send(Say::get("/setup").method(Method::GET).header("accept", "text/html").token(&token)).await.text();
        let page = page.replace("<code>", "").replace("</code>", "").replace("&#39;", "'").to_lowercase();
        let points: Vec<_> = setup["items"].as_array().unwrap().iter().filter(|item| item["result"] != "ok").collect();
        for part in [text, remedy].into_iter().filter(|part| !part.is_empty()) {
            let part = part.replace('`', "").to_lowercase();
            assert!(page.contains(&part), "{wrong:?}: {part} is not on the page, which has {points:?}");
        }
        for secret in [V3_SECRET, V2_SECRET, MANAGEMENT, OTHER] {
            assert!(!said.contains(secret) && !page.contains(secret), "{wrong:?} tells a secret");
        }
        chmod(&home.data(), 0o700);
        server.stop().await;
    }
    front.program.stop().await;
}

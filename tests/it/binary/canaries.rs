//! What must stay secret, sought everywhere it must not be: in the log at its most talkative, on standard
//! output, in metrics, in errors, on pages, and in the files of the data directory, also while the master key is
//! being replaced.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use serde_json::json;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp};
use url::form_urlencoded;

use super::http::{Answer, Say, browse};
use super::process::{Home, Program, SERVE, Server, breath, files, until};
use super::smartcar::{APPLICATION, MANAGEMENT, Smartcar, V2_SECRET, V3_CLIENT, V3_SECRET, walk};

const OWNERS: [(&str, &str); 2] = [("canary-owner-9c1f", "ada@example.com"), ("canary-owner-4e7b", "grace@example.com")];
/// What strangers send.
const STRANGE: [&str; 4] = ["WVWZZZCANARY00001", "47.3769420", "8.5417980", "canary-access-token-0a1b2c3d"];

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one life of a house, and all that it leaves behind")]
async fn no_secret_is_told_or_left_in_the_clear() {
    let home = Home::new();
    let smartcar = Smartcar::start(&home).await;
    let wire = Wire::tap(smartcar.address).await;
    home.write("config.toml", &Smartcar::settings(wire.address));
    let token = home.token().await;
    let server = Server::of(home.command(&[SERVE, &["-vvv"]].concat())).await;
    smartcar.send_webhooks_to(&server).await;

    let mut secrets = Canaries::default();
    for (what, text) in
        [("v2 secret", V2_SECRET), ("v3 secret", V3_SECRET), ("management token", MANAGEMENT), ("API token", &token)]
    {
        secrets.add(what, text);
    }
    for (id, secret) in [(APPLICATION, V2_SECRET), (V3_CLIENT, V3_SECRET)] {
        secrets.add("credentials", data_encoding::BASE64.encode(format!("{id}:{secret}").as_bytes()));
    }
    let mut pages = Vec::new();
    for (owner, account) in OWNERS {
        let link = home.done(&["connect", "--user", owner, "--create"]).await;
        secrets.add("invite", link.rsplit('/').next().unwrap());
        let done = walk(&link, account).await;
        assert!(done.text().contains("connected"), "{}", done.text());
        pages.push(done);
    }
    until("first deliveries", || async {
        let cars = server.get("/api/v1/vehicles", &token).await.json();
        (cars["items"].as_array()?.iter().filter(|car| car["last_event_at"].is_string()).count() == 3).then_some(())
    })
    .await;

    // Pages for somebody who is signed in.
    let login = home.done(&["login"]).await;
    let link = login.split_once("?t=").unwrap().1.to_owned();
    pages.push(browse(&login, "").await);
    let press = Say::form("/login", &format!("t={link}")).header("origin", &server.origin());
    let cookie = server.send(press).await.cookie();
    secrets.add("sign-in link", link);
    secrets.add("session", cookie.split_once('=').unwrap().1);
    for page in ["", "connections", "webhooks", "setup", "login", "nowhere"] {
        pages.push(browse(&format!("{}/{page}", server.origin()), &cookie).await);
    }

    let mut refusals = strange_requests(&server, &token).await;
    refusals.extend(failing_refreshes(&server, &smartcar, &token).await);
    home.run(&["connections", "list"]).await;

    let (personal, ids) = personal(&server, &smartcar, &token).await;
    for (what, text) in wire.tokens() {
        secrets.add(&what, text);
    }
    for what in ["access_token", "refresh_token", "code"] {
        assert!(secrets.0.iter().filter(|(kind, _)| kind == what).count() >= 1, "no {what} was seen on the wire");
    }

    // The search finds what is there.
    let all = Canaries([&secrets.0[..], &personal.0[..], &ids.0[..]].concat());
    for (_, canary) in &all.0 {
        for form in forms(canary) {
            assert!(!all.found_in(&format!("x{form}y")).is_empty(), "{form} is not found");
        }
    }

    let mut hits = Vec::new();
    let mut seek = |place: &str, text: &str, canaries: &Canaries| {
        hits.extend(canaries.found_in(text).into_iter().map(|found| format!("{place}: {found}")));
    };
    let metrics = server.get("/metrics", &token).await.text();
    assert!(metrics.contains("carport_token_refresh_total"), "{metrics}");
    seek("metrics", &metrics, &all);
    let nameless = home.done(&["token", "create", "--name", "measures", "--scope", "metrics"]).await;
    let status = server.get("/api/v1/status", nameless.trim()).await;
    assert_eq!(status.status, 200, "{}", status.text());
    seek("status", &status.text(), &all);
    let status = server.get("/api/v1/status", &token).await.text();
    seek("status", &status, &secrets);
    seek("status", &status, &personal);
    for answer in &refusals {
        assert!(answer.status >= 400, "{}", answer.text());
        seek("refusal", &answer.text(), &secrets);
        seek("refusal", &answer.text(), &personal);
    }
    for page in &pages {
        // The page of an unspent link holds it, to be posted.
        let kept = secrets.0.iter().filter(|(kind, _)| kind != "sign-in link").cloned().collect();
        seek("page", &page.text(), &Canaries(kept));
        seek("page", &page.text(), &personal);
    }
    let shown = home.done(&["config", "show"]).await + &home.done(&["config", "show", "--json"]).await;
    assert!(shown.contains("***"), "{shown}");
    seek("config show", &shown, &secrets);

    // The files, before, while and after all of it is sealed under another key.
    let Rotated { seen, keys, said } = rotate(&home).await;
    for (name, bytes) in seen {
        let keys = if name.starts_with("master.") { &Canaries::default() } else { &keys };
        for canaries in [&all, keys] {
            seek(&name, &String::from_utf8_lossy(&bytes), canaries);
        }
    }
    seek("rotation", &said, &all);
    seek("rotation", &said, &keys);

    let ran = server.stop().await;
    seek("log", &ran.stderr, &keys);
    for level in ["INFO", "WARN"] {
        assert!(ran.stderr.contains(&format!("\"level\":\"{level}\"")), "no {level} in the log: {}", ran.stderr);
    }
    seek("standard output", &ran.stdout, &all);
    seek("log", &ran.stderr, &secrets);
    seek("log", &ran.stderr, &personal);
    for (name, bytes) in files(&home.data()) {
        seek(&name, &String::from_utf8_lossy(&bytes), &all);
    }
    hits.sort();
    hits.dedup();
    assert!(hits.is_empty(), "{hits:#?}");
    println!("{} canaries, {} bytes of log", all.0.len(), ran.stderr.len());
}

/// What there was to be seen of a rotation of the master key.
struct Rotated {
    /// All files of the data directory, before, meanwhile and afterwards.
    seen: BTreeSet<(String, Vec<u8>)>,
    /// Both keys.
    keys: Canaries,
    said: String,
}

async fn rotate(home: &Home) -> Rotated {
    let mut keys = Canaries::default();
    let mut seen: BTreeSet<(String, Vec<u8>)> = files(&home.data()).into_iter().collect();
    let add = |keys: &mut Canaries| keys.add("master key", std::fs::read_to_string(home.key()).unwrap().trim());
    add(&mut keys);
    let mut rotating = Program::start(home.command(&["key", "rotate"]));
    while rotating.is_running() {
        seen.extend(files(&home.data()));
        breath(0).await;
    }
    let ran = rotating.end().await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    add(&mut keys);
    seen.extend(files(&home.data()));
    for (_, key) in keys.0.clone() {
        let key = &BASE32_NOPAD.decode(key.as_bytes()).unwrap()[..32];
        keys.add("master key in hex", HEXLOWER.encode(key));
        let is_in = |bytes: &[u8]| bytes.windows(key.len()).any(|part| part == key);
        assert!(!seen.iter().any(|(_, bytes)| is_in(bytes)), "the bytes of a key are in a file");
    }
    Rotated { seen, keys, said: ran.stdout + &ran.stderr }
}

/// What is personal, as the API serves it to its owner; and ids.
async fn personal(server: &Server, smartcar: &Smartcar, token: &str) -> (Canaries, Canaries) {
    let mut personal = Canaries::default();
    for text in STRANGE {
        personal.add("a stranger's", text);
    }
    let mut ids = Canaries::default();
    for car in server.get("/api/v1/vehicles", token).await.json()["items"].as_array().unwrap() {
        ids.add("vehicle id", car["id"].as_str().unwrap());
        personal.add("VIN", car["vin"].as_str().unwrap_or_else(|| panic!("{car:#}")));
        for signal in car["signals"].as_object().unwrap().values().filter(|signal| signal["name"] == "PreciseLocation") {
            for axis in ["latitude", "longitude"] {
                personal.add(axis, signal["body"][axis].to_string());
            }
        }
    }
    let counted = |what: &str| personal.0.iter().filter(|(kind, _)| kind == what).count();
    assert!(counted("VIN") == 3 && counted("latitude") >= 1, "{personal:?}");
    for account in smartcar.status().await["accounts"].as_array().unwrap() {
        let email = account["email"].as_str().unwrap();
        if OWNERS.iter().any(|(_, other)| *other == email) {
            ids.add("Smartcar user", account["userId"].as_str().unwrap());
        }
    }
    for (owner, _) in OWNERS {
        ids.add("owner", owner);
    }
    (personal, ids)
}

/// Requests that should not be there, each with something in it that is nobody's business.
async fn strange_requests(server: &Server, token: &str) -> Vec<Answer> {
    let [vin, latitude, longitude, secret] = STRANGE;
    let hook = "/api/webhooks/smartcar";
    let body = json!({ "eventId": "e", "eventType": "VEHICLE_STATE", "vin": vin, "data": {
        "vehicle": { "id": "nobodys" }, "signals": [{ "code": "location-preciselocation", "body": { "latitude": latitude, "longitude": longitude } }],
        "access_token": secret } });
    let body = body.to_string();
    let broken = format!("{{\"vin\":\"{vin}\",\"access_token\":\"{secret}\",\"latitude\":{latitude},\"longitude\":{longitude}");
    let long = format!("{{\"vin\":\"{vin}\",\"x\":\"{}\"}}", "y".repeat(70_000));
    // Signed and broken: kept, but sealed.
    let kept = server.send(Say::post(hook, broken.clone()).header("sc-signature", &sign(&broken))).await;
    assert_eq!(kept.status, 200, "{}", kept.text());
    let no_object = format!("[\"{vin}\", \"{secret}\"]");
    let challenge = json!({ "eventType": "VERIFY", "data": { "challenge": format!("{{\"vin\":\"{vin}\"}}") } }).to_string();
    let query = format!("?vin={vin}&access_token={secret}&latitude={latitude}&longitude={longitude}&code={secret}");
    let mut answers = Vec::new();
    for say in [
        Say::post(hook, body.clone()),
        Say::post(hook, body.clone()).header("sc-signature", secret),
        Say::post(hook, body.clone()).header("sc-signature", &sign("another body")).header("x-vin", vin),
        Say::post(hook, broken),
        Say::post(hook, no_object.clone()).header("sc-signature", &sign(&no_object)),
        Say::post(hook, challenge.clone()).header("sc-signature", &sign(&challenge)),
        Say::post(hook, long),
        Say::post(&format!("{hook}{query}"), body.clone()),
        Say::post(&format!("/hooks{query}"), body.clone()).header("sc-signature", &sign(&body)),
        Say::get(&format!("/{vin}{query}")),
        Say::get(&format!("/api/v1/vehicles/{vin}{query}")).token(token),
        Say::get(&format!("/api/v1/vehicles{query}")).token(token),
        Say::get("/api/v1/vehicles").token(secret),
        Say::get("/api/v1/vehicles").token(&format!("carport_{secret}")),
        Say::get("/api/v1/vehicles").header("cookie", &format!("__Host-carport={secret}; vin={vin}")),
        Say::get("/").header("host", vin),
        Say::get("/").header("x-forwarded-for", vin).header("referer", &format!("http://x/{query}")).method(Method::DELETE),
        Say::get(&format!("/api/smartcar/callback{query}&state={secret}")),
        Say::get(&format!("/api/smartcar/callback?error={vin}&error_description={secret}+{latitude}&state={secret}")),
        Say::get(&format!("/connect/{secret}")),
        Say::json("/api/smartcar/exchange", &json!({ "user": OWNERS[0].0, "code": secret, "state": secret })).token(token),
        Say::json("/api/smartcar/exchange", &json!({ "user": OWNERS[0].0, "code": secret })).token(token),
        Say::json("/api/smartcar/exchange", &json!({ "user": OWNERS[0].0, "user_id": secret, "vin": vin })).token(token),
        Say::json("/api/v1/connect", &json!({ "user": secret, "vin": vin })).token(token),
        Say::post("/api/v1/users", format!("{{\"id\":\"{vin}\",\"name\":{secret}"))
            .header("content-type", "application/json")
            .token(token),
        Say::form("/login", &format!("t={secret}&vin={vin}")).header("origin", &server.origin()),
    ] {
        answers.push(server.send(say).await);
    }
    answers
}

/// Everything that can go wrong with a refresh, and with ending a connection.
async fn failing_refreshes(server: &Server, smartcar: &Smartcar, token: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    let connections = server.get("/api/v1/connections", token).await.json();
    for fault in ["fail*1", "garble*1", "throttle=1*1", "refuse*1"] {
        for connection in connections["items"].as_array().unwrap() {
            smartcar.tell("faults", &json!({ "faults": [fault] })).await;
            let path = format!("/api/v1/connections/{}/refresh", connection["id"].as_str().unwrap());
            answers.push(server.send(Say::json(&path, &json!({})).token(token)).await);
        }
    }
    smartcar.tell("faults", &json!({ "faults": ["fail"] })).await;
    let car = server.get("/api/v1/vehicles", token).await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let end = Say::get(&format!("/api/v1/vehicles/{car}")).method(Method::DELETE).token(token);
    answers.push(server.send(end).await);
    smartcar.tell("faults", &json!({ "faults": [] })).await;
    smartcar.tell("revoke", &json!({ "email": OWNERS[0].1 })).await;
    for connection in connections["items"].as_array().unwrap().iter().filter(|one| one["generation"] == "v2") {
        let path = format!("/api/v1/connections/{}/refresh", connection["id"].as_str().unwrap());
        answers.push(server.send(Say::json(&path, &json!({})).token(token)).await);
    }
    answers.retain(|answer| answer.status >= 400);
    assert!(answers.len() >= 3, "refreshes do not fail");
    answers
}

fn sign(body: &str) -> String {
    let mut signature = Hmac::<Sha256>::new_from_slice(MANAGEMENT.as_bytes()).unwrap();
    signature.update(body.as_bytes());
    HEXLOWER.encode(&signature.finalize().into_bytes())
}

/// What is sought: what it is, and its text.
#[derive(Debug, Default)]
struct Canaries(Vec<(String, String)>);

impl Canaries {
    fn add(&mut self, what: &str, text: impl Into<String>) {
        let text = text.into();
        assert!(text.len() >= 6, "{what} is too short to be sought: {text}");
        self.0.push((what.to_owned(), text));
    }

    /// Which are there, in any of their forms.
    fn found_in(&self, text: &str) -> Vec<String> {
        let around = |form: &str| {
            let at = text.find(form)?;
            let context = text.bytes().skip(at.saturating_sub(60)).take(form.len() + 100).collect::<Vec<_>>();
            Some(String::from_utf8_lossy(&context).into_owned())
        };
        let found = self.0.iter().flat_map(|(what, canary)| {
            forms(canary).into_iter().filter_map(move |form| Some(format!("{what} as {form} in {:?}", around(&form)?)))
        });
        found.collect()
    }
}

/// A text as it is, and encoded in the usual ways; in base64 at each of its three places in a longer text.
fn forms(text: &str) -> Vec<String> {
    let mut forms = vec![
        text.to_owned(),
        HEXLOWER.encode(text.as_bytes()),
        HEXUPPER.encode(text.as_bytes()),
        form_urlencoded::byte_serialize(text.as_bytes()).collect(),
        text.bytes().flat_map(|byte| ["%".to_owned(), HEXUPPER.encode(&[byte])]).collect(),
    ];
    for shift in 0..3 {
        let padded = [&vec![0; shift], text.as_bytes()].concat();
        for encoding in [BASE64_NOPAD, BASE64URL_NOPAD] {
            let encoded = encoding.encode(&padded);
            // Letters at the edges also hold bits of the neighbours.
            let end = encoded.len() - usize::from(padded.len() % 3 != 0);
            forms.push(encoded[if shift == 0 { 0 } else { shift + 1 }..end].to_owned());
        }
    }
    forms.sort();
    forms.dedup();
    forms
}

/// The wire between gateway and Smartcar, with everything that went over it.
struct Wire {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    async fn tap(smartcar: SocketAddr) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = heard.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(smartcar).await else { continue };
                let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                tokio::spawn(listen(near_read, far_write, kept.clone()));
                tokio::spawn(listen(far_read, near_write, kept.clone()));
            }
        });
        Wire { address, heard }
    }

    /// Tokens and codes that went over it.
    fn tokens(&self) -> Vec<(String, String)> {
        let heard = String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned();
        let mut found = Vec::new();
        for (what, before, after) in [
            ("access_token", "\"access_token\":\"", '"'),
            ("refresh_token", "\"refresh_token\":\"", '"'),
            ("refresh_token", "refresh_token=", '&'),
            ("code", "code=", '&'),
        ] {
            let parts = heard.split(before).skip(1).filter_map(|rest| rest.split([after, '\r', '\n', ' ', '"']).next());
            let long = parts.filter(|text| text.len() >= 16 && !text.contains('%'));
            found.extend(long.map(|text| (what.to_owned(), text.to_owned())));
        }
        found.sort();
        found.dedup();
        found
    }
}

async fn listen(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, kept: Arc<Mutex<Vec<u8>>>) {
    let mut part = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut part).await {
        kept.lock().unwrap().extend_from_slice(&part[..count]);
        if to.write_all(&part[..count]).await.is_err() {
            return;
        }
    }
}

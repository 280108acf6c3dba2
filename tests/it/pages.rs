//! What people do on the dashboard, by its forms alone: as a browser does that runs no script.

use carport::simulator::Settings;
use serde_json::{Value, json};

use crate::api::sign_in;
use crate::gateway::{DAY, TestGateway, events, pass};
use crate::simulator::rig::{ADA, Answer};

mod answers;
mod car;
mod errors;

/// Somebody who is signed in.
pub(crate) struct Person<'g> {
    gateway: &'g TestGateway,
    cookie: String,
    csrf: String,
}

impl<'g> Person<'g> {
    pub(crate) async fn of(gateway: &'g TestGateway) -> Person<'g> {
        let cookie = sign_in(gateway).await;
        let page = gateway.get("/").header("cookie", &cookie).send().await.text();
        let csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        Person { gateway, cookie, csrf }
    }

    pub(crate) fn cookie(&self) -> &str {
        &self.cookie
    }

    pub(crate) async fn look(&self, path: &str) -> String {
        let answer = self.gateway.get(path).header("cookie", &self.cookie).header("accept", "text/html").send().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text()
    }

    pub(crate) async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let fields = [fields, &[("csrf", &*self.csrf)]].concat();
        let ask = self.gateway.ask("POST", path).header("cookie", &self.cookie).header("accept", "text/html");
        ask.header("sec-fetch-site", "same-origin").form(&fields).send().await
    }

    /// Presses a button whose answer leads elsewhere; returns where.
    pub(crate) async fn press(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.send(path, fields).await;
        assert_eq!(answer.status, 303, "{path}: {}", answer.text());
        answer.header("location").unwrap().to_owned()
    }

    /// Presses a button that leads to a page of its own; returns it.
    pub(crate) async fn answer_to(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let place = self.press(path, fields).await;
        assert!(place.starts_with("/answers/"), "{place}");
        self.look(&place).await
    }
}

/// What stands in a field of a page.
fn value_of(page: &str, id: &str) -> String {
    let (_, field) = page.split_once(&format!("<input id=\"{id}\"")).unwrap();
    field.split_once("value=\"").unwrap().1.split_once('"').unwrap().0.to_owned()
}

#[tokio::test(start_paused = true)]
async fn tokens_and_devices_are_added_and_ended_on_the_page() {
    let gateway = TestGateway::with(130, &[], Settings { seed: 130, ..Settings::default() }).await;
    gateway.connect("ada", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    let person = Person::of(&gateway).await;

    let made =
        person.answer_to("/system/tokens", &[("name", " Shed "), ("scope", "read"), ("vehicle", &car), ("days", "7")]).await;
    let token = value_of(&made, "token");
    gateway.keep_secret(&token);
    assert_eq!(gateway.get("/api/v1/vehicles").bearer(&token).send().await.json()["items"].as_array().unwrap().len(), 1);
    let page = person.look("/system").await;
    assert!(page.contains("Shed") && !page.contains(&token), "the secret is shown once");
    let tokens = gateway.told("/api/v1/tokens").await;
    let id = tokens["items"].as_array().unwrap().iter().find(|token| token["name"] == "Shed").unwrap()["id"].clone();
    let revoke = format!("/system/tokens/{}", id.as_str().unwrap());
    let unsure = person.send(&revoke, &[]).await;
    assert!(unsure.status == 400 && unsure.text().contains("you are sure"), "{}", unsure.text());
    assert_eq!(gateway.get("/api/v1/vehicles").bearer(&token).send().await.status, 200);
    assert_eq!(person.press(&revoke, &[("sure", "true")]).await, "/system?done=revoked");
    assert!(person.look("/system?done=revoked").await.contains("<strong>Revoked.</strong>"));
    assert_eq!(gateway.get("/api/v1/vehicles").bearer(&token).send().await.status, 401);

    // The other device opens the link, and can be signed out from here.
    let device = person.answer_to("/system/devices", &[]).await;
    let link = value_of(&device, "link");
    assert!(device.contains("<svg role=\"img\"") && link.starts_with("https://gateway.example/login?t="), "{link}");
    let secret = link.split_once("?t=").unwrap().1;
    gateway.keep_secret(secret);
    let press = gateway.ask("POST", "/login").form(&[("t", secret)]).header("origin", "https://gateway.example");
    let answer = press.header("user-agent", "Mozilla/5.0 (Android 15; Mobile) Firefox/144.0").send().await;
    let other = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    gateway.keep_secret(other.split_once('=').unwrap().1);
    let page = person.look("/system#sessions").await;
    assert!(page.contains("Firefox on Android") && page.matches("this one").count() == 1, "{page}");
    let sessions = gateway.told("/api/v1/sessions").await;
    let theirs = sessions["items"].as_array().unwrap().iter().find(|one| one["browser"].is_string()).unwrap()["id"].clone();
    assert_eq!(gateway.get("/api/v1/vehicles").header("cookie", &other).send().await.status, 200);
    let sign_out = format!("/system/sessions/{}", theirs.as_str().unwrap());
    assert_eq!(person.send(&sign_out, &[]).await.status, 400);
    assert_eq!(gateway.get("/api/v1/vehicles").header("cookie", &other).send().await.status, 200);
    person.press(&sign_out, &[("sure", "true")]).await;
    assert_eq!(gateway.get("/api/v1/vehicles").header("cookie", &other).send().await.status, 401);

    // Without the token of the form nothing of this happens.
    let forged = gateway.ask("POST", "/system/devices").header("cookie", &person.cookie).header("sec-fetch-site", "same-origin");
    assert_eq!(forged.form(&[("csrf", "x")]).send().await.status, 403);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_found_looked_at_and_replayed() {
    let gateway = TestGateway::with(131, &[], Settings { seed: 131, ..Settings::default() }).await;
    gateway.connect("ada", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    let person = Person::of(&gateway).await;
    for number in 0..230 {
        let vehicle = if number % 2 == 0 { &car } else { "stranger" };
        gateway.deliver(&events::state(&format!("event-{number}"), vehicle, &[])).await;
    }
    let rows = |page: &str| page.matches("<span class=\"seq\">").count();
    assert_eq!(rows(&person.look("/webhooks").await), 50);
    // Event and delivery ids are sealed, and found all the same, however long ago; a part of one is no id.
    let oldest = gateway.told("/api/v1/webhooks?id=event-0").await;
    let [oldest] = oldest["items"].as_array().unwrap().as_slice() else { panic!("{oldest}") };
    let seq = oldest["seq"].as_u64().unwrap();
    assert_eq!(oldest["event_id"], "event-0");
    let found = person.look("/webhooks?find=+event-0+").await;
    assert!(rows(&found) == 1 && found.contains(&format!("/webhooks/{seq}\"")));
    assert_eq!(rows(&person.look("/webhooks?find=event-").await), 0);
    if let Some(delivery) = oldest["delivery_id"].as_str() {
        assert_eq!(rows(&person.look(&format!("/webhooks?find={delivery}")).await), 1);
    }
    let by_number = gateway.get(&format!("/webhooks?find=%23{seq}")).header("cookie", &person.cookie).send().await;
    assert_eq!(by_number.header("location"), Some(&*format!("/webhooks/{seq}")));
    // Filters go on from part to part.
    let (mut path, mut seen) = ("/webhooks?result=unknown_vehicle".to_owned(), 0);
    loop {
        let page = person.look(&path).await;
        seen += rows(&page);
        assert!(!page.contains(">accepted</span>"));
        let Some((before, _)) = page.split_once("\" rel=\"next\"") else { break };
        path = before.rsplit_once("href=\"").unwrap().1.replace("&#38;", "&");
    }
    assert_eq!(seen, 115);
    assert!(person.look("/webhooks?vehicle=nobody").await.contains("None of those that are kept is like this."));

    let page = person.look(&format!("/webhooks/{seq}")).await;
    for part in ["As it was received", "What was made of it", "event-0"] {
        assert!(page.contains(part), "{part}");
    }
    let back = person.press(&format!("/webhooks/{seq}"), &[]).await;
    assert!(person.look(&back).await.contains("Replayed."));
    assert_eq!(person.send("/webhooks/4711", &[]).await.status, 404);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_renewed_and_ended_by_who_is_sure() {
    let gateway = TestGateway::with(132, &[], Settings { seed: 132, ..Settings::default() }).await;
    let connection = gateway.connect("ada", ADA).await;
    let person = Person::of(&gateway).await;
    let status = async || -> Value { gateway.told(&format!("/api/v1/connections/{connection}")).await["status"].clone() };
    let back = person.press(&format!("/connections/{connection}/refresh"), &[]).await;
    assert!(back == "/connections?done=renewed" && person.look(&back).await.contains("<strong>Renewed.</strong>"), "{back}");
    let end = format!("/connections/{connection}/disconnect");
    let unsure = person.send(&end, &[]).await;
    assert!(unsure.status == 400 && unsure.text().contains("Tick the box"), "{}", unsure.text());
    assert_eq!(status().await, "active");
    // One owner needs no list; who is invited is in it until then.
    assert!(!person.look("/connections").await.contains("Open invites"));
    gateway.invite(&json!({ "user": "grace", "create": true })).await;
    let owners = person.look("/connections").await;
    assert!(["Open invites", "grace", "ends "].iter().all(|part| owners.contains(part)), "{owners}");
    pass(DAY).await;
    let owners = person.look("/connections").await;
    assert!(owners.contains("Open invites") && !owners.contains("ends "), "{owners}");
    assert_eq!(person.press(&end, &[("sure", "true")]).await, "/connections?done=ended");
    assert_eq!(status().await, "disconnected");
    assert!(person.look("/connections").await.contains("Disconnected"));
    gateway.finish().await;
}

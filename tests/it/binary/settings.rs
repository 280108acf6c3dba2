//! Settings made on the set-up page, with the real program: refused, taken, kept over restarts and kills, read by the
//! commands, and below what is written elsewhere.

use http::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::http::{Answer, Line, Say};
use super::process::{Home, Server, until};
use super::smartcar::{APPLICATION, MANAGEMENT, Smartcar, V2_SECRET, V3_CLIENT, V3_SECRET, deliver, walk};

const OTHER: &str = "51a0ca12-0000-4000-8000-00000000000f";

fn patch(changes: &Value, token: &str) -> Say {
    Say::json("/api/v1/settings", changes).method(Method::PATCH).token(token)
}

async fn change(server: &Server, changes: &Value, token: &str) -> Answer {
    server.send(patch(changes, token)).await
}

fn right(secret: &str) -> Value {
    json!({
        "smartcar.application_id": APPLICATION,
        "smartcar.v2.client_id": APPLICATION,
        "smartcar.v2.client_secret": V2_SECRET,
        "smartcar.v3.client_id": V3_CLIENT,
        "smartcar.v3.client_secret": secret,
        "smartcar.application_management_token": MANAGEMENT,
    })
}

async fn proves(server: &Server, id: &str) -> u16 {
    let event = json!({ "eventId": id, "eventType": "VEHICLE_STATE", "data": { "signals": [] } });
    deliver(server, &event).await.status
}

/// The place that a value comes from, as `config show` says it, and the value.
async fn shown(home: &Home, key: &str) -> (String, String) {
    let shown = home.json(&["config", "show"]).await;
    let item = shown["items"].as_array().unwrap().iter().find(|item| item["key"] == key).unwrap().clone();
    (item["origin"].as_str().unwrap().to_owned(), item["value"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn settings_of_the_page_count_at_once_and_stay() {
    let home = Home::new();
    let smartcar = Smartcar::start(&home).await;
    // Only where Smartcar is, and one value of its dashboard.
    let (_, origins) =
        Smartcar::settings(smartcar.address).split_once("[smartcar.origins]").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let file = |more: &str| format!("[smartcar]\nmode = \"live\"\n{more}[smartcar.origins]{origins}");
    home.write("config.toml", &file(""));
    let token = home.token().await;
    let server = Server::start(&home).await;
    assert_eq!(proves(&server, "before").await, 503);

    let refused = change(&server, &right(OTHER), &token).await;
    assert!(
        refused.status == 422 && refused.text().contains("Smartcar refuses the v3 client id and secret"),
        "{}",
        refused.text()
    );
    let swapped = json!({ "smartcar.application_id": V3_CLIENT, "smartcar.v3.client_id": APPLICATION, "smartcar.v3.client_secret": V3_SECRET });
    let refused = change(&server, &swapped, &token).await;
    assert!(refused.status == 422 && refused.text().contains("application_id begins with client_"), "{}", refused.text());
    assert_eq!(shown(&home, "smartcar.v3.client_id").await, ("not set".to_owned(), String::new()));
    let fixed = change(&server, &json!({ "smartcar.mode": "simulated" }), &token).await;
    assert!(fixed.status == 409 && fixed.text().contains("config.toml:2"), "{}", fixed.text());

    let taken = change(&server, &right(V3_SECRET), &token).await;
    assert_eq!(taken.status, 200, "{}", taken.text());
    assert_eq!(proves(&server, "taken").await, 200);
    assert_eq!(walk(&home.done(&["connect", "--create"]).await, "ada@example.com").await.status, 200);
    let page = || ("set-up page".to_owned(), "***".to_owned());
    assert_eq!(shown(&home, "smartcar.v3.client_secret").await, page());
    assert_eq!(shown(&home, "smartcar.v3.client_id").await, ("set-up page".to_owned(), V3_CLIENT.to_owned()));
    // The doctor asks the server, which has the secrets.
    let said = home.done(&["check"]).await;
    for line in ["credentials", "management token"] {
        assert!(said.lines().any(|said| said.starts_with("ok") && said.contains(line)), "{line}: {said}");
    }
    // SIGHUP keeps them.
    server.program.signal(Signal::HUP);
    until("the reload", || async { server.program.stderr().contains("nothing else has changed").then_some(()) }).await;
    assert_eq!(proves(&server, "reloaded").await, 200);
    // What is written elsewhere stands above, and what was made comes back without it.
    for (text, told, status) in [(file(&format!("application_management_token = \"{OTHER}\"\n")), 1, 401), (file(""), 2, 200)] {
        home.write("config.toml", &text);
        server.program.signal(Signal::HUP);
        let line = "from now on these count: smartcar.application_management_token";
        until(line, || async { (server.program.stderr().matches(line).count() == told).then_some(()) }).await;
        assert_eq!(proves(&server, &format!("above {told}")).await, status);
    }
    let log = server.stop().await.stderr;
    assert!(![OTHER, V3_SECRET, MANAGEMENT].iter().any(|secret| log.contains(secret)), "{log}");

    // Without a server the commands read them from the store, and change nothing there.
    assert_eq!(shown(&home, "smartcar.v3.client_secret").await, page());
    let said = home.done(&["check"]).await;
    assert!(said.lines().any(|said| said.starts_with("ok") && said.contains("Smartcar takes the v3 client id")), "{said}");
    let server = Server::start(&home).await;
    assert_eq!(proves(&server, "restarted").await, 200);
    // Under another master key too.
    home.done(&["key", "rotate"]).await;
    server.stop().await;
    let server = Server::start(&home).await;
    assert_eq!(proves(&server, "resealed").await, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_kill_leaves_a_setting_whole() {
    let home = Home::new();
    home.write("config.toml", "");
    let token = home.token().await;
    let mut kept = Value::Null;
    for round in 0..6 {
        let server = Server::start(&home).await;
        let setting = async || {
            let told = server.get("/api/v1/settings", &token).await.json();
            told["items"].as_array().unwrap().iter().find(|item| item["key"] == "smartcar.webhook_id").unwrap()["value"].clone()
        };
        assert_eq!(setting().await, kept, "{round}");
        let next = json!(format!("webhook-{round}"));
        let mut line = Line::open(server.address).await.unwrap();
        let changes = json!({ "smartcar.webhook_id": next, "smartcar.scope": "dashboard" });
        let request = patch(&changes, &token);
        let answer = tokio::spawn(async move { line.send(request).await });
        let waited = round % 2 == 0;
        if waited {
            assert_eq!(answer.await.unwrap().unwrap().status, 200);
            server.program.signal(Signal::KILL);
        } else {
            tokio::task::yield_now().await;
            server.program.signal(Signal::KILL);
            let _ = answer.await;
        }
        let mut program = server.program;
        program.ended().await;
        drop(program);
        let (_, now) = shown(&home, "smartcar.webhook_id").await;
        let now = if now.is_empty() { Value::Null } else { json!(now) };
        assert!(now == next || (!waited && now == kept), "{now} after {kept} and {next}");
        kept = now;
    }
}

//! `carport simulate` as a process of its own, a gateway that is configured for it, and an owner's way through
//! Connect.

use std::fmt::Write;
use std::net::SocketAddr;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

use super::http::{Answer, Line, Say, browse};
use super::process::{Home, Program, Server, until};

/// What the simulator knows its client by.
pub(crate) const APPLICATION: &str = "51a0ca12-0000-4000-8000-000000000001";
pub(crate) const V2_SECRET: &str = "51a0ca12-0000-4000-8000-000000000002";
pub(crate) const V3_CLIENT: &str = "client_simulated0000000000000003";
pub(crate) const V3_SECRET: &str = "51a0ca12-0000-4000-8000-000000000004";
pub(crate) const MANAGEMENT: &str = "51a0ca12-0000-4000-8000-000000000005";

/// A running `carport simulate`.
#[derive(Debug)]
pub(crate) struct Smartcar {
    /// Killed when this goes.
    _program: Program,
    pub(crate) address: SocketAddr,
}

impl Smartcar {
    pub(crate) async fn start(home: &Home) -> Smartcar {
        let mut program = Program::start(home.command(&["simulate", "--listen", "127.0.0.1:0", "--speed", "60"]));
        let address = program.says("where it listens", |text| {
            let (_, rest) = text.split_once("Simulated Smartcar: http://")?;
            rest.split_once('\n')?.0.parse().ok()
        });
        let address = address.await;
        Smartcar { _program: program, address }
    }

    pub(crate) async fn status(&self) -> Value {
        Line::open(self.address).await.unwrap().send(Say::get("/simulator/status")).await.unwrap().json()
    }

    pub(crate) async fn tell(&self, route: &str, body: &Value) {
        let say = Say::json(&format!("/simulator/{route}"), body);
        let answer = Line::open(self.address).await.unwrap().send(say).await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text());
    }

    /// Sends its webhooks to `server`: one round at once, and no further ones by itself.
    pub(crate) async fn send_webhooks_to(&self, server: &Server) {
        let url = format!("http://{}/api/webhooks/smartcar", server.address);
        self.tell("webhook", &json!({ "url": url, "every": 3600 })).await;
        until("VERIFY", || async {
            let status = self.status().await;
            (status["webhook"]["verified"] == true).then_some(())
        })
        .await;
    }

    /// The settings of a gateway that finds Smartcar at `origin`.
    pub(crate) fn settings(origin: SocketAddr) -> String {
        let mut text = format!(
            "[limits]\napi = \"100000/m\"\ncallback = \"1000/m\"\n\
             [smartcar]\napplication_id = \"{APPLICATION}\"\napplication_management_token = \"{MANAGEMENT}\"\n\
             [smartcar.v2]\nclient_id = \"{APPLICATION}\"\nclient_secret = \"{V2_SECRET}\"\n\
             [smartcar.v3]\nclient_id = \"{V3_CLIENT}\"\nclient_secret = \"{V3_SECRET}\"\n\
             [smartcar.origins]\n"
        );
        for host in ["connect", "auth", "iam", "api", "vehicle", "management", "management_v3"] {
            writeln!(text, "{host} = \"http://{origin}\"").unwrap();
        }
        text
    }
}

/// An owner's way: opens the link, agrees to everything at Smartcar, comes back. Returns the closing page.
pub(crate) async fn walk(link: &str, account: &str) -> Answer {
    let begun = browse(link, "").await;
    assert_eq!(begun.status, 302, "{}", begun.text());
    let mut authorize = Url::parse(begun.header("location")).unwrap();
    authorize.query_pairs_mut().append_pair("simulator_account", account);
    let agreed = browse(authorize.as_str(), "").await;
    assert_eq!(agreed.status, 302, "{}", agreed.text());
    let back = browse(agreed.header("location"), &begun.cookie()).await;
    assert_eq!(back.status, 303, "{}", back.text());
    let done = Url::parse(agreed.header("location")).unwrap().join(back.header("location")).unwrap();
    browse(done.as_str(), "").await
}

/// Signs an event as Smartcar does, and sends it.
pub(crate) async fn deliver(server: &Server, event: &Value) -> Answer {
    let body = event.to_string();
    let signature = sign(MANAGEMENT, &body);
    server.send(Say::post("/api/webhooks/smartcar", body).header("SC-Signature", &signature)).await
}

pub(crate) fn sign(key: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    HEXLOWER.encode(&mac.finalize().into_bytes())
}

//! A simulator with a clock of its own and somebody who gets its webhooks; requests, and shapes of answers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use carport::model::Timestamp;
use carport::simulator::{Counters, Settings, Simulator};
use carport::world::{Clock, Entropy, Transport, TransportError, World};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use url::Url;

pub(crate) const ADA: &str = "ada@example.com";
pub(crate) const GRACE: &str = "grace@example.com";
pub(crate) const BACK: &str = "https://gateway.example/callback";
pub(crate) const SCOPE: &str = "read_vehicle_info read_vin read_odometer read_battery read_charge read_fuel read_security";

/// The wall clock and tokio's timers, moving together from one fixed moment.
#[derive(Debug)]
pub(crate) struct TestClock(pub(crate) tokio::time::Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_760_000_000_000).after(self.0.elapsed())
    }
}

#[derive(Debug)]
pub(crate) struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&self, _: &mut [u8]) {
        unreachable!("the simulator has chance of its own");
    }
}

/// Whoever gets the webhooks: keeps them, and answers as told, then 200.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    pub(crate) got: Mutex<Vec<(Timestamp, Request<Bytes>)>>,
    pub(crate) answers: Mutex<VecDeque<u16>>,
    pub(crate) clock: Mutex<Option<Arc<TestClock>>>,
}

impl Receiver {
    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.got.lock().unwrap().iter().map(|(_, request)| serde_json::from_slice(request.body()).unwrap()).collect()
    }

    pub(crate) fn of_type(&self, event_type: &str) -> Vec<Value> {
        self.bodies().into_iter().filter(|body| body["eventType"] == event_type).collect()
    }
}

impl Transport for Receiver {
    fn send(&self, request: Request<Bytes>, _: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let now = self.clock.lock().unwrap().as_ref().unwrap().now();
        self.got.lock().unwrap().push((now, request));
        let status = self.answers.lock().unwrap().pop_front().unwrap_or(200);
        let answer = match body["data"]["challenge"].as_str().or(body["payload"]["challenge"].as_str()) {
            Some(challenge) => json!({ "challenge": sign(challenge.as_bytes()) }).to_string(),
            None => String::new(),
        };
        let mut response = Response::new(Bytes::from(answer));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        async move { if status == 0 { Err(TransportError::Lost(String::new())) } else { Ok(response) } }.boxed()
    }
}

pub(crate) struct Rig {
    pub(crate) simulator: Simulator,
    pub(crate) receiver: Arc<Receiver>,
}

impl Rig {
    pub(crate) fn new(settings: Settings) -> Rig {
        let receiver = Arc::new(Receiver::default());
        let clock = Arc::new(TestClock(tokio::time::Instant::now()));
        *receiver.clock.lock().unwrap() = Some(clock.clone());
        let world = World { clock, entropy: Arc::new(NoEntropy), transport: receiver.clone() };
        Rig { simulator: Simulator::new(world, settings), receiver }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.simulator.handle(request.body(Bytes::from(body.to_owned())).unwrap()).await;
        let (head, body) = response.into_parts();
        assert!(head.headers.contains_key("sc-request-id"), "no request id on {path}");
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send("GET", path, &[("authorization", &format!("Bearer {token}"))], "").await
    }

    pub(crate) async fn get_as(&self, path: &str, token: &str, user_id: &str) -> Answer {
        self.send("GET", path, &[("authorization", &format!("Bearer {token}")), ("sc-user-id", user_id)], "").await
    }

    pub(crate) fn basic(&self) -> String {
        let application = &self.simulator.settings().application;
        basic(&application.application_id, &application.v2_client_secret)
    }

    pub(crate) async fn token(&self, form: &[(&str, &str)]) -> Answer {
        self.send("POST", "/oauth/token", &[("authorization", &self.basic())], &encode(form)).await
    }

    pub(crate) async fn refresh(&self, refresh_token: &str) -> Answer {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    pub(crate) async fn exchange(&self, code: &str) -> Answer {
        self.token(&[("grant_type", "authorization_code"), ("code", code), ("redirect_uri", BACK)]).await
    }

    pub(crate) fn authorize_url(&self, more: &[(&str, &str)]) -> String {
        let mut url = Url::parse("https://connect.smartcar.com/oauth/authorize").unwrap();
        let id = &self.simulator.settings().application.application_id;
        let usual = [("response_type", "code"), ("client_id", id), ("redirect_uri", BACK), ("scope", SCOPE), ("state", "s 1")];
        let replaced = |name: &str| more.iter().any(|(other, _)| *other == name);
        url.query_pairs_mut().extend_pairs(usual.iter().filter(|(name, _)| !replaced(name))).extend_pairs(more);
        url.into()
    }

    pub(crate) async fn consent(&self, email: &str, more: &[(&str, &str)]) -> Url {
        Url::parse(&self.simulator.consent(&self.authorize_url(more), email).await.unwrap()).unwrap()
    }

    /// Connects Ada and returns her tokens.
    pub(crate) async fn ada(&self) -> (String, String) {
        let code = parameter(&self.consent(ADA, &[]).await, "code").unwrap();
        pair(&self.exchange(&code).await)
    }

    /// Connects Grace and returns the application token, her user id and her vehicle.
    pub(crate) async fn grace(&self) -> (String, String, String) {
        let user_id = parameter(&self.consent(GRACE, &[]).await, "user_id").unwrap();
        let vehicle_id = self.vehicles(GRACE).remove(0);
        (self.application_token().await, user_id, vehicle_id)
    }

    pub(crate) async fn application_token(&self) -> String {
        let application = &self.simulator.settings().application;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", application.v3_client_id.as_str()),
            ("client_secret", application.v3_client_secret.as_str()),
        ];
        let answer = self.send("POST", "/oauth2/token/", &[], &encode(&form)).await;
        same_shape(&fixture("iam-token-response.json"), &answer.json(), &[]);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn vehicles(&self, email: &str) -> Vec<String> {
        let accounts = self.simulator.accounts();
        accounts.into_iter().find(|account| account.email == email).unwrap().vehicle_ids
    }

    pub(crate) fn counters(&self) -> Counters {
        self.simulator.counters()
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

pub(crate) fn pair(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    (body["access_token"].as_str().unwrap().to_owned(), body["refresh_token"].as_str().unwrap().to_owned())
}

pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
}

pub(crate) fn encode(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes()))
}

pub(crate) fn sign(message: &[u8]) -> String {
    sign_with(&Settings::default().application.management_token, message)
}

pub(crate) fn sign_with(key: &str, message: &[u8]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(message);
    data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes())
}

pub(crate) fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The answer has the fixture's keys with the fixture's types, and no others but `extra`, which are not looked at. An
/// empty list is not one with items; items are held against the fixture's first one.
#[track_caller]
pub(crate) fn same_shape(wanted: &Value, answer: &Value, extra: &[&str]) {
    match (wanted, answer) {
        (Value::Object(wanted), Value::Object(answer)) => {
            let looked_at = |name: &&String| !extra.contains(&name.as_str());
            for name in wanted.keys().filter(looked_at) {
                let found = answer.get(name).unwrap_or_else(|| panic!("{name} is missing in {answer:?}"));
                same_shape(&wanted[name], found, extra);
            }
            for name in answer.keys().filter(looked_at) {
                assert!(wanted.contains_key(name), "{name} is one too many in {answer:?}");
            }
        }
        (Value::Array(wanted), Value::Array(answer)) => {
            assert_eq!(wanted.is_empty(), answer.is_empty(), "{wanted:?} and {answer:?}");
            for item in answer {
                same_shape(&wanted[0], item, extra);
            }
        }
        (Value::Null, Value::Null)
        | (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_)) => {}
        _ => panic!("{wanted} and {answer} differ in kind"),
    }
}

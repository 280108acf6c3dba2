//! The simulator against Smartcar's documented shapes and habits.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use carport::model::Timestamp;
use carport::simulator::{Counters, Fault, FaultKind, Faults, Settings, Simulator, WebhookSettings};
use carport::world::{Clock, Entropy, Transport, TransportError, World};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

mod connect;
mod webhooks;

const ADA: &str = "ada@example.com";
const GRACE: &str = "grace@example.com";
const BACK: &str = "https://gateway.example/callback";
const SCOPE: &str = "read_vehicle_info read_vin read_odometer read_battery read_charge read_fuel read_security";

/// The wall clock and tokio's timers, moving together from one fixed moment.
#[derive(Debug)]
struct TestClock(tokio::time::Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_760_000_000_000).after(self.0.elapsed())
    }
}

#[derive(Debug)]
struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&self, _: &mut [u8]) {
        unreachable!("the simulator has chance of its own");
    }
}

/// Whoever gets the webhooks: keeps them, and answers as told, then 200.
#[derive(Debug, Default)]
struct Receiver {
    got: Mutex<Vec<(Timestamp, Request<Bytes>)>>,
    answers: Mutex<VecDeque<u16>>,
    clock: Mutex<Option<Arc<TestClock>>>,
}

impl Receiver {
    fn bodies(&self) -> Vec<Value> {
        self.got.lock().unwrap().iter().map(|(_, request)| serde_json::from_slice(request.body()).unwrap()).collect()
    }

    fn of_type(&self, event_type: &str) -> Vec<Value> {
        self.bodies().into_iter().filter(|body| body["eventType"] == event_type).collect()
    }
}

impl Transport for Receiver {
    fn send(&self, request: Request<Bytes>, _: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let now = self.clock.lock().unwrap().as_ref().unwrap().now();
        self.got.lock().unwrap().push((now, request));
        let status = self.answers.lock().unwrap().pop_front().unwrap_or(200);
        let answer = match body["data"]["challenge"].as_str() {
            Some(challenge) => json!({ "challenge": sign(challenge.as_bytes()) }).to_string(),
            None => String::new(),
        };
        let mut response = Response::new(Bytes::from(answer));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        async move { if status == 0 { Err(TransportError::Lost(String::new())) } else { Ok(response) } }.boxed()
    }
}

struct Rig {
    simulator: Simulator,
    receiver: Arc<Receiver>,
}

impl Rig {
    fn new(settings: Settings) -> Rig {
        let receiver = Arc::new(Receiver::default());
        let clock = Arc::new(TestClock(tokio::time::Instant::now()));
        *receiver.clock.lock().unwrap() = Some(clock.clone());
        let world = World { clock, entropy: Arc::new(NoEntropy), transport: receiver.clone() };
        Rig { simulator: Simulator::new(world, settings), receiver }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.simulator.handle(request.body(Bytes::from(body.to_owned())).unwrap()).await;
        let (head, body) = response.into_parts();
        assert!(head.headers.contains_key("sc-request-id"), "no request id on {path}");
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.send("GET", path, &[("authorization", &format!("Bearer {token}"))], "").await
    }

    async fn get_as(&self, path: &str, token: &str, user_id: &str) -> Answer {
        self.send("GET", path, &[("authorization", &format!("Bearer {token}")), ("sc-user-id", user_id)], "").await
    }

    fn basic(&self) -> String {
        let application = &self.simulator.settings().application;
        basic(&application.application_id, &application.v2_client_secret)
    }

    async fn token(&self, form: &[(&str, &str)]) -> Answer {
        self.send("POST", "/oauth/token", &[("authorization", &self.basic())], &encode(form)).await
    }

    async fn refresh(&self, refresh_token: &str) -> Answer {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    async fn exchange(&self, code: &str) -> Answer {
        self.token(&[("grant_type", "authorization_code"), ("code", code), ("redirect_uri", BACK)]).await
    }

    fn authorize_url(&self, more: &[(&str, &str)]) -> String {
        let mut url = Url::parse("https://connect.smartcar.com/oauth/authorize").unwrap();
        let id = &self.simulator.settings().application.application_id;
        let usual = [("response_type", "code"), ("client_id", id), ("redirect_uri", BACK), ("scope", SCOPE), ("state", "s 1")];
        let replaced = |name: &str| more.iter().any(|(other, _)| *other == name);
        url.query_pairs_mut().extend_pairs(usual.iter().filter(|(name, _)| !replaced(name))).extend_pairs(more);
        url.into()
    }

    async fn consent(&self, email: &str, more: &[(&str, &str)]) -> Url {
        Url::parse(&self.simulator.consent(&self.authorize_url(more), email).await.unwrap()).unwrap()
    }

    /// Connects Ada and returns her tokens.
    async fn ada(&self) -> (String, String) {
        let code = parameter(&self.consent(ADA, &[]).await, "code").unwrap();
        pair(&self.exchange(&code).await)
    }

    /// Connects Grace and returns the application token, her user id and her vehicle.
    async fn grace(&self) -> (String, String, String) {
        let user_id = parameter(&self.consent(GRACE, &[]).await, "user_id").unwrap();
        let vehicle_id = self.vehicles(GRACE).remove(0);
        (self.application_token().await, user_id, vehicle_id)
    }

    async fn application_token(&self) -> String {
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

    fn vehicles(&self, email: &str) -> Vec<String> {
        let accounts = self.simulator.accounts();
        accounts.into_iter().find(|account| account.email == email).unwrap().vehicle_ids
    }

    fn counters(&self) -> Counters {
        self.simulator.counters()
    }
}

struct Answer {
    status: u16,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn pair(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    (body["access_token"].as_str().unwrap().to_owned(), body["refresh_token"].as_str().unwrap().to_owned())
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
}

fn encode(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes()))
}

fn sign(message: &[u8]) -> String {
    let key = Settings::default().application.management_token;
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(message);
    data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes())
}

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The answer has the fixture's keys with the fixture's types, and no others but `extra`. A null on either
/// side fits anything; items of a list are held against the fixture's first one.
fn same_shape(wanted: &Value, answer: &Value, extra: &[&str]) {
    match (wanted, answer) {
        (Value::Object(wanted), Value::Object(answer)) => {
            for (name, value) in wanted {
                let found = answer.get(name).unwrap_or_else(|| panic!("{name} is missing in {answer:?}"));
                same_shape(value, found, extra);
            }
            for name in answer.keys().filter(|name| !extra.contains(&name.as_str())) {
                assert!(wanted.contains_key(name), "{name} is one too many in {answer:?}");
            }
        }
        (Value::Array(wanted), Value::Array(answer)) => {
            for item in answer {
                same_shape(wanted.first().unwrap_or(&Value::Null), item, extra);
            }
        }
        (Value::Null, _)
        | (_, Value::Null)
        | (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_)) => {}
        _ => panic!("{wanted} and {answer} differ in kind"),
    }
}

#[tokio::test(start_paused = true)]
async fn v2_answers_have_the_documented_shapes() {
    let rig = Rig::new(Settings::default());
    let code = parameter(&rig.consent(ADA, &[]).await, "code").unwrap();
    let tokens = rig.exchange(&code).await;
    same_shape(&fixture("oauth-token-response.json"), &tokens.json(), &[]);
    let (access, _) = pair(&tokens);

    same_shape(&fixture("v2-user.json"), &rig.get("/v2.0/user/", &access).await.json(), &[]);
    let vehicles = rig.get("/v2.0/vehicles", &access).await.json();
    same_shape(&fixture("v2-vehicles.json"), &vehicles, &[]);
    assert_eq!(vehicles["paging"], json!({ "count": 2, "offset": 0 }));
    let mut listed: Vec<String> = serde_json::from_value(vehicles["vehicles"].clone()).unwrap();
    let mut owned = rig.vehicles(ADA);
    let vehicle = owned[0].clone();
    listed.sort();
    owned.sort();
    assert_eq!(listed, owned);

    let attributes = rig.get(&format!("/v2.0/vehicles/{vehicle}/"), &access).await.json();
    same_shape(&fixture("v2-vehicle-attributes.json"), &attributes, &[]);
    assert_eq!(attributes["make"], "VOLKSWAGEN");

    let odometer = rig.get(&format!("/v2.0/vehicles/{vehicle}/odometer"), &access).await;
    assert!(odometer.json()["distance"].is_number());
    assert_eq!(odometer.header("sc-unit-system"), Some("metric"));
    assert!(Timestamp::parse(odometer.header("sc-data-age").unwrap()).is_some());
    assert!(Timestamp::parse(odometer.header("sc-fetched-at").unwrap()).is_some());

    let permissions = rig.get(&format!("/v2.0/vehicles/{vehicle}/permissions"), &access).await.json();
    assert_eq!(permissions["paging"]["count"], 7);

    let denied = rig.get(&format!("/v2.0/vehicles/{vehicle}/location"), &access).await;
    assert_eq!((denied.status, denied.json()["type"].as_str()), (403, Some("PERMISSION")));
    let foreign = rig.get(&format!("/v2.0/vehicles/{}", rig.vehicles(GRACE)[0]), &access).await;
    assert_eq!(foreign.status, 403);
    let nowhere = rig.get(&format!("/v2.0/vehicles/{vehicle}/nowhere"), &access).await;
    assert_eq!((nowhere.status, nowhere.json()["code"].as_str()), (404, Some("PATH")));
    let stranger = rig.get("/v2.0/user", "nonsense").await;
    assert_eq!(stranger.status, 401);
    same_shape(&fixture("v2-error-authentication.json"), &stranger.json(), &[]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_good_and_failing_parts() {
    let rig = Rig::new(Settings::default());
    let (access, _) = rig.ada().await;
    let path = format!("/v2.0/vehicles/{}/batch", rig.vehicles(ADA)[0]);
    let body = json!({ "requests": [{ "path": "/odometer" }, { "path": "battery" }, { "path": "/fuel" }, { "path": "/" }] });
    let answer = rig.send("POST", &path, &[("authorization", &format!("Bearer {access}"))], &body.to_string()).await;
    let parts = answer.json()["responses"].as_array().unwrap().clone();
    let wanted = fixture("v2-batch-mixed.json")["responses"].clone();
    same_shape(&wanted[0], &parts[0], &[]);
    same_shape(&wanted[1], &parts[1], &["sc-fetched-at"]);
    same_shape(&wanted[2], &parts[2], &["content-type"]);
    let codes: Vec<u64> = parts.iter().map(|part| part["code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [200, 200, 501, 200]);
    assert_eq!(parts[3]["path"], "/");
}

#[tokio::test(start_paused = true)]
async fn v3_answers_have_the_documented_shapes() {
    let rig = Rig::new(Settings::default());
    let (token, user_id, vehicle) = rig.grace().await;

    let connections = rig.get("/v3/connections", &token).await.json();
    same_shape(&fixture("v3-connections.json"), &connections, &[]);
    assert_eq!(connections["data"][0]["attributes"]["user"]["id"], user_id);
    assert_eq!(connections["data"][0]["relationships"]["vehicle"]["data"]["id"], vehicle);

    same_shape(&fixture("v3-vehicle.json"), &rig.get(&format!("/v3/vehicles/{vehicle}/"), &token).await.json(), &[]);

    let signals = rig.get_as(&format!("/v3/vehicles/{vehicle}/signals"), &token, &user_id).await.json();
    let wanted = fixture("v3-signals.json");
    for (part, name) in [("meta", "totalCount"), ("links", "self"), ("included", "vehicle")] {
        same_shape(&wanted[part], &signals[part], &[]);
        assert!(!signals[part][name].is_null());
    }
    let list = signals["data"].as_array().unwrap();
    for code in ["tractionbattery-stateofcharge", "odometer-traveleddistance", "closure-doors"] {
        let by_code = |list: &[Value]| list.iter().find(|signal| signal["id"] == code).unwrap().clone();
        let (wanted, found) = (by_code(wanted["data"].as_array().unwrap()), by_code(list));
        same_shape(&wanted, &found, &[]);
        assert_eq!(wanted["attributes"]["name"], found["attributes"]["name"]);
        assert_eq!(wanted["attributes"]["group"], found["attributes"]["group"]);
        let single = rig.get_as(&format!("/v3/vehicles/{vehicle}/signals/{code}"), &token, &user_id).await;
        same_shape(&wanted, &single.json()["data"], &[]);
    }
    // Not granted, and not able.
    let failed = |code: &str| list.iter().find(|signal| signal["id"] == code).unwrap()["attributes"]["status"].clone();
    assert_eq!(failed("location-preciselocation")["error"], json!({ "type": "PERMISSION", "code": null }));
    same_shape(&wanted["data"][3]["attributes"]["status"], &failed("internalcombustionengine-oillife"), &[]);

    for (path, status, code) in [
        (format!("/v3/vehicles/{vehicle}/signals"), 400, "MISSING_PARAMETER"),
        (format!("/v3/vehicles/{vehicle}/battery"), 404, "INVALID_PATH"),
        ("/v3/vehicles/nothing".to_owned(), 404, "VEHICLE_NOT_FOUND"),
    ] {
        let answer = rig.get(&path, &token).await;
        assert_eq!((answer.status, answer.json()["errors"][0]["code"].as_str()), (status, Some(code)));
        same_shape(&fixture("v3-error-vehicle-not-found.json"), &answer.json(), &[]);
    }
    assert_eq!(rig.get("/v3/connections", "nonsense").await.status, 401);
    let (access, _) = rig.ada().await;
    let own = format!("/v3/vehicles/{}/signals", rig.vehicles(ADA)[0]);
    assert_eq!(rig.get(&own, &access).await.status, 200, "the SDKs read with the owner's token");
    assert_eq!(rig.get(&format!("/v3/vehicles/{vehicle}/signals"), &access).await.status, 404);
    assert_eq!(rig.get("/v3/connections", &access).await.status, 401);
    let other_owner = rig.simulator.accounts()[0].user_id.clone();
    assert_eq!(rig.get_as(&format!("/v3/vehicles/{vehicle}/signals"), &token, &other_owner).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn connections_come_in_pages_and_go() {
    let rig = Rig::new(Settings { cars: 30, ..Settings::default() });
    for account in rig.simulator.accounts() {
        rig.consent(&account.email, &[("external_id", "household-17")]).await;
    }
    let token = rig.application_token().await;
    let (mut next, mut seen) = ("/v3/connections?page[size]=7".to_owned(), 0);
    loop {
        let page = rig.get(&next.replace('[', "%5B").replace(']', "%5D"), &token).await.json();
        assert_eq!(page["meta"]["totalCount"], 30);
        seen += page["data"].as_array().unwrap().len();
        let Some(link) = page["links"]["next"].as_str() else { break };
        link.clone_into(&mut next);
    }
    assert_eq!(seen, 30);

    let ada = &rig.simulator.accounts()[0];
    let of_ada = format!("/v3/connections?filter%5BuserId%5D={}", ada.user_id);
    let page = rig.get(&of_ada, &token).await.json();
    assert_eq!(page["meta"]["totalCount"], 2);
    assert_eq!(page["data"][0]["attributes"]["user"]["externalId"], "household-17");
    assert_eq!(rig.get("/v3/connections?filter%5Bvehicle.mode%5D=simulated", &token).await.json()["meta"]["totalCount"], 0);

    // One connection, then the whole user, then somebody by the management API of v2.0.
    let bearer = format!("Bearer {token}");
    let one = format!("/v3/connections/{}", page["data"][0]["id"].as_str().unwrap());
    assert_eq!(rig.get(&one, &token).await.status, 200);
    assert_eq!(rig.send("DELETE", &one, &[("authorization", &bearer)], "").await.status, 204);
    assert_eq!(rig.get(&one, &token).await.status, 404);
    let user = format!("/v3/users/{}", ada.user_id);
    assert_eq!(rig.send("DELETE", &user, &[("authorization", &bearer)], "").await.status, 204);
    assert_eq!(rig.get(&of_ada, &token).await.json()["meta"]["totalCount"], 0);

    let amt = basic("default", &rig.simulator.settings().application.management_token);
    let (mut cursor, mut seen) = (String::new(), 0);
    loop {
        let path = format!("/v2.0/management/connections/?limit=9{cursor}");
        let page = rig.send("GET", &path, &[("authorization", &amt)], "").await.json();
        same_shape(&fixture("v2-management-connections.json"), &page, &[]);
        seen += page["connections"].as_array().unwrap().len();
        let Some(next) = page["paging"]["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, 28);
    let grace = format!("/v2.0/management/connections?user_id={}", rig.simulator.accounts()[1].user_id);
    let ended = rig.send("DELETE", &grace, &[("authorization", &amt)], "").await.json();
    assert_eq!(ended["connections"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_works_again_inside_the_window_only() {
    let rig = Rig::new(Settings::default());
    let (access, first) = rig.ada().await;
    let (second_access, second) = pair(&rig.refresh(&first).await);
    assert_eq!(rig.get("/v2.0/user", &access).await.status, 200, "the old access token lives on");
    tokio::time::advance(Duration::from_secs(59)).await;
    let (_, third) = pair(&rig.refresh(&first).await);
    assert_eq!(rig.refresh(&second).await.status, 400, "the pair given before is dead");
    tokio::time::advance(Duration::from_secs(2)).await;
    let late = rig.refresh(&first).await;
    assert_eq!(late.status, 400);
    same_shape(&fixture("oauth-error-invalid-grant.json"), &late.json(), &[]);
    assert_eq!(late.json()["error"], "invalid_grant");

    tokio::time::advance(Duration::from_secs(7200)).await;
    assert_eq!(rig.get("/v2.0/user", &second_access).await.status, 401, "access tokens end");
    let (_, fourth) = pair(&rig.refresh(&third).await);
    tokio::time::advance(Duration::from_secs(60 * 24 * 3600)).await;
    assert_eq!(rig.refresh(&fourth).await.json()["error"], "invalid_grant");
    assert_eq!((rig.counters().refreshes, rig.counters().refreshes_refused), (6, 3));
}

#[tokio::test(start_paused = true)]
async fn a_code_is_for_one_use_in_ten_minutes_by_its_client() {
    let rig = Rig::new(Settings::default());
    let code = parameter(&rig.consent(ADA, &[]).await, "code").unwrap();
    let grant = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", BACK)];
    let stranger = rig.send("POST", "/oauth/token", &[("authorization", &basic("who", "ever"))], &encode(&grant)).await;
    assert_eq!(stranger.status, 401);
    same_shape(&fixture("iam-error-invalid-client.json"), &stranger.json(), &[]);
    assert_eq!(stranger.json()["error"], "invalid_client");

    // The other way to say who one is.
    let application = rig.simulator.settings().application.clone();
    let in_form =
        [grant.as_slice(), &[("client_id", &application.application_id), ("client_secret", &application.v2_client_secret)]];
    assert_eq!(rig.send("POST", "/oauth/token/", &[], &encode(&in_form.concat())).await.status, 200);
    assert_eq!(rig.exchange(&code).await.json()["error"], "invalid_request");

    let code = parameter(&rig.consent(ADA, &[]).await, "code").unwrap();
    let elsewhere = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", "https://else.example/")];
    assert_eq!(rig.token(&elsewhere).await.json()["error"], "invalid_grant");

    let code = parameter(&rig.consent(ADA, &[]).await, "code").unwrap();
    tokio::time::advance(Duration::from_secs(601)).await;
    assert_eq!(rig.exchange(&code).await.status, 400);
    assert_eq!(rig.counters().codes_exchanged, 1);
}

#[tokio::test(start_paused = true)]
async fn a_disconnected_vehicle_is_gone_from_its_tokens() {
    let rig = Rig::new(Settings::default());
    let (access, refresh) = rig.ada().await;
    let vehicle = rig.vehicles(ADA)[1].clone();
    let path = format!("/v2.0/vehicles/{vehicle}/application");
    let answer = rig.send("DELETE", &path, &[("authorization", &format!("Bearer {access}"))], "").await;
    assert_eq!(answer.json(), json!({ "status": "success" }));
    assert_eq!(rig.get("/v2.0/vehicles", &access).await.json()["paging"]["count"], 1);
    assert_eq!(rig.get(&format!("/v2.0/vehicles/{vehicle}"), &access).await.status, 403);
    rig.simulator.revoke(ADA);
    assert_eq!(rig.refresh(&refresh).await.json()["error"], "invalid_grant");
}

#[tokio::test(start_paused = true)]
async fn faults_strike_as_told() {
    let rig = Rig::new(Settings::default());
    let (_, first) = rig.ada().await;
    rig.simulator.set_faults(Faults::new([Fault::once(FaultKind::RotateThenLose)]));
    let form = encode(&[("grant_type", "refresh_token"), ("refresh_token", &first)]);
    let request = || {
        let request = Request::post("https://auth.smartcar.com/oauth/token").header("authorization", rig.basic());
        request.body(Bytes::from(form.clone())).unwrap()
    };
    let patience = Duration::from_secs(30);
    let lost = rig.simulator.send(request(), patience).await;
    assert!(matches!(lost, Err(TransportError::Lost(_))), "{lost:?}");
    assert_eq!(rig.simulator.send(request(), patience).await.unwrap().status(), 200, "the old token still works");

    rig.simulator.set_faults(Faults::new([Fault::once(FaultKind::Delay(Duration::from_secs(40)))]));
    let slow = rig.simulator.send(request(), patience).await;
    assert_eq!(slow.unwrap_err(), TransportError::TooSlow(patience));

    rig.simulator.set_faults(Faults::new([Fault::always(FaultKind::Delay(Duration::from_secs(1)))]));
    let _ = tokio::join!(rig.simulator.send(request(), patience), rig.simulator.send(request(), patience));
    assert_eq!(rig.counters().most_refreshes_at_once, 2);

    let token = "any";
    rig.simulator.set_faults(["garble*1".parse().unwrap()].into_iter().collect());
    let garbled = rig.simulator.handle(Request::get("/v2.0/user").body(Bytes::new()).unwrap()).await;
    assert!(garbled.status() == 200 && garbled.body().starts_with(b"<html>"));
    assert_eq!(rig.get("/v2.0/user", token).await.status, 401);
    rig.simulator.set_faults(Faults::new([Fault::once(FaultKind::Throttle(Some(30)))]));
    let throttled = rig.get("/v3/connections", token).await;
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, Some("30")));
    same_shape(&fixture("v3-error-rate-limit.json"), &throttled.json(), &["meta"]);
}

#[tokio::test(start_paused = true)]
async fn commands_of_both_generations_reach_the_car() {
    let rig = Rig::new(Settings::default());
    let scope = "read_security control_security read_charge";
    let code = parameter(&rig.consent(ADA, &[("scope", scope)]).await, "code").unwrap();
    let (access, _) = pair(&rig.exchange(&code).await);
    let (owner, vehicle) = (format!("Bearer {access}"), rig.vehicles(ADA).remove(0));
    let tell = async |path: &str, body: &str| {
        rig.send("POST", &format!("/v2.0/vehicles/{vehicle}/{path}"), &[("authorization", &owner)], body).await
    };
    assert_eq!(tell("security", r#"{"action":"UNLOCK"}"#).await.json()["status"], "success");
    let security = rig.get(&format!("/v2.0/vehicles/{vehicle}/security"), &access).await.json();
    assert_eq!(security["isLocked"], false);
    assert_eq!(tell("charge", r#"{"action":"STOP"}"#).await.status, 403);
    assert_eq!(tell("security", r#"{"action":"DANCE"}"#).await.status, 400);

    let (token, user_id) = (rig.application_token().await, rig.simulator.accounts()[0].user_id.clone());
    let path = format!("/v3/vehicles/{vehicle}/commands/security/lock");
    let (token, user_id) = (format!("Bearer {token}"), user_id);
    let locked = rig.send("POST", &path, &[("authorization", &token), ("sc-user-id", &user_id)], "").await;
    assert_eq!(locked.json()["data"]["attributes"]["status"], "SUCCESS");
    assert_eq!(rig.send("POST", &path, &[("authorization", &token)], "").await.status, 400);
}

/// Over a real socket: a lost answer is a connection that closes without one.
#[tokio::test]
async fn answers_over_http() {
    let world = World::system().unwrap();
    let simulator = Simulator::new(world.clone(), Settings::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let ask = |path: &str| {
        let request = Request::get(format!("{origin}{path}")).body(Bytes::new()).unwrap();
        world.transport.send(request, Duration::from_secs(10))
    };
    let served = simulator.serve(listener, shutdown.clone());
    let asked = async {
        let front = ask("/").await.unwrap();
        assert!(front.status() == 200 && front.body().starts_with(b"<!doctype html>"));
        assert_eq!(ask("/v2.0/user").await.unwrap().status(), 401);
        simulator.set_faults(Faults::new([Fault::once(FaultKind::LoseAnswer)]));
        assert!(matches!(ask("/v2.0/user").await, Err(TransportError::Lost(_))));
        assert_eq!(ask("/v2.0/user").await.unwrap().status(), 401);
        shutdown.cancel();
    };
    tokio::join!(served, asked);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_cars() {
    let list = |seed| Rig::new(Settings { seed, cars: 9, ..Settings::default() }).simulator.accounts();
    assert_eq!(list(4), list(4));
    assert_ne!(list(4), list(5));
    assert_eq!(list(4).iter().map(|account| account.vehicle_ids.len()).sum::<usize>(), 9);
}

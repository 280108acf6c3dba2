//! The simulator against Smartcar's documented shapes and habits.

use std::time::Duration;

use bytes::Bytes;
use carport::model::Timestamp;
use carport::simulator::{Fault, FaultKind, Faults, Settings, Simulator, WebhookSettings};
use carport::world::{Clock, Transport, TransportError, World};
use hmac::{Hmac, KeyInit, Mac};
use http::Request;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use rig::{ADA, Answer, BACK, GRACE, Rig, SCOPE, basic, encode, fixture, pair, parameter, same_shape, sign};

mod connect;
mod deliveries;
mod expected;
mod knobs;
pub(crate) mod rig;
mod signals;
mod store;
mod table;
mod webhooks;

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
    same_shape(&fixture("v3-connections.json"), &connections, &["externalId"]);
    assert_eq!(connections["data"][0]["attributes"]["user"]["externalId"], Value::Null);
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
    rig.consent(GRACE, &[("scope", &format!("{SCOPE} read_engine_oil"))]).await;
    let oil = rig.get_as(&format!("/v3/vehicles/{vehicle}/signals/internalcombustionengine-oillife"), &token, &user_id).await;
    assert_eq!(oil.json()["data"]["attributes"]["status"], wanted["data"][3]["attributes"]["status"]);

    for (path, status, code) in [
        (format!("/v3/vehicles/{vehicle}/signals"), 400, "MISSING_PARAMETER"),
        (format!("/v3/vehicles/{vehicle}/battery"), 404, "INVALID_PATH"),
        ("/v3/vehicles/nothing".to_owned(), 404, "VEHICLE_NOT_FOUND"),
    ] {
        let answer = rig.get(&path, &token).await;
        assert_eq!((answer.status, answer.json()["errors"][0]["code"].as_str()), (status, Some(code)));
        same_shape(&fixture("v3-error-vehicle-not-found.json"), &answer.json(), &["links"]);
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
        same_shape(&fixture("v2-management-connections.json"), &page, &["cursor"]);
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
    same_shape(&fixture("v3-error-rate-limit.json"), &throttled.json(), &["links", "meta"]);
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

/// What a command that has succeeded did shows in the next read, not a minute later.
#[tokio::test(start_paused = true)]
async fn commands_show_at_once() {
    let rig = Rig::new(Settings::default());
    let scope = "read_security read_charge control_security control_charge";
    let code = parameter(&rig.consent(ADA, &[("scope", scope)]).await, "code").unwrap();
    let (access, _) = pair(&rig.exchange(&code).await);
    let (application, user_id) = (rig.application_token().await, rig.simulator.accounts()[0].user_id.clone());
    let vehicle = rig.vehicles(ADA).remove(0);
    // It comes to life, and charges.
    tokio::time::advance(Duration::from_secs(61)).await;
    let charge = |percent: u8| json!({ "data": { "attributes": { "percent": percent } } }).to_string();
    for (path, body, read, member, wanted) in [
        ("charge", r#"{"action":"STOP"}"#.to_owned(), "charge", "state", json!("NOT_CHARGING")),
        ("charge", r#"{"action":"START"}"#.to_owned(), "charge", "state", json!("CHARGING")),
        ("v3 charge/stop", String::new(), "charge", "state", json!("NOT_CHARGING")),
        ("v3 charge/start", String::new(), "charge", "state", json!("CHARGING")),
        ("v3 charge/set-limit", charge(50), "charge/limit", "limit", json!(0.5)),
        ("v3 charge/set-limit", charge(50), "charge", "state", json!("FULLY_CHARGED")),
        ("charge/limit", r#"{"limit":0.9}"#.to_owned(), "charge/limit", "limit", json!(0.9)),
        ("charge/limit", r#"{"limit":0.9}"#.to_owned(), "charge", "state", json!("CHARGING")),
        ("security", r#"{"action":"UNLOCK"}"#.to_owned(), "security", "isLocked", json!(false)),
        ("v3 security/lock", String::new(), "security", "isLocked", json!(true)),
    ] {
        let told = if let Some(path) = path.strip_prefix("v3 ") {
            let bearer = format!("Bearer {application}");
            let head = [("authorization", bearer.as_str()), ("sc-user-id", &user_id)];
            rig.send("POST", &format!("/v3/vehicles/{vehicle}/commands/{path}"), &head, &body).await
        } else {
            let bearer = format!("Bearer {access}");
            rig.send("POST", &format!("/v2.0/vehicles/{vehicle}/{path}"), &[("authorization", &bearer)], &body).await
        };
        assert_eq!(told.status, 200, "{path} {body}: {}", told.text());
        let shown = rig.get(&format!("/v2.0/vehicles/{vehicle}/{read}"), &access).await.json();
        assert_eq!(shown[member], wanted, "{path} {body}: {shown}");
    }
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
        // Who forgot the path of the token endpoint gets no page.
        let form = Bytes::from_static(b"grant_type=client_credentials");
        let lost = world.transport.send(Request::post(format!("{origin}/")).body(form).unwrap(), Duration::from_secs(10));
        let lost = lost.await.unwrap();
        let told: Value = serde_json::from_slice(lost.body()).unwrap();
        assert_eq!((lost.status().as_u16(), &told["code"]), (404, &json!("PATH")));
        assert!(told["description"].as_str().unwrap().contains("POST /. The token endpoints are /oauth/token (v2)"), "{told}");
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

//! Faults, knobs and limits: each does what its line in the help says.

use super::*;
use carport::simulator::Knob;

/// Asks as a client on the network does, and sees what the network makes of it.
async fn asked(rig: &Rig, path: &str, token: &str) -> Result<http::Response<Bytes>, TransportError> {
    let request = Request::get(format!("https://api.smartcar.com{path}")).header("authorization", format!("Bearer {token}"));
    rig.simulator.send(request.body(Bytes::new()).unwrap(), Duration::from_secs(300)).await
}

fn strike(rig: &Rig, fault: &str) {
    rig.simulator.set_faults(Faults::read([fault]).unwrap());
}

#[tokio::test(start_paused = true)]
async fn every_fault_of_the_way_can_be_had() {
    let rig = Rig::new(Settings::default());
    let (access, _) = rig.ada().await;
    strike(&rig, "trouble=BILLING.VEHICLE_LIMIT*1");
    let limited = rig.get("/v2.0/user", &access).await;
    assert_eq!((limited.status, limited.json()["code"].as_str()), (430, Some("VEHICLE_LIMIT")));
    strike(&rig, "trouble=RATE_LIMIT.VEHICLE*1");
    let throttled = rig.get("/v2.0/user", &access).await;
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, Some("30")));
    strike(&rig, "garble=502*1");
    let page = asked(&rig, "/v2.0/user", &access).await.unwrap();
    assert!(page.status() == 502 && page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    strike(&rig, "cut*1");
    let cut = asked(&rig, "/v2.0/user", &access).await.unwrap();
    assert!(cut.status() == 200 && serde_json::from_slice::<Value>(cut.body()).is_err());
    strike(&rig, "hang*1");
    assert!(matches!(asked(&rig, "/v2.0/user", &access).await, Err(TransportError::TooSlow(_))));
    assert_eq!(rig.get("/v2.0/user", &access).await.status, 200);
    assert_eq!(rig.counters().faults, 5);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_bad_day() {
    let day = async |seed| {
        let rig = Rig::new(Settings { seed, ..Settings::default() });
        let (access, _) = rig.ada().await;
        strike(&rig, "fail@0.5");
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(rig.get("/v2.0/user", &access).await.status);
        }
        statuses
    };
    assert_eq!(day(4).await, day(4).await);
    assert_ne!(day(4).await, day(5).await);
}

#[tokio::test(start_paused = true)]
async fn a_slow_command_tells_its_outcome_late() {
    let rig = Rig::new(Settings::default());
    rig.consent(GRACE, &[("scope", "control_security control_charge read_security")]).await;
    let (user_id, vehicle) = (rig.simulator.accounts()[1].user_id.clone(), rig.vehicles(GRACE).remove(0));
    let token = format!("Bearer {}", rig.application_token().await);
    let headers = [("authorization", token.as_str()), ("sc-user-id", &user_id)];
    strike(&rig, "slow-command*2");
    let began = tokio::time::Instant::now();
    let unlocked = rig.send("POST", &format!("/v3/vehicles/{vehicle}/commands/security/unlock"), &headers, "").await;
    assert_eq!((unlocked.status, began.elapsed()), (202, Duration::from_secs(180)));
    assert_eq!(unlocked.json()["data"]["attributes"]["status"], "SUCCESS");
    let stop = rig.send("POST", &format!("/v3/vehicles/{vehicle}/commands/charge-port/open"), &headers, "").await;
    assert_eq!((stop.status, stop.json()["errors"][0]["status"].as_str()), (202, Some("409")), "a 202 is not a success");
}

/// Over a real socket, where the head of the answer comes before its body.
#[tokio::test]
async fn the_head_of_a_slow_answer_does_not_wait() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let simulator = Simulator::new(World::system().unwrap(), Settings::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let served = simulator.serve(listener, shutdown.clone());
    let asked = async {
        let accounts = simulator.accounts();
        let application = simulator.settings().application.clone();
        let url = format!(
            "http://x/oauth/authorize?response_type=none&client_id={}&scope=control_security",
            application.application_id
        );
        // Without a redirect URI, Connect ends on a page.
        assert!(simulator.consent(&url, GRACE).await.is_err());
        let form = encode(&[
            ("grant_type", "client_credentials"),
            ("client_id", &application.v3_client_id),
            ("client_secret", &application.v3_client_secret),
        ]);
        let token = simulator.handle(Request::post("/oauth2/token").body(Bytes::from(form)).unwrap()).await;
        let token: Value = serde_json::from_slice(token.body()).unwrap();
        simulator.set_faults(Faults::read(["slow-command=600*1"]).unwrap());
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST /v3/vehicles/{}/commands/security/lock HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
             sc-user-id: {}\r\ncontent-length: 0\r\n\r\n",
            accounts[1].vehicle_ids[0],
            token["access_token"].as_str().unwrap(),
            accounts[1].user_id,
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = String::new();
        while !head.contains("\r\n\r\n") {
            let mut part = [0; 512];
            let count = stream.read(&mut part).await.unwrap();
            assert!(count > 0, "it ended after {head:?}");
            head.push_str(std::str::from_utf8(&part[..count]).unwrap());
        }
        assert!(head.starts_with("HTTP/1.1 202 ") && head.ends_with("\r\n\r\n"), "{head}");
        shutdown.cancel();
    };
    tokio::join!(served, asked);
}

#[tokio::test(start_paused = true)]
async fn knobs_change_shapes() {
    let rig = Rig::new(Settings::default());
    let (token, user_id, vehicle) = rig.grace().await;
    let turn = |knob: &str| rig.simulator.turn(knob).unwrap();
    assert!(rig.simulator.turn("weather=fine").is_err());

    turn("resources=bare");
    same_shape(
        &fixture("v3-vehicle-bare.json"),
        &rig.get(&format!("/v3/vehicles/{vehicle}"), &token).await.json(),
        &["mode", "powertrainType"],
    );
    turn("timestamps=millis");
    let signals = rig.get_as(&format!("/v3/vehicles/{vehicle}/signals"), &token, &user_id).await.json();
    let wanted = fixture("v3-signals-epoch-ms.json")["data"][0]["meta"].clone();
    same_shape(&wanted, &signals["data"][0]["meta"], &["ingestedAt"]);
    // Who is signed out at the manufacturer is told so of every signal but those that Smartcar knows by itself.
    rig.simulator.set_trouble(&vehicle, Some("CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED")).unwrap();
    let status = async |code: &str| {
        let signal = rig.get_as(&format!("/v3/vehicles/{vehicle}/signals/{code}"), &token, &user_id).await.json();
        signal["attributes"]["status"].clone()
    };
    let odometer = status("odometer-traveleddistance").await;
    assert_eq!(
        (&odometer["value"], &odometer["error"]["code"]),
        (&json!("ERROR"), &json!("AUTHENTICATION_FAILED")),
        "{odometer}"
    );
    assert_eq!(odometer["error"]["resolution"]["type"], "REAUTHENTICATE");
    assert_eq!(status("vehicleidentification-vin").await["value"], "SUCCESS");
    turn("signal-trouble=no");
    assert_eq!(status("odometer-traveleddistance").await["value"], "SUCCESS");
    rig.simulator.set_trouble(&vehicle, None).unwrap();
    turn("errors=plain");
    let error = rig.get("/v3/vehicles/nothing", &token).await.json()["errors"][0].clone();
    assert_eq!((&error["code"], &error["status"]), (&json!("not_found"), &json!("404")));
    assert!(error.get("type").is_none());
    turn("connections=flat");
    let flat = rig.get("/v3/connections", &token).await.json();
    assert_eq!(flat["connections"][0]["vehicleId"], vehicle);
    turn("connections=json-api");
    turn("connection-user=no");
    turn("page-size=1");
    rig.consent(ADA, &[]).await;
    let page = rig.get("/v3/connections", &token).await.json();
    assert_eq!((page["data"].as_array().unwrap().len(), &page["meta"]["pageSize"]), (1, &json!(1)));
    assert!(page["data"][0]["attributes"].get("user").is_none());
    turn("code-beside-user=no");
    let back = rig.consent(GRACE, &[]).await;
    assert!(parameter(&back, "code").is_none() && parameter(&back, "user_id").is_some());
    turn("v2=ended");
    let ended = rig.get("/v2.0/user", "any").await;
    assert_eq!((ended.status, ended.json()["code"].as_str()), (404, Some("VERSION")));
}

#[tokio::test(start_paused = true)]
async fn knobs_change_the_rarer_forms() {
    let rig = Rig::new(Settings::default());
    let turn = |knob: &str| rig.simulator.turn(knob).unwrap();
    let (access, _) = rig.ada().await;
    let (token, user_id, vehicle) = rig.grace().await;
    let odometer = format!("/v2.0/vehicles/{}/odometer", rig.vehicles(ADA)[0]);
    turn("freshness=no");
    let read = rig.get(&odometer, &access).await;
    assert_eq!((read.status, read.header("sc-data-age"), read.header("sc-fetched-at")), (200, None, None));
    turn("retry-after-form=date");
    strike(&rig, "throttle=30*1");
    let throttled = rig.get(&odometer, &access).await;
    assert_eq!(throttled.header("retry-after"), Some("Thu, 09 Oct 2025 08:53:50 GMT"));
    for (form, resolution) in [("text", json!("RETRY_LATER")), ("null", Value::Null)] {
        turn(&format!("resolution={form}"));
        strike(&rig, "fail*1");
        assert_eq!(rig.get(&odometer, &access).await.json()["resolution"], resolution);
    }

    let signals = format!("/v3/vehicles/{vehicle}/signals");
    turn("signal-list=short");
    turn("paging=old");
    let list = rig.get_as(&signals, &token, &user_id).await.json();
    let (told, total) = (list["data"].as_array().unwrap().len(), &list["meta"]["totalCount"]);
    assert!(told > 0 && json!(told + 2) == *total && list["meta"]["page"] == 1, "{list}");
    turn("page-size=1");
    let page = rig.get("/v3/connections?page%5Bnumber%5D=2", &token).await.json();
    assert_eq!(page["links"]["previous"], "/v3/connections?page[number]=1&page[size]=1");
    assert_eq!((&page["meta"]["page"], page["meta"].get("pageNumber"), page["links"].get("prev")), (&json!(2), None, None));

    turn("connection-time=createdAt");
    let amt = basic("default", &rig.simulator.settings().application.management_token);
    let managed = rig.send("GET", "/v2.0/management/connections", &[("authorization", &amt)], "").await.json();
    assert!(managed["connections"][0]["createdAt"].is_string() && managed["connections"][0].get("connectedAt").is_none());

    let wrong = async || rig.send("POST", "/oauth2/token", &[("authorization", &basic("who", "ever"))], "").await;
    turn("client-error=400");
    assert_eq!((wrong().await.status, wrong().await.json()), (400, fixture("iam-error-invalid-client.json")));
    turn("client-error=401");
    turn("iam-errors=api");
    let told = wrong().await;
    assert_eq!((told.status, &told.json()["errors"][0]["type"]), (401, &json!("AUTHENTICATION")));
}

#[tokio::test(start_paused = true)]
async fn knobs_change_the_token_endpoints() {
    let rig = Rig::new(Settings::default());
    let (_, first) = rig.ada().await;
    rig.simulator.turn("second-refresh=both").unwrap();
    let ((_, second), (_, third)) = (pair(&rig.refresh(&first).await), pair(&rig.refresh(&first).await));
    assert_eq!((rig.refresh(&second).await.status, rig.refresh(&third).await.status), (200, 200));
    rig.simulator.turn("second-refresh=refused").unwrap();
    assert_eq!(rig.refresh(&second).await.json()["error"], "invalid_grant");
    rig.simulator.turn("refresh-error=invalid_request").unwrap();
    assert_eq!(rig.refresh(&second).await.json()["error"], "invalid_request");
    rig.simulator.turn("client-auth=form").unwrap();
    assert_eq!(rig.refresh(&third).await.json()["error"], "invalid_client");
    let (_, fresh) = {
        rig.simulator.turn("client-auth=basic").unwrap();
        rig.simulator.turn("rotation-window=600").unwrap();
        rig.simulator.turn("second-refresh=newest").unwrap();
        rig.ada().await
    };
    assert_eq!(rig.refresh(&fresh).await.status, 200);
    tokio::time::advance(Duration::from_secs(599)).await;
    assert_eq!(rig.refresh(&fresh).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn limits_are_kept() {
    let rig = Rig::new(Settings::default());
    let (access, _) = rig.ada().await;
    let odometer = format!("/v2.0/vehicles/{}/odometer", rig.vehicles(ADA)[0]);
    rig.simulator.turn("limit-application=3+2").unwrap();
    for _ in 0..3 {
        assert_eq!(rig.get("/v2.0/user", &access).await.status, 200);
    }
    let limited = rig.get("/v2.0/user", &access).await;
    same_shape(&fixture("v2-error-rate-limit-vehicle.json"), &limited.json(), &["suggestedUserMessage"]);
    assert_eq!(limited.json()["code"], "SMARTCAR_API");
    assert_eq!((limited.status, limited.header("retry-after")), (429, None), "the application's limit does not tell");
    let limited = rig.get("/v3/connections", &rig.application_token().await).await;
    same_shape(&fixture("v3-error-rate-limit.json"), &limited.json(), &["links", "meta", "suggestedUserMessage"]);
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(rig.get("/v2.0/user", &access).await.status, 200);

    rig.simulator.turn("limit-application=off").unwrap();
    rig.simulator.turn("limit-vehicle=60").unwrap();
    assert_eq!(rig.get(&odometer, &access).await.status, 200);
    let throttled = rig.get(&odometer, &access).await;
    same_shape(&fixture("v2-error-rate-limit-vehicle.json"), &throttled.json(), &[]);
    assert_eq!((throttled.json()["code"].as_str(), throttled.header("retry-after")), (Some("VEHICLE"), Some("60")));

    rig.simulator.turn("limit-vehicle=off").unwrap();
    rig.simulator.turn("limit-month=2").unwrap();
    assert_eq!(rig.get(&odometer, &access).await.status, 200);
    assert_eq!(rig.get(&odometer, &access).await.status, 430);

    // A list of signals may count more often than a single one.
    let (token, user_id, vehicle) = rig.grace().await;
    rig.simulator.turn("signals-cost=4").unwrap();
    rig.simulator.turn("limit-month=10").unwrap();
    let read = async |more: &str| rig.get_as(&format!("/v3/vehicles/{vehicle}/signals{more}"), &token, &user_id).await.status;
    let one = "/odometer-traveleddistance";
    let statuses = [read("").await, read(one).await, read("/").await, read(one).await, read(one).await];
    assert_eq!(statuses, [200, 200, 200, 200, 430]);
}

/// Before June 2026 a required permission may have kept away the cars that cannot give it.
#[tokio::test(start_paused = true)]
async fn what_is_required_may_leave_cars_out() {
    let rig = Rig::new(Settings::default());
    // No XC60 here tells of its oil, and no ID.4 has a tank.
    let oil = ("scope", "required:read_engine_oil read_vin");
    let fuel = ("scope", "required:read_fuel read_vin control_security");
    for (knob, error, count) in [("required=locked", None, 2), ("required=filter", Some("vehicle_incompatible"), 1)] {
        rig.simulator.turn(knob).unwrap();
        assert_eq!(parameter(&rig.consent(GRACE, &[oil]).await, "error").as_deref(), error, "{knob}");
        let (access, _) = pair(&rig.exchange(&parameter(&rig.consent(ADA, &[fuel]).await, "code").unwrap()).await);
        let listed = rig.get("/v2.0/vehicles", &access).await.json();
        assert_eq!(listed["vehicles"].as_array().unwrap().len(), count, "{knob}: {listed}");
    }
    // It is told which one was left out.
    let (_, user_id, vehicle) = rig.grace().await;
    let attributes = rig.simulator.handle(Request::get("/simulator/status").body(Bytes::new()).unwrap()).await;
    let status: Value = serde_json::from_slice(attributes.body()).unwrap();
    let car = status["cars"].as_array().unwrap().iter().find(|car| car["vehicleId"] == vehicle).unwrap();
    let back = rig.consent(GRACE, &[oil]).await;
    let told = |name: &str| parameter(&back, name).unwrap();
    assert_eq!((json!(told("make")), json!(told("model"))), (car["make"].clone(), car["model"].clone()));
    rig.consent(GRACE, &[("scope", "read_vin read_vehicle_info")]).await;
    let vin = format!("/v3/vehicles/{vehicle}/signals/vehicleidentification-vin");
    let vin = rig.get_as(&vin, &rig.application_token().await, &user_id).await.json();
    assert_eq!(vin["data"]["attributes"]["body"]["value"], told("vin"));
    // What is only asked for leaves nobody out, and neither does a command that the car takes, or what has no signal of its own.
    for scope in ["read_engine_oil read_vin", "required:control_security", "required:read_charge_events"] {
        assert_eq!(parameter(&rig.consent(GRACE, &[("scope", scope)]).await, "error"), None, "{scope}");
    }
    // Who chooses nothing has no vehicles, whatever is required.
    let nothing = [("scope", "required:read_vin"), ("simulator_vehicles", "none")];
    assert_eq!(parameter(&rig.consent(GRACE, &nothing).await, "error").as_deref(), Some("no_vehicles"));
}

#[tokio::test(start_paused = true)]
async fn knobs_change_what_is_around_an_event() {
    let rig = webhooks::with_webhook(|_| {});
    rig.consent(GRACE, &[]).await;
    assert!(rig.simulator.verify().await);
    let next = async |knob: &str| {
        rig.simulator.turn(knob).unwrap();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(rig.simulator.deliver().await, 1, "{knob}");
        rig.receiver.bodies().pop().unwrap()
    };
    let (vehicle, id) = (rig.vehicles(GRACE).remove(0), "/data/vehicle/id");
    let both = next("vehicle-id=both").await;
    assert_eq!((&both["vehicleId"], both.pointer(id)), (&json!(vehicle), Some(&json!(vehicle))));
    let within = next("vehicle-id=data").await;
    assert_eq!((within.get("vehicleId"), within.pointer(id)), (None, Some(&json!(vehicle))));
    let top = next("vehicle-id=top").await;
    assert_eq!((&top["vehicleId"], top.pointer(id)), (&json!(vehicle), None));
    assert!(both["meta"]["deliveryId"].is_string() && next("event-meta=no").await.get("meta").is_none());

    let meta = |event: &Value| {
        let signals = event["data"]["signals"].as_array().unwrap();
        signals.iter().find(|signal| signal.get("body").is_some()).unwrap().get("meta").cloned()
    };
    assert!(meta(&both).unwrap()["oemUpdatedAt"].is_i64());
    assert_eq!(meta(&next("signal-meta=empty").await), Some(json!({})));
    assert_eq!(meta(&next("signal-meta=none").await), None);
    let places = |event: &Value| (event["triggers"].is_array(), event["data"]["triggers"].is_array());
    assert_eq!(places(&both), (true, false));
    assert_eq!(places(&next("triggers=data").await), (false, true));
    assert_eq!(places(&next("triggers=none").await), (false, false));
}

#[tokio::test(start_paused = true)]
async fn signals_come_in_miles_too() {
    let rig = Rig::new(Settings::default());
    let (token, user_id, vehicle) = rig.grace().await;
    let path = format!("/v3/vehicles/{vehicle}/signals/odometer-traveleddistance");
    let bearer = format!("Bearer {token}");
    let mut values = Vec::new();
    for units in ["metric", "Imperial"] {
        let headers = [("authorization", bearer.as_str()), ("sc-user-id", &user_id), ("sc-unit-system", units)];
        let body = rig.send("GET", &path, &headers, "").await.json()["data"]["attributes"]["body"].clone();
        values.push((body["value"].as_f64().unwrap(), body["unit"].as_str().unwrap().to_owned()));
    }
    assert_eq!((values[0].1.as_str(), values[1].1.as_str()), ("km", "miles"));
    assert!((values[0].0 / values[1].0 - 1.609).abs() < 0.01, "{values:?}");
}

#[tokio::test(start_paused = true)]
async fn connect_tells_of_a_missing_virtual_key_and_of_no_more_than_the_owner_wants() {
    let rig = Rig::new(Settings::default());
    let back = rig.consent("CONNECTED_SERVICES_ACCOUNT.VIRTUAL_KEY_REQUIRED@smartcar.com", &[("make", "TESLA")]).await;
    assert!(parameter(&back, "virtual_key_url").unwrap().starts_with("https://"), "{back}");
    let ends = [("", true, true), ("no-model", true, false), ("none", false, false)];
    for (details, vin, model) in ends {
        let outcome = [("simulator_outcome", "vehicle_incompatible"), ("simulator_details", details)];
        let back = rig.consent(ADA, &outcome).await;
        assert_eq!((parameter(&back, "vin").is_some(), parameter(&back, "model").is_some()), (vin, model), "{back}");
        assert!(parameter(&back, "error_description").is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_simulated_vehicle_goes_on_with_its_trip() {
    let rig = Rig::new(Settings::default());
    let scope = "read_security control_security";
    let code = parameter(&rig.consent(ADA, &[("scope", scope), ("mode", "simulated")]).await, "code").unwrap();
    let (access, _) = pair(&rig.exchange(&code).await);
    let security = format!("/v2.0/vehicles/{}/security", rig.vehicles(ADA)[0]);
    let bearer = format!("Bearer {access}");
    let told = rig.send("POST", &security, &[("authorization", &bearer)], r#"{"action":"UNLOCK"}"#).await;
    assert_eq!(told.json()["status"], "success");
    assert_eq!(rig.get(&security, &access).await.json()["isLocked"], true);
}

#[test]
fn the_readme_has_every_knob() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    for knob in Knob::ALL {
        let row = format!("| `{}` | {}: {} |", knob.name, knob.about, knob.values);
        assert!(readme.contains(&row), "{row}");
    }
}

/// What v3 has of a car in trouble is as old as the trouble; v2.0 asks the car, and fails.
#[tokio::test(start_paused = true)]
async fn the_store_of_v3_goes_stale_with_a_car_in_trouble() {
    let rig = Rig::new(Settings { speed: 60.0, ..Settings::default() });
    let (token, user_id, vehicle) = rig.grace().await;
    let began = rig.receiver.clock.lock().unwrap().as_ref().unwrap().now().to_string();
    rig.simulator.set_trouble(&vehicle, Some("VEHICLE_STATE.UNREACHABLE")).unwrap();
    let path = format!("/v3/vehicles/{vehicle}/signals/odometer-traveleddistance");
    let read = async || rig.get_as(&path, &token, &user_id).await.json()["data"].clone();
    let first = read().await;
    assert_eq!(first["meta"]["retrievedAt"], began);
    tokio::time::advance(Duration::from_secs(1800)).await;
    // The same trouble, told twice, is as old as it was.
    rig.simulator.set_trouble(&vehicle, Some("VEHICLE_STATE.ASLEEP")).unwrap();
    let then = read().await;
    assert_eq!((&then["attributes"]["body"], &then["meta"]), (&first["attributes"]["body"], &first["meta"]));
    rig.simulator.set_trouble(&vehicle, None).unwrap();
    let now = read().await;
    assert_ne!(now["attributes"]["body"], first["attributes"]["body"], "thirty hours of its life later");
    assert_ne!(now["meta"]["retrievedAt"], began);
}

#[tokio::test(start_paused = true)]
async fn who_must_sign_in_again_is_told_where() {
    let rig = Rig::new(Settings::default());
    let (token, user_id, vehicle) = rig.grace().await;
    let link = |id: &str| {
        format!(
            "http://127.0.0.1:9000/oauth/reauthenticate?response_type=vehicle_id&client_id={}&vehicle_id={id}",
            rig.simulator.settings().application.application_id
        )
    };
    // By a fault, of both generations.
    let (access, _) = rig.ada().await;
    let own = rig.vehicles(ADA).remove(0);
    strike(&rig, "trouble=CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED*2");
    let failed = rig.get(&format!("/v2.0/vehicles/{own}/odometer"), &access).await.json();
    assert_eq!(failed["resolution"], json!({ "type": "REAUTHENTICATE", "url": link(&own) }));
    let failed = rig.get_as(&format!("/v3/vehicles/{vehicle}/signals"), &token, &user_id).await.json();
    assert_eq!(failed["errors"][0]["resolution"]["url"], link(&vehicle));
    // By the e-mail.
    let email = "CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED@smartcar.com";
    let (access, _) = pair(&rig.exchange(&parameter(&rig.consent(email, &[]).await, "code").unwrap()).await);
    let id = rig.vehicles(&email.to_ascii_lowercase()).remove(0);
    let failed = rig.get(&format!("/v2.0/vehicles/{id}/odometer"), &access).await.json();
    assert_eq!(failed["resolution"]["url"], link(&id));
    // What Smartcar does not offer is for its support.
    strike(&rig, "trouble=COMPATIBILITY.SMARTCAR_NOT_CAPABLE*1");
    let failed = rig.get(&format!("/v2.0/vehicles/{own}/odometer"), &access).await.json();
    assert_eq!(failed["resolution"]["type"], "CONTACT_SUPPORT");
}

/// A token of single select opens its vehicle alone, in v3 too.
#[tokio::test(start_paused = true)]
async fn a_token_for_one_vehicle_opens_no_other() {
    let rig = Rig::new(Settings::default());
    rig.ada().await;
    let back = rig.consent(ADA, &[("single_select", "true")]).await;
    let (access, _) = pair(&rig.exchange(&parameter(&back, "code").unwrap()).await);
    let cars = rig.vehicles(ADA);
    for (id, status) in [(&cars[0], 200), (&cars[1], 404)] {
        assert_eq!(rig.get(&format!("/v3/vehicles/{id}"), &access).await.status, status);
        assert_eq!(rig.get(&format!("/v3/vehicles/{id}/signals"), &access).await.status, status);
    }
}

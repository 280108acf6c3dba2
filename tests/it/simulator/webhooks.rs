//! The webhook sender: VERIFY, first deliveries, changes, retries.

use super::*;

pub(super) fn with_webhook(change: impl FnOnce(&mut WebhookSettings)) -> Rig {
    let mut webhook = WebhookSettings::new("https://gateway.example/webhooks");
    change(&mut webhook);
    Rig::new(Settings { webhook: Some(webhook), speed: 60.0, ..Settings::default() })
}

pub(super) async fn run_for(rig: &Rig, time: Duration) {
    let shutdown = CancellationToken::new();
    let running = rig.simulator.run(shutdown.clone());
    let _ = tokio::join!(running, async {
        tokio::time::sleep(time).await;
        shutdown.cancel();
    });
}

#[tokio::test(start_paused = true)]
async fn verifies_then_delivers_in_the_documented_shapes() {
    let rig = with_webhook(|_| {});
    rig.consent(GRACE, &[("scope", &format!("{SCOPE} read_location"))]).await;
    run_for(&rig, Duration::from_secs(3600)).await;

    let bodies = rig.receiver.bodies();
    let ids = &["vehicleId", "externalId", "mode", "powertrainType", "sequence"];
    same_shape(&fixture("webhook-v4-verify.json"), &bodies[0], &[]);
    same_shape(&with_first_signal("webhook-v4-vehicle-state-first-delivery.json"), &with_good_signals(&bodies[1]), ids);
    assert_eq!(bodies[1]["triggers"], json!([{ "type": "FIRST_DELIVERY" }]));
    let updates: Vec<&Value> = bodies[2..].iter().collect();
    assert!(updates.len() > 20, "an hour at sixty times the speed has news, not {}", updates.len());
    for update in updates {
        same_shape(&with_first_signal("webhook-v4-vehicle-state-signal-updated.json"), &with_good_signals(update), ids);
        assert_eq!(update["meta"]["signalCount"], update["data"]["signals"].as_array().unwrap().len());
        assert_eq!(update["triggers"][0]["type"], "SIGNAL_UPDATED");
    }
    for (_, request) in rig.receiver.got.lock().unwrap().iter() {
        assert_eq!(request.headers()["sc-signature"], sign(request.body()).as_str());
        assert_eq!(request.headers()["content-type"], "application/json");
        assert!(request.headers()["user-agent"].to_str().unwrap().starts_with("Smartcar/"));
    }
    let counters = rig.counters();
    assert_eq!((counters.sent, counters.dropped), (counters.acknowledged, 0));
}

/// Bodies of signals differ by code: the lists are compared without them.
fn with_good_signals(event: &Value) -> Value {
    let mut event = event.clone();
    let signals = event["data"]["signals"].as_array_mut().unwrap();
    signals.retain(|signal| signal["status"]["value"] == "SUCCESS");
    for signal in signals {
        signal["body"] = Value::Null;
    }
    event
}

fn with_first_signal(name: &str) -> Value {
    with_good_signals(&fixture(name))
}

#[tokio::test(start_paused = true)]
async fn signs_what_the_fixtures_sign() {
    // The fixtures have a key of their own, and answers to challenges under it.
    let vectors = fixture("signatures.json");
    let mut application = Settings::default().application;
    vectors["managementToken"].as_str().unwrap().clone_into(&mut application.management_token);
    let webhook = WebhookSettings { retry_scale: 0.0, ..WebhookSettings::new("https://gateway.example/") };
    let rig = Rig::new(Settings { application, webhook: Some(webhook), ..Settings::default() });
    // This receiver answers under another key: never verified.
    assert!(!rig.simulator.verify().await);
    assert!(!rig.simulator.webhook_verified());
    let got = rig.receiver.got.lock().unwrap();
    assert_eq!(got.len(), 4);
    for (_, request) in got.iter() {
        let key = vectors["managementToken"].as_str().unwrap();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(request.body());
        let signature = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
        assert_eq!(request.headers()["sc-signature"], signature.as_str());
    }
}

#[tokio::test(start_paused = true)]
async fn retries_on_schedule_with_the_same_event() {
    let rig = with_webhook(|_| {});
    assert!(rig.simulator.verify().await);
    rig.consent(GRACE, &[]).await;
    rig.receiver.answers.lock().unwrap().extend([500, 302, 404]);
    assert_eq!(rig.simulator.deliver().await, 1);
    let waits: Vec<u64> = {
        let got = rig.receiver.got.lock().unwrap();
        got[1..].windows(2).map(|pair| pair[1].0.since(pair[0].0).as_secs()).collect()
    };
    assert_eq!(waits, [25, 50, 100]);
    let sent = rig.receiver.of_type("VEHICLE_STATE");
    assert!(sent.iter().all(|body| body["eventId"] == sent[0]["eventId"]));
    assert_ne!(sent[0]["meta"]["deliveryId"], sent[1]["meta"]["deliveryId"]);
    assert!(sent[0]["meta"]["deliveredAt"].as_i64() < sent[1]["meta"]["deliveredAt"].as_i64());

    rig.receiver.answers.lock().unwrap().extend([500; 4]);
    assert_eq!(rig.simulator.deliver().await, 0);
    let counters = rig.counters();
    assert_eq!((counters.sent, counters.acknowledged, counters.dropped), (9, 2, 1));
    let event = &counters.events[sent[0]["eventId"].as_str().unwrap()];
    assert_eq!((event.sent, event.acknowledged, event.event_type.as_str()), (4, true, "VEHICLE_STATE"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_delivered_before_a_right_answer_to_verify() {
    let rig = with_webhook(|webhook| webhook.verify_signed = false);
    rig.consent(ADA, &[]).await;
    rig.receiver.answers.lock().unwrap().extend([404; 6]);
    run_for(&rig, Duration::from_secs(170)).await;
    let bodies = rig.receiver.bodies();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| body["eventType"] == "VERIFY"));
    assert!(!rig.receiver.got.lock().unwrap()[0].1.headers().contains_key("sc-signature"));
}

#[tokio::test(start_paused = true)]
async fn troubles_begin_and_end() {
    let rig = with_webhook(|webhook| webhook.trouble = 1.0);
    let scope = format!("{SCOPE} read_location");
    let code = parameter(&rig.consent(ADA, &[("scope", &scope)]).await, "code").unwrap();
    let (access, _) = pair(&rig.exchange(&code).await);
    run_for(&rig, Duration::from_secs(65)).await;
    let read = rig.get(&format!("/v2.0/vehicles/{}/odometer", rig.vehicles(ADA)[0]), &access).await;
    assert!(read.status == 409 || read.status == 400, "{}", read.text());
    run_for(&rig, Duration::from_secs(3600)).await;
    let errors = rig.receiver.of_type("VEHICLE_ERROR");
    let extra = &["vehicleId", "externalId", "mode", "powertrainType", "resolution", "signals"];
    let mut balance = 0;
    for event in &errors {
        let (name, step) = match event["data"]["errors"][0]["state"].as_str().unwrap() {
            "ERROR" => ("webhook-v4-vehicle-error-compatibility.json", 1),
            _ => ("webhook-v4-vehicle-error-resolved.json", -1),
        };
        same_shape(&fixture(name), event, extra);
        let error = &event["data"]["errors"][0];
        let is_of_account = error["type"] == "CONNECTED_SERVICES_ACCOUNT";
        assert_eq!(error["signals"].as_array().unwrap().is_empty(), is_of_account, "{error}");
        if step > 0 {
            let resolution = if is_of_account { json!("REAUTHENTICATE") } else { Value::Null };
            assert_eq!(error["resolution"]["type"], resolution, "{error}");
            assert_eq!(error["resolution"]["url"].is_string(), is_of_account, "{error}");
        }
        balance += step;
        assert!((0..=2).contains(&balance));
    }
    assert!(errors.len() > 10);
    rig.simulator.turn("error-signals=names").unwrap();
    run_for(&rig, Duration::from_secs(3600)).await;
    let later = rig.receiver.of_type("VEHICLE_ERROR").split_off(errors.len());
    let named = |event: &&Value| event["data"]["errors"][0]["signals"][0] == "Location.PreciseLocation";
    assert!(later.iter().filter(named).count() > 3);
}

#[tokio::test(start_paused = true)]
async fn a_trouble_lasts_until_the_owner_signs_in_again() {
    let rig = with_webhook(|_| {});
    let (access, _) = rig.ada().await;
    let vehicle = rig.vehicles(ADA).remove(0);
    rig.simulator.set_trouble(&vehicle, Some("CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED")).unwrap();
    let odometer = format!("/v2.0/vehicles/{vehicle}/odometer");
    let failed = rig.get(&odometer, &access).await;
    assert_eq!(failed.status, 400);
    same_shape(&fixture("v2-error-reauthenticate.json"), &failed.json(), &["suggestedUserMessage"]);
    run_for(&rig, Duration::from_secs(600)).await;
    let states = |rig: &Rig| -> Vec<Value> {
        let errors = rig.receiver.of_type("VEHICLE_ERROR");
        errors.iter().map(|event| event["data"]["errors"][0]["state"].clone()).collect()
    };
    assert_eq!(states(&rig), ["ERROR"]);
    let url = failed.json()["resolution"]["url"].as_str().unwrap().to_owned();
    rig.simulator.consent(&format!("{url}&redirect_uri={BACK}"), ADA).await.unwrap();
    assert_eq!(rig.get(&odometer, &access).await.status, 200);
    run_for(&rig, Duration::from_secs(65)).await;
    assert_eq!(states(&rig), ["ERROR", "RESOLVED"]);

    let code = parameter(&rig.consent("VEHICLE_STATE.ASLEEP@smartcar.com", &[]).await, "code").unwrap();
    let (access, _) = pair(&rig.exchange(&code).await);
    let vehicle = rig.vehicles("vehicle_state.asleep@smartcar.com").remove(0);
    let asleep = rig.get(&format!("/v2.0/vehicles/{vehicle}/odometer"), &access).await;
    assert_eq!((asleep.status, asleep.json()["code"].as_str()), (409, Some("ASLEEP")));
}

#[tokio::test(start_paused = true)]
async fn a_vehicle_can_be_subscribed_by_hand() {
    let rig = with_webhook(|_| {});
    let (token, user_id, vehicle) = rig.grace().await;
    let bearer = format!("Bearer {token}");
    let list = rig.get("/v3/webhooks", &token).await.json();
    assert_eq!(list["data"][0]["attributes"]["callbackUri"], "https://gateway.example/webhooks");
    let webhook_id = list["data"][0]["id"].as_str().unwrap();
    assert_eq!(rig.get(&format!("/v3/webhooks/{webhook_id}"), &token).await.status, 200);

    let attributes = json!({ "webhookId": webhook_id, "userId": user_id, "vehicleId": vehicle });
    let body = json!({ "data": { "attributes": attributes } });
    same_shape(&fixture("v3-create-subscription-request.json"), &body, &[]);
    let (authorized, body) = ([("authorization", bearer.as_str())], body.to_string());
    assert_eq!(rig.send("POST", "/v3/subscriptions", &authorized, "").await.status, 400);
    let subscribe = || rig.send("POST", "/v3/subscriptions/", &authorized, &body);
    assert_eq!(subscribe().await.status, 409, "Connect subscribed it already");
    let subscriptions = rig.get("/v3/subscriptions", &token).await.json();
    let path = format!("/v3/subscriptions/{}", subscriptions["data"][0]["id"].as_str().unwrap());
    assert_eq!(rig.send("DELETE", &path, &[("authorization", &bearer)], "").await.status, 204);
    assert_eq!(subscribe().await.status, 202);

    rig.simulator.set_faults(Faults::new([Fault::always(FaultKind::EmptyStore)]));
    let signals = format!("/v3/vehicles/{vehicle}/signals");
    let empty = rig.get_as(&signals, &token, &user_id).await.json();
    same_shape(&fixture("v3-signals-empty.json"), &empty, &["links"]);
    assert_eq!(empty["data"], json!([]));
    assert_eq!(rig.get_as(&format!("{signals}/charge-ischarging"), &token, &user_id).await.status, 404);
    assert!(rig.simulator.verify().await);
    assert_ne!(rig.get_as(&signals, &token, &user_id).await.json()["data"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn scripts_have_control_routes() {
    let rig = Rig::new(Settings::default());
    rig.consent(GRACE, &[]).await;
    let json_kind = [("content-type", "application/json")];
    let set = json!({ "url": "http://127.0.0.1:1/hook", "every": 5.5, "retryScale": 0.1 }).to_string();
    assert_eq!(rig.send("POST", "/simulator/webhook", &[("content-type", "text/plain")], &set).await.status, 400);
    assert_eq!(rig.send("POST", "/simulator/webhook", &json_kind, &set).await.status, 202);
    assert_eq!(rig.send("POST", "/simulator/webhook", &json_kind, r#"{"url":"file:///etc"}"#).await.status, 400);
    assert_eq!(rig.send("POST", "/simulator/faults", &json_kind, r#"{"faults":["rain"]}"#).await.status, 400);
    for (field, said) in [
        (
            r#""triggers":["Odometer.TraveledDistance"]"#,
            "triggers: `Odometer.TraveledDistance` is not the code of a signal: write",
        ),
        (r#""data":["nope"]"#, "data: no simulated car has a signal `nope`. There are charge-"),
        (r#""data":"all""#, "data must be a list of texts"),
    ] {
        let body = format!(r#"{{"url":"http://127.0.0.1:1/hook",{field}}}"#);
        let refused = rig.send("POST", "/simulator/webhooks", &json_kind, &body).await;
        let reason = refused.json()["reason"].as_str().unwrap().to_owned();
        assert!(refused.status == 400 && reason.starts_with(said), "{reason}");
    }
    for (route, body, said) in [
        ("webhooks", r#"{"url":"http://127.0.0.1:1/hook","trigers":[]}"#, "there is no field `trigers` here: triggers, perhaps?"),
        (
            "webhook",
            r#"{"url":"http://127.0.0.1:1/hook","filter":1}"#,
            "there is no field `filter` here: there are url, errorUrl, ",
        ),
        ("webhook", r#"{"url":"http://127.0.0.1:1/hook","every":"5s"}"#, "every must be a number, not below zero"),
        ("webhook", r#"{"url":"http://127.0.0.1:1/hook","rate":-1}"#, "rate must be a number, not below zero"),
        ("webhook", r#"{"url":"http://127.0.0.1:1/hook","autoSubscribe":"no"}"#, "autoSubscribe must be true or false"),
        ("webhook", r#"{"url":7}"#, "url must be a text"),
        ("faults", r#"{"fault":["refuse"]}"#, "there is no field `fault` here: faults, perhaps?"),
        ("knobs", r#"{"knobs":[],"x":1}"#, "there is no field `x` here: there are knobs"),
        ("trouble", r#"{"vehicleID":"v","trouble":null}"#, "there is no field `vehicleID` here: vehicleId, perhaps?"),
        ("revoke", r#"{"mail":"x"}"#, "there is no field `mail` here: email, perhaps?"),
        ("deliver", r#"{"vehicleId":"v"}"#, "there is no field `vehicleId` here: nothing goes with this"),
        ("knobs", "[]", "the body must be an object"),
    ] {
        let refused = rig.send("POST", &format!("/simulator/{route}"), &json_kind, body).await;
        let reason = refused.json()["reason"].as_str().unwrap().to_owned();
        assert!(refused.status == 400 && reason.starts_with(said), "{body}: {reason}");
    }
    // What is in force is told, and what there is.
    let told = async |what: &str| rig.send("GET", &format!("/simulator/{what}"), &[], "").await.json();
    let value = |knobs: &Value, name: &str| {
        knobs["knobs"].as_array().unwrap().iter().find(|knob| knob["name"] == name).unwrap()["value"].clone()
    };
    assert_eq!((value(&told("knobs").await, "rotation-window"), &told("faults").await["faults"]), (json!("60"), &json!([])));
    for (what, body) in [
        ("knobs", r#"{"knobs":["rotation-window=600","timestamps=millis"]}"#),
        ("knobs", r#"{"knobs":["timestamps=iso"]}"#),
        ("faults", r#"{"faults":["delay=1.5@0.25*3","trouble=VEHICLE_STATE.ASLEEP*2","empty-store"]}"#),
    ] {
        assert_eq!(rig.send("POST", &format!("/simulator/{what}"), &json_kind, body).await.status, 202);
    }
    let knobs = told("knobs").await;
    assert_eq!((value(&knobs, "rotation-window"), value(&knobs, "timestamps")), (json!("600"), json!("iso")));
    let faults = told("faults").await;
    assert_eq!(faults["faults"], json!(["delay=1.5@0.25*3", "trouble=VEHICLE_STATE.ASLEEP*2", "empty-store"]));
    assert!(faults["all"].as_array().unwrap().iter().any(|fault| fault["name"] == "rotate-then-lose"), "{faults}");
    assert_eq!(rig.send("POST", "/simulator/faults", &json_kind, r#"{"faults":[]}"#).await.status, 202);
    for path in ["/simulator", "/simulator/fault", "/simulator/webhooks/x/pres"] {
        let lost = rig.send("GET", path, &[], "").await;
        let reason = lost.json()["reason"].as_str().unwrap_or_default().to_owned();
        assert!(lost.status == 404 && reason.contains("POST /simulator/webhooks, /simulator/faults"), "{path}: {reason}");
    }
    run_for(&rig, Duration::from_secs(1)).await;
    assert_eq!(rig.send("POST", "/simulator/deliver", &json_kind, "").await.status, 202);
    run_for(&rig, Duration::from_secs(1)).await;
    assert_eq!(rig.receiver.bodies().len(), 3, "VERIFY, the first delivery, and the one asked for");
    let status = rig.send("GET", "/simulator/status/", &[], "").await.json();
    assert_eq!(status["counters"]["acknowledged"], 3);
    assert_eq!(status["webhook"]["verified"], true);
    assert_eq!(status["accounts"][0]["email"], ADA);
}

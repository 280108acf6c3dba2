//! The webhook sender, as it is set up in the dashboard, and where deliveries go wrong.

use super::webhooks::{run_for, with_webhook};
use super::*;

#[tokio::test(start_paused = true)]
async fn a_webhook_has_triggers_and_data_of_its_own() {
    let rig = with_webhook(|webhook| {
        webhook.triggers = vec!["charge-ischarging".to_owned()];
        webhook.data = vec!["charge-ischarging".to_owned(), "tractionbattery-stateofcharge".to_owned()];
    });
    rig.consent(GRACE, &[]).await;
    run_for(&rig, Duration::from_secs(3600)).await;
    let states = rig.receiver.of_type("VEHICLE_STATE");
    assert!(states.len() > 2, "a plug-in hybrid begins and ends to charge within sixty hours");
    for state in &states {
        let codes: Vec<&Value> = state["data"]["signals"].as_array().unwrap().iter().map(|signal| &signal["code"]).collect();
        assert_eq!(codes, ["tractionbattery-stateofcharge", "charge-ischarging"]);
    }
    assert!(states[1..].iter().all(|state| state["triggers"][0]["signal"]["code"] == "charge-ischarging"));
}

#[tokio::test(start_paused = true)]
async fn webhooks_tell_of_simulated_vehicles_if_they_are_said_to() {
    for (legacy, knob, tells) in [(false, "yes", true), (false, "no", false), (true, "yes", false)] {
        let rig = with_webhook(|webhook| webhook.legacy = legacy);
        rig.simulator.turn(&format!("simulated-webhooks={knob}")).unwrap();
        rig.consent(GRACE, &[("mode", "simulated")]).await;
        run_for(&rig, Duration::from_secs(600)).await;
        assert_eq!(rig.receiver.bodies().len() > 1, tells, "legacy {legacy}, {knob}: VERIFY, and more or not");
    }
}

#[tokio::test(start_paused = true)]
async fn several_webhooks_and_their_buttons() {
    let rig = Rig::new(Settings::default());
    rig.consent(GRACE, &[]).await;
    let kind = [("content-type", "application/json")];
    let add = async |body: Value| {
        let answer = rig.send("POST", "/simulator/webhooks", &kind, &body.to_string()).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let all = add(json!({ "url": "https://a.example/hook", "errorUrl": "https://a.example/errors", "data": [] })).await;
    let legacy = add(json!({ "url": "https://b.example/hook", "legacy": true })).await;
    add(json!({ "url": "https://c.example/hook", "autoSubscribe": false })).await;
    run_for(&rig, Duration::from_secs(1)).await;
    let sent = |url: &str| -> Vec<Value> {
        let got = rig.receiver.got.lock().unwrap();
        let of_url = got.iter().filter(|(_, request)| request.uri() == url);
        of_url.map(|(_, request)| serde_json::from_slice(request.body()).unwrap()).collect()
    };
    let first = &sent("https://a.example/hook")[1];
    assert!(first["data"]["signals"].as_array().unwrap().len() > 30, "all signals: {first}");
    same_shape(&fixture("webhook-v2-verify.json"), &sent("https://b.example/hook")[0], &[]);
    let scheduled = &sent("https://b.example/hook")[1];
    let mut wanted = fixture("webhook-v2-scheduled.json");
    let parts = wanted["payload"]["vehicles"][0]["data"].as_array_mut().unwrap();
    parts.truncate(1);
    same_shape(&wanted, scheduled, &["body", "headers"]);
    assert_eq!(sent("https://c.example/hook").len(), 1, "nobody is subscribed: VERIFY alone");

    // Trouble goes to the other address.
    rig.simulator.set_trouble(&rig.vehicles(GRACE)[0], Some("VEHICLE_STATE.UNREACHABLE")).unwrap();
    run_for(&rig, Duration::from_secs(61)).await;
    assert_eq!(sent("https://a.example/errors")[0]["eventType"], "VEHICLE_ERROR");
    rig.simulator.set_trouble(&rig.vehicles(GRACE)[0], None).unwrap();

    let press = async |id: &str, button: &str| rig.send("POST", &format!("/simulator/webhooks/{id}/{button}"), &kind, "").await;
    assert_eq!(press(&all, "test").await.status, 202);
    run_for(&rig, Duration::from_secs(1)).await;
    let test = sent("https://a.example/hook").pop().unwrap();
    assert_eq!(test["meta"]["mode"], "TEST");
    assert!(!rig.vehicles(GRACE).iter().any(|id| test["data"]["vehicle"]["id"] == *id), "a vehicle that nobody knows");
    assert_eq!(press(&all, "verify").await.status, 202);
    run_for(&rig, Duration::from_secs(1)).await;
    assert_eq!(sent("https://a.example/hook").pop().unwrap()["eventType"], "VERIFY", "it can come again any time");
    // Nothing is told of its state before the end of its trouble is.
    run_for(&rig, Duration::from_secs(121)).await;
    for (knob, name, paths) in [("dynamic", "dynamic", 3), ("scheduled", "scheduled", 6)] {
        rig.simulator.turn(&format!("legacy-name={knob}")).unwrap();
        rig.simulator.deliver().await;
        let last = sent("https://b.example/hook").pop().unwrap();
        let parts = last["payload"]["vehicles"][0]["data"].as_array().unwrap().len();
        assert_eq!((&last["eventName"], parts), (&json!(name), paths), "{last}");
    }

    // Two at once, of two webhooks.
    let count = |url: &str| sent(url).iter().filter(|body| body["meta"]["mode"] == "TEST").count();
    let before = count("https://a.example/hook");
    let other = add(json!({ "url": "https://d.example/hook", "autoSubscribe": false })).await;
    assert_eq!((press(&all, "test").await.status, press(&other, "test").await.status), (202, 202));
    run_for(&rig, Duration::from_secs(1)).await;
    assert_eq!((count("https://a.example/hook") - before, count("https://d.example/hook")), (1, 1));
    assert_eq!(press("nothing", "test").await.status, 400);
    assert_eq!(rig.send("DELETE", &format!("/simulator/webhooks/{legacy}"), &[], "").await.status, 202);
    assert_eq!(rig.send("DELETE", &format!("/simulator/webhooks/{legacy}"), &[], "").await.status, 400);
    for (body, part) in [
        (json!({}), "url is missing"),
        (json!({ "url": 7 }), "url must be a text"),
        (json!({ "url": "ftp://e.example/" }), "url: a whole URL"),
        (json!({ "url": "http://ann:canary@e.example/" }), "url: a URL without name and password"),
        (json!({ "url": "https://e.example/", "errorUrl": "canary" }), "errorUrl: a whole URL"),
        (json!({ "url": "https://e.example/", "errorUrl": "http://ann:canary@e.example/" }), "errorUrl: a URL without name"),
    ] {
        let answer = rig.send("POST", "/simulator/webhooks", &kind, &body.to_string()).await;
        assert!(answer.status == 400 && answer.text().contains(part) && !answer.text().contains("canary"), "{}", answer.text());
    }
    let listed = rig.send("GET", "/simulator/webhooks", &[], "").await.json();
    assert_eq!(listed["webhooks"].as_array().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn deliveries_go_wrong_as_told() {
    let rig = with_webhook(|_| {});
    assert!(rig.simulator.verify().await);
    rig.consent(ADA, &[]).await;
    rig.simulator.deliver().await;
    let deliver = async |fault: &str| {
        rig.simulator.set_faults(Faults::read([fault]).unwrap());
        let before = rig.receiver.got.lock().unwrap().len();
        rig.simulator.deliver().await;
        let got = rig.receiver.got.lock().unwrap();
        got[before..].iter().map(|(at, request)| (*at, request.headers().clone(), request.body().clone())).collect::<Vec<_>>()
    };
    for (_, headers, body) in deliver("wrong-signature*2").await {
        assert_ne!(headers["sc-signature"], sign(&body).as_str());
        assert_eq!(headers["sc-signature"].len(), 64);
    }
    assert!(deliver("unsigned*2").await.iter().all(|(_, headers, _)| !headers.contains_key("sc-signature")));
    for (_, headers, body) in deliver("pad").await {
        assert!((49_500..50_000).contains(&body.len()), "{}", body.len());
        let event: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(event["meta"]["signalCount"], event["data"]["signals"].as_array().unwrap().len());
        assert_eq!(headers["sc-signature"], sign(&body).as_str());
    }
    let twice = deliver("duplicate*1").await;
    let id = |body: &Bytes| serde_json::from_slice::<Value>(body).unwrap()["eventId"].to_string();
    let ids: Vec<String> = twice.iter().map(|(_, _, body)| id(body)).collect();
    assert_eq!(ids.len(), 3, "one of two cars tells twice");
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 2);
    for (_, _, body) in deliver("test-event").await {
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["meta"]["mode"], "TEST");
    }
    let sequence = |body: &Bytes| serde_json::from_slice::<Value>(body).unwrap()["meta"]["sequence"].as_i64().unwrap();
    let mut overtaken = false;
    for _ in 0..8 {
        let late = deliver("late=30").await;
        overtaken |= sequence(&late[0].2) > sequence(&late[1].2);
    }
    assert!(overtaken, "a later event arrives first now and then");
}

#[tokio::test(start_paused = true)]
async fn events_have_every_documented_form() {
    let rig = with_webhook(|_| {});
    assert!(rig.simulator.verify().await);
    rig.consent(GRACE, &[]).await;
    for knob in ["triggers=data", "trigger-form=bare", "signal-time=fetched-at", "signal-status=no", "delivered-at=seconds"] {
        rig.simulator.turn(knob).unwrap();
    }
    rig.simulator.deliver().await;
    let first = rig.receiver.of_type("VEHICLE_STATE").remove(0);
    let wanted = fixture("webhook-v4-vehicle-state-first-delivery-in-data.json");
    assert_eq!(first["data"]["triggers"], wanted["data"]["triggers"]);
    assert!(first.get("triggers").is_none());
    let good = first["data"]["signals"].as_array().unwrap().iter().find(|signal| signal.get("body").is_some()).unwrap();
    assert!(good.get("status").is_none() && good["meta"]["fetchedAt"].is_number());
    assert!(first["meta"]["deliveredAt"].as_i64().unwrap() < 100_000_000_000, "seconds");
    for (form, wanted) in [
        ("name", json!({ "type": "SIGNAL_UPDATED", "signal": "VehicleIdentification.VIN" })),
        ("code", json!({ "type": "SIGNAL_UPDATED", "signal": { "code": "vehicleidentification-vin" } })),
    ] {
        rig.simulator.turn(&format!("trigger-form={form}")).unwrap();
        rig.simulator.deliver().await;
        assert_eq!(rig.receiver.of_type("VEHICLE_STATE").pop().unwrap()["data"]["triggers"][0], wanted);
    }
    rig.simulator.turn("challenge=uuid").unwrap();
    assert!(rig.simulator.verify().await);
    assert_eq!(rig.receiver.of_type("VERIFY").pop().unwrap()["data"]["challenge"].as_str().unwrap().len(), 36);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_fails_is_disabled_if_the_knob_says_so() {
    let rig = with_webhook(|webhook| webhook.retry_scale = 0.0);
    rig.simulator.turn("disable-after=2").unwrap();
    assert!(rig.simulator.verify().await);
    rig.consent(GRACE, &[]).await;
    rig.receiver.answers.lock().unwrap().extend([500; 8]);
    assert_eq!((rig.simulator.deliver().await, rig.simulator.deliver().await), (0, 0));
    let sent = rig.counters().sent;
    assert_eq!(rig.simulator.deliver().await, 0);
    assert_eq!(rig.counters().sent, sent, "nothing goes to it any more");
    let token = rig.application_token().await;
    assert_eq!(rig.get("/v3/webhooks", &token).await.json()["data"][0]["attributes"]["isEnabled"], false);
}

#[tokio::test(start_paused = true)]
async fn a_steady_flow_is_even() {
    let webhook =
        WebhookSettings { rate: Some(20.0), most: Some(400), ..WebhookSettings::new("https://gateway.example/webhooks") };
    let rig = Rig::new(Settings { cars: 100, connected: true, webhook: Some(webhook), ..Settings::default() });
    run_for(&rig, Duration::from_secs(25)).await;
    let counters = rig.counters();
    assert_eq!(counters.acknowledged, 401, "VERIFY, and 400 events: those of 20 s, whenever it ends");
    assert_eq!((counters.skipped, counters.dropped, counters.results["2xx"]), (0, 0, counters.acknowledged));
    let states = rig.receiver.of_type("VEHICLE_STATE");
    let told = |id: &Value| states.iter().filter(|state| state["data"]["vehicle"]["id"] == *id).count();
    assert!(states.iter().all(|state| (4..=5).contains(&told(&state["data"]["vehicle"]["id"]))), "every car has its turn");
    let cars = rig.simulator.accounts().iter().skip(2).map(|account| account.vehicle_ids.len()).sum::<usize>();
    for (place, state) in states.iter().enumerate() {
        let (trigger, wanted) = (&state["triggers"][0]["type"], if place < cars { "FIRST_DELIVERY" } else { "SIGNAL_UPDATED" });
        assert_eq!(trigger, wanted, "the first delivery of a car, and no other, is one");
    }
    let got = rig.receiver.got.lock().unwrap();
    let busiest = got.windows(20).map(|some| some[19].0.since(some[0].0).as_millis()).min().unwrap();
    assert!(busiest > 900, "{busiest} ms for a second's worth");
}

/// More than can be sent is neither made nor kept: it is counted, and the run ends when it is told to.
#[tokio::test(start_paused = true)]
async fn a_flow_beyond_all_bounds_is_cut() {
    let webhook = WebhookSettings { rate: Some(1e9), ..WebhookSettings::new("https://gateway.example/webhooks") };
    let rig = Rig::new(Settings { cars: 5, connected: true, webhook: Some(webhook), ..Settings::default() });
    run_for(&rig, Duration::from_millis(15)).await;
    let counters = rig.counters();
    assert!(counters.skipped > 1_000_000 && (1..=10_000).contains(&counters.acknowledged), "{counters:?}");
}

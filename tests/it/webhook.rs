//! The contract's webhook table, row by row: status, code and JSON of every answer, and what is kept.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use carport::simulator::Settings;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::{Value, json};

use crate::gateway::{Fault, TestGateway, WEBHOOK, events, is_problem, pass};
use crate::simulator::rig::{ADA, Answer, sign_with};

/// Not limited, so that tables of refusals can be long.
const UNLIMITED: (&str, &str) = ("limits.webhook_failures", "100000/m");

const FIXTURES_TOKEN: &str = "amt-fixture-0b9f6c1e5d7a4e1f";

async fn unlimited(seed: u64) -> TestGateway {
    TestGateway::with(seed, &[UNLIMITED], Settings::default()).await
}

/// How many entries the ring has ever had.
async fn newest(gateway: &TestGateway) -> u64 {
    gateway.told("/api/v1/status").await["webhooks"]["newest"].as_u64().unwrap()
}

fn state(event: &str, vehicle: &str) -> Value {
    events::state(event, vehicle, &[])
}

fn verify(challenge: &Value) -> String {
    json!({ "eventType": "VERIFY", "data": { "challenge": challenge } }).to_string()
}

fn legacy_verify(challenge: &Value) -> String {
    json!({ "version": "2.0", "eventName": "verify", "payload": { "challenge": challenge } }).to_string()
}

#[track_caller]
fn accepted(answer: &Answer, status: &str, seq: u64) {
    assert_eq!((answer.status, answer.text()), (200, format!(r#"{{"status":"{status}","seq":{seq}}}"#)));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test(start_paused = true)]
async fn signatures() {
    let gateway = unlimited(10).await;
    let body = state("e-1", "v-1").to_string();
    let good = sign_with(&gateway.management_token(), body.as_bytes());
    let none = "it bears no signature (the header SC-Signature)";
    let form = "its SC-Signature is not 64 hexadecimal digits";
    let other = "its signature is of another management token, or the body was changed on its way";
    let more = "it bears more than one SC-Signature";
    let refused: &[&[&str]] = &[
        &[],
        &[""],
        &["0"],
        &[&good[..63]],
        &[&format!("{good}0")],
        &[&format!("sha256={good}")],
        &[&format!(" {good}x")],
        &[&"g".repeat(64)],
        &[&"0".repeat(64)],
        &[&sign_with("another key", body.as_bytes())],
        &[&sign_with("", body.as_bytes())],
        &[&sign_with(&gateway.management_token(), b"{}")],
        &[&good, &good],
        &[&good, ""],
        &["", &good],
        &[&format!("{good},{good}")],
    ];
    for signatures in refused {
        let mut ask = gateway.ask("POST", WEBHOOK).body(body.clone());
        for signature in *signatures {
            ask = ask.header("sc-signature", signature);
        }
        is_problem(&ask.send().await, 401, "bad_signature");
    }
    assert_eq!(newest(&gateway).await, 0);
    let refusals = gateway.told("/api/v1/webhooks/refused").await["items"].as_array().unwrap().clone();
    assert_eq!(refusals.len(), refused.len());
    assert!(refusals.iter().all(|refusal| refusal["code"] == "bad_signature" && refusal["bytes"] == body.len()));
    let reasons: Vec<_> = refusals.iter().rev().map(|refusal| refusal["reason"].as_str().unwrap()).collect();
    let wanted = [&[none][..], &[form; 7], &[other; 4], &[more; 3], &[form]].concat();
    assert_eq!(reasons, wanted);
    // The token may be wrong: the log says so, but not for each.
    let warned = || gateway.logged().matches("a webhook bore a wrong signature").count();
    assert_eq!(warned(), 1);
    pass(Duration::from_secs(3600)).await;
    let another = gateway.ask("POST", WEBHOOK).body(body.clone()).header("sc-signature", &"0".repeat(64)).send().await;
    is_problem(&another, 401, "bad_signature");
    assert_eq!(warned(), 2);

    let upper = good.to_ascii_uppercase();
    accepted(&gateway.ask("POST", WEBHOOK).body(body.clone()).header("sc-signature", &upper).send().await, "accepted", 1);
    accepted(
        &gateway.ask("POST", "/api/webhooks/smartcar/").body(body).header("sc-signature", &good).send().await,
        "duplicate",
        1,
    );
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn every_management_token_proves_and_the_first_answers() {
    let tokens = "first-management-token,second-management-token";
    let keys = [UNLIMITED, ("smartcar.application_management_token", tokens)];
    let gateway = TestGateway::with(11, &keys, Settings::default()).await;
    for (place, key) in ["first-management-token", "second-management-token"].into_iter().enumerate() {
        gateway.keep_secret(key);
        let body = state(&format!("e-{place}"), "v-1").to_string();
        let answer =
            gateway.ask("POST", WEBHOOK).header("sc-signature", &sign_with(key, body.as_bytes())).body(body).send().await;
        accepted(&answer, "accepted", place as u64 + 1);
    }
    let body = state("e-9", "v-1").to_string();
    for wrong in [tokens, "third-management-token"] {
        let signature = sign_with(wrong, body.as_bytes());
        is_problem(
            &gateway.ask("POST", WEBHOOK).header("sc-signature", &signature).body(body.clone()).send().await,
            401,
            "bad_signature",
        );
    }
    let answer = gateway.ask("POST", WEBHOOK).body(verify(&json!("abc"))).send().await;
    assert_eq!(answer.json(), json!({ "challenge": sign_with("first-management-token", b"abc") }));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn harmless_challenges_are_answered_signed_or_not() {
    let gateway = unlimited(12).await;
    let longest = "a".repeat(256);
    for challenge in ["a", "any-abcd", "3f9a7c1e5b2d4860a1c3e5f7092b4d6e", "A.b_c~d+e/f=-", longest.as_str()] {
        let right = format!(r#"{{"challenge":"{}"}}"#, sign_with(&gateway.management_token(), challenge.as_bytes()));
        for body in
            [verify(&json!(challenge)), legacy_verify(&json!(challenge)), verify(&json!(challenge)).replace("VERIFY", "verify")]
        {
            let unsigned = gateway.ask("POST", WEBHOOK).body(body.clone()).send().await;
            assert_eq!((unsigned.status, unsigned.text()), (200, right.clone()), "{body}");
            assert_eq!(unsigned.header("content-type"), Some("application/json"));
            let status = gateway.told("/api/v1/status").await;
            assert_eq!(status["webhooks"]["last_verify"]["signed"], false);
            let signed = gateway.delivery(body.clone()).send().await;
            assert_eq!((signed.status, signed.text()), (200, right.clone()), "{body}");
            let status = gateway.told("/api/v1/status").await;
            assert_eq!(status["webhooks"]["last_verify"]["signed"], true);
            // A wrong signature is worse than none.
            let forged = gateway.ask("POST", WEBHOOK).body(body).header("sc-signature", &"0".repeat(64)).send().await;
            is_problem(&forged, 401, "bad_signature");
        }
    }
    // Unsigned ones are in no ring; each signed one is there once.
    assert_eq!(newest(&gateway).await, 15);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn no_other_challenge_is_answered() {
    let gateway = unlimited(13).await;
    let event = state("forged", "v-1").to_string();
    let challenges = [
        json!({ "a": 1 }),
        json!(["abc"]),
        json!(7),
        json!(true),
        json!(null),
        json!(""),
        json!(" abc"),
        json!("a b"),
        json!("a\nb"),
        json!("{}"),
        json!("}"),
        json!("\""),
        json!("a\"b"),
        json!("a:b"),
        json!("a,b"),
        json!("a\\b"),
        json!("[1]"),
        json!("\u{0}"),
        json!("caf\u{e9}"),
        json!("a".repeat(257)),
        json!(event),
    ];
    let mut bodies: Vec<String> = challenges.iter().flat_map(|challenge| [verify(challenge), legacy_verify(challenge)]).collect();
    bodies.push(r#"{"eventType":"VERIFY"}"#.to_owned());
    bodies.push(r#"{"eventType":"VERIFY","data":null}"#.to_owned());
    bodies.push(r#"{"eventType":"VERIFY","data":{"challenge":"\u007b\u007d"}}"#.to_owned());
    // Over 4 KiB, however harmless.
    bodies.push(verify(&json!("abc")).replace('{', &format!("{}{{", " ".repeat(2100))));
    for body in bodies {
        let (status, code) = if body.len() > 4096 { (401, "bad_signature") } else { (400, "challenge_refused") };
        is_problem(&gateway.ask("POST", WEBHOOK).body(body.clone()).send().await, status, code);
        is_problem(&gateway.delivery(body).send().await, 400, "challenge_refused");
    }
    assert_eq!(newest(&gateway).await, 0);
    gateway.finish().await;
}

/// Whoever can have anything hashed must not get a signature that an event passes with.
#[tokio::test(start_paused = true)]
async fn the_answer_to_a_challenge_signs_no_event() {
    let gateway = unlimited(14).await;
    for forged in [&state("forged", "v-1").to_string(), "{}", " {}", "123", "null", "true", "1.5e3", "-1"] {
        let answer = gateway.ask("POST", WEBHOOK).body(verify(&json!(forged))).send().await;
        let Some(hash) = answer.json()["challenge"].as_str().map(str::to_owned) else { continue };
        let answer = gateway.ask("POST", WEBHOOK).header("sc-signature", &hash).body(forged.to_owned()).send().await;
        is_problem(&answer, 400, "not_an_event");
    }
    // As good as such bytes may be signed, they are no event.
    for body in ["123", "null", "\"x\"", "[]", "[{}]", "", " ", "\n", "abc", "\u{feff}{}"] {
        is_problem(&gateway.delivery(body).send().await, 400, "not_an_event");
    }
    assert_eq!(newest(&gateway).await, 0);
    gateway.finish().await;
}

/// A text as JSON may say it.
fn spellings(text: &str) -> Vec<String> {
    let escaped = |wanted: fn(char) -> bool| -> String {
        let spell = |c: char| if wanted(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
        text.chars().map(spell).collect()
    };
    let quoted = |text: &str| format!("\"{text}\"");
    vec![
        json!(text).to_string(),
        quoted(&escaped(|_| true)),
        quoted(&escaped(|c| "{}[]\":, ".contains(c))),
        quoted(&escaped(|_| true).to_uppercase().replace("\\U", "\\u")),
        json!(data_encoding::BASE64.encode(text.as_bytes())).to_string(),
        json!(data_encoding::BASE64URL_NOPAD.encode(text.as_bytes())).to_string(),
        json!(data_encoding::HEXLOWER.encode(text.as_bytes())).to_string(),
        json!(text.replace('{', "%7B").replace('"', "%22")).to_string(),
        json!(text.replace('{', "\u{ff5b}")).to_string(),
        json!(format!("\u{feff}{text}")).to_string(),
        format!("[{}]", json!(text)),
        text.to_owned(),
    ]
}

/// Bodies that ask for the answer to a challenge, in all ways.
fn questions(challenge: &str) -> Vec<String> {
    vec![
        format!(r#"{{"eventType":"VERIFY","data":{{"challenge":{challenge}}}}}"#),
        format!(r#"{{"eventType":"verify","data":{{"challenge":{challenge}}}}}"#),
        format!(r#"{{"\u0065ventType":"VERIFY","data":{{"\u0063hallenge":{challenge}}}}}"#),
        format!(r#"{{"eventName":"verify","payload":{{"challenge":{challenge}}}}}"#),
        format!(r#"{{"eventName":"VERIFY","payload":{{"challenge":{challenge}}}}}"#),
        format!(r#"{{"eventType":"VERIFY","data":{{"challenge":"harmless","challenge":{challenge}}}}}"#),
        format!(r#"{{"eventType":"VERIFY","data":{{"challenge":"a"}},"data":{{"challenge":{challenge}}}}}"#),
        format!(r#"{{"eventType":"VEHICLE_STATE","eventType":"VERIFY","data":{{"challenge":{challenge}}}}}"#),
        format!(r#"{{"eventType":"VERIFY","challenge":{challenge},"payload":{{"challenge":{challenge}}}}}"#),
        format!("\u{feff}{{\"eventType\":\"VERIFY\",\"data\":{{\"challenge\":{challenge}}}}}"),
    ]
}

/// The whole attack: ask for the answer to a challenge that is an event, and send the event with it.
#[tokio::test(start_paused = true)]
async fn no_answer_signs_a_forged_event() {
    let gateway = unlimited(16).await;
    let forged = [
        state("forged", "v-1").to_string(),
        json!({ "eventName": "schedule", "payload": { "vehicleId": "v-1", "data": [] }, "webhookId": "w" }).to_string(),
        verify(&json!("abc")),
        "{}".to_owned(),
    ];
    let (mut hashes, mut asked) = (BTreeSet::new(), 0);
    for question in forged.iter().flat_map(|event| spellings(event)).flat_map(|challenge| questions(&challenge)) {
        for kind in ["application/json", "application/x-www-form-urlencoded", "text/plain; charset=utf-16"] {
            let answer = gateway.ask("POST", WEBHOOK).header("content-type", kind).body(question.clone()).send().await;
            asked += 1;
            if answer.status == 200 {
                hashes.insert(answer.json()["challenge"].as_str().unwrap().to_owned());
            }
        }
    }
    // What is base64 or hex is harmless, and is answered.
    assert!(asked > 1000 && !hashes.is_empty(), "{asked} {}", hashes.len());
    let spelled =
        forged.iter().flat_map(|event| spellings(event)).flat_map(|text| [text.clone(), text.trim_matches('"').to_owned()]);
    for body in forged.iter().cloned().chain(spelled) {
        for hash in &hashes {
            let answer = gateway.ask("POST", WEBHOOK).header("sc-signature", hash).body(body.clone()).send().await;
            assert!([400, 401].contains(&answer.status), "{body} was taken with an answer: {}", answer.text());
        }
    }
    assert_eq!(newest(&gateway).await, 0);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_kept_and_marked() {
    let gateway = TestGateway::new(15).await;
    let account = "ada@example.com";
    gateway.connect("ada", account).await;
    let vehicle = gateway.vehicles_of(account).remove(0);
    let mut of_dashboard = state("e-test", &vehicle);
    of_dashboard["meta"] = json!({ "mode": "TEST" });
    let mut unknown = state("e-type", &vehicle);
    unknown["eventType"] = json!("VEHICLE_CONNECTED");
    let deep = format!(r#"{{"eventId":"deep","data":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    for (place, (body, result)) in [
        (state("e-known", &vehicle).to_string(), "accepted"),
        (state("e-vehicle", "nobody's").to_string(), "unknown_vehicle"),
        (json!({ "eventId": "e-none", "eventType": "VEHICLE_STATE" }).to_string(), "accepted"),
        (unknown.to_string(), "unknown_type"),
        (of_dashboard.to_string(), "test"),
        ("{".to_owned(), "not_understood"),
        ("{}".to_owned(), "not_understood"),
        (" \r\n\t{\"a\":".to_owned(), "not_understood"),
        ("{\"eventType\":NaN}".to_owned(), "not_understood"),
        (r#"{"eventType":"VEHICLE_STATE","eventType":"VERIFY"}"#.to_owned(), "not_understood"),
        (deep, "not_understood"),
    ]
    .into_iter()
    .enumerate()
    {
        let seq = place as u64 + 1;
        accepted(&gateway.delivery(body.clone()).send().await, "accepted", seq);
        let entry = gateway.told(&format!("/api/v1/webhooks/{seq}")).await;
        assert_eq!((&entry["result"], &entry["bytes"]), (&json!(result), &json!(body.len())), "{body:.60}");
        // The payload is there as it came: as JSON, or as the text that is none.
        match &entry["payload"] {
            Value::String(received) => assert_eq!(*received, body),
            payload => assert_eq!(*payload, serde_json::from_str::<Value>(&body).unwrap()),
        }
        // A retry of what has no id is known by its bytes.
        accepted(&gateway.delivery(body).send().await, "duplicate", seq);
    }
    let invalid = Bytes::from_static(b"{\"eventId\":\"\xff\"}");
    accepted(&gateway.delivery(invalid).send().await, "accepted", 12);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn of_a_car_that_was_erased_nothing_is_kept() {
    let mut gateway = TestGateway::new(17).await;
    gateway.connect("ada", ADA).await;
    let cars = gateway.vehicles_of(ADA);
    let erase = format!("/api/v1/vehicles/{}?history=erase&force=true", cars[0]);
    assert_eq!(gateway.ask("DELETE", &erase).bearer(&gateway.admin).send().await.status, 204);
    for restarted in [false, true] {
        if restarted {
            gateway.reopen().await;
        }
        for _ in 0..2 {
            let answer = gateway.delivery(state("late", &cars[0]).to_string()).send().await;
            assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"status":"erased"}"#));
        }
        let metrics = gateway.get("/metrics").bearer(&gateway.admin).send().await.text();
        assert!(metrics.contains("carport_webhook_deliveries_total{result=\"erased\"} 2"), "{metrics}");
        assert_eq!(newest(&gateway).await, 0);
    }
    // Another car is another matter, and so is this one when it comes back.
    gateway.deliver(&state("other", &cars[1])).await;
    gateway.connect("ada", ADA).await;
    gateway.deliver(&state("late", &cars[0])).await;
    assert_eq!(newest(&gateway).await, 2);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_counts_once() {
    let mut gateway = TestGateway::new(16).await;
    let (mut event, mut ids) = (state("e-1", "v-1"), Vec::new());
    assert_eq!(gateway.deliver(&event).await, 1);
    // Retries have the same event id and another delivery id.
    for attempt in 0..3 {
        pass(Duration::from_secs(25 << attempt)).await;
        event["meta"] = json!({ "deliveryId": format!("d-{attempt}") });
        accepted(&gateway.delivery(event.to_string()).send().await, "duplicate", 1);
        ids.push(event.clone());
    }
    let entry = gateway.told("/api/v1/webhooks/1").await;
    assert_eq!(entry["payload"], state("e-1", "v-1"), "the first one is kept");
    // Many at once: one is recorded.
    let (one, two) = (state("e-2", "v-1").to_string(), state("e-2", "v-2").to_string());
    let all = (0..40).map(|place| gateway.delivery(if place % 2 == 0 { one.clone() } else { two.clone() }).send());
    let answers = futures_util::future::join_all(all).await;
    assert_eq!(answers.iter().filter(|answer| answer.json()["status"] == "accepted").count(), 1);
    assert!(answers.iter().all(|answer| answer.json()["seq"] == 2));
    // Also after a restart, and days later.
    gateway.reopen().await;
    pass(Duration::from_secs(6 * 86_400)).await;
    accepted(&gateway.delivery(ids.remove(0).to_string()).send().await, "duplicate", 1);
    gateway.crash().await;
    accepted(&gateway.delivery(two).send().await, "duplicate", 2);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn every_fixture_with_its_real_signature() {
    let keys = [("smartcar.application_management_token", FIXTURES_TOKEN)];
    let gateway = TestGateway::with(17, &keys, Settings::default()).await;
    gateway.keep_secret(FIXTURES_TOKEN);
    let read = |name: &str| std::fs::read(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let list: Value = serde_json::from_slice(&read("signatures.json")).unwrap();
    let (mut recorded, mut challenges) = (0, 0);
    for (name, signature) in list["signatures"].as_object().unwrap() {
        let answer =
            gateway.ask("POST", WEBHOOK).header("sc-signature", signature.as_str().unwrap()).body(read(name)).send().await;
        recorded += 1;
        if let Some(known) = list["challengeAnswers"].get(name) {
            challenges += 1;
            assert_eq!((answer.status, answer.json()), (200, known["response"].clone()), "{name}");
            let unsigned = gateway.ask("POST", WEBHOOK).body(read(name)).send().await;
            assert_eq!((unsigned.status, unsigned.json()), (200, known["response"].clone()), "{name}");
        } else {
            accepted(&answer, "accepted", recorded);
            is_problem(&gateway.ask("POST", WEBHOOK).body(read(name)).send().await, 401, "bad_signature");
        }
        let result = gateway.told(&format!("/api/v1/webhooks/{recorded}")).await["result"].clone();
        let expected = match name.as_str() {
            name if name.contains("test-mode") => "test",
            name if name.contains("verify") => "accepted",
            _ => "unknown_vehicle",
        };
        assert_eq!(result, expected, "{name}");
    }
    assert_eq!((recorded, challenges), (13, 3));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_too_long_or_too_slow() {
    let gateway = TestGateway::new(18).await;
    let of_length = |length: usize| format!("{}{{}}", " ".repeat(length - 2));
    accepted(&gateway.delivery(of_length(64 * 1024)).send().await, "accepted", 1);
    for length in [64 * 1024 + 1, 65 * 1024] {
        let answer = gateway.delivery(of_length(length)).send().await;
        is_problem(&answer, 413, "too_large");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    // Announced only: nothing of it is waited for.
    let never = || StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let began = gateway.now();
    let announced = gateway.ask("POST", WEBHOOK).header("content-length", "1099511627776").send_body(never()).await;
    is_problem(&announced, 413, "too_large");
    assert_eq!(gateway.now(), began);
    // Without end: cut at the cap.
    let chunk = || Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b' '; 4096])));
    let endless = StreamBody::new(stream::repeat_with(chunk));
    is_problem(&gateway.ask("POST", WEBHOOK).send_body(endless).await, 413, "too_large");
    // Silent, or a byte a second: 10 seconds in all.
    let drip = stream::unfold((), |()| async {
        pass(Duration::from_secs(1)).await;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b" "))), ()))
    });
    let began = gateway.now();
    is_problem(&gateway.ask("POST", WEBHOOK).send_body(never()).await, 408, "too_slow");
    is_problem(&gateway.ask("POST", WEBHOOK).send_body(StreamBody::new(Box::pin(drip))).await, 408, "too_slow");
    assert_eq!(gateway.now().since(began), Duration::from_secs(20));
    let broken = StreamBody::new(stream::iter([Err::<Frame<Bytes>, _>("the connection broke")]));
    is_problem(&gateway.ask("POST", WEBHOOK).send_body(broken).await, 400, "bad_request");
    assert_eq!(newest(&gateway).await, 1);
    let refused = gateway.told("/api/v1/webhooks/refused").await;
    let codes: Vec<&str> = refused["items"].as_array().unwrap().iter().map(|item| item["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["bad_request", "too_slow", "too_slow", "too_large", "too_large", "too_large", "too_large"]);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_management_token_nothing_is_taken() {
    let keys = [("smartcar.application_management_token", "")];
    let gateway = TestGateway::with(19, &keys, Settings::default()).await;
    let body = state("e-1", "v-1").to_string();
    for signature in [sign_with("", body.as_bytes()), sign_with(&gateway.management_token(), body.as_bytes())] {
        let answer = gateway.ask("POST", WEBHOOK).header("sc-signature", &signature).body(body.clone()).send().await;
        is_problem(&answer, 503, "not_configured");
    }
    is_problem(&gateway.ask("POST", WEBHOOK).body(verify(&json!("abc"))).send().await, 503, "not_configured");
    let status = gateway.told("/api/v1/status").await;
    let missing: Vec<&str> = status["missing"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert!(missing.contains(&"management_token"), "{missing:?}");
    assert_eq!(newest(&gateway).await, 0);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn other_addresses_and_other_methods() {
    let gateway = TestGateway::new(20).await;
    let body = state("e-1", "v-1").to_string();
    let signature = sign_with(&gateway.management_token(), body.as_bytes());
    for path in ["/", "/webhook", "/api/webhooks", "/api/webhooks/smartcar/x", "/api/webhooks/Smartcar", "/api/v1/webhooks"] {
        let answer = gateway.ask("POST", path).header("sc-signature", &signature).body(body.clone()).send().await;
        is_problem(&answer, 404, "not_found");
    }
    let refused = gateway.told("/api/v1/webhooks/refused").await["items"].as_array().unwrap().clone();
    assert_eq!(refused.len(), 6);
    assert!(refused.iter().all(|refusal| refusal["code"] == "unknown_path"), "{refused:?}");
    // A person who opens the address learns that it is right.
    let page = gateway.get(WEBHOOK).header("accept", "text/html,*/*;q=0.8").send().await;
    assert_eq!((page.status, page.header("allow")), (405, Some("POST")));
    assert!(page.header("content-type").unwrap().starts_with("text/html") && page.text().contains("Smartcar"), "{}", page.text());
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let answer = gateway.ask(method, WEBHOOK).send().await;
        is_problem(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    assert_eq!(newest(&gateway).await, 0);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_is_503_until_it_heals() {
    let gateway = TestGateway::new(21).await;
    assert_eq!(gateway.deliver(&state("e-1", "v-1")).await, 1);
    gateway.disk.break_at(Fault::WritesFrom(1));
    for _ in 0..3 {
        let answer = gateway.delivery(state("e-2", "v-1").to_string()).send().await;
        is_problem(&answer, 503, "busy");
        assert_eq!(answer.header("retry-after"), Some("5"));
        // What is not proven is refused as ever, and a challenge needs no disk.
        is_problem(&gateway.ask("POST", WEBHOOK).body("{}").send().await, 401, "bad_signature");
        assert_eq!(gateway.ask("POST", WEBHOOK).body(verify(&json!("abc"))).send().await.status, 200);
    }
    assert!(gateway.disk.mend() > 0);
    gateway.app().store().tend().await;
    accepted(&gateway.delivery(state("e-1", "v-1").to_string()).send().await, "duplicate", 1);
    assert_eq!(gateway.deliver(&state("e-2", "v-1")).await, 2);
    gateway.finish().await;
}

/// Deliveries wait before the disk is full; what makes room, and what is read, goes on.
#[tokio::test(start_paused = true)]
async fn a_disk_with_little_room_takes_no_deliveries() {
    let gateway = TestGateway::new(24).await;
    gateway.connect("ada", ADA).await;
    assert_eq!(gateway.deliver(&state("e-1", "v-1")).await, 1);
    gateway.disk.leave((16 << 20) - 1);
    // Looked at once a second.
    assert_eq!(gateway.deliver(&state("e-2", "v-1")).await, 2);
    gateway.app().store().tend().await;
    gateway.app().store().tend().await;
    let answer = gateway.delivery(state("e-3", "v-1").to_string()).send().await;
    is_problem(&answer, 503, "busy");
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert!(gateway.told("/api/v1/webhooks/refused").await.to_string().contains("store.min_free"));
    is_problem(&gateway.ask("POST", WEBHOOK).body("{}").send().await, 401, "bad_signature");
    assert_eq!(gateway.ask("POST", WEBHOOK).body(verify(&json!("abc"))).send().await.status, 200);

    let ready = gateway.get("/readyz").send().await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("store.min_free"), "{}", ready.text());
    let status = gateway.told("/api/v1/status").await;
    assert!(status["missing"].to_string().contains("\"disk\""), "{status}");
    let store = &status["store"];
    assert_eq!((&store["low"], &store["free_bytes"], &store["findings"]), (&json!(true), &json!((16 << 20) - 1), &json!([])));
    assert!(store["bytes"].as_u64() > store["journal_bytes"].as_u64() && store["journal_bytes"].as_u64() > Some(0), "{store}");
    let erased = gateway.ask("DELETE", "/api/v1/users/ada?history=erase").bearer(&gateway.admin).send().await;
    assert!([200, 204].contains(&erased.status), "{}", erased.text());

    gateway.disk.leave(16 << 20);
    gateway.app().store().tend().await;
    gateway.app().store().tend().await;
    assert_eq!(gateway.get("/readyz").send().await.status, 200);
    assert_eq!(gateway.deliver(&state("e-3", "v-1")).await, 3);
    let logged = gateway.logged();
    assert_eq!(logged.matches("the disk is nearly full").count(), 1, "{logged}");
    assert_eq!(logged.matches("the disk has room again").count(), 1, "{logged}");
    gateway.finish().await;
}

/// Zero is no limit, and a disk that tells nothing is not taken for a full one.
#[tokio::test(start_paused = true)]
async fn the_limit_of_free_space_can_be_taken_away() {
    let gateway = TestGateway::with(25, &[("store.min_free", "0")], Settings { seed: 25, ..Settings::default() }).await;
    gateway.app().store().tend().await;
    assert_eq!(gateway.deliver(&state("e-1", "v-1")).await, 1);
    gateway.disk.leave(0);
    gateway.app().store().tend().await;
    assert_eq!(gateway.deliver(&state("e-2", "v-1")).await, 2);
    gateway.finish().await;
}

/// The failures of a stranger must not use up Smartcar's share, even from one address.
#[tokio::test(start_paused = true)]
async fn only_failures_are_limited() {
    let gateway = TestGateway::new(23).await;
    let body = state("e-1", "v-1").to_string();
    let forged = |from: &str| gateway.ask("POST", WEBHOOK).header("sc-signature", &"0".repeat(64)).body("{}").from(from, true);
    for _ in 0..60 {
        is_problem(&forged("192.0.2.1").send().await, 401, "bad_signature");
    }
    for turn in 0..5 {
        let answer = forged("192.0.2.1").send().await;
        is_problem(&answer, 429, "slow_down");
        assert_eq!(answer.header("retry-after"), Some("1"));
        let unsigned = gateway.ask("POST", WEBHOOK).body(verify(&json!("{}"))).from("192.0.2.1", true).send().await;
        is_problem(&unsigned, 429, "slow_down");
        let status = if turn == 0 { "accepted" } else { "duplicate" };
        accepted(&gateway.delivery(body.clone()).from("192.0.2.1", true).send().await, status, 1);
    }
    is_problem(&forged("192.0.2.2").send().await, 401, "bad_signature");
    // An IPv6 household is one client.
    for place in 0..60 {
        is_problem(&forged(&format!("2001:db8:1:2::{place:x}")).send().await, 401, "bad_signature");
    }
    is_problem(&forged("2001:db8:1:2:ffff::1").send().await, 429, "slow_down");
    is_problem(&forged("2001:db8:1:3::1").send().await, 401, "bad_signature");
    pass(Duration::from_secs(2)).await;
    is_problem(&forged("192.0.2.1").send().await, 401, "bad_signature");
    gateway.finish().await;
}

/// Each delivery is counted once, by what became of it.
#[tokio::test(start_paused = true)]
async fn the_metrics_count_each_delivery_once() {
    let gateway = TestGateway::new(24).await;
    gateway.deliver(&state("e-1", "v-1")).await;
    gateway.delivery(state("e-1", "v-1").to_string()).send().await;
    gateway.ask("POST", WEBHOOK).body("{}").send().await;
    gateway.ask("POST", WEBHOOK).body(verify(&json!("abc"))).send().await;
    gateway.delivery("[]").send().await;
    gateway.delivery(" ".repeat(65 * 1024)).send().await;
    let metrics = gateway.get("/metrics").bearer(&gateway.admin).send().await.text();
    let count: u64 = metrics
        .lines()
        .filter(|line| line.starts_with("carport_webhook_deliveries_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(count, 6, "{metrics}");
    assert!(metrics.contains("carport_webhook_ack_seconds_count 3\n"), "{metrics}");
    gateway.finish().await;
}

//! Server-sent events: what a stream says, to whom, from where on, and when it ends.

use std::time::Duration;

use carport::web::Body;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::api::with_two_owners;
use crate::gateway::{Ask, TestGateway, events as make, is_problem, pass};
use crate::pages::Person;
use crate::simulator::rig::{ADA, GRACE};

const EVENTS: &str = "/api/v1/events";

/// One event; of a comment only its text.
#[derive(Debug, Default, PartialEq)]
struct Said {
    id: Option<u64>,
    kind: String,
    data: Value,
}

/// A stream that is read one part at a time.
struct Stream {
    body: Body,
    text: String,
    /// Where it began, if it says so.
    from: Option<u64>,
}

impl Stream {
    async fn open(ask: Ask<'_>) -> Stream {
        let answer = ask.open().await;
        assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"]), (200, &"text/event-stream".parse().unwrap()));
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let mut stream = Stream { body: answer.into_body(), text: String::new(), from: None };
        let first = stream.block().await.unwrap();
        let from = first.strip_prefix("retry: 3000").unwrap();
        stream.from = from.strip_prefix("\nid: ").map(|id| id.parse().unwrap());
        stream
    }

    /// The lines up to an empty one; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.clone().split_once("\n\n") {
                rest.clone_into(&mut self.text);
                return Some(block.to_owned());
            }
            let frame = self.body.frame().await?.unwrap();
            self.text.push_str(str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }

    /// The next event; comments are passed over.
    async fn next(&mut self) -> Option<Said> {
        loop {
            let block = self.block().await?;
            let mut said = Said::default();
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("id", id)) => said.id = Some(id.parse().unwrap()),
                    Some(("event", kind)) => kind.clone_into(&mut said.kind),
                    Some(("data", data)) => said.data = serde_json::from_str(data).unwrap(),
                    _ => assert_eq!(line, ":"),
                }
            }
            if !said.kind.is_empty() {
                return Some(said);
            }
        }
    }
}

fn about(car: &str, event: &str) -> Value {
    make::state(event, car, &[make::signal("odometer-traveleddistance", 11, 1_759_900_000_001)])
}

async fn reader(gateway: &TestGateway, bound: Value) -> String {
    let mut request = json!({ "name": "reader", "scope": "read" });
    request.as_object_mut().unwrap().extend(bound.as_object().unwrap().clone());
    gateway.create_token(&request).await
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_told_once_it_is_vehicle_data() {
    let gateway = with_two_owners(130).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    let token = reader(&gateway, json!({})).await;
    let mut stream = Stream::open(gateway.get(EVENTS).bearer(&token)).await;
    let seq = gateway.deliver(&about(&car, "e-live")).await;
    // It is in the log, but nobody could read its values yet: only comments come.
    for _ in 0..3 {
        assert_eq!(stream.block().await.unwrap(), ":");
    }
    gateway.catch_up().await;
    let said = stream.next().await.unwrap();
    assert_eq!((said.id, said.kind.as_str()), (Some(seq), "delivery"));
    assert_eq!(said.data, gateway.told("/api/v1/webhooks?limit=1").await["items"][0], "as in the list");
    assert_eq!(said.data["vehicle"], car.as_str());
    assert!(said.data.get("payload").is_none());
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_back_gets_what_came_in_since() {
    let gateway = with_two_owners(131).await;
    let newest = gateway.told("/api/v1/status").await["webhooks"]["newest"].as_u64().unwrap();
    let token = reader(&gateway, json!({})).await;
    let from = |id: &str| gateway.get(EVENTS).bearer(&token).header("last-event-id", id);
    let mut stream = Stream::open(from("1")).await;
    for seq in 2..=newest {
        assert_eq!(stream.next().await.unwrap().id, Some(seq));
    }
    // More than one part, in order and each once.
    let car = gateway.vehicles_of(ADA).remove(0);
    for number in 0..100 {
        gateway.deliver(&about(&car, &format!("e-{number}"))).await;
    }
    gateway.catch_up().await;
    for seq in newest + 1..=newest + 100 {
        assert_eq!(stream.next().await.unwrap().id, Some(seq));
    }
    // Of another store: what it says does not fit, so the picture has to be made anew.
    let mut stream = Stream::open(from("99999")).await;
    assert_eq!(stream.next().await.unwrap().kind, "missed");
    let seq = gateway.deliver(&about(&car, "e-after")).await;
    gateway.catch_up().await;
    assert_eq!(stream.next().await.unwrap().id, Some(seq));
    for id in ["", "x", "-1", "1.5", "99999999999999999999"] {
        is_problem(&from(id).send().await, 400, "bad_request");
    }
    gateway.finish().await;
}

/// A browser that opens a page, and only then its stream, or loses that before the first event, misses nothing.
#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_from_the_page_that_opened_it() {
    let gateway = with_two_owners(139).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    gateway.deliver(&about(&car, "e-before")).await;
    gateway.catch_up().await;
    let person = Person::of(&gateway).await;
    let page = person.look(&format!("/vehicles/{car}")).await;
    let (_, seen) = page.split_once("data-seen=\"").unwrap();
    let seen = seen.split_once('"').unwrap().0;
    let seq = gateway.deliver(&about(&car, "e-meanwhile")).await;
    gateway.catch_up().await;
    let after = |id: &str| gateway.get(&format!("{EVENTS}?after={id}")).bearer(&gateway.admin);
    let mut stream = Stream::open(after(seen)).await;
    assert_eq!(stream.from, seen.parse().ok());
    assert_eq!(stream.next().await.unwrap().id, Some(seq), "what the page does not show");
    // Back by the same address, from a newer place.
    let again = after(seen).header("last-event-id", &seq.to_string());
    assert_eq!(Stream::open(again).await.from, Some(seq));
    // One that begins now says where that is.
    assert_eq!(Stream::open(gateway.get(EVENTS).bearer(&gateway.admin)).await.from, Some(seq));
    for id in ["x", "-1", "1.5", "99999999999999999999"] {
        is_problem(&after(id).send().await, 400, "bad_request");
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_ring_has_dropped_is_said_to_be_missed() {
    let gateway = TestGateway::with(132, &[("webhooks.keep_events", "20")], carport::simulator::Settings::default()).await;
    for number in 0..60 {
        gateway.deliver(&make::state(&format!("e-{number}"), "v-1", &[])).await;
        gateway.catch_up().await;
    }
    let mut stream = Stream::open(gateway.get(EVENTS).bearer(&gateway.admin).header("last-event-id", "3")).await;
    assert_eq!(stream.next().await.unwrap().kind, "missed");
    let first = stream.next().await.unwrap().id.unwrap();
    assert!((4..=41).contains(&first), "{first}");
    for seq in first + 1..=60 {
        assert_eq!(stream.next().await.unwrap().id, Some(seq));
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_bound_token_hears_of_its_own_cars_only() {
    let gateway = with_two_owners(133).await;
    let (ada, grace) = (gateway.vehicles_of(ADA).remove(0), gateway.vehicles_of(GRACE).remove(0));
    for bound in [json!({ "user": "ada" }), json!({ "vehicle": ada })] {
        let token = reader(&gateway, bound.clone()).await;
        let mut stream = Stream::open(gateway.get(EVENTS).bearer(&token)).await;
        assert_eq!(stream.from, None, "how much there is of others");
        let mark = bound.to_string();
        gateway.deliver(&about(&grace, &format!("hers {mark}"))).await;
        gateway.deliver(&make::state(&format!("nobodys {mark}"), "v-unknown", &[])).await;
        let own = gateway.deliver(&about(&ada, &format!("own {mark}"))).await;
        gateway.catch_up().await;
        let said = stream.next().await.unwrap();
        assert_eq!((said.id, said.data["vehicle"].as_str()), (Some(own), Some(ada.as_str())), "{bound}");
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_ticket_opens_one_stream_for_half_a_minute() {
    let gateway = with_two_owners(134).await;
    let ada = gateway.vehicles_of(ADA).remove(0);
    let token = reader(&gateway, json!({ "vehicle": ada })).await;
    let ticket = async || {
        let answer = gateway.post("/api/v1/events/ticket", &json!({})).bearer(&token).send().await;
        assert_eq!((answer.status, answer.json()["expires_in"].as_u64()), (201, Some(30)));
        format!("{EVENTS}?ticket={}", answer.json()["ticket"].as_str().unwrap())
    };
    let path = ticket().await;
    let mut stream = Stream::open(gateway.get(&path).without("authorization")).await;
    is_problem(&gateway.get(&path).without("authorization").send().await, 401, "unauthorized");
    // It is as bound as the token that it was got by.
    gateway.deliver(&about(&gateway.vehicles_of(GRACE)[0], "hers")).await;
    let own = gateway.deliver(&about(&ada, "own")).await;
    gateway.catch_up().await;
    assert_eq!(stream.next().await.unwrap().id, Some(own));

    let late = ticket().await;
    pass(Duration::from_secs(31)).await;
    is_problem(&gateway.get(&late).without("authorization").send().await, 401, "unauthorized");
    // A good token beside it does not help: one of the two is wrong.
    is_problem(&gateway.get(&format!("{EVENTS}?ticket=x")).bearer(&token).send().await, 401, "unauthorized");
    is_problem(
        &gateway.get(&late.replace(EVENTS, "/api/v1/vehicles")).without("authorization").send().await,
        401,
        "unauthorized",
    );
    is_problem(&gateway.post("/api/v1/events/ticket", &json!({})).without("authorization").send().await, 401, "unauthorized");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_the_right_to_it_and_after_a_while() {
    let gateway = with_two_owners(135).await;
    let token = reader(&gateway, json!({})).await;
    let mut stream = Stream::open(gateway.get(EVENTS).bearer(&token)).await;
    let tokens = gateway.told("/api/v1/tokens").await;
    let id = tokens["items"].as_array().unwrap().iter().find(|token| token["name"] == "reader").unwrap()["id"].clone();
    let path = format!("/api/v1/tokens/{}", id.as_str().unwrap());
    assert_eq!(gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await.status, 204);
    // Revoked, it hears nothing more, not even of what was there already.
    gateway.deliver(&about(&gateway.vehicles_of(ADA)[0], "after")).await;
    gateway.catch_up().await;
    assert_eq!(stream.next().await, None);

    let began = tokio::time::Instant::now();
    let mut stream = Stream::open(gateway.get(EVENTS).bearer(&gateway.admin)).await;
    assert_eq!(stream.next().await, None);
    assert_eq!(began.elapsed(), Duration::from_secs(14 * 60));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn streams_are_counted_and_given_back() {
    let gateway = TestGateway::new(136).await;
    let open = |address: &str| gateway.get(EVENTS).bearer(&gateway.admin).from(address, true);
    let mut streams = Vec::new();
    for number in 0..8 {
        streams.push(Stream::open(open(&format!("2001:db8::{number}"))).await);
    }
    let refused = open("2001:db8::99").send().await;
    is_problem(&refused, 429, "too_many");
    assert_eq!(refused.header("retry-after"), Some("30"));
    streams.pop();
    streams.push(Stream::open(open("2001:db8::99")).await);
    // Others have theirs, until there is no room for any.
    for number in 8..64 {
        streams.push(Stream::open(open(&format!("203.0.113.{number}"))).await);
    }
    is_problem(&open("203.0.113.200").send().await, 429, "too_many");
    streams.clear();
    drop(Stream::open(open("203.0.113.200")).await);
    gateway.finish().await;
}

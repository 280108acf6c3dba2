//! What people are told: lights, words and links on the pages and in the API change when something breaks, and
//! change back; each fault is one notice, and a restart repeats none.

use carport::simulator::{Fault as Trouble, FaultKind, Faults, Settings};
use serde_json::{Value, json};

use crate::gateway::{DAY, HOUR, TestGateway, pass};
use crate::simulator::rig::{ADA, GRACE};

/// Leaves credentials of v3 out.
const V2_ONLY: [(&str, &str); 2] = [("smartcar.v3.client_id", ""), ("smartcar.v3.client_secret", "")];

async fn with_ada(seed: u64) -> (TestGateway, String) {
    let mut gateway = TestGateway::with(seed, &V2_ONLY, Settings { seed, ..Settings::default() }).await;
    gateway.start();
    let id = gateway.connect("ada", ADA).await;
    (gateway, id)
}

async fn notices(gateway: &TestGateway) -> Vec<Value> {
    gateway.told("/api/v1/status").await["notices"].as_array().unwrap().clone()
}

async fn codes(gateway: &TestGateway) -> Vec<String> {
    notices(gateway).await.iter().map(|notice| notice["code"].as_str().unwrap().to_owned()).collect()
}

/// How often a notice was written to the log.
fn given(gateway: &TestGateway, code: &str) -> usize {
    let logged = gateway.logged();
    logged.lines().filter(|line| line.contains("WARN") && line.contains(&format!("notice=\"{code}\""))).count()
}

/// A page as text.
async fn page(gateway: &TestGateway, path: &str) -> String {
    let answer = gateway.get(path).bearer(&gateway.admin).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

struct Sight {
    fault: FaultKind,
    status: &'static str,
    color: &'static str,
    words: &'static str,
    notice: &'static str,
    /// On the page of connections.
    mends: &'static str,
}

const SIGHTS: [Sight; 4] = [
    Sight {
        fault: FaultKind::Refuse,
        status: "active",
        color: "yellow",
        words: "Smartcar cannot be reached",
        notice: "renewal_failing",
        mends: "Carport tries again by itself",
    },
    Sight {
        fault: FaultKind::Throttle(Some(30)),
        status: "active",
        color: "yellow",
        words: "Smartcar asks us to slow down",
        notice: "renewal_failing",
        mends: "Carport tries again by itself",
    },
    Sight {
        fault: FaultKind::InvalidClient,
        status: "active",
        color: "red",
        words: "Smartcar refuses our credentials",
        notice: "credentials_refused",
        mends: "check smartcar.v2.client_id and smartcar.v2.client_secret",
    },
    Sight {
        fault: FaultKind::InvalidGrant,
        status: "needs_reconnect",
        color: "red",
        words: "Smartcar no longer accepts what the owner agreed to",
        notice: "needs_reconnect",
        mends: "Press Reconnect",
    },
];

#[tokio::test(start_paused = true)]
async fn what_only_people_can_mend_is_told_at_once() {
    for (number, (fault, code)) in
        [(FaultKind::InvalidGrant, "needs_reconnect"), (FaultKind::InvalidClient, "credentials_refused")].into_iter().enumerate()
    {
        let (gateway, id) = with_ada(330 + number as u64).await;
        pass(HOUR / 60).await;
        gateway.simulator.set_faults(Faults::new([Trouble::always(fault)]));
        gateway.post(&format!("/api/v1/connections/{id}/refresh"), &json!({})).bearer(&gateway.admin).send().await;
        pass(HOUR / 3600).await;
        assert_eq!(codes(&gateway).await, [code]);
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn lights_and_words_change_and_change_back() {
    for (number, sight) in SIGHTS.into_iter().enumerate() {
        let (gateway, id) = with_ada(320 + number as u64).await;
        let car = gateway.vehicles_of(ADA).remove(0);
        let look = async || {
            let connection = gateway.told(&format!("/api/v1/connections/{id}")).await;
            let light = gateway.told(&format!("/api/v1/vehicles/{car}")).await["lights"]["authority"].clone();
            (connection, light)
        };
        pass(HOUR).await;
        let (connection, light) = look().await;
        assert_eq!((&connection["status"], &connection["last_error"]), (&json!("active"), &Value::Null));
        assert_eq!(light["color"], "green");
        assert!(notices(&gateway).await.is_empty());

        gateway.simulator.set_faults(Faults::new([Trouble::always(sight.fault)]));
        pass(HOUR + DAY / 24).await;
        let (connection, light) = look().await;
        assert_eq!(connection["status"], sight.status, "{connection}");
        assert_eq!(light["color"], sight.color, "{light}");
        let said = connection["last_error"].as_str().unwrap();
        assert!(said.starts_with(sight.words), "{said}");
        let is_dead = sight.status == "needs_reconnect";
        assert_eq!(connection["reason"].as_str().is_some_and(|reason| reason.starts_with(sight.words)), is_dead);
        assert_eq!(connection["reconnect_url"].is_string(), is_dead);
        assert_eq!(codes(&gateway).await, [sight.notice]);
        let metrics = gateway.get("/metrics").bearer(&gateway.admin).send().await.text();
        assert!(metrics.contains(&format!("carport_connections{{status=\"{}\"}} 1\n", sight.status)), "{metrics}");
        assert!(metrics.contains("carport_notices 1\n"), "{metrics}");
        let (cars, connections) = (page(&gateway, "/").await, page(&gateway, "/connections").await);
        assert!(cars.contains(&format!("dot {}\"", sight.color)) && cars.contains(sight.words), "{cars}");
        assert!(connections.contains(sight.words) && connections.contains(sight.mends), "{connections}");
        assert_eq!(given(&gateway, sight.notice), 1, "one line for one fault");

        gateway.simulator.set_faults(Faults::default());
        if is_dead {
            let invite = gateway.invite(&json!({ "user": "ada", "vehicle_id": car })).await;
            let trip = gateway.begin(&invite).await;
            let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
            assert_eq!(gateway.back(&trip, &location).await.status, 303);
        }
        pass(HOUR / 2).await;
        let (connection, light) = look().await;
        assert_eq!((&connection["id"], &connection["status"]), (&json!(id), &json!("active")));
        assert_eq!((&connection["last_error"], &connection["reason"]), (&Value::Null, &Value::Null));
        assert_eq!(light["color"], "green");
        assert!(notices(&gateway).await.is_empty());
        let (cars, connections) = (page(&gateway, "/").await, page(&gateway, "/connections").await);
        assert!(!cars.contains(sight.words) && !connections.contains(sight.words), "{connections}");
        assert_eq!(gateway.logged().matches("it is over").count(), 1);
        gateway.finish().await;
    }
}

/// By v3 the application token is everybody's, so what it lacks shows at every car of v3 and at no other.
#[tokio::test(start_paused = true)]
async fn a_fault_of_one_generation_is_told_of_that_one() {
    let mut gateway = TestGateway::new(330).await;
    gateway.start();
    gateway.connect("ada", ADA).await;
    let grace = gateway.connect("grace", GRACE).await;
    gateway.configure("smartcar.v3.client_secret", "a-wrong-client-secret");
    gateway.keep_secret("a-wrong-client-secret");
    gateway.reopen().await;
    gateway.start();
    pass(2 * HOUR).await;
    let told = notices(&gateway).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["code"], &told[0]["generation"]), (&json!("credentials_refused"), &json!("v3")));
    assert!(told[0]["what"].as_str().unwrap().contains("smartcar.v3.client_secret"), "{}", told[0]);
    let color = async |account: &str| {
        let car = gateway.vehicles_of(account).remove(0);
        gateway.told(&format!("/api/v1/vehicles/{car}")).await["lights"]["authority"]["color"].clone()
    };
    assert_eq!((color(GRACE).await, color(ADA).await), (json!("red"), json!("green")));
    let shown = gateway.told(&format!("/api/v1/connections/{grace}")).await;
    assert_eq!((&shown["status"], &shown["refresh_expires_at"]), (&json!("active"), &Value::Null));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_access_is_told_at_each_threshold_once() {
    let (mut gateway, id) = with_ada(331).await;
    gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::Fail)]));
    let mut seen = Vec::new();
    // Half an hour a day: what has not been renewed since counts, not for how long it was tried.
    gateway.stop().await;
    pass(44 * DAY).await;
    for day in 44..62 {
        gateway.open().await.unwrap();
        gateway.start();
        pass(HOUR / 4).await;
        // Neither a restart nor a crash repeats one.
        if day % 2 == 0 {
            gateway.crash().await;
            gateway.start();
            pass(HOUR / 4).await;
        }
        let told = notices(&gateway).await;
        if let Some(ending) = told.iter().find(|notice| notice["code"] == "access_ending") {
            assert_eq!(ending["connection"], json!(id));
            assert!(ending["ends_at"].is_string() && ending["what"].as_str().unwrap().contains("access to the cars"), "{ending}");
            seen.push(ending["days"].as_u64().unwrap());
        } else {
            assert!(seen.is_empty() && day < 47, "day {day}");
        }
        gateway.stop().await;
        pass(23 * HOUR).await;
    }
    gateway.open().await.unwrap();
    seen.dedup();
    assert_eq!(seen, [14, 7, 3, 1]);
    assert_eq!(given(&gateway, "access_ending"), 4);
    assert_eq!(given(&gateway, "renewal_failing"), 1, "and the fault itself once");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn access_that_is_saved_in_time_is_told_too() {
    let (mut gateway, _) = with_ada(332).await;
    gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::Fail)]));
    gateway.stop().await;
    pass(50 * DAY).await;
    gateway.open().await.unwrap();
    gateway.start();
    pass(HOUR).await;
    assert_eq!(codes(&gateway).await, ["renewal_failing", "access_ending"]);
    gateway.simulator.set_faults(Faults::default());
    pass(HOUR).await;
    assert!(notices(&gateway).await.is_empty());
    assert_eq!(gateway.logged().matches("it is over").count(), 2);
    pass(DAY).await;
    assert!(notices(&gateway).await.is_empty());
    assert_eq!((given(&gateway, "access_ending"), given(&gateway, "renewal_failing")), (1, 1));
    gateway.finish().await;
}

/// What was forgotten, or ended, is not told of any more.
#[tokio::test(start_paused = true)]
async fn a_connection_that_has_gone_takes_its_notices_along() {
    let (gateway, id) = with_ada(333).await;
    gateway.simulator.revoke(ADA);
    pass(3 * HOUR).await;
    assert_eq!(codes(&gateway).await, ["needs_reconnect"]);
    let path = format!("/api/v1/connections/{id}?local=true");
    assert_eq!(gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await.status, 200);
    pass(HOUR / 6).await;
    assert!(notices(&gateway).await.is_empty());
    gateway.finish().await;
}

/// A day of lost answers is no fault that anybody need know of.
#[tokio::test(start_paused = true)]
async fn what_passes_quickly_is_no_notice() {
    let (gateway, _) = with_ada(334).await;
    for _ in 0..24 {
        let lost = Trouble { times: Some(2), ..Trouble::always(FaultKind::LoseAnswer) };
        gateway.simulator.set_faults(Faults::new([lost]));
        pass(2 * HOUR).await;
    }
    assert_eq!(given(&gateway, "renewal_failing"), 0);
    assert!(notices(&gateway).await.is_empty());
    gateway.finish().await;
}

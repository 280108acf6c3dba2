//! Scheduled reads: for cars that webhooks do not tell of, spread over the month, and never through a limit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carport::model::Timestamp;
use carport::simulator::{Fault, FaultKind, Faults, Settings};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::gateway::events::{signal, state};
use crate::gateway::{DAY, HOUR, TestGateway, pass};
use crate::simulator::rig::{ADA, GRACE};

/// What does not tell whether a car charges, which then is read more often.
const QUIET: (&str, &str) = ("smartcar.scope", "read_vehicle_info,read_vin,read_odometer,read_location");

const MINUTE: Duration = Duration::from_secs(60);

async fn polled(gateway: &TestGateway, car: &str) -> u64 {
    of(gateway, car).await["reasons"]["poll"].as_u64().unwrap_or(0)
}

async fn of(gateway: &TestGateway, car: &str) -> Value {
    let budget = gateway.told("/api/v1/budget").await;
    budget["items"].as_array().unwrap().iter().find(|vehicle| vehicle["vehicle"] == car).unwrap().clone()
}

/// All calls about a car that count.
fn made(sent: &[String], car: &str) -> u32 {
    let counts = |line: &&String| {
        let Some((_, rest)) = line.split_once(car) else { return false };
        ["/batch", "/signals", "/security", "/charge", "/commands/", "/navigation"].iter().any(|part| rest.starts_with(part))
    };
    sent.iter().filter(counts).count().try_into().unwrap()
}

#[tokio::test(start_paused = true)]
async fn it_is_off_unless_wanted_and_leaves_cars_to_their_webhooks() {
    let mut gateway = TestGateway::new(550).await;
    gateway.start();
    gateway.connect("ada", ADA).await;
    pass(DAY).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    assert_eq!(polled(&gateway, &car).await, 0);
    gateway.finish().await;

    let mut gateway = TestGateway::with(551, &[("poll.every", "6h"), QUIET], Settings::default()).await;
    gateway.start();
    gateway.connect("ada", ADA).await;
    let [told, untold] = <[String; 2]>::try_from(gateway.vehicles_of(ADA)).unwrap();
    for number in 0..2 * 24 {
        let event = state(&format!("{number}"), &told, &[signal("odometer-traveleddistance", number, gateway.now().as_millis())]);
        gateway.deliver(&event).await;
        pass(HOUR).await;
    }
    assert_eq!(polled(&gateway, &told).await, 0);
    let before = polled(&gateway, &untold).await;
    assert!((5..=8).contains(&before), "{before}");
    // Its webhooks fall silent: a day later it is read as well, until they speak again.
    pass(2 * DAY).await;
    let polls = polled(&gateway, &told).await;
    assert!((2..=5).contains(&polls), "{polls}");
    gateway.deliver(&state("again", &told, &[signal("odometer-traveleddistance", 500, gateway.now().as_millis())])).await;
    pass(23 * HOUR).await;
    assert_eq!(polled(&gateway, &told).await, polls);
    let show = gateway.told(&format!("/api/v1/vehicles/{untold}")).await;
    assert_eq!(show["signals"]["odometer-traveleddistance"]["source"], "read", "{show}");
    let light = &show["lights"]["data_flow"];
    assert_eq!((&light["color"], light["text"].as_str().unwrap().contains("no delivery")), (&json!("green"), true), "{light}");

    // Nobody asks about cars whose owner has to connect again, until one of them tells something by itself.
    gateway.simulator.set_trouble(&untold, Some("CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED")).unwrap();
    pass(10 * HOUR).await;
    let polls = polled(&gateway, &untold).await;
    pass(2 * DAY).await;
    assert_eq!(polled(&gateway, &untold).await, polls);
    gateway.simulator.set_trouble(&untold, None).unwrap();
    gateway.deliver(&state("back", &untold, &[signal("odometer-traveleddistance", 600, gateway.now().as_millis())])).await;
    pass(2 * DAY).await;
    assert!((2..=5).contains(&(polled(&gateway, &untold).await - polls)));

    // Nor about a car that is gone.
    let gone = gateway.ask("DELETE", &format!("/api/v1/vehicles/{untold}")).bearer(&gateway.admin).send().await;
    assert!(gone.status < 300, "{}", gone.text());
    let polls = polled(&gateway, &untold).await;
    pass(DAY).await;
    assert_eq!(polled(&gateway, &untold).await, polls);
    gateway.finish().await;
}

/// SplitMix64, to choose bad days by the seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most
    }
}

/// Tokens and reads; the other loops would make the month long.
fn read_on_schedule(gateway: &mut TestGateway) -> tokio::task::JoinHandle<()> {
    gateway.start_refreshing();
    let vehicles = gateway.services().rooms.vehicles.clone();
    tokio::spawn(async move { vehicles.run(CancellationToken::new()).await })
}

/// Connections whose owner has to connect again.
async fn ended(gateway: &TestGateway) -> Vec<Value> {
    let connections = gateway.told("/api/v1/connections").await;
    connections["items"].as_array().unwrap().iter().filter(|connection| connection["status"] != "active").cloned().collect()
}

const LIMIT: u32 = 500;
const RESERVE: u32 = 50;

/// A month of cars without webhooks, with commands at any time, bad days and power cuts.
#[tokio::test(start_paused = true)]
async fn a_month_of_reads_and_commands_stays_within_its_budget() {
    let seed = 552;
    let scope = "read_vehicle_info,read_odometer,read_battery,read_charge,read_security,control_charge,control_security";
    let (limit, reserve) = (LIMIT.to_string(), RESERVE.to_string());
    let keys = [
        ("smartcar.scope", scope),
        ("poll.every", "1h"),
        ("budget.calls_per_vehicle_month", &*limit),
        ("budget.reserve", &*reserve),
    ];
    let mut settings = Settings { seed, ..Settings::default() };
    // Else v3 would have the car's state of once a day, and nothing to hurry for.
    settings.habits.daily_store = false;
    let mut gateway = TestGateway::with(seed, &keys, settings).await;
    gateway.connect("ada", ADA).await;
    gateway.connect("grace", GRACE).await;
    let cars = [gateway.vehicles_of(ADA), gateway.vehicles_of(GRACE)].concat();
    let until = gateway.told("/api/v1/budget").await["until"].as_str().unwrap().to_owned();
    let until = Timestamp::parse(&until).unwrap();
    pass(until.since(gateway.now()) + MINUTE).await;
    let mut reading = read_on_schedule(&mut gateway);

    let mut chance = Chance(seed);
    let begin = gateway.net.sent().len();
    let reads: Arc<Mutex<Vec<tokio::time::Instant>>> = Arc::default();
    let seen = reads.clone();
    let watched = format!("/{}/signals", cars[2]);
    gateway.net.change(move |request, _| {
        if request.uri().path().ends_with(&watched) {
            seen.lock().unwrap().push(tokio::time::Instant::now());
        }
        None
    });
    let mut by_week: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    // Not to the last day: what is counted would begin anew.
    for day in 0..29_u32 {
        let fault = match chance.below(8) {
            0 => Some(FaultKind::Throttle(Some(90))),
            1 => Some(FaultKind::Throttle(None)),
            2 => Some(FaultKind::LoseAnswer),
            3 => Some(FaultKind::Delay(Duration::from_secs(200))),
            4 => Some(FaultKind::Fail),
            5 => Some(FaultKind::Garble),
            _ => None,
        };
        let faults = fault.map(|kind| Faults::new((0..chance.below(6)).map(|_| Fault::once(kind))));
        gateway.simulator.set_faults(faults.unwrap_or_default());
        for _ in 0..4 {
            pass(Duration::from_secs(6 * 3600 - 120 + chance.below(240))).await;
            if chance.below(2) == 0 {
                let car = &cars[usize::try_from(chance.below(3)).unwrap()];
                let what = ["security/lock", "security/unlock", "charge/start"][usize::try_from(chance.below(3)).unwrap()];
                let path = format!("/api/v1/vehicles/{car}/commands/{what}");
                let answer = gateway.post(&path, &json!({})).bearer(&gateway.admin).send().await;
                // What is not sent says why: Smartcar has asked to be left alone for a while.
                assert!([200, 202, 409, 429].contains(&answer.status), "{}", answer.text());
                assert!(!answer.text().contains("are spent"), "{}", answer.text());
            }
        }
        // No bad day costs an owner's tokens.
        assert_eq!(ended(&gateway).await, Vec::<Value>::new(), "day {day}, {fault:?}");
        gateway.simulator.set_faults(Faults::default());
        if day % 11 == 10 {
            reading.abort();
            gateway.lose_power(HOUR).await;
            reading = read_on_schedule(&mut gateway);
        }
        for car in &cars {
            let told = of(&gateway, car).await;
            let used = u32::try_from(told["used"].as_u64().unwrap()).unwrap();
            assert!(made(&gateway.net.sent()[begin..], car) <= used && used <= LIMIT, "{told}");
            // Scheduled reads have left the reserve alone.
            assert!(told["remaining"].as_u64().unwrap() >= u64::from(RESERVE), "day {day}: {told}");
            if day % 7 == 6 {
                by_week.entry(day / 7).or_default().push(used);
            }
        }
    }
    for (place, car) in cars.iter().enumerate() {
        let mut before = 0;
        for (week, used) in &by_week {
            let in_week = used[place] - before;
            // Charging leaves each week half of its even share.
            let even = (LIMIT - RESERVE) * 7 / 30;
            assert!((even / 2..=220).contains(&in_week), "car {place}, week {week}: {in_week} of {by_week:?}");
            before = used[place];
        }
        let told = of(&gateway, car).await;
        // Both have taken their part of it.
        assert!(told["reasons"]["poll"].as_u64().unwrap() > 300, "{told}");
        assert!(told["reasons"]["command"].as_u64().is_some(), "{told}");
    }
    // While it charges, Grace's car is read more often.
    let reads = reads.lock().unwrap().clone();
    let mut pauses: Vec<Duration> = reads.windows(2).map(|pair| pair[1] - pair[0]).collect();
    pauses.sort();
    let (short, usual) = (pauses[pauses.len() / 20], pauses[pauses.len() / 2]);
    assert!(short * 2 < usual && short >= Duration::from_secs(600), "{short:?} and {usual:?}");
    reading.abort();
    gateway.net.leave_alone();
    gateway.finish().await;
}

/// Each car says whether it is read by itself, why not, when next and how often.
#[tokio::test(start_paused = true)]
async fn a_car_says_when_it_is_read_next() {
    let polling =
        async |gateway: &TestGateway, car: &str| gateway.told(&format!("/api/v1/vehicles/{car}")).await["polling"].clone();
    let gateway = TestGateway::new(556).await;
    gateway.connect("ada", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    let told = polling(&gateway, &car).await;
    assert_eq!((&told["state"], &told["next_at"], &told["every_seconds"]), (&json!("off"), &Value::Null, &Value::Null));
    assert!(told["text"].as_str().unwrap().contains("poll.every is not set"), "{told}");
    gateway.finish().await;

    let limits = [("budget.calls_per_vehicle_month", "30"), ("budget.reserve", "5"), ("poll.every", "6h"), QUIET];
    let mut gateway = TestGateway::with(557, &limits, Settings::default()).await;
    gateway.start();
    let connection = gateway.connect("ada", ADA).await;
    let [told, untold] = <[String; 2]>::try_from(gateway.vehicles_of(ADA)).unwrap();
    gateway.deliver(&state("1", &told, &[signal("odometer-traveleddistance", 1, gateway.now().as_millis())])).await;
    gateway.catch_up().await;
    pass(HOUR).await;
    let at = |view: &Value| view["next_at"].as_str().and_then(Timestamp::parse).unwrap();
    let view = polling(&gateway, &told).await;
    assert_eq!((&view["state"], &view["every_seconds"]), (&json!("webhooks"), &Value::Null), "{view}");
    assert!(at(&view) > gateway.now().after(22 * HOUR) && at(&view) < gateway.now().after(DAY), "{view}");

    // It is read when it says, and as often.
    let before = polling(&gateway, &untold).await;
    let every = Duration::from_secs(before["every_seconds"].as_u64().unwrap());
    assert!(before["state"] == "reading" && every >= 6 * HOUR, "{before}");
    let reads = polled(&gateway, &untold).await;
    pass(at(&before).since(gateway.now()).saturating_sub(2 * MINUTE)).await;
    assert_eq!(polled(&gateway, &untold).await, reads, "{before}");
    // The time comes between two looks.
    while at(&polling(&gateway, &untold).await) > gateway.now() {
        pass(Duration::from_secs(1)).await;
    }
    let page = async || gateway.get(&format!("/vehicles/{untold}")).bearer(&gateway.admin).send().await.text();
    assert_eq!((polled(&gateway, &untold).await, &polling(&gateway, &untold).await["state"]), (reads, &json!("reading")));
    assert!(page().await.contains(">within a minute</time>"), "{}", page().await);
    // Until it is read it says since when it is due.
    let due_at = polling(&gateway, &untold).await["next_at"].clone();
    let mut looks = 0;
    while polled(&gateway, &untold).await == reads {
        assert_eq!(polling(&gateway, &untold).await["next_at"], due_at, "after {looks} s");
        pass(Duration::from_secs(1)).await;
        looks += 1;
    }
    assert!((2..=60).contains(&looks), "{looks}");
    pass(4 * MINUTE).await;
    assert_eq!(polled(&gateway, &untold).await, reads + 1, "{before}");
    assert!(at(&polling(&gateway, &untold).await) > gateway.now().after(5 * HOUR));
    let page = page().await;
    assert!(page.contains("Carport reads this car by itself about every") && page.contains("Next <time"), "{page}");

    // The rest of the month is somebody else's.
    while gateway.ask("POST", &format!("/api/v1/vehicles/{untold}/refresh")).bearer(&gateway.admin).send().await.status == 200 {}
    let spent = polling(&gateway, &untold).await;
    let budget = gateway.told("/api/v1/budget").await;
    assert_eq!((&spent["state"], &spent["next_at"]), (&json!("budget"), &budget["until"]), "{spent}");
    assert!(spent["text"].as_str().unwrap().contains(" days, on "), "{spent}");

    // Nor is it read while nobody can.
    let refresh = async |what: &str| gateway.ask("POST", &format!("/api/v1/{what}/refresh")).bearer(&gateway.admin).send().await;
    gateway.simulator.turn("v2=ended").unwrap();
    refresh(&format!("vehicles/{told}")).await;
    let hindered = polling(&gateway, &told).await;
    assert_eq!((&hindered["state"], &hindered["next_at"]), (&json!("hindered"), &Value::Null), "{hindered}");
    assert!(hindered["text"].as_str().unwrap().contains("carport migrate"), "{hindered}");
    gateway.simulator.turn("v2=on").unwrap();
    pass(2 * HOUR).await;
    gateway.simulator.set_faults(Faults::new([Fault::always(FaultKind::InvalidClient)]));
    refresh(&format!("connections/{connection}")).await;
    let hindered = polling(&gateway, &told).await;
    assert!(hindered["state"] == "hindered" && hindered["text"].as_str().unwrap().contains("client_secret"), "{hindered}");
    gateway.simulator.set_faults(Faults::default());
    refresh(&format!("connections/{connection}")).await;
    assert_ne!(polling(&gateway, &told).await["state"], "hindered");

    gateway.simulator.set_trouble(&told, Some("CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED")).unwrap();
    gateway.ask("POST", &format!("/api/v1/vehicles/{told}/refresh")).bearer(&gateway.admin).send().await;
    assert_eq!(polling(&gateway, &told).await["state"], "reconnect");
    assert_eq!(gateway.ask("DELETE", &format!("/api/v1/vehicles/{told}")).bearer(&gateway.admin).send().await.status, 204);
    assert_eq!(polling(&gateway, &told).await["state"], "not_connected");
    gateway.finish().await;
}

/// Half of the application's calls is left to others, and Smartcar's refusal takes all of them: a car that waits says so.
#[tokio::test(start_paused = true)]
async fn a_car_that_waits_for_calls_of_the_application_says_so() {
    let keys = [("budget.calls_per_vehicle_month", "unlimited"), ("poll.every", "1h"), QUIET];
    let mut gateway = TestGateway::with(558, &keys, Settings::default()).await;
    gateway.start();
    gateway.connect("ada", ADA).await;
    let [asked, car] = <[String; 2]>::try_from(gateway.vehicles_of(ADA)).unwrap();
    let polling = async || gateway.told(&format!("/api/v1/vehicles/{car}")).await["polling"].clone();
    let at = |view: &Value| view["next_at"].as_str().and_then(Timestamp::parse).unwrap();
    let refresh = async || gateway.ask("POST", &format!("/api/v1/vehicles/{asked}/refresh")).bearer(&gateway.admin).send().await;
    pass(Duration::from_secs(630)).await;
    let before = polling().await;
    assert_eq!((&before["state"], &before["every_seconds"]), (&json!("reading"), &json!(3600)), "{before}");
    pass(at(&before).since(gateway.now()).saturating_sub(MINUTE)).await;
    let reads = polled(&gateway, &car).await;

    gateway.net.change(|request, _| {
        let body = json!({ "type": "RATE_LIMIT", "code": "SMARTCAR_API", "statusCode": 429, "resolution": null }).to_string();
        let answer = http::Response::builder().status(429).body(body.into()).unwrap();
        request.uri().path().ends_with("/batch").then_some(Ok(answer))
    });
    assert_eq!(refresh().await.status, 429);
    gateway.net.leave_alone();
    let refused = refresh().await.text();
    assert!(refused.contains("Smartcar has refused the calls of the whole application (429)"), "{refused}");
    let waits = polling().await;
    // 61 calls, 2 a minute.
    let half = Duration::from_secs(61 * 30);
    assert_eq!((&waits["state"], &waits["every_seconds"]), (&json!("budget"), &json!(3600)), "{waits}");
    assert!(at(&waits).since(gateway.now()).abs_diff(half) < Duration::from_secs(2), "{waits}");
    let text = waits["text"].as_str().unwrap();
    assert!(text.contains("again in 31 minutes") && text.contains("(429)") && text.contains("2 come back each minute"), "{text}");
    let application = gateway.told("/api/v1/budget").await["application"].clone();
    assert!(application["refused_at"].is_string() && application["left"] == 0, "{application}");
    let page = gateway.get("/system").bearer(&gateway.admin).send().await.text();
    assert!(page.contains("0 of the 120 calls are left") && page.contains("it refused all of them (429)"), "{page}");

    pass(half.saturating_sub(MINUTE)).await;
    assert_eq!((polled(&gateway, &car).await, &polling().await["state"]), (reads, &json!("budget")));
    pass(3 * MINUTE).await;
    assert_eq!((polled(&gateway, &car).await, &polling().await["state"]), (reads + 1, &json!("reading")));
    pass(HOUR).await;
    assert_eq!(gateway.told("/api/v1/budget").await["application"]["refused_at"], Value::Null);
    gateway.finish().await;
}

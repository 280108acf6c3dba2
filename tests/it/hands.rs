//! A car changes hands: each owner has what happened in their own time, nobody sees another's, and who goes leaves nothing
//! behind and takes nothing along that is another's.

use std::collections::BTreeSet;
use std::time::Duration;

use carport::model::event::Grammar;
use carport::simulator::{Fault as Trouble, FaultKind, Faults};
use serde_json::{Value, json};

use crate::gateway::{Fault, TestGateway, events, is_problem, pass};
use crate::simulator::rig::{ADA, GRACE};

mod accounts;
mod late;
pub(crate) mod unreadable;

/// Before the epoch of the stories' clock.
const T: i64 = 1_759_900_000_000;
const PLACE: &str = "test-place";

/// Tells where the car is: each number is another place.
async fn tell(gateway: &TestGateway, car: &str, place: i64) {
    let event = events::state(&format!("place-{place}"), car, &[events::signal(PLACE, place, T + place)]);
    gateway.deliver(&event).await;
    pass(Duration::from_secs(1)).await;
}

/// Both cars of an account are Ada's, then Grace's; each tells of the first while she has it.
async fn from_ada_to_grace(seed: u64) -> (TestGateway, String) {
    let gateway = TestGateway::new(seed).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    for (user, place) in [("ada", 1), ("grace", 2)] {
        gateway.connect(user, ADA).await;
        tell(&gateway, &car, place).await;
        gateway.catch_up().await;
    }
    (gateway, car)
}

async fn delete(gateway: &TestGateway, path: &str) -> u16 {
    gateway.ask("DELETE", path).bearer(&gateway.admin).send().await.status
}

/// All that is kept of a car's places, as the operator exports it, by user.
async fn places(gateway: &TestGateway, car: &str) -> Vec<(String, i64)> {
    let path = format!("/api/v1/export?signal={PLACE}&vehicle={car}");
    let answer = gateway.get(&path).bearer(&gateway.admin).send().await;
    if answer.status == 404 {
        return Vec::new();
    }
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["vehicle"], car);
        (line["user"].as_str().unwrap().to_owned(), line["body"]["value"].as_i64().unwrap())
    };
    answer.text().lines().map(line).collect()
}

fn of(pairs: &[(&str, i64)]) -> Vec<(String, i64)> {
    pairs.iter().map(|(user, place)| ((*user).to_owned(), *place)).collect()
}

/// What a list shows of a car: whose it is, whether it was, and where it was last.
async fn shown(gateway: &TestGateway, token: &str, car: &str) -> Vec<(String, bool, Value)> {
    let list = gateway.get("/api/v1/vehicles").bearer(token).send().await.json();
    let items = list["items"].as_array().unwrap().iter().filter(|item| item["id"] == car);
    let row = |item: &Value| {
        let place = item["signals"][PLACE]["body"]["value"].clone();
        (item["user"].as_str().unwrap().to_owned(), item["former"].as_bool().unwrap(), place)
    };
    items.map(row).collect()
}

/// The events about places that the log still has.
async fn logged(gateway: &TestGateway, car: &str) -> BTreeSet<String> {
    let list = gateway.told("/api/v1/webhooks?limit=500").await;
    let items = list["items"].as_array().unwrap().iter().filter(|item| item["vehicle"] == car);
    items.filter_map(|item| item["event_id"].as_str()).map(str::to_owned).collect()
}

/// What ends things at Smartcar.
fn ends(gateway: &TestGateway) -> usize {
    gateway.net.count("DELETE ")
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_what_another_had_and_the_operator_sees_whose_it_was() {
    let (gateway, car) = from_ada_to_grace(710).await;
    let token = async |request: Value| gateway.create_token(&request).await;
    let ada = token(json!({ "name": "ada", "scope": "read", "user": "ada" })).await;
    let grace = token(json!({ "name": "grace", "scope": "read", "user": "grace" })).await;
    let cars = token(json!({ "name": "car", "scope": "read", "vehicle": car })).await;
    let (was, has) = (("ada".to_owned(), true, json!(1)), ("grace".to_owned(), false, json!(2)));
    assert_eq!(shown(&gateway, &ada, &car).await, std::slice::from_ref(&was));
    assert_eq!(shown(&gateway, &grace, &car).await, std::slice::from_ref(&has));
    assert_eq!(shown(&gateway, &cars, &car).await, std::slice::from_ref(&has), "as it is now");
    assert_eq!(shown(&gateway, &gateway.admin, &car).await, [was, has]);
    for path in ["", "/signals", "/history", "/history?format=csv", "/charges", "/trips"] {
        let answer = gateway.get(&format!("/api/v1/vehicles/{car}{path}")).bearer(&ada).send().await;
        is_problem(&answer, 404, "not_found");
    }
    assert_eq!(gateway.get(&format!("/v2.0/vehicles/{car}")).bearer(&ada).send().await.status, 404);
    assert_eq!(places(&gateway, &car).await, of(&[("ada", 1), ("grace", 2)]));
    let table = gateway.get(&format!("/api/v1/vehicles/{car}/history?format=csv&signal={PLACE}")).bearer(&grace).send().await;
    assert_eq!(table.text().lines().count(), 2, "only her own: {}", table.text());
    let sheet = gateway.get(&format!("/api/v1/export?format=csv&signal={PLACE}")).bearer(&gateway.admin).send().await.text();
    let users: Vec<&str> = sheet.lines().map(|line| line.rsplit(',').next().unwrap()).collect();
    assert_eq!(users, ["user", "ada", "grace"]);

    let both = json!(gateway.vehicles_of(ADA));
    let (past, now) = (gateway.told("/api/v1/users/ada").await, gateway.told("/api/v1/users/grace").await);
    assert_eq!((&past["vehicles"], &past["former_vehicles"]), (&json!([]), &both));
    assert_eq!((&now["vehicles"], &now["former_vehicles"]), (&both, &json!([])));
    let calls = gateway.told("/api/v1/budget").await;
    assert_eq!(calls["items"].as_array().unwrap().iter().filter(|item| item["vehicle"] == car).count(), 1);
    let old = gateway.told("/api/v1/vehicles").await["items"][0].clone();
    assert_eq!((&old["connection"], &old["lights"]["data_flow"]["color"]), (&Value::Null, &json!("grey")));
    let page = async |path: &str| gateway.get(path).bearer(&gateway.admin).send().await.text();
    let home = page("/").await;
    assert_eq!(home.matches("former owner</span>").count(), 2, "{home}");
    assert_eq!(home.matches(&format!("<h2><a href=\"/vehicles/{car}\">")).count(), 1, "the page is that of the car now");
    assert!(page("/connections").await.contains("the history of 2 that are"));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_came_in_while_nobody_had_the_car_is_nobodys() {
    let gateway = TestGateway::new(722).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    gateway.connect("ada", ADA).await;
    tell(&gateway, &car, 1).await;
    gateway.catch_up().await;
    let ada = gateway.create_token(&json!({ "name": "ada", "scope": "read", "user": "ada" })).await;
    let connection = gateway.told("/api/v1/vehicles").await["items"][0]["connection"].as_str().unwrap().to_owned();
    assert_eq!(delete(&gateway, &format!("/api/v1/connections/{connection}")).await, 204);
    tell(&gateway, &car, 2).await;
    gateway.catch_up().await;
    let seen = async || {
        let list = gateway.get("/api/v1/webhooks?limit=500").bearer(&ada).send().await.json();
        let ids = list["items"].as_array().unwrap().iter().filter_map(|item| item["event_id"].as_str().map(str::to_owned));
        ids.collect::<BTreeSet<String>>()
    };
    assert_eq!(seen().await, BTreeSet::from(["place-1".to_owned()]), "after she took it away");
    for (user, place) in [("grace", 3), ("ada", 4)] {
        gateway.connect(user, ADA).await;
        tell(&gateway, &car, place).await;
        gateway.catch_up().await;
    }
    let list = gateway.told("/api/v1/webhooks?limit=500").await;
    for seq in list["items"].as_array().unwrap().iter().map(|item| &item["seq"]) {
        let again = gateway.ask("POST", &format!("/api/v1/webhooks/{seq}/replay")).bearer(&gateway.admin).send().await;
        assert_eq!(again.status, 200, "{}", again.text());
    }
    gateway.catch_up().await;
    assert_eq!(places(&gateway, &car).await, of(&[("ada", 1), ("ada", 4), ("grace", 3)]));
    assert_eq!(seen().await, BTreeSet::from(["place-1".to_owned(), "place-4".to_owned()]), "after it came back");
    assert!(logged(&gateway, &car).await.contains("place-2"), "the operator still has it");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_car_that_is_erased_leaves_nothing_of_any_owner() {
    for (seed, how) in [(711, "vehicle"), (712, "connection"), (713, "forget"), (714, "nobody's")] {
        let (gateway, car) = from_ada_to_grace(seed).await;
        assert_eq!(logged(&gateway, &car).await.len(), 2);
        let grace = gateway.told("/api/v1/vehicles").await["items"][2]["connection"].as_str().unwrap().to_owned();
        let whole = format!("/api/v1/vehicles/{car}?history=erase");
        let path = match how {
            "vehicle" => whole.clone(),
            "connection" => format!("/api/v1/connections/{grace}?history=erase"),
            "forget" => format!("/api/v1/connections/{grace}?history=erase&local=true"),
            _ => "/api/v1/users/grace?history=erase".to_owned(),
        };
        let status = delete(&gateway, &path).await;
        assert!([200, 204].contains(&status), "{how}: {status}");
        assert!(accounts::noted(&gateway).await.contains(&json!(car)), "{how}: the audit log does not name it");
        if how != "vehicle" {
            // What Ada had is hers, though nobody has the car any more, until it is erased by its id.
            assert_eq!(places(&gateway, &car).await, of(&[("ada", 1)]));
            assert_eq!(shown(&gateway, &gateway.admin, &car).await, [("ada".to_owned(), true, json!(1))]);
            let keep = gateway.ask("DELETE", &format!("/api/v1/vehicles/{car}")).bearer(&gateway.admin).send().await;
            is_problem(&keep, 404, "not_found");
            assert_eq!(delete(&gateway, &whole).await, 204);
        }
        assert_eq!(places(&gateway, &car).await, [], "{how}");
        assert_eq!(shown(&gateway, &gateway.admin, &car).await, [], "{how}");
        assert_eq!(logged(&gateway, &car).await, BTreeSet::new(), "{how}");
        assert_eq!(delete(&gateway, &whole).await, 404, "{how}: nothing is left to erase");
        let late = events::state("late", &car, &[]);
        assert_eq!(gateway.delivery(late.to_string()).send().await.json()["status"], "erased");
        // Whoever has it next, or again, begins with nothing.
        for user in ["ada", "eve"] {
            gateway.connect(user, ADA).await;
            gateway.catch_up().await;
            assert_eq!(places(&gateway, &car).await, [], "{how}");
        }
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_goes_takes_nothing_from_the_new_owner() {
    for (seed, history) in [(715, "erase"), (716, "keep")] {
        let (mut gateway, car) = from_ada_to_grace(seed).await;
        let (path, before) = (format!("/api/v1/vehicles/{car}"), ends(&gateway));
        let held = gateway.told(&path).await;
        assert!(held["connection"].is_string());
        // Nobody needs Smartcar for this.
        gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::Fail)]));
        assert_eq!(delete(&gateway, &format!("/api/v1/users/ada?history={history}")).await, 204);
        gateway.simulator.set_faults(Faults::default());
        assert_eq!(ends(&gateway), before, "Smartcar is not asked");
        gateway.reopen().await;
        assert_eq!(gateway.told(&path).await["connection"], held["connection"]);
        tell(&gateway, &car, 3).await;
        gateway.catch_up().await;
        let (kept, entries) = match history {
            "erase" => (of(&[("grace", 2), ("grace", 3)]), 2),
            _ => (of(&[("ada", 1), ("grace", 2), ("grace", 3)]), 3),
        };
        assert_eq!(places(&gateway, &car).await, kept);
        assert_eq!(logged(&gateway, &car).await.len(), entries);
        assert_eq!(delete(&gateway, "/api/v1/users/grace?history=erase").await, 204);
        assert!(ends(&gateway) > before, "hers are ended at Smartcar");
        let of_ada = if history == "erase" { Vec::new() } else { of(&[("ada", 1)]) };
        assert_eq!(places(&gateway, &car).await, of_ada, "each goes with her own");
        gateway.finish().await;
    }
}

/// Ada was removed, her history was kept, and Grace has the car: then it is to go after all.
#[tokio::test(start_paused = true)]
async fn what_a_removed_user_had_is_erased_alone() {
    for (seed, how) in [(723, "user"), (724, "car")] {
        let (gateway, car) = from_ada_to_grace(seed).await;
        assert_eq!(delete(&gateway, "/api/v1/users/ada?history=keep").await, 204);
        assert_eq!(gateway.get("/api/v1/users/ada").bearer(&gateway.admin).send().await.status, 404);
        assert_eq!(delete(&gateway, "/api/v1/users/ada?history=keep").await, 404, "there is no user to remove");
        let path = match how {
            "user" => "/api/v1/users/ada?history=erase".to_owned(),
            _ => format!("/api/v1/vehicles/{car}?history=erase&user=ada"),
        };
        let grace = gateway.create_token(&json!({ "name": "grace", "scope": "control", "user": "grace" })).await;
        is_problem(&gateway.ask("DELETE", &path).bearer(&grace).send().await, 403, "forbidden");
        assert_eq!(places(&gateway, &car).await, of(&[("ada", 1), ("grace", 2)]));
        let before = ends(&gateway);
        assert_eq!(delete(&gateway, &path).await, 204);
        assert!(accounts::noted(&gateway).await.contains(&json!(car)), "{how}: the audit log names it");
        assert_eq!(places(&gateway, &car).await, of(&[("grace", 2)]), "{how}");
        assert_eq!(logged(&gateway, &car).await, BTreeSet::from(["place-2".to_owned()]), "{how}");
        assert!(gateway.told(&format!("/api/v1/vehicles/{car}")).await["connection"].is_string());
        assert_eq!(ends(&gateway), before, "Smartcar is not asked");
        assert_eq!(delete(&gateway, &path).await, 404, "nothing is left");
        gateway.finish().await;
    }
}

/// Of a user who has the car still, everything that is theirs goes; of anybody else nothing.
#[tokio::test(start_paused = true)]
async fn what_one_user_has_of_a_car_is_erased_alone() {
    let (gateway, car) = from_ada_to_grace(725).await;
    let path = |user: &str| format!("/api/v1/vehicles/{car}?history=erase&user={user}");
    assert_eq!(delete(&gateway, &path("eve")).await, 404);
    assert_eq!(delete(&gateway, &path("grace")).await, 204);
    assert_eq!(places(&gateway, &car).await, of(&[("ada", 1)]));
    assert!(ends(&gateway) > 0, "hers is ended at Smartcar");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_car_that_comes_back_brings_its_owners_time_and_no_others() {
    let (mut gateway, car) = from_ada_to_grace(717).await;
    // Told in Grace's time, together with another car, so that it is filed under neither of the two.
    let together = |place: f64| {
        let cars = [
            json!({ "vehicleId": "another", "data": [] }),
            json!({ "vehicleId": car, "data": [{ "path": "/odometer", "code": 200, "body": { "distance": place } }] }),
        ];
        json!({ "eventName": "schedule", "payload": { "vehicles": cars } })
    };
    gateway.deliver(&together(4711.5)).await;
    gateway.catch_up().await;
    // What came in last of all is read when she has it no more, and is hers all the same.
    tell(&gateway, &car, 3).await;
    gateway.connect("ada", ADA).await;
    tell(&gateway, &car, 4).await;
    gateway.catch_up().await;
    let each = of(&[("ada", 1), ("ada", 4), ("grace", 2), ("grace", 3)]);
    assert_eq!(places(&gateway, &car).await, each);
    let all = async |gateway: &TestGateway| {
        let shown = shown(gateway, &gateway.admin, &car).await;
        assert_eq!(shown, [("ada".to_owned(), false, json!(4)), ("grace".to_owned(), true, json!(3))]);
        assert_eq!(places(gateway, &car).await, each);
        let own = gateway.told(&format!("/api/v1/vehicles/{car}/history?limit=500")).await;
        let values: Vec<&Value> = own["items"].as_array().unwrap().iter().map(|item| &item["body"]["value"]).collect();
        assert!(!values.contains(&&json!(4711.5)), "{values:?}");
    };
    all(&gateway).await;
    // However often it is read.
    for seq in [3, 1, 2, 4, 5, 1] {
        let replay = gateway.post(&format!("/api/v1/webhooks/{seq}/replay"), &json!({})).bearer(&gateway.admin);
        assert_eq!(replay.send().await.status, 200);
        all(&gateway).await;
    }
    gateway.grammar = Grammar { version: Grammar::CURRENT.version + 1, ..Grammar::CURRENT };
    gateway.reopen().await;
    gateway.catch_up().await;
    assert_eq!(gateway.logged().matches("the log has been read again").count(), 1);
    all(&gateway).await;

    // To and fro: never more than a row for each.
    for (user, place) in [("grace", 5), ("ada", 6), ("grace", 7)] {
        gateway.connect(user, ADA).await;
        tell(&gateway, &car, place).await;
        gateway.catch_up().await;
    }
    let each = of(&[("ada", 1), ("ada", 4), ("ada", 6), ("grace", 2), ("grace", 3), ("grace", 5), ("grace", 7)]);
    assert_eq!(places(&gateway, &car).await, each);
    assert_eq!(shown(&gateway, &gateway.admin, &car).await.len(), 2);
    gateway.finish().await;
}

/// The month goes on, whoever has the car.
#[tokio::test(start_paused = true)]
async fn who_gives_a_car_away_and_takes_it_back_has_no_more_calls() {
    let (gateway, car) = from_ada_to_grace(718).await;
    let used = async || {
        let calls = gateway.told("/api/v1/budget").await;
        let own = calls["items"].as_array().unwrap().iter().find(|item| item["vehicle"] == car).unwrap().clone();
        own["used"].as_u64().unwrap()
    };
    let read = async || {
        let path = format!("/api/v1/vehicles/{car}/refresh");
        assert_eq!(gateway.post(&path, &json!({})).bearer(&gateway.admin).send().await.status, 200);
    };
    let mut last = used().await;
    for user in ["ada", "grace", "ada"] {
        read().await;
        let spent = used().await;
        assert!(spent > last);
        gateway.connect(user, ADA).await;
        assert!(used().await >= spent, "of {user}");
        last = used().await;
    }
    assert_eq!(delete(&gateway, "/api/v1/users/grace?history=erase").await, 204);
    assert!(used().await >= last);
    gateway.finish().await;
}

/// Ada has one car still, and had another; the power fails at each write of her removal in turn.
#[tokio::test(start_paused = true)]
async fn a_removal_that_is_cut_off_is_done_again() {
    let mut seen = BTreeSet::new();
    for write in 1.. {
        let (mut gateway, car) = from_ada_to_grace(720).await;
        gateway.connect("ada", GRACE).await;
        let own = gateway.vehicles_of(GRACE).remove(0);
        tell(&gateway, &own, 9).await;
        gateway.catch_up().await;
        let path = "/api/v1/users/ada?history=erase";
        gateway.disk.break_at(Fault::WritesFrom(write));
        let status = delete(&gateway, path).await;
        gateway.lose_power(Duration::from_secs(60)).await;
        let is_there = gateway.get("/api/v1/users/ada").bearer(&gateway.admin).send().await.status == 200;
        let left = (is_there, places(&gateway, &own).await.len(), places(&gateway, &car).await.len());
        assert_eq!(delete(&gateway, path).await, if is_there { 204 } else { 404 }, "{left:?}");
        assert_eq!(places(&gateway, &own).await, [], "{left:?}");
        assert_eq!(places(&gateway, &car).await, of(&[("grace", 2)]), "{left:?}");
        assert_eq!(gateway.get("/api/v1/users/ada").bearer(&gateway.admin).send().await.status, 404);
        assert!(gateway.told(&format!("/api/v1/vehicles/{car}")).await["connection"].is_string());
        seen.insert(left);
        gateway.finish().await;
        if status == 204 {
            break;
        }
    }
    let all = [(false, 0, 1), (true, 0, 1), (true, 0, 2), (true, 1, 2)];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all, "it was cut off at each of its steps");
}

/// Somebody else connects the car while Smartcar does not answer to its being disconnected.
#[tokio::test(start_paused = true)]
async fn a_car_that_is_another_users_by_then_stays_theirs() {
    let gateway = TestGateway::new(719).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    gateway.connect("ada", ADA).await;
    tell(&gateway, &car, 1).await;
    gateway.catch_up().await;
    gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::Hang)]));
    let connect = async {
        pass(Duration::from_secs(1)).await;
        gateway.simulator.set_faults(Faults::default());
        gateway.connect("grace", ADA).await;
        tell(&gateway, &car, 2).await;
    };
    let (status, ()) = tokio::join!(delete(&gateway, "/api/v1/users/ada?history=erase&force=true"), connect);
    assert_eq!(status, 204);
    gateway.catch_up().await;
    assert_eq!(places(&gateway, &car).await, of(&[("grace", 2)]));
    assert!(gateway.told(&format!("/api/v1/vehicles/{car}")).await["connection"].is_string());
    gateway.finish().await;
}

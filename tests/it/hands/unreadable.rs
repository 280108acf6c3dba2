//! A row of the store is damaged: whoever erases or exports is told of it, and all the rest is done.

use carport::model::vehicle::Vehicle;
use carport::store::Part;
use carport::store::retention::Keep;
use redb::{ReadableTable, StorageBackend, TableDefinition};
use serde_json::Value;

use super::accounts::{connection, from_account_to_account};
use super::{PLACE, T, delete, ends, from_ada_to_grace, logged, of, places, shown, tell};
use crate::gateway::{DAY, HOUR, TestGateway, connection_id, events, is_problem, pass};
use crate::moving::connected_elsewhere;
use crate::simulator::rig::{ADA, GRACE};

/// Turns a bit in each row of a table whose key begins so.
pub(crate) fn turn_bits(database: &redb::Database, table: &str, prefix: &[u8]) {
    let transaction = database.begin_write().unwrap();
    let definition: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(table);
    {
        let mut rows = transaction.open_table(definition).unwrap();
        let found = rows.range::<&[u8]>(prefix..).unwrap().map(|row| {
            let (key, value) = row.unwrap();
            (key.value().to_vec(), value.value().to_vec())
        });
        let found: Vec<_> = found.take_while(|(key, _)| key.starts_with(prefix)).collect();
        assert!(!found.is_empty(), "{table}");
        for (key, mut value) in found {
            *value.last_mut().unwrap() ^= 1;
            rows.insert(key.as_slice(), value.as_slice()).unwrap();
        }
    }
    transaction.commit().unwrap();
}

/// Damages rows while the gateway does not run.
async fn damage(gateway: &mut TestGateway, table: &str, prefix: &[u8]) {
    gateway.stop().await;
    let database = redb::Builder::new().create_with_backend(gateway.disk.backend(Part::Tables)).unwrap();
    turn_bits(&database, table, prefix);
    drop(database);
    gateway.open().await.unwrap();
}

/// The row of what a user has or had of a car.
async fn row_of(gateway: &TestGateway, car: &str, user: &str) -> u32 {
    let rows = gateway.app().store().read(|snapshot| snapshot.vehicles(0, usize::MAX)).await.unwrap();
    let is_it = |vehicle: &Vehicle| vehicle.facts.id.as_str() == car && vehicle.user.as_str() == user;
    rows.into_iter().find(|(_, vehicle)| is_it(vehicle)).unwrap().0
}

async fn export(gateway: &TestGateway, query: &str) -> Vec<String> {
    let answer = gateway.get(&format!("/api/v1/export?{query}")).bearer(&gateway.admin).send().await;
    assert_eq!(answer.status, 200);
    answer.text().lines().map(str::to_owned).collect()
}

/// How many rows an export says to have left out.
async fn left_out(gateway: &TestGateway, query: &str) -> u64 {
    let lines = export(gateway, query).await;
    let Some((last, before)) = lines.split_last() else { return 0 };
    assert!(before.iter().all(|line| !line.contains("left_out")));
    serde_json::from_str::<Value>(last).unwrap()["left_out"].as_u64().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn what_an_erasure_cannot_read_is_told() {
    let (mut gateway, car) = from_ada_to_grace(732).await;
    assert_eq!(left_out(&gateway, "").await, 0);
    let row = row_of(&gateway, &car, "ada").await;
    damage(&mut gateway, "vehicles-1", &row.to_be_bytes()).await;
    for query in ["", &format!("vehicle={car}")] {
        assert_eq!(left_out(&gateway, query).await, 1, "{query}");
        let sheet = export(&gateway, &format!("format=csv&{query}")).await;
        let (head, last) = (sheet.first().unwrap(), sheet.last().unwrap());
        assert!(last.starts_with("1 row of the store is damaged and left out"), "{last}");
        assert_eq!(last.matches(',').count(), head.matches(',').count());
    }
    let grace = gateway.create_token(&serde_json::json!({ "name": "g", "scope": "read", "user": "grace" })).await;
    let hers = gateway.get(&format!("/api/v1/vehicles/{car}/history?format=csv")).bearer(&grace).send().await.text();
    assert!(!hers.contains("left out"), "of hers nothing is damaged: {hers}");

    let path = format!("/api/v1/vehicles/{car}?history=erase");
    let told = gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await;
    is_problem(&told, 500, "damaged");
    let goes = "1 damaged row may belong to it, and goes with its user: ada (`carport users remove ID --erase`)";
    assert!(told.text().contains(goes), "{}", told.text());
    assert_eq!(gateway.get(&format!("/api/v1/vehicles/{car}")).bearer(&gateway.admin).send().await.status, 404);
    assert_eq!(left_out(&gateway, "").await, 1);

    // With its user it goes unread.
    let told = gateway.ask("DELETE", "/api/v1/users/ada?history=erase").bearer(&gateway.admin).send().await;
    is_problem(&told, 500, "damaged");
    assert!(told.text().contains("with 1 row of a car that is damaged"), "{}", told.text());
    assert_eq!(left_out(&gateway, "").await, 0);
    assert_eq!(delete(&gateway, "/api/v1/users/ada?history=erase").await, 404, "nothing is left");
    gateway.reopen().await;
    assert_eq!(left_out(&gateway, "").await, 0);
    // Whoever comes then begins with nothing.
    gateway.connect("ada", ADA).await;
    gateway.catch_up().await;
    assert_eq!(places(&gateway, &car).await, []);
    gateway.finish().await;
}

/// What is damaged is of another car, and its own id says so.
#[tokio::test(start_paused = true)]
async fn damage_to_one_car_is_not_told_of_another() {
    for (seed, how) in [(770, "damaged"), (771, "lost")] {
        let mut gateway = TestGateway::new(seed).await;
        gateway.connect("ada", ADA).await;
        gateway.connect("grace", GRACE).await;
        let (of_ada, of_grace) = (gateway.vehicles_of(ADA).remove(0), gateway.vehicles_of(GRACE).remove(0));
        if how == "lost" {
            lose(&mut gateway, &of_ada, "ada").await;
        } else {
            let row = row_of(&gateway, &of_ada, "ada").await;
            damage(&mut gateway, "vehicles-1", &row.to_be_bytes()).await;
        }
        assert_eq!(delete(&gateway, &format!("/api/v1/vehicles/{of_grace}?history=erase")).await, 204, "{how}");
        assert_eq!(left_out(&gateway, "").await, 1, "{how}: hers is left alone");
        gateway.finish().await;
    }
}

/// Nobody can tell what car a former row was of that is damaged, nor whose it was once they are removed.
#[tokio::test(start_paused = true)]
async fn a_damaged_row_of_a_removed_user_is_told_as_that() {
    let (mut gateway, car) = from_ada_to_grace(772).await;
    let row = row_of(&gateway, &car, "ada").await;
    assert_eq!(delete(&gateway, "/api/v1/users/ada?history=keep").await, 204);
    damage(&mut gateway, "vehicles-1", &row.to_be_bytes()).await;
    let told = gateway.ask("DELETE", &format!("/api/v1/vehicles/{car}?history=erase")).bearer(&gateway.admin).send().await;
    is_problem(&told, 500, "damaged");
    assert!(told.text().contains("goes with its user: a removed user ("), "{}", told.text());
    gateway.finish().await;
}

/// The row of the car as it is now is damaged: its id still leads there.
#[tokio::test(start_paused = true)]
async fn a_car_that_cannot_be_read_can_be_erased() {
    let (mut gateway, car) = from_ada_to_grace(733).await;
    let of_car = gateway.create_token(&serde_json::json!({ "name": "c", "scope": "read", "vehicle": car })).await;
    let row = row_of(&gateway, &car, "grace").await;
    damage(&mut gateway, "vehicles-1", &row.to_be_bytes()).await;
    let path = format!("/api/v1/vehicles/{car}?history=erase");
    let told = gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await;
    is_problem(&told, 500, "damaged");
    assert!(told.text().contains("is still connected at Smartcar"), "{}", told.text());
    assert_eq!(places(&gateway, &car).await, [], "all owners'");
    assert_eq!(left_out(&gateway, "").await, 0);
    assert_eq!(delete(&gateway, &path).await, 404);
    assert_eq!(gateway.get("/api/v1/vehicles").bearer(&of_car).send().await.status, 401, "its tokens go with it");
    gateway.finish().await;
}

/// Of a car that can be read, a block of its past cannot.
#[tokio::test(start_paused = true)]
async fn a_past_that_cannot_be_read_is_told() {
    let (mut gateway, car) = from_ada_to_grace(734).await;
    let row = row_of(&gateway, &car, "ada").await;
    damage(&mut gateway, "vehicle_latest-2", &row.to_be_bytes()).await;
    assert_eq!(left_out(&gateway, &format!("vehicle={car}")).await, 1);
    assert_eq!(left_out(&gateway, "").await, 1);
    let lines = export(&gateway, "").await;
    assert!(lines.iter().any(|line| line.contains("\"user\":\"grace\"")), "the rest is there");
    assert_eq!(delete(&gateway, &format!("/api/v1/vehicles/{car}?history=erase")).await, 204, "it is erased as it is");
    assert_eq!(left_out(&gateway, "").await, 0);
    gateway.finish().await;
}

/// The row of the car as it is now is damaged, and its owner is removed: what comes later is nobody's.
#[tokio::test(start_paused = true)]
async fn what_is_erased_unread_with_its_owner_stays_gone() {
    let (mut gateway, car) = from_ada_to_grace(735).await;
    let of_car = gateway.create_token(&serde_json::json!({ "name": "c", "scope": "read", "vehicle": car })).await;
    let row = row_of(&gateway, &car, "grace").await;
    damage(&mut gateway, "vehicles-1", &row.to_be_bytes()).await;
    let told = gateway.ask("DELETE", "/api/v1/users/grace?history=erase").bearer(&gateway.admin).send().await;
    is_problem(&told, 500, "damaged");
    assert!(told.text().contains("with 1 row of a car that is damaged"), "{}", told.text());
    let late = events::state("late", &car, &[]);
    assert_eq!(gateway.delivery(late.to_string()).send().await.json()["status"], "erased");
    gateway.connect("eve", ADA).await;
    tell(&gateway, &car, 5).await;
    gateway.catch_up().await;
    assert_eq!(places(&gateway, &car).await, of(&[("ada", 1), ("eve", 5)]));
    let path = format!("/api/v1/vehicles/{car}");
    assert_eq!(gateway.get(&path).bearer(&of_car).send().await.status, 401, "whoever has it next is not seen by it");
    gateway.finish().await;
}

/// Whatever is damaged, what is whole is renewed; and of a car of which nobody can read whose it is nothing is ended.
#[tokio::test(start_paused = true)]
async fn damage_ends_nothing_that_is_whole() {
    for (seed, what, ended) in [(736, "index", 0), (737, "connection", 0), (738, "vehicle", 1), (739, "former", 2)] {
        let (mut gateway, car, [ada, grace]) = from_account_to_account(seed).await;
        assert_eq!(connection(&gateway, &ada).await["serves_none"], true);
        let (table, key) = match what {
            "index" => ("index-1", vec![2]),
            "connection" => ("connections-1", connection_id(&grace).0.as_bytes().to_vec()),
            "vehicle" => ("vehicles-1", row_of(&gateway, &car, "grace").await.to_be_bytes().to_vec()),
            _ => ("vehicles-1", row_of(&gateway, &car, "ada").await.to_be_bytes().to_vec()),
        };
        damage(&mut gateway, table, &key).await;
        gateway.start_refreshing();
        let whole = if what == "connection" { vec![&ada] } else { vec![&ada, &grace] };
        for id in &whole {
            let before = connection(&gateway, id).await;
            pass(3 * HOUR).await;
            let after = connection(&gateway, id).await;
            assert_eq!((&after["status"], after["next_refresh"].is_string()), (&Value::from("active"), true), "{what}: {after}");
            assert_ne!(before["last_refresh"], after["last_refresh"], "{what}");
        }
        assert_eq!(connection(&gateway, &ada).await["serves_none"], what != "former", "{what}");
        let before = ends(&gateway);
        assert_eq!(delete(&gateway, &format!("/api/v1/connections/{ada}")).await, 204, "{what}");
        assert_eq!(ends(&gateway) - before, ended, "{what}");
        assert_eq!(connection(&gateway, &ada).await["status"], "disconnected");
        gateway.finish().await;
    }
}

/// Tokens that cannot be read do not come back: whoever is told of it can do without.
#[tokio::test(start_paused = true)]
async fn a_connection_without_sound_tokens_is_ended_by_force() {
    let (mut gateway, _, [ada, grace]) = from_account_to_account(740).await;
    damage(&mut gateway, "smartcar_tokens-1", connection_id(&ada).0.as_bytes()).await;
    let path = format!("/api/v1/connections/{ada}");
    let refused = gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await;
    is_problem(&refused, 409, "reconnect_required");
    assert!(refused.text().contains("tokens are damaged") && refused.text().contains("--force"), "{}", refused.text());
    assert_eq!(connection(&gateway, &ada).await["status"], "active");
    assert_eq!(delete(&gateway, &format!("{path}?force=true")).await, 204);
    assert_eq!(connection(&gateway, &ada).await["status"], "disconnected");
    assert_eq!(connection(&gateway, &grace).await["status"], "active");
    gateway.finish().await;
}

/// What a damaged connection served is ended by what Smartcar lists of its owner, and nothing that is another's; what the
/// owner does not choose again waits for nobody.
#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_read_is_ended_and_made_anew() {
    let (mut gateway, car, [_, grace]) = from_account_to_account(745).await;
    let own = gateway.vehicles_of(GRACE).into_iter().find(|own| !gateway.vehicles_of(ADA).contains(own)).unwrap();
    damage(&mut gateway, "connections-1", connection_id(&grace).0.as_bytes()).await;
    let before = ends(&gateway);
    assert_eq!(delete(&gateway, &format!("/api/v1/vehicles/{car}")).await, 204);
    assert_eq!(ends(&gateway), before + 1, "Ada's account keeps it");
    let authority = async |gateway: &TestGateway, car: &str| {
        gateway.told(&format!("/api/v1/vehicles/{car}")).await["lights"]["authority"]["color"].clone()
    };
    assert_eq!((authority(&gateway, &car).await, authority(&gateway, &own).await), ("grey".into(), "red".into()));

    gateway.repair().await;
    assert_eq!(authority(&gateway, &own).await, "red");
    gateway.net.change({
        let own = own.clone();
        move |request, answer| {
            // Her own car is not among those that she chooses.
            let is_list = request.uri().path() == "/v3/connections";
            is_list.then(|| {
                let mut list: Value = serde_json::from_slice(answer.body()).unwrap();
                list["data"].as_array_mut().unwrap().retain(|item| !item.to_string().contains(&own));
                Ok(answer.clone().map(|_| list.to_string().into()))
            })
        }
    });
    gateway.connect("grace", GRACE).await;
    gateway.net.leave_alone();
    assert_eq!(authority(&gateway, &own).await, "grey", "it was not chosen again");
    gateway.finish().await;
}

/// A connection is damaged: what it served is shown, with what is wrong, and its owner connects again without a repair.
#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_read_hides_no_car() {
    let (mut gateway, car, [ada, grace]) = from_account_to_account(743).await;
    let cars = gateway.told("/api/v1/vehicles").await["items"].as_array().unwrap().len();
    damage(&mut gateway, "connections-1", connection_id(&grace).0.as_bytes()).await;
    assert_eq!(gateway.told("/api/v1/vehicles").await["items"].as_array().unwrap().len(), cars);
    gateway.configure("poll.every", "6h");
    gateway.reopen().await;
    let told = gateway.told(&format!("/api/v1/vehicles/{car}")).await;
    let (light, polling) = (&told["lights"]["authority"], &told["polling"]);
    assert!(light["color"] == "red" && light["text"].as_str().unwrap().contains("is damaged in the store"), "{light}");
    assert!(polling["state"] == "hindered" && polling["text"].as_str().unwrap().contains("is damaged"), "{polling}");
    let listed = gateway.told("/api/v1/connections").await["items"].clone();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &Value::from(ada)));
    let page = format!("/vehicles/{car}");
    for path in ["/", &page, "/connections", "/system", "/api/v1/users", "/api/v1/status", "/v2.0/vehicles"] {
        let answer = gateway.get(path).bearer(&gateway.admin).send().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let is_about_it = path == "/" || path == page;
        assert_eq!(answer.text().contains("Needs to be connected again"), is_about_it, "{path}");
    }
    for query in ["", "?local=true", "?history=erase&force=true"] {
        let told = gateway.ask("DELETE", &format!("/api/v1/connections/{grace}{query}")).bearer(&gateway.admin).send().await;
        is_problem(&told, 500, "damaged");
        assert!(told.text().contains("check --repair"), "{}", told.text());
    }
    let path = format!("/api/v1/vehicles/{car}");
    gateway.net.change(|request, answer| {
        // It says no more who has the car.
        let is_list = request.uri().path() == "/v3/connections";
        is_list.then(|| Ok(answer.clone().map(|_| r#"{"data":[],"meta":{"totalCount":0}}"#.into())))
    });
    let refused = gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await;
    is_problem(&refused, 409, "reconnect_required");
    assert!(refused.text().contains("connection is damaged") && refused.text().contains("--force"), "{}", refused.text());
    gateway.net.leave_alone();

    let again = gateway.connect("grace", GRACE).await;
    assert_ne!(again, grace);
    let gone = connection_id(&grace);
    let tokens = gateway.app().store().read(move |snapshot| snapshot.tokens(gone)).await.unwrap();
    assert!(tokens.is_none(), "nothing of it is renewed any more");
    assert_eq!(connection(&gateway, &again).await["vehicles"].as_array().unwrap().len(), gateway.vehicles_of(GRACE).len());
    tell(&gateway, &car, 3).await;
    gateway.catch_up().await;
    assert_eq!(gateway.told(&path).await["lights"]["authority"]["color"], "green");
    assert_eq!(places(&gateway, &car).await, of(&[("ada", 1), ("grace", 2), ("grace", 3)]));
    assert_eq!(delete(&gateway, &path).await, 204);
    gateway.finish().await;
}

/// A row of one car is damaged: it keeps neither the other cars from being taken over, nor its owner from connecting again.
#[tokio::test(start_paused = true)]
async fn what_is_sound_is_linked_beside_a_damaged_car() {
    for (seed, user, account, others) in [(775, "ada", ADA, GRACE), (776, "grace", GRACE, ADA)] {
        let mut gateway = TestGateway::new(seed).await;
        gateway.connect(user, account).await;
        let (cars, elsewhere) = (gateway.vehicles_of(account), gateway.vehicles_of(others));
        let row = row_of(&gateway, &cars[0], user).await;
        damage(&mut gateway, "vehicles-1", &row.to_be_bytes()).await;
        connected_elsewhere(&gateway, "eve", others).await;
        let adopt = gateway.post("/api/v1/connections/adopt", &serde_json::json!({})).bearer(&gateway.admin).send().await;
        assert_eq!(adopt.status, 200, "{account}: {}", adopt.text());
        let adopted = adopt.json();
        let items = adopted["items"].as_array().unwrap();
        assert_eq!((items.len(), &items[0]["result"]), (1, &Value::from("adopted")), "{account}: {adopted}");
        assert_eq!(items[0]["vehicles"].as_array().unwrap().len(), elsewhere.len(), "{account}: {adopted}");
        assert_eq!(adopted["known"], cars.len(), "nobody can read whose the damaged one is: {adopted}");

        let again = gateway.connect(user, account).await;
        let serves = connection(&gateway, &again).await["vehicles"].as_array().unwrap().len();
        assert_eq!(serves, cars.len(), "{account}");
        for car in cars.iter().chain(&elsewhere) {
            assert!(gateway.told(&format!("/api/v1/vehicles/{car}")).await["connection"].is_string(), "{account}");
        }
        gateway.finish().await;
    }
}

/// The index no longer leads to any user: their rows do, so that nothing of theirs is hidden, and all of it can be changed.
#[tokio::test(start_paused = true)]
async fn an_index_that_does_not_lead_to_a_user_hides_nothing() {
    let (mut gateway, car) = from_ada_to_grace(758).await;
    let lists = ["/api/v1/users", "/api/v1/connections", "/api/v1/vehicles", "/api/v1/users/ada", "/api/v1/vehicles?user=grace"];
    let mut before = Vec::new();
    for path in lists {
        before.push(gateway.told(path).await);
    }
    damage(&mut gateway, "index-1", &[1]).await;
    for (path, before) in lists.iter().zip(&before) {
        assert_eq!(&gateway.told(path).await, before, "{path}");
    }
    for path in ["/", "/connections", "/system"] {
        assert_eq!(gateway.get(path).bearer(&gateway.admin).send().await.status, 200, "{path}");
    }
    let renamed = gateway.ask("PATCH", "/api/v1/users/ada").json(&serde_json::json!({ "name": "Ada" }));
    assert_eq!(renamed.bearer(&gateway.admin).send().await.json()["name"], "Ada");
    gateway.connect("ada", ADA).await;
    assert_eq!(gateway.told(&format!("/api/v1/vehicles/{car}")).await["user"], "ada");
    assert_eq!(delete(&gateway, "/api/v1/users/ada?history=erase").await, 204);
    assert_eq!(gateway.told("/api/v1/users").await["items"].as_array().unwrap().len(), 1);
    gateway.finish().await;
}

/// To ask again would bring the same.
#[tokio::test(start_paused = true)]
async fn a_car_that_cannot_be_read_says_so() {
    for (seed, table) in [(759, "vehicles-1"), (760, "index-1")] {
        let (mut gateway, car) = from_ada_to_grace(seed).await;
        let row = row_of(&gateway, &car, "grace").await;
        let grace = gateway.create_token(&serde_json::json!({ "name": "g", "scope": "control", "user": "grace" })).await;
        let key = if table == "index-1" { vec![2] } else { row.to_be_bytes().to_vec() };
        damage(&mut gateway, table, &key).await;
        let path = format!("/api/v1/vehicles/{car}");
        for (method, rest) in [
            ("GET", ""),
            ("GET", "/signals"),
            ("GET", "/history"),
            ("GET", "/charges"),
            ("POST", "/refresh"),
            ("POST", "/commands/security/lock"),
        ] {
            let ask = || gateway.ask(method, &format!("{path}{rest}"));
            let told = ask().bearer(&gateway.admin).send().await;
            is_problem(&told, 500, "damaged");
            assert!(told.text().contains("carport check --repair"), "{rest}: {}", told.text());
            is_problem(&ask().bearer(&grace).send().await, 404, "not_found");
        }
        assert_eq!(gateway.get("/api/v1/vehicles").bearer(&gateway.admin).send().await.status, 200);
        gateway.finish().await;
    }
}

/// A connection is lost in a repair: its tokens go with it, whether its owner comes back first or they are due first.
#[tokio::test(start_paused = true)]
async fn the_tokens_of_a_connection_that_a_repair_lost_go_with_it() {
    for (seed, how) in [(773, "due"), (774, "back")] {
        let mut gateway = TestGateway::new(seed).await;
        let [ada, eve] = [gateway.connect("ada", ADA).await, gateway.connect("eve", ADA).await];
        damage(&mut gateway, "connections-1", connection_id(&ada).0.as_bytes()).await;
        repair_without_copies(&mut gateway).await;
        let answer = gateway.get(&format!("/api/v1/connections/{ada}")).bearer(&gateway.admin).send().await;
        is_problem(&answer, 404, "not_found");
        let lost = connection_id(&ada);
        let has_tokens = async |gateway: &TestGateway| {
            gateway.app().store().read(move |snapshot| snapshot.tokens(lost)).await.unwrap().is_some()
        };
        assert!(has_tokens(&gateway).await);
        if how == "back" {
            assert_ne!(gateway.connect("ada", ADA).await, ada);
            assert!(!has_tokens(&gateway).await, "{how}");
        }
        gateway.start_refreshing();
        let refreshed = gateway.simulator.counters().refreshes;
        pass(3 * HOUR).await;
        assert!(!has_tokens(&gateway).await, "{how}");
        assert!(gateway.simulator.counters().refreshes > refreshed, "{how}");
        assert_eq!(connection(&gateway, &eve).await["status"], "active", "{how}: another's are renewed");
        gateway.finish().await;
    }
}

/// A repair when the journal has no sound copy of what is damaged any more.
async fn repair_without_copies(gateway: &mut TestGateway) {
    for _ in 0..3 {
        gateway.app().store().checkpoint().await.unwrap();
        gateway.reopen().await;
    }
    gateway.repair().await;
}

/// A damaged row, and a repair that cannot save it.
async fn lose(gateway: &mut TestGateway, car: &str, user: &str) {
    let row = row_of(gateway, car, user).await;
    damage(gateway, "vehicles-1", &row.to_be_bytes()).await;
    assert_eq!(left_out(gateway, "").await, 1);
    repair_without_copies(gateway).await;
    assert_eq!(left_out(gateway, "").await, 1, "it is gone, and what is kept under it is not shown");
}

/// A repair removes the row of a car; its history is there still, and whoever it belongs to has it again, or it goes with them.
#[tokio::test(start_paused = true)]
async fn what_a_repair_could_not_save_belongs_to_its_owner() {
    for (seed, next) in [(744, "grace"), (745, "ada"), (746, "nobody"), (747, "nobody's")] {
        let mut gateway = TestGateway::new(seed).await;
        let car = gateway.vehicles_of(ADA).remove(0);
        gateway.connect("ada", ADA).await;
        tell(&gateway, &car, 1).await;
        gateway.catch_up().await;
        lose(&mut gateway, &car, "ada").await;
        assert_eq!(places(&gateway, &car).await, [], "{next}");
        if !next.starts_with("nobody") {
            gateway.connect(next, ADA).await;
            tell(&gateway, &car, 2).await;
            gateway.catch_up().await;
        }
        let path = match next {
            "nobody" => format!("/api/v1/vehicles/{car}?history=erase"),
            _ => "/api/v1/users/ada?history=erase".to_owned(),
        };
        if next == "ada" {
            assert_eq!(places(&gateway, &car).await, of(&[("ada", 1), ("ada", 2)]));
            assert_eq!(left_out(&gateway, "").await, 0);
            assert_eq!(delete(&gateway, &path).await, 204);
        } else {
            is_problem(&gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await, 500, "damaged");
        }
        assert_eq!(delete(&gateway, &path).await, 404, "{next}: nothing is left");
        assert_eq!(left_out(&gateway, "").await, 0, "{next}");
        let hers = if next == "grace" { of(&[("grace", 2)]) } else { Vec::new() };
        assert_eq!(places(&gateway, &car).await, hers, "{next}");
        assert!(!logged(&gateway, &car).await.contains("place-1"), "{next}");
        gateway.connect("ada", ADA).await;
        gateway.catch_up().await;
        assert_eq!(places(&gateway, &car).await, hers, "{next}: it does not come back");
        gateway.finish().await;
    }
}

/// The row that is lost is one to which no id leads.
#[tokio::test(start_paused = true)]
async fn what_a_repair_lost_of_a_former_owner_goes_with_them() {
    for (seed, user) in [(748, "ada"), (749, "grace")] {
        let (mut gateway, car) = from_ada_to_grace(seed).await;
        lose(&mut gateway, &car, "ada").await;
        // Nobody can tell what car it was of.
        let told = gateway.ask("DELETE", &format!("/api/v1/vehicles/{car}?history=erase&user={user}")).bearer(&gateway.admin);
        let (status, left) = if user == "ada" { (404, 2) } else { (204, 1) };
        assert_eq!(told.send().await.status, status);
        assert_eq!(logged(&gateway, &car).await.len(), left);
        let told = gateway.ask("DELETE", "/api/v1/users/ada?history=erase").bearer(&gateway.admin).send().await;
        is_problem(&told, 500, "damaged");
        assert!(told.text().contains("1 row of a car"), "{}", told.text());
        assert_eq!(logged(&gateway, &car).await.len(), left - 1);
        assert_eq!(left_out(&gateway, "").await, 0);
        assert_eq!(delete(&gateway, "/api/v1/users/ada?history=erase").await, 404, "nothing is left");
        gateway.finish().await;
    }
}

/// One of two cars is damaged. Its owner's connection ends with all that it opens: nothing here would lead there any more.
#[tokio::test(start_paused = true)]
async fn a_connection_takes_its_damaged_cars_along() {
    let mut gateway = TestGateway::new(754).await;
    let ada = gateway.connect("ada", ADA).await;
    let cars = gateway.vehicles_of(ADA);
    let row = row_of(&gateway, &cars[0], "ada").await;
    damage(&mut gateway, "vehicles-1", &row.to_be_bytes()).await;
    assert_eq!(delete(&gateway, &format!("/api/v1/connections/{ada}")).await, 204);
    assert_eq!(ends(&gateway), cars.len());
    assert_eq!(connection(&gateway, &ada).await["status"], "disconnected");
    assert!(super::accounts::noted(&gateway).await.contains(&Value::from(&*cars[0])));
    gateway.finish().await;
}

/// Smartcar goes on counting.
#[tokio::test(start_paused = true)]
async fn what_is_erased_unread_has_no_more_calls() {
    for (seed, how) in [(755, "user"), (756, "car"), (757, "repaired")] {
        let (mut gateway, car) = from_ada_to_grace(seed).await;
        let used = async |gateway: &TestGateway| {
            let calls = gateway.told("/api/v1/budget").await;
            let own = calls["items"].as_array().unwrap().iter().find(|item| item["vehicle"] == car).unwrap().clone();
            own["used"].as_u64().unwrap()
        };
        let refresh = format!("/api/v1/vehicles/{car}/refresh");
        assert_eq!(gateway.ask("POST", &refresh).bearer(&gateway.admin).send().await.status, 200);
        let spent = used(&gateway).await;
        assert!(spent > 0);
        if how == "repaired" {
            lose(&mut gateway, &car, "grace").await;
        } else {
            let row = row_of(&gateway, &car, "grace").await;
            damage(&mut gateway, "vehicles-1", &row.to_be_bytes()).await;
        }
        let path = if how == "car" { format!("/api/v1/vehicles/{car}") } else { "/api/v1/users/grace".to_owned() };
        assert_eq!(delete(&gateway, &format!("{path}?history=erase")).await, 500, "{how}");
        gateway.connect("eve", ADA).await;
        assert!(used(&gateway).await >= spent, "{how}");
        gateway.finish().await;
    }
}

/// What is kept under a row that was lost grows old like the rest.
#[tokio::test(start_paused = true)]
async fn what_a_repair_could_not_save_is_kept_no_longer() {
    let mut gateway = TestGateway::new(775).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    gateway.connect("ada", ADA).await;
    tell(&gateway, &car, 1).await;
    gateway.catch_up().await;
    lose(&mut gateway, &car, "ada").await;
    pass(3 * DAY).await;
    let keep = Keep { points: DAY, bytes: u64::MAX, hours: DAY, days: DAY };
    let trim = async |gateway: &TestGateway| gateway.app().store().trim(&keep, gateway.now()).await.unwrap();
    assert!(trim(&gateway).await > 0);
    assert_eq!(trim(&gateway).await, 0, "nothing is left");
    gateway.connect("ada", ADA).await;
    assert_eq!(places(&gateway, &car).await, []);
    gateway.finish().await;
}

/// What led to the history in its file is gone, too: it is found page by page, and waits for its owner.
#[tokio::test(start_paused = true)]
async fn what_is_found_page_by_page_is_also_that_of_lost_rows() {
    let mut gateway = TestGateway::new(776).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    gateway.connect("ada", ADA).await;
    for place in 0..1_000 {
        let event = events::state(&format!("place-{place}"), &car, &[events::signal(PLACE, place, T + place)]);
        gateway.deliver(&event).await;
    }
    gateway.catch_up().await;
    lose(&mut gateway, &car, "ada").await;
    gateway.stop().await;
    spoil_branches(&gateway);
    gateway.open().await.unwrap();
    assert!(gateway.app().store().findings().iter().any(|finding| finding.contains("found again in single pages")));
    gateway.connect("ada", ADA).await;
    let found = places(&gateway, &car).await.len();
    assert!(found > 800, "{found}");
    gateway.finish().await;
}

/// Each page of the tables that leads to others is gone.
fn spoil_branches(gateway: &TestGateway) {
    const PAGE: usize = 4096;
    let file = gateway.disk.backend(Part::Tables);
    let mut page = vec![0; PAGE];
    for at in (PAGE as u64..file.len().unwrap()).step_by(PAGE) {
        file.read(at, &mut page).unwrap();
        if page[0] == 2 {
            file.write(at, &[0; PAGE]).unwrap();
        }
    }
}

/// A repair drops the entry by which the car's id leads to its row, and events make another: her history is hers all the same.
#[tokio::test(start_paused = true)]
async fn a_car_whose_id_leads_nowhere_comes_back_to_its_owner() {
    let mut gateway = TestGateway::new(777).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    gateway.connect("ada", ADA).await;
    tell(&gateway, &car, 1).await;
    gateway.catch_up().await;
    damage(&mut gateway, "index-1", &[2]).await;
    repair_without_copies(&mut gateway).await;
    tell(&gateway, &car, 2).await;
    gateway.catch_up().await;
    gateway.connect("ada", ADA).await;
    tell(&gateway, &car, 3).await;
    gateway.catch_up().await;
    assert_eq!(shown(&gateway, &gateway.admin, &car).await, [("ada".to_owned(), false, Value::from(3))]);
    let hers = places(&gateway, &car).await;
    assert!(hers.contains(&("ada".to_owned(), 1)) && hers.contains(&("ada".to_owned(), 3)), "{hers:?}");
    gateway.finish().await;
}

//! A row of the store is damaged: whoever erases or exports is told of it, and all the rest is done.

use carport::model::vehicle::Vehicle;
use carport::store::Part;
use redb::{ReadableTable, TableDefinition};
use serde_json::Value;

use super::{delete, from_ada_to_grace, of, places, tell};
use crate::gateway::{TestGateway, events, is_problem};
use crate::simulator::rig::ADA;

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
    assert!(told.text().contains("1 row of a car is damaged") && told.text().contains("check --repair"), "{}", told.text());
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

/// The row of the car as it is now is damaged: its id still leads there.
#[tokio::test(start_paused = true)]
async fn a_car_that_cannot_be_read_can_be_erased() {
    let (mut gateway, car) = from_ada_to_grace(733).await;
    let row = row_of(&gateway, &car, "grace").await;
    damage(&mut gateway, "vehicles-1", &row.to_be_bytes()).await;
    let path = format!("/api/v1/vehicles/{car}?history=erase");
    let told = gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await;
    is_problem(&told, 500, "damaged");
    assert!(told.text().contains("end it in Smartcar's dashboard"), "{}", told.text());
    assert_eq!(places(&gateway, &car).await, [], "all owners'");
    assert_eq!(left_out(&gateway, "").await, 0);
    assert_eq!(delete(&gateway, &path).await, 404);
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
    gateway.finish().await;
}

//! What comes too late: news of a car that somebody else has by now, and changes of an earlier Carport.

use std::time::Duration;

use carport::model::VehicleId;
use carport::model::vehicle::VehicleFacts;
use carport::simulator::{Fault as Trouble, FaultKind, Faults};
use carport::store::connections::{LinkVehicles, Linking};
use serde_json::{Value, json};

use super::{delete, from_ada_to_grace, of, places, shown, tell};
use crate::gateway::{TestGateway, connection_id, events, pass};
use crate::simulator::rig::{ADA, GRACE};

/// What a list shows to be wrong with a car, by user.
async fn wrong(gateway: &TestGateway, car: &str) -> Vec<(String, usize)> {
    let list = gateway.told("/api/v1/vehicles").await;
    let items = list["items"].as_array().unwrap().iter().filter(|item| item["id"] == car);
    items.map(|item| (item["user"].as_str().unwrap().to_owned(), item["errors"].as_array().unwrap().len())).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_wrong_ends_for_who_gives_the_car_up() {
    let gateway = TestGateway::new(729).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    let trouble = async |event: &str| {
        gateway.deliver(&events::trouble(event, &car, "VEHICLE_STATE", Some("ASLEEP"), "ERROR")).await;
        pass(Duration::from_secs(1)).await;
    };
    let is = |pairs: &[(&str, usize)]| pairs.iter().map(|(user, count)| ((*user).to_owned(), *count)).collect::<Vec<_>>();
    gateway.connect("ada", ADA).await;
    trouble("begins").await;
    gateway.catch_up().await;
    assert_eq!(wrong(&gateway, &car).await, is(&[("ada", 1)]));
    // One more is in the log when the car changes hands, and is read afterwards.
    gateway.deliver(&events::trouble("late", &car, "PERMISSION", None, "ERROR")).await;
    pass(Duration::from_secs(1)).await;
    gateway.connect("grace", ADA).await;
    gateway.catch_up().await;
    assert_eq!(wrong(&gateway, &car).await, is(&[("ada", 0), ("grace", 0)]));
    trouble("hers").await;
    gateway.catch_up().await;
    assert_eq!(wrong(&gateway, &car).await, is(&[("ada", 0), ("grace", 1)]));
    // Back with Ada, nothing of then comes again, also if it is read again.
    gateway.connect("ada", ADA).await;
    for seq in [1, 2, 3] {
        let replay = gateway.post(&format!("/api/v1/webhooks/{seq}/replay"), &json!({})).bearer(&gateway.admin);
        assert_eq!(replay.send().await.status, 200);
    }
    gateway.catch_up().await;
    assert_eq!(wrong(&gateway, &car).await, is(&[("ada", 0), ("grace", 0)]));
    // Ending a connection ends them as well; what begins after that does not concern it.
    trouble("again").await;
    gateway.catch_up().await;
    assert_eq!(wrong(&gateway, &car).await, is(&[("ada", 1), ("grace", 0)]));
    let held = gateway.told(&format!("/api/v1/vehicles/{car}")).await;
    let connection = held["connection"].as_str().unwrap();
    assert_eq!(delete(&gateway, &format!("/api/v1/connections/{connection}")).await, 204);
    assert_eq!(wrong(&gateway, &car).await, is(&[("ada", 0), ("grace", 0)]));
    gateway.finish().await;
}

/// Smartcar answers to Ada's question about the car when Grace has it.
#[tokio::test(start_paused = true)]
async fn facts_that_come_late_are_not_the_new_owners() {
    let gateway = TestGateway::new(730).await;
    let car = gateway.vehicles_of(GRACE).remove(0);
    // Its list of connections tells no make, so that the vehicle is asked for.
    gateway.net.change(|request, response| {
        let path = request.uri().path();
        if !path.starts_with("/v3/") || !response.status().is_success() {
            return None;
        }
        let mut body: Value = serde_json::from_slice(response.body()).ok()?;
        strip(&mut body, path.ends_with("/connections"));
        Some(Ok(response.clone().map(|_| body.to_string().into())))
    });
    gateway.connect("ada", GRACE).await;
    let make = async || gateway.told(&format!("/api/v1/vehicles/{car}")).await["make"].clone();
    assert_eq!(make().await, Value::Null);
    gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::Delay(Duration::from_secs(10)))]));
    let refresh = format!("/api/v1/vehicles/{car}/refresh");
    let read = gateway.post(&refresh, &json!({})).bearer(&gateway.admin).send();
    let connect = async {
        pass(Duration::from_secs(1)).await;
        gateway.simulator.set_faults(Faults::default());
        gateway.connect("grace", GRACE).await;
        assert_eq!(make().await, Value::Null);
    };
    tokio::join!(read, connect);
    pass(Duration::from_secs(60)).await;
    assert_eq!(make().await, Value::Null, "what Ada's connection was told");
    assert_eq!(gateway.post(&refresh, &json!({})).bearer(&gateway.admin).send().await.status, 200);
    assert_eq!(make().await, "LATE", "what her own was told");
    gateway.finish().await;
}

/// Makes are left out, or changed.
fn strip(body: &mut Value, leaves_out: bool) {
    match body {
        Value::Array(parts) => parts.iter_mut().for_each(|part| strip(part, leaves_out)),
        Value::Object(fields) => {
            if leaves_out {
                fields.remove("make");
            } else if let Some(make) = fields.get_mut("make") {
                *make = json!("LATE");
            }
            fields.values_mut().for_each(|part| strip(part, leaves_out));
        }
        _ => {}
    }
}

/// A journal of an earlier Carport, which gave a car that came back a row of its own, means what it meant then.
#[tokio::test(start_paused = true)]
async fn a_car_that_came_back_to_an_earlier_carport_has_two_pasts() {
    let (mut gateway, car) = from_ada_to_grace(731).await;
    let list = gateway.told("/api/v1/connections").await;
    let ada = list["items"].as_array().unwrap().iter().find(|item| item["user"] == "ada").unwrap();
    let id = connection_id(ada["id"].as_str().unwrap());
    let store = gateway.app().store().clone();
    let connection = store.read(move |snapshot| snapshot.connection(id)).await.unwrap().unwrap();
    let vehicles = vec![VehicleFacts::unknown(VehicleId::new(car.clone()))];
    let earlier = LinkVehicles { takes_back: false, ..LinkVehicles::new(connection, vehicles, gateway.now()) };
    assert_eq!(store.commit(earlier).await.unwrap(), Linking::Linked);
    drop(store);
    tell(&gateway, &car, 3).await;
    gateway.catch_up().await;
    let row = |user: &str, former: bool, place: i64| (user.to_owned(), former, json!(place));
    let (first, hers, second) = (row("ada", true, 1), row("grace", true, 2), row("ada", false, 3));
    assert_eq!(shown(&gateway, &gateway.admin, &car).await, [first.clone(), hers.clone(), second]);
    gateway.reopen().await;
    assert_eq!(places(&gateway, &car).await, of(&[("ada", 1), ("grace", 2), ("ada", 3)]));
    // Today's Carport goes on with the newest of them.
    for (user, place) in [("grace", 4), ("ada", 5)] {
        gateway.connect(user, ADA).await;
        tell(&gateway, &car, place).await;
        gateway.catch_up().await;
    }
    assert_eq!(shown(&gateway, &gateway.admin, &car).await, [first, row("grace", true, 4), row("ada", false, 5)]);
    assert_eq!(delete(&gateway, "/api/v1/users/ada?history=erase").await, 204);
    assert_eq!(places(&gateway, &car).await, of(&[("grace", 2), ("grace", 4)]), "both of hers are gone");
    gateway.finish().await;
}

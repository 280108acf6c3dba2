//! A car is in two accounts at the maker, and here it is served by one of them: the other is shown for what it is, and one step
//! ends what it opens, and nothing that is another's.

use std::time::Duration;

use carport::simulator::{Fault as Trouble, FaultKind, Faults};
use serde_json::{Value, json};

use super::{delete, ends, logged, of, places, tell};
use crate::gateway::{DAY, TestGateway, is_problem, pass};
use crate::simulator::rig::{ADA, GRACE};

/// Both cars of Ada's account are in Grace's, too, and were connected by each in turn. Returns the first, and the connections.
pub(super) async fn from_account_to_account(seed: u64) -> (TestGateway, String, [String; 2]) {
    let mut gateway = TestGateway::new(seed).await;
    gateway.start_refreshing();
    let cars = gateway.vehicles_of(ADA);
    for car in &cars {
        gateway.simulator.share(car, GRACE);
    }
    let mut connections = Vec::new();
    for (user, account, place) in [("ada", ADA, 1), ("grace", GRACE, 2)] {
        connections.push(gateway.connect(user, account).await);
        tell(&gateway, &cars[0], place).await;
        gateway.catch_up().await;
    }
    (gateway, cars[0].clone(), connections.try_into().unwrap())
}

pub(super) async fn connection(gateway: &TestGateway, id: &str) -> Value {
    gateway.told(&format!("/api/v1/connections/{id}")).await
}

/// Whether the car can be read at Smartcar by whoever has it.
async fn is_read(gateway: &TestGateway, car: &str) -> bool {
    let path = format!("/api/v1/vehicles/{car}/refresh");
    gateway.post(&path, &json!({})).bearer(&gateway.admin).send().await.status == 200
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_car_is_ended_in_one_step() {
    for (seed, how) in [(726, "connection"), (727, "user")] {
        let (gateway, car, [ada, grace]) = from_account_to_account(seed).await;
        let idle = connection(&gateway, &ada).await;
        assert_eq!((&idle["vehicles"], &idle["serves_none"]), (&json!([]), &json!(true)));
        assert_eq!(connection(&gateway, &grace).await["serves_none"], false);
        // Its tokens are all that can end it at Smartcar: they are kept good.
        pass(9 * DAY).await;
        let later = connection(&gateway, &ada).await;
        assert_eq!((&later["status"], &later["last_error"]), (&json!("active"), &Value::Null), "{later}");
        assert_ne!(later["last_refresh"], idle["last_refresh"]);
        let page = gateway.get("/connections").bearer(&gateway.admin).send().await.text();
        assert_eq!(page.matches("serves no car any more").count(), 1, "{page}");

        let path = match how {
            "user" => "/api/v1/users/ada".to_owned(),
            _ => format!("/api/v1/connections/{ada}"),
        };
        gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::Fail)]));
        let refused = gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await;
        is_problem(&refused, 502, "upstream");
        assert!(refused.text().contains("--force"), "{}", refused.text());
        gateway.simulator.set_faults(Faults::default());
        pass(Duration::from_secs(600)).await;
        let before = ends(&gateway);
        assert_eq!(delete(&gateway, &path).await, 204);
        assert_eq!(ends(&gateway), before + 2, "{how}: both cars are ended for Ada's account");
        let ended = connection(&gateway, &ada).await;
        assert_eq!((&ended["status"], &ended["serves_none"]), (&json!("disconnected"), &json!(false)));
        assert_eq!(noted(&gateway).await.len(), 3, "{how}: it, and its cars");
        assert!(is_read(&gateway, &car).await, "{how}: Grace's goes on");
        assert_eq!(connection(&gateway, &grace).await["vehicles"].as_array().unwrap().len(), gateway.vehicles_of(GRACE).len());
        assert_eq!(places(&gateway, &car).await, of(&[("ada", 1), ("grace", 2)]), "keep is the default");
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_takes_the_car_back_leaves_the_other_account_without() {
    let (gateway, car, [ada, grace]) = from_account_to_account(728).await;
    assert_eq!(gateway.connect("ada", ADA).await, ada);
    assert_eq!(connection(&gateway, &ada).await["vehicles"].as_array().unwrap().len(), 2);
    assert!(is_read(&gateway, &car).await);
    // Grace has a car of her own still: ending it ends also what her account opens of the others.
    let own = gateway.told("/api/v1/users/grace").await["vehicles"][0].as_str().unwrap().to_owned();
    let before = ends(&gateway);
    assert_eq!(delete(&gateway, &format!("/api/v1/vehicles/{own}")).await, 204);
    assert_eq!(connection(&gateway, &grace).await["status"], "disconnected");
    assert_eq!(ends(&gateway), before + 3);
    assert_eq!(noted(&gateway).await.len(), 3);
    assert!(is_read(&gateway, &car).await, "Ada's goes on");
    gateway.finish().await;
}

/// An owner has two accounts, and the car is in both.
#[tokio::test(start_paused = true)]
async fn of_one_owners_two_accounts_each_is_ended_for_itself() {
    let gateway = TestGateway::new(741).await;
    let cars = gateway.vehicles_of(ADA);
    for car in &cars {
        gateway.simulator.share(car, GRACE);
    }
    let (first, second) = (gateway.connect("ada", ADA).await, gateway.connect("ada", GRACE).await);
    assert_eq!(connection(&gateway, &first).await["serves_none"], true);
    let before = ends(&gateway);
    assert_eq!(delete(&gateway, &format!("/api/v1/connections/{first}")).await, 204);
    assert_eq!(ends(&gateway), before + 2);
    assert_eq!(connection(&gateway, &second).await["vehicles"].as_array().unwrap().len(), 3);
    assert!(is_read(&gateway, &cars[0]).await);
    gateway.finish().await;
}

/// What Ada had is erased before her connection is ended: then no row tells any more that it was hers.
#[tokio::test(start_paused = true)]
async fn what_was_erased_is_ended_all_the_same() {
    let (gateway, car, [ada, _]) = from_account_to_account(742).await;
    for car in gateway.vehicles_of(ADA) {
        assert_eq!(delete(&gateway, &format!("/api/v1/vehicles/{car}?history=erase&user=ada")).await, 204);
    }
    assert_eq!(logged(&gateway, &car).await.len(), 1);
    let before = ends(&gateway);
    // One car is ended, the next is refused: what has happened is noted, though it is for the client to ask again.
    let mut asked = 0;
    gateway.net.change(move |request, response| {
        asked += usize::from(request.method() == "DELETE");
        let refusal = r#"{"type":"CONNECTED_SERVICES_ACCOUNT","code":"AUTHENTICATION_FAILED","statusCode":400}"#;
        (asked > 1).then(|| {
            let mut refused = response.clone().map(|_| refusal.into());
            *refused.status_mut() = http::StatusCode::BAD_REQUEST;
            Ok(refused)
        })
    });
    let refused = gateway.ask("DELETE", &format!("/api/v1/connections/{ada}")).bearer(&gateway.admin).send().await;
    is_problem(&refused, 409, "reconnect_required");
    gateway.net.leave_alone();
    assert_eq!(noted(&gateway).await.len(), 2, "it, and one of its cars");
    pass(Duration::from_secs(600)).await;
    assert_eq!(delete(&gateway, &format!("/api/v1/connections/{ada}")).await, 204);
    assert_eq!(ends(&gateway), before + 2);
    assert!(is_read(&gateway, &car).await, "Grace's goes on");
    gateway.finish().await;
}

/// Both cars of a connection are disconnected at the same time: whichever is the last, it ends with it.
#[tokio::test(start_paused = true)]
async fn cars_that_go_at_the_same_time_leave_no_connection() {
    let gateway = TestGateway::new(750).await;
    let ada = gateway.connect("ada", ADA).await;
    let cars = gateway.vehicles_of(ADA);
    assert_eq!(cars.len(), 2);
    gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::Delay(Duration::from_secs(2)))]));
    let paths = [&cars[0], &cars[1]].map(|car| format!("/api/v1/vehicles/{car}"));
    assert_eq!(tokio::join!(delete(&gateway, &paths[0]), delete(&gateway, &paths[1])), (204, 204));
    let ended = connection(&gateway, &ada).await;
    assert_eq!(
        (&ended["status"], &ended["serves_none"], &ended["next_refresh"]),
        (&json!("disconnected"), &json!(false), &Value::Null)
    );
    assert_eq!(ends(&gateway), 2, "each car once");
    gateway.finish().await;
}

/// Programs that know Smartcar's API alone end connections, too.
#[tokio::test(start_paused = true)]
async fn cars_that_go_by_smartcars_own_routes_are_in_the_audit_log() {
    for (seed, how) in [(751, "v2"), (752, "v3 user"), (753, "v3 connection")] {
        let gateway = TestGateway::new(seed).await;
        let ada = gateway.connect("ada", ADA).await;
        let account = connection(&gateway, &ada).await["smartcar_user_id"].as_str().unwrap().to_owned();
        let mut cars = gateway.vehicles_of(ADA);
        let path = match how {
            "v2" => format!("/v2.0/management/connections?user_id={account}"),
            "v3 user" => format!("/v3/users/{account}"),
            _ => {
                cars.truncate(1);
                format!("/v3/connections/{}", cars[0])
            }
        };
        let status = delete(&gateway, &path).await;
        assert!([200, 204].contains(&status), "{how}: {status}");
        let mut named: Vec<String> = noted(&gateway).await.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
        named.retain(|id| *id != account);
        named.sort();
        cars.sort();
        assert_eq!(named, cars, "{how}");
        gateway.finish().await;
    }
}

/// The ids of the last removal in the audit log.
pub(super) async fn noted(gateway: &TestGateway) -> Vec<Value> {
    let list = gateway.told("/api/v1/audit").await;
    let is_removal = |entry: &&Value| entry["action"].as_str().unwrap().starts_with("DELETE ");
    list["items"].as_array().unwrap().iter().find(is_removal).unwrap()["ids"].as_array().unwrap().clone()
}

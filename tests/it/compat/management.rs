//! Lists of connections, as both generations give them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{V2, is_error, with_owner};
use crate::api::with_two_owners;
use crate::gateway::{Ask, HOUR, TestGateway, events, pass};
use crate::simulator::rig::{ADA, GRACE};

fn admin<'g>(gateway: &'g TestGateway, path: &str) -> Ask<'g> {
    gateway.get(path).bearer(&gateway.admin)
}

/// A page of connections: the ids of the vehicles, and where the next one begins.
async fn page(gateway: &TestGateway, query: &str) -> (Vec<String>, Option<String>) {
    let answer = admin(gateway, &format!("/v2.0/management/connections?{query}")).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    let ids = body["connections"].as_array().unwrap().iter().map(|each| each["vehicleId"].as_str().unwrap().to_owned());
    (ids.collect(), body["paging"]["cursor"].as_str().map(str::to_owned))
}

#[tokio::test(start_paused = true)]
async fn the_newest_connection_comes_first() {
    let gateway = with_two_owners(580).await;
    pass(HOUR).await;
    // Whoever connects again is new.
    gateway.connect("ada", ADA).await;
    let (ids, cursor) = page(&gateway, "limit=100").await;
    let mut expected = gateway.vehicles_of(ADA);
    expected.sort();
    expected.extend(gateway.vehicles_of(GRACE));
    assert_eq!((ids, cursor), (expected, None));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn pages_go_on_after_what_they_listed_has_gone() {
    let gateway = with_two_owners(581).await;
    let all = page(&gateway, "limit=100").await.0;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (ids, next) = page(&gateway, &format!("limit=1&cursor={cursor}")).await;
        for id in &ids {
            let path = format!("/v2.0/management/connections?vehicle_id={id}");
            assert_eq!(gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await.status, 200);
        }
        seen.extend(ids);
        let Some(next) = next else { break };
        cursor = next;
    }
    assert_eq!(seen, all);
    for wrong in ["x", "%20", &*all[0]] {
        let answer = admin(&gateway, &format!("/v2.0/management/connections?cursor={wrong}")).send().await;
        is_error(&answer, 400, "VALIDATION", Some("PARAMETER"));
        assert_eq!(answer.json()["detail"][0]["field"], "cursor");
    }
    gateway.finish().await;
}

/// Simulated cars are for trying things, and v3 lists them only to who asks for them.
#[tokio::test(start_paused = true)]
async fn v3_lists_live_cars_unless_it_is_asked_for_others() {
    let (gateway, car, _) = with_owner(582, V2, &[]).await;
    let mut event = events::state("e", &car, &[]);
    event["data"]["vehicle"]["mode"] = "simulated".into();
    gateway.deliver(&event).await;
    gateway.catch_up().await;
    let listed = async |filter: &str| -> BTreeSet<String> {
        let body = admin(&gateway, &format!("/v3/connections?page[size]=100{filter}")).send().await.json();
        let id = |item: &Value| item["relationships"]["vehicle"]["data"]["id"].as_str().unwrap().to_owned();
        body["data"].as_array().unwrap().iter().map(id).collect()
    };
    let others: BTreeSet<String> = gateway.vehicles_of(ADA).into_iter().filter(|id| *id != car).collect();
    assert_eq!(listed("").await, others);
    assert_eq!(listed("&filter[vehicle.mode]=live").await, others);
    assert_eq!(listed("&filter[vehicle.mode]=simulated").await, BTreeSet::from([car.clone()]));
    gateway.finish().await;
}

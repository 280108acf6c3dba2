//! Clients that hang up: at every moment at which a request waits for something, one does. What has begun is ended.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use serde_json::json;

use super::{V2, V3, with_owner};
use crate::gateway::{TestGateway, pass};
use crate::simulator::rig::ADA;

/// Lets a request go on so many times, and then hangs up; whether it had ended by then.
async fn hang_up_after<F: Future>(times: usize, request: F) -> bool {
    let mut request = pin!(request);
    let mut went = 0;
    let ended = poll_fn(|context| {
        if went == times {
            return Poll::Ready(false);
        }
        went += 1;
        request.as_mut().poll(context).map(|_| true)
    });
    ended.await
}

/// Lets everything that is under way come to its end.
async fn settle(gateway: &TestGateway) {
    pass(Duration::from_secs(600)).await;
    gateway.told("/api/v1/status").await;
}

#[tokio::test(start_paused = true)]
async fn no_command_is_under_way_for_ever() {
    for (seed, generation) in [(560, V2), (561, V3)] {
        let (gateway, car, token) = with_owner(seed, generation, &[]).await;
        for times in 0.. {
            let lock = gateway.post(&format!("/v3/vehicles/{car}/commands/security/lock"), &json!({})).bearer(&token).send();
            let has_ended = hang_up_after(times, lock).await;
            settle(&gateway).await;
            let open = gateway.app().store().read(|snapshot| snapshot.commands_under_way()).await.unwrap();
            assert!(open.is_empty(), "hung up after {times}: {open:?}");
            if has_ended {
                assert!(times > 1, "{times}");
                break;
            }
        }
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_car_is_disconnected_on_both_sides_or_on_none() {
    let (gateway, car, _) = with_owner(562, V2, &[]).await;
    let path = format!("/v2.0/vehicles/{car}/application");
    for times in 0.. {
        let before = gateway.net.count(&format!("DELETE {path}"));
        let has_ended = hang_up_after(times, gateway.ask("DELETE", &path).bearer(&gateway.admin).send()).await;
        settle(&gateway).await;
        let listed = gateway.get("/v2.0/vehicles").bearer(&gateway.admin).send().await.json();
        let is_here = listed["vehicles"].as_array().unwrap().contains(&json!(car));
        let is_there = gateway.net.count(&format!("DELETE {path}")) == before;
        assert_eq!(is_here, is_there, "hung up after {times}");
        if has_ended {
            assert!(times > 1 && !is_here, "{times}");
            break;
        }
        if !is_here {
            gateway.connect("owner", ADA).await;
        }
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn of_several_connections_all_are_ended_or_none() {
    let (gateway, _, _) = with_owner(563, V2, &[]).await;
    let all = gateway.vehicles_of(ADA).len();
    let listed = gateway.get("/v2.0/management/connections").bearer(&gateway.admin).send().await.json();
    let user = listed["connections"][0]["userId"].as_str().unwrap().to_owned();
    let path = format!("/v2.0/management/connections?user_id={user}");
    for times in 0.. {
        let has_ended = hang_up_after(times, gateway.ask("DELETE", &path).bearer(&gateway.admin).send()).await;
        settle(&gateway).await;
        let left = gateway.get("/v2.0/vehicles").bearer(&gateway.admin).send().await.json()["paging"]["count"].clone();
        assert!(left == 0 || left == all, "hung up after {times}: {left} of {all}");
        if has_ended {
            assert!(times > 1 && left == 0, "{times}");
            break;
        }
        if left == 0 {
            gateway.connect("owner", ADA).await;
        }
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_went_is_noted_though_nobody_waits_for_it() {
    let (gateway, _, _) = with_owner(563, V2, &[]).await;
    let cars = gateway.vehicles_of(ADA);
    let mut seen = std::collections::BTreeSet::new();
    for times in 0.. {
        let path = format!("/api/v1/connections/{}", gateway.connect("owner", ADA).await);
        let has_ended = hang_up_after(times, gateway.ask("DELETE", &path).bearer(&gateway.admin).send()).await;
        settle(&gateway).await;
        let mut gone = Vec::new();
        for car in &cars {
            let is_gone = gateway.told(&format!("/api/v1/vehicles/{car}")).await["connection"].is_null();
            gone.extend(is_gone.then(|| json!(car)));
        }
        let audit = gateway.told("/api/v1/audit").await;
        let removal = audit["items"].as_array().unwrap().iter().find(|one| one["action"] == "DELETE /api/v1/connections/{id}");
        let noted = removal.map(|entry| entry["ids"].as_array().unwrap().clone()).unwrap_or_default();
        assert!(gone.iter().all(|car| noted.contains(car)), "hung up after {times}: {gone:?} went, noted are {noted:?}");
        seen.insert(gone.len());
        if has_ended {
            break;
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
    gateway.finish().await;
}

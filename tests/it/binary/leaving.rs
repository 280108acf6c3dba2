//! Leaving for good: the past is taken along, and nothing stays, also if it is cut off in between and done again.

use rustix::process::Signal;
use serde_json::json;

use super::commands::house;
use super::process::{Program, mode, until};
use super::smartcar::walk;
use crate::hands::unreadable::turn_bits;

#[tokio::test]
async fn who_leaves_takes_the_past_along_and_leaves_nothing_behind() {
    let (home, smartcar, server) = house().await;
    let link = home.done(&["connect", "--user", "grace", "--create"]).await;
    assert_eq!(walk(&link, "grace@example.com").await.status, 200);
    until("the first delivery of the third car", || async {
        let cars = home.json(&["vehicles", "list"]).await;
        let told = cars["items"].as_array()?.iter().filter(|car| car["last_event_at"].is_string()).count();
        (told == 3).then_some(())
    })
    .await;
    // A user who was removed before has left a connection that is over.
    home.done(&["users", "remove", "grace", "--yes"]).await;
    server.stop().await;
    let past = home.done(&["export"]).await;
    assert!(past.lines().count() > 40, "{} changes", past.lines().count());

    // Smartcar hangs, and somebody pulls the plug. By then all of the past is on the disk, and nothing is erased.
    smartcar.tell("faults", &json!({ "faults": ["hang"] })).await;
    let leave = ["leave", "--export", "past", "--erase", "--yes"];
    let mut cut = Program::start(home.command(&leave));
    cut.says("where the past is", |text| text.contains("past/history.jsonl\n").then_some(())).await;
    cut.signal(Signal::KILL);
    cut.end().await;
    let kept = |name: &str| std::fs::read_to_string(home.path("past").join(name)).map(|text| text.trim_end().to_owned());
    assert_eq!((kept("history.jsonl").unwrap(), mode(&home.path("past/history.jsonl"))), (past.clone(), 0o600));
    assert_eq!(home.json(&["vehicles", "list"]).await["items"].as_array().unwrap().len(), 3);
    assert_eq!(home.done(&["export"]).await, past);
    // What is connected is counted, and no directory is made above the one that was named.
    let asked = home.run(&["leave", "--erase"]).await;
    assert!(asked.complaint().contains("Disconnect 1 connection with 2 cars at Smartcar and erase"), "{asked:?}");
    let nowhere = home.run(&["leave", "--export", "no/where", "--erase", "--yes"]).await;
    assert!(nowhere.code == Some(1) && nowhere.stderr.contains("there is no directory no to make no/where in"), "{nowhere:?}");
    assert!(!home.path("no").exists());

    // An export that was cut off is begun anew; what is whole stays.
    std::fs::write(home.path("past/history.jsonl.part"), "{\"half").unwrap();
    smartcar.tell("faults", &json!({ "faults": [] })).await;
    let said = home.done(&leave).await;
    assert!(said.contains("past/history-2.jsonl") && !said.contains("FAILED"), "{said}");
    assert_eq!((kept("history.jsonl").unwrap(), kept("history-2.jsonl").unwrap()), (past.clone(), past));
    assert!(kept("history.jsonl.part").is_err());
    let connected = smartcar.status().await["cars"].as_array().unwrap().iter().filter(|car| car["connected"] == true).count();
    assert_eq!(connected, 0, "still connected at Smartcar");
    for what in ["vehicles", "connections", "users"] {
        assert_eq!(home.json(&[what, "list"]).await["items"], json!([]), "{what}");
    }
    assert_eq!(home.json(&["webhooks", "list", "--type", "VEHICLE_STATE"]).await["items"], json!([]));
    assert_eq!(home.done(&["export"]).await, "");
    assert!(home.done(&leave).await.contains("past/history-3.jsonl"));
    assert_eq!(kept("history-3.jsonl").unwrap(), "");
}

#[tokio::test]
async fn who_leaves_while_smartcar_is_down_is_told_what_is_left_there() {
    let (home, smartcar, server) = house().await;
    smartcar.tell("faults", &json!({ "faults": ["refuse"] })).await;
    let ran = home.run(&["leave", "--yes"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("FAILED") && !ran.stdout.contains("What remains"), "{ran:?}");
    assert!(ran.stderr.contains("run it again when Smartcar answers"), "{ran:?}");
    let said = home.done(&["leave", "--yes", "--force"]).await;
    for part in ["ended here, perhaps not at Smartcar", "may still be connected at Smartcar", "What remains"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains(": done"), "{said}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_forgotten_here_is_erased_with_it_if_that_is_said() {
    let (home, smartcar, server) = house().await;
    let list = home.json(&["connections", "list"]).await;
    let connection = list["items"].as_array().unwrap().iter().find(|one| one["user"] == "ada").unwrap();
    let mistyped = home.run(&["export", "--signal", "bogus"]).await;
    assert_eq!((mistyped.code, mistyped.stdout.as_str()), (Some(1), ""), "{mistyped:?}");
    assert!(mistyped.stderr.contains("There is no signal `bogus`: "), "{mistyped:?}");
    let said = home.done(&["connections", "forget", connection["id"].as_str().unwrap(), "--erase", "--yes"]).await;
    assert!(said.contains("Its 2 cars (") && said.contains("are erased") && said.contains("Smartcar was not asked"), "{said}");
    assert_eq!(home.json(&["vehicles", "list", "--user", "ada"]).await["items"], json!([]));
    let connected = smartcar.status().await["cars"].as_array().unwrap().iter().filter(|one| one["connected"] == true).count();
    assert_eq!(connected, 2, "Smartcar goes on");
    server.stop().await;
}

/// What the export has to leave out is not erased before somebody insists; what is damaged is ended with the rest.
#[tokio::test]
async fn who_leaves_with_a_damaged_store_is_told_of_it() {
    let (home, _smartcar, server) = house().await;
    server.stop().await;
    let database = redb::Database::open(home.store()).unwrap();
    turn_bits(&database, "vehicles-1", &1_u32.to_be_bytes());
    drop(database);
    let leave = ["leave", "--export", "past", "--erase", "--yes"];
    let ran = home.run(&leave).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("It is not all: 1 row") && ran.stderr.contains("nothing was ended"), "{ran:?}");
    assert_eq!(home.json(&["connections", "list"]).await["items"][0]["status"], "active");
    let ran = home.run(&[&leave[..], &["--force"]].concat()).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("done, but") && ran.stdout.contains("(damaged)"), "{ran:?}");
    assert!(!ran.stdout.contains("FAILED") && ran.stdout.contains("What remains"), "{ran:?}");
    for what in ["vehicles", "connections", "users"] {
        assert_eq!(home.json(&[what, "list"]).await["items"], json!([]), "{what}");
    }
    assert_eq!(home.done(&["export"]).await, "");
}

/// A car that was forgotten, and one whose connection is damaged, are no less at Smartcar.
#[tokio::test]
async fn who_leaves_is_told_of_cars_without_a_connection() {
    let (home, smartcar, server) = house().await;
    let link = home.done(&["connect", "--user", "grace", "--create"]).await;
    assert_eq!(walk(&link, "grace@example.com").await.status, 200);
    let list = home.json(&["connections", "list"]).await;
    let of = |user: &str| {
        let found = list["items"].as_array().unwrap().iter().find(|one| one["user"] == user).unwrap();
        found["id"].as_str().unwrap().to_owned()
    };
    home.done(&["connections", "forget", &of("ada"), "--yes"]).await;
    server.stop().await;
    let database = redb::Database::open(home.store()).unwrap();
    turn_bits(&database, "connections-1", crate::gateway::connection_id(&of("grace")).0.as_bytes());
    drop(database);
    let connected = async || {
        let cars = smartcar.status().await["cars"].as_array().unwrap().clone();
        cars.into_iter().filter(|car| car["connected"] == true).count()
    };
    assert_eq!(connected().await, 3);
    let said = home.done(&["leave", "--yes"]).await;
    assert!(said.contains(" of grace: done") && !said.contains("FAILED"), "{said}");
    assert_eq!((said.matches("but still at Smartcar").count(), connected().await), (2, 2), "{said}");
    assert!(said.contains("What remains"), "{said}");
}

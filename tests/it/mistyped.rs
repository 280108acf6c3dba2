//! What is mistyped is refused by name, with what was probably meant: an empty list would look like an answer.

use serde_json::{Value, json};

use crate::api::{connection_of, with_two_owners};
use crate::gateway::{TestGateway, events, is_problem};
use crate::simulator::rig::{ADA, Answer, GRACE};

async fn ask(gateway: &TestGateway, token: &str, path: &str) -> Answer {
    gateway.get(&format!("/api/v1/{path}")).bearer(token).send().await
}

/// Refused, and the answer says all of this.
async fn refused(gateway: &TestGateway, path: &str, status: u16, parts: &[&str]) {
    says(&ask(gateway, &gateway.admin, path).await, path, status, parts);
}

fn says(answer: &Answer, path: &str, status: u16, parts: &[&str]) {
    is_problem(answer, status, if status == 400 { "bad_request" } else { "not_found" });
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    for part in parts {
        assert!(detail.contains(part), "{path}: {part}: {detail}");
    }
}

const LATE_TO_EARLY: &str = "since=2026-03-01T00:00:00Z&until=2026-02-01T00:00:00Z";

const BACKWARDS: &[&str] = &["`since` (2026-03-01T00:00:00.000Z) is later than `until` (2026-02-01T00:00:00.000Z)"];

fn of_the_past(car: &str, part: &str) -> String {
    format!("vehicles/{car}/{part}?{LATE_TO_EARLY}")
}

#[tokio::test(start_paused = true)]
async fn filters_of_lists_are_words_and_ids_that_there_are() {
    let gateway = with_two_owners(980).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    let car = &car;
    for (path, status, parts) in [
        ("vehicles?mode=liv", 400, &["`mode` must be live or simulated", "(live, perhaps?)"][..]),
        ("vehicles?mode=test", 400, &["`mode` must be live or simulated."]),
        ("vehicles?mod=live", 400, &["`mod` is not known here", "mode, perhaps?"]),
        ("vehicles?colour=red", 400, &["there may be user, mode, limit, cursor, units"]),
        ("vehicles?user=adda", 404, &["no user of this id", "carport users list"]),
        ("vehicles?units=metrics", 400, &["metric or imperial", "metric, perhaps?"]),
        (
            "webhooks?result=acepted",
            400,
            &["accepted, unknown_vehicle, not_connected, unknown_type, test or not_understood", "(accepted, perhaps?)"],
        ),
        ("webhooks?type=vehicle_stat", 400, &["VEHICLE_STATE, perhaps?"]),
        ("webhooks?type=weather", 400, &["VEHICLE_STATE, VEHICLE_ERROR, VERIFY, scheduled, eventBased are known"]),
        ("webhooks?vehicle=nobodys", 404, &["no car of this id", "carport vehicles list"]),
        (&format!("vehicles/{car}/history?format=cvs"), 400, &["json or csv", "csv, perhaps?"]),
        (
            &format!("vehicles/{car}/history?every=hours&signal=odometer-traveleddistance"),
            400,
            &["hour or day", "hour, perhaps?"],
        ),
        ("export?format=json", 400, &["csv or jsonl", "jsonl, perhaps?"]),
        ("export?vehicle=nobodys", 404, &["no car of this id"]),
        (&of_the_past(car, "history"), 400, BACKWARDS),
        (&of_the_past(car, "charges"), 400, BACKWARDS),
        (&of_the_past(car, "trips"), 400, BACKWARDS),
        (&format!("export?{LATE_TO_EARLY}"), 400, BACKWARDS),
        (&format!("webhooks?{LATE_TO_EARLY}"), 400, BACKWARDS),
        ("setup?fresh=yes", 400, &["true or false"]),
        ("tokens?user=ada", 400, &["`user` is not known here: nothing is asked for."]),
        ("users/nobody", 404, &["no user of this id", "carport users list"]),
        ("vehicles/nobodys", 404, &["no car of this id", "carport vehicles list"]),
        ("vehicles/nobodys/history?signal=bogus", 404, &["no car of this id"]),
    ] {
        refused(&gateway, path, status, parts).await;
    }
    for path in ["vehicles?mode=live", "webhooks?result=test", "webhooks?type=VEHICLE_ERROR", "vehicles?user=ada&mode=simulated"]
    {
        assert_eq!(ask(&gateway, &gateway.admin, path).await.status, 200, "{path}");
    }
    // What Carport does not know, but has: a type that is new, and a user who is gone.
    gateway.deliver(&json!({ "eventId": "new", "eventType": "VEHICLE_WASHED", "data": { "vehicle": { "id": car } } })).await;
    gateway.catch_up().await;
    let washed = ask(&gateway, &gateway.admin, "webhooks?type=VEHICLE_WASHED").await.json();
    assert_eq!(washed["items"].as_array().unwrap().len(), 1);
    assert_eq!(gateway.ask("DELETE", "/api/v1/users/grace").bearer(&gateway.admin).send().await.status, 204);
    let left = ask(&gateway, &gateway.admin, "vehicles?user=grace").await.json();
    assert_eq!(left["items"].as_array().unwrap().len(), gateway.vehicles_of(GRACE).len());

    // For who may see one owner's there is no other.
    let ada = gateway.create_token(&json!({ "name": "a", "scope": "read", "user": "ada" })).await;
    let one = gateway.create_token(&json!({ "name": "o", "scope": "read", "vehicle": car })).await;
    let theirs = gateway.vehicles_of(GRACE).remove(0);
    for token in [&ada, &one] {
        assert_eq!(ask(&gateway, token, "vehicles?user=ada").await.status, 200);
        for path in ["vehicles?user=grace".to_owned(), format!("webhooks?vehicle={theirs}")] {
            is_problem(&ask(&gateway, token, &path).await, 404, "not_found");
        }
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_signal_is_one_that_is_listed_or_was_told() {
    let gateway = with_two_owners(981).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    let washed = events::signal("wash-lastprogram", 3, 1_759_900_000_000);
    gateway.deliver(&events::state("washed", &car, &[washed])).await;
    gateway.catch_up().await;
    let of = |rest: &str| format!("vehicles/{car}/{rest}");
    for (code, meant) in [
        ("odometer-traveledistance", "(odometer-traveleddistance, perhaps?)"),
        ("odometr", "(odometer-traveleddistance, perhaps?)"),
        ("Odometer.TraveledDistance", "(odometer-traveleddistance, perhaps?)"),
        ("tractionbattery-stateofcharg", "tractionbattery-stateofcharge"),
        ("bogus", "there is no signal `bogus`: `carport signals` shows"),
    ] {
        let parts = [meant, "`carport signals`"].map(|part| part.replace("there is", "There is"));
        let parts = [parts[0].as_str(), parts[1].as_str()];
        for path in [
            of(&format!("history?signal={code}")),
            of(&format!("history?signal={code}&format=csv")),
            of(&format!("history?signal={code}&every=day")),
            format!("export?signal={code}"),
            format!("export?vehicle={car}&signal={code}"),
        ] {
            refused(&gateway, &path, 400, &parts).await;
        }
        refused(&gateway, &of(&format!("signals/{code}")), 404, &parts).await;
    }
    // Listed, but not told; and told, but not listed.
    refused(&gateway, &of("signals/charge-chargelimits"), 404, &["told nothing of this signal", "--missing"]).await;
    assert_eq!(ask(&gateway, &gateway.admin, &of("history?signal=charge-chargelimits")).await.json()["items"], json!([]));
    for path in ["history?signal=wash-lastprogram", "history?signal=wash-lastprogram&every=hour"] {
        let told = ask(&gateway, &gateway.admin, &of(path)).await;
        assert_eq!((told.status, told.json()["items"].as_array().unwrap().len()), (200, 1), "{path}");
    }
    assert_eq!(ask(&gateway, &gateway.admin, &of("signals/wash-lastprogram")).await.json()["body"]["value"], 3);
    let exported = ask(&gateway, &gateway.admin, "export?signal=wash-lastprogram").await.text();
    assert_eq!(exported.lines().count(), 1, "{exported}");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_posted_is_made_of_words_that_there_are() {
    let gateway = with_two_owners(983).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    let command = |name: &str| format!("vehicles/{car}/commands/{name}");
    let limit = command("charge/set-limit");
    let of_ada = |field: &str, value: Value| json!({ "user": "ada", field: value });
    for (path, body, status, parts) in [
        (&*command("security/look"), json!({}), 404, &["no command `security/look` (security/lock, perhaps?)"][..]),
        (&command("climate/start"), json!({}), 404, &["no command `climate/start`: there are charge/start, charge/stop, "]),
        (&limit, json!({ "limitt": 80 }), 400, &["`limitt` is not known here: there may be percent."]),
        (&limit, json!({ "percnt": 80 }), 400, &["`percnt` is not known here: percent, perhaps?"]),
        (&limit, json!({ "percent": "80" }), 400, &["percent must be a whole number"]),
        (&command("charge/start"), json!({ "percent": 80 }), 400, &["`percent` is not known here: nothing is asked for."]),
        ("connect", of_ada("mode", json!("simulate")), 400, &["`mode` must be live or simulated (simulated, perhaps?)."]),
        ("connect", of_ada("scope", json!(["read_vin", "read_odometr"])), 400, &["`read_odometr`", "(read_odometer, perhaps?)"]),
        ("connect", of_ada("add_scope", json!(["required:control_chrge"])), 400, &["(control_charge, perhaps?)"]),
        ("connect", of_ada("scope", json!(["read_vin read_odometer"])), 400, &["name each permission by itself"]),
    ] {
        let answer = gateway.post(&format!("/api/v1/{path}"), &body).bearer(&gateway.admin).send().await;
        says(&answer, path, status, parts);
    }
    // Smartcar may have permissions that are younger than Carport.
    for scope in ["read_cabin_noise", "required:read_odometer"] {
        let invite = of_ada("scope", json!([scope]));
        assert_eq!(gateway.post("/api/v1/connect", &invite).bearer(&gateway.admin).send().await.status, 201, "{scope}");
    }
    gateway.finish().await;
}

/// The audit log and the list of connections take what they say, and nothing else.
#[tokio::test(start_paused = true)]
async fn every_list_says_what_may_be_asked() {
    let gateway = with_two_owners(982).await;
    let connection = connection_of(&gateway, "ada").await;
    let description = gateway.get("/openapi.json").send().await.json();
    let car = gateway.vehicles_of(ADA).remove(0);
    let mut tried = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        let Some(route) = methods.get("get").filter(|route| route["x-scope"].is_string()) else { continue };
        let Some(rest) = path.strip_prefix("/api/v1/") else { continue };
        if rest.starts_with("vehicles/{id}/commands") || rest == "webhooks/{seq}" {
            continue;
        }
        let id = if rest.starts_with("connections") {
            connection.as_str()
        } else if rest.starts_with("users") {
            "ada"
        } else {
            &car
        };
        let rest = rest.replace("{id}", id).replace("{code}", "odometer-traveleddistance");
        let answer = ask(&gateway, &gateway.admin, &format!("{rest}?bogus=1")).await;
        is_problem(&answer, 400, "bad_request");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("`bogus` is not known here"), "{rest}: {detail}");
        for parameter in route["parameters"].as_array().unwrap_or(&Vec::new()) {
            let (name, place) = (parameter["name"].as_str().unwrap_or_default(), &parameter["in"]);
            if place == "query" {
                assert!(detail.contains(name), "{rest}: {name}: {detail}");
            }
        }
        tried += 1;
    }
    assert!(tried > 20, "{tried}");
    gateway.finish().await;
}

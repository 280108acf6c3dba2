//! Users, vehicles and connections.

use std::time::Duration;

use serde_json::{Value, json};

use super::args::{Connections, Disconnect, Users, Vehicles};
use super::car::name_of;
use super::client::Client;
use super::print::{age, align, card, confirm, field, say, say_json, shorten, table, text};
use super::{Exit, Failure, Place, arriving, car, signals};
use crate::model::Timestamp;
use crate::smartcar::in_two;
use crate::world::{Clock, SystemClock};

/// `carport users`
pub(super) async fn users(client: &Client, command: Users, place: &Place) -> Result<(), Failure> {
    let now = SystemClock.now();
    match command {
        Users::List(flags) => {
            let users = client.list(&["users"], &[]).await?;
            if flags.json {
                return say_json(&users);
            }
            say(&table(
                &users,
                &[
                    ("ID", &|v| field(v, "id")),
                    ("NAME", &|v| field(v, "name")),
                    ("E-MAIL", &|v| field(v, "email")),
                    ("CARS", &cars_of),
                    ("OPEN INVITES", &|v| open_invites(v, now)),
                    ("MADE", &|v| age(v, "created_at", now)),
                ],
                "No users yet. Make one with its first car: carport connect --user ID --create",
            ))
        }
        Users::Add { id, name, email, json } => {
            let mut body = json!({});
            for (key, value) in [("id", id), ("name", name), ("email", email)] {
                if let Some(value) = value {
                    body[key] = value.into();
                }
            }
            let user = client.post(&["users"], body).await?;
            if json { say_json(&user) } else { say(&field(&user, "id")) }
        }
        Users::Rename { id, name, json } => {
            let user = client.patch(&["users", &id], json!({ "name": name })).await?;
            if json { say_json(&user) } else { say("Renamed.") }
        }
        Users::Remove { disconnect, erase } => {
            let what = if erase { "and erase their history" } else { "(their history stays)" };
            let question = format!("Disconnect all cars of {} {what}, and remove the user?", disconnect.which.id);
            let done = if erase {
                "Removed, and the history of its cars with it."
            } else {
                "Removed. The history of its cars stays: `carport vehicles list` shows them, and the same command with --erase erases it."
            };
            end(client, "users", disconnect, &history(erase), &question, done, place).await
        }
    }
}

/// `carport vehicles`
pub(super) async fn vehicles(client: &Client, command: Vehicles, place: &Place) -> Result<(), Failure> {
    let now = SystemClock.now();
    match command {
        Vehicles::List { user, mode, json } => {
            let filter = [("user", user.as_deref()), ("mode", mode.as_deref())];
            let query: Vec<_> = filter.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let vehicles = client.list(&["vehicles"], &query).await?;
            if json {
                return say_json(&vehicles);
            }
            say(&table(
                &vehicles,
                &[
                    ("ID", &|v| field(v, "id")),
                    ("CAR", &name_of),
                    ("USER", &owner),
                    ("MODE", &|v| field(v, "mode")),
                    ("LAST EVENT", &|v| age(v, "last_event_at", now)),
                    ("READ NEXT", &|v| read_next(v, now)),
                    ("DATA", &|v| light(v, "data_flow", "color")),
                    ("AUTHORITY", &|v| light(v, "authority", "color")),
                ],
                "No cars yet. Connect one: carport connect",
            ))
        }
        Vehicles::Show(show) => {
            let vehicle = car::car(client, &show.car, &[]).await?;
            if show.json {
                return say_json(&vehicle);
            }
            let budget = client.get(&["budget"], &[]).await?;
            say(&vehicle_card(&vehicle, &calls(&budget, &vehicle), now))
        }
        Vehicles::Subscribe(show) => {
            let id = car::id_of(client, &show.car).await?;
            let vehicle = client.post(&["vehicles", &id, "subscribe"], Value::Null).await?;
            if show.json { say_json(&vehicle) } else { say("Subscribed.") }
        }
        Vehicles::Rename { car, name, json } => {
            let id = car::id_of(client, &car).await?;
            let vehicle = client.patch(&["vehicles", &id], json!({ "nickname": name })).await?;
            if json { say_json(&vehicle) } else { say("Renamed.") }
        }
        Vehicles::Disconnect(disconnect) => {
            let question = format!("Disconnect vehicle {} at Smartcar? Its history stays.", disconnect.which.id);
            end(client, "vehicles", disconnect, &history(false), &question, "Disconnected.", place).await
        }
        Vehicles::Erase { disconnect, user } => {
            let id = &disconnect.which.id;
            let question = match &user {
                None => format!("Disconnect vehicle {id} at Smartcar and erase its history, also that of former owners?"),
                Some(user) => format!("Erase what {user} had of vehicle {id}, and disconnect it if it still is theirs?"),
            };
            let mut query = history(true).to_vec();
            query.extend(user.as_deref().map(|user| ("user", user)));
            end(client, "vehicles", disconnect, &query, &question, "Erased.", place).await
        }
    }
}

/// `carport connections`
pub(super) async fn connections(client: &Client, command: Connections, place: &Place) -> Result<(), Failure> {
    let now = SystemClock.now();
    match command {
        Connections::List(flags) => {
            let connections = client.list(&["connections"], &[]).await?;
            if flags.json {
                return say_json(&connections);
            }
            say(&table(
                &connections,
                &[
                    ("ID", &|v| field(v, "id")),
                    ("USER", &|v| field(v, "user")),
                    ("API", &|v| field(v, "generation")),
                    ("STATUS", &|v| field(v, "status")),
                    ("PROBLEM", &problem),
                    ("CARS", &|v| v["vehicles"].as_array().map_or(0, Vec::len).to_string()),
                    ("LAST REFRESH", &|v| age(v, "last_refresh", now)),
                    ("NEXT", &|v| age(v, "next_refresh", now)),
                ],
                "No connections yet. Make one: carport connect",
            ))
        }
        Connections::Show(show) => {
            let connection = client.get(&["connections", &show.id], &[]).await?;
            if show.json { say_json(&connection) } else { say(&connection_card(&connection, now)) }
        }
        Connections::Refresh(show) => {
            let connection = client.post(&["connections", &show.id, "refresh"], Value::Null).await?;
            let done = renewed(&connection);
            let hindered = hindered(&connection);
            if show.json {
                say_json(&connection)?;
            } else if hindered.is_none() {
                say(&format!("Done: {done}."))?;
            }
            hindered.map_or(Ok(()), |what| Err(Failure::new(Exit::Failed, format!("{done}, but the connection {what}"))))
        }
        Connections::Disconnect(disconnect) => {
            let question = format!("End connection {} at Smartcar? The history of its cars stays.", disconnect.which.id);
            end(client, "connections", disconnect, &history(false), &question, "Disconnected.", place).await
        }
        Connections::Adopt(flags) => arriving::adopt(client, flags).await,
        Connections::Import(flags) => arriving::import(client, flags).await,
        Connections::Forget { which, erase } => {
            let cars = if erase {
                "Its cars and their history are erased."
            } else {
                "Its cars stay with their history, but without a connection."
            };
            let question = format!("Forget connection {} here without asking Smartcar? {cars}", which.id);
            confirm(place, which.yes, &question)?;
            let mut query = vec![("local", "true")];
            query.extend(erase.then_some(("history", "erase")));
            let forgotten = client.delete(&["connections", &which.id], &query).await?;
            if which.json { say_json(&forgotten) } else { say(&forgotten_words(&forgotten)) }
        }
    }
}

/// How many, and until when the first of them.
fn open_invites(user: &Value, now: Timestamp) -> String {
    match user["invites"].as_array().map_or(&[][..], Vec::as_slice) {
        [] => "0".to_owned(),
        [first, rest @ ..] => format!("{} (ends {})", 1 + rest.len(), age(first, "expires_at", now)),
    }
}

/// What happens to the past.
fn history(erase: bool) -> [(&'static str, &'static str); 1] {
    [("history", if erase { "erase" } else { "keep" })]
}

/// Ends something after asking.
async fn end(
    client: &Client,
    what: &str,
    flags: Disconnect,
    query: &[(&str, &str)],
    question: &str,
    done: &str,
    place: &Place,
) -> Result<(), Failure> {
    // Nobody is asked about what is not there: that is refused below. An erasure also takes what is left of it.
    let erases = query.contains(&("history", "erase"));
    if !flags.which.yes && (erases || !is_gone(client, &[what, &flags.which.id]).await) {
        confirm(place, flags.which.yes, question)?;
    }
    let mut query = query.to_vec();
    if flags.force {
        query.push(("force", "true"));
    }
    client.delete(&[what, &flags.which.id], &query).await?;
    if flags.which.json { say_json(&json!({})) } else { say(done) }
}

/// Whether there is nothing of that id.
async fn is_gone(client: &Client, path: &[&str]) -> bool {
    client.get(path, &[]).await.is_err_and(|failure| failure.is("not_found"))
}

/// Whose a car is, or was.
fn owner(vehicle: &Value) -> String {
    let user = field(vehicle, "user");
    if vehicle["former"] == true { format!("{user} (formerly)") } else { user }
}

/// How many cars a user has, and how many are another's by now.
fn cars_of(user: &Value) -> String {
    let count = |name: &str| user[name].as_array().map_or(0, Vec::len);
    match (count("vehicles"), count("former_vehicles")) {
        (cars, 0) => cars.to_string(),
        (cars, former) => format!("{cars} (formerly {former} more)"),
    }
}

/// When Carport reads a car by itself, or why it does not, in a word.
fn read_next(vehicle: &Value, now: Timestamp) -> String {
    let polling = &vehicle["polling"];
    if polling["state"] == "reading" { ahead(polling, now) } else { field(polling, "state").replace('_', " ") }
}

/// How long it is until then. Carport looks once a minute for what is due.
fn ahead(polling: &Value, now: Timestamp) -> String {
    let at = polling["next_at"].as_str().and_then(Timestamp::parse);
    let is_due = at.is_some_and(|at| at.since(now) < Duration::from_secs(1));
    if is_due { "within a minute".to_owned() } else { age(polling, "next_at", now) }
}

/// The same in sentences.
fn reading(vehicle: &Value, now: Timestamp) -> String {
    let polling = &vehicle["polling"];
    let next = ahead(polling, now);
    let is_due = polling["state"] == "reading" && !next.is_empty();
    if is_due { format!("{} Next {next}.", field(polling, "text")) } else { field(polling, "text") }
}

fn light(vehicle: &Value, light: &str, part: &str) -> String {
    text(&vehicle["lights"][light][part])
}

/// What was called about a car this month, or why nothing more is, and what can be done.
fn calls(budget: &Value, vehicle: &Value) -> String {
    let account = budget["items"].as_array().into_iter().flatten().find(|account| account["vehicle"] == vehicle["id"]);
    let Some(account) = account.filter(|_| vehicle["former"] != true) else { return String::new() };
    let of = account["limit"].as_u64().map(|limit| format!(" of {limit}")).unwrap_or_default();
    let spent = account["spent"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{}{of} this month{spent}", account["used"])
}

fn vehicle_card(vehicle: &Value, calls: &str, now: Timestamp) -> String {
    let lit = |name: &str| format!("{}: {}", light(vehicle, name, "color"), light(vehicle, name, "text"));
    let error = |error: &Value| {
        let sentence = [field(error, "message"), field(error, "description")].into_iter().find(|text| !text.is_empty());
        format!("{} {} {}", field(error, "type"), field(error, "code"), sentence.unwrap_or_default())
    };
    let errors = vehicle["errors"].as_array().map_or(&[][..], Vec::as_slice);
    let mut shown = card(&[
        ("Id", field(vehicle, "id")),
        ("Car", name_of(vehicle)),
        ("VIN", field(vehicle, "vin")),
        ("User", field(vehicle, "user")),
        ("Connection", field(vehicle, "connection")),
        ("Mode", field(vehicle, "mode")),
        ("Last event", age(vehicle, "last_event_at", now)),
        ("Data", lit("data_flow")),
        ("Authority", lit("authority")),
        ("Read", reading(vehicle, now)),
        ("Calls", calls.to_owned()),
        ("Missing", [text(&vehicle["missing"]["what"]), text(&vehicle["missing"]["remedy"])].join(" ").trim().to_owned()),
        ("Errors", errors.iter().map(error).collect::<Vec<_>>().join("; ")),
    ]);
    let rows = signals::rows(vehicle, now);
    if !rows.is_empty() {
        shown.push_str("\n\n");
        shown.push_str(&align(rows));
    }
    if let Some(hint) = signals::lacking(vehicle) {
        shown.push_str("\n\n");
        shown.push_str(&hint);
    }
    shown
}

/// What is wrong with a connection, in a few words; `show` has all of it.
fn problem(connection: &Value) -> String {
    let said = [field(connection, "reason"), field(connection, "last_error")].into_iter().find(|said| !said.is_empty());
    let said = said.or_else(|| lacks_cars(connection).map(str::to_owned)).unwrap_or_default();
    shorten(in_two(&said).0)
}

/// What was renewed: whoever renews nothing answers with an error.
fn renewed(connection: &Value) -> &'static str {
    match field(connection, "generation").as_str() {
        "v3" => "the application's token, by which v3 serves all connections, is renewed",
        _ => "its tokens are renewed",
    }
}

/// Why a connection is of no use, whatever was renewed.
fn hindered(connection: &Value) -> Option<String> {
    let said = [field(connection, "reason"), field(connection, "last_error")].into_iter().find(|said| !said.is_empty());
    if connection["status"] == "needs_reconnect" {
        let why = said.map(|said| format!(": {said}")).unwrap_or_default();
        let link = connection["vehicles"][0].as_str();
        let link = link.map(|id| format!(", or send the owner the link of `carport connect --vehicle {id}`")).unwrap_or_default();
        return Some(format!("waits for its owner{why}. Press Reconnect on the dashboard{link}"));
    }
    said.map(|said| format!("does not work: {said}"))
}

/// Why a connection that works has no cars.
fn lacks_cars(connection: &Value) -> Option<&'static str> {
    if awaits_cars(connection) {
        return Some("its cars are not told yet: Smartcar is asked again");
    }
    (connection["serves_none"] == true).then_some("serves no car any more: `disconnect` ends it")
}

/// Whether Smartcar has not told yet whose it is, nor its cars.
pub(super) fn awaits_cars(connection: &Value) -> bool {
    ["smartcar_user_id", "last_error"].iter().all(|field| connection[field].is_null()) && connection["status"] == "active"
}

fn forgotten_words(forgotten: &Value) -> String {
    let cars = match forgotten["vehicles"].as_array().map_or(0, Vec::len) {
        0 => "It served no car.".to_owned(),
        1 if forgotten["history"] == "erase" => format!("Its car ({}) is erased.", field(forgotten, "vehicles")),
        several if forgotten["history"] == "erase" => {
            format!("Its {several} cars ({}) are erased.", field(forgotten, "vehicles"))
        }
        1 => format!("Its car ({}) stays with its history, without a connection.", field(forgotten, "vehicles")),
        several => {
            format!("Its {several} cars ({}) stay with their history, without a connection.", field(forgotten, "vehicles"))
        }
    };
    format!("Forgotten here. {cars}\nSmartcar was not asked: to end it there too, remove the car in Smartcar's dashboard.")
}

const UNTOLD: &str = "not told yet: Smartcar is asked again by itself, every few minutes; the log says what it answers";

fn connection_card(connection: &Value, now: Timestamp) -> String {
    card(&[
        ("Id", field(connection, "id")),
        ("User", field(connection, "user")),
        ("Smartcar user", field(connection, "smartcar_user_id")),
        ("API", field(connection, "generation")),
        ("Status", field(connection, "status")),
        ("Reason", field(connection, "reason")),
        ("Reconnect", field(connection, "reconnect_url")),
        ("Scope", field(connection, "scope")),
        ("Missing scope", field(connection, "missing_scope")),
        ("Access token ends", age(connection, "access_expires_at", now)),
        ("Refresh token ends", age(connection, "refresh_expires_at", now)),
        ("Last refresh", age(connection, "last_refresh", now)),
        ("Next refresh", age(connection, "next_refresh", now)),
        ("Last error", field(connection, "last_error")),
        ("Cars", if awaits_cars(connection) { UNTOLD.to_owned() } else { field(connection, "vehicles") }),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_whose_cars_are_not_told_yet_says_so() {
        let told = |user: Value| {
            let connection = json!({ "status": "active", "smartcar_user_id": user, "vehicles": [] });
            (problem(&connection), connection_card(&connection, Timestamp::from_millis(0)).contains("not told yet"))
        };
        assert_eq!(told(Value::Null), ("its cars are not told yet: Smartcar is asked again".to_owned(), true));
        assert_eq!(told("u".into()), (String::new(), false));
    }

    #[test]
    fn a_read_that_is_due_comes_within_a_minute() {
        let now = Timestamp::from_millis(1_760_000_000_000);
        let told = |at: Timestamp| read_next(&json!({ "polling": { "state": "reading", "next_at": at.to_string() } }), now);
        let second = Duration::from_secs(1);
        assert_eq!([now.before(60 * second), now.before(second), now].map(told), ["within a minute"; 3]);
        assert_eq!(told(now.after(30 * second)), "in 30 s");
    }
}

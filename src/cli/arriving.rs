//! Arriving from another application, and leaving.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufRead, BufWriter, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::args::{Adopt, Import, Leave, Migrate};
use super::client::Client;
use super::print::{announce, confirm, field, mention, patiently, say, say_json};
use super::signals::Ending;
use super::{Exit, Failure, Place};
use crate::model::count;

/// `carport connections adopt`
pub(super) async fn adopt(client: &Client, flags: Adopt) -> Result<(), Failure> {
    let body = json!({ "user": flags.user, "dry_run": flags.dry_run });
    let told = client.post(&["connections", "adopt"], body).await?;
    if flags.json {
        return say_json(&told);
    }
    let items = told["items"].as_array().map_or(&[][..], Vec::as_slice);
    for item in items {
        let done = match item["result"].as_str() {
            Some("adopted") => "taken over",
            Some("would_adopt") => "would be taken over",
            _ => "FAILED",
        };
        say(format!("{} for {}: {done} {}", cars(item), field(item, "user"), field(item, "error")).trim_end())?;
    }
    let known = told["known"].as_u64().unwrap_or(0);
    if items.is_empty() {
        return say(&format!("Nothing to take over: Carport has all that Smartcar lists ({known})."));
    }
    if items.iter().any(|item| item["result"] == "failed") {
        return Err(Failure::new(Exit::Failed, "some were not taken over: run it again"));
    }
    Ok(())
}

/// `carport connections import`
pub(super) async fn import(client: &Client, flags: Import) -> Result<(), Failure> {
    let (mut taken, mut known, mut failed) = (0, 0, 0);
    // Who reads JSON reads nothing else.
    let tell = |text: &str| if flags.json { mention(text) } else { announce(text) };
    let mut watched = io::stderr().is_terminal().then(io::stderr);
    for (number, line) in io::stdin().lock().lines().enumerate() {
        let line = line.map_err(|error| Failure::new(Exit::Failed, format!("standard input cannot be read: {error}")))?;
        if line.trim().is_empty() {
            continue;
        }
        let what = format!("Line {}: waiting for Smartcar", number + 1);
        match patiently(&what, &mut watched, import_line(client, &flags, &line)).await {
            Ok(told) => {
                *(if told["known"] == true { &mut known } else { &mut taken }) += 1;
                if flags.json {
                    say_json(&told)?;
                } else {
                    say(&format!("Line {}: {}", number + 1, imported(&told)))?;
                }
            }
            // SECURITY: never the line itself, for it is a token.
            Err(failure) => {
                failed += 1;
                tell(&format!("Line {}: not taken: {failure}\n", number + 1));
                // Each further line would spend a token, and nobody may answer what it became.
                if matches!(failure.exit, Exit::TryAgain | Exit::Unreachable) {
                    tell("Nothing behind it was tried: run it again later, with this line and those behind it.\n");
                    break;
                }
            }
        }
    }
    let already = if known > 0 { format!("{known} connected already, ") } else { String::new() };
    tell(&format!("{taken} taken, {already}{failed} not.\n"));
    if failed > 0 { Err(Failure::silent(Exit::Failed)) } else { Ok(()) }
}

/// What came of a token.
fn imported(told: &Value) -> String {
    let mut said = format!("{} for {}", cars(told), field(told, "user"));
    if told["known"] == true {
        said.push_str(": connected already, and nothing is new but its tokens");
    }
    if told["left_v3"] == true {
        said.push_str("; cars that were connected by v3 are connected by v2.0 now: `carport migrate` moves them back");
    }
    said
}

async fn import_line(client: &Client, flags: &Import, line: &str) -> Result<Value, Failure> {
    let wrong = || Failure::new(Exit::Failed, "it is not {\"refresh_token\":\"...\",\"user\":\"...\"}");
    let mut body: Value = serde_json::from_str(line).map_err(|_| wrong())?;
    let fields = body.as_object_mut().ok_or_else(wrong)?;
    fields.entry("user").or_insert_with(|| flags.user.clone().into());
    client.post(&["connections", "import"], body).await
}

/// `carport migrate`
pub(super) async fn migrate(client: &Client, flags: Migrate) -> Result<(), Failure> {
    let mut body = json!({ "dry_run": flags.dry_run, "undo": flags.undo });
    if flags.force {
        body["force"] = true.into();
    }
    let told = client.post(&["connections", "migrate"], body).await?;
    let moved = items(&told);
    let failed = moved.iter().filter(|item| item["result"] == "failed").count();
    if flags.json {
        say_json(&told)?;
    } else {
        for item in &moved {
            let done = match item["result"].as_str() {
                Some("would_move") => "would move to v3".to_owned(),
                Some("moved") => "moved to v3".to_owned(),
                Some("would_return") => "would go back to v2.0".to_owned(),
                Some("returned") => "is on v2.0 again".to_owned(),
                _ => format!("stays: {}", field(item, "error")),
            };
            say(&format!("{} of {}: {done}", cars(item), field(item, "user")))?;
        }
        say(&match (moved.len(), flags.undo) {
            (0, true) => "Nothing can go back: no connection of v3 has tokens of v2.0.".to_owned(),
            (0, false) => "Nothing to move: no connection of v2.0 serves a car.".to_owned(),
            _ => on_both(&told),
        })?;
    }
    match failed {
        0 => Ok(()),
        failed => Err(Failure::new(Exit::Failed, format!("{failed} of {} cannot be moved; the rest is done", moved.len()))),
    }
}

/// How many connections are where now. To where none can go back nobody is sent.
fn on_both(told: &Value) -> String {
    let on_v2 = format!("{} on v2.0 now", told["on_v2"]);
    match told["can_return"].as_u64() {
        None | Some(0) => format!("{on_v2}."),
        Some(can_return) => format!("{on_v2}; {can_return} on v3 can go back (`carport migrate --undo`)."),
    }
}

/// `carport leave`
pub(super) async fn leave(client: &Client, flags: Leave, place: &Place) -> Result<(), Failure> {
    let connections = client.list(&["connections"], &[]).await?;
    let vehicles = client.list(&["vehicles"], &[]).await?;
    let (connections, cars) = (items(&connections), items(&vehicles));
    let open: Vec<&Value> = connections.iter().filter(|connection| connection["status"] != "disconnected").collect();
    let connected: BTreeSet<String> =
        cars.iter().filter(|car| car["connection"].is_string()).map(|car| field(car, "id")).collect();
    let fate = if flags.erase { "and erase all history, deliveries and users" } else { "(the history stays here)" };
    let (links, with) = (count(open.len(), "connection"), count(connected.len(), "car"));
    let question = format!("Disconnect {links} with {with} at Smartcar {fate}?");
    confirm(place, flags.yes, &question)?;
    if let Some(directory) = &flags.export {
        // Nothing is ended, and above all nothing erased, unless it is whole and on the disk.
        let (path, left_out) = write_past(client, directory).await?;
        say(&format!("The past is in {}", path.display()))?;
        if let Some(sentence) = left_out {
            say(&format!("It is not all: {sentence}"))?;
            if flags.erase && !flags.force {
                return Err(Failure::new(Exit::Failed, "nothing was ended: --force also erases what the export leaves out"));
            }
        }
    }
    let mut ended = Vec::new();
    for connection in open {
        let (id, user) = (field(connection, "id"), field(connection, "user"));
        ended.push(end(client, &flags, &format!("Connection {id} of {user}"), &["connections", &id]).await?);
    }
    // A connection that is damaged in the store is on no list, but its cars are.
    let is_listed = |id: &str| connections.iter().any(|connection| connection["id"] == id);
    // One that its owner took back is on none either, and would be waited for.
    let is_taken_back = |car: &Value| car["lights"]["authority"]["color"] == "red";
    let is_stranded = |car: &Value| car["connection"].as_str().map_or_else(|| is_taken_back(car), |id| !is_listed(id));
    let stranded = cars.iter().filter(|car| is_stranded(car));
    for car in stranded.filter(|_| !flags.erase) {
        let id = field(car, "id");
        ended.push(end(client, &flags, &format!("Vehicle {id} of {}", field(car, "user")), &["vehicles", &id]).await?);
    }
    if flags.erase {
        // Those that have no connection any more, and then connections that have no user any more.
        for (route, what) in [("vehicles", "Vehicle"), ("users", "User"), ("connections", "Connection")] {
            let mut left = items(&client.list(&[route], &[]).await?);
            // What could not be ended was tried above.
            left.retain(|one| route != "connections" || one["status"] == "disconnected");
            for id in ids(&left) {
                ended.push(end(client, &flags, &format!("{what} {id}"), &[route, &id]).await?);
            }
        }
    }
    say_forgotten(client, &cars).await?;
    match ended.iter().filter(|one| **one == Ended::HereOnly).count() {
        0 => {}
        count => say(&format!("{count} may still be connected at Smartcar: look in its dashboard, Connections."))?,
    }
    if ended.contains(&Ended::Nowhere) {
        return Err(Failure::new(
            Exit::Failed,
            "not everything is disconnected: run it again when Smartcar answers, or with --force to end it here alone",
        ));
    }
    say(REMAINS)?;
    if ended.contains(&Ended::Unread) {
        return Err(Failure::new(Exit::Failed, "everything is ended; damaged rows are named above"));
    }
    Ok(())
}

/// Names what Smartcar still has of cars that were forgotten here: it was not asked then, and is not now. They may be another
/// gateway's since.
async fn say_forgotten(client: &Client, cars: &[Value]) -> Result<(), Failure> {
    let without = cars.iter().filter(|car| car["connection"].is_null() && car["former"] != true).count();
    match client.post(&["connections", "adopt"], json!({ "user": "owner", "dry_run": true })).await {
        Ok(told) => {
            for account in items(&told) {
                for car in items(&account["vehicles"]) {
                    let (id, name) = (field(&car, "id"), field(&car, "name"));
                    say(&format!(
                        "Vehicle {id} ({name}) is not connected here, but still at Smartcar: end it in its dashboard, Connections."
                    ))?;
                }
            }
            Ok(())
        }
        // Without v3 nothing lists them.
        Err(failure) => {
            let had = if without > 0 { format!("{} had no connection here. ", count(without, "car")) } else { String::new() };
            say(&format!(
                "{had}Whatever was forgotten (`carport connections forget`) may still be connected at Smartcar: look in its \
                 dashboard, Connections. It could not be looked up: {failure}"
            ))
        }
    }
}

/// What came of ending one.
#[derive(Clone, Copy, PartialEq)]
enum Ended {
    Everywhere,
    HereOnly,
    /// With rows of the store that are damaged.
    Unread,
    Nowhere,
}

/// Ends one at Smartcar and here; here alone only by force, when Smartcar does not.
async fn end(client: &Client, flags: &Leave, what: &str, path: &[&str]) -> Result<Ended, Failure> {
    let query = [("history", if flags.erase { "erase" } else { "keep" }), ("force", "true")];
    let (said, ended) = match client.delete(path, &query[..1]).await {
        Ok(_) => ("done".to_owned(), Ended::Everywhere),
        Err(failure) if failure.is("damaged") => (format!("done, but {failure}"), Ended::Unread),
        Err(failure) if flags.force => match client.delete(path, &query).await {
            Err(damaged) if damaged.is("damaged") => {
                (format!("ended here, perhaps not at Smartcar: {failure}; {damaged}"), Ended::HereOnly)
            }
            Ok(_) => (format!("ended here, perhaps not at Smartcar: {failure}"), Ended::HereOnly),
            Err(failure) => (format!("FAILED: {failure}"), Ended::Nowhere),
        },
        Err(failure) => (format!("FAILED: {failure}"), Ended::Nowhere),
    };
    say(&format!("{what}: {said}"))?;
    Ok(ended)
}

/// Writes the whole past into a new file, and returns which when it is on the disk. One that was cut off is begun anew, and
/// one that is whole is never written over: by now there may be less to write.
/// Also says what of it cannot be read.
async fn write_past(client: &Client, directory: &Path) -> Result<(PathBuf, Option<String>), Failure> {
    let part = directory.join("history.jsonl.part");
    let trouble = |error: io::Error| Failure::new(Exit::Failed, format!("{} cannot be written ({error})", part.display()));
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let above = directory.parent().unwrap_or(directory).display();
            let sentence = format!("there is no directory {above} to make {} in: make it, or name another", directory.display());
            return Err(Failure::new(Exit::Failed, sentence));
        }
        Err(error) if error.kind() != ErrorKind::AlreadyExists || !directory.is_dir() => return Err(trouble(error)),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part).map_err(trouble)?;
    let mut writer = BufWriter::new(file);
    let mut ending = Ending::default();
    client
        .stream(&["export"], &[("format", "jsonl")], |bytes| {
            ending.see(bytes);
            writer.write_all(bytes).map_err(trouble)
        })
        .await?;
    let file = writer.into_inner().map_err(|error| trouble(error.into_error()))?;
    file.sync_all().map_err(trouble)?;
    let mut number = 1;
    loop {
        let name = if number == 1 { "history.jsonl".to_owned() } else { format!("history-{number}.jsonl") };
        let path = directory.join(name);
        if path.try_exists().map_err(trouble)? {
            number += 1;
            continue;
        }
        fs::rename(&part, &path).map_err(trouble)?;
        fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(trouble)?;
        return Ok((path, ending.left_out()));
    }
}

fn items(list: &Value) -> Vec<Value> {
    list.as_array().or_else(|| list["items"].as_array()).cloned().unwrap_or_default()
}

/// The ids of a list. A car that has changed hands is there more than once, and goes at once.
fn ids(list: &[Value]) -> BTreeSet<String> {
    list.iter().map(|item| field(item, "id")).collect()
}

/// The cars of an answer by their names; how many, where Smartcar has told no more than that they are there.
fn cars(told: &Value) -> String {
    let names: Vec<String> = items(&told["vehicles"]).iter().map(|vehicle| field(vehicle, "name")).collect();
    let (nameless, mut parts): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| name == "a car");
    match nameless.len() {
        0 => {}
        1 => parts.extend(nameless),
        several => parts.push(count(several, "car")),
    }
    if parts.is_empty() { "its cars will follow".to_owned() } else { parts.join(", ") }
}

const REMAINS: &str = "\
What remains is in Smartcar's dashboard, and only you can delete it there: the webhook, the redirect URIs, and the application
with its credentials. Here: the data directory with the master key; delete it when you need nothing of it any more.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_back_to_what_has_ended() {
        assert_eq!(on_both(&json!({ "on_v2": 2, "can_return": 0 })), "2 on v2.0 now.");
        let back = "0 on v2.0 now; 3 on v3 can go back (`carport migrate --undo`).";
        assert_eq!(on_both(&json!({ "on_v2": 0, "can_return": 3 })), back);
    }

    #[test]
    fn what_came_of_a_token() {
        let told = |names: &[&str]| {
            let vehicles: Vec<Value> = names.iter().map(|name| json!({ "id": "1", "name": name })).collect();
            json!({ "user": "ada", "vehicles": vehicles, "known": false })
        };
        for (names, said) in [
            (&[][..], "its cars will follow for ada"),
            (&["a car"], "a car for ada"),
            (&["a car", "2021 KIA EV6", "a car"], "2021 KIA EV6, 2 cars for ada"),
        ] {
            assert_eq!(imported(&told(names)), said);
        }
        let mut back = told(&["2021 KIA EV6"]);
        back["left_v3"] = true.into();
        assert!(imported(&back).contains("`carport migrate`"), "{}", imported(&back));
    }
}

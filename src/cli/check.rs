//! `carport check`: the doctor. One check is one function that answers with a line: ok, warn or fail, what
//! was found, and the one thing to do about it. Nothing is changed without `--repair`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::args::{Check, Common};
use super::client::{Client, Reached, reach};
use super::made::with_made;
use super::print::{align, field, say, say_json};
use super::wiring;
use super::{Exit, Failure, Place, sandbox};
use crate::app;
use crate::config::{Config, Mistake};
use crate::model::{Timestamp, count};
use crate::operate::key_files::KeyError;
use crate::operate::probes::{self, Finding as Line, Outcome, V2, files};
use crate::operate::status::checks;
use crate::store::{Inspected, Part, StoreError};
use crate::world::World;

mod budget;
mod certificate;
mod connections;
mod notices;

fn cells(line: &Line) -> Vec<String> {
    let result = match line.result {
        Outcome::Ok => "ok",
        Outcome::Warn => "warn",
        Outcome::Fail => "fail",
    };
    let text = line.remedy.as_ref().map_or_else(|| line.text.clone(), |remedy| format!("{}: {remedy}", line.text));
    vec![result.to_owned(), line.check.to_owned(), text]
}

/// The server that runs here, if one does. Whether it answers is told by the line of the store.
async fn server(config: &Config) -> Option<Client> {
    matches!(reach(&config.socket).await, Reached::Server).then(|| Client::Socket(config.socket.clone()))
}

/// `1 car (ID)`, `5 cars (ID, ID, ID and 2 more)`
fn named(ids: &[String], what: &str) -> String {
    const NAMED: usize = 3;
    let more = ids.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{} ({}{more})", count(ids.len(), what), ids[..ids.len().min(NAMED)].join(", "))
}

/// Runs the command.
pub(super) async fn check(flags: Check, common: &Common, place: &Place) -> Result<(), Failure> {
    let mut lines = if flags.repair { vec![repair(&place.config(common)?).await?] } else { Vec::new() };
    lines.extend(examine(flags, common, place).await);
    if flags.json {
        say_json(&json!({ "items": lines }))?;
    } else {
        say(&align(lines.iter().map(cells).collect()))?;
    }
    let failed = lines.iter().any(|line| line.result == Outcome::Fail);
    if failed { Err(Failure::silent(Exit::Failed)) } else { Ok(()) }
}

/// All checks, in the order in which one would ask.
async fn examine(flags: Check, common: &Common, place: &Place) -> Vec<Line> {
    let (mut lines, config) = configuration(common, place);
    let Some(config) = config else { return lines };
    let (config, keeps_secrets) = with_made(config).await;
    if config.data_dir.is_dir() {
        let (key, store) = key_and_store(&config).await;
        lines.extend(files::permissions(&config.data_dir));
        lines.extend([key, store]);
        lines.extend(kept_files(&config.data_dir));
    } else {
        lines.push(no_data_dir(&config));
    }
    lines.push(walls());
    lines.extend(certificate::certificate(&config).await);
    let outward = match (flags.offline, keeps_secrets) {
        (true, _) => Vec::new(),
        (_, true) => outward_of_server(&config).await,
        _ => outward(&config).await,
    };
    // While others were asked, the server may have learnt something.
    lines.extend(notices::notices(&config).await);
    lines.extend(connections::connections(&config).await);
    lines.extend(budget::budget(&config).await);
    lines.extend(outward);
    if !flags.offline {
        lines.extend(webhook_untried(&config, &lines));
    }
    lines
}

/// Why nobody knocked at the webhook's address, if nobody did and no other line says so.
fn webhook_untried(config: &Config, lines: &[Line]) -> Option<Line> {
    const CHECK: &str = "webhook address";
    if lines.iter().any(|line| [CHECK, "public URL", "certificate of the public URL"].contains(&line.check)) {
        return None;
    }
    let why = if config.public_url.scheme() != "https" {
        let url = config.public_url.as_str().trim_end_matches('/');
        format!("Smartcar posts webhooks to https only, and public_url is {url}")
    } else if config.smartcar.management_tokens.is_empty() {
        "there is no application management token".to_owned()
    } else {
        "no server runs".to_owned()
    };
    Some(Line::ok(CHECK, format!("not tried: {why}")))
}

/// Saves what can be read of the store.
async fn repair(config: &Config) -> Result<Line, Failure> {
    if !matches!(reach(&config.socket).await, Reached::Nobody) {
        let sentence = "a server is running on this store: stop it first (sudo systemctl stop carport), then repair";
        return Err(Failure::new(Exit::TryAgain, sentence));
    }
    if !wiring::is_there(config) {
        return Ok(Line::ok("repair", "there is no store yet"));
    }
    let findings = wiring::repair(config).await?;
    Ok(if findings.is_empty() {
        Line::ok("repair", "nothing was damaged")
    } else {
        Line::warn("repair", findings.join("; "), "look whether the disk or the card is failing")
    })
}

/// Whether the configuration reads, and what looks mixed up in it.
fn configuration(common: &Common, place: &Place) -> (Vec<Line>, Option<Config>) {
    const CHECK: &str = "configuration";
    match crate::config::load(&place.sources(common)) {
        Ok(config) if config.warnings.is_empty() => (vec![Line::ok(CHECK, "reads well")], Some(config)),
        Ok(config) => {
            let line = |warning: &String| match warning.rsplit_once(": ").filter(|(_, remedy)| remedy.starts_with("chmod ")) {
                Some((text, remedy)) => Line::warn(CHECK, text, remedy),
                None => Line::warn(CHECK, warning, "see carport config show"),
            };
            (config.warnings.iter().map(line).collect(), Some(config))
        }
        Err(mistakes) => {
            let line = |mistake: Mistake| {
                let origin = if mistake.origin.is_empty() { String::new() } else { format!(" ({})", mistake.origin) };
                Line::fail(CHECK, format!("{}{origin}: {}", mistake.key, mistake.wrong), mistake.remedy)
            };
            (mistakes.0.into_iter().map(line).collect(), None)
        }
    }
}

fn no_data_dir(config: &Config) -> Line {
    let text = format!("there is no {}", config.data_dir.display());
    Line::warn("data directory", text, "carport serve makes it; if yours is elsewhere, say --data-dir or --config")
}

/// Whether `serve` can shut itself off from the files that it does not need.
fn walls() -> Line {
    let text = if sandbox::is_there() {
        "Landlock: a server reaches only the files that it needs"
    } else {
        "this kernel has no Landlock (Linux 5.13 with lsm=landlock): files are kept apart by their modes alone"
    };
    Line::ok("sandbox", text)
}

/// Whether there is a key, and whether the store is sound under it: by a look at it, or by what its server says.
async fn key_and_store(config: &Config) -> (Line, Line) {
    const KEY: &str = "master key";
    const STORE: &str = "store";
    let blind = || Line::warn(STORE, "not looked at", "first put the master key right");
    let is_there = wiring::is_there(config);
    let keys = match wiring::keys(config) {
        Ok(Some(keys)) => keys,
        Ok(None) if is_there => {
            return (in_its_own_words(KEY, &KeyError::Missing(config.key.file.clone())), blind());
        }
        Ok(None) => return (Line::ok(KEY, "none yet"), Line::ok(STORE, "none yet")),
        Err(error @ KeyError::Io { .. }) => {
            return (Line::fail(KEY, error.to_string(), "run this as the server's user"), blind());
        }
        Err(error) => return (in_its_own_words(KEY, &error), blind()),
    };
    let id = keys.key.id();
    let key_line = |text: String| match &keys.next {
        Some(next) => {
            let text = format!("{text}; it is being replaced by {}", next.id());
            Line::warn(KEY, text, "carport key rotate goes on with it, or says what is left to do")
        }
        None => Line::ok(KEY, text),
    };
    match reach(&config.socket).await {
        Reached::Server => (key_line(format!("{id}")), store_of_server(STORE, config).await),
        Reached::Forbidden => {
            let line = Line::fail(STORE, "the server of another user has it", "sudo -u carport carport check");
            (key_line(format!("{id}")), line)
        }
        Reached::Nobody if !is_there => (key_line(format!("{id}")), Line::ok(STORE, "none yet")),
        Reached::Nobody => match wiring::inspect(config, &keys) {
            Err(error @ (StoreError::WrongKey { .. } | StoreError::HalfRotated { .. })) => {
                (in_its_own_words(KEY, &error), blind())
            }
            Err(error) => (key_line(format!("{id}")), store_in_trouble(STORE, &error)),
            Ok(inspected) => (key_line(format!("{id} fits the store")), store_that_opens(STORE, inspected)),
        },
    }
}

/// What a running server says of its store.
async fn store_of_server(check: &'static str, config: &Config) -> Line {
    let status = match Client::Socket(config.socket.clone()).get(&["status"], &[]).await {
        Ok(status) => status,
        Err(failure) => return Line::fail(check, format!("the server does not say: {failure}"), "look into its log"),
    };
    let store = &status["store"];
    if store["healthy"] != true {
        return Line::fail(check, "the running server cannot write to it", "look whether the disk is full, read-only or failing");
    }
    if store["low"] == true {
        let text = format!(
            "the disk has {} left: no token is refreshed, and webhooks wait",
            size(store["free_bytes"].as_u64().unwrap_or(0))
        );
        return Line::fail(check, text, "make room on the disk; store.min_free says how much must stay free");
    }
    let findings: Vec<&str> = store["findings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !findings.is_empty() {
        return Line::warn(
            check,
            findings.join("; "),
            "what could be saved was; if it comes again, look whether the disk or the card is failing",
        );
    }
    let bytes = store["bytes"].as_u64().unwrap_or(0);
    Line::ok(check, format!("the running server takes changes; {}", size(bytes)))
}

fn store_that_opens(check: &'static str, inspected: Inspected) -> Line {
    let Inspected { rows, changes, findings, .. } = inspected;
    let text = format!("{}, all whole; {} in the journal", count(rows, "row"), count(changes, "change"));
    if findings.is_empty() {
        return Line::ok(check, text);
    }
    Line::warn(check, format!("{text}; {}", findings.join("; ")), "the next start deals with it and says in the log what it did")
}

fn store_in_trouble(check: &'static str, error: &StoreError) -> Line {
    let remedy = match error {
        StoreError::NotAStore(_) | StoreError::Damaged { .. } => {
            "run carport check --repair: it saves what can be read, and keeps the damaged file"
        }
        StoreError::Locked => "no server answers at its socket: find out which other process has it, or try again",
        StoreError::Unavailable(_) | StoreError::Busy => "look whether the disk is full, read-only or failing",
        _ => return in_its_own_words(check, error),
    };
    Line::fail(check, error.to_string(), remedy)
}

/// An error that ends with what to do about it.
fn in_its_own_words(check: &'static str, error: &dyn std::fmt::Display) -> Line {
    let error = error.to_string();
    let (text, remedy) = error.rsplit_once(": ").unwrap_or((&error, "carport help check"));
    Line::fail(check, text, remedy)
}

/// Files that a rescue or a newer format has kept aside.
fn kept_files(directory: &Path) -> Option<Line> {
    let tables = format!("{}.", Part::Tables.name());
    let entries = fs::read_dir(directory).ok()?.filter_map(Result::ok);
    let is_kept = |name: &String| name.starts_with(&tables) && name != Part::Rescue.name();
    let mut kept: Vec<(String, u64)> = entries
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?.len())))
        .filter(|(name, _)| is_kept(name))
        .collect();
    kept.sort();
    let bytes = kept.iter().map(|(_, bytes)| bytes).sum();
    let names: Vec<String> = kept.into_iter().map(|(name, _)| name).collect();
    let text = format!("{} ({}) in {}", names.join(", "), size(bytes), directory.display());
    let remedy = "kept from a repair or an upgrade; remove when nothing is missed";
    (!names.is_empty()).then(|| Line::warn("kept files", text, remedy))
}

/// Everything that others must be asked: the same as the set-up page asks.
async fn outward(config: &Config) -> Vec<Line> {
    const CHECK: &str = "credentials";
    let mut lines = Vec::new();
    if config.smartcar.v3.is_none() && config.smartcar.v2.is_none() {
        lines.push(credentials_of_server(CHECK, config).await);
    }
    let world = match World::system() {
        Ok(world) => world,
        Err(error) => {
            lines.push(Line::fail(
                CHECK,
                format!("Smartcar cannot be asked: {error}"),
                "look after the network, or say --offline",
            ));
            return lines;
        }
    };
    let status = match server(config).await {
        Some(client) => client.get(&["status"], &[]).await.ok(),
        None => None,
    };
    let at = |status: &Value| status["webhooks"]["last_delivery_at"].as_str().and_then(Timestamp::parse);
    let served = status.as_ref().map(at);
    lines.extend(probes::outward(&app::settings::probes(config), &world, served).await);
    // Of an end of v2.0 the server knows more: it asks with the tokens of its connections.
    let told = status.iter().flat_map(|status| status["missing"].as_array().into_iter().flatten());
    let is_of_end = |missing: &Value| missing["code"].as_str().is_some_and(|code| code.starts_with("v2_"));
    let doubts = told.into_iter().any(is_of_end) || lines.iter().any(|line| line.check == V2);
    let fresh: &[(&str, &str)] = if doubts { &[("fresh", "true")] } else { &[] };
    if status.is_some()
        && let Ok(setup) = Client::Socket(config.socket.clone()).get(&["setup"], fresh).await
    {
        let has_none = lines.first().is_some_and(|line| line.result == Outcome::Warn && line.check == CHECK);
        // What its probes found of the end a while ago may be over.
        let is_told = |line: &Line| (has_none && line.check == "credentials of Smartcar") || (!doubts && line.check == V2);
        let of_server = setup["items"].as_array().into_iter().flatten();
        let of_server = of_server.filter_map(|item| line_of(item, &[PATH]).or_else(|| open_point(item)));
        let of_server: Vec<Line> = of_server.filter(|line| !is_told(line)).collect();
        if of_server.iter().any(|line| line.check == V2) {
            lines.retain(|line| line.check != V2);
        }
        lines.extend(of_server);
    }
    probes::with_the_end(lines)
}

/// The same as tried by the running server, which has secrets that were made on its set-up page.
async fn outward_of_server(config: &Config) -> Vec<Line> {
    match Client::Socket(config.socket.clone()).get(&["setup"], &[("fresh", "true")]).await {
        Ok(setup) => {
            let lines = setup["items"].as_array().into_iter().flatten();
            lines.filter_map(|item| line_of(item, OUTWARD).or_else(|| open_point(item))).collect()
        }
        Err(failure) => {
            vec![Line::fail("credentials", format!("the server does not say: {failure}"), "look into its log")]
        }
    }
}

/// An open point of the list of the set-up page, which the running server knows by itself. What only waits to be done is no
/// fault of the house.
fn open_point(item: &Value) -> Option<Line> {
    const FAULTS: &[&str] = &["credentials of Smartcar", "renewal of access", V2, PATH];
    let known: Vec<&str> = checks().filter(|check| !TOLD.contains(check)).collect();
    let line = line_of(item, &known).filter(|line| line.result != Outcome::Ok)?;
    let result = if FAULTS.contains(&line.check) { line.result } else { Outcome::Warn };
    Some(Line { result, ..line })
}

fn line_of(item: &Value, known: &[&'static str]) -> Option<Line> {
    let check = known.iter().find(|check| item["check"] == **check)?;
    let (text, remedy) = (field(item, "text"), field(item, "remedy"));
    Some(match field(item, "result").as_str() {
        "ok" => Line::ok(check, text),
        "warn" => Line::warn(check, text, remedy),
        _ => Line::fail(check, text, remedy),
    })
}

/// What only the running server sees.
const PATH: &str = "webhook path";

/// What other lines tell already: that of the store, and the notices.
const TOLD: &[&str] = &["disk", "proxy"];

/// Everything that others are asked.
const OUTWARD: &[&str] = &[
    "identifiers",
    "credentials",
    "v2 credentials",
    V2,
    "management token",
    "application ID",
    "redirect URI",
    "clock",
    "certificate of the public URL",
    "public URL",
    "webhook address",
    PATH,
];

/// Where this shell has no credentials: the server may have some from its own environment.
async fn credentials_of_server(check: &'static str, config: &Config) -> Line {
    let none = Line::warn(check, "none for Smartcar", "carport init asks for them");
    let Some(client) = server(config).await else { return none };
    let Ok(status) = client.get(&["status"], &[]).await else { return none };
    let missing = |code: &str| status["missing"].as_array().into_iter().flatten().find(|missing| missing["code"] == code);
    if missing("credentials").is_some() {
        return none;
    }
    if let Some(refused) = missing("refused") {
        let (what, remedy) = (field(refused, "what"), field(refused, "remedy"));
        return Line::fail(check, format!("of the running server: {what}"), remedy);
    }
    let text = "the running server has some that this shell has not: to try them, set its environment here too";
    Line::ok(check, text)
}

/// A size as people write it.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

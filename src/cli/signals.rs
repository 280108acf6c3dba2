//! What the cars tell: the latest values, and everything that is kept of the past.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Write};

use anyhow::Context;
use serde_json::{Value, json};

use super::args::{Export, Signals};
use super::car::{by_name, car, name_of};
use super::client::Client;
use super::print::{age, align, field, printable, say, say_json, shorten, text};
use super::{Exit, Failure};
use crate::model::catalogue::{CATALOGUE, Known};
use crate::model::normal::{Units, in_units};
use crate::model::{Timestamp, count};
use crate::world::{Clock, SystemClock};

/// `carport signals`
pub(super) async fn signals(client: &Client, flags: Signals) -> Result<(), Failure> {
    let query: Vec<(&str, &str)> = flags.units.map(|units| ("units", units.as_str())).into_iter().collect();
    let vehicles = match &flags.vehicle {
        Some(named) => vec![car(client, named, &query).await?],
        None => client.list(&["vehicles"], &query).await?["items"].as_array().cloned().unwrap_or_default(),
    };
    let part = if flags.missing { "capabilities" } else { "signals" };
    if flags.json {
        let of = |vehicle: &Value| json!({ "vehicle": vehicle["id"], "user": vehicle["user"], part: vehicle[part] });
        return say_json(&json!({ "items": vehicles.iter().map(of).collect::<Vec<_>>(), "next": null }));
    }
    let now = SystemClock.now();
    let tables = vehicles.iter().map(|vehicle| {
        let rows = if flags.missing { missing(vehicle, now) } else { rows(vehicle, now) };
        let none = if flags.missing { "Nothing is known to be missing." } else { "No values yet." };
        let rows = if rows.is_empty() { none.to_owned() } else { align(rows) };
        let head = (vehicles.len() > 1).then(|| heading(vehicle));
        let hint = if flags.missing { way_to_ask(vehicle) } else { lacking(vehicle) };
        [head, Some(rows), hint].into_iter().flatten().collect::<Vec<_>>().join("\n")
    });
    let tables: Vec<String> = tables.collect();
    if tables.is_empty() { say("No cars yet. Connect one: carport connect") } else { say(&tables.join("\n\n")) }
}

/// `2023 VOLKSWAGEN ID.4 (ID)`
fn heading(vehicle: &Value) -> String {
    let (name, id) = (name_of(vehicle), field(vehicle, "id"));
    let former = if vehicle["former"] == true { format!(", formerly of {}", field(vehicle, "user")) } else { String::new() };
    printable(&if name.is_empty() { format!("{id}{former}") } else { format!("{name} ({id}){former}") })
}

/// What of a car cannot be had.
fn lacks(vehicle: &Value) -> impl Iterator<Item = &Value> {
    vehicle["capabilities"].as_array().into_iter().flatten().filter(|known| known["state"] != "seen")
}

/// That there are signals which a table of values does not tell of, and where they are told.
pub(super) fn lacking(vehicle: &Value) -> Option<String> {
    let of = |id: String| format!("`carport signals {id} --missing` says which, and why.");
    match lacks(vehicle).count() {
        0 => None,
        lacks => Some(format!("{} cannot be had: {}", count(lacks, "signal"), of(field(vehicle, "id")))),
    }
}

/// How its owner is asked for what they have not allowed.
fn way_to_ask(vehicle: &Value) -> Option<String> {
    let permissions: BTreeSet<&str> = lacks(vehicle).filter_map(|known| known["permission"].as_str()).collect();
    let permissions: Vec<&str> = permissions.into_iter().collect();
    let id = field(vehicle, "id");
    let ask = format!("To ask for what is not allowed: carport connect --vehicle {id} --add-scope {}", permissions.join(","));
    Some(ask).filter(|_| !permissions.is_empty() && vehicle["former"] != true)
}

/// `carport signals --known`
pub(super) fn known(flags: &Signals) -> Result<(), Failure> {
    let units = flags.units.and_then(|units| Units::parse(units.as_str())).unwrap_or_default();
    let unit = |signal: &Known| in_units(signal.code, 0.0, units).1.filter(|unit| !unit.is_empty());
    let name = |signal: &Known| format!("{}.{}", signal.group, signal.name);
    if flags.json {
        let of = |signal: &Known| json!({ "code": signal.code, "name": name(signal), "kind": signal.kind.as_str(), "unit": unit(signal) });
        return say_json(&json!({ "items": CATALOGUE.iter().map(of).collect::<Vec<_>>(), "next": null }));
    }
    let row = |signal: &Known| {
        let unit = unit(signal).unwrap_or_default().to_owned();
        vec![signal.code.to_owned(), name(signal), signal.kind.as_str().to_owned(), unit]
    };
    let titles = ["CODE", "NAME AT SMARTCAR", "KIND", "UNIT"].map(str::to_owned).to_vec();
    say(&align(std::iter::once(titles).chain(CATALOGUE.iter().map(row)).collect()))
}

/// Code, value, age and what is wrong, of each signal of a vehicle.
pub(super) fn rows(vehicle: &Value, now: Timestamp) -> Vec<Vec<String>> {
    let signals = vehicle["signals"].as_object().into_iter().flatten();
    let row = |(code, signal): (&String, &Value)| {
        let updated = match age(signal, "oem_updated_at", now) {
            unknown if unknown.is_empty() => age(signal, "retrieved_at", now),
            updated => updated,
        };
        let status = Some(field(signal, "status")).filter(|status| status != "SUCCESS").unwrap_or_default();
        let wrong = match lacks(vehicle).find(|known| known["code"] == code.as_str()) {
            Some(known) if !status.is_empty() => field(known, "reason"),
            _ => status,
        };
        vec![code.clone(), shorten(&value(signal)), updated, wrong]
    };
    signals.map(row).collect()
}

fn missing(vehicle: &Value, now: Timestamp) -> Vec<Vec<String>> {
    let row = |known: &Value| {
        let state = field(known, "state").replace('_', " ");
        vec![field(known, "code"), state, age(known, "at", now), field(known, "reason")]
    };
    lacks(vehicle).map(row).collect()
}

/// A value in a few words: `54 %`, `closed, locked`, else its JSON.
fn value(signal: &Value) -> String {
    let unit = field(signal, "unit");
    let with_unit = |value: &Value| match value {
        Value::Null => "?".to_owned(),
        value => format!("{} {unit}", text(value)).trim_end().to_owned(),
    };
    match &signal["value"] {
        Value::Null
            if signal["body"].is_object() && signal["body"]["value"].is_null() && signal["body"].get("value").is_some() =>
        {
            String::new()
        }
        Value::Null => text(&signal["body"]),
        Value::Array(parts) if parts.iter().all(Value::is_object) => {
            let part = |part: &Value| format!("{}: {}", field(part, "place"), with_unit(&part["value"]));
            parts.iter().map(part).collect::<Vec<_>>().join("; ")
        }
        Value::Array(texts) => texts.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(place) => place.values().map(text).collect::<Vec<_>>().join(", "),
        value => with_unit(value),
    }
}

/// `carport export`
pub(super) async fn export(client: &Client, flags: Export) -> Result<(), Failure> {
    match exported(client, &flags).await {
        Err(failure) if failure.is("not_found") && flags.vehicle.is_some() => {
            let name = flags.vehicle.as_deref().unwrap_or_default();
            let vehicle = Some(by_name(client, name).await?);
            exported(client, &Export { vehicle, ..flags }).await
        }
        done => done,
    }
}

async fn exported(client: &Client, flags: &Export) -> Result<(), Failure> {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    let query = [
        ("vehicle", flags.vehicle.clone()),
        ("signal", flags.signal.clone()),
        ("since", time(flags.since)),
        ("until", time(flags.until)),
        ("format", Some(flags.format.as_str().to_owned())),
        ("units", flags.units.map(|units| units.as_str().to_owned())),
    ];
    let query: Vec<(&str, &str)> = query.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let mut ending = Ending::default();
    client
        .stream(&["export"], &query, |bytes| {
            ending.see(bytes);
            match io::stdout().lock().write_all(bytes) {
                Ok(()) => Ok(()),
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::silent(Exit::Failed)),
                Err(error) => Err(anyhow::Error::from(error).context("cannot write to standard output").into()),
            }
        })
        .await?;
    io::stdout().flush().context("cannot write to standard output")?;
    ending.left_out().map_or(Ok(()), |sentence| Err(Failure::new(Exit::Failed, sentence)))
}

/// The last line of an export, which says whether something is left out.
#[derive(Default)]
pub(super) struct Ending {
    line: Vec<u8>,
    is_over: bool,
}

impl Ending {
    /// Sees the next part.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if std::mem::take(&mut self.is_over) {
                self.line.clear();
            }
            self.line.extend_from_slice(part);
            self.is_over = part.ends_with(b"\n");
        }
    }

    /// What is left out, in a sentence.
    pub(super) fn left_out(&self) -> Option<String> {
        let line = String::from_utf8_lossy(&self.line);
        if let Ok(line) = serde_json::from_str::<Value>(&line) {
            return line["left_out"].is_u64().then(|| field(&line, "detail"));
        }
        let sentence = line.trim_end().trim_end_matches(',');
        sentence.contains(" damaged and left out: ").then(|| sentence.trim_matches('"').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_a_few_words() {
        for (signal, expected) in [
            (json!({"value": 54, "unit": "%"}), "54 %"),
            (json!({"value": "closed, locked"}), "closed, locked"),
            (
                json!({"value": [{"place": "front left", "value": 2.4}, {"place": "front right", "value": null}], "unit": "bar"}),
                "front left: 2.4 bar; front right: ?",
            ),
            (json!({"value": ["P0171", "P0420"]}), "P0171, P0420"),
            (json!({"value": null, "body": {"strange": 1}}), "{\"strange\":1}"),
            (json!({"value": null, "body": {"value": null}}), ""),
            (json!({"value": null, "body": null}), ""),
        ] {
            assert_eq!(value(&signal), expected);
        }
    }
}

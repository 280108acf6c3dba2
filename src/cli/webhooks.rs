//! The webhook log.

use std::time::Duration;

use serde_json::Value;

use super::args::{WebhookFilter, Webhooks};
use super::client::Client;
use super::print::{age, align, card, field, moment, plain, printable, say, say_json, table};
use super::{Exit, Failure};
use crate::model::Timestamp;
use crate::world::{Clock, SystemClock};

/// `carport webhooks`
pub(super) async fn webhooks(client: &Client, command: Webhooks) -> Result<(), Failure> {
    let now = SystemClock.now();
    match command {
        Webhooks::List { filter, limit, before, since, until, json } => {
            let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
            let webhooks = part(client, &filter, limit, before, [time(since), time(until)]).await?;
            if json {
                return say_json(&webhooks);
            }
            say(&table(
                &webhooks,
                &[
                    ("SEQ", &|v| field(v, "seq")),
                    ("RECEIVED", &|v| age(v, "received_at", now)),
                    ("TYPE", &|v| field(v, "type")),
                    ("RESULT", &|v| field(v, "result")),
                    ("VEHICLE", &|v| field(v, "vehicle")),
                    ("BYTES", &|v| field(v, "bytes")),
                ],
                "No webhooks.",
            ))
        }
        Webhooks::Show { seq, json } => {
            let webhook = client.get(&["webhooks", &seq.to_string()], &[]).await?;
            if json {
                return say_json(&webhook);
            }
            let shown = card(&[
                ("Seq", field(&webhook, "seq")),
                ("Received", moment(&webhook, "received_at", now)),
                ("Type", field(&webhook, "type")),
                ("Result", field(&webhook, "result")),
                ("Vehicle", field(&webhook, "vehicle")),
                ("Event", field(&webhook, "event_id")),
                ("Delivery", field(&webhook, "delivery_id")),
                ("Bytes", field(&webhook, "bytes")),
            ]);
            // JSON leaves some control characters as they are.
            let payload = format!("{:#}", webhook["payload"]);
            let payload: Vec<String> = payload.lines().map(printable).collect();
            say(&format!("{shown}\n\n{}", payload.join("\n")))
        }
        Webhooks::Tail { filter, json } => tail(client, &filter, json).await,
        Webhooks::Replay { seq, json } => {
            let webhook = client.post(&["webhooks", &seq.to_string(), "replay"], Value::Null).await?;
            if json { say_json(&webhook) } else { say(replayed(&webhook)) }
        }
    }
}

/// What came of reading an entry again.
fn replayed(webhook: &Value) -> &'static str {
    match webhook["result"].as_str().unwrap_or_default() {
        "not_understood" | "unknown_type" => "Read again, and nothing was made of it: this version does not understand it.",
        "not_connected" => "Read again, and nothing was made of it: its car was not connected here when it came in.",
        "unknown_vehicle" => {
            "Read again. Values are made of it if its car is connected here by now: `carport vehicles show` tells."
        }
        "test" => "Read again, and nothing was made of it: a test tells nothing of a car.",
        _ => "Read again. What is known better since stays: the newest value of a signal counts.",
    }
}

const ANY_TIME: [Option<String>; 2] = [None, None];

/// A part of the log, newest first.
async fn part(
    client: &Client,
    filter: &WebhookFilter,
    limit: u16,
    before: Option<u64>,
    [since, until]: [Option<String>; 2],
) -> Result<Value, Failure> {
    let (limit, before) = (limit.to_string(), before.map(|before| before.to_string()));
    let parts = [
        ("vehicle", filter.vehicle.as_deref()),
        ("type", filter.kind.as_deref()),
        ("result", filter.result.as_deref()),
        ("id", filter.id.as_deref()),
        ("limit", Some(&limit)),
        ("before", before.as_deref()),
        ("since", since.as_deref()),
        ("until", until.as_deref()),
    ];
    let query: Vec<_> = parts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    client.get(&["webhooks"], &query).await
}

/// Prints the last ten, then every new one, until Ctrl-C.
async fn tail(client: &Client, filter: &WebhookFilter, json: bool) -> Result<(), Failure> {
    if matches!(client, Client::InProcess(_)) {
        return Err(Failure::new(Exit::Failed, "no server runs here, so no webhook comes in: start carport serve"));
    }
    let mut items = items(&part(client, filter, 10, None, ANY_TIME).await?);
    let mut newest = 0;
    loop {
        for item in items.iter().rev() {
            newest = newest.max(seq(item));
            say(&if json { item.to_string() } else { line(item) })?;
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        items = newer(client, filter, newest).await?;
    }
}

/// Everything after `newest`, newest first.
async fn newer(client: &Client, filter: &WebhookFilter, newest: u64) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::new();
    let mut before = None;
    loop {
        let part = items(&part(client, filter, 100, before, ANY_TIME).await?);
        let full = part.len() == 100;
        before = part.last().map(seq);
        let fresh: Vec<Value> = part.into_iter().filter(|item| seq(item) > newest).collect();
        let all_fresh = full && fresh.len() == 100;
        found.extend(fresh);
        if !all_fresh {
            return Ok(found);
        }
    }
}

fn items(list: &Value) -> Vec<Value> {
    list["items"].as_array().cloned().unwrap_or_default()
}

fn seq(item: &Value) -> u64 {
    item["seq"].as_u64().unwrap_or(0)
}

fn line(item: &Value) -> String {
    let received = plain(item, "received_at");
    let [seq, kind, result, vehicle] = ["seq", "type", "result", "vehicle"].map(|name| field(item, name));
    align(vec![vec![seq, received, kind, result, vehicle]])
}

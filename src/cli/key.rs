//! The master key.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::args::{Common, Json};
use super::client::{self, Client, Reached, reach};
use super::print::{field, say, say_json};
use super::{Exit, Failure, Place, wiring};
use crate::operate::key_files::KeyError;
use crate::vault::MasterKey;
use crate::world::SystemEntropy;

/// `carport key generate`
pub(super) fn generate() -> Result<(), Failure> {
    say(&MasterKey::generate(&SystemEntropy).print())
}

/// `carport key show-id`. A server is asked: it may have a key that only it can read.
pub(super) async fn show_id(flags: Json, common: &Common, place: &Place) -> Result<(), Failure> {
    let config = place.config(common)?;
    let key = match reach(&config.socket).await {
        Reached::Server => Client::Socket(config.socket).get(&["key"], &[]).await?,
        Reached::Forbidden => return Err(client::forbidden(&config.socket)),
        Reached::Nobody => {
            let Some(keys) = wiring::keys(&config)? else {
                if wiring::is_there(&config) {
                    return Err(KeyError::Missing(config.key.file.clone()).into());
                }
                let sentence = format!("there is no master key yet: the first start makes {}", config.key.file.display());
                return Err(Failure::new(Exit::Configuration, sentence));
            };
            json!({ "id": keys.key.id().to_string(), "rotation": null })
        }
    };
    if flags.json { say_json(&key) } else { say(&field(&key, "id")) }
}

/// `carport key rotate`
pub(super) async fn rotate(client: &Client, flags: Json) -> Result<(), Failure> {
    let watched = std::io::stderr().is_terminal();
    let mut key = client.post(&["key", "rotate"], Value::Null).await?;
    while key["rotation"]["state"] == "running" {
        if watched {
            progress(&key["rotation"]);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        key = client.get(&["key"], &[]).await?;
    }
    let rotation = &key["rotation"];
    if watched {
        progress(rotation);
        eprintln!();
    }
    let note = field(rotation, "note");
    if rotation["state"] != "done" {
        let sentence = format!("the rotation was broken off: {note}. Nothing is lost: run carport key rotate again to go on");
        return Err(Failure::new(Exit::TryAgain, sentence));
    }
    if flags.json {
        return say_json(&key);
    }
    say(&format!("Everything is sealed under master key {} now; it was {}.", field(rotation, "to"), field(rotation, "from")))?;
    if !note.is_empty() {
        say(&format!("Left to do: {note}."))?;
    }
    say("Keep a copy of the new key away from this machine. Copies of the data that were made before need the old one.")
}

fn progress(rotation: &Value) {
    let (rows, of) = (rotation["rows"].as_u64().unwrap_or(0), rotation["of"].as_u64().unwrap_or(0));
    let percent = rows.saturating_mul(100).checked_div(of).unwrap_or(0);
    // Nobody waits for this.
    let _ = write!(std::io::stderr(), "\rresealed {rows} of {of} rows ({percent} %) ");
}

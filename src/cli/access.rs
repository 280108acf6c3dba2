//! Letting people in: invites for owners, sign-in links, API tokens.

use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::args::{Connect, Json, Password, Sessions, Token};
use super::car::id_of;
use super::client::Client;
use super::print::{age, confirm, field, say, say_json, shorten, table};
use super::{Exit, Failure, Place, hidden, qr};
use crate::model::Secret;
use crate::smartcar::{is_known_permission, nearest_permission};
use crate::world::{Clock, SystemClock};

/// `carport connect`
pub(super) async fn invite(client: &Client, flags: Connect, place: &Place) -> Result<(), Failure> {
    // What is misspelt the API refuses.
    let is_new = |name: &&String| !is_known_permission(name) && nearest_permission(name).is_none() && !name.contains(' ');
    let unknown: Vec<&str> = flags.scope.iter().chain(&flags.add_scope).filter(is_new).map(String::as_str).collect();
    if !unknown.is_empty() {
        eprintln!("warning: Carport does not know {} as a permission of Smartcar's: is it one?", unknown.join(", "));
    }
    if flags.expires > LONGEST_INVITE {
        return Err(Failure::new(Exit::Usage, "--expires: a link is good for 30 days at most, such as --expires 30d"));
    }
    let user = match (flags.user, &flags.vehicle) {
        (Some(user), _) => user,
        (None, Some(vehicle)) => field(&client.get(&["vehicles", vehicle], &[]).await?, "user"),
        (None, None) => "owner".to_owned(),
    };
    let mut body = json!({ "user": user, "expires_in": flags.expires.as_secs() });
    let optional = [
        // The usual owner of a house with one needs no ceremony.
        ("create", json!(flags.create || user == "owner"), flags.create || user == "owner"),
        ("vehicle_id", json!(flags.vehicle), flags.vehicle.is_some()),
        ("mode", json!(flags.mode), flags.mode.is_some()),
        ("scope", json!(flags.scope), !flags.scope.is_empty()),
        ("add_scope", json!(flags.add_scope), !flags.add_scope.is_empty()),
        ("make", json!(flags.make), flags.make.is_some()),
        ("force", json!(flags.force), flags.force),
    ];
    for (name, value, _) in optional.into_iter().filter(|(.., given)| *given) {
        body[name] = value;
    }
    let invite = client.post(&["connect"], body).await?;
    if flags.json {
        return say_json(&invite);
    }
    let link = field(&invite, "url");
    if place.terminal {
        if let Some(code) = qr::code(&link) {
            say(&code)?;
        }
        say(&link)?;
        return say(&format!(
            "For {}; good until it is used, or it expires {}.",
            user,
            age(&invite, "expires_at", SystemClock.now())
        ));
    }
    say(&link)
}

/// What the API takes.
const LONGEST_INVITE: Duration = Duration::from_secs(30 * 86_400);

/// `carport login`
pub(super) async fn login(client: &Client, flags: Json) -> Result<(), Failure> {
    let link = client.post(&["login-links"], json!({})).await?;
    if flags.json { say_json(&link) } else { say(&field(&link, "url")) }
}

/// `carport password`. Never taken from the arguments, which others can see.
pub(super) async fn password(client: &Client, command: Password, place: &Place) -> Result<(), Failure> {
    let (password, flags, done) = match command {
        Password::Set(flags) => (Some(new_password(place)?), flags, "Set. Browsers that are signed in stay so: carport sessions"),
        Password::Clear(flags) => (None, flags, "There is no password any more: carport login makes a link."),
    };
    client.patch(&["password"], json!({ "password": password.as_ref().map(Secret::expose) })).await?;
    if flags.json { say_json(&json!({})) } else { say(done) }
}

fn new_password(place: &Place) -> Result<Secret, Failure> {
    let question = |text| if place.can_ask { text } else { "" };
    let none = || Failure::new(Exit::Usage, "no password was given: nothing was done");
    let password = hidden::ask_exactly(question("New password (not shown): "))?.ok_or_else(none)?;
    if place.can_ask && hidden::ask_exactly("Once more: ")?.is_none_or(|again| again.expose() != password.expose()) {
        return Err(Failure::new(Exit::Usage, "the two are not the same: nothing was done"));
    }
    Ok(password)
}

/// `carport sessions`
pub(super) async fn sessions(client: &Client, command: Sessions, place: &Place) -> Result<(), Failure> {
    let now = SystemClock.now();
    match command {
        Sessions::List(flags) => {
            let sessions = client.list(&["sessions"], &[]).await?;
            if flags.json {
                return say_json(&sessions);
            }
            say(&table(
                &sessions,
                &[
                    ("ID", &|v| field(v, "id")),
                    ("SIGNED IN", &|v| age(v, "created_at", now)),
                    ("SEEN", &|v| age(v, "last_seen_at", now)),
                    ("BROWSER", &|v| shorten(&field(v, "browser"))),
                ],
                "No browser is signed in. Make a link: carport login",
            ))
        }
        Sessions::Revoke { id, yes, json, .. } => {
            let ids = if let Some(id) = id {
                // Nobody is asked about one that is not there: that is refused below.
                if !yes && ids_of(&client.list(&["sessions"], &[]).await?).contains(&id) {
                    confirm(place, yes, &format!("Sign browser {id} out?"))?;
                }
                vec![id]
            } else {
                confirm(place, yes, "Sign all browsers out?")?;
                ids_of(&client.list(&["sessions"], &[]).await?)
            };
            for id in &ids {
                client.delete(&["sessions", id], &[]).await?;
            }
            if json { say_json(&json!({})) } else { say("Signed out.") }
        }
    }
}

fn ids_of(list: &Value) -> Vec<String> {
    list["items"].as_array().into_iter().flatten().map(|item| field(item, "id")).collect()
}

/// `carport token`
pub(super) async fn token(client: &Client, command: Token, place: &Place) -> Result<(), Failure> {
    match command {
        Token::Create { name, scope, user, vehicle, expires, json } => {
            let scope = scope.to_possible_value().map(|value| value.get_name().to_owned());
            let vehicle = match vehicle {
                Some(named) => Some(id_of(client, &named).await?),
                None => None,
            };
            let mut body = json!({ "name": name, "scope": scope });
            let expires = expires.map(|expires| expires.as_secs());
            for (name, value) in [("user", json!(user)), ("vehicle", json!(vehicle)), ("expires_in", json!(expires))] {
                if !value.is_null() {
                    body[name] = value;
                }
            }
            let made = client.post(&["tokens"], body).await?;
            if json {
                return say_json(&made);
            }
            if place.terminal {
                eprintln!("This is shown once:");
            }
            say(&field(&made, "token"))
        }
        Token::List(flags) => {
            let tokens = client.list(&["tokens"], &[]).await?;
            let now = SystemClock.now();
            let bound = |token: &Value| match (field(token, "user"), field(token, "vehicle")) {
                (user, vehicle) if vehicle.is_empty() => user,
                (_, vehicle) => vehicle,
            };
            let expires = |token: &Value| match age(token, "expires_at", now) {
                when if when.is_empty() => "never".to_owned(),
                when => when,
            };
            if flags.json {
                return say_json(&tokens);
            }
            say(&table(
                &tokens,
                &[
                    ("ID", &|v| field(v, "id")),
                    ("NAME", &|v| field(v, "name")),
                    ("SCOPE", &|v| field(v, "scope")),
                    ("FOR", &bound),
                    ("MADE", &|v| age(v, "created_at", now)),
                    ("EXPIRES", &expires),
                ],
                "No tokens yet. Make one: carport token create --name NAME --scope read",
            ))
        }
        Token::Revoke(token) => {
            // Nobody is asked about one that is not there: that is refused below.
            if !token.yes && ids_of(&client.list(&["tokens"], &[]).await?).contains(&token.id) {
                confirm(place, token.yes, &format!("End token {} for good?", token.id))?;
            }
            client.delete(&["tokens", &token.id], &[]).await?;
            if token.json { say_json(&json!({})) } else { say("Revoked.") }
        }
    }
}

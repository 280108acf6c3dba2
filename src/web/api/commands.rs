//! Telling cars what to do.

use std::time::Duration;

use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::super::answer::{self, Answer};
use super::super::problem::Problem;
use super::super::{Call, input};
use super::vehicles::id;
use crate::commands::CommandView;
use crate::model::command::Command;
use crate::model::perhaps;

/// `POST vehicles/{id}/commands/{group}/{action}`
pub(in crate::web) async fn run(call: &Call<'_>) -> Answer {
    let view = give(call).await.inspect_err(|problem| call.noting.add(problem.code()))?;
    call.noting.command(&view);
    answered(&view)
}

async fn give(call: &Call<'_>) -> Result<CommandView, Problem> {
    call.no_query()?;
    let (reach, id) = (call.reach()?, id(call)?);
    let name = format!("{}/{}", call.named(1)?, call.named(2)?);
    if !Command::NAMES.contains(&name.as_str()) {
        return Err(unknown(&name));
    }
    let (given, taken): (Map<String, Value>, _) = (call.json()?, Command::fields(&name));
    if let Some(field) = given.keys().find(|field| !taken.contains(&field.as_str())) {
        return Err(input::unknown(field, taken));
    }
    let command = Command::of_v3(&name, &json!({ "data": { "attributes": given } }));
    let command = command.map_err(|error| Problem::bad_request(error.description.into_string()))?;
    let by = (call.caller()?.actor.clone(), call.client.address());
    Ok(call.services.rooms.commands.give(reach, &id, command, by, PATIENCE).await?)
}

/// `GET vehicles/{id}/commands/{command}`
pub(in crate::web) async fn show(call: &Call<'_>) -> Answer {
    call.no_query()?;
    answer::ok(&call.services.rooms.commands.show(call.reach()?, &id(call)?, call.named(1)?).await?)
}

/// There is no such command: the one that was probably meant, or all.
fn unknown(name: &str) -> Problem {
    let instead = match perhaps(name, Command::NAMES) {
        meant if meant.is_empty() => format!(": there are {}", Command::NAMES.join(", ")),
        meant => meant,
    };
    let sentence = format!("There is no command `{}`{instead}.", input::printable(name));
    Problem::new(StatusCode::NOT_FOUND, "not_found", sentence)
}

/// How long whoever asks is kept waiting.
pub(in crate::web) const PATIENCE: Duration = Duration::from_secs(25);

/// 200 with the outcome, or 202 with a place to look.
fn answered(view: &CommandView) -> Answer {
    if view.status != "pending" {
        return answer::ok(view);
    }
    let mut response = answer::json(StatusCode::ACCEPTED, view)?;
    let place = format!("/api/v1/vehicles/{}/commands/{}", answer::path_part(view.vehicle.as_str()), view.id);
    let place = HeaderValue::try_from(place).map_err(|_| Problem::internal())?;
    response.headers_mut().insert(LOCATION, place);
    Ok(response)
}

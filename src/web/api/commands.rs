//! Telling cars what to do.

use std::time::Duration;

use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::super::Call;
use super::super::answer::{self, Answer};
use super::super::problem::Problem;
use super::vehicles::id;
use crate::commands::CommandView;
use crate::model::command::Command;

/// `POST vehicles/{id}/commands/{group}/{action}`
pub(in crate::web) async fn run(call: &Call<'_>) -> Answer {
    call.no_query()?;
    let (reach, id) = (call.reach()?, id(call)?);
    let given: Map<String, Value> = call.json()?;
    let name = format!("{}/{}", call.named(1)?, call.named(2)?);
    let taken = Command::fields(&name);
    let unknown = given.keys().any(|key| !taken.contains(&key.as_str()));
    let command = match Command::of_v3(&name, &json!({ "data": { "attributes": given } })) {
        Ok(command) if !unknown => command,
        Err(error) if error.status == 404 => return Err(Problem::not_found()),
        wrong => {
            let also = || match taken {
                [] => "nothing goes with this command: leave the body away.".to_owned(),
                taken => format!("only {} goes with this command.", taken.join(" and ")),
            };
            return Err(Problem::bad_request(wrong.err().map_or_else(also, |error| error.description.into())));
        }
    };
    let by = (call.caller()?.actor.clone(), call.client.address());
    let view = call.services.rooms.commands.give(reach, &id, command, by, PATIENCE).await.map_err(|error| {
        let problem = Problem::from(error);
        call.noting.add(problem.code());
        problem
    })?;
    call.noting.add(view.id.as_str());
    call.noting.add(view.status);
    answered(&view)
}

/// `GET vehicles/{id}/commands/{command}`
pub(in crate::web) async fn show(call: &Call<'_>) -> Answer {
    call.no_query()?;
    answer::ok(&call.services.rooms.commands.show(call.reach()?, &id(call)?, call.named(1)?).await?)
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

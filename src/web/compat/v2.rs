//! API v2.0.

use serde_json::{Map, Value, json};

use super::super::Call;
use super::super::answer::{self, Answer};
use super::super::problem::Problem;
use super::{body, number, provenance, query, reason, show, tell, value_of, vehicle, wish};
use crate::compat::connections::Filter;
use crate::compat::{Question, Reply, Slice};
use crate::model::api_error::ApiError;
use crate::model::command::Command;
use crate::model::in_seconds;

/// `GET /v2.0/user`
pub(in crate::web) async fn smartcar_user(call: &Call<'_>) -> Answer {
    answer::ok(&json!({ "id": call.services.rooms.compat.smartcar_user(call.reach()?).await? }))
}

/// `GET /v2.0/vehicles`
pub(in crate::web) async fn vehicles(call: &Call<'_>) -> Answer {
    let slice = slice(call, 10, 50)?;
    let (ids, count) = call.services.rooms.compat.vehicles(call.reach()?, slice).await?;
    answer::ok(&json!({ "vehicles": ids, "paging": { "count": count, "offset": slice.offset } }))
}

/// `GET /v2.0/vehicles/{id}/permissions`
pub(in crate::web) async fn permissions(call: &Call<'_>) -> Answer {
    let slice = slice(call, 25, 100)?;
    let (names, count) = call.services.rooms.compat.permissions(call.reach()?, &vehicle(call)?, slice).await?;
    answer::ok(&json!({ "permissions": names, "paging": { "count": count, "offset": slice.offset } }))
}

fn slice(call: &Call<'_>, usual: usize, most: usize) -> Result<Slice, Problem> {
    let query = query(call);
    Ok(Slice { limit: number(&query, "limit", usual, 1, most)?, offset: number(&query, "offset", 0, 0, usize::MAX)? })
}

/// `GET /v2.0/vehicles/{id}`, and below it.
pub(in crate::web) async fn endpoint(call: &Call<'_>) -> Answer {
    let (question, wish) = (Question::new(&below(call), call.head.uri.query().unwrap_or_default()), wish(call)?);
    let reply = call.services.rooms.compat.endpoint(call.reach()?, &vehicle(call)?, question, wish).await?;
    show(&reply, wish)
}

/// `POST /v2.0/vehicles/{id}/batch`
pub(in crate::web) async fn batch(call: &Call<'_>) -> Answer {
    let (body, wish) = (body(call)?, wish(call)?);
    let wrong = || ApiError::parameter("requests", "requests must be a list of 1 to 50 objects with a path.");
    let requests = body["requests"].as_array().filter(|requests| (1..=50).contains(&requests.len())).ok_or_else(wrong)?;
    let question = |request: &Value| request["path"].as_str().map(Question::parse).ok_or_else(wrong);
    let questions: Vec<Question> = requests.iter().map(question).collect::<Result<_, _>>()?;
    let answers = call.services.rooms.compat.batch(call.reach()?, &vehicle(call)?, &questions, wish).await?;
    let part = |(question, answer): (&Question, Result<Reply, ApiError>)| {
        let path = format!("/{}", question.path);
        match answer {
            Ok(reply) => {
                let headers: Map<String, Value> =
                    provenance(&reply, wish).into_iter().map(|(name, value)| (name.to_string(), value.into())).collect();
                json!({ "path": path, "code": 200, "body": reply.body, "headers": headers })
            }
            Err(error) => {
                // The official SDK for Node reads the type of the body from here.
                let mut headers = json!({ "content-type": "application/json" });
                if let Some(wait) = error.retry_after {
                    headers["retry-after"] = json!(in_seconds(wait).to_string());
                }
                json!({ "path": path, "code": error.status, "body": error.v2(call.request_id), "headers": headers })
            }
        }
    };
    answer::ok(&json!({ "responses": questions.iter().zip(answers).map(part).collect::<Vec<_>>() }))
}

/// `POST /v2.0/vehicles/{id}/...`
pub(in crate::web) async fn command(call: &Call<'_>) -> Answer {
    let view = tell(call, None, Command::of_v2(&below(call), &body(call)?)?).await?;
    if view.status == "pending" {
        // API v2.0 has no word for it.
        let text = "The command was accepted, and the car has not said yet whether it has done it.";
        return Err(ApiError::of("UPSTREAM", Some("NO_RESPONSE")).because(text).into());
    }
    answer::ok(&json!({ "status": "success", "message": "Successfully sent request to vehicle" }))
}

/// `DELETE /v2.0/vehicles/{id}/application`
pub(in crate::web) async fn disconnect(call: &Call<'_>) -> Answer {
    call.services.rooms.compat.disconnect(call.reach()?, &vehicle(call)?, &call.noting.cars()).await?;
    answer::ok(&json!({ "status": "success" }))
}

/// `POST /v2.0/vehicles/{id}/webhooks/{webhook}`
pub(in crate::web) async fn subscribe(call: &Call<'_>) -> Answer {
    subscription(call, false).await
}

/// `DELETE /v2.0/vehicles/{id}/webhooks/{webhook}`
pub(in crate::web) async fn unsubscribe(call: &Call<'_>) -> Answer {
    subscription(call, true).await
}

async fn subscription(call: &Call<'_>, ends: bool) -> Answer {
    let reason = reason(call)?;
    answer::ok(&call.services.rooms.compat.subscribe(call.reach()?, &vehicle(call)?, call.named(1)?, ends, reason).await?)
}

/// `GET /v2.0/compatibility` and its matrix
pub(in crate::web) async fn compatibility(call: &Call<'_>) -> Answer {
    let uri = &call.head.uri;
    let path = uri.path().trim_start_matches("/v2.0").trim_end_matches('/');
    // What Smartcar would refuse costs no call.
    let vin = value_of(&query(call), "vin").unwrap_or_default();
    let is_vin = vin.len() == 17 && vin.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if path == "/compatibility" && !is_vin {
        return Err(ApiError::parameter("vin", "vin must be the 17 letters and digits of a vehicle.").into());
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    answer::ok(&call.services.rooms.compat.compatibility(path, &query, reason(call)?).await?)
}

/// `GET /v2.0/management/connections`
pub(in crate::web) async fn connections(call: &Call<'_>) -> Answer {
    let query = query(call);
    let (limit, cursor) = (number(&query, "limit", 10, 1, 100)?, value_of(&query, "cursor"));
    answer::ok(&call.services.rooms.compat.listed_v2(call.reach()?, &filter(&query), limit, cursor.as_deref()).await?)
}

/// `DELETE /v2.0/management/connections`
pub(in crate::web) async fn end_connections(call: &Call<'_>) -> Answer {
    answer::ok(&call.services.rooms.compat.end_v2(call.reach()?, &filter(&query(call)), &call.noting.cars()).await?)
}

fn filter(query: &[(String, String)]) -> Filter {
    let value = |name| value_of(query, name);
    Filter { smartcar_user: value("user_id"), vehicle: value("vehicle_id"), mode: value("mode"), external_id: None }
}

/// The path below the vehicle.
fn below(call: &Call<'_>) -> String {
    call.named.get(1..).unwrap_or_default().join("/")
}

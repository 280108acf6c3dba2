//! API v3, and its management.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::super::Call;
use super::super::answer::{self, Answer};
use super::super::problem::Problem;
use super::{SC_USER_ID, body, number, query, reason, show, tell, text, value_of, vehicle, wish};
use crate::compat::connections::Filter;
use crate::model::command::Command;

/// `GET /v3/connections`
pub(in crate::web) async fn connections(call: &Call<'_>) -> Answer {
    let query = query(call);
    let value = |name| value_of(&query, name);
    let filter = Filter {
        smartcar_user: value("filter[userId]").or_else(|| smartcar_user(call).map(str::to_owned)),
        vehicle: value("filter[vehicleId]"),
        mode: value("filter[vehicle.mode]"),
        external_id: value("filter[user.externalId]"),
    };
    let (page, size) = (number(&query, "page[number]", 1, 1, usize::MAX)?, number(&query, "page[size]", 10, 1, 100)?);
    answer::ok(&call.services.rooms.compat.listed_v3(call.reach()?, &filter, page, size, &query).await?)
}

/// `GET /v3/connections/{id}`
pub(in crate::web) async fn connection(call: &Call<'_>) -> Answer {
    answer::ok(&call.services.rooms.compat.connection(call.reach()?, call.named(0)?).await?)
}

/// `DELETE /v3/connections/{id}`
pub(in crate::web) async fn end_connection(call: &Call<'_>) -> Answer {
    call.services.rooms.compat.end_connection(call.reach()?, call.named(0)?, &call.noting.cars()).await?;
    Ok(answer::done())
}

/// `DELETE /v3/users/{id}`
pub(in crate::web) async fn end_smartcar_user(call: &Call<'_>) -> Answer {
    call.services.rooms.compat.end_smartcar_user(call.reach()?, call.named(0)?, &call.noting.cars()).await?;
    Ok(answer::done())
}

/// `GET /v3/vehicles/{id}`
pub(in crate::web) async fn resource(call: &Call<'_>) -> Answer {
    answer::ok(&call.services.rooms.compat.resource(call.reach()?, &vehicle(call)?, smartcar_user(call)).await?)
}

/// `GET /v3/vehicles/{id}/signals`
pub(in crate::web) async fn signals(call: &Call<'_>) -> Answer {
    let wish = wish(call)?;
    show(&call.services.rooms.compat.signals(call.reach()?, &vehicle(call)?, smartcar_user(call), wish).await?, wish)
}

/// `GET /v3/vehicles/{id}/signals/{code}`
pub(in crate::web) async fn signal(call: &Call<'_>) -> Answer {
    let (wish, code) = (wish(call)?, call.named(1)?);
    show(&call.services.rooms.compat.signal(call.reach()?, &vehicle(call)?, smartcar_user(call), code, wish).await?, wish)
}

/// `POST /v3/vehicles/{id}/commands/{group}/{command}`
pub(in crate::web) async fn command(call: &Call<'_>) -> Answer {
    let path = format!("{}/{}", call.named(1)?, call.named(2)?);
    let command = Command::of_v3(&path, &body(call)?)?;
    let view = tell(call, smartcar_user(call), command).await?;
    let (status, word) = match view.status {
        "pending" => (StatusCode::ACCEPTED, "PENDING"),
        _ => (StatusCode::OK, "SUCCESS"),
    };
    let command = json!({ "id": view.id, "type": "command", "attributes": { "status": word } });
    answer::json(status, &json!({ "data": command }))
}

/// Webhooks and subscriptions: as Smartcar answers.
pub(in crate::web) async fn management(call: &Call<'_>) -> Answer {
    let mut path = call.head.uri.path().trim_start_matches("/v3").trim_end_matches('/').to_owned();
    // SECURITY: it goes to Smartcar with our own token, and nobody there shall read more in it than we have.
    if !path.split('/').skip(1).all(is_plain) {
        return Err(Problem::not_found());
    }
    if let Some(query) = call.head.uri.query() {
        path = format!("{path}?{query}");
    }
    let body = if call.head.method == Method::POST { Some(body(call)?) } else { None };
    let method = if call.head.method == Method::HEAD { Method::GET } else { call.head.method.clone() };
    let answer = call.services.rooms.compat.management(call.reach()?, method, &path, body.as_ref(), reason(call)?).await?;
    match answer.body.value() {
        Value::Null => Ok(answer::empty(answer.status)),
        body => answer::json(answer.status, &body),
    }
}

/// Whether a part of a path is a word or an id, and reads the same for everybody.
fn is_plain(part: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !matches!(part, "" | "." | "..") && part.bytes().all(is_known)
}

fn smartcar_user<'a>(call: &Call<'a>) -> Option<&'a str> {
    text(&call.head.headers, &SC_USER_ID).filter(|smartcar_user| !smartcar_user.is_empty())
}

//! Tokens, sessions, sign-in links, the audit log, and the master key. All of it concerns everybody.

use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::Call;
use super::super::answer::{self, Answer};
use super::super::input::{Span, present};
use super::super::problem::Problem;
use super::checked_text;
use crate::model::{AppUserId, Secret, Timestamp, VehicleId};
use crate::operate::access::{AccessError, Scope, TokenRequest, TokenView};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    name: String,
    scope: Scope,
    user: Option<String>,
    vehicle: Option<String>,
    expires_in: Option<Span>,
}

#[derive(Serialize)]
struct Created<'a> {
    #[serde(flatten)]
    view: &'a TokenView,
    /// Shown this once.
    token: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLink {
    expires_in: Option<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "missing, null and a value are three things in a PATCH")]
struct PasswordChange {
    #[serde(default, deserialize_with = "present")]
    password: Option<Option<String>>,
}

#[derive(Serialize)]
struct Link {
    url: String,
    expires_at: Timestamp,
}

/// `GET tokens`
pub(in crate::web) async fn tokens(call: &Call<'_>) -> Answer {
    call.no_query()?;
    answer::ok(&json!({ "items": call.services.rooms.access.tokens().await?, "next": null }))
}

/// `POST tokens`
pub(in crate::web) async fn create_token(call: &Call<'_>) -> Answer {
    let new: NewToken = call.json()?;
    let request = TokenRequest {
        name: checked_text("name", 100, Some(new.name))?.unwrap_or_default(),
        scope: new.scope,
        user: new.user.map(AppUserId::new),
        vehicle: new.vehicle.map(VehicleId::new),
        expires_in: new.expires_in.map(|span| span.0),
    };
    let (view, secret) = call.services.rooms.access.create_token(request).await?;
    call.noting.add(&*view.id);
    answer::json(StatusCode::CREATED, &Created { view: &view, token: secret.expose() })
}

/// `DELETE tokens/{id}`
pub(in crate::web) async fn revoke_token(call: &Call<'_>) -> Answer {
    call.no_query()?;
    let revoked = call.services.rooms.access.revoke_token(call.named(0)?).await;
    revoked.map_err(|error| known(error, "There is no token of this id: `carport token list` has the ids."))?;
    Ok(answer::done())
}

/// `GET sessions`
pub(in crate::web) async fn sessions(call: &Call<'_>) -> Answer {
    call.no_query()?;
    answer::ok(&json!({ "items": call.services.rooms.access.sessions().await?, "next": null }))
}

/// `DELETE sessions/{id}`
pub(in crate::web) async fn revoke_session(call: &Call<'_>) -> Answer {
    call.no_query()?;
    let revoked = call.services.rooms.access.revoke_session(call.named(0)?).await;
    revoked.map_err(|error| known(error, "There is no session of this id: `carport sessions list` has the ids."))?;
    Ok(answer::done())
}

fn known(error: AccessError, unknown: &'static str) -> Problem {
    match error {
        AccessError::Unknown => Problem::new(StatusCode::NOT_FOUND, "not_found", unknown),
        other => other.into(),
    }
}

/// `POST login-links`
pub(in crate::web) async fn login_link(call: &Call<'_>) -> Answer {
    let new: NewLink = call.json()?;
    let expires_in = new.expires_in.map_or(LINK_TIME, |span| span.0);
    if expires_in > LONGEST_LINK {
        return Err(Problem::bad_request("`expires_in` must be one day at most."));
    }
    let secret = call.services.rooms.access.sign_in_link(expires_in).await?;
    let settings = &call.services.settings;
    let base = settings.private_url.as_ref().unwrap_or(&settings.public_url).as_str().trim_end_matches('/');
    let url = format!("{base}/login?t={}", answer::path_part(secret.expose()));
    answer::json(StatusCode::CREATED, &Link { url, expires_at: call.services.world.now().after(expires_in) })
}

/// `PATCH password`: a new one, or null to take it away.
pub(in crate::web) async fn change_password(call: &Call<'_>) -> Answer {
    let change: PasswordChange = call.json()?;
    match change.password {
        Some(Some(password)) => {
            call.noting.add("set");
            call.services.rooms.access.set_password(Secret::new(password)).await?;
        }
        Some(None) => {
            call.noting.add("cleared");
            call.services.rooms.access.clear_password().await?;
        }
        None => return Err(Problem::bad_request("`password` is needed: a text, or null to take it away.")),
    }
    Ok(answer::done())
}

/// `GET audit?before=&limit=`
pub(in crate::web) async fn audit(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let before = query.take("before").map(|text| text.parse()).transpose();
    let before = before.map_err(|_| Problem::bad_request("`before` must be the number of an entry."))?;
    let limit = query.limit()?;
    query.finish()?;
    answer::ok(&call.services.rooms.audit.list(before, limit).await?)
}

/// `GET key`
pub(in crate::web) async fn key(call: &Call<'_>) -> Answer {
    call.no_query()?;
    answer::ok(&call.services.rooms.rotation.view().await?)
}

/// `POST key/rotate`
pub(in crate::web) async fn rotate_key(call: &Call<'_>) -> Answer {
    call.no_query()?;
    answer::json(StatusCode::ACCEPTED, &call.services.rooms.rotation.start().await?)
}

const LINK_TIME: Duration = Duration::from_secs(15 * 60);
const LONGEST_LINK: Duration = Duration::from_secs(86_400);

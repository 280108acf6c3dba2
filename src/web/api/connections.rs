//! Connections, and invites that lead to them.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use super::super::Call;
use super::super::answer::{self, Answer};
use super::super::audit::{LEFT_V3, UNDO};
use super::super::exchange::bound;
use super::super::input::{self, Span};
use super::super::pages::INVITE_TIME;
use super::super::problem::Problem;
use super::removal;
use crate::connect::{ConnectError, InviteRequest, Migrate};
use crate::model::reach::Reach;
use crate::model::{AppUserId, ConnectionId, Secret, VehicleId};
use crate::operate::access::Scope;
use crate::smartcar::{is_known_permission, nearest_permission};
use crate::vehicles::VehiclesError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewInvite {
    user: Option<String>,
    #[serde(default)]
    create: bool,
    redirect_uri: Option<String>,
    mode: Option<String>,
    scope: Option<Vec<String>>,
    add_scope: Option<Vec<String>>,
    vehicle_id: Option<String>,
    expires_in: Option<Span>,
    make: Option<String>,
    #[serde(default)]
    force: bool,
}

/// `POST connect`
pub(in crate::web) async fn invite(call: &Call<'_>) -> Answer {
    let new: NewInvite = call.json()?;
    let user = bound(call.reach()?, new.user)?.ok_or_else(|| Problem::bad_request("`user` is needed."))?;
    if new.create && !call.caller()?.scope.covers(Scope::Admin) {
        return Err(Problem::forbidden("Making a user needs the scope `admin`."));
    }
    check_mode(new.mode.as_deref())?;
    if new.scope.is_some() && new.add_scope.is_some() {
        return Err(Problem::bad_request("`scope` and `add_scope` do not go together."));
    }
    if let Some(scope) = new.scope.as_ref().or(new.add_scope.as_ref()) {
        check_scope(scope, &call.services.settings.permissions, call.caller()?.scope)?;
    }
    let expires_in = new.expires_in.map_or(INVITE_TIME, |span| span.0);
    if expires_in > LONGEST_INVITE {
        return Err(Problem::bad_request("`expires_in` must be 30 days at most."));
    }
    call.noting.add(user.as_str());
    let vehicle = new.vehicle_id.map(VehicleId::new);
    let scope = match new.add_scope {
        Some(added) => Some(call.services.rooms.connect.with_added(vehicle.as_ref(), added).await?),
        None => new.scope,
    };
    let request = InviteRequest {
        user,
        create: new.create,
        expires_in,
        vehicle,
        mode: new.mode,
        scope,
        make: new.make,
        force: new.force,
        redirect_uri: new.redirect_uri,
    };
    let reach = call.reach()?;
    let invite = call.services.rooms.connect.invite(request).await.map_err(|error| match error {
        // SECURITY: for a bound caller the cars of others do not exist.
        ConnectError::OtherUsers if *reach != Reach::All => ConnectError::UnknownVehicle,
        other => other,
    });
    answer::json(StatusCode::CREATED, &invite?)
}

/// `GET connections`
pub(in crate::web) async fn list(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let page = query.page()?;
    query.finish()?;
    answer::ok(&call.services.rooms.vehicles.connections(call.reach()?, page).await?)
}

/// `GET connections/{id}`
pub(in crate::web) async fn show(call: &Call<'_>) -> Answer {
    call.no_query()?;
    answer::ok(&call.services.rooms.vehicles.connection(call.reach()?, id(call)?).await.map_err(known)?)
}

/// `POST connections/{id}/refresh`
pub(in crate::web) async fn refresh(call: &Call<'_>) -> Answer {
    call.no_query()?;
    let id = within_reach(call).await?;
    answer::ok(&call.services.rooms.vehicles.refresh_connection(id).await?)
}

/// `DELETE connections/{id}`
pub(in crate::web) async fn remove(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let how = removal(&mut query)?;
    let note = call.noting.cars();
    let local = query.flag("local")?;
    query.finish()?;
    let id = within_reach(call).await?;
    call.noting.erases(how.0);
    if local {
        let forgotten = call.services.rooms.vehicles.forget_connection(id, how.0, &note).await;
        return answer::ok(&call.noting.removed(forgotten)?);
    }
    let ended = call.services.rooms.vehicles.disconnect_connection(id, how, &note).await;
    call.noting.removed(ended).map_err(|error| Problem::not_disconnected(&error, END_ANYWAY))?;
    Ok(answer::done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Adopt {
    user: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// `POST connections/adopt`
pub(in crate::web) async fn adopt(call: &Call<'_>) -> Answer {
    let Adopt { user, dry_run } = call.json()?;
    let user = AppUserId::new(user.unwrap_or_else(|| "owner".to_owned()));
    if dry_run {
        call.noting.nothing_has_happened();
    }
    let adoption = call.services.rooms.connect.adopt(&user, dry_run).await?;
    for connection in adoption.items.iter().filter_map(|item| item.connection) {
        call.noting.add(connection.to_string());
    }
    answer::ok(&adoption)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Import {
    refresh_token: Secret,
    user: String,
    mode: Option<String>,
}

/// `POST connections/import`
pub(in crate::web) async fn import(call: &Call<'_>) -> Answer {
    let Import { refresh_token, user, mode } = call.json()?;
    if refresh_token.expose().trim().is_empty() {
        return Err(Problem::bad_request("`refresh_token` is empty."));
    }
    check_mode(mode.as_deref())?;
    let imported = call.services.rooms.connect.import(AppUserId::new(user), refresh_token, mode).await?;
    call.noting.add(imported.connection.to_string());
    if imported.left_v3 {
        call.noting.add(LEFT_V3);
    }
    answer::json(StatusCode::CREATED, &imported)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMigration {
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    undo: bool,
    #[serde(default)]
    force: bool,
}

/// `POST connections/migrate`
pub(in crate::web) async fn migrate(call: &Call<'_>) -> Answer {
    let NewMigration { dry_run, undo, force } = call.json()?;
    if force && !undo {
        return Err(Problem::bad_request("`force` goes with `undo`."));
    }
    if dry_run {
        call.noting.nothing_has_happened();
    }
    if undo {
        call.noting.add(UNDO);
    }
    let migration = call.services.rooms.connect.migrate(Migrate { undo, dry_run, force }).await?;
    for moved in migration.items.iter().filter(|moved| ["moved", "returned"].contains(&moved.result)) {
        call.noting.add(moved.connection.to_string());
    }
    answer::ok(&migration)
}

/// The id of the path, if the caller may see that connection.
pub(in crate::web) async fn within_reach(call: &Call<'_>) -> Result<ConnectionId, Problem> {
    let id = id(call)?;
    call.services.rooms.vehicles.connection(call.reach()?, id).await.map_err(known)?;
    Ok(id)
}

fn id(call: &Call<'_>) -> Result<ConnectionId, Problem> {
    ConnectionId::parse(call.named(0)?).ok_or_else(unknown)
}

fn known(error: VehiclesError) -> Problem {
    if matches!(error, VehiclesError::NotFound) { unknown() } else { error.into() }
}

fn unknown() -> Problem {
    let sentence = "There is no connection of this id. `carport connections list` shows them all.";
    Problem::new(StatusCode::NOT_FOUND, "not_found", sentence)
}

const END_ANYWAY: &str = "To end it here all the same: `carport connections disconnect ID --force`.";

fn check_mode(mode: Option<&str>) -> Result<(), Problem> {
    mode.map_or(Ok(()), |mode| input::one_of("mode", mode, &["live", "simulated"]).map(drop))
}

/// SECURITY: a token that only connects cars may not have their owners hand over the keys.
fn check_scope(asked: &[String], configured: &[String], caller: Scope) -> Result<(), Problem> {
    if asked.is_empty() {
        return Err(Problem::bad_request("`scope` must name a permission, or be left out."));
    }
    asked.iter().filter(|permission| !configured.contains(permission)).try_for_each(|permission| check_spelling(permission))?;
    if caller.covers(Scope::Admin) {
        return Ok(());
    }
    let name = |permission: &str| permission.strip_prefix("required:").unwrap_or(permission).to_owned();
    let is_known = |permission: &String| configured.iter().any(|known| name(known) == name(permission));
    match asked.iter().find(|permission| name(permission).starts_with("control_") && !is_known(permission)) {
        None => Ok(()),
        Some(_) => {
            Err(Problem::forbidden("Asking for a control permission that smartcar.scope does not name needs the scope `admin`."))
        }
    }
}

/// What is nearly a permission that Smartcar lists is misspelt. Anything else may be one that is younger than Carport.
fn check_spelling(permission: &str) -> Result<(), Problem> {
    if permission.contains([' ', ',']) {
        let sentence = "`scope` is a list: name each permission by itself (on the command line with commas between them).";
        return Err(Problem::bad_request(sentence));
    }
    match nearest_permission(permission) {
        Some(meant) if !is_known_permission(permission) => Err(Problem::bad_request(format!(
            "`{}` is no permission of Smartcar's ({meant}, perhaps?). If it is one all the same, name it in smartcar.scope.",
            input::printable(permission)
        ))),
        _ => Ok(()),
    }
}

const LONGEST_INVITE: Duration = Duration::from_secs(30 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_is_asked_for_by_administrators_or_not_at_all() {
        let configured = ["read_battery", "read_batterys", "required:control_charge"].map(str::to_owned);
        let check = |asked: &[&str], caller| {
            let asked: Vec<String> = asked.iter().map(|&permission| permission.to_owned()).collect();
            check_scope(&asked, &configured, caller).map_err(|problem| problem.status().as_u16())
        };
        for caller in [Scope::Connect, Scope::Control] {
            assert_eq!(check(&["read_location", "control_charge"], caller), Ok(()));
            assert_eq!(check(&["read_location", "control_security"], caller), Err(403));
            assert_eq!(check(&["required:control_security"], caller), Err(403));
        }
        assert_eq!(check(&["control_security"], Scope::Admin), Ok(()));
        // Misspelt, unless the operator insists.
        assert_eq!(check(&["read_odometr"], Scope::Admin), Err(400));
        assert_eq!(check(&["read_batterys"], Scope::Admin), Ok(()));
        assert_eq!(check(&[], Scope::Admin), Err(400));
    }
}

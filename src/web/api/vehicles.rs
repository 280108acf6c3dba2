//! Vehicles and the latest of their signals.

use serde::Deserialize;
use serde_json::json;

use super::super::Call;
use super::super::answer::{self, Answer};
use super::super::input::present;
use super::super::problem::Problem;
use super::{checked_text, removal};
use crate::model::{AppUserId, VehicleId};
use crate::vehicles::{VehicleView, VehiclesError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "missing, null and a value are three things in a PATCH")]
struct Changes {
    #[serde(default, deserialize_with = "present")]
    nickname: Option<Option<String>>,
}

/// `GET vehicles?user=&mode=`
pub(in crate::web) async fn list(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let (user, mode) = (query.take("user").map(AppUserId::new), query.one_of("mode", &["live", "simulated"])?);
    let (page, units) = (query.page()?, query.units()?);
    query.finish()?;
    let mut vehicles = call.services.rooms.vehicles.list(call.reach()?, user.as_ref(), mode, page).await?;
    if let Some(units) = units {
        vehicles.items = vehicles.items.into_iter().map(|vehicle| vehicle.in_units(units)).collect();
    }
    answer::ok(&vehicles)
}

/// `GET vehicles/{id}`
pub(in crate::web) async fn show(call: &Call<'_>) -> Answer {
    answer::ok(&vehicle(call).await?)
}

/// In the units that the query asks for.
async fn vehicle(call: &Call<'_>) -> Result<VehicleView, Problem> {
    let mut query = call.query()?;
    let units = query.units()?;
    query.finish()?;
    let vehicle = call.services.rooms.vehicles.show(call.reach()?, &id(call)?).await?;
    Ok(match units {
        Some(units) => vehicle.in_units(units),
        None => vehicle,
    })
}

/// `PATCH vehicles/{id}`
pub(in crate::web) async fn change(call: &Call<'_>) -> Answer {
    let changes: Changes = call.json()?;
    let vehicles = &call.services.rooms.vehicles;
    let vehicle = match changes.nickname {
        Some(nickname) => vehicles.rename(call.reach()?, &id(call)?, checked_nickname(nickname)?).await?,
        None => vehicles.show(call.reach()?, &id(call)?).await?,
    };
    answer::ok(&vehicle)
}

/// `DELETE vehicles/{id}?user=`
pub(in crate::web) async fn remove(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let how = removal(&mut query)?;
    let user = query.take("user").map(AppUserId::new);
    query.finish()?;
    let reach = call.reach()?;
    let reach = match user {
        None => reach.clone(),
        Some(user) => reach.of(user).ok_or_else(|| Problem::from(VehiclesError::NotFound))?,
    };
    call.noting.erases(how.0);
    let ended = call.services.rooms.vehicles.disconnect(&reach, &id(call)?, how, &call.noting.cars()).await;
    call.noting.removed(ended).map_err(|error| Problem::not_disconnected(&error, END_ANYWAY))?;
    Ok(answer::done())
}

/// `GET vehicles/{id}/signals`
pub(in crate::web) async fn signals(call: &Call<'_>) -> Answer {
    let signals: Vec<_> = vehicle(call).await?.signals.into_values().collect();
    answer::ok(&json!({ "items": signals, "next": null }))
}

/// `GET vehicles/{id}/signals/{code}`
pub(in crate::web) async fn signal(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let units = query.units()?;
    query.finish()?;
    let signal = call.services.rooms.vehicles.signal(call.reach()?, &id(call)?, call.named(1)?).await;
    let signal = signal.map_err(|error| match error {
        // Here it is no part of the question, but the place that is asked for.
        VehiclesError::UnknownSignal(_) => Problem::from(error).absent(),
        other => other.into(),
    })?;
    match units {
        Some(units) => answer::ok(&signal.in_units(units)),
        None => answer::ok(&signal),
    }
}

/// `POST vehicles/{id}/refresh`
pub(in crate::web) async fn refresh(call: &Call<'_>) -> Answer {
    call.no_query()?;
    answer::ok(&call.services.rooms.vehicles.sync(call.reach()?, &id(call)?).await?)
}

/// `POST vehicles/{id}/subscribe`
pub(in crate::web) async fn subscribe(call: &Call<'_>) -> Answer {
    call.no_query()?;
    let (reach, id) = (call.reach()?, id(call)?);
    call.services.rooms.vehicles.subscribe(reach, &id).await?;
    answer::ok(&call.services.rooms.vehicles.show(reach, &id).await?)
}

const END_ANYWAY: &str = "To end it here all the same: `carport vehicles disconnect ID --force`.";

/// A nickname is for people.
pub(in crate::web) fn checked_nickname(nickname: Option<String>) -> Result<Option<String>, Problem> {
    checked_text("nickname", 100, nickname)
}

pub(super) fn id(call: &Call<'_>) -> Result<VehicleId, Problem> {
    call.named(0).map(VehicleId::new)
}

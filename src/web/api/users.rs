//! Users: the owners of cars.

use http::StatusCode;
use serde::Deserialize;

use super::super::Call;
use super::super::answer::{self, Answer};
use super::super::input::present;
use super::super::problem::Problem;
use super::{checked_text, removal};
use crate::model::AppUserId;
use crate::model::user::User;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    id: Option<String>,
    name: Option<String>,
    email: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "missing, null and a value are three things in a PATCH")]
struct Changes {
    #[serde(default, deserialize_with = "present")]
    name: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    email: Option<Option<String>>,
}

/// `GET users`
pub(in crate::web) async fn list(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let page = query.page()?;
    query.finish()?;
    answer::ok(&call.services.rooms.vehicles.users(call.reach()?, page).await?)
}

/// `POST users`
pub(in crate::web) async fn add(call: &Call<'_>) -> Answer {
    let new: NewUser = call.json()?;
    let id = new.id.map(checked_id).transpose()?;
    let (name, email) = (checked_text("name", 200, new.name)?, checked_text("email", 200, new.email)?);
    let user = call.services.rooms.vehicles.add_user(id, name, email).await?;
    call.noting.add(user.user.id.as_str());
    answer::json(StatusCode::CREATED, &user)
}

/// `GET users/{id}`
pub(in crate::web) async fn show(call: &Call<'_>) -> Answer {
    call.no_query()?;
    answer::ok(&call.services.rooms.vehicles.user(call.reach()?, &id(call)?).await?)
}

/// `PATCH users/{id}`
pub(in crate::web) async fn change(call: &Call<'_>) -> Answer {
    let changes: Changes = call.json()?;
    let checked = |name, change: Option<Option<String>>| change.map(|text| checked_text(name, 200, text)).transpose();
    let (name, email) = (checked("name", changes.name)?, checked("email", changes.email)?);
    let id = id(call)?;
    // What is out of reach does not exist.
    call.services.rooms.vehicles.user(call.reach()?, &id).await?;
    answer::ok(&call.services.rooms.vehicles.change_user(&id, name, email).await?)
}

/// `DELETE users/{id}`
pub(in crate::web) async fn remove(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let how = removal(&mut query)?;
    query.finish()?;
    let id = id(call)?;
    call.noting.erases(how.0);
    let removed = call.services.rooms.vehicles.remove_user(call.reach()?, &id, how, &call.noting.cars()).await;
    call.noting.removed(removed).map_err(|error| Problem::not_disconnected(&error, REMOVE_ANYWAY))?;
    Ok(answer::done())
}

const REMOVE_ANYWAY: &str = "To remove the user here all the same: `carport users remove ID --force`.";

fn id(call: &Call<'_>) -> Result<AppUserId, Problem> {
    call.named(0).map(AppUserId::new)
}

/// The caller's own string, within what every database and address can hold.
fn checked_id(id: String) -> Result<AppUserId, Problem> {
    if User::is_good_id(&id) {
        Ok(AppUserId::new(id))
    } else {
        Err(Problem::bad_request("`id` must be 1 to 128 bytes without white space and control characters, and not `null`."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_callers_own() {
        for good in ["owner", "auth0|5f", "a/b", "zo\u{eb}"] {
            assert!(checked_id(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\n", "null", &"x".repeat(129)] {
            assert!(checked_id(bad.to_owned()).is_err(), "{bad}");
        }
    }
}

//! The page of connections, and what is done from it.

use super::super::answer::{self, Answer};
use super::super::dashboard::{ConnectionsPage, Done, Part, Shell, Tab};
use super::super::problem::Problem;
use super::super::{Call, api};
use super::{all_connections, first_page, names, status};
use crate::vehicles::{History, VehiclesError};

/// `GET /connections?page=`, after something was done from it `?done=`
pub(in crate::web) async fn list(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let (page, done) =
        (query.take("page"), query.take("done").and_then(|word| Done::parse(&word, &[Done::ENDED, Done::RENEWED])));
    query.finish()?;
    let connections = all_connections(call).await?;
    let names = names(call).await?;
    let users = call.services.rooms.vehicles.users(call.reach()?, first_page()).await?.items;
    let status = status(call, &connections).await?;
    let page = ConnectionsPage {
        shell: Shell { done, ..call.shell(Tab::Connections) },
        connections: &connections,
        part: Part::of(page.as_deref(), connections.len()),
        names: &names,
        users: &users,
        status: &status.refresh,
        notices: &status.notices,
    };
    Ok(answer::html(http::StatusCode::OK, page.render()))
}

/// `POST /connections/{id}/refresh`: renews its tokens now.
pub(in crate::web) async fn renew(call: &Call<'_>) -> Answer {
    call.pressed()?;
    let id = api::connections::within_reach(call).await?;
    call.services.rooms.vehicles.refresh_connection(id).await?;
    back_saying(Done::RENEWED)
}

/// `POST /connections/{id}/disconnect`: fields `history` (keep or erase), `sure` and `force`.
pub(in crate::web) async fn end(call: &Call<'_>) -> Answer {
    let how = Ending::of(call)?.meant()?;
    let id = api::connections::within_reach(call).await?;
    call.noting.erases(how.0);
    let ended = call.services.rooms.vehicles.disconnect_connection(id, how, &call.noting.cars()).await;
    call.noting.removed(ended).map_err(|error| not_ended(&error))?;
    back_saying(Done::ENDED)
}

fn back_saying(done: Done) -> Answer {
    answer::see_other(&format!("/connections?done={}", done.word))
}

/// The form of somebody who wants to disconnect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// What happens to the history.
    pub(super) history: History,
    /// Even if Smartcar refuses.
    pub(super) force: bool,
    sure: bool,
}

impl Ending {
    pub(super) fn of(call: &Call<'_>) -> Result<Ending, Problem> {
        let mut form = call.own_form()?;
        let history = match form.take("history").as_deref() {
            Some("erase") => History::Erase,
            _ => History::Keep,
        };
        let (sure, force) = (form.flag("sure")?, form.flag("force")?);
        form.finish()?;
        Ok(Ending { history, force, sure })
    }

    /// What is to be done, if somebody is sure.
    pub(super) fn meant(self) -> Result<(History, bool), Problem> {
        if self.sure { Ok((self.history, self.force)) } else { Err(super::not_sure("Disconnect")) }
    }
}

/// Smartcar may refuse it, and who insists may end it here all the same.
pub(super) fn not_ended(error: &VehiclesError) -> Problem {
    Problem::not_disconnected(error, END_ANYWAY)
}

const END_ANYWAY: &str = "To end it here all the same, tick \u{201c}Even if Smartcar refuses\u{201d}.";

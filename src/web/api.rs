//! `/api/v1`, in JSON. What each route takes and gives is described in `openapi.json`.

use serde_json::json;

use super::answer::{self, Answer};
use super::input::Fields;
use super::problem::Problem;
use super::{Call, Services};
use crate::model::Timestamp;
use crate::model::access::Scope;
use crate::operate::probes::{self, Finding};
use crate::operate::status::StatusView;
use crate::vehicles::{History, VehiclesError};

pub(super) mod access;
pub(super) mod commands;
pub(super) mod connections;
pub(super) mod export;
pub(super) mod history;
pub(super) mod settings;
mod sheet;
pub(super) mod users;
pub(super) mod vehicles;
pub(super) mod webhooks;

/// `GET status`: of the whole gateway.
pub(super) async fn status(call: &Call<'_>) -> Answer {
    call.no_query()?;
    let status = &call.services.rooms.status;
    // Whoever only measures need not know which cars there are.
    let may_read = call.caller()?.scope.covers(Scope::Read);
    answer::ok(&if may_read { status.show().await } else { status.show_nameless().await })
}

/// `GET setup?fresh=true`: what is done and what is open, and what the probes found last, or find now.
pub(super) async fn setup(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let fresh = query.flag("fresh")?;
    query.finish()?;
    call.services.rooms.status.doubt_end(fresh).await;
    let status = call.services.rooms.status.show().await;
    if fresh {
        call.services.rooms.probes.run(status.webhooks.last_delivery_at).await;
    }
    let (checked_at, items) = setup_list(call.services, &status);
    answer::ok(&json!({ "items": items, "next": null, "checked_at": checked_at }))
}

/// The whole list, and when what is not known here was tried last. If that is long ago it is tried again, beside.
pub(super) fn setup_list(services: &Services, shown: &StatusView) -> (Option<Timestamp>, Vec<Finding>) {
    let mut list = shown.checklist();
    let tried = services.rooms.probes.last();
    services.rooms.probes.freshen(shown.webhooks.last_delivery_at);
    let checked_at = tried.as_ref().map(|(at, _)| *at);
    let knows_end = list.iter().any(|point| point.check == probes::V2);
    let found = tried.into_iter().flat_map(|(_, found)| found);
    list.extend(found.filter(|found| !(knows_end && found.check == probes::V2)));
    (checked_at, probes::with_the_end(list))
}

/// `GET budget`: the calls about the vehicles within reach.
pub(super) async fn budget(call: &Call<'_>) -> Answer {
    call.no_query()?;
    let budget = call.services.rooms.budget.show(call.reach()?).await.map_err(VehiclesError::from)?;
    answer::ok(&budget)
}

/// `?history=keep|erase&force=true`, wherever something is disconnected.
fn removal(query: &mut Fields) -> Result<(History, bool), Problem> {
    let erase = query.one_of("history", &["keep", "erase"])? == Some("erase");
    Ok((if erase { History::Erase } else { History::Keep }, query.flag("force")?))
}

/// A text for people: trimmed, not empty, not endless, without control characters.
fn checked_text(name: &str, longest: usize, text: Option<String>) -> Result<Option<String>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let text = text.trim();
    if text.is_empty() || text.chars().count() > longest || text.chars().any(char::is_control) {
        return Err(Problem::bad_request(format!("`{name}` must be 1 to {longest} characters without control characters.")));
    }
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removal_keeps_history_unless_told_otherwise() {
        let read = |raw: &str| removal(&mut Fields::parse(raw.as_bytes()).unwrap()).map_err(|problem| problem.code());
        assert_eq!(read(""), Ok((History::Keep, false)));
        assert_eq!(read("history=erase&force=true"), Ok((History::Erase, true)));
        assert_eq!(read("history=Erase"), Err("bad_request"));
        assert_eq!(read("force=1"), Err("bad_request"));
    }

    #[test]
    fn texts_are_trimmed_and_bounded() {
        assert_eq!(checked_text("name", 4, Some(" Anna ".to_owned())), Ok(Some("Anna".to_owned())));
        assert_eq!(checked_text("name", 4, None), Ok(None));
        for text in ["", " ", "a\nb", "xxxxx"] {
            assert!(checked_text("name", 4, Some(text.to_owned())).is_err());
        }
    }
}

//! `/api/v1`, in JSON. What each route takes and gives is described in `openapi.json`.

use super::Call;
use super::answer::{self, Answer};
use super::input::Fields;
use super::problem::Problem;
use crate::vehicles::{History, VehiclesError};

pub(super) mod access;
pub(super) mod commands;
pub(super) mod connections;
pub(super) mod export;
pub(super) mod history;
mod sheet;
pub(super) mod users;
pub(super) mod vehicles;
pub(super) mod webhooks;

/// `GET status`: of the whole gateway.
pub(super) async fn status(call: &Call<'_>) -> Answer {
    call.no_query()?;
    answer::ok(&call.services.status.show().await)
}

/// `GET budget`: the calls about the vehicles within reach.
pub(super) async fn budget(call: &Call<'_>) -> Answer {
    call.no_query()?;
    let budget = call.services.budget.show(call.reach()?).await.map_err(VehiclesError::from)?;
    answer::ok(&budget)
}

/// `?history=keep|erase&force=true`, wherever something is disconnected.
fn removal(query: &mut Fields) -> Result<(History, bool), Problem> {
    let history = match query.take("history").as_deref() {
        None | Some("keep") => History::Keep,
        Some("erase") => History::Erase,
        Some(_) => return Err(Problem::bad_request("`history` must be keep or erase.")),
    };
    Ok((history, query.flag("force")?))
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

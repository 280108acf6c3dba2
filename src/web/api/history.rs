//! The past of a vehicle: changes of signals, as JSON or as a table for spreadsheets, and what follows from them.

use http::header::{CONTENT_DISPOSITION, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::super::answer::{self, Answer};
use super::super::input::Fields;
use super::super::problem::Problem;
use super::super::{Body, Call};
use super::vehicles::id;
use super::{export, sheet};
use crate::model::reach::{Page, PageRequest};
use crate::model::rollup::{Grid, Span};
use crate::vehicles::HistoryQuery;

/// `GET vehicles/{id}/history?signal=&since=&until=&limit=&cursor=&format=json|csv&every=hour|day&offset=&units=`
pub(in crate::web) async fn show(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let as_csv = query.one_of("format", &["json", "csv"])? == Some("csv");
    let every = query.one_of("every", &["hour", "day"])?.and_then(Span::parse);
    let zone = offset(&mut query)?;
    if every.is_none() && zone.is_some() {
        return Err(Problem::bad_request("`offset` says where hours and days begin: it goes with `every`."));
    }
    let wanted = range(call, &mut query)?;
    let is_whole = as_csv && every.is_none() && !query.has("limit") && !query.has("cursor");
    let page = query.page()?;
    query.finish()?;
    let (vehicles, reach, id) = (&call.services.rooms.vehicles, call.reach()?, id(call)?);
    if let Some(every) = every {
        let grid = Grid::new(every, zone.unwrap_or(0));
        let page = vehicles.past(reach, &id, move |past| past.rollups(grid, wanted, page)).await?;
        if !as_csv {
            return answer::ok(&page);
        }
        let mut table = sheet::ROLLUPS.to_owned();
        page.items.iter().for_each(|row| sheet::rollup(&mut table, row));
        return Ok(part_of_a_table(HISTORY, table, page.next));
    }
    if is_whole {
        return export::of_one(call, &id, wanted).await;
    }
    let page = vehicles.history(reach, &id, wanted, page).await?;
    if !as_csv {
        return answer::ok(&page);
    }
    let mut table = sheet::CHANGES.to_owned();
    page.items.iter().for_each(|row| sheet::change(&mut table, None, row));
    Ok(part_of_a_table(HISTORY, table, page.next))
}

/// `GET vehicles/{id}/charges?since=&until=&limit=&cursor=&format=json|csv`
pub(in crate::web) async fn charges(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let (since, until) = query.period(call.services.world.now())?;
    let wanted = HistoryQuery { since, until, ..HistoryQuery::default() };
    let (as_csv, page) = part(&mut query)?;
    query.finish()?;
    let vehicles = &call.services.rooms.vehicles;
    let page = vehicles.past(call.reach()?, &id(call)?, move |past| past.charges(wanted, page)).await?;
    if as_csv { Ok(derived("charges.csv", sheet::CHARGES, page)) } else { answer::ok(&page) }
}

/// `GET vehicles/{id}/trips?since=&until=&limit=&cursor=&offset=&units=&format=json|csv`
pub(in crate::web) async fn trips(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let ((since, until), units) = (query.period(call.services.world.now())?, query.units()?);
    let offset = offset(&mut query)?.unwrap_or(0);
    let (as_csv, page) = part(&mut query)?;
    query.finish()?;
    let wanted = HistoryQuery { signal: None, since, until, units };
    let vehicles = &call.services.rooms.vehicles;
    let page = vehicles.past(call.reach()?, &id(call)?, move |past| past.trips(wanted, offset, page)).await?;
    if as_csv { Ok(derived("trips.csv", sheet::TRIPS, page)) } else { answer::ok(&page) }
}

/// Whether what follows from signals is wanted as a table, and which part of it: of a table all, unless somebody asks for less.
fn part(query: &mut Fields) -> Result<(bool, PageRequest), Problem> {
    let as_csv = query.one_of("format", &["json", "csv"])? == Some("csv");
    let is_whole = as_csv && !query.has("limit") && !query.has("cursor");
    let page = query.page()?;
    Ok((as_csv, if is_whole { PageRequest { limit: WHOLE, ..page } } else { page }))
}

/// A table of what follows from signals.
fn derived<T: Serialize>(name: &'static str, head: &str, page: Page<T>) -> Response<Body> {
    let mut table = head.to_owned();
    page.items.iter().for_each(|row| sheet::derived(&mut table, head, row));
    part_of_a_table(name, table, page.next)
}

/// Which part of a history, and how it is shown.
pub(super) fn range(call: &Call<'_>, query: &mut Fields) -> Result<HistoryQuery, Problem> {
    let (signal, (since, until)) = (query.take("signal"), query.period(call.services.world.now())?);
    Ok(HistoryQuery { signal, since, until, units: query.units()? })
}

/// The time zone that is asked for, in minutes ahead of UTC.
fn offset(query: &mut Fields) -> Result<Option<i64>, Problem> {
    let wrong = || Problem::bad_request("`offset` must be a time zone such as +02:00 or -05:00, or Z.");
    query.take("offset").map(|text| minutes(&text).ok_or_else(wrong)).transpose()
}

/// `+02:00` in minutes. A query that was not encoded has a space in place of the plus.
fn minutes(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+" | " ", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str, most: i64| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| is_plain && *number <= most)
    };
    Some(sign * (number(hours, 14)? * 60 + number(minutes, 59)?))
}

fn part_of_a_table(name: &str, table: String, next: Option<String>) -> Response<Body> {
    let mut response = answer::text(StatusCode::OK, "text/csv; charset=utf-8", table);
    let headers = response.headers_mut();
    let saved_as = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")).ok();
    let next = next.and_then(|next| HeaderValue::try_from(next).ok());
    headers
        .extend([(CONTENT_DISPOSITION, saved_as), (NEXT_CURSOR, next)].into_iter().filter_map(|(of, value)| Some((of, value?))));
    response
}

const HISTORY: &str = "history.csv";

/// How many lines a whole table has at most: more than a car charges in many years.
const WHOLE: usize = 10_000;

/// Where the next part of a table begins: a table has no room for it.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_those_of_time_zones() {
        for (text, expected) in [("Z", 0), ("+02:00", 120), (" 05:30", 330), ("-05:00", -300), ("+14:00", 840)] {
            assert_eq!(minutes(text), Some(expected), "{text}");
        }
        for text in ["", "2", "+2:00", "+15:00", "+02:60", "02:00", "+0a:00", "+-1:00", "\u{e4}1:00"] {
            assert_eq!(minutes(text), None, "{text}");
        }
    }
}

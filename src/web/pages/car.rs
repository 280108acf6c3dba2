//! The page of a car, and what is done from it.

use http::StatusCode;
use http::header::{HeaderName, SET_COOKIE};
use serde_json::{Value, json};

use super::super::answer::{self, Answer};
use super::super::cookies::UNITS;
use super::super::dashboard::{CarPage, Clock, CommandPage, ConfirmPage, Done, Mistake, Past, PastSpan, Sent, Shell, Tab, drawn};
use super::super::flash::{self, Looks};
use super::super::problem::Problem;
use super::super::{Call, api};
use super::connections::Ending;
use crate::commands::CommandError;
use crate::model::VehicleId;
use crate::model::command::Command;
use crate::model::reach::PageRequest;
use crate::model::taste::Taste;
use crate::vehicles::{History, HistoryQuery, VehicleView, VehiclesError};

/// `GET /vehicles/{id}?past=`, after something was done from it `?done=`
pub(in crate::web) async fn show(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let span = query.take("past").and_then(|word| PastSpan::parse(&word)).unwrap_or(PastSpan::Week);
    let done = query.take("done").and_then(|word| Done::parse(&word, &[Done::SAVED, Done::UNITS, Done::FRESH]));
    query.finish()?;
    Ok(answer::html(StatusCode::OK, draw(call, span, done, None).await?))
}

/// The page once more, for a form of which something is wrong: it says what, and keeps what was typed.
async fn again(call: &Call<'_>, place: &'static str, problem: Problem, typed: &[(&'static str, String)]) -> Answer {
    again_marking(call, place, problem, (&[], typed)).await
}

/// The same with what is wrong with each box.
async fn again_marking(call: &Call<'_>, place: &'static str, problem: Problem, (wrong, typed): (&Boxes, &Boxes)) -> Answer {
    let mistake = Mistake { place, sentence: problem.sentence(), wrong, typed };
    let Ok(page) = draw(call, PastSpan::Week, None, Some(mistake)).await else { return Err(problem) };
    problem.log(call.request_id);
    let mut response = answer::html(problem.status(), page);
    problem.show(response.headers_mut());
    Ok(response)
}

async fn draw(call: &Call<'_>, span: PastSpan, done: Option<Done>, mistake: Option<Mistake<'_>>) -> Result<String, Problem> {
    let (vehicles, reach, id) = (&call.services.rooms.vehicles, call.reach()?, id(call)?);
    let vehicle = to_taste(call, vehicles.show(reach, &id).await?);
    let connection = match vehicle.connection {
        Some(id) => match vehicles.connection(reach, id).await {
            Ok(connection) => Some(connection),
            // A token of one vehicle may not see the whole connection; of one that is damaged the lights tell.
            Err(VehiclesError::NotFound | VehiclesError::Damaged) => None,
            Err(other) => return Err(other.into()),
        },
        None => None,
    };
    let (taste, clock, until) = (taste(call), clock(call), call.services.world.now());
    let since = until.before(span.length());
    let codes: Vec<&'static str> = drawn().filter(|code| vehicle.signals.contains_key(*code)).collect();
    let first = |limit| PageRequest { cursor: None, limit };
    let wanted = HistoryQuery { since: Some(since), until: Some(until), units: Some(taste.distance), ..HistoryQuery::default() };
    let looked = vehicles.past(reach, &id, move |past| {
        let courses = past.courses(&codes, (since, until), span.steps())?;
        let charges = past.charges(wanted.clone(), first(1_000))?.items;
        Ok((courses, charges, past.trips(wanted, clock.minutes(), first(400))?.items))
    });
    let (courses, charges, days) = looked.await?;
    let page = CarPage {
        shell: Shell { done, ..call.shell(Tab::Cars) },
        vehicle: &vehicle,
        connection: connection.as_ref(),
        past: Past { span, since, until, courses: &courses, charges: &charges, days: &days, taste, clock },
        mistake,
    };
    Ok(page.render())
}

/// `POST /vehicles/{id}`
pub(in crate::web) async fn rename(call: &Call<'_>) -> Answer {
    let mut form = call.own_form()?;
    let typed = form.take("nickname");
    form.finish()?;
    let id = id(call)?;
    let nickname = match api::vehicles::checked_nickname(typed.clone()) {
        Ok(nickname) => nickname,
        Err(problem) => {
            let wrong = ("nickname", "A name has 1 to 100 characters, and no control characters.".to_owned());
            let typed = ("nickname", typed.unwrap_or_default());
            return again_marking(call, "settings", problem.saying(wrong.1.clone()), (&[wrong], &[typed])).await;
        }
    };
    call.services.rooms.vehicles.rename(call.reach()?, &id, nickname).await?;
    back_saying(&id, Done::SAVED)
}

/// `POST /vehicles/{id}/commands`: asks whether it is meant, then gives it.
pub(in crate::web) async fn command(call: &Call<'_>) -> Answer {
    let id = id(call)?;
    // What is out of reach does not exist, whatever is asked of it.
    let vehicle = call.services.rooms.vehicles.show(call.reach()?, &id).await?;
    let mut form = call.own_form()?;
    let name = form.take("command").ok_or_else(|| Problem::bad_request("Choose what the car is to do."))?;
    let taken = Command::fields(&name).iter();
    let typed: Vec<(&'static str, String)> = taken.map(|field| (*field, form.take(field).unwrap_or_default())).collect();
    let plain = |text: &str| text.trim().replace(',', ".");
    let fields: Vec<(&'static str, String)> = typed.iter().map(|(field, text)| (*field, plain(text))).collect();
    let sure = form.flag("sure")?;
    form.finish()?;
    let attributes: Value = fields.iter().map(|(field, text)| ((*field).to_owned(), number(text))).collect();
    let command = match Command::of_v3(&name, &json!({ "data": { "attributes": attributes } })) {
        Ok(command) => command,
        Err(error) if error.status == 404 => return Err(Problem::bad_request("Carport knows no such command.")),
        Err(_) => {
            let wrong = wrong(&name, &fields);
            let all: Vec<&str> = wrong.iter().map(|(_, sentence)| sentence.as_str()).collect();
            return again_marking(call, "orders", Problem::bad_request(all.join(" ")), (&wrong, &typed)).await;
        }
    };
    let shell = call.shell(Tab::Cars);
    if !sure {
        let page = ConfirmPage { shell, vehicle: &vehicle, command: &name, fields: &fields };
        return flash::answer(call, Looks::Any, page.render());
    }
    call.noting.add(name.as_str());
    call.noting.begin().await?;
    let by = (call.caller()?.actor.clone(), call.client.address());
    match call.services.rooms.commands.give(call.reach()?, &id, command, by, api::commands::PATIENCE).await {
        Ok(view) => {
            call.noting.command(&view);
            answer::see_other(&format!("/vehicles/{}/commands/{}", answer::path_part(id.as_str()), view.id))
        }
        Err(error) => {
            let lacking = if let CommandError::NoPermission { permission, .. } = &error { Some(*permission) } else { None };
            let problem = Problem::from(error);
            call.noting.add(problem.code());
            let reconnect = matches!(problem.code(), "reconnect_required" | "not_connected");
            let sent = Sent::Refused { command: &name, sentence: problem.sentence(), reconnect, lacking };
            let page = CommandPage { shell, vehicle: &vehicle, sent };
            let mut response = answer::html(problem.status(), page.render());
            problem.show(response.headers_mut());
            Ok(response)
        }
    }
}

/// `GET /vehicles/{id}/commands/{command}`
pub(in crate::web) async fn outcome(call: &Call<'_>) -> Answer {
    call.no_query()?;
    let (reach, id) = (call.reach()?, id(call)?);
    let vehicle = call.services.rooms.vehicles.show(reach, &id).await?;
    let given = call.services.rooms.commands.show(reach, &id, call.named(1)?).await?;
    let page = CommandPage { shell: call.shell(Tab::Cars), vehicle: &vehicle, sent: Sent::Given(&given) };
    Ok(answer::html(StatusCode::OK, page.render()))
}

/// `POST /vehicles/{id}/refresh`: one read that counts.
pub(in crate::web) async fn refresh(call: &Call<'_>) -> Answer {
    let id = id(call)?;
    call.services.rooms.vehicles.show(call.reach()?, &id).await?;
    call.pressed()?;
    match call.services.rooms.vehicles.sync(call.reach()?, &id).await {
        Ok(_) => back_saying(&id, Done::FRESH),
        // The page has what mends most of it, such as a button to connect it again.
        Err(error) => again(call, "", on_its_page(Problem::from(error)), &[]).await,
    }
}

/// `POST /vehicles/{id}/disconnect`: fields `history` (keep or erase), `sure` and `force`.
pub(in crate::web) async fn end(call: &Call<'_>) -> Answer {
    let (id, form) = (id(call)?, Ending::of(call)?);
    let ticked =
        [("history", form.history == History::Erase), ("force", form.force)].into_iter().filter(|(_, is_ticked)| *is_ticked);
    let ticked: Vec<_> = ticked.map(|(field, _)| (field, String::new())).collect();
    let how = match form.meant() {
        Ok(how) => how,
        Err(problem) => return again(call, "end", problem, &ticked).await,
    };
    call.noting.erases(how.0);
    let ended = call.services.rooms.vehicles.disconnect(call.reach()?, &id, how, &call.noting.cars()).await;
    if let Err(error) = call.noting.removed(ended) {
        return again(call, "end", super::connections::not_ended(&error), &ticked).await;
    }
    match how.0 {
        // Which it says itself.
        History::Keep => back(&id),
        History::Erase => answer::see_other("/"),
    }
}

/// `POST /units`: in which units this browser shows values.
pub(in crate::web) fn change_units(call: &Call<'_>) -> Answer {
    let mut form = call.own_form()?;
    let [distance, pressure, temperature] =
        ["distance", "pressure", "temperature"].map(|name| form.take(name).unwrap_or_default());
    let vehicle = form.take("car").map(VehicleId::new);
    form.finish()?;
    let taste = Taste::parse(&distance, &pressure, &temperature)
        .ok_or_else(|| Problem::bad_request("Choose km or mi, bar, kpa or psi, and c or f."))?;
    let mut response = match vehicle {
        Some(id) => back_saying(&id, Done::UNITS)?,
        None => answer::see_other("/")?,
    };
    if let Some(line) = call.cookie_kind.and_then(|kind| UNITS.set(kind, &taste.to_string(), Some(YEARS))) {
        response.headers_mut().append(SET_COOKIE, line);
    }
    Ok(response)
}

/// In which units this viewer wants to see values.
pub(in crate::web) fn taste(call: &Call<'_>) -> Taste {
    let chosen = call.cookie_kind.and_then(|kind| UNITS.read(kind, &call.head.headers)).and_then(Taste::read);
    chosen.unwrap_or_else(|| Taste::of(call.services.rooms.vehicles.units()))
}

/// The same car in these units.
pub(super) fn to_taste(call: &Call<'_>, mut vehicle: VehicleView) -> VehicleView {
    let taste = taste(call);
    if taste != Taste::of(call.services.rooms.vehicles.units()) {
        for signal in vehicle.signals.values_mut() {
            if let Some(body) = &signal.body {
                signal.normal = taste.normal(&signal.code, &body.value());
            }
        }
    }
    vehicle
}

fn clock(call: &Call<'_>) -> Clock {
    let told = call.head.headers.get(CLOCK).and_then(|told| told.to_str().ok());
    told.and_then(Clock::read).unwrap_or(Clock::UTC)
}

/// A problem in the words of the page of the car, which has the button that mends it.
fn on_its_page(problem: Problem) -> Problem {
    match problem.code() {
        "not_connected" => problem.saying(
            "Carport may not read this car any more, so nothing was asked. Press Reconnect: its owner signs in once more.",
        ),
        _ => problem,
    }
}

/// What is wrong with each box of a command, by the names that stand beside them.
fn wrong(name: &str, fields: &Boxes) -> Vec<(&'static str, String)> {
    let of = |(field, text): &(&'static str, String)| {
        // Nothing is wrong with the others meanwhile.
        let attributes = fields.iter().map(|(own, _)| ((*own).to_owned(), if own == field { number(text) } else { json!(0) }));
        let attributes: Value = attributes.collect();
        let error = Command::of_v3(name, &json!({ "data": { "attributes": attributes } })).err()?;
        let label = match *field {
            "percent" => "The charge limit",
            "latitude" => "Latitude",
            "longitude" => "Longitude",
            other => other,
        };
        Some((*field, error.description.replacen(field, label, 1)))
    };
    fields.iter().filter_map(of).collect()
}

/// Boxes of a form, with a text each.
type Boxes = [(&'static str, String)];

/// A number of a form, as JSON has it: whole if it is.
fn number(text: &str) -> Value {
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(whole), _) => json!(whole),
        (_, Ok(number)) => json!(number),
        _ => Value::Null,
    }
}

fn id(call: &Call<'_>) -> Result<VehicleId, Problem> {
    call.named(0).map(VehicleId::new)
}

fn back(id: &VehicleId) -> Answer {
    answer::see_other(&format!("/vehicles/{}", answer::path_part(id.as_str())))
}

fn back_saying(id: &VehicleId, done: Done) -> Answer {
    answer::see_other(&format!("/vehicles/{}?done={}", answer::path_part(id.as_str()), done.word))
}

/// How many minutes ahead of UTC the viewer's clock is, as our script says; believed as far as drawing goes.
const CLOCK: HeaderName = HeaderName::from_static("x-clock");

/// How long a choice of units is kept: as long as browsers allow.
const YEARS: u64 = 400 * 86_400;

//! Connect: the pages an owner clicks through, and the redirect at their end. No session: every step carries
//! the first URL and what was chosen so far in its form.
//!
//! Scripts skip the pages: `simulator_account=EMAIL` in the URL answers the last redirect at once (all
//! vehicles, all permissions of the scope). With it may come `simulator_outcome=ERROR` (one of
//! [`OUTCOMES`], with `simulator_details=none` or `no-model` for what a `vehicle_incompatible` tells),
//! `simulator_vehicles=` and `simulator_permissions=` (comma-separated choices).

use http::{Method, StatusCode};
use url::{Url, form_urlencoded};

use super::Settings;
use super::car::Car;
use super::exchange::{self, Exchange, Fields, Reply};
use super::oauth::Grant;
use super::pages;
use super::state::Generation;
use ask::{Back, Wrong};

mod ask;

pub(super) use ask::Ask;

/// `/oauth/authorize`
pub(super) fn authorize(exchange: &mut Exchange<'_>) -> Reply {
    let ask = match Ask::read(exchange, &["code", "none"]) {
        Ok(ask) => ask,
        Err(wrong) => return refuse(wrong),
    };
    if let Some(email) = exchange.query.get("simulator_account").map(str::to_owned) {
        return direct(exchange, &ask, &email);
    }
    let form = if exchange.method == Method::POST { exchange.form() } else { Fields::default() };
    let of_vin = ask.single_select_vin.as_ref().filter(|_| ask.single_select);
    let of_vin = of_vin.and_then(|vin| exchange.state.cars.values().find(|car| car.vin == *vin)).map(|car| car.model.make);
    let make = form.get("make").or(of_vin).or(ask.make.as_deref()).map(str::to_owned);
    match form.get("step") {
        None if make.is_none() => pages::brands(exchange),
        None | Some("brand") => pages::sign_in(exchange, make.as_deref()),
        Some("sign-in") if form.get("cancel").is_some() => finish_with(&ask, "oem_cancelled_login"),
        Some("sign-in") => {
            let email = form.get("email").unwrap_or_default();
            match signed_in(exchange, email, make.as_deref()) {
                Ok(account) => choose(exchange, &ask, account, None),
                Err(error) => finish_with(&ask, error),
            }
        }
        Some("grant") if form.get("allow").is_none() => finish_with(&ask, "access_denied"),
        Some("grant") => granted(exchange, &ask, &form),
        Some(_) => pages::refusal("This step does not exist."),
    }
}

/// What a wrong link ends with: an error page, or the way back if that much is right.
fn refuse(wrong: Wrong) -> Reply {
    match wrong {
        Wrong::Way(why) => pages::refusal(&why),
        Wrong::Rest(back, why) => {
            if back.target.is_none() {
                return pages::refusal(&why);
            }
            let description = description("configuration_error").unwrap_or_default();
            let answer = vec![
                ("error", "configuration_error".to_owned()),
                ("error_description", description.to_owned()),
                ("status_code", "400".to_owned()),
                ("error_message", why),
            ];
            finish(&back, answer, None)
        }
    }
}

/// `/oauth/reauthenticate`
pub(super) fn reauthenticate(exchange: &mut Exchange<'_>) -> Reply {
    let ask = match Ask::read(exchange, &["vehicle_id", "none"]) {
        Ok(ask) => ask,
        Err(wrong) => return refuse(wrong),
    };
    let vehicle_id = exchange.query.get("vehicle_id").unwrap_or_default().to_owned();
    let Some(connection) = exchange.state.connection(None, &vehicle_id) else {
        return finish_with(&ask, "configuration_error");
    };
    let user_id = connection.user_id.clone();
    let direct = exchange.query.get("simulator_account").is_some();
    if let Some(outcome) = exchange.query.get("simulator_outcome").filter(|_| direct) {
        return finish_with(&ask, outcome);
    }
    let form = if exchange.method == Method::POST { exchange.form() } else { Fields::default() };
    if !direct && form.get("step").is_none() {
        return pages::sign_in_again(exchange, &vehicle_id);
    }
    if form.get("cancel").is_some() {
        return finish_with(&ask, "oem_cancelled_login");
    }
    for account in exchange.state.accounts.iter_mut().filter(|account| account.user_id == user_id) {
        ask.name_owner(&mut account.external_id);
    }
    exchange.state.settle(&user_id);
    exchange.wake = true;
    let external_id = exchange.state.account_of(&user_id).and_then(|account| account.external_id.clone());
    finish(&ask.back, vec![("vehicle_id", vehicle_id)], external_id)
}

/// The direct mode: no page, one redirect.
fn direct(exchange: &mut Exchange<'_>, ask: &Ask, email: &str) -> Reply {
    if let Some(outcome) = exchange.query.get("simulator_outcome") {
        return match exchange.query.get("simulator_details") {
            None => finish_with(ask, outcome),
            // The owner does not always agree to tell of the vehicle, and a model is not always known.
            Some("none") => finish_without(ask, outcome, &["vin", "make", "model", "year"]),
            Some(_) => finish_without(ask, outcome, &["model"]),
        };
    }
    let account = match signed_in(exchange, email, ask.make.as_deref()) {
        Ok(account) => account,
        Err(error) => return finish_with(ask, error),
    };
    let list = |name: &str| exchange.query.get(name).map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>());
    let (wanted, permissions) = (list("simulator_vehicles"), list("simulator_permissions"));
    let offered = ask.offered(exchange, account);
    let vehicles = offered.into_iter().filter(|id| wanted.as_ref().is_none_or(|wanted| wanted.contains(id)));
    let vehicles: Vec<String> = vehicles.take(if ask.single_select { 1 } else { usize::MAX }).collect();
    connect(exchange, ask, account, &vehicles, |name| {
        permissions.as_ref().is_none_or(|list| list.iter().any(|other| other == name))
    })
}

/// The account behind a sign-in, or the error its e-mail stands for.
fn signed_in(exchange: &mut Exchange<'_>, email: &str, make: Option<&str>) -> Result<usize, &'static str> {
    match email.trim() {
        "smartcar@invalid-subscription.com" => return Err("invalid_subscription"),
        "smartcar@vehicle-incompatible.com" => return Err("vehicle_incompatible"),
        email if email.starts_with("no-vehicles@") => return Err("no_vehicles"),
        email if email.starts_with("server-error@") => return Err("server_error"),
        email if email.starts_with("configuration-error@") => return Err("configuration_error"),
        _ => {}
    }
    let account = exchange.state.sign_in(email, make).ok_or("server_error")?;
    if exchange.state.accounts[account].vehicles.is_empty() { Err("no_vehicles") } else { Ok(account) }
}

/// The page on which vehicles and permissions are chosen.
fn choose(exchange: &Exchange<'_>, ask: &Ask, account: usize, warning: Option<&str>) -> Reply {
    let offered = ask.offered(exchange, account);
    if offered.is_empty() {
        return none_offered(exchange, ask, account);
    }
    // With approval_prompt=auto, who granted all of this before is not asked for it again.
    let account = &exchange.state.accounts[account];
    let known = offered.iter().all(|id| {
        let connection = exchange.state.connection(Some(&account.user_id), id);
        connection.is_some_and(|connection| ask.scope.iter().all(|asked| connection.permissions.contains(&asked.name)))
    });
    pages::choose(exchange, ask, account, &offered, ask.force || !known, warning)
}

/// The owner pressed Allow.
fn granted(exchange: &mut Exchange<'_>, ask: &Ask, form: &Fields) -> Reply {
    let account = match signed_in(exchange, form.get("email").unwrap_or_default(), form.get("make")) {
        Ok(account) => account,
        Err(error) => return finish_with(ask, error),
    };
    let offered = ask.offered(exchange, account);
    let vehicles: Vec<String> = offered.into_iter().filter(|id| form.all("vehicle").any(|chosen| chosen == id)).collect();
    if vehicles.is_empty() {
        return choose(exchange, ask, account, Some("Choose at least one vehicle."));
    }
    if ask.single_select && vehicles.len() > 1 {
        return choose(exchange, ask, account, Some("Choose one vehicle only."));
    }
    connect(exchange, ask, account, &vehicles, |name| form.all("permission").any(|chosen| chosen == name))
}

/// Connects, and sends the owner back with what Smartcar sends.
fn connect(exchange: &mut Exchange<'_>, ask: &Ask, account: usize, vehicles: &[String], kept: impl Fn(&str) -> bool) -> Reply {
    if vehicles.is_empty() {
        return none_offered(exchange, ask, account);
    }
    let permissions: Vec<String> =
        ask.scope.iter().filter(|asked| asked.required || kept(&asked.name)).map(|asked| asked.name.clone()).collect();
    let (settings, now, state) = (exchange.settings, exchange.now, &mut *exchange.state);
    ask.name_owner(&mut state.accounts[account].external_id);
    let (user_id, generation) = (state.accounts[account].user_id.clone(), state.accounts[account].generation);
    let external_id = state.accounts[account].external_id.clone();
    state.connect(&user_id, vehicles, &permissions, ask.mode, now);
    exchange.wake = true;
    let mut answer = Vec::new();
    let with_user = generation == Generation::V3 || !ask.with_code;
    if ask.with_code && (!with_user || settings.habits.code_beside_user) {
        let grant = Grant { user_id: user_id.clone(), vehicles: vehicles.iter().cloned().collect() };
        let expires_at = now.after(settings.code_life);
        let code = state.tokens.issue_code(grant, ask.back.redirect_uri.clone(), expires_at, &mut state.chance);
        answer.push(("code", code));
    }
    if with_user {
        answer.push(("user_id", user_id));
    }
    let key = |id: &String| {
        state.cars.get(id)?.trouble.as_ref().filter(|trouble| trouble.code == Some("VIRTUAL_KEY_REQUIRED"))?.url.clone()
    };
    answer.extend(vehicles.iter().find_map(key).map(|url| ("virtual_key_url", url.into())));
    finish(&ask.back, answer, external_id)
}

/// Ends with one of the documented errors.
fn finish_with(ask: &Ask, error: &str) -> Reply {
    finish_without(ask, error, &[])
}

/// Ends where no vehicle may be chosen: with one that was left out, or because there is none.
fn none_offered(exchange: &Exchange<'_>, ask: &Ask, account: usize) -> Reply {
    match ask.left_out(exchange, account) {
        Some(car) => finish_about(ask, "vehicle_incompatible", Left::out(car), &[]),
        None => finish_with(ask, "no_vehicles"),
    }
}

/// What a `vehicle_incompatible` tells of its vehicle.
struct Left([(&'static str, String); 4]);

impl Left {
    fn out(car: &Car) -> Left {
        let (make, model) = (car.model.make.to_owned(), car.model.name.to_owned());
        Left([("vin", car.vin.clone()), ("make", make), ("model", model), ("year", car.year.to_string())])
    }

    /// One that no simulated account has, for whoever asks for this end.
    fn nobodys() -> Left {
        let told = [("vin", "0SC0000000000TEST"), ("make", "FORD"), ("model", "Model T"), ("year", "2009")];
        Left(told.map(|(name, value)| (name, value.to_owned())))
    }
}

/// The same, with less than could be told.
fn finish_without(ask: &Ask, error: &str, untold: &[&str]) -> Reply {
    finish_about(ask, error, Left::nobodys(), untold)
}

fn finish_about(ask: &Ask, error: &str, Left(vehicle): Left, untold: &[&str]) -> Reply {
    let Some(description) = description(error) else {
        return pages::refusal("simulator_outcome is not an error of Connect.");
    };
    let mut answer = vec![("error", error.to_owned())];
    // The documented example of a cancelled login lacks it.
    if !description.is_empty() {
        answer.push(("error_description", description.to_owned()));
    }
    match error {
        "vehicle_incompatible" => answer.extend(vehicle),
        "configuration_error" => {
            answer.push(("status_code", "400".to_owned()));
            answer.push(("error_message", "The request is not as it was set up.".to_owned()));
        }
        _ => {}
    }
    answer.retain(|(name, _)| !untold.contains(name));
    finish(&ask.back, answer, None)
}

fn description(error: &str) -> Option<&'static str> {
    OUTCOMES.iter().find(|(name, _)| *name == error).map(|(_, description)| *description)
}

fn finish(back: &Back, mut answer: Vec<(&'static str, String)>, external_id: Option<String>) -> Reply {
    answer.extend(back.state.clone().map(|state| ("state", state)));
    answer.extend(external_id.map(|id| ("external_id", id)));
    let Some(target) = &back.target else {
        let told = |wanted: &str| answer.iter().find(|(name, _)| *name == wanted).map(|(_, text)| text.as_str());
        // An error without a description is one all the same.
        let error = told("error").map(|_| told("error_description").unwrap_or("The sign-in was cancelled."));
        return pages::closing(error, back.app_origin.as_deref());
    };
    let mut pairs = form_urlencoded::Serializer::new(String::new()).extend_pairs(&answer).finish();
    // Smartcar writes a space now as `+`, now as `%20`. A `+` that is meant is `%2B` already.
    if answer.iter().any(|(_, value)| value == "access_denied") {
        pairs = pairs.replace('+', "%20");
    }
    let mut target = target.clone();
    let query = target.query().filter(|query| !query.is_empty()).map_or(pairs.clone(), |query| format!("{query}&{pairs}"));
    target.set_query(Some(&query));
    exchange::redirect(target.as_str())
}

/// The link that leads back from a failed sign-in at the maker.
pub(super) fn reauthentication_url(settings: &Settings, vehicle_id: &str) -> String {
    let (base_url, application_id) = (settings.base_url.trim_end_matches('/'), &settings.application.application_id);
    format!("{base_url}/oauth/reauthenticate?response_type=vehicle_id&client_id={application_id}&vehicle_id={vehicle_id}")
}

/// A call as the direct mode takes it.
pub(super) fn direct_path(authorize_url: &str, email: &str) -> Result<String, String> {
    let mut url = Url::parse(authorize_url).map_err(|error| format!("not a URL: {error}"))?;
    url.query_pairs_mut().append_pair("simulator_account", email);
    Ok(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
}

/// Whether a reply to [`direct_path`] is the redirect, or an error page to be told of.
pub(super) fn location(reply: &Reply) -> Result<String, String> {
    let location = reply.headers().get(http::header::LOCATION).and_then(|value| value.to_str().ok());
    match location {
        Some(location) if reply.status() == StatusCode::FOUND => Ok(location.to_owned()),
        _ => Err(format!("Connect answered {} instead of a redirect", reply.status())),
    }
}

/// The errors Connect ends with, and their descriptions.
pub(super) const OUTCOMES: &[(&str, &str)] = &[
    ("access_denied", "User denied access to the requested scope of permissions."),
    ("vehicle_incompatible", "The user's vehicle is not compatible."),
    ("invalid_subscription", "The user's connected services subscription is inactive."),
    ("no_vehicles", "No vehicles found in the user's account."),
    ("configuration_error", "There was an error in the application's configuration."),
    ("server_error", "Unexpected server error. Please try again."),
    ("oem_cancelled_login", ""),
];

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
use super::exchange::{self, Exchange, Fields, Reply};
use super::oauth::Grant;
use super::pages;
use super::state::Generation;

/// What Connect was asked for.
#[derive(Debug)]
pub(super) struct Ask {
    /// As it was sent; the code is bound to it.
    redirect_uri: Option<String>,
    /// Where the owner goes in the end. None: to a closing page.
    target: Option<Url>,
    pub(super) with_code: bool,
    pub(super) scope: Vec<Asked>,
    state: Option<String>,
    mode: &'static str,
    force: bool,
    make: Option<String>,
    pub(super) single_select: bool,
    single_select_vin: Option<String>,
    external_id: Option<String>,
}

/// One permission of the scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) name: String,
    /// The owner cannot take it away.
    pub(super) required: bool,
}

/// `/oauth/authorize`
pub(super) fn authorize(exchange: &mut Exchange<'_>) -> Reply {
    let ask = match Ask::read(exchange, &["code", "none"]) {
        Ok(ask) => ask,
        Err(why) => return pages::refusal(&why),
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

/// `/oauth/reauthenticate`
pub(super) fn reauthenticate(exchange: &mut Exchange<'_>) -> Reply {
    let ask = match Ask::read(exchange, &["vehicle_id", "none"]) {
        Ok(ask) => ask,
        Err(why) => return pages::refusal(&why),
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
    finish(&ask, vec![("vehicle_id", vehicle_id)], external_id)
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
        return finish_with(ask, "no_vehicles");
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
        return finish_with(ask, "no_vehicles");
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
        let code = state.tokens.issue_code(grant, ask.redirect_uri.clone(), expires_at, &mut state.chance);
        answer.push(("code", code));
    }
    if with_user {
        answer.push(("user_id", user_id));
    }
    let key = |id: &String| {
        state.cars.get(id)?.trouble.as_ref().filter(|trouble| trouble.code == Some("VIRTUAL_KEY_REQUIRED"))?.url.clone()
    };
    answer.extend(vehicles.iter().find_map(key).map(|url| ("virtual_key_url", url.into())));
    finish(ask, answer, external_id)
}

impl Ask {
    /// Reads the query. Err: what to show the owner instead of going anywhere.
    fn read(exchange: &Exchange<'_>, response_types: &[&str]) -> Result<Ask, String> {
        let query = &exchange.query;
        let application = &exchange.settings.application;
        let client_id = query.get("client_id").or_else(|| query.get("application_id")).unwrap_or_default();
        if client_id != application.application_id {
            let mixed_up = if client_id == application.v3_client_id { " It is the id for API credentials." } else { "" };
            return Err(format!("There is no application with this client_id.{mixed_up}"));
        }
        let redirect_uri = query.get("redirect_uri").map(str::to_owned);
        let target = redirect_uri.as_ref().or(application.redirect_uris.first());
        let target = target.map(|uri| registered(uri, &application.redirect_uris)).transpose()?;
        let response_type = query.get("response_type").unwrap_or_default();
        if !response_types.contains(&response_type) {
            return Err(format!("response_type must be {}.", response_types.join(" or ")));
        }
        if target.is_none() && response_type != "none" {
            return Err("redirect_uri is missing, and the application has no default one.".to_owned());
        }
        let mode = match query.get("mode").unwrap_or("live") {
            "live" => "live",
            "simulated" => "simulated",
            "test" => "test",
            _ => return Err("mode must be live, simulated or test.".to_owned()),
        };
        Ok(Ask {
            redirect_uri,
            target,
            with_code: response_type == "code",
            scope: scope(query.get("scope"))?,
            state: query.get("state").map(str::to_owned),
            mode,
            force: query.get("approval_prompt") == Some("force"),
            make: query.get("make").map(str::to_owned),
            single_select: query.get("single_select") == Some("true"),
            single_select_vin: query.get("single_select_vin").map(str::to_owned),
            external_id: query.get("external_id").map(str::to_owned),
        })
    }

    /// The vehicles of the account that may be chosen.
    fn offered(&self, exchange: &Exchange<'_>, account: usize) -> Vec<String> {
        let vin = self.single_select_vin.as_ref().filter(|_| self.single_select);
        let fits = |id: &&String| vin.is_none_or(|vin| exchange.state.cars.get(*id).is_some_and(|car| car.vin == *vin));
        exchange.state.accounts[account].vehicles.iter().filter(fits).cloned().collect()
    }

    /// Keeps `external_id` on the owner; the word `null` takes it away.
    fn name_owner(&self, external_id: &mut Option<String>) {
        if let Some(id) = &self.external_id {
            *external_id = Some(id.clone()).filter(|id| id != "null");
        }
    }
}

/// A redirect URI that may be used. Never one a browser would run as a script.
fn registered(uri: &str, allowed: &[String]) -> Result<Url, String> {
    let parsed = Url::parse(uri).map_err(|_| "redirect_uri is not a URI.".to_owned())?;
    let harmful = ["javascript", "data", "vbscript", "file", "blob", "about"].contains(&parsed.scheme());
    let known = allowed.is_empty() || allowed.iter().any(|other| other == uri);
    if harmful || !known { Err("redirect_uri is not one of the application's.".to_owned()) } else { Ok(parsed) }
}

fn scope(text: Option<&str>) -> Result<Vec<Asked>, String> {
    let Some(text) = text else {
        return Ok(DEFAULT_SCOPE.iter().map(|&name| Asked { name: name.to_owned(), required: false }).collect());
    };
    let mut scope: Vec<Asked> = Vec::new();
    for word in text.split_whitespace() {
        let (name, required) = word.strip_prefix("required:").map_or((word, false), |name| (name, true));
        let plausible = name.starts_with("read_") || name.starts_with("control_");
        if !plausible || !name.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'_') {
            return Err(format!("scope has an unknown permission: {name}"));
        }
        match scope.iter_mut().find(|asked| asked.name == name) {
            Some(asked) => asked.required |= required,
            None => scope.push(Asked { name: name.to_owned(), required }),
        }
    }
    if scope.is_empty() { Err("scope is empty.".to_owned()) } else { Ok(scope) }
}

/// Ends with one of the documented errors.
fn finish_with(ask: &Ask, error: &str) -> Reply {
    finish_without(ask, error, &[])
}

/// The same, with less than could be told.
fn finish_without(ask: &Ask, error: &str, untold: &[&str]) -> Reply {
    let Some((_, description)) = OUTCOMES.iter().find(|(name, _)| *name == error) else {
        return pages::refusal("simulator_outcome is not an error of Connect.");
    };
    let mut answer = vec![("error", error.to_owned())];
    // The documented example of a cancelled login lacks it.
    if !description.is_empty() {
        answer.push(("error_description", (*description).to_owned()));
    }
    match error {
        "vehicle_incompatible" => {
            for (name, value) in [("vin", "0SC0000000000TEST"), ("make", "FORD"), ("model", "Model T"), ("year", "2009")] {
                answer.push((name, value.to_owned()));
            }
        }
        "configuration_error" => {
            answer.push(("status_code", "400".to_owned()));
            answer.push(("error_message", "The request is not as it was set up.".to_owned()));
        }
        _ => {}
    }
    answer.retain(|(name, _)| !untold.contains(name));
    finish(ask, answer, None)
}

fn finish(ask: &Ask, mut answer: Vec<(&'static str, String)>, external_id: Option<String>) -> Reply {
    answer.extend(ask.state.clone().map(|state| ("state", state)));
    answer.extend(external_id.map(|id| ("external_id", id)));
    let Some(target) = &ask.target else {
        let error = answer.iter().find(|(name, _)| *name == "error_description").map(|(_, text)| text.as_str());
        return pages::closing(error);
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

pub(super) const DEFAULT_SCOPE: &[&str] = &[
    "read_vehicle_info",
    "read_vin",
    "read_odometer",
    "read_location",
    "read_battery",
    "read_charge",
    "read_fuel",
    "read_engine_oil",
    "read_tires",
    "read_security",
    "read_speedometer",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_scope() {
        let asked = |name: &str, required| Asked { name: name.to_owned(), required };
        assert_eq!(
            scope(Some("read_vin required:read_odometer read_vin")),
            Ok(vec![asked("read_vin", false), asked("read_odometer", true)])
        );
        assert!(scope(Some("read_vin <b>")).is_err());
        assert!(scope(Some(" ")).is_err());
        assert_eq!(scope(None).unwrap().len(), DEFAULT_SCOPE.len());
    }

    #[test]
    fn redirect_uris_are_exact_and_never_scripts() {
        let listed = ["https://a.example/back".to_owned()];
        assert!(registered("https://a.example/back", &listed).is_ok());
        assert!(registered("https://a.example/back/", &listed).is_err());
        assert!(registered("myapp://back", &[]).is_ok());
        assert!(registered("javascript:alert(1)", &[]).is_err());
        assert!(registered("nothing", &[]).is_err());
    }
}

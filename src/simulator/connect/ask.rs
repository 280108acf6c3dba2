//! What Connect is asked for, with every parameter that is documented, and which of them can be wrong.
//!
//! A wrong application or redirect URI leads nowhere but to an error page. Whatever else is wrong is a wrong set-up, and ends
//! with `configuration_error` at the redirect URI.

use url::Url;

use crate::simulator::car::Car;
use crate::simulator::endpoints::is_able;
use crate::simulator::exchange::{Exchange, Fields};
use crate::simulator::model::Model;
use crate::simulator::settings::leads_back;
use crate::simulator::words::{PERMISSIONS, instead};

/// What Connect was asked for. `user` is for Smartcar's own statistics only, and shows nowhere.
#[derive(Debug)]
pub(in crate::simulator) struct Ask {
    pub(super) back: Back,
    pub(super) with_code: bool,
    pub(in crate::simulator) scope: Vec<Asked>,
    pub(super) mode: &'static str,
    pub(super) force: bool,
    pub(super) make: Option<String>,
    pub(in crate::simulator) single_select: bool,
    pub(super) single_select_vin: Option<String>,
    country: Option<String>,
    external_id: Option<String>,
}

/// The way back to the application.
#[derive(Debug, Default)]
pub(super) struct Back {
    /// As it was sent; the code is bound to it.
    pub(super) redirect_uri: Option<String>,
    /// Where the owner goes in the end. None: to a closing page.
    pub(super) target: Option<Url>,
    pub(super) state: Option<String>,
    /// Of the page that has opened Connect in a window of its own.
    pub(super) app_origin: Option<String>,
}

/// One permission of the scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) struct Asked {
    pub(in crate::simulator) name: String,
    /// The owner cannot take it away.
    pub(in crate::simulator) required: bool,
}

/// What is wrong about a link.
pub(super) enum Wrong {
    /// Nobody knows where to go back to.
    Way(String),
    Rest(Box<Back>, String),
}

impl Ask {
    pub(super) fn read(exchange: &Exchange<'_>, response_types: &[&str]) -> Result<Ask, Wrong> {
        let mut back = Back::read(exchange).map_err(Wrong::Way)?;
        match origin(exchange.query.get("app_origin")) {
            Ok(origin) => back.app_origin = origin,
            Err(why) => return Err(Wrong::Rest(Box::new(back), why)),
        }
        match Ask::rest(&exchange.query, response_types, &back, exchange.settings.habits.takes_unknown) {
            Ok(rest) => Ok(Ask { back, ..rest }),
            Err(why) => Err(Wrong::Rest(Box::new(back), why)),
        }
    }

    fn rest(query: &Fields, response_types: &[&str], back: &Back, takes_unknown: bool) -> Result<Ask, String> {
        let response_type = query.get("response_type").unwrap_or_default();
        if !response_types.contains(&response_type) {
            return Err(format!("response_type must be {}.", response_types.join(" or ")));
        }
        if back.target.is_none() && response_type != "none" {
            return Err("redirect_uri is missing, and the application has no default one.".to_owned());
        }
        let ask = Ask {
            back: Back::default(),
            with_code: response_type == "code",
            scope: scope(query.get("scope"), takes_unknown)?,
            mode: one_of(query, "mode", &["live", "simulated", "test"])?,
            force: one_of(query, "approval_prompt", &["auto", "force"])? == "force",
            make: make(query.get("make"), takes_unknown)?,
            single_select: one_of(query, "single_select", &["false", "true"])? == "true",
            single_select_vin: query.get("single_select_vin").map(str::to_owned),
            country: country(query.get("flags"))?,
            external_id: query.get("external_id").map(str::to_owned),
        };
        if ask.single_select_vin.is_some() && !ask.single_select {
            return Err("single_select_vin needs single_select=true.".to_owned());
        }
        Ok(ask)
    }

    /// The vehicles of the account that may be chosen. Simulated ones are made for a region, and the country must fit.
    pub(super) fn offered(&self, exchange: &Exchange<'_>, account: usize) -> Vec<String> {
        let filters = exchange.settings.habits.required_filters;
        let lacks = |car: &Car| filters && self.scope.iter().any(|asked| asked.required && !is_able(car, &asked.name));
        let mut found = self.found(exchange, account);
        found.retain(|id| exchange.state.cars.get(id).is_some_and(|car| !lacks(car)));
        found
    }

    /// A vehicle that might have been chosen if it could what is required. None: one may be, or there is none at all.
    pub(super) fn left_out<'a>(&self, exchange: &'a Exchange<'_>, account: usize) -> Option<&'a Car> {
        let found = self.found(exchange, account);
        let first = found.first().filter(|_| self.offered(exchange, account).is_empty())?;
        exchange.state.cars.get(first)
    }

    fn found(&self, exchange: &Exchange<'_>, account: usize) -> Vec<String> {
        let vin = self.single_select_vin.as_ref();
        let country = self.country.as_deref().filter(|_| self.mode == "simulated");
        let is_meant =
            |car: &Car| vin.is_none_or(|vin| car.vin == *vin) && country.is_none_or(|country| region(country) == car.region());
        let fits = |id: &&String| exchange.state.cars.get(*id).is_some_and(is_meant);
        exchange.state.accounts[account].vehicles.iter().filter(fits).cloned().collect()
    }

    /// Keeps `external_id` on the owner; the word `null` takes it away.
    pub(super) fn name_owner(&self, external_id: &mut Option<String>) {
        if let Some(id) = &self.external_id {
            *external_id = Some(id.clone()).filter(|id| id != "null");
        }
    }
}

impl Back {
    fn read(exchange: &Exchange<'_>) -> Result<Back, String> {
        let query = &exchange.query;
        let application = &exchange.settings.application;
        let ids = [query.get("client_id"), query.get("application_id")];
        if ids.iter().flatten().next().is_none() {
            return Err("client_id is missing.".to_owned());
        }
        if let Some(wrong) = ids.into_iter().flatten().find(|id| *id != application.application_id) {
            let mixed_up = if wrong == application.v3_client_id { " It is the id for API credentials." } else { "" };
            return Err(format!("There is no application with this client_id.{mixed_up}"));
        }
        let redirect_uri = query.get("redirect_uri").map(str::to_owned);
        let target = redirect_uri.as_ref().or(application.redirect_uris.first());
        let target = target.map(|uri| registered(uri, &application.redirect_uris)).transpose()?;
        Ok(Back { redirect_uri, target, state: query.get("state").map(str::to_owned), app_origin: None })
    }
}

/// A redirect URI that may be used. Never one a browser would run as a script.
fn registered(uri: &str, allowed: &[String]) -> Result<Url, String> {
    let parsed = Url::parse(uri).map_err(|_| "redirect_uri is not a URI.".to_owned())?;
    let known = allowed.is_empty() || allowed.iter().any(|other| other == uri);
    if known && leads_back(&parsed) { Ok(parsed) } else { Err("redirect_uri is not one of the application's.".to_owned()) }
}

/// The value of a parameter, the first of `words` by default.
fn one_of(query: &Fields, name: &str, words: &[&'static str]) -> Result<&'static str, String> {
    let Some(text) = query.get(name) else { return Ok(words[0]) };
    let known = words.iter().find(|word| **word == text);
    known.copied().ok_or_else(|| format!("{name} must be {}.", words.join(" or ")))
}

/// What Smartcar says of a permission that it does not take was seen by an application that asked for `control_trunk`.
fn scope(text: Option<&str>, takes_unknown: bool) -> Result<Vec<Asked>, String> {
    let Some(text) = text else {
        return Ok(DEFAULT_SCOPE.iter().map(|&name| Asked { name: name.to_owned(), required: false }).collect());
    };
    let mut scope: Vec<Asked> = Vec::new();
    for word in text.split_whitespace() {
        let (name, required) = word.strip_prefix("required:").map_or((word, false), |name| (name, true));
        if !takes_unknown && !PERMISSIONS.contains(&name) {
            let instead = instead(name, PERMISSIONS);
            return Err(format!("Application not authorized to request permission(s): {name} ({instead})"));
        }
        match scope.iter_mut().find(|asked| asked.name == name) {
            Some(asked) => asked.required |= required,
            None => scope.push(Asked { name: name.to_owned(), required }),
        }
    }
    if scope.is_empty() { Err("scope is empty.".to_owned()) } else { Ok(scope) }
}

/// What Smartcar makes of a brand that it does not know is not documented; a car of another would only confuse.
fn make(name: Option<&str>, takes_unknown: bool) -> Result<Option<String>, String> {
    let (Some(name), makes) = (name, Model::makes()) else { return Ok(None) };
    if takes_unknown || makes.iter().any(|make| make.eq_ignore_ascii_case(name)) {
        return Ok(Some(name.to_owned()));
    }
    Err(format!("make is {name}, which no simulated car is of ({})", instead(name, &makes)))
}

/// The country of the flags, `name:value` with spaces between. Other flags are Smartcar's own affair: they are let through.
fn country(flags: Option<&str>) -> Result<Option<String>, String> {
    let mut country = None;
    for flag in flags.unwrap_or_default().split_whitespace() {
        let (name, value) = flag
            .split_once(':')
            .filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .ok_or_else(|| format!("flags has one that is not written name:value: {flag}"))?;
        if name == "country" {
            if value.len() != 2 || !value.bytes().all(|letter| letter.is_ascii_alphabetic()) {
                return Err(format!("flags has a country that is not two letters of ISO 3166-1, such as country:DE: {value}"));
            }
            country = Some(value.to_ascii_uppercase());
        }
    }
    Ok(country)
}

/// The region of a country, as the compatibility API has them.
fn region(country: &str) -> &str {
    if matches!(country, "US" | "CA") { country } else { "EUROPE" }
}

/// An origin, as browsers write it.
fn origin(text: Option<&str>) -> Result<Option<String>, String> {
    let Some(text) = text else { return Ok(None) };
    let is_one = Url::parse(text).is_ok_and(|url| url.origin().is_tuple() && url.origin().ascii_serialization() == text);
    if is_one { Ok(Some(text.to_owned())) } else { Err("app_origin must be an origin such as https://app.example.".to_owned()) }
}

/// What is asked for without a scope.
const DEFAULT_SCOPE: &[&str] = &[
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
            scope(Some("read_vin required:read_odometer read_vin"), false),
            Ok(vec![asked("read_vin", false), asked("read_odometer", true)])
        );
        assert!(scope(Some("read_vin <b>"), false).is_err());
        assert!(scope(Some(" "), true).is_err());
        assert_eq!(scope(Some("read_soon"), true), Ok(vec![asked("read_soon", false)]));
        assert_eq!(scope(None, false).unwrap().len(), DEFAULT_SCOPE.len());
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

    #[test]
    fn flags_and_origins() {
        assert_eq!(country(Some("color:00819D country:DE new:thing")), Ok(Some("DE".to_owned())));
        // As in the query of the compatibility API.
        assert_eq!(country(Some("country:us")), Ok(Some("US".to_owned())));
        assert_eq!((country(None), country(Some("color:00819D"))), (Ok(None), Ok(None)));
        for wrong in ["country", "country:", ":DE", "country:Germany", "country:d1", "color:00819D US"] {
            assert!(country(Some(wrong)).is_err(), "{wrong}");
        }
        for good in ["https://app.example", "http://localhost:3000"] {
            assert_eq!(origin(Some(good)), Ok(Some(good.to_owned())));
        }
        for wrong in
            ["app.example", "https://app.example/", "https://app.example/x", "javascript:alert(1)", "https://app.example:443"]
        {
            assert!(origin(Some(wrong)).is_err(), "{wrong}");
        }
    }
}

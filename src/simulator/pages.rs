//! The HTML of Connect: templates that escape what they show, no script, one style sheet.

use askama::Template;
use http::StatusCode;

use super::connect::Ask;
use super::exchange::{self, Exchange, Reply};
use super::model::Model;
use super::state::{Account, Generation};

/// `/simulator/style.css`
pub(super) fn style() -> Reply {
    exchange::typed(StatusCode::OK, "text/css; charset=utf-8", include_str!("style.css"))
}

/// An error page: nothing is right enough to go back with.
pub(super) fn refusal(why: &str) -> Reply {
    show(
        StatusCode::BAD_REQUEST,
        "This link does not work",
        &Notice { title: "This link does not work", text: why, app_origin: None },
    )
}

/// The end when there is nowhere to go back to.
pub(super) fn closing(error: Option<&str>, app_origin: Option<&str>) -> Reply {
    let title = if error.is_some() { "Not connected" } else { "Connected" };
    let text = error.unwrap_or("Your car is connected. You can close this page.");
    show(StatusCode::OK, title, &Notice { title, text, app_origin })
}

/// The front page, for whoever opens the address in a browser.
pub(super) fn front(exchange: &Exchange<'_>) -> Reply {
    let text = "This address plays Smartcar for a gateway under test: Connect, token endpoints, API v2.0 and v3.";
    let accounts = people(exchange, None);
    show(
        StatusCode::OK,
        "Simulated Smartcar",
        &Front { text, accounts, application_id: &exchange.settings.application.application_id },
    )
}

/// Step one: which brand.
pub(super) fn brands(exchange: &Exchange<'_>) -> Reply {
    show(StatusCode::OK, "Choose your brand", &Brands { action: action(exchange), makes: Model::makes() })
}

/// Step two: sign in at the maker.
pub(super) fn sign_in(exchange: &Exchange<'_>, make: Option<&str>) -> Reply {
    let make = make.unwrap_or("your car's maker");
    let page = SignIn { action: action(exchange), make, accounts: people(exchange, Some(make)), again: None };
    show(StatusCode::OK, "Sign in", &page)
}

/// Re-authentication: the same page for one vehicle.
pub(super) fn sign_in_again(exchange: &Exchange<'_>, vehicle_id: &str) -> Reply {
    let car = exchange.state.cars.get(vehicle_id);
    let make = car.map_or("your car's maker", |car| car.model.make);
    let again = car.map(|car| format!("{} {}", car.year, car.model.name));
    let page = SignIn { action: action(exchange), make, accounts: Vec::new(), again: Some(again.unwrap_or_default()) };
    show(StatusCode::OK, "Sign in again", &page)
}

/// Step three: which vehicles, and what may be done with them.
pub(super) fn choose(
    exchange: &Exchange<'_>,
    ask: &Ask,
    account: &Account,
    offered: &[String],
    ask_permissions: bool,
    warning: Option<&str>,
) -> Reply {
    let vehicles = offered.iter().filter_map(|id| exchange.state.cars.get(id)).enumerate().map(|(place, car)| Choice {
        value: car.vehicle_id.clone(),
        label: format!("{} {} {}", car.year, car.model.make, car.model.name),
        note: format!("VIN {}", car.vin),
        chosen: place == 0 || !ask.single_select,
        locked: false,
    });
    let permissions = ask.scope.iter().map(|asked| Choice {
        value: asked.name.clone(),
        label: meaning(&asked.name),
        note: asked.name.clone(),
        chosen: true,
        locked: asked.required,
    });
    let page = Choose {
        action: action(exchange),
        email: &account.email,
        make: account.make,
        vehicles: vehicles.collect(),
        permissions: permissions.collect(),
        single: ask.single_select,
        ask_permissions,
        warning,
    };
    show(StatusCode::OK, "Allow access", &page)
}

/// A form goes back to where its page came from, query and all.
fn action(exchange: &Exchange<'_>) -> String {
    format!("{}?{}", exchange.path, exchange.raw_query)
}

/// The listed accounts, those of this brand first.
fn people(exchange: &Exchange<'_>, make: Option<&str>) -> Vec<Person> {
    let fits = |account: &&Account| make.is_some_and(|make| account.make.eq_ignore_ascii_case(make));
    let (first, then): (Vec<&Account>, Vec<&Account>) = exchange.state.accounts.iter().take(SHOWN_ACCOUNTS).partition(fits);
    first
        .into_iter()
        .chain(then)
        .map(|account| Person {
            email: account.email.clone(),
            make: account.make,
            cars: account.vehicles.len(),
            generation: if account.generation == Generation::V2 { "v2" } else { "v3" },
        })
        .collect()
}

fn meaning(permission: &str) -> String {
    let known = MEANINGS.iter().find(|(name, _)| *name == permission).map(|(_, meaning)| (*meaning).to_owned());
    known.unwrap_or_else(|| permission.replace('_', " "))
}

fn show(status: StatusCode, title: &str, page: &impl Template) -> Reply {
    let shown = page.render().and_then(|body| Shell { title, body: &body }.render());
    match shown {
        Ok(text) => exchange::html(status, text),
        Err(_) => exchange::typed(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", "A page could not be shown."),
    }
}

struct Person {
    email: String,
    make: &'static str,
    cars: usize,
    generation: &'static str,
}

struct Choice {
    value: String,
    label: String,
    note: String,
    chosen: bool,
    locked: bool,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{{ title }} &ndash; Simulated Smartcar</title>
<link rel="stylesheet" href="/simulator/style.css">
</head>
<body>
<p class="banner"><strong>Simulated Smartcar</strong> &ndash; not the real service</p>
<main>
{{ body|safe }}</main>
<footer>No password is checked or kept. No car is moved.</footer>
</body>
</html>
"#
)]
struct Shell<'a> {
    title: &'a str,
    body: &'a str,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = "<h1>{{ title }}</h1>\n<p>{{ text }}</p>\n{% if let Some(origin) = app_origin %}<p><a href=\"{{ origin }}\">Back to {{ origin }}</a></p>\n{% endif %}"
)]
struct Notice<'a> {
    title: &'a str,
    text: &'a str,
    /// The page that has opened this one.
    app_origin: Option<&'a str>,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<h1>Simulated Smartcar</h1>
<p>{{ text }}</p>
<p>Application ID <code>{{ application_id }}</code>. <a href="/simulator/status">Status as JSON</a></p>
<h2>Accounts</h2>
<ul class="plain">
{% for person in accounts %}<li><code>{{ person.email }}</code> <small>{{ person.make }}, {{ person.cars }} car{% if person.cars != 1 %}s{% endif %}, {{ person.generation }}</small></li>
{% endfor %}</ul>
"#
)]
struct Front<'a> {
    text: &'a str,
    application_id: &'a str,
    accounts: Vec<Person>,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<h1>Choose your brand</h1>
<p>Who made the car you want to connect?</p>
<form method="post" action="{{ action }}">
<input type="hidden" name="step" value="brand">
<div class="grid">
{% for make in makes %}<button class="card" name="make" value="{{ make }}">{{ make }}</button>
{% endfor %}</div>
</form>
"#
)]
struct Brands {
    action: String,
    makes: Vec<&'static str>,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"{% if let Some(car) = again %}<h1>Sign in again</h1>
<p>{{ make }} no longer accepts the old sign-in for your {{ car }}.</p>
{% else %}<h1>Sign in with {{ make }}</h1>
{% if !accounts.is_empty() %}<p>Pick one of the simulated owners:</p>
{% for person in accounts %}<form method="post" action="{{ action }}">
<input type="hidden" name="step" value="sign-in">
<input type="hidden" name="make" value="{{ make }}">
<button class="card" name="email" value="{{ person.email }}"><span>{{ person.email }}</span><small>{{ person.make }}, {{ person.cars }} car{% if person.cars != 1 %}s{% endif %}, {{ person.generation }}</small></button>
</form>
{% endfor %}<p class="or">or anybody else, with any password:</p>
{% endif %}{% endif %}<form method="post" action="{{ action }}">
<input type="hidden" name="step" value="sign-in">
<input type="hidden" name="make" value="{{ make }}">
{% if again.is_none() %}<label>E-mail <input type="email" name="email" autocomplete="off" required></label>
{% endif %}<label>Password <input type="password" name="password" autocomplete="off"></label>
<button class="main">Sign in</button>
<button class="quiet" name="cancel" value="yes" formnovalidate>Cancel</button>
</form>
<details>
<summary>E-mails that make Connect fail</summary>
<p><code>smartcar@invalid-subscription.com</code>, <code>smartcar@vehicle-incompatible.com</code>, <code>no-vehicles@example.com</code>, <code>server-error@example.com</code>, <code>configuration-error@example.com</code></p>
<p>With <code>VEHICLE_STATE.ASLEEP@smartcar.com</code> and the like it works, but reading the car does not.</p>
</details>
"#
)]
struct SignIn<'a> {
    action: String,
    make: &'a str,
    accounts: Vec<Person>,
    /// The car, when this is a re-authentication.
    again: Option<String>,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<h1>Allow access</h1>
<p>Signed in as <strong>{{ email }}</strong></p>
{% if let Some(warning) = warning %}<p class="warning" role="alert">{{ warning }}</p>
{% endif %}<form method="post" action="{{ action }}">
<input type="hidden" name="step" value="grant">
<input type="hidden" name="email" value="{{ email }}">
<input type="hidden" name="make" value="{{ make }}">
<fieldset>
<legend>{% if single %}Vehicle{% else %}Vehicles{% endif %}</legend>
{% for vehicle in vehicles %}<label class="choice"><input type="{% if single %}radio{% else %}checkbox{% endif %}" name="vehicle" value="{{ vehicle.value }}"{% if vehicle.chosen %} checked{% endif %}><span>{{ vehicle.label }} <small>{{ vehicle.note }}</small></span></label>
{% endfor %}</fieldset>
{% if ask_permissions %}<fieldset>
<legend>The application may</legend>
{% for permission in permissions %}<label class="choice"><input type="checkbox" name="permission" value="{{ permission.value }}" checked{% if permission.locked %} disabled{% endif %}><span>{{ permission.label }} <small>{{ permission.note }}{% if permission.locked %}, required{% endif %}</small></span></label>
{% endfor %}</fieldset>
{% else %}<p>You allowed everything the application asks for before.</p>
{% for permission in permissions %}<input type="hidden" name="permission" value="{{ permission.value }}">
{% endfor %}{% endif %}<button class="main" name="allow" value="yes">Allow</button>
<button class="quiet" name="deny" value="yes">Deny</button>
</form>
"#
)]
struct Choose<'a> {
    action: String,
    email: &'a str,
    make: &'a str,
    vehicles: Vec<Choice>,
    permissions: Vec<Choice>,
    single: bool,
    ask_permissions: bool,
    warning: Option<&'a str>,
}

const SHOWN_ACCOUNTS: usize = 12;
const MEANINGS: &[(&str, &str)] = &[
    ("read_battery", "See the battery's charge, range and capacity"),
    ("read_charge", "See whether it is plugged in and charging"),
    ("read_engine_oil", "See the life left in the engine oil"),
    ("read_fuel", "See the fuel level and range"),
    ("read_location", "See where the car is"),
    ("read_odometer", "See the distance travelled"),
    ("read_security", "See whether doors and windows are closed and locked"),
    ("read_speedometer", "See how fast it goes"),
    ("read_tires", "See the tire pressure"),
    ("read_vehicle_info", "See make, model and year"),
    ("read_vin", "See the vehicle identification number"),
    ("control_charge", "Start and stop charging"),
    ("control_security", "Lock and unlock the car"),
];

//! The owner's way through Connect, as a browser walks it: invite, Smartcar, callback, closing page.

use http::header::{HOST, SET_COOKIE};
use http::{Method, StatusCode};

use super::answer::{self, Answer};
use super::audit::LEFT_V3;
use super::cookies::{ATTEMPT, Kind};
use super::dashboard::{DonePage, Tab};
use super::problem::Problem;
use super::{Call, Settings, client};
use crate::connect::{Callback, CallbackOutcome, ConnectError, Finished, Linked};
use crate::model::Secret;

/// `GET /connect/{invite}`: a new attempt, bound to this browser, and off to Smartcar.
pub(super) async fn begin(call: &Call<'_>) -> Answer {
    let invite = call.named(0)?;
    // Link previews ask with HEAD; they must not change anything.
    if call.head.method == Method::HEAD {
        call.services.rooms.connect.ending(invite).await?;
        return Ok(answer::empty(StatusCode::OK));
    }
    if let Some(elsewhere) = better_address(call, invite) {
        return answer::see_other(&elsewhere);
    }
    let begun = match call.services.rooms.connect.begin(invite).await {
        Ok(begun) => begun,
        Err(ConnectError::SpentInvite) => return answer::see_other(&done_path(invite)),
        Err(other) => return Err(other.into()),
    };
    let mut response = answer::redirect(StatusCode::FOUND, begun.authorize_url.as_str())?;
    let kind = attempt_kind(call);
    if let Some(line) = ATTEMPT.set(kind, begun.browser.expose(), Some(ATTEMPT_SECONDS)) {
        response.headers_mut().append(SET_COOKIE, line);
    }
    Ok(response)
}

/// The callback: whatever happened at Smartcar, the closing page tells it.
pub(super) async fn callback(call: &Call<'_>) -> Answer {
    // A preview of the address must not spend the state.
    if call.head.method == Method::HEAD {
        return Ok(answer::empty(StatusCode::OK));
    }
    let callback = parse(call.head.uri.query().unwrap_or_default())?;
    let kind = attempt_kind(call);
    let browser = ATTEMPT.read(kind, &call.head.headers);
    if call.services.rooms.connect.expects(&callback, browser).await? {
        call.noting.begin().await?;
    }
    let Finished { invite, linked } = call.services.rooms.connect.finish(callback, browser).await?;
    match linked {
        Some(linked) => note(call, &linked),
        None => call.noting.nothing_has_happened(),
    }
    let mut response = answer::see_other(&done_path(&invite))?;
    if let Some(line) = ATTEMPT.clear(kind) {
        response.headers_mut().append(SET_COOKIE, line);
    }
    Ok(response)
}

/// Tells the audit log who was connected.
pub(super) fn note(call: &Call<'_>, linked: &Linked) {
    call.noting.add(linked.user.as_str());
    call.noting.add(linked.connection.to_string());
    if linked.left_v3 {
        call.noting.add(LEFT_V3);
    }
}

/// `GET /connect/{invite}/done`.
pub(super) async fn done(call: &Call<'_>) -> Answer {
    let invite = call.named(0)?;
    let ending = call.services.rooms.connect.ending(invite).await?;
    let again = format!("/connect/{}", answer::path_part(invite));
    let page = DonePage { shell: call.shell(Tab::Elsewhere), ending: &ending, again: &again };
    Ok(answer::html(StatusCode::OK, page.render()))
}

/// Reads what Smartcar's redirect says. Values are taken whole or not at all, and a name that comes
/// twice is refused: our reading and Smartcar's must not differ.
fn parse(query: &str) -> Result<Callback, Problem> {
    let wrong = |sentence: &'static str| Problem::new(StatusCode::BAD_REQUEST, "bad_callback", sentence);
    if query.len() > LONGEST_QUERY {
        return Err(wrong("Smartcar's answer is too long."));
    }
    let mut found = Found::default();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let Some(place) = found.place(&name) else { continue };
        if value.len() > LONGEST_VALUE || value.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
            return Err(wrong("Smartcar's answer holds a value that cannot be."));
        }
        if place.replace(value.into_owned()).is_some() {
            return Err(wrong("Smartcar's answer says something twice."));
        }
    }
    Ok(found.into_callback())
}

/// What we read of the query; everything else is left alone.
#[derive(Default)]
struct Found {
    state: Option<String>,
    code: Option<String>,
    user_id: Option<String>,
    vehicle_id: Option<String>,
    virtual_key_url: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
    error_message: Option<String>,
    make: Option<String>,
    model: Option<String>,
    year: Option<String>,
}

impl Found {
    fn place(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "state" => &mut self.state,
            "code" => &mut self.code,
            "user_id" => &mut self.user_id,
            "vehicle_id" => &mut self.vehicle_id,
            "virtual_key_url" => &mut self.virtual_key_url,
            "error" => &mut self.error,
            "error_description" => &mut self.error_description,
            "error_message" => &mut self.error_message,
            "make" => &mut self.make,
            "model" => &mut self.model,
            "year" => &mut self.year,
            _ => return None,
        })
    }

    fn into_callback(self) -> Callback {
        let filled = |value: Option<String>| value.filter(|text| !text.is_empty());
        let (code, user_id, vehicle_id) = (filled(self.code), filled(self.user_id), filled(self.vehicle_id));
        let error = filled(self.error);
        let outcome = if error.is_none() && (code.is_some() || user_id.is_some() || vehicle_id.is_some()) {
            let virtual_key_url = filled(self.virtual_key_url).filter(|url| is_link(url));
            CallbackOutcome::Agreed { code: code.map(Secret::new), user_id, vehicle_id, virtual_key_url }
        } else {
            // Everything but the VIN: the owner's own page may name the car, our log may not identify it.
            let parts: Vec<String> = [self.year, self.make, self.model].into_iter().filter_map(filled).collect();
            CallbackOutcome::Refused {
                error: error.unwrap_or_else(|| "invalid_response".to_owned()),
                description: filled(self.error_description).or_else(|| filled(self.error_message)),
                vehicle: (!parts.is_empty()).then(|| parts.join(" ")),
            }
        };
        Callback { state: filled(self.state).map(Secret::new), outcome }
    }
}

/// A link that may be put on a page: https and nothing cleverer.
pub(super) fn is_link(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.username().is_empty() && url.password().is_none())
}

/// The callback comes to the host of the redirect URI, and the cookie must be there: an invite that was
/// opened under another of our names moves to that host first. Only ever to our own public URL, and only
/// once: behind a proxy that writes its own `Host` the browser is there already, however often it is sent.
fn better_address(call: &Call<'_>, invite: &str) -> Option<String> {
    let settings: &Settings = &call.services.settings;
    if call.client.is_local() || !call.head.headers.contains_key(HOST) || call.head.uri.query() == Some(MOVED) {
        return None;
    }
    let own = client::host(&call.head.headers, &call.head.uri).ok()?;
    let public = settings.public_url.host_str()?.trim_matches(['[', ']']);
    let comes_back_there = settings.redirect_uri.starts_with(settings.public_url.as_str());
    (comes_back_there && !own.eq_ignore_ascii_case(public))
        .then(|| format!("{}/connect/{}?{MOVED}", settings.public_url.as_str().trim_end_matches('/'), answer::path_part(invite)))
}

/// Unlike a session, an attempt is worth little to a listener: plain http will do where nothing else is.
fn attempt_kind(call: &Call<'_>) -> Kind {
    call.cookie_kind.unwrap_or(Kind::Plain)
}

fn done_path(invite: &str) -> String {
    format!("/connect/{}/done", answer::path_part(invite))
}

/// The query of an invite that was moved to the public URL.
const MOVED: &str = "here=1";
const ATTEMPT_SECONDS: u64 = 600;
const LONGEST_QUERY: usize = 8 * 1024;
const LONGEST_VALUE: usize = 2 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(query: &str) -> String {
        match parse(query) {
            Ok(Callback { state, outcome: CallbackOutcome::Agreed { code, user_id, vehicle_id, virtual_key_url } }) => format!(
                "agreed state={:?} code={:?} user={user_id:?} vehicle={vehicle_id:?} key={virtual_key_url:?}",
                state.as_ref().map(Secret::expose),
                code.as_ref().map(Secret::expose)
            ),
            Ok(Callback { state, outcome: CallbackOutcome::Refused { error, description, vehicle } }) => {
                format!("refused state={:?} {error} {description:?} {vehicle:?}", state.as_ref().map(Secret::expose))
            }
            Err(problem) => format!("{} {}", problem.status().as_u16(), problem.code()),
        }
    }

    #[test]
    fn every_way_back_from_smartcar() {
        for (query, expected) in [
            ("code=c&state=s", r#"agreed state=Some("s") code=Some("c") user=None vehicle=None key=None"#),
            ("user_id=u&state=s&external_id=x&code=", r#"agreed state=Some("s") code=None user=Some("u") vehicle=None key=None"#),
            ("vehicle_id=v&state=s", r#"agreed state=Some("s") code=None user=None vehicle=Some("v") key=None"#),
            (
                "code=c&virtual_key_url=https%3A%2F%2Fwww.tesla.com%2F_ak%2Fx",
                r#"agreed state=None code=Some("c") user=None vehicle=None key=Some("https://www.tesla.com/_ak/x")"#,
            ),
            (
                "code=c&virtual_key_url=javascript%3Aalert(1)",
                r#"agreed state=None code=Some("c") user=None vehicle=None key=None"#,
            ),
            (
                "error=access_denied&error_description=User+denied%20access.&state=s",
                r#"refused state=Some("s") access_denied Some("User denied access.") None"#,
            ),
            (
                "error=vehicle_incompatible&vin=1&make=LADA&year=2019&model=Niva&state=s",
                r#"refused state=Some("s") vehicle_incompatible None Some("2019 LADA Niva")"#,
            ),
            (
                "error=configuration_error&status_code=400&error_message=bad+scope&state=s",
                r#"refused state=Some("s") configuration_error Some("bad scope") None"#,
            ),
            ("error=brand_new&code=c&state=s", r#"refused state=Some("s") brand_new None None"#),
            ("state=s", r#"refused state=Some("s") invalid_response None None"#),
            ("", "refused state=None invalid_response None None"),
            ("state=s&state=t&code=c", "400 bad_callback"),
            ("code=c&code=c", "400 bad_callback"),
            ("code=a%00b", "400 bad_callback"),
            ("code=%ff", "400 bad_callback"),
        ] {
            assert_eq!(shown(query), expected, "{query}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused() {
        assert_eq!(shown(&format!("code={}", "c".repeat(LONGEST_VALUE + 1))), "400 bad_callback");
        assert_eq!(shown(&format!("x={}", "c".repeat(LONGEST_QUERY))), "400 bad_callback");
    }

    #[test]
    fn an_invite_stays_one_part_of_the_path() {
        assert_eq!(done_path("a/../b?c d"), "/connect/a%2F..%2Fb%3Fc%20d/done");
        assert_eq!(done_path("k7x"), "/connect/k7x/done");
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(query in "((state|code|user_id|error|vin)=[a-z%0-9A-F+]{0,6}&?){0,5}|.*") {
            if let Ok(callback) = parse(&query)
                && let CallbackOutcome::Agreed { code, user_id, vehicle_id, .. } = callback.outcome
            {
                prop_assert!(code.is_some() || user_id.is_some() || vehicle_id.is_some());
            }
        }
    }
}

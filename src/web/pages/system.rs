//! The page of the system, and who may come in.

use std::time::Duration;

use http::StatusCode;
use url::Url;

use super::super::answer::{self, Answer};
use super::super::client::{self, Client};
use super::super::dashboard::{DevicePage, Done, Mistake, Shell, SystemPage, Tab, TokenPage};
use super::super::flash::{self, Looks};
use super::super::problem::Problem;
use super::super::{Call, Settings};
use super::{self as pages, names};
use crate::model::{AppUserId, VehicleId};
use crate::operate::access::{AccessError, Scope, TokenRequest};
use crate::operate::audit::Actor;
use crate::vehicles::VehiclesError;

/// `GET /system`, after something was done from it `?done=`
pub(in crate::web) async fn show(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let done = query.take("done").and_then(|word| Done::parse(&word, &[Done::REVOKED, Done::SIGNED_OUT]));
    query.finish()?;
    draw(call, StatusCode::OK, done, None).await
}

async fn draw(call: &Call<'_>, code: StatusCode, done: Option<Done>, mistake: Option<Mistake<'_>>) -> Answer {
    let services = call.services;
    let status = services.rooms.status.show().await;
    let budget = services.rooms.budget.show(call.reach()?).await.map_err(VehiclesError::from)?;
    let (tokens, sessions) = (services.rooms.access.tokens().await?, services.rooms.access.sessions().await?);
    let key = services.rooms.rotation.view().await?;
    let names = names(call).await?;
    let own_session = match &call.caller()?.actor {
        Actor::Session { id } => Some(id.as_str()),
        _ => None,
    };
    let page = SystemPage {
        shell: Shell { done, ..call.shell(Tab::System) },
        status: &status,
        budget: &budget,
        names: &names,
        tokens: &tokens,
        sessions: &sessions,
        own_session,
        key: &key,
        mistake,
    };
    Ok(answer::html(code, page.render()))
}

/// `POST /system/devices`: a sign-in link for another device, as a QR code.
pub(in crate::web) async fn add_device(call: &Call<'_>) -> Answer {
    call.pressed()?;
    let secret = call.services.rooms.access.sign_in_link(LINK_TIME).await?;
    let origin = origin(call)?;
    let url = format!("{origin}/login?t={}", answer::path_part(secret.expose()));
    let page = DevicePage {
        shell: call.shell(Tab::System),
        url: &url,
        expires_at: call.services.world.now().after(LINK_TIME),
        only_here: is_only_here(&origin),
    };
    flash::answer(call, Looks::Any, page.render())
}

/// `POST /system/tokens`: makes a token, which is shown once. What is wrong stands beside each box, which keeps what was typed.
pub(in crate::web) async fn make_token(call: &Call<'_>) -> Answer {
    let mut form = call.own_form()?;
    let typed = BOXES.map(|name| (name, form.take(name).unwrap_or_default()));
    form.finish()?;
    let [name, scope, vehicle, user, days] = typed.each_ref().map(|(_, text)| text.trim());
    let mut wrong: Vec<(&'static str, String)> = Vec::new();
    let mut refuse = |name: &'static str, why: &str| wrong.push((name, why.to_owned()));
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let known = scope_of(scope);
    if !(1..=100).contains(&name.chars().count()) {
        refuse("name", "A token needs a name of 1 to 100 characters.");
    }
    match known {
        None => refuse("scope", "Choose what the token may do."),
        Some(Scope::Connect) if user.is_empty() => refuse("user", "A token that connects cars must be bound to an owner."),
        Some(Scope::Admin | Scope::Metrics) if !user.is_empty() || !vehicle.is_empty() => {
            refuse("scope", "A token that may do this cannot be bound to a car or an owner: take another, or leave both out.");
        }
        Some(_) if !user.is_empty() && !vehicle.is_empty() => refuse("user", "One car or one owner, not both."),
        Some(_) => {}
    }
    if !user.is_empty() {
        match call.services.rooms.vehicles.user(call.reach()?, &AppUserId::new(user)).await {
            Err(VehiclesError::UnknownUser) => refuse("user", "There is no owner of this id: the page Connections lists them."),
            other => drop(other?),
        }
    }
    let until: Option<u64> = given(days).map(|days| days.parse().unwrap_or_default());
    if until.is_some_and(|days| !(1..=3650).contains(&days)) {
        refuse("days", "A token may last for 1 to 3650 days, or without an end if nothing is given.");
    }
    let (Some(scope), true) = (known, wrong.is_empty()) else { return again(call, &wrong, &typed).await };
    let request = TokenRequest {
        name: name.to_owned(),
        scope,
        user: given(user).map(AppUserId::new),
        vehicle: given(vehicle).map(VehicleId::new),
        expires_in: until.map(|days| Duration::from_secs(days * 86_400)),
    };
    let (token, secret) = match call.services.rooms.access.create_token(request).await {
        Ok(made) => made,
        // It has gone since the page was drawn, or was typed.
        Err(AccessError::BadRequest(_)) => {
            let (name, what) = if vehicle.is_empty() { ("user", "owner") } else { ("vehicle", "car") };
            return again(call, &[(name, format!("There is no {what} of this id any more."))], &typed).await;
        }
        Err(other) => return Err(other.into()),
    };
    call.noting.add(&*token.id);
    let page = TokenPage { shell: call.shell(Tab::System), token: &token, secret: secret.expose() };
    flash::answer(call, Looks::One, page.render())
}

/// The page once more, for a token that was not made.
async fn again(call: &Call<'_>, wrong: &[(&'static str, String)], typed: &[(&'static str, String)]) -> Answer {
    let sentence = match wrong {
        [(_, only)] => only.clone(),
        several => format!("{} boxes are to be mended.", several.len()),
    };
    draw(call, StatusCode::BAD_REQUEST, None, Some(Mistake { place: "make", sentence: &sentence, wrong, typed })).await
}

/// `POST /system/tokens/{id}`: revokes it; field `sure`.
pub(in crate::web) async fn end_token(call: &Call<'_>) -> Answer {
    sure(call, "Revoke")?;
    call.services.rooms.access.revoke_token(call.named(0)?).await?;
    back_saying(Done::REVOKED)
}

/// `POST /system/sessions/{id}`: signs it out; field `sure`.
pub(in crate::web) async fn end_session(call: &Call<'_>) -> Answer {
    sure(call, "Sign out")?;
    call.services.rooms.access.revoke_session(call.named(0)?).await?;
    back_saying(Done::SIGNED_OUT)
}

fn back_saying(done: Done) -> Answer {
    answer::see_other(&format!("/system?done={}", done.word))
}

/// The form of somebody who wants to end something, and is sure.
fn sure(call: &Call<'_>, button: &str) -> Result<(), Problem> {
    let mut form = call.own_form()?;
    let sure = form.flag("sure")?;
    form.finish()?;
    if sure { Ok(()) } else { Err(pages::not_sure(button)) }
}

fn scope_of(word: &str) -> Option<Scope> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
}

/// Where another device finds this page: as it was found here, unless that was by this machine's own name.
fn origin(call: &Call<'_>) -> Result<String, Problem> {
    let settings = &call.services.settings;
    let host = client::host(&call.head.headers, &call.head.uri)?;
    let written = call.head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let https = matches!(call.client, Client::Remote { https: true, .. });
    Ok(origin_of(settings, &host, written, https))
}

/// By a host that was checked, and its header as it was written, with the port.
fn origin_of(settings: &Settings, host: &str, written: &str, https: bool) -> String {
    let bare = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
    let mut configured = settings.private_url.iter().chain([&settings.public_url]);
    // Behind a proxy that we were not told of, the configured scheme is what browsers see.
    let is_it = |url: &&Url| url.host_str().is_some_and(|own| client::is_same_host(own, host));
    let here = format!("{}://{written}", if https { "https" } else { "http" });
    match configured.clone().find(is_it) {
        Some(url) if !is_only_here(url.as_str()) => bare(url),
        None if !is_only_here(&here) => here,
        _ => configured.find(|url| !is_only_here(url.as_str())).map_or(here, bare),
    }
}

/// Whether a URL leads to the machine itself, whichever follows it.
pub(super) fn is_only_here(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return true };
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => true,
    }
}

/// The boxes of the form for a token.
const BOXES: [&str; 5] = ["name", "scope", "vehicle", "user", "days"];

const LINK_TIME: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_device_is_sent_where_it_can_get() {
        let settings = |public: &str, private: Option<&str>| Settings {
            public_url: Url::parse(public).unwrap(),
            private_url: private.map(|url| Url::parse(url).unwrap()),
            ..Settings::default()
        };
        let none = settings("http://localhost:8000", None);
        let open = settings("https://cars.example.org", None);
        let both = settings("https://cars.example.org", Some("https://pi.local:8443"));
        for (settings, written, https, expected) in [
            (&none, "localhost:8000", false, "http://localhost:8000"),
            (&none, "127.0.0.1:8000", false, "http://127.0.0.1:8000"),
            (&none, "192.168.1.5:8000", false, "http://192.168.1.5:8000"),
            (&none, "nas.local", true, "https://nas.local"),
            (&open, "localhost:8000", false, "https://cars.example.org"),
            (&open, "cars.example.org", false, "https://cars.example.org"),
            (&both, "127.0.0.1:8000", false, "https://pi.local:8443"),
            (&both, "pi.local:8443", true, "https://pi.local:8443"),
            (&both, "[::1]:8000", false, "https://pi.local:8443"),
        ] {
            let host = written.rsplit_once(':').map_or(written, |(host, _)| host).trim_matches(['[', ']']);
            assert_eq!(origin_of(settings, host, written, https), expected, "{written}");
        }
    }

    #[test]
    fn scopes_are_known_by_their_words() {
        assert_eq!(scope_of("read"), Some(Scope::Read));
        assert_eq!(scope_of("root"), None);
    }
}

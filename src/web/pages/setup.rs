//! The page of the set-up: the list, and the settings that are made there.

use std::collections::BTreeMap;

use http::StatusCode;

use super::super::answer::{self, Answer};
use super::super::dashboard::{Refused, SetupPage, Tab};
use super::super::problem::Problem;
use super::super::{Call, api};
use crate::model::Secret;
use crate::operate::settings::Change;

/// `GET /setup`, after settings were made `?saved=true`
pub(in crate::web) async fn show(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let saved = query.flag("saved")?;
    query.finish()?;
    draw(call, StatusCode::OK, saved, None).await
}

/// `POST /setup/check`: tries everything now.
pub(in crate::web) async fn check(call: &Call<'_>) -> Answer {
    call.pressed()?;
    call.services.rooms.status.doubt_end(true).await;
    let status = call.services.rooms.status.show().await;
    call.services.rooms.probes.run(status.webhooks.last_delivery_at).await;
    answer::see_other("/setup")
}

/// `POST /setup`: makes settings. What is not taken is told beside the form, with what was typed, under the address of the
/// page, which asks for itself again.
pub(in crate::web) async fn make(call: &Call<'_>) -> Answer {
    let mut form = call.own_form()?;
    let (mut changes, mut typed): (Vec<Change>, BTreeMap<&str, String>) = Default::default();
    let mut secrets = Vec::new();
    for setting in call.services.rooms.making.show() {
        let forget = form.flag(&format!("forget.{}", setting.key))?;
        let Some(text) = form.given(setting.key) else { continue };
        let text = text.trim().to_owned();
        if text.is_empty() {
            // An empty box of a secret keeps it: what there is is never shown.
            if setting.made && (forget || !setting.secret) {
                changes.push((setting.key.to_owned(), None));
            }
        } else if !(setting.made && setting.value.as_ref() == Some(&text)) {
            changes.push((setting.key.to_owned(), Some(Secret::new(text.as_str()))));
        }
        if !setting.secret {
            typed.insert(setting.key, text);
        } else if !text.is_empty() {
            secrets.push(setting.key);
        }
    }
    let force = form.flag("force")?;
    form.finish()?;
    if changes.is_empty() {
        return answer::see_other("/setup#settings");
    }
    match call.services.rooms.making.change(changes, force).await {
        Ok(made) => {
            made.keys.into_iter().for_each(|key| call.noting.add(key));
            answer::see_other("/setup?saved=true#settings")
        }
        Err(error) => {
            let refused = Refused { points: error.points(), typed: &typed, secrets: &secrets, force };
            draw(call, Problem::from(error).status(), false, Some(refused)).await
        }
    }
}

async fn draw(call: &Call<'_>, code: StatusCode, saved: bool, refused: Option<Refused<'_>>) -> Answer {
    let status = call.services.rooms.status.show().await;
    let settings = call.services.rooms.probes.settings();
    let (checked_at, list) = api::setup_list(call.services, &status);
    let vehicles = if status.missing.iter().any(|missing| missing.code == "subscription") {
        call.services.rooms.vehicles.list(call.reach()?, None, None, super::first_page()).await?.items
    } else {
        Vec::new()
    };
    let page = SetupPage {
        shell: call.shell(Tab::Setup),
        status: &status,
        list: &list,
        checked_at,
        for_trying: call.services.settings.public_url.scheme() == "http",
        settings: &settings,
        makeable: &call.services.rooms.making.show(),
        vehicles: &vehicles,
        saved,
        refused,
    };
    Ok(answer::html(code, page.render()))
}

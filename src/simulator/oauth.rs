//! The token endpoints: `POST /oauth/token` (v2: codes and rotating pairs) and `POST /oauth2/token` (v3: one
//! token for the application).
//!
//! As strict as Smartcar may be: within the rotation window an old refresh token gives another pair, and then
//! the pair given before is dead. Whoever keeps the wrong one of the two finds out at the next refresh.

use std::collections::{BTreeMap, BTreeSet};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Settings;
use super::chance::Chance;
use super::exchange::{self, Exchange, Fields, Reply};
use super::faults::FaultKind;
use super::knobs::{ClientAuth, SecondRefresh};
use super::trouble::Trouble;
use crate::model::Timestamp;

/// All live codes and tokens.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    codes: BTreeMap<String, Code>,
    access: BTreeMap<String, Access>,
    refresh: BTreeMap<String, Refresh>,
    application: BTreeMap<String, Timestamp>,
    grants: BTreeMap<u64, Grant>,
    last_grant: u64,
}

/// What one run of Connect gave: a user, and some of the user's vehicles.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) user_id: String,
    pub(super) vehicles: BTreeSet<String>,
}

#[derive(Debug)]
struct Code {
    grant: u64,
    redirect_uri: Option<String>,
    expires_at: Timestamp,
}

#[derive(Debug)]
struct Access {
    grant: u64,
    expires_at: Timestamp,
}

#[derive(Debug)]
struct Refresh {
    grant: u64,
    expires_at: Timestamp,
    /// When it was first used, and the refresh token it was last exchanged for.
    used: Option<(Timestamp, String)>,
}

impl Tokens {
    /// A code for what Connect just granted.
    pub(super) fn issue_code(
        &mut self,
        grant: Grant,
        redirect_uri: Option<String>,
        expires_at: Timestamp,
        chance: &mut Chance,
    ) -> String {
        self.last_grant += 1;
        self.grants.insert(self.last_grant, grant);
        let code = chance.uuid();
        self.codes.insert(code.clone(), Code { grant: self.last_grant, redirect_uri, expires_at });
        code
    }

    /// What an access token of the v2 kind opens.
    pub(super) fn open(&self, token: &str, now: Timestamp) -> Option<&Grant> {
        let access = self.access.get(token).filter(|access| now < access.expires_at)?;
        self.grants.get(&access.grant)
    }

    /// Whether `token` is a live application token.
    pub(super) fn is_application(&self, token: &str, now: Timestamp) -> bool {
        self.application.get(token).is_some_and(|expires_at| now < *expires_at)
    }

    /// The grant a refresh token belongs to, alive or not.
    pub(super) fn grant_of_refresh(&self, token: &str) -> Option<u64> {
        self.refresh.get(token).map(|refresh| refresh.grant)
    }

    pub(super) fn forget_vehicle(&mut self, user_id: &str, vehicle_id: &str) {
        for grant in self.grants.values_mut().filter(|grant| grant.user_id == user_id) {
            grant.vehicles.remove(vehicle_id);
        }
    }

    /// Ends every token of a user.
    pub(super) fn revoke(&mut self, user_id: &str) {
        self.grants.retain(|_, grant| grant.user_id != user_id);
        self.drop_dead(None);
    }

    fn issue_pair(&mut self, grant: u64, settings: &Settings, now: Timestamp, chance: &mut Chance) -> (Value, String) {
        let (access, refresh) = (chance.uuid(), chance.uuid());
        self.access.insert(access.clone(), Access { grant, expires_at: now.after(settings.access_life) });
        self.refresh.insert(refresh.clone(), Refresh { grant, expires_at: now.after(settings.refresh_life), used: None });
        let body = json!({
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": settings.access_life.as_secs(),
            "refresh_token": refresh,
        });
        (body, refresh)
    }

    /// Takes out what can never work again, so that the maps do not grow.
    fn drop_dead(&mut self, now: Option<(Timestamp, &Settings)>) {
        let grants = &self.grants;
        let past = |expires_at: Timestamp| now.is_some_and(|(now, _)| now >= expires_at);
        self.codes.retain(|_, code| grants.contains_key(&code.grant) && !past(code.expires_at));
        self.access.retain(|_, access| grants.contains_key(&access.grant) && !past(access.expires_at));
        self.application.retain(|_, expires_at| !past(*expires_at));
        self.refresh.retain(|_, refresh| {
            let spent = match (&refresh.used, now) {
                (Some((used_at, _)), Some((now, settings))) => now.since(*used_at) > settings.rotation_window,
                _ => false,
            };
            grants.contains_key(&refresh.grant) && !past(refresh.expires_at) && !spent
        });
        let codes = self.codes.values().map(|code| code.grant);
        let tokens = self.access.values().map(|access| access.grant).chain(self.refresh.values().map(|refresh| refresh.grant));
        let alive: BTreeSet<u64> = codes.chain(tokens).collect();
        self.grants.retain(|grant, _| alive.contains(grant));
    }
}

/// `POST /oauth/token`
pub(super) fn user_token(exchange: &mut Exchange<'_>) -> Reply {
    let form = exchange.form();
    let application = &exchange.settings.application;
    if let Some(refusal) = refuse(exchange, &form, &application.application_id, &application.v2_client_secret) {
        return refusal;
    }
    let settings = exchange.settings;
    exchange.state.tokens.drop_dead(Some((exchange.now, settings)));
    match form.get("grant_type") {
        Some("authorization_code") => exchange_code(exchange, &form),
        Some("refresh_token") => refresh(exchange, &form),
        Some(_) => refusal(StatusCode::BAD_REQUEST, "unsupported_grant_type", "This grant type is not supported."),
        None => refusal(StatusCode::BAD_REQUEST, "invalid_request", "grant_type is missing."),
    }
}

/// `POST /oauth2/token`
pub(super) fn application_token(exchange: &mut Exchange<'_>) -> Reply {
    let reply = application_token_of(exchange);
    if reply.status().is_success() || !exchange.settings.habits.iam_errors {
        return reply;
    }
    let (status, kind) = match reply.status() {
        StatusCode::UNAUTHORIZED => (401, "AUTHENTICATION"),
        status => (status.as_u16(), "VALIDATION"),
    };
    exchange.v3_trouble(&Trouble::new(status, kind, None, "The credentials or the grant of the application are not valid."))
}

fn application_token_of(exchange: &mut Exchange<'_>) -> Reply {
    let mut form = exchange.form();
    // The published description also allows a JSON body.
    if let Ok(Value::Object(fields)) = serde_json::from_slice(exchange.body) {
        form = Fields::default();
        for (name, value) in fields {
            form.insert(&name, value.as_str().unwrap_or_default().to_owned());
        }
    }
    let application = &exchange.settings.application;
    if let Some(refusal) = refuse(exchange, &form, &application.v3_client_id, &application.v3_client_secret) {
        return refusal;
    }
    match form.get("grant_type") {
        Some("client_credentials") => {}
        Some(_) => return refusal(StatusCode::BAD_REQUEST, "unsupported_grant_type", "This grant type is not supported."),
        None => return refusal(StatusCode::BAD_REQUEST, "invalid_request", "grant_type is missing."),
    }
    let (settings, state) = (exchange.settings, &mut *exchange.state);
    state.tokens.drop_dead(Some((exchange.now, settings)));
    let claims = json!({ "jti": state.chance.word() }).to_string();
    let encode = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
    let token = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&claims));
    let life = settings.application_token_life;
    state.tokens.application.insert(token.clone(), exchange.now.after(life));
    state.counters.application_tokens += 1;
    exchange::json(StatusCode::OK, &json!({ "access_token": token, "token_type": "Bearer", "expires_in": life.as_secs() }))
}

fn exchange_code(exchange: &mut Exchange<'_>, form: &Fields) -> Reply {
    let (settings, now, state) = (exchange.settings, exchange.now, &mut *exchange.state);
    // One use, whatever comes of it.
    let Some(code) = form.get("code").and_then(|code| state.tokens.codes.remove(code)) else {
        let text = "Invalid code: it is unknown, used or expired.";
        return refusal(StatusCode::BAD_REQUEST, "invalid_request", text);
    };
    if code.redirect_uri.as_deref() != form.get("redirect_uri") {
        let text = "redirect_uri is not the one the code was issued for.";
        return refusal(StatusCode::BAD_REQUEST, "invalid_grant", text);
    }
    state.counters.codes_exchanged += 1;
    let (body, _) = state.tokens.issue_pair(code.grant, settings, now, &mut state.chance);
    exchange::json(StatusCode::OK, &body)
}

fn refresh(exchange: &mut Exchange<'_>, form: &Fields) -> Reply {
    let is_refused = struck(exchange, FaultKind::InvalidGrant);
    let (settings, now, state) = (exchange.settings, exchange.now, &mut *exchange.state);
    let token = form.get("refresh_token").unwrap_or_default();
    let Some(grant) = state.tokens.grant_of_refresh(token).filter(|_| !is_refused) else {
        state.counters.refreshes_refused += 1;
        return dead_refresh(settings);
    };
    let habit = settings.habits.second_refresh;
    let used = state.tokens.refresh.get(token).is_some_and(|refresh| refresh.used.is_some());
    if used && habit == SecondRefresh::Refused {
        state.counters.refreshes_refused += 1;
        return dead_refresh(settings);
    }
    let (body, successor) = state.tokens.issue_pair(grant, settings, now, &mut state.chance);
    if let Some(refresh) = state.tokens.refresh.get_mut(token) {
        let used_at = refresh.used.as_ref().map_or(now, |(used_at, _)| *used_at);
        if let Some((_, earlier)) = refresh.used.replace((used_at, successor))
            && habit == SecondRefresh::Newest
        {
            state.tokens.refresh.remove(&earlier);
        }
    }
    exchange::json(StatusCode::OK, &body)
}

fn dead_refresh(settings: &Settings) -> Reply {
    let error = if settings.habits.refresh_as_request { "invalid_request" } else { "invalid_grant" };
    refusal(StatusCode::BAD_REQUEST, error, "Invalid or expired refresh token.")
}

/// Checks method and client, in `Authorization: Basic` or in the form.
fn refuse(exchange: &mut Exchange<'_>, form: &Fields, id: &str, secret: &str) -> Option<Reply> {
    if exchange.method != Method::POST {
        return Some(refusal(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "POST is needed here."));
    }
    let in_form = || Some((form.get("client_id")?.to_owned(), form.get("client_secret")?.to_owned()));
    let habit = exchange.settings.habits.client_auth;
    let in_header = exchange.basic().filter(|_| habit != ClientAuth::Form);
    let said = in_header.or_else(|| if habit == ClientAuth::Basic { None } else { in_form() });
    let right = said.is_some_and(|(user, password)| user == id && password == secret);
    let right = right && !struck(exchange, FaultKind::InvalidClient);
    let status = StatusCode::from_u16(exchange.settings.habits.client_refusal).unwrap_or(StatusCode::UNAUTHORIZED);
    (!right).then(|| refusal(status, "invalid_client", "Invalid client_id or client_secret"))
}

fn struck(exchange: &mut Exchange<'_>, kind: FaultKind) -> bool {
    let state = &mut *exchange.state;
    let struck = state.faults.strikes(kind, &mut state.luck);
    state.counters.faults += u64::from(struck);
    struck
}

fn refusal(status: StatusCode, error: &str, description: &str) -> Reply {
    exchange::json(status, &json!({ "error": error, "error_description": description }))
}

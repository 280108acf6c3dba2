//! All that can be read of a store, row by row as text, and the same of a model.

use std::collections::BTreeMap;
use std::fmt::Display;

use carport::model::reading::Reading;
use carport::model::token::Generation;
use carport::model::vehicle::Vehicle;
use carport::model::{Seq, Timestamp, VehicleId};
use carport::store::bookmark::Bookmark;
use carport::store::rotation::KEPT;
use carport::store::vehicle_data::HistoryRange;
use carport::store::webhook_log::{Filed, Header};
use carport::store::{Snapshot, StoreError};
use serde::Serialize;

use super::deeds::{ACCOUNTS, CARS, CONNECTIONS, HASHES, SIGNALS, USERS, account, car, connection, hash, user};
use super::model::{Model, about};

const FAR: Timestamp = Timestamp::from_millis(4_000_000_000_000);

/// Rows by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct View {
    pub(crate) rows: BTreeMap<String, String>,
    /// How many rows were found damaged by reading them.
    pub(crate) damaged: usize,
}

impl View {
    fn put(&mut self, name: impl Display, value: &impl Serialize) {
        self.rows.insert(name.to_string(), serde_json::to_string(value).unwrap());
    }

    fn put_if<T: Serialize>(&mut self, name: impl Display, found: Result<Option<T>, StoreError>) -> Result<(), StoreError> {
        match found {
            Ok(Some(value)) => self.put(name, &value),
            Ok(None) => {}
            Err(StoreError::Damaged { .. }) => self.damaged += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Whatever can be read.
    pub(crate) fn of_store(store: &Snapshot<'_>) -> Result<View, StoreError> {
        let mut view = View::default();
        for id in (0..USERS).map(user) {
            view.put_if(format!("user {id}"), store.user(&id))?;
            for (row, _) in store.vehicles_of_user(&id)? {
                view.put(format!("vehicles of {id}: {row}"), &());
            }
        }
        for (row, user) in store.users(0, usize::MAX)? {
            view.put(format!("users {row}"), &user);
        }
        for id in (0..=CONNECTIONS).map(connection) {
            view.put_if(format!("connection {id}"), store.connection(id))?;
            let tokens = store.tokens(id);
            if let Ok(Some(tokens)) = &tokens {
                view.put_if(format!("previous {id}"), store.previous(id, tokens))?;
            }
            view.put_if(format!("tokens {id}"), tokens)?;
            view.put_if(format!("intent {id}"), store.intent(id))?;
        }
        for identity in identities() {
            view.put_if(format!("identity {identity:?}"), store.connection_of(&identity))?;
        }
        for connection in store.connections(None, usize::MAX)? {
            view.put(format!("connections {}", connection.id), &connection);
        }
        for (id, intent) in store.intents(usize::MAX)? {
            view.put(format!("intents {id}"), &intent);
        }
        for (due_at, id) in store.next_due(usize::MAX)? {
            view.put(format!("due {due_at} {id}"), &());
        }
        for id in (0..CARS).map(car) {
            view.put_if(format!("vehicle {id}"), store.vehicle(&id))?;
            view.put_if(format!("row of {id}"), store.vehicle_row(&id))?;
        }
        let vehicles = store.vehicles(0, usize::MAX)?;
        for (row, vehicle) in vehicles {
            view.put(format!("vehicles {row}"), &vehicle);
            for latest in store.latest(row)? {
                view.put(format!("latest {row} {}", latest.code), &latest);
            }
            for code in SIGNALS {
                view.put_if(format!("latest of {row} {code}"), store.latest_of(row, code))?;
            }
            let since = Timestamp::from_millis(0);
            let range = HistoryRange { vehicle: row, signal: None, since, until: FAR, after: None, limit: 10_000 };
            for (place, code, reading) in store.history(&range)? {
                view.put(format!("reading {row} {code} {}", reading.at), &(place.signal, &reading));
                view.rows.extend([self::reading(&vehicle, &code, &reading)]);
            }
        }
        for row in store.vehicles_to_revisit(usize::MAX)? {
            view.put(format!("to revisit {row}"), &());
        }
        for row in store.vehicles_to_read(usize::MAX)? {
            view.put(format!("to read {row}"), &());
        }
        view.log_of(store)?;
        view.put_if("verify", store.last_verify())?;
        view.put_if("password", store.password())?;
        view.put_if("alive", store.alive_at())?;
        view.put("gaps", &store.gaps()?);
        view.put("grammar", &store.grammar()?);
        for notice in store.notices(usize::MAX)? {
            view.put(format!("notice {}", about(&notice.subject)), &notice);
        }
        for n in 0..HASHES {
            view.put_if(format!("invite {n}"), store.invite(hash(n)))?;
            view.put_if(format!("api token {n}"), store.api_token(hash(n)))?;
            view.put_if(format!("session {n}"), store.session(hash(n)))?;
            view.put_if(format!("link {n}"), store.sign_in_link(hash(n)))?;
        }
        for token in store.api_tokens()? {
            view.put(format!("api tokens {}", token.id), &token);
        }
        for session in store.sessions()? {
            view.put(format!("sessions {}", session.id), &session);
        }
        for (number, entry) in store.audit(u64::MAX, usize::MAX)? {
            view.put(format!("audit {number}"), &entry);
        }
        Ok(view)
    }

    fn log_of(&mut self, store: &Snapshot<'_>) -> Result<(), StoreError> {
        let row_of = |car: VehicleId| store.vehicle_row(&car).ok().flatten().map(|row| (car, row));
        let cars: Vec<_> = (0..CARS).map(car).filter_map(row_of).collect();
        let mut after = Seq(0);
        loop {
            let part = store.log_after(after, usize::MAX, |_, _| true)?;
            self.damaged += usize::try_from(part.damaged).unwrap();
            for entry in part.entries.into_iter().filter_map(Filed::unpack) {
                self.put_entry(&cars, entry.seq, &entry.header, &String::from_utf8_lossy(&entry.body.0));
            }
            if part.up_to == after {
                break;
            }
            after = part.up_to;
        }
        let extent = store.log_extent()?;
        self.put("sum of the log", &(extent.newest, extent.entries, extent.bytes));
        self.put_if("bookmark", store.bookmark().map(|place| (place != Bookmark::default()).then_some(place)))
    }

    fn put_entry(&mut self, cars: &[(VehicleId, u32)], seq: Seq, header: &Header, body: &str) {
        let Header { received_at, kind, result, vehicle, bytes } = header;
        let car = vehicle.and_then(|row| cars.iter().find(|(_, known)| *known == row));
        self.rows.extend(car.map(|(car, _)| car_of(*received_at, car)));
        self.put(format!("entry {seq}"), &(received_at, kind, bytes, body));
        self.put(format!("label of entry {seq}"), &(result, vehicle));
    }

    /// The same of a model.
    pub(crate) fn of_model(model: &Model) -> View {
        let mut view = View::default();
        for (id, user) in &model.users {
            view.put(format!("user {id}"), user);
            view.put(format!("users {}", model.user_rows[id]), user);
        }
        for (id, connection) in &model.connections {
            view.put(format!("connection {id}"), connection);
            view.put(format!("connections {id}"), connection);
        }
        for (identity, id) in model.identities.iter().filter(|(_, id)| model.connections.contains_key(id)) {
            view.put(format!("identity {identity:?}"), id);
        }
        for (id, tokens) in &model.tokens {
            view.put(format!("tokens {id}"), tokens);
            if let Some(previous) = model.previous.get(&(tokens.issued_at.after(KEPT), *id)) {
                view.put(format!("previous {id}"), previous);
            }
        }
        for (id, intent) in &model.intents {
            view.put(format!("intent {id}"), intent);
            view.put(format!("intents {id}"), intent);
        }
        for (due_at, id) in &model.due {
            view.put(format!("due {due_at} {id}"), &());
        }
        for (id, row) in &model.vehicle_rows {
            view.put(format!("row of {id}"), row);
            if let Some(vehicle) = model.vehicles.get(row) {
                view.put(format!("vehicle {id}"), &(row, vehicle));
            }
        }
        for (row, vehicle) in &model.vehicles {
            view.put(format!("vehicles {row}"), vehicle);
            view.put(format!("vehicles of {}: {row}", vehicle.user), &());
        }
        for ((row, code), latest) in &model.latest {
            view.put(format!("latest {row} {code}"), latest);
            view.put(format!("latest of {row} {code}"), latest);
        }
        for ((row, code), readings) in &model.readings {
            for (at, reading) in readings {
                view.put(format!("reading {row} {code} {at}"), &(model.signal_rows[code], reading));
                view.rows.extend([self::reading(&model.vehicles[row], code, reading)]);
            }
        }
        for row in &model.to_revisit {
            view.put(format!("to revisit {row}"), &());
        }
        for row in &model.to_read {
            view.put(format!("to read {row}"), &());
        }
        let cars: Vec<_> = model.vehicle_rows.iter().map(|(car, row)| (car.clone(), *row)).collect();
        for (seq, (header, body)) in &model.log {
            view.put_entry(&cars, *seq, header, body);
        }
        view.put("sum of the log", &(model.newest, model.log.len(), model.log_bytes()));
        if let Some(verify) = &model.verify {
            view.put("verify", verify);
        }
        if let Some(password) = &model.password {
            view.put("password", password);
        }
        if let Some(alive) = &model.alive {
            view.put("alive", alive);
        }
        view.put("gaps", &model.gaps);
        view.put("grammar", &model.grammar.unwrap_or(1));
        for (subject, notice) in &model.notices {
            view.put(format!("notice {subject}"), notice);
        }
        if model.bookmark != Bookmark::default() {
            view.put("bookmark", &model.bookmark);
        }
        for (hash, invite) in &model.invites {
            view.put(format!("invite {}", hash[0]), invite);
        }
        for (hash, token) in &model.api_tokens {
            view.put(format!("api token {}", hash[0]), token);
            view.put(format!("api tokens {}", token.id), token);
        }
        for (hash, session) in &model.sessions {
            view.put(format!("session {}", hash[0]), session);
            view.put(format!("sessions {}", session.id), session);
        }
        for (number, (_, entry)) in &model.audit {
            view.put(format!("audit {number}"), entry);
        }
        for (hash, expires_at) in &model.links {
            view.put(format!("link {}", hash[0]), expires_at);
        }
        view
    }

    /// What this has and `other` has not, or otherwise.
    pub(crate) fn differences(&self, other: &View) -> Vec<String> {
        let mut found = Vec::new();
        for (name, value) in &self.rows {
            match other.rows.get(name) {
                Some(theirs) if theirs == value => {}
                Some(theirs) => found.push(format!("{name}: {} instead of {}", cut(value), cut(theirs))),
                None => found.push(format!("{name}: {} should not be", cut(value))),
            }
        }
        let missing = other.rows.iter().filter(|(name, _)| !self.rows.contains_key(*name));
        found.extend(missing.map(|(name, value)| format!("{name}: {} is missing", cut(value))));
        found
    }
}

/// What was read of a car while it was somebody's.
pub(crate) fn reading(vehicle: &Vehicle, code: &str, reading: &Reading) -> (String, String) {
    let name = format!("{code} of {} of {} at {}", vehicle.facts.id, vehicle.user, reading.at);
    (name, serde_json::to_string(reading).unwrap())
}

/// Of which car a delivery is.
pub(crate) fn car_of(received_at: Timestamp, car: &VehicleId) -> (String, String) {
    (format!("car of the delivery of {received_at}"), car.to_string())
}

fn cut(value: &str) -> String {
    value.chars().take(300).collect()
}

/// All that a connection of a history can be known by.
fn identities() -> Vec<String> {
    let mut found = Vec::new();
    for (user, account) in (0..USERS).flat_map(|n| (0..ACCOUNTS).map(move |m| (user(n), account(m)))) {
        for generation in [Generation::V2, Generation::V3] {
            found.push(format!("{user}\0{account}\0{generation}\0"));
        }
    }
    found
}

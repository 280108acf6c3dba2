//! What was told of vehicles: the latest of every signal, in one row for each vehicle.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};

use super::bookmark::{Bookmark, bookmark, put_bookmark};
use super::connections::{was_refused, was_taken};
use super::memo::row_of_signal;
use super::tables::{CURSORS, Kind, Record, Typed, VEHICLES_TO_REVISIT};
use super::vehicle_data::{Loose, fold, insert, last, put_loose};
use super::vehicles::merge;
use super::{Change, Snapshot, StoreError, Tables};
use crate::model::capability::Lack;
use crate::model::reading::{Outcome, Reading, SignalFailure, SignalReport, Source};
use crate::model::vehicle::{Resolved, Vehicle, VehicleError, VehicleFacts};
use crate::model::{Seq, Timestamp};

/// The newest of a signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    /// Smartcar's code.
    pub code: String,
    /// Its group.
    pub group: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The last good value by the car's own time.
    pub reading: Option<Reading>,
    /// Why the newest report had no value, and when it was told.
    pub failure: Option<(SignalFailure, Timestamp)>,
    /// When a value was last told.
    pub told_at: Option<Timestamp>,
    /// When that of `reading` was told, if another was told later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading_told_at: Option<Timestamp>,
    /// Why it cannot be had, if Smartcar says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lack: Option<Lack>,
}

impl Latest {
    /// When Smartcar fetched the last good value; when it was told, if Smartcar did not say. Never the car's own time.
    pub fn fetched_at(&self) -> Option<Timestamp> {
        let reading = self.reading.as_ref()?;
        reading.retrieved_at.or(self.reading_told_at).or(self.told_at)
    }

    /// What the vehicle is called in the car itself, if this is the signal that tells it.
    fn called(&self) -> Option<String> {
        let reading = self.reading.as_ref().filter(|_| self.code == "vehicleidentification-nickname")?;
        let name = reading.body.value()["value"].as_str()?.trim().to_owned();
        Some(name).filter(|name| !name.is_empty())
    }
}

/// The latest of every signal of a vehicle, by the signal's row.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Latests {
    pub(super) signals: BTreeMap<u32, Latest>,
    /// What of its readings is not yet in blocks.
    pub(super) loose: Loose,
}

impl Record for Latests {
    const TABLE: &'static str = "vehicle_latest-2";
    const IS_SECRET: bool = false;
}

/// What one event or one read tells of a vehicle.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Telling {
    /// The vehicle's row.
    pub vehicle: u32,
    /// Its signals.
    pub reports: Vec<SignalReport>,
    /// How they came.
    pub source: Source,
    /// When they came here.
    pub at: Timestamp,
    /// When they were told, by Smartcar's clock: what orders tellings that came late.
    pub told_at: Timestamp,
    /// What was told of the vehicle itself.
    pub facts: Option<VehicleFacts>,
    /// Errors that began.
    pub errors: Vec<VehicleError>,
    /// Errors that ended.
    pub resolved: Vec<Resolved>,
}

impl Telling {
    /// When the manufacturer took the account, if this shows it: a delivery carries old values too, so only the car's own
    /// time counts, and the end of such an error.
    fn shows_account_at(&self) -> Option<Timestamp> {
        let recorded = self.reports.iter().filter(|report| matches!(report.outcome, Outcome::Value(_)));
        let recorded = recorded.filter_map(|report| report.oem_updated_at).max();
        let ended = self.resolved.iter().filter(|end| end.kind == "CONNECTED_SERVICES_ACCOUNT").map(|end| end.at).max();
        // A car whose clock is ahead must not count for more than the delivery.
        recorded.max(ended).map(|at| at.min(self.told_at))
    }
}

/// Turns tellings into vehicle data and moves the projector in the same commit. `false` if it is not where it was thought
/// to be: then nothing is applied.
#[derive(Debug, Serialize, Deserialize)]
pub struct ApplyReadings {
    /// What was told, in the order in which it was.
    pub tellings: Vec<Telling>,
    /// The projector's new place, as it was journalled before there were bookmarks.
    cursor: Option<Seq>,
    /// From where to where the projector moves. A store that was opened anew may be at an earlier place, for what is
    /// derived is journalled later.
    #[serde(default)]
    pub moved: Option<(Bookmark, Bookmark)>,
    /// A vehicle for which the log was looked through.
    pub revisited: Option<u32>,
}

impl ApplyReadings {
    /// Of a read or a replay.
    pub fn of(tellings: Vec<Telling>) -> ApplyReadings {
        ApplyReadings { tellings, cursor: None, moved: None, revisited: None }
    }

    /// Of the log, from one place to another.
    pub fn moving(self, from: Bookmark, to: Bookmark) -> ApplyReadings {
        ApplyReadings { moved: Some((from, to)), ..self }
    }

    /// Of the log, which has been looked through for a vehicle.
    pub fn revisiting(self, vehicle: u32) -> ApplyReadings {
        ApplyReadings { revisited: Some(vehicle), ..self }
    }
}

impl Change for ApplyReadings {
    type Outcome = bool;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        if let Some((from, _)) = &self.moved
            && *from != bookmark(tables)?
        {
            return Ok(false);
        }
        // Each vehicle is read and written once, however often it is told of.
        let mut cars = BTreeMap::new();
        for telling in &self.tellings {
            let car = match cars.entry(telling.vehicle) {
                Entry::Occupied(car) => car.into_mut(),
                Entry::Vacant(place) => place.insert(Car::load(tables, telling.vehicle)?),
            };
            // A vehicle that is not linked (yet) keeps nothing but its entries in the log.
            if let Some(car) = car {
                car.hear(tables, telling)?;
            }
        }
        for car in cars.into_values().flatten() {
            car.put(tables)?;
        }
        if let Some(row) = self.revisited {
            tables.remove_mark(VEHICLES_TO_REVISIT, row)?;
        }
        if let Some(to) = self.moved.as_ref().map(|(_, to)| to.clone()).or(self.cursor.map(Bookmark::at)) {
            put_bookmark(tables, &to)?;
        }
        Ok(true)
    }

    fn is_derived(&self) -> bool {
        // Of the log, which is read again from the cursor, or for a vehicle that is still to be revisited.
        self.moved.is_some() || self.revisited.is_some()
    }
}

/// All of the log has been read by a grammar.
#[derive(Debug, Serialize, Deserialize)]
pub struct NoteGrammar {
    /// Its version.
    pub version: u32,
}

impl Change for NoteGrammar {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        tables.put_value(CURSORS, GRAMMAR, &self.version)
    }
}

const GRAMMAR: &str = "grammar";

/// A vehicle while it is told of.
struct Car {
    row: u32,
    vehicle: Vehicle,
    latests: Latests,
    /// What has changed, by signal, in order of time.
    changes: Vec<(u32, Reading)>,
    /// When its manufacturer was last seen to take the account, and to refuse its sign-in.
    taken_at: Option<Timestamp>,
    refused_at: Option<Timestamp>,
}

impl Car {
    /// `None` if it is not linked.
    fn load(tables: &mut Tables<'_>, row: u32) -> Result<Option<Car>, StoreError> {
        let Some(vehicle) = tables.get_sound::<Vehicle>(row)? else { return Ok(None) };
        let latests = if let Some(latests) = tables.get_sound(row)? {
            latests
        } else {
            // If there was one that is damaged, nobody knows any more what is loose.
            let mut loose = Loose::UNKNOWN;
            fold(tables, row, &mut loose, Vec::new())?;
            Latests { loose, ..Latests::default() }
        };
        Ok(Some(Car { row, vehicle, latests, changes: Vec::new(), taken_at: None, refused_at: None }))
    }

    fn put(mut self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        if let Some(connection) = self.vehicle.connection {
            let recorded = self.latests.signals.values().filter_map(|latest| latest.reading.as_ref());
            let recorded = recorded.filter(|reading| reading.oem_updated_at.is_some()).map(|reading| reading.at).max();
            match (self.refused_at, self.taken_at) {
                // What comes late, or again, is no news.
                (Some(at), taken_at) if recorded.max(taken_at) <= Some(at) => was_refused(tables, connection, at)?,
                (_, Some(at)) => was_taken(tables, connection, at)?,
                _ => {}
            }
        }
        // Beside the names that are given to it here, for lists that need no signals.
        self.vehicle.called = self.latests.signals.values().find_map(Latest::called);
        put_loose(tables, self.row, &mut self.latests.loose, self.changes)?;
        tables.put(self.row, &self.latests)?;
        tables.put(self.row, &self.vehicle)
    }

    fn hear(&mut self, tables: &mut Tables<'_>, telling: &Telling) -> Result<(), StoreError> {
        for report in &telling.reports {
            self.note(tables, telling, report)?;
        }
        let vehicle = &mut self.vehicle;
        if let Some(facts) = &telling.facts {
            merge(&mut vehicle.facts, facts);
        }
        for end in &telling.resolved {
            vehicle.resolve(end.clone());
        }
        for error in &telling.errors {
            if vehicle.resolved.iter().any(|end| end.kind == error.kind && end.code == error.code && end.at >= error.since) {
                continue;
            }
            // It is told late, of a time that is over.
            if vehicle.connection.is_none() {
                vehicle.resolve(Resolved { kind: error.kind.clone(), code: error.code.clone(), at: telling.at.max(error.since) });
                continue;
            }
            if error.kind == "CONNECTED_SERVICES_ACCOUNT" && error.code.as_deref() == Some("AUTHENTICATION_FAILED") {
                self.refused_at = self.refused_at.max(Some(error.since));
            }
            match vehicle.errors.iter_mut().find(|known| known.kind == error.kind && known.code == error.code) {
                Some(known) => *known = VehicleError { since: known.since.min(error.since), ..error.clone() },
                None => vehicle.errors.push(error.clone()),
            }
        }
        if telling.source == Source::Webhook {
            vehicle.last_event_at = vehicle.last_event_at.max(Some(telling.at));
            self.taken_at = self.taken_at.max(telling.shows_account_at());
        }
        Ok(())
    }

    fn note(&mut self, tables: &mut Tables<'_>, telling: &Telling, report: &SignalReport) -> Result<(), StoreError> {
        let signal = row_of_signal(tables, &report.code)?;
        let latest = self.latests.signals.entry(signal).or_insert_with(|| Latest {
            code: report.code.clone(),
            group: None,
            name: None,
            reading: None,
            failure: None,
            told_at: None,
            reading_told_at: None,
            lack: None,
        });
        if report.group.is_some() {
            latest.group.clone_from(&report.group);
        }
        if report.name.is_some() {
            latest.name.clone_from(&report.name);
        }
        let is_later = |told_at: &Timestamp| *told_at > telling.told_at;
        match &report.outcome {
            Outcome::Failed(failure) => {
                let is_news = latest.failure.as_ref().is_none_or(|(_, at)| *at <= telling.told_at);
                // A value that was told later is good, whatever comes late.
                let is_late = latest.told_at.as_ref().is_some_and(is_later);
                if is_news && !is_late {
                    latest.failure = Some((failure.clone(), telling.told_at));
                }
                if !is_late {
                    latest.lack = Lack::after(latest.lack.take(), failure, telling.told_at);
                }
            }
            Outcome::Value(body) => {
                // A car whose clock is ahead must not freeze its signals.
                let at = report.oem_updated_at.or(report.retrieved_at).unwrap_or(telling.at).min(telling.at);
                let reading = Reading {
                    body: body.clone(),
                    at,
                    oem_updated_at: report.oem_updated_at,
                    retrieved_at: report.retrieved_at,
                    source: telling.source,
                };
                if latest.failure.as_ref().is_some_and(|(_, failed_at)| *failed_at <= telling.told_at) {
                    latest.failure = None;
                }
                latest.lack.take_if(|lack| lack.told_at <= telling.told_at);
                let newest_told_at = latest.reading_told_at.or(latest.told_at);
                latest.told_at = latest.told_at.max(Some(telling.told_at));
                let newest = latest.reading.as_ref();
                match newest {
                    // Of its moment holds what was told last, also when the log is read again.
                    Some(newest) if newest.at == reading.at && newest_told_at.as_ref().is_some_and(is_later) => return Ok(()),
                    // What says the same as before is no change, and the past need not be asked.
                    Some(newest) if newest.at <= reading.at && newest.body.same_as(&reading.body) => {}
                    Some(newest) if newest.at < reading.at => self.changes.push((signal, reading.clone())),
                    // It is late, or the first: its place is among those in blocks.
                    _ => {
                        let changes = std::mem::take(&mut self.changes);
                        fold(tables, self.row, &mut self.latests.loose, changes)?;
                        insert(tables, (self.row, signal), &reading, newest)?;
                    }
                }
                if newest.is_none() {
                    // If the row was lost, blocks may know later ones, and what goes on must be later than those.
                    latest.reading = last(tables, (self.row, signal))?;
                }
                let is_newest = latest.reading.as_ref().is_none_or(|known| known.at <= reading.at);
                let told_at = if is_newest { Some(telling.told_at) } else { newest_told_at };
                latest.reading_told_at = told_at.filter(|_| told_at != latest.told_at);
                if is_newest {
                    latest.reading = Some(reading);
                }
            }
        }
        Ok(())
    }
}

impl Snapshot<'_> {
    /// The latest of every signal of a vehicle.
    pub fn latest(&self, vehicle: u32) -> Result<Vec<Latest>, StoreError> {
        Ok(self.get_sound::<Latests>(vehicle)?.unwrap_or_default().signals.into_values().collect())
    }

    /// The latest of one signal.
    pub fn latest_of(&self, vehicle: u32, code: &str) -> Result<Option<Latest>, StoreError> {
        let Some(signal) = self.row(Kind::Signal, code)? else { return Ok(None) };
        Ok(self.get::<Latests>(vehicle)?.unwrap_or_default().signals.remove(&signal))
    }

    /// Whether a car has told of a signal of this code. Where the index is damaged nobody can tell.
    pub fn knows_signal(&self, code: &str) -> Result<bool, StoreError> {
        match self.row(Kind::Signal, code) {
            Err(StoreError::Damaged { .. }) => Ok(true),
            row => Ok(row?.is_some()),
        }
    }

    /// The version of the grammar by which all of the log has been read: the first, if none was noted.
    pub fn grammar(&self) -> Result<u32, StoreError> {
        Ok(self.value(CURSORS, GRAMMAR)?.unwrap_or(1))
    }
}

//! New tables out of damaged ones: what can be read and opens is saved, the small tables come from the
//! journal's copy, and the damaged file is kept beside.

use std::collections::BTreeMap;
use std::io;
use std::ops::{Bound, ControlFlow};

use redb::ReadableDatabase;

use super::StoreError;
use super::checkpoint::{self, Checkpoint};
use super::database::{disk, guarded};
use super::files::Part;
use super::heads::Head;
use super::inspection::look_at_tables;
use super::journal::{Entry, Journal, RowCopy};
use super::log_head::{self, Log};
use super::migrations;
use super::recovery::{Findings, Site, open_tables, put_small_rows};
use super::scattered::{self, Found};
use super::tables::{
    self, ALL, LARGE, Places, Record, Rows, Snapshot, Tables, Typed, VEHICLES_TO_READ, VEHICLES_TO_REVISIT, WEBHOOK_LOGS,
};
use super::tellings::Latests;
use super::vehicle_data::Block;
use crate::model::vehicle::Vehicle;

/// How often a disk is asked for the same.
const TRIES: usize = 3;

/// How many rows are read from the damaged tables at once.
const SLICE: usize = 1000;

/// Puts new tables in the place of the old ones, to be replayed over.
pub(super) fn rescue(site: &Site<'_>, journal: &Journal, why: &str, findings: &mut Findings) -> Result<(), StoreError> {
    site.files.remove_rescue().map_err(|error| disk(&error))?;
    let old = Old::open(site, journal)?;
    let mut copies = copies(journal)?;
    let wanted = old.checkpoint.as_ref().map(|checkpoint| checkpoint.generation);
    // The first that is not older than the tables: it has most after it. Nothing is newer than what a store was
    // closed with, if it is whole.
    let copy = match copies.iter().position(|(generation, _)| wanted.is_none_or(|wanted| *generation >= wanted)) {
        Some(place) => Some(copies.swap_remove(place)),
        None if old.small_tables_are_whole(site) => None,
        None => copies.pop(),
    };
    let generation = copy.as_ref().map(|(generation, _)| *generation).or(wanted);
    let generation =
        generation.ok_or_else(|| StoreError::NotAStore("neither its tables nor its journal can be read".to_owned()))?;
    let from_copy = copy.as_ref().and_then(|(_, rows)| migrations::places_of_copy(rows, site));
    let places = from_copy.or_else(|| old.places(site));
    let places = places.ok_or_else(|| StoreError::NotAStore("its index key cannot be read".to_owned()))?;

    let new = open_tables(site, Part::Rescue)?.tables;
    let mut log = Log::default();
    let transaction = checkpoint::begin(&new)?;
    let mut into = Tables::new(&transaction, &places, &mut log);
    let mut lost = BTreeMap::new();
    for (place, table) in tables::all().enumerate() {
        if copy.is_some() && !LARGE.contains(&table) {
            continue;
        }
        let saved = old.save(table, &mut into)?;
        match old.census.as_ref().and_then(|census| census.get(place)) {
            Some(counted) if *counted > saved => drop(lost.insert(table, counted - saved)),
            _ => {}
        }
    }
    let is_counted = old.census.is_some();
    let is_as_old = copy.as_ref().is_none_or(|(generation, _)| wanted == Some(*generation));
    let has_latest = is_counted && is_as_old && !lost.contains_key(Latests::TABLE);
    let small = match &copy {
        Some((generation, _)) if wanted.is_some_and(|wanted| *generation < wanted) => {
            "users, connections, tokens and vehicles are as they were at an earlier checkpoint"
        }
        Some(_) if wanted.is_none() => "users, connections, tokens and vehicles are as a copy has them, of nobody knows when",
        None if !old.small_tables_are_whole(site) => "there is no copy of the small tables",
        _ => "users, connections, tokens and vehicles are whole",
    };
    old.close();
    if let Some((_, rows)) = copy {
        put_small_rows(&mut into, rows)?;
    }
    migrations::bring_up_rows(&mut into)?;
    let found = if is_counted && lost.is_empty() { Found::default() } else { search(site, &mut into, findings)? };
    log_head::mend(&mut into)?;
    log_head::load_event_ids(&mut into)?;
    if !has_latest {
        ask_anew(&mut into)?;
    }
    for (table, found) in [(WEBHOOK_LOGS, found.entries), (Block::TABLE, found.blocks)] {
        lost.entry(table).and_modify(|lost| *lost = lost.saturating_sub(found));
    }
    lost.retain(|_, rows| *rows > 0);
    let held = (into.log.head.entries, into.len(Block::TABLE)?);
    let lost = match (is_counted, lost.is_empty()) {
        (false, _) => format!(
            "of what they held before the last checkpoint, {} events and {} blocks of vehicle data were saved, and \
             whether there was more cannot be told",
            held.0, held.1
        ),
        (true, true) if found.blocks > 0 => "every row was found again".to_owned(),
        (true, true) => "all that they held was saved".to_owned(),
        (true, false) => {
            let lost: Vec<String> = lost.iter().map(|(table, rows)| told(table, *rows)).collect();
            format!("lost: {}", lost.join(", "))
        }
    };
    findings.add(format!("the tables were {why}; {lost}; {small}"));
    if found.blocks > 0 {
        findings.add(format!(
            "{} blocks of vehicle data were found again in single pages; some may lack their last readings",
            found.blocks
        ));
    }
    drop(into);
    checkpoint::commit(transaction, &places, &mut log, Checkpoint { generation, is_clean: false, findings: findings.list() })?;
    drop(new);
    if let Some(name) = site.files.replace_tables(why).map_err(|error| disk(&error))? {
        findings.add(format!("the damaged tables are kept as {name}"));
    }
    Ok(())
}

/// Rows that are lost, without the version of their table.
fn told(table: &str, rows: u64) -> String {
    let name = table.split('-').next().unwrap_or(table);
    format!("{rows} {} of {name}", if rows == 1 { "row" } else { "rows" })
}

/// Looks for rows page by page.
fn search(site: &Site<'_>, into: &mut Tables<'_>, findings: &mut Findings) -> Result<Found, StoreError> {
    if !site.files.is_there(Part::Tables).map_err(|error| disk(&error))? {
        return Ok(Found::default());
    }
    match site.files.open(Part::Tables) {
        Ok(file) => scattered::gather(&*file, into),
        // After a panic, redb may still have it.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            findings.add("the pages of the damaged tables could not be searched one by one: the file is still in use");
            Ok(Found::default())
        }
        Err(error) => Err(disk(&error)),
    }
}

/// A vehicle whose latest signals are lost has the log read for it again, and a picture taken.
fn ask_anew(tables: &mut Tables<'_>) -> Result<(), StoreError> {
    for key in tables.keys(Vehicle::TABLE, ALL, usize::MAX)? {
        if tables.raw(Latests::TABLE, &key)?.is_none() {
            tables.put_mark(VEHICLES_TO_REVISIT, &key[..])?;
            tables.put_mark(VEHICLES_TO_READ, &key[..])?;
        }
    }
    Ok(())
}

/// The whole copies in the journal, oldest first.
fn copies(journal: &Journal) -> Result<Vec<(u64, Vec<RowCopy>)>, StoreError> {
    let mut copies = Vec::new();
    for generation in journal.generations() {
        journal.read(generation, |entry| {
            if let Entry::Copy(rows) = entry {
                copies.push((generation, rows));
            }
            Ok(())
        })?;
    }
    Ok(copies)
}

/// The damaged tables, as far as they open.
struct Old {
    tables: Option<redb::Database>,
    checkpoint: Option<Checkpoint>,
    census: Option<Vec<u64>>,
}

impl Old {
    /// As their own head leads to them; unless that shows them damaged, and another shows them whole, or shows them at all.
    fn open(site: &Site<'_>, journal: &Journal) -> Result<Old, StoreError> {
        let own = Old::under(site, None)?;
        if own.all_are_whole(site) {
            return Ok(own);
        }
        let (mut best, mut is_counted) = (None, own.census.is_some());
        // The file is open once at a time.
        own.close();
        for head in Head::OTHERS {
            let other = Old::under(site, Some(head))?;
            let is_whole = other.is_continued_by(journal) && other.all_are_whole(site);
            if is_whole || !is_counted && other.census.is_some() {
                (best, is_counted) = (Some(head), true);
            }
            other.close();
            if is_whole {
                break;
            }
        }
        Old::under(site, best)
    }

    fn under(site: &Site<'_>, head: Option<Head>) -> Result<Old, StoreError> {
        let mut old = Old { tables: None, checkpoint: None, census: None };
        if site.files.is_there(Part::Tables).map_err(|error| disk(&error))? {
            old.tables = match look_at_tables(site, head) {
                Ok((tables, _)) => Some(tables),
                // A disk in trouble is no damage: it may be well again in a moment.
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(_) => None,
            };
        }
        if let (Some(tables), Some(places)) = (&old.tables, old.places(site)) {
            let read = guarded(|| {
                let transaction = tables.begin_read().map_err(|error| disk(&error))?;
                let snapshot = Snapshot::new(&transaction, &places);
                Ok((checkpoint::last(&snapshot), checkpoint::census(&snapshot)))
            });
            (old.checkpoint, old.census) = read.unwrap_or_default();
        }
        Ok(old)
    }

    /// redb may panic even while it closes what is damaged.
    fn close(self) {
        let _ = guarded(|| {
            drop(self);
            Ok(())
        });
    }

    fn is_continued_by(&self, journal: &Journal) -> bool {
        self.checkpoint.as_ref().is_some_and(|checkpoint| journal.generations().contains(&checkpoint.generation))
    }

    fn places(&self, site: &Site<'_>) -> Option<Places> {
        let tables = self.tables.as_ref()?;
        guarded(|| migrations::prepare(tables, site)).ok()
    }

    fn small_tables_are_whole(&self, site: &Site<'_>) -> bool {
        self.are_whole(site, |table| !LARGE.contains(&table))
    }

    fn all_are_whole(&self, site: &Site<'_>) -> bool {
        self.are_whole(site, |_| true)
    }

    /// Whether every row of some tables is there and opens.
    fn are_whole(&self, site: &Site<'_>, which: impl Fn(&str) -> bool) -> bool {
        let (Some(tables), Some(census), Some(places)) = (&self.tables, &self.census, self.places(site)) else { return false };
        let are_whole = guarded(|| {
            let transaction = tables.begin_read().map_err(|error| disk(&error))?;
            let snapshot = Snapshot::new(&transaction, &places);
            for (table, counted) in tables::all().zip(census).filter(|(table, _)| which(table)) {
                let mut sound = 0;
                snapshot.walk(table, ALL, false, &mut |key, value| {
                    sound += u64::from(places.is_sound(table, key, value));
                    Ok(ControlFlow::Continue(()))
                })?;
                if sound != *counted {
                    return Ok(false);
                }
            }
            Ok(true)
        });
        are_whole.unwrap_or(false)
    }

    /// Saves the sound rows of a table: from its beginning to where it cannot be read, and from its end
    /// back to there.
    fn save(&self, table: &'static str, into: &mut Tables<'_>) -> Result<u64, StoreError> {
        let Some(old) = &self.tables else { return Ok(0) };
        let mut saved = 0;
        let (mut first, mut last) = (Bound::Unbounded, Bound::Unbounded);
        for backwards in [false, true] {
            loop {
                let mut rows = Vec::new();
                let range = (first.clone(), last.clone());
                // What was read before it failed counts. A bad sector stays bad, another error may not.
                let whole = (0..TRIES).find_map(|_| {
                    rows.clear();
                    let whole = guarded(|| slice(old, into.places(), table, range.clone(), backwards, &mut rows));
                    (!matches!(whole, Err(StoreError::Unavailable(_)))).then_some(whole)
                });
                let whole = whole.unwrap_or(Err(StoreError::Damaged { table }));
                let goes_on = rows.last().is_some_and(|(key, _)| is_within(key, &range));
                if let Some((key, _)) = rows.last() {
                    *(if backwards { &mut last } else { &mut first }) = Bound::Excluded(key.clone());
                }
                // A key that is damaged may lead back to where the slice began.
                let whole = if goes_on || rows.is_empty() { whole } else { Err(StoreError::Damaged { table }) };
                let read = rows.len();
                for (key, value) in rows {
                    if into.places().is_sound(table, &key, &value) {
                        into.put_raw(table, &key, &value)?;
                        saved += 1;
                    }
                }
                if whole.is_err() || read < SLICE {
                    if whole.is_ok() {
                        return Ok(saved);
                    }
                    break;
                }
            }
        }
        Ok(saved)
    }
}

fn is_within(key: &[u8], (first, last): &Range) -> bool {
    let is_after = |bound: &Bound<Vec<u8>>| !matches!(bound, Bound::Excluded(bound) if key <= bound.as_slice());
    let is_before = |bound: &Bound<Vec<u8>>| !matches!(bound, Bound::Excluded(bound) if key >= bound.as_slice());
    is_after(first) && is_before(last)
}

type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

fn slice(
    old: &redb::Database,
    places: &Places,
    table: &'static str,
    range: Range,
    backwards: bool,
    rows: &mut Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<(), StoreError> {
    let transaction = old.begin_read().map_err(|error| disk(&error))?;
    Snapshot::new(&transaction, places).walk(table, range, backwards, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok(if rows.len() < SLICE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })
}

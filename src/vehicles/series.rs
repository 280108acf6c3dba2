//! How signals of one vehicle went: one after another, a part at a time in memory, in one look at the store.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::mem::take;

use super::{HistoryQuery, Shared, Vehicles, VehiclesError, readable};
use crate::model::reach::Reach;
use crate::model::{Timestamp, VehicleId};
use crate::store::moments::{LooseMoments, Moment, OneSignal};
use crate::store::{Snapshot, StoreError};

/// The past of one vehicle, and what follows from it, at one moment.
#[derive(Debug)]
pub struct Past<'s> {
    pub(super) snapshot: &'s Snapshot<'s>,
    pub(super) shared: &'s Shared,
    pub(super) row: u32,
    loose: LooseMoments,
    /// Short ones that were asked for, for those who ask for the same.
    heard: RefCell<HashMap<Asked, Series>>,
}

/// Code, first and last time.
type Asked = (String, Option<Timestamp>, Option<Timestamp>);

/// Why a look at the past shows nothing.
#[derive(Debug)]
pub enum PastError {
    /// What was asked for makes no sense, or is nowhere.
    Refused(VehiclesError),
    /// The store is in trouble.
    Store(StoreError),
}

impl From<VehiclesError> for PastError {
    fn from(error: VehiclesError) -> PastError {
        PastError::Refused(error)
    }
}

impl From<StoreError> for PastError {
    fn from(error: StoreError) -> PastError {
        PastError::Store(error)
    }
}

impl Vehicles {
    /// Looks at the past of a vehicle, off the threads that serve others. Who looks takes as long as reading and reckoning
    /// take, and waits for nothing: what is committed meanwhile cannot use pages again.
    pub async fn past<T: Send + 'static>(
        &self,
        reach: &Reach,
        id: &VehicleId,
        look: impl FnOnce(&Past<'_>) -> Result<T, PastError> + Send + 'static,
    ) -> Result<T, VehiclesError> {
        let (shared, reach, id) = (self.shared.clone(), reach.clone(), id.clone());
        let found = self.shared.store.read(move |snapshot| {
            let row = match readable(snapshot, &reach, &id)? {
                Ok((row, _)) => row,
                Err(error) => return Ok(Err(error)),
            };
            let loose = snapshot.loose_moments(row)?;
            match look(&Past { snapshot, shared: &shared, row, loose, heard: RefCell::default() }) {
                Ok(found) => Ok(Ok(found)),
                Err(PastError::Refused(error)) => Ok(Err(error)),
                Err(PastError::Store(error)) => Err(error),
            }
        });
        found.await?
    }
}

impl Past<'_> {
    /// A signal within a range; nothing if no vehicle ever told it.
    pub(super) fn series(&self, code: &str, query: &HistoryQuery) -> Result<Series, StoreError> {
        self.begun(code, query, |_, since| Ok(since))
    }

    /// The same, and what held at the beginning of the range.
    pub(super) fn series_and_before(&self, code: &str, query: &HistoryQuery) -> Result<Series, StoreError> {
        let asked = (code.to_owned(), query.since, query.until);
        if let Some(series) = self.heard.borrow().get(&asked) {
            return Ok(series.clone());
        }
        let series = self.begun(code, query, |signal, since| {
            // What is loose is later than what is in blocks.
            let before = match self.loose.before(signal, since) {
                None => self.snapshot.moment_before(signal, since, &self.shared.gists)?,
                before => before,
            };
            Ok(before.unwrap_or(since))
        })?;
        if series.left.is_none() {
            self.heard.borrow_mut().insert(asked, series.clone());
        }
        Ok(series)
    }

    /// A signal from the time on that `begins` tells, with the first part read.
    fn begun(
        &self,
        code: &str,
        query: &HistoryQuery,
        begins: impl Fn(&OneSignal, Timestamp) -> Result<Timestamp, StoreError>,
    ) -> Result<Series, StoreError> {
        let range = self.shared.range(self.row, query, PART);
        let Some(signal) = self.snapshot.signal_row(code)? else { return Ok(Series::default()) };
        let signal = OneSignal { vehicle: self.row, signal, code: code.into() };
        let since = begins(&signal, range.since)?;
        let loose = self.loose.of(&signal).filter(|moment| since <= moment.at && moment.at < range.until).collect();
        let mut series = Series { left: Some((signal, since, range.until)), loose, ..Series::default() };
        series.fill(self)?;
        Ok(series)
    }
}

/// The changes of one signal of one vehicle, oldest first, of which a part at a time is in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    /// What is still to be read of the blocks: from the one time to before the other.
    left: Option<(OneSignal, Timestamp, Timestamp)>,
    part: VecDeque<Moment>,
    /// What comes after the blocks.
    loose: VecDeque<Moment>,
}

impl Series {
    /// Reads on if nothing is left in memory.
    fn fill(&mut self, past: &Past<'_>) -> Result<(), StoreError> {
        if self.part.is_empty()
            && let Some((signal, since, until)) = self.left.take()
        {
            let found = past.snapshot.moments_in_blocks(&signal, (since, until), PART, &past.shared.gists)?;
            self.left = match found.last() {
                Some(last) if found.len() == PART => Some((signal, just_after(last.at), until)),
                _ => None,
            };
            self.part = found.into();
        }
        if self.part.is_empty() {
            self.part = take(&mut self.loose);
        }
        Ok(())
    }

    /// When the next change was.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.part.front().map(|moment| moment.at)
    }

    /// The next change.
    pub(super) fn next(&mut self, past: &Past<'_>) -> Result<Option<Moment>, StoreError> {
        let next = self.part.pop_front();
        self.fill(past)?;
        Ok(next)
    }
}

fn just_after(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis() + 1)
}

/// How many changes of each signal are in memory at most.
const PART: usize = 4_096;

//! How signals of one vehicle went: one after another, a part at a time in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::{HistoryQuery, Shared, Vehicles, VehiclesError};
use crate::model::reach::Reach;
use crate::model::{Timestamp, VehicleId};
use crate::store::moments::{LooseMoments, Moment, SignalRange};
use crate::store::vehicle_data::HistoryRange;

/// The past of one vehicle, and what follows from it. It is as it was when this was made, or newer.
#[derive(Debug)]
pub struct Past {
    pub(super) shared: Arc<Shared>,
    pub(super) row: u32,
    loose: LooseMoments,
    /// Short ones that were asked for, for those who ask for the same.
    heard: Mutex<HashMap<Asked, Series>>,
}

/// Code, first and last time.
type Asked = (String, Option<Timestamp>, Option<Timestamp>);

impl Vehicles {
    /// The past of a vehicle.
    pub async fn past(&self, reach: &Reach, id: &VehicleId) -> Result<Past, VehiclesError> {
        let (row, _) = self.within(reach, id).await?;
        let loose = self.shared.store.read(move |snapshot| snapshot.loose_moments(row)).await?;
        Ok(Past { shared: self.shared.clone(), row, loose, heard: Mutex::default() })
    }
}

impl Past {
    /// A signal within a range; nothing if no vehicle ever told it.
    pub(super) async fn series(&self, code: &str, query: &HistoryQuery) -> Result<Series, VehiclesError> {
        Ok(self.series_of(self.signal(code).await?, query))
    }

    async fn signal(&self, code: &str) -> Result<Option<u32>, VehiclesError> {
        let code = code.to_owned();
        Ok(self.shared.store.read(move |snapshot| snapshot.signal_row(&code)).await?)
    }

    fn series_of(&self, signal: Option<u32>, query: &HistoryQuery) -> Series {
        let HistoryRange { since, until, .. } = self.shared.range(self.row, query, PART);
        let range = signal.map(|signal| SignalRange { vehicle: self.row, signal, since, until });
        let loose = signal.into_iter().flat_map(|signal| self.loose.of(signal));
        let loose = loose.filter(|moment| since <= moment.at && moment.at < until).cloned().collect();
        Series { range, part: VecDeque::new(), loose, last: None }
    }

    /// The same, and what held at the beginning of the range.
    pub(super) async fn series_and_before(&self, code: &str, query: &HistoryQuery) -> Result<Series, VehiclesError> {
        let asked = (code.to_owned(), query.since, query.until);
        let heard = || self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = heard().get(&asked) {
            return Ok(series.clone());
        }
        let mut series = self.with_before(code, query).await?;
        series.peek(&self.shared).await?;
        if series.range.is_none() {
            heard().insert(asked, series.clone());
        }
        Ok(series)
    }

    async fn with_before(&self, code: &str, query: &HistoryQuery) -> Result<Series, VehiclesError> {
        let Some(signal) = self.signal(code).await? else { return Ok(self.series_of(None, query)) };
        let (row, since) = (self.row, query.since.unwrap_or_default());
        // What is loose is later than what is in blocks.
        let before = match self.loose.of(signal).take_while(|moment| moment.at < since).last() {
            Some(before) => Some(before.at),
            None => self.shared.store.read(move |snapshot| snapshot.moment_before(row, signal, since)).await?,
        };
        Ok(self.series_of(Some(signal), &HistoryQuery { since: before.or(query.since), ..query.clone() }))
    }
}

/// The changes of one signal of one vehicle, oldest first, of which a part at a time is in memory.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// What is still to be read of the blocks.
    range: Option<SignalRange>,
    part: VecDeque<Moment>,
    /// What comes after the blocks. They may have taken it up since it was read.
    loose: VecDeque<Moment>,
    last: Option<Timestamp>,
}

impl Series {
    /// When the next change was.
    pub(super) async fn peek(&mut self, shared: &Shared) -> Result<Option<Timestamp>, VehiclesError> {
        if self.part.is_empty()
            && let Some(range) = self.range
        {
            let found = shared.store.read(move |snapshot| snapshot.moments_in_blocks(range, PART)).await?;
            self.range = match found.last() {
                Some(last) if found.len() == PART => Some(SignalRange { since: just_after(last.at), ..range }),
                _ => None,
            };
            self.part = found.into();
        }
        if self.part.is_empty() {
            self.part.extend(self.loose.drain(..).filter(|moment| self.last.is_none_or(|last| last < moment.at)));
        }
        Ok(self.part.front().map(|moment| moment.at))
    }

    pub(super) async fn next(&mut self, shared: &Shared) -> Result<Option<Moment>, VehiclesError> {
        self.peek(shared).await?;
        let next = self.part.pop_front();
        self.last = next.as_ref().map(|moment| moment.at).or(self.last);
        Ok(next)
    }
}

fn just_after(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis() + 1)
}

/// How many changes of each signal are read at once.
const PART: usize = 512;

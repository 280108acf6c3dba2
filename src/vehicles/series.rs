//! How signals of one vehicle went: one after another, a part at a time in memory.

use std::collections::{HashMap, VecDeque};
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};

use super::{HistoryQuery, Shared, Vehicles, VehiclesError};
use crate::model::reach::Reach;
use crate::model::{Timestamp, VehicleId};
use crate::store::gists::Gists;
use crate::store::moments::{LooseMoments, Moment, OneSignal};
use crate::store::{Snapshot, StoreError};

/// The past of one vehicle, and what follows from it. It is as it was when this was made, or newer.
#[derive(Debug)]
pub struct Past {
    pub(super) shared: Arc<Shared>,
    pub(super) row: u32,
    loose: Arc<LooseMoments>,
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
        Ok(Past { shared: self.shared.clone(), row, loose: Arc::new(loose), heard: Mutex::default() })
    }
}

impl Past {
    /// A signal within a range; nothing if no vehicle ever told it.
    pub(super) async fn series(&self, code: &str, query: &HistoryQuery) -> Result<Series, VehiclesError> {
        self.begun(code, query, |_, _, _, since| Ok(since)).await
    }

    /// The same, and what held at the beginning of the range.
    pub(super) async fn series_and_before(&self, code: &str, query: &HistoryQuery) -> Result<Series, VehiclesError> {
        let asked = (code.to_owned(), query.since, query.until);
        let heard = || self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = heard().get(&asked) {
            return Ok(series.clone());
        }
        let series = self.begun(code, query, |snapshot, signal, (loose, gists), since| {
            // What is loose is later than what is in blocks.
            let before = match loose.before(signal, since) {
                None => snapshot.moment_before(signal, since, gists)?,
                before => before,
            };
            Ok(before.unwrap_or(since))
        });
        let series = series.await?;
        if series.left.is_none() {
            heard().insert(asked, series.clone());
        }
        Ok(series)
    }

    /// A signal from the time on that `begins` tells, with the first part read.
    async fn begun(&self, code: &str, query: &HistoryQuery, begins: Begins) -> Result<Series, VehiclesError> {
        let range = self.shared.range(self.row, query, PART);
        let (vehicle, since, until) = (self.row, range.since, range.until);
        let (code, loose, gists) = (code.to_owned(), self.loose.clone(), self.shared.gists.clone());
        let series = self.shared.store.read(move |snapshot| {
            let Some(row) = snapshot.signal_row(&code)? else { return Ok(Series::default()) };
            let signal = OneSignal { vehicle, signal: row, code: code.into() };
            let since = begins(snapshot, &signal, (&loose, &gists), since)?;
            let loose = loose.of(&signal).filter(|moment| since <= moment.at && moment.at < until).collect();
            let series = Series { left: Some((signal, since, until)), loose, ..Series::default() };
            series.read_on(snapshot, &gists)
        });
        Ok(series.await?)
    }
}

/// From when on a signal is read.
type Begins = fn(&Snapshot<'_>, &OneSignal, (&LooseMoments, &Gists), Timestamp) -> Result<Timestamp, StoreError>;

/// The changes of one signal of one vehicle, oldest first, of which a part at a time is in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    /// What is still to be read of the blocks: from the one time to before the other.
    left: Option<(OneSignal, Timestamp, Timestamp)>,
    part: VecDeque<Moment>,
    /// What comes after the blocks. They may have taken it up since it was read.
    loose: VecDeque<Moment>,
    last: Option<Timestamp>,
}

impl Series {
    /// Reads on if nothing is left in memory; `false` if there is no more.
    pub(super) async fn fill(&mut self, shared: &Shared) -> Result<bool, VehiclesError> {
        if self.is_unread() {
            let (series, gists) = (take(self), shared.gists.clone());
            *self = shared.store.read(move |snapshot| series.read_on(snapshot, &gists)).await?;
        }
        Ok(!self.part.is_empty())
    }

    fn read_on(mut self, snapshot: &Snapshot<'_>, gists: &Gists) -> Result<Series, StoreError> {
        if let Some((signal, since, until)) = self.left.take() {
            let found = snapshot.moments_in_blocks(&signal, (since, until), PART, gists)?;
            self.left = match found.last() {
                Some(last) if found.len() == PART => Some((signal, just_after(last.at), until)),
                _ => None,
            };
            self.part = found.into();
        }
        if self.part.is_empty() {
            self.part = take(&mut self.loose);
            self.part.retain(|moment| self.last.is_none_or(|last| last < moment.at));
        }
        Ok(self)
    }

    /// Whether what comes next is still to be read.
    pub(super) fn is_unread(&self) -> bool {
        self.part.is_empty() && (self.left.is_some() || !self.loose.is_empty())
    }

    /// When the next change was that is in memory.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.part.front().map(|moment| moment.at)
    }

    /// The next change that is in memory.
    pub(super) fn next(&mut self) -> Option<Moment> {
        let next = self.part.pop_front();
        self.last = next.as_ref().map(|moment| moment.at).or(self.last);
        next
    }
}

fn just_after(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis() + 1)
}

/// How many changes of each signal are read at once.
const PART: usize = 4_096;

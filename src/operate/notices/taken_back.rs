//! Cars of several whose owner has taken the access to them back, and to no other car of the account.

use super::{SLICE, Shared};
use crate::model::notice::{Notice, Subject};
use crate::store::{Snapshot, StoreError};

impl Shared {
    /// A notice for each.
    pub(super) async fn taken_back(&self) -> Result<Vec<Notice>, StoreError> {
        let (mut notices, mut after) = (Vec::new(), 0);
        loop {
            let look = move |snapshot: &Snapshot<'_>| {
                let vehicles = snapshot.vehicles(after, SLICE)?;
                let last = vehicles.last().filter(|_| vehicles.len() == SLICE).map(|(row, _)| *row);
                let mut found = Vec::new();
                for (row, vehicle) in vehicles {
                    if let Some(since) = snapshot.taken_back(row, &vehicle)? {
                        found.push(Notice { subject: Subject::TakenBack(row), since, reason: None, ends_at: None, days: None });
                    }
                }
                Ok((found, last))
            };
            let (found, last) = self.store.read(look).await?;
            notices.extend(found);
            match last {
                Some(last) => after = last,
                None => return Ok(notices),
            }
        }
    }
}

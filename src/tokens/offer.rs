//! A token set that exists in memory alone, until the disk has it.

use std::time::Duration;

use tokio::time::Instant;

use super::{Shared, Trouble, locked};
use crate::model::ConnectionId;
use crate::store::{Change, StoreError};

/// How often a new set is offered to a disk that refuses it when Carport stops, a second apart. Until
/// then there is no end to it.
const LAST_OFFERS: u32 = 30;

/// Offers a change that must not be lost to the disk, for as long as it refuses and Carport runs.
pub(super) async fn offer<C: Change + Clone>(
    shared: &Shared,
    connection: ConnectionId,
    change: C,
) -> Result<C::Outcome, StoreError> {
    let (mut offers, mut last_offers) = (0_u32, 0);
    loop {
        let error = match shared.store.commit(change.clone()).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        if offers.is_multiple_of(60) {
            tracing::error!(connection.id = %connection, %error, "a new token set cannot be written; it is kept in memory");
        }
        offers = offers.saturating_add(1);
        last_offers += u32::from(shared.closing.is_cancelled());
        if last_offers > LAST_OFFERS {
            return Err(error);
        }
        let what = Some("a new token set waits for the disk".to_owned());
        let trouble = Trouble { tries: 0, not_before: Instant::now() + Duration::from_secs(2), what };
        locked(&shared.troubles).insert(connection, trouble);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

//! From format 3, which sealed event ids.

use super::super::event_ids;
use super::super::roll::EVENT_IDS_1;
use super::super::tables::{ALL, Rows, Typed};
use super::super::{StoreError, Tables};

/// Keeps them in clear, each row under a seal as before. What does not open was passed over before, too.
pub(super) fn bring_up(tables: &mut Tables<'_>) -> Result<(), StoreError> {
    for key in tables.keys(EVENT_IDS_1, ALL, usize::MAX)? {
        let sealed = tables.raw(EVENT_IDS_1, &key)?.unwrap_or_default();
        if let Ok(plain) = tables.open(EVENT_IDS_1, &key, &[], &sealed) {
            event_ids::put(tables, &key, &plain)?;
        } else {
            tracing::error!(table = EVENT_IDS_1, "a row is damaged and was left behind: redeliveries may count as new");
        }
        tables.remove_raw(EVENT_IDS_1, &key)?;
    }
    Ok(())
}

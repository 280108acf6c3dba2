//! Settings made on the set-up page.

use serde::{Deserialize, Serialize};

use super::tables::{META, Typed};
use super::{Change, Snapshot, StoreError, Tables};
use crate::model::Blob;

/// A setting, as it is written: its key and its text.
pub type KeptSetting = (String, Blob);

/// Keeps settings in the place of all that were made before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeepSettings {
    /// All there are.
    pub settings: Vec<KeptSetting>,
}

impl Change for KeepSettings {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        tables.put_value(META, SETTINGS, &self.settings)
    }
}

impl Snapshot<'_> {
    /// The settings that were kept last.
    pub fn settings(&self) -> Result<Vec<KeptSetting>, StoreError> {
        Ok(self.value(META, SETTINGS)?.unwrap_or_default())
    }
}

const SETTINGS: &str = "settings";

//! Commands that were given to cars, and how they ended.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::audit::NoteAudit;
use super::tables::{ALL, Record, Typed, under};
use super::{Change, Snapshot, StoreError, Tables};
use crate::model::command::{CommandRecord, Ended};

impl Record for CommandRecord {
    const TABLE: &'static str = "commands-1";
    const IS_SECRET: bool = false;
}

/// How many commands of a vehicle are remembered.
const LAST: usize = 50;

/// A command is about to be sent: whatever happens then, it is not forgotten.
#[derive(Debug, Serialize, Deserialize)]
pub struct BeginCommand {
    /// The row of the vehicle.
    pub vehicle: u32,
    /// The command.
    pub command: CommandRecord,
}

impl Change for BeginCommand {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        tables.put((self.vehicle, self.command.id), &self.command)?;
        let kept = tables.keys(CommandRecord::TABLE, under(&self.vehicle.to_be_bytes()), usize::MAX)?;
        for key in &kept[..kept.len().saturating_sub(LAST)] {
            tables.remove_raw(CommandRecord::TABLE, key)?;
        }
        Ok(())
    }
}

/// A command has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndCommand {
    /// The row of the vehicle.
    pub vehicle: u32,
    /// The command.
    pub id: Uuid,
    /// How.
    pub ended: Ended,
    /// What the audit log says of it, if the answer to the request did not.
    pub note: Option<NoteAudit>,
}

impl Change for EndCommand {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        // One of a car that was erased meanwhile is gone, one that has ended stays as it ended.
        let command = tables.get_sound::<CommandRecord>((self.vehicle, self.id))?;
        let Some(command) = command.filter(|command| command.ended.is_none()) else { return Ok(()) };
        tables.put((self.vehicle, self.id), &CommandRecord { ended: Some(self.ended.clone()), ..command })?;
        self.note.as_ref().map_or(Ok(()), |note| note.apply(tables).map(drop))
    }
}

/// A vehicle is erased.
pub(super) fn erase(tables: &mut Tables<'_>, vehicle: u32) -> Result<(), StoreError> {
    for key in tables.keys(CommandRecord::TABLE, under(&vehicle.to_be_bytes()), usize::MAX)? {
        tables.remove_raw(CommandRecord::TABLE, &key)?;
    }
    Ok(())
}

impl Snapshot<'_> {
    /// A command of a vehicle.
    pub fn command(&self, vehicle: u32, id: Uuid) -> Result<Option<CommandRecord>, StoreError> {
        self.get_sound((vehicle, id))
    }

    /// Commands that have not ended, with the rows of their vehicles.
    pub fn commands_under_way(&self) -> Result<Vec<(u32, CommandRecord)>, StoreError> {
        let all = self.list::<CommandRecord>(ALL, false, usize::MAX)?;
        let row = |key: Vec<u8>| key.first_chunk().map(|row| u32::from_be_bytes(*row));
        let open = all.into_iter().filter(|(_, command)| command.ended.is_none());
        Ok(open.filter_map(|(key, command)| Some((row(key)?, command))).collect())
    }
}

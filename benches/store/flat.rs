//! Reference: every batch sealed and appended to a flat file, with one flush. Nothing can be found in it.

use carport::vault::{Row, Vault};
use redb::StorageBackend;

use crate::disk::Disk;
use crate::queue::Queue;

pub(crate) fn start(disk: &Disk, vault: Vault) -> anyhow::Result<Queue> {
    let file = disk.file("flat")?;
    let mut end: u64 = 0;
    Ok(Queue::start(move |batch| {
        let mut plain = Vec::new();
        for (event, _) in batch {
            plain.extend_from_slice(event.id.as_bytes());
            plain.extend_from_slice(&u32::try_from(event.body.len())?.to_be_bytes());
            plain.extend_from_slice(&event.body);
        }
        let sealed = vault.seal(Row { table: "flat", key: &end.to_be_bytes(), context: &[] }, &plain);
        let length = u32::try_from(sealed.len())?.to_be_bytes();
        file.write(end, &[&length[..], &sealed].concat())?;
        file.sync_data()?;
        end += (length.len() + sealed.len()) as u64;
        Ok(())
    }))
}

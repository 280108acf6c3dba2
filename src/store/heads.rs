//! Other heads for tables whose own does not lead to their rows.
//!
//! redb finds everything from the first 320 bytes of its file: what kind of file it is, how it is laid out, and a slot
//! for each of the last two commits with the root of its tables and a checksum (`docs/design.md` of redb). One bit
//! there hides every row, though all of them are whole. What is the same in all files of ours can be put right, and
//! either slot can be tried: the commit before the last is often whole, too. Closing cuts free pages off the end of the
//! file, which that commit still counts: it is shown a longer file, or redb would stop at the first page too many.

use std::io;

use redb::StorageBackend;

use super::look::Look;

/// A head that takes one of the two slots for the newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head(u8);

impl Head {
    pub(super) const OTHERS: [Head; 2] = [Head(0), Head(1)];

    /// Gives it to a file that is only looked at.
    pub(super) fn put(self, look: &Look) -> io::Result<()> {
        look.write(0, &KIND)?;
        look.write(STATE, &[LAYOUT_IS_UNKNOWN | TWO_PHASE | self.0])?;
        look.write(LAYOUT, &SIZES)?;
        SLOTS.into_iter().try_for_each(|slot| look.write(slot, &SLOT))?;
        look.set_len(PAGE + look.len()?.saturating_sub(PAGE).next_multiple_of(REGION))
    }
}

/// The name of the format.
const KIND: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// Where the number of the newer slot stands, and how the file was left.
const STATE: u64 = 9;
/// redb tells the layout from the length of the file.
const LAYOUT_IS_UNKNOWN: u8 = 2;
/// All our checkpoints are two-phase, so that a slot with a right checksum leads to what was written before it.
const TWO_PHASE: u8 = 4;

/// Where the sizes of the layout stand: of a page, of a region's head and of a region, in pages.
const LAYOUT: u64 = 12;
const SIZES: [u8; 12] = [0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0];

/// How much of a file the first page, the head's, and a region of the layout take, in bytes.
const PAGE: u64 = 4096;
const REGION: u64 = PAGE << 20;

/// Where the slots begin, each with the version of the format, and that there are tables, ours and redb's own.
const SLOTS: [u64; 2] = [64, 192];
const SLOT: [u8; 8] = [3, 1, 1, 0, 0, 0, 0, 0];

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn new_files_have_it() {
        let path = std::env::temp_dir().join(format!("carport-head-{}", std::process::id()));
        let database = redb::Database::create(&path).unwrap();
        // The second commit fills the other slot.
        for _ in 0..2 {
            let transaction = database.begin_write().unwrap();
            transaction.open_table(redb::TableDefinition::<u8, u8>::new("ours")).unwrap().insert(1, 2).unwrap();
            transaction.commit().unwrap();
        }
        drop(database);
        let file = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let at = |offset: u64, length: usize| &file[usize::try_from(offset).unwrap()..][..length];
        assert_eq!(at(0, KIND.len()), KIND);
        assert_eq!(at(LAYOUT, SIZES.len()), SIZES);
        assert_eq!(at(STATE, 1)[0] & !(LAYOUT_IS_UNKNOWN | TWO_PHASE | 1), 0);
        assert!(SLOTS.into_iter().all(|slot| at(slot, SLOT.len()) == SLOT));
    }
}

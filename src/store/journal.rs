//! The journal: what makes a change durable before the tables are.
//!
//! A generation begins at a checkpoint with a copy of the small tables, and then holds every change, in
//! the order of their application. Two files are used in turn, so that the generation before the last
//! checkpoint is still there should the checkpoint turn out not to be.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::blocks::{BLOCK, BlockFile, End, FORMAT, Found, Header};
use super::database::disk;
use super::files::{Files, Part};
use super::packing::{as_it_is, pack, unpack};
use super::tables::from_cbor;
use crate::model::{Blob, Seq};
use crate::vault::Vault;

/// Something that is written to the journal as a whole.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Frame {
    /// The beginning of a generation: how many blocks the one before it has.
    Begin { blocks_before: u64 },
    /// A part of the copy of the small tables.
    Copy { rows: Vec<RowCopy>, is_last: bool },
    /// Changes, and the newest entry of the log before them: what is lost keeps its place there.
    Changes { after: Seq, changes: Vec<Record> },
}

impl Frame {
    /// A frame may be large, so no copy of it lasts longer than it must, and none has more room than it needs.
    fn packed(&self) -> Vec<u8> {
        let length = match self {
            Frame::Begin { .. } => 0,
            Frame::Copy { rows, .. } => rows.iter().map(|row| row.0.len() + row.1.0.len() + row.2.0.len() + AROUND).sum(),
            Frame::Changes { changes, .. } => changes.iter().map(|change| change.0.len() + change.1.0.len() + AROUND).sum(),
        };
        let mut plain = Vec::with_capacity(length + 64);
        ciborium::into_writer(self, &mut plain).expect("frames are serialisable and memory does not fail");
        if self.is_short_already() { as_it_is(&plain) } else { pack(&plain) }
    }

    /// Whether packing gains nothing: sealed rows get no shorter, and what was packed by itself hardly.
    fn is_short_already(&self) -> bool {
        let Frame::Changes { changes, .. } = self else { return matches!(self, Frame::Copy { .. }) };
        let all: usize = changes.iter().map(|change| change.1.0.len()).sum();
        let packed: usize = changes.iter().filter(|change| change.2).map(|change| change.1.0.len()).sum();
        packed > all / 8 * 7
    }
}

/// What CBOR needs around the parts of a record or a row.
const AROUND: usize = 24;

/// A change as it is journalled: its name, itself as CBOR, and, for as long as it is in memory, whether most of that is
/// packed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record(pub(super) String, pub(super) Blob, #[serde(skip)] pub(super) bool);

/// A row as it lies in its table, sealed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RowCopy(pub(super) String, pub(super) Blob, pub(super) Blob);

/// How many bytes of rows go into one frame.
const COPIED_AT_ONCE: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Journal {
    files: [BlockFile; 2],
    /// The newest generation that each file held when it was opened.
    held: [Option<u64>; 2],
    generation: u64,
    next: u64,
}

/// What comes of reading a generation.
pub(super) enum Entry {
    /// A generation begins; so many blocks of the one before it were written.
    Begin { blocks_before: u64 },
    /// The copy of the small tables.
    Copy(Vec<RowCopy>),
    /// Changes that became durable at once, after an entry of the log.
    Changes(Seq, Vec<Record>),
    /// Something is missing here.
    Gap,
}

impl Journal {
    /// Opens both files, and makes them if they are missing. Refuses, before anything is written, a
    /// journal under another key or of a newer format.
    pub(super) fn open(files: &dyn Files, vault: &Vault) -> Result<Journal, StoreError> {
        let open = |part| -> Result<BlockFile, StoreError> {
            let file = files.open(part).map_err(|error| not_opened(&error))?;
            BlockFile::new(file, vault.clone()).map_err(|error| disk(&error))
        };
        let files = [open(Part::JournalA)?, open(Part::JournalB)?];
        refuse_strangers(&files, vault)?;
        let newest = |file: &BlockFile| file.newest_generation().map_err(|error| disk(&error));
        let held = [newest(&files[0])?, newest(&files[1])?];
        Ok(Journal { files, held, generation: 0, next: 0 })
    }

    /// Whether nothing was ever written to either file.
    pub(super) fn is_blank(&self) -> Result<bool, StoreError> {
        let is_blank = |file: &BlockFile| file.is_blank().map_err(|error| disk(&error));
        Ok(is_blank(&self.files[0])? && is_blank(&self.files[1])?)
    }

    /// The generations that the files hold, oldest first.
    pub(super) fn generations(&self) -> Vec<u64> {
        let mut generations: Vec<u64> = self.held.iter().flatten().copied().collect();
        generations.sort_unstable();
        generations
    }

    /// Whether it is of a time before a generation begins. It may end with the one before that, if the power failed then.
    pub(super) fn is_older_than(&self, generation: u64) -> bool {
        self.generations().last().is_none_or(|newest| newest + 1 < generation)
    }

    /// Visits what a generation holds, in order. A copy that is not whole is passed over.
    pub(super) fn read(
        &self,
        generation: u64,
        mut visit: impl FnMut(Entry) -> Result<(), StoreError>,
    ) -> Result<End, StoreError> {
        let mut copy = Vec::new();
        let mut copy_is_whole = true;
        self.file(generation).read(generation, |found| {
            let frame = match found {
                Found::Frame(bytes) => unpack(&bytes).and_then(|frame| from_cbor::<Frame>(&frame)),
                Found::Gap => None,
            };
            match frame {
                Some(Frame::Begin { blocks_before }) => visit(Entry::Begin { blocks_before }),
                Some(Frame::Copy { rows, is_last }) => {
                    copy.extend(rows);
                    if is_last && copy_is_whole { visit(Entry::Copy(std::mem::take(&mut copy))) } else { Ok(()) }
                }
                Some(Frame::Changes { after, changes }) => visit(Entry::Changes(after, changes)),
                None => {
                    copy_is_whole = false;
                    visit(Entry::Gap)
                }
            }
        })
    }

    /// How many blocks a generation has that holds its copy and nothing else.
    pub(super) fn copy_alone(&self, generation: u64) -> Result<Option<u64>, StoreError> {
        let (mut copies, mut others) = (0, 0);
        let end = self.read(generation, |entry| {
            match entry {
                Entry::Begin { .. } => {}
                Entry::Copy(_) => copies += 1,
                _ => others += 1,
            }
            Ok(())
        })?;
        Ok((copies == 1 && others == 0 && !end.unfinished).then_some(end.blocks))
    }

    /// Takes note where the last generation ends.
    pub(super) fn stand_at(&mut self, generation: u64, blocks: u64) {
        (self.generation, self.next) = (generation, blocks);
    }

    /// Begins a generation: from now on, changes go there; in an `empty` file, if nothing older may stay.
    /// Returns how many bytes the copy takes.
    pub(super) fn begin(
        &mut self,
        generation: u64,
        empty: bool,
        tables: impl IntoIterator<Item = Result<RowCopy, StoreError>>,
    ) -> Result<u64, StoreError> {
        // None if the last generation is not the one before.
        let blocks_before = if generation == self.generation + 1 { self.next } else { 0 };
        (self.generation, self.next) = (generation, 0);
        if empty {
            self.file_mut(generation).clear().map_err(|error| disk(&error))?;
        }
        self.write(&Frame::Begin { blocks_before })?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        for row in tables {
            let row = row?;
            bytes += row.1.0.len() + row.2.0.len();
            rows.push(row);
            if bytes >= COPIED_AT_ONCE {
                self.write(&Frame::Copy { rows: std::mem::take(&mut rows), is_last: false })?;
                bytes = 0;
            }
        }
        self.write(&Frame::Copy { rows, is_last: true })?;
        // Now, and not with the first change: then only the last frame can be unfinished.
        self.file(generation).sync().map_err(|error| disk(&error))?;
        Ok(self.bytes())
    }

    /// Writes changes that need not be durable by themselves: the last of a generation.
    pub(super) fn note(&mut self, after: Seq, changes: Vec<Record>) -> Result<(), StoreError> {
        if changes.is_empty() { Ok(()) } else { self.write(&Frame::Changes { after, changes }) }
    }

    /// Writes changes and makes them durable: one flush.
    pub(super) fn append(&mut self, after: Seq, changes: Vec<Record>) -> Result<(), StoreError> {
        self.write(&Frame::Changes { after, changes })?;
        self.file(self.generation).sync().map_err(|error| disk(&error))
    }

    /// The present generation.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// How many bytes the present generation takes.
    pub(super) fn bytes(&self) -> u64 {
        self.next * BLOCK as u64
    }

    fn write(&mut self, frame: &Frame) -> Result<(), StoreError> {
        let (generation, from) = (self.generation, self.next);
        let packed = frame.packed();
        self.next = self.file_mut(generation).write(generation, from, &packed).map_err(|error| disk(&error))?;
        Ok(())
    }

    fn file(&self, generation: u64) -> &BlockFile {
        &self.files[usize::from(generation % 2 == 1)]
    }

    fn file_mut(&mut self, generation: u64) -> &mut BlockFile {
        &mut self.files[usize::from(generation % 2 == 1)]
    }
}

/// Refuses a journal under another key or of a newer format. One block alone may be damaged: it does not make
/// a journal somebody else's.
fn refuse_strangers(files: &[BlockFile], vault: &Vault) -> Result<(), StoreError> {
    let mut seen: BTreeMap<_, (u64, Header)> = BTreeMap::new();
    for file in files {
        for header in file.headers().map_err(|error| disk(&error))? {
            seen.entry((header.format, *header.key.as_bytes())).or_insert((0, header)).0 += 1;
        }
    }
    let several = || seen.values().filter(|(blocks, _)| *blocks > 1).map(|(_, header)| header);
    if let Some(newer) = several().find(|header| header.format > FORMAT) {
        return Err(StoreError::Newer { found: newer.format.into(), known: FORMAT.into() });
    }
    let is_ours = seen.values().any(|(_, header)| vault.knows(header.key));
    match several().next() {
        Some(other) if !is_ours => Err(StoreError::WrongKey { store: other.key, given: vault.key_id() }),
        _ => Ok(()),
    }
}

/// Why a part could not be opened.
pub(super) fn not_opened(error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::ResourceBusy => StoreError::Locked,
        io::ErrorKind::Unsupported => StoreError::NoLocks,
        _ => StoreError::Unavailable(error.to_string()),
    }
}

//! Opening a store: the tables as of their last checkpoint, and the journal replayed over them.
//!
//! What an honest disk leaves after a power cut needs nothing else. When the tables are damaged, `rescue`
//! makes new ones of what can be read, and the journal is replayed over those. Whatever is missing
//! afterwards is a finding: nothing is lost in silence, and nothing is ever written over.

use std::collections::BTreeSet;

use redb::{Builder, DatabaseError, StorageError, WriteTransaction};

use super::StoreError;
use super::changes;
use super::checkpoint::{self, Checkpoint};
use super::database::{applied, disk, guarded};
use super::files::{self, Files, Part, Scissors};
use super::inspection::{Depth, LOOKED_AT_WHOLE, look};
use super::journal::{Entry, Journal, RowCopy};
use super::log_head::{self, Log};
use super::migrations;
use super::places::KEY;
use super::rescue;
use super::reseal;
use super::tables::{ALL, META, Places, Rows, SMALL, Tables, Typed};
use crate::vault::Vault;
use crate::world::World;

/// A file below this is not worth the wear of compacting it.
const WORTH_COMPACTING: u64 = 16 * 1024 * 1024;

/// What was found damaged or lost, in words for the operator.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings(Vec<String>);

impl Findings {
    pub(super) fn add(&mut self, finding: impl Into<String>) {
        let finding = finding.into();
        if !self.0.contains(&finding) && self.0.len() < 100 {
            tracing::error!("{finding}");
            self.0.push(finding);
        }
    }

    /// Takes over what was told before.
    pub(super) fn join(&mut self, others: Findings) {
        for finding in others.0 {
            if !self.0.contains(&finding) {
                self.0.push(finding);
            }
        }
    }

    pub(super) fn list(&self) -> Vec<String> {
        self.0.clone()
    }
}

/// A store that is open and up to date.
pub(super) struct Opened {
    pub(super) handle: Handle,
    pub(super) journal: Journal,
    pub(super) places: Places,
    pub(super) log: Log,
    /// The file was small enough to be looked at as a whole.
    pub(super) is_whole: bool,
}

/// What a rescue and every try to open work with.
pub(super) struct Site<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) cache: usize,
    pub(super) vault: &'a Vault,
    pub(super) world: &'a World,
}

/// Opens or makes a store.
pub(super) fn open(
    files: &dyn Files,
    cache: usize,
    vault: &Vault,
    world: &World,
    depth: Depth,
    findings: &mut Findings,
) -> Result<Opened, StoreError> {
    let site = Site { files, cache, vault, world };
    let is_there = |part| files.is_there(part).map_err(|error| disk(&error));
    let journals = [is_there(Part::JournalA)?, is_there(Part::JournalB)?];
    let journal_is_there = journals == [true; 2];
    let tables_are_there = is_there(Part::Tables)?;
    let mut looked = if depth != Depth::None && tables_are_there { look(&site, depth, findings) } else { Ok(()) };
    if depth == Depth::Everything
        && let Err(StoreError::Unavailable(error)) = looked
    {
        // Whoever wants a repair says that the disk will not get better by waiting.
        looked = Err(StoreError::NotAStore(error));
    }
    // One is enough to save the tables with, if somebody wants it: the other may be elsewhere. Without any, they may be
    // no store at all.
    let can_be_saved = journal_is_there || depth == Depth::Everything && journals.contains(&true);
    if !(is_damage(&looked) && can_be_saved) {
        looked.clone()?;
    }
    let journal = Journal::open(files, vault)?;
    if !tables_are_there {
        match journal.generations().is_empty() {
            false => rescue::rescue(&site, &journal, "missing", findings)?,
            true if journal.is_blank()? => migrations::create(&site)?,
            // Where a store was, none begins anew by itself.
            true => return Err(StoreError::NotAStore("its tables are missing, and its journal cannot be read".to_owned())),
        }
    }
    let tried = match looked {
        Ok(()) => guarded(|| attempt(&site, &journal, journal_is_there, depth, findings)),
        Err(error) => Err(error),
    };
    let (mut handle, places, mut log, next) = match tried {
        Err(error) if is_damage(&Err(error.clone())) && !journal.generations().is_empty() => {
            tracing::error!(%error, "the tables are damaged: saving what can be read");
            rescue::rescue(&site, &journal, "damaged", findings)?;
            attempt(&site, &journal, journal_is_there, depth, findings)?
        }
        tried => tried?,
    };
    if depth != Depth::None {
        guarded(|| compact(&mut handle, &places, &mut log, next.generation, findings))?;
    }
    begin(journal, handle, places, log, next)
}

/// Gives space back when more than half of a file is dead. Needs the database for itself, hence now.
fn compact(handle: &mut Handle, places: &Places, log: &mut Log, generation: u64, findings: &Findings) -> Result<(), StoreError> {
    // To know what is dead all that lives must be read: a large file is worth it only if little can live.
    let may_be_dead = handle.length < LOOKED_AT_WHOLE || log.bytes() < handle.length / 4;
    if handle.length < WORTH_COMPACTING || !may_be_dead {
        return Ok(());
    }
    let transaction = handle.tables.begin_write().map_err(|error| disk(&error))?;
    let stats = transaction.stats().map_err(|error| disk(&error))?;
    transaction.abort().map_err(|error| disk(&error))?;
    let live = stats.allocated_pages() * stats.page_size() as u64;
    if live * 2 < handle.length {
        tracing::info!(bytes = handle.length, live, "more than half of the store is dead: compacting");
        handle.tables.compact().map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let transaction = checkpoint::begin(&handle.tables)?;
        checkpoint::commit(transaction, places, log, Checkpoint { generation, is_clean: false, findings: findings.list() })?;
    }
    Ok(())
}

fn is_damage(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::NotAStore(_) | StoreError::Damaged { .. }))
}

/// Where the journal goes on.
struct Next {
    generation: u64,
    /// The generation before, or this one if it is begun, and how many blocks it has.
    after: (u64, u64),
}

fn attempt(
    site: &Site<'_>,
    journal: &Journal,
    journal_is_there: bool,
    depth: Depth,
    findings: &mut Findings,
) -> Result<(Handle, Places, Log, Next), StoreError> {
    let handle = open_tables(site, Part::Tables)?;
    let places = guarded(|| migrations::prepare(&handle.tables, site))?;
    let checkpoint = guarded(|| checkpoint::read(&handle.tables, &places))?;
    guarded(|| migrations::bring_up(&handle.tables, &places, &checkpoint))?;
    checkpoint.findings.iter().for_each(|finding| findings.add(finding));
    if !checkpoint.is_clean && !journal_is_there && !journal.generations().contains(&checkpoint.generation) {
        findings.add("a journal is missing: what was changed last before the store was stopped is lost");
    }
    let (log, next) = guarded(|| replay(&handle.tables, &places, journal, checkpoint, depth, findings))?;
    Ok((handle, places, log, next))
}

fn begin(mut journal: Journal, handle: Handle, places: Places, log: Log, next: Next) -> Result<Opened, StoreError> {
    journal.stand_at(next.after.0, next.after.1);
    // A store that was closed has begun it.
    if next.after.0 != next.generation {
        guarded(|| checkpoint::begin_generation(&handle.tables, &places, &mut journal, next.generation))?;
    }
    let is_whole = handle.length < LOOKED_AT_WHOLE;
    Ok(Opened { handle, journal, places, log, is_whole })
}

/// Tables that are open.
pub(super) struct Handle {
    pub(super) tables: redb::Database,
    pub(super) scissors: Scissors,
    /// How long their file was.
    pub(super) length: u64,
}

/// Opens tables; makes them if the file is new.
pub(super) fn open_tables(site: &Site<'_>, part: Part) -> Result<Handle, StoreError> {
    let file = site.files.open(part).map_err(|error| super::journal::not_opened(&error))?;
    let length = file.len().map_err(|error| disk(&error))?;
    let mut builder = Builder::new();
    builder.set_cache_size(site.cache);
    let (backend, scissors) = files::Tables::new(file);
    let tables = guarded(|| builder.create_with_backend(backend).map_err(not_opened))?;
    Ok(Handle { tables, scissors, length })
}

pub(super) fn not_opened(error: DatabaseError) -> StoreError {
    use std::io::ErrorKind;
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Locked,
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            StoreError::Unavailable(error.to_string())
        }
        other => StoreError::NotAStore(other.to_string()),
    }
}

/// A change of the journal, by generation and number.
type Place = (u64, usize);

/// Replays what the journal holds after the checkpoint, in one transaction that is a checkpoint itself. A
/// change that meets a damaged row is left out, as it was when it was made.
fn replay(
    tables: &redb::Database,
    places: &Places,
    journal: &Journal,
    checkpoint: Checkpoint,
    depth: Depth,
    findings: &mut Findings,
) -> Result<(Log, Next), StoreError> {
    let generations: Vec<u64> = journal.generations().into_iter().filter(|held| *held >= checkpoint.generation).collect();
    let mut log = load_log(tables, places)?;
    if let [begun] = generations[..]
        && begun == checkpoint.generation
        && let Some(blocks) = journal.copy_alone(begun)?
    {
        return Ok((log, Next { generation: begun, after: (begun, blocks) }));
    }
    let Some(newest) = generations.last().copied() else {
        let before = checkpoint.generation - 1;
        if !checkpoint.is_clean && journal.is_older_than(checkpoint.generation) {
            findings.add("the journal is older than the tables: what was changed last is lost; are they from two backups?");
        }
        let blocks = if journal.generations().contains(&before) { journal.read(before, |_| Ok(()))?.blocks } else { 0 };
        return Ok((log, Next { generation: checkpoint.generation, after: (before, blocks) }));
    };
    let mut left_out: BTreeSet<Place> = BTreeSet::new();
    loop {
        let transaction = checkpoint::begin(tables)?;
        let mut pass = Pass { places, journal, depth, left_out: &left_out, damaged: Vec::new(), seen: Vec::new() };
        match pass.run(&transaction, &mut log, &generations, checkpoint.generation) {
            Ok(blocks) => {
                pass.seen.into_iter().for_each(|finding| findings.add(finding));
                let checkpoint = Checkpoint { generation: newest + 1, is_clean: false, findings: findings.list() };
                checkpoint::commit(transaction, places, &mut log, checkpoint)?;
                return Ok((log, Next { generation: newest + 1, after: (newest, blocks) }));
            }
            Err(error) => {
                log.forget();
                if pass.damaged.is_empty() {
                    return Err(error);
                }
                left_out.extend(pass.damaged);
            }
        }
        log = load_log(tables, places)?;
    }
}

fn load_log(tables: &redb::Database, places: &Places) -> Result<Log, StoreError> {
    use redb::ReadableDatabase;
    let transaction = tables.begin_read().map_err(|error| disk(&error))?;
    Log::load(&super::Snapshot::new(&transaction, places))
}

/// One try to replay everything.
struct Pass<'a> {
    places: &'a Places,
    journal: &'a Journal,
    depth: Depth,
    left_out: &'a BTreeSet<Place>,
    /// The changes that met a damaged row: all that this try has found, for a next one costs as much as this one.
    damaged: Vec<Place>,
    seen: Vec<String>,
}

impl Pass<'_> {
    /// Returns how many blocks the newest generation has.
    fn run(&mut self, transaction: &WriteTransaction, log: &mut Log, generations: &[u64], first: u64) -> Result<u64, StoreError> {
        let mut is_missing = false;
        let (mut expected, mut blocks) = (first, None);
        for &generation in generations {
            if generation != expected {
                self.see("the changes between two checkpoints are missing from the journal");
                is_missing = true;
            }
            let (mut number, mut is_broken) = (0, false);
            let (journal, before) = (self.journal, blocks);
            let end = journal.read(generation, |entry| match entry {
                Entry::Begin { blocks_before } => {
                    if before.is_some_and(|before| blocks_before > before) {
                        self.see("the end of a generation of the journal is missing: changes are lost");
                        is_missing = true;
                    }
                    Ok(())
                }
                Entry::Gap => {
                    is_broken = true;
                    Ok(())
                }
                Entry::Copy(rows) if is_missing => {
                    self.see("the small tables are taken from their copy in the journal");
                    is_missing = false;
                    applied(transaction, self.places, log, |tables| {
                        put_copy(tables, rows)?;
                        migrations::bring_up_rows(tables)
                    })
                }
                Entry::Copy(_) => Ok(()),
                Entry::Changes(after, records) => {
                    // What is missing before a whole frame of changes was durable once.
                    if std::mem::take(&mut is_broken) {
                        self.see("a part of the journal does not open: changes are lost");
                        is_missing = true;
                    }
                    applied(transaction, self.places, log, |tables| {
                        log_head::end_at(tables, after)?;
                        for record in &records {
                            number += 1;
                            if self.left_out.contains(&(generation, number)) {
                                continue;
                            }
                            match changes::replay(record, tables) {
                                Some(Ok(())) => {}
                                Some(Err(StoreError::Damaged { .. })) => self.damaged.push((generation, number)),
                                Some(Err(error)) => return Err(error),
                                None => self.see("the journal holds a change that this carport does not know"),
                            }
                        }
                        Ok(())
                    })
                }
            })?;
            // While it runs, a store knows why: the disk has just refused.
            if (end.unfinished || is_broken) && self.depth != Depth::None {
                self.see(
                    "the end of the journal holds an unfinished record: it was being written when the power failed, \
                     or the disk has damaged it",
                );
            }
            (expected, blocks) = (generation + 1, Some(end.blocks));
        }
        if !self.damaged.is_empty() {
            // What they have half done is taken back with the transaction.
            return Err(StoreError::Damaged { table: META });
        }
        Ok(blocks.unwrap_or(0))
    }

    fn see(&mut self, finding: &str) {
        self.seen.push(finding.to_owned());
    }
}

/// Puts the copy of the small tables in their place.
fn put_copy(tables: &mut Tables<'_>, rows: Vec<RowCopy>) -> Result<(), StoreError> {
    put_small_rows(tables, rows)?;
    log_head::mend(tables)
}

/// The same; the head of the log is still that of the copy.
pub(super) fn put_small_rows(tables: &mut Tables<'_>, rows: Vec<RowCopy>) -> Result<(), StoreError> {
    for table in SMALL {
        for key in tables.keys(table, ALL, usize::MAX)? {
            tables.remove_raw(table, &key)?;
        }
    }
    for RowCopy(table, key, value) in rows {
        if table == META && key.0 == KEY {
            // The copy may be of another time than the tables.
            reseal::follow(&value.0, &tables.places().vault);
        }
        if let Some(table) = SMALL.iter().find(|small| **small == table)
            && tables.places().is_sound(table, &key.0, &value.0)
        {
            tables.put_raw(table, &key.0, &value.0)?;
        }
    }
    Ok(())
}

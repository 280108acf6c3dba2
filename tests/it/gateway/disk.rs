//! A disk in memory that can fail at any call.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use carport::store::{Files, Part};
use redb::StorageBackend;

/// What goes wrong with the calls to come, counted from 1. Reads count only when they are to fail too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This write, and no other.
    Write(u64),
    /// All writes from this one on.
    WritesFrom(u64),
    /// This call, be it a read or a write, and no other.
    Call(u64),
    /// All calls from this one on.
    CallsFrom(u64),
}

/// A disk. Clones are handles on the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    parts: BTreeMap<Part, Vec<u8>>,
    /// What stood where something was written since the last flush of a part.
    unflushed: BTreeMap<Part, Vec<(usize, Vec<u8>)>>,
    /// Tables that were replaced.
    kept: BTreeMap<String, Vec<u8>>,
    fault: Option<Fault>,
    /// How many bytes are left; nobody can tell until it is said.
    free: Option<u64>,
    calls: u64,
    refused: u64,
}

impl Disk {
    /// From now on, this goes wrong.
    pub(crate) fn break_at(&self, fault: Fault) {
        let mut state = self.state();
        (state.fault, state.calls, state.refused) = (Some(fault), 0, 0);
    }

    /// From now on, so much is left.
    pub(crate) fn leave(&self, free: u64) {
        self.state().free = Some(free);
    }

    /// Nothing goes wrong any more; returns how many calls were refused.
    pub(crate) fn mend(&self) -> u64 {
        let mut state = self.state();
        state.fault = None;
        std::mem::take(&mut state.refused)
    }

    /// Another disk with the same bytes on it, in good order.
    pub(crate) fn copy(&self) -> Disk {
        let state = self.state();
        let (parts, kept) = (state.parts.clone(), state.kept.clone());
        Disk(Arc::new(Mutex::new(State { parts, kept, ..State::default() })))
    }

    /// Another disk with what is left when the power fails: of each file, all that was flushed and the first of
    /// what was not, `keep` deciding by the number of those writes.
    pub(crate) fn without_power(&self, mut keep: impl FnMut(usize) -> usize) -> Disk {
        let copy = self.copy();
        let (mut state, before) = (copy.state(), self.state());
        for (part, writes) in &before.unflushed {
            let kept = keep(writes.len());
            let Some(bytes) = state.parts.get_mut(part) else { continue };
            for (offset, old) in writes.iter().skip(kept).rev() {
                if let Some(place) = bytes.get_mut(*offset..offset + old.len()) {
                    place.copy_from_slice(old);
                }
            }
        }
        drop(state);
        copy
    }

    /// Whether a call was refused since it was told to.
    pub(crate) fn has_refused(&self) -> bool {
        self.state().refused > 0
    }

    /// A disk with nothing but these tables on it.
    pub(crate) fn of(tables: Vec<u8>) -> Disk {
        Disk(Arc::new(Mutex::new(State { parts: [(Part::Tables, tables)].into(), ..State::default() })))
    }

    /// All that is on it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let state = self.state();
        state.parts.values().chain(state.kept.values()).flatten().copied().collect()
    }

    /// A file of it.
    pub(crate) fn backend(&self, part: Part) -> OnDisk {
        self.state().parts.entry(part).or_default();
        OnDisk { disk: self.clone(), part }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn call(&self, write: bool) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        let (only_writes, from, lasting) = match state.fault {
            None => return Ok(state),
            Some(Fault::Write(n)) => (true, n, false),
            Some(Fault::WritesFrom(n)) => (true, n, true),
            Some(Fault::Call(n)) => (false, n, false),
            Some(Fault::CallsFrom(n)) => (false, n, true),
        };
        if only_writes && !write {
            return Ok(state);
        }
        state.calls += 1;
        if state.calls == from || (lasting && state.calls > from) {
            state.refused += 1;
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the disk of the story refuses"));
        }
        Ok(state)
    }
}

impl Files for Disk {
    fn is_there(&self, part: Part) -> io::Result<bool> {
        Ok(self.call(false)?.parts.contains_key(&part))
    }

    fn open(&self, part: Part) -> io::Result<Box<dyn StorageBackend>> {
        drop(self.call(false)?);
        Ok(Box::new(self.backend(part)))
    }

    fn remove_rescue(&self) -> io::Result<()> {
        self.call(true)?.parts.remove(&Part::Rescue);
        Ok(())
    }

    fn replace_tables(&self, why: &str) -> io::Result<Option<String>> {
        let mut state = self.call(true)?;
        let new = state.parts.remove(&Part::Rescue).ok_or(io::ErrorKind::NotFound)?;
        let old = state.parts.insert(Part::Tables, new);
        Ok(old.map(|old| {
            let name = format!("{why}-{}", state.kept.len());
            state.kept.insert(name.clone(), old);
            name
        }))
    }

    fn bytes(&self, part: Part) -> u64 {
        self.state().parts.get(&part).map_or(0, Vec::len) as u64
    }

    fn free(&self) -> io::Result<Option<u64>> {
        Ok(self.state().free)
    }
}

/// A file of a disk.
#[derive(Debug)]
pub(crate) struct OnDisk {
    disk: Disk,
    part: Part,
}

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.call(false)?.parts.get(&self.part).map_or(0, Vec::len) as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.disk.call(false)?;
        let offset = usize::try_from(offset).unwrap();
        let from = state.parts.get(&self.part).and_then(|bytes| bytes.get(offset..offset + out.len()));
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.call(true)?.parts.entry(self.part).or_default().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.call(true)?.unflushed.remove(&self.part);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.disk.call(true)?;
        let offset = usize::try_from(offset).unwrap();
        let to = state.parts.get_mut(&self.part).and_then(|bytes| bytes.get_mut(offset..offset + data.len()));
        let to = to.ok_or(io::ErrorKind::UnexpectedEof)?;
        let before = to.to_vec();
        to.copy_from_slice(data);
        state.unflushed.entry(self.part).or_default().push((offset, before));
        Ok(())
    }
}

//! A look at a file that must not be changed: whatever redb writes to it stays in memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

const PAGE: u64 = 4096;

#[derive(Debug)]
pub(super) struct Look {
    file: Box<dyn StorageBackend>,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Look {
    pub(super) fn new(file: Box<dyn StorageBackend>) -> io::Result<Look> {
        let length = file.len()?;
        Ok(Look { file, written: Mutex::new(Written { length, pages: BTreeMap::new() }) })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page of the file; zeros where it has none.
    fn page(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut page = vec![0; 4096];
        let there = self.file.len()?.saturating_sub(number * PAGE).min(PAGE);
        self.file.read(number * PAGE, &mut page[..usize::try_from(there).unwrap_or(0)])?;
        Ok(page)
    }
}

impl StorageBackend for Look {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        if offset + out.len() as u64 > written.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, within, place) in pieces(offset, out.len()) {
            let out = &mut out[place.clone()];
            let from = number * PAGE + within as u64;
            match written.pages.get(&number) {
                Some(page) => out.copy_from_slice(&page[within..within + out.len()]),
                None if from + out.len() as u64 <= self.file.len()? => self.file.read(from, out)?,
                None => out.copy_from_slice(&self.page(number)?[within..within + out.len()]),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.written().length = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        for (number, within, place) in pieces(offset, data.len()) {
            let page = match written.pages.entry(number) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(self.page(number)?),
            };
            let data = &data[place];
            page[within..within + data.len()].copy_from_slice(data);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

/// The pages that a stretch touches: number, where in the page, and which part of the stretch.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = usize::try_from(at % PAGE).unwrap_or(0);
        let piece = (4096 - within).min(length - done);
        let place = done..done + piece;
        done += piece;
        (piece > 0).then_some((at / PAGE, within, place))
    })
}

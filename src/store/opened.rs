//! The tables that a transaction has opened, each once: to open one takes as long as a look into it.

use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use redb::{ReadOnlyTable, ReadTransaction, Table, TableError, WriteTransaction};

use super::StoreError;
use super::database::disk;
use super::tables::{Bytes, definition};

/// To look at.
pub(super) struct OpenedToRead<'a> {
    transaction: &'a ReadTransaction,
    tables: Chain<Option<ReadOnlyTable<Bytes, Bytes>>>,
}

impl<'a> OpenedToRead<'a> {
    pub(super) fn new(transaction: &'a ReadTransaction) -> OpenedToRead<'a> {
        OpenedToRead { transaction, tables: Chain::default() }
    }

    /// A table; `None` if nothing was ever put into it.
    pub(super) fn get(&self, name: &'static str) -> Result<Option<&ReadOnlyTable<Bytes, Bytes>>, StoreError> {
        let open = || match self.transaction.open_table(definition(name)) {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(disk(&error)),
        };
        Ok(self.tables.get_or_open(name, open)?.as_ref())
    }
}

/// To change.
pub(super) struct Opened<'a> {
    transaction: &'a WriteTransaction,
    tables: Chain<Table<'a, Bytes, Bytes>>,
}

impl<'a> Opened<'a> {
    pub(super) fn new(transaction: &'a WriteTransaction) -> Opened<'a> {
        Opened { transaction, tables: Chain::default() }
    }

    /// A table to look at.
    pub(super) fn get(&self, name: &'static str) -> Result<&Table<'a, Bytes, Bytes>, StoreError> {
        self.tables.get_or_open(name, || self.transaction.open_table(definition(name)).map_err(|error| disk(&error)))
    }

    /// A table to change.
    pub(super) fn get_mut(&mut self, name: &'static str) -> Result<&mut Table<'a, Bytes, Bytes>, StoreError> {
        self.get(name)?;
        let mut chain = &mut self.tables;
        loop {
            match chain.0.get_mut() {
                Some(link) if link.name == name => return Ok(&mut link.table),
                Some(link) => chain = &mut link.next,
                None => unreachable!("it was opened above"),
            }
        }
    }
}

/// Tables by their names: one more finds a place while others are looked at.
struct Chain<T>(OnceCell<Box<Link<T>>>);

struct Link<T> {
    name: &'static str,
    table: T,
    next: Chain<T>,
}

impl<T> Default for Chain<T> {
    fn default() -> Chain<T> {
        Chain(OnceCell::new())
    }
}

impl<T> Chain<T> {
    fn get_or_open(&self, name: &'static str, open: impl FnOnce() -> Result<T, StoreError>) -> Result<&T, StoreError> {
        let mut place = &self.0;
        while let Some(link) = place.get() {
            if link.name == name {
                return Ok(&link.table);
            }
            place = &link.next.0;
        }
        let table = open()?;
        Ok(&place.get_or_init(|| Box::new(Link { name, table, next: Chain::default() })).table)
    }
}

/// redb panics where a file is damaged, and then where any other table is let go: two at once would end the process.
impl Drop for Opened<'_> {
    fn drop(&mut self) {
        let mut panic = None;
        let mut next = self.tables.0.take();
        while let Some(link) = next {
            let Link { table, next: mut chain, .. } = *link;
            next = chain.0.take();
            panic = catch_unwind(AssertUnwindSafe(|| drop(table))).err().or(panic);
        }
        if let Some(panic) = panic.filter(|_| !std::thread::panicking()) {
            resume_unwind(panic);
        }
    }
}

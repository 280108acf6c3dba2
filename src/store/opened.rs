//! The tables that a transaction has opened, each once: to open one takes as long as a look into it.

use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use redb::{Table, WriteTransaction};

use super::StoreError;
use super::database::disk;
use super::tables::{Bytes, definition};

pub(super) struct Opened<'a> {
    transaction: &'a WriteTransaction,
    first: Place<'a>,
}

/// A place for one more: a list that grows while its tables are looked at.
type Place<'a> = OnceCell<Box<One<'a>>>;

struct One<'a> {
    name: &'static str,
    table: Table<'a, Bytes, Bytes>,
    next: Place<'a>,
}

impl<'a> Opened<'a> {
    pub(super) fn new(transaction: &'a WriteTransaction) -> Opened<'a> {
        Opened { transaction, first: OnceCell::new() }
    }

    /// A table to look at.
    pub(super) fn get(&self, name: &'static str) -> Result<&Table<'a, Bytes, Bytes>, StoreError> {
        let mut place = &self.first;
        while let Some(one) = place.get() {
            if one.name == name {
                return Ok(&one.table);
            }
            place = &one.next;
        }
        let table = self.transaction.open_table(definition(name)).map_err(|error| disk(&error))?;
        Ok(&place.get_or_init(|| Box::new(One { name, table, next: OnceCell::new() })).table)
    }

    /// A table to change.
    pub(super) fn get_mut(&mut self, name: &'static str) -> Result<&mut Table<'a, Bytes, Bytes>, StoreError> {
        self.get(name)?;
        let mut place = &mut self.first;
        loop {
            match place.get_mut() {
                Some(one) if one.name == name => return Ok(&mut one.table),
                Some(one) => place = &mut one.next,
                None => unreachable!("it was opened above"),
            }
        }
    }
}

/// redb panics where a file is damaged, and then where any other table is let go: two at once would end the process.
impl Drop for Opened<'_> {
    fn drop(&mut self) {
        let mut panic = None;
        let mut next = self.first.take();
        while let Some(one) = next {
            let One { table, next: mut place, .. } = *one;
            next = place.take();
            panic = catch_unwind(AssertUnwindSafe(|| drop(table))).err().or(panic);
        }
        if let Some(panic) = panic.filter(|_| !std::thread::panicking()) {
            resume_unwind(panic);
        }
    }
}

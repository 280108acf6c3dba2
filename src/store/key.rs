//! Keys of tables: bytes whose order is the order of what they stand for.

use crate::model::{ConnectionId, Timestamp};

/// A key of a table.
pub(super) trait Key {
    fn bytes(&self) -> Vec<u8>;
}

impl Key for u32 {
    fn bytes(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }
}

impl Key for u64 {
    fn bytes(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }
}

/// Times before 1970 do not occur as keys; they would sort first.
impl Key for Timestamp {
    fn bytes(&self) -> Vec<u8> {
        u64::try_from(self.as_millis()).unwrap_or(0).bytes()
    }
}

impl Key for ConnectionId {
    fn bytes(&self) -> Vec<u8> {
        self.0.as_bytes().to_vec()
    }
}

impl Key for uuid::Uuid {
    fn bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}

impl Key for [u8; 32] {
    fn bytes(&self) -> Vec<u8> {
        self.to_vec()
    }
}

impl Key for &str {
    fn bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}

impl Key for &[u8] {
    fn bytes(&self) -> Vec<u8> {
        self.to_vec()
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn bytes(&self) -> Vec<u8> {
        [self.0.bytes(), self.1.bytes()].concat()
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn bytes(&self) -> Vec<u8> {
        [self.0.bytes(), self.1.bytes(), self.2.bytes()].concat()
    }
}

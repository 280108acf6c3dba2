//! Stub.
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::model::Blob;

pub(super) fn pack(plain: &[u8]) -> Vec<u8> {
    plain.to_vec()
}
pub(super) fn unpack(packed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    Some(Zeroizing::new(packed.to_vec()))
}
/// A body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed(Blob);
impl Packed {
    /// Of.
    pub fn of(plain: &[u8]) -> Packed {
        Packed(Blob(pack(plain)))
    }
    /// Length.
    pub fn len(&self) -> usize {
        self.0.0.len()
    }
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0.0
    }
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Packed {
        Packed(Blob(bytes))
    }
    pub(super) fn unpack(&self) -> Option<Zeroizing<Vec<u8>>> {
        unpack(&self.0.0)
    }
}

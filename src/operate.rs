//! What operators want: who may do what, the webhook log, how everything fares, another master key.

pub mod access;
pub mod deliveries;
pub mod key_files;
pub mod rotation;
pub mod status;

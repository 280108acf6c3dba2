//! What operators want: who may do what and who did what, the webhook log, how everything fares, what to be told,
//! another master key.

pub mod access;
pub mod audit;
pub mod deliveries;
pub mod gaps;
pub mod key_files;
pub mod notices;
mod password;
pub mod probes;
pub mod rotation;
pub mod settings;
pub mod status;

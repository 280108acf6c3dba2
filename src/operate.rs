//! What operators want: who may do what, the webhook log, how everything fares.

pub mod access;
pub mod deliveries;
pub mod status;

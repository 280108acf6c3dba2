//! What operators want: who may do what, the webhook log, how everything fares, what to be told.

pub mod access;
pub mod deliveries;
pub mod notices;
pub mod status;

//! Carport: a self-hosted Smartcar gateway.

pub mod model;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod world;

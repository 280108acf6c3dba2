//! Carport: a self-hosted Smartcar gateway.

pub mod model;
pub mod smartcar;
pub mod world;

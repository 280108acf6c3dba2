//! Carport: a self-hosted Smartcar gateway.

pub mod config;
pub mod connect;
pub mod ingest;
pub mod metrics;
pub mod model;
pub mod operate;
pub mod projector;
pub mod signature;
pub mod smartcar;
pub mod store;
pub mod tokens;
pub mod vault;
pub mod vehicles;
pub mod web;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod world;

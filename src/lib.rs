//! Carport: a self-hosted Smartcar gateway.

pub mod app;
pub mod cli;
pub mod config;
pub mod connect;
pub mod ingest;
pub mod metrics;
pub mod model;
pub mod operate;
pub mod projector;
pub mod signature;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod smartcar;
pub mod store;
pub mod tokens;
pub mod vault;
pub mod vehicles;
pub mod web;
pub mod world;

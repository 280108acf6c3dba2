//! Carport: a self-hosted Smartcar gateway.

pub mod cli;
pub mod config;
pub mod connect;
pub mod ingest;
pub mod metrics;
pub mod model;
pub mod operate;
pub mod vehicles;
pub mod web;
pub mod world;

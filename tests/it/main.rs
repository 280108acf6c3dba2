//! The stories: one file each, through the public face.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]
#![expect(clippy::similar_names, reason = "cases are named alike on purpose")]

mod api;
mod audit;
mod binary;
mod budget;
mod cars;
mod certificates;
mod commands;
mod compat;
mod connect;
mod disk;
mod edge;
mod events;
mod examples;
mod gaps;
mod gateway;
mod hands;
mod house;
mod linkage;
mod migration;
mod mistyped;
mod moving;
mod pages;
mod password;
mod polling;
mod projection;
mod repair;
mod reporting;
mod ring;
mod routes;
mod settings;
mod setup;
mod sim;
mod simulator;
mod store;
mod sunset;
mod tokens;
mod webhook;

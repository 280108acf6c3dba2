//! Carport: a self-hosted Smartcar gateway. The program is `carport`; this is all of it as a library.
//!
//! `ARCHITECTURE.md`, in the root of the repository beside `Cargo.toml`, is
//! the map: the walks of a webhook and of an owner, and what must stay true. In short, from the bottom up:
//!
//! - [`model`]: plain values. [`world`]: time, randomness and network, handed in. [`metrics`]: counters. [`supervisor`]:
//!   whoever started us.
//! - [`vault`], [`signature`]: sealing, proving. [`store`]: the disk. [`smartcar`]: upstream.
//! - [`budget`]: the leave to make calls that count.
//! - [`tokens`], [`ingest`], [`projector`]: the three that must never be wrong.
//! - [`connect`], [`vehicles`], [`commands`], [`operate`]: what owners, readers and operators want. [`tls`]: our own certificate.
//! - [`compat`]: Smartcar's own API, from what is stored. [`web`]: HTTP. [`config`]: what the operator wrote. [`app`]: the house put together. [`cli`]: the commands.
//!
//! The whole gateway is one function, [`web::handle`]; `examples/embed.rs` calls it from another program.
//! A configuration that is not written is checked all the same:
//!
//! ```
//! use carport::config::{Overrides, Sources, load};
//!
//! let config = load(&Sources::default()).expect("every key has a default");
//! assert_eq!(config.public_url.as_str(), "http://localhost:8000/");
//!
//! let overrides = Overrides::default().set("smartcar.mode", "test", "--mode");
//! let mistakes = load(&Sources { overrides, ..Sources::default() }).expect_err("Smartcar has given it up");
//! assert!(mistakes.to_string().contains("smartcar.mode"));
//! ```

pub mod app;
pub mod budget;
pub mod cli;
pub mod commands;
pub mod compat;
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
pub mod supervisor;
pub mod tls;
pub mod tokens;
pub mod vault;
pub mod vehicles;
pub mod web;
pub mod world;

//! The stories: one file each, through the public face.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod connect;
mod edge;
mod gateway;
mod projection;
mod ring;
mod simulator;
mod tokens;
mod webhook;

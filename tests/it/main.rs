//! The stories: one file each, through the public face.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod gateway;
mod edge;
mod simulator;
mod webhook;

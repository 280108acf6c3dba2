//! The stories: one file each, through the public face.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod gateway;
mod simulator;
mod webhook;

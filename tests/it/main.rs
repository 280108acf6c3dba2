//! The stories: one file each, through the public face.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod binary;
mod edge;
mod examples;
mod gateway;
mod projection;
mod ring;
mod house;
mod linkage;
mod simulator;
mod webhook;

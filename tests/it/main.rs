//! The stories: one file each, through the public face.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod binary;
mod edge;
mod examples;
mod gateway;
mod house;
mod linkage;
mod projection;
mod ring;
mod simulator;
mod webhook;

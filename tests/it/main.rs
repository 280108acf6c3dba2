//! The stories: one file each, through the public face.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]
#![expect(
    clippy::similar_names,
    clippy::if_not_else,
    clippy::single_match_else,
    reason = "cases stand in the order of the story"
)]

mod api;
mod binary;
mod connect;
mod disk;
mod edge;
mod examples;
mod gateway;
mod house;
mod linkage;
mod projection;
mod ring;
mod simulator;
mod tokens;
mod webhook;

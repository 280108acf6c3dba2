//! The stories: one file each, through the public face.

mod examples;
mod edge;
mod simulator;

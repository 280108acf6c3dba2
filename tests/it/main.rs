//! The stories: one file each, through the public face.

mod edge;
mod examples;
mod simulator;

//! The stories: one file each, through the public face.

mod binary;
mod simulator;

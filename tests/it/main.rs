//! The stories: one file each, through the public face.

mod house;
mod linkage;
mod simulator;

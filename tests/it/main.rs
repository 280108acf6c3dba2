//! The stories: one file each, through the public face.

mod edge;
mod house;
mod linkage;
mod simulator;

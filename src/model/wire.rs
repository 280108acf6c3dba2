//! The pieces of Smartcar's JSON that look alike in webhooks and in answers.
//!
//! Each reads every form it is known in and turns into a plain value of ours.

mod part;
mod signal;
mod vehicle;

pub use part::{Part, PartRefusal};
pub use signal::{SignalWire, code_of, keyed};
pub use vehicle::VehicleWire;

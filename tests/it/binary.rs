//! The program itself, as a process of its own, over real sockets.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod acme;
mod arriving;
mod canaries;
mod check;
mod commands;
mod crowd;
mod demo;
mod events;
mod first_run;
mod flood;
mod flow;
mod full_disk;
mod handshakes;
pub(crate) mod http;
mod install;
mod keys;
mod kill;
mod lacking;
mod leaving;
mod load;
mod mistakes;
mod newcomers;
pub(crate) mod process;
mod refusals;
mod reload;
mod sandbox;
mod settings;
mod sign_in;
mod smartcar;
mod supervisor;
pub(crate) mod tls;
mod upgrade;

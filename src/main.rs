//! The `carport` program: see `carport help`.

use std::process::ExitCode;

/// The C library gives each thread a heap of its own, and what one has freed serves no other: after a burst of
/// deliveries that is twice the memory. This one heap has a lock that is tried for a moment before anybody sleeps.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: rustix_dlmalloc::GlobalDlmalloc = rustix_dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    carport::cli::main()
}

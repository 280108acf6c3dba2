//! The `carport` program: see `carport help`.

use std::process::ExitCode;

/// The C library gives each thread a heap of its own, and what one has freed serves no other: after a burst of
/// deliveries that is twice the memory.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    carport::cli::main()
}

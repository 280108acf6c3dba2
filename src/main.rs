//! The `carport` program: see `carport help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    carport::cli::main()
}

//! The binary of the `lookalike` program, all of which is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(lookalike_cli::run(std::env::args_os()))
}

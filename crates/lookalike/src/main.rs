//! The `lookalike` program: arguments in, one of [`program`]'s commands, an exit code out.
//!
//! 0: done. 1: failed, with the reason on stderr. 2: wrong usage.

mod program;

use std::process::ExitCode;

use clap::Parser;

use program::{Arguments, Failure};

fn main() -> ExitCode {
    match program::run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has enough of it: no error of ours.
        Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(Failure::Error(error)) => {
            eprintln!("lookalike: {error}");
            ExitCode::FAILURE
        }
    }
}

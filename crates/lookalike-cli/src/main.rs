//! The `lookalike` program: arguments in, one of [`program`]'s commands, an exit code out.
//!
//! 0: done. 1: failed, with the reason on stderr. 2: wrong usage.

mod program;

use std::process::ExitCode;

use clap::Parser;

use program::{Arguments, Failure, note};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What runs for long, such as `serve`, gives memory back.
    if arguments.trains() {
        keep_freed_memory();
    }
    match program::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has enough of it: no error of ours.
        Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(Failure::Error(error)) => {
            let options = program::options_for(&error).map(|options| format!(" ({options})"));
            note(&format!(
                "lookalike: {error}{}",
                options.unwrap_or_default()
            ));
            ExitCode::FAILURE
        }
    }
}

/// Lets the C library keep what training frees, for its next step: given back to the system and
/// asked for again, the same pages would be zeroed at every step, a fifth of the time.
fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, 32 << 20),
        (libc::M_TRIM_THRESHOLD, 1 << 30),
        (libc::M_TOP_PAD, 64 << 20),
    ] {
        // SAFETY: mallopt takes two numbers and has no other precondition; no other thread runs
        // yet.
        unsafe { libc::mallopt(parameter, value) };
    }
}

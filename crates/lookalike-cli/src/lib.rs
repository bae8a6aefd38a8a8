//! The `lookalike` program as a function, for whatever starts it: its own binary, or the Python
//! package, which brings the command along.

mod program;

use std::ffi::OsString;

use clap::Parser;

use program::{Arguments, Failure, note};

/// Runs the program with these arguments, of which the first is its own name, and gives its exit
/// code. 0: done. 1: failed, with the reason on stderr. 2: wrong usage.
///
/// A command that can end in order when it is interrupted handles signals from then on; a second
/// interruption ends the process at once.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are among these "errors"; that nobody reads them is no failure.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    // What runs for long, such as `serve`, gives memory back.
    if arguments.trains() {
        keep_freed_memory();
    }
    match program::run(arguments) {
        Ok(()) => 0,
        // Whoever read our output has enough of it: no error of ours.
        Err(Failure::ClosedPipe) => 0,
        Err(Failure::Error(error)) => {
            let advice = program::advice_for(&error).map(|advice| format!(" ({advice})"));
            note(&format!("lookalike: {error}{}", advice.unwrap_or_default()));
            1
        }
    }
}

/// Lets the C library keep what training frees, for its next step: given back to the system and
/// asked for again, the same pages would be zeroed at every step, a fifth of the time. It holds for
/// the whole process, until [`give_freed_memory_back`]. Elsewhere than with glibc it does nothing.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    set_memory(1 << 30, 64 << 20);
}

/// Ends what [`keep_freed_memory`] began, and gives back what was kept. The C library cannot be
/// told to adapt its thresholds again; they are left as it has them itself once a block of 32 MiB,
/// the largest that it learns from, was freed.
pub fn give_freed_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        set_memory(64 << 20, 128 << 10);
        // SAFETY: malloc_trim has no precondition, and locks what it looks through.
        unsafe { libc::malloc_trim(0) };
    }
}

/// How much free memory the C library keeps at the heap's end, and how much more than it needs it
/// asks the system for. Blocks of up to 32 MiB come from the heap.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn set_memory(kept: libc::c_int, padding: libc::c_int) {
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, 32 << 20),
        (libc::M_TRIM_THRESHOLD, kept),
        (libc::M_TOP_PAD, padding),
    ] {
        // SAFETY: mallopt takes two numbers and has no other precondition. Other threads may
        // allocate meanwhile: mallopt holds the allocator's lock while it stores a number that
        // they may read before or after.
        unsafe { libc::mallopt(parameter, value) };
    }
}

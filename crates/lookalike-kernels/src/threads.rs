//! The pool of threads, and how its workers treat denormals.

/// Sets up the pool in which all kernels run: `threads` workers, or one per core for `None`.
///
/// The pool is the process's (rayon's global one) and is made once: the first call decides, a later
/// call changes nothing. Returns the number of threads in force. Every worker, and the calling thread,
/// flushes denormals to zero from then on.
pub fn set_threads(threads: Option<usize>) -> usize {
    // An error means that the pool is there already, made by an earlier call or by another library;
    // the broadcast below then reaches its workers just the same.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .thread_name(|index| format!("lookalike-{index}"))
        .start_handler(|_| flush_denormals())
        .build_global();
    flush_denormals();
    rayon::broadcast(|_| flush_denormals());
    rayon::current_num_threads()
}

/// Makes the calling thread treat numbers below 1.2e-38 as zero, on the way in and on the way out.
///
/// Arithmetic on such denormals takes a hundred cycles and more, and a saturated sigmoid is full of
/// them; nothing that a network learns depends on them.
pub fn flush_denormals() {
    #[cfg(target_arch = "x86_64")]
    {
        /// Flush to zero (results) and denormals are zero (operands).
        const FLUSH: u32 = 1 << 15 | 1 << 6;
        let mut control = 0u32;
        // SAFETY: stores MXCSR into a local of the right size; every x86-64 processor has SSE.
        unsafe {
            std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags));
        }
        control |= FLUSH;
        // SAFETY: loads back the thread's own value with two defined bits set: exceptions stay masked
        // and the rounding mode stays as it was.
        unsafe {
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, preserves_flags));
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        /// FPCR.FZ.
        const FLUSH: u64 = 1 << 24;
        let mut control: u64;
        // SAFETY: FPCR may be read at every exception level.
        unsafe {
            std::arch::asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack, preserves_flags));
        }
        control |= FLUSH;
        // SAFETY: writes back the thread's own value with FZ set; rounding and traps stay as they were.
        unsafe {
            std::arch::asm!("msr fpcr, {}", in(reg) control, options(nostack, preserves_flags));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn denormals_become_zero_in_the_caller_and_in_every_worker() {
        let threads = set_threads(Some(2));
        assert_eq!(
            threads,
            set_threads(Some(threads + 1)),
            "the first call decides"
        );
        if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
            let halved = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
            assert_eq!(halved(), 0.0);
            assert!(rayon::broadcast(|_| halved()).iter().all(|&h| h == 0.0));
        }
    }
}

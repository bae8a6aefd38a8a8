//! The pool of threads that networks run in, and how its workers treat denormals.
//!
//! The pool is our own and not rayon's global one: its workers flush denormals to zero from their
//! start to their end, and no thread of the host program is changed; and a single image that is
//! encoded for a query does not wait behind a long computation in the global pool, such as that of
//! all neighbours.

use std::cell::Cell;
use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

static POOL: OnceLock<ThreadPool> = OnceLock::new();

thread_local! {
    /// Whether this thread is a worker of a pool that [`pool`] made.
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Says how many threads compute: `threads` workers, or one per core for `None`.
///
/// It is said once, before anything is computed: the first call decides, a later one changes
/// nothing. Returns the number of threads in force. Rayon's global pool, which computes what needs
/// no network, gets as many unless it is there already.
pub fn set_threads(threads: Option<usize>) -> usize {
    let _ = ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .build_global();
    shared(threads).current_num_threads()
}

fn shared(threads: Option<usize>) -> &'static ThreadPool {
    POOL.get_or_init(|| pool(threads.unwrap_or(0)))
}

/// A pool of its own with that many threads (0: one per core), in which networks run as in the
/// shared one: what is installed there stays there.
///
/// # Panics
///
/// When the system has no more threads.
pub fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("lookalike-{index}"))
        .start_handler(|_| {
            IS_WORKER.set(true);
            set_control(control() | FLUSH);
        })
        .build()
        .expect("threads can be started")
}

/// Runs `work` on the threads of the pool: all of it, since from outside every parallel loop in it
/// would have to be handed in on its own.
pub fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    match IS_WORKER.get() {
        true => work(),
        false => shared(None).install(work),
    }
}

/// As long as it lives, the thread that made it and the workers of its rayon pool treat numbers
/// below 1.2e-38 as zero, on the way in and on the way out. When it is dropped, there, they are as
/// they were.
///
/// Arithmetic on such denormals takes a hundred cycles and more, and a saturated sigmoid is full of
/// them; nothing that a network learns depends on them.
pub struct FlushedDenormals {
    caller: Control,
    workers: Vec<Control>,
}

impl FlushedDenormals {
    /// Begins.
    pub fn begin() -> Self {
        let flush = || {
            let before = control();
            set_control(before | FLUSH);
            before
        };
        let workers = rayon::broadcast(|_| flush());
        // The caller may be one of the workers.
        let caller = match rayon::current_thread_index() {
            Some(index) => workers[index],
            None => flush(),
        };
        Self { caller, workers }
    }
}

impl Drop for FlushedDenormals {
    fn drop(&mut self) {
        let workers = &self.workers;
        rayon::broadcast(|worker| {
            if let Some(&before) = workers.get(worker.index()) {
                set_control(before);
            }
        });
        set_control(self.caller);
    }
}

#[cfg(target_arch = "x86_64")]
type Control = u32;
/// Flush to zero (results) and denormals are zero (operands).
#[cfg(target_arch = "x86_64")]
const FLUSH: Control = 1 << 15 | 1 << 6;

#[cfg(target_arch = "x86_64")]
fn control() -> Control {
    let mut control: Control = 0;
    // SAFETY: stores MXCSR into a local of the right size; every x86-64 processor has SSE.
    unsafe {
        std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags));
    }
    control
}

#[cfg(target_arch = "x86_64")]
fn set_control(control: Control) {
    // SAFETY: loads a value that this register had, perhaps with two defined bits set: exceptions
    // stay masked and the rounding mode stays as it was.
    unsafe {
        std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, preserves_flags));
    }
}

#[cfg(target_arch = "aarch64")]
type Control = u64;
/// FPCR.FZ.
#[cfg(target_arch = "aarch64")]
const FLUSH: Control = 1 << 24;

#[cfg(target_arch = "aarch64")]
fn control() -> Control {
    let control: Control;
    // SAFETY: FPCR may be read at every exception level.
    unsafe {
        std::arch::asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack, preserves_flags));
    }
    control
}

#[cfg(target_arch = "aarch64")]
fn set_control(control: Control) {
    // SAFETY: writes a value that this register had, perhaps with FZ set; rounding and traps stay
    // as they were.
    unsafe {
        std::arch::asm!("msr fpcr, {}", in(reg) control, options(nostack, preserves_flags));
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
type Control = u8;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const FLUSH: Control = 0;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn control() -> Control {
    0
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn set_control(_: Control) {}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use super::*;
    use std::hint::black_box;

    fn flushes() -> bool {
        black_box(f32::MIN_POSITIVE) * black_box(0.5) == 0.0
    }

    #[test]
    fn only_workers_of_our_pools_flush_denormals() {
        let own = pool(3);
        assert!(own.broadcast(|_| flushes()).iter().all(|&f| f));
        assert!(in_pool(
            || flushes() && rayon::broadcast(|_| flushes()).iter().all(|&f| f)
        ));
        assert_eq!(own.install(|| in_pool(rayon::current_num_threads)), 3);
        assert!(!flushes());
        assert!(!rayon::broadcast(|_| flushes()).contains(&true));
    }

    #[test]
    fn threads_are_as_they_were_after_a_run() {
        let host = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let inside = |from: &ThreadPool| {
            from.install(|| {
                let flushed = FlushedDenormals::begin();
                assert!(rayon::broadcast(|_| flushes()).iter().all(|&f| f) && flushes());
                drop(flushed);
                flushes() || rayon::broadcast(|_| flushes()).contains(&true)
            })
        };
        assert!(!inside(&host));
        // Ours go on flushing.
        assert!(inside(&pool(2)));
    }

    #[test]
    fn a_network_does_not_wait_for_the_global_pool() {
        use std::sync::mpsc::channel;
        // Every worker of the global pool is busy until the work in ours is done.
        let senders: Vec<_> = (0..rayon::current_num_threads())
            .map(|_| {
                let (send, wait) = channel::<()>();
                rayon::spawn(move || {
                    let _ = wait.recv();
                });
                send
            })
            .collect();
        assert_eq!(in_pool(|| 6 * 7), 42);
        drop(senders);
    }

    #[test]
    fn the_first_call_decides() {
        let threads = set_threads(Some(2));
        assert_eq!(threads, set_threads(Some(threads + 1)));
    }
}

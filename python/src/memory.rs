//! Memory that training keeps for its next step, in a process that does more than training.

use std::sync::{Mutex, PoisonError};

/// How many trainings run.
static TRAININGS: Mutex<usize> = Mutex::new(0);

/// Lets the C library keep freed memory as long as one of these lives: only training gains by it,
/// and what it frees belongs to the rest of the process then.
pub struct KeptMemory(());

impl KeptMemory {
    pub fn begin() -> Self {
        let mut trainings = TRAININGS.lock().unwrap_or_else(PoisonError::into_inner);
        if *trainings == 0 {
            lookalike_cli::keep_freed_memory();
        }
        *trainings += 1;
        Self(())
    }
}

impl Drop for KeptMemory {
    fn drop(&mut self) {
        let mut trainings = TRAININGS.lock().unwrap_or_else(PoisonError::into_inner);
        *trainings -= 1;
        if *trainings == 0 {
            lookalike_cli::give_freed_memory_back();
        }
    }
}

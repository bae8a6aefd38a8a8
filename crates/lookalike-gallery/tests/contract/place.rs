//! Where galleries under test are made.

use std::path::Path;

/// A folder for a test, gone when dropped. In memory where there is such a place: these tests are
/// about processes that end and files that are damaged, and waiting for a disk would not make them
/// stricter.
pub fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory)
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

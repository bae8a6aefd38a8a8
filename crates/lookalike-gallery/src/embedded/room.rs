//! Room on the disk.

use std::path::Path;

use crate::GalleryError;

/// Room that is left on the disk: the engine allocates ahead, and would end the process where it
/// cannot.
const SPARE_ROOM: u64 = 32 << 20;
/// Room without which a gallery is not opened, for the same reason; less, so that one that filled
/// the disk up to the spare room can still be opened and searched.
const ROOM_TO_OPEN: u64 = 16 << 20;

/// Makes sure that the disk has room, because the engine maps files into memory, and a process that
/// writes to such a file on a full disk is ended by the system.
pub(super) fn check_room(path: &Path, doing: &'static str, bytes: u64) -> Result<(), GalleryError> {
    check_free(path, doing, bytes + SPARE_ROOM)
}

/// Makes sure that there is room to open a gallery.
pub(super) fn check_room_to_open(gallery: &Path) -> Result<(), GalleryError> {
    check_free(gallery, "opening the gallery", ROOM_TO_OPEN)
}

fn check_free(path: &Path, doing: &'static str, needed: u64) -> Result<(), GalleryError> {
    let free = fs4::available_space(path)
        .map_err(GalleryError::io("asking for the free space of", path))?;
    if free < needed {
        return Err(GalleryError::DiskFull {
            doing,
            path: path.to_path_buf(),
            needed,
            free,
        });
    }
    Ok(())
}

//! Files as they are now, beside what a gallery knows of them.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use crc::{CRC_32_CKSUM, Crc, Table};
use lookalike_gallery::Payload;

use super::LeftBecause;

/// A file's metadata, if it is as it was indexed by size and time of change.
pub(super) fn about(payload: &Payload) -> Result<Metadata, LeftBecause> {
    let path = payload.location.as_deref().unwrap_or_default();
    let about = fs::symlink_metadata(path).map_err(|_| LeftBecause::Unreadable)?;
    let modified = about.modified().ok().and_then(nanoseconds);
    let same_size = payload.bytes.is_none_or(|bytes| bytes == about.len());
    let same_time = payload.modified.is_none() || payload.modified == modified;
    match about.is_file() && same_size && same_time {
        true => Ok(about),
        false => Err(LeftBecause::Changed),
    }
}

/// A time as payloads have it.
fn nanoseconds(time: SystemTime) -> Option<i64> {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).ok(),
        Err(before) => i64::try_from(before.duration().as_nanos()).ok().map(|n| -n),
    }
}

/// The same of the file that is kept.
pub(super) fn about_kept(payload: &Payload) -> Result<Metadata, LeftBecause> {
    about(payload).map_err(|_| LeftBecause::KeptUnchecked)
}

#[cfg(unix)]
pub(super) fn on_one_file_system(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    a.dev() == b.dev()
}

/// Where that cannot be known, the script finds out.
#[cfg(not(unix))]
pub(super) fn on_one_file_system(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// A file's BLAKE3 in hexadecimal, its checksum as the program cksum gives it (POSIX.1-2024,
/// "cksum"), and its bytes.
pub(super) fn checksums(path: &Path) -> io::Result<(String, u32, u64)> {
    const CKSUM: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_CKSUM);
    let mut file = File::open(path)?;
    let (mut blake3, mut sum, mut bytes) = (blake3::Hasher::new(), CKSUM.digest(), 0_u64);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        blake3.update(&buffer[..read]);
        sum.update(&buffer[..read]);
        bytes += read as u64;
    }
    // Behind the content the length is summed up, without its leading zeros, the last byte first.
    let length = bytes.to_le_bytes();
    let digits = length.len() - bytes.leading_zeros() as usize / 8;
    sum.update(&length[..digits]);
    Ok((
        blake3.finalize().to_hex().to_string(),
        sum.finalize(),
        bytes,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_cksum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        // As `printf 123456789 | cksum` and `cksum </dev/null` print them.
        for (content, sum) in [(&b"123456789"[..], 930_766_865), (b"", 4_294_967_295)] {
            fs::write(&path, content).unwrap();
            let (_, found, bytes) = checksums(&path).unwrap();
            assert_eq!((found, bytes), (sum, content.len() as u64));
        }
    }
}

//! What can be a thumbnail or other blob of a content, and of what.

use crate::GalleryError;

/// The most bytes of one.
pub(crate) const MAX_BYTES: usize = 16 << 20;

/// The content that a hash in hexadecimal means, if it means one.
pub(crate) fn content(hash: &str) -> Option<[u8; 32]> {
    Some(*blake3::Hash::from_hex(hash).ok()?.as_bytes())
}

/// Refuses what can be no content's hash, and blobs that are too long; `one` says what they are.
pub(crate) fn checked(one: &str, hash: &str, bytes: &[u8]) -> Result<[u8; 32], GalleryError> {
    let content = content(hash).ok_or_else(|| {
        GalleryError::BadRequest(format!(
            "{one} was to be stored for the content {hash:?}, which is no BLAKE3; give 64 \
             hexadecimal digits"
        ))
    })?;
    match bytes.len() <= MAX_BYTES {
        true => Ok(content),
        false => Err(GalleryError::BadRequest(format!(
            "{one} of the content {hash} has {} bytes; make it smaller than {MAX_BYTES}",
            bytes.len()
        ))),
    }
}

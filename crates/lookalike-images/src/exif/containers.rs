//! Where in files of several formats the block with EXIF is.

/// The block in a JPEG file, whose first segments are looked through up to the first scan.
pub(super) fn in_jpeg(bytes: &[u8]) -> Option<&[u8]> {
    const SCAN: u8 = 0xda;
    const APP1: u8 = 0xe1;
    let mut rest = bytes.get(2..)?;
    loop {
        let [0xff, marker, behind @ ..] = rest else {
            return None;
        };
        match marker {
            // Padding, and markers without a segment.
            0xff => rest = &rest[1..],
            0x01 | 0xd0..=0xd8 => rest = behind,
            &SCAN => return None,
            marker => {
                let length = behind.first_chunk().map(|&two| u16::from_be_bytes(two))?;
                let body = behind.get(2..usize::from(length))?;
                if *marker == APP1
                    && let Some(block) = body.strip_prefix(b"Exif\0\0")
                {
                    return Some(block);
                }
                rest = &behind[usize::from(length)..];
            }
        }
    }
}

/// The block in a PNG file, among its chunks.
pub(super) fn in_png(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(8..)?;
    loop {
        let length = u32::from_be_bytes(*rest.first_chunk()?) as usize;
        let (kind, body) = rest.get(4..)?.split_at_checked(4)?;
        if kind == b"eXIf" {
            return body.get(..length);
        }
        // The checksum follows.
        rest = body.get(length.checked_add(4)?..)?;
    }
}

/// The block in a WebP file, among its chunks.
pub(super) fn in_webp(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(12..)?;
    loop {
        let (kind, behind) = rest.split_at_checked(4)?;
        let length = u32::from_le_bytes(*behind.first_chunk()?) as usize;
        let body = behind.get(4..)?;
        if kind == b"EXIF" {
            let block = body.get(..length)?;
            return Some(block.strip_prefix(b"Exif\0\0").unwrap_or(block));
        }
        rest = body.get(length.checked_add(length % 2)?..)?;
    }
}

/// The block in a JPEG XL file, among its boxes; a bare codestream has none.
pub(super) fn in_jpeg_xl(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes;
    loop {
        let (length, behind) = rest.split_first_chunk()?;
        let (kind, behind) = behind.split_at_checked(4)?;
        let (header, length) = match u32::from_be_bytes(*length) {
            // Up to the end of the file.
            0 => (8, rest.len()),
            1 => {
                let length = u64::from_be_bytes(*behind.first_chunk()?);
                (16, usize::try_from(length).ok()?)
            }
            length => (8, length as usize),
        };
        let body = rest.get(header..length)?;
        if kind == b"Exif" {
            let (offset, block) = body.split_first_chunk()?;
            return block.get(u32::from_be_bytes(*offset) as usize..);
        }
        rest = &rest[length..];
    }
}

//! Which names are images, and which names are safe as keys.

use crate::skipped::{SkipKind, SkipReason};
use crate::tiff_pages::page_of;

/// Formats that cannot be decoded are included, so that such files are reported and not ignored.
const IMAGES: [&str; 14] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic",
    "heif", "jxl",
];

/// Whether a name ends as images do, in any case. Bytes, because names need not be UTF-8.
pub(crate) fn is_image(name: &[u8]) -> bool {
    extension(name).is_some_and(|found| {
        IMAGES
            .iter()
            .any(|known| found.eq_ignore_ascii_case(known.as_bytes()))
    })
}

/// Whether a name ends as images do, in any case, or names a page of one: only such files are
/// looked at, except in lists.
pub fn is_image_name(name: &str) -> bool {
    is_image(name.as_bytes()) || page_of(name).is_some()
}

/// What follows the last dot of the last part; a name that only begins with a dot has none.
pub(crate) fn extension(name: &[u8]) -> Option<&[u8]> {
    let base = name.rsplit(|&byte| byte == b'/').next()?;
    let dot = base.iter().rposition(|&byte| byte == b'.')?;
    (dot > 0).then(|| &base[dot + 1..])
}

/// A name inside an archive as a key: parts joined by `/`, without empty parts and `.`.
pub(crate) fn key_of_member(name: &[u8]) -> Result<String, SkipReason> {
    let name = std::str::from_utf8(name).map_err(|_| {
        SkipReason::new(
            SkipKind::NotUtf8,
            "its name is not UTF-8; rename it and pack the archive again",
        )
    })?;
    let unsafe_path = |what: &str| {
        SkipReason::new(
            SkipKind::UnsafePath,
            format!("its name {what}; pack the archive again with names relative to a folder"),
        )
    };
    if name.starts_with('/') || is_drive(name) {
        return Err(unsafe_path("is an absolute path"));
    }
    if name.contains('\0') {
        return Err(unsafe_path("has a zero byte in it"));
    }
    let mut key = String::with_capacity(name.len());
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(unsafe_path("leads out of the archive by \"..\"")),
            part => {
                if !key.is_empty() {
                    key.push('/');
                }
                key.push_str(part);
            }
        }
    }
    match key.is_empty() {
        true => Err(unsafe_path("is empty")),
        false => Ok(key),
    }
}

fn is_drive(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() >= 3 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && bytes[2] == b'/'
}

/// The name of the folder that holds the item, inside the source; items at the top have none.
pub(crate) fn parent(key: &str) -> Option<String> {
    let (folder, _) = key.rsplit_once('/')?;
    folder.rsplit('/').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_extension() {
        for name in [
            "a.jpg",
            "b/c.JPeG",
            "a.b.AVIF",
            "a.JFIF",
            "x.tif",
            "\u{1f600}.png",
        ] {
            assert!(is_image(name.as_bytes()), "{name}");
        }
        assert!(is_image(b"\xff.png"));
        for name in [
            "jpg",
            ".jpg",
            "a/.png",
            "a.jpg.txt",
            "a.svg",
            "",
            "a.",
            "a.jpg/b",
        ] {
            assert!(!is_image(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn keys_are_clean_or_refused() {
        for (name, key) in [
            ("a.jpg", "a.jpg"),
            ("./a//b/./c.jpg", "a/b/c.jpg"),
            ("a:b", "a:b"),
        ] {
            assert_eq!(key_of_member(name.as_bytes()).unwrap(), key);
        }
        for name in [
            "/a.jpg",
            "../a.jpg",
            "a/../b.jpg",
            "c:/a.jpg",
            "a\0.jpg",
            "",
            "./",
        ] {
            let why = key_of_member(name.as_bytes()).unwrap_err();
            assert_eq!(why.kind, SkipKind::UnsafePath, "{name:?}");
        }
        assert_eq!(key_of_member(b"\xff").unwrap_err().kind, SkipKind::NotUtf8);
    }

    #[test]
    fn labels_are_the_folders_inside_the_source() {
        assert_eq!(parent("a/cats/x.jpg").as_deref(), Some("cats"));
        assert_eq!(parent("cats/x.jpg").as_deref(), Some("cats"));
        assert_eq!(parent("x.jpg"), None);
    }
}

//! Paths in any Unicode normal form.

use std::fs;
use std::path::{Component, Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

/// The path itself if it exists, or else the first that differs from it only in the Unicode normal
/// form of its parts. A keyboard writes `é` as one code point, and some systems keep it in names as
/// two.
pub fn existing(path: &Path) -> Option<PathBuf> {
    if fs::symlink_metadata(path).is_ok() {
        // A dangling link does not exist.
        return path.exists().then(|| path.to_owned());
    }
    if path.to_str().is_none_or(str::is_ascii) {
        return None;
    }
    let mut found = PathBuf::new();
    for part in path.components() {
        let next = found.join(part);
        found = match part {
            Component::Normal(name) if fs::symlink_metadata(&next).is_err() => {
                found.join(spelled(&found, name.to_str()?)?)
            }
            _ => next,
        };
    }
    found.exists().then_some(found)
}

/// A name in a folder that is this one in another normal form; the lowest of several.
fn spelled(folder: &Path, name: &str) -> Option<String> {
    if name.is_ascii() {
        return None;
    }
    let wanted: String = name.nfc().collect();
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|other| !other.is_ascii() && other.nfc().eq(wanted.chars()))
        .min()
}

/// A folder's key as its files spell it, if it exists only in another normal form.
pub(crate) fn spelled_key(root: &Path, key: &str) -> Option<String> {
    let path = existing(&root.join(key))?;
    let key = path.strip_prefix(root).ok()?.to_str()?;
    Some(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_in_every_normal_form() {
        let root = tempfile::tempdir().unwrap();
        let (composed, decomposed) = ("Caf\u{e9}", "Cafe\u{301}");
        for (there, typed) in [(composed, decomposed), (decomposed, composed)] {
            let root = root.path().join(if there == composed { "a" } else { "b" });
            let real = root.join(there).join(format!("{there}.jpg"));
            fs::create_dir_all(real.parent().unwrap()).unwrap();
            fs::write(&real, b"x").unwrap();
            let asked = root.join(typed).join(format!("{typed}.jpg"));
            assert_eq!(existing(&asked), Some(real.clone()));
            assert_eq!(existing(&real), Some(real));
            assert_eq!(existing(&root.join(typed).join("no.jpg")), None);
        }
    }
}

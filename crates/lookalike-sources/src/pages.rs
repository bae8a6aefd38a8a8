//! The pages of a TIFF file, each an image of its own: `scan.tif`, `scan.tif#2`, `scan.tif#3`.
//!
//! A page is the file with its header pointing to that page, so that whoever reads it needs to know
//! nothing of pages, and contents differ where pages do.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::entry::{Content, Entry, Lazy, read_file};
use crate::limits::Limits;
use crate::names::extension;
use crate::skipped::{SkipKind, SkipReason};

/// Pages of one file that are looked at.
const MAX_PAGES: usize = 10_000;
/// Says what a page is for.
const NEW_SUBFILE_TYPE: u64 = 254;

/// Whether a name ends as TIFF files do.
pub(crate) fn may_have_pages(name: &str) -> bool {
    extension(name.as_bytes())
        .is_some_and(|end| end.eq_ignore_ascii_case(b"tif") || end.eq_ignore_ascii_case(b"tiff"))
}

/// The file and the number of the page that a key names, from the second on.
pub(crate) fn page_of(key: &str) -> Option<(&str, usize)> {
    let (file, page) = key.rsplit_once('#')?;
    let number = page.parse().ok().filter(|&page| page >= 2)?;
    // A key has one spelling.
    (may_have_pages(file) && page == format!("{number}")).then_some((file, number))
}

/// The entries of all pages but the first of a file, whose own entry is given. A file that cannot
/// be understood has one page: whoever decodes it says what is wrong.
pub(crate) fn further(first: &Entry) -> Vec<Entry> {
    let Content::File(path) = &first.content else {
        return Vec::new();
    };
    if !may_have_pages(&first.key) {
        return Vec::new();
    }
    let Ok(pages) = pages(path) else {
        return Vec::new();
    };
    pages
        .into_iter()
        .filter(|page| page.number > 1)
        .map(|page| Entry {
            key: format!("{}#{}", first.key, page.number),
            location: format!("{}#{}", first.location, page.number),
            content: Content::Lazy(Arc::new(FilePage {
                path: path.clone(),
                page,
            })),
            ..first.clone()
        })
        .collect()
}

/// A page of a file.
struct FilePage {
    path: PathBuf,
    page: Page,
}

impl Lazy for FilePage {
    fn read(&self, limits: &Limits) -> Result<Vec<u8>, SkipReason> {
        let mut bytes = read_file(&self.path, limits)?;
        let changed = || {
            SkipReason::new(
                SkipKind::Damaged,
                "the file changed while it was read; try again",
            )
        };
        let pointer = bytes
            .get_mut(self.page.pointer.clone())
            .ok_or_else(changed)?;
        pointer.copy_from_slice(&self.page.offset);
        Ok(bytes)
    }
}

/// Where a page is.
#[derive(Clone, Debug, PartialEq)]
struct Page {
    number: usize,
    /// The bytes of the header that point to the first page, and what they are to be for this one.
    pointer: std::ops::Range<usize>,
    offset: Vec<u8>,
}

/// The pages of a TIFF file that are pictures of their own: not reduced copies of others, nor
/// masks.
fn pages(path: &Path) -> io::Result<Vec<Page>> {
    let mut file = Numbers {
        file: io::BufReader::with_capacity(1 << 12, File::open(path)?),
        big: false,
    };
    let mut start = [0; 4];
    file.file.read_exact(&mut start)?;
    let (big, wide) = match start {
        [b'I', b'I', 42, 0] => (false, false),
        [b'M', b'M', 0, 42] => (true, false),
        [b'I', b'I', 43, 0] => (false, true),
        [b'M', b'M', 0, 43] => (true, true),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    file.big = big;
    // Of an offset, of a count of entries, and of an entry; the offset's place in the header.
    let (offset_size, count_size, entry_size, place) = match wide {
        false => (4, 2, 12, 4),
        true => (8, 8, 20, 8),
    };
    file.file.seek(SeekFrom::Start(place as u64))?;
    let mut offset = file.bytes(offset_size)?;
    let mut pages = Vec::new();
    let mut seen = HashSet::new();
    for number in 1..=MAX_PAGES {
        let at = file.value(&offset);
        if at == 0 || !seen.insert(at) {
            break;
        }
        // A chain that leads out of the file ends there.
        if file.file.seek(SeekFrom::Start(at)).is_err() {
            break;
        }
        let Ok(entries) = file.number(count_size) else {
            break;
        };
        if entries == 0 || entries > 1 << 16 {
            break;
        }
        let mut kind = 0;
        for _ in 0..entries {
            let Ok(entry) = file.bytes(entry_size) else {
                return Ok(pages);
            };
            if file.value(&entry[..2]) == NEW_SUBFILE_TYPE {
                kind = file.value(&entry[entry_size - offset_size..][..4]);
            }
        }
        // Bit 0: a reduced copy; bit 2: a mask.
        if kind & 0b101 == 0 {
            pages.push(Page {
                number,
                pointer: place..place + offset_size,
                offset: offset.clone(),
            });
        }
        match file.bytes(offset_size) {
            Ok(next) => offset = next,
            Err(_) => break,
        }
    }
    Ok(pages)
}

/// A file of numbers in one byte order.
struct Numbers {
    file: io::BufReader<File>,
    big: bool,
}

impl Numbers {
    fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn number(&mut self, count: usize) -> io::Result<u64> {
        let bytes = self.bytes(count)?;
        Ok(self.value(&bytes))
    }

    fn value(&self, bytes: &[u8]) -> u64 {
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        match self.big {
            true => bytes.iter().fold(0, add),
            false => bytes.iter().rev().fold(0, add),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SourceOptions, open};

    /// A file of pages, each with only the tag that says what it is for; the last points to `end`.
    fn file(kinds: &[u16], big: bool, end: u32) -> Vec<u8> {
        let short = |value: u16| match big {
            true => value.to_be_bytes(),
            false => value.to_le_bytes(),
        };
        let long = |value: u32| match big {
            true => value.to_be_bytes(),
            false => value.to_le_bytes(),
        };
        let mut bytes = if big { b"MM".to_vec() } else { b"II".to_vec() };
        bytes.extend(short(42));
        bytes.extend(long(8));
        for (page, &kind) in kinds.iter().enumerate() {
            bytes.extend(short(1));
            bytes.extend(short(254));
            bytes.extend(short(4));
            bytes.extend(long(1));
            bytes.extend(long(kind.into()));
            let last = page + 1 == kinds.len();
            let next = bytes.len() as u32 + 4;
            bytes.extend(long(if last { end } else { next }));
        }
        bytes
    }

    #[test]
    fn pages_are_images_of_their_own() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("scan.tif");
        // The third is a reduced copy, the fourth a mask.
        for (big, end) in [(false, 0), (true, 0), (false, 8), (true, 4_000_000_000)] {
            let bytes = file(&[0, 2, 1, 4, 0], big, end);
            std::fs::write(&path, &bytes).unwrap();
            std::fs::write(root.path().join("a#2.tif"), file(&[0], big, 0)).unwrap();
            let options = SourceOptions::default();
            let source = open(root.path().to_str().unwrap(), &options).unwrap();
            let entries: Vec<_> = source.entries().unwrap().map(Result::unwrap).collect();
            let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
            assert_eq!(keys, ["a#2.tif", "scan.tif", "scan.tif#2", "scan.tif#5"]);
            let limits = Limits::default();
            for entry in &entries {
                let found = source.get(&entry.key).unwrap();
                assert_eq!(found.location, entry.location);
                assert_eq!(found.read(&limits).unwrap(), entry.read(&limits).unwrap());
            }
            assert_eq!(entries[1].read(&limits).unwrap(), bytes);
            // The header of a page's content points to it: 18 bytes a page.
            let fifth = entries[3].read(&limits).unwrap();
            assert_eq!(fifth[8..], bytes[8..]);
            let offset = fifth[4..8].iter().find(|&&byte| byte > 0);
            assert_eq!(offset, Some(&(8 + 4 * 18)));
            for missing in ["scan.tif#1", "scan.tif#02", "scan.tif#3", "scan.tif#6"] {
                assert!(source.get(missing).is_err(), "{missing}");
            }
            let alone = open(path.to_str().unwrap(), &options).unwrap();
            assert_eq!(alone.entries().unwrap().count(), 3);
            assert_eq!(alone.get("5").unwrap().key, "scan.tif#5");
        }
    }

    #[test]
    fn what_is_no_tiff_has_one_page() {
        let root = tempfile::tempdir().unwrap();
        let whole = file(&[0, 0], false, 0);
        let path = root.path().join("x.tif");
        for length in 0..whole.len() - 8 {
            std::fs::write(&path, &whole[..length]).unwrap();
            let found = pages(&path).map(|pages| pages.len()).unwrap_or(0);
            assert!(found <= 1, "{length}: {found}");
        }
        std::fs::write(&path, b"\x89PNG no TIFF").unwrap();
        assert!(pages(&path).is_err());
    }
}

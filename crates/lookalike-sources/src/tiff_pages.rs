//! The pages of a TIFF file, each an image of its own: `scan.tif`, `scan.tif#2`, `scan.tif#3`.
//!
//! A page is the file with its header pointing to that page, so that whoever reads it needs to know
//! nothing of pages, and contents differ where pages do.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use crate::entry::{Content, Entry, Lazy};
use crate::error::SourceError;
use crate::limits::Limits;
use crate::names::extension;
use crate::skipped::{SkipKind, SkipReason, Skipped};
use crate::source::{Entries, Source, Wanted};

/// Pages of one file that are looked at.
const MAX_PAGES: usize = 10_000;
/// Files that are looked at at the same time: a store may take its time to answer.
const AT_ONCE: usize = 16;
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
/// be understood has one page: whoever decodes it says what is wrong. Where it could not be looked
/// into, that is the one item: its pages may be there.
pub(crate) fn further(first: &Entry, limits: &Limits) -> Vec<Result<Entry, Skipped>> {
    if !may_have_pages(&first.key) {
        return Vec::new();
    }
    let pages = match pages_of(first, limits) {
        Ok(pages) => pages,
        Err(error) => {
            let why = SkipReason::from_io(&error, "look for further pages");
            let is_passing = matches!(why.kind, SkipKind::Unreadable | SkipKind::Missing);
            // Named by no key, it says that something may be hidden.
            let skipped = Skipped::new("", &first.location, why);
            return is_passing.then_some(Err(skipped)).into_iter().collect();
        }
    };
    let further = pages.into_iter().filter(|page| page.number > 1);
    further
        .map(|page| {
            Ok(Entry {
                key: format!("{}#{}", first.key, page.number),
                location: format!("{}#{}", first.location, page.number),
                content: Content::Lazy(Arc::new(PageOf {
                    whole: first.content.clone(),
                    page,
                })),
                ..first.clone()
            })
        })
        .collect()
}

/// Whether a file is a TIFF file with pictures behind its first page, whatever its name: what would
/// be lost with it if only its first page were looked at.
///
/// # Errors
///
/// When the file cannot be read.
pub fn has_further_pages(path: &Path) -> io::Result<bool> {
    match File::open(path).and_then(pages) {
        Ok(pages) => Ok(pages.iter().any(|page| page.number > 1)),
        Err(error) if is_end(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The pages of an entry's file, of which as little is read as its container allows.
fn pages_of(entry: &Entry, limits: &Limits) -> io::Result<Vec<Page>> {
    match (&entry.content, entry.stamp) {
        (Content::File(path), _) => pages(File::open(path)?),
        (Content::Bytes(bytes), _) => pages(Cursor::new(bytes)),
        (Content::Lazy(lazy), Some(stamp)) if lazy.read_at(0, 0).is_some() => pages(Ranged {
            lazy: Arc::clone(lazy),
            at: 0,
            length: stamp.bytes,
        }),
        _ => pages(Cursor::new(entry.read(limits)?)),
    }
}

/// Content that can be read in ranges, as a file.
struct Ranged {
    lazy: Arc<dyn Lazy>,
    at: u64,
    length: u64,
}

impl Read for Ranged {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.at);
        let length = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        if length == 0 {
            return Ok(0);
        }
        let read = self.lazy.read_at(self.at, length);
        let bytes = read.unwrap_or_else(|| Err(io::ErrorKind::Unsupported.into()))?;
        let read = bytes.len().min(length);
        buffer[..read].copy_from_slice(&bytes[..read]);
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Ranged {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        }
        .ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// A page of a file.
struct PageOf {
    whole: Content,
    page: Page,
}

impl Lazy for PageOf {
    fn read(&self, limits: &Limits) -> Result<Vec<u8>, SkipReason> {
        let mut bytes = self.whole.clone().into_bytes(limits)?;
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

    fn held(&self) -> usize {
        self.whole.held()
    }
}

/// A source in which the pages of TIFF files are images of their own, as they are in a folder.
pub(crate) struct Paged<S> {
    pub(crate) source: S,
    pub(crate) limits: Limits,
}

impl<S: Source> Source for Paged<S> {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn len_hint(&self) -> Option<u64> {
        self.source.len_hint()
    }

    fn entries(&self) -> Result<Entries, SourceError> {
        Ok(Box::new(PagedEntries {
            files: self.source.entries()?,
            limits: self.limits,
            ready: VecDeque::new(),
        }))
    }

    fn entries_wanted(&self, wanted: Wanted) -> Result<Entries, SourceError> {
        let asked = Arc::clone(&wanted);
        // Of a file that is not wanted itself, a page may be.
        let files = self
            .source
            .entries_wanted(Arc::new(move |key| may_have_pages(key) || asked(key)))?;
        let pages = PagedEntries {
            files,
            limits: self.limits,
            ready: VecDeque::new(),
        };
        Ok(Box::new(pages.filter(move |item| match item {
            Ok(entry) => wanted(entry.sample.as_deref().unwrap_or(&entry.key)),
            Err(skipped) => skipped.key.is_empty() || wanted(&skipped.key),
        })))
    }

    fn get(&self, key: &str) -> Result<Entry, SourceError> {
        // A name may look like that of a page.
        match (self.source.get(key), page_of(key)) {
            (Err(SourceError::NoSuchImage { name, key, hint }), Some((file, _))) => {
                let first = self.source.get(file)?;
                let mut pages = further(&first, &self.limits).into_iter().flatten();
                let page = pages.find(|page| page.key == key);
                page.ok_or(SourceError::NoSuchImage { name, key, hint })
            }
            (found, _) => found,
        }
    }
}

fn held(item: &Result<Entry, Skipped>) -> usize {
    item.as_ref().map_or(0, |entry| entry.content.held())
}

/// Files, each followed by its further pages.
struct PagedEntries {
    files: Entries,
    limits: Limits,
    ready: VecDeque<Result<Entry, Skipped>>,
}

impl Iterator for PagedEntries {
    type Item = Result<Entry, Skipped>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(item) = self.ready.pop_front() {
            return Some(item);
        }
        let has_pages = |item: &Self::Item| {
            let entry = item.as_ref();
            entry.is_ok_and(|entry| may_have_pages(&entry.key) && entry.pixels().is_none())
        };
        let first = self.files.next()?;
        if !has_pages(&first) {
            return Some(first);
        }
        // Not beyond what holds bytes: a stream would be read into memory.
        let mut items = vec![first];
        while items.len() < AT_ONCE && items.last().is_none_or(|item| held(item) == 0) {
            let Some(next) = self.files.next() else {
                break;
            };
            items.push(next);
        }
        let limits = &self.limits;
        let pages: Vec<Vec<_>> = thread::scope(|scope| {
            let looking: Vec<_> = items
                .iter()
                .map(|item| {
                    let entry = item.as_ref().ok().filter(|_| has_pages(item))?;
                    Some(scope.spawn(move || further(entry, limits)))
                })
                .collect();
            let pages = looking.into_iter().map(|looking| {
                let pages = looking.map(|looking| looking.join().expect("looking does not panic"));
                pages.unwrap_or_default()
            });
            pages.collect()
        });
        for (item, pages) in items.into_iter().zip(pages) {
            self.ready.push_back(item);
            self.ready.extend(pages);
        }
        self.ready.pop_front()
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
fn pages(file: impl Read + Seek) -> io::Result<Vec<Page>> {
    let mut file = Numbers {
        file: io::BufReader::with_capacity(1 << 12, file),
        at: 0,
        big: false,
    };
    let (big, wide) = match file.bytes(4)?[..] {
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
    file.go_to(place as u64)?;
    let mut offset = file.bytes(offset_size)?;
    let mut pages = Vec::new();
    let mut seen = HashSet::new();
    for number in 1..=MAX_PAGES {
        let at = file.value(&offset);
        if at == 0 || !seen.insert(at) {
            break;
        }
        // A chain that leads out of the file ends there.
        let entries = match file.go_to(at).and_then(|()| file.number(count_size)) {
            Ok(entries) => entries,
            Err(error) if is_end(&error) => break,
            Err(error) => return Err(error),
        };
        if entries == 0 || entries > 1 << 16 {
            break;
        }
        let mut kind = 0;
        for _ in 0..entries {
            let entry = match file.bytes(entry_size) {
                Ok(entry) => entry,
                Err(error) if is_end(&error) => return Ok(pages),
                Err(error) => return Err(error),
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
            Err(error) if is_end(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(pages)
}

/// Whether a file is at its end, or a place beyond it was asked for; other errors may pass.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// A file of numbers in one byte order.
struct Numbers<R> {
    file: io::BufReader<R>,
    at: u64,
    big: bool,
}

impl<R: Read + Seek> Numbers<R> {
    /// What was read already is not read again where it is near.
    fn go_to(&mut self, place: u64) -> io::Result<()> {
        let by = i128::from(place) - i128::from(self.at);
        let by = i64::try_from(by).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.file.seek_relative(by)?;
        self.at = place;
        Ok(())
    }

    fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.file.read_exact(&mut bytes)?;
        self.at += count as u64;
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
        let whole = file(&[0, 0], false, 0);
        for length in 0..whole.len() - 8 {
            let found = pages(Cursor::new(&whole[..length])).map_or(0, |pages| pages.len());
            assert!(found <= 1, "{length}: {found}");
        }
        assert!(pages(Cursor::new(b"\x89PNG no TIFF")).is_err());
    }

    #[test]
    fn further_pages_are_found_behind_reduced_copies() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("scan");
        for (kinds, expected) in [
            (&[0, 0][..], true),
            (&[0, 1, 0], true),
            (&[0], false),
            (&[0, 1, 4], false),
        ] {
            std::fs::write(&path, file(kinds, false, 0)).unwrap();
            assert_eq!(has_further_pages(&path).unwrap(), expected, "{kinds:?}");
        }
        std::fs::write(&path, "no TIFF").unwrap();
        assert!(!has_further_pages(&path).unwrap());
        assert!(has_further_pages(&root.path().join("missing")).is_err());
    }

    /// What a source gives of the file of five pages, of which two are pictures.
    fn check(source: &dyn Source, prefix: &str, bytes: &[u8]) {
        let limits = Limits::default();
        let entries: Vec<_> = source.entries().unwrap().map(Result::unwrap).collect();
        let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
        let expected = ["a.png", "scan.tif", "scan.tif#2", "scan.tif#5", "z.png"];
        assert_eq!(keys, expected.map(|key| format!("{prefix}{key}")));
        assert_eq!(entries[1].read(&limits).unwrap(), bytes);
        for entry in &entries {
            let found = source.get(&entry.key).unwrap();
            assert_eq!(found.location, entry.location);
            assert_eq!(found.read(&limits).unwrap(), entry.read(&limits).unwrap());
        }
        let pages: HashSet<_> = entries[1..4]
            .iter()
            .map(|entry| entry.read(&limits).unwrap())
            .collect();
        assert_eq!(pages.len(), 3, "contents differ where pages do");
        for missing in ["scan.tif#3", "scan.tif#02", "a.png#2"] {
            assert!(source.get(&format!("{prefix}{missing}")).is_err());
        }
        let one = Arc::new(|key: &str| key.ends_with("scan.tif#5"));
        let wanted: Vec<_> = source.entries_wanted(one).unwrap().flatten().collect();
        assert_eq!(wanted.len(), 1);
        assert_eq!(wanted[0].key, format!("{prefix}scan.tif#5"));
    }

    #[test]
    fn archives_have_pages_too() {
        let root = tempfile::tempdir().unwrap();
        let scan = file(&[0, 2, 1, 4, 0], false, 0);
        let members: [(&str, &[u8]); 3] = [("a.png", b"1"), ("scan.tif", &scan), ("z.png", b"2")];
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(1);
            tar.append_data(&mut header, name, bytes).unwrap();
        }
        let tar = tar.into_inner().unwrap();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        io::Write::write_all(&mut packed, &tar).unwrap();
        let options = SourceOptions::default();
        for (name, bytes) in [("x.tar", tar), ("x.tar.gz", packed.finish().unwrap())] {
            let path = root.path().join(name);
            std::fs::write(&path, &bytes).unwrap();
            let source = open(path.to_str().unwrap(), &options).unwrap();
            check(&*source, "", &scan);
            let memory = crate::open_bytes(name, bytes, &options).unwrap();
            check(&*memory, "", &scan);
        }
        let pattern = root.path().join("*.tar");
        let shards = open(pattern.to_str().unwrap(), &options).unwrap();
        check(&*shards, "x.tar/", &scan);
    }
}

//! Images that come as bytes, one by one, instead of from a source: each becomes a file in the
//! gallery's own folder, and a point of the source [`UPLOADS_SOURCE`].
//!
//! What was reported stored is on disk: first the file, then the thumbnail, then the point.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lookalike_files::replace_file;
use lookalike_gallery::{Gallery, Point, Upserted, point_id};
use lookalike_images::{Format, decode};
use uuid::Uuid;

use crate::indexing::{decode_target, pipeline};
use crate::{DEFAULT_THUMBNAIL_SIDE, Encoder, Error, ImageStream, Reading, Skips};

/// The source of images that came as bytes. No folder is called so: their names are absolute paths.
pub const UPLOADS_SOURCE: &str = "uploads";
/// The most bytes of a file's name, without its hash and extension; file systems take 255.
const MAX_NAME: usize = 100;
/// Hexadecimal digits of the content's BLAKE3 in a file's name: enough that nobody finds two
/// contents that share them.
const HASH_DIGITS: usize = 32;
/// Files whose points are looked up at a time.
const SWEPT_AT_ONCE: usize = 1_000;

/// Where a gallery's uploads are.
pub(crate) fn folder(gallery: &Path) -> PathBuf {
    gallery.join(UPLOADS_SOURCE)
}

/// What opens a source of a gallery's points: its name, but for [uploads](UPLOADS_SOURCE), which
/// lie in the gallery's own folder, wherever that is now.
pub(crate) fn place(gallery: &str, source: &str) -> String {
    match source {
        UPLOADS_SOURCE => folder(Path::new(gallery)).display().to_string(),
        source => source.to_owned(),
    }
}

/// An image that came as bytes.
#[derive(Clone, Copy, Debug)]
pub struct Upload<'a> {
    /// What its file was called; any text.
    pub name: &'a str,
    /// What it shows.
    pub label: Option<&'a str>,
    /// A picture file.
    pub bytes: &'a [u8],
}

/// What became of an [`Upload`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is a new point.
    Added(Uuid),
    /// It took the place of another image, as the same point.
    Changed(Uuid),
    /// The gallery had this content already, as this point.
    Unchanged(Uuid),
    /// It is no picture that can be taken, for this reason; nothing was stored.
    Refused(String),
}

/// Adds, replaces and deletes single images.
pub struct Uploads {
    folder: PathBuf,
    reading: Reading,
    /// Held while files are named and written.
    writing: Mutex<()>,
}

impl Uploads {
    /// Keeps files in the folder of the gallery at `gallery`. `reading` has the limits; images are
    /// labelled when they are [added](Self::add).
    pub fn of(gallery: &Path, reading: Reading) -> Self {
        Self {
            folder: folder(gallery),
            reading,
            writing: Mutex::new(()),
        }
    }

    /// Stores images; says of each what became of it, in their order. Content that the gallery has
    /// already is not stored again.
    ///
    /// # Errors
    ///
    /// When a label can be no folder's name, or the disk or the gallery cannot be written. Some of
    /// the images may be stored then; adding all of them again does no harm.
    pub fn add(
        &self,
        gallery: &dyn Gallery,
        encoder: &dyn Encoder,
        uploads: &[Upload],
    ) -> Result<Vec<Stored>, Error> {
        for label in uploads.iter().filter_map(|upload| upload.label) {
            check_label(label)?;
            self.check_place(label)?;
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let hashes: Vec<String> = uploads
            .iter()
            .map(|upload| blake3::hash(upload.bytes).to_hex().to_string())
            .collect();
        let known = gallery.with_content(&hashes.iter().map(String::as_str).collect::<Vec<_>>())?;
        // What becomes of each content.
        let mut stored: HashMap<&str, Stored> = hashes
            .iter()
            .filter_map(|hash| Some((hash.as_str(), Stored::Unchanged(known.get(hash)?.id))))
            .collect();
        // The content and the key of each file.
        let mut written: Vec<(&str, String)> = Vec::new();
        for (upload, hash) in uploads.iter().zip(&hashes) {
            let seen = written.iter().any(|(other, _)| other == hash);
            if seen || stored.contains_key(hash.as_str()) {
                continue;
            }
            match Format::of(upload.bytes) {
                Ok(format) => match self.write(gallery, upload, format, hash) {
                    Ok(key) => written.push((hash, key)),
                    Err(error) => {
                        written.iter().for_each(|(_, key)| self.remove(key));
                        return Err(error);
                    }
                },
                Err(error) => drop(stored.insert(hash, Stored::Refused(error.to_string()))),
            }
        }
        let keys: Vec<&str> = written.iter().map(|(_, key)| key.as_str()).collect();
        let outcomes = match self.index(gallery, encoder, &keys) {
            Ok((outcomes, _)) => outcomes,
            Err(error) => {
                self.remove_unknown(gallery, &keys);
                return Err(error);
            }
        };
        for ((hash, key), outcome) in written.iter().zip(outcomes) {
            let outcome = outcome.map_or_else(
                |reason| {
                    self.remove(key);
                    Stored::Refused(reason)
                },
                Stored::Added,
            );
            stored.insert(hash, outcome);
        }
        let mut answers = Vec::with_capacity(uploads.len());
        for hash in &hashes {
            let outcome = stored[hash.as_str()].clone();
            if let Stored::Added(id) = outcome {
                // The same content once more finds this one there.
                stored.insert(hash, Stored::Unchanged(id));
            }
            answers.push(outcome);
        }
        Ok(answers)
    }

    /// Puts other content in the place of an image that was [added](Self::add); its id stays.
    ///
    /// # Errors
    ///
    /// When the point is no upload, or the disk or the gallery cannot be written.
    pub fn replace(
        &self,
        gallery: &dyn Gallery,
        encoder: &dyn Encoder,
        point: &Point,
        bytes: &[u8],
    ) -> Result<Stored, Error> {
        if !is_upload(point) {
            return Err(Error::NotAnUpload {
                key: point.payload.key.clone(),
                source_name: point.payload.source.clone(),
            });
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join(&point.payload.key);
        if *blake3::hash(bytes).to_hex() == *point.payload.blake3 && path.exists() {
            return Ok(Stored::Unchanged(point.id));
        }
        // Check that the new bytes can be decoded before they replace what is there.
        let mut options = self.reading.decode.clone();
        options.target = Some(decode_target(encoder, DEFAULT_THUMBNAIL_SIDE));
        if let Err(error) = decode(bytes, &options) {
            return Ok(Stored::Refused(error.to_string()));
        }
        let before = match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(source) => return Err(Error::io("read", &path)(source)),
        };
        self.put(&path, bytes)?;
        let indexed = self.index(gallery, encoder, &[&point.payload.key]);
        let is_stored = matches!(&indexed, Ok((outcomes, _)) if outcomes.iter().all(Result::is_ok));
        if let (false, Some(before)) = (is_stored, before) {
            // The gallery still describes what was there.
            self.put(&path, &before)?;
        }
        let (mut outcomes, stored) = indexed?;
        Ok(match outcomes.pop().expect("one was asked for") {
            Ok(id) if stored.added > 0 => Stored::Added(id),
            Ok(id) => Stored::Changed(id),
            Err(reason) => Stored::Refused(reason),
        })
    }

    /// Deletes points, and the files of those that were [added](Self::add); originals elsewhere
    /// stay. Says how many points were there.
    ///
    /// # Errors
    ///
    /// When the gallery cannot be written.
    pub fn delete(&self, gallery: &dyn Gallery, ids: &[Uuid]) -> Result<usize, Error> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let points = gallery.retrieve(ids)?;
        let deleted = gallery.delete(ids)?;
        for point in points.iter().filter(|point| is_upload(point)) {
            self.remove(&point.payload.key);
        }
        Ok(deleted)
    }

    /// Removes files of uploads that have no point: an earlier process ended while it added them,
    /// and told nobody that they were stored. Files that were put here in another way stay. No
    /// other process may add images here meanwhile. Says how many were removed.
    ///
    /// # Errors
    ///
    /// When the gallery cannot be read.
    pub fn sweep(&self, gallery: &dyn Gallery) -> Result<usize, Error> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = Vec::new();
        for (name, path) in listed(&self.folder) {
            if path.is_dir() {
                let inside = listed(&path).into_iter();
                keys.extend(inside.map(|(inner, _)| format!("{name}/{inner}")));
            } else {
                keys.push(name);
            }
        }
        keys.retain(|key| is_own_name(key));
        let mut removed = 0;
        for keys in keys.chunks(SWEPT_AT_ONCE) {
            let ids: Vec<Uuid> = keys
                .iter()
                .map(|key| point_id(UPLOADS_SOURCE, key))
                .collect();
            let there = gallery.existing(&ids)?;
            for (key, _) in keys
                .iter()
                .zip(&ids)
                .filter(|(_, id)| !there.contains_key(id))
            {
                self.remove(key);
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Refuses a label whose folder cannot be made because a file is called so.
    fn check_place(&self, label: &str) -> Result<(), Error> {
        match self.folder.join(label).is_file() {
            false => Ok(()),
            true => Err(Error::LabelTaken {
                label: label.to_owned(),
            }),
        }
    }

    /// Writes a file under a key of its own; says which.
    ///
    /// The key, and with it the point's id, follows from the content: two servers that receive
    /// different images of the same name at once store two, though neither knows of the other's.
    fn write(
        &self,
        gallery: &dyn Gallery,
        upload: &Upload,
        format: Format,
        hash: &str,
    ) -> Result<String, Error> {
        let (stem, extension) = (stem(upload.name), extension(format));
        let digits = &hash[..HASH_DIGITS];
        for number in 1.. {
            let name = match number {
                1 => format!("{stem}-{digits}.{extension}"),
                _ => format!("{stem}-{digits}-{number}.{extension}"),
            };
            let key = match upload.label {
                Some(label) => format!("{label}/{name}"),
                None => name,
            };
            let path = self.folder.join(&key);
            // Another image may have been put in the place of the one that the key was made for.
            let id = point_id(UPLOADS_SOURCE, &key);
            let there = gallery.existing(&[id])?;
            let is_taken = there.get(&id).is_some_and(|other| other != hash)
                || fs::read(&path).is_ok_and(|other| other != upload.bytes);
            if !is_taken {
                self.put(&path, upload.bytes)?;
                return Ok(key);
            }
        }
        unreachable!("there are more numbers than files")
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let folder = path.parent().expect("it is in our folder");
        fs::create_dir_all(folder).map_err(|error| Error::unwritten(folder, error))?;
        replace_file(path, bytes).or_else(|error| {
            // Another server may be writing the same content to a folder that both share.
            match fs::read(path).is_ok_and(|there| there == bytes) {
                true => Ok(()),
                false => Err(Error::unwritten(path, error)),
            }
        })
    }

    /// Brings the points of files up to date.
    fn index(
        &self,
        gallery: &dyn Gallery,
        encoder: &dyn Encoder,
        keys: &[&str],
    ) -> Result<(Vec<Result<Uuid, String>>, Upserted), Error> {
        if keys.is_empty() {
            return Ok(Default::default());
        }
        let source = self.source()?;
        pipeline::store_some(
            &source,
            UPLOADS_SOURCE,
            keys,
            encoder,
            gallery,
            DEFAULT_THUMBNAIL_SIDE,
        )
    }

    fn source(&self) -> Result<ImageStream, Error> {
        let spec = self.folder.to_str().ok_or_else(|| {
            Error::Unusable(format!(
                "cannot add images at {}: the path is no UTF-8; give the gallery another one",
                self.folder.display()
            ))
        })?;
        ImageStream::open(spec, self.reading.clone(), Arc::new(Skips::default()))
    }

    /// Removes those of the files that have no point: on a full disk they would only be in the way.
    fn remove_unknown(&self, gallery: &dyn Gallery, keys: &[&str]) {
        let ids: Vec<Uuid> = keys
            .iter()
            .map(|key| point_id(UPLOADS_SOURCE, key))
            .collect();
        // Where that cannot be known either, the files stay.
        let Ok(there) = gallery.existing(&ids) else {
            return;
        };
        for (key, id) in keys.iter().zip(&ids) {
            if !there.contains_key(id) {
                self.remove(key);
            }
        }
    }

    /// A file that no point needs harms nobody, so that failing is no error.
    fn remove(&self, key: &str) {
        let _ = fs::remove_file(self.folder.join(key));
    }
}

/// The names and paths of what lies in a folder; nothing if it cannot be listed.
fn listed(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect()
}

/// Whether a file was called so by [`Uploads::write`], or while it wrote: `STEM-HASH.EXTENSION`,
/// `STEM-HASH-NUMBER.EXTENSION`, with `.part` behind while incomplete.
fn is_own_name(key: &str) -> bool {
    let name = key.strip_suffix(".part").unwrap_or(key);
    let Some((stem, _)) = name.rsplit_once('.') else {
        return false;
    };
    let numbered = stem.rsplit_once('-').filter(|(_, number)| {
        number.len() < HASH_DIGITS && number.bytes().all(|digit| digit.is_ascii_digit())
    });
    let stem = numbered.map_or(stem, |(stem, _)| stem);
    stem.rsplit_once('-').is_some_and(|(_, hash)| {
        let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        hash.len() == HASH_DIGITS && hash.bytes().all(is_digit)
    })
}

fn is_upload(point: &Point) -> bool {
    point.payload.source == UPLOADS_SOURCE
}

/// Labels are the names of folders, as in any folder of images.
fn check_label(label: &str) -> Result<(), Error> {
    let plain = !label.is_empty()
        && label.len() <= MAX_NAME
        && label == label.trim()
        && !label.starts_with('.')
        && !label.ends_with('.')
        && !is_reserved(label)
        && label.chars().all(is_plain);
    match plain {
        true => Ok(()),
        false => Err(Error::BadLabel {
            label: label.escape_debug().take(100).collect(),
            max: MAX_NAME,
        }),
    }
}

/// Characters that every file system takes in a name.
fn is_plain(character: char) -> bool {
    !character.is_control() && !is_bidirectional(character) && !"/\\:*?\"<>|".contains(character)
}

/// Characters that turn the direction of text around, so that `gnp.exe` reads as `exe.png`.
fn is_bidirectional(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Names that mean devices on Windows, with any extension: a gallery may be copied there.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let stem = stem.to_ascii_lowercase();
    let numbered = stem
        .strip_prefix("com")
        .or_else(|| stem.strip_prefix("lpt"));
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul")
        || numbered.is_some_and(|number| {
            let mut digits = number.chars();
            digits
                .next()
                .is_some_and(|c| c.is_ascii_digit() || "¹²³".contains(c))
                && digits.next().is_none()
        })
}

/// A name that is safe on every file system, without an extension.
fn stem(name: &str) -> String {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = base.rsplit_once('.').map_or(base, |(stem, _)| stem);
    let clean: String = stem
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    let mut clean = clean.trim_matches([' ', '.']);
    if clean.len() > MAX_NAME {
        let end = (0..=MAX_NAME).rev().find(|&at| clean.is_char_boundary(at));
        clean = &clean[..end.unwrap_or(0)];
    }
    match clean {
        "" => "image".to_owned(),
        clean => clean.trim_end_matches([' ', '.']).to_owned(),
    }
}

fn extension(format: Format) -> &'static str {
    match format {
        Format::Jpeg => "jpg",
        Format::Png => "png",
        Format::WebP => "webp",
        Format::Gif => "gif",
        Format::Bmp => "bmp",
        Format::Tiff => "tif",
        // One that is decoded but has no name here yet is told by its content all the same.
        _ => "png",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_stay_in_the_folder() {
        for (name, expected) in [
            ("holiday.jpg", "holiday"),
            ("../../etc/passwd", "passwd"),
            ("C:\\pictures\\cat.png", "cat"),
            ("..", "image"),
            ("", "image"),
            (".hidden.png", "hidden"),
            ("a\0b\n.png", "a_b_"),
            ("two.dots.png", "two.dots"),
            ("a:b*c?.gif", "a_b_c_"),
            ("größe.png", "größe"),
            ("photo\u{202e}gnp.exe", "photo_gnp"),
        ] {
            assert_eq!(stem(name), expected, "{name:?}");
        }
        let long = stem(&"ü".repeat(300));
        assert!(long.len() <= MAX_NAME && !long.is_empty());
    }

    #[test]
    fn labels_are_names_of_folders() {
        for good in [
            "3",
            "a cat",
            "größe",
            "a.b",
            "console",
            "com10",
            "auxiliary",
        ] {
            assert!(check_label(good).is_ok(), "{good}");
        }
        let long = "x".repeat(101);
        for bad in [
            "",
            " a",
            "a ",
            "..",
            ".a",
            "a.",
            "a/b",
            "a\\b",
            "a\0",
            "a:b",
            "con",
            "NUL.txt",
            "Com1",
            "lpt9.a",
            "a\u{202e}b",
            &long,
        ] {
            let message = check_label(bad).unwrap_err().to_string();
            assert!(message.contains("cannot be used"), "{message}");
        }
    }

    #[test]
    fn only_files_of_our_own_names_are_swept() {
        let hash = "0123456789abcdef0123456789abcdef";
        for own in [
            format!("cat-{hash}.png"),
            format!("pets/cat-{hash}-2.jpg"),
            format!("cat-{hash}.png.part"),
        ] {
            assert!(is_own_name(&own), "{own}");
        }
        for other in [
            "cat.png".to_owned(),
            "cat-2.png".to_owned(),
            format!("{hash}.png"),
            format!("cat-{hash}"),
            format!("cat-{}.png", &hash[1..]),
            format!("cat-{hash}-mine.png"),
        ] {
            assert!(!is_own_name(&other), "{other}");
        }
    }
}

//! Images that come as bytes, one by one, instead of from a source: each becomes a file in the gallery's own folder,
//! and a point of the source [`UPLOADS`].
//!
//! What was reported stored is on disk: first the file, then the thumbnail, then the point.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lookalike_autoencoder::Autoencoder;
use lookalike_gallery::{Gallery, Point, Upserted, point_id};
use lookalike_images::{Format, decode, replace_file};
use uuid::Uuid;

use crate::indexing::{decode_target, files};
use crate::{Error, Reading, Skips, Source, THUMBNAIL, open_source};

/// The source of images that came as bytes. No folder is called so: their names are absolute paths.
pub const UPLOADS: &str = "uploads";
/// The most bytes of a file's name, without its extension; file systems take 255.
const LONGEST_NAME: usize = 100;

/// Where a gallery's uploads are.
pub(crate) fn folder(gallery: &Path) -> PathBuf {
    gallery.join(UPLOADS)
}

/// What opens a source of a gallery's points: its name, but for [uploads](UPLOADS), which lie in the gallery's own
/// folder, wherever that is now.
pub(crate) fn place(gallery: &str, source: &str) -> String {
    match source {
        UPLOADS => folder(Path::new(gallery)).display().to_string(),
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
    /// Keeps files in the folder of the gallery at `gallery`. `reading` has the limits; images are labelled when they
    /// are [added](Self::add).
    pub fn of(gallery: &Path, reading: Reading) -> Self {
        Self {
            folder: folder(gallery),
            reading,
            writing: Mutex::new(()),
        }
    }

    /// Stores images; says of each what became of it, in their order. Content that the gallery has already is not
    /// stored again.
    ///
    /// # Errors
    ///
    /// When a label can be no folder's name, or the disk or the gallery cannot be written. Some of the images may be
    /// stored then; adding all of them again does no harm.
    pub fn add(
        &self,
        gallery: &dyn Gallery,
        model: &Autoencoder,
        uploads: &[Upload],
    ) -> Result<Vec<Stored>, Error> {
        for label in uploads.iter().filter_map(|upload| upload.label) {
            check_label(label)?;
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
                Ok(format) => match self.write(upload, format, hash) {
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
        let outcomes = match self.index(gallery, model, &keys) {
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
        model: &Autoencoder,
        point: &Point,
        bytes: &[u8],
    ) -> Result<Stored, Error> {
        if !is_upload(point) {
            return Err(Error::Unusable(format!(
                "{} belongs to the source {}: change it there and index that again; only images that were added one by one can be replaced one by one",
                point.payload.key, point.payload.source
            )));
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join(&point.payload.key);
        if *blake3::hash(bytes).to_hex() == *point.payload.blake3 && path.exists() {
            return Ok(Stored::Unchanged(point.id));
        }
        // The one that is there must not make way for one that is none.
        let mut options = self.reading.decode.clone();
        options.target = Some(decode_target(model, THUMBNAIL));
        if let Err(error) = decode(bytes, &options) {
            return Ok(Stored::Refused(error.to_string()));
        }
        self.put(&path, bytes)?;
        let (mut outcomes, stored) = self.index(gallery, model, &[&point.payload.key])?;
        Ok(match outcomes.pop().expect("one was asked for") {
            Ok(id) if stored.added > 0 => Stored::Added(id),
            Ok(id) => Stored::Changed(id),
            Err(reason) => Stored::Refused(reason),
        })
    }

    /// Deletes points, and the files of those that were [added](Self::add); originals elsewhere stay. Says how many
    /// points were there.
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

    /// Writes a file under a key of its own; says which.
    fn write(&self, upload: &Upload, format: Format, hash: &str) -> Result<String, Error> {
        let (stem, extension) = (stem(upload.name), extension(format));
        let of = |stem: &str| match upload.label {
            Some(label) => format!("{label}/{stem}.{extension}"),
            None => format!("{stem}.{extension}"),
        };
        let mut key = of(&stem);
        if self.folder.join(&key).exists() {
            // Contents that are there have been told apart by now: this is another one.
            key = of(&format!("{stem}-{}", &hash[..16]));
        }
        self.put(&self.folder.join(&key), upload.bytes)?;
        Ok(key)
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let folder = path.parent().expect("it is in our folder");
        fs::create_dir_all(folder).map_err(|error| Error::unwritten(folder, error))?;
        replace_file(path, bytes).map_err(|error| Error::unwritten(path, error))
    }

    /// Brings the points of files up to date.
    fn index(
        &self,
        gallery: &dyn Gallery,
        model: &Autoencoder,
        keys: &[&str],
    ) -> Result<(Vec<Result<Uuid, String>>, Upserted), Error> {
        if keys.is_empty() {
            return Ok(Default::default());
        }
        let source = self.source()?;
        files::store_some(&source, UPLOADS, keys, model, gallery, THUMBNAIL)
    }

    fn source(&self) -> Result<Source, Error> {
        let spec = self.folder.to_str().ok_or_else(|| {
            Error::Unusable(format!(
                "cannot add images at {}: the path is no UTF-8; give the gallery another one",
                self.folder.display()
            ))
        })?;
        open_source(spec, self.reading.clone(), Arc::new(Skips::default()))
    }

    /// Removes those of the files that have no point: on a full disk they would only be in the way.
    fn remove_unknown(&self, gallery: &dyn Gallery, keys: &[&str]) {
        let ids: Vec<Uuid> = keys.iter().map(|key| point_id(UPLOADS, key)).collect();
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

fn is_upload(point: &Point) -> bool {
    point.payload.source == UPLOADS
}

/// Labels are the names of folders, as in any folder of images.
fn check_label(label: &str) -> Result<(), Error> {
    let plain = !label.is_empty()
        && label.len() <= LONGEST_NAME
        && label == label.trim()
        && !label.starts_with('.')
        && label.chars().all(is_plain);
    match plain {
        true => Ok(()),
        false => Err(Error::Unusable(format!(
            "the label '{}' cannot be used: a label is 1 to {LONGEST_NAME} bytes without / \\ : * ? \" < > | and control characters, and does not begin with a dot or a space",
            label.escape_debug().take(100).collect::<String>()
        ))),
    }
}

/// Characters that every file system takes in a name.
fn is_plain(character: char) -> bool {
    !character.is_control() && !"/\\:*?\"<>|".contains(character)
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
    if clean.len() > LONGEST_NAME {
        let end = (0..=LONGEST_NAME)
            .rev()
            .find(|&at| clean.is_char_boundary(at));
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
        ] {
            assert_eq!(stem(name), expected, "{name:?}");
        }
        let long = stem(&"ü".repeat(300));
        assert!(long.len() <= LONGEST_NAME && !long.is_empty());
    }

    #[test]
    fn labels_are_names_of_folders() {
        for good in ["3", "a cat", "größe", "a.b"] {
            assert!(check_label(good).is_ok(), "{good}");
        }
        let long = "x".repeat(101);
        for bad in [
            "", " a", "a ", "..", ".a", "a/b", "a\\b", "a\0", "a:b", &long,
        ] {
            let message = check_label(bad).unwrap_err().to_string();
            assert!(message.contains("cannot be used"), "{message}");
        }
    }
}

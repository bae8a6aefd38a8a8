//! Where images come from.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::decode::{DecodeOptions, Decoded, decode_file};
use crate::error::SourceError;
use crate::idx::IdxSource;
use crate::mnist;
use crate::pixels::Image;

/// The images of a source, one after another; after an error there is nothing more to expect.
pub type Images<'a> = Box<dyn Iterator<Item = Result<Image, SourceError>> + Send + 'a>;

/// A collection of images, read one after another; keys are unique and stable within a source.
pub trait Source: Send + Sync {
    /// The source's own name: `mnist:test`, or a path, canonical and absolute.
    fn name(&self) -> &str;

    /// The number of images, if it is known without reading them all.
    ///
    /// It is what the source promises; a damaged source may give fewer, and then an error.
    fn len(&self) -> Option<usize>;

    /// Whether the source is known to have no images.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Begins reading from the first image.
    ///
    /// # Errors
    ///
    /// When the source cannot be opened. What happens later comes out of the iterator.
    fn read(&self) -> Result<Images<'_>, SourceError>;

    /// The image with a key. Reads the source up to it, unless the source knows a shorter way.
    ///
    /// # Errors
    ///
    /// [`SourceError::NoSuchImage`], and those of reading.
    fn get(&self, key: &str) -> Result<Image, SourceError> {
        for image in self.read()? {
            let image = image?;
            if image.key == key {
                return Ok(image);
            }
        }
        Err(SourceError::NoSuchImage {
            name: self.name().to_owned(),
            key: key.to_owned(),
            hint: "no key of this source reads so".to_owned(),
        })
    }
}

/// Opens a source: `mnist:train`, `mnist:test`, or the path of an IDX file, packed with gzip or not.
///
/// MNIST is looked for on this machine and otherwise downloaded; see [`mnist`].
///
/// # Errors
///
/// When `spec` names nothing that can be opened, or the files are damaged.
pub fn open(spec: &str) -> Result<Box<dyn Source>, SourceError> {
    if let Some(part) = spec.strip_prefix("mnist:") {
        let part = part.parse().map_err(|reason| refuse(spec, reason))?;
        return Ok(Box::new(mnist::open(part)?));
    }
    let path = Path::new(spec);
    if path.is_dir() {
        let reason = "it is a folder; give an IDX file of images, mnist:train or mnist:test";
        return Err(refuse(spec, reason));
    }
    if !path.exists() {
        let reason =
            "there is no such file; a source is an IDX file of images, mnist:train or mnist:test";
        return Err(refuse(spec, reason));
    }
    Ok(Box::new(IdxSource::open(path)?))
}

/// Opens one image: a picture file of any [`Format`](crate::Format), or one image of a source as `SOURCE#KEY`
/// (`mnist:test#7`).
///
/// The key of a picture file is its name, that of another image the one it has in its source.
///
/// # Errors
///
/// When `spec` names nothing that can be opened, the source has no such key, or the file is damaged.
pub fn open_image(spec: &str) -> Result<Image, SourceError> {
    open_image_in_source(spec).map(|(_, image)| image)
}

/// As [`open_image`], with the name of the source that the image belongs to before it; for a picture
/// file that is its folder.
///
/// # Errors
///
/// As [`open_image`].
pub fn open_image_in_source(spec: &str) -> Result<(String, Image), SourceError> {
    let path = Path::new(spec);
    if path.is_file() {
        return open_picture(spec, path);
    }
    // Names of files and keys may hold a '#' too: the first one that divides them into a source and
    // a key of it does.
    let mut failed = None;
    for (at, _) in spec.match_indices('#') {
        let (source, key) = (&spec[..at], &spec[at + 1..]);
        let found = open(source).and_then(|source| {
            let image = source.get(key)?;
            Ok((source.name().to_owned(), image))
        });
        match found {
            Ok(found) => return Ok(found),
            Err(error) => {
                // The most telling is of a source that exists.
                let exists = source.starts_with("mnist:") || Path::new(source).exists();
                if failed.is_none() || exists {
                    failed = Some(error);
                }
            }
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let reason = match spec {
        "mnist:train" | "mnist:test" => {
            "it is a whole collection; name one image of it: mnist:test#7"
        }
        _ => {
            "there is no such file; an image is a picture file (JPEG, PNG, WebP, GIF, BMP, TIFF) or one of a source, as in mnist:test#7"
        }
    };
    Err(refuse(spec, reason))
}

fn open_picture(spec: &str, path: &Path) -> Result<(String, Image), SourceError> {
    if is_packed_or_idx(path) {
        let reason =
            format!("it is not a picture but perhaps an IDX file; name one image of it: {spec}#7");
        return Err(refuse(spec, reason));
    }
    let in_context = |source| SourceError::Io {
        doing: "open",
        path: path.to_owned(),
        source,
    };
    let canonical = path.canonicalize().map_err(in_context)?;
    let decoded = decode_file(&canonical, &DecodeOptions::default());
    let Decoded { pixels, .. } = decoded.map_err(|source| SourceError::Image {
        name: spec.to_owned(),
        source,
    })?;
    let part =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let folder = part(canonical.parent().map(Path::as_os_str));
    let key = part(canonical.file_name());
    let image = Image {
        key,
        label: None,
        pixels,
    };
    Ok((folder, image))
}

/// Whether a file begins as IDX or gzip does.
fn is_packed_or_idx(path: &Path) -> bool {
    let mut start = [0xff; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && matches!(start, [0, 0, 8, _] | [0x1f, 0x8b, ..])
}

fn refuse(spec: &str, reason: impl Into<String>) -> SourceError {
    SourceError::Spec {
        spec: spec.to_owned(),
        reason: reason.into(),
    }
}

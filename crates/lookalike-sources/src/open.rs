//! From what a user typed to a source.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::blob::{Blob, LocalFile};
use crate::entry::{Content, Entry, regular_file};
use crate::error::SourceError;
use crate::folder::{Folder, canonical, utf8};
use crate::glob;
use crate::idx::{self, Idx};
use crate::limits::Limits;
use crate::mnist;
use crate::names::{is_image, parent};
#[cfg(feature = "parquet")]
use crate::parquet::Parquet;
use crate::paths::existing;
#[cfg(feature = "remote")]
use crate::remote;
use crate::shards::{Opener, Shards};
use crate::single::Single;
use crate::skipped::{SkipKind, SkipReason, Skipped};
use crate::source::{LabelFrom, Source, SourceOptions};
use crate::table::{Beside, Format, Found, LocalFolder, Table};
use crate::tar::{Packing, Tar};
use crate::tiff_pages::Paged;
use crate::zip::Zip;

/// Opens a source of images.
///
/// | what is typed | what it is |
/// |---|---|
/// | `photos` | a folder and the folders in it |
/// | `x.zip`, `x.tar`, `x.tar.gz`, `x.tgz`, `x.tar.zst` | an archive |
/// | `x.parquet` | a table with images inside, as Hugging Face writes them |
/// | `x.csv`, `x.tsv`, `x.jsonl` | a list of images beside it |
/// | `x.jpg` | one image |
/// | `mnist:train`, `mnist:test` | [MNIST](mnist), from this machine or downloaded |
/// | `x-images-idx3-ubyte`, `x.idx`, packed with gzip or not | an [IDX](crate::idx) file |
/// | `shards/{000..127}.tar`, `shards/*.parquet`, `photos/**/*.png` | all of those |
/// | `s3://…`, `gs://…`, `az://…`, `https://…` | the same in an object store; what is none of them is a folder |
///
/// A file whose name has braces or wildcards in it is opened as it is.
///
/// # Errors
///
/// When `spec` names nothing that can be opened, or a container of which nothing can be read.
pub fn open(spec: &str, options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    // A name of a file may look like an address, or like a pattern.
    if let Some(path) = existing(Path::new(spec)) {
        return open_local(&path, options);
    }
    if let Some(part) = spec.strip_prefix("mnist:") {
        let part = part.parse().map_err(|reason| refuse(spec, reason))?;
        return Ok(Box::new(mnist::open(part)?.label_from(&options.label)));
    }
    if spec.contains("://") {
        #[cfg(feature = "remote")]
        return remote::open(spec, options);
        #[cfg(not(feature = "remote"))]
        return Err(left_out(spec, "object stores and web servers", "remote"));
    }
    if glob::is_pattern(spec) {
        return open_pattern(spec, options);
    }
    Err(refuse(
        spec,
        format!("there is no such file or folder; a source is {SOURCES}"),
    ))
}

/// What a source can be, in words.
pub const SOURCES: &str = "a folder, an archive (zip, tar, tar.gz, tar.zst), a table (parquet, csv, tsv, jsonl), a pattern \
                           of those, an address, an IDX file, mnist:train or mnist:test";

/// Opens a container or a list that is in memory already, such as one that was downloaded. Its name
/// tells what it is; it may be a path or an address and is not looked at. There is nothing beside a
/// list in memory, so that its images are all passed over as missing.
///
/// # Errors
///
/// As [`open`].
pub fn open_bytes(
    name: &str,
    bytes: Vec<u8>,
    options: &SourceOptions,
) -> Result<Box<dyn Source>, SourceError> {
    let bytes = Bytes::from(bytes);
    let kind = Kind::of(name).ok_or_else(|| refuse(name, UNKNOWN))?;
    if kind == Kind::Image {
        let key = name.rsplit('/').next().unwrap_or_default().to_owned();
        return Ok(Box::new(Single::new(
            name.to_owned(),
            image_in_memory(name, key, bytes, options),
            &options.limits,
        )));
    }
    let beside = Arc::new(Nothing);
    open_blob(
        kind,
        name.to_owned(),
        Arc::new(bytes),
        true,
        beside,
        options,
    )
}

fn image_in_memory(
    name: &str,
    key: String,
    bytes: Bytes,
    options: &SourceOptions,
) -> Result<Entry, Skipped> {
    if let Err(why) = options.limits.check_item(bytes.len() as u64) {
        return Err(Skipped::new(key, name, why));
    }
    Ok(Entry {
        key,
        label: None,
        sample: None,
        extra: Default::default(),
        location: name.to_owned(),
        stamp: Some(bytes.stamp()),
        content: Content::Bytes(bytes),
    })
}

/// What lies beside a list in memory.
struct Nothing;

impl Beside for Nothing {
    fn find(&self, _: &str, _: &Limits) -> Result<Found, SkipReason> {
        let reason = "the list is in memory, with no files beside it; open it where it lies";
        Err(SkipReason::new(SkipKind::Missing, reason))
    }

    fn location(&self, path: &str) -> String {
        path.to_owned()
    }
}

/// Opens a container or a list by its kind. `local`: see [`Tar::open`].
pub(crate) fn open_blob(
    kind: Kind,
    name: String,
    blob: Arc<dyn Blob>,
    local: bool,
    beside: Arc<dyn Beside>,
    options: &SourceOptions,
) -> Result<Box<dyn Source>, SourceError> {
    let limits = options.limits;
    Ok(match kind {
        Kind::Zip => paged(Zip::open(name, blob, options)?, limits),
        Kind::Tar(packing) => paged(Tar::open(name, blob, packing, local, options)?, limits),
        #[cfg(feature = "parquet")]
        Kind::Parquet => Box::new(Parquet::open(name, blob, options)?),
        #[cfg(not(feature = "parquet"))]
        Kind::Parquet => return Err(left_out(&name, "Parquet files", "parquet")),
        Kind::Table(format) => paged(Table::open(name, blob, format, beside, options)?, limits),
        Kind::Image => return Err(refuse(&name, "it is an image and no container")),
    })
}

/// A container in which pages are images of their own.
pub(crate) fn paged(source: impl Source + 'static, limits: Limits) -> Box<dyn Source> {
    Box::new(Paged { source, limits })
}

/// The error for a kind of source that this program was built without.
#[cfg(not(all(feature = "parquet", feature = "remote")))]
fn left_out(spec: &str, what: &str, feature: &str) -> SourceError {
    let reason = format!(
        "this program was built without {what}; build it with the Cargo feature `{feature}`"
    );
    refuse(spec, reason)
}

/// Said of files whose names tell nothing.
const UNKNOWN: &str = "its name does not tell what it is; it should end in .zip, .tar, .tar.gz, .tar.zst, \
                                  .parquet, .csv, .tsv or .jsonl, or as an image does";

pub(crate) fn refuse(spec: &str, reason: impl Into<String>) -> SourceError {
    SourceError::Spec {
        spec: spec.to_owned(),
        reason: reason.into(),
    }
}

/// What a file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Zip,
    Tar(Packing),
    Parquet,
    Table(Format),
    Image,
}

impl Kind {
    pub(crate) fn of(name: &str) -> Option<Self> {
        const ENDINGS: [(&str, Kind); 13] = [
            (".zip", Kind::Zip),
            (".tar", Kind::Tar(Packing::Plain)),
            (".tar.gz", Kind::Tar(Packing::Gzip)),
            (".tgz", Kind::Tar(Packing::Gzip)),
            (".tar.zst", Kind::Tar(Packing::Zstandard)),
            (".tar.zstd", Kind::Tar(Packing::Zstandard)),
            (".tzst", Kind::Tar(Packing::Zstandard)),
            (".parquet", Kind::Parquet),
            (".csv", Kind::Table(Format::Csv)),
            (".tsv", Kind::Table(Format::Tsv)),
            (".jsonl", Kind::Table(Format::JsonLines)),
            (".ndjson", Kind::Table(Format::JsonLines)),
            (".jsonlines", Kind::Table(Format::JsonLines)),
        ];
        if is_image(name.as_bytes()) {
            return Some(Self::Image);
        }
        let lower = name.to_ascii_lowercase();
        let found = ENDINGS.iter().find(|(ending, _)| lower.ends_with(ending));
        found.map(|(_, kind)| *kind)
    }
}

fn open_local(path: &Path, options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    if path.is_dir() {
        return Ok(Box::new(Folder::open(path, options)?));
    }
    let path = canonical(path)?;
    let name = utf8(&path)?;
    if idx::is_idx(&path) {
        return Ok(Box::new(Idx::open(&path)?.label_from(&options.label)));
    }
    let kind = Kind::of(&name).ok_or_else(|| refuse(&name, UNKNOWN))?;
    if kind == Kind::Image {
        let key = name.rsplit('/').next().unwrap_or_default().to_owned();
        return Ok(Box::new(Single::new(
            name,
            local_image(path, key, options),
            &options.limits,
        )));
    }
    let blob: Arc<dyn Blob> =
        Arc::new(LocalFile::open(&path).map_err(|source| SourceError::Io {
            doing: "open",
            path: path.clone(),
            source,
        })?);
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    open_blob(
        kind,
        name,
        blob,
        true,
        Arc::new(LocalFolder(folder)),
        options,
    )
}

fn local_image(path: PathBuf, key: String, options: &SourceOptions) -> Result<Entry, Skipped> {
    let location = path.to_string_lossy().into_owned();
    let stamp = regular_file(&path).and_then(|stamp| {
        options.limits.check_item(stamp.bytes)?;
        Ok(stamp)
    });
    match stamp {
        Ok(stamp) => Ok(Entry {
            label: match options.label {
                LabelFrom::Default | LabelFrom::Parent => parent(&key),
                LabelFrom::Column(_) | LabelFrom::None => None,
            },
            sample: None,
            extra: Default::default(),
            key,
            location,
            stamp: Some(stamp),
            content: Content::File(path),
        }),
        Err(why) => Err(Skipped::new(key, location, why)),
    }
}

/// The folder that a pattern begins with, and the rest. Leading parts that are there as they are
/// written mean themselves, though they look as if they were to be expanded: `[2020] Trip/*.jpg`.
fn divide_pattern(spec: &str) -> Result<(PathBuf, &str), SourceError> {
    let (folder, mut rest) = split_pattern(spec);
    let folder = Path::new(if folder.is_empty() { "." } else { folder });
    let mut base = canonical(&existing(folder).unwrap_or_else(|| folder.to_owned()))?;
    while let Some((part, behind)) = rest.split_once('/') {
        let Some(next) = existing(&base.join(part)).filter(|next| next.is_dir()) else {
            break;
        };
        base = canonical(&next)?;
        rest = behind;
    }
    Ok((base, rest))
}

/// A pattern's folder up to the first part with something to expand, and the rest.
pub(crate) fn split_pattern(spec: &str) -> (&str, &str) {
    let special = spec.find(['{', '*', '?', '[']).unwrap_or(spec.len());
    match spec[..special].rfind('/') {
        Some(slash) => (&spec[..slash + 1], &spec[slash + 1..]),
        None => ("", spec),
    }
}

fn open_pattern(spec: &str, options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    // On Windows both slashes separate, in patterns one does.
    let portable = cfg!(windows).then(|| spec.replace('\\', "/"));
    let spec = portable.as_deref().unwrap_or(spec);
    let (base, rest) = divide_pattern(spec)?;
    let name = utf8(&base.join(rest))?;
    let mut names = Vec::new();
    for literal in glob::expand_braces(rest).map_err(|reason| refuse(spec, reason))? {
        if !glob::has_wildcards(&literal) || base.join(&literal).exists() {
            names.push(literal);
            continue;
        }
        // The base may have wildcards in its own name.
        for path in glob::local(&base, &literal) {
            let relative = path.strip_prefix(&base).ok().and_then(Path::to_str);
            if let Some(relative) = relative
                && (path.is_dir() || Kind::of(relative).is_some())
            {
                names.push(relative.to_owned());
            }
        }
    }
    if !names.iter().any(|name| base.join(name).exists()) {
        let reason = format!(
            "nothing in {} fits the pattern {rest}; correct it",
            base.display()
        );
        return Err(refuse(spec, reason));
    }
    let opener = LocalOpener {
        base,
        options: options.clone(),
    };
    Ok(Box::new(Shards::new(
        name,
        names,
        Arc::new(opener),
        options,
    )))
}

/// Opens the shards of a pattern on this machine.
struct LocalOpener {
    base: PathBuf,
    options: SourceOptions,
}

impl Opener for LocalOpener {
    fn source(&self, shard: &str) -> Result<Box<dyn Source>, SourceError> {
        open_local(&self.base.join(shard), &self.options)
    }

    fn image(&self, shard: &str) -> Result<Entry, Skipped> {
        local_image(self.base.join(shard), shard.to_owned(), &self.options)
    }

    fn is_image(&self, shard: &str) -> bool {
        Kind::of(shard) == Some(Kind::Image) && !self.is_folder(shard)
    }

    fn is_folder(&self, shard: &str) -> bool {
        self.base.join(shard).is_dir()
    }

    fn location(&self, shard: &str) -> String {
        self.base.join(shard).to_string_lossy().into_owned()
    }

    fn missing(&self, shard: &str) -> Option<SkipReason> {
        let found = std::fs::metadata(self.base.join(shard));
        let error = found.err()?;
        Some(SkipReason::from_io(&error, "open it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_files_are() {
        for (name, kind) in [
            ("a.ZIP", Some(Kind::Zip)),
            ("a.tar", Some(Kind::Tar(Packing::Plain))),
            ("a.b.tar.gz", Some(Kind::Tar(Packing::Gzip))),
            ("a.tgz", Some(Kind::Tar(Packing::Gzip))),
            ("a.tar.zst", Some(Kind::Tar(Packing::Zstandard))),
            ("train-00000-of-00002.parquet", Some(Kind::Parquet)),
            ("a.tsv", Some(Kind::Table(Format::Tsv))),
            ("a.jpeg", Some(Kind::Image)),
            ("a.gz", None),
            ("zip", None),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
    }

    #[test]
    fn whatever_a_file_system_allows_can_be_named() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for name in [
            "[2020] Trip/a.jpg",
            "[2020] Trip/{x,y}/b.jpg",
            "2 Trip/c.jpg",
            "a*b/d.jpg",
            "axb/e.jpg",
            "[1].jpg",
            "https:/f.jpg",
        ] {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        let keys = |spec: &str| {
            let spec = format!("{}/{spec}", root.display());
            let source = open(&spec, &SourceOptions::default()).unwrap();
            let entries = source.entries().unwrap();
            let keys: Vec<_> = entries.map(|entry| entry.unwrap().location).collect();
            keys.into_iter()
                .map(|key| key[root.to_str().unwrap().len() + 1..].to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(keys("[2020] Trip/*.jpg"), ["[2020] Trip/a.jpg"]);
        assert_eq!(keys("[2020] Trip/{x,y}/?.jpg"), ["[2020] Trip/{x,y}/b.jpg"]);
        assert_eq!(keys("[2345] Trip/*.jpg"), ["2 Trip/c.jpg"]);
        assert_eq!(keys("a*b/*.jpg"), ["a*b/d.jpg"]);
        assert_eq!(keys("a?b/*.jpg"), ["a*b/d.jpg", "axb/e.jpg"]);
        assert_eq!(keys("[1].jpg"), ["[1].jpg"]);
        assert_eq!(keys("https:/"), ["https:/f.jpg"]);
        let spec = format!("{}/[2020] Trip/*.png", root.display());
        let error = open(&spec, &SourceOptions::default()).err().unwrap();
        let said = error.to_string();
        assert!(
            said.ends_with("fits the pattern *.png; correct it"),
            "{said}"
        );
    }

    #[test]
    fn patterns_begin_where_their_names_vary() {
        assert_eq!(
            split_pattern("a/b/{1..2}/c*.tar"),
            ("a/b/", "{1..2}/c*.tar")
        );
        assert_eq!(split_pattern("/a/x?/b"), ("/a/", "x?/b"));
        assert_eq!(split_pattern("*.tar"), ("", "*.tar"));
    }
}

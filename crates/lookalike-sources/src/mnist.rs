//! MNIST, the built-in collection: 60,000 training and 10,000 test images of handwritten digits, 28
//! x 28 grey pixels, by Yann LeCun, Corinna Cortes and Christopher J. C. Burges (CC BY-SA 3.0).
//!
//! The four files are looked for, packed or not,
//! 1. in the folder that `LOOKALIKE_DATA` names, or its subfolder `mnist`,
//! 2. in `datasets/mnist` of the checkout around the current folder, or of the one we were built
//!    from,
//! 3. in the user's cache folder, under `lookalike/mnist`,
//!
//! and otherwise downloaded to the last. A download is checked against the known SHA-256; files
//! that are found are taken as they are. [`Places`] holds these as values, for programs that want
//! others.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::download::{DownloadProgress, Wanted, download};
use crate::error::SourceError;
use crate::idx::Idx;

/// One of the two parts of MNIST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The 60,000 training images.
    Train,
    /// The 10,000 test images.
    Test,
}

impl FromStr for Part {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "train" => Ok(Self::Train),
            "test" => Ok(Self::Test),
            _ => Err("MNIST has two parts, mnist:train and mnist:test"),
        }
    }
}

impl Part {
    /// The name under which [`open`](crate::open) knows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "mnist:train",
            Self::Test => "mnist:test",
        }
    }

    /// Images and labels.
    fn files(self) -> [Wanted<'static>; 2] {
        match self {
            Self::Train => [
                Wanted {
                    file: "train-images-idx3-ubyte.gz",
                    bytes: 47_040_016,
                    sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                },
                Wanted {
                    file: "train-labels-idx1-ubyte.gz",
                    bytes: 60_008,
                    sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                },
            ],
            Self::Test => [
                Wanted {
                    file: "t10k-images-idx3-ubyte.gz",
                    bytes: 7_840_016,
                    sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                },
                Wanted {
                    file: "t10k-labels-idx1-ubyte.gz",
                    bytes: 10_008,
                    sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                },
            ],
        }
    }
}

/// Where to look for the files, and where to get them from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Folders that may hold the files, the first one first.
    pub folders: Vec<PathBuf>,
    /// The folder that downloads are kept in; looked in last. Without it nothing is downloaded.
    pub cache: Option<PathBuf>,
    /// The addresses to which a file's name is added, tried in this order.
    pub mirrors: Vec<String>,
}

impl Places {
    /// The places of this user on this machine.
    pub fn of_this_machine() -> Self {
        let mut folders = Vec::new();
        if let Some(data) = std::env::var_os("LOOKALIKE_DATA").map(PathBuf::from) {
            folders.push(data.join("mnist"));
            folders.push(data);
        }
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR"));
        let around = std::env::current_dir().unwrap_or_default();
        for start in [&around, built_from] {
            folders.extend(
                start
                    .ancestors()
                    .map(|folder| folder.join("datasets/mnist")),
            );
        }
        Self {
            folders,
            cache: directories::BaseDirs::new()
                .map(|user| user.cache_dir().join("lookalike/mnist")),
            mirrors: vec![
                "https://ossci-datasets.s3.amazonaws.com/mnist/".to_owned(),
                "https://storage.googleapis.com/cvdf-datasets/mnist/".to_owned(),
            ],
        }
    }

    /// Opens a part, downloading what is nowhere to be found; `progress` is called for every piece.
    ///
    /// # Errors
    ///
    /// [`SourceError::Download`] when no mirror gives a good copy of a file,
    /// [`SourceError::NoCacheFolder`] when there is nowhere to keep one, and those of
    /// [`Idx::open`].
    pub fn open(
        &self,
        part: Part,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> Result<Idx, SourceError> {
        let [images, labels] = part.files();
        let images = self.find(&images, progress)?;
        let labels = self.find(&labels, progress)?;
        Idx::open_named(part.name(), images, Some(labels))
    }

    fn find(
        &self,
        wanted: &Wanted,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> Result<PathBuf, SourceError> {
        let plain = wanted.file.trim_end_matches(".gz");
        let found = self
            .folders
            .iter()
            .chain(&self.cache)
            .flat_map(|folder| [folder.join(wanted.file), folder.join(plain)])
            .find(|path| path.is_file());
        match (found, &self.cache) {
            (Some(path), _) => Ok(path),
            (None, Some(cache)) => download(wanted, &self.mirrors, cache, progress),
            (None, None) => Err(SourceError::NoCacheFolder {
                file: wanted.file.to_owned(),
            }),
        }
    }
}

/// Opens a part from this machine's places; a download reports itself on stderr, four times a file.
///
/// # Errors
///
/// As [`Places::open`].
pub fn open(part: Part) -> Result<Idx, SourceError> {
    let mut reported = 0;
    Places::of_this_machine().open(part, &mut |progress| report(progress, &mut reported))
}

/// Writes a line when a download begins and at each further quarter of it.
fn report(progress: DownloadProgress, reported: &mut u64) {
    let DownloadProgress {
        file,
        address,
        received,
        total,
        ..
    } = progress;
    if received == 0 {
        *reported = 0;
        let _ = writeln!(std::io::stderr(), "downloading {address}");
    } else if let Some(total) = total.filter(|&total| total > 1 << 20) {
        let quarter = received * 4 / total;
        if quarter > *reported {
            *reported = quarter;
            let _ = writeln!(
                std::io::stderr(),
                "{file}: {} of {} KiB",
                received >> 10,
                total >> 10
            );
        }
    }
}

#[cfg(test)]
mod tests;

//! Running the program on small collections.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lookalike::images::{DecodeOptions, Pixels, decode_file};
use lookalike::open;
use serde_json::Value;

/// A folder of its own, with a few of MNIST's images as an IDX file with labels.
pub struct Workplace {
    folder: tempfile::TempDir,
}

impl Workplace {
    /// With the first `count` test images.
    pub fn new(count: usize) -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        place.write_idx(count);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The IDX file of the images.
    pub fn images(&self) -> String {
        self.path("digits-images-idx3-ubyte").display().to_string()
    }

    /// Replaces the images by the first `count` test images.
    pub fn write_idx(&self, count: usize) {
        let source = open("mnist:test").unwrap();
        let digits = source.load(None, Some(count)).unwrap();
        let count = u32::try_from(digits.len()).unwrap();
        let mut images = vec![0, 0, 8, 3];
        for side in [count, 28, 28] {
            images.extend(side.to_be_bytes());
        }
        images.extend(digits.pixels());
        std::fs::write(self.images(), images).unwrap();
        let mut labels = vec![0, 0, 8, 1];
        labels.extend(count.to_be_bytes());
        labels.extend((0..digits.len()).map(|i| digits.label(i).unwrap().parse::<u8>().unwrap()));
        std::fs::write(self.path("digits-labels-idx1-ubyte"), labels).unwrap();
        assert_eq!(open(&self.images()).unwrap().len_hint(), Some(digits.len()));
    }

    /// Adds the folder `clip`: a tiny model of digits and their names, as Hugging Face has them.
    #[allow(dead_code, reason = "not every test of the program needs it")]
    pub fn add_tiny_clip(&self) {
        let from = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../lookalike-pretrained/tests/fixtures/tiny-clip"
        );
        copy(from.as_ref(), &self.path("clip"));
    }

    /// The command, in this folder, not yet run.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lookalike"));
        command
            .args(line.split_whitespace())
            .current_dir(self.folder.path())
            .env("LOOKALIKE_DATA", datasets());
        command
    }

    /// Runs a command line.
    pub fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// Runs a command line that must succeed with one JSON object on standard output.
    pub fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --json"));
        assert!(output.status.success(), "{line}: {}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "{line}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}

#[allow(dead_code, reason = "not every test of the program needs it")]
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(std::fs::copy(&from, &to).unwrap()),
        }
    }
}

/// The picture in a file.
pub fn read_png(path: impl AsRef<Path>) -> Pixels {
    let decoded = decode_file(path, &DecodeOptions::default());
    decoded.unwrap().pixels
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Where the checkout keeps MNIST.
pub fn datasets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets")
}

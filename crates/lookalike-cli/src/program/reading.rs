//! Options of how sources are read, the same for every command that reads one.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use lookalike::autoencoder::Autoencoder;
use lookalike::gallery::Gallery;
use lookalike::images::{DecodeOptions, GreyRange};
use lookalike::sources::{Limits, PartNumber, SkipKind, SourceOptions};
use lookalike::{Error, ImageStream, Reading, RuleOverrides, Skips, label_from};

use super::Failure;
use super::console::{Console, with_options};

/// The most bytes of a file, if nobody says otherwise.
const MAX_BYTES: u64 = 256_000_000;

#[derive(Args)]
#[command(next_help_heading = "Reading sources")]
pub struct ReadingArguments {
    /// Where labels come from: parent (the folder's name), a column's name, or none [default: a
    /// table's label, otherwise parent]
    #[arg(long, value_name = "FROM")]
    label: Option<String>,
    /// Read files and folders whose names begin with a dot too
    #[arg(long)]
    hidden: bool,
    /// Only the i-th of n parts, as in 2/8: together they are the whole, and each image is in one
    #[arg(long, value_name = "I/N")]
    part: Option<PartNumber>,
    /// A fair sample of N images
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    sample: Option<usize>,
    /// What transparent images lie over, as RRGGBB [default: as in the gallery, otherwise ffffff]
    #[arg(long, value_name = "COLOUR")]
    background: Option<Colour>,
    /// The most megapixels of an image [default: 134, or as in the gallery]
    #[arg(long, alias = "most-megapixels", value_name = "N")]
    max_megapixels: Option<u64>,
    /// The most megabytes of a file [default: 256, or as in the gallery]
    #[arg(long, alias = "most-megabytes", value_name = "N")]
    max_megabytes: Option<u64>,
    /// The most megabytes of memory that decoding one image may take
    #[arg(long, alias = "most-memory", default_value_t = 4294, value_name = "N")]
    max_memory: u64,
    /// What is black and what is white in grey images of more than 8 bits, as in 0,4095 [default:
    /// as in the gallery or the model, otherwise what suits the first images of the source]
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true)]
    grey_range: Option<GreyRange>,
    /// List there what was passed over and why, one JSON object a line
    #[arg(long, value_name = "JSONL")]
    skipped: Option<PathBuf>,
    /// Exit with 1 if anything was passed over
    #[arg(long)]
    strict: bool,
}

impl ReadingArguments {
    /// What was typed, as the library understands it, but for what a gallery keeps as well; `seed`
    /// is the sample's.
    fn alone(&self, seed: u64) -> Reading {
        Reading {
            source: SourceOptions {
                limits: Limits {
                    item_bytes: MAX_BYTES,
                    ..Limits::default()
                },
                hidden: self.hidden,
                ..SourceOptions::default()
            },
            decode: DecodeOptions {
                max_bytes: MAX_BYTES,
                max_memory: self.max_memory.saturating_mul(1_000_000),
                ..DecodeOptions::default()
            },
            part: self.part,
            sample: self.sample.map(|count| (count, seed)),
            ..Reading::default()
        }
    }

    /// What was typed of what a gallery keeps as well.
    pub fn asked(&self) -> RuleOverrides {
        let millions = |count: u64| count.saturating_mul(1_000_000);
        RuleOverrides {
            background: self.background.map(|colour| colour.0),
            grey_range: self.grey_range,
            max_pixels: self.max_megapixels.map(millions),
            max_bytes: self.max_megabytes.map(millions),
            label: self.label.as_deref().map(label_from),
            ..RuleOverrides::default()
        }
    }

    /// How what a gallery is asked with is read.
    pub fn reading_for(&self, gallery: &dyn Gallery) -> Result<Reading, Error> {
        let mut reading = self.alone(0);
        self.asked().apply_in(&mut reading, gallery)?;
        Ok(reading)
    }

    /// Where what is passed over goes.
    pub fn skips(&self) -> Result<Arc<Skips>, Error> {
        let skips = match &self.skipped {
            Some(path) => Skips::reported(path)?,
            None => Skips::default(),
        };
        Ok(Arc::new(skips.worded(with_options)))
    }

    /// Where what is passed over is listed, if it is.
    pub fn report(&self) -> Option<&PathBuf> {
        self.skipped.as_ref()
    }

    /// Refuses `--sample` for a command that has no use for it.
    pub fn refuse_sample(&self, command: &str, instead: &str) -> Result<(), Error> {
        match self.sample {
            Some(_) => Err(Error::Unusable(format!(
                "{command} takes no --sample: {instead}"
            ))),
            None => Ok(()),
        }
    }

    /// Opens a source as it is to be read.
    pub fn open(&self, spec: &str, seed: u64, skips: &Arc<Skips>) -> Result<ImageStream, Error> {
        let mut reading = self.alone(seed);
        self.asked().apply(&mut reading);
        ImageStream::open(spec, reading, skips.clone())
    }

    /// Opens a source for a model, which knows what is black and white to it.
    pub fn open_for_model(
        &self,
        spec: &str,
        model: &Autoencoder,
        skips: &Arc<Skips>,
    ) -> Result<ImageStream, Error> {
        let source = self.open(spec, 0, skips)?;
        let range = match model.record().grey_range {
            None => source.suitable_grey_range()?,
            known => known,
        };
        Ok(source.with_grey_range(range))
    }

    /// Says what was passed over; with `--strict` that is a failure, and what could not be stored
    /// always is.
    pub fn conclude(&self, skips: &Skips, console: &Console) -> Result<(), Failure> {
        skips.finish()?;
        let Some(first) = skips.first() else {
            return Ok(());
        };
        let kinds: Vec<String> = skips
            .counts()
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let list = match &self.skipped {
            Some(path) => format!("all are in {}", path.display()),
            None => "--skipped FILE lists all".to_owned(),
        };
        let line = format!(
            "passed over: {}; the first: {}: {}; {list}",
            kinds.join(", "),
            first.location,
            first.reason
        );
        match self.strict || skips.counts().contains_key(&SkipKind::NotStored) {
            true => Err(Error::Unusable(line).into()),
            false => {
                console.note(line);
                Ok(())
            }
        }
    }
}

/// Red, green and blue.
#[derive(Clone, Copy)]
struct Colour([u8; 3]);

impl FromStr for Colour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('#').unwrap_or(text);
        let value = u32::from_str_radix(text, 16).ok();
        match value.filter(|_| text.len() == 6 && text.is_ascii()) {
            Some(value) => {
                let [_, red, green, blue] = value.to_be_bytes();
                Ok(Self([red, green, blue]))
            }
            None => Err("expected six hexadecimal digits, as in ff8000".to_owned()),
        }
    }
}

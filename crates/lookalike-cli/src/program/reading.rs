//! Options of how sources are read, the same for every command that reads one.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use lookalike::images::DecodeOptions;
use lookalike::sources::{Limits, PartNumber, SkipKind, SourceOptions};
use lookalike::{Error, Reading, Skips, Source, label_from, open_source};

use super::Failure;
use super::console::Console;

#[derive(Args)]
#[command(next_help_heading = "Reading sources")]
pub struct ReadingArguments {
    /// Where labels come from: parent (the folder's name), a column's name, or none [default: a table's label, otherwise parent]
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
    /// What transparent images lie over, as RRGGBB
    #[arg(long, default_value = "ffffff", value_name = "COLOUR")]
    background: Colour,
    /// The most megapixels of an image
    #[arg(long, default_value_t = 134, value_name = "N")]
    most_megapixels: u64,
    /// The most megabytes of a file
    #[arg(long, default_value_t = 256, value_name = "N")]
    most_megabytes: u64,
    /// List there what was passed over and why, one JSON object a line
    #[arg(long, value_name = "JSONL")]
    skipped: Option<PathBuf>,
    /// Exit with 1 if anything was passed over
    #[arg(long)]
    strict: bool,
}

impl ReadingArguments {
    /// What was typed, as the library understands it; `seed` is the sample's.
    pub fn reading(&self, seed: u64) -> Reading {
        let most_bytes = self.most_megabytes.saturating_mul(1_000_000);
        Reading {
            source: SourceOptions {
                label: self.label.as_deref().map(label_from).unwrap_or_default(),
                limits: Limits {
                    item_bytes: most_bytes,
                    ..Limits::default()
                },
                hidden: self.hidden,
                ..SourceOptions::default()
            },
            decode: DecodeOptions {
                background: self.background.0,
                most_pixels: self.most_megapixels.saturating_mul(1_000_000),
                most_bytes,
                ..DecodeOptions::default()
            },
            part: self.part,
            sample: self.sample.map(|count| (count, seed)),
        }
    }

    /// Where what is passed over goes.
    pub fn skips(&self) -> Result<Arc<Skips>, Error> {
        Ok(Arc::new(match &self.skipped {
            Some(path) => Skips::reported(path)?,
            None => Skips::default(),
        }))
    }

    /// Where what is passed over is listed, if it is.
    pub fn report(&self) -> Option<&Path> {
        self.skipped.as_deref()
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
    pub fn open(&self, spec: &str, seed: u64, skips: &Arc<Skips>) -> Result<Source, Error> {
        open_source(spec, self.reading(seed), skips.clone())
    }

    /// Says what was passed over; with `--strict` that is a failure, and what could not be stored always is.
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

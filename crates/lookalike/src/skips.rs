//! What was passed over while sources were read: counted, and listed if wished.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lookalike_sources::{SkipKind, Skipped};
use serde::Serialize;

use crate::Error;

/// Counts what is passed over, and writes each as a line of JSON to a file.
#[derive(Debug, Default)]
pub struct Skips {
    kept: Mutex<Kept>,
    words: Option<fn(&str) -> String>,
}

#[derive(Debug, Default)]
struct Kept {
    counts: BTreeMap<SkipKind, u64>,
    first: Option<Skipped>,
    report: Option<(PathBuf, BufWriter<File>)>,
    failed: Option<std::io::Error>,
}

/// A line of the report.
#[derive(Serialize)]
struct Line<'a> {
    key: &'a str,
    location: &'a str,
    kind: &'a str,
    reason: &'a str,
}

impl Skips {
    /// Writes a report to `path`, replacing what is there.
    ///
    /// # Errors
    ///
    /// When the file cannot be made.
    pub fn reported(path: &Path) -> Result<Self, Error> {
        let file = File::create(path).map_err(Error::io("write", path))?;
        let kept = Kept {
            report: Some((path.to_owned(), BufWriter::new(file))),
            ..Kept::default()
        };
        Ok(Self {
            kept: Mutex::new(kept),
            words: None,
        })
    }

    /// Says every reason in other words, such as the names that a program has for its limits.
    #[must_use]
    pub fn worded(mut self, words: fn(&str) -> String) -> Self {
        self.words = Some(words);
        self
    }

    /// Notes that something was passed over.
    pub fn add(&self, mut skipped: Skipped) {
        if let Some(words) = self.words {
            skipped.reason = words(&skipped.reason);
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        *kept.counts.entry(skipped.kind).or_default() += 1;
        let line = Line {
            key: &skipped.key,
            location: &skipped.location,
            kind: skipped.kind.as_str(),
            reason: &skipped.reason,
        };
        if let Some((_, report)) = &mut kept.report {
            let written = serde_json::to_writer(&mut *report, &line)
                .map_err(std::io::Error::from)
                .and_then(|()| report.write_all(b"\n"));
            if let Err(error) = written {
                kept.failed.get_or_insert(error);
            }
        }
        kept.first.get_or_insert(skipped);
    }

    /// How many were passed over, by kind.
    pub fn counts(&self) -> BTreeMap<SkipKind, u64> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.counts.clone()
    }

    /// How many were passed over in all.
    pub fn total(&self) -> u64 {
        self.counts().values().sum()
    }

    /// The first of them, as an example.
    pub fn first(&self) -> Option<Skipped> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.first.clone()
    }

    /// Writes the report to its end.
    ///
    /// # Errors
    ///
    /// When that failed, now or before.
    pub fn finish(&self) -> Result<(), Error> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = kept.failed.take();
        let Some((path, report)) = &mut kept.report else {
            return Ok(());
        };
        match failed {
            Some(error) => Err(error),
            None => report.flush(),
        }
        .map_err(Error::io("write", path))
    }
}

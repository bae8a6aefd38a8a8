//! How far a long task is.

use std::fmt;

/// How far a long task is. Whatever takes long tells it in the same way: training, encoding,
/// indexing, comparing, copying and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// How much of it is done: steps, images, points, whatever the phase counts.
    pub done: usize,
    /// How much of it there is in all, where that is known.
    pub total: Option<usize>,
}

impl Progress {
    /// So much of `total`, or of an unknown number.
    pub fn new(phase: Phase, done: usize, total: impl Into<Option<usize>>) -> Self {
        Self {
            phase,
            done,
            total: total.into(),
        }
    }
}

/// What is being done; shown in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Training steps of all epochs.
    Training,
    /// Images that have been encoded.
    Encoding,
    /// Images of a source that have been gone through.
    Indexing,
    /// Points that have been added to a gallery or changed in it.
    Storing,
    /// Points of a gallery that have been read.
    Reading,
    /// Codes or pictures that have been compared with all others.
    Comparing,
    /// Originals that have been reconstructed.
    Reconstructing,
    /// Queries that have been answered and scored.
    Asking,
    /// Codes that have been put into groups.
    Grouping,
    /// Rounds of a map's layout.
    LayingOut,
    /// Codes that have been put among their neighbours on a map.
    Placing,
    /// Points that have been copied, or were in the copy already.
    Copying,
    /// Points of a copy that have been compared with those it was made of.
    Verifying,
    /// Points that have been written to files.
    Exporting,
}

impl Phase {
    /// In words, as "reading codes".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Encoding => "encoding",
            Self::Indexing => "indexing",
            Self::Storing => "storing",
            Self::Reading => "reading codes",
            Self::Comparing => "comparing codes",
            Self::Reconstructing => "reconstructing originals",
            Self::Asking => "asking",
            Self::Grouping => "grouping",
            Self::LayingOut => "laying out",
            Self::Placing => "placing",
            Self::Copying => "copying",
            Self::Verifying => "verifying",
            Self::Exporting => "exporting",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

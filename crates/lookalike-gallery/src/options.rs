//! How a cluster is spoken to, what a collection is made for, and what it says of itself.

use std::fs;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::GalleryError;
use crate::filter::Field;

/// The variable that holds the API key.
const KEY: &str = "LOOKALIKE_QDRANT_API_KEY";
/// The variable that names a file that holds it.
const KEY_FILE: &str = "LOOKALIKE_QDRANT_API_KEY_FILE";

/// How a cluster is spoken to.
#[derive(Clone)]
pub struct ClusterOptions {
    /// The key that the cluster wants, if it wants one.
    pub api_key: Option<String>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How reading is tried again.
    pub reading: Retries,
    /// How storing and deleting is tried again: longer, because a node may be starting again
    /// meanwhile.
    pub writing: Retries,
    /// How many requests of one gallery write at the same time; who wants to write more waits.
    pub writers: usize,
}

impl Default for ClusterOptions {
    /// No key, a minute for an attempt, 5 s for connecting, 6 attempts to read and 12 to write, 4
    /// writers.
    fn default() -> Self {
        Self {
            api_key: None,
            timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(5),
            reading: Retries::attempts(6),
            writing: Retries::attempts(12),
            writers: 4,
        }
    }
}

impl std::fmt::Debug for ClusterOptions {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterOptions")
            .field("api_key", &self.api_key.as_ref().map(|_| "…"))
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("reading", &self.reading)
            .field("writing", &self.writing)
            .field("writers", &self.writers)
            .finish()
    }
}

impl ClusterOptions {
    /// The usual ones, with the key that the environment names: `LOOKALIKE_QDRANT_API_KEY`, or the
    /// first line of the file `LOOKALIKE_QDRANT_API_KEY_FILE`.
    ///
    /// # Errors
    /// [`GalleryError::Io`] if the file cannot be read, [`GalleryError::BadRequest`] for a key that
    /// cannot be sent.
    pub fn from_environment() -> Result<Self, GalleryError> {
        let key = match (std::env::var(KEY), std::env::var_os(KEY_FILE)) {
            (Ok(key), _) => Some(key),
            (Err(_), Some(path)) => {
                let path = path.as_ref();
                let text = fs::read_to_string(path)
                    .map_err(GalleryError::io("reading the cluster's API key from", path))?;
                Some(text.lines().next().unwrap_or_default().trim().to_owned())
            }
            (Err(_), None) => None,
        };
        let key = key.filter(|key| !key.is_empty());
        if key
            .as_ref()
            .is_some_and(|key| !key.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(GalleryError::BadRequest(format!(
                "the cluster's API key ({KEY} or {KEY_FILE}) has a space, a control or a non-ASCII character"
            )));
        }
        Ok(Self {
            api_key: key,
            ..Self::default()
        })
    }
}

/// How often and when a request is tried again: capped exponential back-off with full jitter
/// (Brooker, "Exponential Backoff And Jitter", 2015), so that many workers do not come back all at
/// once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Attempts in all, the first among them.
    pub attempts: usize,
    /// The most that is waited before the second attempt; each time twice as long.
    pub base: Duration,
    /// The most that is ever waited between two attempts.
    pub cap: Duration,
}

impl Retries {
    /// So many, from a tenth of a second to 10 seconds apart.
    pub fn attempts(attempts: usize) -> Self {
        Self {
            attempts,
            base: Duration::from_millis(100),
            cap: Duration::from_secs(10),
        }
    }

    /// How long to wait after so many failures in a row: anything up to the limit, by a number from
    /// 0 to 1; none if it is not to be tried again.
    #[cfg(feature = "cluster")]
    pub(crate) fn wait(&self, failures: usize, jitter: f64) -> Option<Duration> {
        if failures >= self.attempts {
            return None;
        }
        let doubled = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let most = 1u32
            .checked_shl(doubled.min(31))
            .and_then(|factor| self.base.checked_mul(factor))
            .map_or(self.cap, |most| most.min(self.cap));
        Some(most.mul_f64(jitter.clamp(0.0, 1.0)))
    }
}

/// What a collection is made for; what one that is there was made for stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionLayout {
    /// Number of shards; none: as many as the cluster has nodes.
    pub shards: Option<u32>,
    /// Copies of each shard; none: 2 if the address names several nodes, else 1.
    pub replicas: Option<u32>,
    /// Copies that must have a change before it counts as made, of those that are alive; none: all.
    pub write_consistency: Option<u32>,
    /// Keep the codes that are searched on disk, not in memory.
    pub codes_on_disk: bool,
    /// Keep the index on disk, not in memory.
    pub index_on_disk: bool,
    /// Edges a node of the index (HNSW's M); none: 16.
    pub hnsw_m: Option<u32>,
    /// Width of the beam while the index is built; none: 100.
    pub hnsw_ef_construct: Option<u32>,
    /// What is kept of the codes in memory, to search with.
    pub quantization: Quantization,
    /// Extra fields that filters use, to be indexed.
    pub payload_indexes: Vec<PayloadIndex>,
}

impl Default for CollectionLayout {
    /// Everything in memory, not quantised, and as the fields say.
    fn default() -> Self {
        Self {
            shards: None,
            replicas: None,
            write_consistency: None,
            codes_on_disk: false,
            index_on_disk: false,
            hnsw_m: None,
            hnsw_ef_construct: None,
            quantization: Quantization::None,
            payload_indexes: Vec::new(),
        }
    }
}

/// What is kept of codes in memory, to search with; what is found is ranked by the codes as they
/// are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantization {
    /// The codes themselves.
    #[default]
    None,
    /// A byte a number: a quarter of the memory.
    Scalar,
    /// A bit a number: 1/32 of the memory, for long codes.
    Binary,
    /// A byte for each 4 numbers (product quantisation, Jégou, Douze and Schmid 2011): 1/16 of the
    /// memory.
    Product,
}

/// Where and how a gallery on a cluster is kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClusterInfo {
    /// The collection's own name.
    pub collection: String,
    /// The alias that it was opened by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Whether its index is up to date: `green`, or `yellow` while it is built, `grey` where that
    /// waits for the next change, `red` after a failure.
    pub status: String,
    /// Nodes that have shards of it.
    pub nodes: usize,
    /// Number of shards.
    pub shards: u32,
    /// Copies of each shard.
    pub replicas: u32,
    /// Copies that must have a change before it counts as made.
    pub write_consistency: u32,
    /// Copies of shards that cannot answer now.
    pub inactive_replicas: usize,
    /// Whether the codes that are searched are kept on disk.
    pub codes_on_disk: bool,
    /// Whether the index is kept on disk.
    pub index_on_disk: bool,
    /// Edges a node of the index.
    pub hnsw_m: u64,
    /// Width of the beam while the index is built.
    pub hnsw_ef_construct: u64,
    /// What of the codes is kept in memory to search with.
    pub quantization: String,
    /// Parts that each shard's points lie in, all together.
    pub segments: u64,
    /// Fields that have an index.
    pub payload_indexes: Vec<String>,
}

/// An extra field that filters use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadIndex {
    /// Its name, as in a [`Filter`](crate::Filter).
    pub field: String,
    /// What it is compared as.
    pub kind: IndexKind,
}

/// What a field is compared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// As text, with `=` and `!=`.
    Keyword,
    /// As a number.
    Number,
}

impl FromStr for PayloadIndex {
    type Err = GalleryError;

    /// Reads `year=number` or `city=keyword`.
    ///
    /// # Errors
    /// [`GalleryError::BadRequest`] for anything else, and for fields that always have an index.
    fn from_str(text: &str) -> Result<Self, GalleryError> {
        let bad = |why: &str| {
            GalleryError::BadRequest(format!(
                "{text:?} {why}; write a payload index as year=number or city=keyword"
            ))
        };
        let (field, kind) = text.split_once('=').ok_or_else(|| bad("has no ="))?;
        let kind = match kind {
            "keyword" => IndexKind::Keyword,
            "number" => IndexKind::Number,
            _ => return Err(bad("names no kind of index")),
        };
        match Field::checked(field)? {
            Field::Extra(field) => Ok(Self { field, kind }),
            Field::Fact(field) => Ok(Self {
                field: field.to_owned(),
                kind,
            }),
            _ => Err(bad("names a field that always has an index")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "cluster")]
    #[test]
    fn waits_grow_to_the_cap_and_end() {
        let retries = Retries {
            attempts: 6,
            base: Duration::from_millis(100),
            cap: Duration::from_millis(500),
        };
        let most: Vec<_> = (1..8).map(|failures| retries.wait(failures, 1.0)).collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(
            most,
            [ms(100), ms(200), ms(400), ms(500), ms(500), None, None]
        );
        assert_eq!(retries.wait(3, 0.0), ms(0));
        assert_eq!(retries.wait(3, 0.5), ms(200));
        let patient = Retries {
            attempts: usize::MAX,
            ..retries
        };
        assert_eq!(patient.wait(usize::MAX - 1, 1.0), ms(500));
    }

    #[test]
    fn indexes_are_named_with_their_kind() {
        let year: PayloadIndex = "year=number".parse().unwrap();
        assert_eq!(
            (year.field.as_str(), year.kind),
            ("year", IndexKind::Number)
        );
        for bad in [
            "year",
            "year=",
            "year=date",
            "label=keyword",
            "a b=number",
            "=number",
        ] {
            assert!(bad.parse::<PayloadIndex>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        let options = ClusterOptions {
            api_key: Some("secret".into()),
            ..ClusterOptions::default()
        };
        assert!(!format!("{options:?}").contains("secret"));
    }
}

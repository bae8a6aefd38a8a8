//! What all requests share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lookalike::duplicates::Decisions;
use lookalike::gallery::Gallery;
use lookalike::images::DecodeOptions;
use lookalike::named::NamedSearches;
use lookalike::sources::{Limits as SourceLimits, SourceOptions};
use lookalike::{Originals, Presences, Reading, Searcher, Uploads, reading_of};

use crate::fetch::Fetcher;
use crate::jobs::Jobs;
use crate::layout::Layout;
use crate::metrics::Metrics;
use crate::options::{Limits, ServeOptions};
use crate::problem::Problem;
use crate::queries::Queries;
use crate::upkeep::Upkeep;
use crate::work::{Background, Room, Workers};

/// What all requests share.
pub(crate) struct Service {
    pub searcher: Searcher,
    pub options: ServeOptions,
    /// The port that is listened on.
    pub port: u16,
    pub originals: Originals,
    pub uploads: Uploads,
    /// What a person decided about copies.
    pub decisions: Decisions,
    /// The searches that are kept under names.
    pub searches: NamedSearches,
    /// Whether originals are still there.
    pub presences: Presences,
    /// How images from outside are read.
    pub reading: Reading,
    workers: Workers,
    writers: Workers,
    /// Room for the bodies of requests.
    pub room: Room,
    /// Room for answers that clients are taking.
    pub sending: Room,
    pub metrics: Arc<Metrics>,
    pub fetcher: Option<Fetcher>,
    pub findings: Arc<Jobs<crate::api::Finding, crate::api::Found>>,
    pub layout: Arc<Layout>,
    /// What computes beside requests.
    pub background: Arc<Background>,
    queries: Mutex<Queries>,
    /// Counts the changes of the gallery.
    pub generation: AtomicU64,
    pub upkeep: Mutex<Upkeep>,
}

impl Service {
    pub fn new(
        searcher: Searcher,
        options: ServeOptions,
        port: u16,
    ) -> Result<Arc<Self>, lookalike::Error> {
        Self::counting(searcher, options, port, Arc::new(Metrics::new()))
    }

    /// The same for another gallery. What was sent to search with is forgotten: its codes are
    /// another model's.
    pub fn successor(&self, searcher: Searcher) -> Result<Arc<Self>, lookalike::Error> {
        Self::counting(
            searcher,
            self.options.clone(),
            self.port,
            self.metrics.clone(),
        )
    }

    fn counting(
        searcher: Searcher,
        options: ServeOptions,
        port: u16,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, lookalike::Error> {
        let limits = &options.limits;
        let reading = reading(limits, searcher.gallery())?;
        let fetcher = match options.fetch_urls {
            true => Some(Fetcher::new(limits)?),
            false => None,
        };
        let background = Arc::<Background>::default();
        Ok(Arc::new(Self {
            presences: Presences::of(&searcher.gallery().describe()?),
            originals: Originals::read_by(&options.folder.to_string_lossy(), reading.clone()),
            uploads: Uploads::of(&options.folder, reading.clone()),
            decisions: Decisions::in_folder(&options.folder),
            searches: NamedSearches::in_folder(&options.folder),
            reading,
            workers: Workers::new(limits.at_once, limits.waiting),
            writers: Workers::new(1, limits.waiting),
            room: Room::new(limits.bodies_bytes),
            sending: Room::new(limits.answers_bytes),
            metrics,
            fetcher,
            findings: Arc::new(Jobs::new(background.clone())),
            layout: Layout::at(map_file(&options), background.clone()),
            background,
            queries: Mutex::new(Queries::new(limits.query_bytes)),
            generation: AtomicU64::new(0),
            upkeep: Mutex::default(),
            searcher,
            options,
            port,
        }))
    }

    pub fn gallery(&self) -> &dyn Gallery {
        self.searcher.gallery()
    }

    pub fn limits(&self) -> &Limits {
        &self.options.limits
    }

    /// Changes with every change of the gallery.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn queries(&self) -> MutexGuard<'_, Queries> {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.workers.waiting() + self.writers.waiting()
    }

    /// Runs something that blocks, when it is its turn.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let service = self.clone();
        self.workers.run(move || work(&service)).await?
    }

    /// Runs something that changes the gallery, one at a time: changes wait for each other and for
    /// the index in any case, and do so beside searches, not in their places.
    pub async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let service = self.clone();
        self.writers.run(move || work(&service)).await?
    }

    /// Runs something that takes well below a millisecond, see [`Workers::run_short`]; with a
    /// gallery on a cluster it takes longer, and nothing else is to wait on this thread meanwhile.
    pub async fn run_short<T>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let work = || work(self);
        match self.options.on_cluster {
            true => {
                self.workers
                    .run_short(|| tokio::task::block_in_place(work))
                    .await?
            }
            false => self.workers.run_short(work).await?,
        }
    }
}

/// How images from outside are read: within the server's limits, and as those of the gallery were.
fn reading(limits: &Limits, gallery: &dyn Gallery) -> Result<Reading, lookalike::Error> {
    let Reading {
        decode: kept,
        no_exif,
        ..
    } = reading_of(gallery)?;
    Ok(Reading {
        source: SourceOptions {
            limits: SourceLimits {
                item_bytes: limits.body_bytes as u64,
                ..SourceLimits::default()
            },
            ..SourceOptions::default()
        },
        decode: DecodeOptions {
            background: kept.background,
            grey_range: kept.grey_range,
            max_pixels: limits.pixels,
            max_bytes: limits.body_bytes as u64,
            ..DecodeOptions::default()
        },
        no_exif,
        ..Reading::default()
    })
}

fn map_file(options: &ServeOptions) -> PathBuf {
    options.folder.join("map.bin")
}

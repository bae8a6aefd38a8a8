//! A gallery on a Qdrant cluster: a collection whose metadata says what it is.
//!
//! ```text
//! connection ── requests, tried again, on another node where one is lost
//! collection ── made, described, aliases
//! points, query ── our points and filters in the cluster's words
//! store, search ── what a gallery does
//! ```

mod collection;
mod connection;
mod points;
mod query;
mod search;
mod store;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::answering;
use crate::filter::Field;
use crate::manifest::Manifest;
use crate::point::check_code;
use crate::thumbnail;
use crate::{
    Answer, ClusterAddress, ClusterInfo, ClusterOptions, CodeSpec, DiffusionState, Facet, Filter,
    Gallery, GalleryError, GalleryInfo, GalleryOptions, Point, RecommendRequest, SearchRequest,
    Stub, Upserted,
};

use collection::Collection;
use connection::Connection;

/// Contents that are looked up at a time.
const HASHES: usize = 1_000;
/// How long [`optimise`](Gallery::optimise) waits for the cluster's own optimiser.
const MAX_OPTIMISE_WAIT: Duration = Duration::from_secs(600);
/// How often it asks whether that is done.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A gallery on a Qdrant cluster, which any number of processes may have open, read and fill.
///
/// It is opened by a collection's name or by an alias, and stays with the collection that the alias
/// meant then, so that codes of two models are never mixed up; [`has_moved`](Self::has_moved) tells
/// when the alias means another.
///
/// Its methods wait for the cluster, for as long as [`ClusterOptions`] says; they can be called on
/// any thread.
pub struct ClusterGallery {
    connection: Connection,
    /// As it was asked for.
    address: ClusterAddress,
    /// The collection itself.
    resolved: ClusterAddress,
    manifest: Manifest,
    /// Whether an index was seen, and whether codes are searched in a quantised form.
    indexed: AtomicBool,
    quantised: AtomicBool,
    /// Thumbnails by their contents' hashes, until points that need them are stored.
    thumbnails: Mutex<HashMap<String, Vec<u8>>>,
    turns: WriteSlots,
}

impl ClusterGallery {
    /// Makes an empty collection for `codes`.
    ///
    /// # Errors
    /// [`AlreadyExists`](GalleryError::AlreadyExists) if there is one, or an alias, of this name,
    /// [`BadRequest`](GalleryError::BadRequest) if the codes' length is not from 1 to 65536,
    /// [`NotOnCluster`](GalleryError::NotOnCluster) if the cluster's Qdrant is too old,
    /// [`Unreachable`](GalleryError::Unreachable), [`Refused`](GalleryError::Refused), and
    /// [`Engine`](GalleryError::Engine) if the cluster does not want to.
    pub fn create(
        address: &ClusterAddress,
        codes: &CodeSpec,
        options: &GalleryOptions,
    ) -> Result<Self, GalleryError> {
        let layout = &options.layout;
        let manifest = codes.manifest(options);
        manifest.check_dims()?;
        let connection = Connection::new(address, options.cluster_options()?)?;
        let collection = Collection {
            connection: &connection,
            address,
        };
        collection.check_version()?;
        let taken =
            collection.behind_alias()?.is_some() || !collection.create(&manifest, layout)?;
        if taken {
            return Err(GalleryError::AlreadyExists {
                path: PathBuf::from(address.to_string()),
            });
        }
        let info = collection.await_present()?;
        collection.index_fields(&info, layout)?;
        Self::load(connection, address)
    }

    /// Opens a collection, or the one behind an alias.
    ///
    /// # Errors
    /// [`NotFound`](GalleryError::NotFound) or [`NotAGallery`](GalleryError::NotAGallery) if none
    /// of lookalike's is there, [`Version`](GalleryError::Version) if it cannot be understood, and
    /// those of [`create`](Self::create) about the cluster.
    pub fn open(address: &ClusterAddress, options: &GalleryOptions) -> Result<Self, GalleryError> {
        let connection = Connection::new(address, options.cluster_options()?)?;
        Collection {
            connection: &connection,
            address,
        }
        .check_version()?;
        Self::load(connection, address)
    }

    /// Opens a collection, or makes it if there is none, as whoever comes first does of many who
    /// start at once. One that is there must have been made for codes of this length and model and,
    /// if `options` name a metric, for that metric.
    ///
    /// # Errors
    /// [`Mismatch`](GalleryError::Mismatch) if what is there was made for something else; otherwise
    /// those of [`open`](Self::open) and [`create`](Self::create).
    pub fn open_or_create(
        address: &ClusterAddress,
        codes: &CodeSpec,
        options: &GalleryOptions,
    ) -> Result<Self, GalleryError> {
        let layout = &options.layout;
        let manifest = codes.manifest(options);
        manifest.check_dims()?;
        let connection = Connection::new(address, options.cluster_options()?)?;
        let collection = Collection {
            connection: &connection,
            address,
        };
        collection.check_version()?;
        if collection.behind_alias()?.is_none() {
            if !collection.exists()? {
                // Another may be quicker, and make it for something else.
                collection.create(&manifest, layout)?;
            }
            collection.await_present()?;
        }
        let mut gallery = Self::load(connection, address)?;
        // Filling retries reads as often as writes: no user waits for an answer, and a node that
        // restarts must not end hours of work.
        let requests = &mut gallery.connection.options;
        requests.reading = requests.writing;
        let wanted = codes.manifest_beside(gallery.manifest.metric, options);
        gallery.manifest.check_fits(&wanted, gallery.path())?;
        // Also of one that is there: whoever made it may have been stopped before it had them all.
        let collection = gallery.collection();
        collection.index_fields(&collection.present()?, layout)?;
        Ok(gallery)
    }

    fn load(connection: Connection, address: &ClusterAddress) -> Result<Self, GalleryError> {
        let asked = Collection {
            connection: &connection,
            address,
        };
        let resolved = match asked.behind_alias()? {
            Some(collection) => address.named(&collection)?,
            None => address.clone(),
        };
        let collection = Collection {
            connection: &connection,
            address: &resolved,
        };
        let info = collection.present()?;
        let manifest = collection.manifest(&info)?;
        let turns = WriteSlots::new(connection.options.writers);
        Ok(ClusterGallery {
            connection,
            address: address.clone(),
            resolved,
            manifest,
            indexed: AtomicBool::new(false),
            quantised: AtomicBool::new(collection::is_quantised(&info)),
            thumbnails: Mutex::default(),
            turns,
        })
    }

    /// Its address, as it was asked for.
    pub fn address(&self) -> &ClusterAddress {
        &self.address
    }

    /// The collection's own address, also where an alias was asked for.
    pub fn collection_address(&self) -> &ClusterAddress {
        &self.resolved
    }

    /// Where and how the collection is kept.
    ///
    /// # Errors
    /// Those of [reading](Gallery#errors).
    pub fn cluster_info(&self) -> Result<ClusterInfo, GalleryError> {
        let collection = self.collection();
        let alias = (self.address != self.resolved).then(|| self.address.name().to_owned());
        collection.describe(&collection.present()?, alias)
    }

    /// Whether the alias that this gallery was opened by means another collection by now. This one
    /// goes on with the collection that it was opened on.
    ///
    /// # Errors
    /// Those of [reading](Gallery#errors).
    pub fn has_moved(&self) -> Result<bool, GalleryError> {
        let asked = Collection {
            connection: &self.connection,
            address: &self.address,
        };
        let now = asked.behind_alias()?;
        let was = (self.address != self.resolved).then(|| self.resolved.name());
        // An alias that is gone means nothing else.
        Ok(now.is_some_and(|now| Some(now.as_str()) != was))
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(self.address.to_string())
    }

    fn collection(&self) -> Collection<'_> {
        Collection {
            connection: &self.connection,
            address: &self.resolved,
        }
    }

    fn collection_name(&self) -> &str {
        self.resolved.name()
    }

    /// What is said of points that cannot be understood.
    fn strange(&self, detail: String) -> GalleryError {
        GalleryError::Damaged {
            path: self.path(),
            detail,
        }
    }
}

/// Makes an alias mean a collection of ours, whatever it meant before, in one step: `alias` is the
/// alias's address.
///
/// # Errors
/// [`NotFound`](GalleryError::NotFound) or [`NotAGallery`](GalleryError::NotAGallery) if there is
/// no such collection of ours, [`AlreadyExists`](GalleryError::AlreadyExists) if the alias is a
/// collection's own name, and those of [`ClusterGallery::open`] about the cluster.
pub fn switch_alias(
    alias: &ClusterAddress,
    collection: &str,
    options: ClusterOptions,
) -> Result<(), GalleryError> {
    let connection = Connection::new(alias, options)?;
    let named = Collection {
        connection: &connection,
        address: alias,
    };
    named.check_version()?;
    let target = alias.named(collection)?;
    let target = Collection {
        connection: &connection,
        address: &target,
    };
    target.manifest(&target.present()?)?;
    if named.behind_alias()?.is_none() && named.exists()? {
        return Err(GalleryError::AlreadyExists {
            path: PathBuf::from(alias.to_string()),
        });
    }
    target.take_alias(alias.name())
}

/// Removes a collection of ours with all its points, for good; an alias that means it goes with it.
/// One that a name only means as an alias stays.
///
/// # Errors
/// [`NotFound`](GalleryError::NotFound) or [`NotAGallery`](GalleryError::NotAGallery) if there is
/// no such collection of ours, [`BadRequest`](GalleryError::BadRequest) for an alias, and those of
/// [`ClusterGallery::open`] about the cluster.
pub fn remove_collection(
    address: &ClusterAddress,
    options: ClusterOptions,
) -> Result<(), GalleryError> {
    let connection = Connection::new(address, options)?;
    let collection = Collection {
        connection: &connection,
        address,
    };
    if let Some(behind) = collection.behind_alias()? {
        return Err(GalleryError::BadRequest(format!(
            "{address} is an alias of the collection {behind}; remove that one, by its own name"
        )));
    }
    collection.manifest(&collection.present()?)?;
    collection.remove()
}

impl Gallery for ClusterGallery {
    fn describe(&self) -> Result<GalleryInfo, GalleryError> {
        let info = self.collection().present()?;
        let points = self.passing(None)?;
        // Each point's vectors count, of which only one is indexed.
        let indexed = info.indexed_vectors_count.unwrap_or(0) as usize;
        Ok(GalleryInfo {
            name: self.address.to_string(),
            metric: self.manifest.metric,
            dims: self.manifest.dims,
            points,
            indexed: indexed.min(points),
            model_fingerprint: self.manifest.model_fingerprint.clone(),
            created: self.manifest.created,
            diffusion: DiffusionState::Unavailable,
        })
    }

    fn model(&self) -> Result<Option<Vec<u8>>, GalleryError> {
        Ok(None)
    }

    fn reading_rules(&self) -> Result<Option<String>, GalleryError> {
        Ok(collection::rules_of(&self.collection().present()?))
    }

    fn keep_reading_rules(&self, rules: &str) -> Result<(), GalleryError> {
        self.collection().keep_rules(rules)
    }

    fn upsert(&self, points: &[Point]) -> Result<Upserted, GalleryError> {
        for point in points {
            check_code(&point.code, self.manifest.dims, || {
                format!("the code of {}", point.payload.key)
            })?;
        }
        let stored = self.store(points);
        let lost: HashSet<Uuid> = match &stored {
            Err(GalleryError::NotStored { failed, .. }) => {
                failed.iter().map(|(id, _)| *id).collect()
            }
            _ => HashSet::new(),
        };
        let mut waiting = self.waiting_thumbnails();
        for point in points.iter().filter(|point| !lost.contains(&point.id)) {
            waiting.remove(&point.payload.blake3);
        }
        stored
    }

    fn existing(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, String>, GalleryError> {
        self.hashes(ids)
    }

    fn with_content(&self, hashes: &[&str]) -> Result<HashMap<String, Point>, GalleryError> {
        self.of_contents(hashes)
    }

    fn retrieve(&self, ids: &[Uuid]) -> Result<Vec<Point>, GalleryError> {
        self.whole_points(ids)
    }

    fn search(&self, request: &SearchRequest) -> Result<Answer, GalleryError> {
        answering::search(self, request)
    }

    fn recommend(&self, request: &RecommendRequest) -> Result<Answer, GalleryError> {
        answering::recommend(self, request)
    }

    fn scroll(
        &self,
        after: Option<Uuid>,
        limit: usize,
        filter: Option<&Filter>,
    ) -> Result<Vec<Point>, GalleryError> {
        self.next_points(after, limit, filter.map(query::filter))
    }

    fn stubs(
        &self,
        source: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Stub>, GalleryError> {
        self.next_stubs(source, after, limit)
    }

    fn count(&self, filter: Option<&Filter>) -> Result<usize, GalleryError> {
        self.passing(filter)
    }

    fn facets(
        &self,
        field: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Facet>, GalleryError> {
        let mut facets = self.values(&Field::checked(field)?, filter)?;
        facets.sort_by(Facet::order);
        facets.truncate(limit);
        Ok(facets)
    }

    fn delete(&self, ids: &[Uuid]) -> Result<usize, GalleryError> {
        self.remove(ids)
    }

    fn put_thumbnails(&self, thumbnails: &[(&str, &[u8])]) -> Result<(), GalleryError> {
        for (hash, bytes) in thumbnails {
            thumbnail::checked("a thumbnail", hash, bytes)?;
        }
        let mut waiting = self.waiting_thumbnails();
        for (hash, bytes) in thumbnails {
            waiting
                .entry((*hash).to_owned())
                .or_insert_with(|| bytes.to_vec());
        }
        Ok(())
    }

    fn thumbnail(&self, blake3: &str) -> Result<Option<Vec<u8>>, GalleryError> {
        Ok(self.thumbnails(&[blake3])?.remove(blake3))
    }

    fn thumbnails(&self, hashes: &[&str]) -> Result<HashMap<String, Vec<u8>>, GalleryError> {
        let is_hash = |hash: &&str| thumbnail::content(hash).is_some();
        let hashes: Vec<&str> = hashes.iter().copied().filter(is_hash).collect();
        let mut found = HashMap::new();
        for some in hashes.chunks(HASHES) {
            found.extend(self.stored_thumbnails(some.to_vec())?);
        }
        let waiting = self.waiting_thumbnails();
        for hash in hashes {
            if let Some(bytes) = waiting.get(hash) {
                found
                    .entry(hash.to_owned())
                    .or_insert_with(|| bytes.clone());
            }
        }
        Ok(found)
    }

    fn optimise(&self) -> Result<bool, GalleryError> {
        let began = Instant::now();
        let mut waited = false;
        while !collection::is_at_rest(&self.collection().present()?) {
            if began.elapsed() > MAX_OPTIMISE_WAIT {
                break;
            }
            waited = true;
            thread::sleep(POLL_INTERVAL);
        }
        self.indexed.store(false, Ordering::Relaxed);
        Ok(waited)
    }

    fn flush(&self) -> Result<(), GalleryError> {
        // What the cluster has acknowledged is in its logs.
        Ok(())
    }
}

impl std::fmt::Debug for ClusterGallery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterGallery")
            .field("address", &self.address)
            .field("collection", &self.resolved.name())
            .field("manifest", &self.manifest)
            .finish_non_exhaustive()
    }
}

/// How many threads may write at a time; the others wait.
struct WriteSlots {
    free: Mutex<usize>,
    given_back: Condvar,
}

impl WriteSlots {
    fn new(at_once: usize) -> Self {
        Self {
            free: Mutex::new(at_once.max(1)),
            given_back: Condvar::new(),
        }
    }

    /// Waits for a slot, which is free again when the answer is dropped.
    fn take(&self) -> WriteSlot<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.given_back.wait_while(free, |free| *free == 0);
        *waited.unwrap_or_else(PoisonError::into_inner) -= 1;
        WriteSlot(self)
    }
}

struct WriteSlot<'a>(&'a WriteSlots);

impl Drop for WriteSlot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.given_back.notify_one();
    }
}

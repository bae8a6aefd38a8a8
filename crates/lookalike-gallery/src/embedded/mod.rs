//! A gallery in one folder, with the Qdrant engine in the process.

mod blobs;
mod copy;
mod diffusion;
mod fields;
mod folder;
mod graph;
mod log;
mod lookup;
mod optimise;
mod query;
mod reading;
mod repair;
mod room;
mod screen;
mod search;
mod segments;
mod settings;
mod shard;
#[cfg(test)]
mod tests;
mod tiles;
mod writing;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use lookalike_neighbours::DiffusionConfig;
use uuid::Uuid;

use crate::answering::{self, Scan, Store as _};
use crate::filter::Field;
use crate::manifest::Manifest;
use crate::point::check_code;
use crate::{
    Answer, CodeSpec, Facet, Filter, Gallery, GalleryError, GalleryInfo, GalleryOptions, Point,
    RecommendRequest, SearchRequest, Stub, Upserted,
};
use blobs::{Keeper, THUMBNAILS, TILES};
use diffusion::DiffusionFile;
use folder::{Lock, Partial, SHARD, UNCLEAN};
pub use optimise::disk_usage;
use room::{check_room, check_room_to_open};
use screen::Screen;
use shard::Shard;
use tiles::TileStore;
use writing::Writer;

/// A gallery in one folder of this machine, opened by one process at a time.
///
/// The folder holds `gallery.json` (what the gallery is), `model.safetensors` (the model its codes
/// come from), `shard` (the engine's files), `diffusion.bin` (the neighbour graph, once built),
/// `thumbnails` and `tiles` (once there are some) and `lock`.
#[derive(Debug)]
pub struct EmbeddedGallery {
    path: PathBuf,
    manifest: Manifest,
    /// One change at a time; what only changes concern.
    writer: Mutex<Writer>,
    /// None after a failure that left the engine unreliable. Held for writing only while the shard
    /// is exchanged.
    shard: RwLock<Option<Shard>>,
    /// Rises with every change.
    generation: AtomicU64,
    /// All codes, as of a generation, for answers by full scan.
    scan: Mutex<Option<(u64, Arc<Scan>)>>,
    screen: Screen,
    diffusion: Mutex<Option<Arc<DiffusionFile>>>,
    thumbnails: Keeper,
    tiles: TileStore,
    /// The folder with the engine's files, where those of the gallery cannot be written.
    read_only: Option<tempfile::TempDir>,
    /// Given back last.
    _lock: Option<Lock>,
}

impl EmbeddedGallery {
    /// Makes an empty gallery for `codes` in the new folder `path`. The folder appears at once and
    /// complete.
    ///
    /// # Errors
    /// [`AlreadyExists`](GalleryError::AlreadyExists) if something is at `path`,
    /// [`BadRequest`](GalleryError::BadRequest) if the codes' length is not from 1 to 65536, and
    /// [`DiskFull`](GalleryError::DiskFull), [`Engine`](GalleryError::Engine) or
    /// [`Io`](GalleryError::Io) if the folder cannot be written.
    pub fn create(
        path: impl AsRef<Path>,
        codes: &CodeSpec,
        options: &GalleryOptions,
    ) -> Result<Self, GalleryError> {
        let (path, model) = (path.as_ref(), codes.model);
        let manifest = codes.manifest(options);
        manifest.check_dims()?;
        let partial = Partial::start(path)?;
        check_room(partial.path(), "making a gallery", model.len() as u64)?;
        folder::write_identity(partial.path(), &manifest, model)?;
        let shard = partial.path().join(SHARD);
        std::fs::create_dir(&shard).map_err(GalleryError::io("making the folder", &shard))?;
        drop(Shard::create(&shard, manifest.metric, manifest.dims)?);
        let lock = partial.finish()?;
        Self::load(path, manifest, Some(lock), None)
    }

    /// Opens the gallery in the folder `path`. One that cannot be written is opened for reading:
    /// the engine, which writes to its files whenever it opens them, gets a copy of them in the
    /// folder for temporary files, and whatever would change the gallery fails with
    /// [`ReadOnly`](GalleryError::ReadOnly). Many can read such a gallery at once.
    ///
    /// # Errors
    /// [`NotFound`](GalleryError::NotFound) or [`NotAGallery`](GalleryError::NotAGallery) if none
    /// is there, [`Version`](GalleryError::Version) or [`Damaged`](GalleryError::Damaged) if it
    /// cannot be understood, [`InUse`](GalleryError::InUse) while another process has it open,
    /// [`DiskFull`](GalleryError::DiskFull) if there is not even room to open it, and
    /// [`Io`](GalleryError::Io) if its files cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GalleryError> {
        let path = path.as_ref();
        let manifest = Manifest::read(path)?;
        match Lock::acquire(path) {
            Err(GalleryError::Io { source, .. }) if folder::forbids_writing(&source) => {
                Self::open_to_read(path, manifest)
            }
            lock => Self::load(path, manifest, Some(lock?), None),
        }
    }

    /// Opens the gallery in the folder `path`, or makes it if nothing is there. One that is there
    /// must have been made for codes of this length and model and, if `options` name a metric, for
    /// that metric.
    ///
    /// # Errors
    /// [`Mismatch`](GalleryError::Mismatch) if the gallery that is there was made for something
    /// else; otherwise those of [`open`](Self::open) or, where nothing is there, of
    /// [`create`](Self::create).
    pub fn open_or_create(
        path: impl AsRef<Path>,
        codes: &CodeSpec,
        options: &GalleryOptions,
    ) -> Result<Self, GalleryError> {
        let path = path.as_ref();
        let found = match Manifest::read(path) {
            Err(GalleryError::NotFound { .. }) => return Self::create(path, codes, options),
            found => found?,
        };
        let wanted = codes.manifest_beside(found.metric, options);
        found.check_fits(&wanted, path.to_path_buf())?;
        Self::open(path)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Computes the neighbour graph of all codes and what [`Rerank::Diffusion`](crate::Rerank)
    /// needs of it. That takes all threads of the rayon pool that it is called in: beside searches
    /// it is better called in another than the global one, in which those compute that compare with
    /// every point.
    ///
    /// # Errors
    /// [`BadRequest`](GalleryError::BadRequest) if `config` is not
    /// [valid](DiffusionConfig::validate) or there are more points than a graph can hold;
    /// [`DiskFull`](GalleryError::DiskFull) or [`Io`](GalleryError::Io) if the graph cannot be
    /// stored, and then an earlier one stays; and those of [reading](Gallery#errors).
    pub fn build_diffusion(&self, config: &DiffusionConfig) -> Result<(), GalleryError> {
        self.check_writable("building the neighbour graph")?;
        // Held throughout: the graph is of exactly the points that are there when it is done.
        let _writer = self.writer();
        self.build_graph(config)
    }

    /// Copies all that the gallery is, its index and neighbour graph included, to a folder where
    /// nothing is yet: the copy gives the very same answers, which an index that is built anew need
    /// not. A copy that was stopped is completed by the next. Says whether it copied: where
    /// something is already, points are to be copied one by one.
    ///
    /// # Errors
    /// [`DiskFull`](GalleryError::DiskFull) or [`Io`](GalleryError::Io) if it cannot be written,
    /// [`InUse`](GalleryError::InUse) if another process is copying to the same place.
    pub fn copy_whole(&self, to: impl AsRef<Path>) -> Result<bool, GalleryError> {
        let to = to.as_ref();
        if to.symlink_metadata().is_ok() {
            return Ok(false);
        }
        // Held throughout: nothing changes while it is copied.
        let _writer = self.writer();
        self.read(Shard::flush)?;
        let parent = folder::parent_of(to);
        std::fs::create_dir_all(&parent).map_err(GalleryError::io("making the folder", &parent))?;
        let needed = optimise::disk_usage(&self.path);
        check_room(&parent, "copying the gallery", needed)?;
        copy::copy(&self.path, to)?;
        Ok(true)
    }

    fn open_to_read(path: &Path, manifest: Manifest) -> Result<Self, GalleryError> {
        let lock = Lock::shared(path)?;
        let place = std::env::temp_dir();
        let doing = "reading a gallery that cannot be written, by a copy of its engine's files,";
        check_room(&place, doing, optimise::disk_usage(&path.join(SHARD)))?;
        let copy = tempfile::Builder::new()
            .prefix("lookalike-")
            .tempdir_in(&place)
            .map_err(GalleryError::io("making a folder in", &place))?;
        optimise::copy_to(path, &copy.path().join(SHARD))?;
        Self::load(path, manifest, lock, Some(copy))
    }

    fn load(
        path: &Path,
        manifest: Manifest,
        lock: Option<Lock>,
        read_only: Option<tempfile::TempDir>,
    ) -> Result<Self, GalleryError> {
        let shard = match &read_only {
            Some(copy) => open_shard(copy.path(), &manifest)?,
            None => {
                check_room_to_open(path)?;
                optimise::recover(path)?;
                open_shard(path, &manifest)?
            }
        };
        let unclean = path.join(UNCLEAN).exists();
        if unclean {
            repair::remove_doubles(&shard)?;
        }
        Ok(EmbeddedGallery {
            path: path.to_path_buf(),
            manifest,
            writer: Mutex::new(Writer { unclean, logged: 0 }),
            shard: RwLock::new(Some(shard)),
            generation: AtomicU64::new(0),
            scan: Mutex::new(None),
            screen: Screen::default(),
            diffusion: Mutex::new(None),
            thumbnails: Keeper::new(path, &THUMBNAILS),
            tiles: TileStore::new(Keeper::new(path, &TILES)),
            read_only,
            _lock: lock,
        })
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self) -> RwLockReadGuard<'_, Option<Shard>> {
        self.shard.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard_mut(&self) -> RwLockWriteGuard<'_, Option<Shard>> {
        self.shard.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self) -> GalleryError {
        GalleryError::Closed {
            path: self.path.clone(),
        }
    }

    /// Runs `action` on the shard.
    fn read<T>(
        &self,
        action: impl FnOnce(&Shard) -> Result<T, GalleryError>,
    ) -> Result<T, GalleryError> {
        action(self.shard().as_ref().ok_or_else(|| self.closed())?)
    }
}

impl Gallery for EmbeddedGallery {
    fn describe(&self) -> Result<GalleryInfo, GalleryError> {
        let (points, coverage) = self.read(|shard| Ok((shard.count(None)?, shard.coverage()?)))?;
        Ok(GalleryInfo {
            name: self.path.display().to_string(),
            metric: self.manifest.metric,
            dims: self.manifest.dims,
            points,
            // Points that another thread is deleting are missing from the one number before the
            // other.
            indexed: coverage.indexed.min(points),
            model_fingerprint: self.manifest.model_fingerprint.clone(),
            created: self.manifest.created,
            diffusion: self.diffusion_state(),
        })
    }

    fn model(&self) -> Result<Option<Vec<u8>>, GalleryError> {
        folder::read_model(&self.path, &self.manifest).map(Some)
    }

    fn reading_rules(&self) -> Result<Option<String>, GalleryError> {
        folder::read_rules(&self.path)
    }

    fn keep_reading_rules(&self, rules: &str) -> Result<(), GalleryError> {
        self.check_writable("keeping how images are read")?;
        let _writer = self.writer();
        folder::write_rules(&self.path, rules)
    }

    fn upsert(&self, points: &[Point]) -> Result<Upserted, GalleryError> {
        for point in points {
            check_code(&point.code, self.manifest.dims, || {
                format!("the code of {}", point.payload.key)
            })?;
        }
        let upserted = self.store(points)?;
        let hashes = points.iter().map(|point| point.payload.blake3.as_str());
        self.thumbnails.stored(hashes.clone());
        self.tiles.keeper.stored(hashes);
        Ok(upserted)
    }

    fn existing(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, String>, GalleryError> {
        self.read(|shard| shard.hashes(ids))
    }

    fn with_content(&self, hashes: &[&str]) -> Result<HashMap<String, Point>, GalleryError> {
        self.read(|shard| shard.with_content(hashes))
    }

    fn retrieve(&self, ids: &[Uuid]) -> Result<Vec<Point>, GalleryError> {
        self.points(ids)
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
        self.read(|shard| shard.scroll(after, limit, filter))
    }

    fn stubs(
        &self,
        source: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Stub>, GalleryError> {
        self.read(|shard| shard.stubs(source, after, limit))
    }

    fn count(&self, filter: Option<&Filter>) -> Result<usize, GalleryError> {
        self.read(|shard| shard.count(filter.map(query::filter)))
    }

    fn facets(
        &self,
        field: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Facet>, GalleryError> {
        let field = Field::checked(field)?;
        let mut facets = self.read(|shard| shard.facets(&field, filter))?;
        facets.sort_by(Facet::order);
        facets.truncate(limit);
        Ok(facets)
    }

    fn delete(&self, ids: &[Uuid]) -> Result<usize, GalleryError> {
        self.remove(ids)
    }

    fn optimise(&self) -> Result<bool, GalleryError> {
        self.check_writable("building the index")?;
        let mut writer = self.writer();
        let built = self.build_index(&mut writer)?;
        Ok(self.sweep_blobs()? || built)
    }

    fn put_thumbnails(&self, thumbnails: &[(&str, &[u8])]) -> Result<(), GalleryError> {
        self.check_writable("keeping thumbnails")?;
        self.thumbnails.put(thumbnails)
    }

    fn thumbnail(&self, blake3: &str) -> Result<Option<Vec<u8>>, GalleryError> {
        self.thumbnails.get(blake3)
    }

    fn flush(&self) -> Result<(), GalleryError> {
        let _writer = self.writer();
        self.read(Shard::flush)
    }
}

impl Drop for EmbeddedGallery {
    fn drop(&mut self) {
        if self.read_only.is_some() {
            *self.shard_mut() = None;
            return;
        }
        let unclean = self.writer().unclean;
        let flushed = self.read(Shard::flush).is_ok();
        // What the indexes of thumbnails and tiles do not say is found in them.
        let _ = self.thumbnails.save();
        let _ = self.tiles.keeper.save();
        *self.shard_mut() = None;
        if unclean && flushed {
            // If it stays, the next opening checks in vain, and that is all.
            let _ = folder::lower_flag(&self.path.join(UNCLEAN));
        }
    }
}

/// Opens the shard of a gallery, and says so if it is damaged.
fn open_shard(gallery: &Path, manifest: &Manifest) -> Result<Shard, GalleryError> {
    let damaged = |detail: String| GalleryError::Damaged {
        path: gallery.to_path_buf(),
        detail,
    };
    let path = gallery.join(SHARD);
    // The engine would make anew what is missing, and the points would be gone without a word.
    let has_segments = std::fs::read_dir(path.join("segments"))
        .is_ok_and(|mut segments| segments.next().is_some());
    if !has_segments {
        return Err(damaged("its points (shard/segments) are missing".into()));
    }
    if !log::is_present(&path) {
        return Err(damaged("its log (shard/wal) is missing".into()));
    }
    log::shorten(&path).map_err(GalleryError::io("shortening the log of", &path))?;
    repair::clear_torn_pointers(&path).map_err(GalleryError::io("checking the files of", &path))?;
    let opened = Shard::open(&path, manifest.metric, manifest.dims).and_then(|shard| {
        // Without room for them lookups are slower, and that is all.
        if check_room(gallery, "indexing the payloads", 0).is_ok() {
            shard.index_few_fields()?;
        }
        Ok(shard)
    });
    opened.map_err(|error| match error {
        GalleryError::Engine { detail, .. } => {
            damaged(format!("its shard cannot be opened: {detail}"))
        }
        other => other,
    })
}

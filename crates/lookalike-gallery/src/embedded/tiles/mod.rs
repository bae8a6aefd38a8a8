//! Tiles: windows of pictures, kept beside the points so that nothing that counts, lists, compares
//! or exports points ever meets one.
//!
//! They belong to contents, as thumbnails do, and lie in a [store of blobs](super::blobs) of their
//! own. All of them are read when tiles are first searched, and follow what is stored from then on;
//! they are only ever a way to find contents, of which the engine has the points.

mod kept;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use uuid::Uuid;

use super::EmbeddedGallery;
use super::blobs::Keeper;
use crate::answering::{Wanted, plain};
use crate::tiles::unpack;
use crate::{
    Answer, Filter, GalleryError, Hit, Point, Rectangle, Rerank, SearchRequest, TileInfo, Tiles,
    thumbnail,
};
use kept::{BYTES_PER_CONTENT, BYTES_PER_TILE, Hash, Kept};

/// Memory for tiles, unless [another limit](EmbeddedGallery::set_tile_limit) is set.
const DEFAULT_LIMIT: u64 = 2 << 30;
/// Hashes that are read at a time.
const HASHES: usize = 10_000;
/// The most points of one content that are found by its tiles.
const MAX_TWINS: usize = 1_000;
/// Contents that are looked up beyond those wanted: some may have no points any more.
const SPARE: usize = 8;

/// The tiles of a gallery.
#[derive(Debug)]
pub(super) struct TileStore {
    pub(super) keeper: Keeper,
    /// None until they are first searched.
    kept: RwLock<Option<Loaded>>,
    limit: AtomicU64,
}

#[derive(Debug)]
struct Loaded {
    kept: Kept,
    /// Contents of points that had no tiles when the others were read, and got none since.
    missing: HashSet<Hash>,
}

impl TileStore {
    pub(super) fn new(keeper: Keeper) -> Self {
        TileStore {
            keeper,
            kept: RwLock::new(None),
            limit: AtomicU64::new(DEFAULT_LIMIT),
        }
    }

    fn kept(&self) -> RwLockReadGuard<'_, Option<Loaded>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept_mut(&self) -> RwLockWriteGuard<'_, Option<Loaded>> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the tiles in memory.
    pub(super) fn forget(&self) {
        *self.kept_mut() = None;
    }
}

impl EmbeddedGallery {
    /// Keeps tiles, each content's under its BLAKE3 (as in
    /// [`Payload::blake3`](crate::Payload::blake3)); of a content that has some, those stay. As
    /// [thumbnails](crate::Gallery::put_thumbnails), they are on disk when this returns, are to be
    /// put before the points that need them, and go when no point needs them.
    ///
    /// # Errors
    /// [`BadRequest`](GalleryError::BadRequest), [`Dimensions`](GalleryError::Dimensions) or
    /// [`BadCode`](GalleryError::BadCode) for what are no tiles of this gallery's codes, and then
    /// nothing is kept; [`DiskFull`](GalleryError::DiskFull), [`Io`](GalleryError::Io) or
    /// [`ReadOnly`](GalleryError::ReadOnly) if they cannot be written.
    pub fn put_tiles(&self, tiles: &[(&str, &Tiles)]) -> Result<(), GalleryError> {
        let blobs = tiles
            .iter()
            .map(|(hash, tiles)| Ok((*hash, tiles.to_bytes(self.manifest.dims)?)))
            .collect::<Result<Vec<_>, GalleryError>>()?;
        let blobs: Vec<_> = blobs
            .iter()
            .map(|(hash, b)| (*hash, b.as_slice()))
            .collect();
        self.put_tile_blobs(&blobs)
    }

    fn put_tile_blobs(&self, blobs: &[(&str, &[u8])]) -> Result<(), GalleryError> {
        self.check_writable("keeping tiles")?;
        self.tiles.keeper.put(blobs)?;
        let mut place = self.tiles.kept_mut();
        let Some(loaded) = &mut *place else {
            return Ok(());
        };
        let (dims, limit) = (self.manifest.dims, self.tiles.limit.load(Ordering::Relaxed));
        for (hash, blob) in blobs {
            if let Some(hash) = thumbnail::content(hash)
                && let Some(tiles) = unpack(blob, dims)
            {
                loaded.missing.remove(&hash);
                loaded.kept.add(hash, tiles);
            }
            if memory(loaded.kept.contents(), loaded.kept.len(), dims) > limit {
                // The next search says that they take too much.
                *place = None;
                break;
            }
        }
        Ok(())
    }

    /// Whether a content's tiles are kept.
    ///
    /// # Errors
    /// [`Io`](GalleryError::Io) if they cannot be read.
    pub fn has_tiles(&self, blake3: &str) -> Result<bool, GalleryError> {
        self.tiles.keeper.contains(blake3)
    }

    /// Whether a content's tiles are kept, for whoever is about to store a point of it: they stay
    /// until then, as if they had just been [put](Self::put_tiles).
    ///
    /// # Errors
    /// [`Io`](GalleryError::Io) if they cannot be read.
    pub fn hold_tiles(&self, blake3: &str) -> Result<bool, GalleryError> {
        self.tiles.keeper.hold(blake3)
    }

    /// Copies the tiles of these contents, of those that have some, to another gallery for the same
    /// codes.
    ///
    /// # Errors
    /// Those of [`put_tiles`](Self::put_tiles), and [`Io`](GalleryError::Io) if they cannot be
    /// read.
    pub fn copy_tiles(&self, to: &EmbeddedGallery, hashes: &[&str]) -> Result<(), GalleryError> {
        let mut blobs = Vec::new();
        for &hash in hashes {
            let blob = self.tiles.keeper.get(hash)?;
            let fits = |blob: &Vec<u8>| unpack(blob, to.manifest.dims).is_some();
            blobs.extend(blob.filter(fits).map(|blob| (hash, blob)));
        }
        let blobs: Vec<_> = blobs
            .iter()
            .map(|(hash, b)| (*hash, b.as_slice()))
            .collect();
        to.put_tile_blobs(&blobs)
    }

    /// Removes all tiles.
    ///
    /// # Errors
    /// [`Io`](GalleryError::Io) or [`ReadOnly`](GalleryError::ReadOnly) if they cannot be removed.
    pub fn drop_tiles(&self) -> Result<(), GalleryError> {
        self.check_writable("removing tiles")?;
        self.tiles.keeper.clear()?;
        self.tiles.forget();
        Ok(())
    }

    /// What the gallery has of tiles. Reads the hashes of all points.
    ///
    /// # Errors
    /// Those of [reading](crate::Gallery#errors).
    pub fn tile_info(&self) -> Result<TileInfo, GalleryError> {
        let dims = self.manifest.dims;
        let mut info = TileInfo::default();
        self.tiles.keeper.each_length(|bytes| {
            info.images += 1;
            info.tiles += Tiles::count_in(bytes, dims);
            info.bytes += bytes as u64;
        })?;
        info.memory = memory(info.images, info.tiles, dims);
        let mut seen = HashSet::new();
        self.each_content(None, |hash, text| {
            if seen.insert(hash) && !self.tiles.keeper.contains(text)? {
                info.missing += 1;
            }
            Ok(())
        })?;
        Ok(info)
    }

    /// Limits the memory that [searching among tiles](Self::search_tiles) may take for them, in
    /// bytes; 2 GiB by default. It counts when tiles are read or added.
    pub fn set_tile_limit(&self, bytes: u64) {
        self.tiles.limit.store(bytes, Ordering::Relaxed);
    }

    /// Finds the images that contain something near to a code: compares it with the code of every
    /// image and with those of all tiles. Each image is found once, at the least of these
    /// distances, with the region that is so near ([`Hit::region`]) or, where that is the whole
    /// picture, none. Tiles are all compared with; the images' own codes as in any search.
    ///
    /// # Errors
    /// [`BadRequest`](GalleryError::BadRequest) if the gallery keeps no tiles, they take more
    /// memory than [allowed](Self::set_tile_limit), or the request asks for another metric than the
    /// gallery's, diffusion or diversity; and those of [reading](crate::Gallery#errors).
    pub fn search_tiles(&self, request: &SearchRequest) -> Result<Answer, GalleryError> {
        self.check_tile_request(request)?;
        self.load_tiles()?;
        let loaded = self.tiles.kept();
        let Some(Loaded { kept, missing }) = &*loaded else {
            // Removed just now.
            return Err(self.no_tiles());
        };
        let metric = self.manifest.metric;
        let wanted = Wanted::of(request, metric);
        let whole = plain(self, &wanted, request.k)?;
        let mut found: HashMap<Uuid, Hit> = HashMap::new();
        for hit in self.with_near_tiles(kept, request)? {
            found.insert(hit.id, hit);
        }
        for (point, distance) in whole.found {
            found.entry(point.id).or_insert_with(|| {
                // A tile that is nearer than the whole, but not among the nearest, changes nothing:
                // enough others are nearer still.
                Hit {
                    id: point.id,
                    distance,
                    score: None,
                    region: None,
                    payload: point.payload,
                }
            });
        }
        let mut neighbours: Vec<Hit> = found
            .into_values()
            .filter(|hit| request.max_distance.is_none_or(|max| hit.distance <= max))
            .collect();
        neighbours.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id)));
        neighbours.truncate(request.k);
        let note = (!missing.is_empty()).then(|| {
            format!(
                "{} images have no tiles, so only their whole pictures were compared: index their sources again",
                missing.len()
            )
        });
        Ok(Answer {
            neighbours,
            metric,
            exact: whole.exact,
            notes: note.into_iter().collect(),
        })
    }

    fn check_tile_request(&self, request: &SearchRequest) -> Result<(), GalleryError> {
        crate::point::check_code(&request.code, self.manifest.dims, || "the query".into())?;
        let refused = |what| {
            Err(GalleryError::BadRequest(format!(
                "among tiles there is no {what}: leave it out, or search whole images"
            )))
        };
        if request
            .metric
            .is_some_and(|metric| metric != self.manifest.metric)
        {
            return refused("other metric than the gallery's");
        }
        if request.rerank != Rerank::None {
            return refused("diffusion");
        }
        match request.diverse.is_some() {
            true => refused("diversity"),
            false => Ok(()),
        }
    }

    fn no_tiles(&self) -> GalleryError {
        GalleryError::BadRequest(format!(
            "the gallery {} keeps no tiles, so parts of its pictures cannot be found: index its sources with tiles first",
            self.path.display()
        ))
    }

    /// The points of the contents with the nearest tiles: at least as many as are wanted, if there
    /// are.
    fn with_near_tiles(
        &self,
        kept: &Kept,
        request: &SearchRequest,
    ) -> Result<Vec<Hit>, GalleryError> {
        let admitted = match &request.filter {
            Some(filter) => {
                let mut admitted = HashSet::new();
                self.each_content(Some(filter), |hash, _| {
                    admitted.insert(hash);
                    Ok(())
                })?;
                Some(admitted)
            }
            None => None,
        };
        let admits = |hash: &Hash| admitted.as_ref().is_none_or(|them| them.contains(hash));
        let (mut hits, mut looked_up) = (Vec::new(), 0);
        let mut most = request.k.saturating_add(SPARE);
        while hits.len() < request.k {
            let nearest = kept.nearest(&request.code, most, admits);
            for best in nearest.iter().skip(looked_up) {
                if hits.len() >= request.k {
                    break;
                }
                let hash = blake3::Hash::from_bytes(best.hash).to_hex();
                for point in self.read(|shard| shard.of_content(&hash, MAX_TWINS))? {
                    if self.is_wanted(&point, request) {
                        hits.push(self.hit_in(point, best.distance, best.region, request));
                    }
                }
            }
            // Some of the contents have no points that are wanted.
            if nearest.len() < most {
                break;
            }
            looked_up = nearest.len();
            most = most.saturating_mul(2);
        }
        Ok(hits)
    }

    fn is_wanted(&self, point: &Point, request: &SearchRequest) -> bool {
        let passes = |filter: &Filter| filter.matches(&point.payload);
        request.exclude != Some(point.id) && request.filter.as_ref().is_none_or(passes)
    }

    /// A point whose best tile is so far away, and perhaps farther than the whole picture.
    fn hit_in(
        &self,
        point: Point,
        distance: f32,
        region: Rectangle,
        request: &SearchRequest,
    ) -> Hit {
        let whole = self.manifest.metric.distance(&request.code, &point.code);
        let is_part = distance < whole;
        Hit {
            id: point.id,
            distance: if is_part { distance } else { whole },
            score: None,
            region: is_part.then_some(region),
            payload: point.payload,
        }
    }

    /// Reads all tiles, if they are not in memory.
    fn load_tiles(&self) -> Result<(), GalleryError> {
        if self.tiles.kept().is_some() {
            return Ok(());
        }
        let mut place = self.tiles.kept_mut();
        if place.is_some() {
            return Ok(());
        }
        let dims = self.manifest.dims;
        let (mut images, mut tiles) = (0, 0);
        self.tiles.keeper.each_length(|bytes| {
            images += 1;
            tiles += Tiles::count_in(bytes, dims);
        })?;
        if images == 0 {
            return Err(self.no_tiles());
        }
        let (needed, limit) = (
            memory(images, tiles, dims),
            self.tiles.limit.load(Ordering::Relaxed),
        );
        if needed > limit {
            return Err(GalleryError::BadRequest(format!(
                "the {tiles} tiles of the gallery {} would take {needed} bytes of memory, and {limit} are allowed; index \
                 it anew with fewer tiles an image",
                self.path.display()
            )));
        }
        let mut kept = Kept::new(self.manifest.metric, dims);
        self.tiles.keeper.each(|hash, blob| {
            if let Some(tiles) = unpack(blob, dims) {
                kept.add(*hash, tiles);
            }
        })?;
        let mut missing = HashSet::new();
        self.each_content(None, |hash, _| {
            if !kept.has(&hash) {
                missing.insert(hash);
            }
            Ok(())
        })?;
        *place = Some(Loaded { kept, missing });
        Ok(())
    }

    /// Visits the content of each point whose payload passes, as bytes and in hexadecimal.
    fn each_content(
        &self,
        filter: Option<&Filter>,
        mut visit: impl FnMut(Hash, &str) -> Result<(), GalleryError>,
    ) -> Result<(), GalleryError> {
        let mut last = None;
        loop {
            let page = self.read(|shard| shard.scroll_hashes(last, HASHES, filter))?;
            for (_, text) in &page {
                if let Some(hash) = thumbnail::content(text) {
                    visit(hash, text)?;
                }
            }
            last = page.last().map(|(id, _)| *id);
            if page.len() < HASHES {
                return Ok(());
            }
        }
    }
}

/// Bytes of memory for so many tiles.
fn memory(contents: usize, tiles: usize, dims: usize) -> u64 {
    (tiles * (dims + BYTES_PER_TILE) + contents * BYTES_PER_CONTENT) as u64
}

//! The neighbour graph of a gallery: building it, opening it, and knowing whether it can be used.

use std::sync::{Arc, PoisonError};

use lookalike_neighbours::{DiffusionConfig, KnnGraph, Neighbour};
use rayon::prelude::*;

use super::EmbeddedGallery;
use super::diffusion::{self, DiffusionFile};
use super::folder::{self, DIFFUSION, DIFFUSION_STALE};
use super::room::check_room;
use crate::answering::Scan;
use crate::{DiffusionState, GalleryError};

/// Up to this many points the neighbour graph is exact; beyond, the index finds the neighbours.
const EXACT_UP_TO: usize = 100_000;

impl EmbeddedGallery {
    /// Whether there is a graph, by the names in the folder alone.
    pub(super) fn diffusion_flags(&self) -> DiffusionState {
        if !self.path.join(DIFFUSION).exists() {
            DiffusionState::Absent
        } else if self.path.join(DIFFUSION_STALE).exists() {
            DiffusionState::Stale
        } else {
            DiffusionState::Fresh
        }
    }

    /// Whether there is a graph that can be used. One that cannot counts as absent, so that whoever
    /// builds it where it is missing builds it anew.
    pub(super) fn diffusion_state(&self) -> DiffusionState {
        match self.diffusion_file() {
            Ok(_) => self.diffusion_flags(),
            Err(_) => DiffusionState::Absent,
        }
    }

    pub(super) fn diffusion_file(&self) -> Result<Arc<DiffusionFile>, GalleryError> {
        let mut kept = self
            .diffusion
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*kept {
            return Ok(Arc::clone(file));
        }
        if self.diffusion_flags() == DiffusionState::Absent {
            return Err(GalleryError::NoDiffusion {
                name: self.path.display().to_string(),
            });
        }
        let path = self.path.join(DIFFUSION);
        let file = Arc::new(DiffusionFile::open(&path, self.manifest.metric)?);
        *kept = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Makes a note in the folder if `error` says that a row of the graph is damaged: opening the
    /// graph does not read the rows, and [`EmbeddedGallery::diffusion_state`] would go on calling
    /// it fresh.
    pub(super) fn noticed(&self, error: &GalleryError) {
        if matches!(error, GalleryError::DamagedDiffusion { .. }) {
            // The error is reported in any case.
            let _ = folder::raise_flag(&self.path.join(DIFFUSION_STALE));
        }
    }

    /// Builds the graph of the points that are there; nobody may change them meanwhile.
    pub(super) fn build_graph(&self, config: &DiffusionConfig) -> Result<(), GalleryError> {
        config
            .validate()
            .map_err(|e| GalleryError::BadRequest(e.to_string()))?;
        let scan = self.all_codes()?;
        let graph = if scan.ids.len() <= EXACT_UP_TO {
            KnnGraph::build(
                scan.codes(self.manifest.dims)?,
                self.manifest.metric,
                config,
            )
            .map_err(|e| GalleryError::BadRequest(e.to_string()))?
        } else {
            self.indexed_graph(&scan, config)?
        };
        let kept = config.kept.min(scan.ids.len());
        let bytes = scan.ids.len() as u64 * (kept as u64 * 8 + 64);
        check_room(&self.path, "storing the neighbour graph", bytes)?;
        let path = self.path.join(DIFFUSION);
        diffusion::build(&path, &scan.ids, &graph, self.manifest.metric, config)?;
        *self
            .diffusion
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        folder::lower_flag(&self.path.join(DIFFUSION_STALE))
    }

    /// The neighbours that the index knows of every code, for a graph too large to compare all
    /// pairs.
    fn indexed_graph(
        &self,
        scan: &Scan,
        config: &DiffusionConfig,
    ) -> Result<KnnGraph, GalleryError> {
        let codes = scan.codes(self.manifest.dims)?;
        // The code itself is among them.
        let wanted = config.neighbours.min(codes.len()) + 1;
        let neighbours = (0..codes.len())
            .into_par_iter()
            .map(|index| {
                let code = codes.row(index);
                let ids = self.read(|shard| shard.nearest_ids(code, wanted))?;
                let mut found: Vec<_> = ids
                    .into_iter()
                    .filter_map(|id| scan.ids.binary_search(&id).ok())
                    .filter(|&other| other != index)
                    .map(|other| Neighbour {
                        index: other,
                        distance: self.manifest.metric.distance(code, codes.row(other)),
                    })
                    .collect();
                found.sort_by(|a, b| a.order(b));
                found.truncate(config.neighbours);
                Ok(found)
            })
            .collect::<Result<Vec<_>, GalleryError>>()?;
        KnnGraph::from_neighbours(&neighbours, self.manifest.metric, config)
            .map_err(|e| GalleryError::BadRequest(e.to_string()))
    }
}

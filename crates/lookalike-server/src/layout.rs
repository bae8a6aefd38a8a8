//! The map of the gallery: laid out once, kept in a file, brought in step after changes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lookalike::Progress;
use lookalike::gallery::Gallery;
use lookalike::map::{self, Map};

use crate::jobs::{Jobs, Outcome, Standing};
use crate::problem::Problem;
use crate::service::Service;
use crate::work::Background;

/// The map, or how far it is.
pub(crate) struct Layout {
    file: PathBuf,
    kept: Mutex<Option<Kept>>,
    jobs: Arc<Jobs<(), ()>>,
}

#[derive(Clone)]
struct Kept {
    map: Arc<Map>,
    generation: u64,
}

impl Layout {
    /// Kept in `file`; `background` is that of other computations over the whole gallery.
    pub fn at(file: PathBuf, background: Arc<Background>) -> Arc<Self> {
        Arc::new(Self {
            file,
            kept: Mutex::new(None),
            jobs: Arc::new(Jobs::new(background)),
        })
    }

    /// The map, if it has been laid out; a map of the gallery as it was is brought in step. Begins
    /// to lay it out otherwise, and says how far it is.
    pub fn ask(&self, service: &Arc<Service>) -> Result<Outcome<Map>, Problem> {
        let generation = service.generation();
        let kept = self.lock().clone();
        if let Some(kept) = kept.filter(|kept| kept.generation == generation) {
            return Ok(Outcome::Done(kept.map));
        }
        let (layout, shared) = (service.layout.clone(), service.clone());
        let asked = self.jobs.ask(&(), generation, None, move |report| {
            layout.bring_up(shared.gallery(), shared.generation(), report)
        })?;
        // The job's own result counts for a while; a kept map is as good for as long.
        match (asked, self.lock().clone()) {
            (_, Some(kept)) => Ok(Outcome::Done(kept.map)),
            (Outcome::Working(standing), None) => Ok(Outcome::Working(standing)),
            (Outcome::Done(_), None) => unreachable!("a map that is done is kept"),
        }
    }

    /// The map that is kept.
    pub fn kept(&self) -> Option<Arc<Map>> {
        self.lock().clone().map(|kept| kept.map)
    }

    /// Whether the gallery has changed since the map that is kept.
    pub fn is_stale(&self, service: &Service) -> bool {
        let generation = service.generation();
        self.lock()
            .as_ref()
            .is_some_and(|kept| kept.generation != generation)
    }

    fn bring_up(
        &self,
        gallery: &dyn Gallery,
        generation: u64,
        report: &dyn Fn(Standing),
    ) -> Result<(), Problem> {
        let progress = |progress: Progress| report(progress.into());
        let before = self.kept();
        let before = before.or_else(|| Map::load(&self.file).ok().map(Arc::new));
        let mut changed = true;
        let mut map = match before {
            Some(before) => match before.update(gallery, progress)? {
                Some(updated) => Arc::new(updated),
                None => {
                    changed = false;
                    before
                }
            },
            None => Arc::new(map::lay_out(gallery, progress)?),
        };
        if map.is_worn() {
            // Until it is done, the worn one is better than none.
            self.keep(map.clone(), generation);
            map = Arc::new(map::lay_out(gallery, progress)?);
            changed = true;
        }
        self.keep(map.clone(), generation);
        if changed && let Err(error) = map.save(&self.file) {
            // It can be made again.
            tracing::warn!(%error, "the map is not kept for the next time");
        }
        Ok(())
    }

    fn keep(&self, map: Arc<Map>, generation: u64) {
        *self.lock() = Some(Kept { map, generation });
    }

    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

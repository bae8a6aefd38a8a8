//! Folders that are followed while the gallery is served.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lookalike::gallery::GalleryError;
use lookalike::{
    Error, ImageStream, IndexOptions, IndexSummary, Phase, Progress, Reading, ReadingRules,
    RuleOverrides, Skips, Watch, index,
};

use crate::current::Current;
use crate::options::ServeOptions;
use crate::service::Service;
use crate::work::Background;

/// How long after a look that failed the folder is looked at again.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// How often that is done before the next change is waited for.
const MAX_RETRIES: usize = 2;
/// How often a watcher checks whether it is to stop.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// A folder whose changes are heard.
pub(crate) struct Watched {
    folder: PathBuf,
    watch: Watch,
    prune: bool,
    /// What was passed over last, so that it is said once.
    said: String,
}

impl Watched {
    /// Begins to hear of changes in each folder that the options name.
    ///
    /// # Errors
    ///
    /// When one of them is no folder, or cannot be followed.
    pub fn all(options: &ServeOptions) -> Result<Vec<Self>, Error> {
        let begin = |folder: &PathBuf| {
            Ok(Self {
                watch: Watch::begin(folder, &[&options.folder])?,
                folder: folder.clone(),
                prune: options.prune,
                said: String::new(),
            })
        };
        options.watched.iter().map(begin).collect()
    }

    /// Looks at the folder, and again after every change, until it is told to stop.
    fn follow(mut self, current: &Current, background: &Background, stop: &Arc<AtomicBool>) {
        let stopped = || stop.load(Ordering::Relaxed);
        loop {
            for attempt in 0..=MAX_RETRIES {
                match self.look(&current.service(), background, stop) {
                    Ok(()) => break,
                    Err(_) if stopped() => return,
                    Err(error) => {
                        let folder = self.folder.display();
                        tracing::error!(%folder, %error, "a watched folder is not followed");
                        // The gallery would say the same again, unless it is away for a while.
                        let may_pass = !matches!(error, Error::Gallery(_))
                            || matches!(error, Error::Gallery(GalleryError::Unreachable { .. }));
                        if attempt == MAX_RETRIES || !may_pass {
                            break;
                        }
                        pause(RETRY_DELAY, stopped);
                    }
                }
            }
            if !self.watch.wait(stopped) {
                return;
            }
        }
    }

    /// Brings the gallery in step with the folder, as indexing it does.
    fn look(
        &mut self,
        service: &Service,
        background: &Background,
        stop: &Arc<AtomicBool>,
    ) -> Result<(), Error> {
        let gallery = service.gallery();
        let skips = Arc::<Skips>::default();
        let spec = self.folder.to_string_lossy();
        let stream = ImageStream::open(&spec, Reading::default(), skips.clone())?;
        // What the gallery has is not read by other limits than before, larger ones among them.
        let kept = ReadingRules::of(gallery)?;
        let note_stored = |progress: Progress| {
            if progress.phase == Phase::Storing {
                service.note_change();
            }
        };
        let options = IndexOptions {
            prune: self.prune,
            progress: Some(&note_stored),
            stop: Some(stop.clone()),
            rules: RuleOverrides {
                max_pixels: kept.as_ref().map(|kept| kept.max_pixels),
                max_bytes: kept.as_ref().map(|kept| kept.max_bytes),
                ..RuleOverrides::default()
            },
            ..IndexOptions::default()
        };
        let encoder = service.searcher.encoder();
        let indexed = background.run(|| index(stream, encoder, gallery, options));
        // Also after a failure: some of it may be stored.
        let summary = indexed.inspect_err(|_| service.note_change())?;
        self.tell(service, &summary, &skips);
        Ok(())
    }

    fn tell(&mut self, service: &Service, summary: &IndexSummary, skips: &Skips) {
        let folder = self.folder.display();
        let stored = summary.added + summary.changed;
        if stored + summary.removed > 0 {
            service.note_change();
            service.metrics.added.inc_by(stored as u64);
            service.metrics.deleted.inc_by(summary.removed as u64);
            tracing::info!(
                %folder,
                added = summary.added,
                changed = summary.changed,
                removed = summary.removed,
                "a watched folder has changed"
            );
        }
        for note in &summary.notes {
            tracing::warn!(%folder, "{note}");
        }
        let said = skips.first().map(|first| {
            let (count, place) = (skips.total(), first.location);
            format!("{count} passed over; the first: {place}: {}", first.reason)
        });
        let said = said.unwrap_or_default();
        if said != self.said && !said.is_empty() {
            tracing::warn!(%folder, "{said}");
        }
        self.said = said;
    }
}

/// The threads that follow folders.
pub(crate) struct Following {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Following {
    /// Follows each folder on a thread of its own, in the gallery that answers at the time.
    pub fn begin(watched: Vec<Watched>, current: &Arc<Current>) -> Self {
        let stop = Arc::<AtomicBool>::default();
        if watched.is_empty() {
            return Self {
                stop,
                threads: Vec::new(),
            };
        }
        let threads = watched.into_iter().map(|one| {
            // Not that of other computations, nor of other folders: reading files, it waits more
            // than they do.
            let background = Background::default();
            let (current, stop) = (current.clone(), stop.clone());
            std::thread::spawn(move || one.follow(&current, &background, &stop))
        });
        Self {
            threads: threads.collect(),
            stop,
        }
    }

    /// Ends it after the batch at hand; it blocks until then.
    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("following a folder panicked");
            }
        }
    }
}

fn pause(delay: Duration, stopped: impl Fn() -> bool) {
    let begin = Instant::now();
    while begin.elapsed() < delay && !stopped() {
        std::thread::sleep(STOP_CHECK_INTERVAL);
    }
}

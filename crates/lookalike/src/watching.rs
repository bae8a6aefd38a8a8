//! Watching a folder for changes.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use lookalike_files::canonicalize;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::Error;

/// Changes are reported once nothing has changed for this long: a file that is being written
/// changes many times.
const DEBOUNCE: Duration = Duration::from_millis(400);
/// The longest delay after the first change.
const MAX_DEBOUNCE: Duration = Duration::from_secs(10);
/// How often the folder is listed although no change was reported: network file systems do not
/// report what other machines do.
const RESCAN_INTERVAL: Duration = Duration::from_secs(600);
/// How often it is checked whether to stop.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Watches a folder and all below it, from [`Watch::begin`] on.
///
/// It reports that something has changed, never what: the caller lists the folder, so that
/// nothing depends on events being complete or in order.
#[derive(Debug)]
pub struct Watch {
    /// Stops watching when dropped.
    _watcher: RecommendedWatcher,
    changes: Receiver<()>,
}

impl Watch {
    /// Begins to listen. Changes of what is in `except`, or below it, are passed over: a gallery
    /// may lie in the folder that it is made of.
    ///
    /// # Errors
    ///
    /// When `folder` is no folder, or the system cannot follow so many.
    pub fn begin(folder: &Path, except: &[&Path]) -> Result<Self, Error> {
        let failed = |reason: String| Error::CannotWatch {
            folder: folder.to_owned(),
            reason,
        };
        if !folder.is_dir() {
            return Err(failed("only a folder can be followed".to_owned()));
        }
        // One spelling for all: events come with paths below the one that is followed.
        let folder = &absolute(folder);
        let except: Vec<PathBuf> = except.iter().map(|path| absolute(path)).collect();
        let (tell, changes) = channel();
        let hear = move |event: notify::Result<notify::Event>| {
            let matters = match &event {
                Ok(event) => {
                    let elsewhere =
                        |path: &PathBuf| !except.iter().any(|except| path.starts_with(except));
                    let changes = !matches!(event.kind, EventKind::Access(_));
                    changes && (event.paths.is_empty() || event.paths.iter().any(elsewhere))
                }
                // Something was missed.
                Err(_) => true,
            };
            if matters {
                // Nobody may listen any more.
                let _ = tell.send(());
            }
        };
        let mut watcher =
            notify::recommended_watcher(hear).map_err(|error| failed(error.to_string()))?;
        watcher.watch(folder, RecursiveMode::Recursive).map_err(|error| {
            failed(format!(
                "{error}; if there are too many folders, raise fs.inotify.max_user_watches, or index it now and then instead"
            ))
        })?;
        Ok(Self {
            _watcher: watcher,
            changes,
        })
    }

    /// Waits until something has changed, and then until it has been quiet for a moment. Says
    /// whether to look; false as soon as `stop` says so.
    pub fn wait(&self, stop: impl Fn() -> bool) -> bool {
        let start = Instant::now();
        let mut first: Option<Instant> = None;
        let mut last = start;
        loop {
            if stop() {
                return false;
            }
            match self.changes.recv_timeout(STOP_CHECK_INTERVAL) {
                Ok(()) => {
                    last = Instant::now();
                    first.get_or_insert(last);
                }
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let settled = last.elapsed() >= DEBOUNCE;
            match first {
                Some(first) if settled || first.elapsed() >= MAX_DEBOUNCE => return true,
                None if start.elapsed() >= RESCAN_INTERVAL => return true,
                _ => {}
            }
        }
    }
}

/// The path from the root, through no links where it exists.
fn absolute(path: &Path) -> PathBuf {
    if let Ok(path) = canonicalize(path) {
        return path;
    }
    // What is not there yet has a folder that is.
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) => absolute(parent).join(name),
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Whether a change is told of within some seconds.
    fn told(watch: &Watch, seconds: u64) -> bool {
        let start = Instant::now();
        watch.wait(|| start.elapsed() > Duration::from_secs(seconds))
    }

    #[test]
    fn changes_below_the_folder_are_told_of_but_not_the_gallerys() {
        let folder = tempfile::tempdir().unwrap();
        let gallery = folder.path().join("g");
        fs::create_dir(&gallery).unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        let watch = Watch::begin(folder.path(), &[&gallery]).unwrap();
        fs::write(gallery.join("shard"), b"x").unwrap();
        assert!(!told(&watch, 1));
        fs::write(folder.path().join("below/a.png"), b"x").unwrap();
        assert!(told(&watch, 20));
        fs::remove_file(folder.path().join("below/a.png")).unwrap();
        assert!(told(&watch, 20));
        assert!(!told(&watch, 1));
        // Folders that came later are followed too.
        fs::create_dir(folder.path().join("later")).unwrap();
        assert!(told(&watch, 20));
        fs::write(folder.path().join("later/b.png"), b"x").unwrap();
        assert!(told(&watch, 20));
    }

    #[test]
    fn only_folders_can_be_followed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.zip");
        fs::write(&file, b"x").unwrap();
        let error = Watch::begin(&file, &[]).unwrap_err().to_string();
        assert!(
            error.contains("a.zip") && error.contains("folder"),
            "{error}"
        );
    }
}

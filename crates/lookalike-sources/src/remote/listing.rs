//! All objects that an address leads to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::address::Address;
use super::{Object, image, look, reason_of, runtime, stamp_of};
use crate::entry::{Content, Entry};
use crate::error::SourceError;
use crate::names::{is_image, key_of_member};
use crate::skipped::{SkipReason, Skipped};
use crate::source::{Entries, Source, SourceOptions, Wanted, no_such_image};

/// Objects listed at once.
const PAGE: usize = 1000;

type Pages = BoxStream<'static, object_store::Result<ObjectMeta>>;

/// The objects below an address, in the store's order: for S3, Google and Azure by the names'
/// bytes.
pub(super) struct Listing {
    ready: VecDeque<ObjectMeta>,
    /// The channel on which the next page arrives, and the pages after it.
    coming: Option<Receiver<(Pages, Vec<object_store::Result<ObjectMeta>>)>>,
    failed: Option<SkipReason>,
}

impl Listing {
    pub(super) fn begin(address: &Address) -> Result<Self, SourceError> {
        let whole = address.path.as_ref().is_empty();
        let prefix = (!whole).then_some(&address.path);
        let pages = address.store.list(prefix);
        let mut listing = Self {
            ready: VecDeque::new(),
            coming: None,
            failed: None,
        };
        listing.ask(pages);
        // If the store does not answer, or refuses, that is an error now.
        listing.take_page();
        match listing.failed.take() {
            None => Ok(listing),
            Some(why) => Err(SourceError::Remote {
                doing: "list",
                name: address.of(&address.path),
                reason: why.reason,
            }),
        }
    }

    fn ask(&mut self, mut pages: Pages) {
        let work = async move {
            let mut page = Vec::new();
            while page.len() < PAGE
                && let Some(object) = pages.next().await
            {
                let last = object.is_err();
                page.push(object);
                if last {
                    break;
                }
            }
            (pages, page)
        };
        match runtime::begin(work) {
            Ok(coming) => self.coming = Some(coming),
            Err(error) => self.failed = Some(SkipReason::from_io(&error, "list the objects")),
        }
    }

    fn take_page(&mut self) {
        let Some((pages, page)) = self.coming.take().and_then(|coming| coming.recv().ok()) else {
            return;
        };
        let full = page.len() == PAGE;
        for object in page {
            match object {
                Ok(object) => self.ready.push_back(object),
                Err(error) => {
                    let why = reason_of(&error);
                    let reason = format!("the listing cannot go on: {}", why.reason);
                    self.failed = Some(SkipReason { reason, ..why });
                    return;
                }
            }
        }
        if full {
            self.ask(pages);
        }
    }
}

impl Iterator for Listing {
    type Item = Result<ObjectMeta, SkipReason>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() && self.failed.is_none() {
            self.take_page();
        }
        match self.ready.pop_front() {
            Some(object) => Some(Ok(object)),
            None => self.failed.take().map(Err),
        }
    }
}

/// An object's path from a folder on.
pub(super) fn relative(folder: &Path, object: &Path) -> String {
    match object.prefix_match(folder) {
        Some(parts) => parts.collect::<Path>().to_string(),
        None => object.to_string(),
    }
}

/// The images below an address.
#[derive(Clone)]
pub(super) struct Folder {
    name: String,
    address: Address,
    options: SourceOptions,
}

impl Folder {
    pub(super) fn open(
        name: String,
        address: &Address,
        options: &SourceOptions,
    ) -> Result<Self, SourceError> {
        let folder = Self {
            name,
            address: address.clone(),
            options: options.clone(),
        };
        if Listing::begin(address)?.next().is_none() {
            return Err(SourceError::Remote {
                doing: "open",
                name: folder.name,
                reason: "there are no objects below the address; correct it. A file's name should end in .zip, .tar, \
                         .tar.gz, .tar.zst, .parquet, .csv, .tsv or .jsonl, or as an image does"
                    .to_owned(),
            });
        }
        Ok(folder)
    }

    fn shows(&self, key: &str) -> bool {
        let hidden = !self.options.hidden && key.split('/').any(|part| part.starts_with('.'));
        is_image(key.as_bytes()) && !hidden
    }
}

impl Source for Folder {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_hint(&self) -> Option<u64> {
        None
    }

    fn entries(&self) -> Result<Entries, SourceError> {
        self.entries_wanted(Arc::new(|_| true))
    }

    fn entries_wanted(&self, wanted: Wanted) -> Result<Entries, SourceError> {
        Ok(Box::new(Walk {
            objects: Listing::begin(&self.address)?,
            folder: self.clone(),
            wanted,
            upcoming: VecDeque::new(),
            listed: 0,
            last_read: Arc::default(),
        }))
    }

    fn get(&self, key: &str) -> Result<Entry, SourceError> {
        let absent = || no_such_image(&self.name, key);
        if !self.shows(key) || key_of_member(key.as_bytes()).ok().as_deref() != Some(key) {
            return Err(absent());
        }
        let parts = Path::parse(key).map_err(|_| absent())?;
        let address = Address {
            path: self.address.path.parts().chain(parts.parts()).collect(),
            ..self.address.clone()
        };
        match look(&address) {
            Ok(about) => {
                image(&address, &about, key.to_owned(), &self.options).map_err(SourceError::Skipped)
            }
            Err(object_store::Error::NotFound { .. }) => Err(absent()),
            Err(error) => Err(SourceError::Remote {
                doing: "look at",
                name: address.of(&address.path),
                reason: reason_of(&error).reason,
            }),
        }
    }
}

/// How many objects are fetched ahead of the reader: about what two decoding threads need.
const AHEAD: usize = 4;

/// The largest object that is fetched ahead.
const MAX_AHEAD: u64 = 16 << 20;

/// How far reading may be behind listing (there are queues between) to count as going on.
const BEHIND: u64 = 256;

/// An item, and the object to fetch for it if it is small enough.
type Upcoming = (Result<Entry, Skipped>, Option<Arc<Object>>);

struct Walk {
    folder: Folder,
    wanted: Wanted,
    objects: Listing,
    upcoming: VecDeque<Upcoming>,
    listed: u64,
    last_read: Arc<AtomicU64>,
}

impl Walk {
    /// The next image of the listing.
    fn list(&mut self) -> Option<Upcoming> {
        loop {
            let about = match self.objects.next()? {
                Ok(about) => about,
                Err(why) => return Some((Err(Skipped::new("", &self.folder.name, why)), None)),
            };
            let address = &self.folder.address;
            let key = relative(&address.path, &about.location);
            if !self.folder.shows(&key) || !(self.wanted)(&key) {
                continue;
            }
            self.listed += 1;
            let mut entry = match image(address, &about, key, &self.folder.options) {
                Ok(entry) => entry,
                Err(skipped) => return Some((Err(skipped), None)),
            };
            let last_read = Arc::clone(&self.last_read);
            let object = Object::listed(address, about.location.clone(), self.listed, last_read);
            let object = Arc::new(object);
            entry.content = Content::Lazy(Arc::clone(&object) as _);
            let small = stamp_of(&about).bytes <= MAX_AHEAD;
            return Some((Ok(entry), small.then_some(object)));
        }
    }
}

impl Iterator for Walk {
    type Item = Result<Entry, Skipped>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.upcoming.len() <= AHEAD
            && let Some(item) = self.list()
        {
            self.upcoming.push_back(item);
        }
        // Nothing is fetched for a caller that reads nothing because all is unchanged.
        let last_read = self.last_read.load(Ordering::Relaxed);
        if last_read > 0 && self.listed - last_read <= BEHIND {
            let objects = self
                .upcoming
                .iter()
                .filter_map(|(_, object)| object.as_ref());
            objects.for_each(|object| object.begin_ahead(self.folder.options.limits));
        }
        self.upcoming.pop_front().map(|(item, _)| item)
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    fn folder(objects: usize) -> Folder {
        let store = Arc::new(InMemory::new());
        let filled = Arc::clone(&store);
        runtime::finish(async move {
            for number in 0..objects {
                let path = Path::from(format!("a/{number:05}.jpg"));
                let bytes = format!("picture {number}").into_bytes();
                filled.put(&path, bytes.into()).await.unwrap();
            }
        })
        .unwrap();
        let address = Address {
            store,
            root: "memory://".to_owned(),
            path: Path::from("a"),
            is_folder: true,
        };
        Folder::open(
            "memory:///a".to_owned(),
            &address,
            &SourceOptions::default(),
        )
        .unwrap()
    }

    fn walk(folder: &Folder) -> Walk {
        Walk {
            objects: Listing::begin(&folder.address).unwrap(),
            folder: folder.clone(),
            wanted: Arc::new(|_| true),
            upcoming: VecDeque::new(),
            listed: 0,
            last_read: Arc::default(),
        }
    }

    fn fetched(walk: &Walk) -> usize {
        let objects = walk
            .upcoming
            .iter()
            .filter_map(|(_, object)| object.as_ref());
        objects.filter(|object| object.is_ahead()).count()
    }

    #[test]
    fn listings_go_on_after_a_page() {
        let keys: Vec<_> = walk(&folder(2 * PAGE + 7))
            .map(|item| item.unwrap().key)
            .collect();
        assert_eq!(keys.len(), 2 * PAGE + 7);
        assert!(keys.is_sorted());
    }

    #[test]
    fn objects_are_fetched_ahead_once_somebody_reads_and_not_before() {
        let folder = folder(20);
        let mut walk = walk(&folder);
        let mut entry = walk.next().unwrap().unwrap();
        for _ in 0..5 {
            assert_eq!(fetched(&walk), 0);
            entry = walk.next().unwrap().unwrap();
        }
        let read = |entry: &Entry| entry.read(&folder.options.limits).unwrap();
        assert_eq!(read(&entry), b"picture 5");
        for number in 6..12 {
            let entry = walk.next().unwrap().unwrap();
            assert_eq!(fetched(&walk), AHEAD);
            // What was fetched ahead is used once, and fetched again after that.
            for _ in 0..2 {
                assert_eq!(read(&entry), format!("picture {number}").into_bytes());
            }
        }
    }

    #[test]
    fn what_is_not_wanted_is_not_fetched_ahead() {
        let folder = folder(100);
        let own = |key: &str| key.ends_with("7.jpg");
        let mut walk = Walk {
            wanted: Arc::new(own),
            ..walk(&folder)
        };
        let first = walk.next().unwrap().unwrap();
        first.read(&folder.options.limits).unwrap();
        walk.next().unwrap().unwrap();
        assert_eq!(fetched(&walk), AHEAD);
        let keys = walk
            .upcoming
            .iter()
            .map(|(item, _)| &item.as_ref().unwrap().key);
        assert!(keys.eq(["00027.jpg", "00037.jpg", "00047.jpg", "00057.jpg"]));
        assert_eq!(walk.count(), 8);
    }
}

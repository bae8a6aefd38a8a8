//! Object stores: S3 and what speaks like it, Google Cloud Storage, Azure, and web servers.
//!
//! An address leads to a folder of images (all objects below it), to a container, which is read by
//! ranges, or to one image. Credentials and settings come from the environment
//! (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, …, `GOOGLE_…`, `AZURE_…`), by the names that the crate
//! `object_store` gives them. Without encryption (`http`) nothing is sent unless `AWS_ALLOW_HTTP`
//! is `true`.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::blob::{Blob, Fetch};
use crate::entry::{Content, Entry, Lazy, Stamp};
use crate::error::SourceError;
use crate::glob;
use crate::limits::Limits;
use crate::names::{key_of_member, parent};
use crate::open::{Kind, open_blob, paged, refuse, split_pattern};
use crate::shards::{Opener, Shards};
use crate::single::Single;
use crate::skipped::{SkipKind, SkipReason, Skipped};
use crate::source::{LabelFrom, Source, SourceOptions};
use crate::table::{Beside, Found};

mod address;
mod listing;
mod runtime;

use address::Address;
use listing::{Folder, Listing};

/// Opens what an address leads to.
pub(crate) fn open(spec: &str, options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    let environment = match &options.environment {
        Some(environment) => environment.clone(),
        None => own_environment(),
    };
    let (root, rest) = address::split(spec);
    // A question mark is a wildcard on this machine, but not in an address.
    if glob::has_braces(rest) || rest.contains('*') {
        return open_pattern(spec, root, rest, &environment, options);
    }
    let address = address::parse(spec, &environment)?;
    open_address(&address, options)
}

fn own_environment() -> BTreeMap<String, String> {
    let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((key.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

fn open_address(
    address: &Address,
    options: &SourceOptions,
) -> Result<Box<dyn Source>, SourceError> {
    let name = address.of(&address.path);
    let name = name.trim_end_matches('/').to_owned();
    let kind = match Kind::of(&name) {
        Some(kind) if !address.is_folder => kind,
        _ => return Ok(paged(Folder::open(name, address, options)?, options.limits)),
    };
    let about = look(address).map_err(|error| SourceError::Remote {
        doing: "look at",
        name: name.clone(),
        reason: reason_of(&error).reason,
    })?;
    if kind == Kind::Image {
        let key = address.path.filename().unwrap_or_default().to_owned();
        return Ok(Box::new(Single::new(
            name,
            image(address, &about, key, options),
            &options.limits,
        )));
    }
    let blob: Arc<dyn Blob> = Arc::new(RemoteBlob {
        store: Arc::clone(&address.store),
        path: address.path.clone(),
        stamp: stamp_of(&about),
    });
    let parts: Vec<_> = address.path.parts().collect();
    let folder = Address {
        path: parts[..parts.len() - 1].iter().cloned().collect(),
        ..address.clone()
    };
    let beside = Arc::new(RemoteFolder { folder });
    open_blob(kind, name, blob, false, beside, options)
}

fn look(address: &Address) -> object_store::Result<ObjectMeta> {
    let (store, path) = (Arc::clone(&address.store), address.path.clone());
    runtime::finish(async move { store.head(&path).await }).unwrap_or_else(|error| {
        Err(object_store::Error::Generic {
            store: "runtime",
            source: error.into(),
        })
    })
}

/// One object as an image.
fn image(
    address: &Address,
    about: &ObjectMeta,
    key: String,
    options: &SourceOptions,
) -> Result<Entry, Skipped> {
    let location = address.of(&about.location);
    if let Err(why) = options.limits.check_item(about.size) {
        return Err(Skipped::new(key, location, why));
    }
    Ok(Entry {
        label: match options.label {
            LabelFrom::Default | LabelFrom::Parent => parent(&key),
            LabelFrom::Column(_) | LabelFrom::None => None,
        },
        sample: None,
        extra: Default::default(),
        key,
        location,
        stamp: Some(stamp_of(about)),
        content: Content::Lazy(Arc::new(Object::new(address, about.location.clone()))),
    })
}

fn stamp_of(about: &ObjectMeta) -> Stamp {
    Stamp {
        bytes: about.size,
        // Whole seconds: a listing may be more precise than the metadata of one object.
        modified: about.last_modified.timestamp().checked_mul(1_000_000_000),
        changed: None,
    }
}

/// A store's error as a reason.
fn reason_of(error: &object_store::Error) -> SkipReason {
    use object_store::Error;
    match error {
        Error::NotFound { .. } => SkipReason::new(
            SkipKind::Missing,
            "there is no such object; correct the address",
        ),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => SkipReason::new(
            SkipKind::Unreadable,
            format!("the store refuses: {error}; set its credentials in the environment"),
        ),
        error => SkipReason::new(
            SkipKind::Unreadable,
            format!(
                "the store answers: {error}; try again, or look at the settings in the environment"
            ),
        ),
    }
}

/// A remote object, read by ranges.
struct RemoteBlob {
    store: Arc<dyn ObjectStore>,
    path: Path,
    stamp: Stamp,
}

impl Blob for RemoteBlob {
    fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn fetch(&self, offset: u64, length: usize) -> Fetch {
        fetch_range(Arc::clone(&self.store), self.path.clone(), offset, length)
    }

    fn stride(&self) -> (usize, bool) {
        (4 << 20, true)
    }
}

fn fetch_range(store: Arc<dyn ObjectStore>, path: Path, offset: u64, length: usize) -> Fetch {
    let range = offset..offset.saturating_add(length as u64);
    let work = async move {
        let got = store.get_range(&path, range).await;
        got.map_err(|error| io::Error::from(reason_of(&error)))
    };
    match runtime::begin(work) {
        Ok(coming) => Fetch::Coming(coming),
        Err(error) => Fetch::Here(Err(error)),
    }
}

/// A channel on which an object arrives.
type Coming = Receiver<Result<Vec<u8>, SkipReason>>;

/// A remote image, read when it is asked for, or shortly before.
struct Object {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// The object, if it was asked for ahead of its reader.
    ahead: Mutex<Option<Coming>>,
    /// Its number in a listing, and that of the last one that was read.
    number: u64,
    last_read: Arc<AtomicU64>,
}

impl Object {
    fn new(address: &Address, path: Path) -> Self {
        Self::listed(address, path, 0, Arc::default())
    }

    fn listed(address: &Address, path: Path, number: u64, last_read: Arc<AtomicU64>) -> Self {
        Self {
            store: Arc::clone(&address.store),
            path,
            ahead: Mutex::new(None),
            number,
            last_read,
        }
    }

    fn begin(&self, limits: Limits) -> io::Result<Coming> {
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        runtime::begin(async move { download(store, path, limits).await })
    }

    /// Whether it is being fetched ahead of its reader.
    #[cfg(test)]
    fn is_ahead(&self) -> bool {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.is_some()
    }

    /// Begins to fetch it ahead of its reader.
    fn begin_ahead(&self, limits: Limits) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        if ahead.is_none() {
            *ahead = self.begin(limits).ok();
        }
    }
}

impl Lazy for Object {
    fn read(&self, limits: &Limits) -> Result<Vec<u8>, SkipReason> {
        self.last_read.fetch_max(self.number, Ordering::Relaxed);
        let ahead = self
            .ahead
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let doing = "read it from the store";
        let failed = |error: io::Error| SkipReason::from_io(&error, doing);
        let coming = match ahead {
            Some(coming) => coming,
            None => self.begin(*limits).map_err(failed)?,
        };
        let bytes = coming
            .recv()
            .map_err(|_| failed(io::Error::other("the read was cancelled")))??;
        limits.check_item(bytes.len() as u64)?;
        Ok(bytes)
    }

    fn read_at(&self, offset: u64, length: usize) -> Option<io::Result<Bytes>> {
        if length == 0 {
            return Some(Ok(Bytes::new()));
        }
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        Some(fetch_range(store, path, offset, length).wait())
    }
}

async fn download(
    store: Arc<dyn ObjectStore>,
    path: Path,
    limits: Limits,
) -> Result<Vec<u8>, SkipReason> {
    let failed = |error: object_store::Error| reason_of(&error);
    let mut pieces = store.get(&path).await.map_err(failed)?.into_stream();
    let mut bytes = Vec::new();
    // More may come than was announced.
    while let Some(piece) = pieces.next().await {
        let piece: Bytes = piece.map_err(failed)?;
        limits.check_item((bytes.len() + piece.len()).max(1) as u64)?;
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// The folder of a remote list.
struct RemoteFolder {
    folder: Address,
}

impl Beside for RemoteFolder {
    fn find(&self, path: &str, _: &Limits) -> Result<Found, SkipReason> {
        // Unlike a list on this machine, this one may be somebody else's, and may not leave its
        // folder.
        let key = key_of_member(path.as_bytes())?;
        let parts = Path::from(key);
        let path = self.folder.path.parts().chain(parts.parts()).collect();
        Ok(Found {
            stamp: None,
            content: Content::Lazy(Arc::new(Object::new(&self.folder, path))),
        })
    }

    fn location(&self, path: &str) -> String {
        format!(
            "{}/{path}",
            self.folder.of(&self.folder.path).trim_end_matches('/')
        )
    }
}

fn open_pattern(
    spec: &str,
    root: &str,
    rest: &str,
    environment: &BTreeMap<String, String>,
    options: &SourceOptions,
) -> Result<Box<dyn Source>, SourceError> {
    let (folder, pattern) = split_pattern(rest);
    let base = address::parse(&format!("{root}/{folder}"), environment)?;
    let mut names = Vec::new();
    for literal in glob::expand_braces(pattern).map_err(|reason| refuse(spec, reason))? {
        if !literal.contains('*') {
            names.push(literal);
            continue;
        }
        for about in Listing::begin(&base)? {
            let about = about.map_err(|why| SourceError::Remote {
                doing: "list",
                name: base.of(&base.path),
                reason: why.reason,
            })?;
            let relative = listing::relative(&base.path, &about.location);
            if Kind::of(&relative).is_some() && glob::fits(&literal, &relative) {
                names.push(relative);
            }
        }
    }
    if names.is_empty() {
        return Err(refuse(spec, "nothing fits the pattern; correct it"));
    }
    let opener = RemoteOpener {
        base,
        options: options.clone(),
    };
    Ok(Box::new(Shards::new(
        spec.to_owned(),
        names,
        Arc::new(opener),
        options,
    )))
}

/// Opens the shards of a pattern in a store.
struct RemoteOpener {
    base: Address,
    options: SourceOptions,
}

impl RemoteOpener {
    fn address(&self, shard: &str) -> Address {
        let parts = Path::from(shard);
        Address {
            path: self.base.path.parts().chain(parts.parts()).collect(),
            is_folder: shard.ends_with('/'),
            ..self.base.clone()
        }
    }
}

impl Opener for RemoteOpener {
    fn source(&self, shard: &str) -> Result<Box<dyn Source>, SourceError> {
        open_address(&self.address(shard), &self.options)
    }

    fn image(&self, shard: &str) -> Result<Entry, Skipped> {
        let address = self.address(shard);
        match look(&address) {
            Ok(about) => image(&address, &about, shard.to_owned(), &self.options),
            Err(error) => Err(Skipped::new(shard, self.location(shard), reason_of(&error))),
        }
    }

    fn is_image(&self, shard: &str) -> bool {
        Kind::of(shard) == Some(Kind::Image)
    }

    fn is_folder(&self, shard: &str) -> bool {
        Kind::of(shard).is_none()
    }

    fn location(&self, shard: &str) -> String {
        self.base.of(&self.address(shard).path)
    }

    fn missing(&self, shard: &str) -> Option<SkipReason> {
        // A folder is missing if it has no objects, which its listing reports.
        Kind::of(shard)?;
        look(&self.address(shard))
            .err()
            .map(|error| reason_of(&error))
    }
}

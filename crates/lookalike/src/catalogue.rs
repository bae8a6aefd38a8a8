//! The sources that a gallery holds: which there are, and what to do when one has moved or is gone
//! for good.

use std::path::{Path, PathBuf};

use lookalike_files::canonicalize;
use lookalike_gallery::{DiffusionState, Gallery, GalleryError, Stubs};
use serde::Serialize;

use crate::Error;
use crate::indexing::bring_up_to_date;
use crate::uploads::UPLOADS_SOURCE;

/// Points that are changed at a time.
const PAGE: usize = 4_000;

/// A source, and how many images of it are in the gallery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceCount {
    /// Its name: a path, an address.
    pub source: String,
    /// Points of it.
    pub images: usize,
}

/// The sources of a gallery by their names.
///
/// # Errors
///
/// When the gallery cannot be read.
pub fn sources_in(gallery: &dyn Gallery) -> Result<Vec<SourceCount>, Error> {
    let facets = gallery.facets("source", None, usize::MAX)?;
    let mut sources: Vec<_> = facets
        .into_iter()
        .map(|facet| SourceCount {
            source: facet
                .value
                .as_str()
                .map_or_else(|| facet.value.to_string(), str::to_owned),
            images: facet.count,
        })
        .collect();
    sources.sort_by(|a, b| a.source.cmp(&b.source));
    Ok(sources)
}

/// The source of a gallery that somebody means by `spec`: its name, or a path that leads there,
/// whether or not anything is at that path.
///
/// # Errors
///
/// When the gallery cannot be read.
pub fn find_source(gallery: &dyn Gallery, spec: &str) -> Result<Option<String>, Error> {
    for name in [spec.to_owned(), absolute(spec)] {
        if !gallery.stubs(&name, None, 1)?.is_empty() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Removes all images of a source from the gallery, and says how many there were. The files are
/// left alone.
///
/// # Errors
///
/// When the gallery has no such source or cannot be written.
pub fn forget_source(gallery: &dyn Gallery, spec: &str) -> Result<usize, Error> {
    let source = source_of(gallery, spec)?;
    refuse_uploads(&source, "forgotten")?;
    let was_fresh = gallery.describe()?.diffusion == DiffusionState::Fresh;
    let ids: Vec<_> = Stubs::new(gallery, &source)
        .map(|stub| stub.map(|stub| stub.id))
        .collect::<Result<_, GalleryError>>()?;
    let mut removed = 0;
    for ids in ids.chunks(PAGE) {
        removed += gallery.delete(ids)?;
    }
    bring_up_to_date(gallery, was_fresh)?;
    Ok(removed)
}

/// Says of a source that it is at another path now, `to`: its points keep their ids, codes and
/// thumbnails, and the next indexing of that path finds them there. Says how many there are. A move
/// that was stopped is completed by doing it again.
///
/// # Errors
///
/// When the gallery has no such source or cannot be written, nothing is at `to`, or the gallery has
/// another source there already.
pub fn move_source(gallery: &dyn Gallery, spec: &str, to: &str) -> Result<usize, Error> {
    let source = source_of(gallery, spec)?;
    refuse_uploads(&source, "moved")?;
    let to = match is_address(to) {
        true => to.to_owned(),
        false => absolute(to),
    };
    let base = base(&to);
    if !is_address(&to) && !Path::new(base).exists() {
        let reason = format!("there is nothing at {base}; move the files first, then say so here");
        return Err(Error::CannotMove {
            source_name: source,
            reason,
            to,
        });
    }
    if source == to {
        return Err(Error::Unusable(format!(
            "the source {source} is at that path already"
        )));
    }
    let own = identity(gallery, &source)?;
    if !gallery.stubs(&to, None, 1)?.is_empty() && identity(gallery, &to)? != own {
        return Err(Error::CannotMove {
            source_name: source,
            to,
            reason:
                "the gallery has images of that path already; forget one of the two sources first"
                    .to_owned(),
        });
    }
    let was_fresh = gallery.describe()?.diffusion == DiffusionState::Fresh;
    let ids: Vec<_> = Stubs::new(gallery, &source)
        .map(|stub| stub.map(|stub| stub.id))
        .collect::<Result<_, GalleryError>>()?;
    for ids in ids.chunks(PAGE) {
        let mut points = gallery.retrieve(ids)?;
        for point in &mut points {
            let payload = &mut point.payload;
            payload.location = payload
                .location
                .take()
                .map(|location| moved(&location, &source, &to));
            payload.origin = (own != to).then(|| own.clone());
            payload.source = to.clone();
        }
        gallery.upsert(&points)?;
    }
    bring_up_to_date(gallery, was_fresh)?;
    Ok(ids.len())
}

/// A location of a source that is at another path now.
fn moved(location: &str, from: &str, to: &str) -> String {
    let (from, to) = match location.starts_with(from) {
        true => (from, to),
        // The files of a pattern lie below where its wildcards begin.
        false => (base(from), base(to)),
    };
    match location.strip_prefix(from) {
        Some(rest) => format!("{to}{rest}"),
        None => location.to_owned(),
    }
}

/// The part of a pattern's path that has no wildcards; all of any other path.
fn base(source: &str) -> &str {
    if Path::new(source).exists() {
        return source;
    }
    match source.find(['*', '?', '{', '[']) {
        Some(at) => &source[..source[..at].rfind(std::path::is_separator).unwrap_or(at)],
        None => source,
    }
}

fn refuse_uploads(source: &str, what: &str) -> Result<(), Error> {
    match source == UPLOADS_SOURCE {
        true => Err(Error::Unusable(format!(
            "{UPLOADS_SOURCE} cannot be {what}: these images are kept by the gallery itself; delete them one by one"
        ))),
        false => Ok(()),
    }
}

fn source_of(gallery: &dyn Gallery, spec: &str) -> Result<String, Error> {
    if let Some(source) = find_source(gallery, spec)? {
        return Ok(source);
    }
    let name = gallery.describe()?.name;
    let known: Vec<_> = sources_in(gallery)?
        .into_iter()
        .map(|known| known.source)
        .collect();
    Err(Error::UnknownSource {
        gallery: name,
        source_name: spec.to_owned(),
        known,
    })
}

/// The name that ids of a source's images are made of: its own, unless it was moved, or its name
/// was once that of a source that was.
pub(crate) fn identity(gallery: &dyn Gallery, source: &str) -> Result<String, Error> {
    let origin = |source: &str| -> Result<Option<String>, Error> {
        let Some(stub) = gallery.stubs(source, None, 1)?.pop() else {
            return Ok(None);
        };
        let point = gallery.retrieve(&[stub.id])?.pop();
        Ok(point.map(|point| point.payload.identity().to_owned()))
    };
    if let Some(identity) = origin(source)? {
        return Ok(identity);
    }
    // A new source at a path that another has left: its ids are taken.
    let mut taken = std::collections::HashSet::new();
    for known in sources_in(gallery)? {
        let identity = origin(&known.source)?;
        if known.source == source
            && let Some(identity) = identity
        {
            // Another worker has begun with the same source meanwhile.
            return Ok(identity);
        }
        taken.extend(identity);
    }
    let mut names = std::iter::once(source.to_owned())
        .chain((2..).map(|number| format!("{source} ({number})")));
    Ok(names
        .find(|name| !taken.contains(name))
        .unwrap_or_else(|| source.to_owned()))
}

fn is_address(spec: &str) -> bool {
    spec.contains("://") || spec.starts_with("mnist:")
}

/// The name that a path has as a source: absolute, and without links as far as anything is there.
fn absolute(spec: &str) -> String {
    if is_address(spec) {
        return spec.to_owned();
    }
    let Ok(path) = std::path::absolute(spec) else {
        return spec.to_owned();
    };
    let mut rest = PathBuf::new();
    for folder in path.ancestors() {
        if let Ok(real) = canonicalize(folder) {
            let whole = match rest.as_os_str().is_empty() {
                true => real,
                false => real.join(rest),
            };
            return whole.to_string_lossy().into_owned();
        }
        let name = folder.file_name().unwrap_or_default();
        rest = match rest.as_os_str().is_empty() {
            true => PathBuf::from(name),
            false => Path::new(name).join(rest),
        };
    }
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use lookalike_gallery::{CodeSpec, EmbeddedGallery, GalleryOptions, Payload, Point};
    use lookalike_neighbours::Metric;

    use super::*;

    fn point(gallery: &dyn Gallery, source: &str, key: &str) -> Point {
        let identity = identity(gallery, source).unwrap();
        Point::new(
            vec![1.0, 2.0],
            Payload {
                source: source.to_owned(),
                key: key.to_owned(),
                location: Some(format!("{source}/{key}")),
                origin: (identity != source).then_some(identity),
                ..Payload::default()
            },
        )
    }

    #[test]
    fn sources_move_with_their_ids_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name).display().to_string();
        let (old, new) = (at("old"), at("new"));
        let gallery = EmbeddedGallery::create(
            root.join("g"),
            &CodeSpec::new(Metric::Euclidean, 2, b"m"),
            &GalleryOptions::new(),
        )
        .unwrap();
        let first = point(&gallery, &old, "a.jpg");
        gallery.upsert(std::slice::from_ref(&first)).unwrap();

        let error = move_source(&gallery, &old, &new).unwrap_err().to_string();
        assert!(error.contains("there is nothing at"), "{error}");
        std::fs::create_dir(&new).unwrap();
        assert_eq!(move_source(&gallery, &old, &new).unwrap(), 1);
        let moved = gallery.retrieve(&[first.id]).unwrap().remove(0);
        assert_eq!((&moved.code, &moved.payload.source), (&first.code, &new));
        assert_eq!(moved.payload.location, Some(at("new/a.jpg")));
        // As indexing would make it.
        assert_eq!(point(&gallery, &new, "a.jpg"), moved);

        // Another collection at the old path is another source.
        let other = point(&gallery, &old, "a.jpg");
        assert_ne!(other.id, first.id);
        gallery.upsert(std::slice::from_ref(&other)).unwrap();
        assert_eq!(point(&gallery, &old, "a.jpg").id, other.id);
        let error = move_source(&gallery, &old, &new).unwrap_err().to_string();
        assert!(error.contains("forget one of the two"), "{error}");

        assert_eq!(forget_source(&gallery, &old).unwrap(), 1);
        std::fs::create_dir(&old).unwrap();
        assert_eq!(move_source(&gallery, &new, &old).unwrap(), 1);
        assert_eq!(gallery.retrieve(&[first.id]).unwrap(), [first]);
        let sources = sources_in(&gallery).unwrap();
        assert_eq!(
            sources,
            [SourceCount {
                source: old,
                images: 1
            }]
        );
    }

    #[test]
    fn unknown_sources_are_told_what_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let gallery = EmbeddedGallery::create(
            folder.path().join("g"),
            &CodeSpec::new(Metric::Euclidean, 2, b"m"),
            &GalleryOptions::new(),
        )
        .unwrap();
        let error = forget_source(&gallery, "photos").unwrap_err().to_string();
        assert!(error.contains("it is empty"), "{error}");
        gallery
            .upsert(&[point(&gallery, "/there", "a.jpg")])
            .unwrap();
        let error = forget_source(&gallery, "photos").unwrap_err().to_string();
        assert!(error.contains("its sources are /there"), "{error}");
        assert_eq!(
            find_source(&gallery, "/there/").unwrap().as_deref(),
            Some("/there")
        );
    }
}

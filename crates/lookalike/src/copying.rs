//! A gallery's points in another place: from a folder to a cluster, back, or from one to another of
//! a kind.

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

use lookalike_autoencoder::Autoencoder;
use lookalike_gallery::{
    ClusterAddress, CodeSpec, DiffusionState, Gallery, GalleryInfo, GalleryOptions, Point, Points,
    model_fingerprint,
};
use lookalike_neighbours::DiffusionConfig;
use serde::Serialize;
use uuid::Uuid;

use crate::adapted::KeptAdaptation;
use crate::clusters::place;
use crate::opening::{open_or_create_for, short, without_model};
use crate::pretrained::files_of;
use crate::{Error, MAX_DIFFUSION_POINTS, Phase, PretrainedEncoder, Progress, load_encoder, rules};

/// Points that are read and stored at a time.
const PAGE: usize = 1_000;
/// How often what is found to differ is copied again, where others change the galleries meanwhile.
const ROUNDS: usize = 3;

/// What is to become of the copy besides the points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyOptions {
    /// Remove points that the copied gallery does not have; otherwise they are an error.
    pub prune: bool,
    /// Everything was copied already, see [`open_copy`].
    pub whole: bool,
    /// Build the neighbour graph, if the copied gallery has one and the place can have one.
    pub diffusion: bool,
}

/// What copying did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CopySummary {
    /// Points, in both galleries.
    pub points: usize,
    /// Points that were copied; the others were there already.
    pub copied: usize,
    /// Points that were removed from the copy.
    pub removed: usize,
    /// BLAKE3 over ids, codes and payloads in the order of ids, of both galleries.
    pub checksum: String,
}

/// Opens the place of a copy of `from`, or makes it: for the same metric, codes and model, whatever
/// metric `options` say. The
/// model's file is the one that `from` keeps or, where that is a cluster, `model`. From a folder to
/// a new one all is copied already, index and neighbour graph included, and this says so.
///
/// # Errors
///
/// When the model is missing or another, what is there does not fit, or `name` cannot be opened.
pub fn open_copy(
    from: &dyn Gallery,
    name: &str,
    model: Option<&PathBuf>,
    options: &GalleryOptions,
) -> Result<(Box<dyn Gallery>, bool), Error> {
    let info = from.describe()?;
    let folder = |name: &str| std::fs::canonicalize(name).ok();
    if let Some(there) = folder(name)
        && !info.is_on_cluster()
        && folder(&info.name) == Some(there)
    {
        // Opened once more, it would only be said to be in use.
        return Err(to_itself(&info));
    }
    if let (false, Some(own)) = (info.is_on_cluster(), folder(&info.name))
        && let Some(parent) = Path::new(name)
            .parent()
            .and_then(Path::to_str)
            .and_then(folder)
        && parent.starts_with(own)
    {
        return Err(Error::Unusable(format!(
            "cannot copy {} to {name}: that is inside of it; choose a place outside",
            info.name
        )));
    }
    let kept = KeptAdaptation::of(from)?;
    let bytes = match &kept {
        Some(kept) => kept.to_bytes(&info.name, model)?,
        None => model_bytes(from, &info, model)?,
    };
    let found = model_fingerprint(&bytes);
    if found != info.model_fingerprint {
        // Only a model's file is taken for one, whatever its fingerprint.
        return Err(Error::WrongModel {
            gallery: info.name,
            model: info.model_fingerprint,
            others: format!("not with {}", short(&found)),
            advice: "copy it with its own",
        });
    }
    if kept.is_none() && !PretrainedEncoder::is_description(&bytes) {
        Autoencoder::from_bytes(
            &bytes,
            &format!("the model of {}", info.name),
            lookalike_autoencoder::DeviceChoice::Cpu,
        )?;
    }
    let whole = match from.as_embedded() {
        Some(folder) if !ClusterAddress::is_address(name) => folder.copy_whole(name)?,
        _ => false,
    };
    let codes = CodeSpec::new(info.metric, info.dims, &bytes);
    let options = options.clone().metric(info.metric);
    let to = open_or_create_for(Path::new(name), &codes, &options)?;
    rules::carry_over(from, &*to, kept.as_ref())?;
    Ok((to, whole))
}

/// The model's file, or what stands for it.
fn model_bytes(
    from: &dyn Gallery,
    info: &GalleryInfo,
    model: Option<&PathBuf>,
) -> Result<Vec<u8>, Error> {
    Ok(match (model, from.model()?) {
        (Some(path), _) if PretrainedEncoder::is_at(path) => {
            let options = files_of(from)?
                .map(|files| files.options)
                .unwrap_or_default();
            load_encoder(path, &options, lookalike_autoencoder::DeviceChoice::Cpu)?.to_bytes()
        }
        (Some(path), _) => std::fs::read(path).map_err(Error::io("read", path))?,
        (None, Some(bytes)) => bytes,
        (None, None) => return Err(without_model(&info.name, &info.model_fingerprint)),
    })
}

/// Copies all points of `from`, with their thumbnails and tiles, to `to`; what is there already is
/// left alone, so that a run that was stopped is completed by running it again. At the end both are
/// read and compared, point by point.
///
/// # Errors
///
/// When the galleries do not fit each other, one cannot be read or written, `to` has points of its
/// own (without [`prune`](CopyOptions::prune)), or they go on changing so that they are never the
/// same.
pub fn copy_gallery(
    from: &dyn Gallery,
    to: &dyn Gallery,
    options: CopyOptions,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<CopySummary, Error> {
    let (source, target) = (from.describe()?, to.describe()?);
    if place(from, &source) == place(to, &target) {
        return Err(to_itself(&source));
    }
    check_fits(&source, &target)?;
    let mut summary = CopySummary::default();
    let (mut read, total) = (0, source.points);
    // Reading goes on while what was read is being stored.
    thread::scope(|scope| {
        let (send, pages) = sync_channel(1);
        scope.spawn(move || {
            let mut after = None;
            loop {
                let page = from.scroll(after, PAGE, None);
                let last = page.as_ref().map_or(None, |page| page.last());
                after = last.map(|point| point.id);
                if send.send(page).is_err() || after.is_none() {
                    return;
                }
            }
        });
        for page in pages {
            let page = page?;
            read += page.len();
            summary.copied += store_missing(from, to, &page)?;
            progress(Progress::new(Phase::Copying, read, total));
        }
        Ok::<_, Error>(())
    })?;
    for _ in 0..ROUNDS {
        let compared = compare(from, to, |points| {
            progress(Progress::new(Phase::Verifying, points, total));
        })?;
        if compared.is_same() {
            summary.points = compared.points;
            if options.whole {
                summary.copied = compared.points;
            }
            summary.checksum = compared.checksum;
            bring_up_to_date(to, &source, options, summary.points)?;
            return Ok(summary);
        }
        if let Some(first) = compared.own.first()
            && !options.prune
        {
            return Err(Error::CopyHasMore {
                from: source.name,
                to: target.name,
                points: compared.own.len(),
                first: *first,
            });
        }
        for ids in compared.own.chunks(PAGE) {
            summary.removed += to.delete(ids)?;
        }
        for ids in compared.differing.chunks(PAGE) {
            let points = from.retrieve(ids)?;
            put_blobs(from, to, &points)?;
            let upserted = to.upsert(&points)?;
            summary.copied += upserted.added + upserted.changed;
        }
    }
    Err(Error::CopyUnsettled {
        from: source.name,
        to: target.name,
        rounds: ROUNDS,
    })
}

fn check_fits(source: &GalleryInfo, target: &GalleryInfo) -> Result<(), Error> {
    let of = |info: &GalleryInfo| {
        format!(
            "{} floats by {} of model {}",
            info.dims,
            info.metric,
            short(&info.model_fingerprint)
        )
    };
    match of(source) == of(target) && source.model_fingerprint == target.model_fingerprint {
        true => Ok(()),
        false => Err(Error::CopyMismatch {
            from: source.name.clone(),
            to: target.name.clone(),
            own: of(source),
            other: of(target),
        }),
    }
}

fn to_itself(info: &GalleryInfo) -> Error {
    Error::CopyToItself {
        gallery: info.name.clone(),
    }
}

/// Stores those of some points that are not there, or of another content; says how many.
fn store_missing(from: &dyn Gallery, to: &dyn Gallery, page: &[Point]) -> Result<usize, Error> {
    let ids: Vec<Uuid> = page.iter().map(|point| point.id).collect();
    let there = to.existing(&ids)?;
    let missing: Vec<Point> = page
        .iter()
        .filter(|point| there.get(&point.id) != Some(&point.payload.blake3))
        .cloned()
        .collect();
    if missing.is_empty() {
        return Ok(0);
    }
    put_blobs(from, to, &missing)?;
    let upserted = to.upsert(&missing)?;
    Ok(upserted.added + upserted.changed)
}

/// Copies thumbnails and tiles: before the points that need them, so that none is ever without.
fn put_blobs(from: &dyn Gallery, to: &dyn Gallery, points: &[Point]) -> Result<(), Error> {
    let mut hashes: Vec<_> = points.iter().map(|p| p.payload.blake3.as_str()).collect();
    hashes.sort_unstable();
    hashes.dedup();
    let found = from.thumbnails(&hashes)?;
    let thumbnails: Vec<_> = found
        .iter()
        .map(|(hash, bytes)| (hash.as_str(), bytes.as_slice()))
        .collect();
    to.put_thumbnails(&thumbnails)?;
    if let (Some(from), Some(to)) = (from.as_embedded(), to.as_embedded()) {
        from.copy_tiles(to, &hashes)?;
    }
    Ok(())
}

/// How two galleries differ.
struct Compared {
    /// Points of the first.
    points: usize,
    /// Of the first.
    checksum: String,
    same_checksum: bool,
    /// Points of the first that the second lacks, or has otherwise.
    differing: Vec<Uuid>,
    /// Points that only the second has.
    own: Vec<Uuid>,
}

impl Compared {
    fn is_same(&self) -> bool {
        self.same_checksum && self.differing.is_empty() && self.own.is_empty()
    }
}

/// Reads both galleries side by side, in the order of ids.
fn compare(
    from: &dyn Gallery,
    to: &dyn Gallery,
    mut progress: impl FnMut(usize),
) -> Result<Compared, Error> {
    let mut differing = Vec::new();
    let mut own = Vec::new();
    let mut sums = [blake3::Hasher::new(), blake3::Hasher::new()];
    let mut count = 0;
    let (mut first, mut second) = (Points::new(from, None), Points::new(to, None));
    let (mut left, mut right) = (first.next().transpose()?, second.next().transpose()?);
    loop {
        let order = match (&left, &right) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(left), Some(right)) => left.id.cmp(&right.id),
        };
        let digests = [
            left.as_ref().filter(|_| order.is_le()).map(digest),
            right.as_ref().filter(|_| order.is_ge()).map(digest),
        ];
        for (sum, digest) in sums.iter_mut().zip(&digests) {
            if let Some(digest) = digest {
                sum.update(digest.as_bytes());
            }
        }
        match (&left, &right) {
            (Some(left), _) if order.is_le() && digests[0] != digests[1] => differing.push(left.id),
            (_, Some(right)) if order.is_gt() => own.push(right.id),
            _ => {}
        }
        if order.is_le() {
            left = first.next().transpose()?;
            count += 1;
            if count % PAGE == 0 {
                progress(count);
            }
        }
        if order.is_ge() {
            right = second.next().transpose()?;
        }
    }
    progress(count);
    let [first, second] = sums.map(|sum| sum.finalize());
    Ok(Compared {
        points: count,
        checksum: first.to_hex().to_string(),
        same_checksum: first == second,
        differing,
        own,
    })
}

/// BLAKE3 over a point's id, code and payload. The order in which extra fields came does not
/// matter: not every place keeps it.
fn digest(point: &Point) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(point.id.as_bytes());
    for value in &point.code {
        hasher.update(&value.to_bits().to_le_bytes());
    }
    let payload = serde_json::to_value(&point.payload).map(|mut payload| {
        payload.sort_all_objects();
        payload.to_string()
    });
    hasher.update(payload.unwrap_or_default().as_bytes());
    hasher.finalize()
}

fn bring_up_to_date(
    to: &dyn Gallery,
    source: &GalleryInfo,
    options: CopyOptions,
    points: usize,
) -> Result<(), Error> {
    to.optimise()?;
    let had = matches!(
        source.diffusion,
        DiffusionState::Fresh | DiffusionState::Stale
    );
    let lacks = matches!(
        to.describe()?.diffusion,
        DiffusionState::Absent | DiffusionState::Stale
    );
    let few = (2..=MAX_DIFFUSION_POINTS).contains(&points);
    if let Some(folder) = to.as_embedded()
        && options.diffusion
        && had
        && lacks
        && few
    {
        folder.build_diffusion(&DiffusionConfig::default())?;
    }
    Ok(to.flush()?)
}

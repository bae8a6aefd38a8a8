//! What a gallery holds, each content once: all that comparing every picture with every other needs
//! in memory.

use std::collections::{BTreeMap, HashMap};

use lookalike_gallery::{Filter, Gallery, GalleryInfo, Point, Points};
use lookalike_neighbours::{Cells, Codes, Exact, Metric, Neighbour};
use uuid::Uuid;

use crate::{Error, Phase, Progress};

/// Queries that are answered between two looks at the progress; also bounds the answers in memory.
pub(crate) const QUERIES: usize = 8192;
/// Contents of which every one is compared with every other: half a minute on two cores.
pub(crate) const MAX_EXACT: usize = 100_000;

/// What tells how alike the codes of a gallery are: its metric, if a code is nearest to itself by
/// that.
pub(crate) fn metric_of_likeness(metric: Metric) -> Metric {
    match metric {
        // A code's product with itself says nothing about likeness.
        Metric::Dot => Metric::Cosine,
        metric => metric,
    }
}

/// How many points of a gallery on a cluster are read for computations here: a gigabyte of codes of
/// 128 floats. A cluster holds what no one machine's memory does.
const MAX_FROM_CLUSTER: usize = 2_000_000;

/// What a gallery is, of which all points that pass are about to be read.
///
/// # Errors
///
/// When it is on a cluster, and they are too many.
pub(crate) fn info_to_read(
    gallery: &dyn Gallery,
    filter: Option<&Filter>,
) -> Result<GalleryInfo, Error> {
    let info = gallery.describe()?;
    if !info.is_on_cluster() || info.points <= MAX_FROM_CLUSTER {
        return Ok(info);
    }
    let points = match filter {
        None => info.points,
        Some(_) => gallery.count(filter)?,
    };
    match points <= MAX_FROM_CLUSTER {
        true => Ok(info),
        false => Err(Error::TooManyOnCluster {
            gallery: info.name,
            points,
            max: MAX_FROM_CLUSTER,
        }),
    }
}

/// A point without its code and what is long about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub id: Uuid,
    /// Which row of the codes.
    pub content: u32,
    /// Pixels of the original.
    pub pixels: u64,
    /// Bytes of the original, 0 where that is not known.
    pub bytes: u64,
    /// Which of the labels, or [`NO_LABEL`].
    pub label: u32,
}

/// In place of the index of a label: there is none.
pub const NO_LABEL: u32 = u32::MAX;

/// The points of a gallery, and the code of each different content.
pub(crate) struct Contents {
    /// In the order of their ids.
    pub points: Vec<Known>,
    /// How many different contents there are.
    pub count: usize,
    /// Half of a hash of each content's hash, see [`short`].
    pub hashes: Vec<u128>,
    /// The sources of the points, each with the name that its ids are made of.
    pub sources: BTreeMap<String, String>,
    /// The different labels, in the order in which they were seen.
    pub labels: Vec<String>,
    /// A row for each content, or nothing if they were not asked for.
    pub codes: Vec<f32>,
    pub dims: usize,
    /// What the codes are compared by.
    pub metric: Metric,
}

impl Contents {
    /// Reads the points that pass the filter, with their codes or without.
    pub fn read(
        gallery: &dyn Gallery,
        filter: Option<&Filter>,
        with_codes: bool,
        progress: impl FnMut(Progress),
    ) -> Result<Self, Error> {
        Self::read_and_visit(gallery, filter, with_codes, |_| {}, progress)
    }

    /// As [`read`](Self::read); `visit` is given every point.
    pub fn read_and_visit(
        gallery: &dyn Gallery,
        filter: Option<&Filter>,
        with_codes: bool,
        mut visit: impl FnMut(&Point),
        mut progress: impl FnMut(Progress),
    ) -> Result<Self, Error> {
        let info = info_to_read(gallery, filter)?;
        let mut contents = Self {
            points: Vec::new(),
            count: 0,
            hashes: Vec::new(),
            sources: BTreeMap::new(),
            labels: Vec::new(),
            codes: Vec::new(),
            dims: info.dims,
            metric: metric_of_likeness(info.metric),
        };
        let mut rows: HashMap<u128, u32> = HashMap::new();
        let mut labels: HashMap<String, u32> = HashMap::new();
        for point in Points::new(gallery, filter.cloned()) {
            let point = point?;
            visit(&point);
            let next = u32::try_from(contents.count).map_err(|_| Error::TooManyPictures {
                gallery: info.name.clone(),
                max: u32::MAX,
            })?;
            // A point whose content was never noted is like no other.
            let hash = short(&point.payload.blake3);
            let content = match point.payload.blake3.is_empty() {
                true => next,
                false => *rows.entry(hash).or_insert(next),
            };
            if content == next {
                contents.count += 1;
                contents.hashes.push(hash);
                if with_codes {
                    contents.codes.extend_from_slice(&point.code);
                }
            }
            if !contents.sources.contains_key(&point.payload.source) {
                let identity = point.payload.identity().to_owned();
                contents
                    .sources
                    .insert(point.payload.source.clone(), identity);
            }
            let payload = &point.payload;
            let label = payload.label.as_ref().map(|name| {
                *labels.entry(name.clone()).or_insert_with(|| {
                    contents.labels.push(name.clone());
                    (contents.labels.len() - 1) as u32
                })
            });
            contents.points.push(Known {
                id: point.id,
                content,
                pixels: u64::from(payload.width) * u64::from(payload.height),
                bytes: payload.bytes.unwrap_or(0),
                label: label.unwrap_or(NO_LABEL),
            });
            progress(Progress::new(Phase::Reading, contents.points.len(), None));
        }
        Ok(contents)
    }

    /// The codes, a row for each content.
    pub fn codes(&self) -> Result<Codes<'_>, Error> {
        Ok(Codes::new(&self.codes, self.dims)?)
    }

    /// Of each content the lowest id.
    pub fn ids(&self) -> Vec<Uuid> {
        let mut ids = vec![Uuid::nil(); self.count];
        for point in self.points.iter().rev() {
            ids[point.content as usize] = point.id;
        }
        ids
    }

    /// Hands each content with its `k` nearest others to `visit`, as [`visit_others`] does.
    /// `progress` hears of it.
    pub fn neighbours(
        &self,
        k: usize,
        visit: impl FnMut(usize, &[Neighbour]),
        mut progress: impl FnMut(Progress),
    ) -> Result<(), Error> {
        let codes = self.codes()?;
        let compared = |count| progress(Progress::new(Phase::Comparing, count, codes.len()));
        visit_others(codes, self.metric, k, visit, compared);
        Ok(())
    }
}

/// Hands each code with its `k` nearest others, nearest first, to `visit`; codes come in order.
/// Exact up to [`MAX_EXACT`] codes; of more, some others in a thousand are missed. `progress` hears
/// how many have been compared.
pub(crate) fn visit_others(
    codes: Codes,
    metric: Metric,
    k: usize,
    mut visit: impl FnMut(usize, &[Neighbour]),
    mut progress: impl FnMut(usize),
) {
    if codes.len() > MAX_EXACT {
        let found = Cells::new(codes, metric).nearest_others(k, progress);
        return (0..)
            .zip(&found)
            .for_each(|(own, others)| visit(own, others));
    }
    let exact = Exact::new(codes, metric, codes.len());
    for start in (0..codes.len()).step_by(QUERIES) {
        let end = (start + QUERIES).min(codes.len());
        let found = exact.nearest_others_of(start..end, k);
        (start..)
            .zip(&found)
            .for_each(|(own, others)| visit(own, others));
        progress(end);
    }
}

/// Gives the nearest codes of each query.
pub(crate) type Nearest<'a> = Box<dyn Fn(Codes) -> Vec<Vec<Neighbour>> + 'a>;

/// Makes codes ready to be asked by `queries` for the `k` nearest: exactly, or by cells, which find
/// nearly all in far less time where all are many.
pub(crate) fn nearest_of(
    codes: Codes<'_>,
    metric: Metric,
    k: usize,
    queries: usize,
    by_cells: bool,
) -> Nearest<'_> {
    if by_cells {
        let cells = Cells::new(codes, metric);
        Box::new(move |queries| cells.nearest(queries, k))
    } else {
        let exact = Exact::new(codes, metric, queries);
        Box::new(move |queries| exact.nearest(queries, k))
    }
}

/// Half of the hash of a hash: enough to tell contents apart, and as long whatever the hash was.
pub(crate) fn short(blake3: &str) -> u128 {
    half_hash(blake3.as_bytes())
}

/// The first half of the BLAKE3 of some bytes.
pub(crate) fn half_hash(bytes: &[u8]) -> u128 {
    let hash = blake3::hash(bytes);
    let half = hash.as_bytes().first_chunk();
    u128::from_le_bytes(*half.expect("32 bytes are more than 16"))
}

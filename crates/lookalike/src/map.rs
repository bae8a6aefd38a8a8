//! A gallery on a map: every picture a place in the plane, like ones beside each other.
//!
//! [`lay_out`] makes a [`Map`] by UMAP (McInnes, Healy and Melville, 2018) from the neighbours of
//! all codes, exact ones up to 100,000. Equal codes are one place. Of more than 200,000 different
//! codes a fair sample is laid out, and the others are put among their nearest of it.
//! [`Map::update`] brings a map in step with a gallery that has changed, the same way, at the price
//! of reading the gallery; a map that has seen many changes is [worn](Map::is_worn), and to be made
//! anew.
//!
//! The same codes give the same map on any number of threads: all points move at once, each from
//! where the others were an epoch before, and what is drawn follows from epoch and point.

use std::collections::HashMap;
use std::path::Path;

use lookalike_files::replace_file;
use lookalike_gallery::{Gallery, Point, Points};
use lookalike_neighbours::{Codes, Metric, Pca};
use uuid::Uuid;

use self::fuzzy_graph::FuzzyGraph;
use crate::contents::{QUERIES, half_hash, info_to_read, metric_of_likeness, nearest_of};
use crate::{Error, Phase, Progress};

mod file;
mod fuzzy_graph;
mod groups;
mod layout;
mod values;

pub use crate::contents::NO_LABEL;
pub use groups::{Groups, MAX_GROUPS};
pub use values::{ValueKind, Values};

/// Different codes that are laid out together; the others are put among them.
const MAX_POINTS: usize = 200_000;
/// Labels that are told apart, the most frequent ones.
const MAX_LABELS: usize = 65_535;
/// Neighbours of a point in the graph, itself among them.
const NEIGHBOURS: usize = 15;
/// Laid-out neighbours that another point is put among.
const AMONG: usize = 3;
/// So few are put where their first two principal components are.
const FEW: usize = NEIGHBOURS;
/// More points than this are put among near neighbours instead of exactly the nearest.
const MIN_FOR_CELLS: usize = 20_000;
/// Codes that the principal components are those of, at most.
const FITTED: usize = 20_000;
/// Share of the points beyond either end of the map, which are put at its edge.
const OUTLIERS: f64 = 0.001;

/// Where a picture is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapPoint {
    /// The point of the gallery.
    pub id: Uuid,
    /// From left to right, 0 to 1.
    pub x: f32,
    /// From the top down, 0 to 1.
    pub y: f32,
    /// Index into [`Map::labels`], or [`NO_LABEL`].
    pub label: u32,
}

/// How a point came to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By the layout.
    LaidOut,
    /// Among its neighbours, when the map was made.
    Placed,
    /// Among its neighbours, since.
    Added,
}

/// What a map keeps of a point beside its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    /// Tells codes apart.
    code: u64,
    way: Way,
}

/// A gallery's pictures in the plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Ascending by id.
    points: Vec<MapPoint>,
    /// One for each point.
    kept: Vec<Kept>,
    labels: Vec<String>,
    version: String,
}

/// Lays out a gallery.
///
/// Needs its codes in memory, and takes about as long as comparing all of them and some thousand
/// moves of each point; all threads of the current rayon pool take part. An empty gallery gives an
/// empty map.
///
/// # Errors
///
/// When the gallery cannot be read.
pub fn lay_out(gallery: &dyn Gallery, progress: impl FnMut(Progress)) -> Result<Map, Error> {
    lay_out_and_visit(gallery, |_| {}, progress)
}

/// As [`lay_out`]; `visit` is given every point, in the order of [`Map::points`], so that a caller
/// who needs more of them than their places need not read the gallery again.
///
/// # Errors
///
/// When the gallery cannot be read.
pub fn lay_out_and_visit(
    gallery: &dyn Gallery,
    visit: impl FnMut(&Point),
    mut progress: impl FnMut(Progress),
) -> Result<Map, Error> {
    let read = Read::new(gallery, visit, &mut progress)?;
    lay_out_read(&read, MAX_POINTS, &mut progress)
}

fn lay_out_read(
    read: &Read,
    most: usize,
    progress: &mut dyn FnMut(Progress),
) -> Result<Map, Error> {
    let count = read.digests.len();
    let mut places = vec![[0.0f32; 2]; count];
    let mut laid_out = vec![true; count];
    if count <= most {
        places = lay_out_codes(read.codes()?, &read.digests, read.metric, progress)?;
    } else {
        // Digests are as good as drawn by lot, and those of what stays are the same next time.
        let mut drawn: Vec<usize> = (0..count).collect();
        drawn.select_nth_unstable_by_key(most, |&row| (read.digests[row], row));
        drawn.truncate(most);
        drawn.sort_unstable();
        laid_out.fill(false);
        drawn.iter().for_each(|&row| laid_out[row] = true);
        let rest: Vec<usize> = (0..count).filter(|&row| !laid_out[row]).collect();
        let codes = read.rows(&drawn);
        let codes = Codes::new(&codes, read.dims)?;
        let digests: Vec<u64> = drawn.iter().map(|&row| read.digests[row]).collect();
        let found = lay_out_codes(codes, &digests, read.metric, progress)?;
        for (&row, &place) in drawn.iter().zip(&found) {
            places[row] = place;
        }
        let others = place_among(codes, &found, read, &rest, progress)?;
        for (&row, &place) in rest.iter().zip(&others) {
            places[row] = place;
        }
    }
    let way = |row: usize| match laid_out[row] {
        true => Way::LaidOut,
        false => Way::Placed,
    };
    Ok(Map::new(read, |_, row| (places[row], way(row))))
}

impl Map {
    /// Every point of the gallery, ascending by id.
    pub fn points(&self) -> &[MapPoint] {
        &self.points
    }

    /// The labels, the most frequent first, of equals the one that sorts first; at most 65,535.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// A digest of all that [`points`](Self::points) and [`labels`](Self::labels) say, in
    /// hexadecimal: maps that differ have different ones.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Every point as 28 bytes, little endian: the id as 16 bytes in their usual order, `x` and `y`
    /// as `f32`, and the label as `u32`.
    pub fn records(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.points.len() * 28);
        self.points.iter().for_each(|point| point.write(&mut bytes));
        bytes
    }

    /// Whether more than a tenth of the points came after the map was made: then it shows the newer
    /// ones only by what the older ones are like, and is better laid out anew.
    pub fn is_worn(&self) -> bool {
        let added = self.kept.iter().filter(|kept| kept.way == Way::Added);
        added.count() * 10 > self.points.len()
    }

    /// Brings the map in step with its gallery: points that are gone are left out, those that are
    /// new or have another code are put among the 3 nearest that were laid out, by how near they
    /// are, and labels are read again. None if all that is as it was. Where nothing is left of what
    /// was laid out, the gallery is laid out anew.
    ///
    /// # Errors
    ///
    /// When the gallery cannot be read.
    pub fn update(
        &self,
        gallery: &dyn Gallery,
        mut progress: impl FnMut(Progress),
    ) -> Result<Option<Self>, Error> {
        let read = Read::new(gallery, |_| {}, &mut progress)?;
        self.update_read(&read, &mut progress)
    }

    fn update_read(
        &self,
        read: &Read,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<Self>, Error> {
        let known = |seen: &Seen| {
            let at = self.points.binary_search_by_key(&seen.id, |p| p.id).ok()?;
            let (point, kept) = (self.points[at], self.kept[at]);
            (kept.code == read.digests[seen.row]).then_some(([point.x, point.y], kept.way))
        };
        let mut laid_out: Vec<Option<[f32; 2]>> = vec![None; read.digests.len()];
        let mut wanted = vec![false; read.digests.len()];
        for seen in &read.points {
            match known(seen) {
                Some((place, Way::LaidOut)) => laid_out[seen.row] = Some(place),
                Some(_) => {}
                None => wanted[seen.row] = true,
            }
        }
        let mut placed = vec![[0.0f32; 2]; read.digests.len()];
        let rows: Vec<usize> = (0..wanted.len()).filter(|&row| wanted[row]).collect();
        if !rows.is_empty() {
            let among: Vec<usize> = (0..laid_out.len())
                .filter(|&row| laid_out[row].is_some())
                .collect();
            if among.is_empty() {
                return lay_out_read(read, MAX_POINTS, progress).map(Some);
            }
            let codes = read.rows(&among);
            let codes = Codes::new(&codes, read.dims)?;
            let places: Vec<[f32; 2]> = laid_out.iter().copied().flatten().collect();
            let found = place_among(codes, &places, read, &rows, progress)?;
            for (&row, &place) in rows.iter().zip(&found) {
                placed[row] = place;
            }
        }
        let map = Self::new(read, |seen, row| {
            known(seen).unwrap_or((placed[row], Way::Added))
        });
        Ok((map != *self).then_some(map))
    }

    /// Writes the map to a file: all of it or, on failure, what was there before.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        replace_file(path, &self.to_bytes()).map_err(|error| Error::unwritten(path, error))
    }

    /// Reads a map from a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is damaged, of another version or no map.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let bytes = file::read(path).map_err(Error::io("read", path))?;
        Self::from_bytes(&bytes, &path.display().to_string())
    }

    /// Puts together what was read, each point at the place that `place` says for it and its row of
    /// the codes.
    fn new(read: &Read, place: impl Fn(&Seen, usize) -> ([f32; 2], Way)) -> Self {
        let mut order: Vec<usize> = (0..read.labels.len()).collect();
        order.sort_by(|&a, &b| {
            let ([a, b], [x, y]) = ([&read.labels[a], &read.labels[b]], [a, b]);
            let frequency = read.frequencies[y].cmp(&read.frequencies[x]);
            frequency.then_with(|| a.cmp(b))
        });
        order.truncate(MAX_LABELS);
        let mut indices = vec![NO_LABEL; read.labels.len()];
        for (index, &label) in (0..).zip(&order) {
            indices[label] = index;
        }
        let (points, kept) = read
            .points
            .iter()
            .map(|seen| {
                let ([x, y], way) = place(seen, seen.row);
                let point = MapPoint {
                    id: seen.id,
                    x,
                    y,
                    label: seen.label.map_or(NO_LABEL, |label| indices[label]),
                };
                let code = read.digests[seen.row];
                (point, Kept { code, way })
            })
            .unzip();
        let labels = order.iter().map(|&label| read.labels[label].clone());
        Self::of_parts(points, kept, labels.collect())
    }

    fn of_parts(points: Vec<MapPoint>, kept: Vec<Kept>, labels: Vec<String>) -> Self {
        let mut map = Self {
            points,
            kept,
            labels,
            version: String::new(),
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(map.points.len() as u64).to_le_bytes());
        hasher.update(&map.records());
        for label in &map.labels {
            hasher.update(&(label.len() as u64).to_le_bytes());
            hasher.update(label.as_bytes());
        }
        map.version = hasher.finalize().to_hex().to_string();
        map
    }
}

impl MapPoint {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.id.as_bytes());
        bytes.extend(self.x.to_le_bytes());
        bytes.extend(self.y.to_le_bytes());
        bytes.extend(self.label.to_le_bytes());
    }
}

/// A point as it was read.
struct Seen {
    id: Uuid,
    /// Of the codes.
    row: usize,
    /// Index into the labels in the order in which they were seen.
    label: Option<usize>,
}

/// A gallery in memory, each different code once.
struct Read {
    /// Ascending by id.
    points: Vec<Seen>,
    /// A row for each different code.
    codes: Vec<f32>,
    /// Of each row.
    digests: Vec<u64>,
    dims: usize,
    metric: Metric,
    labels: Vec<String>,
    /// Points of each label.
    frequencies: Vec<usize>,
}

impl Read {
    fn new(
        gallery: &dyn Gallery,
        mut visit: impl FnMut(&Point),
        mut progress: impl FnMut(Progress),
    ) -> Result<Self, Error> {
        let info = info_to_read(gallery, None)?;
        let mut read = Self {
            points: Vec::with_capacity(info.points),
            codes: Vec::new(),
            digests: Vec::new(),
            dims: info.dims,
            metric: metric_of_likeness(info.metric),
            labels: Vec::new(),
            frequencies: Vec::new(),
        };
        let mut rows: HashMap<u128, usize> = HashMap::new();
        let mut labels: HashMap<String, usize> = HashMap::new();
        for point in Points::new(gallery, None) {
            let point = point?;
            visit(&point);
            let digest = digest(&point.code);
            let next = read.digests.len();
            let row = *rows.entry(digest).or_insert(next);
            if row == next {
                read.codes.extend_from_slice(&point.code);
                read.digests.push(digest as u64);
            }
            let label = point.payload.label.map(|name| match labels.get(&name) {
                Some(&label) => label,
                None => {
                    labels.insert(name.clone(), read.labels.len());
                    read.labels.push(name);
                    read.frequencies.push(0);
                    read.labels.len() - 1
                }
            });
            if let Some(label) = label {
                read.frequencies[label] += 1;
            }
            read.points.push(Seen {
                id: point.id,
                row,
                label,
            });
            progress(Progress::new(Phase::Reading, read.points.len(), None));
        }
        Ok(read)
    }

    fn codes(&self) -> Result<Codes<'_>, Error> {
        Ok(Codes::new(&self.codes, self.dims)?)
    }

    /// Some of the codes, copied.
    fn rows(&self, rows: &[usize]) -> Vec<f32> {
        let row = |&row: &usize| &self.codes[row * self.dims..(row + 1) * self.dims];
        rows.iter().flat_map(row).copied().collect()
    }
}

/// Half of the BLAKE3 of a code's bits.
fn digest(code: &[f32]) -> u128 {
    let bytes: Vec<u8> = code.iter().flat_map(|value| value.to_le_bytes()).collect();
    half_hash(&bytes)
}

/// Places, 0 to 1, for codes that all differ.
fn lay_out_codes(
    codes: Codes,
    digests: &[u64],
    metric: Metric,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<[f32; 2]>, Error> {
    let mut places = start(codes, digests)?;
    if codes.len() > FEW {
        let graph = FuzzyGraph::of_codes(codes, metric, NEIGHBOURS, |done| {
            progress(Progress::new(Phase::Comparing, done, codes.len()));
        });
        layout::optimise(&graph, &mut places, |done, of| {
            progress(Progress::new(Phase::LayingOut, done, of));
        });
    }
    scale(&mut places);
    Ok(places)
}

/// Where the layout begins: the first two principal components, 10 wide, each point a little aside,
/// so that those with the same components can part.
fn start(codes: Codes, digests: &[u64]) -> Result<Vec<[f32; 2]>, Error> {
    if codes.len() < 2 {
        return Ok(vec![[0.0; 2]; codes.len()]);
    }
    let every = codes.len().div_ceil(FITTED);
    let some: Vec<f32> = (0..codes.len())
        .step_by(every)
        .flat_map(|row| codes.row(row))
        .copied()
        .collect();
    let pca = Pca::fit(Codes::new(&some, codes.dims())?, 2);
    let along = pca.project(codes);
    let mut places: Vec<[f32; 2]> = along
        .chunks_exact(pca.components())
        .map(|along| [along[0], along.get(1).copied().unwrap_or(0.0)])
        .collect();
    let largest = places
        .iter()
        .flatten()
        .fold(0.0f32, |most, value| most.max(value.abs()));
    let by = if largest > 0.0 { 5.0 / largest } else { 0.0 };
    for (place, &digest) in places.iter_mut().zip(digests) {
        for (axis, value) in place.iter_mut().enumerate() {
            let bits = (digest >> (24 * axis)) as u32 & 0xff_ffff;
            let aside = bits as f32 / 0xff_ffff as f32 - 0.5;
            *value = *value * by + 0.01 * aside;
        }
    }
    Ok(places)
}

/// Brings places into 0 to 1 on both axes, by one scale. What lies far outside comes to the edge.
fn scale(places: &mut [[f32; 2]]) {
    let count = places.len();
    if count == 0 {
        return;
    }
    let beyond = (count as f64 * OUTLIERS) as usize;
    let mut ends = [[0.0f32; 2]; 2];
    for (axis, ends) in ends.iter_mut().enumerate() {
        let mut values: Vec<f32> = places.iter().map(|place| place[axis]).collect();
        values.sort_unstable_by(f32::total_cmp);
        *ends = [values[beyond], values[count - 1 - beyond]];
    }
    let extent = ends
        .iter()
        .fold(0.0f32, |most, [low, high]| most.max(high - low));
    // A little room beside the outermost.
    let by = if extent > 0.0 { 0.96 / extent } else { 0.0 };
    for place in places {
        for (value, [low, high]) in place.iter_mut().zip(ends) {
            let middle = low + 0.5 * (high - low);
            *value = ((*value - middle) * by + 0.5).clamp(0.0, 1.0);
        }
    }
}

/// A place for each of `rows`: the mean of those of its nearest `laid_out` codes, by how near they
/// are.
fn place_among(
    laid_out: Codes,
    places: &[[f32; 2]],
    read: &Read,
    rows: &[usize],
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<[f32; 2]>, Error> {
    let mut found = Vec::with_capacity(rows.len());
    // Dividing the codes takes about as long as asking all of them some thousands of times.
    let by_cells = rows.len() > MIN_FOR_CELLS;
    let nearest = nearest_of(laid_out, read.metric, AMONG, rows.len(), by_cells);
    for rows_now in rows.chunks(QUERIES) {
        let codes = read.rows(rows_now);
        let codes = Codes::new(&codes, read.dims)?;
        for neighbours in nearest(codes) {
            let weight = |distance: f32| 1.0 / f64::from(distance.max(1e-9));
            let mut sum = [0.0f64; 2];
            let mut total = 0.0;
            for neighbour in &neighbours {
                let weight = weight(neighbour.distance);
                total += weight;
                for (sum, &value) in sum.iter_mut().zip(&places[neighbour.index]) {
                    *sum += weight * f64::from(value);
                }
            }
            found.push(sum.map(|sum| (sum / total).clamp(0.0, 1.0) as f32));
        }
        progress(Progress::new(Phase::Placing, found.len(), rows.len()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;

//! Pictures that are unlike the rest of a gallery: broken, misplaced, or merely rare.
//!
//! Two measures. By *neighbours*: the mean distance of a picture's code from those of its `k`
//! nearest others; large where nothing is like it. By *reconstruction*: how badly the gallery's
//! model gives the picture back, the mean squared difference of pixels (0 to 1) at the model's
//! size; large for what the model has not learned to see. The first needs the codes only; the
//! second reads the originals again. Those that are gone or hold something else now have no
//! reconstruction error, and are counted.
//!
//! Both become comparable as robust standard scores: the logarithm's distance from its median, in
//! median absolute deviations, scaled (by 1.4826) so that it would be standard deviations were the
//! logarithms normal; in logarithms, because both measures are positive and skewed. A picture's
//! score is the mean of those that it has. Scores of 3 or less are nothing remarkable.
//!
//! Contents count once: copies of a picture are not counted among its neighbours.

use std::collections::BTreeMap;
use std::sync::Arc;

use lookalike_autoencoder::Autoencoder;
use lookalike_gallery::{Filter, Gallery, Payload, point_id};
use lookalike_neighbours::Metric;
use lookalike_sources::{Entry, Skipped};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contents::{Contents, short};
use crate::stream::{PADDING, Raw};
use crate::{Error, ImageStream, Phase, Progress, Reading, Skips, reading_of, uploads};

/// Images read at a time, and the bytes that those may hold which had to be read on the way past.
const CHUNK: usize = 512;
const CHUNK_BYTES: usize = 32 << 20;

/// By what pictures are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RankBy {
    /// The mean distance to the nearest others.
    Neighbours,
    /// The error of the reconstruction.
    Reconstruction,
    /// Both, as far as they are known.
    #[default]
    Both,
}

/// How outliers are ranked.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlierOptions {
    /// Neighbours that a picture is compared with.
    pub k: usize,
    /// By what.
    pub by: RankBy,
    /// How many are returned, the most remarkable first.
    pub count: usize,
    /// Only the points that pass are ranked, and compared with each other.
    pub filter: Option<Filter>,
}

impl Default for OutlierOptions {
    /// The 20 first, by both, with 10 neighbours.
    fn default() -> Self {
        Self {
            k: 10,
            by: RankBy::Both,
            count: 20,
            filter: None,
        }
    }
}

/// A picture and how unlike the others it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outlier {
    /// The point's id; of several points of one content the lowest.
    pub id: Uuid,
    /// The mean of its standard scores; larger is more remarkable.
    pub score: f64,
    /// Mean distance to its nearest others.
    pub distance: Option<f64>,
    /// The standard score of that.
    pub distance_score: Option<f64>,
    /// Mean squared error of its reconstruction.
    pub error: Option<f64>,
    /// The standard score of that.
    pub error_score: Option<f64>,
    /// Points of the same content, itself included.
    pub copies: usize,
    /// What is known about it.
    #[serde(flatten)]
    pub payload: Payload,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outliers {
    /// Points that were looked at.
    pub points: usize,
    /// Different contents among them.
    pub contents: usize,
    /// Neighbours that each was compared with.
    pub k: usize,
    /// What codes were compared by: the gallery's metric, or cosine where that is the inner
    /// product.
    pub metric: Metric,
    /// By what they are ranked.
    pub by: RankBy,
    /// Median of the mean distances, if they were asked for.
    #[serde(rename = "usual_distance")]
    pub median_distance: Option<f64>,
    /// Median of the reconstruction errors, if any is known.
    #[serde(rename = "usual_error")]
    pub median_error: Option<f64>,
    /// Contents whose original could not be read, or is another picture now; 0 if none was asked
    /// for.
    pub unreadable: usize,
    /// Why one of them could not be read.
    pub unreadable_because: Option<String>,
    /// The most remarkable first.
    pub outliers: Vec<Outlier>,
}

/// Ranks the pictures of a gallery by how unlike the others they are. `model` is the gallery's; it
/// is needed unless they are ranked by neighbours only.
///
/// # Errors
///
/// When the gallery cannot be read, when there is no model for reconstructions, or when they alone
/// are asked for and no original can be read.
pub fn rank(
    gallery: &dyn Gallery,
    model: Option<&Autoencoder>,
    options: &OutlierOptions,
    mut progress: impl FnMut(Progress),
) -> Result<Outliers, Error> {
    let by = match (options.by, model) {
        (RankBy::Reconstruction, None) => {
            return Err(Error::NoAutoencoder);
        }
        (RankBy::Both, None) => RankBy::Neighbours,
        (by, _) => by,
    };
    let by_neighbours = by != RankBy::Reconstruction;
    let filter = options.filter.as_ref();
    let mut contents = Contents::read(gallery, filter, by_neighbours, &mut progress)?;
    let mut found = Outliers {
        points: contents.points.len(),
        contents: contents.count,
        k: options.k.min(contents.count.saturating_sub(1)),
        metric: contents.metric,
        by,
        median_distance: None,
        median_error: None,
        unreadable: 0,
        unreadable_because: None,
        outliers: Vec::new(),
    };
    let of = contents.count;
    let mut distances = vec![None; of];
    if by_neighbours && found.k > 0 {
        let visit = |row: usize, others: &[lookalike_neighbours::Neighbour]| {
            let sum: f64 = others.iter().map(|other| f64::from(other.distance)).sum();
            distances[row] = Some(sum / others.len() as f64);
        };
        contents.neighbours(found.k, visit, &mut progress)?;
    }
    contents.codes = Vec::new();
    let mut errors = vec![None; of];
    if let Some(model) = model.filter(|_| by != RankBy::Neighbours) {
        let name = gallery.describe()?.name;
        let mut originals = Originals {
            gallery: &name,
            reading: reading_of(gallery)?,
            contents: &contents,
            model,
            errors: &mut errors,
            done: 0,
            failed: None,
        };
        originals.read_all(&mut progress)?;
        let failed = originals.failed;
        found.unreadable = errors.iter().filter(|error| error.is_none()).count();
        if found.unreadable > 0 {
            let gone =
                || "its source no longer has it, or holds another picture in its place".to_owned();
            found.unreadable_because = Some(failed.unwrap_or_else(gone));
        }
        if options.by == RankBy::Reconstruction && found.unreadable == of && of > 0 {
            return Err(Error::NoOriginals {
                contents: of,
                reason: found.unreadable_because.unwrap_or_default(),
            });
        }
    }

    let distance_scores = Scores::of(&distances);
    let error_scores = Scores::of(&errors);
    found.median_distance = distance_scores.median;
    found.median_error = error_scores.median;
    let mut ranked: Vec<(f64, usize)> = (0..of)
        .filter_map(|row| {
            let known = [distance_scores.scores[row], error_scores.scores[row]];
            let known = known.into_iter().flatten();
            let count = known.clone().count();
            (count > 0).then(|| (known.sum::<f64>() / count as f64, row))
        })
        .collect();
    // Rows are in the order of their lowest ids.
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.truncate(options.count);
    let mut copies: Vec<Vec<Uuid>> = vec![Vec::new(); ranked.len()];
    let places: std::collections::HashMap<usize, usize> = ranked
        .iter()
        .enumerate()
        .map(|(place, &(_, row))| (row, place))
        .collect();
    for point in &contents.points {
        if let Some(&place) = places.get(&(point.content as usize)) {
            copies[place].push(point.id);
        }
    }
    for (&(score, row), ids) in ranked.iter().zip(&copies) {
        // A point may have gone since it was read.
        if let Some(point) = gallery.retrieve(&ids[..1])?.pop() {
            found.outliers.push(Outlier {
                id: point.id,
                score,
                distance: distances[row],
                distance_score: distance_scores.scores[row],
                error: errors[row],
                error_score: error_scores.scores[row],
                copies: ids.len(),
                payload: point.payload,
            });
        }
    }
    Ok(found)
}

/// Robust standard scores of what is known.
struct Scores {
    median: Option<f64>,
    scores: Vec<Option<f64>>,
}

impl Scores {
    fn of(values: &[Option<f64>]) -> Self {
        let median_of = |values: &mut dyn Iterator<Item = f64>| {
            let mut values: Vec<f64> = values.collect();
            let middle = values.len().checked_sub(1)? / 2;
            Some(*values.select_nth_unstable_by(middle, f64::total_cmp).1)
        };
        let known = || values.iter().flatten().copied();
        let Some(median) = median_of(&mut known()) else {
            return Self {
                median: None,
                scores: vec![None; values.len()],
            };
        };
        // Nothing is more than a thousand times better than usual, so that 0 has a logarithm.
        let least = match median > 0.0 {
            true => median / 1000.0,
            false => f64::from(f32::MIN_POSITIVE),
        };
        let log = |value: f64| value.max(least).ln();
        let centre = log(median);
        let deviations = || known().map(|value| (log(value) - centre).abs());
        let mad = median_of(&mut deviations()).unwrap_or(0.0);
        let spread = match mad > 0.0 {
            true => 1.4826 * mad,
            // More than half are alike: then the mean deviation, which is 0 only if all are.
            false => 1.2533 * deviations().sum::<f64>() / known().count() as f64,
        };
        let score = |value: f64| match spread > 0.0 {
            true => (log(value) - centre) / spread,
            false => 0.0,
        };
        Self {
            median: Some(median),
            scores: values.iter().map(|value| value.map(score)).collect(),
        }
    }
}

/// Originals on their way through the model.
struct Originals<'a> {
    /// The gallery's name, and how its pictures are read.
    gallery: &'a str,
    reading: Reading,
    contents: &'a Contents,
    model: &'a Autoencoder,
    /// Of each content, once it is known.
    errors: &'a mut [Option<f64>],
    done: usize,
    /// Why one could not be read.
    failed: Option<String>,
}

impl Originals<'_> {
    fn read_all(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<(), Error> {
        let names: &BTreeMap<String, String> = &self.contents.sources;
        for (name, identity) in names {
            let mut reading = self.reading.clone();
            // What is in the gallery was read, hidden or not.
            reading.source.hidden = true;
            let place = uploads::place(self.gallery, name);
            let opened = ImageStream::open(&place, reading, Arc::new(Skips::default()));
            let read = opened.and_then(|stream| self.read(&stream, identity, progress));
            // A source that is gone takes its originals with it, and no others.
            match read {
                Ok(()) => {}
                Err(error @ Error::Autoencoder(_)) => return Err(error),
                Err(error) => self.fail(error.to_string()),
            }
        }
        Ok(())
    }

    fn fail(&mut self, why: String) {
        self.failed.get_or_insert(why);
    }

    /// The content of a key, if it is wanted still.
    fn wanted(&self, identity: &str, key: &str) -> Option<u32> {
        let id = point_id(identity, key);
        let points = &self.contents.points;
        let at = points.binary_search_by_key(&id, |point| point.id).ok()?;
        let content = points[at].content;
        self.errors[content as usize].is_none().then_some(content)
    }

    fn read(
        &mut self,
        stream: &ImageStream,
        name: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        let mut entries = stream.entries()?;
        loop {
            let mut chunk: Vec<(Entry, u32)> = Vec::new();
            let mut bytes = 0;
            let mut more = false;
            for item in entries.by_ref() {
                match item {
                    Ok(entry) => {
                        if let Some(content) = self.wanted(name, &entry.key) {
                            bytes += entry.content.held();
                            chunk.push((entry, content));
                        }
                    }
                    Err(skipped) => {
                        if self.wanted(name, &skipped.key).is_some() {
                            self.fail(skipped.to_string());
                        }
                    }
                }
                if chunk.len() == CHUNK || bytes >= CHUNK_BYTES {
                    more = true;
                    break;
                }
            }
            let read: Vec<Result<Option<_>, Skipped>> = chunk
                .into_par_iter()
                .map(|(entry, content)| {
                    let pixels = self.pixels(stream, &entry, content)?;
                    Ok(pixels.map(|pixels| (content, pixels)))
                })
                .collect();
            let mut batch = Batch::default();
            for image in read {
                match image {
                    Ok(Some((content, pixels))) => {
                        batch.contents.push(content);
                        batch.pixels.extend(pixels);
                    }
                    Ok(None) => {}
                    Err(skipped) => self.fail(skipped.to_string()),
                }
            }
            self.reconstruct(batch, progress)?;
            if !more {
                return Ok(());
            }
        }
    }

    /// The original at the model's size, or none if it is another picture now.
    fn pixels(
        &self,
        stream: &ImageStream,
        entry: &Entry,
        content: u32,
    ) -> Result<Option<Vec<u8>>, Skipped> {
        let reading = stream.reading();
        let raw = Raw::read(entry, reading)?;
        if short(&raw.blake3()) != self.contents.hashes[content as usize] {
            return Ok(None);
        }
        let (shape, how) = (self.model.shape(), self.model.fit());
        let mut options = reading.decode.clone();
        options.target = Some((shape.width, shape.height));
        let decoded = raw.decode(entry, &options)?;
        Ok(Some(decoded.fit(shape, how, PADDING).into_data()))
    }

    fn reconstruct(
        &mut self,
        batch: Batch,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        let values = self.model.shape().values();
        let outputs = self.model.reconstruct(&batch.pixels)?;
        let pairs = batch
            .pixels
            .chunks_exact(values)
            .zip(outputs.chunks_exact(values));
        for (&content, (input, output)) in batch.contents.iter().zip(pairs) {
            let squares = input
                .iter()
                .zip(output)
                .map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2));
            let mean = squares.sum::<u64>() as f64 / values as f64 / (255.0 * 255.0);
            if self.errors[content as usize].replace(mean).is_none() {
                self.done += 1;
            }
        }
        let total = self.errors.len();
        progress(Progress::new(Phase::Reconstructing, self.done, total));
        Ok(())
    }
}

/// Images at the model's size, and which contents they are.
#[derive(Default)]
struct Batch {
    contents: Vec<u32>,
    pixels: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_robust() {
        // Logarithms evenly spread around the median's, and one far out.
        let mut values: Vec<Option<f64>> = (-50..=50)
            .map(|i| Some((f64::from(i) / 10.0).exp2()))
            .collect();
        values.push(None);
        let plain = Scores::of(&values);
        assert_eq!(plain.median, Some(1.0));
        assert_eq!(plain.scores[50], Some(0.0));
        assert_eq!(plain.scores[101], None);
        let one = plain.scores[51].unwrap();
        assert!((one - 1.0 / (1.4826 * 25.0)).abs() < 1e-9, "{one}");
        values[100] = Some(1e300);
        let far = Scores::of(&values);
        assert_eq!(far.scores[51], plain.scores[51]);
        assert!(far.scores[100].unwrap() > 20.0);
    }

    #[test]
    fn scores_of_what_is_alike_are_finite() {
        assert_eq!(Scores::of(&[Some(2.0); 9]).scores, [Some(0.0); 9]);
        assert_eq!(Scores::of(&[Some(0.0); 9]).scores, [Some(0.0); 9]);
        let mut values = [Some(0.0); 9];
        values[4] = Some(1.0);
        let scores = Scores::of(&values).scores;
        assert!(
            scores[4].unwrap().is_finite() && scores[4] > scores[0],
            "{scores:?}"
        );
        assert_eq!(Scores::of(&[None, None]).median, None);
    }
}

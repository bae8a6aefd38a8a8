//! What all requests share, and the steps between a request and its answer that block.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lookalike::gallery::{DiffusionState, Example, Filter, Gallery, GalleryError, Point, Rerank};
use lookalike::images::{DecodeOptions, Pixels, Region, decode};
use lookalike::neighbours::{DiffusionConfig, Metric};
use lookalike::sources::{Limits as SourceLimits, SourceOptions};
use lookalike::{
    Originals, PADDING, Presence, Presences, Question, Reading, Searcher, THUMBNAIL, Uploads,
    already_in_gallery, decode_target, reading_of, reduced,
};
use uuid::Uuid;

use crate::fetch::Fetcher;
use crate::jobs::Jobs;
use crate::layout::Layout;
use crate::metrics::Metrics;
use crate::options::{Limits, ServeOptions};
use crate::problem::Problem;
use crate::queries::{Queries, Sent};
use crate::types::{Answer, MetricName, Neighbour, Own, Reference, RerankName, Search};
use crate::upkeep::{Upkeep, Work};
use crate::work::{Background, Room, Workers, stop_if_abandoned};

/// The longer side of what is kept of an image that was sent, in pixels.
const SENT_SIDE: usize = 1_536;
/// The most points whose neighbour graph is built anew by the server: that takes seconds.
const MAX_DIFFUSION_POINTS: usize = 20_000;

/// What all requests share.
pub(crate) struct Service {
    pub searcher: Searcher,
    pub options: ServeOptions,
    /// The port that is listened on.
    pub port: u16,
    pub originals: Originals,
    pub uploads: Uploads,
    /// Whether originals are still there.
    presences: Presences,
    /// How images from outside are read.
    reading: Reading,
    pub workers: Workers,
    /// Room for the bodies of requests.
    pub room: Room,
    /// Room for answers that clients are taking.
    pub sending: Room,
    pub metrics: Arc<Metrics>,
    pub fetcher: Option<Fetcher>,
    pub findings: Arc<Jobs<crate::api::Finding, crate::api::Found>>,
    pub layout: Arc<Layout>,
    /// What computes beside requests.
    background: Arc<Background>,
    queries: Mutex<Queries>,
    /// Counts the changes of the gallery.
    generation: AtomicU64,
    upkeep: Mutex<Upkeep>,
}

/// An image to ask with, as far as asking needs it.
pub(crate) struct Asked {
    pub code: Vec<f32>,
    /// The point that it is.
    pub point: Option<Uuid>,
    /// The same point, if the image was sent and is there already.
    already: Option<Box<Point>>,
}

impl Asked {
    /// An image that was sent, and the gallery's point of the same content.
    pub fn sent(code: Vec<f32>, known: Option<Point>) -> Self {
        Self {
            code,
            point: known.as_ref().map(|point| point.id),
            already: known.map(Box::new),
        }
    }

    fn of(code: Vec<f32>, point: Option<Uuid>) -> Self {
        Self {
            code,
            point,
            already: None,
        }
    }
}

impl Service {
    pub fn new(
        searcher: Searcher,
        options: ServeOptions,
        port: u16,
    ) -> Result<Arc<Self>, lookalike::Error> {
        Self::counting(searcher, options, port, Arc::new(Metrics::new()))
    }

    /// The same for another gallery. What was sent to search with is forgotten: its codes are another model's.
    pub fn successor(&self, searcher: Searcher) -> Result<Arc<Self>, lookalike::Error> {
        Self::counting(
            searcher,
            self.options.clone(),
            self.port,
            self.metrics.clone(),
        )
    }

    fn counting(
        searcher: Searcher,
        options: ServeOptions,
        port: u16,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, lookalike::Error> {
        let limits = &options.limits;
        let reading = reading(limits, searcher.gallery())?;
        let fetcher = match options.fetch_urls {
            true => Some(Fetcher::new(limits)?),
            false => None,
        };
        let background = Arc::<Background>::default();
        Ok(Arc::new(Self {
            presences: Presences::of(&searcher.gallery().describe()?),
            originals: Originals::read_by(&options.folder.to_string_lossy(), reading.clone()),
            uploads: Uploads::of(&options.folder, reading.clone()),
            reading,
            workers: Workers::new(limits.at_once, limits.waiting),
            room: Room::new(limits.bodies_bytes),
            sending: Room::new(limits.answers_bytes),
            metrics,
            fetcher,
            findings: Arc::new(Jobs::new(background.clone())),
            layout: Layout::at(map_file(&options), background.clone()),
            background,
            queries: Mutex::new(Queries::new(limits.query_bytes)),
            generation: AtomicU64::new(0),
            upkeep: Mutex::default(),
            searcher,
            options,
            port,
        }))
    }

    pub fn gallery(&self) -> &dyn Gallery {
        self.searcher.gallery()
    }

    pub fn limits(&self) -> &Limits {
        &self.options.limits
    }

    /// Changes with every change of the gallery.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Notes that the gallery was changed.
    pub fn note_change(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.upkeep().note_change(Instant::now());
    }

    /// Brings index and diffusion up to date if that is due; to be called now and then. It blocks.
    pub fn maintain(&self) {
        let Some(work) = self.upkeep().due(Instant::now()) else {
            return;
        };
        let done = self.background.run(|| self.bring_up_to_date(work));
        if let Err(error) = &done {
            tracing::error!(%error, "the index could not be brought up to date; it is tried again later");
        }
        self.upkeep().finished(work, done.is_ok(), Instant::now());
    }

    fn upkeep(&self) -> MutexGuard<'_, Upkeep> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bring_up_to_date(&self, work: Work) -> Result<(), GalleryError> {
        let gallery = self.gallery();
        let began = Instant::now();
        if work.index {
            gallery.optimise()?;
        }
        let info = gallery.describe()?;
        let stale = info.diffusion == DiffusionState::Stale;
        let diffused = work.diffusion && stale && (2..=MAX_DIFFUSION_POINTS).contains(&info.points);
        if diffused {
            gallery.build_diffusion(&DiffusionConfig::default())?;
        }
        let seconds = began.elapsed().as_secs_f64();
        tracing::info!(seconds, diffused, "the index was brought up to date");
        Ok(())
    }

    pub fn queries(&self) -> MutexGuard<'_, Queries> {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs something that blocks, when it is its turn.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let service = self.clone();
        self.workers.run(move || work(&service)).await?
    }

    /// Runs something that takes well below a millisecond, see [`Workers::run_short`]; with a gallery on a cluster it
    /// takes longer, and nothing else is to wait on this thread meanwhile.
    pub async fn run_short<T>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let work = || work(self);
        match self.options.on_cluster {
            true => {
                self.workers
                    .run_short(|| tokio::task::block_in_place(work))
                    .await?
            }
            false => self.workers.run_short(work).await?,
        }
    }

    /// The point with an id.
    pub fn point(&self, id: Uuid) -> Result<Point, Problem> {
        let point = self.gallery().retrieve(&[id])?.pop();
        point.ok_or_else(|| no_such_image(id))
    }

    /// Decodes an image that was sent, and brings it to the model's shape just as when it is indexed: what is in the
    /// gallery is found at no distance at all.
    pub fn fitted(&self, bytes: &[u8]) -> Result<Pixels, Problem> {
        let model = self.searcher.model();
        let target = decode_target(model, THUMBNAIL);
        let decoded = decode(bytes, &self.decode_options(Some(target)))?;
        Ok(decoded.fit(model.shape(), model.fit(), PADDING))
    }

    /// How pictures are decoded, for images of about `target` pixels if that is less than they have.
    pub fn decode_options(&self, target: Option<(usize, usize)>) -> DecodeOptions {
        DecodeOptions {
            target,
            ..self.reading.decode.clone()
        }
    }

    /// The code of an image that was sent.
    pub fn encoded(&self, bytes: &[u8]) -> Result<Vec<f32>, Problem> {
        Ok(self.searcher.model().encode_image(&self.fitted(bytes)?))
    }

    /// The gallery's point of this content.
    pub fn known(&self, hash: &str) -> Result<Option<Point>, Problem> {
        Ok(self.gallery().with_content(&[hash])?.remove(hash))
    }

    /// Keeps an image to search with; gives its name.
    pub fn keep(&self, bytes: &[u8]) -> Result<(String, Arc<Sent>), Problem> {
        let hash = blake3::hash(bytes).to_hex().to_string();
        if let Some(sent) = self.queries().get(&hash) {
            return Ok((hash, sent));
        }
        let code = self.encoded(bytes)?;
        stop_if_abandoned()?;
        let whole = decode(bytes, &self.decode_options(Some((SENT_SIDE, SENT_SIDE))))?;
        let sent = Arc::new(Sent {
            pixels: reduced(whole.pixels, SENT_SIDE),
            width: whole.width,
            height: whole.height,
            code,
        });
        self.queries().put(hash.clone(), sent.clone());
        Ok((hash, sent))
    }

    /// An image that was kept.
    pub fn kept(&self, hash: &str) -> Result<Arc<Sent>, Problem> {
        self.queries().get(hash).ok_or_else(|| {
            Problem::not_found(
                "this image is no longer kept here: images to search with are forgotten after a while; send it again",
            )
        })
    }

    /// The picture that a reference means, and the point that it is.
    fn picture(&self, reference: &Reference) -> Result<(Pixels, Option<Uuid>), Problem> {
        let (pixels, width, height, id) = match only(reference)? {
            Which::Id(id) => {
                let payload = self.point(id)?.payload;
                let pixels = self.originals.picture(self.gallery(), &payload).ok_or_else(|| {
                    Problem::not_found(format!(
                        "the original of {} is gone, and no thumbnail was kept: search with the whole image, by its code",
                        payload.key
                    ))
                })?;
                (
                    pixels,
                    payload.width as usize,
                    payload.height as usize,
                    Some(id),
                )
            }
            Which::Upload(hash) => {
                let sent = self.kept(hash)?;
                let known = self.known(hash)?.map(|point| point.id);
                (sent.pixels.clone(), sent.width, sent.height, known)
            }
            Which::Code(_) => {
                return Err(Problem::unusable(
                    "a code is no picture: give an image by 'id' or 'upload'",
                ));
            }
        };
        let Some(rectangle) = reference.region else {
            return Ok((pixels, id));
        };
        let region = scaled(rectangle.region(), (width, height), &pixels)?;
        Ok((pixels.crop(region)?, id))
    }

    /// The picture that a reference means.
    pub fn pixels(&self, reference: &Reference) -> Result<Pixels, Problem> {
        Ok(self.picture(reference)?.0)
    }

    /// The code that a reference means.
    pub fn asked(&self, reference: &Reference) -> Result<Asked, Problem> {
        stop_if_abandoned()?;
        if reference.region.is_some() {
            let (pixels, point) = self.picture(reference)?;
            let code = self.searcher.model().encode_image(&pixels);
            return Ok(Asked::of(code, point));
        }
        Ok(match only(reference)? {
            Which::Id(id) => {
                let point = self.point(id)?;
                Asked::of(point.code, Some(id))
            }
            Which::Upload(hash) => {
                let sent = self.kept(hash)?;
                Asked::sent(sent.code.clone(), self.known(hash)?)
            }
            Which::Code(code) => {
                let dims = self.searcher.model().code_dim();
                if code.len() != dims {
                    return Err(Problem::unusable(format!(
                        "the code has {} dimensions, the codes of this gallery have {dims}",
                        code.len()
                    )));
                }
                Asked::of(code.to_vec(), None)
            }
        })
    }

    /// Answers a search; `asked` is its query, if it has one that is not among the references.
    pub fn search(&self, search: &Search, asked: Option<Asked>) -> Result<Answer, Problem> {
        let began = Instant::now();
        let most = self.check_search(search)?;
        let question = Question {
            k: most,
            metric: search.metric.map(metric),
            exact: search.exact,
            max_distance: search.max_distance,
            filter: filter(search.filter.as_deref())?,
            exclude_self: search.exclude_self,
            rerank: match search.rerank {
                RerankName::None => Rerank::None,
                RerankName::Diffusion => Rerank::Diffusion,
            },
            diverse: search.diverse,
        };
        let asked = match (asked, &search.query) {
            (None, Some(query)) => Some(self.asked(query)?),
            (asked, _) => asked,
        };
        stop_if_abandoned()?;
        let (already, mut answer) = match asked {
            Some(asked) => {
                let exclude = asked.point.filter(|_| search.exclude_self);
                let answer = self.searcher.ask_code(asked.code, exclude, &question)?;
                (asked.already, answer)
            }
            None => (None, self.recommend(search, &question)?),
        };
        if let Some(own) = &already {
            let note = already_in_gallery(&own.payload, search.exclude_self);
            answer.notes.insert(0, note);
        }
        let found = answer.neighbours.len();
        let neighbours = answer.neighbours.into_iter().skip(search.offset);
        Ok(Answer {
            metric: answer.metric,
            exact: answer.exact,
            notes: answer.notes,
            already_in_gallery: already.map(|own| Own {
                id: own.id,
                source: own.payload.source,
                key: own.payload.key,
            }),
            k: search.k,
            offset: search.offset,
            // Those that differ are chosen all at once: there is no further ranking.
            more: found == most && search.diverse.is_none() && most < self.limits().results,
            milliseconds: began.elapsed().as_secs_f64() * 1e3,
            neighbours: neighbours
                .map(|hit| {
                    let gone = self.presences.look(&hit.payload) == Presence::Gone;
                    Neighbour::new(hit, gone)
                })
                .collect(),
        })
    }

    fn recommend(
        &self,
        search: &Search,
        question: &Question,
    ) -> Result<lookalike::gallery::Answer, Problem> {
        let examples = |references: &[Reference]| -> Result<Vec<Example>, Problem> {
            let each = references.iter().map(|reference| {
                let asked = self.asked(reference)?;
                Ok(match asked.point {
                    // Points are not among the answers; parts of them may be.
                    Some(id) if reference.region.is_none() => Example::Id(id),
                    _ => Example::Code(asked.code),
                })
            });
            each.collect()
        };
        let (like, unlike) = (examples(&search.like)?, examples(&search.unlike)?);
        Ok(self.searcher.recommend(like, unlike, question)?)
    }

    /// Refuses searches that mean nothing; says how many neighbours must be found in all.
    pub fn check_search(&self, search: &Search) -> Result<usize, Problem> {
        let limits = self.limits();
        if !(1..=limits.k).contains(&search.k) {
            return Err(Problem::unusable(format!(
                "k is {}: ask for 1 to {} neighbours, and for more with 'offset'",
                search.k, limits.k
            )));
        }
        let most = search.offset.saturating_add(search.k);
        if most > limits.results {
            return Err(Problem::unusable(format!(
                "offset and k reach {most}: this server pages through the first {} of a ranking; narrow the search with a filter",
                limits.results
            )));
        }
        let examples = search.like.len() + search.unlike.len();
        if examples > limits.files {
            return Err(Problem::unusable(format!(
                "{examples} examples are too many: give at most {}",
                limits.files
            )));
        }
        if search.query.is_some() && examples > 0 {
            return Err(Problem::unusable(
                "give either 'query', or examples in 'like' and 'unlike', not both",
            ));
        }
        if search.diverse.is_some() && search.offset > 0 {
            return Err(Problem::unusable(
                "diverse neighbours are chosen all at once: ask for more of them with k, not with offset",
            ));
        }
        if search.diverse.is_some() && search.k > MAX_DIVERSE {
            return Err(Problem::unusable(format!(
                "{} diverse neighbours are too many: ask for at most {MAX_DIVERSE}",
                search.k
            )));
        }
        Ok(most)
    }
}

/// The most neighbours that differ among themselves: choosing them takes the square of their number.
const MAX_DIVERSE: usize = 100;

/// How images from outside are read: within the server's limits, and as those of the gallery were.
fn reading(limits: &Limits, gallery: &dyn Gallery) -> Result<Reading, lookalike::Error> {
    let kept = reading_of(gallery)?.decode;
    Ok(Reading {
        source: SourceOptions {
            limits: SourceLimits {
                item_bytes: limits.body_bytes as u64,
                ..SourceLimits::default()
            },
            ..SourceOptions::default()
        },
        decode: DecodeOptions {
            background: kept.background,
            grey_range: kept.grey_range,
            most_pixels: limits.pixels,
            most_bytes: limits.body_bytes as u64,
            ..DecodeOptions::default()
        },
        ..Reading::default()
    })
}

fn map_file(options: &ServeOptions) -> PathBuf {
    options.folder.join("map.bin")
}

/// A filter as it was written.
pub(crate) fn filter(text: Option<&str>) -> Result<Option<Filter>, Problem> {
    let text = text.filter(|text| !text.trim().is_empty());
    Ok(text.map(str::parse).transpose()?)
}

pub(crate) fn no_such_image(id: Uuid) -> Problem {
    Problem::not_found(format!("the gallery has no image with the id {id}"))
}

fn metric(name: MetricName) -> Metric {
    match name {
        MetricName::Cosine => Metric::Cosine,
        MetricName::Euclidean => Metric::Euclidean,
        MetricName::Dot => Metric::Dot,
        MetricName::Manhattan => Metric::Manhattan,
    }
}

enum Which<'a> {
    Id(Uuid),
    Upload(&'a str),
    Code(&'a [f32]),
}

/// What a reference means, if it means one thing. URLs have become uploads by now.
fn only(reference: &Reference) -> Result<Which<'_>, Problem> {
    let which = match reference {
        Reference {
            id: Some(id),
            upload: None,
            code: None,
            url: None,
            ..
        } => Which::Id(*id),
        Reference {
            id: None,
            upload: Some(hash),
            code: None,
            url: None,
            ..
        } => Which::Upload(hash),
        Reference {
            id: None,
            upload: None,
            code: Some(code),
            url: None,
            region: None,
        } => Which::Code(code),
        _ => {
            return Err(Problem::unusable(
                "name an image by exactly one of 'id', 'upload', 'code' and 'url'; a region goes with the others, not with a code",
            ));
        }
    };
    Ok(which)
}

/// A region of the whole picture in the pixels of a smaller copy.
fn scaled(
    region: Region,
    (width, height): (usize, usize),
    copy: &Pixels,
) -> Result<Region, Problem> {
    let inside = |start: usize, length: usize, whole: usize| {
        length > 0 && start.checked_add(length).is_some_and(|end| end <= whole)
    };
    if !inside(region.x, region.width, width) || !inside(region.y, region.height, height) {
        return Err(Problem::unusable(format!(
            "the region {region} is not within the image of {width} x {height} pixels"
        )));
    }
    let along = |start: usize, length: usize, whole: usize, side: usize| {
        let first = (start * side / whole).min(side - 1);
        let end = ((start + length) * side).div_ceil(whole).min(side);
        (first, end.saturating_sub(first).max(1))
    };
    let (x, width) = along(region.x, region.width, width, copy.width());
    let (y, height) = along(region.y, region.height, height, copy.height());
    Ok(Region {
        x,
        y,
        width,
        height,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_means_the_same_part_of_a_smaller_copy() {
        let copy = Pixels::new(100, 50, 1, vec![0; 5_000]).unwrap();
        let region = |x, y, width, height| Region {
            x,
            y,
            width,
            height,
        };
        let of = |r| scaled(r, (1_000, 500), &copy).unwrap();
        assert_eq!(of(region(0, 0, 1_000, 500)), region(0, 0, 100, 50));
        assert_eq!(of(region(500, 250, 500, 250)), region(50, 25, 50, 25));
        assert_eq!(of(region(999, 499, 1, 1)), region(99, 49, 1, 1));
        assert_eq!(
            of(region(5, 5, 10, 10)),
            region(0, 0, 2, 2),
            "whatever is touched"
        );
        for outside in [
            region(0, 0, 0, 1),
            region(999, 0, 2, 1),
            region(0, usize::MAX, 1, 1),
        ] {
            assert_eq!(
                scaled(outside, (1_000, 500), &copy).unwrap_err().status(),
                422
            );
        }
    }
}

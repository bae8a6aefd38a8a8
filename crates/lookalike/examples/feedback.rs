//! Measures what examples do for a search: a user marks right and wrong answers, and what is left
//! is ranked again.
//!
//! ```sh
//! lookalike index signs --model m --gallery signs.gallery
//! cargo run --release -p lookalike --example feedback -- signs.gallery [QUERIES] [SEED]
//! cargo run --release -p lookalike --example feedback -- time large.gallery
//! ```
//!
//! Labels stand for the user alone. Each query is an image; going down its answers, the user marks
//! the first so many of the same label as right and the first so many of others as wrong. The
//! tables have, for every strategy, the precision of the first 20 answers that were not marked, and
//! the mean average precision of all of these in brackets; *Rocchio* is his classic weighting
//! (query + 0.75 right - 0.15 wrong). `time` takes the time of a search by 16 examples.

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::time::{Duration, Instant};

use lookalike::gallery::{Example, Gallery, Points, RecommendRequest, SearchRequest, Strategy};
use lookalike::open_gallery;
use uuid::Uuid;

const USAGE: &str = "usage: feedback GALLERY [QUERIES] [SEED], feedback time GALLERY";
/// How many answers are marked right, and as many wrong.
const MARKED: [usize; 5] = [1, 2, 4, 8, 16];
/// The user looks no further for wrong answers.
const LOOKED_AT: usize = 200;
const PRECISION_AT: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, rest) = arguments.split_first().ok_or(USAGE)?;
    if name == "time" {
        return time(&*open_gallery(rest.first().ok_or(USAGE)?)?);
    }
    let number = |at: usize| rest.get(at).map(|number| number.parse()).transpose();
    let (queries, seed) = (number(0)?.unwrap_or(100), number(1)?.unwrap_or(0));
    let gallery = open_gallery(name)?;
    let labelled = Labelled::read(&*gallery)?;
    for wrong in [true, false] {
        println!(
            "\n{}\n\n| | {} |\n|---|{}",
            match wrong {
                true => "Right and wrong answers marked:",
                false => "Right answers alone:",
            },
            MARKED.map(|count| count.to_string()).join(" | "),
            "---|".repeat(MARKED.len()),
        );
        let chosen = labelled.draw(queries, seed as u64);
        for ranking in Ranking::ALL {
            let cells = MARKED.map(|count| labelled.score(&chosen, ranking, count, wrong));
            let cells: Result<Vec<String>, _> = cells.into_iter().collect();
            println!("| {} | {} |", ranking.name(), cells?.join(" | "));
        }
    }
    Ok(())
}

/// How what is left is ranked.
#[derive(Clone, Copy)]
enum Ranking {
    By(Strategy),
    Rocchio,
    /// As if nothing had been marked.
    Query,
}

impl Ranking {
    const ALL: [Self; 5] = [
        Self::Query,
        Self::Rocchio,
        Self::By(Strategy::Average),
        Self::By(Strategy::BestScore),
        Self::By(Strategy::Learned),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Query => "the query alone",
            Self::Rocchio => "Rocchio",
            Self::By(Strategy::Average) => "`average`",
            Self::By(Strategy::BestScore) => "`best_score`",
            Self::By(Strategy::Learned) => "`learned`",
        }
    }
}

/// A gallery whose images have labels.
struct Labelled<'a> {
    gallery: &'a dyn Gallery,
    labels: BTreeMap<Uuid, String>,
    codes: BTreeMap<Uuid, Vec<f32>>,
}

impl<'a> Labelled<'a> {
    fn read(gallery: &'a dyn Gallery) -> Result<Self, Box<dyn Error>> {
        let (mut labels, mut codes) = (BTreeMap::new(), BTreeMap::new());
        for point in Points::new(gallery, None) {
            let point = point?;
            labels.insert(point.id, point.payload.label.unwrap_or_default());
            codes.insert(point.id, point.code);
        }
        Ok(Self {
            gallery,
            labels,
            codes,
        })
    }

    /// Some of the images, evenly: ids are hashes.
    fn draw(&self, count: usize, seed: u64) -> Vec<Uuid> {
        let ids: Vec<Uuid> = self.labels.keys().copied().collect();
        let step = (ids.len() / count.max(1)).max(1);
        let from = seed as usize % step;
        ids.into_iter()
            .skip(from)
            .step_by(step)
            .take(count)
            .collect()
    }

    fn score(
        &self,
        queries: &[Uuid],
        ranking: Ranking,
        count: usize,
        marks_wrong: bool,
    ) -> Result<String, Box<dyn Error>> {
        let (mut precision, mut average) = (0.0, 0.0);
        for query in queries {
            let label = &self.labels[query];
            let first = SearchRequest {
                exclude: Some(*query),
                ..SearchRequest::new(self.codes[query].clone(), self.labels.len())
            };
            let first: Vec<Uuid> = ids(self.gallery.search(&first)?);
            let of = |right: bool, from: &[Uuid]| -> Vec<Uuid> {
                let some = from
                    .iter()
                    .filter(|id| (&self.labels[id] == label) == right);
                some.take(count).copied().collect()
            };
            let right = of(true, &first);
            let wrong = match marks_wrong {
                true => of(false, &first[..first.len().min(LOOKED_AT)]),
                false => Vec::new(),
            };
            let marked: HashSet<Uuid> =
                right.iter().chain(&wrong).chain([query]).copied().collect();
            let ranked = match ranking {
                Ranking::Query => first,
                Ranking::Rocchio => self.recommend(self.rocchio(*query, &right, &wrong))?,
                Ranking::By(strategy) => {
                    let examples = |ids: &[Uuid]| ids.iter().copied().map(Example::Id).collect();
                    let liked: Vec<Uuid> = [*query].into_iter().chain(right).collect();
                    self.recommend(RecommendRequest {
                        unlike: examples(&wrong),
                        strategy,
                        ..RecommendRequest::new(examples(&liked), self.labels.len())
                    })?
                }
            };
            let left = ranked.iter().filter(|id| !marked.contains(id));
            let hits: Vec<bool> = left.map(|id| &self.labels[id] == label).collect();
            let top = &hits[..hits.len().min(PRECISION_AT)];
            precision += share(top.iter().filter(|hit| **hit).count(), top.len());
            average += average_precision(&hits);
        }
        let count = queries.len().max(1) as f64;
        Ok(format!("{:.3} ({:.3})", precision / count, average / count))
    }

    fn recommend(&self, request: RecommendRequest) -> Result<Vec<Uuid>, Box<dyn Error>> {
        Ok(ids(self.gallery.recommend(&request)?))
    }

    /// The classic weights, by codes of length 1.
    fn rocchio(&self, query: Uuid, right: &[Uuid], wrong: &[Uuid]) -> RecommendRequest {
        let mut code = vec![0.0; self.codes[&query].len()];
        for (ids, weight) in [(&[query][..], 1.0), (right, 0.75), (wrong, -0.15)] {
            for id in ids {
                let of = &self.codes[id];
                let length = of.iter().map(|x| x * x).sum::<f32>().sqrt();
                let factor = weight / (ids.len() as f32 * length.max(f32::MIN_POSITIVE));
                code.iter_mut()
                    .zip(of)
                    .for_each(|(sum, x)| *sum += factor * x);
            }
        }
        RecommendRequest::new(vec![Example::Code(code)], self.labels.len())
    }
}

fn ids(answer: lookalike::gallery::Answer) -> Vec<Uuid> {
    answer.neighbours.into_iter().map(|hit| hit.id).collect()
}

fn share(part: usize, of: usize) -> f64 {
    part as f64 / of.max(1) as f64
}

fn average_precision(hits: &[bool]) -> f64 {
    let (mut found, mut sum) = (0, 0.0);
    for (rank, hit) in hits.iter().enumerate() {
        if *hit {
            found += 1;
            sum += share(found, rank + 1);
        }
    }
    sum / f64::from(u32::try_from(found).unwrap_or(u32::MAX).max(1))
}

/// The median time of a search by 8 right and 8 wrong examples, for each strategy.
fn time(gallery: &dyn Gallery) -> Result<(), Box<dyn Error>> {
    const ROUNDS: usize = 30;
    let ids: Vec<Uuid> = gallery
        .scroll(None, ROUNDS * 16, None)?
        .iter()
        .map(|point| point.id)
        .collect();
    for strategy in [Strategy::Average, Strategy::BestScore, Strategy::Learned] {
        let mut times: Vec<Duration> = Vec::new();
        for some in ids.chunks_exact(16) {
            let examples: Vec<Example> = some.iter().copied().map(Example::Id).collect();
            let (like, unlike) = examples.split_at(8);
            let request = RecommendRequest {
                unlike: unlike.to_vec(),
                strategy,
                ..RecommendRequest::new(like.to_vec(), 40)
            };
            let began = Instant::now();
            gallery.recommend(&request)?;
            times.push(began.elapsed());
        }
        times.sort();
        let middle = times.get(times.len() / 2).ok_or("too few images")?;
        println!(
            "{strategy:?}: {:.2} ms among {} images",
            middle.as_secs_f64() * 1e3,
            gallery.count(None)?
        );
    }
    Ok(())
}

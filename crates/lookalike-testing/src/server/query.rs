//! Searching: always exact, over all points.

use qdrant_client::qdrant::query::Variant;
use qdrant_client::qdrant::vector_input::Variant as Input;
use qdrant_client::qdrant::{
    BatchResult, QueryBatchPoints, QueryBatchResponse, QueryPoints, QueryResponse, RecommendInput,
    RecommendStrategy, ScoredPoint, VectorInput,
};
use tonic::Status;

use super::filter::Filter;
use super::points::Wanted;
use super::space::{Space, UNNAMED};
use super::store::Store;
use super::{Collection, Id, Point, error, json};

/// Points that are found if nothing is said.
const FOUND: usize = 10;

impl Store {
    pub fn query(&mut self, request: QueryPoints) -> Result<QueryResponse, Status> {
        let collection = self.resolve(&request.collection_name)?;
        Ok(QueryResponse {
            result: query(collection, request)?,
            ..QueryResponse::default()
        })
    }

    /// One collection for all; those that the single queries name are not looked at.
    pub fn query_batch(&mut self, request: QueryBatchPoints) -> Result<QueryBatchResponse, Status> {
        let collection = self.resolve(&request.collection_name)?;
        let result = request
            .query_points
            .into_iter()
            .map(|one| query(collection, one).map(|result| BatchResult { result }))
            .collect::<Result<_, _>>()?;
        Ok(QueryBatchResponse {
            result,
            ..QueryBatchResponse::default()
        })
    }
}

fn query(collection: &Collection, request: QueryPoints) -> Result<Vec<ScoredPoint>, Status> {
    if !request.prefetch.is_empty() {
        return Err(error::unsupported("queries of several steps"));
    }
    if request.lookup_from.is_some() {
        return Err(error::unsupported("vectors of other collections"));
    }
    let limit = error::at_least_one("limit", request.limit)?.unwrap_or(FOUND);
    let offset = usize::try_from(request.offset.unwrap_or(0)).unwrap_or(usize::MAX);
    let wanted = Wanted::read(
        collection,
        request.with_payload,
        request.with_vectors,
        false,
    )?;
    let filter = Filter::read(request.filter)?;
    let found = match request.query {
        // All, in the order of their ids.
        None => collection
            .points
            .iter()
            .filter(|(id, point)| filter.admits(**id, point))
            .map(|(id, point)| (1.0, *id, point))
            .collect(),
        Some(query) => {
            let using = request.using.as_deref().unwrap_or(UNNAMED);
            let asked = Asked::read(collection, using, query.variant)?;
            asked.find(collection, using, filter, request.score_threshold)
        }
    };
    Ok(found
        .into_iter()
        .skip(offset)
        .take(limit)
        .map(|(score, id, point)| ScoredPoint {
            id: Some(id.write()),
            payload: json::write_object(wanted.payload(point)),
            score,
            version: point.version,
            vectors: wanted.vectors(point),
            ..ScoredPoint::default()
        })
        .collect())
}

/// What is looked for.
struct Asked {
    space: Space,
    how: How,
    /// Points whose vectors were asked for; they are not found themselves.
    named: Vec<Id>,
}

enum How {
    Nearest(Vec<f32>),
    BestScore(Vec<Vec<f32>>, Vec<Vec<f32>>),
    SumScores(Vec<Vec<f32>>, Vec<Vec<f32>>),
}

impl Asked {
    fn read(
        collection: &Collection,
        using: &str,
        variant: Option<Variant>,
    ) -> Result<Self, Status> {
        let variant =
            variant.ok_or_else(|| Status::invalid_argument("Query variant is missing"))?;
        let mut named = Vec::new();
        let mut vectors = |inputs: Vec<VectorInput>| -> Result<Vec<Vec<f32>>, Status> {
            let mut vectors = Vec::new();
            for input in inputs {
                match input.variant {
                    Some(Input::Dense(dense)) => vectors.push(dense.data),
                    Some(Input::Id(id)) => {
                        let id = Id::read(Some(&id))?;
                        let point = collection.points.get(&id);
                        let point = point.ok_or_else(|| error::no_point(id))?;
                        named.push(id);
                        vectors.extend(point.vectors.get(using).cloned());
                    }
                    Some(_) => return Err(error::unsupported("queries that are not dense")),
                    None => return Err(Status::invalid_argument("VectorInput variant is missing")),
                }
            }
            Ok(vectors)
        };
        let how = match variant {
            Variant::Nearest(input) => match vectors(vec![input])?.pop() {
                Some(vector) => How::Nearest(vector),
                None => {
                    let detail = format_args!("Vector with name {using:?} for point not found");
                    return Err(error::not_found(detail));
                }
            },
            Variant::Recommend(RecommendInput {
                positive,
                negative,
                strategy,
            }) => {
                let (positive, negative) = (vectors(positive)?, vectors(negative)?);
                match RecommendStrategy::try_from(strategy.unwrap_or_default()) {
                    Ok(RecommendStrategy::BestScore) => How::BestScore(positive, negative),
                    Ok(RecommendStrategy::SumScores) => How::SumScores(positive, negative),
                    Ok(RecommendStrategy::AverageVector) | Err(_) => {
                        How::Nearest(average(&positive, &negative)?)
                    }
                }
            }
            _ => return Err(error::unsupported("queries of this kind")),
        };
        let space = collection.space(using)?;
        Ok(Self {
            space,
            how: how.prepared(space)?,
            named,
        })
    }

    /// All points that are admitted, best first; equally good ones in the order of their ids.
    fn find<'a>(
        &self,
        collection: &'a Collection,
        using: &str,
        filter: Filter,
        threshold: Option<f32>,
    ) -> Vec<(f32, Id, &'a Point)> {
        let filter = filter.except(self.named.iter().copied());
        let mut found: Vec<_> = collection
            .points
            .iter()
            .filter(|(id, point)| filter.admits(**id, point))
            .filter_map(|(id, point)| {
                let vector = point.vectors.get(using)?;
                Some((self.how.goodness(self.space, vector), *id, point))
            })
            .collect();
        // Stable, so ids stay in order.
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        if let How::Nearest(_) = self.how {
            for (score, ..) in &mut found {
                *score = self.space.score(*score);
            }
        }
        if let Some(threshold) = threshold {
            let passing = found
                .iter()
                .take_while(|(score, ..)| self.space.passes(*score, threshold));
            found.truncate(passing.count());
        }
        found
    }
}

impl How {
    /// With vectors as they are compared.
    fn prepared(self, space: Space) -> Result<Self, Status> {
        let prepare = |vector: Vec<f32>| {
            space.check(&vector)?;
            Ok::<_, Status>(space.stored(vector))
        };
        let all = |vectors: Vec<Vec<f32>>| -> Result<Vec<_>, Status> {
            vectors.into_iter().map(prepare).collect()
        };
        Ok(match self {
            Self::Nearest(vector) => Self::Nearest(prepare(vector)?),
            Self::BestScore(positive, negative) => Self::BestScore(all(positive)?, all(negative)?),
            Self::SumScores(positive, negative) => Self::SumScores(all(positive)?, all(negative)?),
        })
    }

    /// Larger is better.
    fn goodness(&self, space: Space, vector: &[f32]) -> f32 {
        let similarity = |like: &Vec<f32>| space.similarity(like, vector);
        let best = |vectors: &[Vec<f32>]| {
            vectors
                .iter()
                .map(similarity)
                .max_by(f32::total_cmp)
                .unwrap_or(f32::NEG_INFINITY)
        };
        match self {
            Self::Nearest(like) => similarity(like),
            Self::BestScore(positive, negative) => {
                let (liked, unliked) = (best(positive), best(negative));
                if liked > unliked {
                    squashed(liked)
                } else {
                    -squashed(unliked)
                }
            }
            Self::SumScores(positive, negative) => {
                positive.iter().map(similarity).sum::<f32>()
                    - negative.iter().map(similarity).sum::<f32>()
            }
        }
    }
}

/// From all numbers to 0..1, in the same order.
fn squashed(x: f32) -> f32 {
    0.5 * (x / (1.0 + x.abs()) + 1.0)
}

/// The mean of those that are liked, and as far again from the mean of those that are not.
fn average(positive: &[Vec<f32>], negative: &[Vec<f32>]) -> Result<Vec<f32>, Status> {
    let mean = |vectors: &[Vec<f32>]| -> Option<Vec<f32>> {
        let (first, rest) = vectors.split_first()?;
        let mut sum = first.clone();
        for vector in rest {
            for (sum, x) in sum.iter_mut().zip(vector) {
                *sum += x;
            }
        }
        for sum in &mut sum {
            *sum /= vectors.len() as f32;
        }
        Some(sum)
    };
    let liked = mean(positive).ok_or_else(|| {
        error::bad_input("Positive vectors should not be empty with `average` strategy")
    })?;
    Ok(match mean(negative) {
        None => liked,
        Some(unliked) => liked
            .iter()
            .zip(&unliked)
            .map(|(liked, unliked)| liked + liked - unliked)
            .collect(),
    })
}

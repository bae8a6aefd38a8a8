//! Searches: checking them, asking the gallery, and putting its answers in the API's words.

use std::time::Instant;

use axum::http::StatusCode;
use lookalike::gallery::{Filter, Rerank};
use lookalike::named::NamedSearches;
use lookalike::neighbours::Metric;
use lookalike::{Presence, Query, SearchOptions, already_in_gallery};

use crate::problem::Problem;
use crate::references::Asked;
use crate::service::Service;
use crate::types::{Answer, MetricName, Neighbour, Own, Reference, RerankName, Search};
use crate::work::stop_if_abandoned;

/// The most neighbours that differ among themselves: choosing them takes the square of their
/// number.
const MAX_DIVERSE: usize = 100;

impl Service {
    /// Answers a search; `asked` is its query, if it has one that is not among the references.
    pub fn search(&self, search: &Search, asked: Option<Asked>) -> Result<Answer, Problem> {
        let began = Instant::now();
        let most = self.check_search(search)?;
        let options = SearchOptions {
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
            strategy: search.strategy.map(Into::into).unwrap_or_default(),
            diverse: search.diverse,
            tiles: search.tiles,
        };
        let asked = match (asked, &search.query) {
            (None, Some(query)) => Some(self.asked(query)?),
            (asked, _) => asked,
        };
        stop_if_abandoned()?;
        let (already, mut answer) = match asked {
            Some(asked) => {
                let query = Query::code(asked.code).of_point(asked.point);
                let answer = self.searcher.search(query, &options)?;
                (asked.already, answer)
            }
            None => (None, self.recommend(search, options)?),
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

    /// Answers a search by examples, those of a named search among them.
    fn recommend(
        &self,
        search: &Search,
        mut options: SearchOptions,
    ) -> Result<lookalike::gallery::Answer, Problem> {
        let (like, unlike) = (self.examples(&search.like)?, self.examples(&search.unlike)?);
        let Some(name) = &search.named else {
            let query = Query::examples(like, unlike);
            return Ok(self.searcher.search(query, &options)?);
        };
        let named = self.named_searches()?.get(name)?;
        if search.strategy.is_none() {
            options.strategy = named.strategy;
        }
        Ok(self.searcher.search_again(&named, like, unlike, options)?)
    }

    /// The searches that are kept under names.
    pub fn named_searches(&self) -> Result<&NamedSearches, Problem> {
        match self.options.on_cluster {
            false => Ok(&self.searches),
            true => Err(Problem::new(
                StatusCode::CONFLICT,
                "a gallery on a cluster has no folder to keep searches in: give the examples themselves",
            )),
        }
    }

    /// Examples as they are asked with.
    pub fn examples(&self, references: &[Reference]) -> Result<Vec<Query>, Problem> {
        let each = references.iter().map(|reference| {
            let asked = self.asked(reference)?;
            Ok(match asked.point {
                // Points are not among the answers; parts of them may be.
                Some(id) if reference.region.is_none() => Query::id(id),
                _ => Query::code(asked.code),
            })
        });
        each.collect()
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
        if search.query.is_some() && search.named.is_some() {
            return Err(Problem::unusable(
                "give either 'query' or 'named': a named search has its own examples, to which 'like' adds more",
            ));
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
/// A filter as it was written.
pub(crate) fn filter(text: Option<&str>) -> Result<Option<Filter>, Problem> {
    let text = text.filter(|text| !text.trim().is_empty());
    Ok(text.map(str::parse).transpose()?)
}

fn metric(name: MetricName) -> Metric {
    match name {
        MetricName::Cosine => Metric::Cosine,
        MetricName::Euclidean => Metric::Euclidean,
        MetricName::Dot => Metric::Dot,
        MetricName::Manhattan => Metric::Manhattan,
    }
}

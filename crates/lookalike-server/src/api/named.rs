//! Searches by examples that are kept under names.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use lookalike::named::{NamedExample, NamedSearch};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::searching::fetch;
use super::{Answered, Refused, RefusedWrite, Shared};
use crate::body::{self, InPath};
use crate::problem::Problem;
use crate::search::filter;
use crate::service::Service;
use crate::types::{Reference, StrategyName, examples};

/// The searches that are kept.
#[derive(Serialize, ToSchema)]
pub(crate) struct Searches {
    /// Whether searches can be kept; a gallery on a cluster has no folder for them.
    available: bool,
    /// In the order of their names.
    searches: Vec<Listed>,
}

/// A search that is kept under a name.
#[derive(Serialize, ToSchema)]
struct Listed {
    name: String,
    like: Vec<ListedExample>,
    unlike: Vec<ListedExample>,
    filter: Option<String>,
    strategy: StrategyName,
}

/// An example of it.
#[derive(Serialize, ToSchema)]
struct ListedExample {
    /// The image that it is; null of a picture that was sent, a part of one, a code or words.
    id: Option<Uuid>,
    /// Whether that image is not in the gallery any more; the code kept of it counts.
    gone: bool,
}

/// A search to keep: examples, and what else it says.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchToKeep {
    /// Examples of what is wanted; at least one, unless `named` has some.
    #[serde(default, deserialize_with = "examples")]
    like: Vec<Reference>,
    /// Examples of what is not wanted.
    #[serde(default, deserialize_with = "examples")]
    unlike: Vec<Reference>,
    /// A search that is kept already: its examples belong to this one, too.
    named: Option<String>,
    /// Only images whose facts pass.
    #[schema(example = "width>=10")]
    filter: Option<String>,
    /// How examples are weighed; `learned`, or as in `named`.
    strategy: Option<StrategyName>,
}

/// What became of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Saved {
    /// Whether another search had the name, which is gone now.
    replaced: bool,
}

/// Another name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OtherName {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
}

/// The searches that are kept under names.
#[utoipa::path(
    get, path = "/searches", tag = "search",
    responses((status = 200, description = "All of them", body = Searches), Refused)
)]
pub(super) async fn list(State(service): Shared) -> Answered<Json<Searches>> {
    let searches = service.run(|service| {
        if service.options.on_cluster {
            return Ok(Searches {
                available: false,
                searches: Vec::new(),
            });
        }
        let all = service.named_searches()?.all()?;
        let listed = all
            .into_iter()
            .map(|(name, search)| listed(service, name, search));
        Ok(Searches {
            available: true,
            searches: listed.collect::<Answered<_>>()?,
        })
    });
    Ok(Json(searches.await?))
}

fn listed(service: &Service, name: String, search: NamedSearch) -> Answered<Listed> {
    let examples = || search.like.iter().chain(&search.unlike);
    let ids: Vec<Uuid> = examples().filter_map(|example| example.id).collect();
    let there = service.gallery().existing(&ids)?;
    let of = |examples: &[NamedExample]| -> Vec<ListedExample> {
        let listed = examples.iter().map(|example| ListedExample {
            id: example.id,
            gone: example.id.is_some_and(|id| !there.contains_key(&id)),
        });
        listed.collect()
    };
    Ok(Listed {
        name,
        like: of(&search.like),
        unlike: of(&search.unlike),
        filter: search.filter,
        strategy: search.strategy.into(),
    })
}

/// Keeps a search by examples under a name, in the gallery's folder, in the place of another of
/// that name. Pictures that were sent are kept by their codes.
#[utoipa::path(
    put, path = "/searches/{name}", tag = "search", request_body = SearchToKeep, security(("token" = [])),
    params(("name" = String, Path, description = "1 to 100 characters")),
    responses((status = 200, description = "It is kept", body = Saved), RefusedWrite)
)]
pub(super) async fn save(
    State(service): Shared,
    InPath(name): InPath<String>,
    request: Request,
) -> Answered<Json<Saved>> {
    let mut wanted: SearchToKeep = body::read_json(request, service.limits()).await?;
    let examples = wanted.like.len() + wanted.unlike.len();
    if examples > service.limits().files {
        return Err(Problem::unusable(format!(
            "{examples} examples are too many: give at most {}",
            service.limits().files
        )));
    }
    for reference in wanted.like.iter_mut().chain(&mut wanted.unlike) {
        fetch(&service, reference).await?;
    }
    let replaced = service.run(move |service| {
        let searches = service.named_searches()?;
        let (mut like, mut unlike) = (Vec::new(), Vec::new());
        let mut filter = filter(wanted.filter.as_deref())?;
        let mut strategy = wanted.strategy.map(Into::into);
        if let Some(named) = &wanted.named {
            let named = searches.get(named)?;
            let asked = named.asked(service.gallery())?;
            (like, unlike) = (asked.like, asked.unlike);
            filter = named.filter(filter)?;
            strategy = strategy.or(Some(named.strategy));
        }
        like.extend(service.examples(&wanted.like)?);
        unlike.extend(service.examples(&wanted.unlike)?);
        let strategy = strategy.unwrap_or_default();
        let kept = service
            .searcher
            .named(like, unlike, filter.as_ref(), strategy)?;
        Ok(searches.save(&name, kept)?)
    });
    Ok(Json(Saved {
        replaced: replaced.await?,
    }))
}

/// Gives a search that is kept another name.
#[utoipa::path(
    post, path = "/searches/{name}/name", tag = "search", request_body = OtherName, security(("token" = [])),
    params(("name" = String, Path, description = "Its name so far")),
    responses((status = 204, description = "It has the other name"), RefusedWrite)
)]
pub(super) async fn rename(
    State(service): Shared,
    InPath(name): InPath<String>,
    request: Request,
) -> Answered<StatusCode> {
    let OtherName { name: to } = body::read_json(request, service.limits()).await?;
    let renamed = service.run(move |service| Ok(service.named_searches()?.rename(&name, &to)?));
    renamed.await.map(|()| StatusCode::NO_CONTENT)
}

/// Forgets a search that is kept.
#[utoipa::path(
    delete, path = "/searches/{name}", tag = "search", security(("token" = [])),
    params(("name" = String, Path, description = "Its name")),
    responses((status = 204, description = "It is forgotten"), RefusedWrite)
)]
pub(super) async fn delete(
    State(service): Shared,
    InPath(name): InPath<String>,
) -> Answered<StatusCode> {
    let deleted = service.run(move |service| Ok(service.named_searches()?.delete(&name)?));
    deleted.await.map(|()| StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MAX_EXAMPLES;

    #[test]
    fn examples_to_keep_are_counted_while_they_are_read() {
        for kind in ["like", "unlike"] {
            let read = |count: usize| {
                let text = format!("{{\"{kind}\": [{}]}}", vec!["{}"; count].join(","));
                body::parse::<SearchToKeep>(text.as_bytes(), "the body").map(|_| ())
            };
            read(MAX_EXAMPLES).unwrap();
            let problem = read(MAX_EXAMPLES + 1).unwrap_err();
            assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY);
            assert!(problem.detail().contains("more than 10000 examples"));
        }
    }
}

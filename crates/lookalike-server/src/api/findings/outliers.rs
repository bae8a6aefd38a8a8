//! Images that are unlike the rest.

use axum::extract::State;
use axum::response::Response;
use lookalike::outliers::{self, OutlierOptions, RankBy};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{Computed, Finding, OnProgress, What, answer, mismatch, points};
use crate::api::images::{MAX_LISTED, check_limit};
use crate::api::{Answered, RefusedWork, Shared};
use crate::body::InQuery;
use crate::service::Service;
use crate::types::{Image, Working};

/// Outliers without facts about their images.
pub(super) struct FoundOutliers {
    usual: Usual,
    outliers: Vec<FoundOutlier>,
}

#[derive(Clone, Copy)]
struct FoundOutlier {
    id: Uuid,
    scores: Scores,
}

/// By what images are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Measure {
    /// The mean distance to the nearest others.
    Neighbours,
    /// The error of the reconstruction.
    Reconstruction,
    #[default]
    Both,
}

impl From<Measure> for RankBy {
    fn from(measure: Measure) -> Self {
        match measure {
            Measure::Neighbours => Self::Neighbours,
            Measure::Reconstruction => Self::Reconstruction,
            Measure::Both => Self::Both,
        }
    }
}

/// Which outliers to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OutliersOf {
    /// How many, the most remarkable first; 1 to 1,000.
    #[serde(default = "default_outliers")]
    #[param(minimum = 1, maximum = 1000, default = 20)]
    count: usize,
    #[serde(default)]
    #[param(inline)]
    by: Measure,
}

fn default_outliers() -> usize {
    20
}

/// Images that are unlike the rest.
#[derive(Serialize, ToSchema)]
pub(crate) struct Outliers {
    #[serde(flatten)]
    computed: Computed,
    #[serde(flatten)]
    usual: Usual,
    /// The most remarkable first.
    outliers: Vec<Outlier>,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
struct Usual {
    /// Images that were looked at.
    points: usize,
    /// Different contents among them.
    contents: usize,
    /// Median of the mean distances to the nearest others.
    usual_distance: Option<f64>,
    /// Median of the reconstructions' errors.
    usual_error: Option<f64>,
    /// Images whose original could not be read.
    unreadable: usize,
}

#[derive(Serialize, ToSchema)]
struct Outlier {
    image: Image,
    #[serde(flatten)]
    scores: Scores,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
struct Scores {
    /// The mean of its standard scores; 3 or less is nothing remarkable.
    score: f64,
    /// Mean distance to its nearest others.
    distance: Option<f64>,
    distance_score: Option<f64>,
    /// Mean squared error of its reconstruction.
    error: Option<f64>,
    error_score: Option<f64>,
}

/// Ranks the whole gallery.
pub(super) fn find(
    service: &Service,
    by: Measure,
    on_progress: OnProgress<'_>,
) -> Answered<FoundOutliers> {
    let options = OutlierOptions {
        count: MAX_LISTED,
        by: by.into(),
        ..OutlierOptions::default()
    };
    let model = service.searcher.encoder().autoencoder();
    let found = outliers::rank(service.gallery(), model, &options, on_progress)?;
    Ok(found.into())
}

impl From<outliers::Outliers> for FoundOutliers {
    fn from(found: outliers::Outliers) -> Self {
        let outlier = |outlier: outliers::Outlier| FoundOutlier {
            id: outlier.id,
            scores: Scores {
                score: outlier.score,
                distance: outlier.distance,
                distance_score: outlier.distance_score,
                error: outlier.error,
                error_score: outlier.error_score,
            },
        };
        Self {
            usual: Usual {
                points: found.points,
                contents: found.contents,
                usual_distance: found.median_distance,
                usual_error: found.median_error,
                unreadable: found.unreadable,
            },
            outliers: found.outliers.into_iter().map(outlier).collect(),
        }
    }
}

impl FoundOutliers {
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.outliers[..])
    }

    /// The first so many of those that are there.
    fn listed(&self, service: &Service, count: usize, computed: Computed) -> Answered<Outliers> {
        let mut points = points(service, self.outliers.iter().map(|outlier| outlier.id))?;
        let outliers = self.outliers.iter().filter_map(|outlier| {
            let point = points.remove(&outlier.id)?;
            Some(Outlier {
                image: Image::new(point.id, point.payload),
                scores: outlier.scores,
            })
        });
        Ok(Outliers {
            computed,
            usual: self.usual,
            outliers: outliers.take(count).collect(),
        })
    }
}

/// Images that are unlike the rest: broken, misplaced or rare.
#[utoipa::path(
    get, path = "/outliers", tag = "gallery", params(OutliersOf),
    responses(
        (status = 200, description = "The most remarkable", body = Outliers),
        (status = 202, description = "They are being looked for: ask again", body = Working), RefusedWork
    )
)]
pub(crate) async fn outliers(
    State(service): Shared,
    InQuery(of): InQuery<OutliersOf>,
) -> Answered<Response> {
    check_limit(of.count)?;
    let finding = Finding::Outliers { by: of.by };
    answer(
        &service,
        finding,
        None,
        move |service, what, computed| match what {
            What::Outliers(found) => found.listed(service, of.count, computed),
            _ => Err(mismatch()),
        },
    )
    .await
}

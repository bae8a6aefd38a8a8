//! A few images that cover the gallery.

use axum::extract::State;
use axum::response::Response;
use lookalike::sample;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{Computed, Finding, OnProgress, What, answer, mismatch, points};
use crate::api::images::{MAX_LISTED, check_limit};
use crate::api::{Answered, RefusedWork, Shared};
use crate::body::InQuery;
use crate::service::Service;
use crate::types::{Image, Working};

/// The longest sample, without facts about its images. Those of fewer are its beginnings.
pub(super) struct FoundSample {
    among: Among,
    /// How far the image that is least like these is from the nearest of them.
    radius: f32,
    chosen: Vec<(Uuid, Option<f32>)>,
}

/// How many images to choose.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SampleOf {
    /// How many; 1 to 1,000.
    #[serde(default = "default_count")]
    #[param(minimum = 1, maximum = 1000, default = 20)]
    count: usize,
}

fn default_count() -> usize {
    20
}

/// A few images that cover the gallery.
#[derive(Serialize, ToSchema)]
pub(crate) struct Sample {
    #[serde(flatten)]
    computed: Computed,
    #[serde(flatten)]
    among: Among,
    /// How far the image that is least like these is from the nearest of them.
    radius: f32,
    /// The most central one, then always the one least like all before.
    sample: Vec<Chosen>,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
struct Among {
    /// Images that were chosen among.
    points: usize,
    /// Different contents among them.
    contents: usize,
}

#[derive(Serialize, ToSchema)]
struct Chosen {
    image: Image,
    /// How far it is from the nearest of those before; of the first there is none.
    distance: Option<f32>,
}

/// Chooses as many as anybody may ask for.
pub(super) fn find(service: &Service, on_progress: OnProgress<'_>) -> Answered<FoundSample> {
    let found = sample::cover(service.gallery(), MAX_LISTED, None, on_progress)?;
    Ok(FoundSample {
        among: Among {
            points: found.points,
            contents: found.contents,
        },
        radius: found.radius,
        chosen: found
            .chosen
            .iter()
            .map(|chosen| (chosen.id, chosen.distance))
            .collect(),
    })
}

impl FoundSample {
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.chosen[..])
    }

    /// The first so many, without those that are gone.
    fn listed(&self, service: &Service, count: usize, computed: Computed) -> Answered<Sample> {
        let chosen = &self.chosen[..count.min(self.chosen.len())];
        let next = self.chosen.get(count).and_then(|&(_, distance)| distance);
        let mut points = points(service, chosen.iter().map(|&(id, _)| id))?;
        let sample = chosen.iter().filter_map(|(id, distance)| {
            let point = points.remove(id)?;
            Some(Chosen {
                image: Image::new(point.id, point.payload),
                distance: *distance,
            })
        });
        Ok(Sample {
            computed,
            among: self.among,
            radius: next.unwrap_or(self.radius),
            sample: sample.collect(),
        })
    }
}

/// A few images that cover the gallery, for instance to be labelled first: the most central one,
/// then always the one least like all before.
#[utoipa::path(
    get, path = "/sample", tag = "gallery", params(SampleOf),
    responses(
        (status = 200, description = "The images, in the order in which they were chosen", body = Sample),
        (status = 202, description = "They are being chosen: ask again", body = Working), RefusedWork
    )
)]
pub(crate) async fn sample(
    State(service): Shared,
    InQuery(of): InQuery<SampleOf>,
) -> Answered<Response> {
    check_limit(of.count)?;
    answer(
        &service,
        Finding::Sample,
        None,
        move |service, what, computed| match what {
            What::Sample(found) => found.listed(service, of.count, computed),
            _ => Err(mismatch()),
        },
    )
    .await
}

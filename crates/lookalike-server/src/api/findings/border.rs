//! Pictures around the border between copies and others.

use lookalike::duplicates;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::points;
use crate::api::Answered;
use crate::service::Service;
use crate::types::Image;

/// Pairs on both sides, without facts about their images.
#[derive(Default)]
pub(super) struct FoundBorder {
    inside: Vec<FoundPair>,
    outside: Vec<FoundPair>,
}

#[derive(Clone, Copy)]
struct FoundPair {
    ids: [Uuid; 2],
    share: f32,
    difference: Option<f32>,
    distance: f32,
}

/// Pairs of images on both sides of the border between copies and others, those nearest to it
/// first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Examples {
    /// Pairs that are just near enough to be copies.
    inside: Vec<Pair>,
    /// Pairs that just are not.
    outside: Vec<Pair>,
}

/// Two images near the border.
#[derive(Serialize, ToSchema)]
struct Pair {
    /// The two.
    images: Vec<Image>,
    /// How far apart they are, as a share of what copies may be at most: 1 is the border.
    #[schema(example = 0.97)]
    share: f32,
    /// How much they differ, where pictures were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<f32>,
    /// The distance between their codes.
    distance: f32,
}

impl From<duplicates::Examples> for FoundBorder {
    fn from(found: duplicates::Examples) -> Self {
        let pairs = |pairs: Vec<duplicates::Example>| {
            let pairs = pairs.into_iter().map(|pair| FoundPair {
                ids: pair.ids,
                share: pair.share,
                difference: pair.difference,
                distance: pair.distance,
            });
            pairs.collect()
        };
        Self {
            inside: pairs(found.inside),
            outside: pairs(found.outside),
        }
    }
}

impl FoundBorder {
    /// The pairs of images that are there.
    pub fn listed(&self, service: &Service) -> Answered<Examples> {
        let all = self.inside.iter().chain(&self.outside);
        let points = points(service, all.flat_map(|pair| pair.ids))?;
        let listed = |pairs: &[FoundPair]| {
            let pairs = pairs.iter().filter_map(|pair| {
                let images: Option<Vec<Image>> = pair
                    .ids
                    .iter()
                    .map(|id| Some(Image::new(*id, points.get(id)?.payload.clone())))
                    .collect();
                Some(Pair {
                    images: images?,
                    share: pair.share,
                    difference: pair.difference,
                    distance: pair.distance,
                })
            });
            pairs.collect()
        };
        Ok(Examples {
            inside: listed(&self.inside),
            outside: listed(&self.outside),
        })
    }
}

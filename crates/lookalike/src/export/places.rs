//! Where the rows of a Parquet file are on the map, and which are their neighbours.

use lookalike_gallery::{Filter, Gallery, Points};
use lookalike_neighbours::{Codes, Neighbour};
use uuid::Uuid;

use super::ExportFiles;
use crate::contents::{info_to_read, metric_of_likeness, visit_others};
use crate::map::{self, Map};
use crate::{Error, Phase, Progress};

/// What is written of a row beside its point.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// On the map, x and y.
    pub at: [f32; 2],
    /// Numbers of the rows of its neighbours, nearest first.
    pub rows: Vec<i32>,
    /// How far they are.
    pub distances: Vec<f32>,
}

/// Places of all rows, handed out in their order.
pub(super) struct Places {
    map: Option<Map>,
    neighbours: Option<Neighbours>,
    /// The next row.
    row: usize,
}

/// The neighbours of each row, one row after another.
struct Neighbours {
    /// The points of the rows.
    ids: Vec<Uuid>,
    /// Where the neighbours of each row end.
    ends: Vec<usize>,
    rows: Vec<i32>,
    distances: Vec<f32>,
}

impl Places {
    /// Computes what is asked for, of all points that pass the filter.
    pub fn of(
        gallery: &dyn Gallery,
        filter: Option<&Filter>,
        asked: &ExportFiles,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, Error> {
        let map = match asked.map {
            true => Some(map::lay_out(gallery, &mut *progress)?),
            false => None,
        };
        let neighbours = match asked.neighbours {
            0 => None,
            k => Some(Neighbours::of(gallery, filter, k, progress)?),
        };
        Ok(Self {
            map,
            neighbours,
            row: 0,
        })
    }

    /// That of the next row, which must be the point `id`.
    pub fn next(&mut self, id: Uuid) -> Result<Place, Error> {
        let mut place = Place::default();
        if let Some(map) = &self.map {
            let at = map.points().binary_search_by_key(&id, |point| point.id);
            let point = map.points()[at.map_err(|_| changed())?];
            place.at = [point.x, point.y];
        }
        if let Some(neighbours) = &self.neighbours {
            if neighbours.ids.get(self.row) != Some(&id) {
                return Err(changed());
            }
            let start = match self.row {
                0 => 0,
                row => neighbours.ends[row - 1],
            };
            let range = start..neighbours.ends[self.row];
            place.rows = neighbours.rows[range.clone()].to_vec();
            place.distances = neighbours.distances[range].to_vec();
        }
        self.row += 1;
        Ok(place)
    }

    /// Ends, all rows having been written.
    pub fn finish(self) -> Result<(), Error> {
        match self.neighbours {
            Some(neighbours) if neighbours.ids.len() != self.row => Err(changed()),
            _ => Ok(()),
        }
    }
}

impl Neighbours {
    fn of(
        gallery: &dyn Gallery,
        filter: Option<&Filter>,
        k: usize,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, Error> {
        let info = info_to_read(gallery, filter)?;
        let (mut ids, mut codes) = (Vec::new(), Vec::new());
        for point in Points::new(gallery, filter.cloned()) {
            let point = point?;
            ids.push(point.id);
            codes.extend_from_slice(&point.code);
            progress(Progress::new(Phase::Reading, ids.len(), None));
        }
        i32::try_from(ids.len()).map_err(|_| Error::TooManyPictures {
            gallery: info.name.clone(),
            max: i32::MAX.cast_unsigned(),
        })?;
        let mut found = Self {
            ids,
            ends: Vec::new(),
            rows: Vec::new(),
            distances: Vec::new(),
        };
        let codes = Codes::new(&codes, info.dims)?;
        let metric = metric_of_likeness(info.metric);
        let visit = |_, others: &[Neighbour]| {
            let rows = others.iter().map(|other| other.index as i32);
            found.rows.extend(rows);
            let distances = others.iter().map(|other| other.distance);
            found.distances.extend(distances);
            found.ends.push(found.rows.len());
        };
        let compared = |done| progress(Progress::new(Phase::Comparing, done, codes.len()));
        visit_others(codes, metric, k, visit, compared);
        Ok(found)
    }
}

fn changed() -> Error {
    Error::Unusable(
        "cannot export the gallery: it changed while its map and neighbours were computed; \
         export it again, while nothing is indexed into it"
            .to_owned(),
    )
}

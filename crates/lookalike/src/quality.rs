//! How good a gallery's answers are, by the labels that its pictures happen to have.
//!
//! Every labelled point, or a fair sample of them, asks the others with the code that is stored:
//! nothing is read or encoded again. Labels are compared, and used for nothing else. Points without
//! a label neither ask nor answer, for nobody can say whether they are right.

use std::collections::HashMap;

use lookalike_eval::{Labelled, evaluate_rows};
use lookalike_gallery::{Gallery, Points};
use lookalike_neighbours::{Codes, Metric};
use serde::Serialize;
use uuid::Uuid;

use crate::contents::info_to_read;
use crate::{Error, Phase, Progress};

/// How good the answers are. Shares and means lie between 0 and 1; there are none where nothing
/// could be asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// Whether at least two different labels make a question of it.
    pub labelled: bool,
    /// Points of the gallery.
    pub points: usize,
    /// Those that have a label.
    pub labelled_points: usize,
    /// Those that asked.
    pub queries: usize,
    /// What codes were compared by.
    pub metric: Metric,
    /// Share of queries whose nearest other has their label.
    pub precision_at_1: Option<f64>,
    /// Share of the five nearest others that have the query's label.
    pub precision_at_5: Option<f64>,
    /// Share of queries whose five nearest others all have their label.
    pub all_5: Option<f64>,
    /// Mean average precision, over the whole ranking, of the queries whose label another point
    /// has.
    pub mean_average_precision: Option<f64>,
}

/// Scores a gallery by its labels: each labelled point is a query against all others, or, where
/// there are more than `max_queries`, so many of them are, always the same.
///
/// # Errors
///
/// When the gallery cannot be read, or `max_queries` is 0.
pub fn quality(
    gallery: &dyn Gallery,
    max_queries: usize,
    mut progress: impl FnMut(Progress),
) -> Result<Quality, Error> {
    if max_queries == 0 {
        return Err(Error::Unusable(
            "quality cannot be told by 0 queries: allow at least 1".to_owned(),
        ));
    }
    let info = info_to_read(gallery, None)?;
    let mut found = Quality {
        labelled: false,
        points: 0,
        labelled_points: 0,
        queries: 0,
        metric: info.metric,
        precision_at_1: None,
        precision_at_5: None,
        all_5: None,
        mean_average_precision: None,
    };
    let mut codes: Vec<f32> = Vec::new();
    let mut ids: Vec<Uuid> = Vec::new();
    let mut labels: Vec<usize> = Vec::new();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for point in Points::new(gallery, None) {
        let point = point?;
        found.points += 1;
        progress(Progress::new(Phase::Reading, found.points, None));
        if let Some(label) = point.payload.label {
            let next = numbers.len();
            labels.push(*numbers.entry(label).or_insert(next));
            ids.push(point.id);
            codes.extend(point.code);
        }
    }
    found.labelled_points = ids.len();
    found.labelled = numbers.len() > 1;
    if !found.labelled {
        return Ok(found);
    }
    let mut rows: Vec<usize> = (0..ids.len()).collect();
    if rows.len() > max_queries {
        // By lot, and the same lot each time; ids themselves may have been given in any order.
        let lot = |row: usize| *blake3::hash(ids[row].as_bytes()).as_bytes();
        rows.sort_by_cached_key(|&row| lot(row));
        rows.truncate(max_queries);
        rows.sort_unstable();
    }
    let of = rows.len();
    let gallery = Labelled::new(Codes::new(&codes, info.dims)?, &labels)?;
    let scores = evaluate_rows(gallery, &rows, info.metric, |done| {
        progress(Progress::new(Phase::Asking, done, of));
    })?;
    found.queries = scores.queries;
    found.precision_at_1 = Some(scores.precision_at_1);
    found.precision_at_5 = Some(scores.precision_at_5);
    found.all_5 = Some(scores.all_5);
    // A mean of nothing would read as 0.
    let mut members = vec![0usize; numbers.len()];
    labels.iter().for_each(|&label| members[label] += 1);
    if rows.iter().any(|&row| members[labels[row]] > 1) {
        found.mean_average_precision = Some(scores.map);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use lookalike_gallery::{CodeSpec, EmbeddedGallery, GalleryOptions, Payload, Point};

    use super::*;

    fn gallery(folder: &std::path::Path, labels: &[Option<&str>]) -> EmbeddedGallery {
        let path = folder.join("q.gallery");
        let gallery = EmbeddedGallery::create(
            path,
            &CodeSpec::new(Metric::Euclidean, 2, b"a model"),
            &GalleryOptions::new(),
        )
        .unwrap();
        // Those of a label lie together, some of them by themselves.
        let points: Vec<Point> = labels
            .iter()
            .enumerate()
            .map(|(at, label)| {
                let class = label.map_or(50.0, |label| label.len() as f32);
                let code = vec![10.0 * class, 0.01 * at as f32];
                let payload = Payload {
                    source: "test".to_owned(),
                    key: at.to_string(),
                    label: label.map(str::to_owned),
                    blake3: blake3::hash(&at.to_le_bytes()).to_hex().to_string(),
                    ..Payload::default()
                };
                Point::new(code, payload)
            })
            .collect();
        gallery.upsert(&points).unwrap();
        gallery
    }

    #[test]
    fn classes_that_lie_together_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let labels: Vec<_> = (0..40)
            .map(|at| [Some("a"), Some("bb"), None, Some("ccc")][at % 4])
            .collect();
        let gallery = gallery(folder.path(), &labels);
        let mut last = None;
        let all = quality(&gallery, 1000, |progress| last = Some(progress)).unwrap();
        assert_eq!(last, Some(Progress::new(Phase::Asking, 30, 30)));
        assert_eq!((all.points, all.labelled_points, all.queries), (40, 30, 30));
        assert!(all.labelled);
        assert_eq!(all.precision_at_1, Some(1.0));
        assert_eq!(all.all_5, Some(1.0));
        assert!((all.mean_average_precision.unwrap() - 1.0).abs() < 1e-9);
        let some = quality(&gallery, 7, |_| {}).unwrap();
        assert_eq!(some.queries, 7);
        assert_eq!(some.precision_at_5, Some(1.0));
        assert_eq!(some, quality(&gallery, 7, |_| {}).unwrap());
        assert!(quality(&gallery, 0, |_| {}).is_err());
    }

    #[test]
    fn without_two_labels_there_is_nothing_to_tell() {
        for labels in [&[][..], &[None, None], &[Some("a"), Some("a"), None]] {
            let folder = tempfile::tempdir().unwrap();
            let found = quality(&gallery(folder.path(), labels), 10, |_| {}).unwrap();
            assert!(!found.labelled);
            assert_eq!((found.points, found.queries), (labels.len(), 0));
            assert_eq!(found.precision_at_1, None);
            let json = serde_json::to_value(&found).unwrap();
            assert_eq!(json["mean_average_precision"], serde_json::Value::Null);
        }
    }

    #[test]
    fn labels_that_nobody_shares_are_wrong_and_have_no_average_precision() {
        let folder = tempfile::tempdir().unwrap();
        let labels = [Some("a"), Some("bb"), Some("ccc")];
        let found = quality(&gallery(folder.path(), &labels), 10, |_| {}).unwrap();
        assert_eq!(found.precision_at_1, Some(0.0));
        assert_eq!(found.mean_average_precision, None);
    }
}

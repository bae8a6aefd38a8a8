use lookalike_gallery::{CodeSpec, EmbeddedGallery, GalleryOptions, Payload, Point};
use proptest::prelude::*;

use super::*;

const DIMS: usize = 4;

/// A point of the cluster `class`, some way from its middle.
fn point(at: usize, class: usize) -> Point {
    let code = (0..DIMS)
        .map(|dim| {
            let middle = if dim == class % DIMS { 10.0 } else { 0.0 };
            let aside = umap_noise(at * DIMS + dim);
            middle + aside + (class / DIMS) as f32 * 20.0
        })
        .collect();
    labelled(at, code, Some(&format!("class {class}")))
}

/// From -0.5 to 0.5.
fn umap_noise(at: usize) -> f32 {
    let hash = blake3::hash(&at.to_le_bytes());
    f32::from(hash.as_bytes()[0]) / 255.0 - 0.5
}

fn labelled(at: usize, code: Vec<f32>, label: Option<&str>) -> Point {
    let payload = Payload {
        source: "test".to_owned(),
        key: at.to_string(),
        label: label.map(str::to_owned),
        blake3: blake3::hash(&at.to_le_bytes()).to_hex().to_string(),
        ..Payload::default()
    };
    Point::new(code, payload)
}

fn clusters(count: usize) -> Vec<Point> {
    (0..count).map(|at| point(at, at % 3)).collect()
}

struct Held {
    gallery: EmbeddedGallery,
    folder: tempfile::TempDir,
}

fn gallery(points: &[Point]) -> Held {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gallery");
    let gallery = EmbeddedGallery::create(
        path,
        &CodeSpec::new(Metric::Euclidean, DIMS, b"a model"),
        &GalleryOptions::new(),
    )
    .unwrap();
    gallery.upsert(points).unwrap();
    Held { gallery, folder }
}

fn map_of(points: &[Point]) -> Map {
    lay_out(&gallery(points).gallery, |_| {}).unwrap()
}

fn read(points: &[Point]) -> Read {
    Read::new(&gallery(points).gallery, |_| {}, |_| {}).unwrap()
}

/// Share of points whose nearest 5 on the map have their label.
fn kept_together(map: &Map) -> f64 {
    let mut right = 0;
    for point in map.points() {
        let mut others: Vec<(f32, u32)> = map
            .points()
            .iter()
            .filter(|other| other.id != point.id)
            .map(|other| (square(other, point), other.label))
            .collect();
        others.sort_by(|a, b| a.0.total_cmp(&b.0));
        right += others[..5]
            .iter()
            .filter(|other| other.1 == point.label)
            .count();
    }
    right as f64 / (5 * map.points().len()) as f64
}

fn square(a: &MapPoint, b: &MapPoint) -> f32 {
    (a.x - b.x).powi(2) + (a.y - b.y).powi(2)
}

#[test]
fn what_is_alike_lies_together() {
    let mut heard = Vec::new();
    let held = gallery(&clusters(150));
    let map = lay_out(&held.gallery, |progress| heard.push(progress)).unwrap();
    assert_eq!(map.points().len(), 150);
    assert!(map.points().is_sorted_by_key(|point| point.id));
    assert!(kept_together(&map) > 0.99, "{}", kept_together(&map));
    // All of the map is used, on one axis at least, and by one scale.
    let ends = |of: fn(&MapPoint) -> f32| {
        let values = map.points().iter().map(of);
        values.fold((1.0f32, 0.0f32), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (x, y) = (ends(|p| p.x), ends(|p| p.y));
    assert!((x.1 - x.0).max(y.1 - y.0) > 0.9, "{x:?} {y:?}");
    assert!([x, y].iter().all(|end| end.0 >= 0.0 && end.1 <= 1.0));
    assert_eq!(map.labels(), ["class 0", "class 1", "class 2"]);
    assert!(!map.is_worn());
    assert!(heard.contains(&Progress::new(Phase::Reading, 150, None)));
    assert!(heard.contains(&Progress::new(Phase::Comparing, 150, 150)));
    assert!(heard.contains(&Progress::new(Phase::LayingOut, 500, 500)));
}

#[test]
fn the_same_codes_give_the_same_map_on_any_number_of_threads() {
    let points = clusters(700);
    let [one, three] = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| map_of(&points))
    });
    assert_eq!(one, three);
    assert_eq!(one.version(), three.version());
}

#[test]
fn any_few_points_have_a_map() {
    for count in [0, 1, 2, 3, 4, 14, 15, 16, 17, 33] {
        let map = map_of(&clusters(count));
        assert_eq!(map.points().len(), count);
        let inside = |at: f32| (0.0..=1.0).contains(&at);
        assert!(map.points().iter().all(|p| inside(p.x) && inside(p.y)));
        for (at, point) in map.points().iter().enumerate() {
            let apart = |other: &MapPoint| square(other, point) > 0.0;
            assert!(map.points()[at + 1..].iter().all(apart), "{count}: {map:?}");
        }
    }
    let alone = map_of(&clusters(1));
    assert_eq!((alone.points()[0].x, alone.points()[0].y), (0.5, 0.5));
}

#[test]
fn equal_codes_are_one_place() {
    let all = (0..60).map(|at| labelled(at, vec![1.0; DIMS], None));
    let map = map_of(&all.collect::<Vec<_>>());
    let middle = |p: &MapPoint| (p.x, p.y, p.label) == (0.5, 0.5, NO_LABEL);
    assert!(map.points().iter().all(middle) && map.labels().is_empty());

    // 20 of one picture among 100.
    let mut points = clusters(80);
    let twin = points[7].code.clone();
    points.extend((80..100).map(|at| labelled(at, twin.clone(), None)));
    let map = map_of(&points);
    let place = |id: Uuid| {
        let point = map.points().iter().find(|point| point.id == id).unwrap();
        (point.x, point.y)
    };
    assert!((80..100).all(|at| place(points[at].id) == place(points[7].id)));
}

#[test]
fn directions_alone_may_be_equal() {
    // For cosine the distance of all is 0, though codes differ: nothing to go by, and a map all the
    // same.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.gallery");
    let gallery = EmbeddedGallery::create(
        path,
        &CodeSpec::new(Metric::Cosine, DIMS, b"a model"),
        &GalleryOptions::new(),
    )
    .unwrap();
    let points: Vec<Point> = (0..50)
        .map(|at| labelled(at, vec![at as f32 + 1.0; DIMS], None))
        .collect();
    gallery.upsert(&points).unwrap();
    let map = lay_out(&gallery, |_| {}).unwrap();
    assert_eq!(map.points().len(), 50);
}

#[test]
fn what_a_layout_cannot_hold_is_put_among_its_neighbours() {
    let read = read(&clusters(150));
    let map = lay_out_read(&read, 60, &mut |_| {}).unwrap();
    let laid_out = map.kept.iter().filter(|kept| kept.way == Way::LaidOut);
    assert_eq!(laid_out.count(), 60);
    assert!(kept_together(&map) > 0.99, "{}", kept_together(&map));
    assert!(!map.is_worn());
    // Nothing has changed since.
    assert_eq!(map.update_read(&read, &mut |_| {}).unwrap(), None);
}

#[test]
fn a_map_follows_its_gallery() {
    let points = clusters(120);
    let held = gallery(&points);
    let map = lay_out(&held.gallery, |_| {}).unwrap();
    assert_eq!(map.update(&held.gallery, |_| {}).unwrap(), None);

    // Two go, one moves to another cluster, three come, and one is called otherwise.
    held.gallery.delete(&[points[0].id, points[1].id]).unwrap();
    let mut moved = point(2, 0);
    moved.payload.label = Some("class 0".to_owned());
    let mut renamed = points[3].clone();
    renamed.payload.label = Some("another".to_owned());
    let mut changes = vec![moved, renamed];
    changes.extend((120..123).map(|at| point(at, 1)));
    held.gallery.upsert(&changes).unwrap();
    let next = map.update(&held.gallery, |_| {}).unwrap().unwrap();
    assert_eq!(next.points().len(), 121);
    assert_ne!(next.version(), map.version());
    assert!(kept_together(&next) > 0.95, "{}", kept_together(&next));
    let at = |map: &Map, id: Uuid| {
        let at = map.points.iter().position(|point| point.id == id).unwrap();
        (map.points[at], map.kept[at].way)
    };
    let (untouched, way) = at(&next, points[9].id);
    assert_eq!(way, Way::LaidOut);
    assert_eq!((untouched.x, untouched.y), {
        let before = at(&map, points[9].id).0;
        (before.x, before.y)
    });
    assert_eq!(at(&next, points[2].id).1, Way::Added);
    let label = at(&next, points[3].id).0.label;
    assert_eq!(next.labels()[label as usize], "another");
    assert!(!next.is_worn());
    assert_eq!(next.update(&held.gallery, |_| {}).unwrap(), None);

    // A tenth and more is new.
    let more: Vec<Point> = (200..216).map(|at| point(at, 2)).collect();
    held.gallery.upsert(&more).unwrap();
    let worn = next.update(&held.gallery, |_| {}).unwrap().unwrap();
    assert!(worn.is_worn());
    // Whoever has seen it comes back from its file as it was.
    let path = held.folder.path().join("map");
    worn.save(&path).unwrap();
    assert_eq!(Map::load(&path).unwrap(), worn);

    // Nothing is left of what was laid out.
    let ids: Vec<Uuid> = worn.points().iter().map(|point| point.id).collect();
    held.gallery.delete(&ids).unwrap();
    let empty = worn.update(&held.gallery, |_| {}).unwrap().unwrap();
    assert!(empty.points().is_empty() && !empty.is_worn());
    held.gallery.upsert(&clusters(40)).unwrap();
    let anew = empty.update(&held.gallery, |_| {}).unwrap().unwrap();
    assert_eq!(anew, lay_out(&held.gallery, |_| {}).unwrap());
}

#[test]
fn what_comes_is_put_where_its_like_is() {
    let points = clusters(90);
    let held = gallery(&points);
    let map = lay_out(&held.gallery, |_| {}).unwrap();
    // The same code as one that is there.
    let twin = labelled(500, points[4].code.clone(), None);
    held.gallery.upsert(std::slice::from_ref(&twin)).unwrap();
    let next = map.update(&held.gallery, |_| {}).unwrap().unwrap();
    let at = |id: Uuid| *next.points().iter().find(|point| point.id == id).unwrap();
    assert!(square(&at(twin.id), &at(points[4].id)) < 1e-8);
}

#[test]
fn labels_come_by_frequency_and_only_so_many() {
    let count = MAX_LABELS + 5;
    let read = Read {
        points: (0..count + 2)
            .map(|at| Seen {
                id: Uuid::from_u128(at as u128),
                row: 0,
                // The last label of all has three.
                label: Some(at.min(count - 1)),
            })
            .collect(),
        codes: vec![0.0; DIMS],
        digests: vec![1],
        dims: DIMS,
        metric: Metric::Euclidean,
        labels: (0..count).map(|label| format!("{label:06}")).collect(),
        frequencies: (0..count)
            .map(|label| if label == count - 1 { 3 } else { 1 })
            .collect(),
    };
    let map = lay_out_read(&read, MAX_POINTS, &mut |_| {}).unwrap();
    assert_eq!(map.labels().len(), MAX_LABELS);
    assert_eq!(map.labels()[0], format!("{:06}", count - 1));
    assert_eq!(map.labels()[1], "000000");
    let labels: Vec<u32> = map.points().iter().map(|point| point.label).collect();
    assert_eq!(labels[0], 1);
    assert_eq!(labels[count - 1..], [0, 0, 0]);
    assert_eq!(labels.iter().filter(|&&label| label == NO_LABEL).count(), 5);
    assert_eq!(Map::from_bytes(&map.to_bytes(), "the map").unwrap(), map);
}

#[test]
fn records_are_28_bytes_each() {
    let map = map_of(&clusters(5));
    let records = map.records();
    assert_eq!(records.len(), 5 * 28);
    let (point, record) = (map.points()[2], &records[56..84]);
    assert_eq!(record[..16], *point.id.as_bytes());
    assert_eq!(record[16..20], point.x.to_le_bytes());
    assert_eq!(record[20..24], point.y.to_le_bytes());
    assert_eq!(record[24..], point.label.to_le_bytes());
}

#[test]
fn files_that_are_no_maps_are_refused_with_the_reason() {
    let why = |bytes: &[u8]| {
        let error = Map::from_bytes(bytes, "x.map").unwrap_err().to_string();
        assert!(error.starts_with("x.map") && error.contains("lay the gallery out again"));
        error
    };
    let bytes = map_of(&clusters(20)).to_bytes();
    assert!(why(b"").contains("another kind"));
    assert!(why(b"PK\x03\x04 something else").contains("another kind"));
    assert!(why(&bytes[..10]).contains("cut off"));
    assert!(why(&bytes[..bytes.len() - 1]).contains("checksum"));
    let mut other = bytes.clone();
    other[8] = 9;
    assert!(why(&other).contains("map format 9"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map");
    std::fs::write(&path, b"not a map").unwrap();
    assert!(Map::load(&path).is_err());
    assert!(matches!(
        Map::load(&folder.path().join("none")),
        Err(Error::Io { .. })
    ));
}

/// With a checksum that is right.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = blake3::hash(&bytes);
    bytes.extend(checksum.as_bytes());
    bytes
}

#[test]
fn promises_that_are_not_kept_are_refused() {
    let map = map_of(&clusters(20));
    let bytes = map.to_bytes();
    let content = &bytes[..bytes.len() - 32];
    assert_eq!(
        Map::from_bytes(&sealed(content.to_vec()), "x").unwrap(),
        map
    );
    let with = |at: usize, with: &[u8]| {
        let mut content = content.to_vec();
        content[at..at + with.len()].copy_from_slice(with);
        Map::from_bytes(&sealed(content), "x")
    };
    // Points, labels, a label's length and its text.
    assert!(with(12, &u64::MAX.to_le_bytes()).is_err());
    assert!(with(12, &21u64.to_le_bytes()).is_err());
    assert!(with(20, &u32::MAX.to_le_bytes()).is_err());
    assert!(with(20, &4u32.to_le_bytes()).is_err());
    assert!(with(24, &u64::MAX.to_le_bytes()).is_err());
    assert!(with(32, &[0xff]).is_err());
    // Of the last point: the id, the place, the label and the way.
    let last = content.len() - 37;
    assert!(with(last, &[0; 16]).is_err());
    assert!(with(last + 16, &f32::NAN.to_le_bytes()).is_err());
    assert!(with(last + 20, &1.5f32.to_le_bytes()).is_err());
    assert!(with(last + 24, &3u32.to_le_bytes()).is_err());
    assert!(with(last + 36, &[3]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_files_are_refused(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
        cut in any::<prop::sample::Index>(),
        grow in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let bytes = BYTES.get_or_init(|| map_of(&clusters(30)).to_bytes());
        let mut flipped = bytes.clone();
        for (at, by) in &flips {
            flipped[at.index(bytes.len())] ^= by;
        }
        prop_assume!(flipped != *bytes);
        prop_assert!(Map::from_bytes(&flipped, "x").is_err());
        prop_assert!(Map::from_bytes(&bytes[..cut.index(bytes.len())], "x").is_err());
        if !grow.is_empty() {
            let grown = [&bytes[..], &grow].concat();
            prop_assert!(Map::from_bytes(&grown, "x").is_err());
        }
        // What has a right checksum besides: an error, or a map that is written as it was read.
        let content = flipped[..flipped.len() - 32].to_vec();
        let sealed = sealed(content);
        if let Ok(map) = Map::from_bytes(&sealed, "x") {
            prop_assert_eq!(map.to_bytes(), sealed);
        }
    }
}

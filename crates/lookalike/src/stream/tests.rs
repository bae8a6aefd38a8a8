//! Images of files and of data sets, in parts and samples; parts and samples of files are held
//! against the same in `lookalike-sources`.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use lookalike_images::decode;
use proptest::prelude::*;

use super::*;

/// An IDX file of images of one pixel, each of another value than its neighbours.
fn data_set(folder: &Path, images: u32) -> String {
    let mut bytes = vec![0, 0, 8, 3];
    for size in [images, 1, 1] {
        bytes.extend(size.to_be_bytes());
    }
    bytes.extend((0..images).map(|number| number as u8));
    let path = folder.join("some-images-idx3-ubyte");
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn read(spec: &str, reading: Reading) -> Vec<Image> {
    let stream = ImageStream::open(spec, reading, Arc::default()).unwrap();
    stream.images().unwrap().collect()
}

fn part(number: u32, of: u32) -> Reading {
    Reading {
        part: PartNumber::new(number, of),
        ..Reading::default()
    }
}

/// Checks that parts are disjoint and together the whole, in its order; gives their sizes.
fn check_divided(spec: &str, of: u32) -> Vec<usize> {
    let whole = read(spec, Reading::default());
    let mut together = BTreeSet::new();
    let sizes = (1..=of).map(|number| {
        let own = read(spec, part(number, of));
        let mut before = None;
        for image in &own {
            let place: usize = image.key.parse().unwrap();
            assert_eq!(image.pixels.data(), whole[place].pixels.data());
            assert!(before < Some(place), "out of order");
            assert!(together.insert(place), "{place} is in two parts of {of}");
            before = Some(place);
        }
        own.len()
    });
    let sizes: Vec<_> = sizes.collect();
    assert_eq!(together.len(), whole.len(), "{of} parts");
    sizes
}

#[test]
fn pixels_are_divided_within_5_percent() {
    let folder = tempfile::tempdir().unwrap();
    let spec = data_set(folder.path(), 20 * 64);
    for of in 1..=64 {
        let sizes = check_divided(&spec, of);
        let most = *sizes.iter().max().unwrap() as f64;
        assert!(most <= 1.05 * 1280.0 / f64::from(of), "{of}: {sizes:?}");
    }
}

#[test]
fn a_sample_of_a_part_is_of_that_part() {
    let folder = tempfile::tempdir().unwrap();
    let spec = data_set(folder.path(), 300);
    for number in 1..=4 {
        let own: HashSet<_> = read(&spec, part(number, 4))
            .into_iter()
            .map(|image| image.key)
            .collect();
        for (wanted, expected) in [(10, 10), (74, 74), (200, own.len()), (400, own.len())] {
            let reading = Reading {
                sample: Some((wanted, 5)),
                ..part(number, 4)
            };
            let images = read(&spec, reading).into_iter();
            let drawn: HashSet<_> = images.map(|image| image.key).collect();
            assert_eq!(drawn.len(), expected);
            assert!(drawn.is_subset(&own));
        }
    }
}

#[test]
fn a_picture_is_read_whatever_its_name_says() {
    let folder = tempfile::tempdir().unwrap();
    let jpeg = include_bytes!("../../../lookalike-images/tests/pictures/420.jpg");
    let path = folder.path().join("number #7.png");
    std::fs::write(&path, jpeg).unwrap();
    let stream = crate::open(folder.path().to_str().unwrap()).unwrap();
    let image = stream.images().unwrap().next().unwrap();
    assert_eq!(image.key, "number #7.png");
    let expected = decode(jpeg, &DecodeOptions::default()).unwrap().pixels;
    assert_eq!(image.pixels, expected);
    let query = stream.query("number #7.png").unwrap();
    assert_eq!(Image::from(query.clone()), image);
    assert_eq!(query.blake3, blake3::hash(jpeg).to_hex().to_string());
}

#[test]
fn a_data_set_that_is_wanted_whole_keeps_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let spec = data_set(folder.path(), 50);
    let keys = |sample| -> Vec<usize> {
        let reading = Reading {
            sample: Some((sample, 3)),
            ..Reading::default()
        };
        let images = read(&spec, reading).into_iter();
        images.map(|image| image.key.parse().unwrap()).collect()
    };
    assert!(keys(50).is_sorted() && keys(1000).is_sorted());
    assert_eq!(keys(50).len(), 50);
    assert!(!keys(49).is_sorted());
}

#[test]
fn images_in_memory_are_a_source() {
    let folder = tempfile::tempdir().unwrap();
    let stream = crate::open(&data_set(folder.path(), 9)).unwrap();
    let collection = stream.load(None, Some(5)).unwrap();
    let copy = ImageStream::of_collection(&collection);
    assert_eq!((copy.name(), copy.len_hint()), (stream.name(), Some(5)));
    assert_eq!(copy.load(None, None).unwrap(), collection);
    assert_eq!(
        copy.query("3").unwrap().blake3,
        stream.query("3").unwrap().blake3
    );
}

#[test]
fn a_damaged_rest_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let spec = data_set(folder.path(), 9);
    let bytes = std::fs::read(&spec).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut packed, &bytes[..bytes.len() - 1]).unwrap();
    std::fs::write(&spec, packed.finish().unwrap()).unwrap();
    let stream = crate::open(&spec).unwrap();
    assert_eq!(stream.images().unwrap().count(), 8);
    assert_eq!(stream.skips().total(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn parts_of_pixels_are_disjoint_and_complete(images in 0_u32..3_000, of in 1_u32..65) {
        let folder = tempfile::tempdir().unwrap();
        // A data set holds an image at the least.
        let sizes = check_divided(&data_set(folder.path(), images.max(1)), of);
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        prop_assert!(most - least <= 1, "{:?}", sizes);
    }
}

#[test]
fn no_more_files_are_held_than_there_is_room_for() {
    let taken = |bytes: usize| {
        let mut items = std::iter::repeat_n(bytes, 100);
        let some = together(&mut items, AT_ONCE, |&bytes| bytes);
        assert_eq!(some.len() + items.len(), 100);
        some.len()
    };
    assert_eq!(taken(0), AT_ONCE);
    assert_eq!(taken(BYTES_AT_ONCE / 4), 4);
    assert_eq!(
        taken(3 * BYTES_AT_ONCE),
        1,
        "one that is too large alone is taken"
    );
}

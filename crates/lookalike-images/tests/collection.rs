//! The contract of collections, and of pictures as images.

use lookalike_images::{
    Collection, Image, Images, InputShape, Pixels, Source, SourceError, open_image,
    open_image_in_source,
};

const SHAPE: InputShape = InputShape {
    channels: 1,
    height: 2,
    width: 2,
};

/// Images made by hand, some of them failing.
struct Given(Vec<(&'static str, usize)>);

impl Source for Given {
    fn name(&self) -> &str {
        "given"
    }

    fn len(&self) -> Option<usize> {
        None
    }

    fn read(&self) -> Result<Images<'_>, SourceError> {
        Ok(Box::new(self.0.iter().map(|&(key, side)| {
            if side == 0 {
                return Err(SourceError::Empty { name: key.into() });
            }
            let pixels = Pixels::new(side, side, 3, vec![side as u8; side * side * 3]).unwrap();
            Ok(Image {
                key: key.into(),
                label: None,
                pixels,
            })
        })))
    }
}

#[test]
fn every_image_gets_the_shape() {
    let given = Given(vec![("a", 4), ("b", 8), ("c", 2)]);
    let collection = Collection::load(&given, None, None).unwrap();
    assert_eq!(
        collection.shape(),
        InputShape {
            channels: 3,
            height: 4,
            width: 4
        }
    );
    assert_eq!(collection.image(1), [8; 48]);
    let collection = Collection::load(&given, Some(SHAPE), Some(2)).unwrap();
    assert_eq!(collection.pixels(), [4, 4, 4, 4, 8, 8, 8, 8]);
    assert_eq!(
        collection.picture(1),
        Pixels::new(2, 2, 1, vec![8; 4]).unwrap()
    );
    assert_eq!(
        (
            collection.len(),
            collection.name(),
            collection.is_labelled()
        ),
        (2, "given", false)
    );
    assert_eq!(
        (collection.position("b"), collection.position("c")),
        (Some(1), None)
    );
}

#[test]
fn what_makes_no_collection_is_an_error() {
    let load = |images: &[(&'static str, usize)], limit| {
        Collection::load(&Given(images.to_vec()), None, limit)
    };
    assert!(matches!(load(&[], None), Err(SourceError::Empty { .. })));
    assert!(matches!(
        load(&[("a", 1)], Some(0)),
        Err(SourceError::Empty { .. })
    ));
    let error = load(&[("a", 1), ("b", 1), ("a", 2)], None).unwrap_err();
    assert!(
        matches!(&error, SourceError::DuplicateKey { key, .. } if key == "a"),
        "{error}"
    );
    assert!(load(&[("a", 1), ("b", 0)], None).is_err());
    let endless = InputShape {
        width: usize::MAX,
        ..SHAPE
    };
    let result = Collection::load(&Given(vec![("a", 1)]), Some(endless), None);
    assert!(matches!(result, Err(SourceError::Parts { .. })));
    assert!(load(&[("a", 1), ("b", 0)], Some(1)).is_ok());
}

#[test]
fn parts_must_belong_together() {
    let keys = |keys: &[&str]| keys.iter().map(|key| key.to_string()).collect::<Vec<_>>();
    let make = |names: &[&str], labels: usize, bytes: usize, shape| {
        Collection::from_parts(
            "made",
            shape,
            keys(names),
            vec![None; labels],
            vec![0; bytes],
        )
    };
    assert!(make(&["a", "b"], 2, 8, SHAPE).is_ok());
    let two_channels = InputShape {
        channels: 2,
        ..SHAPE
    };
    let endless = InputShape {
        height: usize::MAX,
        ..SHAPE
    };
    for result in [
        make(&["a", "b"], 1, 8, SHAPE),
        make(&["a", "b"], 2, 7, SHAPE),
        make(&["a", "b"], 2, 16, two_channels),
        make(&["a", "b"], 2, 16, endless),
    ] {
        assert!(matches!(result, Err(SourceError::Parts { .. })));
    }
    assert!(matches!(
        make(&[], 0, 0, SHAPE),
        Err(SourceError::Empty { .. })
    ));
    assert!(matches!(
        make(&["a", "a"], 2, 8, SHAPE),
        Err(SourceError::DuplicateKey { .. })
    ));
}

#[test]
fn images_are_got_by_key() {
    let given = Given(vec![("a", 4), ("b", 8)]);
    assert_eq!(given.get("b").unwrap().pixels.width(), 8);
    assert!(matches!(
        given.get("c"),
        Err(SourceError::NoSuchImage { .. })
    ));
    let collection = Collection::load(&given, None, None).unwrap();
    assert_eq!(collection.get("b").unwrap().key, "b");
    assert!(matches!(
        collection.get("c"),
        Err(SourceError::NoSuchImage { .. })
    ));
}

#[test]
fn a_picture_file_is_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("number #7.png");
    let pixels = Pixels::new(3, 1, 3, (0..9).collect()).unwrap();
    pixels.write_png(&path).unwrap();
    let (source, image) = open_image_in_source(path.to_str().unwrap()).unwrap();
    assert_eq!(
        source,
        folder.path().canonicalize().unwrap().to_str().unwrap()
    );
    assert_eq!(
        (image.key.as_str(), image.label, image.pixels),
        ("number #7.png", None, pixels)
    );

    std::fs::write(&path, b"GIF89a").unwrap();
    let error = open_image(path.to_str().unwrap()).unwrap_err();
    let cause = std::error::Error::source(&error)
        .map(ToString::to_string)
        .unwrap_or_default();
    assert!(
        error.to_string().contains("#7.png") && cause.contains("as GIF"),
        "{error}"
    );
}

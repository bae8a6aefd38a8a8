//! The contract of collections.

use lookalike_images::{Collection, CollectionError, Image, InputShape, Pixels};

const SHAPE: InputShape = InputShape {
    channels: 1,
    height: 2,
    width: 2,
};

/// A colour image of one value, which is its side.
fn square(key: &str, side: usize) -> Image {
    let pixels = Pixels::new(side, side, 3, vec![side as u8; side * side * 3]).unwrap();
    Image {
        key: key.into(),
        label: None,
        pixels,
    }
}

#[test]
fn every_image_gets_the_shape() {
    let given = || [("a", 4), ("b", 8), ("c", 2)].map(|(key, side)| square(key, side));
    let collection = Collection::of("given", None, given()).unwrap();
    assert_eq!(
        collection.shape(),
        InputShape {
            channels: 3,
            height: 4,
            width: 4
        }
    );
    assert_eq!(collection.image(1), [8; 48]);
    let collection = Collection::of("given", Some(SHAPE), given().into_iter().take(2)).unwrap();
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
    assert_eq!(collection.copy(1).key, "b");
}

#[test]
fn what_is_no_collection_is_refused() {
    let of = |keys: &[&str], shape| {
        Collection::of("given", shape, keys.iter().map(|key| square(key, 1)))
    };
    assert!(matches!(of(&[], None), Err(CollectionError::Empty { .. })));
    assert!(matches!(
        of(&[], Some(SHAPE)),
        Err(CollectionError::Empty { .. })
    ));
    let error = of(&["a", "b", "a"], None).unwrap_err();
    assert!(
        matches!(&error, CollectionError::DuplicateKey { key, .. } if key == "a"),
        "{error}"
    );
    let endless = InputShape {
        width: usize::MAX,
        ..SHAPE
    };
    let result = of(&["a"], Some(endless));
    assert!(matches!(result, Err(CollectionError::Parts { .. })));
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
        assert!(matches!(result, Err(CollectionError::Parts { .. })));
    }
    assert!(matches!(
        make(&[], 0, 0, SHAPE),
        Err(CollectionError::Empty { .. })
    ));
    assert!(matches!(
        make(&["a", "a"], 2, 8, SHAPE),
        Err(CollectionError::DuplicateKey { .. })
    ));
}

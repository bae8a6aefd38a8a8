use lookalike_gallery::GalleryOptions;
use lookalike_images::{Decoded, Fit, InputShape, Pixels};

use super::*;
use crate::{IndexOptions, PADDING, create_gallery, index, open};

/// The mean colours of a picture's quarters.
struct Quarters;

const SHAPE: InputShape = InputShape {
    channels: 1,
    height: 2,
    width: 2,
};

impl Encoder for Quarters {
    fn shape(&self) -> InputShape {
        SHAPE
    }

    fn prepare(&self, picture: &Decoded) -> Result<Pixels, Error> {
        Ok(picture.fit(SHAPE, Fit::Stretch, PADDING))
    }

    fn encode(&self, inputs: &[u8]) -> Result<Vec<f32>, Error> {
        Ok(inputs.iter().map(|&byte| f32::from(byte)).collect())
    }

    fn code_dim(&self) -> usize {
        SHAPE.values()
    }

    fn default_metric(&self) -> Metric {
        Metric::Euclidean
    }

    fn name(&self) -> String {
        "quarters".to_owned()
    }

    fn to_bytes(&self) -> Vec<u8> {
        b"quarters".to_vec()
    }
}

/// Four grey pictures of 8 x 8 pixels, each brighter than the one before, `3.png` with a black
/// left half; and a searcher over them.
fn pictures() -> (tempfile::TempDir, Searcher) {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    for number in 0..4_u8 {
        let pixel = |at: usize| match number == 3 && at % 8 < 4 {
            true => 0,
            false => 40 * (number + 1),
        };
        let pixels = Pixels::new(8, 8, 1, (0..64).map(pixel).collect()).unwrap();
        let path = pictures.join(format!("{number}.png"));
        pixels.write_png(path).unwrap();
    }
    let options = GalleryOptions::new();
    let gallery = create_gallery(folder.path().join("g"), &Quarters, &options).unwrap();
    let stream = open(pictures.to_str().unwrap()).unwrap();
    index(stream, &Quarters, &*gallery, IndexOptions::default()).unwrap();
    (folder, Searcher::new(gallery, Box::new(Quarters)))
}

fn keys(answer: Result<Answer, Error>) -> Vec<String> {
    let hits = answer.unwrap().neighbours.into_iter();
    hits.map(|hit| hit.payload.key).collect()
}

#[test]
fn every_kind_of_query_finds_the_same() {
    let (folder, searcher) = pictures();
    let path = folder.path().join("pictures/1.png");
    let bytes = std::fs::read(&path).unwrap();
    let point = searcher
        .find_point(&path.display().to_string())
        .unwrap()
        .unwrap();
    let pixels = Pixels::new(8, 8, 1, vec![80; 64]).unwrap();
    let named = format!("{}#1.png", folder.path().join("pictures").display());
    let options = SearchOptions {
        k: 2,
        ..SearchOptions::default()
    };
    let queries = [
        Query::path(&path),
        Query::path(named),
        Query::bytes(bytes.clone()),
        Query::pixels(pixels),
        Query::id(point.id),
        Query::code(point.code.clone()),
        Query::from(&point),
    ];
    for query in queries {
        let found = keys(searcher.search(query.clone(), &options));
        assert_eq!(found[0], "1.png", "{query:?}");
    }
    // Whatever is known to be in the gallery can be left out; pixels and codes are not.
    let options = SearchOptions {
        exclude_self: true,
        ..options
    };
    let known = [
        Query::path(&path),
        Query::bytes(bytes),
        Query::id(point.id),
        Query::from(&point),
        Query::code(point.code.clone()).of_point(point.id),
    ];
    for query in known {
        let found = keys(searcher.search(query.clone(), &options));
        assert!(!found.contains(&"1.png".to_owned()), "{query:?}: {found:?}");
    }
    let found = keys(searcher.search(Query::code(point.code.clone()), &options));
    assert_eq!(found[0], "1.png");
    // What is known to be none is not looked up, or this would be left out.
    let found = keys(searcher.search(Query::path(&path).of_point(None), &options));
    assert_eq!(found[0], "1.png");
}

#[test]
fn a_region_is_searched_with_in_place_of_the_whole() {
    let (folder, searcher) = pictures();
    let path = folder.path().join("pictures/3.png");
    let point = searcher
        .find_point(&path.display().to_string())
        .unwrap()
        .unwrap();
    let options = SearchOptions::default();
    let right = "4,0,4,8".parse::<Region>().unwrap();
    // Its right half is plain, of brightness 160: the brightest of the plain ones is nearest.
    for query in [
        Query::path(&path),
        Query::bytes(std::fs::read(&path).unwrap()),
        Query::id(point.id),
    ] {
        assert_eq!(keys(searcher.search(query.clone(), &options))[0], "3.png");
        let found = keys(searcher.search(query.region(right), &options));
        assert_eq!(found[0], "2.png");
    }
    let beyond = Query::id(point.id).region("4,0,5,8".parse::<Region>().unwrap());
    let error = searcher.search(beyond, &options).unwrap_err();
    assert!(error.to_string().contains("8 x 8"), "{error}");
    let code = Query::code(point.code.clone()).region(right);
    assert!(searcher.search(code, &options).is_err());
}

#[test]
fn examples_are_of_every_kind() {
    let (folder, searcher) = pictures();
    let path = |number: usize| folder.path().join(format!("pictures/{number}.png"));
    let options = SearchOptions {
        k: 4,
        ..SearchOptions::default()
    };
    // Between 0 and 2 lies 1; both are points and not among the answers.
    let query = Query::examples([Query::path(path(0)), Query::path(path(2))], []);
    assert_eq!(keys(searcher.search(query, &options)), ["1.png", "3.png"]);
    // A code may find its own point.
    let query = Query::examples([Query::code(vec![40.0; 4])], [Query::path(path(2))]);
    assert_eq!(keys(searcher.search(query, &options))[0], "0.png");
    let within = Query::examples([Query::examples([Query::path(path(0))], [])], []);
    assert!(searcher.search(within, &options).is_err());
    assert!(searcher.search(Query::examples([], []), &options).is_err());
}

#[test]
fn what_is_not_there_is_an_error() {
    let (folder, searcher) = pictures();
    let options = SearchOptions::default();
    let error = searcher.search(Uuid::nil(), &options).unwrap_err();
    assert!(matches!(error, Error::NoSuchImage { .. }), "{error}");
    let many = Query::path(folder.path().join("pictures"));
    let error = searcher.search(many, &options).unwrap_err();
    assert!(matches!(error, Error::NotOneImage { .. }), "{error}");
    let none = Query::path(folder.path().join("none.png"));
    assert!(searcher.search(none, &options).is_err());
    assert!(searcher.search(Query::bytes("text"), &options).is_err());
    let words = searcher.search(Query::text("a cat"), &options);
    assert!(matches!(words.unwrap_err(), Error::NoText));
}

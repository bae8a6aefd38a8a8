//! An encoder of one's own in place of a learned one: here, a picture's mean colours on a grid.
//!
//! ```sh
//! cargo run --release -p lookalike --example own_encoder -- photos
//! ```

use std::error::Error;

use lookalike::images::{Decoded, Fit, InputShape, Pixels};
use lookalike::neighbours::Metric;
use lookalike::{
    Encoder, GalleryOptions, IndexOptions, PADDING, SearchOptions, Searcher, create_gallery, index,
    open,
};

/// The colours of a picture brought to 4 x 4 pixels.
struct MeanColours;

const SHAPE: InputShape = InputShape {
    channels: 3,
    height: 4,
    width: 4,
};

impl Encoder for MeanColours {
    fn shape(&self) -> InputShape {
        SHAPE
    }

    fn prepare(&self, picture: &Decoded) -> Result<Pixels, lookalike::Error> {
        Ok(picture.fit(SHAPE, Fit::Stretch, PADDING))
    }

    fn encode(&self, inputs: &[u8]) -> Result<Vec<f32>, lookalike::Error> {
        Ok(inputs.iter().map(|&byte| f32::from(byte) / 255.0).collect())
    }

    fn code_dim(&self) -> usize {
        SHAPE.values()
    }

    fn default_metric(&self) -> Metric {
        Metric::Euclidean
    }

    fn name(&self) -> String {
        "mean colours".to_owned()
    }

    // What a gallery keeps to recognise the encoder: change it with whatever changes codes.
    fn to_bytes(&self) -> Vec<u8> {
        b"mean colours of 4 x 4 cells, version 1".to_vec()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source] = &arguments[..] else {
        return Err("usage: own_encoder SOURCE".into());
    };
    let place = tempfile::tempdir()?;
    let path = place.path().join("colours.gallery");
    let gallery = create_gallery(path, &MeanColours, &GalleryOptions::new())?;
    index(
        open(source)?,
        &MeanColours,
        &*gallery,
        IndexOptions::default(),
    )?;

    // Which image has the nearest twin?
    let searcher = Searcher::new(gallery, Box::new(MeanColours));
    let options = SearchOptions {
        k: 1,
        exclude_self: true,
        ..SearchOptions::default()
    };
    let mut nearest: Option<(f32, String)> = None;
    for point in searcher.gallery().scroll(None, 10_000, None)? {
        if let Some(hit) = searcher.search(&point, &options)?.neighbours.pop()
            && nearest
                .as_ref()
                .is_none_or(|(least, _)| hit.distance < *least)
        {
            let pair = format!("{} and {}", point.payload.key, hit.payload.key);
            nearest = Some((hit.distance, pair));
        }
    }
    match nearest {
        Some((distance, pair)) => println!("nearest by their colours, {distance:.3} apart: {pair}"),
        None => println!("there are no two images"),
    }
    Ok(())
}

//! A gallery on a Qdrant cluster: filled, searched and removed as one in a folder.
//!
//! ```sh
//! cargo run --release -p lookalike --example cluster -- qdrant://localhost:6334/example photos.safetensors photos
//! ```

use std::error::Error;
use std::path::Path;

use lookalike::autoencoder::{Autoencoder, DeviceChoice};
use lookalike::{
    Encoder as _, GalleryOptions, IndexOptions, SearchOptions, Searcher, index, open,
    open_or_create_gallery,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, model, source] = &arguments[..] else {
        return Err("usage: cluster ADDRESS MODEL SOURCE".into());
    };
    let model = Autoencoder::load(Path::new(model), DeviceChoice::Auto)?;

    // The same calls serve both kinds; an address in place of a path makes the difference. Many
    // machines may fill one gallery, each with a part of the source (`Reading::part`).
    let gallery = open_or_create_gallery(address, &model, &GalleryOptions::new())?;
    let summary = index(open(source)?, &model, &*gallery, IndexOptions::default())?;
    println!("{} images, {} added", summary.images, summary.added);

    let metric = model.default_metric();
    let searcher = Searcher::new(gallery, Box::new(model));
    if let Some(first) = searcher.gallery().scroll(None, 1, None)?.pop() {
        let options = SearchOptions {
            exclude_self: true,
            ..SearchOptions::default()
        };
        println!("like {}, by {metric}:", first.payload.key);
        for hit in searcher.search(&first, &options)?.neighbours {
            println!("{:.4} {}", hit.distance, hit.payload.key);
        }
    }
    Ok(())
}

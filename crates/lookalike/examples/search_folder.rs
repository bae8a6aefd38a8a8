//! Learns the look of a folder of images, indexes it, and asks for what looks like one of them.
//!
//! ```sh
//! cargo run --release -p lookalike --example search_folder -- photos photos/cat.jpg
//! ```

use std::error::Error;
use std::sync::Arc;

use lookalike::autoencoder::{Architecture, DeviceChoice, Objective, TrainConfig, train};
use lookalike::{
    GalleryOptions, IndexOptions, Reading, SearchOptions, Searcher, create_gallery, index, open,
    open_queries,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, query] = &arguments[..] else {
        return Err("usage: search_folder FOLDER IMAGE".into());
    };

    // Learn from the pictures alone, by the recipe that suits their number and size.
    let stream = open(folder)?;
    let shape = stream.suitable_shape()?;
    let images = stream.load(Some(shape), Some(50_000))?;
    let (network, objective) = (Architecture::Bottleneck, Objective::Look);
    let config = TrainConfig::suited(network, objective, images.len(), shape);
    let model = train(&images, &config, DeviceChoice::Auto, None, &mut ())?;

    // A gallery keeps codes, thumbnails and the model. This one goes with the program.
    let place = tempfile::tempdir()?;
    let gallery = create_gallery(
        place.path().join("photos.gallery"),
        &model,
        &GalleryOptions::new(),
    )?;
    let summary = index(stream, &model, &*gallery, IndexOptions::default())?;
    println!("{} images indexed", summary.images);

    let searcher = Searcher::new(gallery, Box::new(model));
    let options = SearchOptions {
        k: 5,
        exclude_self: true,
        ..SearchOptions::default()
    };
    // A picture, or a whole folder of them.
    open_queries(
        query,
        &Reading::default(),
        &Arc::default(),
        |name, image| {
            println!("like {name}:");
            for hit in searcher.search(image, &options)?.neighbours {
                println!("{:.4} {}", hit.distance, hit.payload.key);
            }
            Ok::<(), lookalike::Error>(())
        },
    )?;
    Ok(())
}

//! Codes in a storage of one's own: encoded as a stream, compared in memory, without a gallery.
//!
//! ```sh
//! cargo run --release -p lookalike --example own_storage -- photos.safetensors photos
//! ```

use std::error::Error;
use std::path::Path;

use lookalike::autoencoder::{Autoencoder, DeviceChoice};
use lookalike::neighbours::{Codes, Metric, nearest_others};
use lookalike::open;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, source] = &arguments[..] else {
        return Err("usage: own_storage MODEL SOURCE".into());
    };
    let model = Autoencoder::load(Path::new(model), DeviceChoice::Auto)?;

    // Any number of images: only codes stay in memory. Here they would go to a database.
    let encoded = open(source)?.encode(&model, None)?;
    println!("{} codes of {} floats", encoded.keys.len(), encoded.dims);

    // The exact three nearest of each, by cosine.
    let codes = Codes::new(&encoded.codes, encoded.dims)?;
    let neighbours = nearest_others(codes, Metric::Cosine, 3);
    for (key, others) in encoded.keys.iter().zip(&neighbours).take(10) {
        let others: Vec<&str> = others
            .iter()
            .map(|n| encoded.keys[n.index].as_str())
            .collect();
        println!("{key}: {}", others.join(", "));
    }
    Ok(())
}

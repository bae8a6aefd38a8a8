//! Keeps a gallery in step with a folder: new and changed images enter it, those that are gone
//! leave.
//!
//! ```sh
//! cargo run --release -p lookalike --example watch_folder -- photos photos.gallery
//! ```
//!
//! A third argument is after how many looks at the folder to end.

use std::error::Error;
use std::path::Path;

use lookalike::autoencoder::DeviceChoice;
use lookalike::{IndexOptions, Watch, encoder_of, index, open, open_gallery};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, gallery, looks) = match &arguments[..] {
        [folder, gallery] => (folder, gallery, usize::MAX),
        [folder, gallery, looks] => (folder, gallery, looks.parse()?),
        _ => return Err("usage: watch_folder FOLDER GALLERY [LOOKS]".into()),
    };
    let opened = open_gallery(gallery)?;
    let encoder = encoder_of(&*opened, &[], DeviceChoice::Auto)?;

    // Listen before the first look, so that nothing falls between.
    let watch = Watch::begin(Path::new(folder), &[Path::new(gallery)])?;
    for look in 1..=looks {
        let options = IndexOptions {
            prune: true,
            ..IndexOptions::default()
        };
        let summary = index(open(folder)?, &*encoder, &*opened, options)?;
        println!(
            "{} added, {} changed, {} removed; {} images",
            summary.added, summary.changed, summary.removed, summary.points
        );
        if look < looks && !watch.wait(|| false) {
            break;
        }
    }
    Ok(())
}

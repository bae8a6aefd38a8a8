//! Learning another encoder's codes: a teacher that is good but slow, and a small encoder that
//! gives nearly the same.

use std::collections::HashMap;

use lookalike_autoencoder::{
    Autoencoder, Checkpointing, DeviceChoice, Observer, TeacherRecord, TrainConfig, distil,
};
use lookalike_images::Collection;

use crate::{Encoder, Error, ImageStream};

/// What a model keeps of the teacher whose codes it learned: its folder's or file's name without
/// the path, its fingerprint and how many floats its codes have.
pub fn teacher_record(teacher: &dyn Encoder) -> TeacherRecord {
    let file = teacher.files().and_then(|files| files.path.file_name());
    TeacherRecord {
        name: match file {
            Some(name) => name.to_string_lossy().into_owned(),
            None => teacher.name(),
        },
        fingerprint: teacher.fingerprint(),
        dims: teacher.code_dim(),
    }
}

/// Trains an autoencoder on `collection` to give the codes of `teacher`, as
/// [`distil`](lookalike_autoencoder::distil) does. `config` has the teacher's
/// [record](teacher_record). The teacher sees the images of `stream`, which are those of the
/// collection before they were brought to the small network's shape; its codes are in memory until
/// they are reduced.
///
/// # Errors
///
/// When the teacher fails or has not seen an image of the collection, and as
/// [`distil`](lookalike_autoencoder::distil).
pub fn teach(
    teacher: &dyn Encoder,
    stream: &ImageStream,
    collection: &Collection,
    config: &TrainConfig,
    device: DeviceChoice,
    checkpointing: Option<&Checkpointing>,
    observer: &mut dyn Observer,
) -> Result<Autoencoder, Error> {
    let codes = || codes_of(teacher, stream, collection);
    distil(collection, config, codes, device, checkpointing, observer)
}

/// The teacher's codes of the collection's images, in their order.
fn codes_of(
    teacher: &dyn Encoder,
    stream: &ImageStream,
    collection: &Collection,
) -> Result<Vec<f32>, Error> {
    let encoded = stream.encode(teacher, Some(collection.len()))?;
    let places = encoded.keys.iter().enumerate();
    let places: HashMap<&str, usize> = places.map(|(place, key)| (key.as_str(), place)).collect();
    let mut codes = Vec::with_capacity(collection.len() * encoded.dims);
    for index in 0..collection.len() {
        let key = collection.key(index);
        let Some(place) = places.get(key) else {
            return Err(Error::Unusable(format!(
                "cannot learn from {}: it gave no code for {key} of {}; if the images have changed meanwhile, run it again",
                teacher.name(),
                collection.name()
            )));
        };
        codes.extend_from_slice(&encoded.codes[place * encoded.dims..][..encoded.dims]);
    }
    Ok(codes)
}

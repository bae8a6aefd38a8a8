//! Learning another encoder's codes: a teacher that is good but slow, and a small encoder that
//! gives nearly the same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;

use lookalike_autoencoder::{
    Autoencoder, Checkpointing, DeviceChoice, EpochRecord, Observer, TeacherRecord, TrainConfig,
    TrainStep, distil,
};
use lookalike_images::Collection;

use crate::{Encoder, Error, ImageStream, Phase, Progress};

/// Who follows a small encoder that learns from a teacher.
pub trait TeachingObserver: Observer {
    /// While the teacher encodes, before the first step of training; `Break` stops it.
    fn encoding(&mut self, _progress: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Nobody follows.
impl TeachingObserver for () {}

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
/// When the teacher fails, is stopped or has not seen an image of the collection, and as
/// [`distil`](lookalike_autoencoder::distil).
pub fn teach(
    teacher: &dyn Encoder,
    stream: &ImageStream,
    collection: &Collection,
    config: &TrainConfig,
    device: DeviceChoice,
    checkpointing: Option<&Checkpointing>,
    observer: &mut dyn TeachingObserver,
) -> Result<Autoencoder, Error> {
    let observer = RefCell::new(observer);
    let codes = || codes_of(teacher, stream, collection, &observer);
    let training = &mut Shared(&observer);
    distil(collection, config, codes, device, checkpointing, training)
}

/// The observer of the training, which the teacher needs as well.
struct Shared<'a, 'b>(&'a RefCell<&'b mut dyn TeachingObserver>);

impl Observer for Shared<'_, '_> {
    fn step(&mut self, step: &TrainStep) -> ControlFlow<()> {
        self.0.borrow_mut().step(step)
    }

    fn epoch(&mut self, number: usize, epoch: &EpochRecord) {
        self.0.borrow_mut().epoch(number, epoch);
    }

    fn note(&mut self, message: &str) {
        self.0.borrow_mut().note(message);
    }
}

/// The teacher's codes of the collection's images, in their order.
fn codes_of(
    teacher: &dyn Encoder,
    stream: &ImageStream,
    collection: &Collection,
    observer: &RefCell<&mut dyn TeachingObserver>,
) -> Result<Vec<f32>, Error> {
    let count = collection.len();
    let mut tell = |encoded: usize| {
        let progress = Progress::new(Phase::Encoding, encoded, Some(count));
        match observer.borrow_mut().encoding(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::TeacherStopped {
                source_name: collection.name().to_owned(),
                encoded,
            }),
        }
    };
    tell(0)?;
    let encoded = stream.encode_followed(teacher, Some(count), &mut tell)?;
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lookalike_autoencoder::{Architecture, Objective};

    use super::*;
    use crate::{PretrainedEncoder, open};

    /// Hears of so many images and then asks for the end.
    struct Impatient {
        heard: Vec<Progress>,
        trained: bool,
    }

    impl Observer for Impatient {
        fn step(&mut self, _: &TrainStep) -> ControlFlow<()> {
            self.trained = true;
            ControlFlow::Break(())
        }
    }

    impl TeachingObserver for Impatient {
        fn encoding(&mut self, progress: Progress) -> ControlFlow<()> {
            self.heard.push(progress);
            match self.heard.len() {
                2 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }

    #[test]
    fn a_teacher_is_followed_and_stopped() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../lookalike-pretrained/tests/fixtures/tiny-clip"
        );
        let teacher = PretrainedEncoder::open(Path::new(folder), Default::default()).unwrap();
        let images = open("mnist:test").unwrap().load(None, Some(100)).unwrap();
        let stream = ImageStream::of_collection(&images);
        let config = TrainConfig {
            objective: Objective::Distil,
            teacher: Some(teacher_record(&teacher)),
            ..TrainConfig::new(Architecture::Bottleneck)
        };
        let mut observer = Impatient {
            heard: Vec::new(),
            trained: false,
        };
        let device = DeviceChoice::Cpu;
        let taught = teach(
            &teacher,
            &stream,
            &images,
            &config,
            device,
            None,
            &mut observer,
        );
        let error = taught.err().unwrap();
        assert!(
            matches!(error, Error::TeacherStopped { encoded: 32, .. }),
            "{error}"
        );
        let told: Vec<usize> = observer
            .heard
            .iter()
            .map(|progress| progress.done)
            .collect();
        assert_eq!(told, [0, 32]);
        let first = observer.heard[0];
        assert_eq!((first.phase, first.total), (Phase::Encoding, Some(100)));
        assert!(!observer.trained);
    }
}

//! What matters to an encoder is found by covering parts of pictures.

use std::sync::Mutex;

use lookalike::autoencoder::{Architecture, DeviceChoice, TrainConfig, train};
use lookalike::images::{Decoded, InputShape, Pixels};
use lookalike::neighbours::Metric;
use lookalike::{Encoder, Error, PretrainedEncoder, PretrainedOptions, occlude, open};

/// Cells along each side of the grid.
const CELLS: usize = 7;

/// A digit in one quarter of a black picture that is twice as wide and high.
fn in_quarter(digit: &Pixels, left: usize, top: usize) -> Pixels {
    let side = digit.width();
    let mut data = vec![0; 4 * side * side];
    for (y, row) in digit.data().chunks_exact(side).enumerate() {
        let start = (top * side + y) * 2 * side + left * side;
        data[start..start + side].copy_from_slice(row);
    }
    Pixels::new(2 * side, 2 * side, 1, data).unwrap()
}

/// Checks that what matters most of a picture is where the digit is.
fn finds_the_digit(encoder: &dyn Encoder) {
    let digits = open("mnist:test").unwrap().load(None, Some(8)).unwrap();
    let seven = digits.picture(7);
    for (left, top) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let picture = in_quarter(&seven, left, top);
        let found: Result<_, Error> = occlude(encoder, &picture, &picture, || Ok(()));
        let found = found.unwrap();
        assert!((found.similarity - 1.0).abs() < 1e-5);
        assert_eq!(found.a, found.b);
        let values = &found.a.values;
        assert_eq!(values.len(), CELLS * CELLS);
        let best = (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]));
        let best = best.unwrap();
        // The middle row and column belong to both halves.
        let lies = |at: usize, half: usize| match half {
            0 => at <= CELLS / 2,
            _ => at >= CELLS / 2,
        };
        assert!(
            values[best] > 0.0 && lies(best % CELLS, left) && lies(best / CELLS, top),
            "{left}, {top}: cell {best} of {values:?}"
        );
    }
}

#[test]
fn what_matters_to_a_pretrained_encoder_is_where_the_object_is() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../lookalike-pretrained/tests/fixtures/tiny-clip"
    );
    let encoder = PretrainedEncoder::open(folder.as_ref(), PretrainedOptions::default());
    finds_the_digit(&encoder.unwrap());
}

#[test]
fn what_matters_to_an_autoencoder_is_where_the_object_is() {
    let images = open("mnist:test").unwrap().load(None, Some(64)).unwrap();
    let config = TrainConfig {
        epochs: 1,
        batch: 16,
        ..TrainConfig::new(Architecture::Bottleneck)
    };
    let model = train(&images, &config, DeviceChoice::Cpu, None, &mut ()).unwrap();
    finds_the_digit(&model);
}

/// An encoder that keeps what it was shown, and takes pictures as they are.
struct Witness {
    shape: InputShape,
    seen: Mutex<Vec<Pixels>>,
}

impl Encoder for Witness {
    fn shape(&self) -> InputShape {
        self.shape
    }

    fn prepare(&self, picture: &Decoded) -> Result<Pixels, Error> {
        self.seen.lock().unwrap().push(picture.pixels.clone());
        Ok(picture.pixels.clone())
    }

    fn encode(&self, inputs: &[u8]) -> Result<Vec<f32>, Error> {
        let pictures = inputs.chunks_exact(self.shape.values());
        let ends = |one: &[u8]| [f32::from(one[0]), f32::from(one[one.len() - 1]) + 1.0];
        Ok(pictures.flat_map(ends).collect())
    }

    fn code_dim(&self) -> usize {
        2
    }

    fn default_metric(&self) -> Metric {
        Metric::Cosine
    }

    fn to_bytes(&self) -> Vec<u8> {
        b"a witness".to_vec()
    }

    fn name(&self) -> String {
        "a witness".to_owned()
    }
}

#[test]
fn cells_cover_a_picture_once_each_with_its_mean() {
    for (width, height) in [(3, 20), (7, 7), (50, 9)] {
        let shape = InputShape {
            channels: 3,
            height,
            width,
        };
        // Red and green halves: no pixel has the mean of both.
        let half = |i: usize| match i < width * height / 2 {
            true => [200, 0, 0],
            false => [0, 200, 0],
        };
        let data: Vec<u8> = (0..width * height).flat_map(half).collect();
        let picture = Pixels::new(width, height, 3, data).unwrap();
        let witness = Witness {
            shape,
            seen: Mutex::default(),
        };
        let found: Result<_, Error> = occlude(&witness, &picture, &picture, || Ok(()));
        let found = found.unwrap();
        let cells = width.min(CELLS) * height.min(CELLS);
        assert_eq!(
            (found.a.rows, found.a.columns),
            (height.min(CELLS), width.min(CELLS))
        );
        let seen = witness.seen.into_inner().unwrap();
        assert_eq!(seen.len(), 2 + 2 * cells);
        let mut covered = vec![0; width * height];
        for one in &seen[2..2 + cells] {
            let pixels = one
                .data()
                .chunks_exact(3)
                .zip(picture.data().chunks_exact(3));
            for (count, (now, before)) in covered.iter_mut().zip(pixels) {
                if now != before {
                    *count += 1;
                    assert!(now[0].abs_diff(100) < 20 && now[1].abs_diff(100) < 20 && now[2] == 0);
                }
            }
        }
        assert!(
            covered.iter().all(|&count| count == 1),
            "{width} x {height}"
        );
    }
}

#[test]
fn the_work_ends_when_it_is_told_to() {
    let shape = InputShape {
        channels: 1,
        height: 20,
        width: 30,
    };
    let witness = Witness {
        shape,
        seen: Mutex::default(),
    };
    let data = (0..600).map(|i| (i % 256) as u8).collect();
    let picture = Pixels::new(30, 20, 1, data).unwrap();
    let mut steps = 0;
    let stopped: Result<_, Error> = occlude(&witness, &picture, &picture, || {
        steps += 1;
        match steps {
            3 => Err(Error::Unusable("enough".to_owned())),
            _ => Ok(()),
        }
    });
    assert_eq!(stopped.unwrap_err().to_string(), "enough");
    assert_eq!(steps, 3);
}

//! Why two images are alike to any encoder, found by covering parts of one of them.
//!
//! Each cell of a grid over a picture is painted with the picture's mean colour, and the picture is
//! encoded again: what the similarity to the other picture loses is owed to that cell (Zeiler and
//! Fergus, *Visualizing and Understanding Convolutional Networks*, ECCV 2014). Unlike
//! [`Autoencoder::explain`](lookalike_autoencoder::Autoencoder::explain), which shares the
//! similarity out exactly, the cells do not add up to it: two cells that say the same can each be
//! missed without loss.

use lookalike_autoencoder::Contributions;
use lookalike_images::{InputShape, Pixels, fit};
use lookalike_neighbours::Metric;

use crate::encoder::encode_all;
use crate::{Encoder, Error};

/// Cells along each side of the grid, at most. Each costs an encoding, for each of two pictures.
const CELLS: usize = 7;
/// Pictures that are encoded at a time, which bounds memory and how long one step takes.
const TOGETHER: usize = 8;

/// Why two images are alike, as [`occlude`] finds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Occlusion {
    /// The cosine of the angle between the codes.
    pub similarity: f32,
    /// How much the similarity falls when a cell of the first image is covered; negative where it
    /// rises. The cells lie evenly over the whole picture.
    pub a: Contributions,
    /// The same for the second image.
    pub b: Contributions,
}

/// Covers the cells of `a` one after another, then those of `b`, and finds how much the similarity
/// of their codes falls by each. `proceed` is asked before every step of a few encodings, and ends
/// the work with its error.
///
/// # Errors
///
/// When the encoder fails, and whatever `proceed` says.
pub fn occlude<E: From<Error>>(
    encoder: &dyn Encoder,
    a: &Pixels,
    b: &Pixels,
    mut proceed: impl FnMut() -> Result<(), E>,
) -> Result<Occlusion, E> {
    let (a, b) = (reduced(encoder, a), reduced(encoder, b));
    let mut encode = |pictures: &mut dyn Iterator<Item = Pixels>| -> Result<Vec<f32>, E> {
        let mut codes = Vec::new();
        loop {
            let (mut inputs, mut count) = (Vec::new(), 0);
            for picture in (&mut *pictures).take(TOGETHER) {
                inputs.extend_from_slice(encoder.prepare(&picture.into())?.data());
                count += 1;
            }
            if count == 0 {
                return Ok(codes);
            }
            proceed()?;
            codes.append(&mut encode_all(encoder, &inputs, count)?);
        }
    };
    let codes = encode(&mut [a.clone(), b.clone()].into_iter())?;
    let (code_a, code_b) = codes.split_at(encoder.code_dim());
    let similarity = cosine(code_a, code_b);
    let mut losses = |picture: &Pixels, other: &[f32]| -> Result<Contributions, E> {
        let grid = Grid::over(picture);
        let codes = encode(&mut (0..grid.len()).map(|cell| grid.cover(picture, cell)))?;
        let covered = codes.chunks_exact(encoder.code_dim());
        Ok(Contributions {
            rows: grid.rows,
            columns: grid.columns,
            values: covered
                .map(|code| similarity - cosine(code, other))
                .collect(),
        })
    };
    Ok(Occlusion {
        similarity,
        a: losses(&a, code_b)?,
        b: losses(&b, code_a)?,
    })
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    1.0 - Metric::Cosine.distance(a, b)
}

/// A picture with no more pixels than the encoder makes use of: it is prepared once for each cell.
fn reduced(encoder: &dyn Encoder, picture: &Pixels) -> Pixels {
    let (width, height) = encoder.decode_sides();
    let ratio = |need: usize, has: usize| need as f64 / has as f64;
    let scale = ratio(width, picture.width()).max(ratio(height, picture.height()));
    if scale >= 1.0 {
        return picture.clone();
    }
    let side = |has: usize| ((has as f64 * scale).round() as usize).max(1);
    let shape = InputShape {
        channels: picture.channels(),
        height: side(picture.height()),
        width: side(picture.width()),
    };
    fit(picture, shape)
}

/// The cells that are covered, and what they are covered with.
struct Grid {
    rows: usize,
    columns: usize,
    mean: Vec<u8>,
}

impl Grid {
    fn over(picture: &Pixels) -> Self {
        let pixels = picture.data().chunks_exact(picture.channels());
        let count = pixels.len().max(1) as u64;
        let mut sums = vec![0u64; picture.channels()];
        for pixel in pixels {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                *sum += u64::from(value);
            }
        }
        Self {
            rows: CELLS.min(picture.height()),
            columns: CELLS.min(picture.width()),
            mean: sums
                .iter()
                .map(|sum| ((sum + count / 2) / count) as u8)
                .collect(),
        }
    }

    fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// The picture with one cell painted over.
    fn cover(&self, picture: &Pixels, cell: usize) -> Pixels {
        let (width, height, channels) = (picture.width(), picture.height(), picture.channels());
        let span = |at: usize, of: usize, side: usize| at * side / of..(at + 1) * side / of;
        let across = span(cell % self.columns, self.columns, width);
        let mut data = picture.data().to_vec();
        for y in span(cell / self.columns, self.rows, height) {
            let row = (y * width + across.start) * channels..(y * width + across.end) * channels;
            for pixel in data[row].chunks_exact_mut(channels) {
                pixel.copy_from_slice(&self.mean);
            }
        }
        Pixels::new(width, height, channels, data).expect("as large as the picture")
    }
}

//! Two pictures beside each other, small: how much they differ.

use lookalike_images::{DecodeOptions, InputShape, Pixels, Turn, decode, fit};

/// Sides of a small picture's luma and of its colours.
const SIDE: usize = 32;
const COLOUR_SIDE: usize = 8;
const LUMA: usize = SIDE * SIDE;
const COLOURS: usize = 2 * COLOUR_SIDE * COLOUR_SIDE;
/// Floats of a [layout](Miniature::layout).
pub(super) const LAYOUT: usize = COLOUR_SIDE * COLOUR_SIDE;
/// Shares of the sides that are compared with all of the other picture, in case that is a part.
const CROPS: [f32; 2] = [0.95, 0.9];
/// What a difference of colours counts beside one of luma.
const DEFAULT_COLOUR_WEIGHT: f32 = 0.5;
/// Standard deviation of luma, in levels, below which a picture shows nothing that could be
/// compared.
const MIN_DEVIATION: f32 = 1.0;
/// The same, below which differences of colour are not measured by it: in nearly uniform pictures
/// they are what compression leaves.
const MIN_COLOUR_DEVIATION: f32 = 4.0;

/// A picture at 32x32 pixels: luma, and two differences of colour at 8x8.
pub(super) struct Miniature {
    luma: [u8; LUMA],
    colours: [i8; COLOURS],
}

impl Miniature {
    /// Of the bytes of a thumbnail; none if they are no picture.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self::of(
            &decode(bytes, &DecodeOptions::default()).ok()?.pixels,
        ))
    }

    fn of(pixels: &Pixels) -> Self {
        let shape = InputShape {
            channels: 3,
            height: SIDE,
            width: SIDE,
        };
        let pixels = fit(pixels, shape);
        let mut sums = [0.0; COLOURS];
        let mut miniature = Self {
            luma: [0; LUMA],
            colours: [0; COLOURS],
        };
        for (at, pixel) in pixels.data().chunks_exact(3).enumerate() {
            let [red, green, blue] = [0, 1, 2].map(|channel| f32::from(pixel[channel]));
            let luma = 0.299 * red + 0.587 * green + 0.114 * blue;
            miniature.luma[at] = luma.round() as u8;
            let step = SIDE / COLOUR_SIDE;
            let place = at / SIDE / step * COLOUR_SIDE + at % SIDE / step;
            sums[2 * place] += 0.564 * (blue - luma);
            sums[2 * place + 1] += 0.713 * (red - luma);
        }
        let each = (LUMA / (COLOUR_SIDE * COLOUR_SIDE)) as f32;
        for (colour, sum) in miniature.colours.iter_mut().zip(sums) {
            *colour = (sum / each).round() as i8;
        }
        miniature
    }

    /// The picture turned.
    pub fn turned(&self, turn: Turn) -> Self {
        let from = |at: usize, side: usize| {
            let (x, y) = turn.origin((at % side, at / side), side, side);
            y * side + x
        };
        Self {
            luma: std::array::from_fn(|at| self.luma[from(at, SIDE)]),
            colours: std::array::from_fn(|at| self.colours[2 * from(at / 2, COLOUR_SIDE) + at % 2]),
        }
    }

    /// The luma at 8x8 pixels, less its mean: what copies have in common whatever noise,
    /// compression and brightness do to finer detail.
    pub fn layout(&self) -> [f32; LAYOUT] {
        let step = SIDE / COLOUR_SIDE;
        let mut layout = [0.0f32; LAYOUT];
        for (at, &luma) in self.luma.iter().enumerate() {
            let place = at / SIDE / step * COLOUR_SIDE + at % SIDE / step;
            layout[place] += f32::from(luma) / (step * step) as f32;
        }
        let mean = layout.iter().sum::<f32>() / LAYOUT as f32;
        layout.map(|value| value - mean)
    }

    /// The luma of the middle, that share of the sides, at the same number of pixels.
    fn middle(&self, share: f32) -> [f32; LUMA] {
        let side = SIDE as f32;
        let places: [(usize, usize, f32); SIDE] = std::array::from_fn(|at| {
            let place = (at as f32 + 0.5 - side / 2.0) * share + side / 2.0 - 0.5;
            let first = place.max(0.0) as usize;
            (first, (first + 1).min(SIDE - 1), place - first as f32)
        });
        std::array::from_fn(|at| {
            let (top, bottom, down) = places[at / SIDE];
            let (left, right, across) = places[at % SIDE];
            let value = |row: usize, column: usize| f32::from(self.luma[row * SIDE + column]);
            let above = value(top, left) * (1.0 - across) + value(top, right) * across;
            let below = value(bottom, left) * (1.0 - across) + value(bottom, right) * across;
            above * (1.0 - down) + below * down
        })
    }

    pub fn views(&self) -> Views {
        let whole = self.luma.map(f32::from);
        let deviation = deviation(&whole).max(MIN_COLOUR_DEVIATION);
        Views {
            whole: normalised(whole),
            parts: CROPS.map(|share| normalised(self.middle(share))),
            colours: self.colours.map(|colour| f32::from(colour) / deviation),
        }
    }
}

/// What is compared of a picture: its luma, whole and its middle, each of mean 0 and length 1, and
/// its colours in units of the luma's standard deviation.
pub(super) struct Views {
    whole: [f32; LUMA],
    parts: [[f32; LUMA]; CROPS.len()],
    colours: [f32; COLOURS],
}

fn deviation(values: &[f32; LUMA]) -> f32 {
    let mean = values.iter().sum::<f32>() / LUMA as f32;
    let squares = values.iter().map(|value| (value - mean).powi(2));
    (squares.sum::<f32>() / LUMA as f32).sqrt()
}

/// Brought to mean 0 and length 1; all 0 where nothing is to be seen.
fn normalised(mut values: [f32; LUMA]) -> [f32; LUMA] {
    let mean = values.iter().sum::<f32>() / LUMA as f32;
    let deviation = deviation(&values);
    let scale = match deviation >= MIN_DEVIATION {
        true => 1.0 / (deviation * (LUMA as f32).sqrt()),
        false => 0.0,
    };
    for value in &mut values {
        *value = (*value - mean) * scale;
    }
    values
}

fn dot(a: &[f32; LUMA], b: &[f32; LUMA]) -> f32 {
    let mut sums = [0.0; 16];
    for (a, b) in a.chunks_exact(16).zip(b.chunks_exact(16)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

/// How two pictures differ.
#[derive(Clone, Copy)]
pub(super) struct Differences {
    /// 1 less the correlation of their luma, of the whole pictures or of one and the middle of the
    /// other, whichever is more alike.
    pub luma: f32,
    /// With their colours.
    pub all: f32,
}

pub(super) fn differences(a: &Views, b: &Views) -> Differences {
    let mut alike = dot(&a.whole, &b.whole);
    for part in 0..CROPS.len() {
        alike = alike.max(dot(&a.whole, &b.parts[part]));
        alike = alike.max(dot(&a.parts[part], &b.whole));
    }
    let luma = (1.0 - alike).max(0.0);
    let colours = a.colours.iter().zip(&b.colours);
    let colours: f32 = colours.map(|(a, b)| (a - b).powi(2)).sum();
    // As long as luma would be: half of the squared distance of vectors of length 1.
    let places = (COLOUR_SIDE * COLOUR_SIDE) as f32;
    Differences {
        luma,
        all: luma + DEFAULT_COLOUR_WEIGHT * colours / places / 2.0,
    }
}

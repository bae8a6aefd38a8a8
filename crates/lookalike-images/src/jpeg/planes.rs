//! Components of a picture, and their samples at the picture's size.

use super::transform::last_needed;

/// See [`Component::open_bits`].
const UNREAD: u8 = u8::MAX;

/// One component: its place in the file, and its samples.
pub(super) struct Component {
    pub(super) id: u8,
    /// Blocks of it in an MCU, across and along.
    pub(super) sampling: (usize, usize),
    /// The number of its quantisation table.
    pub(super) table: usize,
    /// The table's values in the coefficients' order, as they were at its first scan.
    pub(super) factors: Option<[f32; 64]>,
    /// Whether every block was read.
    pub(super) complete: bool,
    /// For each coefficient of a progressive picture how many of its bits the scans so far leave
    /// open; [`UNREAD`] before its first scan.
    pub(super) open_bits: [u8; 64],
    /// Samples that a block is made into.
    pub(super) size: (usize, usize),
    /// The last coefficient that samples depend on.
    pub(super) last: usize,
    /// Blocks that hold samples of the picture, and those with the rest of the last MCUs.
    pub(super) real_blocks: (usize, usize),
    padded_blocks: (usize, usize),
    /// Samples that belong to the picture.
    extent: (usize, usize),
    samples: Vec<u8>,
    /// A progressive picture's coefficients, `kept` for each block.
    coefficients: Vec<i16>,
    kept: usize,
}

impl Component {
    pub(super) fn new(id: u8, sampling: (usize, usize), table: usize) -> Self {
        Self {
            id,
            sampling,
            table,
            factors: None,
            complete: false,
            open_bits: [UNREAD; 64],
            size: (8, 8),
            last: 63,
            real_blocks: (0, 0),
            padded_blocks: (0, 0),
            extent: (0, 0),
            samples: Vec::new(),
            coefficients: Vec::new(),
            kept: 0,
        }
    }

    /// Decides how the component is decoded in a picture of `sides` whose finest component makes
    /// blocks of `samples`. A coarser component makes larger ones, up to 8, so that it need not be
    /// enlarged. Gives the bytes it will take.
    pub(super) fn plan(
        &mut self,
        sides: (usize, usize),
        samples: usize,
        most: (usize, usize),
        mcus: (usize, usize),
        progressive: bool,
    ) -> usize {
        let size = |most: usize, factor: usize| {
            let mut size = samples;
            while size < 8 && (samples * most).is_multiple_of(2 * size * factor) {
                size *= 2;
            }
            size
        };
        self.size = (size(most.0, self.sampling.0), size(most.1, self.sampling.1));
        self.last = last_needed(self.size.0, self.size.1);
        let own = |side: usize, factor: usize, most: usize| (side * factor).div_ceil(most);
        let own = (
            own(sides.0, self.sampling.0, most.0),
            own(sides.1, self.sampling.1, most.1),
        );
        self.real_blocks = (own.0.div_ceil(8), own.1.div_ceil(8));
        self.extent = (
            (own.0 * self.size.0).div_ceil(8),
            (own.1 * self.size.1).div_ceil(8),
        );
        self.padded_blocks = (mcus.0 * self.sampling.0, mcus.1 * self.sampling.1);
        self.kept = match (progressive, self.last) {
            (false, _) => 0,
            (true, 0) => 1,
            (true, _) => 64,
        };
        self.blocks() * (self.size.0 * self.size.1 + 2 * self.kept)
    }

    pub(super) fn make_room(&mut self) {
        self.samples = vec![0; self.blocks() * self.size.0 * self.size.1];
        self.coefficients = vec![0; self.blocks() * self.kept];
    }

    pub(super) fn blocks(&self) -> usize {
        self.padded_blocks.0 * self.padded_blocks.1
    }

    fn stride(&self) -> usize {
        self.padded_blocks.0 * self.size.0
    }

    /// The samples from a block's first on, and the distance of rows.
    #[inline(always)]
    pub(super) fn block_mut(&mut self, (column, row): (usize, usize)) -> (&mut [u8], usize) {
        let stride = self.stride();
        let start = row * self.size.1 * stride + column * self.size.0;
        (&mut self.samples[start..], stride)
    }

    /// The coefficients of a block in their order.
    #[inline(always)]
    pub(super) fn coefficients_mut(&mut self, (column, row): (usize, usize)) -> &mut [i16] {
        let block = row * self.padded_blocks.0 + column;
        &mut self.coefficients[block * self.kept..][..self.kept]
    }

    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y.min(self.extent.1 - 1) * self.stride()..][..self.extent.0]
    }
}

/// How a coarser component's samples lie below the pixels in one direction.
#[derive(Clone, Copy)]
pub(super) enum Spread {
    One,
    /// Two pixels a sample: each is mixed, 3 to 1, from the two nearest samples.
    Two,
    /// Any other ratio, samples to pixels: the nearest sample.
    Nearest(usize, usize),
}

impl Spread {
    pub(super) fn new(samples: usize, pixels: usize) -> Self {
        if samples == pixels {
            Self::One
        } else if 2 * samples == pixels {
            Self::Two
        } else {
            Self::Nearest(samples, pixels)
        }
    }
}

/// Puts into `out` one row of pixels' worth of a component.
pub(super) fn spread_row(
    component: &Component,
    (across, along): (Spread, Spread),
    y: usize,
    mixed: &mut Vec<u16>,
    out: &mut [u8],
) {
    if let (Spread::One, Spread::One) = (across, along) {
        let row = component.row(y);
        out.copy_from_slice(&row[..out.len()]);
        return;
    }
    mixed.clear();
    match along {
        Spread::One => mixed.extend(component.row(y).iter().map(|&v| 4 * u16::from(v))),
        Spread::Two => {
            let near = component.row(y / 2);
            let far = component.row((y / 2 + y % 2 * 2).saturating_sub(1));
            let mix = |(&near, &far): (&u8, &u8)| 3 * u16::from(near) + u16::from(far);
            mixed.extend(near.iter().zip(far).map(mix));
        }
        Spread::Nearest(samples, pixels) => {
            let row = component.row(y * samples / pixels);
            mixed.extend(row.iter().map(|&v| 4 * u16::from(v)));
        }
    }
    let last = mixed.len() - 1;
    match across {
        Spread::One => {
            for (out, &v) in out.iter_mut().zip(mixed.iter()) {
                *out = ((v + 2) >> 2) as u8;
            }
        }
        Spread::Two => {
            // The first and the last sample have no neighbour beyond them.
            let (ends, length) = ([0, 2 * last, 2 * last + 1], out.len());
            for x in ends.into_iter().filter(|&x| x < length) {
                let near = mixed[x / 2];
                let far = mixed[(x / 2 + x % 2 * 2).saturating_sub(1).min(last)];
                out[x] = ((3 * near + far + 8) >> 4) as u8;
            }
            if let Some(out) = out.get_mut(1) {
                *out = ((3 * mixed[0] + mixed[last.min(1)] + 8) >> 4) as u8;
            }
            let inner = out.get_mut(2..).unwrap_or_default();
            for (out, near) in inner.chunks_mut(2).zip(mixed.windows(3)) {
                out[0] = ((3 * near[1] + near[0] + 8) >> 4) as u8;
                if let Some(out) = out.get_mut(1) {
                    *out = ((3 * near[1] + near[2] + 8) >> 4) as u8;
                }
            }
        }
        Spread::Nearest(samples, pixels) => {
            for (x, out) in out.iter_mut().enumerate() {
                *out = ((mixed[(x * samples / pixels).min(last)] + 2) >> 2) as u8;
            }
        }
    }
}

//! The first of the two primitives: every output pixel is a window of the input times a matrix.
//!
//! In a padded NHWC image the taps of one kernel row are neighbours in memory, so a window is a few
//! *segments* of consecutive floats (three of 3·channels for a 3x3 kernel), and a convolution is a
//! matrix product whose left-hand rows overlap. Nothing is gathered or copied to make them.
//!
//! A tile keeps `GROUPS` runs of `RUN` pixels times one or two vectors of output channels in
//! registers, walks the window float by float, broadcasts each pixel's float and multiplies it with
//! the weights that belong to it. The runs of a tile may lie in different rows, so that images four
//! or seven pixels wide still fill the registers. AVX-512: 14 pixels x 2 vectors, 28 independent
//! sums; 16 loads for 28 multiply-adds.
//!
//! With four output channels or fewer most lanes would be idle. Then the lanes lie along the window
//! instead, and are added up at its end.
//!
//! The loops are written once over the kind of factors. What is said of floats here goes for `f32`;
//! for bf16 a step through the window takes two elements: see [`factors`](crate::factors).

mod narrow;
mod wide;

use crate::factors::{Buffer, Factor};
use crate::scratch::{Lines, Scratch};

/// Where windows and outputs lie: windows in elements of the input, outputs in floats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// Rows of output pixels.
    pub(crate) height: usize,
    /// Columns of output pixels.
    pub(crate) width: usize,
    /// From a pixel's window to its right neighbour's.
    pub(crate) input_pixel: usize,
    /// From a pixel's window to that of the pixel below.
    pub(crate) input_row: usize,
    /// Segments in a window.
    pub(crate) segments: usize,
    /// Elements in a segment.
    pub(crate) segment_len: usize,
    /// From a segment to the next one of the same window.
    pub(crate) segment_stride: usize,
    /// From an output pixel to its right neighbour.
    pub(crate) output_pixel: usize,
    /// From an output pixel to the one below.
    pub(crate) output_row: usize,
    /// Output channels.
    pub(crate) channels: usize,
}

impl Geometry {
    /// Lanes in a segment.
    fn segment_lanes<T: Factor>(&self) -> usize {
        self.segment_len.div_ceil(T::PER_LANE)
    }

    /// Lanes in a window.
    #[inline(always)]
    fn depth<T: Factor>(&self) -> usize {
        self.segments * self.segment_lanes::<T>()
    }

    /// Runs of lanes that lie one behind the other in a window. There is one for each segment, and
    /// one more for the last element of a segment that is not whole lanes.
    #[inline(always)]
    fn runs<T: Factor>(&self) -> usize {
        self.segments << (self.segment_len % T::PER_LANE)
    }

    /// Where run `index` of the window begins, in elements, and how many lanes it has.
    #[inline(always)]
    fn run<T: Factor>(&self, index: usize) -> (usize, usize) {
        let odd = self.segment_len % T::PER_LANE;
        let begin = (index >> odd) * self.segment_stride;
        if index & odd == 0 {
            (begin, self.segment_len / T::PER_LANE)
        } else {
            // The last element once more with the one before it, if there is one.
            (begin + self.segment_len.saturating_sub(2), 1)
        }
    }

    /// Which elements of the segment its lane number `lane` counts.
    fn lane_elements<T: Factor>(&self, lane: usize) -> [Option<usize>; 2] {
        let first = T::PER_LANE * lane;
        match self.segment_len - first {
            _ if T::PER_LANE == 1 => [Some(first), None],
            1 if first == 0 => [Some(0), None],
            1 => [None, Some(first)],
            _ => [Some(first), Some(first + 1)],
        }
    }

    /// Elements that the input must have.
    pub(crate) fn input_len<T: Factor>(&self) -> usize {
        (self.height - 1) * self.input_row
            + (self.width - 1) * self.input_pixel
            + (self.segments - 1) * self.segment_stride
            + self.segment_len.max(T::PER_LANE)
    }

    /// Floats that the output must have.
    pub(crate) fn output_len(&self) -> usize {
        (self.height - 1) * self.output_row + (self.width - 1) * self.output_pixel + self.channels
    }
}

/// A geometry with its weights packed for an instruction set, to be applied to many images.
pub(crate) struct Filter<T: Factor> {
    set: T::Set,
    geometry: Geometry,
    /// Lanes along the window rather than along the output channels.
    narrow: bool,
    /// Narrow: (channels, lanes of the window). Else: blocks of two vectors of channels (the last
    /// may be of one), each (lanes of the window, channels of the block), missing channels zero.
    weights: Buffer<T::Lane, Lines>,
    /// Channels rounded up to whole vectors.
    bias: Lines,
    floor: f32,
}

/// Output channels up to which the lanes lie along the window.
const NARROW: usize = 4;

impl<T: Factor> Filter<T> {
    /// Weights and bias are zero until [`pack`](Self::pack) is called.
    pub(crate) fn new(set: T::Set, geometry: Geometry, relu: bool) -> Self {
        let (depth, channels, lanes) = (geometry.depth::<T>(), geometry.channels, T::lanes(set));
        let padded = channels.next_multiple_of(lanes);
        let narrow = channels <= NARROW && geometry.segment_len >= lanes;
        Self {
            set,
            geometry,
            narrow,
            weights: Buffer::kept(depth * if narrow { channels } else { padded }),
            bias: Lines::zeroed(padded),
            floor: if relu { 0.0 } else { f32::NEG_INFINITY },
        }
    }

    /// `fill(k, row)` writes what element `k` of the window counts for each output channel.
    pub(crate) fn pack(&mut self, fill: impl Fn(usize, &mut [f32]), bias: Option<&[f32]>) {
        let (geometry, lanes) = (&self.geometry, T::lanes(self.set));
        let (depth, channels) = (geometry.depth::<T>(), geometry.channels);
        let padded = channels.next_multiple_of(lanes);
        let segment_lanes = geometry.segment_lanes::<T>();
        let mut rows = [Scratch::zeroed(padded), Scratch::zeroed(padded)];
        for k in 0..depth {
            let (segment, lane) = (k / segment_lanes, k % segment_lanes);
            let elements = geometry.lane_elements::<T>(lane).into_iter();
            for (row, element) in rows.iter_mut().zip(elements).take(T::PER_LANE) {
                match element {
                    Some(element) => fill(
                        segment * geometry.segment_len + element,
                        &mut row[..channels],
                    ),
                    None => row.fill(0.0),
                }
            }
            let [first, second] = &rows;
            if self.narrow {
                for o in 0..channels {
                    self.weights[o * depth + k] = T::lane([first[o], second[o]]);
                }
            } else {
                let blocks = first.chunks(2 * lanes).zip(second.chunks(2 * lanes));
                for (block, (first, second)) in blocks.enumerate() {
                    let at = block * 2 * lanes * depth + k * first.len();
                    let to = &mut self.weights[at..][..first.len()];
                    T::join(self.set, [first, second], to);
                }
            }
        }
        match bias {
            Some(bias) => self.bias[..channels].copy_from_slice(bias),
            None => self.bias.fill(0.0),
        }
    }

    /// Writes every output pixel of one image.
    ///
    /// If segments are shorter than a lane (one element of bf16), the element behind each of them
    /// is read and counts zero: the input must go on for one element, and where that is infinite or
    /// not a number the output is not a number. (In a frame it is the next pixel's or a zero.) So
    /// it is for rows.
    pub(crate) fn apply(&self, input: &[T::Element], output: &mut [f32]) {
        self.apply_to(self.geometry, input, output);
    }

    /// Writes `rows` rows of output pixels; `input` and `output` begin with what belongs to the
    /// first.
    pub(crate) fn apply_rows(&self, rows: usize, input: &[T::Element], output: &mut [f32]) {
        let geometry = Geometry {
            height: rows,
            ..self.geometry
        };
        self.apply_to(geometry, input, output);
    }

    /// [`apply`](Self::apply) for an image of one row that has `width` pixels.
    pub(crate) fn apply_row(&self, width: usize, input: &[T::Element], output: &mut [f32]) {
        let geometry = Geometry {
            height: 1,
            width,
            ..self.geometry
        };
        self.apply_to(geometry, input, output);
    }

    /// From the window of an output pixel to that of the pixel below.
    pub(crate) fn input_row(&self) -> usize {
        self.geometry.input_row
    }

    fn apply_to(&self, geometry: Geometry, input: &[T::Element], output: &mut [f32]) {
        if geometry.height == 0 || geometry.width == 0 {
            return;
        }
        assert!(
            input.len() >= geometry.input_len::<T>(),
            "correlation: the input is too short"
        );
        assert!(
            output.len() >= geometry.output_len(),
            "correlation: the output is too short"
        );
        let operands = Operands {
            geometry,
            input,
            weights: &self.weights,
            bias: &self.bias,
            floor: self.floor,
            output,
        };
        if self.narrow {
            T::run(self.set, narrow::Narrow(operands));
        } else {
            T::run(self.set, wide::Wide(operands));
        }
    }
}

/// What a filter is applied to. The lengths have been checked against the geometry.
struct Operands<'a, T: Factor> {
    geometry: Geometry,
    input: &'a [T::Element],
    weights: &'a [T::Lane],
    bias: &'a [f32],
    floor: f32,
    output: &'a mut [f32],
}

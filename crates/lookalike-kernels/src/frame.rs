//! An image with the zeros around it that windows reach into.

use crate::dispatch::{InstructionSet, per_instruction_set};
use crate::outer::Strides;
use crate::scratch::Scratch;
use crate::taps::Phases;

/// An image with room for the zeros around it.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    top: usize,
    left: usize,
    padded_height: usize,
    padded_width: usize,
}

impl Frame {
    /// With the zeros that the phases of both axes reach into.
    pub(crate) fn new(
        height: usize,
        width: usize,
        channels: usize,
        phases: Option<(&Phases, &Phases)>,
    ) -> Self {
        let (top, padded_height) =
            phases.map_or((0, height), |(vertical, _)| vertical.padded(height));
        let (left, padded_width) =
            phases.map_or((0, width), |(_, horizontal)| horizontal.padded(width));
        Self {
            height,
            width,
            channels,
            top,
            left,
            padded_height,
            padded_width,
        }
    }

    pub(crate) fn row(&self) -> usize {
        self.padded_width * self.channels
    }

    pub(crate) fn len(&self) -> usize {
        self.padded_height * self.row()
    }

    /// Where the pixel is that has this place in the image without the zeros.
    pub(crate) fn at(&self, row: isize, column: isize) -> usize {
        (self.top as isize + row) as usize * self.row()
            + (self.left as isize + column) as usize * self.channels
    }

    pub(crate) fn strides(&self) -> Strides {
        Strides {
            pixel: self.channels,
            row: self.row(),
            image: self.len(),
        }
    }

    /// Copies the image into its frame, zero where `mask` (if not empty) is not positive.
    pub(crate) fn put(&self, set: InstructionSet, image: &[f32], mask: &[f32], padded: &mut [f32]) {
        let before = self.left * self.channels;
        put(
            set,
            image,
            mask,
            self.width * self.channels,
            before,
            self.top,
            self.row(),
            padded,
        );
    }
}

per_instruction_set! {
    fn put<V>(image: &[f32], mask: &[f32], row: usize, before: usize, top: usize, padded_row: usize, padded: &mut [f32]) {
        let rows = image.len() / row;
        let (above, rest) = padded.split_at_mut(top * padded_row);
        let (inside, below) = rest.split_at_mut(rows * padded_row);
        above.fill(0.0);
        below.fill(0.0);
        for (index, (image, padded)) in image.chunks_exact(row).zip(inside.chunks_exact_mut(padded_row)).enumerate() {
            let (zeros, rest) = padded.split_at_mut(before);
            let (pixels, more_zeros) = rest.split_at_mut(row);
            zeros.fill(0.0);
            more_zeros.fill(0.0);
            if mask.is_empty() {
                pixels.copy_from_slice(image);
            } else {
                let mask = &mask[index * row..][..row];
                for ((pixel, &value), &mask) in pixels.iter_mut().zip(image).zip(mask) {
                    *pixel = if mask > 0.0 { value } else { 0.0 };
                }
            }
        }
    }
}

per_instruction_set! {
    /// Adds every channel's sum over the pixels to `sums`.
    pub(crate) fn channel_sums<V>(pixels: &[f32], sums: &mut [f32]) {
        let channels = sums.len();
        // Whole pixels, about 256 floats of them at a time: few channels fill vectors too, and a sum is
        // not needed again before it has been written. At most 32, which have to be added up at the end.
        let period = channels * (256 / channels).clamp(1, 32);
        let mut wide = Scratch::zeroed(period);
        let rows = pixels.chunks_exact(period);
        for row in rows.remainder().chunks_exact(channels) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
        for row in rows {
            for (sum, value) in wide.iter_mut().zip(row) {
                *sum += value;
            }
        }
        for row in wide.chunks_exact(channels) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
}

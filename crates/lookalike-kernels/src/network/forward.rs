//! The forward pass.

use super::{
    ConvolutionStage, IMAGES_TOGETHER, Input, Kind, Network, NormNumbers, NormStage, Workspace,
};
use crate::convolution::images_per_part;
use crate::dispatch::InstructionSet;
use crate::frame::{Load, moments, normalise};
use crate::scratch::Scratch;
use crate::threads::in_pool;
use rayon::prelude::*;
use std::ops::Range;

/// Pixels over which a sum in f32 is exact enough; more are summed up in pieces.
pub(super) const PIXELS_PER_SUM: usize = 256;

impl Network {
    /// The output of `batch` images, (batch, output_len), for a network without batch norm (folded
    /// into its weights).
    ///
    /// # Panics
    ///
    /// If a slice's length does not fit, or if the network has batch norm or a variational code,
    /// which are for training.
    pub fn forward(
        &self,
        workspace: &mut Workspace,
        batch: usize,
        input: Input,
        output: &mut [f32],
    ) {
        let len = match input {
            Input::Floats(floats) => floats.len(),
            Input::Bytes(bytes) => bytes.len(),
        };
        assert_eq!(
            len,
            batch * self.input_len(),
            "network: length of the input"
        );
        assert_eq!(
            output.len(),
            batch * self.output_len(),
            "network: length of the output"
        );
        for stage in &self.stages {
            assert!(
                stage.norm().is_none() && !matches!(stage.kind, Kind::Sample { .. }),
                "network: batch norm and variational codes are for training"
            );
        }
        if batch == 0 {
            return;
        }
        in_pool(|| {
            workspace.grow(self, batch, false);
            let (last, before) = self.segments.split_last().expect("a network has stages");
            for segment in before {
                // Taken out, so that the stage before can be read while this one is written.
                let mut plane = std::mem::take(&mut workspace.stages[segment.end - 1].output);
                let to = &mut plane.all()[..batch * self.stages[segment.end - 1].output];
                self.infer(workspace, segment, batch, input, to);
                workspace.stages[segment.end - 1].output = plane;
            }
            self.infer(workspace, last, batch, input, output);
        });
    }

    /// One segment for the whole batch, keeping nothing but its output.
    fn infer(
        &self,
        workspace: &Workspace,
        segment: &Range<usize>,
        batch: usize,
        input: Input,
        output: &mut [f32],
    ) {
        let first = segment.start;
        // SAFETY: nobody writes a plane of the workspace in here: `output` is no part of it.
        let before = first.checked_sub(1).map(|before| unsafe {
            let len = batch * self.stages[before].output;
            workspace.stages[before].output.range(0..len)
        });
        let input = before.map_or(input, Input::Floats);
        if let Kind::Linear(stage) = &self.stages[first].kind {
            let converted;
            let x = match input {
                Input::Floats(floats) => floats,
                Input::Bytes(bytes) => {
                    converted = to_floats(bytes);
                    &converted
                }
            };
            stage.prepared.forward(x, output);
            return;
        }
        let (from, to) = (
            self.stages[first].input,
            self.stages[segment.end - 1].output,
        );
        let inner = segment.start..segment.end - 1;
        let widest = self.stages[inner].iter().map(|stage| stage.output).max();
        output
            .par_chunks_mut(IMAGES_TOGETHER * to)
            .enumerate()
            .for_each(|(chunk, output)| {
                let count = output.len() / to;
                let len = count * widest.unwrap_or(0);
                let (mut read, mut written) = (Scratch::new(len), Scratch::new(len));
                for index in segment.clone() {
                    let stage = &self.stages[index];
                    let Kind::Convolution(convolution) = &stage.kind else {
                        unreachable!("a segment of several stages is of convolutions");
                    };
                    for image in 0..count {
                        let load = if index > first {
                            Load::Plain(&read[image * stage.input..][..stage.input])
                        } else {
                            let at = (chunk * IMAGES_TOGETHER + image) * from;
                            match input {
                                Input::Floats(floats) => Load::Plain(&floats[at..at + from]),
                                Input::Bytes(bytes) => Load::Bytes(&bytes[at..at + from]),
                            }
                        };
                        let y = match index + 1 == segment.end {
                            true => &mut output[image * to..][..to],
                            false => &mut written[image * stage.output..][..stage.output],
                        };
                        convolution.prepared.forward_image(&load, y, None);
                    }
                    std::mem::swap(&mut read, &mut written);
                }
            });
    }

    /// One segment for the whole batch, with the statistics of the batch norm at its end.
    pub(super) fn forward_segment(
        &self,
        workspace: &mut Workspace,
        segment: Range<usize>,
        batch: usize,
        input: Input,
        noise: &[f32],
    ) {
        let first = segment.start;
        match &self.stages[first].kind {
            Kind::Convolution(_) => {
                let per_part = images_per_part(batch);
                let shared = &*workspace;
                (0..batch.div_ceil(per_part))
                    .into_par_iter()
                    .with_max_len(1)
                    .for_each(|part| {
                        let images = part * per_part..((part + 1) * per_part).min(batch);
                        for chunk in chunks(&images) {
                            // SAFETY: no two parts have an image in common.
                            unsafe { self.forward_chunk(shared, &segment, chunk, input) };
                        }
                        // SAFETY: as above.
                        unsafe { self.sum_moments(shared, segment.end - 1, part, images) };
                    });
                self.finish_moments(workspace, segment.end - 1, batch, per_part);
            }
            Kind::Linear(stage) => {
                let whole = |len: usize| 0..batch * len;
                let (input_len, output_len) = (self.stages[first].input, self.stages[first].output);
                self.normalise_for_linear(workspace, first, batch);
                let converted;
                // SAFETY: the only parallel work is inside the layer, which reads its input and
                // writes its output.
                unsafe {
                    let x = match (first.checked_sub(1), input) {
                        (None, Input::Floats(floats)) => floats,
                        (None, Input::Bytes(bytes)) => {
                            converted = to_floats(bytes);
                            &converted
                        }
                        (Some(before), _) => match self.stages[before].norm() {
                            Some(_) => workspace.stages[first].input.range(whole(input_len)),
                            None => workspace.stages[before].output.range(whole(input_len)),
                        },
                    };
                    let y = workspace.stages[first].output.range_mut(whole(output_len));
                    stage.prepared.forward(x, y);
                }
            }
            Kind::Sample { dim } => {
                assert!(
                    first > 0,
                    "network: a variational code needs layers before it"
                );
                assert_eq!(noise.len(), batch * dim, "network: length of the noise");
                // SAFETY: a loop on this thread alone.
                let (code, sample) = unsafe {
                    (
                        workspace.stages[first - 1].output.range(0..2 * batch * dim),
                        workspace.stages[first].output.range_mut(0..batch * dim),
                    )
                };
                let rows = code
                    .chunks_exact(2 * dim)
                    .zip(sample.chunks_exact_mut(*dim));
                for ((code, sample), noise) in rows.zip(noise.chunks_exact(*dim)) {
                    let (mean, log_variance) = code.split_at(*dim);
                    for c in 0..*dim {
                        let deviation = (0.5 * log_variance[c].clamp(-10.0, 10.0)).exp();
                        sample[c] = mean[c] + noise[c] * deviation;
                    }
                }
            }
        }
    }

    /// A few images through the convolutions of a segment.
    ///
    /// # Safety
    ///
    /// Nobody else is at work on these images.
    pub(super) unsafe fn forward_chunk(
        &self,
        workspace: &Workspace,
        segment: &Range<usize>,
        images: Range<usize>,
        input: Input,
    ) {
        for index in segment.clone() {
            let stage = &self.stages[index];
            let Kind::Convolution(convolution) = &stage.kind else {
                unreachable!("a segment of several stages is of convolutions");
            };
            let buffers = &workspace.stages[index];
            for image in images.clone() {
                let range = image * stage.output..(image + 1) * stage.output;
                // SAFETY: the image is the caller's; the stage before has written its output.
                unsafe {
                    let y = buffers.output.range_mut(range.clone());
                    let choice = convolution.pooled.then(|| buffers.choice.range_mut(range));
                    let load = self.load_input(workspace, index, image, input);
                    convolution.prepared.forward_image(&load, y, choice);
                }
            }
        }
    }

    /// How a convolution reads an image.
    ///
    /// # Safety
    ///
    /// Nobody writes the output of the stage before, for this image.
    pub(super) unsafe fn load_input<'a>(
        &self,
        workspace: &'a Workspace,
        index: usize,
        image: usize,
        input: Input<'a>,
    ) -> Load<'a> {
        let len = self.stages[index].input;
        let range = image * len..(image + 1) * len;
        let Some(before) = index.checked_sub(1) else {
            return match input {
                Input::Floats(floats) => Load::Plain(&floats[range]),
                Input::Bytes(bytes) => Load::Bytes(&bytes[range]),
            };
        };
        let buffers = &workspace.stages[before];
        // SAFETY: the caller's promise.
        let values = unsafe { buffers.output.range(range) };
        match (self.stages[before].norm(), &buffers.norm) {
            (Some(norm), Some(numbers)) => Load::Normalised {
                values,
                by: numbers.scaling(norm.at.relu),
            },
            _ => Load::Plain(values),
        }
    }

    /// Sums up the moments of a part's outputs, if batch norm follows.
    ///
    /// # Safety
    ///
    /// Nobody writes these images' outputs, or is at work on this part.
    unsafe fn sum_moments(
        &self,
        workspace: &Workspace,
        index: usize,
        part: usize,
        images: Range<usize>,
    ) {
        let Some(norm) = self.stages[index].norm() else {
            return;
        };
        let buffers = &workspace.stages[index];
        let len = self.stages[index].output;
        // SAFETY: the caller's promise.
        let (outputs, sums) = unsafe {
            let row = 1 + 2 * norm.channels;
            (
                buffers.output.range(images.start * len..images.end * len),
                buffers.norm_sums.range_mut(part * row..(part + 1) * row),
            )
        };
        part_moments(self.set, outputs, norm.channels, sums);
    }

    /// Puts the parts' moments together: scale and shift of batch norm.
    fn finish_moments(
        &self,
        workspace: &mut Workspace,
        index: usize,
        batch: usize,
        per_part: usize,
    ) {
        let Some(norm) = self.stages[index].norm() else {
            return;
        };
        let buffers = &mut workspace.stages[index];
        let row = 1 + 2 * norm.channels;
        let parts = batch.div_ceil(per_part);
        let (total, rest) = buffers.norm_sums.all()[..parts * row].split_at_mut(row);
        for part in rest.chunks_exact(row) {
            merge(total, part[0], |c| {
                (part[1 + c], part[1 + norm.channels + c])
            });
        }
        if let Some(numbers) = &mut buffers.norm {
            numbers.take(norm, total);
        }
    }

    /// Applies the batch norm before a linear layer, which reads its input many times.
    fn normalise_for_linear(&self, workspace: &mut Workspace, index: usize, batch: usize) {
        let Some(before) = index.checked_sub(1) else {
            return;
        };
        let (Some(norm), Some(numbers)) =
            (self.stages[before].norm(), &workspace.stages[before].norm)
        else {
            return;
        };
        let len = self.stages[index].input;
        // SAFETY: nobody writes the output of a finished stage; each piece of the input is written
        // by one thread.
        let (from, to) = unsafe {
            (
                workspace.stages[before].output.range(0..batch * len),
                workspace.stages[index].input.range_mut(0..batch * len),
            )
        };
        to.par_chunks_mut(len)
            .zip(from.par_chunks(len))
            .for_each(|(to, from)| normalise(self.set, from, numbers.scaling(norm.at.relu), to));
    }
}

fn to_floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .iter()
        .map(|&b| f32::from(b) * (1.0 / 255.0))
        .collect()
}

/// A part's images, a few at a time.
pub(super) fn chunks(images: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = images.end;
    images
        .clone()
        .step_by(IMAGES_TOGETHER)
        .map(move |first| first..(first + IMAGES_TOGETHER).min(end))
}

/// Count, means and sums of squares around them, of whole pixels.
///
/// Each piece's mean and its sum of squares around that mean in f32, then put together in f64
/// (Chan, Golub and LeVeque, 1979): no cancellation however large the mean.
fn part_moments(set: InstructionSet, outputs: &[f32], channels: usize, sums: &mut [f64]) {
    sums.fill(0.0);
    let mut piece_moments = Scratch::new(2 * channels);
    for piece in outputs.chunks(PIXELS_PER_SUM * channels) {
        moments(set, piece, &mut piece_moments);
        let (mean, squares) = piece_moments.split_at(channels);
        let count = (piece.len() / channels) as f64;
        merge(sums, count, |c| (f64::from(mean[c]), f64::from(squares[c])));
    }
}

/// Merges the moments of more pixels into `sums`; `more` gives a channel's mean and squares.
fn merge(sums: &mut [f64], count: f64, more: impl Fn(usize) -> (f64, f64)) {
    let (before, rest) = sums.split_at_mut(1);
    let (means, squares) = rest.split_at_mut(rest.len() / 2);
    let both = before[0] + count;
    let share = count / both;
    for (c, (mean, square)) in means.iter_mut().zip(squares).enumerate() {
        let (more_mean, more_square) = more(c);
        let delta = more_mean - *mean;
        *mean += delta * share;
        *square += more_square + delta * delta * before[0] * share;
    }
    before[0] = both;
}

impl NormNumbers {
    /// Of the batch's moments: count, means, sums of squares.
    fn take(&mut self, norm: &NormStage, total: &[f64]) {
        let (means, squares) = total[1..].split_at(norm.channels);
        for c in 0..norm.channels {
            let variance = (squares[c] / total[0]) as f32;
            self.mean[c] = means[c] as f32;
            self.unbiased[c] = (squares[c] / (total[0] - 1.0).max(1.0)) as f32;
            self.inverse[c] = 1.0 / (variance + norm.at.epsilon).sqrt();
            self.scale[c] = norm.gamma[c] * self.inverse[c];
            self.shift[c] = norm.beta[c] - self.mean[c] * self.scale[c];
        }
    }
}

impl ConvolutionStage {
    /// Floats of one image's rows before pooling, as a range of the output after it.
    pub(super) fn rows_after_pooling(&self, rows: &Range<usize>) -> Range<usize> {
        match self.pooled {
            true => rows.start / 2 * self.row..rows.end.div_ceil(2) * self.row,
            false => rows.start * self.large_row..rows.end * self.large_row,
        }
    }
}

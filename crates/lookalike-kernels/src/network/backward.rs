//! The backward pass.

use super::forward::{PIXELS_PER_SUM, chunks};
use super::{
    ConvolutionStage, Example, Gradient, Input, Kind, Network, NormNumbers, NormStage, Workspace,
};
use crate::convolution::{Backward, images_per_part};
use crate::frame::{Load, NormSlopes, norm_slope_sums};
use crate::loss;
use crate::scratch::Scratch;
use crate::threads::in_pool;
use rayon::prelude::*;
use std::ops::Range;

impl Network {
    /// One training step's loss, the mean over all elements (plus the divergence of a variational
    /// code), and its gradient with respect to the parameters that were [loaded](Self::load).
    ///
    /// # Panics
    ///
    /// If the network was not made for training, if a slice's length does not fit, or if the last
    /// layer is neither linear nor a convolution without batch norm and pooling.
    pub fn gradient(
        &self,
        workspace: &mut Workspace,
        batch: usize,
        example: &Example,
        gradient: &mut Gradient,
    ) -> f64 {
        assert!(self.training, "network: it was not made for training");
        let lengths = [
            ("inputs", example.inputs.len(), batch * self.input_len()),
            ("targets", example.targets.len(), batch * self.output_len()),
            ("gradient", gradient.parameters.len(), self.parameters),
            ("means", gradient.means.len(), self.statistics),
            ("variances", gradient.variances.len(), self.statistics),
        ];
        for (what, len, wanted) in lengths {
            assert_eq!(len, wanted, "network: length of the {what}");
        }
        assert!(batch > 0, "network: an empty batch has no gradient");
        in_pool(|| self.step(workspace, batch, example, gradient))
    }

    fn step(
        &self,
        workspace: &mut Workspace,
        batch: usize,
        example: &Example,
        gradient: &mut Gradient,
    ) -> f64 {
        workspace.grow(self, batch, true);
        let input = Input::Floats(example.inputs);
        let (last, before) = self.segments.split_last().expect("a network has stages");
        for segment in before {
            let segment = segment.clone();
            self.forward_segment(workspace, segment, batch, input, example.noise);
        }
        match &self.stages[last.end - 1].kind {
            Kind::Convolution(stage) => {
                assert!(
                    !stage.pooled && stage.norm.is_none(),
                    "network: no pooling and no batch norm after the last layer"
                );
                self.turn(workspace, last.clone(), batch, example);
            }
            Kind::Linear(_) => {
                self.forward_segment(workspace, last.clone(), batch, input, example.noise);
                self.losses(workspace, batch, example);
                self.backward_linear(workspace, last.start, batch, example, gradient);
            }
            Kind::Sample { .. } => panic!("network: the last layer cannot be a variational code"),
        }
        self.finish_segment(workspace, last.clone(), batch, gradient);
        let mut divergence = 0.0;
        for segment in before.iter().rev() {
            match &self.stages[segment.start].kind {
                Kind::Convolution(_) => self.backward_segment(workspace, segment, batch, example),
                Kind::Linear(_) => {
                    self.backward_linear(workspace, segment.start, batch, example, gradient);
                }
                Kind::Sample { dim } => {
                    divergence +=
                        self.backward_sample(workspace, segment.start, *dim, batch, example);
                }
            }
            self.finish_segment(workspace, segment.clone(), batch, gradient);
        }
        self.statistics(workspace, gradient);
        let parts = batch.div_ceil(images_per_part(batch));
        let losses = workspace.losses.all()[..parts].iter().sum::<f64>();
        losses / example.targets.len() as f64 + divergence
    }

    /// The last segment: forward, loss and backward, a few images at a time.
    fn turn(
        &self,
        workspace: &mut Workspace,
        segment: Range<usize>,
        batch: usize,
        example: &Example,
    ) {
        let per_part = images_per_part(batch);
        let shared = &*workspace;
        (0..batch.div_ceil(per_part))
            .into_par_iter()
            .with_max_len(1)
            .for_each(|part| {
                let images = part * per_part..((part + 1) * per_part).min(batch);
                // SAFETY: no two parts have an image in common, and each part has sums of its own.
                unsafe {
                    self.clear_part(shared, &segment, part);
                    let mut sum = 0.0;
                    for chunk in chunks(&images) {
                        let input = Input::Floats(example.inputs);
                        self.forward_chunk(shared, &segment, chunk.clone(), input);
                        sum += self.loss_chunk(shared, chunk.clone(), example);
                        self.backward_chunk(shared, &segment, chunk, part, example.inputs);
                    }
                    shared.losses.range_mut(part..part + 1)[0] = sum;
                }
            });
    }

    fn backward_segment(
        &self,
        workspace: &mut Workspace,
        segment: &Range<usize>,
        batch: usize,
        example: &Example,
    ) {
        let per_part = images_per_part(batch);
        let shared = &*workspace;
        (0..batch.div_ceil(per_part))
            .into_par_iter()
            .with_max_len(1)
            .for_each(|part| {
                let images = part * per_part..((part + 1) * per_part).min(batch);
                // SAFETY: no two parts have an image in common, and each part has sums of its own.
                unsafe {
                    self.clear_part(shared, segment, part);
                    if segment.len() == 1 {
                        // Nothing to find in the cache: the more images, the fewer sums to write.
                        self.backward_chunk(shared, segment, images, part, example.inputs);
                    } else {
                        for chunk in chunks(&images) {
                            self.backward_chunk(shared, segment, chunk, part, example.inputs);
                        }
                    }
                }
            });
    }

    /// The losses of images whose output is there, each part's sum in its place.
    fn losses(&self, workspace: &mut Workspace, batch: usize, example: &Example) {
        let per_part = images_per_part(batch);
        let shared = &*workspace;
        (0..batch.div_ceil(per_part))
            .into_par_iter()
            .with_max_len(1)
            .for_each(|part| {
                let images = part * per_part..((part + 1) * per_part).min(batch);
                // SAFETY: no two parts have an image in common.
                unsafe {
                    let sum = self.loss_chunk(shared, images, example);
                    shared.losses.range_mut(part..part + 1)[0] = sum;
                }
            });
    }

    /// Sum of some images' losses, and the gradients of their logits.
    ///
    /// # Safety
    ///
    /// Nobody else is at work on these images.
    unsafe fn loss_chunk(
        &self,
        workspace: &Workspace,
        images: Range<usize>,
        example: &Example,
    ) -> f64 {
        let len = self.output_len();
        let buffers = &workspace.stages[self.stages.len() - 1];
        let range = images.start * len..images.end * len;
        // SAFETY: the caller's promise.
        let (logits, slopes) = unsafe {
            (
                buffers.output.range(range.clone()),
                workspace.slots[buffers.slot].range_mut(range.clone()),
            )
        };
        let scale = 1.0 / example.targets.len() as f32;
        let targets = example.targets[range].chunks(loss::PIECE);
        let pieces = logits.chunks(loss::PIECE).zip(targets);
        pieces
            .zip(slopes.chunks_mut(loss::PIECE))
            .map(|((logits, targets), slopes)| {
                f64::from(loss::piece(
                    self.set,
                    example.loss,
                    scale,
                    logits,
                    targets,
                    slopes,
                ))
            })
            .sum()
    }

    /// Clears a part's sums of the segment's stages and of the batch norm before it.
    ///
    /// # Safety
    ///
    /// Nobody else is at work on the part.
    unsafe fn clear_part(&self, workspace: &Workspace, segment: &Range<usize>, part: usize) {
        for index in segment.clone() {
            if let Kind::Convolution(stage) = &self.stages[index].kind {
                let len = stage.prepared.sums_len();
                let range = part * len..(part + 1) * len;
                // SAFETY: the caller's promise.
                unsafe { workspace.stages[index].weight_sums.range_mut(range) }.fill(0.0);
            }
        }
        let Some(before) = segment.start.checked_sub(1) else {
            return;
        };
        if let Some(norm) = self.stages[before].norm() {
            // SAFETY: the caller's promise.
            unsafe { norm_part(workspace, before, norm, part) }.fill(0.0);
        }
    }

    /// A few images back through the convolutions of a segment.
    ///
    /// # Safety
    ///
    /// Nobody else is at work on these images or on the part.
    unsafe fn backward_chunk(
        &self,
        workspace: &Workspace,
        segment: &Range<usize>,
        images: Range<usize>,
        part: usize,
        inputs: &[f32],
    ) {
        for index in segment.clone().rev() {
            let Kind::Convolution(stage) = &self.stages[index].kind else {
                unreachable!("a segment of several stages is of convolutions");
            };
            let len = stage.prepared.sums_len();
            // SAFETY: the part is the caller's.
            let sums = unsafe {
                let range = part * len..(part + 1) * len;
                workspace.stages[index].weight_sums.range_mut(range)
            };
            let mut what = StageBackward {
                network: self,
                workspace,
                stage,
                index,
                first: images.start,
                part,
                inputs,
            };
            stage
                .prepared
                .backward_images(images.len(), &mut what, sums);
        }
    }

    /// Adds to a part's sums what the gradient of the batch norm after stage `index` needs of some
    /// images.
    ///
    /// # Safety
    ///
    /// The images' slopes are there, and nobody else is at work on the part.
    unsafe fn sum_norm_slopes(
        &self,
        workspace: &Workspace,
        index: usize,
        part: usize,
        images: Range<usize>,
    ) {
        let (Some(norm), Some(numbers)) =
            (self.stages[index].norm(), &workspace.stages[index].norm)
        else {
            return;
        };
        let (buffers, len) = (&workspace.stages[index], self.stages[index].output);
        let range = images.start * len..images.end * len;
        // SAFETY: the caller's promise.
        let (slopes, values, total) = unsafe {
            (
                workspace.slots[buffers.slot].range(range.clone()),
                buffers.output.range(range),
                norm_part(workspace, index, norm, part),
            )
        };
        let mut sums = Scratch::new(2 * norm.channels);
        let piece = PIXELS_PER_SUM * norm.channels;
        for (slopes, values) in slopes.chunks(piece).zip(values.chunks(piece)) {
            sums.fill(0.0);
            let by = numbers.scaling(norm.at.relu);
            norm_slope_sums(self.set, slopes, values, by, &numbers.mean, &mut sums);
            for (total, &sum) in total.iter_mut().zip(sums.iter()) {
                *total += f64::from(sum);
            }
        }
    }

    fn backward_linear(
        &self,
        workspace: &mut Workspace,
        index: usize,
        batch: usize,
        example: &Example,
        gradient: &mut Gradient,
    ) {
        let Kind::Linear(stage) = &self.stages[index].kind else {
            unreachable!("a linear stage was asked for");
        };
        let shared = &*workspace;
        let (input, output) = (self.stages[index].input, self.stages[index].output);
        let buffers = &shared.stages[index];
        let before = index.checked_sub(1);
        // SAFETY: the layer reads its input, output and slopes and writes the slopes of the stage
        // before, which are in the other slot.
        unsafe {
            let x = match before {
                None => example.inputs,
                Some(before) if self.stages[before].norm().is_some() => {
                    buffers.input.range(0..batch * input)
                }
                Some(before) => shared.stages[before].output.range(0..batch * input),
            };
            let dx = match before {
                None => &mut [],
                Some(before) => {
                    let slot = &shared.slots[shared.stages[before].slot];
                    slot.range_mut(0..batch * input)
                }
            };
            let y = buffers.output.range(0..batch * output);
            let dy = shared.slots[buffers.slot].range(0..batch * output);
            let (weight, bias) = (stage.weight.clone(), stage.bias.clone());
            let parameters = &mut *gradient.parameters;
            let (dw, db) = match weight.end <= bias.start {
                true => {
                    let (low, high) = parameters.split_at_mut(bias.start);
                    (&mut low[weight], &mut high[..bias.len()])
                }
                false => {
                    let (low, high) = parameters.split_at_mut(weight.start);
                    (&mut high[..weight.len()], &mut low[bias])
                }
            };
            stage.prepared.backward(x, y, dy, dx, dw, Some(db));
        }
        let Some(before) = before.filter(|&before| self.stages[before].norm().is_some()) else {
            return;
        };
        let per_part = images_per_part(batch);
        (0..batch.div_ceil(per_part))
            .into_par_iter()
            .with_max_len(1)
            .for_each(|part| {
                let images = part * per_part..((part + 1) * per_part).min(batch);
                // SAFETY: no two parts have an image in common, and each part has sums of its own.
                unsafe {
                    self.clear_part(shared, &(index..index + 1), part);
                    self.sum_norm_slopes(shared, before, part, images);
                }
            });
    }

    /// The gradient of the sample and of the divergence, which is returned.
    fn backward_sample(
        &self,
        workspace: &mut Workspace,
        index: usize,
        dim: usize,
        batch: usize,
        example: &Example,
    ) -> f64 {
        let (code, slopes, to) = {
            let (before, this) = (&workspace.stages[index - 1], &workspace.stages[index]);
            // SAFETY: a loop on this thread alone; the two slots are different.
            unsafe {
                (
                    before.output.range(0..2 * batch * dim),
                    workspace.slots[this.slot].range(0..batch * dim),
                    workspace.slots[before.slot].range_mut(0..2 * batch * dim),
                )
            }
        };
        let weight = example.divergence_weight / batch as f32;
        let mut divergence = 0.0;
        let rows = code.chunks_exact(2 * dim).zip(slopes.chunks_exact(dim));
        let outputs = example
            .noise
            .chunks_exact(dim)
            .zip(to.chunks_exact_mut(2 * dim));
        for ((code, slope), (noise, to)) in rows.zip(outputs) {
            let (mean, log_variance) = code.split_at(dim);
            for c in 0..dim {
                let log = log_variance[c].clamp(-10.0, 10.0);
                let variance = log.exp();
                divergence += f64::from(mean[c] * mean[c] + variance - log - 1.0);
                to[c] = slope[c] + weight * mean[c];
                let inside = log_variance[c].abs() <= 10.0;
                to[dim + c] = match inside {
                    true => {
                        0.5 * (slope[c] * noise[c] * (0.5 * log).exp() + weight * (variance - 1.0))
                    }
                    false => 0.0,
                };
            }
        }
        0.5 * f64::from(weight) * divergence
    }

    /// Adds up the parts' sums of a segment: gradients of its weights, and those of the batch norm
    /// before it.
    fn finish_segment(
        &self,
        workspace: &mut Workspace,
        segment: Range<usize>,
        batch: usize,
        gradient: &mut Gradient,
    ) {
        let parts = batch.div_ceil(images_per_part(batch));
        for index in segment.clone() {
            let Kind::Convolution(stage) = &self.stages[index].kind else {
                continue;
            };
            let sums = workspace.stages[index].weight_sums.all();
            let sums = &mut sums[..parts * stage.prepared.sums_len()];
            stage
                .prepared
                .finish(sums, &mut gradient.parameters[stage.weight.clone()], None);
            if let Some(bias) = &stage.bias {
                let end = stage.prepared.sums_len();
                gradient.parameters[bias.clone()].copy_from_slice(&sums[end - bias.len()..end]);
            }
        }
        let Some(before) = segment.start.checked_sub(1) else {
            return;
        };
        let Some(norm) = self.stages[before].norm() else {
            return;
        };
        let buffers = &mut workspace.stages[before];
        let (row, channels) = (1 + 2 * norm.channels, norm.channels);
        let (total, rest) = buffers.norm_sums.all()[..parts * row].split_at_mut(row);
        // The first float is the count of the forward pass; the statistics still need its moments.
        let count = (batch * self.stages[before].output / channels) as f64;
        let mut slopes = [0.0; 2];
        let numbers = buffers.norm.as_mut().expect("a stage with batch norm");
        for c in 0..channels {
            for (which, sum) in slopes.iter_mut().enumerate() {
                let at = 1 + which * channels + c;
                *sum = total[at] + rest.chunks_exact(row).map(|part| part[at]).sum::<f64>();
            }
            let inverse = f64::from(numbers.inverse[c]);
            let (dbeta, dgamma) = (slopes[0], slopes[1] * inverse);
            gradient.parameters[norm.at.beta + c] = dbeta as f32;
            gradient.parameters[norm.at.gamma + c] = dgamma as f32;
            // dx = γ/√(variance + ε) · (dy - mean(dy) - x̂ · mean(dy · x̂)), as dy · a + x · b + d.
            let a = f64::from(norm.gamma[c]) * inverse;
            let b = -a * inverse * dgamma / count;
            numbers.a[c] = a as f32;
            numbers.b[c] = b as f32;
            numbers.d[c] = (-a * dbeta / count - b * f64::from(numbers.mean[c])) as f32;
        }
    }

    /// The statistics of this batch, for the caller's running averages.
    fn statistics(&self, workspace: &Workspace, gradient: &mut Gradient) {
        for (stage, buffers) in self.stages.iter().zip(&workspace.stages) {
            if let (Some(norm), Some(numbers)) = (stage.norm(), &buffers.norm) {
                let range = norm.at.statistics..norm.at.statistics + norm.channels;
                gradient.means[range.clone()].copy_from_slice(&numbers.mean);
                gradient.variances[range].copy_from_slice(&numbers.unbiased);
            }
        }
    }
}

/// A part's two sums per channel for the gradient of a batch norm.
///
/// # Safety
///
/// Nobody else is at work on the part.
#[allow(clippy::mut_from_ref)]
unsafe fn norm_part<'a>(
    workspace: &'a Workspace,
    index: usize,
    norm: &NormStage,
    part: usize,
) -> &'a mut [f64] {
    let row = 1 + 2 * norm.channels;
    let range = part * row + 1..(part + 1) * row;
    // SAFETY: the caller's promise.
    unsafe { workspace.stages[index].norm_sums.range_mut(range) }
}

/// Some images' way back through one convolution.
struct StageBackward<'a> {
    network: &'a Network,
    workspace: &'a Workspace,
    stage: &'a ConvolutionStage,
    index: usize,
    /// The image that is number 0 to [`Backward`].
    first: usize,
    part: usize,
    inputs: &'a [f32],
}

// Only `backward_chunk` makes one: these images and this part are its caller's alone.
impl Backward for StageBackward<'_> {
    fn input(&self, image: usize) -> Load<'_> {
        let (index, image) = (self.index, self.first + image);
        // SAFETY: outputs are not written in the backward pass.
        unsafe {
            self.network
                .load_input(self.workspace, index, image, Input::Floats(self.inputs))
        }
    }

    fn slopes(&self, image: usize, rows: Range<usize>) -> Load<'_> {
        let buffers = &self.workspace.stages[self.index];
        let len = self.network.stages[self.index].output;
        let range = self.stage.rows_after_pooling(&rows);
        let at = (self.first + image) * len;
        let range = at + range.start..at + range.end;
        // SAFETY: the stage behind has written these images' slopes, and outputs are not written.
        unsafe {
            let slopes = self.workspace.slots[buffers.slot].range(range.clone());
            let outputs = buffers.output.range(range.clone());
            if self.stage.pooled {
                return Load::Unpooled {
                    slopes,
                    outputs,
                    choice: buffers.choice.range(range),
                    relu: self.stage.prepared.c.relu,
                    rows: rows.len(),
                };
            }
            match (&self.stage.norm, &buffers.norm) {
                (Some(norm), Some(numbers)) => Load::NormSlopes {
                    slopes,
                    values: outputs,
                    by: numbers.slopes(norm.at.relu),
                },
                _ if self.stage.prepared.c.relu => Load::Rectified { slopes, outputs },
                _ => Load::Plain(slopes),
            }
        }
    }

    fn dx(&mut self, image: usize) -> &mut [f32] {
        let len = self.network.stages[self.index].input;
        let at = (self.first + image) * len;
        let slot = self.workspace.stages[self.index - 1].slot;
        // SAFETY: the image is this chunk's; the slot is not the one that is read.
        unsafe { self.workspace.slots[slot].range_mut(at..at + len) }
    }

    fn wrote(&mut self, image: usize) {
        let image = self.first + image;
        let images = image..image + 1;
        // SAFETY: the image's slopes have just been written, and the part is this chunk's.
        unsafe {
            self.network
                .sum_norm_slopes(self.workspace, self.index - 1, self.part, images);
        }
    }
}

impl NormNumbers {
    fn slopes(&self, relu: bool) -> NormSlopes<'_> {
        NormSlopes {
            forward: self.scaling(relu),
            a: &self.a,
            b: &self.b,
            d: &self.d,
        }
    }
}

//! The memory of a pass.

use super::plane::{Bytes, Doubles, Floats};
use super::{Kind, Network, NormNumbers};
use crate::convolution::images_per_part;

/// Memory for passes of one network, used again from call to call.
///
/// Beside it every thread keeps a little of its own.
pub struct Workspace {
    pub(super) stages: Vec<Buffers>,
    /// Gradients of stages' outputs. A stage's is `slots[slot]`; those at the ends of segments
    /// share two in turn.
    pub(super) slots: Vec<Floats>,
    /// Each part's loss.
    pub(super) losses: Doubles,
}

/// What belongs to one stage.
#[derive(Default)]
pub(super) struct Buffers {
    /// (batch, output); before batch norm.
    pub(super) output: Floats,
    /// Which pixel won, as long as `output`, after pooling.
    pub(super) choice: Bytes,
    /// A linear layer's input, where batch norm had to be applied for it.
    pub(super) input: Floats,
    pub(super) norm: Option<NormNumbers>,
    /// Per part: count, means and sums of squares around them; then, backward, two sums per
    /// channel.
    pub(super) norm_sums: Doubles,
    /// Per part: the sums of the weight's gradient.
    pub(super) weight_sums: Floats,
    pub(super) slot: usize,
}

impl Workspace {
    /// Empty: it grows with the first batch.
    pub fn new(network: &Network) -> Self {
        let mut stages: Vec<Buffers> = network
            .stages
            .iter()
            .map(|stage| Buffers {
                norm: stage.norm().map(|norm| NormNumbers::new(norm.channels)),
                ..Buffers::default()
            })
            .collect();
        let mut slots = 2;
        for (index, segment) in network.segments.iter().enumerate() {
            for stage in segment.clone() {
                stages[stage].slot = if stage + 1 == segment.end {
                    index % 2
                } else {
                    slots += 1;
                    slots - 1
                };
            }
        }
        Self {
            stages,
            slots: (0..slots).map(|_| Floats::default()).collect(),
            losses: Doubles::default(),
        }
    }

    /// Makes room for a batch.
    pub(super) fn grow(&mut self, network: &Network, batch: usize, backward: bool) {
        assert_eq!(
            self.stages.len(),
            network.stages.len(),
            "network: a workspace of another network"
        );
        let parts = batch.div_ceil(images_per_part(batch));
        self.losses.grow(2 * parts);
        for (index, stage) in network.stages.iter().enumerate() {
            let buffers = &mut self.stages[index];
            // Without a way back, what is inside a segment stays with its thread.
            if !backward {
                let mut segments = network.segments.iter();
                let between = index + 1 < network.stages.len();
                if between && segments.any(|segment| segment.end == index + 1) {
                    buffers.output.grow(batch * stage.output);
                }
                continue;
            }
            buffers.output.grow(batch * stage.output);
            match &stage.kind {
                Kind::Convolution(convolution) => {
                    if convolution.pooled {
                        buffers.choice.grow(batch * stage.output);
                    }
                    if let Some(norm) = &convolution.norm {
                        buffers.norm_sums.grow(parts * (1 + 2 * norm.channels));
                    }
                    let sums = convolution.prepared.sums_len();
                    buffers.weight_sums.grow(parts * sums);
                }
                Kind::Linear(_) => {
                    if index > 0 && network.stages[index - 1].norm().is_some() {
                        buffers.input.grow(batch * stage.input);
                    }
                }
                Kind::Sample { .. } => {}
            }
            let slot = self.stages[index].slot;
            self.slots[slot].grow(batch * stage.output);
        }
    }
}

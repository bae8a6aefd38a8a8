//! The kernels against Burn's own operations: losses, gradients, statistics, steps, codes.

use lookalike_images::InputShape;
use lookalike_kernels::{Example, Loss, Precision};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::architecture::{Architecture, Plan};
use crate::device::Processor;
use crate::network::{Trainable, Weights};
use crate::optimiser::AdamState;

struct Case {
    plan: Plan,
    weights: Weights,
    inputs: Vec<f32>,
    targets: Vec<f32>,
    noise: Vec<f32>,
    batch: usize,
    loss: Loss,
    /// Whether images are normalised before they are encoded.
    #[cfg_attr(
        not(feature = "burn"),
        expect(dead_code, reason = "only compared where there is Burn")
    )]
    normalises: bool,
}

impl Case {
    fn new(plan: Plan, batch: usize, loss: Loss, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |len: usize| -> Vec<f32> { (0..len).map(|_| random.random()).collect() };
        // The encoder alone answers codes, the decoder alone is given them.
        let input_len = match plan.encoder.is_empty() {
            true => plan.code_dim,
            false => plan.input_len(),
        };
        let target_len = match plan.decoder.is_empty() {
            true => plan.code_dim,
            false => plan.input_len(),
        };
        let mut weights = Weights::initial(&plan, &vec![0.3; plan.shape.channels], seed);
        // What starts at nought or one would hide mistakes.
        for parameter in &mut weights.parameters {
            let noise = draw(parameter.len());
            let moved = parameter.iter_mut().zip(noise);
            moved.for_each(|(p, noise)| *p += 0.1 * (noise - 0.5));
        }
        for mean in &mut weights.means {
            *mean = draw(mean.len());
        }
        for variance in &mut weights.variances {
            *variance = draw(variance.len()).iter().map(|v| v + 0.5).collect();
        }
        Self {
            inputs: draw(batch * input_len),
            targets: match loss {
                // Of either sign and any size.
                Loss::LinearSquaredError => {
                    let targets = draw(batch * target_len);
                    targets.iter().map(|target| 6.0 * target - 3.0).collect()
                }
                _ => draw(batch * target_len),
            },
            noise: match plan.variational {
                true => draw(batch * plan.code_dim),
                false => Vec::new(),
            },
            plan,
            weights,
            batch,
            loss,
            normalises: seed % 2 == 1,
        }
    }

    /// Loss, gradient, running means and variances, and parameters after one step.
    fn step(&self, processor: &Processor, precision: Precision) -> [Vec<f32>; 5] {
        let plan = self.plan.clone();
        let adam = AdamState::new(plan.parameter_count());
        let mut network = Trainable::new(plan, &self.weights, adam, 0.01, processor, precision);
        let example = Example {
            inputs: &self.inputs,
            targets: &self.targets,
            loss: self.loss,
            noise: &self.noise,
            divergence_weight: 0.01,
        };
        let loss = network.loss(self.batch, &example);
        let gradient = network.gradient();
        network.step(1e-3);
        let weights = network.weights();
        [
            vec![loss as f32],
            gradient,
            weights.means.concat(),
            weights.variances.concat(),
            weights.parameters.concat(),
        ]
    }
}

#[cfg(feature = "burn")]
mod by_burn {
    use proptest::prelude::*;

    use super::*;
    use crate::network::{Inference, Trunk};

    impl Case {
        /// The gradient jumps where a ReLU's input is nought and where two pixels of a pooled
        /// square are the same. Where rounding decides which side such a value falls on, the two
        /// paths may both be right and yet differ in all that lies before it. A few inputs are
        /// therefore tried: a fault shows with each of them, a corner that one of them hits is no
        /// corner of the next.
        fn check(mut self) {
            for attempt in 1.. {
                match self.compare() {
                    Ok(()) => break,
                    Err(difference) if attempt == ATTEMPTS => panic!("{difference}"),
                    Err(_) => self.inputs.iter_mut().for_each(|x| *x = 0.02 + 0.95 * *x),
                }
            }
        }

        fn compare(&self) -> Result<(), String> {
            let burn = Processor::Burn(burn::tensor::Device::flex());
            let step = |processor| self.step(processor, Precision::F32);
            let both = (step(&Processor::Cpu), step(&burn));
            let names = ["loss", "gradient", "means", "variances", "parameters"];
            for (name, (kernels, burn)) in names.iter().zip(both.0.iter().zip(&both.1)) {
                close(name, kernels, burn, 2e-4)?;
            }
            // Models are made of both halves.
            if self.plan.encoder.is_empty() || self.plan.decoder.is_empty() {
                return Ok(());
            }
            let normalises = self.normalises;
            let answer = |processor| {
                let network = Inference::new(&self.plan, &self.weights, processor, normalises);
                let bytes: Vec<u8> = self.inputs.iter().map(|x| (x * 255.0) as u8).collect();
                let mut codes = vec![0.0; self.batch * self.plan.code_dim];
                network.encode(&bytes, &mut codes);
                let images = network.decode(&codes);
                (codes, images)
            };
            let both = (answer(&Processor::Cpu), answer(&burn));
            close("codes", &both.0.0, &both.1.0, 1e-4)?;
            close("reconstructions", &both.0.1, &both.1.1, 1e-4)?;
            let maps = |processor| {
                let trunk = Trunk::new(&self.plan, &self.weights, processor, normalises)?;
                let bytes: Vec<u8> = self.inputs.iter().map(|x| (x * 255.0) as u8).collect();
                Some(trunk.maps(self.batch, &bytes))
            };
            match (maps(&Processor::Cpu), maps(&burn)) {
                (Some(kernels), Some(burn)) => close("maps", &kernels, &burn, 1e-4),
                (None, None) => Ok(()),
                _ => Err("one path has a map, the other none".to_owned()),
            }
        }
    }

    /// Inputs tried with the same weights.
    const ATTEMPTS: usize = 4;

    /// Every value within `tolerance` of the largest.
    fn close(what: &str, kernels: &[f32], burn: &[f32], tolerance: f32) -> Result<(), String> {
        assert_eq!(kernels.len(), burn.len(), "{what}");
        let scale = burn.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
        let off = |(x, y): &(&f32, &f32)| x.is_nan() || (*x - *y).abs() > tolerance * scale;
        match kernels.iter().zip(burn).filter(off).count() {
            0 => Ok(()),
            off => Err(format!("{off} of {} {what} are off", kernels.len())),
        }
    }

    prop_compose! {
        fn cases()(
            kind in 0usize..6,
            (height, width) in (8usize..22, 8usize..22),
            colour in any::<bool>(),
            batch in 2usize..7,
            code_dim in 1usize..12,
            bce in any::<bool>(),
            seed in 0u64..1000,
        ) -> Case {
            let channels = if colour { 3 } else { 1 };
            let (architecture, shape) = match kind {
                0 => (Architecture::Conv, InputShape { height, width, channels }),
                1 => (Architecture::Compact, InputShape { height: 12, width: 20, channels }),
                _ => (Architecture::Bottleneck, InputShape { height, width, channels }),
            };
            let plan = Plan::new(architecture, shape, code_dim, kind == 3).expect("a plan");
            let pixels = if bce { Loss::BinaryCrossEntropy } else { Loss::MeanSquaredError };
            match kind {
                4 => Case::new(plan.encoder_alone(), batch, Loss::LinearSquaredError, seed),
                5 => Case::new(plan.decoder_alone(), batch, pixels, seed),
                _ => Case::new(plan, batch, pixels, seed),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 36, ..ProptestConfig::default() })]

        #[test]
        fn a_step_agrees_with_burns_own_operations(case in cases()) {
            case.check();
        }
    }

    impl std::fmt::Debug for Case {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Case")
                .field("shape", &self.plan.shape)
                .field("encoder", &self.plan.encoder)
                .field("batch", &self.batch)
                .field("loss", &self.loss)
                .finish_non_exhaustive()
        }
    }

    #[test]
    fn steps_of_each_stage_agree_with_burns_own_operations() {
        for channels in [1, 3] {
            let shape = InputShape {
                height: 28,
                width: 21,
                channels,
            };
            let plan = Plan::new(Architecture::Bottleneck, shape, 128, false).unwrap();
            Case::new(plan.encoder_alone(), 8, Loss::LinearSquaredError, 5).check();
            Case::new(plan.decoder_alone(), 8, Loss::BinaryCrossEntropy, 6).check();
        }
    }
}

#[test]
fn a_step_in_bf16_comes_near_that_in_f32() {
    for architecture in [Architecture::Conv, Architecture::Bottleneck] {
        let shape = InputShape {
            height: 28,
            width: 28,
            channels: 1,
        };
        let plan = Plan::new(architecture, shape, 32, false).unwrap();
        let case = Case::new(plan, 9, Loss::BinaryCrossEntropy, 3);
        let [loss, gradient, ..] = case.step(&Processor::Cpu, Precision::F32);
        let [near, near_gradient, ..] = case.step(&Processor::Cpu, Precision::Bf16);
        assert!(
            (near[0] - loss[0]).abs() < 1e-2 * loss[0],
            "{near:?}, not {loss:?}"
        );
        assert_ne!(near_gradient, gradient);
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
            products.sum()
        };
        let (a, b) = (&gradient, &near_gradient);
        let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        assert!(cosine > 0.999, "{architecture}: cosine {cosine}");
    }
}

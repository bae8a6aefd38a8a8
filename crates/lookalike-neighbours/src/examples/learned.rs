//! The average of examples, corrected by a logistic regression.
//!
//! Rocchio's method (*Relevance feedback in information retrieval*, 1971) moves a query towards the
//! mean of what is wanted. What tells the examples apart may be a few directions of the codes only,
//! which a linear classifier finds. With a handful of examples in hundreds of dimensions it is
//! right about these and little else, so it begins at Rocchio's answer and is held there: the
//! penalty is on the distance from it (a Gaussian prior around it), and weighs less the more
//! examples there are.
//!
//! The nearness of a code to a query is linear in the query under every metric but Manhattan's,
//! up to a term that does not depend on the query: `q · x / |x|` for the cosine, `q · x` for the
//! inner product, `2 q · x - |x|²` for the Euclidean distance. So the classifier's direction is
//! again a query, which is searched with like any other. Under the Manhattan metric it is learned
//! by Euclidean distances.

use super::average;
use crate::Metric;
use crate::eigen::dot;

/// Codes of the collection by which the spread of nearness is estimated.
pub const BACKGROUND: usize = 256;
/// So many of them are examples of what is not wanted, together as much as one example.
const NEGATIVES: usize = 64;
/// How many units of log odds are one standard deviation of the collection's nearness to the
/// average. This and the penalty were chosen on two labelled collections
/// (docs/quality-findings.md).
const GAIN: f64 = 4.0;
/// The penalty on the squared distance from the average, in spreads of the collection's codes.
const PENALTY: f64 = 0.1;
/// Newton steps; a handful is enough.
const MAX_STEPS: usize = 20;
/// Steps of the conjugate gradient method that solves for a Newton step.
const MAX_INNER_STEPS: usize = 40;
/// How often a step that goes too far is halved.
const MAX_HALVINGS: usize = 20;
/// The gradient at which the optimum is reached, relative to the weight of the examples.
const TOLERANCE: f64 = 1e-5;

/// The code to search with for what is like some examples and unlike others, learned beside some
/// codes of the collection. It is the [`average`] for a single liked example and where all codes
/// of the collection are equally near; `like` must not be empty.
pub fn learned(
    like: &[Vec<f32>],
    unlike: &[Vec<f32>],
    background: &[Vec<f32>],
    metric: Metric,
) -> Vec<f32> {
    let start = average(like, unlike, metric);
    if like.len() < 2 && unlike.is_empty() {
        return start;
    }
    let Some(problem) = Problem::new(&start, like, unlike, background, metric) else {
        return start;
    };
    let code = problem.solve();
    match code.iter().all(|x| x.is_finite()) {
        true => code,
        false => start,
    }
}

/// How nearness depends on a code.
struct Nearness(Metric);

impl Nearness {
    /// What the nearness is linear in.
    fn features(&self, code: &[f32]) -> Vec<f64> {
        let mut features: Vec<f64> = code.iter().map(|&x| x.into()).collect();
        let length = dot(&features, &features).sqrt();
        if self.0 == Metric::Cosine && length > 0.0 {
            features.iter_mut().for_each(|x| *x /= length);
        }
        features
    }

    /// What the product of a query with the features is multiplied by.
    fn factor(&self) -> f64 {
        match self.0 {
            Metric::Cosine | Metric::Dot => 1.0,
            Metric::Euclidean | Metric::Manhattan => 2.0,
        }
    }

    /// What does not depend on the query.
    fn offset(&self, features: &[f64]) -> f64 {
        match self.0 {
            Metric::Cosine | Metric::Dot => 0.0,
            Metric::Euclidean | Metric::Manhattan => -dot(features, features),
        }
    }
}

/// One example.
struct Row {
    features: Vec<f64>,
    /// The part of the log odds that is not learned.
    offset: f64,
    weight: f64,
    /// 1 for what is wanted, 0 for what is not.
    wanted: f64,
}

/// The weights of a linear classifier.
#[derive(Clone)]
struct Weights {
    slope: Vec<f64>,
    bias: f64,
}

impl Weights {
    fn dot(&self, other: &Self) -> f64 {
        dot(&self.slope, &other.slope) + self.bias * other.bias
    }

    /// Adds a multiple of others.
    fn add(&mut self, factor: f64, others: &Self) {
        add(&mut self.slope, factor, &others.slope);
        self.bias += factor * others.bias;
    }

    fn of(&self, row: &Row) -> f64 {
        dot(&self.slope, &row.features) + self.bias
    }
}

/// What is minimised: the logistic loss of the rows and the penalty.
struct Problem {
    rows: Vec<Row>,
    start: Weights,
    /// What a code is multiplied by to be a slope.
    scale: f64,
}

impl Problem {
    /// None where nearness to the average tells nothing apart.
    fn new(
        average: &[f32],
        like: &[Vec<f32>],
        unlike: &[Vec<f32>],
        background: &[Vec<f32>],
        metric: Metric,
    ) -> Option<Self> {
        let nearness = Nearness(metric);
        let average: Vec<f64> = average.iter().map(|&x| x.into()).collect();
        let around: Vec<Vec<f64>> = background
            .iter()
            .map(|code| nearness.features(code))
            .collect();
        let count = around.len().max(1) as f64;
        let mut middle = vec![0.0; average.len()];
        around
            .iter()
            .for_each(|code| add(&mut middle, 1.0 / count, code));
        let near: Vec<f64> = around
            .iter()
            .map(|code| nearness.factor() * dot(&average, code) + nearness.offset(code))
            .collect();
        let mean = near.iter().sum::<f64>() / count;
        let deviation = (near.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
        let squares = around.iter().map(|code| squared_distance(code, &middle));
        let spread = (squares.sum::<f64>() / count).sqrt();
        let gain = GAIN / deviation;
        let scale = gain * nearness.factor() * spread;
        if !(scale.is_normal() && (1.0 / spread).is_normal()) {
            return None;
        }
        let row = |mut features: Vec<f64>, weight: f64, wanted: f64| {
            let offset = gain * (nearness.offset(&features) - mean);
            add(&mut features, -1.0, &middle);
            features.iter_mut().for_each(|x| *x /= spread);
            Row {
                features,
                offset,
                weight,
                wanted,
            }
        };
        // What is wanted and what is not count the same, as much as the fewer of them: a few
        // examples against many tell little, and must not move far from the average.
        let side = like.len().min(unlike.len()).max(1) as f64;
        let negatives = &background[..background.len().min(NEGATIVES)];
        let unwanted = unlike.len() as f64 + 1.0;
        let each = |codes: &[Vec<f32>], weight: f64, wanted: f64| -> Vec<Row> {
            codes
                .iter()
                .map(|code| row(nearness.features(code), weight, wanted))
                .collect()
        };
        let mut rows = each(like, side / like.len() as f64, 1.0);
        rows.extend(each(unlike, side / unwanted, 0.0));
        let negative = side / unwanted / negatives.len() as f64;
        rows.extend(each(negatives, negative, 0.0));
        let mut slope = average;
        slope.iter_mut().for_each(|x| *x *= scale);
        let mut start = Weights { slope, bias: 0.0 };
        // In between what is wanted and what is not.
        let odds = |row: &Row| row.weight * (start.of(row) + row.offset);
        start.bias = -rows.iter().map(odds).sum::<f64>() / (2.0 * side);
        Some(Self { rows, start, scale })
    }

    /// The code whose nearness classifies best, by truncated Newton steps (Lin, Weng and Keerthi,
    /// *Trust region Newton method for large-scale logistic regression*, 2008) with halving in
    /// place of a trust region.
    fn solve(&self) -> Vec<f32> {
        let mut weights = self.start.clone();
        let mut loss = self.loss(&weights);
        let all: f64 = self.rows.iter().map(|row| row.weight).sum();
        for _ in 0..MAX_STEPS {
            let (gradient, curvatures) = self.derivatives(&weights);
            if gradient.dot(&gradient).sqrt() <= TOLERANCE * all {
                break;
            }
            let step = self.newton_step(&gradient, &curvatures);
            let mut factor = 1.0;
            let better = (0..MAX_HALVINGS).find_map(|_| {
                let mut tried = weights.clone();
                tried.add(factor, &step);
                factor /= 2.0;
                let reached = self.loss(&tried);
                (reached < loss).then_some((tried, reached))
            });
            match better {
                Some(better) => (weights, loss) = better,
                None => break,
            }
        }
        let code = weights.slope.iter().map(|x| (x / self.scale) as f32);
        code.collect()
    }

    fn loss(&self, weights: &Weights) -> f64 {
        let losses = self.rows.iter().map(|row| {
            let odds = weights.of(row) + row.offset;
            let wrong = if row.wanted > 0.5 { -odds } else { odds };
            // ln(1 + exp(wrong)), without overflow.
            row.weight * (wrong.max(0.0) + (-wrong.abs()).exp().ln_1p())
        });
        let moved = squared_distance(&weights.slope, &self.start.slope);
        losses.sum::<f64>() + PENALTY / 2.0 * moved
    }

    /// The gradient, and of each row how the loss curves.
    fn derivatives(&self, weights: &Weights) -> (Weights, Vec<f64>) {
        let mut slope = weights.slope.clone();
        add(&mut slope, -1.0, &self.start.slope);
        slope.iter_mut().for_each(|x| *x *= PENALTY);
        let mut gradient = Weights { slope, bias: 0.0 };
        let curvatures = self.rows.iter().map(|row| {
            let chance = 1.0 / (1.0 + (-weights.of(row) - row.offset).exp());
            let residual = row.weight * (chance - row.wanted);
            add(&mut gradient.slope, residual, &row.features);
            gradient.bias += residual;
            row.weight * chance * (1.0 - chance)
        });
        let curvatures = curvatures.collect();
        (gradient, curvatures)
    }

    /// The step to where the gradient would vanish, by conjugate gradients.
    fn newton_step(&self, gradient: &Weights, curvatures: &[f64]) -> Weights {
        let mut step = Weights {
            slope: vec![0.0; gradient.slope.len()],
            bias: 0.0,
        };
        let mut residual = step.clone();
        residual.add(-1.0, gradient);
        let mut direction = residual.clone();
        let mut square = residual.dot(&residual);
        let enough = square * 1e-6;
        for _ in 0..MAX_INNER_STEPS {
            let curved = self.curved(&direction, curvatures);
            let curvature = direction.dot(&curved);
            if square <= enough || curvature <= 0.0 {
                break;
            }
            step.add(square / curvature, &direction);
            residual.add(-square / curvature, &curved);
            let next = residual.dot(&residual);
            let mut turned = residual.clone();
            turned.add(next / square, &direction);
            (direction, square) = (turned, next);
        }
        step
    }

    /// The Hessian times a direction.
    fn curved(&self, direction: &Weights, curvatures: &[f64]) -> Weights {
        let slope = direction.slope.iter().map(|x| PENALTY * x).collect();
        let mut curved = Weights { slope, bias: 0.0 };
        for (row, curvature) in self.rows.iter().zip(curvatures) {
            let change = curvature * direction.of(row);
            add(&mut curved.slope, change, &row.features);
            curved.bias += change;
        }
        curved
    }
}

fn add(to: &mut [f64], factor: f64, what: &[f64]) {
    to.iter_mut()
        .zip(what)
        .for_each(|(to, x)| *to += factor * x);
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMS: usize = 24;

    /// Uniform from -1 to 1, by SplitMix64.
    struct Random(u64);

    impl Random {
        fn float(&mut self) -> f32 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = self.0;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        }

        /// Codes that differ in all dimensions, and by kind only in the first, which is small.
        fn codes(&mut self, count: usize, first: f32) -> Vec<Vec<f32>> {
            let code = |random: &mut Self| {
                let mut code: Vec<f32> = (0..DIMS).map(|_| 2.0 + random.float()).collect();
                code[0] = first + 0.05 * random.float();
                code
            };
            (0..count).map(|_| code(self)).collect()
        }
    }

    /// How many of the nearest half are of the kind that is wanted.
    fn found(code: &[f32], right: &[Vec<f32>], wrong: &[Vec<f32>], metric: Metric) -> usize {
        let all = right.iter().map(|x| (x, true));
        let mut all: Vec<_> = all.chain(wrong.iter().map(|x| (x, false))).collect();
        all.sort_by(|a, b| {
            let distance = |of: &[f32]| metric.distance(code, of);
            distance(a.0).total_cmp(&distance(b.0))
        });
        all[..right.len()]
            .iter()
            .filter(|(_, right)| *right)
            .count()
    }

    #[test]
    fn what_tells_the_examples_apart_is_learned() {
        let mut random = Random(1);
        let (right, wrong) = (random.codes(300, 0.5), random.codes(300, -0.5));
        let background: Vec<_> = right[200..].iter().chain(&wrong[200..]).cloned().collect();
        // Under Manhattan's it is learned by another.
        for metric in [Metric::Cosine, Metric::Euclidean, Metric::Dot] {
            let mut before = 0;
            for count in [4, 16, 64] {
                let (like, unlike) = (&right[..count], &wrong[..count]);
                let by_average = average(like, unlike, metric);
                let learned = learned(like, unlike, &background, metric);
                let count = |code: &[f32]| found(code, &right[64..200], &wrong[64..200], metric);
                let (by_average, by_learning) = (count(&by_average), count(&learned));
                assert!(
                    by_learning >= by_average,
                    "{metric}: {by_learning} {by_average}"
                );
                before = by_learning - by_average;
            }
            assert!(before >= 5, "{metric}: {before} more are found");
        }
    }

    #[test]
    fn few_examples_stay_near_the_average() {
        let mut random = Random(2);
        let background = random.codes(100, 0.0);
        let (like, unlike) = (random.codes(2, 0.3), random.codes(1, -0.3));
        for metric in Metric::ALL {
            let one = learned(&like[..1], &[], &background, metric);
            assert_eq!(one, average(&like[..1], &[], metric), "{metric}");
            for unlike in [&unlike[..], &[]] {
                let start = average(&like, unlike, metric);
                let code = learned(&like, unlike, &background, metric);
                assert_ne!(code, start, "{metric}");
                let near = Metric::Cosine.distance(&code, &start);
                assert!(near < 0.05, "{metric}: {near}");
            }
        }
    }

    #[test]
    fn a_collection_without_spread_teaches_nothing() {
        let (like, unlike) = (vec![vec![1.0, 2.0]; 2], vec![vec![2.0, 1.0]]);
        let same = vec![vec![1.0, 1.0]; 30];
        let zeros = vec![vec![0.0, 0.0]; 30];
        for metric in Metric::ALL {
            for background in [&[][..], &same[..1], &same, &zeros] {
                let code = learned(&like, &unlike, background, metric);
                assert_eq!(code, average(&like, &unlike, metric), "{metric}");
            }
        }
        // Examples that cannot be told apart, and very long codes, still make a code.
        let mut random = Random(3);
        let background = random.codes(50, 0.0);
        let huge = vec![vec![f32::MAX / 4.0; DIMS]; 2];
        for metric in Metric::ALL {
            let code = learned(&background[..2], &background[..2], &background, metric);
            assert!(code.iter().all(|x| x.is_finite()), "{metric}: {code:?}");
            let code = learned(&huge, &background, &background, metric);
            assert!(code.iter().all(|x| x.is_finite()), "{metric}: {code:?}");
        }
    }
}

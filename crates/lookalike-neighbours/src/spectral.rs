//! Coordinates of codes along the leading eigenvectors of their neighbour graph.

use rayon::prelude::*;

use crate::eigen;
use crate::pca::random;
use crate::{Codes, KnnGraph};

/// How [`spectral_embedding`] is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpectralConfig {
    /// Coordinates of every code.
    pub dims: usize,
    /// How far values travel along the graph, 0 to below 1, as in diffusion: eigenvectors are
    /// weighted by `sqrt((1 - alpha) / (1 - alpha * eigenvalue))`.
    pub alpha: f64,
}

/// Eigenvectors computed beside the wanted ones, so that those converge fast.
const SPARE: usize = 24;
/// Rounds of filtering, and the degree of each round's polynomial. Six rounds settle 64
/// eigenvectors of 60,000 codes to within a thousandth.
const ROUNDS: usize = 6;
const DEGREE: usize = 12;
/// Rows that are summed up together: the sum has the same bits on any number of threads.
const PART: usize = 4096;
/// Steps of [`polar`] at most: what is 1e-10 of a matrix comes to full length in them.
const POLAR_STEPS: usize = 64;
/// The share of the identity that [`polar`] adds to a matrix of length a half.
const IDENTITY_SHIFT: f64 = 1e-7;
/// Eigenvalues are taken to be this much below 1 at least: that of a graph in several pieces
/// belongs to the pieces, and must not outweigh everything else without limit.
const MIN_GAP: f64 = 1e-6;

/// The spectral embedding of a graph: `config.dims` coordinates of each of its codes, of length 1.
///
/// The leading eigenvectors of `S` vary slowly along the graph; they are the smoothest functions
/// on it, nearly constant within a cluster. The first, which only says how well connected a code
/// is, is left out. Each of the others is weighted by how far diffusion carries it, so that the
/// inner product of two codes approximates their diffusion similarity (Coifman and Lafon,
/// *Diffusion maps*, 2006; Iscen et al., *Fast spectral ranking for similarity search*, CVPR 2018).
///
/// They are found by subspace iteration with a Chebyshev polynomial that damps all smaller
/// eigenvalues (Zhou, Saad, Tiago and Chelikowsky, *Self-consistent-field calculations using
/// Chebyshev-filtered subspace iteration*, 2006), from `codes`, which already follow the graph.
/// The result depends on the graph and the codes alone. A graph of too few codes gives fewer
/// than `config.dims` eigenvectors; the missing coordinates are 0.
///
/// # Panics
///
/// If `codes` are not as many as those of the graph.
pub fn spectral_embedding(graph: &KnnGraph, codes: Codes, config: &SpectralConfig) -> Vec<f32> {
    let (count, dims) = (graph.len(), config.dims);
    assert_eq!(codes.len(), count, "the graph is of other codes");
    let mut embedding = vec![0.0; count * dims];
    let width = (dims + 1 + SPARE).min(count.saturating_sub(1));
    if width < 2 {
        return embedding;
    }
    let (values, vectors) = leading(graph, codes, width);
    let found = dims.min(width - 1);
    let factors: Vec<f32> = values[1..=found]
        .iter()
        .map(|&value| {
            let value = value.min(1.0 - MIN_GAP);
            ((1.0 - config.alpha) / (1.0 - config.alpha * value)).sqrt() as f32
        })
        .collect();
    embedding
        .par_chunks_exact_mut(dims)
        .zip(vectors.par_chunks_exact(width))
        .for_each(|(row, vector)| {
            for ((to, value), factor) in row.iter_mut().zip(&vector[1..]).zip(&factors) {
                *to = value * factor;
            }
            let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            if length > 0.0 {
                row.iter_mut().for_each(|value| *value /= length);
            }
        });
    embedding
}

/// The `width` largest eigenvalues of `S`, largest first, and their eigenvectors side by side: a
/// row of `width` values for every code.
fn leading(graph: &KnnGraph, codes: Codes, width: usize) -> (Vec<f64>, Vec<f32>) {
    let mut state = 1u64;
    let mut block: Vec<f32> = Vec::with_capacity(graph.len() * width);
    for row in 0..graph.len() {
        let code = codes.row(row);
        let length = code.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
        block.extend((0..width).map(|column| match code.get(column) {
            Some(value) => value / length,
            None => random(&mut state) as f32,
        }));
    }
    orthonormalise(&mut block, width);
    let mut lower = 0.5;
    let mut values = Vec::new();
    for _ in 0..ROUNDS {
        block = filter(graph, block, width, lower);
        orthonormalise(&mut block, width);
        // Rayleigh and Ritz: the best eigenvectors within the space that the block spans.
        let moved = product(graph, &block, width);
        let ritz = eigen::symmetric(inner(&block, &moved, width), width, width);
        block = turned(&block, &ritz.vectors, width);
        values = ritz.values;
        lower = values[width - 1].clamp(0.0, 0.95);
    }
    (values, block)
}

/// Chebyshev's polynomial of `S` on the block: eigenvalues from -1 to `lower` are kept small,
/// those above grow with their distance from it.
fn filter(graph: &KnnGraph, block: Vec<f32>, width: usize, lower: f64) -> Vec<f32> {
    let half = ((lower + 1.0) / 2.0) as f32;
    let centre = ((lower - 1.0) / 2.0) as f32;
    let mut before = block;
    let mut now = product(graph, &before, width);
    combine(&mut now, &before, 1.0 / half, -centre / half, None);
    for _ in 1..DEGREE {
        let mut next = product(graph, &now, width);
        combine(
            &mut next,
            &now,
            2.0 / half,
            -2.0 * centre / half,
            Some(&before),
        );
        before = now;
        now = next;
    }
    now
}

/// `out ← a · out + b · x - minus`.
fn combine(out: &mut [f32], x: &[f32], a: f32, b: f32, minus: Option<&[f32]>) {
    out.par_chunks_mut(PART)
        .zip(x.par_chunks(PART))
        .enumerate()
        .for_each(|(part, (out, x))| {
            for (out, x) in out.iter_mut().zip(x) {
                *out = a * *out + b * x;
            }
            if let Some(minus) = minus {
                for (out, minus) in out.iter_mut().zip(&minus[part * PART..]) {
                    *out -= minus;
                }
            }
        });
}

/// `S` times the block.
fn product(graph: &KnnGraph, block: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![0.0f32; block.len()];
    out.par_chunks_exact_mut(width)
        .enumerate()
        .with_min_len(64)
        .for_each(|(row, out)| {
            let (indices, weights) = graph.row(row);
            for (&index, &weight) in indices.iter().zip(weights) {
                let from = &block[index as usize * width..][..width];
                for (out, from) in out.iter_mut().zip(from) {
                    *out += weight * from;
                }
            }
        });
    out
}

/// The inner products of the columns of a block and of those of its product with a symmetric
/// matrix, `width x width`.
fn inner(a: &[f32], b: &[f32], width: usize) -> Vec<f64> {
    let mut total = column_products(a, b, width);
    // Symmetric up to rounding, and then exactly.
    for i in 0..width {
        for j in 0..i {
            let mean = 0.5 * (total[i * width + j] + total[j * width + i]);
            (total[i * width + j], total[j * width + i]) = (mean, mean);
        }
    }
    total
}

/// The inner products of the columns of `a`, one a row, and those of `b`.
fn column_products(a: &[f32], b: &[f32], width: usize) -> Vec<f64> {
    let parts: Vec<Vec<f64>> = a
        .par_chunks(PART * width)
        .zip(b.par_chunks(PART * width))
        .map(|(a, b)| {
            let mut sums = vec![0.0f64; width * width];
            for (a, b) in a.chunks_exact(width).zip(b.chunks_exact(width)) {
                for (sums, &a) in sums.chunks_exact_mut(width).zip(a) {
                    for (sum, &b) in sums.iter_mut().zip(b) {
                        *sum += f64::from(a) * f64::from(b);
                    }
                }
            }
            sums
        })
        .collect();
    let mut total = vec![0.0; width * width];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(sum, v)| *sum += v);
    }
    total
}

/// Turns rows of `dims` coordinates together, by the rotation or reflection that brings them
/// nearest to `others`, of which there are as many; the inner products of rows stay. The orthogonal
/// Procrustes problem (Schönemann, *Psychometrika*, 1966).
///
/// # Panics
///
/// If `dims` is 0, or there are not as many rows as others.
pub fn align(rows: &[f32], others: &[f32], dims: usize) -> Vec<f32> {
    assert_eq!(rows.len(), others.len(), "rows are aligned one to one");
    turned(
        rows,
        &polar(column_products(others, rows, dims), dims),
        dims,
    )
}

/// The orthogonal matrix that is nearest to a square one, by Newton and Schulz's iteration (Higham,
/// *Functions of Matrices*, 2008, chapter 8). What the matrix says nothing about stays as it is.
fn polar(mut matrix: Vec<f64>, width: usize) -> Vec<f64> {
    let length = matrix.iter().map(|v| v * v).sum::<f64>().sqrt();
    if length > 0.0 {
        matrix.iter_mut().for_each(|value| *value /= 2.0 * length);
    }
    // A matrix of lower rank would lose what lies outside of it.
    matrix
        .iter_mut()
        .step_by(width + 1)
        .for_each(|v| *v += IDENTITY_SHIFT);
    for _ in 0..POLAR_STEPS {
        // X ← (3 X - X Xᵀ X) / 2: singular values between 0 and 1 go to 1.
        let rows = || matrix.chunks_exact(width);
        let gram: Vec<f64> = matrix
            .par_chunks_exact(width)
            .flat_map_iter(|a| rows().map(move |b| eigen::dot(a, b)))
            .collect();
        let mut next: Vec<f64> = matrix.iter().map(|value| 1.5 * value).collect();
        next.par_chunks_exact_mut(width)
            .zip(gram.par_chunks_exact(width))
            .for_each(|(next, gram)| {
                for (row, gram) in rows().zip(gram) {
                    for (next, value) in next.iter_mut().zip(row) {
                        *next -= 0.5 * gram * value;
                    }
                }
            });
        let moved = next.iter().zip(&matrix).map(|(a, b)| (a - b).abs());
        let settled = moved.fold(0.0, f64::max) < 1e-14;
        matrix = next;
        if settled {
            break;
        }
    }
    matrix
}

/// Makes the block's columns orthonormal by the eigenvectors of their inner products; twice, for
/// the first time leaves rounding errors where columns were nearly alike.
fn orthonormalise(block: &mut Vec<f32>, width: usize) {
    for _ in 0..2 {
        let gram = eigen::symmetric(inner(block, block, width), width, width);
        // Columns of nothing stay so, by a scale that is still a number in `f32`.
        let floor = (1e-12 * gram.values[0]).max(1e-60);
        let mut directions = gram.vectors;
        for (direction, value) in directions.chunks_exact_mut(width).zip(&gram.values) {
            let scale = 1.0 / value.max(floor).sqrt();
            direction.iter_mut().for_each(|v| *v *= scale);
        }
        *block = turned(block, &directions, width);
    }
}

/// The block in the coordinates of `directions`, one a row.
fn turned(block: &[f32], directions: &[f64], width: usize) -> Vec<f32> {
    // Transposed, so that the inner loop runs along rows.
    let mut columns = vec![0.0f32; width * width];
    for (row, direction) in directions.chunks_exact(width).enumerate() {
        for (column, &value) in direction.iter().enumerate() {
            columns[column * width + row] = value as f32;
        }
    }
    let mut out = vec![0.0f32; block.len()];
    out.par_chunks_exact_mut(width)
        .zip(block.par_chunks_exact(width))
        .with_min_len(64)
        .for_each(|(out, row)| {
            for (columns, value) in columns.chunks_exact(width).zip(row) {
                for (out, column) in out.iter_mut().zip(columns) {
                    *out += value * column;
                }
            }
        });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DiffusionConfig, Metric};

    /// Clouds of points around corners that are far apart.
    fn clouds(count: usize, clouds: usize, dims: usize) -> Vec<f32> {
        let mut state = 7u64;
        (0..count)
            .flat_map(|i| {
                let mut row: Vec<f32> = (0..dims).map(|_| random(&mut state) as f32).collect();
                row[i % clouds] += 2.5;
                row
            })
            .collect()
    }

    fn graph(codes: Codes) -> KnnGraph {
        let config = DiffusionConfig {
            neighbours: 10,
            ..DiffusionConfig::default()
        };
        KnnGraph::build(codes, Metric::Cosine, &config).unwrap()
    }

    #[test]
    fn eigenvalues_are_those_of_the_whole_matrix() {
        let data = clouds(120, 3, 6);
        let codes = Codes::new(&data, 6).unwrap();
        let graph = graph(codes);
        let mut dense = vec![0.0; 120 * 120];
        for row in 0..120 {
            let (indices, weights) = graph.row(row);
            for (&index, &weight) in indices.iter().zip(weights) {
                dense[row * 120 + index as usize] = f64::from(weight);
            }
        }
        let expected = eigen::symmetric(dense, 120, 1).values;
        let (values, vectors) = leading(&graph, codes, 40);
        for (value, expected) in values.iter().zip(&expected).take(16) {
            assert!((value - expected).abs() < 1e-4, "{value}, not {expected}");
        }
        let gram = inner(&vectors, &vectors, 40);
        for i in 0..40 {
            for j in 0..40 {
                let expected = f64::from(u8::from(i == j));
                assert!((gram[i * 40 + j] - expected).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn clusters_point_the_same_way() {
        let data = clouds(300, 3, 8);
        let codes = Codes::new(&data, 8).unwrap();
        let config = SpectralConfig {
            dims: 8,
            alpha: 0.99,
        };
        let embedding = spectral_embedding(&graph(codes), codes, &config);
        assert_eq!(embedding.len(), 300 * 8);
        let dot = |a: usize, b: usize| -> f32 {
            let row = |i: usize| &embedding[i * 8..(i + 1) * 8];
            row(a).iter().zip(row(b)).map(|(a, b)| a * b).sum()
        };
        let mean = |same: bool| {
            let pairs = (0..300).flat_map(|a| (0..a).map(move |b| (a, b)));
            let chosen: Vec<f32> = pairs
                .filter(|(a, b)| (a % 3 == b % 3) == same)
                .map(|(a, b)| dot(a, b))
                .collect();
            chosen.iter().sum::<f32>() / chosen.len() as f32
        };
        assert!((dot(5, 5) - 1.0).abs() < 1e-5);
        assert!(
            mean(true) > mean(false) + 0.5,
            "{} {}",
            mean(true),
            mean(false)
        );
        assert_eq!(embedding, spectral_embedding(&graph(codes), codes, &config));
    }

    #[test]
    fn rows_are_turned_back() {
        let (count, dims) = (50, 5);
        let mut state = 3u64;
        let mut draw =
            |count: usize| -> Vec<f32> { (0..count).map(|_| random(&mut state) as f32).collect() };
        let rows = draw(count * dims);
        let turn: Vec<f64> = draw(dims * dims).into_iter().map(f64::from).collect();
        let turn = polar(turn, dims);
        for (i, a) in turn.chunks_exact(dims).enumerate() {
            for (j, b) in turn.chunks_exact(dims).enumerate() {
                let expected = f64::from(u8::from(i == j));
                assert!((eigen::dot(a, b) - expected).abs() < 1e-9);
            }
        }
        let away = turned(&rows, &turn, dims);
        assert!(rows.iter().zip(&away).any(|(a, b)| (a - b).abs() > 0.1));
        for (back, expected) in align(&away, &rows, dims).iter().zip(&rows) {
            assert!((back - expected).abs() < 1e-4, "{back}, not {expected}");
        }
    }

    #[test]
    fn rows_keep_their_lengths_whatever_they_are_turned_to() {
        let (count, dims) = (40, 6);
        let rows = clouds(count, 3, dims);
        let flat: Vec<f32> = (0..count * dims)
            .map(|at| if at % dims < 3 { rows[at] } else { 0.0 })
            .collect();
        let zeros = vec![0.0; count * dims];
        let all_alike = [0.3, -0.1, 0.0, 0.7, 0.2, 0.1].repeat(count);
        let turned_to = [&zeros, &all_alike, &flat, &rows];
        for (rows, others) in [&rows, &flat]
            .into_iter()
            .flat_map(|r| turned_to.map(|o| (r, o)))
        {
            let aligned = align(rows, others, dims);
            for (a, b) in aligned.chunks_exact(dims).zip(rows.chunks_exact(dims)) {
                let length = |row: &[f32]| row.iter().map(|v| v * v).sum::<f32>().sqrt();
                assert!((length(a) - length(b)).abs() < 1e-3, "{a:?} of {b:?}");
            }
        }
        assert_eq!(align(&rows, &zeros, dims), rows);
    }

    #[test]
    fn codes_of_nothing_have_coordinates_of_nothing() {
        let config = SpectralConfig {
            dims: 6,
            alpha: 0.99,
        };
        for count in [3, 40] {
            let data = vec![0.0; count * 80];
            let codes = Codes::new(&data, 80).unwrap();
            let embedding = spectral_embedding(&graph(codes), codes, &config);
            assert_eq!(embedding, vec![0.0; count * 6]);
        }
    }

    #[test]
    fn few_codes_give_few_coordinates() {
        for count in [1, 2, 3, 5] {
            let data = clouds(count, 2, 4);
            let codes = Codes::new(&data, 4).unwrap();
            let config = SpectralConfig {
                dims: 6,
                alpha: 0.9,
            };
            let embedding = spectral_embedding(&graph(codes), codes, &config);
            assert_eq!(embedding.len(), count * 6);
            assert!(embedding.iter().all(|v| v.is_finite()));
        }
    }
}

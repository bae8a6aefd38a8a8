//! From coefficients to samples: the inverse cosine transform to 1, 2, 4 or 8 samples a side.

/// The places of the coefficients in their order, row x 8 + column.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// By the number of coefficients in order: how many rows, and columns, they lie in.
const EXTENT: [u8; 65] = {
    let mut extent = [0; 65];
    let (mut most, mut count) = (0, 0);
    while count < 64 {
        let (row, column) = (ZIGZAG[count] / 8, ZIGZAG[count] % 8);
        let larger = if row > column { row } else { column };
        if larger + 1 > most {
            most = larger + 1;
        }
        count += 1;
        extent[count] = most;
    }
    extent
};

/// The last coefficient, in their order, that a block of `width` x `height` samples is made of.
pub(super) fn last_needed(width: usize, height: usize) -> usize {
    let needed = |&place: &u8| usize::from(place % 8) < width && usize::from(place / 8) < height;
    ZIGZAG.iter().rposition(needed).unwrap_or(0)
}

/// cos(k pi / 16) / 2, k from 0 to 8; the others follow by symmetry.
const HALF_COSINES: [f32; 9] = [
    0.5,
    0.490_392_64,
    0.461_939_77,
    0.415_734_8,
    0.353_553_39,
    0.277_785_12,
    0.191_341_71,
    0.097_545_16,
    0.0,
];

/// What coefficient k gives sample n of N: cos((2n + 1) k pi / 2N) / 2, but 1 / sqrt(8) for k = 0. A block made of
/// fewer samples than it has coefficients is its N lowest ones on N samples: a reduced picture.
const fn basis<const N: usize>() -> [[f32; N]; N] {
    let mut table = [[HALF_COSINES[4]; N]; N];
    let mut k = 1;
    while k < N {
        let mut n = 0;
        while n < N {
            // In steps of pi / 16, folded into the first quarter.
            let angle = (2 * n + 1) * k * (8 / N) % 32;
            let angle = if angle > 16 { 32 - angle } else { angle };
            table[k][n] = if angle > 8 {
                -HALF_COSINES[16 - angle]
            } else {
                HALF_COSINES[angle]
            };
            n += 1;
        }
        k += 1;
    }
    table
}

/// One block: the first `count` coefficients in their order, dequantised, laid out row x 8 + column, to `W` x `H`
/// samples at the start of `out`, whose rows are `stride` apart.
///
/// Only additions and multiplications in a fixed order: the same samples on every processor.
#[inline(always)]
fn inverse<const W: usize, const H: usize>(
    block: &[f32; 64],
    count: usize,
    out: &mut [u8],
    stride: usize,
) {
    let (across, along) = (const { basis::<W>() }, const { basis::<H>() });
    let extent = usize::from(EXTENT[count]);
    let mut columns = [[0f32; W]; H];
    for v in 0..extent.min(H) {
        let row: &[f32; W] = block[8 * v..8 * v + W].try_into().expect("W values");
        for y in 0..H {
            for u in 0..W {
                columns[y][u] += along[v][y] * row[u];
            }
        }
    }
    for y in 0..H {
        let mut samples = [128.5f32; W];
        for u in 0..extent.min(W) {
            for x in 0..W {
                samples[x] += across[u][x] * columns[y][u];
            }
        }
        let out = &mut out[y * stride..][..W];
        for x in 0..W {
            out[x] = samples[x].clamp(0.0, 255.0) as i32 as u8;
        }
    }
}

/// As [`inverse`], for sides known at run time: each 1, 2, 4 or 8.
#[inline(always)]
pub(super) fn samples(
    block: &[f32; 64],
    count: usize,
    (width, height): (usize, usize),
    out: &mut [u8],
    stride: usize,
) {
    if count <= 1 {
        let flat = block[0] * HALF_COSINES[4] * HALF_COSINES[4] + 128.5;
        let flat = flat.clamp(0.0, 255.0) as i32 as u8;
        for y in 0..height {
            out[y * stride..][..width].fill(flat);
        }
        return;
    }
    match (width, height) {
        (8, 8) => inverse::<8, 8>(block, count, out, stride),
        (4, 4) => inverse::<4, 4>(block, count, out, stride),
        (2, 2) => inverse::<2, 2>(block, count, out, stride),
        (1, 1) => inverse::<1, 1>(block, count, out, stride),
        (8, 4) => inverse::<8, 4>(block, count, out, stride),
        (4, 8) => inverse::<4, 8>(block, count, out, stride),
        (4, 2) => inverse::<4, 2>(block, count, out, stride),
        (2, 4) => inverse::<2, 4>(block, count, out, stride),
        (2, 1) => inverse::<2, 1>(block, count, out, stride),
        (1, 2) => inverse::<1, 2>(block, count, out, stride),
        (8, 2) => inverse::<8, 2>(block, count, out, stride),
        (2, 8) => inverse::<2, 8>(block, count, out, stride),
        (8, 1) => inverse::<8, 1>(block, count, out, stride),
        (1, 8) => inverse::<1, 8>(block, count, out, stride),
        (4, 1) => inverse::<4, 1>(block, count, out, stride),
        (1, 4) => inverse::<1, 4>(block, count, out, stride),
        _ => unreachable!("blocks have sides of 1, 2, 4 or 8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_those_of_the_definition() {
        for (width, height) in [(8, 8), (4, 4), (2, 2), (1, 1), (8, 4), (1, 2), (4, 8)] {
            let block: [f32; 64] = std::array::from_fn(|i| match i {
                0 => 60.0,
                _ => ((i * 37 % 23) as f32 - 11.0) * 2.0 / (1 + i / 8 + i % 8) as f32,
            });
            let mut out = [0; 64];
            samples(&block, 64, (width, height), &mut out, 8);
            for y in 0..height {
                for x in 0..width {
                    let mut sum = 128.0;
                    for v in 0..height {
                        for u in 0..width {
                            let part = |k: usize, n: usize, of: usize| match k {
                                0 => 0.5f64.sqrt() / 2.0,
                                _ => {
                                    let turn = (2 * n + 1) as f64 * k as f64 / (2 * of) as f64;
                                    (turn * std::f64::consts::PI).cos() / 2.0
                                }
                            };
                            sum += f64::from(block[8 * v + u])
                                * part(u, x, width)
                                * part(v, y, height);
                        }
                    }
                    let found = f64::from(out[8 * y + x]);
                    assert!(
                        (found - sum.clamp(0.0, 255.0)).abs() < 0.51,
                        "{found} {sum}"
                    );
                }
            }
        }
    }

    #[test]
    fn few_coefficients_are_enough_for_few_samples() {
        assert_eq!([1, 2, 4, 8].map(|n| last_needed(n, n)), [0, 4, 24, 63]);
        assert_eq!(last_needed(2, 1), 1);
        assert_eq!(EXTENT[1], 1);
        assert_eq!(EXTENT[3], 2);
        assert_eq!(EXTENT[64], 8);
    }
}

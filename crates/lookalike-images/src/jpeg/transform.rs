//! From coefficients to samples: the inverse cosine transform to 1, 2, 4 or 8 samples a side.

/// The places of the coefficients in their order, row x 8 + column.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The last coefficient, in their order, that a block of `width` x `height` samples is made of.
pub(super) fn last_needed(width: usize, height: usize) -> usize {
    let needed = |&place: &u8| usize::from(place % 8) < width && usize::from(place / 8) < height;
    ZIGZAG.iter().rposition(needed).unwrap_or(0)
}

/// cos(k pi / 16) / 2.
const HALF_COSINES: [f32; 8] = [
    0.5,
    0.490_392_64,
    0.461_939_77,
    0.415_734_8,
    0.353_553_39,
    0.277_785_12,
    0.191_341_71,
    0.097_545_16,
];

/// One line of `N` coefficients to `N` samples: coefficient k gives sample n cos((2n + 1) k pi /
/// 2N) / 2, but the first 1 / sqrt(8). A line made of fewer than 8 samples is its lowest
/// coefficients on those: a reduced picture.
///
/// Only additions and multiplications in a fixed order: the same samples on every processor.
#[inline(always)]
fn line<const N: usize>(c: &[f32; N]) -> [f32; N] {
    let h = &HALF_COSINES;
    let mut out = [0.0; N];
    match N {
        1 => out[0] = c[0] * h[4],
        2 => {
            out[0] = (c[0] + c[1]) * h[4];
            out[1] = (c[0] - c[1]) * h[4];
        }
        4 => {
            let (even, odd) = ((c[0] + c[2]) * h[4], c[1] * h[2] + c[3] * h[6]);
            (out[0], out[3]) = (even + odd, even - odd);
            let (even, odd) = ((c[0] - c[2]) * h[4], c[1] * h[6] - c[3] * h[2]);
            (out[1], out[2]) = (even + odd, even - odd);
        }
        _ => {
            let (e0, e1) = ((c[0] + c[4]) * h[4], (c[0] - c[4]) * h[4]);
            let (e2, e3) = (c[2] * h[2] + c[6] * h[6], c[2] * h[6] - c[6] * h[2]);
            let odd = c[1] * h[1] + c[3] * h[3] + (c[5] * h[5] + c[7] * h[7]);
            (out[0], out[7]) = (e0 + e2 + odd, e0 + e2 - odd);
            let odd = c[1] * h[3] - c[3] * h[7] - (c[5] * h[1] + c[7] * h[5]);
            (out[1], out[6]) = (e1 + e3 + odd, e1 + e3 - odd);
            let odd = c[1] * h[5] - c[3] * h[1] + (c[5] * h[7] + c[7] * h[3]);
            (out[2], out[5]) = (e1 - e3 + odd, e1 - e3 - odd);
            let odd = c[1] * h[7] - c[3] * h[5] + (c[5] * h[3] - c[7] * h[1]);
            (out[3], out[4]) = (e0 - e2 + odd, e0 - e2 - odd);
        }
    }
    out
}

/// One block: dequantised coefficients, laid out row x 8 + column, to `W` x `H` samples at the
/// start of `out`, whose rows are `stride` apart.
#[inline(never)]
fn inverse<const W: usize, const H: usize>(block: &[f32; 64], out: &mut [u8], stride: usize) {
    let mut rows = [[0f32; W]; H];
    // Columns side by side, as vectors.
    for u in 0..W {
        let column = line::<H>(&std::array::from_fn(|v| block[8 * v + u]));
        for y in 0..H {
            rows[y][u] = column[y];
        }
    }
    for (y, row) in rows.iter().enumerate() {
        let samples = line::<W>(row);
        let out = &mut out[y * stride..][..W];
        for x in 0..W {
            out[x] = (samples[x] + 128.5).clamp(0.0, 255.0) as i32 as u8;
        }
    }
}

/// As [`inverse`], for sides known at run time, each 1, 2, 4 or 8, and only the first `count`
/// coefficients in their order other than zero.
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
        (8, 8) => inverse::<8, 8>(block, out, stride),
        (4, 4) => inverse::<4, 4>(block, out, stride),
        (2, 2) => inverse::<2, 2>(block, out, stride),
        (1, 1) => inverse::<1, 1>(block, out, stride),
        (8, 4) => inverse::<8, 4>(block, out, stride),
        (4, 8) => inverse::<4, 8>(block, out, stride),
        (4, 2) => inverse::<4, 2>(block, out, stride),
        (2, 4) => inverse::<2, 4>(block, out, stride),
        (2, 1) => inverse::<2, 1>(block, out, stride),
        (1, 2) => inverse::<1, 2>(block, out, stride),
        (8, 2) => inverse::<8, 2>(block, out, stride),
        (2, 8) => inverse::<2, 8>(block, out, stride),
        (8, 1) => inverse::<8, 1>(block, out, stride),
        (1, 8) => inverse::<1, 8>(block, out, stride),
        (4, 1) => inverse::<4, 1>(block, out, stride),
        (1, 4) => inverse::<1, 4>(block, out, stride),
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
    }
}

//! Rounding to bf16, and what is particular to layers on rounded factors.

use super::convolution::{Case, square};
use super::numbers;
use crate::factors::{round, round_pairs, rounded, widened};
use crate::precision::{Arithmetic, PairSet};
use crate::{Convolution, Padding, Precision};

/// By the definition, in f64: of the two bf16 around the value the nearer one, or the even one.
fn nearest(value: f32) -> f32 {
    let below = f32::from_bits(value.to_bits() & 0xFFFF_0000);
    let above = f32::from_bits((value.to_bits() & 0xFFFF_0000).wrapping_add(0x1_0000));
    let step = f64::from(above) - f64::from(below);
    if above.is_infinite() {
        // The step to where the next number would be.
        let last = f32::from_bits((below.to_bits()).wrapping_sub(0x1_0000));
        let step = f64::from(below) - f64::from(last);
        let middle = f64::from(below) + step / 2.0;
        return if f64::from(value).abs() < middle.abs() {
            below
        } else {
            above
        };
    }
    let part = (f64::from(value) - f64::from(below)) / step;
    let odd = below.to_bits() >> 16 & 1 == 1;
    if part > 0.5 || part == 0.5 && odd {
        above
    } else {
        below
    }
}

/// Floats of every kind, most of them near a tie.
fn awkward() -> Vec<f32> {
    let mut values = vec![
        0.0,
        -0.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        -f32::NAN,
        f32::from_bits(0x7F80_0001),
        f32::from_bits(0xFFFF_FFFF),
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE,
        f32::from_bits(1),
        f32::from_bits(0x007F_FFFF),
        f32::from_bits(0x8000_0001),
        f32::from_bits(0x807F_FFFF),
        f32::from_bits(0x7F7F_7FFF),
        f32::from_bits(0x7F7F_8000),
        f32::from_bits(0xFF7F_8000),
    ];
    for (index, seed) in numbers(1, 400).into_iter().enumerate() {
        let upper = (seed * 32768.0) as i32 as u32 & 0xFFFF;
        let lower = [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF][index % 6];
        values.push(f32::from_bits(upper << 16 | lower));
    }
    values
}

#[test]
fn rounds_to_the_nearest_and_to_even() {
    for (value, want) in [
        (1.0, 0x3F80),
        // Halfway between 1 and the next bf16, 1 + 1/128, and between that and 1 + 2/128.
        (1.0 + 1.0 / 256.0, 0x3F80),
        (1.0 + 3.0 / 256.0, 0x3F82),
        (1.0 + 1.0 / 256.0 + 1.0 / 65536.0, 0x3F81),
        (-1.0 - 3.0 / 256.0, 0xBF82),
        (f32::MAX, 0x7F80),
        (f32::INFINITY, 0x7F80),
        (f32::NEG_INFINITY, 0xFF80),
        (f32::MIN_POSITIVE, 0x0080),
        (f32::MIN_POSITIVE / 2.0, 0),
        (-f32::MIN_POSITIVE / 2.0, 0x8000),
        (-0.0, 0x8000),
    ] {
        assert_eq!(rounded(value), want, "{value:e}");
    }
    for value in awkward() {
        let got = widened(rounded(value));
        if value.is_nan() {
            assert!(got.is_nan());
        } else if value.is_normal() {
            assert_eq!(got, nearest(value), "{value:e}");
        } else {
            assert_eq!(got, if value.is_infinite() { value } else { 0.0 });
        }
        assert_eq!(got.is_sign_negative(), value.is_sign_negative());
    }
}

#[test]
fn every_set_rounds_the_same() {
    let values = awkward();
    for set in PairSet::available() {
        for len in [0, 1, 5, 15, 16, 17, 40, values.len()] {
            let (first, second) = (&values[..len], &values[values.len() - len..]);
            let mut halves = vec![0; len];
            round(set, first, &mut halves);
            let want: Vec<u16> = first.iter().map(|&value| rounded(value)).collect();
            assert_eq!(halves, want, "{set:?}");
            let mut pairs = vec![0; len];
            round_pairs(set, first, second, &mut pairs);
            for ((pair, first), &second) in pairs.into_iter().zip(want).zip(second) {
                let pair: [u16; 2] = if cfg!(target_endian = "little") {
                    [pair as u16, (pair >> 16) as u16]
                } else {
                    [(pair >> 16) as u16, pair as u16]
                };
                assert_eq!(pair, [first, rounded(second)], "{set:?}");
            }
        }
    }
}

/// Rounding a factor changes a product by 1 part in 256 at most, two factors by 2 in 256 and a
/// little.
#[test]
fn comes_near_the_layer_in_f32() {
    for c in [
        square(14, 8, 12),
        Convolution {
            upsample: true,
            ..square(7, 5, 3)
        },
    ] {
        let c = Convolution { relu: false, ..c };
        let case = Case::new(&c, 3, 9);
        let mut y = vec![f32::NAN; c.output_len(3)];
        let (x, weight) = (&case.x, &case.weight);
        crate::conv_forward(Precision::Bf16, &c, 3, x, weight, Some(&case.bias), &mut y);
        let mut exact = y.clone();
        crate::conv_forward(
            Precision::F32,
            &c,
            3,
            x,
            weight,
            Some(&case.bias),
            &mut exact,
        );
        assert_ne!(y, exact);
        let mut worst = 0.0f64;
        for (got, want) in y.iter().zip(case.output(&c, 3)) {
            worst = worst.max((f64::from(*got) - want.value).abs() / want.absolute);
        }
        assert!(worst <= 2.1 / 256.0, "{worst:e}");
    }
}

/// A window's neighbours, infinite or not, are not its business.
#[test]
fn nothing_outside_a_window_counts() {
    for channels in [1, 3, 4] {
        let c = Convolution {
            padding: Padding::valid(),
            relu: false,
            ..square(6, channels, 5)
        };
        let mut case = Case::new(&c, 1, 3);
        let clean = case.forward(Arithmetic::in_use(Precision::Bf16), &c, 1);
        // The last pixel is seen by the last window only.
        case.x[36 * channels - 1] = f32::INFINITY;
        let y = case.forward(Arithmetic::in_use(Precision::Bf16), &c, 1);
        let last = y.len() - 5;
        assert_eq!(y[..last], clean[..last], "{channels} channels");
        assert!(y[last..].iter().all(|y| !y.is_finite()));
    }
}

use super::*;
use crate::symmetry::Symmetry;
use proptest::prelude::*;

const GREY: InputShape = InputShape {
    channels: 1,
    height: 28,
    width: 28,
};

fn distorted(augmentation: &Augmentation, source: &[u8], shape: InputShape, seed: u64) -> Vec<f32> {
    let mut out = vec![f32::NAN; shape.values()];
    augmentation.apply(source, shape, seed, &mut out);
    out
}

fn blob(shape: InputShape) -> Vec<u8> {
    let mut pixels = Vec::new();
    for y in 0..shape.height {
        for x in 0..shape.width {
            let (dx, dy) = (
                x as f32 / shape.width as f32 - 0.4,
                y as f32 / shape.height as f32 - 0.55,
            );
            let value = 255.0 * (-20.0 * (dx * dx + 2.0 * dy * dy)).exp();
            pixels.extend(std::iter::repeat_n(value as u8, shape.channels));
        }
    }
    pixels
}

/// The displacement of every pixel, in pixels.
fn displacements(augmentation: &Augmentation, shape: InputShape, seed: u64) -> Vec<(f32, f32)> {
    let mut augmenter = Augmenter::new(augmentation, shape);
    let affine = augmenter.draw(seed);
    let mut all = Vec::new();
    for y in 0..shape.height {
        augmenter.places(&affine, y);
        for (x, (to_x, to_y)) in augmenter.xs.iter().zip(&augmenter.ys).enumerate() {
            all.push((to_x - 1.0 - x as f32, to_y - 1.0 - y as f32));
        }
    }
    all
}

#[test]
fn the_weights_of_a_pixel_sum_to_one() {
    for (points, length) in [(1, 5), (4, 28), (4, 3), (7, 64)] {
        let weights = cubic_weights(points, length);
        for pixel in 0..length {
            let sum: f32 = (0..points)
                .map(|point| weights[point * length + pixel])
                .sum();
            assert!((sum - 1.0).abs() < 1e-5, "{points} {length} {pixel}: {sum}");
        }
    }
}

#[test]
fn cubic_weights_are_those_of_pytorch() {
    // The row for a quarter past a point: its fractions of 256 are -27, 225, 67 and -9.
    let weights = cubic_weights(4, 8);
    let at = |pixel: usize| [0, 1, 2, 3].map(|point| weights[point * 8 + pixel]);
    for (found, expected) in
        at(3)
            .into_iter()
            .zip([-0.105_468_75, 0.878_906_25, 0.261_718_75, -0.035_156_25])
    {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}

#[test]
fn a_small_nudge_is_nearly_the_identity() {
    let source = blob(GREY);
    let plain = distorted(&Augmentation::strength(0.0), &source, GREY, 1);
    let nudged = distorted(&Augmentation::strength(1e-4), &source, GREY, 1);
    for (a, b) in plain.iter().zip(&nudged) {
        assert!((a - b).abs() < 2e-3, "{a} {b}");
    }
}

#[test]
fn a_shift_by_whole_pixels_moves_them() {
    // The draw of a seed is known from its displacements, so the moved image can be made by hand.
    let shift = Augmentation {
        shift: 0.25,
        ..Augmentation::strength(0.0)
    };
    let source = blob(GREY);
    let (dx, dy) = displacements(&shift, GREY, 5)[0];
    let out = distorted(&shift, &source, GREY, 5);
    let fill = border_mean(&source, GREY)[0];
    let at = |x: i32, y: i32| match (0..28).contains(&x) && (0..28).contains(&y) {
        true => f32::from(source[(y * 28 + x) as usize]) / 255.0,
        false => fill,
    };
    for y in 0..28 {
        for x in 0..28 {
            let (from_x, from_y) = (x as f32 + dx, y as f32 + dy);
            let (left, top) = (from_x.floor() as i32, from_y.floor() as i32);
            let (tx, ty) = (from_x - left as f32, from_y - top as f32);
            let expected = at(left, top) * (1.0 - tx) * (1.0 - ty)
                + at(left + 1, top) * tx * (1.0 - ty)
                + at(left, top + 1) * (1.0 - tx) * ty
                + at(left + 1, top + 1) * tx * ty;
            let found = out[y * 28 + x];
            assert!(
                (found - expected).abs() < 1e-4,
                "({x}, {y}): {found} {expected}"
            );
        }
    }
}

#[test]
fn a_half_turn_turns_the_image_round() {
    let turn = Augmentation {
        rotation_degrees: 180.0,
        ..Augmentation::strength(0.0)
    };
    let shape = InputShape {
        channels: 1,
        height: 20,
        width: 41,
    };
    // The farther a seed turns, the farther the corner goes; none beyond the opposite one.
    let diagonal = (40.0f32.powi(2) + 19.0f32.powi(2)).sqrt();
    let mut farthest = 0.0f32;
    for seed in 0..50 {
        let (dx, dy) = displacements(&turn, shape, seed)[0];
        farthest = farthest.max((dx * dx + dy * dy).sqrt());
        let centre = displacements(&turn, shape, seed)[10 * 41 + 20];
        assert!(centre.0.abs() <= 1.0 && centre.1.abs() <= 1.0, "{centre:?}");
    }
    assert!(
        farthest > 0.9 * diagonal && farthest < diagonal * 1.001,
        "{farthest}"
    );
}

#[test]
fn mirroring_happens_half_the_time_and_is_exact() {
    let mirror = Augmentation {
        mirror: true,
        ..Augmentation::strength(0.0)
    };
    let source = blob(GREY);
    let plain = distorted(&Augmentation::strength(0.0), &source, GREY, 0);
    let flipped: Vec<f32> = plain
        .chunks(28)
        .flat_map(|row| row.iter().rev().copied())
        .collect();
    let mut count = 0;
    for seed in 0..100 {
        let out = distorted(&mirror, &source, GREY, seed);
        let near = |other: &[f32]| out.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(near(&plain) || near(&flipped));
        count += usize::from(near(&flipped));
    }
    assert!((35..65).contains(&count), "{count}");
}

#[test]
fn turns_are_exact_and_as_often_as_each_other() {
    let wide = InputShape { width: 40, ..GREY };
    for (shape, mirror) in [(GREY, false), (GREY, true), (wide, true)] {
        let source = blob(shape);
        let augmentation = Augmentation {
            mirror,
            turn: true,
            ..Augmentation::strength(0.0)
        };
        let symmetry = Symmetry::of(&augmentation);
        let turned: Vec<Vec<u8>> = symmetry
            .turns(shape)
            .iter()
            .map(|turn| turn.apply(&source, (shape.width, shape.height), 1))
            .collect();
        let mut found = vec![0; turned.len()];
        for seed in 0..80 * turned.len() as u64 {
            let out = distorted(&augmentation, &source, shape, seed);
            let is_it = |turned: &Vec<u8>| {
                let near = |(a, &b): (&f32, &u8)| (a * 255.0 - f32::from(b)).abs() < 0.01;
                out.iter().zip(turned).all(near)
            };
            found[turned.iter().position(is_it).expect("one of the turns")] += 1;
        }
        assert!(found.iter().all(|&count| count > 50), "{found:?}");
    }
}

#[test]
fn turns_leave_the_other_draws_as_they_were() {
    let source = blob(GREY);
    let plain = Augmentation::strength(1.0);
    let turned = Augmentation {
        turn: true,
        ..plain.clone()
    };
    let same = (0..40).filter(|&seed| {
        distorted(&plain, &source, GREY, seed) == distorted(&turned, &source, GREY, seed)
    });
    // Those that are turned by nothing.
    assert!((4..=20).contains(&same.count()));
    let json = serde_json::to_value(&plain).unwrap();
    assert!(json.get("turn").is_none(), "files are as before: {json}");
}

#[test]
fn outside_has_the_colour_of_the_border() {
    let shape = InputShape {
        channels: 3,
        height: 16,
        width: 16,
    };
    let source: Vec<u8> = (0..256).flat_map(|_| [250, 128, 10]).collect();
    for seed in 0..20 {
        for pixel in distorted(&Augmentation::strength(1.5), &source, shape, seed).chunks(3) {
            for (found, value) in pixel.iter().zip([250.0, 128.0, 10.0]) {
                assert!((found - value / 255.0).abs() < 1e-5, "{found} {value}");
            }
        }
    }
}

#[test]
fn mean_displacements_are_those_of_the_range() {
    let only = |set: fn(&mut Augmentation)| {
        let mut augmentation = Augmentation::strength(0.0);
        set(&mut augmentation);
        augmentation
    };
    let mean = |augmentation: &Augmentation| {
        let all = (0..400).flat_map(|seed| displacements(augmentation, GREY, seed));
        let (sum, count) = all.fold((0.0, 0), |(sum, count), (dx, _)| {
            (sum + f64::from(dx.abs()), count + 1)
        });
        sum / f64::from(count)
    };
    // A shift evenly drawn from +-2.8 pixels is 1.4 away on average.
    let shift = mean(&only(|d| d.shift = 0.1));
    assert!((1.25..1.55).contains(&shift), "{shift}");
    // The elastic field's points too; between them independent ones partly cancel.
    let elastic = mean(&only(|d| d.elastic = 0.2));
    assert!((0.9..1.4).contains(&elastic), "{elastic}");
    // Scaling moves a pixel by its distance from the centre, 7 on average, times 7.5 % on average.
    let scale = mean(&only(|d| d.scale = 0.15));
    assert!((0.45..0.6).contains(&scale), "{scale}");
}

#[test]
fn ranges_are_checked_and_harmless() {
    assert!(Augmentation::strength(1.5).check().is_ok());
    for strength in [-1.0, f32::NAN, f32::INFINITY, 100.0] {
        let augmentation = Augmentation::strength(strength);
        assert!(augmentation.check().is_err(), "{strength}");
        let out = distorted(&augmentation, &blob(GREY), GREY, 3);
        assert!(out.iter().all(|v| (0.0..=1.0).contains(v)), "{strength}");
    }
    for elastic_grid in [0, 33, usize::MAX] {
        let augmentation = Augmentation {
            elastic_grid,
            ..Augmentation::strength(1.0)
        };
        assert!(augmentation.check().is_err());
        distorted(&augmentation, &blob(GREY), GREY, 3);
    }
}

const COLOUR: InputShape = InputShape {
    channels: 3,
    height: 4,
    width: 5,
};

/// Each change of colour alone, at a range that shows.
fn colour_changes() -> Vec<Augmentation> {
    let only = |set: fn(&mut Augmentation)| {
        let mut augmentation = Augmentation::strength(0.0);
        set(&mut augmentation);
        augmentation
    };
    vec![
        only(|d| d.brightness = 0.5),
        only(|d| d.contrast = 0.5),
        only(|d| d.saturation = 0.5),
        only(|d| d.hue_degrees = 40.0),
        only(|d| d.gamma = 0.5),
    ]
}

fn colours() -> Vec<u8> {
    (0..60).map(|i| (60 + i * 53 % 130) as u8).collect()
}

#[test]
fn without_colours_files_are_as_before() {
    let old = r#"{"rotation_degrees":17.0,"scale":0.15,"shear":0.2,"shift":0.1,"elastic":0.2,"elastic_grid":4,"mirror":false}"#;
    let augmentation: Augmentation = serde_json::from_str(old).unwrap();
    assert_eq!(augmentation, Augmentation::strength(1.0));
    assert_eq!(serde_json::to_string(&augmentation).unwrap(), old);
}

#[test]
fn colours_change_beside_places() {
    // The places of a seed are the same with and without a change of colour: a black and white
    // image with more contrast stays what it is.
    let source: Vec<u8> = (0..28 * 28).map(|i| (i % 28 / 14 * 255) as u8).collect();
    let places = Augmentation::strength(1.0);
    let both = Augmentation {
        brightness: 0.3,
        ..places.clone()
    };
    for seed in 0..5 {
        let plain = distorted(&places, &source, GREY, seed);
        let bright = distorted(&both, &source, GREY, seed);
        let ratio = bright
            .iter()
            .zip(&plain)
            .find(|(_, p)| (0.3..0.7).contains(*p));
        let ratio = ratio.map(|(b, p)| b / p).unwrap();
        assert!((ratio - 1.0).abs() > 1e-4);
        for (b, p) in bright.iter().zip(&plain) {
            assert!((b - (p * ratio).min(1.0)).abs() < 1e-5);
        }
    }
}

#[test]
fn each_change_of_colour_is_what_it_says() {
    let source = colours();
    let plain = distorted(&Augmentation::strength(0.0), &source, COLOUR, 0);
    let luma = |p: &[f32]| 0.2126 * p[0] + 0.7152 * p[1] + 0.0722 * p[2];
    let mean = |v: &[f32]| v.chunks(3).map(luma).sum::<f32>() / 20.0;
    for (change, augmentation) in colour_changes().iter().enumerate() {
        for seed in 0..20 {
            let out = distorted(augmentation, &source, COLOUR, seed);
            assert_ne!(out, plain, "{augmentation:?} {seed}");
            let factor = match change {
                0 => out[0] / plain[0],
                1 => (out[0] - mean(&plain)) / (plain[0] - mean(&plain)),
                2 => (out[0] - luma(&out[..3])) / (plain[0] - luma(&plain[..3])),
                3 => 1.0,
                _ => out[0].ln() / plain[0].ln(),
            };
            assert!((0.49..1.51).contains(&factor), "{change} {factor}");
            for (out, plain_pixel) in out.chunks(3).zip(plain.chunks(3)) {
                for (&o, &p) in out.iter().zip(plain_pixel) {
                    let expected = match change {
                        0 => p * factor,
                        1 => mean(&plain) + (p - mean(&plain)) * factor,
                        2 => luma(plain_pixel) + (p - luma(plain_pixel)) * factor,
                        // The turn keeps the sum and the length; checked below.
                        3 => o,
                        _ => p.powf(factor),
                    };
                    assert!(
                        (o - expected.clamp(0.0, 1.0)).abs() < 1e-4,
                        "{change}: {o} {expected}"
                    );
                }
                if change == 3 && out.iter().all(|v| (0.001..0.999).contains(v)) {
                    let sum = |p: &[f32]| p.iter().sum::<f32>();
                    let squares = |p: &[f32]| p.iter().map(|v| v * v).sum::<f32>();
                    assert!((sum(out) - sum(plain_pixel)).abs() < 1e-5);
                    assert!((squares(out) - squares(plain_pixel)).abs() < 1e-5);
                }
            }
        }
    }
}

#[test]
fn grey_has_no_hue_and_no_saturation() {
    let source = blob(GREY);
    let plain = distorted(&Augmentation::strength(0.0), &source, GREY, 0);
    for augmentation in &colour_changes()[2..4] {
        assert_eq!(distorted(augmentation, &source, GREY, 3), plain);
    }
    // Nor do grey pixels of a colour image change in hue or saturation.
    let grey: Vec<u8> = (0..20).flat_map(|i| [i * 12; 3]).collect();
    for augmentation in &colour_changes()[2..4] {
        for pixel in distorted(augmentation, &grey, COLOUR, 3).chunks(3) {
            assert!((pixel[0] - pixel[1]).abs() < 1e-6 && (pixel[1] - pixel[2]).abs() < 1e-6);
        }
    }
}

#[test]
fn changes_of_colour_are_checked_and_drawn_by_the_seed() {
    let all = Augmentation::strength(1.0).with_colour(1.0);
    assert!(all.check().is_ok() && !all.is_identity());
    assert!(!Augmentation::strength(0.0).with_colour(0.1).is_identity());
    for strength in [-1.0, f32::NAN, 100.0] {
        let wild = Augmentation::strength(0.0).with_colour(strength);
        assert!(wild.check().is_err());
        let out = distorted(&wild, &colours(), COLOUR, 3);
        assert!(out.iter().all(|v| (0.0..=1.0).contains(v)), "{strength}");
    }
    let of = |seed| distorted(&all, &colours(), COLOUR, seed);
    assert_eq!(of(5), of(5));
    assert_ne!(of(5), of(6));
}

fn any_shape() -> impl Strategy<Value = InputShape> {
    (prop_oneof![Just(1usize), Just(3)], 1usize..40, 1usize..40).prop_map(
        |(channels, height, width)| InputShape {
            channels,
            height,
            width,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn strength_zero_is_the_identity(source in proptest::collection::vec(any::<u8>(), 28 * 28), seed: u64) {
        let out = distorted(&Augmentation::strength(0.0), &source, GREY, seed);
        prop_assert!(out.iter().zip(&source).all(|(&out, &v)| out == f32::from(v) / 255.0));
    }

    #[test]
    fn bounded_deterministic_and_without_memory(
        shape in any_shape(), strength in 0f32..3.0, mirror: bool, seed: u64, pattern: u8,
    ) {
        let augmentation = Augmentation { mirror, ..Augmentation::strength(strength) };
        let source: Vec<u8> = (0..shape.values()).map(|i| (i as u8).wrapping_mul(pattern)).collect();
        let out = distorted(&augmentation, &source, shape, seed);
        prop_assert!(out.iter().all(|v| (0.0..=1.0).contains(v)));
        let mut augmenter = Augmenter::new(&augmentation, shape);
        let mut again = vec![0.0; out.len()];
        augmenter.apply(&vec![255; shape.values()], seed ^ 1, &mut again);
        augmenter.apply(&source, seed, &mut again);
        prop_assert_eq!(out, again);
    }

    #[test]
    fn colours_move_together(seed: u64, strength in 0f32..2.0) {
        let colour = InputShape { channels: 3, ..GREY };
        let grey = distorted(&Augmentation::strength(strength), &blob(GREY), GREY, seed);
        let all = distorted(&Augmentation::strength(strength), &blob(colour), colour, seed);
        prop_assert!(all.chunks(3).zip(&grey).all(|(pixel, grey)| pixel.iter().all(|v| v == grey)));
    }

    #[test]
    fn displacements_stay_within_the_ranges(seed: u64, shift in 0f32..0.3, elastic in 0f32..0.3) {
        let none = Augmentation::strength(0.0);
        let most = shift * 28.0 + 1e-3;
        for (dx, dy) in displacements(&Augmentation { shift, ..none.clone() }, GREY, seed) {
            prop_assert!(dx.abs() <= most && dy.abs() <= most);
        }
        let most = elastic * 14.0 * 1.9 + 1e-3;
        for (dx, dy) in displacements(&Augmentation { elastic, ..none }, GREY, seed) {
            prop_assert!(dx.abs() <= most && dy.abs() <= most);
        }
    }
}

#[test]
fn a_crop_shows_a_window_of_the_image() {
    let shape = InputShape {
        channels: 1,
        height: 20,
        width: 40,
    };
    let crop = Augmentation::strength(0.0).with_crop(0.3);
    let mut smallest = f32::INFINITY;
    for seed in 0..200 {
        let moved = displacements(&crop, shape, seed);
        let place = |x: usize, y: usize| {
            let (dx, dy) = moved[y * shape.width + x];
            (x as f32 + dx, y as f32 + dy)
        };
        let ((left, top), (right, bottom)) = (place(0, 0), place(39, 19));
        // The same part of both sides, and nothing from outside.
        let part = (right - left) / 39.0;
        assert!(((bottom - top) / 19.0 - part).abs() < 1e-4);
        assert!((0.7 - 1e-4..1.0 + 1e-4).contains(&part), "{part}");
        let edge = (part - 1.0) / 2.0 - 1e-3;
        assert!(left >= edge && top >= edge && right <= 39.0 - edge && bottom <= 19.0 - edge);
        smallest = smallest.min(part);
    }
    assert!(smallest < 0.72, "{smallest}");
}

#[test]
fn a_crop_leaves_the_other_draws_as_they_were() {
    let source = blob(GREY);
    let strong = Augmentation::strength(1.0);
    let nearly = strong.clone().with_crop(1e-6);
    let (a, b) = (
        distorted(&strong, &source, GREY, 5),
        distorted(&nearly, &source, GREY, 5),
    );
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-3));
    let written = serde_json::to_string(&strong).unwrap();
    assert!(!written.contains("crop"), "{written}");
}

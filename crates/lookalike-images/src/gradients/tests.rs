use std::f64::consts::PI;

use proptest::prelude::*;

use super::row::polar;
use super::*;

fn shape(channels: usize, height: usize, width: usize) -> InputShape {
    InputShape {
        channels,
        height,
        width,
    }
}

fn described(gradients: Gradients, pixels: &[u8]) -> Vec<f32> {
    let mut out = vec![f32::NAN; gradients.len()];
    gradients.describe(pixels, &mut out);
    out
}

fn noise(values: usize, seed: u64) -> Vec<u8> {
    let byte = |i: usize| {
        let bits = (i as u64 + 1 + (seed << 20)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56) as u8
    };
    (0..values).map(byte).collect()
}

/// The gradient of a pixel, of the channel where it is longest.
fn gradient(shape: InputShape, pixels: &[u8], y: usize, x: usize) -> (f64, f64) {
    let InputShape {
        channels,
        height,
        width,
    } = shape;
    let value = |y: usize, x: usize, c: usize| f64::from(pixels[(y * width + x) * channels + c]);
    let mut longest = (0.0, 0.0);
    for c in 0..channels {
        let dx = value(y, (x + 1).min(width - 1), c) - value(y, x.saturating_sub(1), c);
        let dy = value((y + 1).min(height - 1), x, c) - value(y.saturating_sub(1), x, c);
        if dx * dx + dy * dy > longest.0 * longest.0 + longest.1 * longest.1 {
            longest = (dx, dy);
        }
    }
    longest
}

/// The same as directly as it can be written, in `f64`.
fn reference(shape: InputShape, cells: [usize; 2], pixels: &[u8]) -> Vec<f64> {
    let mut out = Vec::new();
    for mut block in reference_blocks(shape, cells, pixels) {
        for clip in [0.2, 1.0] {
            let length = block.iter().map(|v| v * v).sum::<f64>() + 1e-6;
            block
                .iter_mut()
                .for_each(|v| *v = (*v / length.sqrt()).min(clip));
        }
        out.extend(block);
    }
    out
}

/// The squares of a block's soft values.
fn softened(block: Vec<f64>, contrast: f64) -> impl Iterator<Item = f64> {
    let length = block.iter().map(|v| v * v).sum::<f64>() + contrast * contrast;
    let length = length.sqrt().max(1e-300);
    block.into_iter().map(move |v| v / length)
}

/// Blocks as they are before they are normalised.
fn reference_blocks(shape: InputShape, cells: [usize; 2], pixels: &[u8]) -> Vec<Vec<f64>> {
    let InputShape { height, width, .. } = shape;
    let overlap = |cell: usize, cells: usize, side: usize, at: usize| {
        let [start, end] = [cell, cell + 1].map(|cell| (cell * side) as f64 / cells as f64);
        (end.min(at as f64 + 1.0) - start.max(at as f64)).max(0.0)
    };
    let [down, across] = cells;
    let mut means = vec![vec![[0.0; ORIENTATIONS]; across]; down];
    for y in 0..height {
        for x in 0..width {
            let (dx, dy) = gradient(shape, pixels, y, x);
            let place = dy.atan2(dx).rem_euclid(PI) / PI * ORIENTATIONS as f64;
            let part = place - place.floor();
            for (row, means) in means.iter_mut().enumerate() {
                for (column, mean) in means.iter_mut().enumerate() {
                    let weight = overlap(row, down, height, y)
                        * overlap(column, across, width, x)
                        * (dx.hypot(dy) / 255.0)
                        * (down * across) as f64
                        / (height * width) as f64;
                    mean[place as usize % ORIENTATIONS] += weight * (1.0 - part);
                    mean[(place as usize + 1) % ORIENTATIONS] += weight * part;
                }
            }
        }
    }
    let mut out = Vec::new();
    for row in 0..down - 1 {
        for column in 0..across - 1 {
            let block = [(0, 0), (0, 1), (1, 0), (1, 1)]
                .map(|(y, x)| means[row + y][column + x])
                .concat();
            out.push(block);
        }
    }
    out
}

/// [`LocalGradients`] as directly as they can be written: the squares of their values.
fn local_reference(shape: InputShape, step: usize, contrast: f64, pixels: &[u8]) -> Vec<f64> {
    let mut out = Vec::new();
    for top in (0..)
        .map(|i| i * step)
        .take_while(|top| top + 4 * step <= shape.height)
    {
        for left in (0..)
            .map(|i| i * step)
            .take_while(|left| left + 4 * step <= shape.width)
        {
            let mut block = vec![0.0; 32];
            for y in top..top + 4 * step {
                for x in left..left + 4 * step {
                    let (dx, dy) = gradient(shape, pixels, y, x);
                    let place = dy.atan2(dx).rem_euclid(2.0 * PI) / (2.0 * PI) * 8.0;
                    let part = place - place.floor();
                    let length = dx.hypot(dy) / 255.0 / (4 * step * step) as f64;
                    let cell = 2 * ((y - top) / (2 * step)) + (x - left) / (2 * step);
                    block[8 * cell + place as usize % 8] += length * (1.0 - part);
                    block[8 * cell + (place as usize + 1) % 8] += length * part;
                }
            }
            out.extend(softened(block, contrast));
        }
    }
    out
}

/// Roots are compared by their squares, for near 0 they multiply every error.
fn squares_agree(found: &[f32], expected: &[f64]) -> bool {
    found.len() == expected.len()
        && found.iter().zip(expected).all(|(&found, expected)| {
            found >= 0.0 && (f64::from(found).powi(2) - expected).abs() < 1e-5
        })
}

#[test]
fn an_edge_points_one_way_and_its_negative_the_other() {
    let shape = shape(1, 4, 4);
    let blocks = LocalGradients::new(shape, 1);
    assert_eq!(
        (blocks.grid(), blocks.len()),
        ([1, 1], LocalGradients::BLOCK)
    );
    // From the first column to the last, brighter by the same.
    let brighter: Vec<u8> = (0..16).map(|i| 10 * (i % 4)).collect();
    let darker: Vec<u8> = brighter.iter().map(|value| 255 - value).collect();
    for (pixels, direction) in [(brighter, 0), (darker, 4)] {
        let mut out = vec![f32::NAN; LocalGradients::BLOCK];
        blocks.describe(&pixels, 0.0, &mut out);
        for (at, value) in out.iter().enumerate() {
            assert_eq!(*value > 0.5, at % 8 == direction, "{out:?}");
        }
    }
}

#[test]
fn only_steps_that_fit_are_taken() {
    for (height, width, step) in [(3, 40, 1), (40, 7, 2), (8, 8, 0), (0, 8, 1)] {
        let shape = shape(1, height, width);
        assert!(std::panic::catch_unwind(|| LocalGradients::new(shape, step)).is_err());
    }
    let blocks = LocalGradients::new(shape(3, 35, 64), 8);
    assert_eq!(blocks.grid(), [1, 5]);
}

/// Computed by PyTorch, in another way: `atan2` and `scatter_add`.
#[test]
fn values_are_those_of_pytorch() {
    let grey: [f32; 36] = [
        0.04513, 0.19768, 0.21278, 0.16087, 0.22135, 0.18631, 0.15913, 0.17461, 0.14281, 0.15712,
        0.20816, 0.17220, 0.02610, 0.22314, 0.22314, 0.03908, 0.22314, 0.09438, 0.12788, 0.22314,
        0.20244, 0.20441, 0.09738, 0.22314, 0.19777, 0.05652, 0.02349, 0.07041, 0.11847, 0.07470,
        0.22314, 0.11514, 0.17230, 0.22314, 0.19015, 0.12390,
    ];
    let colour: [f32; 72] = [
        0.21042, 0.21939, 0.10305, 0.21275, 0.06898, 0.06024, 0.19284, 0.21939, 0.09584, 0.17213,
        0.17048, 0.13823, 0.21939, 0.03806, 0.11735, 0.21939, 0.21939, 0.14152, 0.06765, 0.13534,
        0.19822, 0.17691, 0.15603, 0.16862, 0.12865, 0.14712, 0.21939, 0.15157, 0.21939, 0.19672,
        0.13497, 0.17199, 0.05660, 0.10837, 0.19652, 0.21820, 0.16266, 0.16111, 0.13063, 0.23034,
        0.03597, 0.11090, 0.22301, 0.23577, 0.13374, 0.09038, 0.07614, 0.14577, 0.10822, 0.11653,
        0.15536, 0.23577, 0.23577, 0.16992, 0.14323, 0.23366, 0.18591, 0.12755, 0.16254, 0.05349,
        0.10241, 0.18572, 0.20620, 0.22354, 0.23577, 0.23577, 0.23577, 0.00000, 0.00000, 0.05879,
        0.22984, 0.01466,
    ];
    for (shape, expected) in [(shape(1, 8, 8), &grey[..]), (shape(3, 8, 12), &colour[..])] {
        let pixels: Vec<u8> = (0..shape.values())
            .map(|i| ((i * i * 31 + i * 17) % 251) as u8)
            .collect();
        let found = described(Gradients::new(shape, 4), &pixels);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
        }
    }
}

#[test]
fn cells_suit_the_shape() {
    for (side, cells) in [
        (64, 8),
        (32, 8),
        (28, 7),
        (100, 8),
        (128, 8),
        (16, 8),
        (8, 4),
        (1, 2),
    ] {
        let gradients = Gradients::suited(shape(1, side, side));
        assert_eq!(
            (gradients.cells_down, gradients.cells_across),
            (cells, cells),
            "{side}"
        );
        assert_eq!(gradients.len(), (cells - 1) * (cells - 1) * 36);
    }
    let wide = Gradients::suited(shape(3, 8, 1024));
    assert_eq!((wide.cells_down, wide.cells_across), (2, 8));
    for side in 8..=1024 {
        let gradients = Gradients::suited(shape(1, side, side));
        let expected = if side < 13 { 4..=6 } else { 7..=10 };
        assert!(expected.contains(&gradients.cells_down), "{side}");
    }
}

#[test]
fn orientations_are_exact_enough() {
    for x in -255i32..=255 {
        for y in -255i32..=255 {
            let (orientation, length) = polar(x as f32, y as f32);
            let (x, y) = (f64::from(x), f64::from(y));
            let expected = y.atan2(x).rem_euclid(PI) / PI * 9.0;
            let away = (f64::from(orientation) - expected).abs();
            assert!(away < 2e-6, "{x} {y}: {orientation}, not {expected}");
            assert!((f64::from(length) - x.hypot(y)).abs() < 1e-4);
        }
    }
}

#[test]
fn flat_images_are_zero() {
    for channels in [1, 3] {
        let gradients = Gradients::suited(shape(channels, 20, 30));
        let flat = vec![200; gradients.shape().values()];
        assert!(
            described(gradients, &flat)
                .iter()
                .all(|&value| value == 0.0)
        );
        assert_eq!(gradient_energy(&flat, gradients.shape()), 0.0);
        for contrast in [0.0, 0.1] {
            let mut soft = vec![f32::NAN; gradients.len()];
            gradients.describe_softly(&flat, contrast, &mut soft);
            assert!(soft.iter().all(|&value| value == 0.0));
            let blocks = LocalGradients::new(gradients.shape(), 3);
            let mut local = vec![f32::NAN; blocks.len()];
            blocks.describe(&flat, contrast, &mut local);
            assert!(local.iter().all(|&value| value == 0.0));
        }
    }
}

#[test]
fn a_collection_is_described_image_by_image() {
    let gradients = Gradients::suited(shape(3, 11, 16));
    let pixels = noise(5 * gradients.shape().values(), 3);
    let keys = (0..5).map(|i| i.to_string()).collect();
    let collection =
        Collection::from_parts("five", gradients.shape(), keys, vec![None; 5], pixels).unwrap();
    let all = gradients.describe_all(&collection);
    let single = (0..5).flat_map(|i| described(gradients, collection.image(i)));
    assert_eq!(all, single.collect::<Vec<f32>>());
}

proptest! {
    #[test]
    fn any_shape_has_the_values_of_the_reference(
        height in 1usize..40,
        width in 1usize..40,
        cell in 1usize..14,
        channels in prop::sample::select(vec![1, 3]),
        seed in 0u64..1000,
    ) {
        let shape = shape(channels, height, width);
        let gradients = Gradients::new(shape, cell);
        let pixels = noise(shape.values(), seed);
        let cells = [gradients.cells_down, gradients.cells_across];
        let expected = reference(shape, cells, &pixels);
        let found = described(gradients, &pixels);
        prop_assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            prop_assert!((f64::from(*found) - expected).abs() < 1e-5);
        }
    }

    #[test]
    fn soft_and_local_blocks_have_the_values_of_the_reference(
        height in 1usize..40,
        width in 1usize..40,
        size in 1usize..14,
        channels in prop::sample::select(vec![1, 3]),
        contrast in prop::sample::select(vec![0.0f32, 1e-3, 0.05, 1.0]),
        shades in 1u8..=255,
        seed in 0u64..1000,
    ) {
        let shape = shape(channels, height, width);
        let mut pixels = noise(shape.values(), seed);
        pixels.iter_mut().for_each(|value| *value %= shades);
        let contrast_wide = f64::from(contrast);

        let gradients = Gradients::new(shape, size);
        let cells = [gradients.cells_down, gradients.cells_across];
        let expected: Vec<f64> = reference_blocks(shape, cells, &pixels)
            .into_iter()
            .flat_map(|block| softened(block, contrast_wide))
            .collect();
        let mut found = vec![f32::NAN; gradients.len()];
        gradients.describe_softly(&pixels, contrast, &mut found);
        prop_assert!(squares_agree(&found, &expected));

        if 4 * size <= height.min(width) {
            let blocks = LocalGradients::new(shape, size);
            let expected = local_reference(shape, size, contrast_wide, &pixels);
            let mut found = vec![f32::NAN; blocks.len()];
            blocks.describe(&pixels, contrast, &mut found);
            prop_assert!(squares_agree(&found, &expected));
        }

        let squares = (0..height * width).map(|at| {
            let (dx, dy) = gradient(shape, &pixels, at / width, at % width);
            (dx * dx + dy * dy) / (255.0 * 255.0)
        });
        let expected = squares.sum::<f64>() / (height * width) as f64;
        let found = gradient_energy(&pixels, shape);
        prop_assert!((found - expected).abs() <= 1e-6 * expected, "{} {}", found, expected);
    }

    #[test]
    fn blocks_have_length_one_or_zero(
        height in 8usize..90,
        width in 8usize..90,
        seed in 0u64..1000,
        flat in 0usize..90,
    ) {
        let shape = shape(1, height, width);
        let mut pixels = noise(shape.values(), seed);
        pixels[..flat.min(height) * width].fill(90);
        for block in described(Gradients::suited(shape), &pixels).as_chunks::<BLOCK>().0 {
            let length = block.iter().map(|v| v * v).sum::<f32>().sqrt();
            prop_assert!(length == 0.0 || (length - 1.0).abs() < 1e-3, "{}", length);
            prop_assert!(block.iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }

    #[test]
    fn brightness_and_negatives_change_nothing(seed in 0u64..1000, shift in 0u8..=55) {
        let gradients = Gradients::suited(shape(3, 24, 17));
        let mut pixels = noise(gradients.shape().values(), seed);
        pixels.iter_mut().for_each(|value| *value = (*value).min(200));
        let plain = described(gradients, &pixels);
        let brighter: Vec<u8> = pixels.iter().map(|value| value + shift).collect();
        prop_assert_eq!(&described(gradients, &brighter), &plain);
        let negative: Vec<u8> = pixels.iter().map(|value| 255 - value).collect();
        prop_assert_eq!(&described(gradients, &negative), &plain);
    }

    #[test]
    fn grey_as_colour_is_grey(height in 1usize..40, width in 1usize..40, seed in 0u64..1000) {
        let grey = noise(height * width, seed);
        let colour: Vec<u8> = grey.iter().flat_map(|&value| [value; 3]).collect();
        prop_assert_eq!(
            described(Gradients::suited(shape(1, height, width)), &grey),
            described(Gradients::suited(shape(3, height, width)), &colour)
        );
    }

    /// Mirrored from left to right, blocks and cells change places, and an orientation `a`
    /// becomes `180° - a`.
    #[test]
    fn mirrors_permute(height in 8usize..40, width in 8usize..40, seed in 0u64..1000) {
        let gradients = Gradients::suited(shape(1, height, width));
        let pixels = noise(height * width, seed);
        let mirrored: Vec<u8> = pixels
            .chunks_exact(width)
            .flat_map(|row| row.iter().rev().copied())
            .collect();
        let (plain, mirrored) = (described(gradients, &pixels), described(gradients, &mirrored));
        let across = gradients.cells_across - 1;
        for (at, &value) in plain.iter().enumerate() {
            let (block, cell, orientation) = (at / BLOCK, at % BLOCK / 9, at % 9);
            let (row, column) = (block / across, block % across);
            let to = ((row * across + across - 1 - column) * 4 + (cell ^ 1)) * 9
                + (9 - orientation) % 9;
            prop_assert!((mirrored[to] - value).abs() < 1e-5);
        }
    }
}

#[test]
fn cells_share_every_pixel() {
    let shape = shape(1, 17, 28);
    let gradients = Gradients::suited(shape);
    let [rows, columns] = gradients.cell_shares();
    for (shares, side) in [(rows, shape.height), (columns, shape.width)] {
        let cells = shares.len() / side;
        for pixel in 0..side {
            let all: f32 = shares.iter().skip(pixel).step_by(side).sum();
            assert!((all - 1.0).abs() < 1e-6, "pixel {pixel}: {all}");
        }
        for cell in shares.chunks_exact(side) {
            let all: f32 = cell.iter().sum();
            assert!((all - side as f32 / cells as f32).abs() < 1e-5, "{all}");
        }
    }
}

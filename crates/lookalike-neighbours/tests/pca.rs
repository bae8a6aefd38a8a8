//! Principal components of data whose components are known.

use lookalike_neighbours::{Codes, Pca};

/// Numbers between -1 and 1 that do not depend on each other.
fn noise(i: usize) -> f64 {
    let mut bits = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (bits >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// Variance of the codes over all dimensions.
fn total_variance(codes: Codes) -> f64 {
    let dims = codes.dims();
    let columns = (0..dims).map(|dim| {
        let column = || {
            codes
                .data()
                .iter()
                .skip(dim)
                .step_by(dims)
                .copied()
                .map(f64::from)
        };
        let mean = column().sum::<f64>() / codes.len() as f64;
        column().map(|value| (value - mean).powi(2)).sum::<f64>()
    });
    columns.sum::<f64>() / (codes.len() - 1) as f64
}

/// Codes around a middle that vary along cosines, which are orthogonal, ever less.
fn waves(rows: usize, dims: usize, waves: usize) -> (Vec<f32>, Vec<Vec<f64>>) {
    let wave = |w: usize| -> Vec<f64> {
        let phase = |d: usize| (d as f64 + 0.5) * (w + 1) as f64 * std::f64::consts::PI;
        let length = (2.0 / dims as f64).sqrt();
        (0..dims)
            .map(|d| length * (phase(d) / dims as f64).cos())
            .collect()
    };
    let waves: Vec<Vec<f64>> = (0..waves).map(wave).collect();
    let data = (0..rows)
        .flat_map(|row| {
            let mut code = vec![3.0; dims];
            for (w, wave) in waves.iter().enumerate() {
                let along = noise(row * 64 + w) * 10.0 / f64::from(1 << w);
                code.iter_mut()
                    .zip(wave)
                    .for_each(|(value, v)| *value += along * v);
            }
            code.into_iter().map(|value| value as f32)
        })
        .collect();
    (data, waves)
}

fn orthonormal(pca: &Pca, dims: usize) {
    let rows: Vec<&[f32]> = pca.directions().chunks(dims).collect();
    for (i, a) in rows.iter().enumerate() {
        for (j, b) in rows.iter().enumerate() {
            let dot: f64 = a.iter().zip(*b).map(|(x, y)| f64::from(x * y)).sum();
            assert!(
                (dot - f64::from(u8::from(i == j))).abs() < 1e-5,
                "{i} {j}: {dot}"
            );
        }
    }
}

/// The exact way, and beyond 1024 dimensions the iterated one.
#[test]
fn known_directions_are_found() {
    for dims in [1, 2, 60, 1500] {
        let count = dims.min(4);
        let (data, waves) = waves(3000, dims, dims.clamp(2, 6) - 1);
        let codes = Codes::new(&data, dims).unwrap();
        let pca = Pca::fit(codes, count);
        assert_eq!(pca.components(), count);
        assert!(pca.variances().is_sorted_by(|a, b| a >= b));
        if dims > 2 {
            orthonormal(&pca, dims);
            for (direction, wave) in pca.directions().chunks(dims).zip(&waves) {
                let along: f64 = direction
                    .iter()
                    .zip(wave)
                    .map(|(&x, y)| f64::from(x) * y)
                    .sum();
                assert!(along.abs() > 0.99, "{dims}: {along}");
            }
            // Five waves, each of a quarter of the variance of the one before.
            let explained = pca.variances().iter().sum::<f64>() / total_variance(codes);
            assert!(
                (explained - 340.0 / 341.0).abs() < 1e-3,
                "{dims}: {explained}"
            );
        }
        // The variance of the projection is the variance that was promised.
        let projected = pca.project(codes);
        for (component, &promised) in pca.variances().iter().enumerate() {
            let values = || projected.iter().skip(component).step_by(count);
            let mean = values().map(|&v| f64::from(v)).sum::<f64>() / 3000.0;
            let squares = values().map(|&v| (f64::from(v) - mean).powi(2));
            let variance = squares.sum::<f64>() / 2999.0;
            assert!(mean.abs() < 1e-3);
            assert!((variance - promised).abs() <= 1e-3 * promised + 1e-9);
        }
    }
}

#[test]
fn all_components_explain_everything_and_keep_distances() {
    let data: Vec<f32> = (0..200 * 30).map(|i| noise(i) as f32).collect();
    let codes = Codes::new(&data, 30).unwrap();
    let pca = Pca::fit(codes, 1000);
    assert_eq!(pca.components(), 30);
    orthonormal(&pca, 30);
    let explained: f64 = pca.variances().iter().sum();
    assert!((explained / total_variance(codes) - 1.0).abs() < 1e-9);
    let projected = pca.project(codes);
    let distance = |data: &[f32], a: usize, b: usize| -> f64 {
        let (a, b) = (&data[a * 30..(a + 1) * 30], &data[b * 30..(b + 1) * 30]);
        a.iter().zip(b).map(|(x, y)| f64::from(x - y).powi(2)).sum()
    };
    for (a, b) in [(0, 1), (17, 133), (198, 199)] {
        assert!((distance(&data, a, b) - distance(&projected, a, b)).abs() < 1e-4);
    }
}

#[test]
fn codes_without_variance_are_no_trouble() {
    for dims in [5, 1100] {
        for rows in [0, 1, 3] {
            let data = vec![2.5f32; rows * dims];
            let codes = Codes::new(&data, dims).unwrap();
            let pca = Pca::fit(codes, 3);
            assert!(pca.variances().iter().all(|&variance| variance < 1e-9));
            assert!(pca.project(codes).iter().all(|value| value.abs() < 1e-3));
        }
    }
}

/// Few codes of many dimensions are iterated as they are, many by way of their covariance.
#[test]
fn both_ways_of_iterating_agree() {
    let (data, _) = waves(60, 1100, 5);
    let fit = |data: &[f32]| Pca::fit(Codes::new(data, 1100).unwrap(), 4);
    let (few, many) = (fit(&data), fit(&data.repeat(40)));
    for (few, many) in few.directions().iter().zip(many.directions()) {
        assert!((few - many).abs() < 1e-5, "{few} {many}");
    }
    for (few, many) in few.variances().iter().zip(many.variances()) {
        // The sums are 40 times as large, and divided by one less than the number of codes.
        assert!((few * 59.0 / (many * 2399.0 / 40.0) - 1.0).abs() < 1e-9);
    }
}

#[test]
fn half_whitened_deviations_are_square_roots() {
    let (data, _) = waves(2000, 60, 6);
    let codes = Codes::new(&data, 60).unwrap();
    let pca = Pca::fit(codes, 10);
    let plain = pca.project(codes);
    let whitened = pca.project_half_whitened(codes);
    let largest = pca.variances()[0].sqrt();
    for (at, (&plain, whitened)) in plain.iter().zip(whitened).enumerate() {
        // There are 6 waves; behind them are rounding errors, which the floor keeps small.
        let deviation = pca.variances()[at % 10].sqrt().max(largest / 1000.0);
        let expected = f64::from(plain) / deviation.sqrt();
        assert!((f64::from(whitened) - expected).abs() <= 1e-5 * expected.abs());
        assert!(at % 10 < 6 || whitened.abs() < 1e-3);
    }
    let flat = vec![2.0; 50];
    let flat = Codes::new(&flat, 5).unwrap();
    let whitened = Pca::fit(flat, 3).project_half_whitened(flat);
    assert!(whitened.iter().all(|value| value.abs() < 1e-3));
}

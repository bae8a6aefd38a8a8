//! Draws one of each picture into a folder: a contact sheet, reconstructions, a loss curve, distortions.
//!
//! `cargo run --release -p lookalike-images --example pictures -- FOLDER`

use std::error::Error;
use std::path::PathBuf;

use lookalike_images::{
    Cell, Collection, ContactSheet, Curve, Distorter, Distortion, Mark, Pixels, Row, Series, open,
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("give a folder to write to")?);
    std::fs::create_dir_all(&folder)?;
    let digits = Collection::load(open("mnist:test")?.as_ref(), None, Some(2000))?;

    // The nearest images by raw pixels stand in for a network's answers.
    let rows = [7, 8, 18, 115].map(|query| {
        let label = digits.label(query);
        let mut cells = vec![Cell::query(digits.picture(query), label.unwrap_or("?"))];
        for (rank, (distance, index)) in nearest(&digits, query).into_iter().take(5).enumerate() {
            let mark = Mark::of_labels(label, digits.label(index));
            let caption = digits.label(index).unwrap_or("?");
            cells.push(Cell::neighbour(
                digits.picture(index),
                rank + 1,
                caption,
                distance,
                mark,
            ));
        }
        Row::new(cells)
    });
    let sheet = ContactSheet {
        title: vec![
            "What looks like these?".into(),
            "mnist:test, the first 2,000 images, raw pixels, Euclidean".into(),
        ],
        rows: rows.into(),
    };
    sheet.render().write_png(folder.join("neighbours.png"))?;

    let shape = digits.shape();
    let mut distorter = Distorter::new(&Distortion::strength(1.0), shape);
    let pairs = (0..20).map(|index| {
        let mut out = vec![0.0; shape.values()];
        distorter.apply(digits.image(index), index as u64, &mut out);
        let bytes = out
            .iter()
            .map(|value| (value * 255.0).round() as u8)
            .collect();
        let view =
            Pixels::new(shape.width, shape.height, shape.channels, bytes).expect("of the shape");
        (digits.picture(index), view)
    });
    let title = vec!["Distorted views, strength 1".into()];
    let sheet = ContactSheet::of_reconstructions(title, pairs, 10);
    sheet.render().write_png(folder.join("distortions.png"))?;

    let falling = |noise: f64, end: f64| {
        move |step: i32| {
            let x = f64::from(step) / 100.0;
            let wave = 1.0 + noise * (x * 97.0).sin() * (x * 13.7).cos();
            (x, (end + 0.1 * (-x * 1.4).exp()) * wave)
        }
    };
    let curve = Curve {
        title: "bottleneck, augmented".into(),
        x_label: "epoch".into(),
        y_label: "loss (mean squared error)".into(),
        log_y: true,
        series: vec![
            Series {
                name: "epoch mean".into(),
                points: (1..=8)
                    .map(|epoch| falling(0.0, 0.008)(epoch * 100))
                    .collect(),
            },
            Series {
                name: "batches".into(),
                points: (10..=800).map(falling(0.12, 0.008)).collect(),
            },
        ],
    };
    curve.render().write_png(folder.join("loss.png"))?;
    Ok(())
}

/// Distances and indices of all other images, nearest first.
fn nearest(digits: &Collection, query: usize) -> Vec<(f32, usize)> {
    let difference = |(&a, &b): (&u8, &u8)| (f32::from(a) - f32::from(b)).powi(2) / 65_025.0;
    let distance = |other: usize| {
        let pairs = digits.image(query).iter().zip(digits.image(other));
        pairs.map(difference).sum::<f32>().sqrt()
    };
    let others = (0..digits.len()).filter(|&other| other != query);
    let mut all: Vec<_> = others.map(|other| (distance(other), other)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all
}

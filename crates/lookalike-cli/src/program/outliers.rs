//! `lookalike outliers`.

use lookalike::autoencoder::DeviceChoice;
use lookalike::gallery::Gallery;
use lookalike::outliers::{Outlier, OutlierOptions, Outliers, RankBy, rank};
use lookalike::{encoder_of, open_gallery};
use serde::Serialize;

use super::arguments::{OutliersArguments, named};
use super::conditions::filter_of;
use super::console::{Console, show, table};
use super::drawing::{Cell, ContactSheet, Mark, Row};
use super::pictures::{self, Originals, small};
use super::spreadsheet::{self, optional, place};
use super::{Failure, refuse_twice};

/// Pictures in a row of the sheet, and rows.
const SHEET_COLUMNS: usize = 10;
const SHEET_ROWS: usize = 60;
/// Scores up to this are nothing remarkable.
const REMARKABLE: f64 = 3.0;

#[derive(Serialize)]
struct OutliersReport<'a> {
    gallery: &'a str,
    #[serde(flatten)]
    found: &'a Outliers,
    csv: Option<String>,
    sheet: Option<String>,
}

pub fn run(
    arguments: OutliersArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<(), Failure> {
    refuse_twice(
        &[arguments.csv.as_ref(), arguments.sheet.as_ref()],
        &[arguments.model.as_ref(), arguments.encoder.as_ref()],
    )?;
    let gallery = open_gallery(&arguments.gallery)?;
    let options = OutlierOptions {
        k: arguments.k,
        by: arguments.by.into(),
        count: arguments.count,
        filter: filter_of(&*gallery, &arguments.filters, console)?,
    };
    let encoder = match options.by {
        RankBy::Neighbours => None,
        RankBy::Both | RankBy::Reconstruction => {
            let models = named(&arguments.model, &arguments.encoder);
            Some(encoder_of(&*gallery, &models, device)?)
        }
    };
    let model = encoder.as_ref().and_then(|encoder| encoder.autoencoder());
    let bar = console.bar(Some(0), "compare");
    let found = rank(&*gallery, model, &options, |progress| show(&bar, progress));
    bar.finish_and_clear();
    let found = found?;
    if let Some(path) = &arguments.csv {
        let rows = found
            .outliers
            .iter()
            .zip(1..)
            .map(|(outlier, rank)| csv_row(rank, outlier));
        spreadsheet::write(path, &CSV_HEADING, rows)?;
    }
    if let Some(path) = &arguments.sheet {
        let sheet = ContactSheet {
            title: vec![format!("{}: outliers", arguments.gallery), summary(&found)],
            rows: sheet_rows(&*gallery, &found.outliers)?,
        };
        pictures::write(&sheet.render(), path)?;
        if found.outliers.len() > SHEET_COLUMNS * SHEET_ROWS {
            let shown = SHEET_COLUMNS * SHEET_ROWS;
            console.note(format!("the sheet shows the first {shown}"));
        }
    }
    if found.unreadable > 0 {
        let why = found.unreadable_because.as_deref().unwrap_or_default();
        console.note(format!(
            "{} of {} originals cannot be read, and are ranked by neighbours only, if at all; for instance: {why}",
            found.unreadable, found.contents
        ));
    }
    print(console, &found)?;
    let shown = |path: Option<std::path::PathBuf>| path.map(|path| path.display().to_string());
    console.json(&OutliersReport {
        gallery: &arguments.gallery,
        found: &found,
        csv: shown(arguments.csv),
        sheet: shown(arguments.sheet),
    })
}

/// What is usual, which the scores are relative to.
fn summary(found: &Outliers) -> String {
    let mut usual = Vec::new();
    if let Some(distance) = found.median_distance {
        usual.push(format!(
            "mean {} distance to {} neighbours {distance:.4}",
            found.metric, found.k
        ));
    }
    if let Some(error) = found.median_error {
        usual.push(format!("reconstruction error {error:.5}"));
    }
    match usual.is_empty() {
        true => format!(
            "{} different pictures, and nothing to compare",
            found.contents
        ),
        false => format!(
            "{} different pictures; usual: {}",
            found.contents,
            usual.join(", ")
        ),
    }
}

fn print(console: &Console, found: &Outliers) -> Result<(), Failure> {
    let heading = [
        "rank", "score", "distance", "(score)", "error", "(score)", "label", "image",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let number = |value: Option<f64>, digits: usize| match value {
        Some(value) => format!("{value:.digits$}"),
        None => "-".to_owned(),
    };
    for (outlier, rank) in found.outliers.iter().zip(1..) {
        rows.push(vec![
            rank.to_string(),
            format!("{:.2}", outlier.score),
            number(outlier.distance, 4),
            number(outlier.distance_score, 2),
            number(outlier.error, 5),
            number(outlier.error_score, 2),
            outlier
                .payload
                .label
                .clone()
                .unwrap_or_else(|| "-".to_owned()),
            place(&outlier.payload),
        ]);
    }
    for line in table(&rows) {
        console.say(line)?;
    }
    if !found.outliers.is_empty() && found.outliers.iter().all(|one| one.score <= REMARKABLE) {
        console.say(format!(
            "nothing stands out: no score is above {REMARKABLE}, and those listed are only the least usual of usual pictures"
        ))?;
    }
    console.say(summary(found))
}

/// Before the columns of every payload, and the id.
const CSV_HEADING: [&str; 7] = [
    "rank",
    "score",
    "distance",
    "distance_score",
    "error",
    "error_score",
    "copies",
];

fn csv_row(rank: usize, outlier: &Outlier) -> Vec<String> {
    let payload = &outlier.payload;
    let mut row = vec![
        rank.to_string(),
        outlier.score.to_string(),
        optional(outlier.distance),
        optional(outlier.distance_score),
        optional(outlier.error),
        optional(outlier.error_score),
        outlier.copies.to_string(),
    ];
    row.extend(spreadsheet::payload(payload));
    row.push(outlier.id.to_string());
    row
}

fn sheet_rows(gallery: &dyn Gallery, outliers: &[Outlier]) -> Result<Vec<Row>, Failure> {
    let originals = Originals::of(gallery)?;
    let mut cells = Vec::new();
    for (outlier, rank) in outliers.iter().zip(1..).take(SHEET_COLUMNS * SHEET_ROWS) {
        let payload = &outlier.payload;
        cells.push(Cell {
            pixels: small(payload, &originals)?,
            caption: vec![
                format!(
                    "{rank}. {}",
                    payload.label.as_deref().unwrap_or(&payload.key)
                ),
                format!("score {:.1}", outlier.score),
            ],
            mark: Mark::Plain,
        });
    }
    let rows = cells
        .chunks(SHEET_COLUMNS)
        .map(|cells| Row::new(cells.to_vec()));
    Ok(rows.collect())
}

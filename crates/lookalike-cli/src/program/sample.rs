//! `lookalike sample`.

use std::path::PathBuf;

use lookalike::gallery::Gallery;
use lookalike::open_gallery;
use lookalike::sample::{Sample, cover};
use serde::Serialize;

use super::arguments::SampleArguments;
use super::conditions::filter_of;
use super::console::{Console, show};
use super::drawing::{Cell, ContactSheet, Mark, Row};
use super::pictures::{self, Originals, small};
use super::spreadsheet::{self, optional, place};
use super::{Failure, refuse_twice};

/// Pictures in a row of the sheet, and rows.
const SHEET_COLUMNS: usize = 10;
const SHEET_ROWS: usize = 60;

#[derive(Serialize)]
struct SampleReport<'a> {
    gallery: &'a str,
    #[serde(flatten)]
    found: &'a Sample,
    csv: Option<String>,
    sheet: Option<String>,
}

pub fn run(arguments: SampleArguments, console: &Console) -> Result<(), Failure> {
    refuse_twice(&[arguments.csv.as_ref(), arguments.sheet.as_ref()], &[])?;
    let gallery = open_gallery(&arguments.gallery)?;
    let filter = filter_of(&*gallery, &arguments.filters, console)?;
    let bar = console.bar(Some(0), "compare");
    let progress = |progress| show(&bar, progress);
    let found = cover(&*gallery, arguments.cover, filter.as_ref(), progress);
    bar.finish_and_clear();
    let found = found?;
    if let Some(path) = &arguments.csv {
        let rows = found.chosen.iter().zip(1..).map(|(chosen, number)| {
            let mut row = vec![usize::to_string(&number), optional(chosen.distance)];
            row.extend(spreadsheet::payload(&chosen.payload));
            row.push(chosen.id.to_string());
            row
        });
        spreadsheet::write(path, &["number", "distance"], rows)?;
    }
    if let Some(path) = &arguments.sheet {
        let sheet = ContactSheet {
            title: vec![format!("{}: a sample", arguments.gallery), summary(&found)],
            rows: sheet_rows(&*gallery, &found)?,
        };
        pictures::write(&sheet.render(), path)?;
        if found.chosen.len() > SHEET_COLUMNS * SHEET_ROWS {
            let shown = SHEET_COLUMNS * SHEET_ROWS;
            console.note(format!("the sheet shows the first {shown}"));
        }
    }
    // A list for other programs, unless it is written elsewhere.
    if arguments.csv.is_none() && arguments.sheet.is_none() {
        for chosen in &found.chosen {
            console.say(place(&chosen.payload))?;
        }
    } else {
        console.say(summary(&found))?;
    }
    let shown = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
    console.json(&SampleReport {
        gallery: &arguments.gallery,
        found: &found,
        csv: shown(arguments.csv),
        sheet: shown(arguments.sheet),
    })
}

fn summary(found: &Sample) -> String {
    format!(
        "{} of {} different pictures; none is farther than {:.4} ({}) from the nearest of these",
        found.chosen.len(),
        found.contents,
        found.radius,
        found.metric
    )
}

fn sheet_rows(gallery: &dyn Gallery, found: &Sample) -> Result<Vec<Row>, Failure> {
    let originals = Originals::of(gallery)?;
    let mut cells = Vec::new();
    let most = SHEET_COLUMNS * SHEET_ROWS;
    for (chosen, number) in found.chosen.iter().zip(1..).take(most) {
        let payload = &chosen.payload;
        let label = payload.label.as_deref().unwrap_or(&payload.key);
        cells.push(Cell {
            pixels: small(payload, &originals)?,
            caption: vec![format!("{number}. {label}")],
            mark: Mark::Plain,
        });
    }
    let rows = cells
        .chunks(SHEET_COLUMNS)
        .map(|cells| Row::new(cells.to_vec()));
    Ok(rows.collect())
}

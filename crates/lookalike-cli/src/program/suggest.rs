//! `lookalike suggest`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use lookalike::gallery::{Gallery, Payload};
use lookalike::suggest::{SuggestOptions, Suggestion, Suggestions, find, payloads};
use lookalike::{Error, open_gallery};
use serde::Serialize;

use super::arguments::SuggestArguments;
use super::conditions::filter_of;
use super::console::{Console, show, table};
use super::drawing::{Cell, ContactSheet, Mark, Row};
use super::pictures::{self, Originals, small};
use super::spreadsheet::{self, place};
use super::{Failure, refuse_twice};

/// Pairs in a row of the sheet, and rows.
const SHEET_PAIRS: usize = 5;
const SHEET_ROWS: usize = 60;

#[derive(Serialize)]
struct SuggestReport<'a> {
    gallery: &'a str,
    #[serde(flatten)]
    found: &'a Suggestions,
    csv: Option<String>,
    sheet: Option<String>,
}

pub fn run(arguments: SuggestArguments, console: &Console) -> Result<(), Failure> {
    refuse_twice(
        &[arguments.csv.as_ref(), arguments.sheet.as_ref()],
        &[arguments.labels.as_ref()],
    )?;
    let gallery = open_gallery(&arguments.gallery)?;
    let given = arguments.labels.as_deref().map(read_labels).transpose()?;
    let options = SuggestOptions {
        k: arguments.k,
        given: given.unwrap_or_default(),
        filter: filter_of(&*gallery, &arguments.filters, console)?,
        ..SuggestOptions::default()
    };
    let bar = console.bar(Some(0), "compare");
    let found = find(&*gallery, &options, |progress| show(&bar, progress));
    bar.finish_and_clear();
    let found = found?;
    if found.unknown > 0 {
        console.note(format!(
            "{} of {} given labels belong to no image of the gallery",
            found.unknown,
            options.given.len()
        ));
    }
    if found.ambiguous > 0 {
        console.note(format!(
            "{} of {} given labels are not used, for their keys are those of different images in several sources; \
             name images by their ids",
            found.ambiguous,
            options.given.len()
        ));
    }
    if !found.calibrated {
        console.note("too few labels to fit confidences to: they are shares of the votes");
    }
    if let Some(path) = &arguments.csv {
        let mistakes = payloads(&*gallery, &found.mistakes)?;
        let suggestions = payloads(&*gallery, &found.suggestions)?;
        let mistakes = mistakes.iter().map(|of| csv_row("mistake", of));
        let rows = mistakes.chain(suggestions.iter().map(|of| csv_row("suggestion", of)));
        let heading = ["kind", "suggested", "confidence", "own", "because_of"];
        spreadsheet::write(path, &heading, rows)?;
    }
    if let Some(path) = &arguments.sheet {
        let sheet = ContactSheet {
            title: vec![
                format!("{}: suspected mistakes", arguments.gallery),
                summary(&found),
            ],
            rows: sheet_rows(&*gallery, &found.mistakes)?,
        };
        pictures::write(&sheet.render(), path)?;
        if found.mistakes.len() > SHEET_PAIRS * SHEET_ROWS {
            console.note(format!(
                "the sheet shows the first {}",
                SHEET_PAIRS * SHEET_ROWS
            ));
        }
    }
    print(&*gallery, &found, arguments.count, console)?;
    let shown = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
    console.json(&SuggestReport {
        gallery: &arguments.gallery,
        found: &found,
        csv: shown(arguments.csv),
        sheet: shown(arguments.sheet),
    })
}

/// The labels of a table, by id or key: several sources may have images of the same key.
fn read_labels(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    let bad = |why: String| {
        Error::Unusable(format!(
            "cannot read labels from {}: {why}; write a CSV file with the columns id (or key) and label",
            path.display()
        ))
    };
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut rows = csv::Reader::from_reader(file);
    let heading = rows.headers().map_err(|error| bad(error.to_string()))?;
    let column = |name: &str| heading.iter().position(|column| column.trim() == name);
    let (Some(image), Some(label)) = (column("id").or_else(|| column("key")), column("label"))
    else {
        return Err(bad("its first line does not name these columns".to_owned()));
    };
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for row in rows.records() {
        let row = row.map_err(|error| bad(error.to_string()))?;
        if let (Some(image), Some(label)) = (row.get(image), row.get(label))
            && !label.is_empty()
        {
            let before = labels.insert(image.to_owned(), label.to_owned());
            if let Some(before) = before.filter(|before| before != label) {
                return Err(bad(format!(
                    "{image} is labelled {before} and {label} in it"
                )));
            }
        }
    }
    Ok(labels)
}

fn summary(found: &Suggestions) -> String {
    let agreement = found.agreement.map_or_else(String::new, |share| {
        format!(", of which neighbours confirm {:.1} %", share * 100.0)
    });
    format!(
        "{} of {} different pictures have one of {} labels{agreement}; {} suspected mistakes, {} suggestions",
        found.labelled,
        found.contents,
        found.labels,
        found.mistakes.len(),
        found.suggestions.len()
    )
}

fn print(
    gallery: &dyn Gallery,
    found: &Suggestions,
    count: usize,
    console: &Console,
) -> Result<(), Failure> {
    for (title, some) in [
        ("suspected mistakes", &found.mistakes),
        ("suggestions", &found.suggestions),
    ] {
        if some.is_empty() {
            continue;
        }
        let heading = [title, "confidence", "own", "image"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        for (of, payload) in payloads(gallery, &some[..count.min(some.len())])? {
            rows.push(vec![
                of.suggested.clone(),
                format!("{:.3}", of.confidence),
                of.own.clone().unwrap_or_else(|| "-".to_owned()),
                place(&payload),
            ]);
        }
        for line in table(&rows) {
            console.say(line)?;
        }
    }
    console.say(summary(found))
}

fn csv_row(kind: &str, (of, payload): &(&Suggestion, Payload)) -> Vec<String> {
    let mut row = vec![
        kind.to_owned(),
        of.suggested.clone(),
        of.confidence.to_string(),
        of.own.clone().unwrap_or_default(),
        of.because_of.to_string(),
    ];
    row.extend(spreadsheet::payload(payload));
    row.push(of.id.to_string());
    row
}

/// Suspected mistakes, each beside the picture that speaks for another label.
fn sheet_rows(gallery: &dyn Gallery, mistakes: &[Suggestion]) -> Result<Vec<Row>, Failure> {
    let originals = Originals::of(gallery)?;
    let mut cells = Vec::new();
    let shown = &mistakes[..mistakes.len().min(SHEET_PAIRS * SHEET_ROWS)];
    for (of, payload) in payloads(gallery, shown)? {
        let Some(because) = gallery.retrieve(&[of.because_of])?.pop() else {
            continue;
        };
        cells.push(Cell {
            pixels: small(&payload, &originals)?,
            caption: vec![
                format!("has {}", of.own.as_deref().unwrap_or("none")),
                payload.key.clone(),
            ],
            mark: Mark::Wrong,
        });
        cells.push(Cell {
            pixels: small(&because.payload, &originals)?,
            caption: vec![
                format!("like {}", of.suggested),
                format!("{:.0} %", of.confidence * 100.0),
            ],
            mark: Mark::Plain,
        });
    }
    let rows = cells
        .chunks(2 * SHEET_PAIRS)
        .map(|cells| Row::new(cells.to_vec()));
    Ok(rows.collect())
}

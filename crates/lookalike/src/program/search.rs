//! `lookalike search`.

use lookalike::autoencoder::DeviceChoice;
use lookalike::gallery::{Answer, Filter, Rerank};
use lookalike::images::{ContactSheet, Image, Pixels};
use lookalike::{Question, Searcher, open_queries};
use serde::Serialize;

use super::Failure;
use super::arguments::SearchArguments;
use super::console::{Console, table};
use super::pictures::{self, Originals, answer_row};

/// One line of `search --json`.
#[derive(Serialize)]
struct SearchReport<'a> {
    query: &'a str,
    label: Option<&'a str>,
    #[serde(flatten)]
    answer: &'a Answer,
}

pub fn run(
    arguments: SearchArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<(), Failure> {
    let searcher = Searcher::open(&arguments.gallery, device)?;
    let question = Question {
        k: arguments.k,
        metric: arguments.metric,
        exact: arguments.exact,
        max_distance: arguments.max_distance,
        filter: arguments.filters.into_iter().reduce(Filter::and),
        exclude_self: arguments.exclude_self,
        rerank: arguments.rerank.into(),
    };
    let inline = console.is_terminal() && shows_images();
    let draws = inline || arguments.sheet.is_some();
    let mut originals = Originals::default();
    let mut rows = Vec::new();
    let skips = arguments.reading.skips()?;
    let reading = arguments.reading.reading(0);
    for spec in &arguments.images {
        open_queries(spec, &reading, &skips, |source, name, query| {
            let answer = searcher.ask(source, &query, &question)?;
            for note in &answer.notes {
                console.note(note);
            }
            let report = SearchReport {
                query: name,
                label: query.image.label.as_deref(),
                answer: &answer,
            };
            console.json(&report)?;
            if draws {
                rows.push(answer_row(&query.image, &answer, &mut originals)?);
            }
            print_table(console, name, &query.image, &answer, question.rerank)
        })?;
    }
    if draws {
        let title = format!("{}: {} nearest", arguments.gallery, arguments.k);
        let sheet = ContactSheet {
            title: vec![title],
            rows,
        };
        let sheet = sheet.render();
        if let Some(path) = &arguments.sheet {
            pictures::write(&sheet, path)?;
        }
        if inline {
            show(&sheet, console);
        }
    }
    arguments.reading.conclude(&skips, console)
}

/// Rank, distance, label and place of each neighbour.
fn print_table(
    console: &Console,
    spec: &str,
    query: &Image,
    answer: &Answer,
    rerank: Rerank,
) -> Result<(), Failure> {
    let label = match &query.label {
        Some(label) => format!(" (label {label})"),
        None => String::new(),
    };
    let exact = if answer.exact { ", exact" } else { "" };
    console.say(format!("{spec}{label}: {}{exact}", answer.metric))?;
    let mut heading = vec!["  rank", "distance", "label", "image"];
    if rerank == Rerank::Diffusion {
        heading.insert(2, "score");
    }
    let mut rows = vec![heading.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for (rank, hit) in answer.neighbours.iter().enumerate() {
        let mut row = vec![
            format!("  {}", rank + 1),
            format!("{:.5}", hit.distance),
            hit.payload.label.clone().unwrap_or_else(|| "-".to_owned()),
            match &hit.payload.location {
                Some(location) => location.clone(),
                None => format!("{}#{}", hit.payload.source, hit.payload.key),
            },
        ];
        if rerank == Rerank::Diffusion {
            let score = hit
                .score
                .map_or_else(|| "-".to_owned(), |s| format!("{s:.5}"));
            row.insert(2, score);
        }
        rows.push(row);
    }
    for line in table(&rows) {
        console.say(line)?;
    }
    Ok(())
}

/// Whether the terminal has a protocol for true images.
fn shows_images() -> bool {
    use viuer::KittySupport;
    viuer::is_iterm_supported() || !matches!(viuer::get_kitty_support(), KittySupport::None)
}

fn show(sheet: &Pixels, console: &Console) {
    let (width, height) = (sheet.width() as u32, sheet.height() as u32);
    let buffer = image::RgbImage::from_raw(width, height, sheet.data().to_vec());
    let Some(buffer) = buffer else {
        return;
    };
    let config = viuer::Config {
        absolute_offset: false,
        ..viuer::Config::default()
    };
    if let Err(error) = viuer::print(&buffer.into(), &config) {
        console.note(format!(
            "the terminal could not show the sheet ({error}); --sheet writes it to a file"
        ));
    }
}

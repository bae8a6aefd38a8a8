//! `lookalike check`.

use lookalike::check::{Check, CheckOptions, FaultyImage, Finding, Histogram, Side, check};
use lookalike::gallery::{Facts, Gallery};
use lookalike::open_gallery;
use serde::Serialize;

use super::arguments::CheckArguments;
use super::conditions::filter_of;
use super::console::{Console, show, table};
use super::drawing::{Cell, ContactSheet, Mark, Row};
use super::pictures::{self, Originals, small};
use super::spreadsheet::{self, place};
use super::{Failure, refuse_twice};

/// Pictures of each fault that are listed, unless it is said how many.
const LISTED: usize = 10;
/// Pictures of each fault on the sheet.
const SHEET_COLUMNS: usize = 12;

#[derive(Serialize)]
struct CheckReport<'a> {
    gallery: &'a str,
    #[serde(flatten)]
    found: &'a Check,
    csv: Option<String>,
    sheet: Option<String>,
}

pub fn run(arguments: CheckArguments, console: &Console) -> Result<(), Failure> {
    refuse_twice(&[arguments.csv.as_ref(), arguments.sheet.as_ref()], &[])?;
    let gallery = open_gallery(&arguments.gallery)?;
    // A spreadsheet is to be sorted and worked through, and has all of them.
    let all = || arguments.csv.is_some().then_some(usize::MAX);
    let options = CheckOptions {
        filter: filter_of(&*gallery, &arguments.filters, console)?,
        limit: arguments.limit.or_else(all).unwrap_or(LISTED),
    };
    let bar = console.bar(Some(0), "check");
    let found = check(&*gallery, &options, |progress| show(&bar, progress));
    bar.finish_and_clear();
    let found = found?;
    if let Some(path) = &arguments.csv {
        let rows = found.findings.iter().flat_map(|finding| {
            let images = finding.images.iter();
            images.map(|image| csv_row(finding, image))
        });
        spreadsheet::write(path, &csv_heading(), rows)?;
    }
    if let Some(path) = &arguments.sheet {
        let sheet = ContactSheet {
            title: vec![format!("{}: check", arguments.gallery), summary(&found)],
            rows: sheet_rows(&*gallery, &found.findings)?,
        };
        pictures::write(&sheet.render(), path)?;
    }
    if found.unmeasured > 0 {
        console.note(format!(
            "{} of {} pictures were indexed before pictures were measured, and are judged by their size alone: index their source again with --reread",
            found.unmeasured, found.points
        ));
    }
    print(console, &found, arguments.limit.unwrap_or(LISTED))?;
    let shown = |path: Option<std::path::PathBuf>| path.map(|path| path.display().to_string());
    console.json(&CheckReport {
        gallery: &arguments.gallery,
        found: &found,
        csv: shown(arguments.csv),
        sheet: shown(arguments.sheet),
    })
}

fn summary(found: &Check) -> String {
    let pictures = |count: usize| match count {
        1 => "1 picture".to_owned(),
        _ => format!("{count} pictures"),
    };
    match found.faulty {
        0 => format!("{}: nothing is wrong with any", pictures(found.points)),
        faulty => format!(
            "{}: something is wrong with {faulty}",
            pictures(found.points)
        ),
    }
}

fn print(console: &Console, found: &Check, listed: usize) -> Result<(), Failure> {
    let heading = ["fault", "pictures", "where", "usual", "distribution"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for finding in &found.findings {
        rows.push(vec![
            finding.fault.to_string(),
            finding.count.to_string(),
            rule(finding),
            finding.median.map_or_else(|| "-".to_owned(), short),
            drawn(finding),
        ]);
    }
    for line in table(&rows) {
        console.say(line)?;
    }
    for finding in found.findings.iter().filter(|finding| finding.count > 0) {
        console.say("")?;
        console.say(format!("{} ({}):", finding.fault, finding.measure))?;
        let rows = finding.images.iter().take(listed).map(|image| {
            let others = image.faults.iter().filter(|fault| **fault != finding.fault);
            let others: Vec<String> = others.map(|fault| format!("also {fault}")).collect();
            vec![
                format!("  {}", short(image.value)),
                place(&image.payload),
                others.join(", "),
            ]
        });
        for line in table(&rows.collect::<Vec<_>>()) {
            console.say(line)?;
        }
        if finding.count > listed {
            console.say(format!("  ... and {} more", finding.count - listed))?;
        }
    }
    console.say(summary(found))
}

/// "sharpness < 0.51".
fn rule(finding: &Finding) -> String {
    let sign = match finding.side {
        Side::Below => '<',
        Side::Above => '>',
    };
    match finding.threshold {
        Some(threshold) => format!("{} {sign} {}", finding.measure, short(threshold)),
        None => "-".to_owned(),
    }
}

/// Three digits.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A histogram in a line, with the threshold in it: bars as high as the root of their number, so
/// that one picture among thousands is seen.
fn drawn(finding: &Finding) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let Histogram { edges, counts } = &finding.histogram;
    let (Some(&first), Some(&last)) = (edges.first(), edges.last()) else {
        return "-".to_owned();
    };
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let bar = |&count: &usize| BARS[(8.0 * (count as f64 / most).sqrt()).ceil() as usize];
    let mut bars: Vec<char> = counts.iter().map(bar).collect();
    let threshold = finding.threshold.and_then(|at| finding.histogram.bar(at));
    if let Some(at) = threshold {
        // Beside the bar that it falls into, which has values on both sides.
        let beside = match finding.side {
            Side::Below => at,
            Side::Above => at + 1,
        };
        bars.insert(beside, '|');
    }
    let bars: String = bars.into_iter().collect();
    format!("{} {bars} {}", short(first), short(last))
}

fn csv_heading() -> Vec<&'static str> {
    let mut heading = vec!["fault", "measure", "value", "threshold"];
    heading.extend(Facts::NAMES);
    heading
}

fn csv_row(finding: &Finding, image: &FaultyImage) -> Vec<String> {
    let mut row = vec![
        finding.fault.to_string(),
        finding.measure.to_owned(),
        image.value.to_string(),
        spreadsheet::optional(finding.threshold),
    ];
    let facts = &image.payload.facts;
    row.extend(Facts::NAMES.map(|name| match facts.value(name) {
        Some(serde_json::Value::String(text)) => text,
        value => spreadsheet::optional(value),
    }));
    row.extend(spreadsheet::payload(&image.payload));
    row.push(image.id.to_string());
    row
}

/// A row for each fault.
fn sheet_rows(gallery: &dyn Gallery, findings: &[Finding]) -> Result<Vec<Row>, Failure> {
    let originals = Originals::of(gallery)?;
    let mut rows = Vec::new();
    for finding in findings.iter().filter(|finding| finding.count > 0) {
        let mut cells = Vec::new();
        for image in finding.images.iter().take(SHEET_COLUMNS) {
            let payload = &image.payload;
            cells.push(Cell {
                pixels: small(payload, &originals)?,
                caption: vec![
                    finding.fault.to_string(),
                    format!("{} {}", finding.measure, short(image.value)),
                    payload.key.clone(),
                ],
                mark: Mark::Plain,
            });
        }
        rows.push(Row::new(cells));
    }
    Ok(rows)
}

//! `lookalike duplicates`.

use lookalike::duplicates::{
    DuplicateOptions, Duplicates, Group, Kind, MAX_DIFFERENCE, Measure, Member, find,
};
use lookalike::gallery::{Filter, Gallery};
use lookalike::open_gallery;
use serde::Serialize;

use super::Failure;
use super::arguments::DuplicatesArguments;
use super::console::{Console, show, table};
use super::drawing::{Cell, ContactSheet, Mark, Row};
use super::pictures::{self, Originals, small};
use super::spreadsheet::{self, place};

/// The most groups, and pictures of each, on a sheet.
const SHEET_ROWS: usize = 60;
const SHEET_COLUMNS: usize = 12;

#[derive(Serialize)]
struct DuplicatesReport<'a> {
    gallery: &'a str,
    #[serde(flatten)]
    found: &'a Duplicates,
    csv: Option<String>,
    sheet: Option<String>,
}

pub fn run(arguments: DuplicatesArguments, console: &Console) -> Result<(), Failure> {
    let gallery = open_gallery(&arguments.gallery)?;
    let options = DuplicateOptions {
        threshold: arguments.threshold,
        exact_only: arguments.exact_only,
        filter: Filter::all(arguments.filters)?,
        limit: arguments.limit,
    };
    let bar = console.bar(Some(0), "compare");
    let found = find(&*gallery, &options, |progress| show(&bar, progress));
    bar.finish_and_clear();
    let found = found?;
    if let Some(path) = &arguments.csv {
        let groups = found.groups.iter().zip(1..);
        let rows = groups.flat_map(|(group, number)| {
            group
                .members
                .iter()
                .map(move |member| csv_row(number, member))
        });
        spreadsheet::write(path, &CSV_HEADING, rows)?;
    }
    if let Some(path) = &arguments.sheet {
        let title = vec![
            format!("{}: duplicates", arguments.gallery),
            summary(&found),
        ];
        let sheet = ContactSheet {
            title,
            rows: sheet_rows(&*gallery, &found.groups)?,
        };
        pictures::write(&sheet.render(), path)?;
        if found.groups.len() > SHEET_ROWS {
            console.note(format!("the sheet shows the {SHEET_ROWS} largest groups"));
        }
    }
    for (group, number) in found.groups.iter().zip(1..) {
        print_group(console, group, number)?;
    }
    if found.groups.len() < found.group_count {
        let more = found.group_count - found.groups.len();
        console.say(format!("... and {more} more groups"))?;
    }
    for line in conclusion(&found) {
        console.say(line)?;
    }
    let shown = |path: Option<std::path::PathBuf>| path.map(|path| path.display().to_string());
    console.json(&DuplicatesReport {
        gallery: &arguments.gallery,
        found: &found,
        csv: shown(arguments.csv),
        sheet: shown(arguments.sheet),
    })
}

/// "12 groups among 300 pictures: besides their representatives 9 exact duplicates, and 5 near
/// ones".
fn summary(found: &Duplicates) -> String {
    let count = |number: usize, one: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    };
    let near = match (found.measure, found.threshold) {
        (Some(Measure::Pictures), _) => format!(" and {}", count(found.near, "near one")),
        (_, Some(threshold)) => format!(
            " and {} within {} distance {threshold:.3e}",
            count(found.near, "near one"),
            found.metric
        ),
        _ => String::new(),
    };
    format!(
        "{} among {}: besides the representatives {}{near}",
        count(found.group_count, "group"),
        count(found.points, "picture"),
        count(found.exact, "exact duplicate"),
    )
}

/// What is to be known about the whole.
fn conclusion(found: &Duplicates) -> Vec<String> {
    let mut lines = vec![summary(found)];
    if let Some(suggestion) = &found.suggestion {
        let other = match suggestion.threshold {
            Some(_) => "--threshold sets another",
            None => "--threshold sets one nevertheless",
        };
        lines.push(format!("{}; {other}", suggestion.reason));
    }
    if found.measure == Some(Measure::Codes) && found.suggestion.is_some() {
        lines.push(
            "pictures were not compared themselves, for the gallery has no thumbnails of half of them or more: near ones \
             were told by their codes alone"
                .to_owned(),
        );
    }
    if found.measure == Some(Measure::Pictures) {
        lines.push(format!(
            "near ones differ from their representative by at most {MAX_DIFFERENCE} (0 is the same picture) and much less \
             than from others; --threshold takes those whose codes are within a distance instead"
        ));
    }
    if found.not_compared > 0 {
        lines.push(format!(
            "{} of {} different pictures were compared with no other, for the gallery has no thumbnail of them; \
             index their source again",
            found.not_compared, found.contents
        ));
    }
    if found.left_alone > 0 {
        lines.push(format!(
            "{} more are as near to a picture in a group, but not to its representative: in no group",
            found.left_alone
        ));
    }
    if found.same_file > 0 {
        lines.push(format!(
            "{} of kind same-file: not copies, but second names of files in the same group, as links are and files that \
             were indexed twice; deleting one may delete the file",
            found.same_file
        ));
    }
    if found.gone > 0 {
        lines.push(format!(
            "{} more are in the gallery, but their files are not there any more; index their source again with --prune \
             to remove them from the gallery",
            found.gone
        ));
    }
    lines
}

fn print_group(console: &Console, group: &Group, number: usize) -> Result<(), Failure> {
    console.say(format!("group {number}: {} pictures", group.members.len()))?;
    let heading = ["  kind", "distance", "difference", "size", "bytes", "image"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for member in &group.members {
        rows.push(vec![
            format!("  {}", member.kind.name()),
            format!("{:.3e}", member.distance),
            member
                .difference
                .map_or_else(|| "-".to_owned(), |difference| format!("{difference:.4}")),
            format!("{}x{}", member.payload.width, member.payload.height),
            member
                .payload
                .bytes
                .map_or_else(|| "-".to_owned(), |bytes| bytes.to_string()),
            place(&member.payload),
        ]);
    }
    for line in table(&rows) {
        console.say(line)?;
    }
    Ok(())
}

/// Before the columns of every payload, and the id.
const CSV_HEADING: [&str; 4] = ["group", "kind", "distance", "difference"];

fn csv_row(number: usize, member: &Member) -> Vec<String> {
    let payload = &member.payload;
    let mut row = vec![
        number.to_string(),
        member.kind.name().to_owned(),
        member.distance.to_string(),
        member
            .difference
            .map_or_else(String::new, |d| d.to_string()),
    ];
    row.extend(spreadsheet::payload(payload));
    row.push(member.id.to_string());
    row
}

fn sheet_rows(gallery: &dyn Gallery, groups: &[Group]) -> Result<Vec<Row>, Failure> {
    let originals = Originals::of(gallery)?;
    let mut rows = Vec::new();
    for (group, number) in groups.iter().zip(1..).take(SHEET_ROWS) {
        let mut cells = Vec::new();
        for member in group.members.iter().take(SHEET_COLUMNS) {
            let payload = &member.payload;
            let (what, mark) = match member.kind {
                Kind::Representative => ("largest".to_owned(), Mark::Query),
                Kind::Near => (format!("near {:.1e}", member.distance), Mark::Plain),
                kind => (kind.name().to_owned(), Mark::Plain),
            };
            cells.push(Cell {
                pixels: small(payload, &originals)?,
                caption: vec![what, format!("{}x{}", payload.width, payload.height)],
                mark,
            });
        }
        let more = group.members.len() - cells.len();
        rows.push(Row {
            heading: match more {
                0 => number.to_string(),
                _ => format!("{number} (+{more})"),
            },
            cells,
        });
    }
    Ok(rows)
}

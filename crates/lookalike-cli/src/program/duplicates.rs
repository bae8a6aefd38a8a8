//! `lookalike duplicates`.

use lookalike::autoencoder::DeviceChoice;
use lookalike::duplicates::{
    DuplicateOptions, Duplicates, Example, Examples, Group, Kind, MAX_DIFFERENCE, Measure, Member,
    Overlap, Scope, find, find_turned,
};
use lookalike::gallery::Gallery;
use lookalike::{encoder_of, open_gallery};
use serde::Serialize;

use super::arguments::{DuplicatesArguments, named};
use super::conditions::filter_of;
use super::console::{Console, show, table};
use super::drawing::{Cell, ContactSheet, Mark, Row};
use super::pictures::{self, Originals, small};
use super::spreadsheet::{self, place};
use super::{Failure, refuse_twice};
use keeping::Kept;

mod keeping;

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
    #[serde(flatten)]
    kept: Option<&'a Kept>,
}

pub fn run(
    arguments: DuplicatesArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<(), Failure> {
    let script = arguments.keep.script.as_ref();
    let undo = script.map(|script| keeping::undo_path(script));
    refuse_twice(
        &[
            arguments.csv.as_ref(),
            arguments.sheet.as_ref(),
            script,
            undo.as_ref(),
        ],
        &[arguments.model.as_ref(), arguments.encoder.as_ref()],
    )?;
    let gallery = open_gallery(&arguments.gallery)?;
    let options = DuplicateOptions {
        threshold: arguments.threshold,
        exact_only: arguments.exact_only,
        filter: filter_of(&*gallery, &arguments.filters, console)?,
        // What is to be done is to be done with all.
        limit: arguments.limit.filter(|_| !arguments.keep.is_asked()),
        scope: match arguments.across.as_slice() {
            [one, other] => Scope::across(&*gallery, [one, other])?,
            _ if arguments.within_folder => Scope::WithinFolder,
            _ => Scope::All,
        },
    };
    keeping::check(&arguments.keep)?;
    let encoder = match arguments.turned {
        true => {
            let models = named(&arguments.model, &arguments.encoder);
            Some(encoder_of(&*gallery, &models, device)?)
        }
        false => None,
    };
    let bar = console.bar(Some(0), "compare");
    let tell = |progress| show(&bar, progress);
    let found = match &encoder {
        Some(encoder) => find_turned(&*gallery, &options, &**encoder, tell),
        None => find(&*gallery, &options, tell),
    };
    bar.finish_and_clear();
    let mut found = found?;
    let kept = match arguments.keep.is_asked() {
        true => Some(Kept::of(&*gallery, &found.groups, &arguments.keep)?),
        false => None,
    };
    found.groups.truncate(arguments.limit.unwrap_or(usize::MAX));
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
        let mut rows = sheet_rows(&*gallery, &found.groups)?;
        rows.extend(example_rows(&*gallery, found.examples.as_ref())?);
        let sheet = ContactSheet { title, rows };
        pictures::write(&sheet.render(), path)?;
        if found.groups.len() > SHEET_ROWS {
            console.note(format!("the sheet shows the {SHEET_ROWS} largest groups"));
        }
    }
    for (group, number) in found.groups.iter().zip(1..) {
        print_group(console, group, number)?;
        for line in kept.iter().flat_map(|kept| kept.lines_of(group, number)) {
            console.say(line)?;
        }
    }
    if found.groups.len() < found.group_count {
        let more = found.group_count - found.groups.len();
        console.say(format!("... and {more} more groups"))?;
    }
    for line in conclusion(&found) {
        console.say(line)?;
    }
    for line in kept.iter().flat_map(Kept::conclusion) {
        console.say(line)?;
    }
    let shown = |path: Option<std::path::PathBuf>| path.map(|path| path.display().to_string());
    console.json(&DuplicatesReport {
        gallery: &arguments.gallery,
        found: &found,
        csv: shown(arguments.csv),
        sheet: shown(arguments.sheet),
        kept: kept.as_ref(),
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
    if let Some(Overlap {
        parts: [one, other],
        points,
        copied,
    }) = &found.overlap
    {
        lines.push(format!(
            "{} of the {} pictures of {other} have a copy in {one}; {} of its {} have one in {other}",
            copied[1], points[1], copied[0], points[0]
        ));
    }
    if let Some(suggestion) = &found.suggestion {
        let other = match suggestion.threshold {
            Some(_) => "--threshold sets another",
            None => "--threshold sets one nevertheless",
        };
        lines.push(format!("{}; {other}", suggestion.reason));
    }
    let has_pictures = found.contents > 0;
    if found.measure == Some(Measure::Codes) && found.suggestion.is_some() && has_pictures {
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
    lines.extend(around_the_border(found.examples.as_ref()));
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

/// What is just near, and just not, in words.
fn around_the_border(examples: Option<&Examples>) -> Vec<String> {
    let told = |example: &Example, what: &str| {
        let [one, other] = &example.pictures;
        format!(
            "{what}: {} and {}, at {:.0}% of what near ones may differ by",
            place(one),
            place(other),
            100.0 * example.share
        )
    };
    let sides = examples.map(|examples| {
        let inside = examples.inside.first();
        let outside = examples.outside.first();
        let inside = inside.map(|example| told(example, "just near"));
        let outside = outside.map(|example| told(example, "just not near"));
        inside.into_iter().chain(outside).collect()
    });
    sides.unwrap_or_default()
}

/// The pairs around the border: a row of such as are just near, and one of such as are not.
fn example_rows(gallery: &dyn Gallery, examples: Option<&Examples>) -> Result<Vec<Row>, Failure> {
    let originals = Originals::of(gallery)?;
    let mut rows = Vec::new();
    let sides = examples.map(|examples| {
        [
            ("just near", &examples.inside),
            ("just not", &examples.outside),
        ]
    });
    for (heading, pairs) in sides.into_iter().flatten() {
        let mut cells = Vec::new();
        for example in pairs {
            let share = format!("{:.0}%", 100.0 * example.share);
            for (payload, caption) in example.pictures.iter().zip([share, String::new()]) {
                cells.push(Cell {
                    pixels: small(payload, &originals)?,
                    caption: vec![caption, format!("{}x{}", payload.width, payload.height)],
                    mark: Mark::Plain,
                });
            }
        }
        if !cells.is_empty() {
            rows.push(Row {
                heading: heading.to_owned(),
                cells,
            });
        }
    }
    Ok(rows)
}

fn print_group(console: &Console, group: &Group, number: usize) -> Result<(), Failure> {
    console.say(format!("group {number}: {} pictures", group.members.len()))?;
    let heading = ["  kind", "distance", "difference", "size", "bytes", "image"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for member in &group.members {
        rows.push(vec![
            match member.turned {
                Some(turned) => format!("  {} {turned}", member.kind.name()),
                None => format!("  {}", member.kind.name()),
            },
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
                Kind::Near => match member.turned {
                    Some(turned) => (turned.to_owned(), Mark::Plain),
                    None => (format!("near {:.1e}", member.distance), Mark::Plain),
                },
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

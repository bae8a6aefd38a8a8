//! A gallery as one HTML file, for people who have a browser and nothing else: its map, some
//! questions and their answers, groups, copies, outliers and pictures with something wrong, with
//! small pictures inside the file.
//!
//! The file loads nothing from elsewhere, and what images are called is text in it, never markup.

use std::collections::HashMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lookalike_gallery::{Gallery, GalleryInfo, Payload, Point, SearchRequest};
use lookalike_images::thumbnail;
use uuid::Uuid;

use crate::check::{self, CheckOptions};
use crate::duplicates::{self, DuplicateOptions, Duplicates, Kind};
use crate::groups::{self, GroupOptions};
use crate::map::{self, Map, MapPoint};
use crate::outliers::{self, OutlierOptions, Outliers, RankBy};
use crate::{Error, Originals, Progress};

mod albums;
mod quality;

/// The longer side of a picture in the file, in pixels: a thousand of them are some 3 MB.
const SIDE: usize = 96;
/// Images that ask, and neighbours that each is shown with.
const EXAMPLES: usize = 10;
const NEIGHBOURS: usize = 7;
/// Groups of copies, and members of each, that are shown.
const GROUPS: usize = 20;
const MEMBERS: usize = 8;
/// Outliers that are shown.
const OUTLIERS: usize = 24;
/// Cells of the map's side, each of which shows one picture.
const CELLS: usize = 22;
/// Points that the map shows as dots, at most; of more, a fair sample.
const MAX_DOTS: usize = 50_000;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("map.js");

/// Makes the report of a gallery. The map is laid out, and all contents are compared with each
/// other, which takes as long as [`map::lay_out`], [`groups::find`], [`duplicates::find`] and
/// [`outliers::rank`] do. The same gallery gives the same report.
///
/// # Errors
///
/// When the gallery cannot be read.
pub fn report(gallery: &dyn Gallery, mut progress: impl FnMut(Progress)) -> Result<String, Error> {
    let info = gallery.describe()?;
    let map = map::lay_out(gallery, &mut progress)?;
    let albums = groups::find(gallery, &GroupOptions::default(), &mut progress)?;
    let copies = DuplicateOptions {
        limit: Some(GROUPS),
        ..DuplicateOptions::default()
    };
    let copies = duplicates::find(gallery, &copies, &mut progress)?;
    let odd = OutlierOptions {
        by: RankBy::Neighbours,
        count: OUTLIERS,
        ..OutlierOptions::default()
    };
    let odd = outliers::rank(gallery, None, &odd, &mut progress)?;
    let worst = CheckOptions {
        limit: quality::WORST,
        ..CheckOptions::default()
    };
    let faults = check::check(gallery, &worst, &mut progress)?;
    let mut page = Page {
        html: String::new(),
        gallery,
        originals: Originals::of(gallery)?,
        pictures: HashMap::new(),
    };
    page.begin(&info);
    page.map(&map)?;
    page.examples(&map)?;
    page.albums(&albums)?;
    page.copies(&copies);
    page.outliers(&odd);
    page.quality(&faults);
    page.html.push_str("</main></body></html>\n");
    Ok(page.html)
}

/// The file as far as it is written.
struct Page<'a> {
    html: String,
    gallery: &'a dyn Gallery,
    originals: Originals,
    /// The pictures that were made, by their contents.
    pictures: HashMap<String, String>,
}

impl Page<'_> {
    fn begin(&mut self, info: &GalleryInfo) {
        let name = escaped(&info.name);
        let _ = write!(
            self.html,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\
             <title>{name}</title><style>{STYLE}</style></head><body><main>\n\
             <h1>{name}</h1><p>{} images, compared by {}, {} numbers each.</p>\n",
            info.points, info.metric, info.dims
        );
    }

    /// The map: dots in the colours of labels, and a picture for each part of it that has any.
    fn map(&mut self, map: &Map) -> Result<(), Error> {
        let points = map.points();
        if points.is_empty() {
            return Ok(());
        }
        let step = points.len().div_ceil(MAX_DOTS);
        // Ids are as good as drawn by lot.
        let dots: Vec<u8> = points.iter().step_by(step).flat_map(dot).collect();
        let mut cells: Vec<Option<MapPoint>> = vec![None; CELLS * CELLS];
        let cell = |at: f32| ((at * CELLS as f32) as usize).min(CELLS - 1);
        for point in points {
            cells[cell(point.y) * CELLS + cell(point.x)].get_or_insert(*point);
        }
        let shown: Vec<MapPoint> = cells.into_iter().flatten().collect();
        let _ = write!(
            self.html,
            "<h2>Map</h2><p>What looks alike lies together. Each picture stands for what is around it.</p>\
             <div id=\"map\"><canvas data-dots=\"{}\"></canvas>",
            BASE64_STANDARD.encode(&dots)
        );
        let payloads = self.payloads(shown.iter().map(|point| point.id))?;
        for point in &shown {
            let Some(payload) = payloads.get(&point.id) else {
                continue;
            };
            let place = format!(
                " style=\"left:{:.2}%;top:{:.2}%\"",
                100.0 * point.x,
                100.0 * point.y
            );
            self.picture(payload, &place);
        }
        self.html.push_str("</div>\n");
        let labels = map.labels();
        if !labels.is_empty() {
            self.html.push_str("<p id=\"labels\">");
            for (index, label) in labels.iter().take(12).enumerate() {
                let _ = write!(
                    self.html,
                    "<span data-label=\"{index}\">{}</span> ",
                    escaped(label)
                );
            }
            self.html.push_str("</p>\n");
        }
        let _ = writeln!(self.html, "<script>{SCRIPT}</script>");
        Ok(())
    }

    /// Some images, fairly drawn, and what is nearest to each.
    fn examples(&mut self, map: &Map) -> Result<(), Error> {
        let points = map.points();
        let step = (points.len() / EXAMPLES).max(1);
        let ids: Vec<Uuid> = points.iter().step_by(step).map(|point| point.id).collect();
        let asking = self.gallery.retrieve(&ids[..ids.len().min(EXAMPLES)])?;
        if asking.is_empty() {
            return Ok(());
        }
        self.html
            .push_str("<h2>Answers</h2><p>Some images, and what is most like each of them.</p>\n");
        for Point { id, code, payload } in asking {
            let request = SearchRequest {
                exclude: Some(id),
                ..SearchRequest::new(code, NEIGHBOURS)
            };
            let answer = self.gallery.search(&request)?;
            self.html.push_str("<div class=\"row\">");
            self.figure(&payload, &name(&payload));
            for hit in answer.neighbours {
                self.figure(&hit.payload, &format!("{:.3}", hit.distance));
            }
            self.html.push_str("</div>\n");
        }
        Ok(())
    }

    fn copies(&mut self, found: &Duplicates) {
        let _ = writeln!(
            self.html,
            "<h2>Copies</h2><p>{} groups; {} exact copies and {} near ones.</p>",
            found.group_count, found.exact, found.near
        );
        for group in &found.groups {
            self.html.push_str("<div class=\"row\">");
            for member in group.members.iter().take(MEMBERS) {
                let caption = match member.kind {
                    Kind::Representative => name(&member.payload),
                    kind => format!("{}: {}", kind.name(), name(&member.payload)),
                };
                self.figure(&member.payload, &caption);
            }
            if let more @ 1.. = group.members.len().saturating_sub(MEMBERS) {
                let _ = write!(self.html, "<span>and {more} more</span>");
            }
            self.html.push_str("</div>\n");
        }
    }

    fn outliers(&mut self, found: &Outliers) {
        self.html.push_str(
            "<h2>Outliers</h2><p>The images that are least like any other. Scores are robust standard deviations; \
             up to 3 is nothing remarkable.</p>\n<div class=\"row\">",
        );
        for outlier in &found.outliers {
            let caption = format!("{:.1}: {}", outlier.score, name(&outlier.payload));
            self.figure(&outlier.payload, &caption);
        }
        self.html.push_str("</div>\n");
    }

    fn payloads(&self, ids: impl Iterator<Item = Uuid>) -> Result<HashMap<Uuid, Payload>, Error> {
        let ids: Vec<Uuid> = ids.collect();
        let points = self.gallery.retrieve(&ids)?.into_iter();
        Ok(points.map(|point| (point.id, point.payload)).collect())
    }

    fn figure(&mut self, payload: &Payload, caption: &str) {
        self.html.push_str("<figure>");
        self.picture(payload, "");
        let _ = write!(
            self.html,
            "<figcaption>{}</figcaption></figure>",
            escaped(caption)
        );
    }

    /// A small picture with its name, or the name alone where nothing is left of the picture.
    fn picture(&mut self, payload: &Payload, attributes: &str) {
        let name = escaped(&name(payload));
        let (gallery, originals) = (self.gallery, &self.originals);
        let hash = payload.blake3.clone();
        let data = self.pictures.entry(hash).or_insert_with(|| {
            let small = originals.picture(gallery, payload);
            let small = small.and_then(|pixels| thumbnail(&pixels, SIDE).ok());
            small.map_or_else(String::new, |jpeg| BASE64_STANDARD.encode(jpeg))
        });
        let _ = match data.is_empty() {
            true => write!(self.html, "<span{attributes}>{name}</span>"),
            false => write!(
                self.html,
                "<img{attributes} loading=\"lazy\" title=\"{name}\" alt=\"{name}\" src=\"data:image/jpeg;base64,{data}\">"
            ),
        };
    }
}

/// A point of the map in six bytes: x, y and label, little endian.
fn dot(point: &MapPoint) -> [u8; 6] {
    let side = |at: f32| ((at * f32::from(u16::MAX)) as u16).to_le_bytes();
    let label = u16::try_from(point.label).unwrap_or(u16::MAX).to_le_bytes();
    let ([a, b], [c, d], [e, f]) = (side(point.x), side(point.y), label);
    [a, b, c, d, e, f]
}

/// What people know an image by.
fn name(payload: &Payload) -> String {
    match &payload.label {
        Some(label) => format!("{} ({label})", payload.key),
        None => payload.key.clone(),
    }
}

/// A text that means itself in HTML, between tags and in attributes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter if letter.is_control() => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_never_markup() {
        assert_eq!(
            escaped("<img src='x' onerror=\"a&b\">\u{0}"),
            "&lt;img src=&#39;x&#39; onerror=&quot;a&amp;b&quot;&gt;\u{fffd}"
        );
    }

    #[test]
    fn dots_are_six_bytes() {
        let point = MapPoint {
            id: Uuid::nil(),
            x: 0.0,
            y: 1.0,
            label: u32::MAX,
        };
        assert_eq!(dot(&point), [0, 0, 255, 255, 255, 255]);
        assert_eq!(dot(&MapPoint { label: 3, ..point })[4..], [3, 0]);
    }
}

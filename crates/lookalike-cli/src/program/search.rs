//! `lookalike search`.

use std::path::PathBuf;
use std::sync::Arc;

use lookalike::autoencoder::DeviceChoice;
use lookalike::gallery::{Answer, Filter, Gallery, Hit, Point, Rerank, Strategy};
use lookalike::images::{Image, Region};
use lookalike::named::{AskedAgain, NamedSearches};
use lookalike::neighbours::Metric;
use lookalike::{
    DEFAULT_THUMBNAIL_SIDE, Encoder, Error, Presence, Presences, Query, QueryImage, Reading,
    SearchOptions, Searcher, Skips, already_in_gallery, decode_target, open_queries,
};
use serde::Serialize;

use super::arguments::{SearchArguments, named};
use super::conditions::why_none;
use super::console::{Console, table};
use super::drawing::{ContactSheet, Row};
use super::pictures::{self, Originals, answer_row};
use super::spreadsheet::place;
use super::terminal::Protocol;
use super::{Failure, output, refuse_twice};

/// One line of `search --json`.
#[derive(Serialize)]
struct SearchReport<'a> {
    query: &'a str,
    label: Option<&'a str>,
    /// The point that the image is itself, if the gallery has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    already_in_gallery: Option<Own<'a>>,
    neighbours: Vec<Found<'a>>,
    metric: Metric,
    exact: bool,
    notes: &'a [&'a str],
}

/// A point that is the image asked with.
#[derive(Serialize)]
struct Own<'a> {
    id: String,
    source: &'a str,
    key: &'a str,
}

/// A neighbour, and whether its original is there.
#[derive(Serialize)]
struct Found<'a> {
    #[serde(flatten)]
    hit: &'a Hit,
    /// The file is not there any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
}

pub fn run(
    arguments: SearchArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<(), Failure> {
    let instead = "every image that is named is asked with";
    arguments.reading.refuse_sample("search", instead)?;
    let images = [&arguments.images, &arguments.like, &arguments.unlike];
    let images: Vec<PathBuf> = images.into_iter().flatten().map(PathBuf::from).collect();
    let mut read: Vec<Option<&PathBuf>> = images.iter().map(Some).collect();
    read.extend([arguments.model.as_ref(), arguments.encoder.as_ref()]);
    refuse_twice(
        &[arguments.sheet.as_ref(), arguments.reading.report()],
        &read,
    )?;
    let models = named(&arguments.model, &arguments.encoder);
    let searcher = Searcher::open(&arguments.gallery, &models, device)?;
    let named = match &arguments.named {
        Some(name) => Some(searches(&searcher)?.get(name)?),
        None => None,
    };
    let filter = Filter::all(arguments.filters.iter().cloned())?;
    let options = SearchOptions {
        k: arguments.k,
        metric: arguments.metric,
        exact: arguments.exact,
        max_distance: arguments.max_distance,
        filter: match &named {
            Some(named) => named.filter(filter)?,
            None => filter,
        },
        exclude_self: !arguments.include_self,
        rerank: arguments.rerank.into(),
        strategy: match (arguments.strategy, &named) {
            (Some(strategy), _) => strategy.into(),
            (None, Some(named)) => named.strategy,
            (None, None) => Strategy::default(),
        },
        diverse: arguments.diverse,
        tiles: arguments.tiles,
    };
    let skips = arguments.reading.skips()?;
    let mut reading = arguments.reading.reading_for(searcher.gallery())?;
    if arguments.region.is_none() {
        // Read as it was when it was indexed; a region is of the whole picture.
        reading.decode.target = Some(decode_target(searcher.encoder(), DEFAULT_THUMBNAIL_SIDE));
    }
    let inline = match console.is_terminal() {
        true => Protocol::of_environment(),
        false => None,
    };
    let mut answers = Answers {
        console,
        rerank: options.rerank,
        tiles: options.tiles,
        exclude_self: options.exclude_self,
        draws: inline.is_some() || arguments.sheet.is_some(),
        originals: Originals::of(searcher.gallery())?,
        presences: Presences::of(&searcher.gallery().describe()?),
        gone: 0,
        gallery: searcher.gallery(),
        filters: arguments.filters.clone(),
        rows: Vec::new(),
    };
    let queries = Queries {
        searcher: &searcher,
        region: arguments.region,
        reading,
        skips: skips.clone(),
    };
    let by_examples = named.is_some() || !arguments.like.is_empty();
    let text = arguments.text.as_ref();
    let text_code = text
        .map(|text| searcher.encoder().encode_text(text))
        .transpose()?;
    if let (Some(text), Some(code), true) = (text, &text_code, !by_examples) {
        let answer = searcher.search(Query::code(code.clone()), &options)?;
        answers.take(text, None, None, &answer)?;
    }
    if by_examples {
        let (mut like, shown) = queries.examples(&arguments.like)?;
        like.extend(text_code.map(Query::code));
        let (mut unlike, _) = queries.examples(&arguments.unlike)?;
        let asked = named
            .map(|named| named.asked(searcher.gallery()))
            .transpose()?;
        let note = asked.as_ref().and_then(AskedAgain::note);
        if let Some(asked) = asked {
            like.splice(..0, asked.like);
            unlike.splice(..0, asked.unlike);
        }
        if let Some(name) = &arguments.save {
            let (like, unlike) = (like.clone(), unlike.clone());
            let filter = options.filter.as_ref();
            let search = searcher.named(like, unlike, filter, options.strategy)?;
            let replaced = searches(&searcher)?.save(name, search)?;
            console.note(match replaced {
                true => format!("the search was kept as '{name}', in the place of another"),
                false => format!("the search was kept as '{name}'"),
            });
        }
        let mut answer = searcher.search(Query::examples(like, unlike), &options)?;
        answer.notes.extend(note);
        answers.take(&name_of(&arguments), shown.as_ref(), None, &answer)?;
    }
    for spec in &arguments.images {
        queries.each(spec, |name, asked| {
            let (own, answer) = match &asked {
                Asked::Image(image) => {
                    let own = searcher.own_point(image)?;
                    let id = own.as_ref().map(|point| point.id);
                    let query = Query::image(image.clone()).of_point(id);
                    let answer = searcher.search(query.region(arguments.region), &options)?;
                    (own, answer)
                }
                Asked::Point(point) => (None, searcher.search(&**point, &options)?),
            };
            let shown = queries.shown(&asked, &answers.originals)?;
            answers.take(name, shown.as_ref(), own.as_ref(), &answer)
        })?;
    }
    if options.rerank == Rerank::Diffusion {
        diffusion_note(searcher.encoder(), console);
    }
    if answers.gone > 0 {
        console.note(format!(
            "{} of the images found are in the gallery, but their files are not there any more (gone); index their \
             source again with --prune to remove them from the gallery",
            answers.gone
        ));
    }
    if answers.draws {
        let title = format!("{}: {} nearest", arguments.gallery, arguments.k);
        let sheet = ContactSheet {
            title: vec![title],
            rows: answers.rows,
        };
        let sheet = sheet.render();
        if let Some(path) = &arguments.sheet {
            pictures::write(&sheet, path)?;
        }
        if let Some(protocol) = inline {
            protocol
                .show(&sheet.to_png()?, std::io::stdout().lock())
                .map_err(output)?;
        }
    }
    arguments.reading.conclude(&skips, console)
}

/// The searches that are kept under names.
fn searches(searcher: &Searcher) -> Result<NamedSearches, Error> {
    NamedSearches::of(&searcher.gallery().describe()?)
}

/// What a search by examples is called.
fn name_of(arguments: &SearchArguments) -> String {
    let mut parts = Vec::new();
    parts.extend(arguments.named.clone());
    if !arguments.like.is_empty() {
        parts.push(format!("like {}", arguments.like.join(", ")));
    }
    parts.extend(arguments.text.as_ref().map(|text| format!("\"{text}\"")));
    if !arguments.unlike.is_empty() {
        parts.push(format!("unlike {}", arguments.unlike.join(", ")));
    }
    parts.join(", ")
}

/// Says so where the model's judge expects diffusion to make answers worse.
pub fn diffusion_note(encoder: &dyn Encoder, console: &Console) {
    // What the model's judge found says nothing of codes that are joined with others.
    let model = encoder
        .autoencoder()
        .filter(|_| encoder.adapted().is_none());
    let judged = model.and_then(|model| model.record().comparison.as_ref());
    if judged.is_some_and(|judged| !judged.diffusion_may_help()) {
        console.note(
            "ranking by diffusion is not expected to help here: too few neighbours of the codes are confirmed by shape \
             and structure, and diffusion spreads what wrong neighbours say; without it answers are probably better",
        );
    }
}

/// What is asked with.
enum Asked {
    /// An image.
    Image(QueryImage),
    /// A point of the gallery, whose original is not there.
    Point(Box<Point>),
}

/// Makes queries of what was typed.
struct Queries<'a> {
    searcher: &'a Searcher,
    region: Option<Region>,
    reading: Reading,
    skips: Arc<Skips>,
}

impl Queries<'_> {
    /// Hands what `spec` names to `ask`, with a name to show: images that can be read, or else a
    /// point of the gallery.
    fn each(
        &self,
        spec: &str,
        mut ask: impl FnMut(&str, Asked) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut asked = false;
        let read = open_queries(spec, &self.reading, &self.skips, |name, image| {
            asked = true;
            ask(name, Asked::Image(image))
        });
        match read {
            Err(Failure::Error(error)) if !asked => match self.searcher.find_point(spec)? {
                Some(_) if self.region.is_some() => Err(Error::Unusable(format!(
                    "no region of {spec} can be looked at: it is in the gallery, but its original cannot be read ({error})"
                ))
                .into()),
                Some(point) => ask(spec, Asked::Point(Box::new(point))),
                None => Err(error.into()),
            },
            other => other,
        }
    }

    /// The picture to show for what is asked with, if there is one.
    fn shown(&self, asked: &Asked, originals: &Originals<'_>) -> Result<Option<Image>, Error> {
        Ok(match asked {
            Asked::Image(image) => {
                let mut shown = Image::from(image.clone());
                if let Some(region) = self.region {
                    shown.pixels = shown.pixels.crop(region)?;
                }
                Some(shown)
            }
            Asked::Point(point) => originals.get(&point.payload).map(|pixels| Image {
                key: point.payload.key.clone(),
                label: point.payload.label.clone(),
                pixels,
            }),
        })
    }

    /// The examples that `specs` name, and the first of them to show.
    fn examples(&self, specs: &[String]) -> Result<(Vec<Query>, Option<Image>), Failure> {
        let mut examples = Vec::new();
        let mut first = None;
        for spec in specs {
            self.each(spec, |_, asked| {
                if first.is_none() {
                    first = self.shown(&asked, &Originals::of(self.searcher.gallery())?)?;
                }
                examples.push(match asked {
                    Asked::Image(image) => Query::image(image).region(self.region),
                    Asked::Point(point) => Query::id(point.id),
                });
                Ok(())
            })?;
        }
        Ok((examples, first))
    }
}

/// Tells answers one after another.
struct Answers<'a> {
    console: &'a Console,
    rerank: Rerank,
    tiles: bool,
    exclude_self: bool,
    draws: bool,
    originals: Originals<'a>,
    presences: Presences,
    /// Neighbours whose originals are gone.
    gone: usize,
    gallery: &'a dyn Gallery,
    filters: Vec<Filter>,
    rows: Vec<Row>,
}

impl Answers<'_> {
    fn take(
        &mut self,
        name: &str,
        query: Option<&Image>,
        own: Option<&Point>,
        answer: &Answer,
    ) -> Result<(), Failure> {
        for note in &answer.notes {
            self.console.note(note);
        }
        let label = query.and_then(|query| query.label.as_deref());
        let found: Vec<Found> = answer
            .neighbours
            .iter()
            .map(|hit| Found {
                hit,
                gone: self.presences.look(&hit.payload) == Presence::Gone,
            })
            .collect();
        if found.is_empty() {
            for line in why_none(self.gallery, &self.filters)? {
                self.console.note(format!("nothing was found: {line}"));
            }
        }
        self.gone += found.iter().filter(|found| found.gone).count();
        let already = own.map(|point| already_in_gallery(&point.payload, self.exclude_self));
        let heading = heading(name, label, answer, already.as_deref());
        print_table(self.console, &heading, &found, self.rerank, self.tiles)?;
        let notes: Vec<&str> = already
            .iter()
            .chain(&answer.notes)
            .map(String::as_str)
            .collect();
        self.console.json(&SearchReport {
            query: name,
            label,
            already_in_gallery: own.map(|point| Own {
                id: point.id.to_string(),
                source: &point.payload.source,
                key: &point.payload.key,
            }),
            neighbours: found,
            metric: answer.metric,
            exact: answer.exact,
            notes: &notes,
        })?;
        if self.draws
            && let Some(query) = query
        {
            let row = answer_row(query, answer, &self.originals)?;
            self.rows.push(row);
        }
        Ok(())
    }
}

/// What was asked with, and how it was answered.
fn heading(name: &str, label: Option<&str>, answer: &Answer, already: Option<&str>) -> String {
    let label = label.map_or_else(String::new, |label| format!(" (label {label})"));
    let exact = if answer.exact { ", exact" } else { "" };
    let already = already.map_or_else(String::new, |already| format!("; {already}"));
    format!("{name}{label}: {}{exact}{already}", answer.metric)
}

/// Rank, distance, label, the part that is near, and place of each neighbour.
fn print_table(
    console: &Console,
    title: &str,
    found: &[Found],
    rerank: Rerank,
    tiles: bool,
) -> Result<(), Failure> {
    console.say(title)?;
    let mut heading = vec!["  rank", "distance", "label", "image"];
    if rerank == Rerank::Diffusion {
        heading.insert(2, "score");
    }
    if tiles {
        heading.insert(heading.len() - 1, "part");
    }
    let mut rows = vec![heading.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for (rank, Found { hit, gone }) in found.iter().enumerate() {
        let mut row = vec![
            format!("  {}", rank + 1),
            format!("{:.5}", hit.distance),
            hit.payload.label.clone().unwrap_or_else(|| "-".to_owned()),
            match gone {
                true => format!("{} (gone)", place(&hit.payload)),
                false => place(&hit.payload),
            },
        ];
        if rerank == Rerank::Diffusion {
            let score = hit
                .score
                .map_or_else(|| "-".to_owned(), |s| format!("{s:.5}"));
            row.insert(2, score);
        }
        if tiles {
            let part = hit
                .region
                .map(|r| format!("{},{},{},{}", r.x, r.y, r.width, r.height));
            row.insert(row.len() - 1, part.unwrap_or_else(|| "whole".to_owned()));
        }
        rows.push(row);
    }
    for line in table(&rows) {
        console.say(line)?;
    }
    Ok(())
}

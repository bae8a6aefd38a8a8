//! Sheets and curves as the commands draw them.

use std::path::Path;

use lookalike::Error;
use lookalike::autoencoder::{Autoencoder, EpochRecord};
use lookalike::gallery::{Answer, Gallery, Hit, Payload};
use lookalike::images::{Collection, Image, Pixels};

use super::Failure;
use super::drawing::{Cell, ContactSheet, Curve, Mark, Row, Series};

/// Pairs in a row of a sheet of reconstructions.
const SHEET_COLUMNS: usize = 10;
/// The longer side of small copies, in pixels.
const SMALL: usize = 160;
/// The colour of the frame around a part of a picture.
const FRAME: [u8; 3] = [255, 191, 0];
/// How many times thinner than the picture's longer side the frame is.
const FRAME_PART: usize = 80;

/// The pictures of a gallery's points: the originals or else their thumbnails.
pub struct Originals<'a> {
    gallery: &'a dyn Gallery,
    originals: lookalike::Originals,
}

impl<'a> Originals<'a> {
    /// Of this gallery's points.
    pub fn of(gallery: &'a dyn Gallery) -> Result<Self, Error> {
        Ok(Self {
            gallery,
            originals: lookalike::Originals::of(gallery)?,
        })
    }

    /// The point's picture, or none where its source is gone or holds another one now, and no
    /// thumbnail was kept.
    pub fn get(&self, payload: &Payload) -> Option<Pixels> {
        self.originals.picture(self.gallery, payload)
    }
}

/// One row: the query and its neighbours.
pub fn answer_row(
    query: &Image,
    answer: &Answer,
    originals: &Originals<'_>,
) -> Result<Row, Failure> {
    let name = query.label.as_deref().unwrap_or(&query.key);
    let shown = reduced(query.pixels.clone());
    let mut cells = vec![Cell::query(shown.clone(), name)];
    for (rank, hit) in answer.neighbours.iter().enumerate() {
        let pixels = match originals.get(&hit.payload) {
            Some(pixels) => marked(reduced(pixels), hit),
            None => blank(&shown)?,
        };
        cells.push(neighbour_cell(
            rank + 1,
            hit,
            pixels,
            query.label.as_deref(),
        ));
    }
    Ok(Row::new(cells))
}

fn neighbour_cell(rank: usize, hit: &Hit, pixels: Pixels, query_label: Option<&str>) -> Cell {
    let label = hit.payload.label.as_deref();
    Cell::neighbour(
        pixels,
        rank,
        label.unwrap_or(&hit.payload.key),
        hit.distance,
        Mark::of_labels(query_label, label),
    )
}

/// A small copy of the point's picture for a sheet of many, grey where the original is gone.
pub fn small(payload: &Payload, originals: &Originals<'_>) -> Result<Pixels, Error> {
    match originals.get(payload) {
        Some(pixels) => Ok(reduced(pixels)),
        None => Ok(Pixels::new(SMALL, SMALL, 1, vec![230; SMALL * SMALL])?),
    }
}

/// A picture no larger than sheets show it: photographs would fill the memory.
fn reduced(pixels: Pixels) -> Pixels {
    lookalike::reduced(pixels, SMALL)
}

/// The picture of a hit with a frame around the part that was found.
fn marked(pixels: Pixels, hit: &Hit) -> Pixels {
    let Some(region) = hit.region else {
        return pixels;
    };
    let (width, height) = (pixels.width(), pixels.height());
    let along = |start: u32, length: u32, whole: u32, side: usize| {
        let place = |at: u32| {
            (at as usize * side)
                .div_ceil(whole.max(1) as usize)
                .min(side)
        };
        (place(start), place(start.saturating_add(length)))
    };
    let (left, right) = along(region.x, region.width, hit.payload.width, width);
    let (top, bottom) = along(region.y, region.height, hit.payload.height, height);
    let thickness = 1 + width.max(height) / FRAME_PART;
    let is_frame = |x: usize, y: usize| {
        let within = |x: usize, y: usize, by: usize| {
            (left + by..right.saturating_sub(by)).contains(&x)
                && (top + by..bottom.saturating_sub(by)).contains(&y)
        };
        within(x, y, 0) && !within(x, y, thickness)
    };
    let channels = pixels.channels();
    let data = pixels
        .data()
        .chunks_exact(channels)
        .enumerate()
        .flat_map(|(at, pixel)| match is_frame(at % width, at / width) {
            true => FRAME,
            false => std::array::from_fn(|channel| pixel[channel % channels]),
        });
    Pixels::new(width, height, 3, data.collect()).unwrap_or(pixels)
}

/// Stands in for an original that is gone: light grey, as large as the query.
fn blank(like: &Pixels) -> Result<Pixels, Error> {
    let data = vec![230; like.width() * like.height()];
    Ok(Pixels::new(like.width(), like.height(), 1, data)?)
}

/// The first `count` images of a collection over their reconstructions.
pub fn reconstruction_sheet(
    model: &Autoencoder,
    collection: &Collection,
    count: usize,
    title: Vec<String>,
) -> Result<Pixels, Error> {
    let count = count.min(collection.len());
    let shape = collection.shape();
    let pixels = &collection.pixels()[..count * shape.values()];
    let outputs = model.reconstruct(pixels)?;
    let pictures = |all: &[u8]| -> Result<Vec<Pixels>, Error> {
        all.chunks_exact(shape.values())
            .map(|p| {
                let (width, height) = (shape.width, shape.height);
                Ok(Pixels::new(width, height, shape.channels, p.to_vec())?)
            })
            .collect()
    };
    let pairs = pictures(pixels)?.into_iter().zip(pictures(&outputs)?);
    Ok(ContactSheet::of_reconstructions(title, pairs, SHEET_COLUMNS).render())
}

/// One line of a loss curve: the epochs' losses.
pub fn losses(name: &str, epochs: &[EpochRecord]) -> Series {
    let points = epochs.iter().enumerate();
    Series {
        name: name.to_owned(),
        points: points.map(|(i, e)| ((i + 1) as f64, e.loss)).collect(),
    }
}

/// Losses over epochs, beside the mean image's if it is given.
pub fn loss_curve(title: &str, mut series: Vec<Series>, mean_image_loss: Option<f64>) -> Pixels {
    if let Some(loss) = mean_image_loss {
        let last = series.iter().map(|s| s.points.len()).max().unwrap_or(1);
        series.push(Series {
            name: "the mean image".to_owned(),
            points: vec![(1.0, loss), (last as f64, loss)],
        });
    }
    let curve = Curve {
        title: title.to_owned(),
        x_label: "epoch".to_owned(),
        y_label: "loss".to_owned(),
        log_y: true,
        series,
    };
    curve.render()
}

/// Writes a picture, making its folder.
pub fn write(pixels: &Pixels, path: &Path) -> Result<(), Error> {
    if let Some(ending) = path
        .extension()
        .filter(|ending| !ending.eq_ignore_ascii_case("png"))
    {
        return Err(Error::Unusable(format!(
            "cannot write a picture to {}: pictures are written as PNG, and the name ends in .{}; name it {}",
            path.display(),
            ending.display(),
            path.with_extension("png").display()
        )));
    }
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
    }
    Ok(pixels.write_png(path)?)
}

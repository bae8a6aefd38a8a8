//! A gallery written to files that other programs read: codes for NumPy, payloads as lines of JSON,
//! or all of it as Parquet; and an encoder, as ONNX.

use std::io::{BufWriter, Write};
use std::path::Path;

use lookalike_eval::npy::{self, NpyError};
use lookalike_files::{Replacement, replace_file};
use lookalike_gallery::{Filter, Gallery, Point, Points};
use parquet::errors::ParquetError;

use self::places::Places;
use self::table::{Columns, Table};
use crate::{Encoder, Error, Phase, Progress};

mod places;
mod table;

/// Which files are written; all of them in one pass, and each replaced only when all are complete.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExportFiles<'a> {
    /// A NumPy array of points x dimensions, `f32`.
    pub codes: Option<&'a Path>,
    /// A JSON object a line: the id and the payload.
    pub payload: Option<&'a Path>,
    /// A Parquet file of the columns `id`, `source`, `key`, `label`, `location` (text), `width`,
    /// `height` (unsigned), `bytes`, `modified` (a time stamp in nanoseconds, UTC), `blake3`,
    /// `extra` (a JSON object as text; null where there is nothing), `code` (a list of as many
    /// floats as the gallery's codes have), each of the [`Facts`](lookalike_gallery::Facts) and
    /// `group`, the number of the group that was kept with a picture
    /// ([`keep`](crate::groups::keep)).
    /// What is not known is null. The file's metadata name the metric, the length of codes and the
    /// model: `lookalike.metric`, `lookalike.dims`,
    /// `lookalike.model`. Row groups hold about 16 MiB of codes.
    pub parquet: Option<&'a Path>,
    /// Whether the Parquet file also has `x` and `y`, floats: where each picture is on the map of
    /// the whole gallery ([`lay_out`](crate::map::lay_out)), `x` from the left, `y` from the top.
    pub map: bool,
    /// If not 0, the Parquet file also has `neighbors`, a struct of the lists `ids` and
    /// `distances`: of each picture the so many nearest others in the file, nearest first. An
    /// id is the number of a row, from 0, as Embedding Atlas has it; distances are by the gallery's
    /// metric, or by cosine where that is the inner product (`lookalike.neighbors.metric` in the
    /// metadata).
    pub neighbours: usize,
}

/// Writes an autoencoder's encoder as an ONNX file, see
/// [`to_onnx`](lookalike_autoencoder::Autoencoder::to_onnx), and says how many bytes it has. The
/// file is replaced whole or not at all.
///
/// # Errors
///
/// When the encoder is one that others have trained or an [adapted](crate::AdaptedEncoder) one, or
/// the file cannot be written.
pub fn export_encoder(encoder: &dyn Encoder, path: &Path) -> Result<usize, Error> {
    if encoder.adapted().is_some() {
        return Err(Error::Unusable(format!(
            "cannot export {}: its codes are joined or reduced, which an ONNX file does not hold; export the model's own file",
            encoder.name()
        )));
    }
    let Some(autoencoder) = encoder.autoencoder() else {
        return Err(Error::Unusable(format!(
            "cannot export {}: it is ONNX already; use its own file",
            encoder.name()
        )));
    };
    let bytes = autoencoder.to_onnx();
    replace_file(path, &bytes).map_err(|error| Error::unwritten(path, error))?;
    Ok(bytes.len())
}

/// Writes a gallery's points, in the order of their ids, to files, and says how many there were.
/// `progress` hears of each.
///
/// Points are read page by page and written as they come: memory holds a row group of the Parquet
/// file at most. The map and neighbours are computed before, which needs all codes in memory. Each
/// file is replaced whole or not at all.
///
/// # Errors
///
/// When the gallery cannot be read or changes after map or neighbours were computed, or a file
/// cannot be written: then all files are as they were, unless it was the very last step that
/// failed, putting one of several in its place.
pub fn export(
    gallery: &dyn Gallery,
    filter: Option<&Filter>,
    files: &ExportFiles,
    mut progress: impl FnMut(Progress),
) -> Result<usize, Error> {
    let info = gallery.describe()?;
    let begin = |path: &Path| {
        let file = Replacement::new(path).map_err(|error| Error::unwritten(path, error))?;
        Ok::<_, Error>(BufWriter::with_capacity(1 << 18, file))
    };
    let mut codes = match files.codes {
        Some(path) => {
            let writer = npy::Writer::<f32, _>::new(begin(path)?, info.dims);
            Some((path, writer.map_err(|error| npy_unwritten(path, error))?))
        }
        None => None,
    };
    let mut payload = match files.payload {
        Some(path) => Some((path, begin(path)?)),
        None => None,
    };
    let mut table = match files.parquet {
        Some(path) => {
            let columns = Columns {
                map: files.map,
                neighbours: files.neighbours,
            };
            let writer = Table::new(begin(path)?, &info, columns);
            let writer = writer.map_err(|error| parquet_unwritten(path, error))?;
            let places = Places::of(gallery, filter, files, &mut progress)?;
            Some((path, writer, places))
        }
        None => None,
    };
    let mut points = 0;
    let total = filter.is_none().then_some(info.points);
    for point in Points::new(gallery, filter.cloned()) {
        let point = point?;
        if let Some((path, writer)) = &mut codes {
            let written = writer.push(&point.code);
            written.map_err(|error| npy_unwritten(path, error))?;
        }
        if let Some((path, writer)) = &mut payload {
            let written = write_line(writer, &point);
            written.map_err(|error| Error::unwritten(path, error))?;
        }
        if let Some((path, writer, places)) = &mut table {
            let place = places.next(point.id)?;
            let written = writer.push(point, place);
            written.map_err(|error| parquet_unwritten(path, error))?;
        }
        points += 1;
        progress(Progress::new(Phase::Exporting, points, total));
    }
    let mut complete = Vec::new();
    if let Some((path, writer)) = codes {
        let file = writer
            .finish()
            .map_err(|error| npy_unwritten(path, error))?;
        complete.push((path, file));
    }
    complete.extend(payload);
    if let Some((path, writer, places)) = table {
        places.finish()?;
        let file = writer
            .finish()
            .map_err(|error| parquet_unwritten(path, error))?;
        complete.push((path, file));
    }
    let mut flushed = Vec::new();
    for (path, file) in complete {
        let file = file
            .into_inner()
            .map_err(|error| Error::unwritten(path, error.into_error()))?;
        flushed.push((path, file));
    }
    for (path, file) in flushed {
        file.commit()
            .map_err(|error| Error::unwritten(path, error))?;
    }
    Ok(points)
}

fn npy_unwritten(path: &Path, error: NpyError) -> Error {
    match error {
        NpyError::Io(error) => Error::unwritten(path, error),
        error => Error::Unusable(format!("cannot write {}: {error}", path.display())),
    }
}

fn parquet_unwritten(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(error) => match error.downcast::<std::io::Error>() {
            Ok(error) => Error::unwritten(path, *error),
            Err(error) => Error::Unusable(format!("cannot write {}: {error}", path.display())),
        },
        error => Error::Unusable(format!("cannot write {}: {error}", path.display())),
    }
}

fn write_line(to: &mut impl Write, point: &Point) -> std::io::Result<()> {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        id: uuid::Uuid,
        #[serde(flatten)]
        payload: &'a lookalike_gallery::Payload,
    }
    let line = Line {
        id: point.id,
        payload: &point.payload,
    };
    serde_json::to_writer(&mut *to, &line)?;
    to.write_all(b"\n")
}

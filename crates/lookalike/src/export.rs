//! A gallery written to files that other programs read: codes for NumPy, payloads as lines of JSON,
//! or all of it as Parquet; and an encoder, as ONNX.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use lookalike_eval::npy::{self, NpyError};
use lookalike_files::{Replacement, replace_file};
use lookalike_gallery::{Facts, Filter, Gallery, GalleryInfo, Point, Points};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use crate::{Encoder, Error, Phase, Progress};

/// Bytes of codes that a row group holds, about: what writing keeps in memory.
const GROUP_BYTES: usize = 16 << 20;
/// The most rows of a group, whatever the length of codes.
const GROUP_ROWS: usize = 1 << 15;

/// The columns of a Parquet file. Strings are UTF-8.
const SCHEMA: &str = "message lookalike {
    required binary id (STRING);
    required binary source (STRING);
    required binary key (STRING);
    optional binary label (STRING);
    optional binary location (STRING);
    required int32 width (INTEGER(32,false));
    required int32 height (INTEGER(32,false));
    optional int64 bytes;
    optional int64 modified (TIMESTAMP(NANOS,true));
    required binary blake3 (STRING);
    optional binary extra (STRING);
    required group code (LIST) { repeated group list { required float element; } }
    optional double brightness;
    optional double contrast;
    optional double sharpness;
    optional double entropy;
    optional double colourfulness;
    optional double flat_bottom;
    optional double undecoded;
    optional binary taken (STRING);
    optional binary camera (STRING);
    optional binary lens (STRING);
    optional double latitude;
    optional double longitude;
    optional int32 orientation;
}";

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
    /// floats as the gallery's codes have) and each of the [`Facts`].
    /// What is not known is null. The file's metadata name the metric, the length of codes and the
    /// model: `lookalike.metric`, `lookalike.dims`,
    /// `lookalike.model`. Row groups hold about 16 MiB of codes.
    pub parquet: Option<&'a Path>,
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
/// file at most. Each file is replaced whole or not at all.
///
/// # Errors
///
/// When the gallery cannot be read or a file cannot be written: then all files are as they were,
/// unless it was the very last step that failed, putting one of several in its place.
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
            let writer = ParquetWriter::new(begin(path)?, &info);
            Some((
                path,
                writer.map_err(|error| parquet_unwritten(path, error))?,
            ))
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
        if let Some((path, writer)) = &mut table {
            let written = writer.push(point);
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
    if let Some((path, writer)) = table {
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

/// Writes points as Parquet, and gives back what was written to.
#[cfg(test)]
fn write_parquet<W: Write + Send>(
    to: W,
    info: &GalleryInfo,
    points: impl IntoIterator<Item = Result<Point, Error>>,
) -> Result<W, Error> {
    let failed = |error: ParquetError| parquet_unwritten(Path::new("the Parquet file"), error);
    let mut writer = ParquetWriter::new(to, info).map_err(failed)?;
    for point in points {
        writer.push(point?).map_err(failed)?;
    }
    writer.finish().map_err(failed)
}

/// Points on their way to a Parquet file.
struct ParquetWriter<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    dims: usize,
    /// Rows of a group.
    rows: usize,
    waiting: Vec<Point>,
}

impl<W: Write + Send> ParquetWriter<W> {
    fn new(to: W, info: &GalleryInfo) -> Result<Self, ParquetError> {
        let schema = Arc::new(parse_message_type(SCHEMA).expect("the schema is valid"));
        let about = |key: &str, value: String| KeyValue::new(format!("lookalike.{key}"), value);
        let code = ColumnPath::from(vec![
            "code".to_owned(),
            "list".to_owned(),
            "element".to_owned(),
        ]);
        let properties = WriterProperties::builder()
            .set_created_by(format!("lookalike version {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(vec![
                about("metric", info.metric.to_string()),
                about("dims", info.dims.to_string()),
                about("model", info.model_fingerprint.clone()),
            ]))
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            // Noise to any compressor, and no two alike.
            .set_column_compression(code.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(code.clone(), false)
            .set_column_statistics_enabled(code, EnabledStatistics::None)
            .build();
        Ok(Self {
            writer: SerializedFileWriter::new(to, schema, Arc::new(properties))?,
            dims: info.dims,
            rows: (GROUP_BYTES / 4 / info.dims.max(1)).clamp(1, GROUP_ROWS),
            waiting: Vec::new(),
        })
    }

    fn push(&mut self, point: Point) -> Result<(), ParquetError> {
        self.waiting.push(point);
        match self.waiting.len() == self.rows {
            true => self.write_group(),
            false => Ok(()),
        }
    }

    fn finish(mut self) -> Result<W, ParquetError> {
        if !self.waiting.is_empty() {
            self.write_group()?;
        }
        self.writer.into_inner()
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let points = std::mem::take(&mut self.waiting);
        let mut group = self.writer.next_row_group()?;
        let text = |text: &str| ByteArray::from(text.as_bytes().to_vec());
        let mut texts = |of: &dyn Fn(&Point) -> Option<ByteArray>, optional| {
            column::<ByteArrayType, _>(&mut group, points.iter().map(of), optional)
        };
        texts(&|p| Some(text(&p.id.to_string())), false)?;
        texts(&|p| Some(text(&p.payload.source)), false)?;
        texts(&|p| Some(text(&p.payload.key)), false)?;
        texts(&|p| p.payload.label.as_deref().map(text), true)?;
        texts(&|p| p.payload.location.as_deref().map(text), true)?;
        // Unsigned numbers are kept as the signed ones of the same bits.
        let sides = points.iter().map(|p| Some(p.payload.width.cast_signed()));
        column::<Int32Type, _>(&mut group, sides, false)?;
        let sides = points.iter().map(|p| Some(p.payload.height.cast_signed()));
        column::<Int32Type, _>(&mut group, sides, false)?;
        let bytes = points.iter().map(|p| p.payload.bytes);
        let bytes = bytes.map(|bytes| bytes.map(|b| i64::try_from(b).unwrap_or(i64::MAX)));
        column::<Int64Type, _>(&mut group, bytes, true)?;
        column::<Int64Type, _>(&mut group, points.iter().map(|p| p.payload.modified), true)?;
        let mut texts = |of: &dyn Fn(&Point) -> Option<ByteArray>, optional| {
            column::<ByteArrayType, _>(&mut group, points.iter().map(of), optional)
        };
        texts(&|p| Some(text(&p.payload.blake3)), false)?;
        let extra =
            |p: &Point| serde_json::to_string(&p.payload.extra).expect("JSON goes back to JSON");
        texts(
            &|p| (!p.payload.extra.is_empty()).then(|| text(&extra(p))),
            true,
        )?;

        let codes: Vec<f32> = points.iter().flat_map(|p| &p.code).copied().collect();
        // In the list (1), and at its start (0) or not (1).
        let within = vec![1; codes.len()];
        let starts: Vec<i16> = (0..codes.len())
            .map(|at| i16::from(at % self.dims != 0))
            .collect();
        let mut leaf = group.next_column()?.expect("the schema has codes");
        leaf.typed::<FloatType>()
            .write_batch(&codes, Some(&within), Some(&starts))?;
        leaf.close()?;

        type Number = fn(&Facts) -> Option<f64>;
        let measures: [Number; 7] = [
            |facts| facts.brightness,
            |facts| facts.contrast,
            |facts| facts.sharpness,
            |facts| facts.entropy,
            |facts| facts.colourfulness,
            |facts| facts.flat_bottom,
            |facts| facts.undecoded,
        ];
        let places: [Number; 2] = [|facts| facts.latitude, |facts| facts.longitude];
        let numbers = |group: &mut _, fact: Number| {
            let values = points.iter().map(|p| fact(&p.payload.facts));
            column::<DoubleType, W>(group, values, true)
        };
        for fact in measures {
            numbers(&mut group, fact)?;
        }
        let texts: [fn(&Facts) -> Option<&str>; 3] = [
            |facts| facts.taken.as_deref(),
            |facts| facts.camera.as_deref(),
            |facts| facts.lens.as_deref(),
        ];
        for fact in texts {
            let values = points.iter().map(|p| fact(&p.payload.facts).map(text));
            column::<ByteArrayType, _>(&mut group, values, true)?;
        }
        for fact in places {
            numbers(&mut group, fact)?;
        }
        let turns = points.iter();
        let turns = turns.map(|p| p.payload.facts.orientation.map(i32::from));
        column::<Int32Type, _>(&mut group, turns, true)?;
        group.close()?;
        Ok(())
    }
}

/// Writes the next column of a group; none is null.
fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: impl Iterator<Item = Option<T::T>>,
    optional: bool,
) -> Result<(), ParquetError> {
    let mut there = Vec::new();
    let mut levels = Vec::new();
    for value in values {
        levels.push(i16::from(value.is_some()));
        there.extend(value);
    }
    let mut leaf = group
        .next_column()?
        .expect("columns are written in the schema's order");
    let levels = optional.then_some(&levels[..]);
    leaf.typed::<T>().write_batch(&there, levels, None)?;
    leaf.close()
}

#[cfg(test)]
mod tests {
    use lookalike_gallery::{DiffusionState, Payload};
    use lookalike_neighbours::Metric;

    use super::*;

    /// A disk with so many bytes left.
    struct Small(usize);

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            match self.0.checked_sub(bytes.len()) {
                Some(left) => {
                    self.0 = left;
                    Ok(bytes.len())
                }
                None => Err(std::io::ErrorKind::StorageFull.into()),
            }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn info(dims: usize) -> GalleryInfo {
        GalleryInfo {
            name: "g".into(),
            metric: Metric::Cosine,
            dims,
            points: 0,
            indexed: 0,
            model_fingerprint: "m".into(),
            created: 0,
            diffusion: DiffusionState::Absent,
        }
    }

    fn points(count: usize, dims: usize) -> impl Iterator<Item = Result<Point, Error>> {
        (0..count).map(move |at| {
            let payload = Payload {
                source: "s".into(),
                key: at.to_string(),
                width: u32::MAX,
                ..Payload::default()
            };
            Ok(Point::new(vec![at as f32; dims], payload))
        })
    }

    #[test]
    fn a_full_disk_is_said_to_be_full() {
        for left in [0, 3, 100, 3000] {
            let error = write_parquet(Small(left), &info(64), points(500, 64))
                .err()
                .unwrap();
            assert!(
                error.to_string().contains("the disk is full"),
                "{left}: {error}"
            );
        }
    }

    #[test]
    fn rows_go_out_in_groups() {
        use parquet::file::reader::{FileReader, SerializedFileReader};

        // 4 MiB of code each: four fill a group.
        let dims = 1 << 20;
        let bytes = write_parquet(Vec::new(), &info(dims), points(9, dims)).unwrap();
        let file = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let groups = file.metadata().row_groups();
        let rows: Vec<i64> = groups.iter().map(|group| group.num_rows()).collect();
        assert_eq!(rows, [4, 4, 1]);
        let row = file.get_row_iter(None).unwrap().next().unwrap().unwrap();
        let width = row
            .get_column_iter()
            .find(|(name, _)| *name == "width")
            .unwrap()
            .1;
        assert_eq!(*width, parquet::record::Field::UInt(u32::MAX));
        let about = file
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .unwrap();
        let dims_noted = about
            .iter()
            .find(|about| about.key == "lookalike.dims")
            .unwrap();
        assert_eq!(dims_noted.value, Some(dims.to_string()));
    }
}

//! Points as the rows of a Parquet file.

use std::io::Write;
use std::sync::Arc;

use lookalike_gallery::{Facts, GalleryInfo, Point};
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

use super::places::Place;
use crate::contents::metric_of_likeness;
use crate::groups::GROUP_FIELD;

/// Bytes of codes and neighbours that a row group holds, about: what writing keeps in memory.
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
    optional int32 group;
";
/// Where pictures are on the map.
const MAP_SCHEMA: &str = "required float x; required float y;";
/// Their nearest others, as Embedding Atlas reads them.
const NEIGHBOURS_SCHEMA: &str = "required group neighbors {
    required group ids (LIST) { repeated group list { required int32 element; } }
    required group distances (LIST) { repeated group list { required float element; } }
}";

/// Which columns there are beside those that every file has.
#[derive(Clone, Copy, Default)]
pub(super) struct Columns {
    /// Whether there are `x` and `y`.
    pub map: bool,
    /// How many neighbours a row has at the most; 0 for no such column.
    pub neighbours: usize,
}

/// Points on their way to a Parquet file.
pub(super) struct Table<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Columns,
    /// Rows of a group.
    rows: usize,
    waiting: Vec<Point>,
    /// Of those.
    places: Vec<Place>,
}

impl<W: Write + Send> Table<W> {
    pub fn new(to: W, info: &GalleryInfo, columns: Columns) -> Result<Self, ParquetError> {
        let map = if columns.map { MAP_SCHEMA } else { "" };
        let neighbours = match columns.neighbours {
            0 => "",
            _ => NEIGHBOURS_SCHEMA,
        };
        let schema = format!("{SCHEMA}{map}{neighbours}}}");
        let schema = Arc::new(parse_message_type(&schema).expect("the schema is valid"));
        let about = |key: &str, value: String| KeyValue::new(format!("lookalike.{key}"), value);
        let code = ColumnPath::from(vec![
            "code".to_owned(),
            "list".to_owned(),
            "element".to_owned(),
        ]);
        let mut metadata = vec![
            about("metric", info.metric.to_string()),
            about("dims", info.dims.to_string()),
            about("model", info.model_fingerprint.clone()),
        ];
        if columns.neighbours > 0 {
            let metric = metric_of_likeness(info.metric).to_string();
            metadata.push(about("neighbors.metric", metric));
        }
        let properties = WriterProperties::builder()
            .set_created_by(format!("lookalike version {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(metadata))
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            // Noise to any compressor, and no two alike.
            .set_column_compression(code.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(code.clone(), false)
            .set_column_statistics_enabled(code, EnabledStatistics::None)
            .build();
        Ok(Self {
            writer: SerializedFileWriter::new(to, schema, Arc::new(properties))?,
            columns,
            // A neighbour is a number and a distance.
            rows: (GROUP_BYTES / 4 / (info.dims + 2 * columns.neighbours).max(1))
                .clamp(1, GROUP_ROWS),
            waiting: Vec::new(),
            places: Vec::new(),
        })
    }

    pub fn push(&mut self, point: Point, place: Place) -> Result<(), ParquetError> {
        self.waiting.push(point);
        self.places.push(place);
        match self.waiting.len() == self.rows {
            true => self.write_group(),
            false => Ok(()),
        }
    }

    pub fn finish(mut self) -> Result<W, ParquetError> {
        if !self.waiting.is_empty() {
            self.write_group()?;
        }
        self.writer.into_inner()
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let points = std::mem::take(&mut self.waiting);
        let places = std::mem::take(&mut self.places);
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

        lists::<FloatType, _>(&mut group, points.iter().map(|p| &p.code[..]))?;

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
        let positions: [Number; 2] = [|facts| facts.latitude, |facts| facts.longitude];
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
        for fact in positions {
            numbers(&mut group, fact)?;
        }
        let turns = points.iter();
        let turns = turns.map(|p| p.payload.facts.orientation.map(i32::from));
        column::<Int32Type, _>(&mut group, turns, true)?;
        let kept = points.iter().map(|p| {
            let number = p.payload.extra.get(GROUP_FIELD)?.as_i64()?;
            i32::try_from(number).ok()
        });
        column::<Int32Type, _>(&mut group, kept, true)?;

        if self.columns.map {
            for side in 0..2 {
                let sides = places.iter().map(|place| Some(place.at[side]));
                column::<FloatType, _>(&mut group, sides, false)?;
            }
        }
        if self.columns.neighbours > 0 {
            lists::<Int32Type, _>(&mut group, places.iter().map(|place| &place.rows[..]))?;
            let distances = places.iter().map(|place| &place.distances[..]);
            lists::<FloatType, _>(&mut group, distances)?;
        }
        group.close()?;
        Ok(())
    }
}

/// Writes the next column of a group, a list for each row.
fn lists<'a, T: DataType<T: Clone + 'a>, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: impl Iterator<Item = &'a [T::T]>,
) -> Result<(), ParquetError> {
    let mut values: Vec<T::T> = Vec::new();
    // Whether there is a value, and whether it goes on with the list of the one before.
    let (mut there, mut goes_on) = (Vec::new(), Vec::new());
    for row in rows {
        values.extend_from_slice(row);
        there.extend(std::iter::repeat_n(1, row.len()));
        goes_on.extend((0..row.len()).map(|at| i16::from(at > 0)));
        if row.is_empty() {
            there.push(0);
            goes_on.push(0);
        }
    }
    let mut leaf = group
        .next_column()?
        .expect("columns are written in the schema's order");
    leaf.typed::<T>()
        .write_batch(&values, Some(&there), Some(&goes_on))?;
    leaf.close()
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
    use std::path::Path;

    use lookalike_gallery::{DiffusionState, Payload};
    use lookalike_neighbours::Metric;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    use serde_json::Value;

    use super::super::parquet_unwritten;
    use super::*;
    use crate::Error;

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

    fn points(count: usize, dims: usize) -> impl Iterator<Item = Point> {
        (0..count).map(move |at| {
            let payload = Payload {
                source: "s".into(),
                key: at.to_string(),
                width: u32::MAX,
                ..Payload::default()
            };
            Point::new(vec![at as f32; dims], payload)
        })
    }

    fn write_parquet<W: Write + Send>(
        to: W,
        info: &GalleryInfo,
        columns: Columns,
        rows: impl IntoIterator<Item = (Point, Place)>,
    ) -> Result<W, Error> {
        let failed = |error: ParquetError| parquet_unwritten(Path::new("the Parquet file"), error);
        let mut table = Table::new(to, info, columns).map_err(failed)?;
        for (point, place) in rows {
            table.push(point, place).map_err(failed)?;
        }
        table.finish().map_err(failed)
    }

    fn placeless(points: impl Iterator<Item = Point>) -> impl Iterator<Item = (Point, Place)> {
        points.map(|point| (point, Place::default()))
    }

    #[test]
    fn a_full_disk_is_said_to_be_full() {
        for left in [0, 3, 100, 3000] {
            let rows = placeless(points(500, 64));
            let error = write_parquet(Small(left), &info(64), Columns::default(), rows)
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
        // 4 MiB of code each: four fill a group.
        let dims = 1 << 20;
        let rows = placeless(points(9, dims));
        let bytes = write_parquet(Vec::new(), &info(dims), Columns::default(), rows).unwrap();
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
        assert_eq!(*width, Field::UInt(u32::MAX));
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

    #[test]
    fn kept_groups_have_a_column() {
        let rows = points(3, 4).zip([Some(Value::from(7)), Some("own".into()), None]);
        let rows = rows.map(|(mut point, group)| {
            point
                .payload
                .extra
                .extend(group.map(|group| (GROUP_FIELD.to_owned(), group)));
            point
        });
        let bytes = write_parquet(Vec::new(), &info(4), Columns::default(), placeless(rows));
        let file = SerializedFileReader::new(bytes::Bytes::from(bytes.unwrap())).unwrap();
        let groups = file.get_row_iter(None).unwrap().map(|row| {
            let row = row.unwrap();
            let mut columns = row.get_column_iter();
            columns
                .find(|(column, _)| *column == "group")
                .unwrap()
                .1
                .clone()
        });
        let expected = [Field::Int(7), Field::Null, Field::Null];
        assert!(groups.eq(expected));
    }

    #[test]
    fn lists_may_differ_in_length() {
        let columns = Columns {
            map: true,
            neighbours: 2,
        };
        let place = |at: [f32; 2], rows: &[i32], distances: &[f32]| Place {
            at,
            rows: rows.to_vec(),
            distances: distances.to_vec(),
        };
        let places = [
            place([0.25, 1.0], &[2, 1], &[0.25, 0.5]),
            place([0.5, 0.5], &[], &[]),
            place([1.0, 0.75], &[0], &[0.25]),
        ];
        let rows = points(3, 4).zip(places);
        let bytes = write_parquet(Vec::new(), &info(4), columns, rows).unwrap();
        let file = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let read: Vec<String> = file
            .get_row_iter(None)
            .unwrap()
            .map(|row| {
                let row = row.unwrap();
                let of = |name: &str| {
                    let mut columns = row.get_column_iter();
                    columns.find(|(column, _)| *column == name).unwrap().1
                };
                format!("{} {} {}", of("x"), of("y"), of("neighbors"))
            })
            .collect();
        assert_eq!(
            read,
            [
                "0.25 1.0 {ids: [2, 1], distances: [0.25, 0.5]}",
                "0.5 0.5 {ids: [], distances: []}",
                "1.0 0.75 {ids: [0], distances: [0.25]}",
            ]
        );
    }
}

//! `diffusion.bin`: for every point, what diffusion from it reaches, so that a query reads a few
//! rows and merges them.
//!
//! All numbers little-endian: magic, format (u32), length of the header (u32), header (JSON), the
//! points' ids in ascending order (16 bytes each), BLAKE3 over everything so far (32 bytes); then
//! one record of equal length per point: the two numbers that the graph keeps of it, the row's
//! length (u32), the row (`kept` pairs of u32 index and f32 score, zeros after the end), and the
//! first 8 bytes of the BLAKE3 over the record. A query verifies what it reads and reads nothing
//! else, so opening a graph of a million points is as quick as of ten.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lookalike_files::read_exact_at;
use lookalike_neighbours::{
    DiffusionConfig, DiffusionRows, GraphParts, KnnGraph, Metric, Neighbour,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::folder::write_aside;
use crate::GalleryError;

const MAGIC: &[u8; 8] = b"lookdiff";
const FORMAT: u32 = 1;
/// Magic, format, and the header's length.
const PREAMBLE: usize = 16;
const ID: usize = 16;
const HASH: usize = 32;
/// Before a record's row: the graph's two numbers and the row's length.
const RECORD_HEAD: usize = 12;
const PAIR: usize = 8;
const RECORD_CHECK: usize = 8;
/// No header of ours is longer.
const MAX_HEADER: usize = 1 << 16;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    points: usize,
    metric: Metric,
    /// Length of the longest row.
    kept: usize,
    config: DiffusionConfig,
}

/// An open `diffusion.bin`.
#[derive(Debug)]
pub(super) struct DiffusionFile {
    file: File,
    path: PathBuf,
    header: Header,
    ids: Vec<Uuid>,
    /// Where the records begin.
    records: u64,
    /// Bytes of a record's head and row.
    body: usize,
}

/// Computes all rows of a graph over the points `ids`, which must ascend, and writes them to
/// `path`.
pub(super) fn build(
    path: &Path,
    ids: &[Uuid],
    graph: &KnnGraph,
    metric: Metric,
    config: &DiffusionConfig,
) -> Result<(), GalleryError> {
    let rows =
        DiffusionRows::build(graph, config).map_err(|e| GalleryError::BadRequest(e.to_string()))?;
    let parts = graph.to_parts();
    let kept = (0..rows.len()).map(|i| rows.row(i).0.len()).max();
    let header = Header {
        points: ids.len(),
        metric,
        kept: kept.unwrap_or(0),
        config: *config,
    };
    write_aside(path, |file| {
        let json = serde_json::to_vec(&header)?;
        let mut start = MAGIC.to_vec();
        start.extend(FORMAT.to_le_bytes());
        start.extend((json.len() as u32).to_le_bytes());
        start.extend(json);
        start.extend(ids.iter().flat_map(|id| id.into_bytes()));
        file.write_all(&start)?;
        file.write_all(blake3::hash(&start).as_bytes())?;
        let mut record = Vec::new();
        for index in 0..rows.len() {
            let (indices, scores) = rows.row(index);
            record.clear();
            record.extend(parts.scales[index].to_le_bytes());
            record.extend(parts.reaches[index].to_le_bytes());
            record.extend((indices.len() as u32).to_le_bytes());
            for (index, score) in indices.iter().zip(scores) {
                record.extend(index.to_le_bytes());
                record.extend(score.to_le_bytes());
            }
            record.resize(RECORD_HEAD + header.kept * PAIR, 0);
            let check = blake3::hash(&record);
            file.write_all(&record)?;
            file.write_all(&check.as_bytes()[..RECORD_CHECK])?;
        }
        Ok(())
    })
}

/// Where things are in a file, in bytes.
struct Layout {
    /// Everything before the first checksum.
    start: usize,
    /// A record without its checksum.
    body: usize,
    /// The whole file.
    length: u64,
}

impl Layout {
    /// None if the header's numbers are beyond all files.
    fn new(header: &Header, header_length: usize) -> Option<Self> {
        let ids = header.points.checked_mul(ID)?;
        let start = ids.checked_add(PREAMBLE + header_length)?;
        let body = header.kept.checked_mul(PAIR)?.checked_add(RECORD_HEAD)?;
        let records = body.checked_add(RECORD_CHECK)?.checked_mul(header.points)?;
        let length = start.checked_add(HASH)?.checked_add(records)?;
        Some(Layout {
            start,
            body,
            length: u64::try_from(length).ok()?,
        })
    }
}

/// One point's record.
struct Record {
    scale: f32,
    reach: f32,
    row: Vec<(u32, f32)>,
}

impl DiffusionFile {
    /// Opens the graph of a gallery with this metric. Everything but the records is checked, so
    /// that nothing is ever allocated or read on the word of the file alone; a record is checked
    /// when it is read.
    pub(super) fn open(path: &Path, metric: Metric) -> Result<Self, GalleryError> {
        let damaged = |detail: &str| damaged(path, detail);
        let too_short = || damaged("it ends too early");
        let reading = |e| GalleryError::io("reading", path)(e);
        let file = File::open(path).map_err(reading)?;
        let length = file.metadata().map_err(reading)?.len();
        let read = |from: usize, bytes: usize| -> Result<Vec<u8>, GalleryError> {
            let end = from.checked_add(bytes).ok_or_else(too_short)?;
            if end as u64 > length {
                return Err(too_short());
            }
            let mut buffer = vec![0; bytes];
            read_exact_at(&file, &mut buffer, from as u64).map_err(reading)?;
            Ok(buffer)
        };
        let preamble = read(0, PREAMBLE)?;
        if !preamble.starts_with(MAGIC) {
            return Err(damaged("it does not begin as one"));
        }
        if u32_at(&preamble, 8) != FORMAT {
            return Err(damaged("it has a format that this version does not know"));
        }
        let header_length = u32_at(&preamble, 12) as usize;
        if header_length > MAX_HEADER {
            return Err(damaged("its header is too long"));
        }
        let header: Header = serde_json::from_slice(&read(PREAMBLE, header_length)?)
            .map_err(|_| damaged("its header cannot be understood"))?;
        let layout = Layout::new(&header, header_length)
            .ok_or_else(|| damaged("its header asks for more than any file can hold"))?;
        if layout.length != length {
            return Err(damaged("its length is not what its header says"));
        }
        let start = read(0, layout.start)?;
        if blake3::hash(&start).as_bytes()[..] != read(layout.start, HASH)?[..] {
            return Err(damaged("its checksum is wrong"));
        }
        if header.metric != metric {
            return Err(damaged("it was built for another metric"));
        }
        if header.config.validate().is_err() || header.kept > header.config.kept {
            return Err(damaged("its settings make no sense"));
        }
        let ids: Vec<_> = start[PREAMBLE + header_length..]
            .as_chunks::<ID>()
            .0
            .iter()
            .map(|&bytes| Uuid::from_bytes(bytes))
            .collect();
        if !ids.is_sorted_by(|a, b| a < b) {
            return Err(damaged("its points are not in order"));
        }
        Ok(DiffusionFile {
            records: (layout.start + HASH) as u64,
            body: layout.body,
            path: path.to_path_buf(),
            file,
            header,
            ids,
        })
    }

    pub(super) fn config(&self) -> &DiffusionConfig {
        &self.header.config
    }

    /// The place of a point, if it was there when the graph was built.
    pub(super) fn index(&self, id: Uuid) -> Option<usize> {
        self.ids.binary_search(&id).ok()
    }

    /// What diffusion reaches from a point of the gallery, best first.
    pub(super) fn reached_from_point(
        &self,
        index: usize,
    ) -> Result<Vec<(Uuid, f32)>, GalleryError> {
        let row = self.record(index)?.row;
        // The query itself is the first answer, as it is without diffusion.
        let mut ranked: Vec<_> = row
            .iter()
            .map(|&(i, score)| (self.ids[i as usize], score))
            .collect();
        if let Some(own) = ranked.iter().position(|(id, _)| *id == self.ids[index]) {
            ranked[..=own].rotate_right(1);
        }
        Ok(ranked)
    }

    /// What diffusion reaches from a code outside, given its nearest points, best first.
    pub(super) fn reached_from_outside(
        &self,
        nearest: &[(usize, f32)],
    ) -> Result<Vec<(Uuid, f32)>, GalleryError> {
        let records = nearest
            .iter()
            .map(|&(index, _)| self.record(index))
            .collect::<Result<Vec<_>, _>>()?;
        // Where a query starts depends on its neighbours alone, so a graph of only these will do.
        let graph = KnnGraph::from_parts(GraphParts {
            metric: self.header.metric,
            gamma: self.header.config.gamma,
            offsets: vec![0; records.len() + 1],
            indices: Vec::new(),
            weights: Vec::new(),
            scales: records.iter().map(|r| r.scale).collect(),
            reaches: records.iter().map(|r| r.reach).collect(),
        })
        .map_err(|e| damaged(&self.path, &e.to_string()))?;
        let neighbours: Vec<_> = nearest
            .iter()
            .enumerate()
            .map(|(index, &(_, distance))| Neighbour { index, distance })
            .collect();
        let mut scores: HashMap<u32, f32> = HashMap::new();
        for (at, weight) in graph.start(&neighbours) {
            for &(index, score) in &records[at].row {
                *scores.entry(index).or_default() += weight * score;
            }
        }
        let mut ranked: Vec<_> = scores.into_iter().collect();
        ranked.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Ok(ranked
            .into_iter()
            .map(|(index, score)| (self.ids[index as usize], score))
            .collect())
    }

    fn record(&self, index: usize) -> Result<Record, GalleryError> {
        let damaged = |detail: &str| damaged(&self.path, detail);
        let mut bytes = vec![0; self.body + RECORD_CHECK];
        let offset = self.records + index as u64 * bytes.len() as u64;
        read_exact_at(&self.file, &mut bytes, offset).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it ends too early"),
            _ => GalleryError::io("reading", &self.path)(e),
        })?;
        let (body, check) = bytes.split_at(self.body);
        if blake3::hash(body).as_bytes()[..RECORD_CHECK] != *check {
            return Err(damaged("the checksum of a row is wrong"));
        }
        let length = u32_at(body, 8) as usize;
        let pairs = body[RECORD_HEAD..].as_chunks::<PAIR>().0;
        let pairs = pairs
            .get(..length)
            .ok_or_else(|| damaged("a row is longer than its place"))?;
        let row: Vec<_> = pairs
            .iter()
            .map(|pair| (u32_at(pair, 0), f32::from_bits(u32_at(pair, 4))))
            .collect();
        if row.iter().any(|&(i, _)| i as usize >= self.ids.len()) {
            return Err(damaged("a row names a point that is not there"));
        }
        if row.iter().any(|(_, score)| !score.is_finite()) {
            return Err(damaged("a row has a score that is not a number"));
        }
        Ok(Record {
            scale: f32::from_bits(u32_at(body, 0)),
            reach: f32::from_bits(u32_at(body, 4)),
            row,
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn damaged(path: &Path, detail: &str) -> GalleryError {
    GalleryError::DamagedDiffusion {
        path: path.to_path_buf(),
        detail: detail.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use lookalike_neighbours::Codes;
    use serde_json::{Value, json};

    use super::*;

    const POINTS: usize = 12;
    const METRIC: Metric = Metric::Euclidean;

    fn config() -> DiffusionConfig {
        DiffusionConfig {
            neighbours: 3,
            kept: 4,
            ..DiffusionConfig::default()
        }
    }

    /// A graph in a folder of its own, and its bytes.
    fn file() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("diffusion.bin");
        let ids: Vec<_> = (1..=POINTS as u128).map(Uuid::from_u128).collect();
        let codes: Vec<_> = (0..2 * POINTS).map(|i| (i * i % 7) as f32).collect();
        let codes = Codes::new(&codes, 2).unwrap();
        let graph = KnnGraph::build(codes, METRIC, &config()).unwrap();
        build(&path, &ids, &graph, METRIC, &config()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        (folder, path, bytes)
    }

    /// Opens the file and reads all of it.
    fn read(path: &Path) -> Result<(), GalleryError> {
        let file = DiffusionFile::open(path, METRIC)?;
        for index in 0..file.ids.len() {
            file.reached_from_point(index)?;
        }
        let nearest: Vec<_> = (0..3.min(file.ids.len())).map(|i| (i, 1.0)).collect();
        file.reached_from_outside(&nearest).map(|_| ())
    }

    fn assert_damaged(path: &Path, bytes: &[u8], what: &str) {
        std::fs::write(path, bytes).unwrap();
        match read(path) {
            Err(GalleryError::DamagedDiffusion { .. }) => {}
            other => panic!("{what}: {other:?}"),
        }
    }

    /// The file with another header and other ids, and a checksum that fits them.
    fn forged(bytes: &[u8], change: impl FnOnce(&mut Value, &mut [u8])) -> Vec<u8> {
        let end = PREAMBLE + u32_at(bytes, 12) as usize;
        let mut header: Value = serde_json::from_slice(&bytes[PREAMBLE..end]).unwrap();
        let mut ids = bytes[end..end + POINTS * ID].to_vec();
        change(&mut header, &mut ids);
        let header = serde_json::to_vec(&header).unwrap();
        let mut forged = bytes[..12].to_vec();
        forged.extend((header.len() as u32).to_le_bytes());
        forged.extend(header);
        forged.extend(ids);
        let check = blake3::hash(&forged);
        forged.extend(check.as_bytes());
        forged.extend(&bytes[end + POINTS * ID + HASH..]);
        forged
    }

    #[test]
    fn every_other_length_is_refused() {
        let (_folder, path, bytes) = file();
        read(&path).unwrap();
        for length in 0..bytes.len() {
            assert_damaged(&path, &bytes[..length], &format!("cut to {length}"));
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_damaged(&path, &longer, "one byte too many");
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let (_folder, path, bytes) = file();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert_damaged(&path, &changed, &format!("byte {at}"));
        }
    }

    #[test]
    fn a_header_that_lies_is_refused() {
        let (_folder, path, bytes) = file();
        assert_eq!(
            forged(&bytes, |_, _| {}),
            bytes,
            "the forger knows the format"
        );
        let huge = [
            usize::MAX,
            usize::MAX / ID,
            usize::MAX / PAIR,
            1 << 60,
            1 << 40,
            1 << 33,
            POINTS + 1,
            POINTS - 1,
            1,
            0,
        ];
        for number in huge {
            for name in ["points", "kept"] {
                let lie = forged(&bytes, |header, _| header[name] = json!(number));
                assert_damaged(&path, &lie, &format!("{name} {number}"));
            }
            let lie = forged(&bytes, |header, _| {
                header["points"] = json!(number);
                header["kept"] = json!(usize::MAX / number.max(1));
            });
            assert_damaged(&path, &lie, &format!("{number} points and as many as fit"));
        }
        for (name, value) in [
            ("neighbours", json!(0)),
            ("alpha", json!(2.0)),
            ("gamma", json!(-1.0)),
            ("kept", json!(3)),
            ("kept", json!(-1)),
            ("more", json!(1)),
        ] {
            let lie = forged(&bytes, |header, _| header["config"][name] = value.clone());
            assert_damaged(&path, &lie, &format!("{name} {value}"));
        }
        let lie = forged(&bytes, |header, _| header["metric"] = json!("cosine"));
        assert_damaged(&path, &lie, "another metric");
        let lie = forged(&bytes, |_, ids| ids[..2 * ID].rotate_left(ID));
        assert_damaged(&path, &lie, "ids out of order");
        let lie = forged(&bytes, |_, ids| ids.copy_within(..ID, ID));
        assert_damaged(&path, &lie, "an id twice");
    }

    #[test]
    fn a_record_that_lies_is_refused() {
        let (_folder, path, bytes) = file();
        let body = DiffusionFile::open(&path, METRIC).unwrap().body;
        let first = bytes.len() - POINTS * (body + RECORD_CHECK);
        for (at, value, what) in [
            (0, f32::NAN.to_bits(), "scale"),
            (4, f32::NAN.to_bits(), "reach"),
            (8, u32::MAX, "length"),
            (8, 5, "length"),
            (RECORD_HEAD, POINTS as u32, "index"),
            (RECORD_HEAD + 4, f32::INFINITY.to_bits(), "score"),
        ] {
            let mut lie = bytes.clone();
            let record = &mut lie[first..][..body + RECORD_CHECK];
            record[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let check = blake3::hash(&record[..body]);
            record[body..].copy_from_slice(&check.as_bytes()[..RECORD_CHECK]);
            assert_damaged(&path, &lie, what);
        }
    }
}

//! `diffusion.bin`: for every point, what diffusion from it reaches, so that a query reads a few rows
//! and merges them.
//!
//! All numbers little-endian: magic, format (u32), length of the header (u32), header (JSON), the points'
//! ids in ascending order (16 bytes each), BLAKE3 over everything so far (32 bytes); then one record of
//! equal length per point: the two numbers that the graph keeps of it, the row's length (u32), the row
//! (`kept` pairs of u32 index and f32 score, zeros after the end), and the first 8 bytes of the BLAKE3
//! over the record. A query verifies what it reads and reads nothing else, so opening a graph of a
//! million points is as quick as of ten.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

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
const LONGEST_HEADER: usize = 1 << 16;

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
    records: usize,
}

/// Computes all rows of a graph over the points `ids`, which must ascend, and writes them to `path`.
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

/// One point's record.
struct Record {
    scale: f32,
    reach: f32,
    row: Vec<(u32, f32)>,
}

impl DiffusionFile {
    pub(super) fn open(path: &Path) -> Result<Self, GalleryError> {
        let damaged = |detail: &str| damaged(path, detail);
        let reading = |e| GalleryError::io("reading", path)(e);
        let file = File::open(path).map_err(reading)?;
        let length = file.metadata().map_err(reading)?.len();
        let read = |from: usize, bytes: usize| -> Result<Vec<u8>, GalleryError> {
            // Nothing is allocated on the word of the file alone.
            if (from + bytes) as u64 > length {
                return Err(damaged("it ends too early"));
            }
            let mut buffer = vec![0; bytes];
            file.read_exact_at(&mut buffer, from as u64)
                .map_err(reading)?;
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
        if header_length > LONGEST_HEADER {
            return Err(damaged("its header is too long"));
        }
        let header: Header = serde_json::from_slice(&read(PREAMBLE, header_length)?)
            .map_err(|_| damaged("its header cannot be understood"))?;
        let start_length = header
            .points
            .checked_mul(ID)
            .and_then(|ids| ids.checked_add(PREAMBLE + header_length))
            .filter(|&start| start as u64 <= length)
            .ok_or_else(|| damaged("it ends too early"))?;
        let start = read(0, start_length)?;
        if blake3::hash(&start).as_bytes()[..] != read(start_length, HASH)?[..] {
            return Err(damaged("its checksum is wrong"));
        }
        let ids = start[PREAMBLE + header_length..]
            .as_chunks::<ID>()
            .0
            .iter()
            .map(|&bytes| Uuid::from_bytes(bytes))
            .collect();
        Ok(DiffusionFile {
            records: start_length + HASH,
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
        let body = RECORD_HEAD + self.header.kept * PAIR;
        let mut bytes = vec![0; body + RECORD_CHECK];
        let offset = self.records + index * bytes.len();
        self.file
            .read_exact_at(&mut bytes, offset as u64)
            .map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => damaged(&self.path, "it ends too early"),
                _ => GalleryError::io("reading", &self.path)(e),
            })?;
        let (body, check) = bytes.split_at(body);
        if blake3::hash(body).as_bytes()[..RECORD_CHECK] != *check {
            return Err(damaged(&self.path, "the checksum of a row is wrong"));
        }
        let length = u32_at(body, 8) as usize;
        let pairs = body[RECORD_HEAD..].as_chunks::<PAIR>().0;
        let row: Vec<_> = pairs
            .iter()
            .take(length)
            .map(|pair| (u32_at(pair, 0), f32::from_bits(u32_at(pair, 4))))
            .collect();
        if row.iter().any(|&(i, _)| i as usize >= self.ids.len()) {
            return Err(damaged(&self.path, "a row names a point that is not there"));
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
    GalleryError::BadRequest(format!(
        "the neighbour graph {} is damaged: {detail}; build it again, or search without re-ranking",
        path.display()
    ))
}

//! A map's file: magic and version, the numbers of points and labels, the labels, the points, and a
//! BLAKE3 of all that. Numbers are little endian.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use uuid::Uuid;

use super::{Kept, MAX_LABELS, Map, MapPoint, NO_LABEL, Way};
use crate::Error;

const MAGIC: [u8; 8] = *b"LookMap\n";
const FORMAT: u32 = 1;
/// Id, place and label as they are handed out, the code's digest, and how the point came to its
/// place.
const RECORD: usize = 28 + 8 + 1;
const CHECKSUM: usize = 32;

/// A file's bytes; of one that is no map only the first.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    (&mut file)
        .take(MAGIC.len() as u64)
        .read_to_end(&mut bytes)?;
    if bytes == MAGIC {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

impl Map {
    /// The bytes of the map's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + self.points.len() * RECORD);
        bytes.extend(MAGIC);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend((self.points.len() as u64).to_le_bytes());
        bytes.extend((self.labels.len() as u32).to_le_bytes());
        for label in &self.labels {
            bytes.extend((label.len() as u64).to_le_bytes());
            bytes.extend(label.as_bytes());
        }
        for (point, kept) in self.points.iter().zip(&self.kept) {
            point.write(&mut bytes);
            bytes.extend(kept.code.to_le_bytes());
            bytes.push(match kept.way {
                Way::LaidOut => 0,
                Way::Placed => 1,
                Way::Added => 2,
            });
        }
        let checksum = blake3::hash(&bytes);
        bytes.extend(checksum.as_bytes());
        bytes
    }

    /// Reads the bytes of a map's file; `what` names it in errors.
    ///
    /// # Errors
    ///
    /// When they are damaged, of another version or no map.
    pub fn from_bytes(bytes: &[u8], what: &str) -> Result<Self, Error> {
        parse(bytes).map_err(|reason| Error::DamagedMap {
            file: what.to_owned(),
            reason,
        })
    }
}

fn parse(bytes: &[u8]) -> Result<Map, String> {
    let mut rest = Bytes(bytes);
    if rest.take(MAGIC.len()).is_none_or(|magic| magic != MAGIC) {
        return Err("it is another kind of file".to_owned());
    }
    let cut = || "it is cut off".to_owned();
    let format = rest.u32().ok_or_else(cut)?;
    if format != FORMAT {
        return Err(format!(
            "it has map format {format}, this program reads {FORMAT}"
        ));
    }
    let length = rest.0.len().checked_sub(CHECKSUM).ok_or_else(cut)?;
    let (content, checksum) = rest.0.split_at(length);
    if blake3::hash(&bytes[..bytes.len() - CHECKSUM]).as_bytes() != checksum {
        return Err("it is damaged: its checksum does not match".to_owned());
    }
    // From here on only a program that writes what is no map can be to blame; it must do no harm
    // either.
    let wrong = |what: &str| format!("it is damaged: {what}");
    let mut rest = Bytes(content);
    let (points, labels) = rest.u64().zip(rest.u32()).ok_or_else(cut)?;
    if labels as usize > MAX_LABELS {
        return Err(wrong("it has too many labels"));
    }
    let mut names = Vec::new();
    for _ in 0..labels {
        let length = rest.u64().ok_or_else(cut)?;
        let name = usize::try_from(length).ok().and_then(|len| rest.take(len));
        let name = std::str::from_utf8(name.ok_or_else(cut)?);
        names.push(name.map_err(|_| wrong("a label is not text"))?.to_owned());
    }
    if points.checked_mul(RECORD as u64) != Some(rest.0.len() as u64) {
        return Err(wrong("it has another number of points than it says"));
    }
    let count = rest.0.len() / RECORD;
    let mut places: Vec<MapPoint> = Vec::with_capacity(count);
    let mut kept = Vec::with_capacity(count);
    for record in rest.0.chunks_exact(RECORD) {
        let mut record = Bytes(record);
        let point = record.point().ok_or_else(cut)?;
        let (code, way) = record.u64().zip(record.take(1)).ok_or_else(cut)?;
        if places.last().is_some_and(|last| last.id >= point.id) {
            return Err(wrong("its points are out of order"));
        }
        if ![point.x, point.y].iter().all(|at| (0.0..=1.0).contains(at)) {
            return Err(wrong("a point has coordinates outside 0 to 1"));
        }
        if point.label != NO_LABEL && point.label >= labels {
            return Err(wrong("a point has a label that is not there"));
        }
        let way = match way[0] {
            0 => Way::LaidOut,
            1 => Way::Placed,
            2 => Way::Added,
            _ => return Err(wrong("a point has an unknown kind of placement")),
        };
        places.push(point);
        kept.push(Kept { code, way });
    }
    Ok(Map::of_parts(places, kept, names))
}

/// What is still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn point(&mut self) -> Option<MapPoint> {
        Some(MapPoint {
            id: Uuid::from_bytes(self.array()?),
            x: f32::from_le_bytes(self.array()?),
            y: f32::from_le_bytes(self.array()?),
            label: self.u32()?,
        })
    }
}

//! What the engine's folders say and its interface does not: how many points of its indexes are
//! gone. The engine reports how many vectors an index was built over; points that were deleted or
//! changed since are only marked in it. Written for the version of qdrant-edge that the workspace
//! pins.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;
use uuid::Uuid;

/// One bit per point of a finished segment, set once the point is gone from it.
const GONE: &str = "id_tracker.deleted";
/// What a segment is, among other things which index each of its vectors has.
const SEGMENT: &str = "segment.json";

/// The points of the shard's indexes over the vector `name` that are no longer there: deleted, or
/// changed and therefore in another segment now. As of the last time the shard was flushed.
pub(super) fn gone_from_index(shard: &Path, name: &str) -> io::Result<usize> {
    let mut gone = 0;
    for entry in fs::read_dir(shard.join("segments"))? {
        let segment = entry?.path();
        // Anything named otherwise is a remainder that the engine passes over, too.
        let is_segment = segment
            .file_name()
            .and_then(|name| Uuid::try_parse(name.to_str()?).ok())
            .is_some();
        if is_segment && is_indexed(&segment, name)? {
            let bits = fs::read(segment.join(GONE))?;
            gone += bits
                .iter()
                .map(|byte| byte.count_ones() as usize)
                .sum::<usize>();
        }
    }
    Ok(gone)
}

fn is_indexed(segment: &Path, name: &str) -> io::Result<bool> {
    let state: Value = serde_json::from_slice(&fs::read(segment.join(SEGMENT))?)?;
    let kind = &state["config"]["vector_data"][name]["index"]["type"];
    match kind.as_str() {
        Some(kind) => Ok(kind != "plain"),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{SEGMENT} does not say how the vector {name:?} is indexed"),
        )),
    }
}

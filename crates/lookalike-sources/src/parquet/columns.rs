//! Which columns are the image, its label and its payload.

use parquet::basic::{LogicalType, Type as Physical};
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::ColumnDescriptor;
use serde_json::Value;

use crate::skipped::{SkipKind, SkipReason};
use crate::source::LabelFrom;

/// Columns that may hold the image's bytes themselves, the best first.
const BARE: [&str; 5] = ["image", "img", "bytes", "jpg", "png"];

/// The columns to read, by their numbers among all leaves.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) bytes: usize,
    pub(super) path: Option<usize>,
    pub(super) label: Option<Label>,
    pub(super) extra: Vec<(String, usize)>,
}

#[derive(Debug)]
pub(super) struct Label {
    pub(super) leaf: usize,
    /// What the numbers mean, from 0; empty if the file does not say.
    pub(super) names: Vec<String>,
}

impl Columns {
    pub(super) fn find(metadata: &ParquetMetaData, label: &LabelFrom) -> Result<Self, SkipReason> {
        let schema = metadata.file_metadata().schema_descr();
        let features = features(metadata);
        let leaves: Vec<&ColumnDescriptor> = schema.columns().iter().map(AsRef::as_ref).collect();
        let flat = |leaf: usize| leaves[leaf].max_rep_level() == 0;
        let at = |path: &[&str]| {
            let same = |leaf: &&ColumnDescriptor| leaf.path().parts().iter().eq(path.iter());
            leaves.iter().position(same).filter(|&leaf| flat(leaf))
        };
        let binary = |leaf: &usize| leaves[*leaf].physical_type() == Physical::BYTE_ARRAY;

        // The features name the image column; then the usual names; then any struct with bytes.
        let declared = features
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, feature)| feature["_type"] == "Image")
            .map(|(name, _)| name.as_str());
        let any = leaves.iter().filter_map(|leaf| match leaf.path().parts() {
            [name, bytes] if bytes == "bytes" => Some(name.as_str()),
            _ => None,
        });
        let mut candidates = declared.chain(["image", "img"]).chain(any);
        let found = candidates.find_map(|name| Some((name, at(&[name, "bytes"]).filter(binary)?)));
        let (name, bytes) = match found {
            Some(found) => found,
            None => BARE
                .iter()
                .find_map(|name| Some((*name, at(&[name]).filter(binary)?)))
                .filter(|(_, leaf)| !is_text(leaves[*leaf]))
                .ok_or_else(|| no_image(&leaves))?,
        };
        let path = at(&[name, "path"]).filter(binary);

        let wanted = match label {
            LabelFrom::Default => Some("label"),
            LabelFrom::Column(column) => Some(column.as_str()),
            LabelFrom::Parent | LabelFrom::None => None,
        };
        let readable = |leaf: &usize| is_readable(leaves[*leaf]);
        let label = wanted.and_then(|column| {
            let leaf = at(&[column])
                .filter(readable)
                .filter(|&leaf| leaf != bytes)?;
            let names = features[column]["names"].as_array();
            let text = |name: &Value| {
                name.as_str()
                    .map_or_else(|| name.to_string(), str::to_owned)
            };
            let names = names.into_iter().flatten().map(text).collect();
            Some(Label { leaf, names })
        });
        let taken =
            |leaf: usize| leaf == bytes || label.as_ref().is_some_and(|label| label.leaf == leaf);
        let extra = (0..leaves.len())
            .filter(|&leaf| !taken(leaf) && flat(leaf) && readable(&leaf))
            .filter_map(|leaf| match leaves[leaf].path().parts() {
                [name] => Some((name.clone(), leaf)),
                _ => None,
            })
            .collect();
        Ok(Self {
            bytes,
            path,
            label,
            extra,
        })
    }
}

/// The data set's features, as the library `datasets` writes them into the metadata.
fn features(metadata: &ParquetMetaData) -> Value {
    let pairs = metadata.file_metadata().key_value_metadata();
    let text = pairs
        .into_iter()
        .flatten()
        .find(|pair| pair.key == "huggingface");
    let parsed = text
        .and_then(|pair| pair.value.as_deref())
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    parsed.map_or(Value::Null, |mut parsed| parsed["info"]["features"].take())
}

fn is_text(leaf: &ColumnDescriptor) -> bool {
    matches!(
        leaf.logical_type_ref(),
        Some(LogicalType::String | LogicalType::Enum | LogicalType::Json)
    ) || leaf.converted_type() == parquet::basic::ConvertedType::UTF8
}

/// Plain numbers, texts and truth values: what means the same as payload.
fn is_readable(leaf: &ColumnDescriptor) -> bool {
    match leaf.physical_type() {
        Physical::BYTE_ARRAY => is_text(leaf),
        Physical::INT32 | Physical::INT64 => {
            matches!(
                leaf.logical_type_ref(),
                None | Some(LogicalType::Integer(_))
            )
        }
        Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE => true,
        _ => false,
    }
}

fn no_image(leaves: &[&ColumnDescriptor]) -> SkipReason {
    let names: Vec<_> = leaves
        .iter()
        .take(20)
        .map(|leaf| leaf.path().string())
        .collect();
    SkipReason::new(
        SkipKind::Unsupported,
        format!(
            "none of its columns is a struct with an image's bytes, as Hugging Face writes them; it \
             has {}",
            names.join(", ")
        ),
    )
}

//! What an ONNX file that Lookalike has exported says of itself, in its metadata.

use std::path::Path;
use std::str::FromStr;

use lookalike_images::{Filter, Fit, GreyRange};
use serde_json::Value;

use crate::PretrainedError;
use crate::preprocessing::{Asked, GraphInput, Layout, Preprocessing, Resize, Values, shown};

/// What all keys begin with.
const PREFIX: &str = "lookalike.";
/// The version of the metadata that is understood.
const FORMAT: u32 = 1;

/// What an autoencoder of Lookalike's own keeps beside its graph when it is exported as ONNX.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// How pictures of other proportions are brought to the model's.
    pub fit: Fit,
    /// The colour beside padded pictures.
    pub background: [u8; 3],
    /// Which values of grey pictures with more than 8 bits are black and white, if it is known.
    pub grey_range: Option<GreyRange>,
    /// The name of the metric that suits the codes.
    pub metric: String,
    /// The fingerprint of the model's own file.
    pub model: String,
}

/// The metadata of a file, which knows where it is.
struct Metadata<'a> {
    entries: &'a [(String, String)],
    path: &'a Path,
}

impl Exported {
    /// Of the metadata of an ONNX file; none where Lookalike did not export it.
    pub(crate) fn read(
        entries: &[(String, String)],
        path: &Path,
    ) -> Result<Option<Self>, PretrainedError> {
        if !entries.iter().any(|(key, _)| key.starts_with(PREFIX)) {
            return Ok(None);
        }
        let metadata = Metadata { entries, path };
        let expected = format!("{FORMAT}, the format of this version");
        let known = |text: &str| (text.parse() == Ok(FORMAT)).then_some(());
        metadata.required("format", known, &expected)?;
        let any = |text: &str| Some(text.to_owned());
        let hash = |text: &str| {
            let all = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            all.then(|| text.to_owned())
        };
        Ok(Some(Self {
            fit: metadata.required("fit", parsed, "stretch, crop or pad")?,
            background: metadata.required("background", colour, "three numbers from 0 to 255")?,
            grey_range: metadata.optional("grey_range", parsed, "LOW,HIGH, the lower first")?,
            metric: metadata.required("metric", any, "a metric")?,
            model: metadata.required("model", hash, "a BLAKE3 hash in hexadecimal")?,
        }))
    }

    /// That a value of the metadata is not understood after all, by its key without the prefix.
    pub fn wrong(path: &Path, key: &str, value: &str, expected: &str) -> PretrainedError {
        PretrainedError::Value {
            path: path.to_owned(),
            key: format!("metadata {PREFIX}{key}"),
            value: shown(&Value::from(value)),
            expected: expected.to_owned(),
        }
    }

    /// How images are brought to the model, whose graph does all but change their size.
    pub(crate) fn preprocessing(
        &self,
        graph: GraphInput,
        asked: Asked<'_>,
        path: &Path,
    ) -> Result<Preprocessing, PretrainedError> {
        let bytes = graph.bytes && graph.layout == Layout::ChannelsLast;
        let (true, Some(height), Some(width)) = (bytes, graph.height, graph.width) else {
            return Err(PretrainedError::Unsupported {
                path: path.to_owned(),
                reason: "its metadata says that Lookalike exported it, but its input is not bytes of one size, channels \
                         last; export it again, or remove the metadata that begins with lookalike."
                    .to_owned(),
            });
        };
        let given = [
            ("mean", asked.mean.is_some()),
            ("std", asked.std.is_some()),
            (
                "size",
                asked
                    .size
                    .is_some_and(|size| (size, size) != (height, width)),
            ),
        ];
        if let Some((option, _)) = given.into_iter().find(|(_, given)| *given) {
            return Err(PretrainedError::Option {
                option,
                path: path.to_owned(),
                reason: "Lookalike exported this model, and all of its preprocessing is known; leave it out".to_owned(),
            });
        }
        Ok(Preprocessing {
            resize: Resize::Fitted {
                height,
                width,
                fit: self.fit,
                background: self.background,
            },
            interpolation: Filter::Bicubic,
            crop: None,
            height,
            width,
            channels: graph.channels,
            layout: graph.layout,
            values: Values::Bytes,
        })
    }
}

impl Metadata<'_> {
    fn required<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Option<T>,
        expected: &str,
    ) -> Result<T, PretrainedError> {
        let missing = || PretrainedError::Value {
            path: self.path.to_owned(),
            key: format!("metadata {PREFIX}{key}"),
            value: "missing".to_owned(),
            expected: expected.to_owned(),
        };
        self.optional(key, read, expected)?.ok_or_else(missing)
    }

    fn optional<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, PretrainedError> {
        let named = |(name, _): &&(String, String)| name.strip_prefix(PREFIX) == Some(key);
        let mut found = self.entries.iter().filter(named);
        let Some((_, value)) = found.next() else {
            return Ok(None);
        };
        let wrong = |value: &str, expected| Exported::wrong(self.path, key, value, expected);
        if let Some((_, second)) = found.next() {
            return Err(wrong(second, "one value, and there are two"));
        }
        let read = read(value).ok_or_else(|| wrong(value, expected))?;
        Ok(Some(read))
    }
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// "255,255,255".
fn colour(text: &str) -> Option<[u8; 3]> {
    let numbers: Vec<u8> = text.split(',').map(parsed).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

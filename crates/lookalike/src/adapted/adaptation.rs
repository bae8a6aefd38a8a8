//! What is kept of an adapted encoder: one safetensors file.

use std::collections::HashMap;

use lookalike_gallery::model_fingerprint;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};

use super::projection::{Directions, Projection};

/// Key of the document in the file's metadata.
const KEY: &str = "lookalike-adapted-encoder";
/// The version of the file. To be raised with any change that an older program would misread.
const FORMAT: u64 = 1;
/// Floats of a code before it is reduced, at most: as galleries have them.
const MAX_DIMS: usize = 65_536;

/// The names of the file's tensors: the model's file, the mean of codes, the directions and what a
/// step of each is worth.
const MODEL: &str = "model";
const MEAN: &str = "mean";
const STEPS: &str = "projection.steps";
const SCALES: &str = "projection.scales";

/// What adapting a pretrained encoder to a collection found, without the encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Adaptation {
    document: Document,
    pub(super) projection: Projection,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u64,
    /// See [`Pretrained::fingerprint`](lookalike_pretrained::Pretrained::fingerprint).
    pretrained: String,
    /// Images that it was found on.
    images: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    joined: Option<Joined>,
}

/// How a model's codes are joined with those of a pretrained encoder: each is brought to a length,
/// and the squares of both lengths add up to 1, so that the cosine of two codes is the sum of the
/// cosines of their parts, weighted by these squares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joined {
    /// The fingerprint of the model's file.
    pub model: String,
    /// Length of the part that is the model's code.
    pub model_length: f32,
    /// Length of the part that is the pretrained encoder's code.
    pub encoder_length: f32,
    /// Share of the model's nearest neighbours that other kinds of description confirm, beyond
    /// chance.
    pub model_agreement: f32,
    /// The same of the pretrained encoder's.
    pub encoder_agreement: f32,
}

impl Joined {
    fn is_possible(&self) -> bool {
        let lengths = [self.model_length, self.encoder_length];
        let square: f32 = lengths.iter().map(|length| length * length).sum();
        lengths.iter().all(|&length| length > 0.0) && (square - 1.0).abs() < 1e-3
    }
}

impl Adaptation {
    pub(super) fn new(
        pretrained: String,
        images: usize,
        joined: Option<Joined>,
        projection: Projection,
    ) -> Self {
        Self {
            document: Document {
                format: FORMAT,
                pretrained,
                images,
                joined,
            },
            projection,
        }
    }

    /// How the codes of a model are joined, where there is one.
    pub fn joined(&self) -> Option<&Joined> {
        self.document.joined.as_ref()
    }

    /// From how many floats the pretrained encoder's codes were reduced, and to how many.
    pub fn reduced(&self) -> Option<(usize, usize)> {
        let directions = self.projection.directions.as_ref();
        directions.map(|_| (self.projection.from(), self.projection.dims()))
    }

    /// How many images it was found on.
    pub fn images(&self) -> usize {
        self.document.images
    }

    /// The fingerprint of the pretrained encoder.
    pub(super) fn pretrained(&self) -> &str {
        &self.document.pretrained
    }

    /// The file, with the bytes of the joined model's or, for a gallery that keeps no model,
    /// without. The same adaptation and model give the same bytes.
    pub(crate) fn to_bytes(&self, model: Option<&[u8]>) -> Vec<u8> {
        let document = serde_json::to_string(&self.document).expect("a document serialises");
        let floats =
            |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
        let (from, dims) = (self.projection.from(), self.projection.dims());
        let mean = floats(&self.projection.mean);
        let directions = self.projection.directions.as_ref();
        let scales = directions.map(|directions| floats(&directions.scales));
        let steps: Option<Vec<u8>> =
            directions.map(|found| found.steps.iter().map(|&v| v as u8).collect());
        let mut tensors: Vec<(&str, Dtype, Vec<usize>, &[u8])> = Vec::new();
        if let Some(model) = model {
            tensors.push((MODEL, Dtype::U8, vec![model.len()], model));
        }
        tensors.push((MEAN, Dtype::F32, vec![from], &mean));
        if let (Some(scales), Some(steps)) = (&scales, &steps) {
            tensors.push((SCALES, Dtype::F32, vec![dims], scales));
            tensors.push((STEPS, Dtype::I8, vec![dims, from], steps));
        }
        let views = tensors.into_iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(dtype, shape, bytes);
            (name, view.expect("a tensor's shape is that of its bytes"))
        });
        let metadata = HashMap::from([(KEY.to_owned(), document)]);
        serialize(views, Some(metadata)).expect("named tensors of right shapes serialise")
    }

    /// Whether bytes are such a file, sound or not.
    pub(crate) fn is_at(bytes: &[u8]) -> bool {
        document_of(bytes).is_ok()
    }

    /// Reads untrusted bytes: the adaptation, and the model's file if it is in it. The error says
    /// what is wrong with them.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Self, Option<Vec<u8>>), String> {
        let document = document_of(bytes)?;
        let unread = |error: serde_json::Error| format!("its description cannot be read ({error})");
        let version: Version = serde_json::from_str(&document).map_err(unread)?;
        if version.format > FORMAT {
            return Err(format!(
                "it has version {}, and this program knows versions up to {FORMAT}: use a newer one",
                version.format
            ));
        }
        let document: Document = serde_json::from_str(&document).map_err(unread)?;
        if document.joined.as_ref().is_some_and(|j| !j.is_possible()) {
            return Err("the lengths of its parts are impossible".to_owned());
        }
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|error| format!("it is not a safetensors file ({error})"))?;
        let projection = projection_of(&tensors)?;
        let model = match (tensors.tensor(MODEL), &document.joined) {
            (Err(_), _) => None,
            (Ok(model), Some(joined))
                if model.dtype() == Dtype::U8
                    && model_fingerprint(model.data()) == joined.model =>
            {
                Some(model.data().to_vec())
            }
            _ => return Err("the model in it is not the one that it describes".to_owned()),
        };
        let adaptation = Self {
            document,
            projection,
        };
        Ok((adaptation, model))
    }
}

/// What every version has.
#[derive(Deserialize)]
struct Version {
    format: u64,
}

/// The document of a file's metadata.
fn document_of(bytes: &[u8]) -> Result<String, String> {
    let (_, header) = SafeTensors::read_metadata(bytes)
        .map_err(|error| format!("it is not a safetensors file ({error})"))?;
    let metadata = header.metadata().as_ref();
    let document = metadata.and_then(|metadata| metadata.get(KEY)).cloned();
    document.ok_or_else(|| "it is a safetensors file of another kind".to_owned())
}

fn projection_of(tensors: &SafeTensors) -> Result<Projection, String> {
    let damaged = || "its mean or its directions are damaged".to_owned();
    let mean = floats_of(tensors, MEAN).filter(|mean| (1..=MAX_DIMS).contains(&mean.len()));
    let mean = mean.ok_or_else(damaged)?;
    let directions = match tensors.tensor(STEPS) {
        Err(_) => None,
        Ok(steps) => {
            let scales = floats_of(tensors, SCALES).ok_or_else(damaged)?;
            let fits = steps.dtype() == Dtype::I8
                && steps.shape() == [scales.len(), mean.len()]
                && (1..=mean.len()).contains(&scales.len())
                && scales.iter().all(|scale| (0.0..=1.0).contains(scale));
            if !fits {
                return Err(damaged());
            }
            Some(Directions {
                scales,
                steps: steps.data().iter().map(|&byte| byte as i8).collect(),
            })
        }
    };
    Ok(Projection { mean, directions })
}

/// A row of finite floats.
fn floats_of(tensors: &SafeTensors, name: &str) -> Option<Vec<f32>> {
    let tensor = tensors.tensor(name).ok()?;
    if tensor.dtype() != Dtype::F32 || tensor.shape().len() != 1 {
        return None;
    }
    let (floats, _) = tensor.data().as_chunks::<4>();
    let floats: Vec<f32> = floats
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    floats
        .iter()
        .all(|value| value.is_finite())
        .then_some(floats)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adaptation(joined: bool) -> Adaptation {
        let joined = joined.then(|| Joined {
            model: model_fingerprint(b"a model"),
            model_length: 0.6,
            encoder_length: 0.8,
            model_agreement: 0.11,
            encoder_agreement: 0.123_456_79,
        });
        let projection = Projection {
            mean: vec![0.5, -0.1, 0.0],
            directions: Some(Directions {
                scales: vec![0.001, 0.5],
                steps: vec![1, -127, 3, 0, 5, -1],
            }),
        };
        Adaptation::new("abc".into(), 700, joined, projection)
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        let written = adaptation(true);
        let bytes = written.to_bytes(Some(b"a model"));
        let (read, model) = Adaptation::parse(&bytes).unwrap();
        assert_eq!(read, written);
        assert_eq!(model.as_deref(), Some(&b"a model"[..]));
        assert_eq!(read.to_bytes(model.as_deref()), bytes);
        let (read, model) = Adaptation::parse(&written.to_bytes(None)).unwrap();
        assert_eq!((read, model), (written, None));
        let written = adaptation(false);
        assert_eq!(
            Adaptation::parse(&written.to_bytes(None)).unwrap().0,
            written
        );
        assert_eq!(written.reduced(), Some((3, 2)));
        let mut written = adaptation(true);
        written.projection.directions = None;
        assert_eq!(
            Adaptation::parse(&written.to_bytes(None)).unwrap().0,
            written
        );
        assert_eq!(written.reduced(), None);
    }

    #[test]
    fn damage_is_told() {
        let mut other = adaptation(true);
        let bytes = other.to_bytes(Some(b"another"));
        assert!(Adaptation::parse(&bytes).unwrap_err().contains("the model"));
        other.document.joined.as_mut().unwrap().model_length = 0.1;
        let error = Adaptation::parse(&other.to_bytes(None)).unwrap_err();
        assert!(error.contains("lengths"), "{error}");
        let mut other = adaptation(false);
        other.document.format = FORMAT + 1;
        let error = Adaptation::parse(&other.to_bytes(None)).unwrap_err();
        assert!(error.contains("newer"), "{error}");
        let mut other = adaptation(false);
        other.projection.directions.as_mut().unwrap().scales[0] = f32::NAN;
        let error = Adaptation::parse(&other.to_bytes(None)).unwrap_err();
        assert!(error.contains("directions"), "{error}");
        let bytes = adaptation(true).to_bytes(Some(b"a model"));
        for end in 0..bytes.len() {
            assert!(Adaptation::parse(&bytes[..end]).is_err());
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x11;
            // Sound or not, but never a panic.
            let _ = Adaptation::parse(&changed);
        }
    }
}

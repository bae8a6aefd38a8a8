//! Which files of a folder belong to an encoder, and what was in them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::PretrainedError;

/// Image models in the order in which they are looked for.
const IMAGE_MODELS: [&str; 6] = [
    "visual/model.onnx",
    "onnx/vision_model.onnx",
    "vision_model.onnx",
    "visual.onnx",
    "onnx/model.onnx",
    "model.onnx",
];

/// Text models in the order in which they are looked for.
const TEXT_MODELS: [&str; 4] = [
    "textual/model.onnx",
    "onnx/text_model.onnx",
    "text_model.onnx",
    "textual.onnx",
];

/// Folders that hold models, beside which the other files lie.
const MODEL_FOLDERS: [&str; 3] = ["onnx", "visual", "textual"];

/// How exporters mark variants that give other codes than the full model.
const VARIANTS: [&str; 14] = [
    "quantized",
    "quantised",
    "quant",
    "dynamic",
    "int8",
    "uint8",
    "int4",
    "q4",
    "q4f16",
    "q8",
    "bnb4",
    "fp16",
    "float16",
    "f16",
];

/// The files of an encoder, by their names within its folder, with the hash of each file read.
pub(crate) struct Files {
    root: PathBuf,
    /// The image model.
    pub(crate) image: String,
    /// The text model, if there is one.
    pub(crate) text: Option<String>,
    read: BTreeMap<String, blake3::Hash>,
}

impl Files {
    /// Looks for the models in a folder, or beside an ONNX file.
    pub(crate) fn find(path: &Path) -> Result<Self, PretrainedError> {
        let meta = fs::metadata(path).map_err(|source| PretrainedError::Read {
            path: path.to_owned(),
            source,
        })?;
        if meta.is_dir() {
            let image = image_model(path)?;
            let text = text_model(path);
            return Ok(Self::new(path.to_owned(), image, text));
        }
        let name = match path.file_name().and_then(|name| name.to_str()) {
            Some(name) if meta.is_file() => name.to_owned(),
            _ => {
                let reason = "it is neither a folder nor a file with a name in UTF-8";
                return Err(PretrainedError::Read {
                    path: path.to_owned(),
                    source: io::Error::new(io::ErrorKind::InvalidInput, reason),
                });
            }
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let inside = folder.file_name().and_then(|name| name.to_str());
        let (root, image) = match inside {
            Some(inside) if MODEL_FOLDERS.contains(&inside) => {
                let root = folder.parent().unwrap_or(Path::new(""));
                (root.to_owned(), format!("{inside}/{name}"))
            }
            _ => (folder.to_owned(), name),
        };
        // The text model of the same kind, quantised for instance, goes before the plain one.
        let sibling = image.replace("visual", "textual").replace("vision", "text");
        let text = match sibling != image && root.join(&sibling).is_file() {
            true => Some(sibling),
            false => text_model(&root).filter(|text| *text != image),
        };
        Ok(Self::new(root, image, text))
    }

    fn new(root: PathBuf, image: String, text: Option<String>) -> Self {
        let read = BTreeMap::new();
        Self {
            root,
            image,
            text,
            read,
        }
    }

    /// The path of a file of the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).is_file()
    }

    /// Reads a file and keeps its hash; one that has changed since it was last read is an error.
    pub(crate) fn read(&mut self, name: &str) -> Result<Vec<u8>, PretrainedError> {
        let path = self.path(name);
        let bytes = fs::read(&path).map_err(|source| PretrainedError::Read {
            path: path.clone(),
            source,
        })?;
        let hash = blake3::Hasher::new().update(&bytes).finalize();
        match self.read.insert(name.to_owned(), hash) {
            Some(before) if before != hash => Err(PretrainedError::Changed { path }),
            _ => Ok(bytes),
        }
    }

    /// A JSON file, if it is there.
    pub(crate) fn json(&mut self, name: &str) -> Result<Option<Value>, PretrainedError> {
        if !self.has(name) {
            return Ok(None);
        }
        let bytes = self.read(name)?;
        let value = serde_json::from_slice(&bytes).map_err(|error| PretrainedError::Read {
            path: self.path(name),
            source: error.into(),
        })?;
        Ok(Some(value))
    }

    /// The files read and the hashes of their contents.
    pub(crate) fn hashes(&self) -> &BTreeMap<String, blake3::Hash> {
        &self.read
    }
}

fn image_model(folder: &Path) -> Result<String, PretrainedError> {
    if let Some(name) = first(folder, &IMAGE_MODELS) {
        return Ok(name);
    }
    let mut models = onnx_files(folder)?;
    models.retain(|name| !TEXT_MODELS.contains(&name.as_str()));
    let (variants, plain): (Vec<String>, Vec<String>) =
        models.into_iter().partition(|name| is_variant(name));
    let path = folder.to_owned();
    match (plain.as_slice(), variants.as_slice()) {
        ([one], _) => Ok(one.clone()),
        ([], []) => Err(PretrainedError::NoModel {
            path,
            looked_for: format!("{} and a single *.onnx", IMAGE_MODELS.join(", ")),
        }),
        ([], _) => Err(PretrainedError::OnlyVariants {
            path,
            candidates: variants.join(", "),
        }),
        _ => Err(PretrainedError::SeveralModels {
            path,
            candidates: plain.join(", "),
        }),
    }
}

fn text_model(folder: &Path) -> Option<String> {
    first(folder, &TEXT_MODELS)
}

fn first(folder: &Path, names: &[&str]) -> Option<String> {
    let found = names.iter().find(|name| folder.join(name).is_file());
    found.map(|name| (*name).to_owned())
}

/// The ONNX files of a folder and its `onnx` folder, sorted.
fn onnx_files(folder: &Path) -> Result<Vec<String>, PretrainedError> {
    let mut names = Vec::new();
    for (prefix, path) in [("", folder.to_owned()), ("onnx/", folder.join("onnx"))] {
        if !prefix.is_empty() && !path.is_dir() {
            continue;
        }
        let failed = |source| PretrainedError::Read {
            path: path.clone(),
            source,
        };
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".onnx") && entry.path().is_file() {
                names.push(format!("{prefix}{name}"));
            }
        }
    }
    names.sort();
    Ok(names)
}

fn is_variant(name: &str) -> bool {
    let stem = name.strip_suffix(".onnx").unwrap_or(name);
    stem.split(['/', '_', '-', '.'])
        .any(|part| VARIANTS.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn found(names: &[&str], inside: &str) -> Result<(String, Option<String>), String> {
        let folder = folder(names);
        let files = Files::find(&folder.path().join(inside)).map_err(|error| error.to_string())?;
        assert_eq!(files.root, folder.path().join(""));
        Ok((files.image, files.text))
    }

    fn models(image: &str, text: Option<&str>) -> Result<(String, Option<String>), String> {
        Ok((image.to_owned(), text.map(str::to_owned)))
    }

    #[test]
    fn the_first_known_name_is_the_image_model() {
        let mut names = IMAGE_MODELS.to_vec();
        while !names.is_empty() {
            assert_eq!(found(&names, ""), models(names[0], None));
            names.remove(0);
        }
        assert_eq!(
            found(
                &[
                    "onnx/vision_model.onnx",
                    "onnx/text_model.onnx",
                    "onnx/model.onnx"
                ],
                ""
            ),
            models("onnx/vision_model.onnx", Some("onnx/text_model.onnx"))
        );
        assert_eq!(
            found(&["onnx/dino.onnx", "notes.txt"], ""),
            models("onnx/dino.onnx", None)
        );
    }

    #[test]
    fn several_or_none_are_errors_that_say_what_is_there() {
        let error = found(&["a.onnx", "onnx/b.onnx"], "").unwrap_err();
        assert!(error.contains("a.onnx, onnx/b.onnx"), "{error}");
        let error = found(&["readme"], "").unwrap_err();
        assert!(error.contains("visual/model.onnx"), "{error}");
        let error = found(&["text_model.onnx"], "").unwrap_err();
        assert!(error.contains("no image model"), "{error}");
    }

    #[test]
    fn variants_are_used_only_when_named() {
        let names = [
            "onnx/vision_model_q4.onnx",
            "onnx/text_model_q4.onnx",
            "onnx/vision_model_fp16.onnx",
        ];
        let error = found(&names, "").unwrap_err();
        assert!(error.contains("vision_model_q4.onnx"), "{error}");
        assert_eq!(
            found(&names, "onnx/vision_model_q4.onnx"),
            models("onnx/vision_model_q4.onnx", Some("onnx/text_model_q4.onnx"))
        );
        assert_eq!(
            found(&["a.onnx", "a_int8.onnx"], ""),
            models("a.onnx", None)
        );
    }

    #[test]
    fn a_named_file_is_used_with_what_lies_beside_it() {
        assert_eq!(
            found(&["any.onnx", "other.onnx"], "any.onnx"),
            models("any.onnx", None)
        );
        assert_eq!(
            found(
                &["visual/model.onnx", "textual/model.onnx"],
                "visual/model.onnx"
            ),
            models("visual/model.onnx", Some("textual/model.onnx"))
        );
    }
}

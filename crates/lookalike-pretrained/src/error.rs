//! What can go wrong with somebody else's model, and what to do about it.

use std::path::PathBuf;

/// Why an encoder cannot be opened or used. Each message names the file, the reason and the next
/// step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PretrainedError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A folder without an image model.
    #[error("{} has no image model: looked for {looked_for}; name the .onnx file itself", path.display())]
    NoModel {
        /// The folder.
        path: PathBuf,
        /// The names tried, in order.
        looked_for: String,
    },
    /// A folder in which any of several files could be meant.
    #[error("{} has several models ({candidates}); name the .onnx file that is meant", path.display())]
    SeveralModels {
        /// The folder.
        path: PathBuf,
        /// The files.
        candidates: String,
    },
    /// A folder with nothing but quantised or half-precision variants, which change the codes.
    #[error("{} has only quantised or shortened variants ({candidates}); name the one that is meant, or add the \
             full model", path.display())]
    OnlyVariants {
        /// The folder.
        path: PathBuf,
        /// The files.
        candidates: String,
    },
    /// A file that is not ONNX, or only a part of such a file.
    #[error("{} is not a complete ONNX file: {reason}; download or export it again", path.display())]
    NotOnnx {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// An ONNX model that cannot be used as it is.
    #[error("cannot use {}: {reason}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The reason, and what to do.
        reason: String,
    },
    /// Weights in a file beside the model.
    #[error("{} keeps weights in {location:?}: {reason}", path.display())]
    ExternalData {
        /// The ONNX file.
        path: PathBuf,
        /// The other file as the model names it.
        location: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A value of a JSON file, or of the metadata of an ONNX file, that is missing or unknown.
    #[error("{}: {key} is {value}, expected {expected}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, with those around it: `size.shortest_edge`.
        key: String,
        /// What is there, as JSON, or "missing".
        value: String,
        /// What would be understood.
        expected: String,
    },
    /// Nothing says how to normalise images.
    #[error("{} comes without preprocessing (preprocessor_config.json, preprocess_cfg or pretrained_cfg): a mean and \
             a standard deviation per channel are required, as the model was trained with", path.display())]
    NoNormalisation {
        /// The model file.
        path: PathBuf,
    },
    /// Nothing says how large images have to be.
    #[error("nothing says which image size {} takes: its graph leaves it open, and no preprocessing file gives it; \
             a size is required", path.display())]
    NoSize {
        /// The model file.
        path: PathBuf,
    },
    /// An option that contradicts the model or its folder.
    #[error("{option} does not suit {}: {reason}", path.display())]
    Option {
        /// The option: `size`, `mean`, `std`, `output`, `pool`, `threads`.
        option: &'static str,
        /// The model file.
        path: PathBuf,
        /// The reason, and what to do.
        reason: String,
    },
    /// Several outputs, none of which is known to be the code.
    #[error("{} has the outputs {outputs}; name the one that is the code", path.display())]
    SeveralOutputs {
        /// The model file.
        path: PathBuf,
        /// Their names and shapes.
        outputs: String,
    },
    /// A code for every patch or token, and no word on how to make one of them.
    #[error("the output {output:?} of {} has a code for every patch or token; choose the pooling, \"cls\" (the first) \
             or \"mean\" (of all), as the model was trained with", path.display())]
    NoPooling {
        /// The model file.
        path: PathBuf,
        /// The output.
        output: String,
    },
    /// The runtime that was asked for cannot be used.
    #[error("cannot run {} on ONNX Runtime: {reason}", path.display())]
    Runtime {
        /// The model file.
        path: PathBuf,
        /// The reason, and what to do.
        reason: String,
    },
    /// The model could not be run.
    #[error("cannot run {}: {reason}", path.display())]
    Run {
        /// The model file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A code that has no direction.
    #[error("{} gave a code that {reason}; the file may be damaged, or the mean and standard deviation wrong", path.display())]
    Code {
        /// The model file.
        path: PathBuf,
        /// What is wrong with the code.
        reason: &'static str,
    },
    /// An image that the preprocessing cannot bring to the model's size.
    #[error("{} takes images of {expected} pixels and its preprocessing does not resize them: this one has {found}; \
             resize it first", path.display())]
    ImageSize {
        /// The model file.
        path: PathBuf,
        /// Width and height expected.
        expected: String,
        /// Width and height found.
        found: String,
    },
    /// Text cannot be encoded.
    #[error("{} cannot encode text: {reason}", path.display())]
    Text {
        /// The folder or file.
        path: PathBuf,
        /// The reason, and what to do.
        reason: String,
    },
    /// A file that is not what it was when the encoder was opened.
    #[error("{} has changed since the encoder was opened; open it again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

//! The commands, a file each; what they share is in [`console`], [`pictures`] and [`drawing`].

mod arguments;
mod check;
mod cluster_options;
mod conditions;
mod console;
mod demo;
mod drawing;
mod duplicates;
mod encoders;
mod eval;
mod export;
mod gallery;
mod groups;
mod index;
mod info;
mod log;
mod outliers;
mod pictures;
mod reading;
mod reconstruct;
mod report;
mod sample;
mod search;
mod serve;
mod spreadsheet;
mod suggest;
mod terminal;
mod train;

use std::io;
use std::path::{Path, PathBuf};

use lookalike::Error;
use lookalike::PretrainedError;
use lookalike::autoencoder::AutoencoderError;
use lookalike::gallery::{GalleryError, Holder};

pub use arguments::Arguments;
use arguments::Command;
use console::Console;
pub use console::note;

/// Why the program ends early.
pub enum Failure {
    /// Standard output was closed by its reader.
    ClosedPipe,
    /// Anything else.
    Error(Error),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// The command or the options that change what the library says cannot be done; it does not know
/// the command line.
pub fn advice_for(error: &Error) -> Option<&'static str> {
    let error = match error {
        Error::Autoencoder(error) => error,
        Error::Pretrained(error) => return options_for_pretrained(error),
        Error::Gallery(GalleryError::NotFound { .. }) => {
            return Some("`lookalike index` makes one");
        }
        Error::Gallery(
            GalleryError::NoDiffusion { .. } | GalleryError::DamagedDiffusion { .. },
        ) => {
            return Some("`lookalike index` builds it");
        }
        _ => return None,
    };
    match error {
        AutoencoderError::Setting { setting, .. } => match *setting {
            "architecture" => Some("--arch"),
            "augmentation" => Some("--strength, --distort-colour"),
            "batch" => Some("--batch"),
            "code_dim" => Some("--code-dim"),
            "colour_weight" => Some("--colour-weight"),
            "epochs" => Some("--epochs"),
            "learning_rate" => Some("--learning-rate"),
            "noise" => Some("--noise, --mask"),
            "shape" => Some("--size, --arch"),
            "weight_decay" => Some("--weight-decay"),
            _ => None,
        },
        AutoencoderError::Diverged { .. } => Some("--learning-rate"),
        AutoencoderError::Checkpoint { .. } => Some("--restart"),
        AutoencoderError::Device(_) => Some("--device auto, --device cpu"),
        AutoencoderError::Precision(_) => Some("--precision f32, --device cpu"),
        _ => None,
    }
}

fn options_for_pretrained(error: &PretrainedError) -> Option<&'static str> {
    match error {
        PretrainedError::NoNormalisation { .. } => Some("--encoder-mean, --encoder-std"),
        PretrainedError::NoSize { .. } => Some("--encoder-size"),
        PretrainedError::SeveralOutputs { .. } => Some("--encoder-output"),
        PretrainedError::NoPooling { .. } => Some("--encoder-pool"),
        PretrainedError::Option { option, .. } => match *option {
            "mean" => Some("--encoder-mean"),
            "std" => Some("--encoder-std"),
            "size" => Some("--encoder-size"),
            "output" => Some("--encoder-output"),
            "pool" => Some("--encoder-pool"),
            _ => None,
        },
        _ => None,
    }
}

/// Refuses files that would be written over each other, or over one that is read.
fn refuse_twice(written: &[Option<&PathBuf>], read: &[Option<&PathBuf>]) -> Result<(), Error> {
    let all = written.iter().chain(read).flatten();
    let places: Vec<PathBuf> = all.map(|path| real_path(path)).collect();
    for (at, one) in written.iter().flatten().enumerate() {
        if places[at + 1..].contains(&places[at]) {
            return Err(Error::Unusable(format!(
                "{} is named twice: the second would destroy the first",
                one.display()
            )));
        }
    }
    Ok(())
}

/// A path that is the same however the file was called: `a.csv` and `./a.csv` are one file. The
/// file need not be there.
fn real_path(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (
        absolute.parent().map(Path::canonicalize),
        absolute.file_name(),
    ) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => absolute,
    }
}

/// For failed writes to standard output.
fn output(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
        _ => Failure::Error(Error::Io {
            action: "write to",
            path: "standard output".to_owned(),
            source: error,
        }),
    }
}

/// Does what was asked for.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    lookalike::kernels::set_threads(arguments.common.threads);
    Holder::name_this_process(&format!("lookalike {}", arguments.command.name()));
    let console = Console::new(arguments.common.json);
    let device = arguments.common.device;
    match arguments.command {
        Command::Demo(a) => demo::run(a, device, &console),
        Command::Train(a) => train::run(*a, device, &console),
        Command::Index(a) => index::run(*a, device, &console),
        Command::Search(a) => search::run(*a, device, &console),
        Command::Eval(a) => eval::run(*a, device, &console),
        Command::Reconstruct(a) => reconstruct::run(*a, device, &console),
        Command::Duplicates(a) => duplicates::run(a, device, &console),
        Command::Outliers(a) => outliers::run(a, device, &console),
        Command::Groups(a) => groups::run(a, &console),
        Command::Sample(a) => sample::run(a, &console),
        Command::Suggest(a) => suggest::run(a, &console),
        Command::Check(a) => check::run(a, &console),
        Command::Export(a) => export::run(a, device, &console),
        Command::Report(a) => report::run(a, &console),
        Command::Serve(a) => serve::run(*a, device, &console),
        Command::Gallery(a) => gallery::run(a, &console),
        Command::Info(a) => info::run(a, device, &console),
    }
}

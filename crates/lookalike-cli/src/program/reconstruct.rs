//! `lookalike reconstruct`.

use std::path::PathBuf;

use lookalike::autoencoder::{Autoencoder, DeviceChoice};
use lookalike::{Error, PretrainedEncoder};
use serde::Serialize;

use super::arguments::ReconstructArguments;
use super::console::Console;
use super::{Failure, pictures, refuse_twice};

#[derive(Serialize)]
struct ReconstructReport {
    images: usize,
    sheet: String,
}

pub fn run(
    arguments: ReconstructArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<(), Failure> {
    let source = PathBuf::from(&arguments.source);
    refuse_twice(
        &[Some(&arguments.sheet), arguments.reading.report()],
        &[Some(&source), Some(&arguments.model)],
    )?;
    if PretrainedEncoder::is_at(&arguments.model) {
        return Err(Error::Unusable(format!(
            "{} was trained by others to encode alone: only an autoencoder can rebuild images",
            arguments.model.display()
        ))
        .into());
    }
    let model = Autoencoder::load(&arguments.model, device)?;
    let skips = arguments.reading.skips()?;
    let source = arguments
        .reading
        .open_for_model(&arguments.source, &model, &skips)?;
    let source = source.fitted(model.shape(), model.fit());
    let collection = source.load(Some(model.shape()), Some(arguments.count))?;
    let title = vec![format!(
        "{}: images and their reconstructions by {}",
        collection.name(),
        arguments.model.display()
    )];
    let sheet = pictures::reconstruction_sheet(&model, &collection, arguments.count, title)?;
    pictures::write(&sheet, &arguments.sheet)?;
    let report = ReconstructReport {
        images: collection.len(),
        sheet: arguments.sheet.display().to_string(),
    };
    console.say(format!(
        "{}: {} images and their reconstructions",
        report.sheet, report.images
    ))?;
    console.json(&report)?;
    arguments.reading.conclude(&skips, console)
}

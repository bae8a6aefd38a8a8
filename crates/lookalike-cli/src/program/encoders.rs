//! The encoders that were named: a model, one that others have trained, or both.

use std::path::PathBuf;
use std::sync::Arc;

use lookalike::autoencoder::{Autoencoder, Comparison, DeviceChoice, Verdict};
use lookalike::gallery::{Gallery, GalleryError};
use lookalike::{
    AdaptedEncoder, Encoder, Error, MAX_ADAPTATION_IMAGES, Pair, PretrainedEncoder,
    PretrainedOptions, Skips, adaptation_of, encoder_of, load_encoder, open_gallery,
};

use super::Failure;
use super::arguments::{IndexArguments, named};
use super::console::Console;

/// Files of a model and of a pretrained encoder.
pub struct Named {
    pub model: Option<PathBuf>,
    pub pretrained: Option<PathBuf>,
}

impl Named {
    /// What `--model` and `--encoder` mean, which may each name either.
    pub fn of(model: &Option<PathBuf>, encoder: &Option<PathBuf>) -> Result<Self, Error> {
        let mut found = Self {
            model: None,
            pretrained: None,
        };
        for path in named(model, encoder) {
            let (place, what) = match PretrainedEncoder::is_at(&path) {
                true => (&mut found.pretrained, "pretrained encoders"),
                false => (&mut found.model, "models"),
            };
            if let Some(first) = place.replace(path) {
                return Err(Error::Unusable(format!(
                    "{} is one of two {what}: codes are joined of a model file (--model) and a folder or .onnx file of a pretrained encoder (--encoder)",
                    first.display()
                )));
            }
        }
        Ok(found)
    }

    /// Opens both; `None` where no pretrained encoder is among them.
    pub fn pair(
        &self,
        options: PretrainedOptions,
        device: DeviceChoice,
    ) -> Result<Option<Pair>, Error> {
        let Some(path) = &self.pretrained else {
            return Ok(None);
        };
        let model = self.model.as_deref();
        let model = model.map(|path| Autoencoder::load(path, device));
        let pretrained = PretrainedEncoder::open_on(path, options, device)?;
        Ok(Some(Pair::new(pretrained, model.transpose()?)))
    }
}

/// The encoder to index with: what was named, adapted to the source where that was asked for, or
/// what the gallery knows that is there already.
pub fn to_index_with(
    arguments: &IndexArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<Box<dyn Encoder>, Failure> {
    let found = Named::of(&arguments.model, &arguments.encoder)?;
    let options = arguments.pretrained.options();
    let paths = named(&arguments.model, &arguments.encoder);
    let adapts =
        found.pretrained.is_some() && (found.model.is_some() || arguments.reduce.is_some());
    let there = match open_gallery(&arguments.gallery) {
        Ok(gallery) => Some(gallery),
        Err(Error::Gallery(GalleryError::NotFound { .. })) if !paths.is_empty() => None,
        // It may be in the making by another worker: whoever opens it to fill it waits for that.
        Err(Error::Gallery(GalleryError::Unreachable { .. })) if !paths.is_empty() && !adapts => {
            None
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(gallery) = &there
        && adaptation_of(&**gallery)?.is_some()
    {
        return Ok(adapted_of(&**gallery, &paths, arguments, device)?);
    }
    if adapts {
        refuse_filled(arguments, there.as_deref())?;
        // It is locked while it is open.
        drop(there);
        return Ok(Box::new(adapt(&found, arguments, device, console)?));
    }
    if arguments.reduce.is_some() {
        return Err(Error::Unusable(
            "--reduce shortens the codes of a pretrained encoder: name one with --encoder; how long those of a model are is chosen when it learns (train --code-dim)".to_owned(),
        )
        .into());
    }
    match (paths.first(), &there) {
        // What its files do not say is as the gallery knows it.
        (Some(_), Some(gallery))
            if found.pretrained.is_some() && options == PretrainedOptions::default() =>
        {
            Ok(encoder_of(&**gallery, &paths, device)?)
        }
        (Some(path), _) => Ok(load_encoder(path, &options, device)?),
        (None, Some(gallery)) => Ok(encoder_of(&**gallery, &[], device)?),
        (None, None) => unreachable!("without a path a gallery that cannot be opened is an error"),
    }
}

/// The adapted encoder of a gallery, if it is what was asked for.
fn adapted_of(
    gallery: &dyn Gallery,
    paths: &[PathBuf],
    arguments: &IndexArguments,
    device: DeviceChoice,
) -> Result<Box<dyn Encoder>, Error> {
    let encoder = encoder_of(gallery, paths, device)?;
    let options = arguments.pretrained.options();
    let known = encoder.files().map(|files| &files.options);
    if options != PretrainedOptions::default() && known != Some(&options) {
        return Err(Error::Unusable(format!(
            "the gallery {} was made with other options of its pretrained encoder: leave them out, they are remembered",
            arguments.gallery
        )));
    }
    if paths.iter().any(|path| !PretrainedEncoder::is_at(path)) && encoder.autoencoder().is_none() {
        return Err(Error::Unusable(format!(
            "the codes of the gallery {} are those of a pretrained encoder alone: leave the model out, or index into a new gallery to join both",
            arguments.gallery
        )));
    }
    let reduced = encoder
        .adapted()
        .and_then(|encoder| encoder.adaptation().reduced());
    let floats = reduced.map(|(_, to)| to);
    if arguments.reduce.is_some() && arguments.reduce != floats {
        return Err(Error::Unusable(format!(
            "the codes of the gallery {} are {}: leave --reduce out, or index into a new gallery",
            arguments.gallery,
            floats.map_or("not reduced".to_owned(), |to| format!(
                "reduced to {to} floats"
            ))
        )));
    }
    Ok(encoder)
}

/// Refuses to adapt an encoder for a gallery that has codes of another.
fn refuse_filled(arguments: &IndexArguments, there: Option<&dyn Gallery>) -> Result<(), Error> {
    match there.map(|gallery| gallery.describe()).transpose()? {
        Some(info) if info.points > 0 => Err(Error::Unusable(format!(
            "the gallery {} was filled with the codes of one encoder alone: to join or reduce codes, index into a new gallery",
            arguments.gallery
        ))),
        _ => Ok(()),
    }
}

fn adapt(
    found: &Named,
    arguments: &IndexArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<AdaptedEncoder, Failure> {
    // What cannot be read is told when it is indexed.
    let skips = Arc::<Skips>::default();
    let source = arguments.reading.open(&arguments.source, 0, &skips)?;
    let pair = found.pair(arguments.pretrained.options(), device)?;
    let pair = pair.expect("a pretrained encoder is among them");
    console.note(format!(
        "adapting the encoder to {}, by at most {MAX_ADAPTATION_IMAGES} of its images",
        arguments.source
    ));
    let encoder = pair.adapt(source, arguments.reduce)?;
    console.note(encoder.name());
    if let Some(advice) = advice(&encoder) {
        console.note(advice);
    }
    Ok(encoder)
}

/// A part that makes less of likeness than this can hardly change an answer; the shortest makes
/// .01.
const LITTLE: f32 = 0.05;

/// What to try instead, where one of the two that are joined seems to add little.
fn advice(encoder: &AdaptedEncoder) -> Option<String> {
    let joined = encoder.adaptation().joined()?;
    let judged = encoder.autoencoder()?.record().comparison.as_ref();
    let worse = judged.filter(|judged| judged.verdict() == Verdict::Worse);
    let compare = "`lookalike eval` with both compares them";
    if let Some(best) = worse.and_then(Comparison::best) {
        return Some(format!(
            "judged without labels, the model is worse than a simple descriptor ({}): the encoder alone may be better; {compare}",
            best.name
        ));
    }
    let [model, other] = [joined.model_length, joined.encoder_length].map(|length| length * length);
    match (model < LITTLE, other < LITTLE) {
        (true, _) => Some(format!(
            "the model adds little here: the encoder alone may be as good; {compare}"
        )),
        (_, true) => Some(format!(
            "the encoder adds little here: the model alone may be as good; {compare}"
        )),
        _ => None,
    }
}

//! How the pictures of a gallery are read, kept with it: one that was read over a black background
//! looks unlike itself over a white one, so that all that enters it and all that it is asked with
//! must be read alike.

use std::collections::BTreeMap;

use lookalike_gallery::{Gallery, MAX_TILES};
use lookalike_images::GreyRange;
use lookalike_sources::LabelFrom;
use serde::{Deserialize, Serialize};

use crate::adapted::{KeptAdaptation, adaptation_to_keep};
use crate::pretrained::EncoderFiles;
use crate::stream::{Reading, label_from};
use crate::{Encoder, Error, ImageStream, MIN_TILES};

/// What is kept with a gallery of how its pictures are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadingRules {
    /// What transparent pictures are laid over: red, green, blue.
    pub background: [u8; 3],
    /// Which values of grey pictures with more than 8 bits are black and white; none: all that
    /// their bits can write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grey_range: Option<GreyRange>,
    /// The most pixels of a picture, as of the last time that a source was indexed.
    pub max_pixels: u64,
    /// The most bytes of a file.
    pub max_bytes: u64,
    /// Where the labels of each source come from, as [`label_from`] reads it; of sources that are
    /// not named here from where it is usual.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The most tiles of an image; none of a gallery that keeps no tiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiles: Option<usize>,
    /// Whether what cameras wrote about photographs (EXIF) is not kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_exif: bool,
    /// The files of the encoder, for one that others have trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<EncoderFiles>,
    /// How the encoder was adapted ([`Adaptation`](crate::Adaptation), base64), of a gallery on a
    /// cluster; others keep it in the model's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptation: Option<String>,
}

/// What somebody asks for of how pictures are read; what is not asked for is as the gallery has it,
/// or as is usual.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleOverrides {
    /// See [`ReadingRules::background`].
    pub background: Option<[u8; 3]>,
    /// See [`ReadingRules::grey_range`].
    pub grey_range: Option<GreyRange>,
    /// See [`ReadingRules::max_pixels`].
    pub max_pixels: Option<u64>,
    /// See [`ReadingRules::max_bytes`].
    pub max_bytes: Option<u64>,
    /// Where labels come from.
    pub label: Option<LabelFrom>,
    /// How many [tiles](ReadingRules::tiles) of each image are kept at the most: from
    /// [`MIN_TILES`](crate::MIN_TILES) to [`MAX_TILES`](lookalike_gallery::MAX_TILES), or 0 for
    /// none. Another number than before makes them all anew.
    pub tiles: Option<usize>,
    /// See [`ReadingRules::no_exif`].
    pub no_exif: Option<bool>,
}

impl ReadingRules {
    /// The rules that a gallery keeps; none for one that was filled before they were kept, or is
    /// new.
    ///
    /// # Errors
    ///
    /// When the gallery cannot be read.
    pub fn of(gallery: &dyn Gallery) -> Result<Option<Self>, Error> {
        let Some(text) = gallery.reading_rules()? else {
            return Ok(None);
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            let info = gallery.describe();
            Error::DamagedRules {
                gallery: info.map_or_else(|_| String::new(), |info| info.name),
                reason: error.to_string(),
            }
        })
    }

    /// What `reading` says, with the labels that were known before.
    fn by(
        reading: &Reading,
        labels: BTreeMap<String, String>,
        tiles: Option<usize>,
        encoder: &dyn Encoder,
        gallery: &dyn Gallery,
    ) -> Self {
        Self {
            background: reading.decode.background,
            grey_range: reading.decode.grey_range,
            max_pixels: reading.decode.max_pixels,
            max_bytes: reading.decode.max_bytes,
            labels,
            tiles,
            no_exif: reading.no_exif,
            encoder: encoder.files().cloned(),
            adaptation: adaptation_to_keep(encoder, gallery),
        }
    }
}

impl RuleOverrides {
    /// Applies what is asked for to `reading`.
    pub fn apply(&self, reading: &mut Reading) {
        let decode = &mut reading.decode;
        decode.background = self.background.unwrap_or(decode.background);
        decode.grey_range = self.grey_range.or(decode.grey_range);
        decode.max_pixels = self.max_pixels.unwrap_or(decode.max_pixels);
        if let Some(bytes) = self.max_bytes {
            decode.max_bytes = bytes;
            reading.source.limits.item_bytes = bytes;
        }
        if let Some(label) = &self.label {
            reading.source.label = label.clone();
        }
        reading.no_exif = self.no_exif.unwrap_or(reading.no_exif);
    }

    /// Applies the rules of a gallery to `reading`, and what is asked for beside them.
    ///
    /// # Errors
    ///
    /// When another background or another range of grey is asked for than the gallery was read
    /// with, and when the gallery cannot be read.
    pub fn apply_in(&self, reading: &mut Reading, gallery: &dyn Gallery) -> Result<(), Error> {
        self.apply_over(ReadingRules::of(gallery)?.as_ref(), reading, gallery)
    }

    /// As [`apply_in`](Self::apply_in), where it is known what the gallery keeps.
    fn apply_over(
        &self,
        kept: Option<&ReadingRules>,
        reading: &mut Reading,
        gallery: &dyn Gallery,
    ) -> Result<(), Error> {
        if let Some(kept) = kept {
            self.check(kept, gallery)?;
            reading.decode.background = kept.background;
            reading.decode.grey_range = kept.grey_range;
            reading.no_exif = kept.no_exif;
            // Limits of the last run are the least that its pictures need.
            reading.decode.max_pixels = reading.decode.max_pixels.max(kept.max_pixels);
            reading.decode.max_bytes = reading.decode.max_bytes.max(kept.max_bytes);
            let limits = &mut reading.source.limits;
            limits.item_bytes = limits.item_bytes.max(kept.max_bytes);
        }
        self.apply(reading);
        Ok(())
    }

    fn check(&self, kept: &ReadingRules, gallery: &dyn Gallery) -> Result<(), Error> {
        let refused = |what, kept, asked| {
            Err(Error::OtherReading {
                gallery: gallery.describe()?.name,
                what,
                kept,
                asked,
            })
        };
        let hexadecimal = |[r, g, b]: [u8; 3]| format!("{r:02x}{g:02x}{b:02x}");
        if let Some(asked) = self.background
            && asked != kept.background
        {
            return refused(
                "background",
                hexadecimal(kept.background),
                hexadecimal(asked),
            );
        }
        // Without a range there was nothing in the gallery that has one.
        if let (Some(asked), Some(kept)) = (self.grey_range, kept.grey_range)
            && asked != kept
        {
            return refused("the range of grey", kept.to_string(), asked.to_string());
        }
        Ok(())
    }
}

/// How the pictures of a gallery are read, if nobody asks for anything else.
///
/// # Errors
///
/// When the gallery cannot be read.
pub fn reading_of(gallery: &dyn Gallery) -> Result<Reading, Error> {
    let mut reading = Reading::default();
    RuleOverrides::default().apply_in(&mut reading, gallery)?;
    Ok(reading)
}

/// Makes a source ready to be indexed into a gallery: to be read as is asked for, and otherwise as
/// the gallery's rules say, which are kept with it. A source that is new to a gallery without a
/// range of grey takes the one that the encoder learned with or, failing that, the one that suits
/// it. Also says what a person should know: where labels were read from elsewhere before.
///
/// # Errors
///
/// When something is asked for that does not fit the gallery, and when the source or the gallery
/// cannot be read, or the gallery not written.
pub(crate) fn admit(
    stream: ImageStream,
    asked: &RuleOverrides,
    encoder: &dyn Encoder,
    gallery: &dyn Gallery,
) -> Result<(ImageStream, Option<String>), Error> {
    let kept = ReadingRules::of(gallery)?;
    let name = stream.name().to_owned();
    let mut reading = stream.reading().clone();
    asked.apply_over(kept.as_ref(), &mut reading, gallery)?;
    let is_new = gallery.stubs(&name, None, 1)?.is_empty();
    if let (None, Some(kept)) = (&asked.label, &kept) {
        reading.source.label = match (kept.labels.get(&name), is_new) {
            (Some(label), _) => label_from(label),
            (None, false) => LabelFrom::Default,
            (None, true) => reading.source.label,
        };
    }
    let stream = stream.read_as(reading)?;
    // Pictures that are there already were read without, and are not looked at again.
    let range = match (is_new, encoder.grey_range()) {
        (false, _) => None,
        (true, Some(range)) => Some(range),
        (true, None) => stream.suitable_grey_range()?,
    };
    let stream = stream.with_grey_range(range);
    let tiles = tiles_to_keep(asked.tiles, kept.as_ref(), gallery)?;
    let note = keep(kept, stream.reading(), &name, tiles, encoder, gallery)?;
    Ok((stream, note))
}

/// How many tiles of each image a gallery keeps from now on. Those that it has are dropped if it is
/// another number than before.
fn tiles_to_keep(
    asked: Option<usize>,
    kept: Option<&ReadingRules>,
    gallery: &dyn Gallery,
) -> Result<Option<usize>, Error> {
    let before = kept.and_then(|kept| kept.tiles);
    let Some(asked) = asked else {
        return Ok(before);
    };
    let Some(folder) = gallery.as_embedded() else {
        return match asked {
            0 => Ok(None),
            _ => Err(no_tiles_on_cluster(gallery)?),
        };
    };
    if asked > 0 && !(MIN_TILES..=MAX_TILES).contains(&asked) {
        return Err(Error::Unusable(format!(
            "{asked} tiles of each image were asked for: keep {MIN_TILES} to {MAX_TILES}, or 0 for none"
        )));
    }
    let wanted = Some(asked).filter(|&asked| asked > 0);
    if before.is_some() && before != wanted {
        folder.drop_tiles()?;
    }
    Ok(wanted)
}

/// What is said of tiles where there are none.
pub(crate) fn no_tiles_on_cluster(gallery: &dyn Gallery) -> Result<Error, Error> {
    Ok(Error::Unusable(format!(
        "the gallery {} is on a cluster, and parts of pictures (tiles) are kept and found in a gallery in a folder only",
        gallery.describe()?.name
    )))
}

/// Keeps with a gallery how a source is read that is about to be indexed; `kept` is what it keeps.
fn keep(
    kept: Option<ReadingRules>,
    reading: &Reading,
    name: &str,
    tiles: Option<usize>,
    encoder: &dyn Encoder,
    gallery: &dyn Gallery,
) -> Result<Option<String>, Error> {
    let mut labels = kept
        .as_ref()
        .map_or_else(BTreeMap::new, |kept| kept.labels.clone());
    let label = label_name(&reading.source.label);
    let before = match label {
        Some(label) => labels.insert(name.to_owned(), label.to_owned()),
        None => labels.remove(name),
    };
    let changed = before.filter(|before| Some(before.as_str()) != label);
    let rules = ReadingRules::by(reading, labels, tiles, encoder, gallery);
    if kept.as_ref() != Some(&rules) {
        let text = serde_json::to_string(&rules).expect("rules serialise");
        gallery.keep_reading_rules(&text)?;
    }
    Ok(changed.map(|before| {
        format!(
            "labels of {name} came from {before} so far, and come from {} now: all of them were read anew",
            label.unwrap_or("where it is usual")
        )
    }))
}

/// Keeps with a copy how the pictures of the copied gallery are read, and how its encoder is
/// adapted; what the copy keeps already stays.
pub(crate) fn carry_over(
    from: &dyn Gallery,
    to: &dyn Gallery,
    adaptation: Option<&KeptAdaptation>,
) -> Result<(), Error> {
    let (None, Some(mut rules)) = (to.reading_rules()?, ReadingRules::of(from)?) else {
        return Ok(());
    };
    // On a cluster there are none.
    rules.tiles = rules.tiles.filter(|_| to.as_embedded().is_some());
    rules.adaptation = adaptation.and_then(|kept| kept.to_keep(to));
    let text = serde_json::to_string(&rules).expect("rules serialise");
    Ok(to.keep_reading_rules(&text)?)
}

/// As [`label_from`] reads it; none for what is usual.
fn label_name(label: &LabelFrom) -> Option<&str> {
    match label {
        LabelFrom::Default => None,
        LabelFrom::Parent => Some("parent"),
        LabelFrom::Column(column) => Some(column),
        LabelFrom::None => Some("none"),
    }
}

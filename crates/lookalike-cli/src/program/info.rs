//! `lookalike info`.

use std::path::Path;

use lookalike::autoencoder::{Autoencoder, DeviceChoice, Part, TrainConfig, TrainRecord};
use lookalike::gallery::{
    ClusterInfo, Gallery, GalleryInfo, TileInfo, disk_usage, model_fingerprint,
};
use lookalike::images::InputShape;
use lookalike::{
    Adaptation, Encoder, Error, Joined, ReadingRules, SourceCount, adaptation_of, augments,
    cluster_info, encoder_of, open_gallery, sources_in,
};
use serde::Serialize;

use super::Failure;
use super::arguments::InfoArguments;
use super::console::{Console, duration, without_naming};
use super::train::comparison_line;

#[derive(Serialize)]
struct ModelReport<'a> {
    model: &'a str,
    fingerprint: String,
    parameters: usize,
    code_dim: usize,
    code_map: [usize; 3],
    input: InputShape,
    collapsed: bool,
    config: &'a TrainConfig,
    record: &'a TrainRecord,
}

/// Sources and labels that are listed for people.
const LISTED: usize = 10;

#[derive(Serialize)]
struct GalleryReport {
    /// Of the folder's files; none on a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_on_disk: Option<u64>,
    sources: Vec<SourceCount>,
    #[serde(flatten)]
    info: GalleryInfo,
    /// The tiles that it keeps, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    tiles: Option<TileInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterInfo>,
    model: Option<TrainConfig>,
    /// What it is, of an encoder that others have trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pretrained: Option<String>,
    /// What runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<String>,
    /// How the pretrained encoder's codes were adapted to the collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    adapted: Option<AdaptedReport>,
}

#[derive(Serialize)]
struct AdaptedReport {
    /// How many images were looked at.
    images: usize,
    /// Floats of the pretrained encoder's codes before and after they were reduced.
    #[serde(skip_serializing_if = "Option::is_none")]
    reduced: Option<[usize; 2]>,
    #[serde(flatten)]
    joined: Option<Joined>,
}

impl AdaptedReport {
    fn of(adaptation: &Adaptation) -> Self {
        Self {
            images: adaptation.images(),
            reduced: adaptation.reduced().map(|(from, to)| [from, to]),
            joined: adaptation.joined().cloned(),
        }
    }

    /// For people.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(joined) = &self.joined {
            let share = |length: f32| 100.0 * length * length;
            lines.push(format!(
                "joined       {:.0} % of likeness is the model's (confirmed {:.0} %), {:.0} % the encoder's (confirmed {:.0} %), by {} images",
                share(joined.model_length),
                100.0 * joined.model_agreement,
                share(joined.encoder_length),
                100.0 * joined.encoder_agreement,
                self.images
            ));
        }
        if let Some([from, to]) = self.reduced {
            lines.push(format!(
                "reduced      the encoder's codes from {from} to {to} floats, by {} images",
                self.images
            ));
        }
        lines
    }
}

pub fn run(
    arguments: InfoArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<(), Failure> {
    let what = arguments.what.as_str();
    let path = Path::new(what);
    if path.is_file() {
        return model(what, device, console);
    }
    if !path.exists() && !what.contains("://") {
        return Err(Error::Unusable(format!(
            "there is nothing at {what}: give a model file or a gallery"
        ))
        .into());
    }
    gallery(what, device, console)
}

fn model(path: &str, device: DeviceChoice, console: &Console) -> Result<(), Failure> {
    let model = Autoencoder::load(Path::new(path), device)?;
    let (config, record) = (model.config(), model.record());
    let report = ModelReport {
        model: path,
        fingerprint: model_fingerprint(&model.to_bytes()),
        parameters: model.parameters(),
        code_dim: model.code_dim(),
        code_map: model.code_map(),
        input: model.shape(),
        collapsed: record.collapsed(),
        config,
        record,
    };
    let codes = match (&record.direct, config.colour_weight > 0.0) {
        (Some(direct), _) => format!(
            "codes of {} floats: {} learned, {} of {}{} (length {:.2}){}",
            report.code_dim,
            model.latent_dim(),
            direct.shape.dims,
            match (direct.structures.is_empty(), direct.patches.is_none()) {
                (true, _) => "shape",
                (false, true) => "shape and structure",
                (false, false) => "shape, structure and patches",
            },
            match direct.symmetry.is_none() {
                true => "",
                false => ", means over turns",
            },
            direct.shape.length,
            direct.colours.map_or_else(String::new, |colours| format!(
                ", {} of colours (length {:.2})",
                colours.dims, colours.length
            ))
        ),
        (None, true) => format!(
            "codes of {} floats: {} learned, and the image's colours with weight {}",
            report.code_dim,
            model.latent_dim(),
            config.colour_weight
        ),
        (None, false) => format!("codes of {} floats", report.code_dim),
    };
    let mut lines = vec![
        format!("model        {path}"),
        format!("fingerprint  {}", report.fingerprint),
        format!(
            "network      {}, {} parameters, {codes}",
            config.architecture, report.parameters
        ),
        format!(
            "input        {} channel(s), {} x {} pixels",
            report.input.channels, report.input.width, report.input.height
        ),
        format!("objective    {}, loss {}", config.objective, config.loss),
        format!(
            "trained on   {} images of {}, {} epochs, {}",
            record.data.images,
            record.data.name,
            record.epochs.len(),
            duration(record.seconds())
        ),
        format!(
            "loss         {:.5} (the mean image's: {:.5}){}",
            record.final_loss(),
            record.mean_image_loss,
            if report.collapsed {
                ": it has learned nothing"
            } else {
                ""
            }
        ),
    ];
    if augments(config.objective) {
        lines.insert(5, format!("distortions  {}", distortions(config)));
    }
    if !record.parts.is_empty() {
        let graph = match record.coordinates {
            Some(factor) => {
                format!("; coordinates along the neighbour graph {factor:.2} times as long")
            }
            None => String::new(),
        };
        lines.insert(6, format!("looks at     {}{graph}", parts(&record.parts)));
    }
    if let Some(teacher) = &config.teacher {
        lines.insert(
            5,
            format!(
                "teacher      {} ({}), codes of {} floats",
                teacher.name, teacher.fingerprint, teacher.dims
            ),
        );
    }
    if let Some(comparison) = &record.comparison {
        lines.push(format!("judged       {}", comparison_line(comparison)));
    }
    for line in lines {
        console.say(line)?;
    }
    console.json(&report)
}

/// What images were described by, in words: each part's weight, and how often its neighbours are
/// also those of other parts.
fn parts(parts: &[Part]) -> String {
    let words = parts.iter().map(|part| {
        format!(
            "{} {:.2} (confirmed {:.0} %)",
            part.name,
            part.weight,
            100.0 * part.agreement
        )
    });
    words.collect::<Vec<_>>().join(", ")
}

/// The distortions in words: the ranges, and how they were chosen.
fn distortions(config: &TrainConfig) -> String {
    let d = &config.augmentation;
    if d.is_identity() {
        return match &config.chosen {
            Some(chosen) => format!("none ({chosen})"),
            None => "none".to_owned(),
        };
    }
    let percent = |range: f32| {
        format!("{:.3}", 100.0 * range)
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned()
    };
    let mut words = Vec::new();
    if d.rotation_degrees > 0.0 {
        words.push(format!("rotation {:.1}°", d.rotation_degrees));
    }
    for (name, range) in [
        ("scale", d.scale),
        ("shear", d.shear),
        ("shift", d.shift),
        ("elastic", d.elastic),
        ("crop", d.crop),
    ] {
        if range > 0.0 {
            words.push(format!("{name} {} %", percent(range)));
        }
    }
    if d.mirror {
        words.push("mirror".to_owned());
    }
    if d.turn {
        words.push("turns".to_owned());
    }
    if d.brightness > 0.0 {
        words.push(format!(
            "brightness {} % and other colours",
            percent(d.brightness)
        ));
    }
    let words = words.join(", ");
    match &config.chosen {
        Some(chosen) => format!("{words} ({chosen})"),
        None => words,
    }
}

/// How the points are searched.
fn search_of(info: &GalleryInfo) -> String {
    match info.indexed {
        0 => "searched exactly, too few to need an index".to_owned(),
        indexed if indexed == info.points => "all indexed".to_owned(),
        indexed => format!("{indexed} indexed, the others are compared one by one"),
    }
}

/// What the gallery has of tiles, if it keeps some.
fn tiles_of(gallery: &dyn Gallery) -> Result<Option<TileInfo>, Error> {
    let keeps = ReadingRules::of(gallery)?.is_some_and(|rules| rules.tiles.is_some());
    let folder = gallery.as_embedded().filter(|_| keeps);
    Ok(folder.map(|folder| folder.tile_info()).transpose()?)
}

/// For people.
fn tiles_line(tiles: &TileInfo) -> String {
    let missing = match tiles.missing {
        0 => String::new(),
        missing => format!("; {missing} images have none yet, `lookalike index` makes them"),
    };
    format!(
        "tiles        {} of {} images, {:.1} MB, {:.1} MB of memory when they are searched{missing}",
        tiles.tiles,
        tiles.images,
        tiles.bytes as f64 / 1e6,
        tiles.memory as f64 / 1e6
    )
}

fn gallery(name: &str, device: DeviceChoice, console: &Console) -> Result<(), Failure> {
    let gallery = open_gallery(name)?;
    let info = gallery.describe()?;
    // A gallery can be described without its encoder, which a cluster does not keep, and of which
    // the files may have moved.
    let kept = gallery.model()?.is_some();
    let encoder = match kept {
        true => Some(encoder_of(&*gallery, &[], device)),
        false => None,
    };
    let (encoder, lost) = match encoder {
        Some(Ok(encoder)) => (Some(encoder), None),
        Some(Err(
            error @ (Error::EncoderUnknown { .. }
            | Error::EncoderGone { .. }
            | Error::EncoderChanged { .. }
            | Error::Unusable(_)
            | Error::Pretrained(_)),
        )) => (None, Some(error)),
        Some(Err(error)) => return Err(error.into()),
        None => (None, None),
    };
    let model = encoder.as_ref().and_then(|encoder| encoder.autoencoder());
    let config = model.map(|model| model.config().clone());
    let pretrained = match &encoder {
        Some(encoder) => match encoder.adapted() {
            Some(adapted) => Some(adapted.pair().pretrained().name()),
            None => model.is_none().then(|| encoder.name()),
        },
        None => None,
    };
    let adapted = adaptation_of(&*gallery)?.as_ref().map(AdaptedReport::of);
    for line in [
        format!("gallery      {}", info.name),
        format!("points       {} ({})", info.points, search_of(&info)),
        format!("codes        {} floats, metric {}", info.dims, info.metric),
        format!("model        {}", info.model_fingerprint),
        format!("diffusion    {:?}", info.diffusion).to_lowercase(),
    ] {
        console.say(line)?;
    }
    let embedded = gallery.as_embedded();
    let bytes_on_disk = embedded.map(|gallery| disk_usage(gallery.path()));
    if let Some(bytes) = bytes_on_disk {
        console.say(format!("on disk      {:.1} MB", bytes as f64 / 1e6))?;
    }
    let tiles = tiles_of(&*gallery)?;
    if let Some(tiles) = &tiles {
        console.say(tiles_line(tiles))?;
    }
    if let Some(name) = &pretrained {
        console.say(format!("encoder      {name}"))?;
    }
    let runtime = encoder.as_ref().and_then(|encoder| encoder.runtime());
    if let Some(runtime) = &runtime {
        console.say(format!("runs on      {runtime}"))?;
    }
    for line in adapted.iter().flat_map(AdaptedReport::lines) {
        console.say(line)?;
    }
    if let Some(error) = lost {
        console.note(without_naming(&error.to_string()));
    }
    let sources = sources_in(&*gallery)?;
    for known in sources.iter().take(LISTED) {
        console.say(format!(
            "source       {} ({} images)",
            known.source, known.images
        ))?;
    }
    if sources.len() > LISTED {
        let more = sources.len() - LISTED;
        console.say(format!(
            "             and {more} more: `lookalike gallery sources` lists all"
        ))?;
    }
    let labels = gallery.facets("label", None, LISTED + 1)?;
    let named: Vec<String> = labels
        .iter()
        .take(LISTED)
        .map(|label| {
            let name = label
                .value
                .as_str()
                .map_or_else(|| label.value.to_string(), str::to_owned);
            format!("{name} ({})", label.count)
        })
        .collect();
    if !named.is_empty() {
        let more = if labels.len() > LISTED {
            ", and more"
        } else {
            ""
        };
        console.say(format!("labels       {}{more}", named.join(", ")))?;
    }
    let cluster = cluster_info(&*gallery)?;
    if let Some(cluster) = &cluster {
        let place = |on_disk| if on_disk { "on disk" } else { "in memory" };
        let alias = cluster.alias.as_ref();
        let of = alias.map_or(String::new(), |alias| format!(", behind the alias {alias}"));
        let inactive = match cluster.inactive_replicas {
            0 => String::new(),
            n => format!(", {n} of them not active"),
        };
        for line in [
            format!(
                "collection   {}{of}, {}",
                cluster.collection, cluster.status
            ),
            format!(
                "shards       {} in {} segments on {} nodes, {} replicas each{inactive}, writes wait for {}",
                cluster.shards,
                cluster.segments,
                cluster.nodes,
                cluster.replicas,
                cluster.write_consistency
            ),
            format!(
                "index        HNSW {}, m {}, ef_construct {}; codes {}, quantisation {}",
                place(cluster.index_on_disk),
                cluster.hnsw_m,
                cluster.hnsw_ef_construct,
                place(cluster.codes_on_disk),
                cluster.quantization
            ),
            format!("fields       {}", cluster.payload_indexes.join(", ")),
        ] {
            console.say(line)?;
        }
    }
    if let Some(config) = &config {
        console.say(format!(
            "network      {}, {}",
            config.architecture, config.objective
        ))?;
    }
    console.json(&GalleryReport {
        bytes_on_disk,
        sources,
        info,
        tiles,
        cluster,
        model: config,
        pretrained,
        runtime,
        adapted,
    })
}

//! `lookalike eval`.

use std::time::Instant;

use lookalike::autoencoder::{Autoencoder, DeviceChoice};
use lookalike::eval::{Baselines, Scores};
use lookalike::gallery::Rerank;
use lookalike::images::Collection;
use lookalike::neighbours::{DiffusionConfig, Metric};
use lookalike::{Error, assess, assess_baselines, default_metric};
use serde::Serialize;

use super::Failure;
use super::arguments::EvalArguments;
use super::console::{Console, table};

/// What `eval --json` prints.
#[derive(Serialize)]
struct EvalReport {
    #[serde(flatten)]
    scores: Scores,
    metric: Metric,
    rerank: Rerank,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    baselines: Option<Baselines>,
}

pub fn run(
    arguments: EvalArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<(), Failure> {
    let model = Autoencoder::load(&arguments.model, device)?;
    let skips = arguments.reading.skips()?;
    let load = |source: &str| -> Result<Collection, Error> {
        let source = arguments.reading.open(source, 0, &skips)?;
        let source = source.fitted(model.shape(), model.fit());
        Ok(Collection::load(
            &source,
            Some(model.shape()),
            arguments.limit,
        )?)
    };
    let collection = load(&arguments.source)?;
    let queries = match &arguments.queries {
        Some(source) => Some(load(source)?),
        None => None,
    };
    let queries = queries.as_ref();
    let metric = arguments.metric.unwrap_or_else(|| default_metric(&model));
    let rerank = Rerank::from(arguments.rerank);
    let diffusion = (rerank == Rerank::Diffusion).then(DiffusionConfig::default);
    let start = Instant::now();
    let scores = assess(&model, &collection, queries, metric, diffusion)?;
    let seconds = start.elapsed().as_secs_f64();
    let baselines = match arguments.no_baselines {
        true => None,
        false => Some(assess_baselines(&collection, queries)?),
    };
    let report = EvalReport {
        scores,
        metric,
        rerank,
        seconds,
        baselines,
    };
    print(&report, console)?;
    console.json(&report)?;
    arguments.reading.conclude(&skips, console)
}

fn print(report: &EvalReport, console: &Console) -> Result<(), Failure> {
    let s = &report.scores;
    console.say(format!(
        "{} queries against {} images; an answer is right when its label is the query's",
        s.queries, s.images
    ))?;
    let rerank = match report.rerank {
        Rerank::Diffusion => " + diffusion",
        Rerank::None => "",
    };
    let mut rows = vec![heading()];
    if let Some(b) = &report.baselines {
        rows.push(row("pixels, euclidean", &b.pixels_euclidean));
        rows.push(row("pixels, cosine", &b.pixels_cosine));
        rows.push(row("PCA, cosine", &b.pca_64));
    }
    rows.push(row(&format!("model, {}{rerank}", report.metric), s));
    for line in table(&rows) {
        console.say(line)?;
    }
    Ok(())
}

/// Names of the columns that [`row`] fills.
pub fn heading() -> Vec<String> {
    ["", "dims", "P@1", "P@5", "all-5", "mAP"]
        .map(str::to_owned)
        .to_vec()
}

/// One line of scores.
pub fn row(name: &str, scores: &Scores) -> Vec<String> {
    vec![
        name.to_owned(),
        scores.dims.to_string(),
        format!("{:.4}", scores.precision_at_1),
        format!("{:.4}", scores.precision_at_5),
        format!("{:.4}", scores.all_5),
        format!("{:.4}", scores.map),
    ]
}

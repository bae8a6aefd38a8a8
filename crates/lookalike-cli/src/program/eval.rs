//! `lookalike eval`.

mod encoders;

use std::path::PathBuf;
use std::time::Instant;

use lookalike::autoencoder::{Autoencoder, Comparison, DeviceChoice};
use lookalike::eval::{Scores, SelfScores};
use lookalike::gallery::Rerank;
use lookalike::images::Collection;
use lookalike::neighbours::{DiffusionConfig, Metric};
use lookalike::{
    AssessOptions, Encoder, Error, SelfAssessment, SimpleScores, assess, assess_self,
    assess_simple, compare,
};
use serde::Serialize;

use super::arguments::EvalArguments;
use super::console::{Console, table};
use super::encoders::Named;
use super::search::diffusion_note;
use super::train::comparison_line;
use super::{Failure, refuse_twice};

/// What `eval --json` prints.
#[derive(Serialize)]
struct EvalReport {
    /// Absent where images have no labels.
    #[serde(flatten)]
    scores: Option<Scores>,
    metric: Metric,
    rerank: Rerank,
    /// Time to encode the images and to score the answers by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baselines: Option<SimpleScores>,
    /// Absent where there is but one image.
    #[serde(skip_serializing_if = "Option::is_none")]
    self_retrieval: Option<SelfAssessment>,
    /// Beside simple descriptors, judged without labels; absent for very few images.
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Comparison>,
}

pub fn run(
    arguments: EvalArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<(), Failure> {
    let source = PathBuf::from(&arguments.source);
    let queries = arguments.queries.as_ref().map(PathBuf::from);
    refuse_twice(
        &[arguments.reading.report()],
        &[
            Some(&source),
            queries.as_ref(),
            arguments.model.as_ref(),
            arguments.encoder.as_ref(),
        ],
    )?;
    let options = arguments.pretrained.options();
    let found = Named::of(&arguments.model, &arguments.encoder)?;
    if let Some(pair) = found.pair(options, device)? {
        return encoders::run(&arguments, pair, console);
    }
    let (Some(path), None) = (&found.model, arguments.reduce) else {
        return Err(Error::Unusable(
            "--reduce shortens the codes of a pretrained encoder: name one with --encoder"
                .to_owned(),
        )
        .into());
    };
    let model = &Autoencoder::load(path, device)?;
    let skips = arguments.reading.skips()?;
    let load = |source: &str| -> Result<Collection, Error> {
        let source = arguments.reading.open_for_model(source, model, &skips)?;
        let source = source.fitted(model.shape(), model.fit());
        source.load(Some(model.shape()), arguments.limit)
    };
    let collection = load(&arguments.source)?;
    let queries = match &arguments.queries {
        Some(source) => Some(load(source)?),
        None => None,
    };
    let queries = queries.as_ref();
    let metric = arguments.metric.unwrap_or_else(|| model.default_metric());
    let rerank = Rerank::from(arguments.rerank);
    if rerank == Rerank::Diffusion {
        diffusion_note(model, console);
    }
    let mut report = EvalReport {
        scores: None,
        metric,
        rerank,
        seconds: None,
        baselines: None,
        self_retrieval: None,
        comparison: None,
    };
    // Queries are asked for to be scored by label: then labels must be there.
    if collection.is_labelled() || queries.is_some() {
        let scoring = AssessOptions {
            metric,
            rerank: (rerank == Rerank::Diffusion).then(DiffusionConfig::default),
        };
        let start = Instant::now();
        report.scores = Some(assess(model, &collection, queries, &scoring)?);
        report.seconds = Some(start.elapsed().as_secs_f64());
        if !arguments.no_baselines {
            report.baselines = Some(assess_simple(&collection, queries)?);
        }
    }
    if collection.len() > 1 || report.scores.is_none() {
        let with_baselines = !arguments.no_baselines;
        report.self_retrieval = Some(assess_self(model, &collection, metric, with_baselines)?);
    }
    if !arguments.no_baselines {
        report.comparison = compare(model, &collection)?;
    }
    print(&report, console)?;
    console.json(&report)?;
    arguments.reading.conclude(&skips, console)
}

fn print(report: &EvalReport, console: &Console) -> Result<(), Failure> {
    let model = format!("model, {}", report.metric);
    if let Some(s) = &report.scores {
        let rerank = say_asked(s, report.rerank, console)?;
        let mut rows = vec![heading()];
        if let Some(b) = &report.baselines {
            let named = b.named();
            rows.extend(named.iter().map(|(name, scores)| row(name, scores)));
        }
        rows.push(row(&format!("{model}{rerank}"), s));
        for line in table(&rows) {
            console.say(line)?;
        }
        if let Some(line) = report.baselines.and_then(|b| lost(s, &b)) {
            console.say(line)?;
        }
    }
    let Some(s) = &report.self_retrieval else {
        return Ok(());
    };
    console.say_lines(format!(
        "{}{} distorted copies, each looking for its original among {} images",
        if report.scores.is_some() {
            "\n"
        } else {
            "no labels: "
        },
        s.model.queries,
        s.model.images
    ))?;
    let mut rows = vec![
        ["", "dims", "recall@1", "recall@5", "MRR"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(
        s.pixels_cosine
            .iter()
            .map(|s| self_row("pixels, cosine", s)),
    );
    rows.extend(
        s.histogram
            .iter()
            .map(|s| self_row("colour histogram, cosine", s)),
    );
    rows.push(self_row(&model, &s.model));
    for line in table(&rows) {
        console.say(line)?;
    }
    if let Some(comparison) = &report.comparison {
        console.say(comparison_line(comparison))?;
    }
    Ok(())
}

/// Says what was asked, and gives what re-ranking adds to the names of codes.
fn say_asked(scores: &Scores, rerank: Rerank, console: &Console) -> Result<&'static str, Failure> {
    console.say(format!(
        "{} queries against {} images; an answer is right when its label is the query's",
        scores.queries, scores.images
    ))?;
    Ok(match rerank {
        Rerank::Diffusion => " + diffusion",
        Rerank::None => "",
    })
}

/// A line for a model that is worse than a simple descriptor.
fn lost(model: &Scores, simple: &SimpleScores) -> Option<String> {
    let (name, best) = simple.best();
    (model.precision_at_5 < best.precision_at_5).then(|| {
        format!(
            "the model is worse than a simple descriptor here: P@5 {:.4}, but {:.4} by {name:?}",
            model.precision_at_5, best.precision_at_5
        )
    })
}

fn self_row(name: &str, scores: &SelfScores) -> Vec<String> {
    let shares = [scores.recall_at_1, scores.recall_at_5, scores.mrr];
    let mut row = vec![name.to_owned(), scores.dims.to_string()];
    row.extend(shares.map(|share| format!("{share:.4}")));
    row
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_model_that_loses_is_told_so() {
        let scores = |precision_at_5: f64| Scores {
            images: 9,
            queries: 9,
            dims: 4,
            precision_at_1: 0.5,
            precision_at_5,
            all_5: 0.1,
            map: 0.2,
        };
        let simple = SimpleScores {
            pixels_euclidean: scores(0.3),
            pixels_cosine: scores(0.3),
            pixels_centred: scores(0.3),
            pca_64: scores(0.3),
            pca_64_half_whitened: scores(0.3),
            histogram: None,
            hog: scores(0.75),
            hog_128_half_whitened: scores(0.3),
        };
        assert_eq!(lost(&scores(0.75), &simple), None);
        let line = lost(&scores(0.7), &simple).unwrap();
        assert!(
            line.ends_with("P@5 0.7000, but 0.7500 by \"HOG, cosine\""),
            "{line}"
        );
    }
}

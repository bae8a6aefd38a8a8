//! Pretrained encoders, alone, reduced and joined with a model, beside each other.

use std::sync::Arc;
use std::time::Instant;

use lookalike::autoencoder::Judgement;
use lookalike::eval::Scores;
use lookalike::gallery::Rerank;
use lookalike::images::{Collection, Fit};
use lookalike::neighbours::{DiffusionConfig, Metric};
use lookalike::{
    Adaptation, AssessOptions, CodeKind, Contest, Encoded, Encoder, Error, ImageStream, Pair,
    SimpleScores, Skips, assess_codes, assess_simple,
};
use serde::Serialize;

use super::super::Failure;
use super::super::arguments::EvalArguments;
use super::super::console::{Console, table};
use super::{heading, row, say_asked};

/// What `eval --encoder --json` prints.
#[derive(Serialize)]
struct EncodersReport {
    /// Of the last of the encoders, which is what would be indexed; absent without labels.
    #[serde(flatten)]
    scores: Option<Scores>,
    metric: Metric,
    rerank: Rerank,
    /// Time to score the answers by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    encoders: Vec<EncoderScores>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baselines: Option<SimpleScores>,
    /// Judged without labels, where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    contest: Option<Contest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Serialize)]
struct EncoderScores {
    encoder: CodeKind,
    dims: usize,
    metric: Metric,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<Scores>,
}

/// Precisions at 5 that are less apart say nothing.
const MIN_DIFFERENCE: f64 = 0.005;

/// Scores the pretrained encoder and, if there is one, the model, by labels or, where there are
/// none, by the label-free judge. Pictures are too large for the pretrained encoder for all of them
/// to be held in memory, so they are encoded as they are read.
pub fn run(arguments: &EvalArguments, pair: Pair, console: &Console) -> Result<(), Failure> {
    let skips = arguments.reading.skips()?;
    let open = |source: &str, skips: &Arc<Skips>| arguments.reading.open(source, 0, skips);
    let stream = open(&arguments.source, &skips)?;
    // Queries and baselines are read as the images are.
    let range = match pair.grey_range() {
        None => stream.suitable_grey_range()?,
        known => known,
    };
    let (shape, fit) = match pair.model() {
        Some(model) => (model.shape(), model.fit()),
        None => (stream.suitable_shape()?, Fit::Stretch),
    };
    let encode = |source: &str| -> Result<Encoded, Error> {
        let stream = open(source, &skips)?.with_grey_range(range);
        stream.encode(&pair, arguments.limit)
    };
    // What cannot be read is told once.
    let unheard = Arc::<Skips>::default();
    let read = |source: &str| -> Result<ImageStream, Error> {
        Ok(open(source, &unheard)?.with_grey_range(range))
    };
    let load = |source: &str| -> Result<Collection, Error> {
        let stream = read(source)?.fitted(shape, fit);
        stream.load(Some(shape), arguments.limit)
    };
    let encoded = encode(&arguments.source)?;
    let queries = arguments.queries.as_deref().map(encode).transpose()?;
    let is_labelled = queries.is_some() || encoded.labels.iter().all(Option::is_some);
    let images = load(&arguments.source)?;
    let adapted = pair.adapt_by(&images, &encoded, arguments.reduce)?;
    let rerank = Rerank::from(arguments.rerank);
    let diffusion = (rerank == Rerank::Diffusion).then(DiffusionConfig::default);
    let start = Instant::now();
    let mut encoders = Vec::new();
    for kind in adapted.kinds() {
        let codes = adapted.codes_of(kind, &encoded);
        let metric = arguments.metric.unwrap_or_else(|| adapted.metric_of(kind));
        let queries = queries.as_ref().map(|all| adapted.codes_of(kind, all));
        let scoring = AssessOptions {
            metric,
            rerank: diffusion,
        };
        let scores = || assess_codes(&codes, queries.as_ref(), &scoring);
        encoders.push(EncoderScores {
            encoder: kind,
            dims: codes.dims,
            metric,
            scores: is_labelled.then(scores).transpose()?,
        });
    }
    let seconds = is_labelled.then(|| start.elapsed().as_secs_f64());
    let baselines = match is_labelled && !arguments.no_baselines {
        true => {
            let queries = arguments.queries.as_deref().map(load).transpose()?;
            Some(assess_simple(&images, queries.as_ref())?)
        }
        false => None,
    };
    let contest = match is_labelled {
        true => None,
        false => adapted.judge(&read(&arguments.source)?, &images, &encoded)?,
    };
    let last = encoders.last().expect("there is a pretrained encoder");
    let report = EncodersReport {
        scores: last.scores,
        metric: last.metric,
        rerank,
        seconds,
        advice: advice(&encoders),
        encoders,
        baselines,
        contest,
    };
    print(&report, adapted.adaptation(), console)?;
    console.json(&report)?;
    arguments.reading.conclude(&skips, console)
}

/// What to index with, where labels say that the codes to be had are not the best.
fn advice(encoders: &[EncoderScores]) -> Option<String> {
    let (last, others) = encoders.split_last()?;
    let precision = |one: &EncoderScores| one.scores.map(|scores| scores.precision_at_5);
    let own = precision(last)?;
    let best = others
        .iter()
        .filter_map(|one| Some((one.encoder, precision(one)?)))
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    (best.1 >= own + MIN_DIFFERENCE).then(|| {
        let how = match best.0 {
            CodeKind::Model => "index with the model alone",
            CodeKind::Encoder => "index with the encoder alone, without --reduce",
            CodeKind::Reduced => "index with the encoder alone, reduced",
            CodeKind::Both => "index with both",
        };
        format!(
            "better here by P@5 ({:.4} instead of {own:.4}): {how}",
            best.1
        )
    })
}

fn print(
    report: &EncodersReport,
    adaptation: &Adaptation,
    console: &Console,
) -> Result<(), Failure> {
    if let Some(joined) = adaptation.joined() {
        console.say(format!(
            "joined with lengths {:.2} (model) and {:.2} (encoder), found on {} images",
            joined.model_length,
            joined.encoder_length,
            adaptation.images()
        ))?;
    }
    if let Some(s) = &report.scores {
        let rerank = say_asked(s, report.rerank, console)?;
        let mut rows = vec![heading()];
        if let Some(simple) = &report.baselines {
            let named = simple.named();
            rows.extend(named.iter().map(|(name, scores)| row(name, scores)));
        }
        for one in &report.encoders {
            let name = format!("{}, {}{rerank}", one.encoder.name(), one.metric);
            rows.extend(one.scores.iter().map(|scores| row(&name, scores)));
        }
        for line in table(&rows) {
            console.say(line)?;
        }
    } else if let Some(contest) = &report.contest {
        console.say(format!(
            "no labels: judged by what neighbours share with descriptions of {} images, and by distorted copies",
            contest.images
        ))?;
        let columns = ["", "structure", "shape", "colours", "copies", "judged"];
        let mut rows = vec![columns.map(str::to_owned).to_vec()];
        let simple = contest.simple.iter().map(|one| (one.name.as_str(), one));
        let kinds = report.encoders.iter().map(|one| one.encoder.name());
        let all = simple.chain(kinds.zip(&contest.encoders));
        rows.extend(all.map(|(name, judged)| judged_row(contest, name, judged)));
        for line in table(&rows) {
            console.say(line)?;
        }
        if report
            .encoders
            .iter()
            .any(|one| one.encoder == CodeKind::Model)
        {
            console.say(
                "the judge favours the model, which learned from such descriptions: only labels can tell whether the encoder is better",
            )?;
        }
    } else {
        console.say("no labels, and too few images to be judged without")?;
    }
    match &report.advice {
        Some(advice) => console.say(advice),
        None => Ok(()),
    }
}

fn judged_row(contest: &Contest, name: &str, judged: &Judgement) -> Vec<String> {
    let number = |value: f32| format!("{value:.3}");
    vec![
        name.to_owned(),
        number(judged.structure),
        number(judged.shape),
        judged.colours.map_or_else(|| "-".to_owned(), number),
        number(judged.copies),
        number(contest.score(judged)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(encoder: CodeKind, precision_at_5: f64) -> EncoderScores {
        EncoderScores {
            encoder,
            dims: 4,
            metric: Metric::Cosine,
            scores: Some(Scores {
                images: 9,
                queries: 9,
                dims: 4,
                precision_at_1: 0.5,
                precision_at_5,
                all_5: 0.1,
                map: 0.2,
            }),
        }
    }

    #[test]
    fn only_what_is_clearly_better_is_advised() {
        let advised = |model, encoder, both| {
            advice(&[
                scored(CodeKind::Model, model),
                scored(CodeKind::Encoder, encoder),
                scored(CodeKind::Both, both),
            ])
        };
        assert_eq!(advised(0.8, 0.7, 0.799), None);
        let line = advised(0.8, 0.7, 0.75).unwrap();
        assert!(
            line.contains("0.8000") && line.ends_with("model alone"),
            "{line}"
        );
        assert_eq!(advice(&[scored(CodeKind::Encoder, 0.1)]), None);
    }
}

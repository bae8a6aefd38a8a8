//! The codes that an adapted encoder and its parts make of a picture, beside each other.

use lookalike_neighbours::Metric;
use serde::Serialize;

use super::AdaptedEncoder;
use crate::{Encoded, Encoder};

/// A kind of code that can be made of what a [`Pair`](super::Pair) sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CodeKind {
    /// The model's.
    Model,
    /// The pretrained encoder's, as they are.
    Encoder,
    /// The pretrained encoder's, reduced.
    Reduced,
    /// Those of both, joined.
    Both,
}

impl CodeKind {
    /// What it is called where programs read it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Encoder => "encoder",
            Self::Reduced => "reduced",
            Self::Both => "both",
        }
    }

    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Encoder => "encoder",
            Self::Reduced => "encoder, reduced",
            Self::Both => "both",
        }
    }
}

impl AdaptedEncoder {
    /// All kinds that there are; the last is the encoder's own.
    pub fn kinds(&self) -> Vec<CodeKind> {
        let has_model = self.pair.model().is_some();
        [
            has_model.then_some(CodeKind::Model),
            Some(CodeKind::Encoder),
            self.adaptation.reduced().map(|_| CodeKind::Reduced),
            has_model.then_some(CodeKind::Both),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The metric that suits codes of a kind.
    pub fn metric_of(&self, kind: CodeKind) -> Metric {
        match (kind, self.pair.model()) {
            (CodeKind::Model, Some(model)) => model.default_metric(),
            (CodeKind::Encoder, _) => self.pair.pretrained().default_metric(),
            _ => Metric::Cosine,
        }
    }

    /// Codes of a kind, made of those that the pair gives.
    pub fn codes_of(&self, kind: CodeKind, pair: &Encoded) -> Encoded {
        let (model, encoder) = self.pair.split(pair);
        match kind {
            CodeKind::Model => model.unwrap_or_default(),
            CodeKind::Encoder => encoder,
            CodeKind::Reduced => Encoded {
                codes: self.adaptation.projection.project(&encoder.codes),
                dims: self.encoder_dims(),
                ..encoder
            },
            CodeKind::Both => Encoded {
                codes: self.combine(&pair.codes),
                dims: self.code_dim(),
                ..encoder
            },
        }
    }
}

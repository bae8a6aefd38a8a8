//! Vectors: how they are sent, stored and compared.

use std::collections::BTreeMap;

use qdrant_client::qdrant::vector::Vector as AnyVector;
use qdrant_client::qdrant::vectors::VectorsOptions;
use qdrant_client::qdrant::vectors_output::VectorsOptions as OutputOptions;
use qdrant_client::qdrant::{
    Datatype, DenseVector, Distance, NamedVectorsOutput, Vector, VectorOutput, VectorParams,
    Vectors, VectorsOutput, vector_output,
};
use tonic::Status;

use super::error;

/// What Qdrant calls the vector of points that have only one, without a name.
pub(super) const UNNAMED: &str = "";
/// Most dimensions.
const DIMS: u64 = 65536;
/// Squared lengths this near to 1 are left alone when vectors are normalised.
const NORMALISED: f32 = 1e-6;

/// Where the vectors of one name live.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    dims: usize,
    distance: Distance,
}

impl Space {
    pub fn read(params: &VectorParams) -> Result<Self, Status> {
        if params.size == 0 || params.size > DIMS {
            return Err(error::invalid(
                "vectors_config.size",
                format_args!("value {} invalid, must be from 1 to {DIMS}", params.size),
            ));
        }
        if params.multivector_config.is_some() {
            return Err(error::unsupported("vectors of several vectors"));
        }
        let plain = [Datatype::Default, Datatype::Float32].map(i32::from);
        if params.datatype.is_some_and(|kind| !plain.contains(&kind)) {
            return Err(error::unsupported("numbers but f32 in vectors"));
        }
        let distance = Distance::try_from(params.distance).map_err(|_| {
            Status::invalid_argument(format!(
                "Malformed distance parameter, unexpected value: {}",
                params.distance
            ))
        })?;
        if distance == Distance::UnknownDistance {
            return Err(Status::invalid_argument(
                "Malformed distance parameter: UnknownDistance",
            ));
        }
        Ok(Self {
            dims: usize::try_from(params.size).expect("there are at most 65536"),
            distance,
        })
    }

    pub fn check(self, vector: &[f32]) -> Result<(), Status> {
        if vector.len() == self.dims {
            Ok(())
        } else {
            Err(error::wrong_dimension(self.dims, vector.len()))
        }
    }

    /// As Qdrant stores it: with cosine, of length 1.
    pub fn stored(self, mut vector: Vec<f32>) -> Vec<f32> {
        if self.distance == Distance::Cosine {
            let squared: f32 = vector.iter().map(|x| x * x).sum();
            if squared >= f32::EPSILON && (squared - 1.0).abs() > NORMALISED {
                let length = squared.sqrt();
                for x in &mut vector {
                    *x /= length;
                }
            }
        }
        vector
    }

    /// Larger is nearer, whatever the metric; of stored vectors.
    pub fn similarity(self, a: &[f32], b: &[f32]) -> f32 {
        let pairs = a.iter().zip(b);
        match self.distance {
            Distance::Euclid => -pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f32>(),
            Distance::Manhattan => -pairs.map(|(a, b)| (a - b).abs()).sum::<f32>(),
            _ => pairs.map(|(a, b)| a * b).sum(),
        }
    }

    /// The score of a point in an answer, from its similarity to what was asked for.
    pub fn score(self, similarity: f32) -> f32 {
        match self.distance {
            Distance::Euclid => similarity.abs().sqrt(),
            Distance::Manhattan => similarity.abs(),
            _ => similarity,
        }
    }

    /// Whether a score is strictly better than a threshold.
    pub fn passes(self, score: f32, threshold: f32) -> bool {
        match self.distance {
            Distance::Euclid | Distance::Manhattan => score < threshold,
            _ => score > threshold,
        }
    }
}

/// The vectors of a point as sent, by name.
pub(super) fn read(vectors: Option<Vectors>) -> Result<BTreeMap<String, Vec<f32>>, Status> {
    let vectors = vectors.ok_or_else(|| Status::invalid_argument("Expected some vectors"))?;
    match vectors.vectors_options {
        None => Err(Status::invalid_argument("No Vector Provided")),
        Some(VectorsOptions::Vector(vector)) => {
            Ok(BTreeMap::from([(UNNAMED.to_owned(), dense(vector)?)]))
        }
        Some(VectorsOptions::Vectors(named)) => named
            .vectors
            .into_iter()
            .map(|(name, vector)| Ok((name, dense(vector)?)))
            .collect(),
    }
}

#[expect(deprecated, reason = "older clients send vectors in these fields")]
fn dense(vector: Vector) -> Result<Vec<f32>, Status> {
    match vector.vector {
        Some(AnyVector::Dense(dense)) => Ok(dense.data),
        None if vector.indices.is_none() && vector.vectors_count.is_none() => Ok(vector.data),
        _ => Err(error::unsupported("vectors that are not dense")),
    }
}

/// The vectors of a point for an answer.
pub(super) fn write<'a>(
    vectors: impl Iterator<Item = (&'a String, &'a Vec<f32>)>,
    unnamed: bool,
) -> VectorsOutput {
    let mut vectors = vectors.map(|(name, vector)| (name.clone(), output(vector.clone())));
    let options = if unnamed {
        vectors
            .next()
            .map(|(_, vector)| OutputOptions::Vector(vector))
    } else {
        Some(OutputOptions::Vectors(NamedVectorsOutput {
            vectors: vectors.collect(),
        }))
    };
    VectorsOutput {
        vectors_options: options,
    }
}

fn output(data: Vec<f32>) -> VectorOutput {
    VectorOutput {
        vector: Some(vector_output::Vector::Dense(DenseVector { data })),
        ..VectorOutput::default()
    }
}

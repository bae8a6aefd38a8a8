//! What a collection on a cluster is made for, the same for every command that may make one.

use clap::Args;
use clap::ValueEnum;
use lookalike::gallery::{CollectionLayout, PayloadIndex, Quantization};

#[derive(Args)]
#[command(next_help_heading = "Making a collection on a cluster")]
pub struct ClusterOptions {
    /// Number of shards [default: one a node]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    shards: Option<u32>,
    /// Copies of each shard [default: 2 if the address names several nodes, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    replicas: Option<u32>,
    /// Copies that must have a change before it counts as made, of those that are alive [default:
    /// all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    write_consistency: Option<u32>,
    /// Keep the codes that are searched on disk instead of in memory
    #[arg(long)]
    codes_on_disk: bool,
    /// Keep the index on disk instead of in memory
    #[arg(long)]
    index_on_disk: bool,
    /// Edges a node of the index [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=512))]
    hnsw_m: Option<u32>,
    /// Width of the beam while the index is built [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..=10_000))]
    hnsw_ef_construct: Option<u32>,
    /// Search with smaller codes in memory, and rank what is found by the codes as they are
    #[arg(long, value_name = "KIND", default_value = "none")]
    quantize: QuantizeArgument,
    /// Index an extra field that --where uses, as year=number or city=keyword; repeatable
    #[arg(long = "payload-index", value_name = "FIELD=KIND")]
    payload_indexes: Vec<PayloadIndex>,
}

#[derive(Clone, Copy, ValueEnum)]
enum QuantizeArgument {
    /// The codes as they are
    None,
    /// A byte a number
    Scalar,
    /// A bit a number, for long codes
    Binary,
    /// A byte for each four numbers
    Product,
}

impl ClusterOptions {
    /// What was typed, as the library understands it.
    pub fn layout(&self) -> CollectionLayout {
        CollectionLayout {
            shards: self.shards,
            replicas: self.replicas,
            write_consistency: self.write_consistency,
            codes_on_disk: self.codes_on_disk,
            index_on_disk: self.index_on_disk,
            hnsw_m: self.hnsw_m,
            hnsw_ef_construct: self.hnsw_ef_construct,
            quantization: match self.quantize {
                QuantizeArgument::None => Quantization::None,
                QuantizeArgument::Scalar => Quantization::Scalar,
                QuantizeArgument::Binary => Quantization::Binary,
                QuantizeArgument::Product => Quantization::Product,
            },
            payload_indexes: self.payload_indexes.clone(),
        }
    }
}

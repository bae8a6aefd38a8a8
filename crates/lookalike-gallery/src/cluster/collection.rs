//! The collection: how it is made, what it says about itself, and its aliases.
//!
//! Some settings are deprecated in the newest protocol for names that servers of last year do not
//! know yet: the old names are understood by both.
#![allow(deprecated)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lookalike_neighbours::Metric;
use qdrant_client::qdrant::payload_index_params::IndexParams;
use qdrant_client::qdrant::quantization_config::Quantization as Quantizer;
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::{
    BinaryQuantization, CollectionClusterInfoRequest, CollectionInfo, CollectionStatus,
    CompressionRatio, CreateAlias, CreateCollection, CreateFieldIndexCollection, Distance,
    FieldType, FloatIndexParams, GetCollectionInfoRequest, HnswConfigDiff, KeywordIndexParams,
    PayloadIndexParams, ProductQuantization, QuantizationConfig, QuantizationType,
    ScalarQuantization, UpdateCollection, Value, VectorParams, VectorParamsMap, VectorsConfig,
};
use tonic::Code;

use super::connection::Connection;
use crate::filter::Field;
use crate::manifest::{DIMS, FORMAT, Manifest};
use crate::{ClusterAddress, ClusterInfo, CollectionLayout, GalleryError, IndexKind, Quantization};

/// The vector that is searched.
pub(super) const CODE: &str = "code";
/// For the cosine metric the engine keeps `CODE` normalised; the code as it was given is kept
/// beside it, on disk and without an index.
pub(super) const RAW: &str = "raw";
/// Where in a collection's metadata it says what it is.
const METADATA: &str = "lookalike";
/// Where in a collection's metadata it says how its images are read.
const RULES: &str = "lookalike-reading";
/// Where in it the number is of the request that made it.
const NUMBER: &str = "number";
/// The first version whose collections have metadata.
const OLDEST: (u64, u64) = (1, 16);
/// Edges per node, and width of the beam while building (HNSW, Malkov and Yashunin 2018), as in a
/// folder.
const HNSW_M: u32 = 16;
const HNSW_EF_CONSTRUCT: u32 = 100;
/// How long a collection that another worker makes is waited for.
const MAKING: Duration = Duration::from_secs(30);

/// Speaks of one collection.
pub(super) struct Collection<'a> {
    pub(super) connection: &'a Connection,
    /// As it was asked for.
    pub(super) address: &'a ClusterAddress,
}

impl Collection<'_> {
    fn path(&self) -> PathBuf {
        PathBuf::from(self.address.to_string())
    }

    /// Refuses servers that are too old.
    pub(super) fn check_version(&self) -> Result<(), GalleryError> {
        let health = self
            .connection
            .read("asking for its version", |client| async move {
                client.health_check().await
            })?;
        let mut parts = health.version.split(['.', '-', '+']).map(str::parse::<u64>);
        // One that names no version is not taken for an old one.
        let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
            return Ok(());
        };
        match (major, minor) >= OLDEST {
            true => Ok(()),
            false => Err(GalleryError::NotOnCluster {
                name: self.address.to_string(),
                detail: format!(
                    "its Qdrant has version {}, and collections can say what they are from {}.{} on: bring it up to date",
                    health.version, OLDEST.0, OLDEST.1
                ),
            }),
        }
    }

    /// The collection that the name is an alias of, if it is one.
    pub(super) fn behind_alias(&self) -> Result<Option<String>, GalleryError> {
        let aliases = self
            .connection
            .read("looking up aliases", |client| async move {
                client.list_aliases().await
            })?;
        let mut aliases = aliases.aliases.into_iter();
        Ok(aliases
            .find(|alias| alias.alias_name == self.address.name())
            .map(|alias| alias.collection_name))
    }

    /// What it says about itself.
    pub(super) fn present(&self) -> Result<CollectionInfo, GalleryError> {
        let name = self.address.name().to_owned();
        let not_found = || GalleryError::NotFound { path: self.path() };
        let info = self
            .connection
            .ask(self.connection.options.reading, move |client| {
                let collection_name = name.clone();
                async move {
                    let request = GetCollectionInfoRequest { collection_name };
                    client.collection_info(request).await
                }
            });
        match info {
            Ok(info) => info.result.ok_or_else(not_found),
            Err(failure) if failure.code == Code::NotFound => Err(not_found()),
            Err(failure) => Err(self.connection.failed("looking at the collection", failure)),
        }
    }

    /// What gallery it is.
    pub(super) fn manifest(&self, info: &CollectionInfo) -> Result<Manifest, GalleryError> {
        let not_a_gallery = |reason: String| GalleryError::NotAGallery {
            path: self.path(),
            reason,
        };
        let config = info.config.clone().unwrap_or_default();
        let Some(metadata) = config.metadata.get(METADATA).cloned() else {
            return Err(not_a_gallery(
                "it is a collection that lookalike did not make: its metadata says nothing of it"
                    .into(),
            ));
        };
        let metadata = serde_json::Value::from(metadata);
        match metadata["format"].as_u64() {
            Some(FORMAT) => {}
            Some(found) => {
                return Err(GalleryError::Version {
                    path: self.path(),
                    found,
                    supported: FORMAT,
                });
            }
            None => return Err(not_a_gallery("its metadata has no format".into())),
        }
        let manifest: Manifest = serde_json::from_value(metadata)
            .map_err(|error| not_a_gallery(format!("its metadata cannot be read: {error}")))?;
        let vectors = vectors(&config.params.unwrap_or_default().vectors_config);
        let expected = named_vectors(&manifest, &CollectionLayout::default());
        let shape = |vectors: &HashMap<String, VectorParams>| {
            let mut shape: Vec<_> = vectors
                .iter()
                .map(|(name, params)| (name.clone(), params.size, params.distance))
                .collect();
            shape.sort();
            shape
        };
        if !DIMS.contains(&manifest.dims) || shape(&vectors) != shape(&expected) {
            let describe = |vectors: &HashMap<String, VectorParams>| {
                let mut all: Vec<_> = vectors
                    .iter()
                    .map(|(name, v)| {
                        format!("{name} of {} by {}", v.size, v.distance().as_str_name())
                    })
                    .collect();
                all.sort();
                all.join(", ")
            };
            return Err(not_a_gallery(format!(
                "its vectors ({}) are not those that its metadata asks for ({})",
                describe(&vectors),
                describe(&expected)
            )));
        }
        Ok(manifest)
    }

    /// Makes it; says whether it did, and no other worker was quicker.
    pub(super) fn create(
        &self,
        manifest: &Manifest,
        layout: &CollectionLayout,
    ) -> Result<bool, GalleryError> {
        // An attempt whose answer was lost may have made it: that one is known by its number.
        let number = format!("{:016x}", rand::random::<u64>());
        let request = self.creation(manifest, layout, &number)?;
        let created = self
            .connection
            .ask(self.connection.options.writing, move |client| {
                let request = request.clone();
                async move { client.create_collection(request).await }
            });
        let Err(failure) = created else {
            return Ok(true);
        };
        if !self.exists()? {
            return Err(self.connection.failed("making the collection", failure));
        }
        Ok(number_of(&self.await_present()?).as_deref() == Some(number.as_str()))
    }

    /// Whether there is such a collection, if perhaps not yet ready.
    pub(super) fn exists(&self) -> Result<bool, GalleryError> {
        let name = self.address.name().to_owned();
        self.connection
            .read("looking for the collection", move |client| {
                let name = name.clone();
                async move { client.collection_exists(name).await }
            })
    }

    /// As [`present`](Self::present), of one that may be in the making: the node that is asked may
    /// not know it yet, and its shards may not answer yet.
    pub(super) fn await_present(&self) -> Result<CollectionInfo, GalleryError> {
        let began = Instant::now();
        loop {
            let found = self.present();
            let early = matches!(
                found,
                Err(GalleryError::NotFound { .. } | GalleryError::Unreachable { .. })
            );
            if !early || began.elapsed() > MAKING {
                return found;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn creation(
        &self,
        manifest: &Manifest,
        layout: &CollectionLayout,
        number: &str,
    ) -> Result<CreateCollection, GalleryError> {
        let several = self.address.nodes() > 1;
        let replicas = layout.replicas.unwrap_or(if several { 2 } else { 1 });
        let mut metadata = serde_json::to_value(manifest)
            .map_err(|error| GalleryError::BadRequest(error.to_string()))?;
        metadata[NUMBER] = number.into();
        Ok(CreateCollection {
            collection_name: self.address.name().to_owned(),
            shard_number: layout.shards,
            replication_factor: Some(replicas),
            // Of the copies that are alive, so that a node may be lost.
            write_consistency_factor: Some(layout.write_consistency.unwrap_or(replicas)),
            on_disk_payload: Some(true),
            hnsw_config: Some(HnswConfigDiff {
                m: Some(layout.hnsw_m.unwrap_or(HNSW_M).into()),
                ef_construct: Some(layout.hnsw_ef_construct.unwrap_or(HNSW_EF_CONSTRUCT).into()),
                on_disk: Some(layout.index_on_disk),
                ..HnswConfigDiff::default()
            }),
            vectors_config: Some(VectorsConfig {
                config: Some(Config::ParamsMap(VectorParamsMap {
                    map: named_vectors(manifest, layout),
                })),
            }),
            metadata: HashMap::from([(METADATA.to_owned(), Value::from(metadata))]),
            ..CreateCollection::default()
        })
    }

    /// Makes the indexes of fields that filters use; those that are there stay.
    pub(super) fn index_fields(
        &self,
        info: &CollectionInfo,
        layout: &CollectionLayout,
    ) -> Result<(), GalleryError> {
        let own = [
            (Field::Source, IndexKind::Keyword),
            (Field::Label, IndexKind::Keyword),
            (Field::Blake3, IndexKind::Keyword),
            (Field::Key, IndexKind::Keyword),
            (Field::Location, IndexKind::Keyword),
            (Field::Width, IndexKind::Number),
            (Field::Height, IndexKind::Number),
            (Field::Bytes, IndexKind::Number),
            (Field::Modified, IndexKind::Number),
        ];
        // Of a fact, also the extra field that counts before it.
        let extra = layout.payload_indexes.iter().flat_map(|index| {
            let fact = Some(Field::named(&index.field)).filter(|f| matches!(f, Field::Fact(_)));
            let extra = Field::Extra(index.field.clone());
            [Some(extra), fact]
                .into_iter()
                .flatten()
                .map(|field| (field, index.kind))
        });
        for (field, kind) in own.into_iter().chain(extra) {
            if info.payload_schema.contains_key(&field.path()) {
                continue;
            }
            let request = CreateFieldIndexCollection {
                collection_name: self.address.name().to_owned(),
                wait: Some(true),
                field_name: field.path(),
                field_type: Some(match kind {
                    IndexKind::Keyword => FieldType::Keyword.into(),
                    IndexKind::Number => FieldType::Float.into(),
                }),
                field_index_params: Some(PayloadIndexParams {
                    index_params: Some(index_params(&field, kind)),
                }),
                ..CreateFieldIndexCollection::default()
            };
            self.connection
                .write("indexing the payloads", move |client| {
                    let request = request.clone();
                    async move { client.create_field_index(request).await }
                })?;
        }
        Ok(())
    }

    /// How it is kept; `alias` is the name that it was opened by, if that is one.
    pub(super) fn describe(
        &self,
        info: &CollectionInfo,
        alias: Option<String>,
    ) -> Result<ClusterInfo, GalleryError> {
        let name = self.address.name().to_owned();
        let placed = self
            .connection
            .read("asking where the shards are", move |client| {
                let collection_name = name.clone();
                async move {
                    let request = CollectionClusterInfoRequest { collection_name };
                    client.collection_cluster_info(request).await
                }
            })?;
        let mut nodes: Vec<u64> = placed.remote_shards.iter().map(|s| s.peer_id).collect();
        nodes.push(placed.peer_id);
        nodes.sort_unstable();
        nodes.dedup();
        let states = placed.local_shards.iter().map(|shard| shard.state);
        let states = states.chain(placed.remote_shards.iter().map(|shard| shard.state));
        let active = qdrant_client::qdrant::ReplicaState::Active as i32;
        let config = info.config.clone().unwrap_or_default();
        let params = config.params.unwrap_or_default();
        let hnsw = config.hnsw_config.unwrap_or_default();
        let code = vectors(&params.vectors_config)
            .remove(CODE)
            .unwrap_or_default();
        let mut payload_indexes: Vec<_> = info.payload_schema.keys().cloned().collect();
        payload_indexes.sort();
        let status = info.status().as_str_name().to_lowercase();
        Ok(ClusterInfo {
            collection: self.address.name().to_owned(),
            alias,
            status,
            nodes: nodes.len(),
            shards: params.shard_number,
            replicas: params.replication_factor.unwrap_or(1),
            write_consistency: params.write_consistency_factor.unwrap_or(1),
            inactive_replicas: states.filter(|state| *state != active).count(),
            codes_on_disk: code.on_disk.unwrap_or(false),
            index_on_disk: hnsw.on_disk.unwrap_or(false),
            hnsw_m: hnsw.m.unwrap_or(0),
            hnsw_ef_construct: hnsw.ef_construct.unwrap_or(0),
            quantization: quantization_of(&code).to_owned(),
            segments: info.segments_count,
            payload_indexes,
        })
    }

    /// Keeps how its images are read.
    pub(super) fn keep_rules(&self, rules: &str) -> Result<(), GalleryError> {
        let request = UpdateCollection {
            collection_name: self.address.name().to_owned(),
            metadata: HashMap::from([(RULES.to_owned(), Value::from(rules))]),
            ..UpdateCollection::default()
        };
        self.connection
            .write("keeping how images are read", move |client| {
                let request = request.clone();
                async move { client.update_collection(request).await }
            })
            .map(drop)
    }

    /// Removes it, with all its points.
    pub(super) fn remove(&self) -> Result<(), GalleryError> {
        let name = self.address.name().to_owned();
        self.connection
            .write("removing the collection", move |client| {
                let name = name.clone();
                async move { client.delete_collection(name).await }
            })
            .map(drop)
    }

    /// Makes `alias` mean this collection, whatever it meant before, in one step.
    pub(super) fn take_alias(&self, alias: &str) -> Result<(), GalleryError> {
        let request = CreateAlias {
            collection_name: self.address.name().to_owned(),
            alias_name: alias.to_owned(),
        };
        self.connection
            .write("switching the alias", move |client| {
                let request = request.clone();
                async move { client.create_alias(request).await }
            })
            .map(drop)
    }
}

/// How a collection's images are read, if that is kept.
pub(super) fn rules_of(info: &CollectionInfo) -> Option<String> {
    let rules = info.config.as_ref()?.metadata.get(RULES)?;
    Some(rules.as_str()?.to_owned())
}

/// The number of the request that made a collection.
fn number_of(info: &CollectionInfo) -> Option<String> {
    let metadata = info.config.as_ref()?.metadata.get(METADATA)?.clone();
    let metadata = serde_json::Value::from(metadata);
    Some(metadata[NUMBER].as_str()?.to_owned())
}

/// Whether the index is built and the optimiser idle.
pub(super) fn is_at_rest(info: &CollectionInfo) -> bool {
    info.status() == CollectionStatus::Green
}

/// Whether codes are searched in a quantised form.
pub(super) fn is_quantised(info: &CollectionInfo) -> bool {
    let params = info.config.clone().unwrap_or_default().params;
    let code = vectors(&params.unwrap_or_default().vectors_config).remove(CODE);
    code.is_some_and(|code| quantization_of(&code) != "none")
}

fn quantization_of(code: &VectorParams) -> &'static str {
    match code
        .quantization_config
        .as_ref()
        .and_then(|q| q.quantization.as_ref())
    {
        None => "none",
        Some(Quantizer::Scalar(_)) => "scalar",
        Some(Quantizer::Binary(_)) => "binary",
        Some(Quantizer::Product(_)) => "product",
        Some(_) => "other",
    }
}

fn vectors(config: &Option<VectorsConfig>) -> HashMap<String, VectorParams> {
    match config.as_ref().and_then(|config| config.config.as_ref()) {
        Some(Config::ParamsMap(map)) => map.map.clone(),
        // A single vector has no name.
        Some(Config::Params(params)) => HashMap::from([(String::new(), *params)]),
        None => HashMap::new(),
    }
}

/// The vectors of a gallery's points.
fn named_vectors(manifest: &Manifest, layout: &CollectionLayout) -> HashMap<String, VectorParams> {
    let distance = match manifest.metric {
        Metric::Cosine => Distance::Cosine,
        Metric::Euclidean => Distance::Euclid,
        Metric::Dot => Distance::Dot,
        Metric::Manhattan => Distance::Manhattan,
    };
    let code = VectorParams {
        size: manifest.dims as u64,
        distance: distance.into(),
        on_disk: Some(layout.codes_on_disk),
        quantization_config: quantizer(layout.quantization).map(QuantizationConfig::from),
        ..VectorParams::default()
    };
    let mut vectors = HashMap::from([(CODE.to_owned(), code)]);
    if manifest.metric == Metric::Cosine {
        let raw = VectorParams {
            size: manifest.dims as u64,
            distance: Distance::Dot.into(),
            on_disk: Some(true),
            hnsw_config: Some(HnswConfigDiff {
                m: Some(0),
                ..HnswConfigDiff::default()
            }),
            ..VectorParams::default()
        };
        vectors.insert(RAW.to_owned(), raw);
    }
    vectors
}

fn quantizer(quantization: Quantization) -> Option<Quantizer> {
    let always_ram = Some(true);
    match quantization {
        Quantization::None => None,
        Quantization::Scalar => Some(Quantizer::Scalar(ScalarQuantization {
            r#type: QuantizationType::Int8.into(),
            always_ram,
            ..ScalarQuantization::default()
        })),
        Quantization::Binary => Some(Quantizer::Binary(BinaryQuantization {
            always_ram,
            ..BinaryQuantization::default()
        })),
        Quantization::Product => Some(Quantizer::Product(ProductQuantization {
            compression: CompressionRatio::X16.into(),
            always_ram,
            ..ProductQuantization::default()
        })),
    }
}

/// Nearly every image has a name, a place and a content of its own: those indexes are kept on disk.
fn index_params(field: &Field, kind: IndexKind) -> IndexParams {
    let on_disk = Some(matches!(
        field,
        Field::Key | Field::Location | Field::Blake3 | Field::Bytes | Field::Modified
    ));
    match kind {
        // None has graphs of its own, one for each frequent value, as in a folder: they would take
        // as long to build as the index itself.
        IndexKind::Keyword => IndexParams::KeywordIndexParams(KeywordIndexParams {
            on_disk,
            enable_hnsw: Some(false),
            ..KeywordIndexParams::default()
        }),
        IndexKind::Number => IndexParams::FloatIndexParams(FloatIndexParams {
            on_disk,
            enable_hnsw: Some(false),
            ..FloatIndexParams::default()
        }),
    }
}

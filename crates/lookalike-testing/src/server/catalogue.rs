//! Making, telling of, changing and removing collections.

use qdrant_client::qdrant::{
    CollectionClusterInfoRequest, CollectionClusterInfoResponse, CollectionDescription,
    CollectionExists, CollectionExistsRequest, CollectionExistsResponse, CollectionInfo,
    CollectionOperationResponse, CollectionStatus, CreateCollection, DeleteCollection, FieldType,
    GetCollectionInfoRequest, GetCollectionInfoResponse, ListCollectionsRequest,
    ListCollectionsResponse, LocalShardInfo, OptimizerStatus, PayloadSchemaInfo, PayloadSchemaType,
    RemoteShardInfo, ReplicaState, UpdateCollection,
};
use tonic::Status;

use super::collection::Index;
use super::store::Store;
use super::{Collection, config, error, json};

/// Most bytes of the name of a collection.
const NAME: usize = 255;
/// Characters that names must not have, since they name folders.
const NOT_IN_NAMES: [char; 11] = ['<', '>', ':', '"', '/', '\\', '|', '?', '*', '\0', '\u{1F}'];

impl Store {
    pub fn create(
        &mut self,
        mut request: CreateCollection,
    ) -> Result<CollectionOperationResponse, Status> {
        let name = std::mem::take(&mut request.collection_name);
        if name.is_empty() || name.len() > NAME {
            let detail =
                format_args!("value \"{name}\" invalid, must be from 1 to {NAME} characters");
            return Err(error::invalid("collection_name", detail));
        }
        if let Some(character) = name.chars().find(|c| NOT_IN_NAMES.contains(c)) {
            let detail = format_args!("collection name cannot contain \"{character}\" char");
            return Err(error::invalid("collection_name", detail));
        }
        for (field, number) in [
            ("shard_number", request.shard_number),
            ("replication_factor", request.replication_factor),
            ("write_consistency_factor", request.write_consistency_factor),
        ] {
            error::at_least_one(field, number.map(u64::from))?;
        }
        if request
            .sparse_vectors_config
            .as_ref()
            .is_some_and(|c| !c.map.is_empty())
        {
            return Err(error::unsupported("sparse vectors"));
        }
        let metadata = json::read_object(std::mem::take(&mut request.metadata))?;
        let config = config::created(request, self.nodes);
        let collection = Collection::new(config, metadata)?;
        if self.collections.contains_key(&name) {
            return Err(Status::already_exists(format!(
                "Wrong input: Collection `{name}` already exists!"
            )));
        }
        if self.aliases.contains_key(&name) {
            return Err(error::bad_input(format_args!(
                "Can't create collection with name {name}. Alias with the same name already exists"
            )));
        }
        self.collections.insert(name, collection);
        Ok(done(true))
    }

    pub fn describe(
        &mut self,
        request: GetCollectionInfoRequest,
    ) -> Result<GetCollectionInfoResponse, Status> {
        let collection = self.resolve(&request.collection_name)?;
        let params = collection.config.params.as_ref();
        let shards = params.map_or(1, |params| params.shard_number);
        let mut config = collection.config.clone();
        config.metadata = json::write_object(collection.metadata.clone());
        let schema = collection
            .indexes
            .iter()
            .map(|(name, index)| (name.clone(), schema(collection, index)))
            .collect();
        Ok(GetCollectionInfoResponse {
            result: Some(CollectionInfo {
                status: CollectionStatus::Green.into(),
                optimizer_status: Some(OptimizerStatus {
                    ok: true,
                    error: String::new(),
                }),
                segments_count: u64::from(shards),
                config: Some(config),
                payload_schema: schema,
                points_count: Some(collection.points.len() as u64),
                // It always looks at all of them.
                indexed_vectors_count: Some(0),
                ..CollectionInfo::default()
            }),
            time: 0.0,
        })
    }

    pub fn exists(
        &mut self,
        request: CollectionExistsRequest,
    ) -> Result<CollectionExistsResponse, Status> {
        let exists = self.resolve(&request.collection_name).is_ok();
        Ok(CollectionExistsResponse {
            result: Some(CollectionExists { exists }),
            time: 0.0,
        })
    }

    pub fn list(&mut self, _: ListCollectionsRequest) -> Result<ListCollectionsResponse, Status> {
        let collections = self.collections.keys().cloned();
        Ok(ListCollectionsResponse {
            collections: collections
                .map(|name| CollectionDescription { name })
                .collect(),
            time: 0.0,
        })
    }

    /// Only by its own name: an alias is none to be deleted by.
    pub fn remove(
        &mut self,
        request: DeleteCollection,
    ) -> Result<CollectionOperationResponse, Status> {
        let name = &request.collection_name;
        self.aliases.retain(|_, collection| collection != name);
        Ok(done(self.collections.remove(name).is_some()))
    }

    pub fn update(
        &mut self,
        request: UpdateCollection,
    ) -> Result<CollectionOperationResponse, Status> {
        let collection = self.resolve_mut(&request.collection_name)?;
        if request.vectors_config.is_some()
            || request.quantization_config.is_some()
            || request.sparse_vectors_config.is_some()
            || request.strict_mode_config.is_some()
        {
            return Err(error::unsupported(
                "changes of vectors, quantisation and strict mode",
            ));
        }
        let metadata = json::read_object(request.metadata)?;
        config::merge_optimizers(&mut collection.config, request.optimizers_config);
        config::merge_params(&mut collection.config, request.params);
        config::merge_hnsw(&mut collection.config, request.hnsw_config);
        json::merge(&mut collection.metadata, metadata);
        Ok(done(true))
    }

    /// Shards and their replicas go round the nodes; the node that is asked is the first.
    pub fn cluster(
        &mut self,
        request: CollectionClusterInfoRequest,
    ) -> Result<CollectionClusterInfoResponse, Status> {
        const HERE: u64 = 1;
        let nodes = self.nodes as u64;
        let collection = self.resolve(&request.collection_name)?;
        let params = collection.config.params.as_ref();
        let shards = params.map_or(1, |params| params.shard_number);
        let replicas = params.and_then(|params| params.replication_factor);
        let replicas = u64::from(replicas.unwrap_or(1)).min(nodes);
        let points = collection.points.len() as u64;
        let (mut local_shards, mut remote_shards) = (Vec::new(), Vec::new());
        for shard_id in 0..shards {
            let shard = u64::from(shard_id);
            for replica in 0..replicas {
                let peer_id = HERE + (shard + replica) % nodes;
                if peer_id == HERE {
                    // As even as can be.
                    let count = u64::from(shards);
                    local_shards.push(LocalShardInfo {
                        shard_id,
                        points_count: points / count + u64::from(shard < points % count),
                        state: ReplicaState::Active.into(),
                        shard_key: None,
                    });
                } else {
                    remote_shards.push(RemoteShardInfo {
                        shard_id,
                        peer_id,
                        state: ReplicaState::Active.into(),
                        shard_key: None,
                    });
                }
            }
        }
        Ok(CollectionClusterInfoResponse {
            peer_id: HERE,
            shard_count: u64::from(shards),
            local_shards,
            remote_shards,
            ..CollectionClusterInfoResponse::default()
        })
    }
}

pub(super) fn done(result: bool) -> CollectionOperationResponse {
    CollectionOperationResponse { result, time: 0.0 }
}

fn schema(collection: &Collection, index: &Index) -> PayloadSchemaInfo {
    let kind = match index.kind {
        FieldType::Keyword => PayloadSchemaType::Keyword,
        FieldType::Integer => PayloadSchemaType::Integer,
        FieldType::Float => PayloadSchemaType::Float,
        FieldType::Geo => PayloadSchemaType::Geo,
        FieldType::Text => PayloadSchemaType::Text,
        FieldType::Bool => PayloadSchemaType::Bool,
        FieldType::Datetime => PayloadSchemaType::Datetime,
        FieldType::Uuid => PayloadSchemaType::Uuid,
    };
    let points = collection.points.values();
    PayloadSchemaInfo {
        data_type: kind.into(),
        params: index.params.clone(),
        points: Some(points.filter(|point| index.has(point)).count() as u64),
    }
}

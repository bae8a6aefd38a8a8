//! The calls of the protocol.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use qdrant_client::qdrant as wire;
use tonic::{Request, Response, Status};

use super::store::Store;

/// What all calls work on.
#[derive(Clone)]
pub(super) struct Service {
    pub store: Arc<Mutex<Store>>,
    pub version: String,
}

impl Service {
    fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }
}

/// Whatever else has failed, what is kept can be looked at.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Answer<'a, T> =
    std::pin::Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send + 'a>>;

/// Calls that a function of the store answers.
macro_rules! answered {
    ($($call:ident($request:ident) -> $response:ident = $function:ident;)+) => {$(
        fn $call<'life0, 'async_trait>(
            &'life0 self,
            request: Request<wire::$request>,
        ) -> Answer<'async_trait, wire::$response>
        where
            'life0: 'async_trait,
        {
            Box::pin(async move {
                let started = Instant::now();
                let mut response = self.store().$function(request.into_inner())?;
                response.time = started.elapsed().as_secs_f64();
                Ok(Response::new(response))
            })
        }
    )+};
}

/// Calls that nobody needs yet.
macro_rules! unanswered {
    ($($call:ident($request:ident) -> $response:ident;)+) => {$(
        fn $call<'life0, 'async_trait>(
            &'life0 self,
            _: Request<wire::$request>,
        ) -> Answer<'async_trait, wire::$response>
        where
            'life0: 'async_trait,
        {
            Box::pin(async { Err(super::error::unsupported(stringify!($call))) })
        }
    )+};
}

#[tonic::async_trait]
impl wire::qdrant_server::Qdrant for Service {
    async fn health_check(
        &self,
        _: Request<wire::HealthCheckRequest>,
    ) -> Result<Response<wire::HealthCheckReply>, Status> {
        Ok(Response::new(wire::HealthCheckReply {
            title: "qdrant - vector search engine".to_owned(),
            version: self.version.clone(),
            commit: None,
        }))
    }
}

impl wire::collections_server::Collections for Service {
    answered! {
        get(GetCollectionInfoRequest) -> GetCollectionInfoResponse = describe;
        list(ListCollectionsRequest) -> ListCollectionsResponse = list;
        create(CreateCollection) -> CollectionOperationResponse = create;
        update(UpdateCollection) -> CollectionOperationResponse = update;
        delete(DeleteCollection) -> CollectionOperationResponse = remove;
        update_aliases(ChangeAliases) -> CollectionOperationResponse = change_aliases;
        list_collection_aliases(ListCollectionAliasesRequest) -> ListAliasesResponse = list_collection_aliases;
        list_aliases(ListAliasesRequest) -> ListAliasesResponse = list_aliases;
        collection_cluster_info(CollectionClusterInfoRequest) -> CollectionClusterInfoResponse = cluster;
        collection_exists(CollectionExistsRequest) -> CollectionExistsResponse = exists;
    }
    unanswered! {
        update_collection_cluster_setup(UpdateCollectionClusterSetupRequest) -> UpdateCollectionClusterSetupResponse;
        create_shard_key(CreateShardKeyRequest) -> CreateShardKeyResponse;
        delete_shard_key(DeleteShardKeyRequest) -> DeleteShardKeyResponse;
        list_shard_keys(ListShardKeysRequest) -> ListShardKeysResponse;
    }
}

impl wire::points_server::Points for Service {
    answered! {
        upsert(UpsertPoints) -> PointsOperationResponse = upsert;
        delete(DeletePoints) -> PointsOperationResponse = delete;
        get(GetPoints) -> GetResponse = get;
        create_field_index(CreateFieldIndexCollection) -> PointsOperationResponse = create_index;
        delete_field_index(DeleteFieldIndexCollection) -> PointsOperationResponse = delete_index;
        scroll(ScrollPoints) -> ScrollResponse = scroll;
        count(CountPoints) -> CountResponse = count;
        query(QueryPoints) -> QueryResponse = query;
        query_batch(QueryBatchPoints) -> QueryBatchResponse = query_batch;
        facet(FacetCounts) -> FacetResponse = facet;
    }
    unanswered! {
        update_vectors(UpdatePointVectors) -> PointsOperationResponse;
        delete_vectors(DeletePointVectors) -> PointsOperationResponse;
        set_payload(SetPayloadPoints) -> PointsOperationResponse;
        overwrite_payload(SetPayloadPoints) -> PointsOperationResponse;
        delete_payload(DeletePayloadPoints) -> PointsOperationResponse;
        clear_payload(ClearPayloadPoints) -> PointsOperationResponse;
        create_vector_name(CreateVectorNameRequest) -> PointsOperationResponse;
        delete_vector_name(DeleteVectorNameRequest) -> PointsOperationResponse;
        search(SearchPoints) -> SearchResponse;
        search_batch(SearchBatchPoints) -> SearchBatchResponse;
        search_groups(SearchPointGroups) -> SearchGroupsResponse;
        recommend(RecommendPoints) -> RecommendResponse;
        recommend_batch(RecommendBatchPoints) -> RecommendBatchResponse;
        recommend_groups(RecommendPointGroups) -> RecommendGroupsResponse;
        discover(DiscoverPoints) -> DiscoverResponse;
        discover_batch(DiscoverBatchPoints) -> DiscoverBatchResponse;
        update_batch(UpdateBatchPoints) -> UpdateBatchResponse;
        query_groups(QueryPointGroups) -> QueryGroupsResponse;
        search_matrix_pairs(SearchMatrixPoints) -> SearchMatrixPairsResponse;
        search_matrix_offsets(SearchMatrixPoints) -> SearchMatrixOffsetsResponse;
    }
}

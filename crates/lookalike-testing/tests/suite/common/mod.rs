//! What the tests of the server and of the proxy have in common.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use qdrant_client::qdrant::{
    CreateCollectionBuilder, Distance, PointStruct, UpsertPointsBuilder, VectorParamsBuilder,
    VectorsConfigBuilder,
};
use qdrant_client::{Payload, Qdrant as Client, QdrantError};
use serde_json::Value;
use tonic::Code;

/// Where the points of tests are.
pub const NAME: &str = "photos";

/// A client with one connection. Once more it tries by itself what fails with `Internal`,
/// `Unavailable`, `Cancelled` or `Unknown`.
pub fn client(address: SocketAddr) -> Client {
    client_with_key(address, None)
}

pub fn client_with_key(address: SocketAddr, key: Option<&str>) -> Client {
    let mut config = Client::from_url(&format!("http://{address}"))
        .timeout(Duration::from_secs(60))
        .skip_compatibility_check();
    config.set_pool_size(1);
    config.api_key(key).build().unwrap()
}

pub fn payload(value: Value) -> Payload {
    Payload::try_from(value).unwrap()
}

/// A collection with a vector `code` of two dimensions.
pub async fn create(client: &Client, distance: Distance) {
    let mut vectors = VectorsConfigBuilder::default();
    vectors.add_named_vector_params("code", VectorParamsBuilder::new(2, distance));
    client
        .create_collection(CreateCollectionBuilder::new(NAME).vectors_config(vectors))
        .await
        .unwrap();
}

pub fn point(id: u64, code: [f32; 2], fields: Value) -> PointStruct {
    let vectors = HashMap::from([("code".to_owned(), code.to_vec())]);
    PointStruct::new(id, vectors, payload(fields))
}

pub async fn upsert(client: &Client, points: Vec<PointStruct>) -> Result<(), QdrantError> {
    let request = UpsertPointsBuilder::new(NAME, points).wait(true);
    client.upsert_points(request).await.map(drop)
}

/// The status and message of a refusal.
pub fn refusal<T: std::fmt::Debug>(result: Result<T, QdrantError>) -> (Code, String) {
    match result.unwrap_err() {
        QdrantError::ResponseError { status } => (status.code(), status.message().to_owned()),
        QdrantError::ResourceExhaustedError { status, .. } => {
            (status.code(), status.message().to_owned())
        }
        error => panic!("not a refusal: {error:?}"),
    }
}

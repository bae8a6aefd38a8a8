//! Collections of the server, as plain Qdrant clients see them, and the server itself.

use std::collections::HashMap;

use crate::common::{NAME, client, client_with_key, create, point, refusal, upsert};
use lookalike_testing::{Options, Qdrant};
use qdrant_client::qdrant::{
    CollectionStatus, CountPointsBuilder, CreateAliasBuilder, CreateCollectionBuilder, Distance,
    HnswConfigDiffBuilder, RenameAliasBuilder, ScalarQuantizationBuilder, UpdateCollectionBuilder,
    Value, VectorParamsBuilder, VectorsConfigBuilder, quantization_config,
};
use serde_json::json;
use tonic::Code;

#[tokio::test]
async fn tells_its_health_to_everybody_and_the_rest_to_those_who_have_the_key() {
    let server = Qdrant::with(Options {
        api_key: Some("open sesame".to_owned()),
        version: "1.17.2".to_owned(),
        ..Options::default()
    });
    let stranger = client(server.address());
    assert_eq!(stranger.health_check().await.unwrap().version, "1.17.2");
    let (code, message) = refusal(stranger.list_collections().await);
    assert_eq!(code, Code::Unauthenticated);
    assert!(message.starts_with("Must provide an API key"), "{message}");
    let liar = client_with_key(server.address(), Some("sesame"));
    let (code, message) = refusal(liar.list_collections().await);
    assert_eq!(
        (code, message.as_str()),
        (Code::Unauthenticated, "Invalid API key or JWT")
    );
    let friend = client_with_key(server.address(), Some("open sesame"));
    assert!(
        friend
            .list_collections()
            .await
            .unwrap()
            .collections
            .is_empty()
    );
}

#[tokio::test]
async fn collections_are_as_they_were_made() {
    let server = Qdrant::with(Options {
        nodes: 3,
        ..Options::default()
    });
    let client = client(server.address());
    let mut vectors = VectorsConfigBuilder::default();
    vectors.add_named_vector_params("code", VectorParamsBuilder::new(4, Distance::Cosine));
    let raw = VectorParamsBuilder::new(4, Distance::Dot)
        .hnsw_config(HnswConfigDiffBuilder::default().m(0));
    vectors.add_named_vector_params("raw", raw);
    let request = || {
        CreateCollectionBuilder::new(NAME)
            .vectors_config(vectors.clone())
            .shard_number(4)
            .replication_factor(2)
            .write_consistency_factor(2)
            .hnsw_config(HnswConfigDiffBuilder::default().m(24))
            .quantization_config(ScalarQuantizationBuilder::default())
            .metadata(HashMap::from([(
                "lookalike".to_owned(),
                json!({"format": 1}),
            )]))
    };
    assert!(!client.collection_exists(NAME).await.unwrap());
    assert!(client.create_collection(request()).await.unwrap().result);
    let (code, message) = refusal(client.create_collection(request()).await);
    assert_eq!(code, Code::AlreadyExists);
    assert_eq!(message, "Wrong input: Collection `photos` already exists!");
    assert!(client.collection_exists(NAME).await.unwrap());

    let info = client.collection_info(NAME).await.unwrap().result.unwrap();
    assert_eq!(info.status(), CollectionStatus::Green);
    assert_eq!((info.points_count, info.segments_count), (Some(0), 4));
    let config = info.config.unwrap();
    let params = config.params.unwrap();
    assert_eq!(params.shard_number, 4);
    assert_eq!(params.replication_factor, Some(2));
    assert_eq!(params.write_consistency_factor, Some(2));
    assert_eq!(params.vectors_config, Some(vectors.clone().into()));
    let hnsw = config.hnsw_config.unwrap();
    assert_eq!((hnsw.m, hnsw.ef_construct), (Some(24), Some(100)));
    assert!(matches!(
        config.quantization_config.unwrap().quantization,
        Some(quantization_config::Quantization::Scalar(_))
    ));
    assert_eq!(
        config.metadata["lookalike"],
        Value::from(json!({"format": 1}))
    );

    let cluster = client.collection_cluster_info(NAME).await.unwrap();
    assert_eq!(cluster.shard_count, 4);
    assert_eq!(cluster.local_shards.len() + cluster.remote_shards.len(), 8);
    let here = cluster.local_shards.iter().map(|shard| shard.shard_id);
    assert_eq!(here.collect::<Vec<_>>(), [0, 2, 3]);
    assert!(
        cluster
            .remote_shards
            .iter()
            .all(|shard| (2..=3).contains(&shard.peer_id))
    );

    let update = UpdateCollectionBuilder::new(NAME)
        .hnsw_config(HnswConfigDiffBuilder::default().ef_construct(50))
        .metadata(HashMap::from([("note".to_owned(), json!("seen"))]));
    client.update_collection(update).await.unwrap();
    let seen = server.collection(NAME).unwrap();
    assert_eq!(
        serde_json::Value::Object(seen.metadata().clone()),
        json!({"lookalike": {"format": 1}, "note": "seen"})
    );
    let hnsw = seen.config().hnsw_config.unwrap();
    assert_eq!((hnsw.m, hnsw.ef_construct), (Some(24), Some(50)));
    assert_eq!(seen.vectors()["code"].size, 4);

    let names = client.list_collections().await.unwrap().collections;
    assert_eq!(names.len(), 1);
    assert!(client.delete_collection(NAME).await.unwrap().result);
    assert!(!client.delete_collection(NAME).await.unwrap().result);
    let (code, message) = refusal(client.collection_info(NAME).await);
    assert_eq!(code, Code::NotFound);
    assert_eq!(message, "Not found: Collection `photos` doesn't exist!");
    assert!(server.collection(NAME).is_none());
}

#[tokio::test]
async fn meaningless_collections_are_refused() {
    let server = Qdrant::start();
    let client = client(server.address());
    for (name, size) in [("", 2), ("a/b", 2), ("a", 0), ("a", 65537)] {
        let request = CreateCollectionBuilder::new(name)
            .vectors_config(VectorParamsBuilder::new(size, Distance::Dot));
        let (code, _) = refusal(client.create_collection(request).await);
        assert_eq!(code, Code::InvalidArgument, "{name:?} {size}");
    }
    let unknown = CreateCollectionBuilder::new("a")
        .vectors_config(VectorParamsBuilder::new(2, Distance::UnknownDistance));
    let (code, message) = refusal(client.create_collection(unknown).await);
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(message, "Malformed distance parameter: UnknownDistance");
    assert!(server.collection("a").is_none());
}

#[tokio::test]
async fn aliases_stand_for_collections() {
    let server = Qdrant::start();
    let client = client(server.address());
    create(&client, Distance::Dot).await;
    let alias = CreateAliasBuilder::new(NAME, "current");
    client.create_alias(alias).await.unwrap();
    upsert(&client, vec![point(1, [1.0, 2.0], json!({}))])
        .await
        .unwrap();
    let count = client
        .count(CountPointsBuilder::new("current").exact(true))
        .await
        .unwrap();
    assert_eq!(count.result.unwrap().count, 1);
    assert_eq!(server.collection("current").unwrap().points().len(), 1);
    assert!(client.collection_exists("current").await.unwrap());

    client
        .rename_alias(RenameAliasBuilder::new("current", "now"))
        .await
        .unwrap();
    let aliases = client.list_collection_aliases(NAME).await.unwrap().aliases;
    assert_eq!(aliases[0].alias_name, "now");
    assert_eq!(
        server.aliases(),
        [("now".to_owned(), NAME.to_owned())].into()
    );
    let (code, message) = refusal(client.rename_alias(RenameAliasBuilder::new("a", "b")).await);
    assert_eq!(
        (code, message.as_str()),
        (Code::NotFound, "Not found: Alias a does not exists!")
    );
    let nowhere = CreateAliasBuilder::new("nothing", "alias");
    assert_eq!(
        refusal(client.create_alias(nowhere).await).0,
        Code::NotFound
    );
    let taken = CreateAliasBuilder::new(NAME, NAME);
    assert_eq!(
        refusal(client.create_alias(taken).await).0,
        Code::AlreadyExists
    );
    // An alias is no name to make or to delete a collection by.
    let create = CreateCollectionBuilder::new("now");
    assert_eq!(
        refusal(client.create_collection(create).await).0,
        Code::InvalidArgument
    );
    assert!(!client.delete_collection("now").await.unwrap().result);
    client.delete_alias("now").await.unwrap();
    assert!(client.list_aliases().await.unwrap().aliases.is_empty());
    assert!(!client.collection_exists("now").await.unwrap());
}

#[tokio::test]
async fn a_node_that_is_lost_comes_back_with_its_data() {
    let mut server = Qdrant::with(Options {
        nodes: 2,
        ..Options::default()
    });
    let other = server.join();
    assert_ne!(server.address(), other.address());
    let (client, others) = (client(server.address()), client(other.address()));
    create(&client, Distance::Dot).await;
    upsert(&client, vec![point(1, [1.0, 0.0], json!({}))])
        .await
        .unwrap();
    server.stop();
    // How the client says so depends on whether it was connected.
    for _ in 0..3 {
        assert!(client.collection_info(NAME).await.is_err());
    }
    let refused = std::net::TcpStream::connect(server.address()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    upsert(&others, vec![point(2, [1.0, 0.0], json!({}))])
        .await
        .unwrap();
    server.start_again();
    let info = client.collection_info(NAME).await.unwrap().result.unwrap();
    assert_eq!(info.points_count, Some(2));
}

#[test]
fn requests_are_counted_and_plain_tests_can_use_it() {
    let server = Qdrant::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = client(server.address());
        create(&client, Distance::Dot).await;
        let (code, _) = refusal(client.list_shard_keys(NAME).await);
        assert_eq!(code, Code::Unimplemented);
        client.collection_exists(NAME).await.unwrap();
        client.collection_exists("nothing").await.unwrap();
    });
    let expected = [
        ("Collections/CollectionExists", 2),
        ("Collections/Create", 1),
        ("Collections/ListShardKeys", 1),
    ];
    assert_eq!(
        server.requests(),
        expected.map(|(name, n)| (name.to_owned(), n))
    );
    assert_eq!(server.requests_of("Collections/Create"), 1);
    assert_eq!(server.requests_of("Points/Upsert"), 0);
}

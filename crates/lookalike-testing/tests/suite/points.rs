//! Points of the server, as plain Qdrant clients see them.

use std::collections::HashMap;

use crate::common::{NAME, client, create, point, refusal, upsert};
use lookalike_testing::{Id, Qdrant};
use qdrant_client::qdrant::facet_value::Variant;
use qdrant_client::qdrant::vectors_output::VectorsOptions;
use qdrant_client::qdrant::{
    Condition, CreateFieldIndexCollectionBuilder, DeleteFieldIndexCollectionBuilder,
    DeletePointsBuilder, Distance, FacetCountsBuilder, FacetHit, FieldType, Filter,
    GetPointsBuilder, PayloadExcludeSelector, PayloadIncludeSelector, PointId, PointStruct,
    PointsIdsList, ScrollPointsBuilder, UpsertPointsBuilder, Value, Vector, Vectors, vector_output,
};
use serde_json::json;
use tonic::Code;
use uuid::Uuid;

#[tokio::test]
async fn points_come_back_as_they_were_stored() {
    let server = Qdrant::start();
    let client = client(server.address());
    create(&client, Distance::Cosine).await;
    let uuid = Uuid::from_u128(7);
    let fields = json!({"label": "cat", "width": 3, "extra": {"a": [1, 2.5, null]}});
    let mut old = point(1, [3.0, 4.0], fields.clone());
    // As clients before 1.16 sent vectors.
    #[expect(deprecated)]
    let vector = Vector {
        data: vec![0.0, 2.0],
        ..Vector::default()
    };
    old.id = Some(uuid.to_string().into());
    old.vectors = Some(Vectors::from(HashMap::from([("code".to_owned(), vector)])));
    upsert(&client, vec![point(1, [3.0, 4.0], fields.clone()), old])
        .await
        .unwrap();

    let seen = server.collection(NAME).unwrap();
    let stored = seen.point(1).unwrap();
    assert_eq!(serde_json::Value::Object(stored.payload.clone()), fields);
    assert_eq!(
        stored.vectors["code"],
        [0.6, 0.8],
        "cosine stores them normalised"
    );
    assert_eq!(seen.point(uuid).unwrap().vectors["code"], [0.0, 1.0]);

    let ids: Vec<PointId> = vec![uuid.to_string().into(), 5.into(), 1.into(), 1.into()];
    let request = GetPointsBuilder::new(NAME, ids)
        .with_payload(true)
        .with_vectors(true);
    let points = client.get_points(request).await.unwrap().result;
    assert_eq!(points.len(), 2);
    assert_eq!(points[0].id, Some(uuid.to_string().into()));
    assert_eq!(
        points[1].payload["extra"],
        Value::from(json!({"a": [1, 2.5, null]}))
    );
    let Some(VectorsOptions::Vectors(named)) = points[1].vectors.clone().unwrap().vectors_options
    else {
        panic!("named vectors come back by name");
    };
    let code = named.vectors["code"].clone().into_vector();
    assert!(matches!(code, vector_output::Vector::Dense(dense) if dense.data == [0.6, 0.8]));

    let request = GetPointsBuilder::new(NAME, vec![1.into()]);
    let points = client.get_points(request).await.unwrap().result;
    assert!(points[0].payload.is_empty() && points[0].vectors.is_none());
    let request = GetPointsBuilder::new(NAME, vec![1.into()])
        .with_payload(PayloadIncludeSelector::new(vec!["label".to_owned()]));
    let points = client.get_points(request).await.unwrap().result;
    assert_eq!(points[0].payload.keys().collect::<Vec<_>>(), ["label"]);
    let request = GetPointsBuilder::new(NAME, vec![1.into()])
        .with_payload(PayloadExcludeSelector::new(vec!["extra".to_owned()]));
    let points = client.get_points(request).await.unwrap().result;
    assert_eq!(points[0].payload.len(), 2);

    // A point that is stored again is replaced, with all that it had.
    upsert(&client, vec![point(1, [1.0, 0.0], json!({"width": 4}))])
        .await
        .unwrap();
    let seen = server.collection(NAME).unwrap();
    assert_eq!(seen.points().len(), 2);
    assert_eq!(
        serde_json::Value::Object(seen.point(1).unwrap().payload.clone()),
        json!({"width": 4})
    );

    client
        .delete_points(DeletePointsBuilder::new(NAME).points(PointsIdsList {
            ids: vec![1.into(), 99.into()],
        }))
        .await
        .unwrap();
    assert_eq!(
        server
            .collection(NAME)
            .unwrap()
            .points()
            .keys()
            .copied()
            .collect::<Vec<_>>(),
        [Id::Uuid(uuid)]
    );
    client
        .delete_points(
            DeletePointsBuilder::new(NAME).points(Filter::must([Condition::matches(
                "label",
                "cat".to_owned(),
            )])),
        )
        .await
        .unwrap();
    assert!(server.collection(NAME).unwrap().points().is_empty());
}

#[tokio::test]
async fn wrong_points_are_refused() {
    let server = Qdrant::start();
    let client = client(server.address());
    let (code, _) = refusal(upsert(&client, vec![point(1, [1.0, 0.0], json!({}))]).await);
    assert_eq!(code, Code::NotFound);
    create(&client, Distance::Dot).await;
    let good = || point(1, [1.0, 0.0], json!({}));
    let bad = |name: &str, vector: Vec<f32>| {
        PointStruct::new(
            2,
            HashMap::from([(name.to_owned(), vector)]),
            qdrant_client::Payload::new(),
        )
    };
    // Dimensions are looked at first: nothing is stored.
    let (code, message) = refusal(upsert(&client, vec![good(), bad("code", vec![1.0; 3])]).await);
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(
        message,
        "Wrong input: Vector dimension error: expected dim: 2, got 3 for vector 'code'"
    );
    assert!(server.collection(NAME).unwrap().points().is_empty());
    // Names are not.
    let (code, message) = refusal(upsert(&client, vec![good(), bad("cod", vec![1.0; 2])]).await);
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(message, "Wrong input: Not existing vector name error: cod");
    assert_eq!(server.collection(NAME).unwrap().points().len(), 1);
    // Who does not wait is not told.
    let request = UpsertPointsBuilder::new(NAME, vec![bad("cod", vec![1.0; 2])]).wait(false);
    client.upsert_points(request).await.unwrap();
    assert!(server.collection(NAME).unwrap().point(2).is_none());
    let (code, message) = refusal(
        upsert(
            &client,
            vec![PointStruct {
                id: Some("no-uuid".to_owned().into()),
                ..good()
            }],
        )
        .await,
    );
    assert_eq!(
        (code, message.as_str()),
        (Code::InvalidArgument, "Unable to parse UUID: no-uuid")
    );
}

#[tokio::test]
async fn scrolling_sees_every_point_once_in_the_order_of_ids() {
    let server = Qdrant::start();
    let client = client(server.address());
    create(&client, Distance::Dot).await;
    let ids = [5, 1, 9, 3, 7, 2, 8];
    let points = ids.map(|id| point(id, [id as f32, 0.0], json!({"odd": id % 2 == 1})));
    upsert(&client, points.to_vec()).await.unwrap();
    let mut seen = Vec::new();
    let mut offset = None;
    loop {
        let mut request = ScrollPointsBuilder::new(NAME)
            .limit(2)
            .filter(Filter::must([Condition::matches("odd", true)]));
        if let Some(offset) = offset.take() {
            request = request.offset::<PointId>(offset);
        }
        let page = client.scroll(request).await.unwrap();
        assert!(page.result.len() <= 2);
        assert!(page.result.iter().all(|point| !point.payload.is_empty()));
        seen.extend(page.result.into_iter().filter_map(|point| point.id));
        match page.next_page_offset {
            Some(next) => offset = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, [1, 3, 5, 7, 9].map(PointId::from));
    let (code, _) = refusal(client.scroll(ScrollPointsBuilder::new(NAME).limit(0)).await);
    assert_eq!(code, Code::InvalidArgument);
}

#[tokio::test]
async fn facets_need_an_index() {
    let server = Qdrant::start();
    let client = client(server.address());
    create(&client, Distance::Dot).await;
    let labels = [
        json!("b"),
        json!("a"),
        json!("a"),
        json!(["c", "c", "b"]),
        json!(3),
        json!(null),
    ];
    let points = labels.into_iter().zip(1..);
    let points = points.map(|(label, id)| point(id, [0.0, 0.0], json!({"label": label})));
    upsert(&client, points.collect()).await.unwrap();
    let ask = || FacetCountsBuilder::new(NAME, "label").exact(true);
    let (code, message) = refusal(client.facet(ask()).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(
        message.starts_with("Wrong input: No appropriate index for faceting: `label`. "),
        "{message}"
    );
    let float = CreateFieldIndexCollectionBuilder::new(NAME, "label", FieldType::Float);
    client.create_field_index(float).await.unwrap();
    assert_eq!(refusal(client.facet(ask()).await).0, Code::InvalidArgument);
    let keyword =
        CreateFieldIndexCollectionBuilder::new(NAME, "label", FieldType::Keyword).wait(true);
    client.create_field_index(keyword).await.unwrap();
    let indexes = server.collection(NAME).unwrap().indexes();
    assert_eq!(indexes, [("label".to_owned(), FieldType::Keyword)].into());
    let info = client.collection_info(NAME).await.unwrap().result.unwrap();
    assert_eq!(info.payload_schema["label"].points, Some(4));

    let told = |hits: Vec<FacetHit>| -> Vec<(String, u64)> {
        let hits = hits.into_iter();
        hits.map(|hit| match hit.value.unwrap().variant {
            Some(Variant::StringValue(text)) => (text, hit.count),
            other => panic!("not a text: {other:?}"),
        })
        .collect()
    };
    let hits = told(client.facet(ask()).await.unwrap().hits);
    let expected = [("a", 2), ("b", 2), ("c", 1)].map(|(v, n)| (v.to_owned(), n));
    assert_eq!(hits, expected);
    let hits = told(client.facet(ask().limit(1)).await.unwrap().hits);
    assert_eq!(hits, expected[..1]);
    let filtered = ask().filter(Filter::must([Condition::has_id([1, 4])]));
    let hits = told(client.facet(filtered).await.unwrap().hits);
    assert_eq!(hits, [expected[1].clone(), expected[2].clone()]);
    client
        .delete_field_index(DeleteFieldIndexCollectionBuilder::new(NAME, "label"))
        .await
        .unwrap();
    assert_eq!(refusal(client.facet(ask()).await).0, Code::InvalidArgument);
}

//! Searching and filtering, as plain Qdrant clients see it.

use crate::common::{NAME, client, create, point, refusal, upsert};
use lookalike_testing::Qdrant;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, Distance, Filter, PointId, Query, QueryBatchPointsBuilder,
    QueryPointsBuilder, Range, RecommendInputBuilder, RecommendStrategy, ScoredPoint,
    ScrollPointsBuilder,
};
use serde_json::json;
use tonic::Code;

fn found(points: &[ScoredPoint]) -> Vec<(PointId, f32)> {
    let found = points.iter();
    found.map(|p| (p.id.clone().unwrap(), p.score)).collect()
}

fn near(found: &[(PointId, f32)], expected: &[(u64, f32)]) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((id, score), (expected_id, expected)) in found.iter().zip(expected) {
        assert_eq!(*id, PointId::from(*expected_id), "{found:?}");
        assert!((score - expected).abs() < 1e-6, "{found:?}");
    }
}

#[tokio::test]
async fn scores_are_those_of_the_metric() {
    for (distance, expected) in [
        (Distance::Cosine, [(1, 1.0), (3, 0.5f32.sqrt()), (2, 0.0)]),
        (Distance::Dot, [(3, 4.0), (1, 2.0), (2, 0.0)]),
        (Distance::Euclid, [(1, 1.0), (2, 5f32.sqrt()), (3, 5.0)]),
        (Distance::Manhattan, [(1, 1.0), (2, 3.0), (3, 7.0)]),
    ] {
        let server = Qdrant::start();
        let client = client(server.address());
        create(&client, distance).await;
        let points = vec![
            point(1, [2.0, 0.0], json!({})),
            point(2, [0.0, 2.0], json!({})),
            point(3, [4.0, 4.0], json!({})),
        ];
        upsert(&client, points).await.unwrap();
        let request = || {
            QueryPointsBuilder::new(NAME)
                .query(vec![1.0, 0.0])
                .using("code")
        };
        let result = client.query(request()).await.unwrap().result;
        near(&found(&result), &expected);
        let result = client
            .query(request().limit(1).offset(1))
            .await
            .unwrap()
            .result;
        near(&found(&result), &expected[1..2]);
        // Strictly better than the second.
        let request = request().score_threshold(expected[1].1);
        let result = client.query(request).await.unwrap().result;
        near(&found(&result), &expected[..1]);
    }
}

#[tokio::test]
async fn equal_scores_come_in_the_order_of_ids() {
    let server = Qdrant::start();
    let client = client(server.address());
    create(&client, Distance::Dot).await;
    let points = [9, 3, 5].map(|id| point(id, [1.0, 1.0], json!({})));
    upsert(&client, points.to_vec()).await.unwrap();
    let request = QueryPointsBuilder::new(NAME)
        .query(vec![1.0, 0.0])
        .using("code");
    let result = client.query(request).await.unwrap().result;
    near(&found(&result), &[(3, 1.0), (5, 1.0), (9, 1.0)]);
}

#[tokio::test]
async fn recommendations() {
    let server = Qdrant::start();
    let client = client(server.address());
    create(&client, Distance::Cosine).await;
    let points = vec![
        point(1, [1.0, 0.0], json!({})),
        point(2, [0.0, 1.0], json!({})),
        point(3, [-1.0, 0.0], json!({})),
    ];
    upsert(&client, points).await.unwrap();
    let ask = |input: RecommendInputBuilder| {
        QueryPointsBuilder::new(NAME)
            .query(Query::new_recommend(input))
            .using("code")
    };
    // The average of (1,0) and (0,1), normalised; points that were named are left out.
    let input = RecommendInputBuilder::default()
        .add_positive(PointId::from(1))
        .add_positive(vec![0.0, 1.0])
        .strategy(RecommendStrategy::AverageVector);
    let result = client.query(ask(input)).await.unwrap().result;
    let half = 0.5f32.sqrt();
    near(&found(&result), &[(2, half), (3, -half)]);
    // Away from (0,1): 2·(1,0) − (0,1).
    let input = RecommendInputBuilder::default()
        .add_positive(vec![1.0, 0.0])
        .add_negative(PointId::from(2))
        .strategy(RecommendStrategy::AverageVector);
    let result = client.query(ask(input)).await.unwrap().result;
    near(
        &found(&result),
        &[(1, 2.0 / 5f32.sqrt()), (3, -2.0 / 5f32.sqrt())],
    );
    // Nearer to what is liked: squashed to ½..1; nearer to what is not: below 0.
    let input = RecommendInputBuilder::default()
        .add_positive(vec![1.0, 0.0])
        .add_negative(vec![-1.0, 0.0])
        .strategy(RecommendStrategy::BestScore);
    let result = client.query(ask(input)).await.unwrap().result;
    near(&found(&result), &[(1, 0.75), (2, -0.5), (3, -0.75)]);

    let nobody = RecommendInputBuilder::default().add_positive(PointId::from(77));
    let (code, message) = refusal(client.query(ask(nobody)).await);
    assert_eq!(
        (code, message.as_str()),
        (Code::NotFound, "Not found: No point with id 77 found")
    );
    let nothing = RecommendInputBuilder::default().add_negative(vec![1.0, 0.0]);
    assert_eq!(
        refusal(client.query(ask(nothing)).await).0,
        Code::InvalidArgument
    );
    let wrong = QueryPointsBuilder::new(NAME).query(vec![1.0]).using("code");
    assert_eq!(refusal(client.query(wrong).await).0, Code::InvalidArgument);
    let unknown = QueryPointsBuilder::new(NAME).query(vec![1.0, 0.0]);
    assert_eq!(
        refusal(client.query(unknown).await).0,
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn batches_of_queries() {
    let server = Qdrant::start();
    let client = client(server.address());
    create(&client, Distance::Dot).await;
    upsert(
        &client,
        vec![
            point(1, [1.0, 0.0], json!({})),
            point(2, [0.0, 1.0], json!({})),
        ],
    )
    .await
    .unwrap();
    let one = |vector: [f32; 2]| {
        let query = QueryPointsBuilder::new(NAME).query(vector.to_vec());
        query.using("code").limit(1).build()
    };
    let request = QueryBatchPointsBuilder::new(NAME, vec![one([1.0, 0.0]), one([0.0, 1.0])]);
    let result = client.query_batch(request).await.unwrap().result;
    assert_eq!(result.len(), 2);
    near(&found(&result[0].result), &[(1, 1.0)]);
    near(&found(&result[1].result), &[(2, 1.0)]);
}

#[tokio::test]
async fn filters() {
    let server = Qdrant::start();
    let client = client(server.address());
    create(&client, Distance::Dot).await;
    let fields = [
        json!({"label": "cat", "width": 10, "tags": ["a", "b"], "extra": {"some.name": "x"}}),
        json!({"label": "dog", "width": 20.5, "tags": [], "seen": true}),
        json!({"label": null, "width": 30, "parts": [{"x": 1, "y": 1}, {"x": 2, "y": 2}]}),
        json!({"label": "a cat and a dog"}),
    ];
    let points = fields.into_iter().zip(1..);
    let points = points.map(|(fields, id)| point(id, [0.0, 0.0], fields));
    upsert(&client, points.collect()).await.unwrap();
    let x1y2 = Filter::must([Condition::matches("x", 1), Condition::matches("y", 2)]);
    let x2y2 = Filter::must([Condition::matches("x", 2), Condition::matches("y", 2)]);
    let range = |gte, lt| Range {
        gte: Some(gte),
        lt: Some(lt),
        ..Range::default()
    };
    let strings = |texts: &[&str]| -> Vec<String> { texts.iter().map(|&t| t.to_owned()).collect() };
    let cat = || Condition::matches("label", "cat".to_owned());
    let wide = || Condition::range("width", range(15.0, 100.0));
    for (what, filter, expected) in [
        ("keyword", Filter::must([cat()]), &[1][..]),
        (
            "integer",
            Filter::must([Condition::matches("width", 30)]),
            &[3],
        ),
        (
            "bool",
            Filter::must([Condition::matches("seen", true)]),
            &[2],
        ),
        (
            "any",
            Filter::must([Condition::matches("label", strings(&["cat", "dog"]))]),
            &[1, 2],
        ),
        (
            "any of an array",
            Filter::must([Condition::matches("tags", "b".to_owned())]),
            &[1],
        ),
        (
            "a quoted name",
            Filter::must([Condition::matches("extra.\"some.name\"", "x".to_owned())]),
            &[1],
        ),
        (
            "except",
            Filter::must([Condition::matches(
                "label",
                !MatchValue::from(strings(&["cat"])),
            )]),
            &[2, 4],
        ),
        (
            "text",
            Filter::must([Condition::matches_text("label", "and")]),
            &[4],
        ),
        (
            "range",
            Filter::must([Condition::range("width", range(10.0, 30.0))]),
            &[1, 2],
        ),
        ("ids", Filter::must([Condition::has_id([1, 4])]), &[1, 4]),
        (
            "empty",
            Filter::must([Condition::is_empty("tags")]),
            &[2, 3, 4],
        ),
        ("null", Filter::must([Condition::is_null("label")]), &[3]),
        (
            "nested, one element",
            Filter::must([Condition::nested("parts", x1y2)]),
            &[],
        ),
        (
            "nested",
            Filter::must([Condition::nested("parts", x2y2)]),
            &[3],
        ),
        (
            "each element",
            Filter::must([Condition::matches("parts[].x", 2)]),
            &[3],
        ),
        ("not", Filter::must_not([cat()]), &[2, 3, 4]),
        ("should", Filter::should([cat(), wide()]), &[1, 2, 3]),
        (
            "must and should",
            Filter {
                must: vec![wide()],
                ..Filter::should([cat(), Condition::matches("seen", true)])
            },
            &[2],
        ),
        (
            "a filter in a filter",
            Filter::must([
                Filter::should([cat(), wide()]).into(),
                Condition::has_id([3, 4]),
            ]),
            &[3],
        ),
        (
            "at least two",
            Filter::min_should(
                2,
                [
                    wide(),
                    Condition::matches("seen", true),
                    Condition::is_null("label"),
                ],
            ),
            &[2, 3],
        ),
        (
            "a vector",
            Filter::must([Condition::has_vector("code")]),
            &[1, 2, 3, 4],
        ),
        ("nothing", Filter::default(), &[1, 2, 3, 4]),
    ] {
        let request = ScrollPointsBuilder::new(NAME).filter(filter.clone());
        let points = client.scroll(request).await.unwrap().result;
        let ids: Vec<PointId> = points.into_iter().filter_map(|point| point.id).collect();
        let expected: Vec<_> = expected.iter().map(|&id| PointId::from(id)).collect();
        assert_eq!(ids, expected, "{what}");
        let count = client
            .count(CountPointsBuilder::new(NAME).filter(filter).exact(true))
            .await;
        assert_eq!(
            count.unwrap().result.unwrap().count as usize,
            ids.len(),
            "{what}"
        );
    }
    let malformed = Filter::must([Condition::matches("a..b", 1)]);
    let (code, message) = refusal(
        client
            .count(CountPointsBuilder::new(NAME).filter(malformed))
            .await,
    );
    assert_eq!(
        (code, message.as_str()),
        (Code::InvalidArgument, "Invalid json path: 'a..b'")
    );
}

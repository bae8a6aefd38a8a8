//! Storing, reading and filtering points.

use std::collections::HashMap;

use crate::common::payload;
use crate::scene::{code, fields, filters};
use crate::told::{Told, id_of, json_of, only, vectors_of};
use qdrant_client::qdrant::{
    CountPointsBuilder, GetPointsBuilder, PayloadExcludeSelector, PayloadIncludeSelector, PointId,
    PointStruct, ScrollPointsBuilder, UpdateMode, UpsertPointsBuilder,
};
use serde_json::json;

impl Told {
    pub async fn fill(&mut self) {
        let name = self.name.clone();
        let point = |id: u64| {
            let vectors =
                HashMap::from([("code".to_owned(), code(id)), ("raw".to_owned(), code(id))]);
            PointStruct::new(id, vectors, payload(fields(id)))
        };
        let points: Vec<_> = (0..20).map(point).collect();
        for (what, points) in [
            ("upsert", points.clone()),
            ("upsert again", points[..5].to_vec()),
            (
                "some vectors",
                vec![PointStruct::new(
                    100,
                    HashMap::from([("raw".to_owned(), code(3))]),
                    payload(json!({})),
                )],
            ),
            (
                "a uuid",
                vec![PointStruct {
                    id: Some("5c56c793-69f3-4fbf-87e6-c4bf54c28c26".to_owned().into()),
                    ..point(7)
                }],
            ),
            (
                "no uuid",
                vec![PointStruct {
                    id: Some("5c56".to_owned().into()),
                    ..point(7)
                }],
            ),
            (
                "no id",
                vec![PointStruct {
                    id: None,
                    ..point(7)
                }],
            ),
            (
                "no vectors",
                vec![PointStruct {
                    vectors: None,
                    ..point(7)
                }],
            ),
            (
                "two dimensions",
                vec![PointStruct::new(
                    101,
                    HashMap::from([("code".to_owned(), vec![1.0, 2.0])]),
                    payload(json!({})),
                )],
            ),
            (
                "no such vector",
                vec![PointStruct::new(
                    101,
                    HashMap::from([("cod".to_owned(), vec![1.0, 2.0])]),
                    payload(json!({})),
                )],
            ),
            (
                "a vector without a name",
                vec![PointStruct::new(
                    101,
                    vec![1.0, 2.0, 3.0],
                    payload(json!({})),
                )],
            ),
        ] {
            let request = UpsertPointsBuilder::new(&name, points).wait(true);
            let said = self.client.upsert_points(request).await;
            self.line(what, said, |said| {
                format!("{:?}", said.result.unwrap().status())
            });
        }
        let good = |id| {
            PointStruct::new(
                id,
                HashMap::from([("raw".to_owned(), code(id))]),
                payload(json!({"id": id})),
            )
        };
        let bad = PointStruct::new(
            201,
            HashMap::from([("cod".to_owned(), code(1))]),
            payload(json!({})),
        );
        // Which of them are stored is nobody's to know; then the good one is, for certain.
        let request = UpsertPointsBuilder::new(&name, vec![good(200), bad]);
        for request in [request.clone().wait(true), request.wait(false)] {
            let said = self.client.upsert_points(request).await;
            self.line("one of two", said, |said| {
                format!("{:?}", said.result.unwrap().status())
            });
        }
        let request = UpsertPointsBuilder::new(&name, vec![good(200)]).wait(true);
        let said = self.client.upsert_points(request).await;
        self.line("the good one", said, |_| String::new());
        for mode in [UpdateMode::InsertOnly, UpdateMode::UpdateOnly] {
            let points = vec![
                PointStruct {
                    payload: HashMap::new(),
                    ..good(200)
                },
                good(203),
            ];
            let request = UpsertPointsBuilder::new(&name, points)
                .wait(true)
                .update_mode(mode);
            let said = self.client.upsert_points(request).await;
            self.line(mode, said, |said| {
                format!("{:?}", said.result.unwrap().status())
            });
            let request = GetPointsBuilder::new(&name, vec![200.into(), 203.into()]);
            let said = self.client.get_points(request.with_payload(true)).await;
            self.line("got", said, |said| {
                let points = said.result.into_iter();
                format!(
                    "{:?}",
                    points
                        .map(|p| (id_of(p.id), json_of(p.payload)))
                        .collect::<Vec<_>>()
                )
            });
        }
        let ids: Vec<PointId> = vec![
            3.into(),
            1.into(),
            77.into(),
            3.into(),
            100.into(),
            2.into(),
        ];
        let get = || GetPointsBuilder::new(&name, ids.clone());
        for (what, request) in [
            ("get", get()),
            ("get all", get().with_payload(true).with_vectors(true)),
            (
                "get some",
                get()
                    .with_payload(PayloadIncludeSelector::new(vec![
                        "label".into(),
                        "parts[].x".into(),
                        "extra.n".into(),
                    ]))
                    .with_vectors(only("code")),
            ),
            (
                "get others",
                get().with_payload(PayloadExcludeSelector::new(vec![
                    "label".into(),
                    "parts[].x".into(),
                ])),
            ),
            ("get no such vector", get().with_vectors(only("cod"))),
        ] {
            let said = self.client.get_points(request).await;
            self.line(what, said, |said| {
                let points = said.result.into_iter();
                let told = points.map(|p| (id_of(p.id), json_of(p.payload), vectors_of(p.vectors)));
                format!("{:?}", told.collect::<Vec<_>>())
            });
        }
    }

    pub async fn filtered(&mut self) {
        let name = self.name.clone();
        for filter in filters() {
            let request = CountPointsBuilder::new(&name)
                .filter(filter.clone())
                .exact(true);
            let said = self.client.count(request).await;
            self.line(&filter, said, |said| said.result.unwrap().count.to_string());
            let request = ScrollPointsBuilder::new(&name)
                .filter(filter.clone())
                .limit(4);
            let said = self.client.scroll(request.offset(3)).await;
            self.line("scroll", said, |said| {
                let points: Vec<_> = said
                    .result
                    .into_iter()
                    .map(|p| (id_of(p.id), json_of(p.payload)))
                    .collect();
                format!("{points:?}, then {}", id_of(said.next_page_offset))
            });
        }
        let said = self
            .client
            .scroll(ScrollPointsBuilder::new(&name).limit(0))
            .await;
        self.line("scroll nothing", said, |_| String::new());
    }
}

//! Searching, indexes and facets.

use std::collections::BTreeMap;

use crate::scene::filters;
use crate::told::{Told, only, scored};
use qdrant_client::qdrant::{
    CreateFieldIndexCollectionBuilder, FacetCountsBuilder, FieldType, PointId, Query,
    QueryPointsBuilder, RecommendInputBuilder, RecommendStrategy,
};

impl Told {
    pub async fn searched(&mut self) {
        let name = self.name.clone();
        let ask = || QueryPointsBuilder::new(&name).using("code").limit(6);
        let vector = vec![0.3, 0.8, 0.1];
        let reco = |strategy: RecommendStrategy| {
            let input = RecommendInputBuilder::default().strategy(strategy);
            let input = input
                .add_positive(PointId::from(3))
                .add_positive(vector.clone());
            Query::new_recommend(input.add_negative(PointId::from(9)))
        };
        let unliked = RecommendInputBuilder::default().add_negative(vector.clone());
        let nobody = RecommendInputBuilder::default().add_positive(PointId::from(77));
        let disliked = unliked.clone().strategy(RecommendStrategy::BestScore);
        let queries = vec![
            ("nearest", ask().query(vector.clone())),
            (
                "more",
                ask()
                    .query(vector.clone())
                    .offset(4)
                    .with_payload(true)
                    .with_vectors(only("raw")),
            ),
            (
                "filtered",
                ask().query(vector.clone()).filter(filters().remove(1)),
            ),
            (
                "threshold",
                ask().query(vector.clone()).score_threshold(0.9),
            ),
            ("by id", ask().query(PointId::from(3))),
            (
                "by an id without the vector",
                ask().query(PointId::from(100)),
            ),
            ("by no id", ask().query(PointId::from(77))),
            (
                "average",
                ask().query(reco(RecommendStrategy::AverageVector)),
            ),
            (
                "best score",
                ask().query(reco(RecommendStrategy::BestScore)),
            ),
            ("unliked", ask().query(Query::new_recommend(disliked))),
            ("sum", ask().query(reco(RecommendStrategy::SumScores))),
            (
                "unliked on average",
                ask().query(Query::new_recommend(unliked)),
            ),
            ("like nobody", ask().query(Query::new_recommend(nobody))),
            ("two dimensions", ask().query(vec![1.0, 2.0])),
            ("no such vector", ask().using("cod").query(vector.clone())),
            (
                "without a name",
                QueryPointsBuilder::new(&name).query(vector.clone()),
            ),
            ("no limit", ask().query(vector.clone()).limit(0)),
            (
                "no query",
                QueryPointsBuilder::new(&name).limit(3).offset(2),
            ),
        ];
        for (what, request) in queries {
            let said = self.client.query(request).await;
            self.line(what, said, |said| scored(said.result));
        }
    }

    pub async fn indexed(&mut self) {
        let name = self.name.clone();
        for (field, kind) in [
            ("label", FieldType::Keyword),
            ("width", FieldType::Float),
            ("seen", FieldType::Bool),
            ("extra.n", FieldType::Integer),
            ("tags", FieldType::Keyword),
        ] {
            let facet = || FacetCountsBuilder::new(&name, field).exact(true);
            let said = self.client.facet(facet()).await;
            self.line((field, "unindexed"), said, |said| {
                format!("{:?}", said.hits)
            });
            let request = CreateFieldIndexCollectionBuilder::new(&name, field, kind).wait(true);
            let said = self.client.create_field_index(request).await;
            self.line((field, "index"), said, |said| {
                format!("{:?}", said.result.unwrap().status())
            });
            let said = self.client.facet(facet()).await;
            self.line((field, "facets"), said, |said| format!("{:?}", said.hits));
            let said = self
                .client
                .facet(facet().limit(1).filter(filters().remove(3)))
                .await;
            self.line((field, "some"), said, |said| format!("{:?}", said.hits));
        }
        let said = self.client.collection_info(&name).await;
        self.line("schema", said, |said| {
            let schema = said.result.unwrap().payload_schema.into_iter();
            let schema: BTreeMap<_, _> = schema
                .map(|(name, info)| (name, (info.data_type, info.points)))
                .collect();
            format!("{schema:?}")
        });
    }
}

//! Collections and aliases.

use std::collections::HashMap;

use crate::scene::filters;
use crate::told::{Told, json_of};
use qdrant_client::qdrant::{
    CountPointsBuilder, CreateAliasBuilder, CreateCollectionBuilder, DeletePointsBuilder, Distance,
    PointsIdsList, RenameAliasBuilder, UpdateCollectionBuilder, VectorParamsBuilder,
    VectorsConfigBuilder,
};
use serde_json::json;

impl Told {
    pub async fn collections(&mut self) {
        let name = self.name.clone();
        let info = self.client.collection_info(&name).await;
        self.line("no collection", info, |_| String::new());
        for (bad, size) in [
            ("", 3),
            ("a/b", 3),
            (name.as_str(), 0),
            (name.as_str(), 70_000),
        ] {
            let vectors = VectorParamsBuilder::new(size, Distance::Dot);
            let request = CreateCollectionBuilder::new(bad).vectors_config(vectors);
            let said = self.client.create_collection(request).await;
            // Of what is wrong with the request, only that it is.
            let said = said.map_err(|error| format!("{error:?}").contains("InvalidArgument"));
            self.lines
                .push(format!("{bad} {size}: {:?}", said.map(|_| ())));
        }
        let shards = CreateCollectionBuilder::new(&name).shard_number(0);
        let said = self.client.create_collection(shards).await;
        self.line("no shards", said, |_| String::new());
    }

    pub async fn create(&mut self, distance: Distance) {
        let name = self.name.clone();
        let mut vectors = VectorsConfigBuilder::default();
        vectors.add_named_vector_params("code", VectorParamsBuilder::new(3, distance));
        vectors.add_named_vector_params("raw", VectorParamsBuilder::new(3, Distance::Dot));
        let request = || {
            CreateCollectionBuilder::new(&name)
                .vectors_config(vectors.clone())
                .shard_number(2)
                .metadata(HashMap::from([
                    ("a".to_owned(), json!({"b": 1})),
                    ("c".to_owned(), json!(2)),
                ]))
        };
        for what in ["create", "create again"] {
            let said = self.client.create_collection(request()).await;
            self.line(what, said, |said| said.result.to_string());
        }
        let update = UpdateCollectionBuilder::new(&name).metadata(HashMap::from([
            ("c".to_owned(), json!(null)),
            ("d".to_owned(), json!([1])),
        ]));
        let said = self.client.update_collection(update).await;
        self.line("update", said, |said| said.result.to_string());
        let said = self.client.collection_info(&name).await;
        self.line("info", said, |said| {
            let mut info = said.result.unwrap();
            let config = info.config.take().unwrap();
            let params = config.params.unwrap();
            let (hnsw, wal) = (config.hnsw_config, config.wal_config);
            let metadata = json_of(config.metadata);
            let shape = (
                params.shard_number,
                params.replication_factor,
                params.write_consistency_factor,
            );
            let points = info.points_count;
            format!(
                "{shape:?} {hnsw:?} {wal:?} {metadata:?} {points:?} {:?}",
                config.quantization_config
            )
        });
        let said = self.client.collection_cluster_info(&name).await;
        self.line("cluster", said, |said| {
            let shards = said
                .local_shards
                .iter()
                .map(|shard| (shard.shard_id, shard.state));
            let shards: Vec<_> = shards.collect();
            format!(
                "{} {shards:?} {}",
                said.shard_count,
                said.remote_shards.len()
            )
        });
    }

    pub async fn aliased(&mut self) {
        let name = self.name.clone();
        let alias = format!("{name}-alias");
        let other = format!("{name}-other");
        for (what, said) in [
            (
                "alias",
                self.client
                    .create_alias(CreateAliasBuilder::new(&name, &alias))
                    .await,
            ),
            (
                "alias again",
                self.client
                    .create_alias(CreateAliasBuilder::new(&name, &alias))
                    .await,
            ),
            (
                "alias as a collection",
                self.client
                    .create_alias(CreateAliasBuilder::new(&name, &name))
                    .await,
            ),
            (
                "alias of nothing",
                self.client
                    .create_alias(CreateAliasBuilder::new("lookalike-testing-", &alias))
                    .await,
            ),
            (
                "alias of an alias",
                self.client
                    .create_alias(CreateAliasBuilder::new(&alias, &other))
                    .await,
            ),
            (
                "collection as an alias",
                self.client
                    .create_collection(CreateCollectionBuilder::new(&alias))
                    .await,
            ),
            (
                "delete by alias",
                self.client.delete_collection(&alias).await,
            ),
            (
                "rename",
                self.client
                    .rename_alias(RenameAliasBuilder::new(&alias, &other))
                    .await,
            ),
            (
                "rename nothing",
                self.client
                    .rename_alias(RenameAliasBuilder::new(&alias, &other))
                    .await,
            ),
            ("delete no alias", self.client.delete_alias(&alias).await),
        ] {
            self.line(what, said, |said| said.result.to_string());
        }
        let said = self.client.list_collection_aliases(&name).await;
        self.line("aliases", said, |said| format!("{:?}", said.aliases));
        let said = self
            .client
            .count(CountPointsBuilder::new(&other).exact(true))
            .await;
        self.line("count by alias", said, |said| {
            said.result.unwrap().count.to_string()
        });
        for name in [&other, &alias] {
            let said = self.client.collection_exists(name).await;
            self.line("exists", said, |said| said.to_string());
        }
    }

    pub async fn removed(&mut self) {
        let name = self.name.clone();
        let delete = DeletePointsBuilder::new(&name).wait(true);
        let ids = PointsIdsList {
            ids: vec![1.into(), 77.into()],
        };
        for request in [
            delete.clone().points(ids),
            delete.points(filters().remove(1)),
        ] {
            let said = self.client.delete_points(request).await;
            self.line("delete", said, |said| {
                format!("{:?}", said.result.unwrap().status())
            });
            let said = self
                .client
                .count(CountPointsBuilder::new(&name).exact(true))
                .await;
            self.line("count", said, |said| said.result.unwrap().count.to_string());
        }
        for _ in 0..2 {
            let said = self.client.delete_collection(&name).await;
            self.line("delete collection", said, |said| said.result.to_string());
        }
    }
}

//! The server against a real one: both are told the same, and must say the same.
//!
//! Needs a Qdrant of one node at `LOOKALIKE_TEST_QDRANT_URL`, such as `qdrant://127.0.0.1:6334`,
//! and so is ignored unless it is asked for: `cargo test --release -p lookalike-testing --test real
//! -- --ignored`. Makes and removes collections there whose names begin with `lookalike-testing-`.

mod collections;
#[path = "../suite/common/mod.rs"]
mod common;
mod points;
mod scene;
mod search;
mod told;

use common::client;
use lookalike_testing::Qdrant;
use qdrant_client::Qdrant as Client;
use qdrant_client::qdrant::Distance;
use told::Told;

const PREFIX: &str = "lookalike-testing-";

async fn told(client: Client, distance: Distance) -> Vec<String> {
    let name = format!("{PREFIX}{distance:?}");
    client.delete_collection(&name).await.unwrap();
    let lines = Vec::new();
    let mut told = Told {
        client,
        name,
        lines,
    };
    told.collections().await;
    told.create(distance).await;
    told.fill().await;
    told.filtered().await;
    told.searched().await;
    told.indexed().await;
    told.filtered().await;
    told.aliased().await;
    told.removed().await;
    told.lines
}

#[tokio::test]
#[ignore = "needs a real Qdrant at LOOKALIKE_TEST_QDRANT_URL"]
async fn says_what_a_real_one_says() {
    let url = std::env::var("LOOKALIKE_TEST_QDRANT_URL")
        .expect("LOOKALIKE_TEST_QDRANT_URL names a Qdrant");
    let url = url.replace("qdrant://", "http://");
    let server = Qdrant::start();
    let mut different = Vec::new();
    for distance in [
        Distance::Cosine,
        Distance::Dot,
        Distance::Euclid,
        Distance::Manhattan,
    ] {
        let real = Client::from_url(&url)
            .skip_compatibility_check()
            .build()
            .unwrap();
        let real = told(real, distance).await;
        let ours = told(client(server.address()), distance).await;
        assert_eq!(real.len(), ours.len());
        let lines = real.into_iter().zip(ours);
        different.extend(lines.filter(|(real, ours)| real != ours));
    }
    for (real, ours) in &different {
        println!("real: {real}\nours: {ours}\n");
    }
    assert!(different.is_empty(), "{} differences", different.len());
}

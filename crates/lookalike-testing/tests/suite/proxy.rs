//! The proxy, before the server, as plain Qdrant clients see it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::{NAME, client, create, point, refusal, upsert};
use lookalike_testing::{Fault, Faults, Handled, Proxy, Qdrant};
use qdrant_client::qdrant::{CountPointsBuilder, Distance};
use qdrant_client::{Qdrant as Client, QdrantError};
use serde_json::json;
use tonic::Code;

const UPSERT: &str = "Points/Upsert";

/// A server with a collection, a proxy before it, and clients of both.
struct Scene {
    server: Qdrant,
    proxy: Proxy,
    direct: Client,
    client: Client,
}

impl Scene {
    async fn set() -> Self {
        let server = Qdrant::start();
        let direct = client(server.address());
        create(&direct, Distance::Dot).await;
        let proxy = Proxy::start(server.address(), Faults::none());
        let client = client(proxy.address());
        Self {
            server,
            proxy,
            direct,
            client,
        }
    }

    async fn store(&self, id: u64) -> Result<(), QdrantError> {
        upsert(&self.client, vec![point(id, [1.0, 0.0], json!({}))]).await
    }

    fn stored(&self, id: u64) -> bool {
        self.server.collection(NAME).unwrap().point(id).is_some()
    }

    fn last(&self) -> Handled {
        self.proxy.log().pop().unwrap()
    }
}

fn handled(method: &str, faults: &[Fault]) -> Handled {
    Handled {
        method: method.to_owned(),
        faults: faults.to_vec(),
    }
}

#[tokio::test]
async fn without_faults_everything_passes() {
    let scene = Scene::set().await;
    scene.store(1).await.unwrap();
    // Much more than a window of the protocol.
    let fields = json!({"text": "x".repeat(3 << 20)});
    let points = vec![point(2, [1.0, 0.0], fields)];
    upsert(&scene.client, points).await.unwrap();
    assert!(scene.stored(1) && scene.stored(2));
    let count = CountPointsBuilder::new(NAME).exact(true);
    let count = scene.client.count(count).await.unwrap();
    assert_eq!(count.result.unwrap().count, 2);
    let (code, message) = refusal(scene.client.collection_info("nothing").await);
    assert_eq!(code, Code::NotFound);
    assert_eq!(message, "Not found: Collection `nothing` doesn't exist!");
    let methods = [UPSERT, UPSERT, "Points/Count", "Collections/Get"];
    assert_eq!(
        scene.proxy.log(),
        methods.map(|method| handled(method, &[]))
    );
}

#[tokio::test]
async fn refusals_are_not_passed_on() {
    let scene = Scene::set().await;
    for code in [
        Code::Unavailable,
        Code::Aborted,
        Code::Internal,
        Code::DeadlineExceeded,
    ] {
        scene.proxy.set(Faults::always(code));
        assert_eq!(refusal(scene.store(1).await).0, code);
        assert_eq!(scene.last(), handled(UPSERT, &[Fault::Refused(code)]));
    }
    scene.proxy.set(Faults {
        retry_after: 7,
        ..Faults::always(Code::ResourceExhausted)
    });
    match scene.store(1).await.unwrap_err() {
        QdrantError::ResourceExhaustedError {
            retry_after_seconds,
            ..
        } => assert_eq!(retry_after_seconds, 7),
        error => panic!("no time to wait was told: {error}"),
    }
    assert_eq!(scene.server.requests_of(UPSERT), 0);
}

#[tokio::test]
async fn replies_that_are_lost_belong_to_requests_that_were_done() {
    let scene = Scene::set().await;
    for (id, faults) in [
        (
            1,
            Faults {
                lose_reply: 1.0,
                ..Faults::always(Code::Aborted)
            },
        ),
        (
            2,
            Faults {
                cut_after: 1.0,
                ..Faults::none()
            },
        ),
        (
            3,
            Faults {
                garble: 1.0,
                ..Faults::none()
            },
        ),
        (
            4,
            Faults {
                truncate: 1.0,
                ..Faults::none()
            },
        ),
    ] {
        let faults = Faults {
            refuse: 0.0,
            ..faults
        };
        scene.proxy.set(faults);
        let error = scene.store(id).await.unwrap_err();
        assert!(scene.stored(id), "{error}");
    }
    let done = [
        Fault::ReplyLost(Code::Aborted),
        Fault::CutAfter,
        Fault::Garbled,
        Fault::Truncated,
    ];
    // The client has tried some of them once more.
    let mut log = scene.proxy.log();
    log.dedup();
    assert_eq!(log, done.map(|fault| handled(UPSERT, &[fault])));
    // And the next one passes: a client that was cut off connects again.
    scene.proxy.set(Faults::none());
    scene.store(5).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_cut_takes_all_along() {
    let scene = Arc::new(Scene::set().await);
    scene.store(1).await.unwrap();
    let before = scene.proxy.log().len();
    scene.proxy.set(Faults {
        delay: 1.0,
        max_delay: Duration::from_secs(600),
        ..Faults::none().only(&["Points/Count"])
    });
    let waiting = {
        let scene = scene.clone();
        tokio::spawn(async move { scene.client.count(CountPointsBuilder::new(NAME)).await })
    };
    while scene.proxy.log().len() == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    scene.proxy.set(Faults {
        cut_before: 1.0,
        ..Faults::none()
    });
    scene.store(2).await.unwrap_err();
    assert!(!scene.stored(2));
    // The client may already try the other one again.
    let cut = handled(UPSERT, &[Fault::CutBefore]);
    assert!(scene.proxy.log().contains(&cut));
    let started = Instant::now();
    waiting.await.unwrap().unwrap_err();
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "it was cut off, it did not time out"
    );
    assert_eq!(scene.server.requests_of("Points/Count"), 0);
}

#[tokio::test]
async fn duplicates_come_at_once_or_later() {
    let scene = Scene::set().await;
    scene.proxy.set(Faults {
        duplicate: 1.0,
        ..Faults::none()
    });
    scene.store(1).await.unwrap();
    assert_eq!(scene.server.requests_of(UPSERT), 2);
    assert_eq!(scene.last(), handled(UPSERT, &[Fault::Duplicated]));

    scene.proxy.set(Faults {
        duplicate_late: 1.0,
        max_delay: Duration::from_secs(2),
        ..Faults::none()
    });
    scene.store(2).await.unwrap();
    let [Fault::DuplicatedLate(later)] = scene.last().faults[..] else {
        panic!("{:?}", scene.last());
    };
    assert_eq!(
        scene.server.requests_of(UPSERT),
        3,
        "not yet: after {later:?}"
    );
    // Meanwhile the point is removed; the duplicate brings it back.
    let delete = qdrant_client::qdrant::DeletePointsBuilder::new(NAME).points(
        qdrant_client::qdrant::PointsIdsList {
            ids: vec![2.into()],
        },
    );
    scene.direct.delete_points(delete).await.unwrap();
    assert!(!scene.stored(2));
    let started = Instant::now();
    while !scene.stored(2) {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "it does not come"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(scene.server.requests_of(UPSERT), 4);
}

#[tokio::test]
async fn delays_are_as_long_as_the_log_says() {
    let scene = Scene::set().await;
    scene.proxy.set(Faults {
        delay: 1.0,
        delay_reply: 1.0,
        max_delay: Duration::from_millis(300),
        ..Faults::none()
    });
    let started = Instant::now();
    scene.store(1).await.unwrap();
    let taken = started.elapsed();
    match scene.last().faults[..] {
        [Fault::Delayed(before), Fault::ReplyDelayed(after)] => {
            assert!(taken >= before + after, "{taken:?} {before:?} {after:?}");
            assert!(before.max(after) <= Duration::from_millis(300));
        }
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_reply_waits_for_a_later_one() {
    let scene = Arc::new(Scene::set().await);
    scene.store(1).await.unwrap();
    scene.proxy.set(Faults {
        reorder: 1.0,
        max_hold: Duration::from_secs(40),
        ..Faults::none().at_most(1)
    });
    let first = {
        let scene = scene.clone();
        tokio::spawn(async move { scene.store(2).await })
    };
    while !scene.stored(2) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The reply is there, and not told.
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(!first.is_finished());
    let started = Instant::now();
    scene.store(3).await.unwrap();
    first.await.unwrap().unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "it waited in vain"
    );

    // Alone it is told after a while.
    scene.proxy.set(Faults {
        reorder: 1.0,
        max_hold: Duration::from_millis(80),
        ..Faults::none()
    });
    let started = Instant::now();
    scene.store(4).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(80));
}

#[tokio::test]
async fn poisoned_points_are_refused_whatever_else_is_set() {
    let scene = Scene::set().await;
    scene.proxy.set(Faults {
        poison: Some(b"poisoned".to_vec()),
        ..Faults::none().at_most(0)
    });
    let good = || point(1, [1.0, 0.0], json!({"key": "good"}));
    let bad = || point(2, [1.0, 0.0], json!({"key": "poisoned one"}));
    for _ in 0..3 {
        let (code, _) = refusal(upsert(&scene.client, vec![good(), bad()]).await);
        assert_eq!(code, Code::InvalidArgument);
        assert_eq!(scene.last(), handled(UPSERT, &[Fault::Poisoned]));
    }
    upsert(&scene.client, vec![good()]).await.unwrap();
    assert!(scene.stored(1) && !scene.stored(2));
}

#[tokio::test]
async fn faults_meet_only_the_methods_that_were_named_and_end() {
    let scene = Scene::set().await;
    scene
        .proxy
        .set(Faults::always(Code::Aborted).only(&[UPSERT]).at_most(2));
    assert!(scene.client.collection_exists(NAME).await.unwrap());
    for _ in 0..2 {
        assert_eq!(refusal(scene.store(1).await).0, Code::Aborted);
    }
    scene.store(1).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_away_is_told_and_found_again() {
    let mut scene = Scene::set().await;
    scene.store(1).await.unwrap();
    scene.server.stop();
    assert_eq!(refusal(scene.store(2).await).0, Code::Unavailable);
    assert_eq!(refusal(scene.store(2).await).0, Code::Unavailable);
    scene.server.start_again();
    scene.store(2).await.unwrap();
    assert!(scene.stored(2));
}

#[tokio::test]
async fn with_all_faults_at_once_retries_store_everything() {
    let scene = Scene::set().await;
    let points = 60;
    scene.proxy.set(Faults {
        max_delay: Duration::from_millis(5),
        max_hold: Duration::from_millis(5),
        ..Faults::all(11, 0.08)
    });
    let mut failures = 0;
    for id in 0..points {
        while scene.store(id).await.is_err() {
            failures += 1;
        }
    }
    assert_eq!(
        scene.server.collection(NAME).unwrap().points().len() as u64,
        points
    );
    let met: Vec<Fault> = scene
        .proxy
        .log()
        .into_iter()
        .flat_map(|one| one.faults)
        .collect();
    assert!(failures > 5 && met.len() > failures, "{failures} {met:?}");
}

//! What happens when the way to the cluster, or a node of it, fails.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use lookalike_gallery::{
    ClusterAddress, ClusterGallery, ClusterOptions, CodeSpec, Gallery, GalleryError,
    GalleryOptions, Point, Retries, SearchRequest, Upserted,
};
use lookalike_neighbours::Metric;
use lookalike_testing::{Fault, Faults, Handled, Id, Proxy, Qdrant};
use tonic::Code;

use crate::suite::samples::points;
use crate::suite::{DIMS, MODEL, ids};

pub const CASES: &[(&str, fn())] = &[
    (
        "faults::nothing_is_lost_or_doubled",
        nothing_is_lost_or_doubled,
    ),
    (
        "faults::answers_are_right_whatever_happens_on_the_way",
        answers_are_right_whatever_happens_on_the_way,
    ),
    (
        "faults::retries_end_and_all_failures_are_listed",
        retries_end_and_all_failures_are_listed,
    ),
    (
        "faults::one_bad_point_fails_alone",
        one_bad_point_fails_alone,
    ),
    (
        "faults::a_key_that_may_only_read_is_refused_at_once",
        a_key_that_may_only_read_is_refused_at_once,
    ),
    (
        "faults::what_cannot_pass_is_not_tried_again",
        what_cannot_pass_is_not_tried_again,
    ),
    (
        "faults::a_limit_of_rate_is_heeded",
        a_limit_of_rate_is_heeded,
    ),
    (
        "faults::a_lost_node_is_replaced_by_another",
        a_lost_node_is_replaced_by_another,
    ),
    (
        "faults::a_node_that_comes_back_is_waited_for",
        a_node_that_comes_back_is_waited_for,
    ),
    (
        "faults::collections_are_made_on_a_bad_way",
        collections_are_made_on_a_bad_way,
    ),
];

/// Tries `attempts` times, quickly.
fn options(attempts: usize) -> ClusterOptions {
    let retries = Retries {
        attempts,
        base: Duration::from_millis(2),
        cap: Duration::from_millis(20),
    };
    ClusterOptions {
        reading: retries,
        writing: retries,
        timeout: Duration::from_secs(5),
        ..ClusterOptions::default()
    }
}

fn address(proxy: &Proxy) -> ClusterAddress {
    format!("qdrant://{}/points", proxy.address())
        .parse()
        .unwrap()
}

fn make(address: &ClusterAddress, options: ClusterOptions) -> Result<ClusterGallery, GalleryError> {
    ClusterGallery::open_or_create(
        address,
        &CodeSpec::new(Metric::Cosine, DIMS, MODEL),
        &GalleryOptions::new().cluster(options),
    )
}

/// A server with an empty gallery behind a proxy that does nothing yet.
fn behind_a_proxy(options: ClusterOptions) -> (Qdrant, Proxy, ClusterGallery) {
    let server = Qdrant::start();
    let proxy = Proxy::start(server.address(), Faults::none());
    let gallery = make(&address(&proxy), options).unwrap();
    (server, proxy, gallery)
}

/// That the server has exactly these points, exactly so.
fn assert_has(server: &Qdrant, points: &[Point]) {
    let stored = server.collection("points").unwrap();
    let expected: HashSet<Id> = points.iter().map(|point| Id::from(point.id)).collect();
    let found: HashSet<Id> = stored.points().keys().copied().collect();
    assert_eq!(found, expected);
    let direct = format!("qdrant://{}/points", server.address())
        .parse()
        .unwrap();
    let direct = ClusterGallery::open(
        &direct,
        &GalleryOptions::new().cluster(ClusterOptions::default()),
    )
    .unwrap();
    let all: Vec<_> = points.iter().map(|point| point.id).collect();
    assert_eq!(direct.retrieve(&all).unwrap(), points);
}

fn nothing_is_lost_or_doubled() {
    for seed in 0..4 {
        let (server, proxy, _) = behind_a_proxy(options(60));
        let points = points(1_500, DIMS, 40 + seed);
        proxy.set(Faults::all(seed, 0.06));
        // Two workers, each with its own connection, overlapping.
        std::thread::scope(|scope| {
            for part in [&points[..1_000], &points[600..]] {
                let proxy = &proxy;
                scope.spawn(move || {
                    let gallery = make(&address(proxy), options(60)).unwrap();
                    for some in part.chunks(300) {
                        let upserted = gallery.upsert(some).unwrap();
                        let seen = upserted.added + upserted.changed + upserted.unchanged;
                        assert_eq!(seen, some.len());
                    }
                });
            }
        });
        let log = proxy.log();
        let harmed = log
            .iter()
            .filter(|handled| !handled.faults.is_empty())
            .count();
        assert!(
            harmed > 20,
            "{harmed} of {} requests met a fault",
            log.len()
        );
        proxy.set(Faults::none());
        // What is sent late a second time arrives too.
        proxy.settle();
        assert_has(&server, &points);
        let gallery = make(&address(&proxy), options(2)).unwrap();
        let again = gallery.upsert(&points).unwrap();
        assert_eq!(
            again,
            Upserted {
                unchanged: 1_500,
                ..Upserted::default()
            }
        );
        // And deleted once, whatever happens to the requests.
        proxy.set(Faults::all(seed + 100, 0.06));
        let gone: Vec<_> = points[..700].iter().map(|point| point.id).collect();
        let gallery = make(&address(&proxy), options(60)).unwrap();
        assert_eq!(gallery.delete(&gone).unwrap(), 700);
        proxy.settle();
        assert_has(&server, &points[700..]);
    }
}

fn answers_are_right_whatever_happens_on_the_way() {
    let (_server, proxy, gallery) = behind_a_proxy(options(60));
    let points = points(600, DIMS, 50);
    gallery.upsert(&points).unwrap();
    let questions: Vec<_> = (0..60)
        .map(|i| SearchRequest {
            filter: (i % 3 == 0).then(|| "width>=30".parse().unwrap()),
            metric: (i % 5 == 0).then_some(Metric::Manhattan),
            ..SearchRequest::new(points[i * 7].code.clone(), 9)
        })
        .collect();
    let quiet: Vec<_> = questions
        .iter()
        .map(|q| gallery.search(q).unwrap())
        .collect();
    proxy.set(Faults::all(51, 0.06));
    for (question, expected) in questions.iter().zip(&quiet) {
        assert_eq!(gallery.search(question).unwrap(), *expected);
        assert_eq!(gallery.count(None).unwrap(), 600);
    }
    assert_eq!(gallery.facets("label", None, 3).unwrap().len(), 3);
    let page = gallery.scroll(None, 600, None).unwrap();
    assert!(page.is_sorted_by_key(|point| point.id) && page.len() == 600);
}

fn retries_end_and_all_failures_are_listed() {
    const ATTEMPTS: usize = 4;
    for code in [
        Code::Unavailable,
        Code::DeadlineExceeded,
        Code::Aborted,
        Code::Internal,
    ] {
        let (server, proxy, gallery) = behind_a_proxy(options(ATTEMPTS));
        let points = points(1_000, DIMS, 52);
        gallery.upsert(&points[..100]).unwrap();
        proxy.set(Faults::always(code).only(&["Points/Upsert"]));
        let before = proxy.log().len();
        let error = gallery.upsert(&points).unwrap_err();
        let message = error.to_string();
        let GalleryError::NotStored {
            of, failed, stored, ..
        } = error
        else {
            panic!("{message}");
        };
        let lost: HashSet<_> = failed.iter().map(|(id, _)| *id).collect();
        let expected: HashSet<_> = points[100..].iter().map(|point| point.id).collect();
        assert_eq!(lost, expected, "exactly those that are not there");
        assert_eq!((failed.len(), of), (900, 1_000), "each once");
        assert_eq!(
            stored,
            Upserted {
                unchanged: 100,
                ..Upserted::default()
            }
        );
        assert!(
            message.contains("900 of 1000") && message.contains("4 times"),
            "{message}"
        );
        let tried = proxy.log()[before..]
            .iter()
            .filter(|handled| handled.method == "Points/Upsert")
            .count();
        // The client itself tries each attempt a second time on a new connection, for some
        // failures.
        let batches = 1_000usize.div_ceil(256);
        let most = batches * ATTEMPTS * 2;
        assert!(
            (batches * ATTEMPTS..=most).contains(&tried),
            "{tried} for {batches} batches"
        );
        assert_has(&server, &points[..100]);
        // And what was not stored is, once the fault is over.
        proxy.set(Faults::none());
        assert_eq!(gallery.upsert(&points).unwrap().added, 900);
        assert_has(&server, &points);
    }
    // When nothing at all is answered, too.
    let (server, proxy, gallery) = behind_a_proxy(options(ATTEMPTS));
    let points = points(500, DIMS, 53);
    proxy.set(Faults {
        cut_before: 1.0,
        ..Faults::none()
    });
    let Err(GalleryError::NotStored { failed, .. }) = gallery.upsert(&points) else {
        panic!("nothing can be stored");
    };
    assert_eq!(failed.len(), 500);
    let error = gallery.count(None).unwrap_err();
    assert!(
        matches!(
            error,
            GalleryError::Unreachable {
                attempts: ATTEMPTS,
                ..
            }
        ),
        "{error}"
    );
    assert_has(&server, &[]);
}

fn one_bad_point_fails_alone() {
    let (server, proxy, gallery) = behind_a_proxy(options(5));
    let mut points = points(700, DIMS, 54);
    let bad = [0, 255, 256, 400, 401, 699];
    for &at in &bad {
        points[at].payload.location = Some(format!("/photos/poisoned/{at}"));
    }
    proxy.set(Faults::poison("/photos/poisoned/"));
    let Err(GalleryError::NotStored { failed, stored, .. }) = gallery.upsert(&points) else {
        panic!("some cannot be stored");
    };
    let lost: HashSet<_> = failed.iter().map(|(id, _)| *id).collect();
    assert_eq!(lost, bad.iter().map(|&at| points[at].id).collect());
    assert_eq!((failed.len(), stored.added), (6, 694));
    let kept: Vec<_> = points
        .iter()
        .filter(|p| !lost.contains(&p.id))
        .cloned()
        .collect();
    assert_has(&server, &kept);
}

fn a_key_that_may_only_read_is_refused_at_once() {
    for code in [Code::PermissionDenied, Code::Unauthenticated] {
        let (server, proxy, gallery) = behind_a_proxy(options(5));
        let mut faults = Faults::always(code);
        faults.only_methods = Some(vec!["Points/Upsert".to_owned()]);
        proxy.set(faults);
        let before = proxy.log().len();
        // One request's worth of points: nothing is divided, nothing is asked again.
        let error = gallery.upsert(&points(256, DIMS, 55)).unwrap_err();
        assert!(matches!(error, GalleryError::Refused { .. }), "{error}");
        let log = proxy.log();
        let refused = |handled: &&Handled| handled.faults.contains(&Fault::Refused(code));
        assert_eq!(log[before..].iter().filter(refused).count(), 1);
        assert_has(&server, &[]);
    }
}

fn what_cannot_pass_is_not_tried_again() {
    let (_server, proxy, gallery) = behind_a_proxy(options(50));
    for code in [
        Code::InvalidArgument,
        Code::PermissionDenied,
        Code::Unimplemented,
    ] {
        proxy.set(Faults::always(code));
        let before = proxy.log().len();
        gallery.count(None).unwrap_err();
        assert_eq!(proxy.log().len() - before, 1, "{code:?}");
    }
}

fn a_limit_of_rate_is_heeded() {
    let (_server, proxy, gallery) = behind_a_proxy(options(5));
    proxy.set(Faults::always(Code::ResourceExhausted).at_most(1));
    let began = Instant::now();
    assert_eq!(gallery.count(None).unwrap(), 0);
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "asked to wait a second"
    );
}

fn a_lost_node_is_replaced_by_another() {
    let mut first = Qdrant::start();
    let second = first.join();
    let address = format!("qdrant://{},{}/points", first.address(), second.address());
    let address: ClusterAddress = address.parse().unwrap();
    let gallery = make(&address, options(10)).unwrap();
    let points = points(900, DIMS, 55);
    gallery.upsert(&points[..300]).unwrap();
    assert!(
        first.requests_of("Points/Upsert") > 0,
        "the first is asked first"
    );
    first.stop();
    assert_eq!(gallery.upsert(&points[..600]).unwrap().added, 300);
    let request = SearchRequest::new(points[450].code.clone(), 1);
    assert_eq!(ids(&gallery.search(&request).unwrap()), [points[450].id]);
    first.start_again();
    assert_eq!(gallery.upsert(&points).unwrap().added, 300);
    assert_has(&second, &points);
}

fn a_node_that_comes_back_is_waited_for() {
    let mut server = Qdrant::start();
    let address: ClusterAddress = format!("qdrant://{}/points", server.address())
        .parse()
        .unwrap();
    let patient = ClusterOptions {
        writing: Retries::attempts(12),
        reading: Retries::attempts(12),
        ..ClusterOptions::default()
    };
    let gallery = make(&address, patient).unwrap();
    let points = points(400, DIMS, 56);
    server.stop();
    std::thread::scope(|scope| {
        let storing = scope.spawn(|| gallery.upsert(&points).unwrap());
        std::thread::sleep(Duration::from_millis(700));
        server.start_again();
        assert_eq!(storing.join().unwrap().added, 400);
    });
    assert_has(&server, &points);
}

fn collections_are_made_on_a_bad_way() {
    for seed in 0..4 {
        let server = Qdrant::start();
        let proxy = Proxy::start(server.address(), Faults::all(60 + seed, 0.08));
        let gallery = make(&address(&proxy), options(60)).unwrap();
        let indexes = gallery.cluster_info().unwrap().payload_indexes;
        assert_eq!(indexes.len(), 9, "{indexes:?}");
        // Done, but the answer was lost, and so it was tried again.
        let lost = Proxy::start(
            server.address(),
            Faults {
                lose_reply: 1.0,
                codes: vec![Code::Unavailable],
                ..Faults::none()
            }
            .only(&["Collections/Create"])
            .at_most(1),
        );
        let other: ClusterAddress = format!("qdrant://{}/other", lost.address())
            .parse()
            .unwrap();
        ClusterGallery::create(
            &other,
            &CodeSpec::new(Metric::Dot, 3, MODEL),
            &GalleryOptions::new().cluster(options(60)),
        )
        .unwrap();
        let met = lost
            .log()
            .iter()
            .flat_map(|handled| handled.faults.clone())
            .collect::<Vec<_>>();
        assert_eq!(met, [Fault::ReplyLost(Code::Unavailable)]);
    }
}

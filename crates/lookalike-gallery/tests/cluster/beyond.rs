//! What a gallery on a cluster promises beyond the contract.

use lookalike_gallery::{
    ClusterGallery, ClusterOptions, CodeSpec, CollectionLayout, DiffusionState, Gallery,
    GalleryError, GalleryOptions, Point, Quantization, Rerank, SearchRequest, Upserted,
    model_fingerprint, remove_collection, switch_alias,
};
use lookalike_neighbours::Metric;
use lookalike_testing::{Options, Qdrant};
use qdrant_client::qdrant::{CreateCollectionBuilder, Distance, VectorParamsBuilder};

use crate::Place;
use crate::suite::samples::{point, points};
use crate::suite::{DIMS, MODEL, ids};

/// A case, with its name.
pub type Case = (&'static str, fn(&Place));

pub const CASES: &[Case] = &[
    (
        "a_gallery_for_something_else_is_refused",
        a_gallery_for_something_else_is_refused,
    ),
    (
        "what_is_no_gallery_is_refused",
        what_is_no_gallery_is_refused,
    ),
    ("many_can_begin_at_once", many_can_begin_at_once),
    (
        "a_collection_is_made_as_asked",
        a_collection_is_made_as_asked,
    ),
    ("an_alias_is_switched_at_once", an_alias_is_switched_at_once),
    ("two_that_overlap_do_no_harm", two_that_overlap_do_no_harm),
    (
        "diffusion_says_that_it_does_not_work",
        diffusion_says_that_it_does_not_work,
    ),
    (
        "reading_all_of_a_large_one_is_refused",
        reading_all_of_a_large_one_is_refused,
    ),
];

/// Cases on servers of their own.
pub const OF_THEIR_OWN: &[(&str, fn())] = &[(
    "keys_and_versions_are_checked",
    keys_and_versions_are_checked,
)];

fn open_or_create(
    place: &Place,
    address: &lookalike_gallery::ClusterAddress,
    wanted: Option<Metric>,
    dims: usize,
    model: &[u8],
) -> Result<ClusterGallery, GalleryError> {
    ClusterGallery::open_or_create(
        address,
        &CodeSpec::new(Metric::Cosine, dims, model),
        &GalleryOptions::new()
            .cluster(place.options.clone())
            .layout(place.layout())
            .metric(wanted),
    )
}

fn a_gallery_for_something_else_is_refused(place: &Place) {
    let address = place.fresh();
    let _keep = place.keep(&address);
    drop(open_or_create(place, &address, None, 8, MODEL).unwrap());
    let again = open_or_create(place, &address, None, 8, MODEL).unwrap();
    assert_eq!(again.describe().unwrap().metric, Metric::Cosine);
    let error = open_or_create(place, &address, Some(Metric::Dot), 9, b"other").unwrap_err();
    assert!(matches!(error, GalleryError::Mismatch { .. }), "{error}");
    let message = error.to_string();
    for part in ["cosine", "dot", "is 8", "is 9", &address.to_string()] {
        assert!(message.contains(part), "{message}");
    }
    for model in [MODEL, b"other"] {
        assert!(message.contains(&model_fingerprint(model)), "{message}");
    }
    let layout = place.layout();
    let taken = ClusterGallery::create(
        &address,
        &CodeSpec::new(Metric::Dot, 8, MODEL),
        &GalleryOptions::new()
            .cluster(place.options.clone())
            .layout(layout.clone()),
    );
    assert!(matches!(
        taken.unwrap_err(),
        GalleryError::AlreadyExists { .. }
    ));
}

fn what_is_no_gallery_is_refused(place: &Place) {
    let address = place.fresh();
    let open = || {
        ClusterGallery::open(
            &address,
            &GalleryOptions::new().cluster(place.options.clone()),
        )
    };
    let error = open().unwrap_err();
    assert!(matches!(error, GalleryError::NotFound { .. }), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    // A collection that somebody else made.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let host = address.to_string().replace("qdrant", "http");
    let host = host
        .rsplit_once('/')
        .unwrap()
        .0
        .split(',')
        .next()
        .unwrap()
        .to_owned();
    let client = qdrant_client::Qdrant::from_url(&host)
        .api_key(place.options.api_key.clone())
        .skip_compatibility_check()
        .build()
        .unwrap();
    let request = CreateCollectionBuilder::new(address.name())
        .vectors_config(VectorParamsBuilder::new(4, Distance::Dot));
    runtime.block_on(client.create_collection(request)).unwrap();
    for error in [
        open().unwrap_err(),
        open_or_create(place, &address, None, 4, MODEL).unwrap_err(),
        switch_alias(&place.fresh(), address.name(), place.options.clone()).unwrap_err(),
        remove_collection(&address, place.options.clone()).unwrap_err(),
    ] {
        assert!(matches!(error, GalleryError::NotAGallery { .. }), "{error}");
    }
    runtime
        .block_on(client.delete_collection(address.name()))
        .unwrap();
}

fn many_can_begin_at_once(place: &Place) {
    let address = place.fresh();
    let _keep = place.keep(&address);
    let points = points(600, DIMS, 31);
    std::thread::scope(|scope| {
        for part in 0..6 {
            let (points, address) = (&points, &address);
            scope.spawn(move || {
                let gallery = open_or_create(place, address, None, DIMS, MODEL).unwrap();
                gallery.upsert(&points[part * 100..][..100]).unwrap();
            });
        }
    });
    let gallery = ClusterGallery::open(
        &address,
        &GalleryOptions::new().cluster(place.options.clone()),
    )
    .unwrap();
    assert_eq!(gallery.count(None).unwrap(), 600);
    // Whoever made it made its indexes too.
    let indexes = gallery.cluster_info().unwrap().payload_indexes;
    assert!(indexes.len() >= 9, "{indexes:?}");
}

fn a_collection_is_made_as_asked(place: &Place) {
    let address = place.fresh();
    let _keep = place.keep(&address);
    for quantization in [
        Quantization::None,
        Quantization::Scalar,
        Quantization::Binary,
        Quantization::Product,
    ] {
        let layout = CollectionLayout {
            shards: Some(5),
            replicas: Some(2),
            write_consistency: Some(1),
            codes_on_disk: true,
            index_on_disk: true,
            hnsw_m: Some(24),
            hnsw_ef_construct: Some(77),
            quantization,
            payload_indexes: vec![
                "year=number".parse().unwrap(),
                "city-name=keyword".parse().unwrap(),
            ],
        };
        let gallery = ClusterGallery::create(
            &address,
            &CodeSpec::new(Metric::Cosine, DIMS, MODEL),
            &GalleryOptions::new()
                .cluster(place.options.clone())
                .layout(layout.clone()),
        )
        .unwrap();
        let points = points(300, DIMS, 32);
        gallery.upsert(&points).unwrap();
        // Whatever is searched with, answers are ranked by the codes as they are.
        let answer = gallery
            .search(&SearchRequest::new(points[7].code.clone(), 3))
            .unwrap();
        assert_eq!(ids(&answer)[0], points[7].id);
        assert_eq!(answer.neighbours[0].payload, points[7].payload);
        let filter = "year>=2000".parse().unwrap();
        let passing = points.iter().filter(|p| filter_holds(&filter, p)).count();
        assert_eq!(gallery.count(Some(&filter)).unwrap(), passing);
        drop(gallery);

        let gallery = ClusterGallery::open(
            &address,
            &GalleryOptions::new().cluster(place.options.clone()),
        )
        .unwrap();
        let info = gallery.describe().unwrap();
        let cluster = gallery.cluster_info().unwrap();
        assert_eq!(
            (cluster.shards, cluster.replicas, cluster.write_consistency),
            (5, 2, 1)
        );
        assert!(cluster.codes_on_disk && cluster.index_on_disk);
        assert_eq!((cluster.hnsw_m, cluster.hnsw_ef_construct), (24, 77));
        let named = serde_json::to_value(quantization).unwrap();
        assert_eq!(cluster.quantization, named.as_str().unwrap());
        assert_eq!(
            (cluster.collection.as_str(), cluster.alias),
            (address.name(), None)
        );
        for field in [
            "source", "label", "blake3", "key", "location", "width", "height", "bytes", "modified",
        ] {
            assert!(
                cluster.payload_indexes.iter().any(|name| name == field),
                "{field}"
            );
        }
        for field in ["year", "city-name"] {
            let has = cluster
                .payload_indexes
                .iter()
                .any(|name| name.contains(field));
            assert!(has, "{field} in {:?}", cluster.payload_indexes);
        }
        assert_eq!(info.points, 300);
        remove_collection(&address, place.options.clone()).unwrap();
    }
}

fn filter_holds(filter: &lookalike_gallery::Filter, point: &Point) -> bool {
    filter.matches(&point.payload)
}

fn an_alias_is_switched_at_once(place: &Place) {
    let (alias, first, second) = (place.fresh(), place.fresh(), place.fresh());
    let _keep = [place.keep(&first), place.keep(&second)];
    let make = |address, model: &[u8], seed| {
        let gallery = open_or_create(place, address, None, DIMS, model).unwrap();
        gallery.upsert(&points(20, DIMS, seed)).unwrap();
    };
    make(&first, MODEL, 33);
    make(&second, b"a newer model", 34);
    let switch = |to: &str| switch_alias(&alias, to, place.options.clone());
    let error = switch("lookalike-test-nothing").unwrap_err();
    assert!(matches!(error, GalleryError::NotFound { .. }), "{error}");
    switch(first.name()).unwrap();
    let gallery = ClusterGallery::open(
        &alias,
        &GalleryOptions::new().cluster(place.options.clone()),
    )
    .unwrap();
    let info = gallery.describe().unwrap();
    assert_eq!(info.name, alias.to_string());
    let cluster = gallery.cluster_info().unwrap();
    assert_eq!(cluster.collection, first.name());
    assert_eq!(cluster.alias.as_deref(), Some(alias.name()));
    assert!(!gallery.has_moved().unwrap());
    switch(second.name()).unwrap();
    assert!(gallery.has_moved().unwrap());
    // Codes of two models are never compared: who has it open stays with what it was.
    let old = points(20, DIMS, 33);
    assert_eq!(gallery.retrieve(&[old[3].id]).unwrap(), [old[3].clone()]);
    let error = open_or_create(place, &alias, None, DIMS, MODEL).unwrap_err();
    assert!(matches!(error, GalleryError::Mismatch { .. }), "{error}");
    let now = ClusterGallery::open(
        &alias,
        &GalleryOptions::new().cluster(place.options.clone()),
    )
    .unwrap();
    let fingerprint = now.describe().unwrap().model_fingerprint;
    assert_eq!(fingerprint, model_fingerprint(b"a newer model"));
    assert!(!now.has_moved().unwrap());
    // A collection's own name is no alias.
    let error = switch_alias(&first, second.name(), place.options.clone()).unwrap_err();
    assert!(
        matches!(error, GalleryError::AlreadyExists { .. }),
        "{error}"
    );
    let error = remove_collection(&alias, place.options.clone()).unwrap_err();
    assert!(error.to_string().contains(second.name()), "{error}");
    let first = ClusterGallery::open(
        &first,
        &GalleryOptions::new().cluster(place.options.clone()),
    )
    .unwrap();
    assert!(!first.has_moved().unwrap());
}

fn two_that_overlap_do_no_harm(place: &Place) {
    let address = place.fresh();
    let _keep = place.keep(&address);
    let points = points(2_000, DIMS, 35);
    let upserted: Vec<Upserted> = std::thread::scope(|scope| {
        let workers: Vec<_> = [&points[..1_300], &points[700..]]
            .into_iter()
            .map(|part| {
                let address = &address;
                scope.spawn(move || {
                    let gallery = open_or_create(place, address, None, DIMS, MODEL).unwrap();
                    gallery.upsert(part).unwrap()
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect()
    });
    let seen: usize = upserted
        .iter()
        .map(|u| u.added + u.changed + u.unchanged)
        .sum();
    assert_eq!(seen, 2_600);
    let gallery = ClusterGallery::open(
        &address,
        &GalleryOptions::new().cluster(place.options.clone()),
    )
    .unwrap();
    assert_eq!(gallery.count(None).unwrap(), 2_000);
    let again = gallery.upsert(&points).unwrap();
    assert_eq!(
        again,
        Upserted {
            unchanged: 2_000,
            ..Upserted::default()
        }
    );
}

fn diffusion_says_that_it_does_not_work(place: &Place) {
    let subject = place.gallery(Metric::Cosine, DIMS);
    let gallery = &subject.gallery;
    gallery.upsert(&points(30, DIMS, 36)).unwrap();
    let request = SearchRequest {
        rerank: Rerank::Diffusion,
        ..SearchRequest::new(vec![1.0; DIMS], 3)
    };
    let error = gallery.search(&request).unwrap_err();
    assert!(
        matches!(error, GalleryError::NotOnCluster { .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("copy the gallery to a folder"),
        "{error}"
    );
    assert_eq!(
        gallery.describe().unwrap().diffusion,
        DiffusionState::Unavailable
    );
}

fn reading_all_of_a_large_one_is_refused(place: &Place) {
    let subject = place.gallery(Metric::Euclidean, 2);
    let gallery = &subject.gallery;
    let code = |i: usize| vec![i as f32, 1.0];
    for some in (0..100_001).collect::<Vec<_>>().chunks(10_000) {
        let some: Vec<_> = some.iter().map(|&i| point(i, code(i))).collect();
        gallery.upsert(&some).unwrap();
    }
    let by_another = SearchRequest {
        metric: Some(Metric::Manhattan),
        ..SearchRequest::new(code(7), 3)
    };
    let searched = gallery.search(&by_another).unwrap_err();
    let counted = gallery.facets("width", None, 5).unwrap_err();
    for error in [searched, counted] {
        assert!(
            matches!(error, GalleryError::NotOnCluster { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("100001 points"), "{error}");
    }
    // What the cluster does itself goes on, and so does what a filter makes small enough.
    assert_eq!(gallery.facets("label", None, 20).unwrap().len(), 10);
    let few = SearchRequest {
        filter: Some("label=7".parse().unwrap()),
        ..by_another
    };
    assert_eq!(gallery.search(&few).unwrap().neighbours.len(), 3);
    let huge = SearchRequest::new(code(7), usize::MAX);
    assert_eq!(gallery.search(&huge).unwrap().neighbours.len(), 100_001);
}

/// A real cluster has one key and one version.
fn keys_and_versions_are_checked() {
    let server = Qdrant::with(Options {
        api_key: Some("secret".into()),
        ..Options::default()
    });
    let address = format!("qdrant://{}/locked", server.address())
        .parse()
        .unwrap();
    let open = |key: Option<&str>| {
        let options = ClusterOptions {
            api_key: key.map(str::to_owned),
            ..ClusterOptions::default()
        };
        ClusterGallery::create(
            &address,
            &CodeSpec::new(Metric::Dot, 3, MODEL),
            &GalleryOptions::new().cluster(options),
        )
    };
    for wrong in [None, Some("guess")] {
        let error = open(wrong).unwrap_err();
        assert!(matches!(error, GalleryError::Refused { .. }), "{error}");
        assert!(
            error.to_string().contains("LOOKALIKE_QDRANT_API_KEY"),
            "{error}"
        );
        assert!(!format!("{error:?}").contains("guess"), "{error:?}");
    }
    open(Some("secret")).unwrap();
    let old = Qdrant::with(Options {
        version: "1.15.5".into(),
        ..Options::default()
    });
    let address = format!("qdrant://{}/old", old.address()).parse().unwrap();
    let error = ClusterGallery::open(
        &address,
        &GalleryOptions::new().cluster(ClusterOptions::default()),
    )
    .unwrap_err();
    assert!(error.to_string().contains("1.15.5"), "{error}");
}

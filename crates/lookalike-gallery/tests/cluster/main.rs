//! What every gallery must do (`suite`), on a cluster: always on a small server that speaks
//! Qdrant's protocol, and on a real cluster if `LOOKALIKE_TEST_QDRANT_URL` names one, as
//! `qdrant://host:6334`. Without it those tests are reported as ignored. And what a gallery on a
//! cluster promises beyond it, on both.

mod beyond;
mod faults;
#[path = "../suite/mod.rs"]
mod suite;

use std::any::Any;
use std::process::ExitCode;
use std::sync::OnceLock;

use libtest_mimic::{Arguments, Trial};
use lookalike_gallery::{
    ClusterAddress, ClusterGallery, ClusterOptions, CodeSpec, CollectionLayout, GalleryOptions,
};
use lookalike_neighbours::Metric;
use lookalike_testing::Qdrant;

use suite::samples::Random;
use suite::{Factory, MODEL, Subject, with_cases};

/// The variable that names a real cluster, without a collection: by the addresses of galleries, or
/// by `http://` and `https://`.
const URL: &str = "LOOKALIKE_TEST_QDRANT_URL";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let cluster = std::env::var(URL).is_ok_and(|url| !url.is_empty());
    let mut trials = Vec::new();
    for (place, factory, is_there) in [
        ("double", on_the_double as Factory, true),
        ("cluster", on_a_cluster as Factory, cluster),
    ] {
        for (name, case) in cases() {
            let run = move || {
                case(factory);
                Ok(())
            };
            let trial = Trial::test(format!("{place}::{name}"), run);
            trials.push(trial.with_ignored_flag(!is_there));
        }
    }
    for (name, case) in beyond::CASES {
        for (place, is_there) in [("double", true), ("cluster", cluster)] {
            let run = move || {
                let server = match place {
                    "double" => Place::double(),
                    _ => Place::cluster(),
                };
                case(&server);
                Ok(())
            };
            let trial = Trial::test(format!("{place}::beyond::{name}"), run);
            trials.push(trial.with_ignored_flag(!is_there));
        }
    }
    // On servers of their own.
    for (name, case) in [beyond::OF_THEIR_OWN, faults::CASES].concat() {
        let run = move || {
            case();
            Ok(())
        };
        trials.push(Trial::test(format!("double::{name}"), run));
    }
    if !cluster {
        eprintln!("SKIPPED: the tests on a real cluster; {URL} names none");
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A case of the contract, with its name.
type Case = (&'static str, fn(Factory));

fn cases() -> Vec<Case> {
    macro_rules! list {
        ($($case:ident),*) => { vec![$( (stringify!($case), suite::$case as fn(Factory)) ),*] };
    }
    with_cases!(list)
}

/// Where collections of tests are, and how they are spoken to.
pub struct Place {
    url: String,
    /// How it is spoken to.
    pub options: ClusterOptions,
}

impl Place {
    /// The small server, one for all tests.
    pub fn double() -> Self {
        static DOUBLE: OnceLock<Qdrant> = OnceLock::new();
        let double = DOUBLE.get_or_init(Qdrant::start);
        Self {
            url: format!("qdrant://{}", double.address()),
            options: ClusterOptions::default(),
        }
    }

    /// The real one.
    pub fn cluster() -> Self {
        let url = std::env::var(URL).unwrap();
        let url = url
            .replace("http://", "qdrant://")
            .replace("https://", "qdrants://");
        Self {
            url: url.trim_end_matches('/').to_owned(),
            options: ClusterOptions::from_environment().unwrap(),
        }
    }

    /// The address of a collection that is not there yet.
    pub fn fresh(&self) -> ClusterAddress {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = u64::from(std::process::id()) << 32 ^ now.unwrap().as_nanos() as u64;
        self.named(&format!("lookalike-test-{:016x}", Random(seed).next()))
    }

    /// The address of any name.
    pub fn named(&self, name: &str) -> ClusterAddress {
        format!("{}/{name}", self.url).parse().unwrap()
    }

    /// How collections of tests are made: on several nodes, where there are some, so that what is
    /// written to one is read from another.
    pub fn layout(&self) -> CollectionLayout {
        CollectionLayout {
            shards: Some(3),
            replicas: Some(2),
            ..CollectionLayout::default()
        }
    }

    /// An empty gallery.
    pub fn gallery(&self, metric: Metric, dims: usize) -> Subject {
        let address = self.fresh();
        let gallery = ClusterGallery::create(
            &address,
            &CodeSpec::new(metric, dims, MODEL),
            &GalleryOptions::new()
                .cluster(self.options.clone())
                .layout(self.layout()),
        );
        Subject {
            gallery: Box::new(gallery.unwrap()),
            _keep: self.keep(&address),
        }
    }

    /// What removes a collection when it is dropped.
    pub fn keep(&self, address: &ClusterAddress) -> Box<dyn Any> {
        Box::new(Removed {
            address: address.clone(),
            options: self.options.clone(),
        })
    }
}

/// A collection that goes when this is dropped.
struct Removed {
    address: ClusterAddress,
    options: ClusterOptions,
}

impl Drop for Removed {
    fn drop(&mut self) {
        // One that stays behind is no failure of what was tested.
        let _ = lookalike_gallery::remove_collection(&self.address, self.options.clone());
    }
}

fn on_the_double(metric: Metric, dims: usize) -> Subject {
    Place::double().gallery(metric, dims)
}

fn on_a_cluster(metric: Metric, dims: usize) -> Subject {
    Place::cluster().gallery(metric, dims)
}

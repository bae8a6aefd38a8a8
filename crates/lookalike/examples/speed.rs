//! How fast the project's parts are, one at a time: our side of the benchmark in `bench/`, which
//! runs it in turn with its peers and compares what they print.
//!
//! `cargo run --release --example speed -- train --arch conv --batch 128`; `--help` lists the
//! measurements. Everything goes through the crates' public interfaces.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Parser, Subcommand, ValueEnum};
use lookalike::autoencoder::{
    Architecture, DeviceChoice, EpochRecord, Observer, TrainConfig, train,
};
use lookalike::gallery::{
    CodeSpec, EmbeddedGallery, Gallery, GalleryError, GalleryOptions, Payload, Point, SearchRequest,
};
use lookalike::images::Collection;
use lookalike::neighbours::{Codes, Metric, nearest};
use lookalike::{AssessOptions, Searcher, assess, open};

/// Floats of a code, and the neighbours that are asked for, as the peers have them.
const DIMS: usize = 64;
const K: usize = 6;
/// Points that are stored at a time: each time ends with a write to the disk.
const STORED_TOGETHER: usize = 4_000;

type Outcome = Result<(), Box<dyn Error>>;

#[derive(Parser)]
struct Arguments {
    /// Threads to compute with [default: all cores]
    #[arg(long, global = true)]
    threads: Option<usize>,
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Subcommand)]
enum Measurement {
    /// Training of a network with its own recipe: images/s of each epoch (the first one warms up)
    Train {
        #[arg(long, default_value = "conv")]
        arch: Architecture,
        #[arg(long)]
        batch: Option<usize>,
        #[arg(long, default_value_t = 12_032)]
        images: usize,
        #[arg(long, default_value_t = 3)]
        epochs: usize,
    },
    /// Encoding with the article's encoder: images/s of each pass, after one that warms up
    Encode {
        #[arg(long, default_value_t = 20_000)]
        images: usize,
        #[arg(long, default_value_t = 3)]
        passes: usize,
    },
    /// The default recipe on mnist:train, and what its codes of mnist:test are worth
    Recipe {
        #[arg(long)]
        epochs: Option<usize>,
        #[arg(long)]
        images: Option<usize>,
    },
    /// Neighbours of the queries among the codes that `bench/peers/neighbours.py --prepare` wrote
    Neighbours {
        /// Where codes.f32 and truth.u32 are
        #[arg(long)]
        folder: PathBuf,
        #[arg(long, value_enum)]
        way: Way,
        /// Queries asked one at a time
        #[arg(long, default_value_t = 2_000)]
        singles: usize,
    },
    /// A gallery, asked with images of a source one at a time: milliseconds of a search, half and
    /// nearly all of them; recall; memory
    Gallery {
        #[arg(long)]
        gallery: String,
        /// What is asked with
        #[arg(long)]
        source: String,
        #[arg(long, default_value_t = 1_000)]
        queries: usize,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Way {
    /// Comparing with every code
    Exact,
    /// The embedded gallery's index, one caller
    Approximate,
}

fn main() -> Outcome {
    keep_freed_memory();
    let arguments = Arguments::parse();
    lookalike::kernels::set_threads(arguments.threads);
    match arguments.measurement {
        Measurement::Train {
            arch,
            batch,
            images,
            epochs,
        } => {
            let mut config = TrainConfig::new(arch);
            config.epochs = epochs;
            config.batch = batch.unwrap_or(config.batch);
            let collection = mnist("mnist:train", Some(images))?;
            train(
                &collection,
                &config,
                DeviceChoice::Cpu,
                None,
                &mut Rates(images),
            )?;
            Ok(())
        }
        Measurement::Encode { images, passes } => encode(images, passes),
        Measurement::Recipe { epochs, images } => recipe(epochs, images),
        Measurement::Neighbours {
            folder,
            way,
            singles,
        } => neighbours(&folder, way, singles),
        Measurement::Gallery {
            gallery,
            source,
            queries,
        } => in_gallery(&gallery, &source, queries),
    }
}

/// The same among the images of one label, a tenth of all: each query asks for another than it
/// would find.
fn filtered(searcher: &Searcher, codes: &[Vec<f32>]) -> Outcome {
    let labels = searcher.gallery().facets("label", None, 100)?;
    if labels.is_empty() {
        return Ok(());
    }
    let (mut times, mut right, mut asked) = (Vec::new(), 0, 0);
    for (code, number) in codes.iter().zip(0..) {
        let label = labels[number % labels.len()]
            .value
            .as_str()
            .unwrap_or_default();
        let request = SearchRequest {
            filter: Some(format!("label={label}").parse()?),
            ..SearchRequest::new(code.clone(), OF_GALLERY)
        };
        let start = Instant::now();
        let found = searcher.gallery().search(&request)?.neighbours;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        let request = SearchRequest {
            exact: true,
            ..request
        };
        let truth = searcher.gallery().search(&request)?.neighbours;
        let known = |id| found.iter().any(|hit| hit.id == id);
        right += truth.iter().filter(|hit| known(hit.id)).count();
        asked += truth.len();
    }
    times.sort_by(f64::total_cmp);
    println!("filtered p50 ms {:.3}", times[times.len() / 2]);
    println!("filtered recall {:.4}", right as f64 / asked as f64);
    Ok(())
}

/// Neighbours that are asked of a gallery.
const OF_GALLERY: usize = 5;

fn in_gallery(gallery: &str, source: &str, queries: usize) -> Outcome {
    let start = Instant::now();
    let searcher = Searcher::open(gallery, &[], DeviceChoice::Cpu)?;
    println!("open seconds {:.3}", start.elapsed().as_secs_f64());
    let encoder = searcher.encoder();
    let codes: Vec<Vec<f32>> = open(source)?
        .images()?
        .take(queries)
        .map(|image| encoder.encode_picture(&image.pixels.into()))
        .collect::<Result<_, _>>()?;
    let ask = |code: &[f32], exact| -> Result<Vec<_>, GalleryError> {
        let request = SearchRequest {
            exact,
            ..SearchRequest::new(code.to_vec(), OF_GALLERY)
        };
        let answer = searcher.gallery().search(&request)?;
        Ok(answer.neighbours.into_iter().map(|hit| hit.id).collect())
    };
    // Once to warm up.
    for code in &codes {
        ask(code, false)?;
    }
    let mut times = Vec::with_capacity(codes.len());
    let mut found = Vec::with_capacity(codes.len());
    for code in &codes {
        let start = Instant::now();
        found.push(ask(code, false)?);
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let of = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("p50 ms {:.3}", of(0.5));
    println!("p99 ms {:.3}", of(0.99));
    let mut right = 0;
    let (start, mut asked) = (Instant::now(), 0);
    for (code, found) in codes.iter().zip(&found) {
        let truth = ask(code, true)?;
        right += truth.iter().filter(|id| found.contains(id)).count();
        asked += truth.len();
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("recall {:.4}", right as f64 / asked as f64);
    filtered(&searcher, &codes)?;
    println!("exact ms {:.3}", seconds * 1e3 / codes.len() as f64);
    Ok(())
}

/// As the program does: the C library keeps what a step frees for the next one.
fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, 32 << 20),
        (libc::M_TRIM_THRESHOLD, 1 << 30),
        (libc::M_TOP_PAD, 64 << 20),
    ] {
        // SAFETY: mallopt takes two numbers and has no other precondition; no other thread runs
        // yet.
        unsafe { libc::mallopt(parameter, value) };
    }
}

fn mnist(name: &str, images: Option<usize>) -> Result<Collection, Box<dyn Error>> {
    Ok(open(name)?.load(None, images)?)
}

/// Prints the rate of every epoch over this many images.
struct Rates(usize);

impl Observer for Rates {
    fn epoch(&mut self, number: usize, epoch: &EpochRecord) {
        println!(
            "epoch {} loss {:.5} images/s {:.0}",
            number - 1,
            epoch.loss,
            self.0 as f64 / epoch.seconds
        );
    }
}

fn encode(images: usize, passes: usize) -> Outcome {
    let collection = mnist("mnist:train", Some(images))?;
    // How well it encodes does not change how fast: some steps of training are enough.
    let few = mnist("mnist:train", Some(512))?;
    let config = TrainConfig {
        epochs: 1,
        ..TrainConfig::new(Architecture::Conv)
    };
    let model = train(&few, &config, DeviceChoice::Cpu, None, &mut ())?;
    model.encode(collection.pixels())?;
    for _ in 0..passes {
        let start = Instant::now();
        let codes = model.encode(collection.pixels())?;
        let seconds = start.elapsed().as_secs_f64();
        let encoded = codes.len() / model.code_dim();
        println!("lookalike images/s {:.0}", encoded as f64 / seconds);
    }
    Ok(())
}

fn recipe(epochs: Option<usize>, images: Option<usize>) -> Outcome {
    let collection = mnist("mnist:train", images)?;
    let mut config = TrainConfig::new(Architecture::Bottleneck);
    config.epochs = epochs.unwrap_or(config.epochs);
    let start = Instant::now();
    let mut rates = Rates(collection.len());
    let model = train(&collection, &config, DeviceChoice::Cpu, None, &mut rates)?;
    println!("training seconds {:.2}", start.elapsed().as_secs_f64());
    let test = mnist("mnist:test", None)?;
    let scores = assess(&model, &test, None, &AssessOptions::new(Metric::Cosine))?;
    println!("P@5 {:.4}", scores.precision_at_5);
    Ok(())
}

fn neighbours(folder: &Path, way: Way, singles: usize) -> Outcome {
    let codes: Vec<f32> = words(&folder.join("codes.f32"), f32::from_le_bytes)?;
    let truth: Vec<u32> = words(&folder.join("truth.u32"), u32::from_le_bytes)?;
    let gallery = Codes::new(&codes, DIMS)?;
    let queries = gallery.rows(0, truth.len() / K);
    match way {
        Way::Exact => exact(gallery, queries, &truth, singles.min(500)),
        Way::Approximate => approximate(gallery, queries, &truth, singles),
    }
}

/// The little-endian words of a file.
fn words<T>(path: &Path, word: impl Fn([u8; 4]) -> T) -> Result<Vec<T>, Box<dyn Error>> {
    let bytes = std::fs::read(path)
        .map_err(|e| format!("cannot read {} (bench/run writes it): {e}", path.display()))?;
    let chunks = bytes.chunks_exact(4);
    Ok(chunks
        .map(|chunk| word([chunk[0], chunk[1], chunk[2], chunk[3]]))
        .collect())
}

fn exact(gallery: Codes, queries: Codes, truth: &[u32], singles: usize) -> Outcome {
    let start = Instant::now();
    let answers = nearest(gallery, queries, Metric::Euclidean, K);
    rate("batch", queries.len(), start);
    let found = answers
        .iter()
        .map(|answer| answer.iter().map(|n| n.index as u32).collect());
    print_recall(found, truth);
    let singles = singles.min(queries.len());
    let start = Instant::now();
    for query in 0..singles {
        let query = queries.rows(query, query + 1);
        std::hint::black_box(nearest(gallery, query, Metric::Euclidean, K));
    }
    rate("single", singles, start);
    Ok(())
}

fn approximate(codes: Codes, queries: Codes, truth: &[u32], singles: usize) -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("codes.gallery");
    let gallery = EmbeddedGallery::create(
        &path,
        &CodeSpec::new(Metric::Euclidean, DIMS, b"no model"),
        &GalleryOptions::new(),
    )?;
    let start = Instant::now();
    let all: Vec<usize> = (0..codes.len()).collect();
    for some in all.chunks(STORED_TOGETHER) {
        let points: Vec<Point> = some.iter().map(|&row| point(row, codes.row(row))).collect();
        gallery.upsert(&points)?;
    }
    gallery.optimise()?;
    // As a server does when it starts.
    gallery.keep_codes()?;
    println!("build seconds {:.2}", start.elapsed().as_secs_f64());
    let info = gallery.describe()?;
    if info.indexed < info.points {
        println!("indexed {} of {}", info.indexed, info.points);
    }
    let ask = |query: usize| gallery.search(&SearchRequest::new(queries.row(query).to_vec(), K));
    ask(0)?;
    let singles = singles.min(queries.len());
    let start = Instant::now();
    let answers = (0..singles).map(ask).collect::<Result<Vec<_>, _>>()?;
    rate("single", singles, start);
    let keys = |hits: &[lookalike::gallery::Hit]| -> Result<Vec<u32>, _> {
        hits.iter().map(|hit| hit.payload.key.parse()).collect()
    };
    let found = answers
        .iter()
        .map(|answer| keys(&answer.neighbours))
        .collect::<Result<Vec<_>, _>>()?;
    print_recall(found.into_iter(), truth);
    Ok(())
}

/// A code's place among the codes is its key.
fn point(row: usize, code: &[f32]) -> Point {
    let payload = Payload {
        source: "codes".to_owned(),
        key: row.to_string(),
        ..Payload::default()
    };
    Point::new(code.to_vec(), payload)
}

fn rate(what: &str, queries: usize, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{what} queries/s {:.0}", queries as f64 / seconds);
}

/// Prints the share of the right answers that were found.
fn print_recall(found: impl ExactSizeIterator<Item = Vec<u32>>, truth: &[u32]) {
    let asked = found.len() * K;
    let right: usize = found
        .zip(truth.chunks_exact(K))
        .map(|(found, truth)| truth.iter().filter(|&t| found.contains(t)).count())
        .sum();
    println!("recall {:.4}", right as f64 / asked as f64);
}

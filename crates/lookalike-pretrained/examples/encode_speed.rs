//! How fast a model runs, for `bench/encoders`: `encode_speed MODEL IMAGES THREADS HOW`, where HOW
//! is a runtime of ours, `rten` or `onnxruntime`, or `bare`: rten with nothing of ours around it.
//!
//! Prints one line of JSON: images a second in batches, as an index is made; the seconds of
//! processor time for each; the seconds that one image takes, as a search asks; the memory of the
//! process. Images are prepared before.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use lookalike_images::Pixels;
use lookalike_pretrained::{Pretrained, PretrainedOptions};
use rten::{Dimension, Model, RunOptions, ThreadPool, Value};

/// Images that go through the model together, as in an index.
const BATCH: usize = 8;
/// Single images, of which the median counts.
const SINGLE: usize = 20;

/// Encodes so many images.
type Encode = Box<dyn Fn(usize) -> Result<(), Box<dyn Error>>>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, images, threads, how] = &arguments[..] else {
        return Err("usage: encode_speed MODEL IMAGES THREADS rten|onnxruntime|bare".into());
    };
    let (images, threads): (usize, usize) = (images.parse()?, threads.parse()?);
    let encode = match how.as_str() {
        "bare" => bare(&file(Path::new(model)), threads)?,
        runtime => ours(Path::new(model), threads, runtime)?,
    };
    encode(BATCH)?;
    let batches = images.div_ceil(BATCH).max(1);
    let (start, before) = (Instant::now(), processor_seconds());
    for _ in 0..batches {
        encode(BATCH)?;
    }
    let done = (batches * BATCH) as f64;
    let rate = done / start.elapsed().as_secs_f64();
    let cost = (processor_seconds() - before) / done;
    let mut each = Vec::with_capacity(SINGLE);
    for _ in 0..images.clamp(1, SINGLE) {
        let start = Instant::now();
        encode(1)?;
        each.push(start.elapsed().as_secs_f64());
    }
    each.sort_by(f64::total_cmp);
    println!(
        "{{\"images_per_second\": {rate}, \"processor_seconds\": {cost}, \"seconds\": {}, \"resident_mib\": {}}}",
        each[each.len() / 2],
        resident_mib()
    );
    Ok(())
}

/// The model's file in a folder.
fn file(model: &Path) -> PathBuf {
    match model.is_dir() {
        true => model.join("model.onnx"),
        false => model.to_owned(),
    }
}

fn ours(model: &Path, threads: usize, runtime: &str) -> Result<Encode, Box<dyn Error>> {
    let options = PretrainedOptions {
        threads: Some(threads),
        runtime: Some(runtime.parse()?),
        ..PretrainedOptions::default()
    };
    let encoder = Pretrained::open(model, &options)?;
    let picture = |seed: usize| {
        let values = (0..320 * 240 * 3).map(|i| ((i / 7 * 31 + i % 13 * seed) % 251) as u8);
        Pixels::new(320, 240, 3, values.collect())
    };
    let batch: Vec<Pixels> = (0..BATCH)
        .map(|seed| Ok(encoder.prepare(&picture(seed)?)?))
        .collect::<Result<_, Box<dyn Error>>>()?;
    Ok(Box::new(move |count| {
        encoder.encode_prepared(&batch[..count])?;
        Ok(())
    }))
}

fn bare(model: &Path, threads: usize) -> Result<Encode, Box<dyn Error>> {
    let model = Model::load_file(model)?;
    let threads = Arc::new(ThreadPool::with_num_threads(threads));
    let (input, output) = (model.input_ids()[0], model.output_ids()[0]);
    let info = model.node_info(input).ok_or("the model has no input")?;
    let sides: Vec<usize> = info
        .shape()
        .ok_or("its input has no shape")?
        .iter()
        .skip(1)
        .map(|side| match side {
            Dimension::Fixed(side) => Ok(*side),
            Dimension::Symbolic(name) => Err(format!("{name} is open")),
        })
        .collect::<Result<_, _>>()?;
    Ok(Box::new(move |count| {
        let shape = [vec![count], sides.clone()].concat();
        let values = (0..shape.iter().product()).map(|i: usize| (i % 251) as f32 / 125.0 - 1.0);
        let value = Value::from_shape(shape, values.collect())?;
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&threads)));
        model.run(vec![(input, value.into())], &[output], Some(options))?;
        Ok(())
    }))
}

/// Processor time of all threads of the process so far; 0 where the system does not say.
fn processor_seconds() -> f64 {
    /// What Linux counts in.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which may hold anything: the 12th and the 13th.
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = fields.split(' ').skip(11).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / TICKS_PER_SECOND
}

/// What the process has in memory; 0 where the system does not say.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

//! How many photographs a second are decoded and brought to a network's shape, on one thread and on
//! two: `cargo bench -p lookalike-images --bench decode -- FOLDER`. `benches/decode.py FOLDER` is
//! the same with Pillow.
//!
//! The files of a folder are grouped by what stands before the first `-` of their names.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lookalike_images::{DecodeOptions, Fit, InputShape, decode};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;

/// How long each figure is measured, at least.
const ENOUGH: Duration = Duration::from_millis(1500);

fn main() {
    let folder = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let Some(folder) = folder.map(PathBuf::from) else {
        println!("decode: give a folder of photographs to measure");
        return;
    };
    let mut groups: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder that can be read") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let group = name.split('-').next().unwrap_or_default().to_owned();
        groups
            .entry(group)
            .or_default()
            .push(std::fs::read(&path).expect("a file"));
    }
    for (group, files) in &groups {
        for side in [28, 64, 128] {
            let shape = InputShape {
                channels: 3,
                height: side,
                width: side,
            };
            let options = DecodeOptions {
                target: Some((side, side)),
                ..DecodeOptions::default()
            };
            for threads in [1, 2] {
                rate(
                    &format!("{group} to {side}, {threads} threads"),
                    files,
                    threads,
                    |file| {
                        decode(file, &options)
                            .expect("a picture")
                            .fit(shape, Fit::Stretch, [255; 3])
                            .into_data()
                    },
                );
            }
        }
        let shape = InputShape {
            channels: 3,
            height: 128,
            width: 128,
        };
        rate(
            &format!("{group} whole, to 128, 1 thread"),
            files,
            1,
            |file| {
                let whole = decode(file, &DecodeOptions::default()).expect("a picture");
                whole.fit(shape, Fit::Stretch, [255; 3]).into_data()
            },
        );
        if files.iter().all(|file| file.starts_with(&[0xff, 0xd8])) {
            rate(
                &format!("{group} whole by zune-jpeg, 1 thread"),
                files,
                1,
                |file| {
                    JpegDecoder::new(ZCursor::new(file))
                        .decode()
                        .expect("a JPEG")
                },
            );
        }
    }
}

/// Nanoseconds of processor time.
static BUSY: AtomicU64 = AtomicU64::new(0);

/// The processor time of this thread in nanoseconds, where Linux says it: on a busy machine the
/// fairer figure.
fn busy() -> u64 {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = times.split(' ').next().unwrap_or_default();
    first.parse().unwrap_or(0)
}

fn rate(name: &str, files: &[Vec<u8>], threads: usize, work: impl Fn(&[u8]) -> Vec<u8> + Sync) {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let file = next.fetch_add(1, Ordering::Relaxed);
                    black_box(work(&files[file % files.len()]));
                    if start.elapsed() > ENOUGH {
                        break;
                    }
                }
                BUSY.fetch_add(busy(), Ordering::Relaxed);
            });
        }
    });
    let busy = BUSY.swap(0, Ordering::Relaxed);
    let (count, seconds) = (next.load(Ordering::Relaxed), start.elapsed().as_secs_f64());
    println!(
        "{name}: {:.2} ms an image, {:.2} ms of processor time, {:.1} images/s",
        1e3 * seconds / count as f64,
        1e-6 * busy as f64 / count as f64,
        count as f64 / seconds
    );
}

//! Locks, and folders that are not what they should be.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lookalike_gallery::{
    CodeSpec, DiffusionState, EmbeddedGallery, Gallery, GalleryError, GalleryOptions, Rerank,
    SearchRequest,
};
use lookalike_neighbours::{DiffusionConfig, Metric};

use crate::place::folder;
use crate::suite::samples::{Random, points};

const FOLDER: &str = "LOOKALIKE_TEST_LOCKED_GALLERY";
/// Tells it the number of the process that does.
const HOLDER: &str = "LOOKALIKE_TEST_HOLDER";

fn gallery() -> (tempfile::TempDir, PathBuf) {
    let folder = folder();
    let path = folder.path().join("test.gallery");
    let gallery = EmbeddedGallery::create(
        &path,
        &CodeSpec::new(Metric::Euclidean, 4, b"model"),
        &GalleryOptions::new(),
    )
    .unwrap();
    gallery.upsert(&points(100, 4, 51)).unwrap();
    gallery
        .build_diffusion(&DiffusionConfig::default())
        .unwrap();
    (folder, path)
}

/// Not a test of its own: the second process. It succeeds when it is kept out as it should be.
#[test]
fn second_process() {
    if let Ok(folder) = std::env::var(FOLDER) {
        let message = EmbeddedGallery::open(&folder).unwrap_err().to_string();
        let pid = std::env::var(HOLDER).unwrap();
        let holder = format!("in use by the tests of damage (pid {pid})");
        assert!(message.contains(&holder), "{message}");
    }
}

#[test]
fn a_second_process_is_kept_out() {
    lookalike_gallery::Holder::name_this_process("the tests of damage");
    let (_folder, path) = gallery();
    let open = EmbeddedGallery::open(&path).unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "damage::second_process"])
        .env(FOLDER, &path)
        .env(HOLDER, std::process::id().to_string())
        .status();
    assert!(status.unwrap().success());
    // So is a second opening in this one.
    let error = EmbeddedGallery::open(&path).unwrap_err();
    assert!(matches!(error, GalleryError::InUse { .. }), "{error}");
    drop(open);
    EmbeddedGallery::open(&path).unwrap();
}

#[test]
fn what_is_no_gallery_is_said_to_be_none() {
    let folder = folder();
    let error = EmbeddedGallery::open(folder.path().join("no")).unwrap_err();
    assert!(matches!(error, GalleryError::NotFound { .. }), "{error}");
    let error = EmbeddedGallery::open(folder.path()).unwrap_err();
    assert!(matches!(error, GalleryError::NotAGallery { .. }), "{error}");
    let file = folder.path().join("file");
    fs::write(&file, "text").unwrap();
    let error = EmbeddedGallery::open(&file).unwrap_err();
    assert!(matches!(error, GalleryError::NotAGallery { .. }), "{error}");
}

#[test]
fn a_manifest_that_is_not_ours_is_refused() {
    let (_folder, path) = gallery();
    let manifest = path.join("gallery.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let newer = text.replace("\"format\": 1", "\"format\": 7");
    assert_ne!(newer, text);
    fs::write(&manifest, newer).unwrap();
    let error = EmbeddedGallery::open(&path).unwrap_err();
    assert!(
        matches!(error, GalleryError::Version { found: 7, .. }),
        "{error}"
    );
    for damage in [
        "",
        "{",
        "[]",
        "{\"format\": 1}",
        &text.replace("\"dims\": 4", "\"dims\": 0"),
        &text.replace("\"dims\": 4", "\"dims\": 65537"),
        &text.replace("\"dims\": 4", "\"dims\": 18446744073709551615"),
        "\0\0",
    ] {
        fs::write(&manifest, damage).unwrap();
        let error = EmbeddedGallery::open(&path).unwrap_err();
        assert!(
            matches!(error, GalleryError::Damaged { .. }),
            "{damage:?}: {error}"
        );
    }
    fs::write(&manifest, text).unwrap();
    assert_eq!(
        EmbeddedGallery::open(&path).unwrap().count(None).unwrap(),
        100
    );
}

#[test]
fn a_model_that_was_exchanged_is_noticed() {
    let (_folder, path) = gallery();
    fs::write(path.join("model.safetensors"), "another").unwrap();
    let error = EmbeddedGallery::open(&path).unwrap().model().unwrap_err();
    assert!(error.to_string().contains("fingerprint"), "{error}");
}

#[test]
fn a_damaged_neighbour_graph_is_noticed_and_built_anew() {
    let (_folder, path) = gallery();
    let file = path.join("diffusion.bin");
    let bytes = fs::read(&file).unwrap();
    let request = SearchRequest {
        rerank: Rerank::Diffusion,
        ..SearchRequest::new(points(1, 4, 51).remove(0).code, 5)
    };
    let open = || EmbeddedGallery::open(&path).unwrap();
    let before = open().search(&request).unwrap();
    let cuts = [0, 1, 7, 15, 16, 20, 300, bytes.len() / 2, bytes.len() - 1];
    let cuts = cuts.map(|length| bytes[..length].to_vec());
    let garbled = [0, 9, 13, 40, 1_000].map(|at| {
        let mut garbled = bytes.clone();
        garbled[at] ^= 0x55;
        garbled
    });
    for damaged in cuts.into_iter().chain(garbled) {
        fs::write(&file, damaged).unwrap();
        let gallery = open();
        let error = gallery.search(&request).unwrap_err();
        assert!(
            matches!(error, GalleryError::DamagedDiffusion { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("build it again"), "{error}");
        // Whoever indexes again learns from this that it is missing.
        let state = gallery.describe().unwrap().diffusion;
        assert_eq!(state, DiffusionState::Absent);
        let plain = SearchRequest::new(request.code.clone(), 5);
        assert_eq!(gallery.search(&plain).unwrap().neighbours.len(), 5);
    }
    // Rows are not read when the graph is opened; once one was found damaged, that is remembered.
    let mut damaged = bytes.clone();
    damaged[3_000..].fill(0x55);
    fs::write(&file, damaged).unwrap();
    assert_eq!(open().describe().unwrap().diffusion, DiffusionState::Fresh);
    let error = open().search(&request).unwrap_err();
    assert!(
        matches!(error, GalleryError::DamagedDiffusion { .. }),
        "{error}"
    );
    let gallery = open();
    assert_eq!(gallery.describe().unwrap().diffusion, DiffusionState::Stale);
    gallery
        .build_diffusion(&DiffusionConfig::default())
        .unwrap();
    assert_eq!(gallery.describe().unwrap().diffusion, DiffusionState::Fresh);
    assert_eq!(gallery.search(&request).unwrap(), before);
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// Whatever is done to the engine's files, opening and searching give an answer or an error.
#[test]
fn a_damaged_shard_never_panics() {
    let (_folder, path) = gallery();
    let mut found = Vec::new();
    files(&path.join("shard"), &mut found);
    found.sort();
    let mut random = Random(52);
    let mut refused = 0;
    for file in &found {
        let bytes = fs::read(file).unwrap();
        let mut garbled = bytes.clone();
        for byte in garbled.iter_mut().take(4_096) {
            *byte = random.next() as u8;
        }
        for damage in [Vec::new(), bytes[..bytes.len() / 2].to_vec(), garbled] {
            fs::write(file, damage).unwrap();
            match EmbeddedGallery::open(&path) {
                Ok(gallery) => {
                    let _ = gallery.search(&SearchRequest::new(vec![1.0; 4], 5));
                }
                Err(error) => {
                    assert!(error.to_string().contains("damaged"), "{error}");
                    refused += 1;
                }
            }
        }
        fs::write(file, bytes).unwrap();
    }
    assert!(refused > 0);
    for missing in ["shard/segments", "shard/wal", "shard"] {
        let away = path.join("away");
        fs::rename(path.join(missing), &away).unwrap();
        let error = EmbeddedGallery::open(&path).unwrap_err();
        assert!(matches!(error, GalleryError::Damaged { .. }), "{error}");
        let _ = fs::remove_dir_all(path.join(missing));
        fs::rename(&away, path.join(missing)).unwrap();
    }
}

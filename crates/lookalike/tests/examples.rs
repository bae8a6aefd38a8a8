//! The examples do what they say they do.

use std::path::{Path, PathBuf};
use std::process::Command;

use lookalike::autoencoder::{Architecture, Autoencoder, DeviceChoice, TrainConfig, train};
use lookalike::{GalleryOptions, create_gallery, open};
use lookalike_testing::Qdrant;

/// Runs an example that was built with this test; gives what it printed.
fn run(name: &str, arguments: &[&str]) -> String {
    let this = std::env::current_exe().unwrap();
    let built = this.ancestors().nth(2).unwrap();
    let output = Command::new(built.join("examples").join(name))
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{name}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// A folder with the first test images of MNIST as PNG files, and a model of one epoch.
struct Digits {
    folder: tempfile::TempDir,
    model: Autoencoder,
}

impl Digits {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = open("mnist:test").unwrap().load(None, Some(48)).unwrap();
        std::fs::create_dir(folder.path().join("digits")).unwrap();
        for index in 0..images.len() {
            let name = format!("digits/{index:02}.png");
            let picture = images.picture(index);
            picture.write_png(folder.path().join(name)).unwrap();
        }
        let config = TrainConfig {
            epochs: 1,
            batch: 16,
            ..TrainConfig::new(Architecture::Bottleneck)
        };
        let model = train(&images, &config, DeviceChoice::Cpu, None, &mut ()).unwrap();
        model.save(&folder.path().join("m.safetensors")).unwrap();
        Self { folder, model }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn search_folder_finds_five() {
    let digits = Digits::new();
    let query = digits.text("digits/07.png");
    let said = run("search_folder", &[&digits.text("digits"), &query]);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "48 images indexed");
    assert_eq!(lines[1], format!("like {query}:"));
    assert_eq!(lines.len(), 2 + 5, "{said}");
    assert!(lines[2..].iter().all(|line| !line.ends_with(" 07.png")));
}

#[test]
fn own_encoder_finds_a_copy() {
    let digits = Digits::new();
    std::fs::copy(digits.path("digits/03.png"), digits.path("digits/99.png")).unwrap();
    let said = run("own_encoder", &[&digits.text("digits")]);
    let expected = "nearest by their colours, 0.000 apart: ";
    assert!(said.starts_with(expected), "{said}");
    assert!(said.contains("03.png") && said.contains("99.png"), "{said}");
}

#[test]
fn own_storage_compares_codes() {
    let digits = Digits::new();
    let arguments = [digits.text("m.safetensors"), digits.text("digits")];
    let said = run("own_storage", &arguments.each_ref().map(String::as_str));
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 11, "{said}");
    assert!(lines[0].starts_with("48 codes of "), "{said}");
    assert!(lines[1].starts_with("00.png: ") && lines[1].matches(", ").count() == 2);
}

#[test]
fn watch_folder_takes_what_is_there() {
    let digits = Digits::new();
    let path = digits.path("g");
    drop(create_gallery(&path, &digits.model, &GalleryOptions::new()).unwrap());
    let arguments = [digits.text("digits"), digits.text("g"), "1".to_owned()];
    let arguments = arguments.each_ref().map(String::as_str);
    let said = run("watch_folder", &arguments);
    assert_eq!(said, "48 added, 0 changed, 0 removed; 48 images\n");
    std::fs::remove_file(Path::new(arguments[0]).join("00.png")).unwrap();
    let said = run("watch_folder", &arguments);
    assert_eq!(said, "0 added, 0 changed, 1 removed; 47 images\n");
}

#[test]
fn cluster_fills_and_searches() {
    let digits = Digits::new();
    let qdrant = Qdrant::start();
    let address = format!("qdrant://{}/example", qdrant.address());
    let (model, source) = (digits.text("m.safetensors"), digits.text("digits"));
    let said = run("cluster", &[&address, &model, &source]);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "48 images, 48 added", "{said}");
    assert_eq!(lines.len(), 2 + 5, "{said}");
    assert!(qdrant.collection("example").is_some());
}

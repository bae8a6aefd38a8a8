//! The promises of parts, for every kind of source: they are disjoint, together the whole, stable
//! while files come and go, and as equal as names allow.

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use lookalike_sources::{
    Entry, Part, PartNumber, SkipKind, Skipped, Source, SourceOptions, open_bytes, sample,
};
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use rayon::prelude::*;
use support::stores::{options, s3, web};
use support::{all, gzip, member, open, open_spec, parquet, read, tar, tar_member, zip, zstandard};

/// The most workers that share a source here.
const MAX_PARTS: u32 = 64;

/// Names and contents of images; those without content are passed over.
type Images = Vec<(String, Vec<u8>)>;

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn images(names: impl IntoIterator<Item = String>) -> Images {
    let image = |name: String| (name.clone(), format!("picture {name}").into_bytes());
    names.into_iter().map(image).collect()
}

/// Many images by numbers in one folder, as most collections have them.
fn numbered(count: usize) -> Images {
    images((0..count).map(|number| format!("{number:06}.jpg")))
}

/// Names of all sorts, and two images that are empty.
fn mixed(count: usize) -> Images {
    let hex = |number: usize| blake3::hash(&number.to_le_bytes()).to_hex()[..12].to_owned();
    let name = |number: usize| match number % 6 {
        0 => format!("cats/{number:04}.jpg"),
        1 => format!("dogs/IMG_{number} (1).PNG"),
        2 => format!("{}.webp", hex(number)),
        3 => format!("été/{}/a.b.jpeg", hex(number)),
        4 => format!(
            "words/{}",
            hex(number).replace(char::is_numeric, "x") + ".gif"
        ),
        _ => format!("cats/{:04}.png", number - 5),
    };
    let names: BTreeSet<_> = (0..count).map(name).collect();
    let mut images = images(names);
    for (_, bytes) in images.iter_mut().skip(7).step_by(count / 2) {
        bytes.clear();
    }
    images
}

fn tarball(images: &[(String, Vec<u8>)]) -> Vec<u8> {
    let members: Vec<_> = images
        .iter()
        .map(|(name, bytes)| tar_member(name, bytes))
        .collect();
    tar(&members)
}

fn zipped(images: &[(String, Vec<u8>)]) -> Vec<u8> {
    let stored = |(name, bytes): &(String, Vec<u8>)| support::ZipMember {
        method: 0,
        ..member(name, bytes)
    };
    zip(&images.iter().map(stored).collect::<Vec<_>>())
}

/// Writes images in every way in which a source can hold them; tells where, below the root.
fn fill(root: &Path, images: &Images) -> Vec<&'static str> {
    let names = || images.iter().map(|(name, _)| name);
    for (name, bytes) in images {
        write(&root.join("photos").join(name), bytes);
    }
    write(&root.join("photos/about.txt"), b"not an image");
    write(&root.join("all.zip"), &zipped(images));
    write(&root.join("all.tar"), &tarball(images));
    write(&root.join("all.tar.gz"), &gzip(&tarball(images)));
    write(&root.join("all.tar.zst"), &zstandard(&tarball(images)));
    let table = parquet(images, WriterProperties::default());
    write(&root.join("all.parquet"), &table);
    for (number, shard) in images.chunks(images.len().div_ceil(3)).enumerate() {
        write(&root.join(format!("tars/{number:03}.tar")), &tarball(shard));
        write(&root.join(format!("zips/{number:03}.zip")), &zipped(shard));
        let packed = gzip(&tarball(shard));
        write(&root.join(format!("packed/{number:03}.tar.gz")), &packed);
        let table = parquet(shard, WriterProperties::default());
        write(&root.join(format!("tables/{number:03}.parquet")), &table);
    }
    let row = |name: &String| format!("{name:?},some\n");
    let csv: String = names().map(row).collect();
    write(
        &root.join("photos/list.csv"),
        format!("path,label\n{csv}").as_bytes(),
    );
    let tsv: String = names().map(|name| format!("{name}\tsome\n")).collect();
    write(
        &root.join("photos/list.tsv"),
        format!("file\tlabel\n{tsv}").as_bytes(),
    );
    let line = |name: &String| serde_json::json!({"image": name}).to_string() + "\n";
    let lines: String = names().map(line).collect();
    write(&root.join("photos/list.jsonl"), lines.as_bytes());
    vec![
        "photos",
        "photos/**/*.{jpg,PNG,png,webp,jpeg,gif}",
        "{photos,packed/000.tar.gz}",
        "all.zip",
        "all.tar",
        "all.tar.gz",
        "all.tar.zst",
        "all.parquet",
        "tars/{000..002}.tar",
        "zips/*.zip",
        "packed/*",
        "tables/*.parquet",
        "photos/list.csv",
        "photos/list.tsv",
        "photos/list.jsonl",
    ]
}

struct Borrowed<'a>(&'a dyn Source);

impl Source for Borrowed<'_> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn len_hint(&self) -> Option<u64> {
        self.0.len_hint()
    }

    fn entries(&self) -> Result<lookalike_sources::Entries, lookalike_sources::SourceError> {
        self.0.entries()
    }

    fn entries_wanted(
        &self,
        wanted: lookalike_sources::Wanted,
    ) -> Result<lookalike_sources::Entries, lookalike_sources::SourceError> {
        self.0.entries_wanted(wanted)
    }

    fn get(&self, key: &str) -> Result<Entry, lookalike_sources::SourceError> {
        self.0.get(key)
    }
}

fn parts(source: &dyn Source, of: u32) -> impl Iterator<Item = Part<Borrowed<'_>>> {
    (1..=of).map(move |number| Part::new(Borrowed(source), PartNumber::new(number, of).unwrap()))
}

/// Keys of images, and of what was passed over.
type Keys = (Vec<String>, Vec<(String, SkipKind)>);

fn keys((entries, skipped): &(Vec<Entry>, Vec<Skipped>)) -> Keys {
    let kind = |skip: &Skipped| (skip.key.clone(), skip.kind);
    (
        entries.iter().map(|entry| entry.key.clone()).collect(),
        skipped.iter().map(kind).collect(),
    )
}

/// Checks that parts share a source among them without losing or doubling anything, in its order.
fn check_divided(source: &dyn Source, whole: &Keys, of: u32) {
    let place =
        |keys: &[String]| -> HashMap<String, usize> { keys.iter().cloned().zip(0..).collect() };
    let places = place(&whole.0);
    let (mut together, mut skips) = (Vec::new(), Vec::new());
    for part in parts(source, of) {
        let (own, skipped) = keys(&all(&part));
        assert!(
            own.is_sorted_by_key(|key| places[key]),
            "{}: the order of a part of {of} is not that of the whole",
            source.name()
        );
        together.extend(own);
        skips.extend(skipped);
    }
    let sorted = |mut keys: Vec<String>| {
        keys.sort_unstable();
        keys
    };
    assert_eq!(
        sorted(together),
        sorted(whole.0.clone()),
        "{} in {of} parts",
        source.name()
    );
    skips.sort_unstable();
    let mut expected = whole.1.clone();
    expected.sort_unstable();
    assert_eq!(skips, expected, "{} in {of} parts", source.name());
}

/// The sizes of the parts that keys fall into.
fn sizes<'a>(keys: impl IntoIterator<Item = &'a str>, of: u32) -> Vec<usize> {
    let parts: Vec<_> = (1..=of)
        .map(|number| PartNumber::new(number, of).unwrap())
        .collect();
    let mut sizes = vec![0; of as usize];
    for key in keys {
        sizes[parts.iter().position(|part| part.has(key)).unwrap()] += 1;
    }
    sizes
}

/// Checks that the largest part is within 5% of the mean.
fn check_balanced<'a>(what: &str, keys: impl IntoIterator<Item = &'a str>, of: u32) {
    let sizes = sizes(keys, of);
    let mean = sizes.iter().sum::<usize>() as f64 / f64::from(of);
    let most = *sizes.iter().max().unwrap() as f64;
    assert!(most <= 1.05 * mean, "{what} in {of} parts: {sizes:?}");
}

#[test]
fn every_kind_of_source_is_divided_without_loss() {
    let root = tempfile::tempdir().unwrap();
    let images = mixed(90);
    for spec in fill(root.path(), &images) {
        let source = open(&root.path().join(spec));
        let everything = all(source.as_ref());
        let whole = keys(&everything);
        assert!(whole.0.len() > 80, "{spec}: {whole:?}");
        for of in 1..=MAX_PARTS {
            check_divided(source.as_ref(), &whole, of);
        }
        // By key an image comes from its own part and from no other, and it is the same.
        for part in parts(source.as_ref(), 5) {
            let own = keys(&all(&part)).0;
            for entry in &everything.0 {
                match part.get(&entry.key) {
                    Ok(got) => {
                        assert!(own.contains(&entry.key), "{spec} {}", entry.key);
                        assert_eq!(read(&got), read(entry), "{spec} {}", entry.key);
                    }
                    Err(_) => assert!(!own.contains(&entry.key), "{spec} {}", entry.key),
                }
            }
        }
    }
}

#[test]
fn every_kind_of_source_is_divided_within_5_percent() {
    let root = tempfile::tempdir().unwrap();
    // 20 images for each of 64 parts; in three shards 20 for each of 21.
    let images = numbered(20 * MAX_PARTS as usize);
    for spec in fill(root.path(), &images) {
        let shards = ["tars", "zips", "packed", "tables", "{"];
        let most = match shards.iter().any(|shard| spec.starts_with(shard)) {
            true => MAX_PARTS / 8,
            false => MAX_PARTS,
        };
        let source = open(&root.path().join(spec));
        let (whole, _) = keys(&all(source.as_ref()));
        assert!(whole.len() >= images.len(), "{spec}");
        for of in 1..=most {
            check_balanced(spec, whole.iter().map(String::as_str), of);
        }
        // By the parts' own numbers.
        let of = most;
        let own: Vec<_> = parts(source.as_ref(), of)
            .map(|part| all(&part).0.len())
            .collect();
        assert_eq!(own, sizes(whole.iter().map(String::as_str), of), "{spec}");
    }
}

#[test]
fn names_without_numbers_are_divided_within_5_percent_when_they_are_many() {
    let root = tempfile::tempdir().unwrap();
    let hex = |number: u64| blake3::hash(&number.to_le_bytes()).to_hex()[..16].to_owned();
    // 480,000 in all: 7,500 for each of 64 parts.
    (0..8_u64).into_par_iter().for_each(|shard| {
        let names = (0..60_000).map(|number| format!("{}.jpg", hex(shard << 32 | number)));
        let images: Images = names.map(|name| (name, vec![1])).collect();
        write(&root.path().join(format!("{shard}.zip")), &zipped(&images));
    });
    let source = open(&root.path().join("{0..7}.zip"));
    let (whole, skipped) = keys(&all(source.as_ref()));
    assert_eq!((whole.len(), skipped), (480_000, vec![]));
    [2, 5, 33, 64].into_par_iter().for_each(|of| {
        check_balanced("many", whole.iter().map(String::as_str), of);
    });
}

#[test]
fn object_stores_are_divided_and_no_worker_fetches_what_is_anothers() {
    let root = tempfile::tempdir().unwrap();
    let images = mixed(48);
    fill(&root.path().join("bucket"), &images);
    let in_bucket = s3(root.path());
    let (address, given) = web(root.path().join("bucket"));
    let at_server = options(&[("AWS_ALLOW_HTTP", "true")]);
    for (spec, options) in [
        ("s3://bucket/photos".to_owned(), &in_bucket),
        ("s3://bucket/photos/**/*.{jpg,webp}".to_owned(), &in_bucket),
        ("s3://bucket/all.zip".to_owned(), &in_bucket),
        ("s3://bucket/tars/*.tar".to_owned(), &in_bucket),
        ("s3://bucket/photos/list.csv".to_owned(), &in_bucket),
        (format!("{address}/all.tar.gz"), &at_server),
        (format!("{address}/tables/{{000..002}}.parquet"), &at_server),
        (format!("{address}/photos/list.jsonl"), &at_server),
    ] {
        let source = open_spec(&spec, options);
        let whole = keys(&all(source.as_ref()));
        assert!(whole.0.len() > 12, "{spec}: {whole:?}");
        // The numbers between are tested on this machine; here each listing takes time.
        let most = match spec.contains(['*', '{']) || spec.ends_with("gz") {
            true => 5,
            false => 20,
        };
        for of in (1..=most).chain([MAX_PARTS]) {
            check_divided(source.as_ref(), &whole, of);
        }
    }
    // A worker reads its own images and no others, by the server's own count.
    fill(&root.path().join("bucket/plain"), &numbered(40));
    let source = open_spec(&format!("{address}/plain/photos/list.csv"), &at_server);
    for part in parts(source.as_ref(), 4) {
        let (own, _) = all(&part);
        let before = given.load(Ordering::Relaxed);
        for entry in &own {
            read(entry);
        }
        assert_eq!(given.load(Ordering::Relaxed) - before, own.len() as u64);
    }
}

#[test]
fn what_cannot_be_listed_is_told_by_every_part_that_comes_upon_it() {
    let root = tempfile::tempdir().unwrap();
    let images = numbered(30);
    fill(root.path(), &images);
    let whole = fs::read(root.path().join("all.tar")).unwrap();
    write(&root.path().join("cut.tar"), &whole[..20 * 1024 + 100]);
    write(
        &root.path().join("photos/cut.csv"),
        format!("path\n000001.jpg\n000002.jpg\n\"{}", "x".repeat(2 << 20)).as_bytes(),
    );
    for (spec, kind) in [
        ("cut.tar", SkipKind::Truncated),
        ("{cut,all}.tar", SkipKind::Truncated),
        ("{all,none}.tar", SkipKind::Missing),
        ("photos/cut.csv", SkipKind::Damaged),
    ] {
        let source = open(&root.path().join(spec));
        let (entries, skipped) = all(source.as_ref());
        assert_eq!(skipped.len(), 1, "{spec}: {skipped:?}");
        assert_eq!(skipped[0].kind, kind, "{spec}");
        let mut together = 0;
        for part in parts(source.as_ref(), 9) {
            let (own, told) = all(&part);
            assert_eq!(told, skipped, "{spec}");
            together += own.len();
        }
        assert_eq!(together, entries.len(), "{spec}");
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_entered_is_told_by_every_part() {
    let root = tempfile::tempdir().unwrap();
    for (name, bytes) in numbered(30) {
        write(&root.path().join("photos/in").join(name), &bytes);
    }
    write(&root.path().join("other/7.jpg"), b"x");
    // Permissions do not stop root; a link that leads back stops every user.
    let (photos, link) = (root.path().join("photos"), root.path().join("photos/back"));
    std::os::unix::fs::symlink(&photos, link).unwrap();
    // A dangling link with an image's name is reported for that image only.
    std::os::unix::fs::symlink(root.path().join("gone"), photos.join("in/99.jpg")).unwrap();
    let source = open(&photos);
    let mut lost = 0;
    for part in parts(source.as_ref(), 6) {
        let (_, skipped) = all(&part);
        let back = |skip: &&Skipped| skip.key == "back" && skip.kind == SkipKind::Link;
        assert_eq!(skipped.iter().filter(back).count(), 1);
        lost += skipped.len() - 1;
    }
    assert_eq!(lost, 1);
}

/// Shards of samples: each of a few images, a label and a payload.
fn samples(from: usize, to: usize) -> Images {
    let mut members = Vec::new();
    for number in from..to {
        let stem = format!(
            "batch/{:08x}-{number:04}",
            number.wrapping_mul(0x9e37_79b9) as u32
        );
        let member = |ending: &str, text: String| (format!("{stem}.{ending}"), text.into_bytes());
        members.extend([
            member("cls", number.to_string()),
            member("depth.1.png", format!("depth {number}")),
            member("jpg", format!("picture {number}")),
            member("json", format!("{{\"price\": {number}}}")),
            member("seg.png", format!("segments {number}")),
        ]);
    }
    members
}

#[test]
fn what_a_sample_has_stays_together() {
    let root = tempfile::tempdir().unwrap();
    let members = samples(0, 60);
    write(&root.path().join("all.tar"), &tarball(&members));
    write(&root.path().join("all.tar.gz"), &gzip(&tarball(&members)));
    write(&root.path().join("all.zip"), &zipped(&members));
    for shard in 0..3 {
        let members = samples(20 * shard, 20 * (shard + 1));
        write(
            &root.path().join(format!("shards/{shard:03}.tar")),
            &tarball(&members),
        );
    }
    for spec in ["all.tar", "all.tar.gz", "all.zip", "shards/{000..002}.tar"] {
        let source = open(&root.path().join(spec));
        let whole = keys(&all(source.as_ref()));
        assert_eq!((whole.0.len(), whole.1.len()), (180, 0), "{spec}");
        for of in (1..=16).chain([33, MAX_PARTS]) {
            check_divided(source.as_ref(), &whole, of);
            let mut seen = BTreeSet::new();
            for part in parts(source.as_ref(), of) {
                let mut own = BTreeMap::<_, usize>::new();
                for entry in all(&part).0 {
                    let label = entry.label.clone().unwrap();
                    assert_eq!(entry.extra["price"].to_string(), label, "{spec}");
                    *own.entry(label).or_default() += 1;
                    if of == 7 {
                        assert_eq!(read(&part.get(&entry.key).unwrap()), read(&entry));
                    }
                }
                for (label, images) in own {
                    assert_eq!(images, 3, "{spec}: sample {label} in {of} parts");
                    assert!(seen.insert(label));
                }
            }
            assert_eq!(seen.len(), 60);
        }
    }
}

#[test]
fn images_that_only_begin_alike_are_no_sample() {
    let root = tempfile::tempdir().unwrap();
    let names = (0..1280).map(|number| format!("cat.{number}.jpg"));
    write(&root.path().join("a.tar"), &tarball(&images(names)));
    let source = open(&root.path().join("a.tar"));
    let sizes: Vec<_> = parts(source.as_ref(), 64)
        .map(|part| all(&part).0.len())
        .collect();
    assert_eq!(sizes, [20; 64]);
}

#[test]
fn a_sample_of_a_part_is_of_that_part() {
    let root = tempfile::tempdir().unwrap();
    let images = mixed(90);
    for spec in fill(root.path(), &images) {
        let source = open(&root.path().join(spec));
        let mut together = 0;
        for part in parts(source.as_ref(), 4) {
            let own = keys(&all(&part)).0;
            let few = sample(part.entries().unwrap(), 5, 3, |_| {});
            assert_eq!(few.len(), own.len().min(5), "{spec}");
            assert!(few.iter().all(|entry| own.contains(&entry.key)), "{spec}");
            let every = sample(part.entries().unwrap(), 1000, 3, |_| {});
            assert_eq!(every.len(), own.len(), "{spec}");
            together += every.len();
        }
        assert_eq!(together, all(source.as_ref()).0.len(), "{spec}");
    }
}

fn names() -> impl Strategy<Value = BTreeSet<String>> {
    let number = (0..3_usize, 0..4000_u32).prop_map(|(width, number)| {
        let width = 2 * width;
        format!("{number:0width$}.jpg")
    });
    let name = prop_oneof![
        number.clone(),
        number.prop_map(|name| format!("cats/IMG_{name}")),
        "[a-f0-9]{12}\\.png",
        "[a-zé]{1,3}/[a-z][ a-z.]{0,5}[0-9]{0,30}\\.(webp|JPG|jpg)",
    ];
    prop::collection::btree_set(name, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Any names, in archives in memory: one that is read by position and one that is a stream.
    #[test]
    fn parts_are_disjoint_and_complete(names in names(), of in 1..=MAX_PARTS) {
        let images = images(names);
        for (name, bytes) in [("a.zip", zipped(&images)), ("a.tar.gz", gzip(&tarball(&images)))] {
            let source = open_bytes(name, bytes, &SourceOptions::default()).unwrap();
            let whole = keys(&all(source.as_ref()));
            prop_assert_eq!(whole.0.len(), images.len());
            check_divided(source.as_ref(), &whole, of);
        }
    }

    /// Workers list one after another, and files come and go in between. What was there all the
    /// time is taken once, and anything else at most once.
    #[test]
    fn nothing_is_missed_while_files_come_and_go(
        lasting in names(), passing in names(), comes_first: bool, of in 1..=MAX_PARTS,
    ) {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &String| root.path().join(name);
        let mut taken = Vec::new();
        // A name may be both, in letters that are the same for some file systems.
        let lower: BTreeSet<_> = lasting.iter().map(|name| name.to_lowercase()).collect();
        let passing: Vec<_> = passing.iter().filter(|name| !lower.contains(&name.to_lowercase())).collect();
        for name in &lasting {
            write(&path(name), b"x");
        }
        for number in 1..=of {
            for (place, name) in (0..of).cycle().zip(&passing) {
                match (place == number - 1, comes_first) {
                    (true, true) => write(&path(name), b"x"),
                    (true, false) => drop(fs::remove_file(path(name))),
                    (false, false) if number == 1 => write(&path(name), b"x"),
                    _ => {}
                }
            }
            let part = Part::new(open(root.path()), PartNumber::new(number, of).unwrap());
            taken.extend(keys(&all(&part)).0);
        }
        let mut once = BTreeSet::new();
        for key in taken {
            prop_assert!(once.insert(key.clone()), "{} was taken twice", key);
        }
        for name in &lasting {
            prop_assert!(once.contains(name), "{} was missed", name);
        }
    }
}

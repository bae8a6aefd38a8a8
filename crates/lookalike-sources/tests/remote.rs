//! Object stores: an S3 server and a web server on loopback, started here.

mod support;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::{fs, thread};

use lookalike_sources::{Limits, SkipKind, SourceOptions};
use parquet::file::properties::WriterProperties;
use support::stores::{options, s3, web};
use support::{all, gzip, member, open_spec, parquet, pictures, read, tar, tar_member, zip};

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A bucket with a folder, archives, tables and shards.
fn fill(bucket: &Path) {
    let pictures = pictures();
    for (name, bytes) in &pictures {
        write(&bucket.join("photos").join(name), bytes);
    }
    write(&bucket.join("photos/empty.png"), b"");
    write(&bucket.join("photos/notes.txt"), b"not an image");
    write(&bucket.join("photos/.hidden/x.png"), b"x");
    let members: Vec<_> = pictures
        .iter()
        .map(|(name, bytes)| member(name, bytes))
        .collect();
    write(&bucket.join("all.zip"), &zip(&members));
    let members: Vec<_> = pictures
        .iter()
        .map(|(name, bytes)| tar_member(name, bytes))
        .collect();
    write(&bucket.join("all.tar"), &tar(&members));
    write(&bucket.join("all.tar.gz"), &gzip(&tar(&members)));
    write(
        &bucket.join("all.parquet"),
        &parquet(&pictures, WriterProperties::default()),
    );
    for (number, shard) in members.chunks(20).enumerate() {
        write(&bucket.join(format!("shards/{number:03}.tar")), &tar(shard));
    }
    let mut list = "path,label\n".to_owned();
    for (name, _) in &pictures {
        list += &format!("{name},some\n");
    }
    list += "../all.zip,outside\n";
    write(&bucket.join("photos/list.csv"), list.as_bytes());
}

#[test]
fn everything_can_lie_in_a_bucket() {
    let root = tempfile::tempdir().unwrap();
    fill(&root.path().join("bucket"));
    let options = s3(root.path());
    let pictures = pictures();
    for spec in [
        "s3://bucket/photos",
        "s3://bucket/photos/",
        "s3://bucket/all.zip",
        "s3://bucket/all.tar",
        "s3://bucket/all.tar.gz",
        "s3://bucket/all.parquet",
        "s3://bucket/shards/{000..002}.tar",
        "s3://bucket/shards/*.tar",
        "s3://bucket/photos/list.csv",
    ] {
        let source = open_spec(spec, &options);
        assert_eq!(source.name(), spec.trim_end_matches('/'));
        let (entries, skipped) = all(source.as_ref());
        assert_eq!(entries.len(), 60, "{spec}: {skipped:?}");
        let (again, _) = all(source.as_ref());
        for (number, entry) in entries.iter().enumerate() {
            assert_eq!(entry.key, again[number].key);
            assert!(
                entry.location.starts_with("s3://bucket/"),
                "{}",
                entry.location
            );
            assert_eq!(read(entry), pictures[number].1, "{spec} {}", entry.key);
        }
        let got = source.get(&entries[33].key).unwrap();
        assert_eq!(read(&got), pictures[33].1);
        assert_eq!(
            (got.label, got.stamp),
            (entries[33].label.clone(), entries[33].stamp)
        );
        let kinds: Vec<_> = skipped.iter().map(|skip| skip.kind).collect();
        match spec.contains("photos") && !spec.contains("list") {
            true => assert_eq!(kinds, [SkipKind::Empty]),
            false if spec.contains("list") => assert_eq!(kinds, [SkipKind::UnsafePath]),
            false => assert!(kinds.is_empty(), "{skipped:?}"),
        }
        source.get("no/such.png").unwrap_err();
    }
    let (_, skipped) = all(open_spec("s3://bucket/shards/{002..003}.tar", &options).as_ref());
    assert_eq!(
        (skipped[0].key.as_str(), skipped[0].kind),
        ("003.tar", SkipKind::Missing)
    );
    let source = open_spec("s3://bucket/photos/cats/000.jpg", &options);
    assert_eq!(read(&all(source.as_ref()).0[0]), pictures[0].1);
}

/// A TIFF file of pages of which nothing but the chain is there.
fn pages(count: u32) -> Vec<u8> {
    let mut bytes = b"II*\0".to_vec();
    bytes.extend(8_u32.to_le_bytes());
    for page in 1..=count {
        // One tag, the width, and the place of the next page.
        bytes.extend([1, 0, 0, 1, 3, 0, 1, 0, 0, 0]);
        bytes.extend(page.to_le_bytes());
        let next = bytes.len() as u32 + 4;
        bytes.extend(if page == count { 0 } else { next }.to_le_bytes());
    }
    bytes
}

#[test]
fn pages_in_a_bucket_are_images_of_their_own() {
    let root = tempfile::tempdir().unwrap();
    let bucket = root.path().join("bucket");
    for number in 0..20 {
        write(&bucket.join(format!("scans/{number:02}.tif")), &pages(3));
    }
    write(&bucket.join("scans/90.png"), b"no pages");
    write(&bucket.join("scans/91.tif"), b"no TIFF");
    write(
        &bucket.join("scans.zip"),
        &zip(&[member("a.tif", &pages(2))]),
    );
    let options = s3(root.path());
    let source = open_spec("s3://bucket/scans/", &options);
    let (entries, skipped) = all(source.as_ref());
    assert!(skipped.is_empty(), "{skipped:?}");
    assert_eq!(entries.len(), 62);
    let keys: Vec<_> = entries[..4]
        .iter()
        .map(|entry| entry.key.as_str())
        .collect();
    assert_eq!(keys, ["00.tif", "00.tif#2", "00.tif#3", "01.tif"]);
    let page = source.get("07.tif#3").unwrap();
    assert_eq!(read(&page)[..4], *b"II*\0");
    assert_ne!(read(&page), pages(3));
    source.get("07.tif#4").unwrap_err();
    source.get("91.tif#2").unwrap_err();
    let (entries, _) = all(open_spec("s3://bucket/scans.zip", &options).as_ref());
    assert_eq!(entries[1].key, "a.tif#2");
}

#[test]
fn threads_read_remote_objects_at_once() {
    let root = tempfile::tempdir().unwrap();
    fill(&root.path().join("bucket"));
    let options = s3(root.path());
    let source = open_spec("s3://bucket/photos", &options);
    let (entries, _) = all(source.as_ref());
    thread::scope(|scope| {
        for part in entries.chunks(15) {
            scope.spawn(move || {
                for entry in part {
                    let (_, bytes) = pictures()
                        .into_iter()
                        .find(|(key, _)| *key == entry.key)
                        .unwrap();
                    assert_eq!(read(entry), bytes);
                }
            });
        }
    });
    // On an asynchronous runtime's own thread too.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let read = runtime.block_on(async { entries[0].read(&Limits::default()) });
    assert_eq!(read.unwrap(), pictures()[0].1);
}

#[test]
fn what_is_not_there_or_not_allowed_is_said() {
    let root = tempfile::tempdir().unwrap();
    fill(&root.path().join("bucket"));
    let options = s3(root.path());
    let refused = |spec: &str, options: &SourceOptions| {
        let opened = lookalike_sources::open(spec, options);
        opened
            .err()
            .unwrap_or_else(|| panic!("{spec} was opened"))
            .to_string()
    };
    assert!(refused("s3://bucket/none.zip", &options).contains("no such object"));
    assert!(refused("s3://bucket/none", &options).contains("no objects below"));
    assert!(refused("s3://bucket/photos/notes.txt", &options).contains("should end in"));
    assert!(refused("s3://bucket/shards/*.zip", &options).contains("nothing fits"));
    let mut wrong = options.clone();
    let environment = wrong.environment.as_mut().unwrap();
    environment.insert("AWS_SECRET_ACCESS_KEY".into(), "wrong".into());
    let error = refused("s3://bucket/all.zip", &wrong);
    assert!(error.contains("environment"), "{error}");
    let mut encrypted = options;
    encrypted
        .environment
        .as_mut()
        .unwrap()
        .remove("AWS_ALLOW_HTTP");
    let error = refused("s3://bucket/all.zip", &encrypted);
    assert!(error.contains("environment"), "{error}");
}

#[test]
fn web_servers_give_archives_tables_and_images() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path());
    let (address, _) = web(root.path().to_owned());
    let options = options(&[("AWS_ALLOW_HTTP", "true")]);
    let pictures = pictures();
    for path in [
        "all.zip",
        "all.tar.gz",
        "all.parquet",
        "shards/{000..002}.tar",
        "photos/list.csv",
    ] {
        let source = open_spec(&format!("{address}/{path}"), &options);
        let (entries, _) = all(source.as_ref());
        assert_eq!(entries.len(), 60, "{path}");
        for (entry, (_, bytes)) in entries.iter().zip(&pictures) {
            assert_eq!(&read(entry), bytes);
        }
    }
    let source = open_spec(&format!("{address}/photos/cats/007.jpg"), &options);
    let (entries, _) = all(source.as_ref());
    assert_eq!(
        (entries[0].key.as_str(), read(&entries[0])),
        ("007.jpg", pictures[7].1.clone())
    );
    let (entries, skipped) =
        all(open_spec(&format!("{address}/photos/list.csv"), &options).as_ref());
    assert_eq!(
        entries[0].location,
        format!("{address}/photos/cats/000.jpg")
    );
    assert_eq!(skipped[0].kind, SkipKind::UnsafePath);
}

#[test]
fn http_needs_leave() {
    let error = lookalike_sources::open("http://127.0.0.1:1/x.zip", &options(&[]));
    assert!(error.err().unwrap().to_string().contains("AWS_ALLOW_HTTP"));
}

#[test]
fn members_of_a_remote_zip_are_read_only_when_asked_for() {
    let root = tempfile::tempdir().unwrap();
    // Larger than one read, so that the piece with the directory does not hold all of it.
    let members: Vec<_> = (0..12)
        .map(|number| {
            let bytes: Vec<u8> = (0..1_u32 << 18)
                .flat_map(|word| (word.wrapping_mul(0x9e37_79b9) ^ number).to_le_bytes())
                .collect();
            support::ZipMember {
                method: 0,
                ..member(&format!("{number:02}.jpg"), &bytes)
            }
        })
        .collect();
    fs::write(root.path().join("a.zip"), zip(&members)).unwrap();
    let (address, given) = web(root.path().to_owned());
    let source = open_spec(
        &format!("{address}/a.zip"),
        &options(&[("AWS_ALLOW_HTTP", "true")]),
    );
    let (entries, _) = all(source.as_ref());
    assert_eq!(entries.len(), 12);
    let before = given.load(Ordering::Relaxed);
    assert!(before <= 2, "{before} reads for a listing");
    assert_eq!(read(&entries[5]), members[5].bytes);
    assert_eq!(given.load(Ordering::Relaxed), before + 1);
}

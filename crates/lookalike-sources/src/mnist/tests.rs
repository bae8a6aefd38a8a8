use super::*;
use crate::source::Source;

#[test]
fn the_files_of_the_checkout_are_the_known_ones() {
    let none = Places {
        folders: vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/mnist")],
        cache: None,
        mirrors: vec![],
    };
    for (part, count) in [(Part::Train, 60_000), (Part::Test, 10_000)] {
        let source = none.open(part, &mut |_| {}).unwrap();
        assert_eq!(
            (source.name(), source.len_hint()),
            (part.name(), Some(count))
        );
    }
}

#[test]
fn plain_files_do_as_well_and_the_first_folder_wins() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    for (folder, name) in [
        (&first, "t10k-images-idx3-ubyte"),
        (&second, "t10k-images-idx3-ubyte.gz"),
        (&second, "t10k-labels-idx1-ubyte.gz"),
    ] {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(name), b"").unwrap();
    }
    let places = Places {
        folders: vec![first.clone()],
        cache: Some(second.clone()),
        mirrors: vec![],
    };
    let [images, labels] = Part::Test.files();
    let find = |wanted| places.find(wanted, &mut |_| {}).unwrap();
    assert_eq!(find(&images), first.join("t10k-images-idx3-ubyte"));
    assert_eq!(find(&labels), second.join("t10k-labels-idx1-ubyte.gz"));
}

#[test]
fn nowhere_to_keep_a_download_is_said() {
    let places = Places {
        folders: vec![],
        cache: None,
        mirrors: vec![],
    };
    let error = places
        .open(Part::Test, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("t10k-images") && error.contains("LOOKALIKE_DATA"),
        "{error}"
    );
}

#[test]
fn parts_have_names() {
    assert_eq!("train".parse(), Ok(Part::Train));
    assert!("mnist".parse::<Part>().is_err());
}

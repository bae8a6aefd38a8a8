//! What a gallery says about its pictures: duplicates, outliers, and exports for other programs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Workplace, read_png, stderr};
use lookalike::images::{Collection, Pixels, thumbnail};
use lookalike::open;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row, RowAccessor};
use serde_json::Value;

/// How many digits there are in the folder.
const DIGITS: usize = 400;

/// A place with the folder `photos`, some of the test images as PNG files, and a model `m` that
/// knows a little of them.
struct Photos {
    place: Workplace,
    digits: Collection,
}

impl Photos {
    fn new() -> Self {
        let place = Workplace::new(1);
        let source = open("mnist:test").unwrap();
        let photos = Self {
            digits: source.load(None, Some(DIGITS)).unwrap(),
            place,
        };
        fs::create_dir(photos.folder()).unwrap();
        for index in 0..DIGITS {
            photos.write(&format!("{index}.png"), &photos.digits.picture(index));
        }
        // So little is learned that what is found would otherwise follow from the processor.
        photos
            .place
            .json("train photos --out m --epochs 2 --batch 32 --precision f32");
        photos
    }

    fn folder(&self) -> PathBuf {
        self.place.path("photos")
    }

    fn write(&self, name: &str, pixels: &Pixels) {
        pixels.write_png(self.folder().join(name)).unwrap();
    }

    fn index(&self) {
        self.place
            .json("index photos --model m --gallery g --no-diffusion");
    }

    /// The pictures of the folder and their bytes.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(self.folder()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect()
    }
}

/// Every pixel to a square of `times` x `times`, moved `right` by so many.
fn enlarged(pixels: &Pixels, times: usize, right: usize) -> Pixels {
    let (width, height) = (pixels.width() * times, pixels.height() * times);
    let mut data = vec![0; width * height];
    for y in 0..height {
        for x in right..width {
            data[y * width + x] = pixels.data()[y / times * pixels.width() + (x - right) / times];
        }
    }
    Pixels::new(width, height, 1, data).unwrap()
}

/// Grey noise, the same for the same seed.
fn noise(seed: u64) -> Pixels {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    Pixels::new(28, 28, 1, (0..28 * 28).map(|_| next()).collect()).unwrap()
}

/// Key and kind of each member of each group.
fn groups(report: &Value) -> Vec<Vec<(String, String)>> {
    let text = |member: &Value, field: &str| member[field].as_str().unwrap().to_owned();
    let members = |group: &Value| {
        let members = group["members"].as_array().unwrap().iter();
        members.map(|m| (text(m, "key"), text(m, "kind"))).collect()
    };
    report["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(members)
        .collect()
}

#[test]
fn copies_are_found_whatever_happened_to_them() {
    let photos = Photos::new();
    photos.index();
    let nothing = photos.place.json("duplicates --gallery g");
    assert_eq!(nothing["points"], DIGITS);
    assert_eq!(nothing["group_count"], 0, "{nothing}");
    assert_eq!(nothing["measure"], "pictures");
    assert_eq!(nothing["not_compared"], 0);

    let folder = photos.folder();
    // Copied twice, once under a name that a table must quote.
    fs::copy(
        folder.join("3.png"),
        folder.join("a copy, \"the second\".png"),
    )
    .unwrap();
    fs::copy(folder.join("3.png"), folder.join("z.png")).unwrap();
    // Another format.
    for index in 20..30 {
        let jpeg = thumbnail(&photos.digits.picture(index), 28).unwrap();
        fs::write(folder.join(format!("{index} again.jpg")), jpeg).unwrap();
    }
    // Larger, and larger and an eighth of a pixel to the right.
    photos.write("8 large.png", &enlarged(&photos.digits.picture(8), 4, 0));
    photos.write("8 larger.png", &enlarged(&photos.digits.picture(8), 5, 0));
    photos.write("11 moved.png", &enlarged(&photos.digits.picture(11), 8, 1));
    photos.index();
    let before = photos.files();

    let found = photos
        .place
        .json("duplicates --gallery g --csv groups.csv --sheet groups.png");
    let all = groups(&found);
    // What a group holds, sorted; copies of one digit begin with its number.
    let of = |groups: &[Vec<(String, String)>], digit: usize| -> Vec<String> {
        let begins = |key: &str| key.split(['.', ' ']).next() == Some(&digit.to_string());
        let group = groups
            .iter()
            .find(|group| group.iter().any(|(key, _)| begins(key)));
        let group = group.unwrap_or_else(|| panic!("no group holds {digit}: {found}"));
        let mut keys: Vec<_> = group.iter().map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    };
    assert_eq!(
        of(&all, 3),
        ["3.png", "a copy, \"the second\".png", "z.png"]
    );
    for digit in 20..30 {
        assert_eq!(
            of(&all, digit),
            [format!("{digit} again.jpg"), format!("{digit}.png")]
        );
    }
    let eights = of(&all, 8);
    assert!(eights.contains(&"8 large.png".into()) && eights.contains(&"8 larger.png".into()));
    assert!(eights.iter().all(|key| key.starts_with('8')), "{eights:?}");
    for group in &all {
        let kind = |at: usize| group[at].1.as_str();
        assert_eq!(kind(0), "representative");
        // Which of three equals represents follows from their ids, and those from the folder.
        let other = match group.iter().any(|(key, _)| key == "3.png") {
            true => "exact",
            false => "near",
        };
        assert!((1..group.len()).all(|at| kind(at) == other), "{group:?}");
    }
    let eight = all
        .iter()
        .find(|group| group.iter().any(|(key, _)| key == "8 large.png"));
    assert_eq!(
        eight.unwrap()[0].0,
        "8 larger.png",
        "the largest represents"
    );
    assert!(of(&all, 11).contains(&"11 moved.png".into()), "{found}");
    assert_eq!(all.len(), 13, "{found}");
    let field = |name: &str| found[name].as_u64().unwrap() as usize;
    assert_eq!(
        ["points", "contents", "exact"].map(field),
        [DIGITS + 15, DIGITS + 13, 2]
    );
    let members: usize = all.iter().map(Vec::len).sum();
    assert_eq!(field("near"), members - all.len() - 2);
    assert_eq!(field("group_count"), all.len());
    assert_eq!(
        (&found["threshold"], &found["suggestion"]),
        (&Value::Null, &Value::Null)
    );
    let members = found["groups"].as_array().unwrap().iter();
    let members = members.flat_map(|group| group["members"].as_array().unwrap());
    for member in members {
        match member["kind"] == "near" {
            true => assert!(member["difference"].as_f64().unwrap() <= 0.05, "{member}"),
            false => assert_eq!(member["difference"], Value::Null, "{member}"),
        }
    }
    let first = &found["groups"][0]["members"][0];
    for name in [
        "id", "source", "key", "location", "width", "height", "bytes", "blake3", "distance",
    ] {
        assert!(!first[name].is_null(), "{name}: {first}");
    }
    // The largest groups come first, and the others can be left out.
    let sizes: Vec<usize> = groups(&found).iter().map(Vec::len).collect();
    assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
    let limited = photos.place.json("duplicates --gallery g --limit 2");
    assert_eq!(limited["group_count"], all.len());
    assert_eq!(groups(&limited), groups(&found)[..2]);

    // As a table and as a picture.
    let mut table = csv::Reader::from_path(photos.place.path("groups.csv")).unwrap();
    let heading = table.headers().unwrap().clone();
    assert_eq!(
        heading.iter().take(6).collect::<Vec<_>>(),
        ["group", "kind", "distance", "difference", "source", "key"]
    );
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    let from_table: Vec<_> = rows
        .iter()
        .map(|row| (row[5].to_owned(), row[1].to_owned()))
        .collect();
    assert_eq!(from_table, groups(&found).concat());
    assert!(
        rows.iter()
            .any(|row| &row[5] == "a copy, \"the second\".png")
    );
    let text = fs::read_to_string(photos.place.path("groups.csv")).unwrap();
    assert!(
        text.contains("\"a copy, \"\"the second\"\".png\""),
        "{text}"
    );
    let sheet = read_png(photos.place.path("groups.png"));
    assert!(sheet.height() > 10 * 100, "a row for each group");

    // For people, with the same numbers.
    let output = photos.place.run("duplicates --gallery g");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains(&format!("{} groups among 415 pictures", all.len())),
        "{said}"
    );
    let counts = format!("2 exact duplicates and {} near ones", field("near"));
    assert!(said.contains(&counts), "{said}");

    // Only exact ones, and only among some.
    let exact = photos.place.json("duplicates --gallery g --exact-only");
    assert_eq!(
        (&exact["group_count"], &exact["exact"], &exact["near"]),
        (&1.into(), &2.into(), &0.into())
    );
    assert_eq!(exact["suggestion"], Value::Null);
    let none = photos
        .place
        .run("duplicates --gallery g --exact-only --json --where width>=29");
    assert!(none.status.success(), "{}", stderr(&none));
    let none: Value = serde_json::from_slice(&none.stdout).unwrap();
    assert_eq!(
        (&none["points"], &none["group_count"]),
        (&3.into(), &0.into())
    );
    // A threshold of one's own: with all of them in reach, one group.
    let together = photos.place.json("duplicates --gallery g --threshold 2");
    assert_eq!(groups(&together)[0].len(), DIGITS + 15);
    assert_eq!(groups(&together)[0][0].0, "11 moved.png");
    let moved = found["groups"].as_array().unwrap().iter();
    let mut moved = moved.flat_map(|group| group["members"].as_array().unwrap());
    let distance = moved
        .find(|member| member["key"] == "11.png")
        .and_then(|member| member["distance"].as_f64())
        .unwrap();
    let wider = photos.place.json(&format!(
        "duplicates --gallery g --threshold {}",
        distance * 1.01
    ));
    assert_eq!(wider["measure"], "codes");
    assert!(
        of(&groups(&wider), 11).starts_with(&["11 moved.png".into(), "11.png".into()]),
        "{wider}"
    );

    // Nothing was deleted or changed.
    assert_eq!(photos.files(), before);
    assert_eq!(photos.place.json("info g")["points"], DIGITS + 15);
}

#[test]
fn one_file_under_two_sources_is_no_copy() {
    let photos = Photos::new();
    let inner = photos.folder().join("inner");
    fs::create_dir(&inner).unwrap();
    for name in ["1.png", "2.png"] {
        fs::rename(photos.folder().join(name), inner.join(name)).unwrap();
    }
    fs::copy(inner.join("2.png"), photos.folder().join("2.png")).unwrap();
    photos.index();
    photos
        .place
        .json("index photos/inner --model m --gallery g --no-diffusion");
    let found = photos.place.json("duplicates --gallery g --exact-only");
    let kinds = |group: &Vec<(String, String)>| -> Vec<String> {
        let mut kinds: Vec<_> = group.iter().map(|(_, kind)| kind.clone()).collect();
        kinds.sort();
        kinds
    };
    let kinds: Vec<_> = groups(&found).iter().map(kinds).collect();
    assert_eq!(
        kinds[0],
        ["exact", "representative", "same-file"],
        "{found}"
    );
    assert_eq!(kinds[1], ["representative", "same-file"], "{found}");
    let output = photos.place.run("duplicates --gallery g --exact-only");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("2 of kind same-file"), "{said}");
}

#[cfg(unix)]
#[test]
fn links_are_no_copies_of_their_files() {
    let photos = Photos::new();
    let at = |name: &str| photos.folder().join(name);
    fs::create_dir(at("best")).unwrap();
    std::os::unix::fs::symlink("../1.png", at("best/1.png")).unwrap();
    // A link comes first by name and may have the lower id; the file represents it all the same.
    std::os::unix::fs::symlink("2.png", at("0-link.png")).unwrap();
    fs::hard_link(at("3.png"), at("hard.png")).unwrap();
    fs::copy(at("4.png"), at("copy.png")).unwrap();
    photos.index();
    let found = photos.place.json("duplicates --gallery g --exact-only");
    let mut groups = groups(&found);
    groups.sort();
    let mut kinds = BTreeMap::new();
    for (name, kind) in groups.iter().flatten() {
        kinds.insert(
            name.rsplit("photos/").next().unwrap().to_owned(),
            kind.as_str(),
        );
    }
    assert_eq!(kinds["best/1.png"], "same-file", "{found}");
    assert_eq!(kinds["1.png"], "representative");
    assert_eq!(kinds["0-link.png"], "same-file");
    assert_eq!(kinds["2.png"], "representative");
    let mut hard = [kinds["3.png"], kinds["hard.png"]];
    hard.sort_unstable();
    assert_eq!(hard, ["representative", "same-file"]);
    let mut copy = [kinds["4.png"], kinds["copy.png"]];
    copy.sort_unstable();
    assert_eq!(copy, ["exact", "representative"]);
    assert_eq!(
        (&found["exact"], &found["same_file"]),
        (&1.into(), &3.into())
    );
}

#[test]
fn what_is_gone_represents_nothing() {
    let photos = Photos::new();
    let at = |name: &str| photos.folder().join(name);
    for name in ["a.png", "b.png"] {
        fs::copy(at("1.png"), at(name)).unwrap();
    }
    fs::copy(at("2.png"), at("c.png")).unwrap();
    photos.index();
    let before = photos.place.json("duplicates --gallery g --exact-only");
    assert_eq!(before["gone"], 0);
    let first = |found: &Value, number: usize| groups(found)[number][0].0.clone();
    fs::remove_file(at(&first(&before, 0))).unwrap();
    fs::remove_file(at(&first(&before, 1))).unwrap();

    // Of three, two are left; of two, one, which is a copy of nothing.
    let after = photos.place.json("duplicates --gallery g --exact-only");
    let kinds: Vec<_> = groups(&after)[0]
        .iter()
        .map(|(_, kind)| kind.clone())
        .collect();
    assert_eq!(kinds, ["representative", "exact", "gone"], "{after}");
    assert_eq!(after["group_count"], 1);
    assert_eq!((&after["exact"], &after["gone"]), (&1.into(), &2.into()));
    let output = photos.place.run("duplicates --gallery g --exact-only");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("--prune"), "{said}");

    // Answers of searches are marked as well.
    let kept = at(&first(&after, 0)).display().to_string();
    let found = photos
        .place
        .json(&format!("search {kept} --gallery g -k 3 --include-self"));
    let gone = |hit: &Value| hit["gone"] == true;
    let found = found["neighbours"].as_array().unwrap();
    assert_eq!(found.iter().filter(|hit| gone(hit)).count(), 1, "{found:?}");
    let output = photos
        .place
        .run(&format!("search {kept} --gallery g -k 3 --include-self"));
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(said.matches(" (gone)").count(), 1, "{said}");
    assert!(stderr(&output).contains("--prune"), "{}", stderr(&output));

    photos
        .place
        .json("index photos --model m --gallery g --no-diffusion --prune");
    let pruned = photos.place.json("duplicates --gallery g --exact-only");
    assert_eq!(
        (&pruned["group_count"], &pruned["gone"]),
        (&1.into(), &0.into())
    );
}

#[test]
fn noise_among_digits_is_found_first() {
    let photos = Photos::new();
    for seed in 0..3 {
        photos.write(&format!("noise {seed}.png"), &noise(seed));
    }
    // A copy is no company.
    fs::copy(
        photos.folder().join("noise 0.png"),
        photos.folder().join("noise 0 again.png"),
    )
    .unwrap();
    photos.index();
    let first = |report: &Value, count: usize| -> Vec<String> {
        let outliers = report["outliers"].as_array().unwrap().iter().take(count);
        let mut keys: Vec<_> = outliers
            .map(|o| o["key"].as_str().unwrap().to_owned())
            .collect();
        keys.sort();
        keys
    };
    let is_noise = |keys: &[String]| keys.iter().all(|key| key.starts_with("noise"));
    for by in ["both", "reconstruction"] {
        let found = photos.place.json(&format!(
            "outliers --gallery g --by {by} --count 7 --csv odd.csv --sheet odd.png"
        ));
        assert_eq!(found["outliers"].as_array().unwrap().len(), 7);
        assert!(is_noise(&first(&found, 3)), "{found}");
        assert_eq!(
            (&found["points"], &found["contents"]),
            (&(DIGITS + 4).into(), &(DIGITS + 3).into())
        );
        assert_eq!(found["unreadable"], 0);
        let scores: Vec<f64> = found["outliers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|outlier| outlier["score"].as_f64().unwrap())
            .collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        // Apart from every digit, though the model has learned for a second only.
        assert!(scores[2] > 2.0 && scores[2] > scores[3] + 0.3, "{scores:?}");
        let outlier = &found["outliers"][0];
        assert!(outlier["error"].as_f64().unwrap() > found["usual_error"].as_f64().unwrap());
        assert_eq!(outlier["distance"].is_null(), by == "reconstruction");
        let copied = found["outliers"]
            .as_array()
            .unwrap()
            .iter()
            .find(|o| o["copies"] == 2);
        assert!(
            copied.unwrap()["key"]
                .as_str()
                .unwrap()
                .starts_with("noise 0")
        );
        let mut table = csv::Reader::from_path(photos.place.path("odd.csv")).unwrap();
        assert_eq!(table.records().count(), 7);
        read_png(photos.place.path("odd.png"));
    }
    // By neighbours alone the originals do not matter.
    let with = photos
        .place
        .json("outliers --gallery g --by neighbours -k 5 --count 400");
    assert_eq!(with["k"], 5);
    fs::remove_file(photos.folder().join("17.png")).unwrap();
    fs::write(photos.folder().join("18.png"), b"something else").unwrap();
    let without = photos
        .place
        .json("outliers --gallery g --by neighbours -k 5 --count 400");
    assert_eq!(with, without);
    // Otherwise those that are gone are counted, and said.
    let output = photos.place.run("outliers --gallery g --json");
    assert!(
        stderr(&output).contains("2 of 403 originals cannot be read"),
        "{}",
        stderr(&output)
    );
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["unreadable"], 2);
    assert!(is_noise(&first(&found, 3)), "{found}");
    fs::rename(photos.folder(), photos.place.path("elsewhere")).unwrap();
    let found = photos.place.json("outliers --gallery g");
    assert_eq!(found["unreadable"], 403);
    assert!(found["outliers"][0]["error"].is_null());
    let output = photos.place.run("outliers --gallery g --by reconstruction");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("not one of 403 originals"),
        "{}",
        stderr(&output)
    );
    // Among themselves.
    let output = photos
        .place
        .run("outliers --gallery g --by neighbours --json --where key=noise_1.png");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&found["points"], &found["outliers"]),
        (&0.into(), &Value::Array(Vec::new()))
    );
}

#[test]
fn pixels_without_files_are_read_again_too() {
    let place = Workplace::new(300);
    let images = place.images();
    place.json(&format!(
        "train {images} --out m --objective augment --epochs 1 --batch 32"
    ));
    place.json(&format!(
        "index {images} --model m --gallery g --no-diffusion"
    ));
    let found = place.json("outliers --gallery g --count 5");
    assert_eq!(found["unreadable"], 0);
    assert!(found["outliers"][0]["error"].is_number(), "{found}");
    assert_eq!(place.json("duplicates --gallery g")["group_count"], 0);
    // There are no thumbnails of them: it is said that codes alone were compared.
    let told = |command: &str| String::from_utf8(place.run(command).stdout).unwrap();
    let by_codes = "by their codes alone";
    assert!(told("duplicates --gallery g").contains(by_codes));
    assert!(!told("duplicates --gallery g --threshold 0.1").contains(by_codes));
}

fn rows(path: &Path) -> Vec<Row> {
    let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(Result::unwrap).collect()
}

/// The value of a named column.
fn value<'a>(row: &'a Row, name: &str) -> &'a Field {
    row.get_column_iter()
        .find(|(column, _)| *column == name)
        .unwrap()
        .1
}

#[test]
fn exports_hold_the_same_in_the_same_order() {
    let photos = Photos::new();
    // A table with another column, and a data set without files: fields that not every point has.
    let list = "path,label,author\nphotos/1.png,one,\"Ann, or \"\"Bo\"\"\"\nphotos/2.png,two,Bo\n";
    fs::write(photos.place.path("list.csv"), list).unwrap();
    photos.index();
    photos
        .place
        .json("index list.csv --model m --gallery g --no-diffusion");
    let images = photos.place.images();
    photos.place.json(&format!(
        "index {images} --model m --gallery g --no-diffusion"
    ));
    let points = DIGITS + 3;

    let report = photos
        .place
        .json("export --gallery g --codes c.npy --payload p.jsonl --parquet g.parquet");
    assert_eq!(report["points"], points);
    let codes = fs::read(photos.place.path("c.npy")).unwrap();
    let codes = lookalike::eval::npy::read::<f32>(&codes[..]).unwrap();
    assert_eq!(
        (codes.rows, report["dims"].as_u64()),
        (points, Some(codes.columns as u64))
    );
    let lines = fs::read_to_string(photos.place.path("p.jsonl")).unwrap();
    let rows_of = rows(&photos.place.path("g.parquet"));
    assert_eq!((lines.lines().count(), rows_of.len()), (points, points));
    let mut ids = Vec::new();
    let mut extras = 0;
    for (at, (line, row)) in lines.lines().zip(&rows_of).enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| match value(row, name) {
            Field::Str(text) => Value::from(text.clone()),
            Field::Null => Value::Null,
            other => panic!("{name} is {other}"),
        };
        for name in ["id", "source", "key", "label", "location", "blake3"] {
            assert_eq!(text(name), line[name], "{name} of {line}");
        }
        let number = |name: &str| match value(row, name) {
            Field::UInt(number) => Value::from(*number),
            Field::Long(number) => Value::from(*number),
            Field::TimestampMicros(number) => Value::from(*number),
            Field::Null => Value::Null,
            other => panic!("{name} is {other}"),
        };
        for name in ["width", "height", "bytes"] {
            assert_eq!(number(name), line[name], "{name} of {line}");
        }
        match text("extra") {
            Value::String(extra) => {
                extras += 1;
                assert_eq!(
                    serde_json::from_str::<Value>(&extra).unwrap(),
                    line["extra"]
                );
            }
            _ => assert!(line["extra"].is_null()),
        }
        for (name, fact) in line["facts"].as_object().unwrap() {
            match value(row, name) {
                Field::Double(number) => assert_eq!(Value::from(*number), *fact, "{name}"),
                Field::Str(text) => assert_eq!(*fact, **text, "{name}"),
                other => panic!("{name} is {other}"),
            }
        }
        let Field::ListInternal(code) = value(row, "code") else {
            panic!("{row}");
        };
        let code: Vec<f32> = code
            .elements()
            .iter()
            .map(|element| match element {
                Field::Float(value) => *value,
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(
            code,
            codes.data[at * codes.columns..(at + 1) * codes.columns]
        );
        ids.push(line["id"].as_str().unwrap().to_owned());
    }
    assert!(ids.is_sorted());
    assert_eq!(extras, 2);

    // Only some of it; what was there is replaced, and nothing is left beside.
    let two = photos
        .place
        .json("export --gallery g --parquet g.parquet --where author=Bo");
    assert_eq!((&two["points"], &two["codes"]), (&1.into(), &Value::Null));
    let row = &rows(&photos.place.path("g.parquet"))[0];
    let extra = row.get_string(10).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(extra).unwrap()["author"],
        "Bo"
    );
    let left = fs::read_dir(photos.place.path("")).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!left.into_iter().any(|name| name.ends_with(".part")));
    let none = photos
        .place
        .json("export --gallery g --parquet none.parquet --codes none.npy --where label=zebra");
    assert_eq!(none["points"], 0);
    assert!(rows(&photos.place.path("none.parquet")).is_empty());
    // No place to write to: said, and the other file is not half there.
    let output = photos
        .place
        .run("export --gallery g --codes new.npy --parquet no/such/place.parquet");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("no/such/place.parquet"),
        "{}",
        stderr(&output)
    );
    assert!(!photos.place.path("new.npy").exists() && !photos.place.path("new.npy.part").exists());
    let output = photos.place.run("export --gallery g");
    assert_eq!(output.status.code(), Some(2), "at least one file");
}

#[test]
fn parquet_carries_the_map_and_neighbours() {
    let photos = Photos::new();
    photos.index();
    // A copy: a neighbour at distance 0.
    photos.write("copy of 7.png", &photos.digits.picture(7));
    photos.index();
    let export = "export --gallery g --parquet m.parquet --map --neighbours 4 --where width=28";
    assert_eq!(photos.place.json(export)["points"], DIGITS + 1);
    let rows = rows(&photos.place.path("m.parquet"));
    let keys: Vec<&str> = rows
        .iter()
        .map(|row| row.get_string(2).unwrap().as_str())
        .collect();
    let own = keys.iter().position(|key| *key == "7.png").unwrap();
    let copy = keys.iter().position(|key| *key == "copy of 7.png").unwrap();
    let at = |row: usize| ["x", "y"].map(|side| value(&rows[row], side).clone());
    assert_eq!(at(own), at(copy), "equal codes are one place");
    let all: Vec<f32> = (0..rows.len()).flat_map(at).map(float).collect();
    assert!(all.iter().all(|side| (0.0..=1.0).contains(side)));
    assert!(all.iter().any(|side| *side < 0.2) && all.iter().any(|side| *side > 0.8));

    // The numbers are those of rows, and the neighbours those of a search.
    let neighbours = |row: usize| {
        let Field::Group(pair) = value(&rows[row], "neighbors") else {
            panic!("{}", rows[row]);
        };
        let list = |name: &str| match value(pair, name) {
            Field::ListInternal(list) => list.elements().to_vec(),
            other => panic!("{other}"),
        };
        let ids = list("ids").into_iter().map(|id| match id {
            Field::Int(row) => usize::try_from(row).unwrap(),
            other => panic!("{other}"),
        });
        let distances = list("distances").into_iter().map(float);
        ids.zip(distances).collect::<Vec<(usize, f32)>>()
    };
    for row in 0..rows.len() {
        let found = neighbours(row);
        assert_eq!(found.len(), 4);
        assert!(
            found
                .iter()
                .all(|&(other, _)| other != row && other < rows.len())
        );
        assert!(found.is_sorted_by(|a, b| a.1 <= b.1));
    }
    assert_eq!(neighbours(own)[0].0, copy);
    assert!(neighbours(own)[0].1.abs() < 1e-6);
    let answer = photos
        .place
        .json("search photos/20.png --gallery g -k 4 --exact");
    let row = keys.iter().position(|key| *key == "20.png").unwrap();
    let found = neighbours(row).into_iter().map(|(other, _)| keys[other]);
    let hits = answer["neighbours"].as_array().unwrap();
    let asked = hits
        .iter()
        .map(|hit| hit["payload"]["key"].as_str().unwrap());
    assert_eq!(found.collect::<Vec<_>>(), asked.collect::<Vec<_>>());

    // Of a part of the gallery, neighbours are within the part; of one picture there are none.
    let one = "export --gallery g --parquet one.parquet --neighbours 4 --where key=20.png";
    assert_eq!(photos.place.json(one)["points"], 1);
    let row = &self::rows(&photos.place.path("one.parquet"))[0];
    assert_eq!(
        value(row, "neighbors").to_string(),
        "{ids: [], distances: []}"
    );
    assert!(row.get_column_iter().all(|(name, _)| name != "x"));
}

fn float(field: Field) -> f32 {
    match field {
        Field::Float(number) => number,
        other => panic!("{other}"),
    }
}

#[test]
fn a_report_is_one_file_that_says_only_what_is_meant() {
    let photos = Photos::new();
    let hostile = "<img src=x onerror=alert(1)>&\".png";
    photos.write(hostile, &photos.digits.picture(3));
    let blank = Pixels::new(28, 28, 1, vec![200; 28 * 28]).unwrap();
    photos.write("blank.png", &blank);
    photos.index();
    let said = photos.place.json("report --gallery g --out r.html");
    let html = fs::read_to_string(photos.place.path("r.html")).unwrap();
    assert_eq!(said["bytes"], html.len());
    assert_eq!(said["points"], DIGITS + 2);
    for part in [
        "<h2>Map</h2>",
        "<h2>Answers</h2>",
        "<h2>Groups</h2>",
        "<h2>Copies</h2>",
        "<h2>Outliers</h2>",
        "<h2>Quality</h2>",
    ] {
        assert!(html.contains(part), "{part}");
    }
    // Groups are those of the command, each with its size.
    let groups = photos.place.json("groups --gallery g");
    let groups = groups["groups"].as_array().unwrap();
    assert!(!groups.is_empty());
    for group in groups {
        let caption = format!("Group {}, {} images", group["number"], group["size"]);
        assert!(html.contains(&caption), "{caption}");
    }
    // What is wrong is what the command finds, with its distribution.
    let checked = photos.place.json("check --gallery g");
    let (faulty, points) = (&checked["faulty"], &checked["points"]);
    assert!(html.contains(&format!("{faulty} of {points} images have something wrong")));
    assert!(html.contains("<h3>blank: 1</h3>"));
    let quality = &html[html.find("<h2>Quality</h2>").unwrap()..];
    assert!(quality.contains("blank.png</figcaption>"));
    assert!(quality.contains("<svg class=\"histogram\"") && quality.contains("class=\"beyond\""));
    assert!(html.contains("data:image/jpeg;base64,"));
    // The copy of a digit is in a group, under its name as text.
    assert!(html.contains("&lt;img src=x onerror=alert(1)&gt;&amp;&quot;.png"));
    assert!(!html.contains("<img src=x"));
    // Nothing is loaded from anywhere.
    let sources = html.split("src=\"").skip(1);
    assert!(
        sources
            .into_iter()
            .all(|source| source.starts_with("data:"))
    );
    photos.place.json("report --gallery g --out again.html");
    let again = fs::read_to_string(photos.place.path("again.html")).unwrap();
    assert_eq!(html, again);
    let failed = photos
        .place
        .run("report --gallery g --out no/such/place.html");
    assert_eq!(failed.status.code(), Some(1));
    assert!(stderr(&failed).contains("no/such/place.html"));
}

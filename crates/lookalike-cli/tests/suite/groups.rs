//! Groups of what looks alike, and what is kept of them.

use std::collections::BTreeMap;
use std::fs;

use crate::common::{Workplace, stderr};
use lookalike::open;
use serde_json::Value;

/// Digits that are grouped.
const DIGITS: usize = 500;

/// A place with a gallery `g` of digits with labels.
fn digits() -> Workplace {
    let place = Workplace::new(DIGITS);
    let images = place.images();
    place.json(&format!("train {images} --out m --epochs 2 --batch 32"));
    place.json(&format!(
        "index {images} --model m --gallery g --no-diffusion"
    ));
    place
}

/// The number of the group of every image that is in one, by its id.
fn members(report: &Value) -> BTreeMap<String, u64> {
    let mut members = BTreeMap::new();
    for group in report["groups"].as_array().unwrap() {
        let number = group["number"].as_u64().unwrap();
        let of_group = group["members"].as_array().unwrap();
        assert_eq!(of_group.len() as u64, group["size"].as_u64().unwrap());
        for member in of_group {
            let id = member["id"].as_str().unwrap().to_owned();
            assert_eq!(members.insert(id, number), None, "it is in two groups");
        }
    }
    members
}

/// The group that each image of the gallery is kept in, by its id.
fn kept(place: &Workplace) -> BTreeMap<String, u64> {
    place.json("export --gallery g --payload all.jsonl");
    let text = fs::read_to_string(place.path("all.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let group = |line: Value| {
        let id = line["id"].as_str().unwrap().to_owned();
        Some((id, line["extra"]["group"].as_u64()?))
    };
    lines.filter_map(group).collect()
}

#[test]
fn digits_fall_into_groups_that_their_labels_name() {
    let place = digits();
    let report = place.json("groups --gallery g --csv groups.csv --sheet groups.png");
    let groups = report["groups"].as_array().unwrap();
    assert!((4..=25).contains(&groups.len()), "{}", groups.len());
    let of = members(&report);
    assert_eq!(
        of.len() as u64 + report["ungrouped"].as_u64().unwrap(),
        DIGITS as u64
    );
    // Ones are like nothing else, so that there is a group of them.
    assert!(groups.iter().any(|group| group["name"] == "1"), "{report}");
    for group in groups {
        let scores = group["members"].as_array().unwrap().iter();
        let scores: Vec<f64> = scores.map(|m| m["score"].as_f64().unwrap()).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        let typical = group["typical"].as_array().unwrap();
        assert!((2..=8).contains(&typical.len()));
        let own = |id: &Value| of[id.as_str().unwrap()] == group["number"].as_u64().unwrap();
        assert!(typical.iter().all(own), "{typical:?}");
    }
    let table = fs::read_to_string(place.path("groups.csv")).unwrap();
    assert_eq!(table.lines().count(), of.len() + 1);
    assert!(table.starts_with("group,name,score,source,"), "{table}");
    assert!(place.path("groups.png").exists());

    assert_eq!(place.json("groups --gallery g")["groups"], report["groups"]);
    let four = place.json("groups --gallery g --count 4");
    assert_eq!(four["groups"].as_array().unwrap().len(), 4);
    let ones = place.json("groups --gallery g --where label=1 --count 1");
    assert_eq!(ones["points"], ones["groups"][0]["labels"][0]["count"]);
}

#[test]
fn kept_groups_filter_and_outlast_indexing() {
    let place = digits();
    let report = place.json("groups --gallery g --keep");
    let of = members(&report);
    assert_eq!(report["kept"]["changed"], of.len());
    assert_eq!(kept(&place), of);
    let found = place.json("search mnist:test#7 --gallery g -k 500 --include-self --where group=2");
    let hits = found["neighbours"].as_array().unwrap();
    let size = report["groups"][1]["size"].as_u64().unwrap();
    assert_eq!(hits.len() as u64, size, "{found}");
    assert!(hits.iter().all(|hit| of[hit["id"].as_str().unwrap()] == 2));

    // Indexed again, once unread and once read, nothing changes.
    let images = place.images();
    for how in ["", "--reread"] {
        let again = place.json(&format!("index {images} --gallery g --no-diffusion {how}"));
        assert_eq!(
            (&again["unchanged"], &again["changed"]),
            (&DIGITS.into(), &0.into())
        );
    }
    assert_eq!(kept(&place), of);
    assert_eq!(
        place.json("groups --gallery g --keep")["kept"]["changed"],
        0
    );

    // Another division takes the place of the first.
    let two = place.json("groups --gallery g --keep --count 2");
    assert_eq!(kept(&place), members(&two));
}

#[test]
fn what_the_source_says_is_not_replaced() {
    let place = Workplace::new(1);
    let digits = open("mnist:test").unwrap().load(None, Some(61)).unwrap();
    fs::create_dir(place.path("photos")).unwrap();
    let mut list = "path,group\n".to_owned();
    for index in 0..60 {
        let name = format!("photos/{index}.png");
        digits.picture(index).write_png(place.path(&name)).unwrap();
        list += &format!("{name},own\n");
    }
    fs::write(place.path("list.csv"), list).unwrap();
    place.json("train photos --out m --epochs 1 --batch 32");
    place.json("index list.csv --model m --gallery g --no-diffusion");
    let refused = place.run("groups --gallery g --keep");
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(
        said.contains("has a field `group` from its source"),
        "{said}"
    );
    let found =
        place.json("search photos/7.png --gallery g -k 60 --include-self --where group=own");
    let hits = found["neighbours"].as_array().unwrap();
    assert_eq!(hits.len(), 60);

    // Without the column, groups can be kept; a picture that changes has none.
    let list: String = (0..60)
        .map(|index| format!("photos/{index}.png\n"))
        .collect();
    fs::write(place.path("list.csv"), format!("path\n{list}")).unwrap();
    place.json("index list.csv --gallery g --no-diffusion");
    let report = place.json("groups --gallery g --keep --count 1");
    let of = members(&report);
    assert_eq!(kept(&place), of);
    digits
        .picture(60)
        .write_png(place.path("photos/7.png"))
        .unwrap();
    digits
        .picture(0)
        .write_png(place.path("photos/new.png"))
        .unwrap();
    fs::write(
        place.path("list.csv"),
        format!("path\n{list}photos/new.png\n"),
    )
    .unwrap();
    let again = place.json("index list.csv --gallery g --no-diffusion");
    assert_eq!((&again["added"], &again["changed"]), (&1.into(), &1.into()));
    // The copy of a picture is in its group.
    assert_eq!(kept(&place).len(), of.len());
    let gone = of.keys().filter(|id| !kept(&place).contains_key(*id));
    assert_eq!(gone.count(), 1);
}

#[test]
fn neighbours_suggest_labels_and_a_sample_covers() {
    let place = digits();
    let known = |report: &Value| -> Vec<String> {
        let chosen = report["chosen"].as_array().unwrap().iter();
        chosen
            .map(|one| one["key"].as_str().unwrap().to_owned())
            .collect()
    };
    let ten = place.json("sample --cover 10 --gallery g --csv sample.csv --sheet sample.png");
    let forty = place.json("sample --cover 40 --gallery g");
    assert_eq!(known(&ten), known(&forty)[..10]);
    assert!(forty["radius"].as_f64() < ten["radius"].as_f64());
    assert_eq!(forty["chosen"][10]["distance"], ten["radius"]);
    let table = fs::read_to_string(place.path("sample.csv")).unwrap();
    assert_eq!(table.lines().count(), 11);

    // Every twentieth label is another.
    let digits = open("mnist:test")
        .unwrap()
        .load(None, Some(DIGITS))
        .unwrap();
    let truth = |key: usize| digits.label(key).unwrap();
    let swapped: Vec<usize> = (0..DIGITS).step_by(20).collect();
    let mut list = "key,label\n".to_owned();
    for &key in &swapped {
        let other = (truth(key).parse::<usize>().unwrap() + 5) % 10;
        list += &format!("{key},{other}\n");
    }
    fs::write(place.path("labels.csv"), format!("{list}no-such-image,3\n")).unwrap();
    let found = place.json("suggest --gallery g --labels labels.csv --csv all.csv --sheet all.png");
    assert_eq!(
        (&found["labelled"], &found["unknown"]),
        (&DIGITS.into(), &1.into())
    );
    assert_eq!(found["suggestions"].as_array().unwrap().len(), 0);
    let table = fs::read_to_string(place.path("all.csv")).unwrap();
    let mistakes: Vec<&str> = table.lines().skip(1).collect();
    let is_swapped = |line: &&&str| {
        let key = line.split(',').nth(6).unwrap().parse::<usize>().unwrap();
        swapped.contains(&key)
    };
    let right = mistakes.iter().filter(is_swapped).count();
    assert!(right * 2 > swapped.len(), "{right} of {}", swapped.len());
    assert!(right * 2 > mistakes.len(), "{right} of {mistakes:?}");
    let refused = place.run("suggest --gallery g --labels sample.png");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("the columns id"),
        "{}",
        stderr(&refused)
    );
    fs::write(place.path("labels.csv"), "key,label\n3,1\n4,1\n3,2\n").unwrap();
    let refused = place.run("suggest --gallery g --labels labels.csv");
    let expected = "3 is labelled 1 and 2";
    assert!(stderr(&refused).contains(expected), "{}", stderr(&refused));

    // A condition on what no image has is no reason to say that nothing was found.
    for command in [
        "check",
        "duplicates",
        "export --codes codes.npy",
        "groups",
        "outliers",
        "sample --cover 3",
        "suggest",
    ] {
        let refused = place.run(&format!("{command} --gallery g --where nofield=3"));
        assert_eq!(refused.status.code(), Some(1), "{command}");
        let expected = "no image of the gallery has a field nofield (nofield=3)";
        assert!(stderr(&refused).contains(expected), "{}", stderr(&refused));
    }
    let none = place.run("check --gallery g --where label=ten");
    assert_eq!(none.status.code(), Some(0), "{}", stderr(&none));
    let expected = "no image passes label=ten; values of label are ";
    assert!(stderr(&none).contains(expected), "{}", stderr(&none));
}

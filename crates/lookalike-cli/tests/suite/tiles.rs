//! Parts of pictures: their codes kept by `index --tiles`, found by `search --tiles`.

use crate::common::{Workplace, read_png, stderr};
use lookalike::images::Pixels;
use lookalike::open;
use serde_json::Value;

const SIDE: usize = 28;
/// Pictures of four digits each.
const PICTURES: usize = 30;

/// Four digits, side by side and one above the other.
fn mosaic(number: usize) -> Pixels {
    let digits = open("mnist:test").unwrap();
    let digits = digits.load(None, Some(4 * number + 4)).unwrap();
    let mut data = vec![0; 4 * SIDE * SIDE];
    for part in 0..4 {
        let digit = digits.picture(4 * number + part);
        let [left, top] = [part % 2, part / 2].map(|half| half * SIDE);
        for (y, row) in digit.data().chunks(SIDE).enumerate() {
            let start = (top + y) * 2 * SIDE + left;
            data[start..start + SIDE].copy_from_slice(row);
        }
    }
    Pixels::new(2 * SIDE, 2 * SIDE, 1, data).unwrap()
}

fn add(place: &Workplace, numbers: impl Iterator<Item = usize>) {
    std::fs::create_dir_all(place.path("photos")).unwrap();
    for number in numbers {
        let path = place.path(&format!("photos/{number:02}.png"));
        mosaic(number).write_png(path).unwrap();
    }
}

fn place() -> Workplace {
    let place = Workplace::new(4 * PICTURES + 8);
    place.add_tiny_clip();
    add(&place, 0..PICTURES);
    place
}

/// The first answer's key, and its region as left, top, width and height.
fn first(answer: &Value) -> (String, Option<[u64; 4]>) {
    let first = &answer["neighbours"][0];
    let region = first.get("region");
    let region =
        region.map(|region| ["x", "y", "width", "height"].map(|n| region[n].as_u64().unwrap()));
    (first["payload"]["key"].as_str().unwrap().to_owned(), region)
}

/// Where each digit is in its picture.
fn quarter(digit: usize) -> (String, Option<[u64; 4]>) {
    let [x, y] = [digit % 2, digit % 4 / 2].map(|half| (half * SIDE) as u64);
    (
        format!("{:02}.png", digit / 4),
        Some([x, y, SIDE as u64, SIDE as u64]),
    )
}

#[test]
fn parts_are_found_with_their_place() {
    let place = place();
    let images = place.images();
    let indexed = place.json("index photos --encoder clip --gallery g --tiles");
    assert_eq!(indexed["tiled"], PICTURES);
    let search = |digit: usize| place.json(&format!("search {images}#{digit} --gallery g --tiles"));
    for digit in [0, 13, 50, 119] {
        let found = search(digit);
        assert_eq!(first(&found), quarter(digit), "{found}");
        assert!(
            found["neighbours"][0]["distance"].as_f64().unwrap() < 0.01,
            "{found}"
        );
        let keys = found["neighbours"].as_array().unwrap().iter();
        let mut keys: Vec<_> = keys.map(|hit| hit["payload"]["key"].as_str()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 5, "{found}");
    }
    // A part of a query, and a whole picture.
    let part =
        place.json("search photos/07.png --region 28,0,28,28 --gallery g --tiles --include-self");
    assert_eq!(first(&part), quarter(29));
    let whole = place.json("search photos/07.png --gallery g --tiles --include-self");
    assert_eq!(first(&whole), ("07.png".into(), None));
    // In words, and drawn.
    let output = place.run(&format!(
        "search {images}#13 --gallery g --tiles --sheet sheet.png"
    ));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("28,0,28,28") && text.contains("part"),
        "{text}"
    );
    let sheet = read_png(place.path("sheet.png"));
    assert!(sheet.data().chunks(3).any(|pixel| pixel == [255, 191, 0]));
    // Points are what they were.
    let info = place.json("info g");
    assert_eq!(
        (&info["points"], &info["tiles"]["images"]),
        (&PICTURES.into(), &PICTURES.into())
    );
    // A half and a third of 56 pixels: 9 and 16 windows.
    assert_eq!(info["tiles"]["tiles"], 25 * PICTURES);

    let plain = place.json(&format!("search {images}#13 --gallery g"));
    assert_eq!(first(&plain).1, None);
    let output = place.run(&format!(
        "search {images}#13 --gallery g --tiles --rerank diffusion"
    ));
    assert!(
        stderr(&output).contains("no diffusion"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn tiles_are_kept_from_then_on_and_made_once() {
    let place = place();
    let images = place.images();
    let index = |options: &str| {
        place.json(&format!(
            "index photos --encoder clip --gallery g {options}"
        ))
    };
    assert_eq!(index("")["tiled"], 0);
    let output = place.run(&format!("search {images}#1 --gallery g --tiles"));
    assert!(
        stderr(&output).contains("keeps no tiles"),
        "{}",
        stderr(&output)
    );
    // Filled without encoding whole pictures again, and once.
    let filled = index("--tiles=9");
    assert_eq!(
        (&filled["tiled"], &filled["encoded"], &filled["unchanged"]),
        (&PICTURES.into(), &0.into(), &PICTURES.into())
    );
    assert_eq!(index("--tiles=9")["tiled"], 0);
    // What comes later has some, too; under another name nothing is made again.
    add(&place, PICTURES..PICTURES + 1);
    std::fs::copy(place.path("photos/03.png"), place.path("photos/copy.png")).unwrap();
    assert_eq!(index("")["tiled"], 1);
    let found = |gallery: &str, digit: usize| {
        first(&place.json(&format!(
            "search {images}#{digit} --gallery {gallery} --tiles"
        )))
    };
    assert_eq!(found("g", 4 * PICTURES + 2), quarter(4 * PICTURES + 2));
    // Another number makes all of them anew, and what no point needs goes.
    assert_eq!(index("--tiles=25")["tiled"], PICTURES + 1);
    std::fs::remove_file(place.path("photos/00.png")).unwrap();
    index("--prune");
    let info = place.json("info g");
    assert_eq!(
        (&info["tiles"]["images"], &info["tiles"]["missing"]),
        (&PICTURES.into(), &0.into())
    );
    assert_eq!(info["tiles"]["tiles"], 25 * PICTURES);
    // Copies have them, whole or point by point.
    place.json("gallery copy g whole");
    assert_eq!(found("whole", 21), quarter(21));
    std::fs::rename(place.path("photos"), place.path("elsewhere")).unwrap();
    place.json("gallery move g photos elsewhere");
    place.json("gallery copy g whole --prune");
    assert_eq!(found("whole", 22), quarter(22));

    let off = place.json("index elsewhere --gallery g --tiles=0");
    assert_eq!(off["tiled"], 0);
    assert!(place.json("info g")["tiles"].is_null());
}

#[test]
fn a_part_of_a_large_photograph_is_found_where_it_is() {
    // A photograph is decoded larger for its tiles than for its whole code, which stays as it was.
    let place = Workplace::new(8);
    place.add_tiny_clip();
    std::fs::create_dir_all(place.path("photos")).unwrap();
    let (width, height) = (600, 400);
    // One digit that fills a window, on grey ground, at another place in each.
    let window = |number: usize| [number % 3 * 150, number / 3 * 100];
    for number in 0..5 {
        let digit = open("mnist:test")
            .unwrap()
            .load(None, Some(number + 1))
            .unwrap();
        let digit = digit.picture(number);
        let mut data = vec![90; width * height * 3];
        let [left, top] = window(number);
        for (y, x) in (0..200).flat_map(|y| (0..300).map(move |x| (y, x))) {
            let value = digit.data()[y * SIDE / 200 * SIDE + x * SIDE / 300];
            let at = ((top + y) * width + left + x) * 3;
            data[at..at + 3].fill(value);
        }
        let picture = Pixels::new(width, height, 3, data).unwrap();
        picture
            .write_png(place.path(&format!("photos/{number}.png")))
            .unwrap();
    }
    place.json("index photos --encoder clip --gallery whole");
    place.json("index photos --encoder clip --gallery g --tiles=60");
    for number in 0..5 {
        let itself = format!("search photos/{number}.png --include-self -k 1");
        let whole = place.json(&format!("{itself} --gallery whole"));
        let tiled = place.json(&format!("{itself} --gallery g"));
        let code = "the code of the whole picture";
        assert_eq!(whole["neighbours"], tiled["neighbours"], "{code}");
        let [x, y] = window(number);
        let part = place.json(&format!(
            "search photos/{number}.png --region {x},{y},300,200 --include-self --gallery g --tiles"
        ));
        let region = [x as u64, y as u64, 300, 200];
        assert_eq!(
            first(&part),
            (format!("{number}.png"), Some(region)),
            "{part}"
        );
    }
}

//! `lookalike check`, and what it judges by: facts of images in payloads, filters and exports.

use std::fs;
use std::io::Cursor;

use crate::common::{Workplace, read_png, stderr};
use exif::experimental::Writer;
use exif::{Field, In, Rational, Tag, Value};
use lookalike::gallery::{Facts, Points};
use lookalike::images::{Pixels, thumbnail};
use lookalike::open_gallery;
use serde_json::Value as Json;

/// Sound pictures in the folder `photos`.
const SOUND: usize = 40;

/// A coloured scene of sharp rectangles, another for each seed.
fn scene(seed: u64) -> Pixels {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |most: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) % most
    };
    let (width, height) = (64, 48);
    let mut data: Vec<u8> = (0..width * height)
        .flat_map(|i| [90, 120, (i / width) as u8 + 80])
        .collect();
    for _ in 0..30 {
        let (left, top) = (next(56) as usize, next(40) as usize);
        let (across, along) = (4 + next(12) as usize, 4 + next(12) as usize);
        let colour = [next(256), next(256), next(256)].map(|value| value as u8);
        for y in top..(top + along).min(height) {
            for x in left..(left + across).min(width) {
                data[(y * width + x) * 3..][..3].copy_from_slice(&colour);
            }
        }
    }
    Pixels::new(width, height, 3, data).unwrap()
}

fn each(pixels: &Pixels, change: impl Fn(usize, u8) -> u8) -> Pixels {
    let data = pixels.data().iter().enumerate();
    let data = data.map(|(at, &value)| change(at, value)).collect();
    Pixels::new(pixels.width(), pixels.height(), 3, data).unwrap()
}

/// A place with the folder `photos`, sound pictures and made faults, and a model `m`.
fn photos() -> Workplace {
    let place = Workplace::new(1);
    let folder = place.path("photos");
    fs::create_dir(&folder).unwrap();
    let write = |name: &str, pixels: &Pixels| pixels.write_png(folder.join(name)).unwrap();
    for seed in 0..SOUND {
        write(&format!("{seed}.png"), &scene(seed as u64));
    }
    let of = |seed: u64, change: &dyn Fn(usize, u8) -> u8| each(&scene(seed), change);
    write("blank.png", &of(100, &|_, _| 70));
    write("dark.png", &of(101, &|_, value| value / 20));
    write("bright.png", &of(102, &|_, value| 255 - (255 - value) / 20));
    write("uniform.png", &of(103, &|_, value| 120 + value / 40));
    let grey = scene(104);
    let grey = each(&grey, |at, _| grey.data()[at / 3 * 3 + 1]);
    write("grey.png", &grey);
    write("tiny.png", &Pixels::new(8, 6, 3, vec![9; 144]).unwrap());
    // As a program saves what it could decode of a JPEG file that ends early.
    let half = of(105, &|at, value| if at < 64 * 3 * 30 { value } else { 128 });
    fs::write(folder.join("half.jpg"), thumbnail(&half, 64).unwrap()).unwrap();
    place.json("train photos --out m --epochs 1 --batch 16");
    place
}

/// The names of the pictures with each fault.
fn faults(report: &Json) -> Vec<(String, Vec<String>)> {
    let text = |value: &Json| value.as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .map(|finding| {
            let images = finding["images"].as_array().unwrap().iter();
            let mut names: Vec<_> = images.map(|image| text(&image["key"])).collect();
            assert_eq!(finding["count"], names.len());
            names.sort();
            (text(&finding["fault"]), names)
        })
        .filter(|(_, names)| !names.is_empty())
        .collect()
}

#[test]
fn made_faults_are_found_and_sound_pictures_left_alone() {
    let place = photos();
    place.json("index photos --model m --gallery g --no-diffusion");
    let found = place.json("check --gallery g --csv faults.csv --sheet faults.png");
    let expected = [
        ("blank", vec!["blank.png", "tiny.png"]),
        ("uniform", vec!["bright.png", "dark.png", "uniform.png"]),
        ("half-decoded", vec!["half.jpg"]),
        ("dark", vec!["dark.png"]),
        ("bright", vec!["bright.png"]),
        ("low-information", vec!["uniform.png"]),
        ("grey", vec!["dark.png", "grey.png", "uniform.png"]),
        ("tiny", vec!["tiny.png"]),
    ];
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let expected: Vec<(String, Vec<String>)> = expected
        .iter()
        .map(|(fault, images)| ((*fault).to_owned(), names(images)))
        .collect();
    let mut told = faults(&found);
    // What hardly differs has few greys and little colour too; which of them is no matter here.
    for (fault, images) in &mut told {
        match fault.as_str() {
            "low-information" => images.retain(|name| name == "uniform.png"),
            "grey" => assert!(images.contains(&"grey.png".to_owned()), "{images:?}"),
            _ => {}
        }
    }
    let told: Vec<_> = told
        .into_iter()
        .filter(|(fault, _)| fault != "grey")
        .collect();
    let expected: Vec<_> = expected
        .into_iter()
        .filter(|(fault, _)| fault != "grey")
        .collect();
    assert_eq!(told, expected, "{found}");
    assert_eq!(
        (&found["points"], &found["unmeasured"]),
        (&(SOUND + 7).into(), &0.into())
    );
    let table = fs::read_to_string(place.path("faults.csv")).unwrap();
    assert!(
        table.starts_with("fault,measure,value,threshold,brightness,"),
        "{table}"
    );
    assert!(
        table
            .lines()
            .any(|line| line.starts_with("half-decoded,") && line.contains("half.jpg"))
    );
    let sheet = read_png(place.path("faults.png"));
    assert!(sheet.height() > 8 * 48, "a row for each fault");

    // For people: the rule, how it is distributed, and the worst.
    let said = String::from_utf8(place.run("check --gallery g --limit 1").stdout).unwrap();
    assert!(said.contains("brightness < 0.200"), "{said}");
    assert!(
        said.contains('█') && said.contains("photos/dark.png"),
        "{said}"
    );

    // The same numbers as conditions, in answers and in exports.
    let dark = place.json("export --gallery g --payload p.jsonl --where brightness<0.1");
    assert_eq!(dark["points"], 2, "dark.png and tiny.png");
    let all = place.json("export --gallery g --payload p.jsonl --where brightness>=0");
    assert_eq!(all["points"], SOUND + 7);
    let line = fs::read_to_string(place.path("p.jsonl")).unwrap();
    let line: Json = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert!(line["facts"]["sharpness"].is_number(), "{line}");
    let answer = place.json("search photos/1.png --gallery g -k 1 --where sharpness>0.5");
    let facts = &answer["neighbours"][0]["payload"]["facts"];
    assert!(facts["sharpness"].as_f64().unwrap() > 0.5, "{answer}");
}

#[test]
fn galleries_of_before_get_their_facts_when_all_is_read_again() {
    let place = photos();
    place.json("index photos --model m --gallery g --no-diffusion");
    let path = place.path("g").display().to_string();
    let forget = || {
        let gallery = open_gallery(&path).unwrap();
        let points: Result<Vec<_>, _> = Points::new(&*gallery, None).collect();
        let mut points = points.unwrap();
        let facts: Vec<Facts> = points
            .iter_mut()
            .map(|point| std::mem::take(&mut point.payload.facts))
            .collect();
        gallery.upsert(&points).unwrap();
        facts
    };
    let before = forget();
    assert!(before.iter().all(Facts::is_measured));

    let checked = place.run("check --gallery g");
    assert!(
        stderr(&checked).contains("--reread"),
        "{}",
        stderr(&checked)
    );
    let checked = place.json("check --gallery g");
    assert_eq!(checked["unmeasured"], SOUND + 7);
    assert_eq!(
        faults(&checked),
        [("tiny".to_owned(), vec!["tiny.png".to_owned()])]
    );
    // Sizes and times are as they were: nothing is read.
    let again = place.json("index photos --model m --gallery g --no-diffusion");
    assert_eq!(
        (&again["changed"], &again["encoded"]),
        (&0.into(), &0.into())
    );
    let again = place.json("index photos --model m --gallery g --no-diffusion --reread");
    assert_eq!(
        (&again["changed"], &again["encoded"]),
        (&(SOUND + 7).into(), &0.into())
    );
    assert_eq!(place.json("check --gallery g")["unmeasured"], 0);
    let again = place.json("index photos --model m --gallery g --no-diffusion --reread");
    assert_eq!(
        (&again["changed"], &again["encoded"]),
        (&0.into(), &0.into())
    );
    // A renamed copy has the same content, and the same facts.
    fs::copy(place.path("photos/3.png"), place.path("photos/copy.png")).unwrap();
    let copied = place.json("index photos --model m --gallery g --no-diffusion");
    assert_eq!(
        (&copied["added"], &copied["encoded"]),
        (&1.into(), &0.into())
    );
    assert_eq!(place.json("check --gallery g")["unmeasured"], 0);
    let mut after = forget();
    for facts in before {
        let same = after.iter().position(|other| *other == facts);
        after.remove(same.expect("the same facts as before"));
    }
    assert_eq!(after.len(), 1, "the copy's");
}

/// What a camera writes on a day of June 2024.
fn written(day: u32, camera: &str, orientation: u16) -> Vec<Field> {
    let ascii = |text: &str| Value::Ascii(vec![text.as_bytes().to_vec()]);
    let rational = |num| Rational { num, denom: 1 };
    let degrees = |whole| Value::Rational(vec![rational(whole), rational(30), rational(0)]);
    let fields = [
        (Tag::Model, ascii(camera)),
        (
            Tag::DateTimeOriginal,
            ascii(&format!("2024:06:{day:02} 12:30:00")),
        ),
        (Tag::Orientation, Value::Short(vec![orientation])),
        (Tag::GPSLatitudeRef, ascii("N")),
        (Tag::GPSLatitude, degrees(47)),
        (Tag::GPSLongitudeRef, ascii("E")),
        (Tag::GPSLongitude, degrees(7)),
    ];
    fields.into_iter().map(field).collect()
}

fn field((tag, value): (Tag, Value)) -> Field {
    Field {
        tag,
        ifd_num: In::PRIMARY,
        value,
    }
}

/// A TIFF file of a grey scene with what a camera writes.
fn scan(day: u32, camera: &str) -> Vec<u8> {
    let fields = written(day, camera, 1);
    let number = |number| Value::Long(vec![number]);
    let picture = [
        (Tag::ImageWidth, number(32)),
        (Tag::ImageLength, number(16)),
        (Tag::BitsPerSample, Value::Short(vec![8])),
        (Tag::Compression, Value::Short(vec![1])),
        (Tag::PhotometricInterpretation, Value::Short(vec![1])),
        (Tag::SamplesPerPixel, Value::Short(vec![1])),
        (Tag::RowsPerStrip, number(16)),
    ]
    .map(field);
    let grey: Vec<u8> = (0..32 * 16).map(|at| (at * 7 % 251) as u8).collect();
    let strips = [&grey[..]];
    let mut writer = Writer::new();
    let all = picture.iter().chain(&fields);
    all.for_each(|field| writer.push_field(field));
    writer.set_strips(&strips, In::PRIMARY);
    let mut file = Cursor::new(Vec::new());
    writer.write(&mut file, false).unwrap();
    file.into_inner()
}

/// A JPEG file of a scene with what a camera writes, taken on a day of June 2024.
fn photograph(day: u32, camera: &str, orientation: u16) -> Vec<u8> {
    let fields = written(day, camera, orientation);
    let mut writer = Writer::new();
    fields.iter().for_each(|field| writer.push_field(field));
    let mut block = Cursor::new(Vec::new());
    writer.write(&mut block, false).unwrap();
    let block = block.into_inner();
    let plain = thumbnail(&scene(day.into()), 64).unwrap();
    let mut file = plain[..2].to_vec();
    file.extend([0xff, 0xe1]);
    file.extend((block.len() as u16 + 8).to_be_bytes());
    file.extend(b"Exif\0\0");
    file.extend(block);
    file.extend(&plain[2..]);
    file
}

#[test]
fn photographs_are_found_by_when_and_with_what_they_were_taken() {
    let place = Workplace::new(1);
    let folder = place.path("photos");
    fs::create_dir(&folder).unwrap();
    for day in 1..=9 {
        let camera = ["Leica M3", "Nikon F"][day as usize % 2];
        let file = photograph(day, camera, if day == 9 { 6 } else { 1 });
        fs::write(folder.join(format!("{day}.jpg")), file).unwrap();
    }
    scene(10).write_png(folder.join("drawing.png")).unwrap();
    place.json("train photos --out m --epochs 1 --batch 8");
    place.json("index photos --model m --gallery g --no-diffusion");
    let count = |condition: &str| {
        let mut export = place.command("export --gallery g --payload p.jsonl --json --where");
        let output = export.arg(condition).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice::<Json>(&output.stdout).unwrap()["points"].as_u64()
    };
    for (condition, images) in [
        ("taken>=2024-06-05", 5),
        ("taken>2024-06-05", 4),
        ("taken=2024-06-05", 1),
        ("taken<=2024-06", 9),
        ("taken!=2024", 1),
        ("camera=Nikon F", 5),
        ("orientation=6", 1),
        ("latitude>47", 9),
        ("longitude=7.5", 9),
    ] {
        assert_eq!(count(condition), Some(images), "{condition}");
    }
    assert_eq!(count("taken=2024-06-09"), Some(1));
    let line = fs::read_to_string(place.path("p.jsonl")).unwrap();
    let line: Json = serde_json::from_str(&line).unwrap();
    // It stands upright, whatever the file says of it.
    assert_eq!((&line["width"], &line["height"]), (&48.into(), &64.into()));
    let facts = &line["facts"];
    assert_eq!(
        (&facts["taken"], &facts["camera"]),
        (&"2024-06-09T12:30:00".into(), &"Nikon F".into())
    );

    // Nothing of it is kept any more, and that holds for what comes later; measures stay.
    let without = place.json("index photos --model m --gallery g --no-diffusion --no-exif");
    assert_eq!(
        (&without["changed"], &without["encoded"]),
        (&9.into(), &0.into())
    );
    fs::write(folder.join("new.jpg"), photograph(20, "Leica M3", 1)).unwrap();
    fs::write(folder.join("scan.tif"), scan(21, "Nikon F")).unwrap();
    let later = place.json("index photos --model m --gallery g --no-diffusion");
    assert_eq!((&later["added"], &later["changed"]), (&2.into(), &0.into()));
    let gallery = open_gallery(place.path("g").display().to_string()).unwrap();
    for point in Points::new(&*gallery, None) {
        let facts = point.unwrap().payload.facts;
        assert_eq!(facts.known().count(), 7, "{facts:?}");
    }
    drop(gallery);
    let again = place.json("index photos --model m --gallery g --no-diffusion --exif --reread");
    assert_eq!(
        (&again["changed"], &again["encoded"]),
        (&11.into(), &0.into())
    );
    assert_eq!(count("taken>=2024-06-05"), Some(7));
    assert_eq!(count("taken=2024-06-21"), Some(1), "that of the TIFF file");
    let refused = place.run("search photos/1.jpg --gallery g --where taken>soon");
    assert!(
        stderr(&refused).contains("2024-06-01"),
        "{}",
        stderr(&refused)
    );
}

//! The map coloured by any field, and only a range of one.

use std::fs;

use lookalike::gallery::Points;
use lookalike::{IndexOptions, create_gallery, index, open};
use serde_json::json;

use super::{ANSWERED, page, wait_answers, wait_parameter_is};
use crate::support::{Running, digit, finished, model};

/// Images of the gallery.
const IMAGES: usize = 60;

/// A server on digits of three years, four times in each, by 25 authors.
fn server() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let mut list = "path,label,author\n".to_owned();
    for number in 0..IMAGES {
        fs::write(folder.path().join(format!("{number}.png")), digit(number)).unwrap();
        let author = number % 25;
        list += &format!("{number}.png,{},a{author:02}\n", number % 2);
    }
    let name = folder.path().join("list.csv");
    fs::write(&name, list).unwrap();
    let model = model();
    let gallery = create_gallery(folder.path().join("g"), &model, &Default::default()).unwrap();
    let source = open(name.to_str().unwrap()).unwrap();
    index(source, &model, &*gallery, IndexOptions::default()).unwrap();
    // As if a camera had written it.
    let points: Result<Vec<_>, _> = Points::new(&*gallery, None).collect();
    let mut points = points.unwrap();
    for point in &mut points {
        let number: usize = point.payload.key.trim_end_matches(".png").parse().unwrap();
        let (year, month) = (2020 + number % 3, 1 + number % 12);
        point.payload.facts.taken = Some(format!("{year}-{month:02}-01T12:00:00"));
    }
    gallery.upsert(&points).unwrap();
    drop(gallery);
    Running::on(folder, |_| {})
}

fn choose(page: &super::Page, selector: &str, value: &str) {
    page.eval(&format!(
        "(() => {{ const choice = document.querySelector('{selector}'); choice.value = '{value}'; \
         choice.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()"
    ));
}

#[test]
fn the_map_is_coloured_by_any_field_and_shows_a_range() {
    let server = server();
    let map = finished(&server, "/api/v1/map");
    let page = page(&server, "/map");
    page.wait_for("#map .labels button");
    let entries = |expected: &[(&str, usize)]| {
        let expected: Vec<String> = expected
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        page.wait(&format!(
            "JSON.stringify([...document.querySelectorAll('#map .labels button')].map((one) => \
             one.querySelector('span').textContent + ' ' + one.querySelector('small').textContent)) === {}",
            json!(json!(expected).to_string())
        ));
    };
    entries(&[("0", 30), ("1", 30)]);
    let first_colour =
        "getComputedStyle(document.querySelector('#map .labels button i')).backgroundColor";
    let by_label = page.eval(first_colour);

    // Years are in order, and so are their colours.
    choose(&page, "#colour-by", "taken");
    entries(&[("2020", 20), ("2021", 20), ("2022", 20)]);
    wait_parameter_is(&page, "by", "taken");
    assert_ne!(page.eval(first_colour), by_label);
    assert_eq!(page.eval(first_colour), json!("rgb(72, 40, 120)"));
    page.click("#map .labels button:nth-child(2)");
    wait_parameter_is(&page, "only", "2021");
    page.check_accessible("the map by years");
    page.screenshot("map-by-years");

    // Of many values the most frequent have colours, the others are grey.
    choose(&page, "#colour-by", "author");
    page.wait("document.querySelectorAll('#map .labels button').length === 20");
    page.wait("document.querySelector('#map .rest small').textContent === '10'");
    wait_parameter_is(&page, "by", "author");
    page.wait("!location.search.includes('only')");

    // A range of time, by keys; twelve times are twelve steps.
    page.click("#map .ranging summary");
    choose(&page, "#range-of", "taken");
    page.wait("document.querySelector('#range-to').max === '11'");
    page.eval("document.querySelector('#range-from').focus()");
    (0..4).for_each(|_| page.press("ArrowRight"));
    wait_parameter_is(&page, "from", "2021-02-01T12:00:00");
    page.wait("document.querySelector('.ranging .faint').textContent === '40 images shown.'");
    page.eval("document.querySelector('#range-to').focus()");
    (0..4).for_each(|_| page.press("ArrowLeft"));
    wait_parameter_is(&page, "to", "2021-11-01T12:00:00");
    page.wait("document.querySelector('.ranging .faint').textContent === '20 images shown.'");
    assert_eq!(
        page.eval("document.querySelector('#range-to').getAttribute('aria-valuetext')"),
        json!("2021-11-01 12:00")
    );
    page.check_accessible("a range on the map");
    page.screenshot("map-range");

    // What is outside of it is neither selected nor searched.
    // Keys mean the nearest image that is seen, however far from the middle all of them are.
    let means_one = "document.querySelector('#map .card').hidden === false";
    page.eval("document.querySelector('#map .over').focus()");
    (0..9).for_each(|_| page.press("ArrowRight"));
    page.wait(means_one);
    page.press("0");
    page.wait(means_one);
    page.press(" ");
    page.wait("document.querySelector('.selection h2').textContent === '1 image selected'");
    page.eval("[...document.querySelectorAll('.selection .button')].find((one) => one.textContent === 'Select all in view').click()");
    page.wait("document.querySelector('.selection h2').textContent === '20 images selected'");
    page.eval("document.querySelector('#map .over').focus()");
    page.press("Enter");
    page.wait_address("/?q=id:");
    page.wait(ANSWERED);
    let id = page.eval("new URLSearchParams(location.search).get('q').slice(3)");
    let filter = "taken>=2021-02-01T12:00:00 and taken<=2021-11-01T12:00:00";
    assert_eq!(
        page.eval("new URLSearchParams(location.search).get('filter')"),
        json!(filter)
    );
    let search = json!({"query": {"id": id}, "k": 40, "filter": filter});
    wait_answers(&page, &server, &search);
    page.wait("document.querySelectorAll('.answer').length < 21");

    // Coming back, it is as it was; all images again leaves nothing behind.
    page.eval("history.back()");
    page.wait("location.pathname === '/map'");
    page.wait("document.querySelector('.ranging .faint')?.textContent === '20 images shown.'");
    assert_eq!(
        page.eval("document.querySelector('#range-from').value"),
        json!("4")
    );
    choose(&page, "#range-of", "");
    page.wait("!location.search.includes('range') && !location.search.includes('from')");

    let version = map["version"].as_str().unwrap();
    let values = |field: &str, version: &str| {
        server.get(&format!(
            "/api/v1/map/values?version={version}&field={field}"
        ))
    };
    let times = values("taken", version).ok();
    assert_eq!(times["kind"], "time");
    assert_eq!(times["values"].as_array().unwrap().len(), IMAGES);
    assert_eq!(values("brightness", version).ok()["kind"], "number");
    let said = values("author", version).problem(422);
    assert!(said.contains("no order"), "{said}");
    values("taken", "another").problem(404);
}

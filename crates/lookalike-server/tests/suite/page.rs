//! The page, as people use it: in a browser, with pointer, fingers and keys, on a server with a
//! small gallery.

mod coloured_map;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::browser::{PHONE, Page};
use crate::support::{Form, IMAGES, Running, SEVEN, TOKEN, digit, finished, keys, new_digit};
use lookalike::images::Pixels;
use serde_json::{Value, json};

/// Answers at a time, unless one asks for another number.
const DEFAULT_COUNT: usize = 40;
/// The answers are there, and no others are on their way.
const ANSWERED: &str = "document.querySelectorAll('.answer').length > 0 && !document.querySelector('#results').hasAttribute('aria-busy')";
/// A place on a page among answers, and how far the wheel is turned there: beyond what is shown.
const AMONG_ANSWERS: (f64, f64) = (800.0, 500.0);
const FAR: f64 = 4_000.0;

fn origin(server: &Running) -> String {
    format!("http://{}", server.address)
}

/// A page for a server, at an address.
fn page(server: &Running, path: &str) -> Page {
    let page = Page::new(origin(server));
    page.open(path);
    page
}

/// The page of a search by the article's query.
fn search_page(server: &Running) -> Page {
    let page = page(server, &format!("/?q=id:{SEVEN}"));
    page.wait(ANSWERED);
    page
}

/// A picture file in the server's folder.
fn file(server: &Running, name: &str, bytes: &[u8]) -> PathBuf {
    let path = server.folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The keys of the first answers that are shown.
fn shown(page: &Page, most: usize) -> Vec<String> {
    page.wait(ANSWERED);
    let keys = page.eval(
        "[...document.querySelectorAll('.answer .caption .place')].map((one) => one.textContent)",
    );
    let keys = keys.as_array().unwrap().iter().take(most);
    keys.map(|key| key.as_str().unwrap().to_owned()).collect()
}

/// The keys that the API answers a search with.
fn found(server: &Running, search: &Value) -> Vec<String> {
    keys(&server.post_json("/api/v1/search", search).ok())
}

/// Waits until the first answers are those that the API gives to a search.
#[track_caller]
fn wait_answers(page: &Page, server: &Running, search: &Value) {
    let expected = found(server, search);
    assert!(!expected.is_empty(), "{search}");
    wait_shown(page, &expected);
}

/// Waits until these are the first answers.
#[track_caller]
fn wait_shown(page: &Page, expected: &[String]) {
    let end = Instant::now() + Duration::from_secs(30);
    while shown(page, expected.len()) != expected {
        assert!(
            Instant::now() < end,
            "{:?} instead of {expected:?} at {}",
            shown(page, expected.len()),
            page.address()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the address says of one of its parameters.
fn parameter(page: &Page, name: &str) -> Option<String> {
    let value = page.eval(&format!(
        "new URLSearchParams(location.search).get({})",
        json!(name)
    ));
    value.as_str().map(str::to_owned)
}

#[track_caller]
fn wait_parameter(page: &Page, name: &str) -> String {
    let value = page.wait(&format!(
        "new URLSearchParams(location.search).get({})",
        json!(name)
    ));
    value.as_str().unwrap().to_owned()
}

#[track_caller]
fn wait_parameter_is(page: &Page, name: &str, value: &str) {
    page.wait(&format!(
        "new URLSearchParams(location.search).get({}) === {}",
        json!(name),
        json!(value)
    ));
}

#[test]
fn pictures_come_in_by_drop_by_choice_and_by_paste() {
    let server = Running::new();
    let page = page(&server, "/");
    page.wait("document.querySelectorAll('.tile img').length > 30");
    page.screenshot("start");

    // What one gets by sending the same file to the API.
    let expected = |number: usize| {
        let sent = server
            .send(
                "POST",
                "/api/v1/queries",
                &Form::new().file("image", "a.png", &new_digit(number)),
            )
            .ok();
        let upload = sent["upload"].as_str().unwrap().to_owned();
        (
            json!({"query": {"upload": upload}, "k": DEFAULT_COUNT}),
            upload,
        )
    };
    let files =
        [301, 302].map(|number| file(&server, &format!("{number}.png"), &new_digit(number)));

    let (search, upload) = expected(301);
    page.drop_files("#drop", &[&files[0]]);
    page.wait_address(&format!("/?q=upload:{upload}&size=28x28"));
    wait_answers(&page, &server, &search);
    page.wait("document.querySelector('.picture img').naturalWidth === 28");
    page.wait("document.getElementById('dropping').hidden");

    let (search, upload) = expected(302);
    page.choose("#file", &[&files[1]]);
    page.wait_address(&upload);
    wait_answers(&page, &server, &search);

    // A copied picture is another file of the same pixels.
    let (search, _) = expected(303);
    let chosen = parameter(&page, "q").unwrap();
    page.paste(&new_digit(303));
    page.wait(&format!("!location.search.includes({})", json!(chosen)));
    wait_answers(&page, &server, &search);
    assert!(page.address().ends_with("&size=28x28"));

    // Several are examples.
    page.open("/");
    page.drop_files("#drop", &[&files[0], &files[1]]);
    page.wait("document.querySelectorAll('#examples li').length === 2");
    page.wait(ANSWERED);

    // What is no picture is said to be none.
    page.expect("status of 415");
    let broken = file(&server, "broken.png", b"no picture");
    page.choose("#file", &[&broken]);
    page.wait("document.querySelector('#toasts').textContent.includes('It is not a picture')");
    let text = file(&server, "a.txt", b"text");
    page.drop_files(".picture, #examples", &[&text]);
    page.wait("document.querySelector('#toasts').textContent.includes('That is not a picture')");
}

#[test]
fn a_picture_that_is_no_longer_kept_is_asked_for_again() {
    let server = Running::new();
    let page = Page::new(origin(&server));
    page.expect("status of 404");
    page.open(&format!("/?q=upload:{}", "0".repeat(64)));
    page.wait("document.querySelector('.lost').textContent.includes('no longer kept')");
    let path = file(&server, "a.png", &new_digit(310));
    page.choose("#file", &[&path]);
    page.wait(ANSWERED);
    page.wait("document.querySelector('.lost') === null");
    page.open(&format!("/?q=id:{}", uuid::Uuid::nil()));
    page.wait("document.querySelector('.lost').textContent.includes('not here any more')");
}

/// What the address and the element say of the region, once they agree.
fn region(page: &Page) -> [usize; 4] {
    page.wait(
        "(() => { const [x, y, width, height] = new URLSearchParams(location.search).get('region').split(','); \
         return document.querySelector('#region').getAttribute('aria-label').startsWith(`Part at ${x}, ${y}, ${width} by ${height} pixels`); })()",
    );
    let text = parameter(page, "region").unwrap();
    let sides: Vec<usize> = text.split(',').map(|side| side.parse().unwrap()).collect();
    sides.try_into().unwrap()
}

fn region_search([x, y, width, height]: [usize; 4]) -> Value {
    json!({"query": {"id": SEVEN, "region": {"x": x, "y": y, "width": width, "height": height}}, "k": DEFAULT_COUNT})
}

#[test]
fn a_part_is_drawn_moved_and_cleared() {
    let server = Running::new();
    let page = search_page(&server);
    page.wait_for(".picture img");
    page.wait("document.querySelector('.about').textContent.includes('28 × 28')");
    let before = page.eval("history.length");
    let [left, top, width, height] = page.place(".picture");
    let at = |x: f64, y: f64| (left + width * x / 28.0, top + height * y / 28.0);

    // However long it takes, it is one step in the history.
    let rest = Duration::from_millis(1500);
    page.drag_slowly(&[at(5.0, 6.0), at(19.0, 22.0)], rest);
    page.wait("document.activeElement.id === 'region'");
    page.wait_address("region=5,6,14,16");
    assert_eq!(region(&page), [5, 6, 14, 16]);
    wait_answers(&page, &server, &region_search([5, 6, 14, 16]));
    assert_eq!(
        page.eval("history.length").as_u64(),
        before.as_u64().map(|steps| steps + 1),
        "one step back is enough"
    );
    page.screenshot("part");

    // Moved and resized with the pointer.
    page.drag(&[at(12.0, 14.0), at(15.0, 13.0)]);
    page.wait_address("region=8,5,14,16");
    page.drag(&[at(8.0, 5.0), at(10.0, 8.0)]);
    page.wait_address("region=10,8,12,13");
    // With keys.
    page.press("ArrowLeft");
    page.press("ArrowLeft");
    page.press("ArrowUp");
    page.press("Shift+ArrowRight");
    page.wait_address("region=8,7,13,13");
    wait_answers(&page, &server, &region_search(region(&page)));
    page.check_accessible("a part");
    // At the border it stays inside.
    for _ in 0..12 {
        page.press("ArrowLeft");
    }
    page.wait_address("region=0,7,13,13");
    page.press("Delete");
    page.wait("!location.search.includes('region')");
    page.wait("document.querySelector('#region').hidden");
    wait_answers(
        &page,
        &server,
        &json!({"query": {"id": SEVEN}, "k": DEFAULT_COUNT}),
    );

    // Without drawing.
    page.click(".query .row .button");
    page.wait_address("region=7,7,14,14");
    page.eval("history.back()");
    page.wait("!location.search.includes('region') && document.querySelector('#region').hidden");
}

#[test]
fn sliders_change_the_answers() {
    let server = Running::new();
    let page = search_page(&server);
    page.eval("document.querySelector('#k').focus()");
    page.press("Home");
    page.wait_address("k=5");
    for _ in 0..2 {
        page.press("ArrowRight");
    }
    page.wait_address("k=15");
    wait_answers(&page, &server, &json!({"query": {"id": SEVEN}, "k": 15}));
    assert_eq!(page.text(".slider:has(#k) output"), "15");

    // The threshold reaches four times as far as the first answers, and is finest where distances
    // are small.
    let all = server
        .post_json(
            "/api/v1/search",
            &json!({"query": {"id": SEVEN}, "k": DEFAULT_COUNT}),
        )
        .ok();
    let furthest = all["neighbours"][DEFAULT_COUNT - 1]["distance"]
        .as_f64()
        .unwrap();
    let [left, top, width, height] = page.place("#threshold");
    page.click_at((left + width / 2.0, top + height / 2.0));
    let most: f64 = wait_parameter(&page, "max").parse().unwrap();
    assert!(
        (0.5..2.0).contains(&(most / furthest)),
        "{most} by {furthest}"
    );
    let near = found(
        &server,
        &json!({"query": {"id": SEVEN}, "k": IMAGES, "max_distance": most}),
    );
    assert!(
        !near.is_empty() && near.len() < IMAGES - 1,
        "{}",
        near.len()
    );
    page.wait(&format!(
        "document.querySelector('#status').textContent.startsWith('{} image')",
        near.len()
    ));
    assert_eq!(shown(&page, IMAGES), near);

    page.eval("document.querySelector('#threshold').focus()");
    page.press("Home");
    page.wait_address("max=0");
    page.wait("document.querySelector('#status').textContent.includes('No image is that near')");
    page.wait("document.querySelectorAll('.answer').length === 0");
}

#[test]
fn examples_say_what_is_meant() {
    let server = Running::new();
    let page = search_page(&server);
    let id = |number: usize| {
        page.eval(&format!(
            "document.querySelectorAll('.answer')[{number}].dataset.id"
        ))
        .as_str()
        .unwrap()
        .to_owned()
    };
    let (more, less) = (id(2), id(4));
    page.hover(&format!(".answer[data-id='{more}']"));
    page.click(&format!(".answer[data-id='{more}'] .more"));
    page.wait_address(&format!("like=id:{more}"));
    wait_answers(
        &page,
        &server,
        &json!({"like": [{"id": SEVEN}, {"id": more}], "k": DEFAULT_COUNT}),
    );
    page.hover(&format!(".answer[data-id='{less}']"));
    page.click(&format!(".answer[data-id='{less}'] .less"));
    page.wait_address(&format!("unlike=id:{less}"));
    let both = json!({"like": [{"id": SEVEN}, {"id": more}], "unlike": [{"id": less}], "k": DEFAULT_COUNT});
    wait_answers(&page, &server, &both);
    assert_eq!(page.count("#examples li.like"), 1);
    assert_eq!(page.count("#examples li.unlike"), 1);
    page.wait("document.querySelector('#diverse').disabled && document.querySelector('#diffusion').disabled");
    page.check_accessible("examples");
    page.screenshot("examples");

    page.click("#examples li.like .remove");
    page.wait("!/[?&]like=/.test(location.search)");
    wait_answers(
        &page,
        &server,
        &json!({"like": [{"id": SEVEN}], "unlike": [{"id": less}], "k": DEFAULT_COUNT}),
    );
    page.click("#examples .bare");
    page.wait("document.querySelector('#examples').hidden");
    wait_answers(
        &page,
        &server,
        &json!({"query": {"id": SEVEN}, "k": DEFAULT_COUNT}),
    );

    // What is not wanted alone says nothing, and that is said.
    page.open(&format!("/?unlike=id:{less}"));
    page.wait("document.querySelector('#status').textContent.includes('Add one of what is')");
}

#[test]
fn filters_narrow_the_answers() {
    let server = Running::new();
    let page = search_page(&server);
    page.click("#facets .chip[data-value='3']");
    wait_parameter_is(&page, "filter", "label=3");
    wait_answers(
        &page,
        &server,
        &json!({"query": {"id": SEVEN}, "k": DEFAULT_COUNT, "filter": "label=3"}),
    );
    page.wait("[...document.querySelectorAll('.answer .caption b')].every((one) => one.textContent === '3')");
    page.wait("document.querySelector('#facets .chip[data-value=\"3\"]').getAttribute('aria-pressed') === 'true'");
    // Another label instead.
    page.click("#facets .chip[data-value='7']");
    wait_parameter_is(&page, "filter", "label=7");
    // A condition that is written.
    page.click(".more-filters summary");
    // All images are equally wide and from one source: there is nothing to choose.
    assert_eq!(page.count("#facets .field:not([hidden])"), 1);
    page.click("#condition");
    page.type_in("height>=28");
    page.press("Enter");
    wait_parameter_is(&page, "filter", "label=7 and height>=28");
    wait_answers(
        &page,
        &server,
        &json!({"query": {"id": SEVEN}, "k": DEFAULT_COUNT, "filter": "label=7 and height>=28"}),
    );
    assert_eq!(page.count(".bar .chip"), 2);
    page.check_accessible("filters");
    page.click(".bar .chip");
    wait_parameter_is(&page, "filter", "height>=28");

    // One that cannot be understood is said to be so, once.
    page.expect("status of 422");
    page.click("#condition");
    page.type_in("width>=wide");
    page.press("Enter");
    page.wait("document.querySelector('#status').textContent.startsWith('The filter')");
    assert_eq!(page.count(".toast"), 0);
    page.eval("history.back()");
    wait_answers(
        &page,
        &server,
        &json!({"query": {"id": SEVEN}, "k": DEFAULT_COUNT}),
    );
}

#[test]
fn parts_of_pictures_are_found_and_marked() {
    let server = Running::tiled();
    let page = page(&server, "/");
    // The third digit of the fourth picture.
    page.choose("#file", &[&file(&server, "14.png", &digit(14))]);
    page.wait(ANSWERED);
    assert!(
        page.eval("document.querySelector('.answer .part')")
            .is_null()
    );
    page.click("#tiles");
    wait_parameter_is(&page, "tiles", "1");
    page.wait("document.querySelector('.answer .part')");
    let first = "document.querySelector('.answer')";
    page.wait(&format!(
        "{first}.querySelector('.place').textContent === '3.png'"
    ));
    let place = page.eval(&format!(
        "(() => {{ const box = (one) => {first}.querySelector(one).getBoundingClientRect();
        const [part, frame] = [box('.part'), box('.frame')];
        return [part.left - frame.left, part.top - frame.top, part.width, part.height]
          .map((length) => Math.round(100 * length / frame.width)); }})()"
    ));
    let place: Vec<_> = place
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_i64().unwrap())
        .collect();
    for (found, expected) in place.iter().zip([0, 50, 50, 50]) {
        assert!((found - expected).abs() <= 1, "{place:?}");
    }
    // Large: the part, and where it is in the whole picture.
    page.click(".answer .why");
    wait_parameter_is(&page, "part", "0,28,28,28");
    page.wait("document.querySelector('#why .where .part')");
    page.click("#why [aria-label=Close]");
    page.click("#diverse");
    page.wait("!location.search.includes('tiles') && !document.querySelector('#tiles').checked");
    let plain = Running::new();
    let page = search_page(&plain);
    assert_eq!(
        page.eval("document.querySelector('#tiles').closest('.switch').hidden"),
        true
    );
}

#[test]
fn answers_are_varied_or_ranked_by_diffusion() {
    let server = Running::new();
    let page = search_page(&server);
    page.click("#diverse");
    wait_parameter_is(&page, "diverse", "0.5");
    wait_answers(
        &page,
        &server,
        &json!({"query": {"id": SEVEN}, "k": DEFAULT_COUNT, "diverse": 0.5}),
    );
    // There is no ranking to go on with.
    page.wait("document.querySelector('.end').textContent.includes('chosen together')");
    assert_eq!(page.count(".answer"), DEFAULT_COUNT);
    page.eval("document.querySelector('#diverse-amount').focus()");
    page.press("Home");
    wait_parameter_is(&page, "diverse", "0");
    wait_answers(
        &page,
        &server,
        &json!({"query": {"id": SEVEN}, "k": DEFAULT_COUNT, "diverse": 0.0}),
    );
    // More than the server varies are not asked for.
    page.open(&format!("/?q=id:{SEVEN}&diverse=0.5&k=200"));
    page.wait("document.querySelectorAll('.answer').length === 100");

    page.click("#diffusion");
    wait_parameter_is(&page, "diffusion", "1");
    assert_eq!(parameter(&page, "diverse"), None);
    wait_answers(
        &page,
        &server,
        &json!({"query": {"id": SEVEN}, "k": 200, "rerank": "diffusion"}),
    );
    page.wait("document.querySelector('.answer .distance').title.includes('score')");
    page.click("#diffusion");
    page.wait("!location.search.includes('diffusion')");
    wait_answers(&page, &server, &json!({"query": {"id": SEVEN}, "k": 200}));
}

#[test]
fn more_answers_come_as_one_scrolls() {
    let server = Running::new();
    let page = search_page(&server);
    scroll_through(&page);
    assert_eq!(
        shown(&page, IMAGES),
        found(&server, &json!({"query": {"id": SEVEN}, "k": IMAGES}))
    );
    page.wait(&format!(
        "document.querySelector('#status').textContent.startsWith('{} images')",
        IMAGES - 1
    ));

    // Going back leads to where one was.
    let top = page.wait("scrollY");
    page.click(".answer:last-of-type .frame");
    page.wait(&format!("!location.search.includes('{SEVEN}')"));
    page.wait(ANSWERED);
    page.wait("scrollY === 0");
    page.eval("history.back()");
    page.wait_address(SEVEN);
    page.wait(ANSWERED);
    // As far as the first answers reach.
    page.wait(&format!("scrollY > 0 && scrollY <= {top}"));
}

#[test]
fn more_answers_come_when_the_browser_is_late_in_telling_what_is_seen() {
    let server = Running::new();
    let page = Page::new(origin(&server));
    // A busy browser tells several sightings at once; this one always does.
    let late = "window.IntersectionObserver = class extends IntersectionObserver {
        constructor(told, options) {
            let sightings = [];
            super((entries, observer) => {
                if (!sightings.length) setTimeout(() => told(sightings.splice(0), observer), 400);
                sightings.push(...entries);
            }, options);
        }
    }";
    page.call(
        "Page.addScriptToEvaluateOnNewDocument",
        json!({"source": late}),
    );
    page.open(&format!("/?q=id:{SEVEN}"));
    page.wait(ANSWERED);
    scroll_through(&page);
}

#[test]
fn more_answers_can_be_asked_for_again() {
    let server = Running::new();
    let page = search_page(&server);
    page.expect("ERR_INTERNET_DISCONNECTED");
    page.expect("The server does not answer");
    page.call("Network.enable", json!({}));
    let network = |is_away: bool| {
        let conditions = json!({"offline": is_away, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        page.call("Network.emulateNetworkConditions", conditions);
    };
    network(true);
    page.wheel(AMONG_ANSWERS, FAR);
    page.wait_for(".end button");
    assert!(page.text(".end").contains("could not be fetched"));
    assert_eq!(page.count(".answer"), DEFAULT_COUNT);
    network(false);
    page.click(".end button");
    page.wait(&format!(
        "document.querySelectorAll('.answer').length > {DEFAULT_COUNT}"
    ));
    scroll_through(&page);
}

/// Turns the wheel until all answers are there.
#[track_caller]
fn scroll_through(page: &Page) {
    let mut there = page.count(".answer");
    while there < IMAGES - 1 {
        page.wheel(AMONG_ANSWERS, FAR);
        let more = format!(
            "(count => count > {there} && count)(document.querySelectorAll('.answer').length)"
        );
        there = page.wait(&more).as_u64().unwrap() as usize;
    }
    page.wait("document.querySelector('.end').textContent === 'That is all.'");
}

#[test]
fn why_an_image_matched_is_shown() {
    let server = Running::new();
    let page = search_page(&server);
    let id = page.eval("document.querySelectorAll('.answer')[3].dataset.id");
    let id = id.as_str().unwrap();
    page.hover(&format!(".answer[data-id='{id}']"));
    page.click(&format!(".answer[data-id='{id}'] .why"));
    page.wait_address(&format!("why={id}"));
    page.wait_for("dialog#why .pair");
    let explained = server
        .post_json(
            "/api/v1/explain",
            &json!({"query": {"id": SEVEN}, "with": {"id": id}}),
        )
        .ok();
    let distance = explained["distance"].as_f64().unwrap();
    let said: f64 = page.text("#why .figures b").parse().unwrap();
    assert!(
        (said - distance).abs() <= 0.01 * distance,
        "{said} of {distance}"
    );
    // Both pictures, their heat and what the model keeps of them are there.
    page.wait("document.querySelectorAll('#why .kept img').length === 2 && [...document.querySelectorAll('#why .kept img')].every((one) => one.naturalWidth === 28)");
    page.wait("[...document.querySelectorAll('#why .layers canvas')].length === 4 && [...document.querySelectorAll('#why .layers canvas')].every((one) => new Uint32Array(one.getContext('2d').getImageData(0, 0, one.width, one.height).data.buffer).some((pixel, _, all) => pixel !== all[0]))");
    page.check_accessible("why");
    page.screenshot("why");
    page.click("#heat");
    page.wait(
        "!document.querySelector('#why .heat').checkVisibility({ visibilityProperty: true })",
    );
    page.press("Escape");
    page.wait("!document.querySelector('#why').open && !location.search.includes('why')");
    page.eval("history.forward()");
    page.wait("document.querySelector('#why').open");

    // The link alone opens it, for a part as well.
    page.open(&format!("/?q=id:{SEVEN}&region=4,4,20,12&why={id}"));
    page.wait(
        "document.querySelector('#why .pair figcaption').textContent === 'Your query, the part'",
    );
    page.click("#why .bare");
    page.wait("!document.querySelector('#why').open && location.search.includes('region') && !location.search.includes('why')");
}

#[test]
fn why_an_image_matched_is_shown_for_pretrained_encoders() {
    let server = Running::pretrained();
    let page = search_page(&server);
    page.click(".answer .why");
    page.wait_for("dialog#why .pair");
    page.wait("document.querySelector('#why').textContent.includes('was covered with')");
    assert_eq!(page.count("#why .layers canvas"), 4);
    assert_eq!(page.count("#why .kept"), 0, "nothing can be rebuilt");
    page.check_accessible("why, by covering");
}

#[test]
fn heat_lies_over_what_the_model_sees() {
    let server = Running::new();
    let page = search_page(&server);
    // The model of the tests stretches; the page is asked to believe otherwise.
    let id = page.eval("document.querySelectorAll('.answer')[3].dataset.id");
    let id = id.as_str().unwrap();
    page.eval(
        "(() => { const usual = fetch; window.fetch = async (...asked) => { const answer = await usual(...asked); \
         if (!asked[0].endsWith('/explain')) return answer; \
         return new Response(JSON.stringify({ ...await answer.json(), fit: window.fit }), answer); }; })()",
    );
    // A part that is twice as wide as high, under a square model: left, top, width, height of the
    // heat in shares of it.
    let cases = [
        ("stretch", [0.0, 0.0, 1.0, 1.0]),
        ("crop", [0.25, 0.0, 0.5, 1.0]),
        ("pad", [0.0, -0.5, 1.0, 2.0]),
    ];
    for (fit, expected) in cases {
        page.eval(&format!("window.fit = '{fit}'; history.pushState({{}}, '', '/?q=id:{SEVEN}&region=4,4,20,10&why={id}'); dispatchEvent(new PopStateEvent('popstate'))"));
        // Measured at one moment: pictures that come late move both.
        page.wait(&format!(
            "(() => {{ const place = (part) => document.querySelector('#why figure:first-child ' + part).getBoundingClientRect(); \
             const [whole, heat] = [place('.layers > div'), place('.heat')]; \
             const shares = [(heat.left - whole.left) / whole.width, (heat.top - whole.top) / whole.height, \
                             heat.width / whole.width, heat.height / whole.height]; \
             return shares.every((share, i) => Math.abs(share - {expected:?}[i]) < 0.02); }})()"
        ));
        page.press("Escape");
        page.wait("!document.querySelector('#why').open");
    }
}

/// The map's points, as their ids and places on the screen when all of it is shown.
fn map_points(page: &Page, server: &Running) -> Vec<(String, f64, f64)> {
    let map = finished(server, "/api/v1/map");
    let points = server.get(&format!(
        "/api/v1/map/points?version={}",
        map["version"].as_str().unwrap()
    ));
    let [left, top, width, height] = page.place("#map");
    let scale = 0.92 * width.min(height);
    let number = |bytes: &[u8]| f64::from(f32::from_le_bytes(bytes.try_into().unwrap()));
    let each = points.body.chunks_exact(28).map(|record| {
        let id = uuid::Uuid::from_slice(&record[..16]).unwrap().to_string();
        let (x, y) = (number(&record[16..20]), number(&record[20..24]));
        (
            id,
            left + width / 2.0 + (x - 0.5) * scale,
            top + height / 2.0 + (y - 0.5) * scale,
        )
    });
    each.collect()
}

#[test]
fn the_map_shows_searches_and_selects() {
    let server = Running::new();
    finished(&server, "/api/v1/map");
    let page = page(&server, "/map");
    page.wait_for("#map canvas");
    page.wait(&format!(
        "document.querySelector('#status').textContent.startsWith('{IMAGES} images')"
    ));
    let points = map_points(&page, &server);
    assert_eq!(points.len(), IMAGES);
    // Something is drawn, in more than one colour.
    page.wait("(() => { const drawn = document.createElement('canvas'); const points = document.querySelector('#map .points'); \
               drawn.width = points.width; drawn.height = points.height; const context = drawn.getContext('2d'); \
               return new Promise((resolve) => requestAnimationFrame(() => { dispatchEvent(new Event('resize')); resolve(true); })); })()");
    page.check_accessible("the map");
    page.screenshot("map");

    // The point that is furthest from the others, so that no other is meant.
    let apart = |a: &(String, f64, f64), b: &(String, f64, f64)| (a.1 - b.1).hypot(a.2 - b.2);
    let lonely = |one: &(String, f64, f64)| {
        let others = points.iter().filter(|other| other.0 != one.0);
        others
            .map(|other| apart(one, other))
            .fold(f64::INFINITY, f64::min)
    };
    // Not under the buttons or the legend, which lie above the map.
    let free = |one: &&(String, f64, f64)| {
        page.eval(&format!(
            "document.elementFromPoint({}, {}).matches('.over')",
            one.1, one.2
        )) == true
    };
    let mut by_loneliness: Vec<_> = points.iter().collect();
    by_loneliness.sort_by(|a, b| lonely(b).total_cmp(&lonely(a)));
    let chosen = by_loneliness.into_iter().find(free).unwrap();
    page.hover_at((chosen.1, chosen.2));
    page.wait_for("#map .card img");
    page.wait(&format!(
        "document.querySelector('#map .card img').src.includes('{}')",
        chosen.0
    ));
    page.click_at((chosen.1, chosen.2));
    page.wait_address(&format!("q=id:{}", chosen.0));
    page.wait(ANSWERED);
    page.eval("history.back()");
    page.wait("location.pathname === '/map'");
    page.wait_for("#map canvas");

    // Around the right half; the line is where there is most room between two points.
    let mut across: Vec<f64> = points.iter().map(|point| point.1).collect();
    across.sort_by(f64::total_cmp);
    let middle = &across[IMAGES / 3..2 * IMAGES / 3];
    let widest = middle
        .windows(2)
        .max_by(|a, b| (a[1] - a[0]).total_cmp(&(b[1] - b[0])))
        .unwrap();
    let line = (widest[0] + widest[1]) / 2.0;
    let expected = across.iter().filter(|x| **x > line).count();
    let [left, top, width, height] = page.place("#map");
    let (right, bottom) = (left + 0.75 * width + 200.0, top + height - 3.0);
    page.click("#map .tools [aria-pressed]");
    page.drag(&[
        (line, top + 3.0),
        (line, bottom),
        (right, bottom),
        (right, top + 3.0),
        (line, top + 3.0),
    ]);
    page.wait_for(".selection");
    assert_eq!(
        page.text(".selection h2"),
        format!("{expected} images selected")
    );
    page.check_accessible("a selection on the map");
    page.screenshot("map-selection");
    page.click(".selection .strong");
    page.wait("new URLSearchParams(location.search).getAll('like').length === 16");
    page.wait(ANSWERED);

    // By wheel and by keys; the address has the view.
    page.open("/map");
    page.wait_for("#map canvas");
    page.wheel((640.0, 400.0), -300.0);
    page.wait_address("zoom=");
    page.eval("document.querySelector('#map .over').focus()");
    page.press("0");
    page.wait("location.search === ''");
    page.press("+");
    page.press("ArrowRight");
    page.wait_address("zoom=");
    page.wait("document.querySelector('#status').textContent.startsWith('In the middle')");
    page.press(" ");
    page.wait("document.querySelector('.selection h2').textContent === '1 image selected'");
    page.press("Enter");
    page.wait_address("/?q=id:");
    page.eval("history.back()");
    page.wait_address("/map?at=");
    // One label only.
    page.wait_for("#map .labels button");
    page.click("#map .labels button");
    wait_parameter_is(&page, "label", page.text("#map .labels button span").trim());
}

#[test]
fn duplicates_outliers_and_samples_are_listed() {
    let server = Running::new();
    // The same pixels as another file, and that once more.
    let copy = Form::new().file("image", "copy.png", &digit(7));
    let added = server.send("POST", "/api/v1/images", &copy).ok();
    assert_eq!(added["added"], 1, "{added}");
    let page = page(&server, "/duplicates");
    page.wait_for(".group");
    page.wait("[...document.querySelectorAll('.group .place')].some((one) => /^copy-[0-9a-f]{32}[.]png$/.test(one.textContent))");
    page.check_accessible("duplicates");
    page.screenshot("duplicates");
    let found = finished(&server, "/api/v1/duplicates?limit=200");
    assert_eq!(
        page.count(".group"),
        found["groups"].as_array().unwrap().len()
    );
    page.click("#near");
    page.type_in("0.5");
    page.press("Enter");
    page.wait_address("/duplicates?threshold=0.5");
    page.wait("document.querySelector('#status').textContent.includes('near cop')");
    page.click("#exact");
    page.wait_address("exact=1");
    page.wait("document.querySelector('#status').textContent.includes('among')");

    page.click(".pages [data-page=outliers]");
    page.wait("location.pathname === '/outliers'");
    page.wait("document.querySelectorAll('.tile').length === 40");
    let found = finished(&server, "/api/v1/outliers?by=both&count=40");
    let key = &found["outliers"][0]["image"]["key"];
    page.wait(&format!("[...document.querySelector('.tile').querySelectorAll('.place')].at(-1).textContent === {key}"));
    page.check_accessible("outliers");
    page.screenshot("outliers");
    page.eval("(() => { const by = document.querySelector('#by'); by.value = 'neighbours'; by.dispatchEvent(new Event('change', { bubbles: true })); })()");
    page.wait_address("by=neighbours&count=40");
    page.wait("document.querySelectorAll('.tile').length === 40");

    page.click(".pages [data-page=sample]");
    page.wait("document.querySelector('h1')?.textContent === 'Sample'");
    page.wait("document.querySelectorAll('.tile').length === 40");
    page.eval("(() => { const count = document.querySelector('#count'); count.value = 7; count.dispatchEvent(new Event('change', { bubbles: true })); })()");
    page.wait_address("count=7");
    page.wait("document.querySelectorAll('.tile').length === 7");
    let found = finished(&server, "/api/v1/sample?count=7");
    let key = &found["sample"][6]["image"]["key"];
    page.wait(&format!(
        "[...document.querySelectorAll('.tile .place')].at(-1).textContent === {key}"
    ));
    page.check_accessible("sample");
    page.screenshot("sample");
    page.click(".tile .frame");
    page.wait_address("/?q=id:");
    page.wait(ANSWERED);
}

#[test]
fn groups_are_albums_in_which_one_searches() {
    let server = Running::new();
    let page = page(&server, &format!("/groups#token={TOKEN}"));
    page.wait_for(".album");
    let found = finished(&server, "/api/v1/groups");
    assert_eq!(
        page.count(".album"),
        found["groups"].as_array().unwrap().len()
    );
    page.check_accessible("groups");
    page.screenshot("groups");
    page.click(".keeping button");
    page.wait("document.querySelector('.keeping')?.textContent.includes('Kept')");
    page.click(".album .cover");
    page.wait_address("/groups?group=1");
    let size = found["groups"][0]["size"].as_u64().unwrap();
    page.wait(&format!(
        "document.querySelectorAll('.tile').length === Math.min(200, {size})"
    ));
    page.wait(&format!(
        "document.querySelector('#status').textContent.includes('{size} image')"
    ));
    page.check_accessible("an album");
    page.screenshot("album");
    page.click("#search-inside");
    page.wait_address("filter=group%3D1");
    page.wait(ANSWERED);
    page.wait("document.querySelector('.bar .chips').textContent.includes('group=1')");
    page.open("/groups?count=3");
    page.wait("document.querySelectorAll('.album').length === 3");
}

#[test]
fn pictures_with_faults_are_shown() {
    let server = Running::new();
    // Nothing but one colour, and very small.
    let blank = Pixels::new(28, 28, 1, vec![9; 28 * 28]).unwrap();
    let tiny = Pixels::new(4, 4, 1, (0..16).map(|at| at * 16).collect()).unwrap();
    let form = Form::new()
        .file("image", "blank.png", &blank.to_png().unwrap())
        .file("image", "tiny.png", &tiny.to_png().unwrap());
    let added = server.send("POST", "/api/v1/images", &form).ok();
    assert_eq!(added["added"], 2, "{added}");
    let page = page(&server, "/");
    page.click(".pages [data-page=quality]");
    page.wait("location.pathname === '/quality'");
    page.wait("document.querySelectorAll('.fault').length === 10");
    page.wait("document.querySelector('#status').textContent.startsWith('2 images of 302 have')");
    page.wait(
        "document.querySelector('[data-fault=blank] .place').textContent.startsWith('blank-')",
    );
    page.wait("document.querySelector('[data-fault=tiny] .place').textContent.startsWith('tiny-')");
    assert_eq!(page.count(".fault .tile"), 2);
    // Where the threshold is, and what is beyond.
    assert_eq!(page.count("[data-fault=tiny] .histogram line"), 1);
    assert!(page.count("[data-fault=tiny] .histogram rect.beyond") >= 1);
    page.check_accessible("quality");
    page.check_width("quality");
    page.screenshot("quality");
    page.eval("(() => { const one = document.querySelector('#fault'); one.value = 'tiny'; one.dispatchEvent(new Event('change', { bubbles: true })); })()");
    page.wait_address("fault=tiny&limit=24");
    page.wait("document.querySelectorAll('.fault').length === 1");
    page.click(".fault .tile .frame");
    page.wait_address("/?q=id:");
}

#[test]
fn images_are_added_with_a_link_that_signs_in() {
    let server = Running::new();
    let page = page(&server, &format!("/#token={TOKEN}"));
    page.wait("location.hash === ''");
    page.click(".pages [data-page=gallery]");
    page.wait("document.querySelector('main').textContent.includes('You are signed in')");
    page.wait("document.querySelectorAll('.bars meter').length >= 3");
    // What is told is what the API tells.
    let facts = server.get("/api/v1/gallery").ok();
    page.wait("document.querySelector('.facts').textContent.includes('Images300')");
    let year = page.eval(&format!(
        "String(new Date(1000 * {}).getFullYear())",
        facts["gallery"]["created"]
    ));
    assert!(page.text(".facts").contains(year.as_str().unwrap()));
    page.check_accessible("the gallery");
    page.screenshot("gallery");

    let picture = file(&server, "new one.png", &new_digit(320));
    let text = file(&server, "notes.txt", b"no picture");
    page.click("#add-label");
    page.type_in("fresh");
    page.drop_files("#add .drop-area", &[&picture, &text]);
    page.wait_for("#added .item.added");
    assert_eq!(page.count("#added .item"), 1, "text files are left out");
    page.wait("document.querySelector('.facts').textContent.includes('Images301')");
    page.check_accessible("an image was added");
    // The same once more.
    page.choose("#add-files", &[&picture]);
    page.wait_for("#added .item.unchanged");

    page.click("#added .item.added a");
    page.wait(ANSWERED);
    page.wait("document.querySelector('.about').textContent.includes('fresh')");
    // It is found from others, at once.
    page.open(&format!("/?q=id:{SEVEN}&filter=label%3Dfresh"));
    page.wait(ANSWERED);
    let found = shown(&page, 2);
    assert_eq!(found.len(), 1, "{found:?}");
    // Its name goes on with its content's hash.
    assert!(found[0].starts_with("fresh/new one-") && found[0].ends_with(".png"));
    page.wait("document.querySelector('.answer img').naturalWidth === 28");

    page.open("/gallery");
    page.click("[aria-labelledby=access] .button");
    page.wait("document.querySelector('main').textContent.includes('may need the token')");
}

#[test]
fn the_token_is_asked_for_when_it_is_needed() {
    let server = Running::new();
    let page = page(&server, "/gallery");
    page.expect("status of 401");
    let picture = file(&server, "a.png", &new_digit(330));
    page.choose("#add-files", &[&picture]);
    page.wait_for("dialog#token");
    page.check_accessible("the token");
    page.screenshot("token");
    page.wait("document.activeElement.id === 'token-field'");
    page.type_in("not the token");
    page.press("Enter");
    page.wait(
        "document.querySelector('#token .trouble').textContent.startsWith('This is not the token')",
    );
    page.eval("document.querySelector('#token-field').select()");
    page.type_in(TOKEN);
    page.press("Enter");
    page.wait_for("#added .item.added");
    page.wait("document.querySelector('dialog#token') === null");
    assert_eq!(
        server.get("/api/v1/gallery").ok()["gallery"]["points"],
        IMAGES + 1
    );
}

#[test]
fn a_closed_gallery_asks_for_the_token_first() {
    let server = Running::with(|options| options.token_for_reads = true);
    let page = Page::new(origin(&server));
    page.expect("status of 401");
    let opened = format!("{}/", origin(&server));
    page.call("Page.navigate", json!({"url": opened}));
    page.wait_for("dialog#token");
    page.press("Escape");
    page.wait("document.querySelector('.sorry').textContent.includes('who have its token')");
    page.click(".sorry .button");
    page.wait_for("dialog#token");
    page.type_in(TOKEN);
    page.press("Enter");
    page.wait("document.querySelectorAll('.tile img').length > 30");
    page.wait("document.querySelector('.tile img').naturalWidth === 28");
}

#[test]
fn an_address_is_the_whole_state() {
    let server = Running::new();
    let first = search_page(&server);
    first.eval("document.querySelector('#k').focus()");
    first.press("ArrowRight");
    first.wait_address("k=45");
    first.click("#facets .chip[data-value='9']");
    wait_parameter_is(&first, "filter", "label=9");
    first.click("#diffusion");
    wait_parameter_is(&first, "diffusion", "1");
    first.wait("document.querySelector('.about').textContent.includes('28 × 28')");
    first.eval("document.querySelector('.aside').scrollTo(0, 0)");
    first.hover(".picture");
    let [left, top, width, height] = first.place(".picture");
    first.drag(&[
        (left + 0.2 * width, top + 0.2 * height),
        (left + 0.8 * width, top + 0.7 * height),
    ]);
    let part = region(&first);

    // Somebody else opens it.
    let second = page(&server, &first.address());
    wait_shown(&first, &shown(&second, 10));
    assert_eq!(region(&second), part);
    let state = "[document.querySelector('#k').value, document.querySelector('#diffusion').checked, document.querySelector('#diverse').checked, \
                 document.querySelector('.bar').textContent.includes('label=9'), document.querySelector('#facets .chip.on').dataset.value]";
    second.wait("document.querySelector('#facets .chip.on') !== null");
    assert_eq!(second.eval(state), json!(["45", true, false, true, "9"]));
    assert_eq!(first.eval(state), second.eval(state));

    // Back, step by step.
    first.eval("history.back()");
    first.wait("!location.search.includes('region')");
    first.eval("history.back()");
    first.wait(
        "!location.search.includes('diffusion') && !document.querySelector('#diffusion').checked",
    );
    first.eval("history.back()");
    first.wait("!location.search.includes('filter') && document.querySelector('#facets .chip.on') === null");
    first.eval("history.back()");
    first.wait("location.search === `?q=id:${new URLSearchParams(location.search).get('q').slice(3)}` && document.querySelector('#k').value === '40'");
    wait_answers(
        &first,
        &server,
        &json!({"query": {"id": SEVEN}, "k": DEFAULT_COUNT}),
    );

    // Pictures are asked for by their content, so that they may be kept for ever.
    let asked = first.eval("performance.getEntriesByType('resource').map(({ name }) => name).filter((name) => name.includes('/thumbnail'))");
    let asked = asked.as_array().unwrap();
    assert!(asked.len() > 10);
    assert!(
        asked
            .iter()
            .all(|name| name.as_str().unwrap().contains("/thumbnail?v=")),
        "{asked:?}"
    );
}

#[test]
fn everything_can_be_done_with_keys() {
    let server = Running::new();
    let page = page(&server, "/");
    page.wait("document.querySelectorAll('.tile img').length > 30");
    page.press("Tab");
    assert!(page.has_focus(".skip"));
    page.tab_to(".pages [data-page=gallery]");
    page.tab_to(".tile .frame");
    page.press("Enter");
    page.wait_address("/?q=id:");
    page.wait(ANSWERED);
    page.tab_to("#k");
    page.press("ArrowRight");
    page.wait_address("k=45");
    page.wait(ANSWERED);
    page.tab_to("#diverse");
    page.press(" ");
    wait_parameter_is(&page, "diverse", "0.5");
    page.press(" ");
    page.wait("!location.search.includes('diverse')");
    page.wait(ANSWERED);
    page.tab_to(".answer .why");
    page.press("Enter");
    page.wait_for("dialog#why .pair");
    page.press("Escape");
    page.wait("!document.querySelector('#why').open");
    page.wait("document.activeElement.matches('.answer .why')");
    let before = parameter(&page, "q").unwrap();
    page.tab_to(".answer .frame");
    page.press("Enter");
    page.wait(&format!("!location.search.includes({})", json!(before)));
    page.wait(ANSWERED);
}

#[test]
fn a_phone_shows_all_of_it() {
    let server = Running::new();
    let page = Page::on_phone(origin(&server));
    page.open("/");
    page.wait("document.querySelectorAll('.tile img').length > 30");
    page.check_width("the start");
    page.wait_for("#drop .touch-only");
    page.check_accessible("the start on a phone");
    page.tap(".tile .frame");
    page.wait_address("/?q=id:");
    page.wait(ANSWERED);
    page.check_width("answers");
    page.wait_for(".answer .acts");
    page.check_accessible("answers on a phone");
    page.screenshot("phone");
    page.tap(".refine > summary");
    page.wait_for("#threshold");
    page.check_width("refinements");
    page.tap(".refine > summary");

    // A finger moves the part, and the page stays where it is.
    page.eval("scrollTo(0, 0)");
    page.wait("document.querySelector('.about').textContent.includes('28 × 28')");
    page.tap(".query .row .button");
    page.wait_address("region=7,7,14,14");
    page.rest();
    let [left, top, width, height] = page.place("#region");
    let middle = (left + width / 2.0, top + height / 2.0);
    let cell = width / 14.0;
    let by = |cells: f64| (middle.0 - cells * cell, middle.1 - cells * cell);
    page.touch(&[&[middle], &[by(1.0)], &[by(2.0)], &[by(3.0)], &[by(4.0)]]);
    page.wait("!location.search.includes('region=7,7')");
    let [x, y, ..] = region(&page);
    assert!(x < 7 && x == y, "{x} {y}");
    assert_eq!(page.eval("scrollY"), 0);

    page.tap(".answer .why");
    page.wait_for("dialog#why .pair");
    page.check_width("why");
    page.check_accessible("why on a phone");
    page.tap("#why .bare");
    page.wait("!document.querySelector('#why').open");

    // The map: a finger shows what it would search with; two fingers zoom.
    page.tap(".pages [data-page=map]");
    page.wait_for("#map canvas");
    page.check_width("the map");
    let points = map_points(&page, &server);
    let free = points.iter().find(|(_, x, y)| {
        page.eval(&format!(
            "document.elementFromPoint({x}, {y}).matches('.over')"
        )) == true
    });
    let (_, x, y) = free.unwrap();
    page.touch(&[&[(*x, *y)]]);
    page.wait_for("#map .card a");
    page.screenshot("phone-map");
    page.check_accessible("the map on a phone");
    // It may grow until its picture is there.
    page.wait("[...document.querySelectorAll('#map .card img')].every((one) => one.complete)");
    page.rest();
    let middle = f64::from(PHONE.0) / 2.0;
    // Where the card does not lie.
    let on_map = |y: &f64| {
        [middle - 20.0, middle + 20.0].iter().all(|x| {
            page.eval(&format!(
                "document.elementFromPoint({x}, {y}).matches('.over')"
            )) == true
        })
    };
    let y = (4..16).map(|step| 40.0 * f64::from(step)).find(on_map);
    let y = y.unwrap();
    let spread = |by: f64| [(middle - by, y), (middle + by, y)];
    page.touch(&[&spread(20.0), &spread(40.0), &spread(60.0), &spread(80.0)]);
    page.wait_address("zoom=");

    for place in [
        "groups",
        "duplicates",
        "outliers",
        "sample",
        "quality",
        "labels",
        "gallery",
        "api",
    ] {
        page.tap(&format!(".pages [data-page={place}]"));
        page.wait(&format!(
            "location.pathname === '/{place}' && document.querySelector('h1') !== null"
        ));
        page.wait("document.querySelector('.waiting') === null");
        page.check_width(place);
        page.check_accessible(place);
    }
}

#[test]
fn dark_is_dark() {
    let server = Running::new();
    let page = Page::new(origin(&server)).dark();
    for path in [
        "/",
        &format!("/?q=id:{SEVEN}"),
        "/map",
        "/gallery",
        "/api",
        "/outliers",
    ] {
        page.open(path);
        page.wait("document.querySelector('.tile, #map canvas, .facts, .operation') !== null && document.querySelector('.waiting') === null");
        let colours: [f64; 2] = serde_json::from_value(page.eval(
            "['backgroundColor', 'color'].map((name) => getComputedStyle(document.body)[name].match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0))",
        ))
        .unwrap();
        assert!(
            colours[0] < 120.0 && colours[1] > 600.0,
            "{path}: {colours:?}"
        );
        page.check_accessible(&format!("{path} in the dark"));
    }
    page.open(&format!("/?q=id:{SEVEN}"));
    page.wait(ANSWERED);
    page.rest();
    page.screenshot("dark");
}

#[test]
fn light_is_accessible() {
    let server = Running::new();
    let page = Page::new(origin(&server));
    for path in ["/", &format!("/?q=id:{SEVEN}"), "/api"] {
        page.open(path);
        page.wait("document.querySelector('.tile, .operation') !== null");
        page.check_accessible(path);
        page.check_width(path);
    }
    // The reference describes each request of the API's own description.
    let document = server.get("/api/v1/openapi.json").ok();
    let requests = document["paths"].as_object().unwrap().values();
    let requests: usize = requests.map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(page.count(".operation > h3 > .method"), requests);
    page.screenshot("api");
    page.click(".contents a[href='#schema-Answer'], .contents a[href*='search']");
    page.wait("location.hash !== ''");
}

#[test]
fn hostile_names_are_text() {
    let label = "<img src=x onerror=window.hacked=1>";
    let name = "\"><svg onload=window.hacked=1><script>window.hacked=1.png";
    // The server takes no such names from the network, but indexes files that are called so.
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    std::fs::create_dir_all(pictures.join(label)).unwrap();
    for (number, name) in [(340, name), (341, "a.png"), (342, "b.png")] {
        std::fs::write(pictures.join(label).join(name), new_digit(number)).unwrap();
    }
    let path = folder.path().join("g");
    crate::support::gallery(&path);
    let spec = pictures.to_str().unwrap();
    let source = lookalike::open(spec).unwrap();
    let gallery = lookalike::open_gallery(path.to_str().unwrap()).unwrap();
    let options = lookalike::IndexOptions::default();
    lookalike::index(source, &crate::support::model(), &*gallery, options).unwrap();
    drop(gallery);
    let server = Running::on(folder, |_| {});

    let page = page(
        &server,
        &format!(
            "/?q=id:{SEVEN}&filter=label%3D{}",
            "%3Cimg%20src=x%20onerror=window.hacked=1%3E"
        ),
    );
    let is_shown = |selector: &str, text: &str| {
        page.wait(&format!(
            "[...document.querySelectorAll({})].some((one) => one.textContent.includes({}))",
            json!(selector),
            json!(text)
        ));
    };
    page.wait("document.querySelectorAll('.answer').length === 3");
    is_shown(".answer .caption b", label);
    is_shown(".answer .caption .place", name);
    is_shown(".bar .chip", label);
    is_shown("#facets .chip.on", label);
    page.check_width("hostile names");
    page.check_accessible("hostile names");
    page.eval("[...document.querySelectorAll('.answer')].find((one) => one.textContent.includes('<script>')).querySelector('.frame').click()");
    is_shown(".about", label);
    is_shown(".about", name);
    page.open("/map");
    is_shown("#map .labels button", label);
    // A page can send any name; what became of it is told with it.
    page.open(&format!("/#token={TOKEN}"));
    page.wait("location.hash === ''");
    page.open("/gallery");
    page.wait_for("#add");
    page.eval(&format!(
        "(() => {{ const data = new DataTransfer(); data.items.add(new File([new Uint8Array({})], {}, {{ type: 'image/png' }})); \
         document.querySelector('#add').dispatchEvent(new DragEvent('drop', {{ dataTransfer: data, bubbles: true, cancelable: true }})); }})()",
        json!(new_digit(343)),
        json!(name)
    ));
    // Browsers write quotes in the names of files otherwise.
    is_shown("#added .name", name.trim_start_matches('"'));
    assert_eq!(
        page.eval("window.hacked === undefined && document.querySelectorAll('main script, main [onerror], main [onload]').length === 0"),
        true
    );
}

/// A gallery of digits by a tiny encoder that knows their names.
fn words_gallery() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let clip = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../lookalike-pretrained/tests/fixtures/tiny-clip"
    );
    let cpu = lookalike::autoencoder::DeviceChoice::Cpu;
    let encoder = lookalike::load_encoder(clip.as_ref(), &Default::default(), cpu).unwrap();
    let gallery =
        lookalike::create_gallery(folder.path().join("g"), &*encoder, &Default::default()).unwrap();
    let digits = lookalike::ImageStream::of_collection(&crate::support::digits(IMAGES));
    let options = lookalike::IndexOptions::default();
    lookalike::index(digits, &*encoder, &*gallery, options).unwrap();
    drop(gallery);
    Running::on(folder, |_| {})
}

#[test]
fn words_find_images() {
    let server = words_gallery();
    let page = page(&server, "/");
    page.wait_for("#text");
    page.click("#text");
    page.type_in("a seven");
    page.press("Enter");
    page.wait_address("text:a");
    page.wait("document.querySelectorAll('.answer').length >= 5");
    let first = "[...document.querySelectorAll('.answer')].slice(0, 5)";
    let sevens = page.eval(&format!(
        "{first}.filter((one) => one.querySelector('.caption b').textContent === '7').length"
    ));
    assert!(sevens.as_f64().unwrap() >= 4.0, "{sevens} sevens");
    assert_eq!(
        page.eval("document.querySelector('#text').value"),
        "a seven"
    );
    page.check_accessible("words");
    page.check_width("words");
    page.screenshot("words");
    // Facts about the encoder stand where those of a model do.
    page.open("/gallery");
    page.wait("document.body.textContent.includes('Trained by')");
}

#[test]
fn a_gallery_without_words_asks_for_none() {
    let server = Running::new();
    let page = page(&server, "/");
    page.wait_for(".ways");
    assert_eq!(page.count("#text"), 0);
}

#[test]
fn an_empty_gallery_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let model = crate::support::model();
    drop(lookalike::create_gallery(folder.path().join("g"), &model, &Default::default()).unwrap());
    let server = Running::on(folder, |_| {});
    let page = page(&server, "/");
    page.wait("document.querySelector('main').textContent.includes('empty so far')");
    for (path, said) in [
        ("/duplicates", "No near duplicates"),
        ("/outliers", "0 oddest"),
        ("/sample", "0 pictures of 0 images"),
        ("/map", "0 images"),
        ("/gallery", "no labels"),
    ] {
        page.open(path);
        page.wait(&format!(
            "document.querySelector('main').textContent.includes('{said}')"
        ));
        page.check_accessible(path);
    }
}

/// A proxy that hands requests for `/photos/…` on to a server, without that path, and answers
/// others with 404.
fn proxy_at_a_path(server: &Running) -> std::net::SocketAddr {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, target) = (listener.local_addr().unwrap(), server.address);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut reader = BufReader::new(stream.try_clone()?);
                let (mut head, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line)? == 0 {
                        return Ok(());
                    }
                    let lower = line.to_lowercase();
                    if let Some(value) = lower.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap_or(0);
                    }
                    match line.trim() {
                        "" => break,
                        _ if lower.starts_with("connection:") => {}
                        _ => head += &line,
                    }
                }
                let Some((method, path)) = head.split_once(" /photos/") else {
                    return stream.write_all(
                        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    );
                };
                let mut server = TcpStream::connect(target)?;
                server
                    .write_all(format!("{method} /{path}Connection: close\r\n\r\n").as_bytes())?;
                let mut body = vec![0; length];
                reader.read_exact(&mut body)?;
                server.write_all(&body)?;
                std::io::copy(&mut server, &mut stream)?;
                Ok(())
            });
        }
    });
    address
}

#[test]
fn behind_a_proxy_it_works_at_a_path_of_its_own() {
    let server = Running::new();
    let proxy = proxy_at_a_path(&server);
    let page = Page::new(format!("http://{proxy}/photos"));
    page.open(&format!("/?q=id:{SEVEN}"));
    page.wait(ANSWERED);
    let by_id = json!({"query": {"id": SEVEN}, "k": 5});
    assert_eq!(shown(&page, 5), found(&server, &by_id));
    // Links, pages and thumbnails stay below the path.
    page.wait("[...document.images].some((one) => one.src.includes('/photos/api/') && one.naturalWidth > 0)");
    for place in ["groups", "duplicates", "outliers", "map", "gallery", "api"] {
        page.eval(&format!(
            "document.querySelector('[data-page={place}]').click()"
        ));
        page.wait(&format!(
            "location.pathname === '/photos/{place}' && document.querySelector('[data-page={place}]').hasAttribute('aria-current')"
        ));
    }
    page.eval("document.querySelector('.brand').click()");
    page.wait("location.pathname === '/photos/'");
    page.open("/outliers");
    page.wait("document.querySelectorAll('.tile, .frame').length > 0");
}

//! What the server and the page do with what people say about images: labels that may be mistakes,
//! and searches by examples that are kept under names.

use crate::browser::Page;
use crate::support::{
    Answer, Form, IMAGES, Running, SEVEN, TOKEN, digits, finished, keys, new_digit,
};
use serde_json::{Value, json};

/// Adds a one that is said to be a seven; gives its id.
fn add_mistake(server: &Running) -> String {
    let all = digits(IMAGES + 40);
    let one = (IMAGES..all.len()).find(|&number| all.label(number) == Some("1"));
    let form = Form::new()
        .text("label", "7")
        .file("image", "one.png", &new_digit(one.unwrap()));
    let added = server.send("POST", "/api/v1/images", &form).ok();
    added["items"][0]["id"].as_str().unwrap().to_owned()
}

/// A request that may need the token.
fn send(server: &Running, method: &str, path: &str, body: &Value, token: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    let mut headers = vec![("Content-Type", "application/json")];
    if !token.is_empty() {
        headers.push(("Authorization", &authorization));
    }
    server.ask(method, path, &headers, body.to_string().as_bytes())
}

#[test]
fn labels_that_neighbours_contradict_are_listed() {
    let server = Running::new();
    let id = add_mistake(&server);
    let found = finished(&server, "/api/v1/labels/mistakes?limit=1000");
    assert_eq!(found["points"], IMAGES + 1);
    assert_eq!(found["labels"], 10);
    let mistakes = found["mistakes"].as_array().unwrap();
    assert_eq!(found["mistake_count"], mistakes.len());
    let confidences = mistakes.iter().map(|of| of["confidence"].as_f64().unwrap());
    assert!(confidences.clone().is_sorted_by(|a, b| a >= b));
    assert!(confidences.clone().all(|of| (0.8..=1.0).contains(&of)));
    let mistake = mistakes.iter().find(|of| of["image"]["id"] == id);
    let mistake = mistake.unwrap_or_else(|| panic!("{found}"));
    assert_eq!(mistake["image"]["label"], "7");
    assert_eq!(mistake["suggested"], "1");
    assert_eq!(mistake["because_of"]["label"], "1");
    server.get("/api/v1/labels/mistakes?limit=0").problem(422);

    let page = Page::new(format!("http://{}", server.address));
    page.open("/");
    page.click(".pages [data-page=labels]");
    page.wait("location.pathname === '/labels'");
    page.wait(&format!(
        "document.querySelectorAll('#mistakes .tile').length === {}",
        mistakes.len().min(40)
    ));
    page.wait("document.querySelector('#status').textContent.includes('suspected mistake')");
    page.wait(
        "[...document.querySelectorAll('#mistakes b')].some((one) => one.textContent === '7 → 1')",
    );
    page.check_accessible("labels");
    page.check_width("labels");
    page.screenshot("labels");
    page.click("#mistakes .because");
    page.wait_address("why=");
    page.wait("document.querySelector('#why[open]') !== null");
    page.open("/labels?limit=1");
    page.wait("document.querySelectorAll('#mistakes .tile').length === 1");
    page.click("#mistakes .frame");
    page.wait_address("/?q=id:");
    page.wait("document.querySelectorAll('.answer').length > 0");
    drop(page);

    // An image that is gone is left out.
    let found = finished(&server, "/api/v1/labels/suggestions");
    assert_eq!(
        (&found["suggestion_count"], &found["suggestions"]),
        (&json!(0), &json!([]))
    );
    assert_eq!(
        server
            .write("DELETE", &format!("/api/v1/images/{id}"))
            .status,
        204
    );
    let left = finished(&server, "/api/v1/labels/mistakes?limit=1000");
    let mut left = left["mistakes"].as_array().unwrap().iter();
    assert!(left.all(|of| of["image"]["id"] != id));
}

#[test]
fn labels_are_suggested_to_images_without_one() {
    let server = Running::new();
    let all = digits(IMAGES + 40);
    let one = (IMAGES..all.len()).find(|&number| all.label(number) == Some("1"));
    let form = Form::new().file("image", "one.png", &new_digit(one.unwrap()));
    let added = server.send("POST", "/api/v1/images", &form).ok();
    let id = &added["items"][0]["id"];
    let found = finished(&server, "/api/v1/labels/suggestions");
    assert_eq!(
        (&found["points"], &found["suggestion_count"]),
        (&json!(IMAGES + 1), &json!(1))
    );
    let suggestion = &found["suggestions"][0];
    assert_eq!(
        (&suggestion["image"]["id"], &suggestion["suggested"]),
        (id, &json!("1"))
    );
    assert_eq!(suggestion["because_of"]["label"], "1");
    server
        .get("/api/v1/labels/suggestions?limit=1001")
        .problem(422);

    let page = Page::new(format!("http://{}", server.address));
    page.open("/labels");
    page.wait("document.querySelector('#mistakes') !== null");
    page.eval("(() => { const kind = document.querySelector('#kind'); kind.value = 'suggestions'; kind.dispatchEvent(new Event('change', { bubbles: true })); })()");
    page.wait_address("kind=suggestions");
    page.wait(
        "document.querySelector('#status').textContent.startsWith('1 suggested label among')",
    );
    page.wait("document.querySelector('#suggestions b').textContent === '– → 1'");
    page.check_accessible("suggested labels");
    page.check_width("suggested labels");
}

#[test]
fn strategies_weigh_examples() {
    let server = Running::new();
    let images = server.get("/api/v1/images?limit=12").ok();
    let ids = images["images"].as_array().unwrap().iter();
    let refs: Vec<Value> = ids.map(|image| json!({"id": image["id"]})).collect();
    let ask = |strategy: Value| {
        let search = json!({"like": refs[..6], "unlike": refs[6..], "k": 30, "strategy": strategy});
        server.post_json("/api/v1/search", &search)
    };
    let learned = keys(&ask(json!("learned")).ok());
    assert_eq!(keys(&ask(Value::Null).ok()), learned);
    let average = keys(&ask(json!("average")).ok());
    assert_ne!(average, learned);
    assert_ne!(keys(&ask(json!("best_score")).ok()), average);
    ask(json!("worst")).problem(422);
}

#[test]
fn searches_are_kept_under_names() {
    let server = Running::new();
    let path = "/api/v1/searches/ones%20and%2Fmore";
    let sent = Form::new().file("image", "a.png", &new_digit(IMAGES));
    let upload = server.send("POST", "/api/v1/queries", &sent).ok()["upload"].clone();
    let mistake = add_mistake(&server);
    let search = json!({
        "like": [{"id": SEVEN}, {"id": mistake}, {"upload": upload}], "filter": "label!=3", "strategy": "average"
    });
    // Only who has the token changes anything.
    send(&server, "PUT", path, &search, "").problem(401);
    let saved = send(&server, "PUT", path, &search, TOKEN).ok();
    assert_eq!(saved["replaced"], false);
    assert_eq!(
        send(&server, "PUT", path, &search, TOKEN).ok()["replaced"],
        true
    );
    let listed = server.get("/api/v1/searches").ok();
    let listed = &listed["searches"][0];
    assert_eq!(listed["name"], "ones and/more");
    assert_eq!(
        (&listed["filter"], &listed["strategy"]),
        (&json!("label!=3"), &json!("average"))
    );
    assert_eq!(listed["like"][0], json!({"id": SEVEN, "gone": false}));
    assert_eq!(listed["like"][2], json!({"id": null, "gone": false}));

    let ask = |search: &Value| server.post_json("/api/v1/search", search);
    let named = json!({"named": "ones and/more", "k": 40});
    let mut direct = search.clone();
    direct["k"] = 40.into();
    let answer = ask(&named).ok();
    assert_eq!(keys(&answer), keys(&ask(&direct).ok()));
    assert_eq!(answer["notes"], json!([]));
    // More examples and another condition go with it.
    let images = server.get("/api/v1/images?limit=1").ok();
    let less = json!({"id": images["images"][0]["id"]});
    let more = json!({"named": "ones and/more", "unlike": [less], "filter": "label!=7", "k": 40});
    direct["unlike"] = json!([less]);
    direct["filter"] = "label!=3 and label!=7".into();
    assert_eq!(keys(&ask(&more).ok()), keys(&ask(&direct).ok()));

    // What is gone counts as it was, and that is said.
    assert_eq!(
        server
            .write("DELETE", &format!("/api/v1/images/{mistake}"))
            .status,
        204
    );
    let after = ask(&named).ok();
    assert_eq!(keys(&after), keys(&answer));
    assert!(
        after["notes"][0]
            .as_str()
            .unwrap()
            .contains("not in the gallery any more")
    );
    let listed = server.get("/api/v1/searches").ok();
    assert_eq!(
        listed["searches"][0]["like"][1],
        json!({"id": mistake, "gone": true})
    );

    let to = |name: &str| {
        send(
            &server,
            "POST",
            &format!("{path}/name"),
            &json!({"name": name}),
            TOKEN,
        )
    };
    let other = json!({"like": [{"id": SEVEN}]});
    send(&server, "PUT", "/api/v1/searches/other", &other, TOKEN).ok();
    to("other").problem(409);
    to("").problem(422);
    assert_eq!(to("ones").status, 204);
    let problem = ask(&named).problem(404);
    assert!(problem.contains("ones, other"), "{problem}");
    assert_eq!(server.write("DELETE", "/api/v1/searches/ones").status, 204);
    assert_eq!(server.write("DELETE", "/api/v1/searches/ones").status, 404);
    send(
        &server,
        "PUT",
        "/api/v1/searches/none",
        &json!({"like": []}),
        TOKEN,
    )
    .problem(422);
    ask(&json!({"query": {"id": SEVEN}, "named": "other"})).problem(422);
}

#[test]
fn the_page_saves_lists_and_runs_searches() {
    let server = Running::new();
    let page = Page::new(format!("http://{}", server.address));
    page.open(&format!("/#token={TOKEN}"));
    page.wait("document.querySelectorAll('.tile img').length > 30");
    page.wait("document.querySelector('#saved').hidden");
    let images = server.get("/api/v1/images?limit=2").ok();
    let id = |at: usize| images["images"][at]["id"].as_str().unwrap().to_owned();
    page.open(&format!(
        "/?q=id:{SEVEN}&like=id:{}&filter=label!%3D3",
        id(0)
    ));
    page.wait_for("#examples .save");
    page.click("#examples .save input");
    page.type_in("sevens <b>");
    page.click("#examples .save button");
    page.wait("document.querySelector('#toasts').textContent.includes('was saved')");
    let listed = server.get("/api/v1/searches").ok();
    assert_eq!(listed["searches"][0]["name"], "sevens <b>");
    assert_eq!(listed["searches"][0]["like"].as_array().unwrap().len(), 2);
    assert_eq!(listed["searches"][0]["filter"], "label!=3");

    page.open("/");
    page.wait_for("#saved li a");
    assert_eq!(page.text("#saved li a"), "sevens <b>");
    page.check_accessible("saved searches");
    page.check_width("saved searches");
    page.screenshot("saved");
    page.click("#saved li a");
    page.wait_address("named=sevens");
    let expected = keys(
        &server
            .post_json("/api/v1/search", &json!({"named": "sevens <b>", "k": 40}))
            .ok(),
    );
    let answered = "!document.querySelector('#results')?.hasAttribute('aria-busy') && document.querySelectorAll('.answer').length > 0";
    page.wait(answered);
    page.wait(&format!(
        "document.querySelector('.answer .caption .place').textContent === {}",
        json!(expected[0])
    ));
    page.wait("document.querySelector('#examples').textContent.includes('sevens <b>')");
    // An example more belongs to the search that is saved again.
    page.hover(".answer .frame");
    page.click(".answer .less");
    page.wait_address("unlike=id:");
    page.click("#examples .save button");
    page.wait(
        "document.querySelector('#toasts').textContent.includes('in place of the one before')",
    );
    let listed = server.get("/api/v1/searches").ok();
    assert_eq!(listed["searches"][0]["unlike"].as_array().unwrap().len(), 1);

    page.open("/");
    page.wait_for("#saved .rename");
    page.click("#saved .rename");
    page.wait_for("#saved form input");
    page.eval("document.querySelector('#saved form input').value = 'others'");
    page.click("#saved form button");
    page.wait("document.querySelector('#saved li a')?.textContent === 'others'");
    page.click("#saved [aria-label='Delete others']");
    page.wait("document.querySelector('#saved').hidden");
}

//! Hostile requests: each has its answer, and the service goes on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Answer, Form, Running, SEVEN, TOKEN, digit};
use lookalike_server::Limits;
use serde_json::{Value, json};

/// A BMP's header that promises `side` x `side` pixels, and nothing behind it.
fn promising_bmp(side: u32) -> Vec<u8> {
    let mut bmp = b"BM".to_vec();
    for number in [54, 0, 54, 40, side, side, 1 | 24 << 16] {
        bmp.extend(u32::to_le_bytes(number));
    }
    bmp.extend([0; 24]);
    bmp
}

/// A PNG of `side` x `side` black pixels, which is small.
fn black(side: usize) -> Vec<u8> {
    let pixels = lookalike::images::Pixels::new(side, side, 1, vec![0; side * side]).unwrap();
    pixels.to_png().unwrap()
}

/// Limits that tests reach quickly.
fn narrow(limits: &mut Limits) {
    limits.body_bytes = 1 << 20;
    limits.pixels = 1_000_000;
    limits.files = 5;
}

#[test]
fn every_hostile_request_has_its_answer_and_the_service_goes_on() {
    let server = Running::with(|options| narrow(&mut options.limits));
    let search = |body: Value| server.post_json("/api/v1/search", &body);
    let by = |extra: Value| {
        let mut body = json!({"query": {"id": SEVEN}});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        search(body)
    };
    let text = |body: &str| {
        server.ask(
            "POST",
            "/api/v1/search",
            &[("Content-Type", "application/json")],
            body.as_bytes(),
        )
    };
    let form = |body: &[u8]| {
        server.ask(
            "POST",
            "/api/v1/search",
            &[("Content-Type", Form::TYPE)],
            body,
        )
    };
    let image = |bytes: &[u8]| form(&Form::new().file("image", "x", bytes).bytes());
    let add = |form: &Form| server.send("POST", "/api/v1/images", form);
    let nobody = "00000000-0000-0000-0000-000000000000";
    let seven = digit(7);
    let long = vec![b'x'; 2 << 20];
    let dims = server.get("/api/v1/gallery").ok()["gallery"]["dims"]
        .as_u64()
        .unwrap() as usize;
    let code = |value: f64| json!({"query": {"code": vec![value; dims]}});

    let cases: Vec<(&str, u16, Answer)> = vec![
        // JSON.
        ("no body", 400, text("")),
        ("no JSON", 400, text("{\"query\": ")),
        ("JSON of another kind", 422, text("[1, 2]")),
        ("NaN in a code", 400, text("{\"query\": {\"code\": [NaN]}}")),
        ("infinity in a code", 400, text("{\"query\": {\"code\": [1e999]}}")),
        ("a number beyond f32 in a code", 400, search(code(1e39))),
        ("a number whose square overflows", 422, search(code(1e30))),
        ("an empty code", 422, search(json!({"query": {"code": []}}))),
        ("a code that is too long", 422, search(json!({"query": {"code": vec![0.5; dims + 1]}}))),
        ("JSON within JSON without end", 422, text(&"[".repeat(100_000))),
        ("an unknown field", 422, by(json!({"kk": 5}))),
        ("a field twice", 422, text("{\"k\": 1, \"k\": 2}")),
        ("a string for a number", 422, by(json!({"k": "5"}))),
        ("no query at all", 422, search(json!({}))),
        ("examples of what is not wanted only", 422, search(json!({"unlike": [{"id": SEVEN}]}))),
        ("query and examples", 422, by(json!({"like": [{"id": SEVEN}]}))),
        ("two ways to name an image", 422, search(json!({"query": {"id": SEVEN, "code": [1.0]}}))),
        ("no way to name an image", 422, search(json!({"query": {}}))),
        ("too many examples", 422, search(json!({"like": vec![json!({"id": SEVEN}); 6]}))),
        ("diffusion from examples", 422, search(json!({"like": [{"id": SEVEN}], "rerank": "diffusion"}))),
        ("differences from examples", 422, search(json!({"like": [{"id": SEVEN}], "diverse": 0.5}))),
        // Numbers.
        ("k = 0", 422, by(json!({"k": 0}))),
        ("a huge k", 422, by(json!({"k": 4_000_000_000_u64}))),
        ("the hugest k", 422, text(&format!("{{\"query\": {{\"id\": \"{SEVEN}\"}}, \"k\": 18446744073709551615}}"))),
        ("a k beyond all", 422, text("{\"k\": 1e30}")),
        ("a negative k", 422, by(json!({"k": -1}))),
        ("a huge offset", 422, by(json!({"offset": u64::MAX}))),
        ("diversity of 2", 422, by(json!({"diverse": 2.0}))),
        ("diversity and diffusion", 422, by(json!({"diverse": 0.5, "rerank": "diffusion"}))),
        ("diversity page by page", 422, by(json!({"diverse": 0.5, "offset": 5}))),
        ("many diverse ones", 422, by(json!({"diverse": 0.5, "k": 1000}))),
        ("a metric that is none", 422, by(json!({"metric": "hamming"}))),
        ("a filter that is none", 422, by(json!({"filter": "label"}))),
        ("a filter of another language", 422, by(json!({"filter": "'; DROP TABLE points; --"}))),
        ("a region of nothing", 422, search(json!({"query": {"id": SEVEN, "region": {"x": 0, "y": 0, "width": 0, "height": 5}}}))),
        ("a region outside", 422, search(json!({"query": {"id": SEVEN, "region": {"x": 20, "y": 0, "width": 20, "height": 5}}}))),
        ("a region beyond all", 422, search(json!({"query": {"id": SEVEN, "region": {"x": 4_294_967_295_u32, "y": 0, "width": 4_294_967_295_u32, "height": 5}}}))),
        ("a region of a code", 422, search(json!({"query": {"code": [1.0], "region": {"x": 0, "y": 0, "width": 1, "height": 5}}}))),
        // Names.
        ("an id that is nobody's", 404, search(json!({"query": {"id": nobody}}))),
        ("an id that is none", 422, search(json!({"query": {"id": "../../etc/passwd"}}))),
        ("an upload that is not kept", 404, search(json!({"query": {"upload": "0".repeat(64)}}))),
        ("an upload with a path for a name", 404, server.get("/api/v1/queries/..%2f..%2fetc%2fpasswd")),
        ("a path that climbs", 404, server.get("/assets/../../Cargo.toml")),
        ("a path that climbs in disguise", 404, server.get("/assets/%2e%2e%2f%2e%2e%2fCargo.toml")),
        ("a path of broken UTF-8", 400, server.get("/api/v1/queries/%ff%fe")),
        ("an image that is none", 400, server.get("/api/v1/images/7/thumbnail")),
        ("a facet without a name", 422, server.get("/api/v1/facets?field=")),
        ("a facet with an odd name", 422, server.get("/api/v1/facets?field=a%22b%5B%5D")),
        ("a facet of nothing", 400, server.get("/api/v1/facets")),
        ("facets without end", 422, server.get("/api/v1/facets?field=label&limit=1000000000")),
        ("a page without end", 422, server.get("/api/v1/images?limit=0")),
        ("a threshold that is no number", 422, server.get("/api/v1/duplicates?threshold=NaN")),
        ("a negative threshold", 422, server.get("/api/v1/duplicates?threshold=-1")),
        ("outliers without end", 422, server.get("/api/v1/outliers?count=99999999")),
        ("a sample without end", 422, server.get("/api/v1/sample?count=99999999")),
        ("an empty sample", 422, server.get("/api/v1/sample?count=0")),
        ("groups without end", 422, server.get("/api/v1/groups?count=99999999")),
        ("a parameter that is none", 400, server.get("/api/v1/outliers?cuont=3")),
        ("a URL where none is fetched", 422, search(json!({"query": {"url": "http://127.0.0.1/"}}))),
        // Kinds of content.
        ("a kind that is none", 415, server.ask("POST", "/api/v1/search", &[("Content-Type", "text/xml")], b"<a/>")),
        ("no kind", 415, server.ask("POST", "/api/v1/search", &[], b"{}")),
        ("a form without a border", 400, server.ask("POST", "/api/v1/search", &[("Content-Type", "multipart/form-data")], b"x")),
        ("a form that is none", 400, form(b"this is no form")),
        ("a form that breaks off", 400, form(b"--BORDER\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\nabc")),
        ("a form without an image", 400, form(&Form::new().text("search", "{}").bytes())),
        ("a form with two images", 400, form(&Form::new().file("image", "a", &seven).file("image", "b", &seven).bytes())),
        ("a form with a part of no use", 400, form(&Form::new().text("sql", "x").bytes())),
        ("a search in a form that is none", 422, form(&Form::new().file("image", "a", &seven).text("search", "{k}").bytes())),
        // Pictures.
        ("an empty picture", 415, image(b"")),
        ("text for a picture", 415, image(b"<svg onload=alert(1)>")),
        ("half a picture", 422, image(&seven[..seven.len() / 2])),
        ("a picture that promises too much", 413, image(&promising_bmp(60_000))),
        ("a bomb", 413, image(&black(3_000))),
        ("a body that is too long", 413, image(&long)),
        // Writes.
        ("an image without the token", 401, server.ask("POST", "/api/v1/images", &[("Content-Type", Form::TYPE)], &Form::new().file("image", "a", &seven).bytes())),
        ("too many files", 413, add(&(0..6).fold(Form::new(), |form, _| form.file("image", "a", &seven)))),
        ("a label that climbs", 422, add(&Form::new().text("label", "../../x").file("image", "a.png", &seven))),
        ("a label that is a device", 422, add(&Form::new().text("label", "con").file("image", "a.png", &seven))),
        ("a label that turns text around", 422, add(&Form::new().text("label", "a\u{202e}b").file("image", "a.png", &seven))),
        ("two labels", 400, add(&Form::new().text("label", "x").text("label", "y"))),
        ("deleting what is no id", 422, server.ask("POST", "/api/v1/images/delete", &[("Content-Type", "application/json"), ("Authorization", &format!("Bearer {TOKEN}"))], b"{\"ids\": [\"*\"]}")),
        // HTTP.
        ("a method for another thing", 405, server.ask("DELETE", "/api/v1/search", &[], b"")),
        ("a method that is none", 405, server.ask("BREW", "/api/v1/gallery", &[], b"")),
        ("a place that is none", 404, server.get("/wp-admin/setup.php")),
        ("a version that is none", 404, server.get("/api/v2/search")),
        ("no HTTP", 400, server.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n")),
        ("a head without end", 431, server.raw(format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000)).as_bytes())),
        ("headers without end", 431, server.raw(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(1_000)).as_bytes())),
        ("two lengths", 400, server.raw(b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello")),
        ("a length that is none", 400, server.raw(b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n")),
        ("a name of another host", 403, server.ask("GET", "/api/v1/gallery", &[("Host", "evil.example")], b"")),
        ("no host", 403, server.raw(b"GET /api/v1/gallery HTTP/1.0\r\n\r\n")),
    ];
    assert!(cases.len() >= 40);
    let mut wrong = Vec::new();
    for (name, status, answer) in &cases {
        let said = String::from_utf8_lossy(&answer.body);
        if answer.status != *status {
            wrong.push(format!(
                "{name}: {} instead of {status}: {said}",
                answer.status
            ));
            continue;
        }
        // What is no HTTP is refused before there is a request.
        if ![400, 431].contains(status) || !answer.body.is_empty() {
            let detail = answer.problem(*status);
            assert!(detail.len() > 15, "{name}: {detail}");
            assert!(
                !detail.contains("/work") && !detail.contains("panick"),
                "{name}: {detail}"
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Nothing was added, nothing is lost, and it answers.
    let facts = server.get("/api/v1/gallery").ok();
    assert_eq!(facts["gallery"]["points"], crate::support::IMAGES);
    by(json!({"k": 5})).ok();
    assert!(!server.folder.path().join("x").exists());
}

#[test]
fn hostile_file_names_stay_inside() {
    let server = Running::new();
    for (number, name) in [
        "../../../escaped.png",
        "/etc/escaped.png",
        "..\\..\\escaped.png",
        "..",
        ".hidden",
        "nul",
        "a%00b.png",
        "<img src=x onerror=alert(1)>.png",
        "very-long-",
        "photo\u{202e}gnp.exe",
    ]
    .iter()
    .enumerate()
    {
        let name = match *name {
            "very-long-" => "x".repeat(5_000),
            name => name.to_owned(),
        };
        let form = Form::new().file("image", &name, &crate::support::new_digit(340 + number));
        let added = server.send("POST", "/api/v1/images", &form).ok();
        assert_eq!(added["added"], 1, "{name}: {added}");
        let id = added["items"][0]["id"].as_str().unwrap();
        let image = server.get(&format!("/api/v1/images/{id}")).ok();
        let key = image["key"].as_str().unwrap();
        assert!(
            !key.contains('/') && !key.contains(['<', '\u{202e}']) && !key.starts_with('.'),
            "{key}"
        );
        assert_eq!(
            server.get(&format!("/api/v1/images/{id}/original")).status,
            200
        );
    }
    let files = std::fs::read_dir(server.gallery_path().join("uploads")).unwrap();
    assert_eq!(files.count(), 10);
}

#[test]
fn slow_clients_are_left_and_hold_up_nobody() {
    let server = Running::with(|options| {
        options.limits.transfer = Duration::from_secs(3);
        options.limits.request = Duration::from_secs(20);
    });
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let head = format!(
            "POST /api/v1/search HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
            server.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        slow.push(stream);
    }
    server
        .post_json("/api/v1/search", &json!({"query": {"id": SEVEN}}))
        .ok();
    assert!(
        !slow.iter().any(is_answered),
        "others are answered meanwhile"
    );
    for mut stream in slow {
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408");
    }
}

#[test]
fn beyond_what_can_wait_there_is_a_503_and_then_room_again() {
    let server = std::sync::Arc::new(Running::with(|options| {
        options.limits.at_once = 1;
        options.limits.waiting = 1;
    }));
    let image = black(4_000);
    let asking: Vec<_> = (0..16)
        .map(|_| {
            let (server, image) = (server.clone(), image.clone());
            std::thread::spawn(move || {
                let form = Form::new().file("image", "x", &image);
                let answer = server.send("POST", "/api/v1/encode", &form);
                if answer.status == 503 {
                    assert_eq!(answer.header("retry-after"), Some("1"));
                    assert!(answer.problem(503).contains("try again"));
                }
                answer.status
            })
        })
        .collect();
    let statuses: Vec<u16> = asking
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    assert!(statuses.contains(&503), "{statuses:?}");
    assert!(
        statuses.iter().all(|status| [200, 503].contains(status)),
        "{statuses:?}"
    );
    assert!(statuses.contains(&200), "{statuses:?}");
    let again = server.post_json("/api/v1/search", &json!({"query": {"id": SEVEN}}));
    again.ok();
}

#[test]
fn large_bodies_that_dawdle_leave_room_for_small_requests() {
    let server = Running::with(|options| {
        options.limits.body_bytes = 1 << 20;
        options.limits.bodies_bytes = 1 << 20;
        options.limits.transfer = Duration::from_secs(2);
    });
    let dawdle = || {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let head = format!(
            "POST /api/v1/search HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n{{",
            server.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        // What has come takes room, so nearly all of it comes.
        let _ = stream.write_all(&vec![b' '; 899_000]);
        stream
    };
    let mut slow = dawdle();
    let large = vec![b' '; 900_000];
    let json = [("Content-Type", "application/json")];
    let ask = || server.ask("POST", "/api/v1/search", &json, &large).status;
    // Until the slow one has its room, there is room for this one; if that comes first, the slow
    // one is refused.
    let end = Instant::now() + Duration::from_secs(30);
    while ask() != 503 {
        assert!(Instant::now() < end, "there is room without end");
        if is_answered(&slow) {
            slow = dawdle();
        }
    }
    let small = json!({"query": {"id": SEVEN}});
    server.post_json("/api/v1/search", &small).ok();
    drop(slow);
    while ask() == 503 {
        assert!(Instant::now() < end, "the room never comes back");
    }
}

#[test]
fn filters_are_bounded_and_leave_the_server_free() {
    let server = Running::new();
    let filter = |conditions: usize| vec!["width>=10"; conditions].join(" and ");
    let search = |filter: String| {
        let body = json!({"query": {"id": SEVEN}, "k": 5, "filter": filter});
        server.post_json("/api/v1/search", &body)
    };
    search(filter(32)).ok();
    assert!(
        search(filter(33))
            .problem(422)
            .contains("more than 32 conditions")
    );
    assert!(search(filter(100_000)).problem(422).contains("bytes long"));
    for place in ["images?", "facets?field=label&"] {
        let filter = filter(33).replace(' ', "+").replace(">=", "%3E%3D");
        let path = format!("/api/v1/{place}filter={filter}");
        assert!(
            server
                .get(&path)
                .problem(422)
                .contains("more than 32 conditions")
        );
    }
}

#[test]
fn problems_do_not_repeat_what_was_sent() {
    let server = Running::new();
    let json = [("Content-Type", "application/json")];
    let secret = "a-secret-that-nobody-may-see";
    for body in [
        format!("\"{secret}\""),
        format!("{{\"token\": [\"{secret}\"]}}"),
        format!("{{\"{secret}\": 1}}"),
        format!("{{\"token\": \"{secret}\", \"x\": 1}}"),
        format!("{{\"token\": {secret}}}"),
    ] {
        let answer = server.ask("POST", "/api/v1/session", &json, body.as_bytes());
        assert!([400, 422].contains(&answer.status), "{body}");
        let detail = answer.problem(answer.status);
        assert!(!detail.contains(secret), "{detail}");
        assert!(detail.contains("'token'"), "{detail}");
    }
    let picture = format!("data:image/png;base64,{}", "iVBORw0KGgo".repeat(50_000));
    let answer = server.post_json("/api/v1/search", &json!({"query": picture}));
    let detail = answer.problem(422);
    assert!(detail.contains("'query': found text"), "{detail}");
    assert!(!detail.contains("iVBOR") && answer.body.len() < 1_000);
    let form = Form::new()
        .file("image", "a", &digit(7))
        .text("search", &json!({"k": picture}).to_string());
    let answer = server.send("POST", "/api/v1/search", &form);
    assert!(answer.problem(422).contains("'k': found text"));
    assert!(answer.body.len() < 1_000);
}

#[test]
fn what_was_only_announced_takes_no_room() {
    let server = Running::with(|options| {
        options.limits.body_bytes = 1 << 20;
        options.limits.bodies_bytes = 1 << 20;
    });
    let announced: Vec<TcpStream> = (0..9)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            let head = format!(
                "POST /api/v1/search HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n",
                server.address
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..20 {
        let mut body = json!({"query": {"id": SEVEN}}).to_string().into_bytes();
        body.resize(900_000, b' ');
        let json = [("Content-Type", "application/json")];
        server.ask("POST", "/api/v1/search", &json, &body).ok();
    }
    assert!(!announced.iter().any(is_answered));
}

#[test]
fn a_steady_slow_body_is_taken() {
    let server = Running::with(|options| {
        options.limits.transfer = Duration::from_millis(1_500);
        options.limits.request = Duration::from_millis(1_500);
    });
    let mut body = json!({"query": {"id": SEVEN}}).to_string().into_bytes();
    body.resize(4_000, b' ');
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "POST /api/v1/search HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        server.address,
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // More than either limit in all, and never long without a byte.
    for chunk in body.chunks(body.len().div_ceil(20)) {
        stream.write_all(chunk).unwrap();
        std::thread::sleep(Duration::from_millis(150));
    }
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn originals_are_sent_as_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    // A BMP is as large as its pixels: more than sockets buffer.
    let side = 2_000_u32;
    let mut bmp = b"BM".to_vec();
    let size = side * side * 3;
    for number in [
        54 + size,
        0,
        54,
        40,
        side,
        side,
        1 | 24 << 16,
        0,
        size,
        0,
        0,
        0,
        0,
    ] {
        bmp.extend(number.to_le_bytes());
    }
    bmp.extend((0..size).map(|at| (at / 7) as u8));
    std::fs::write(pictures.join("large.bmp"), &bmp).unwrap();
    {
        let model = crate::support::model();
        let gallery =
            lookalike::create_gallery(folder.path().join("g"), &model, &Default::default())
                .unwrap();
        let name = pictures.to_str().unwrap();
        let source = lookalike::open(name).unwrap();
        let options = lookalike::IndexOptions::default();
        lookalike::index(source, &model, &*gallery, options).unwrap();
    }
    let server = Running::on(folder, |options| options.limits.answers_bytes = 1 << 20);
    let id = server.get("/api/v1/images").ok()["images"][0]["id"].clone();
    let path = format!("/api/v1/images/{}/original", id.as_str().unwrap());
    // Many who take nothing take no room from each other.
    let idle: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let answer = server.get(&path);
    assert_eq!(answer.header("content-type"), Some("image/bmp"));
    assert_eq!(
        answer.header("content-length"),
        Some(&*bmp.len().to_string())
    );
    assert!(answer.body == bmp, "every byte comes");
    drop(idle);
}

#[test]
fn thresholds_without_end_do_not_compute_without_end() {
    let server = Running::new();
    let mut statuses = Vec::new();
    for number in 0..40 {
        let path = format!(
            "/api/v1/duplicates?threshold={}",
            0.1 + f64::from(number) / 100.0
        );
        let answer = server.get(&path);
        if answer.status == 429 {
            assert_eq!(answer.header("retry-after"), Some("5"));
            answer.problem(429);
        }
        statuses.push(answer.status);
    }
    assert!(
        statuses.iter().filter(|status| **status == 202).count() <= 10,
        "{statuses:?}"
    );
    assert!(statuses.contains(&429), "{statuses:?}");
    // Behind a proxy on this machine each client is counted by itself, whatever it says before what
    // the proxy adds.
    let ask = |number: u32, client: &str| {
        let threshold = 0.6 + f64::from(number) / 100.0;
        let path = format!("/api/v1/duplicates?threshold={threshold}");
        loop {
            let headers = [("X-Forwarded-For", client)];
            let status = server.ask("GET", &path, &headers, b"").status;
            // As long as what others asked for is computed.
            if status != 503 {
                return status;
            }
        }
    };
    assert_ne!(ask(0, "203.0.113.5"), 429);
    let made_up = |number| ask(number, &format!("198.51.100.{number}, 203.0.113.6"));
    assert!((1..30).any(|number| made_up(number) == 429));
    // What has no end of variants blocks nothing else.
    for path in ["quality", "outliers", "sample", "duplicates", "map"] {
        crate::support::finished(&server, &format!("/api/v1/{path}"));
    }
}

#[test]
fn a_threshold_is_one_computation_with_all_that_look_like_it() {
    let server = Running::new();
    let found = crate::support::finished(&server, "/api/v1/duplicates?threshold=0.5");
    assert_eq!(found["threshold"], 0.5);
    for near in ["0.5001", "0.49999", "0.500"] {
        let found = server
            .get(&format!("/api/v1/duplicates?threshold={near}"))
            .ok();
        assert_eq!(found["threshold"], 0.5);
    }
}

/// Whether something came back already.
fn is_answered(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let came = stream.peek(&mut [0]).is_ok();
    stream.set_nonblocking(false).unwrap();
    came
}

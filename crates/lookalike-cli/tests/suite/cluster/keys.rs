//! The key of a cluster: where it comes from, and that it is never shown.

use std::fs;
use std::process::Output;

use lookalike_testing::{Options, Qdrant};

use crate::cluster::support::{Served, neighbours, on, place_with_photos, png};
use crate::common::{Workplace, stderr};

const KEY: &str = "k3y-that-nobody-is-to-see";
const WRONG: &str = "wr0ng-k3y-that-nobody-is-to-see";
const VARIABLE: &str = "LOOKALIKE_QDRANT_API_KEY";
const FILE: &str = "LOOKALIKE_QDRANT_API_KEY_FILE";

/// Runs a command line with variables of the environment; neither key is in what it says.
fn run(place: &Workplace, line: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = place.command(line);
    command.env_remove(VARIABLE).env_remove(FILE);
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        !said.contains(KEY) && !said.contains(WRONG),
        "{line}: {said}"
    );
    output
}

#[test]
fn the_key_comes_from_the_environment_and_is_never_shown() {
    let server = Qdrant::with(Options {
        api_key: Some(KEY.to_owned()),
        ..Options::default()
    });
    let place = place_with_photos(40);
    let gallery = on(server.address(), "photos");
    let file = |name: &str, text: &str| {
        fs::write(place.path(name), text).unwrap();
        place.path(name).display().to_string()
    };
    let (right, wrong) = (
        file("key", &format!("{KEY}\n# ours\n")),
        file("wrong", WRONG),
    );
    let lines = [
        format!("index photos --model m --gallery {gallery}"),
        format!("info {gallery}"),
        format!("search photos/7/0.png --gallery {gallery} --model m --json"),
        format!("gallery copy {gallery} back --model m"),
        format!("gallery alias {} photos", on(server.address(), "live")),
        format!("gallery remove {} --yes", on(server.address(), "none")),
        format!("serve --gallery {gallery} --model m --state s --listen 127.0.0.1:0"),
    ];
    for variables in [
        &[][..],
        &[(VARIABLE, WRONG)],
        &[(VARIABLE, "")],
        &[(FILE, &wrong)],
        // The variable goes before the file.
        &[(VARIABLE, WRONG), (FILE, &right)],
    ] {
        for line in &lines {
            let output = run(&place, line, variables);
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{line}: {said}");
            assert!(
                said.contains("refuses") && said.contains(VARIABLE),
                "{line}: {said}"
            );
        }
    }
    assert!(server.collection("photos").is_none() && !place.path("back").exists());
    let missing = run(&place, &lines[0], &[(FILE, "nowhere")]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("nowhere"), "{}", stderr(&missing));
    let odd = run(&place, &lines[0], &[(VARIABLE, &format!("{KEY}\n{WRONG}"))]);
    assert_eq!(odd.status.code(), Some(1));
    assert!(
        stderr(&odd).contains("a space, a control or a non-ASCII character"),
        "{}",
        stderr(&odd)
    );
    // A key in the address is refused without a word of it.
    let output = run(
        &place,
        &format!("info qdrant://{KEY}@{}/photos", server.address()),
        &[],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(VARIABLE), "{}", stderr(&output));

    for (line, variables) in lines[..5].iter().zip([
        [(VARIABLE, KEY)],
        [(FILE, right.as_str())],
        [(VARIABLE, KEY)],
        [(FILE, right.as_str())],
        [(VARIABLE, KEY)],
    ]) {
        let output = run(&place, line, &variables);
        assert!(output.status.success(), "{line}: {}", stderr(&output));
    }
    assert_eq!(server.collection("photos").unwrap().points().len(), 40);
    assert_eq!(server.aliases()["live"], "photos");

    let arguments = format!("--gallery {gallery} --model m --state s");
    let served = Served::with_key(&place, &arguments, Some(KEY));
    let found = served.search(&png(0), 1);
    assert_eq!(neighbours(&found)[0].1, 0.0);
    assert!(!served.get("/gallery").to_string().contains(KEY));
    assert!(!served.end().contains(KEY));
    // Nothing of it is kept: not in the collection, and not in what was written here.
    let made = server.collection("photos").unwrap();
    assert!(
        !serde_json::to_string(made.metadata())
            .unwrap()
            .contains(KEY)
    );
}

//! The files of `deploy/` agree with each other and with the program, and the tables of
//! docs/scale.md with their arithmetic. Needs Python 3 with PyYAML.
#![cfg(unix)]

use std::path::Path;
use std::process::Command;

/// Runs one of the project's scripts, which ends with 0 if all is well.
fn passes(script: &str, argument: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new("python3")
        .arg(root.join(script))
        .args(argument)
        .current_dir(&root)
        .output()
        .expect("python3 is needed");
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn the_files_of_a_deployment_agree() {
    passes("deploy/check", &[env!("CARGO_BIN_EXE_lookalike")]);
}

#[test]
fn the_plan_for_a_billion_images_is_computed() {
    passes("bench/scale", &["--check", "docs/scale.md"]);
}

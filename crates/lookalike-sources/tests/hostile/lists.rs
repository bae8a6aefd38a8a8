//! Lists with rows that cannot be read or lead to no file.

use lookalike_sources::SkipKind;

use crate::{Case, case, run};

fn list_cases() -> Vec<Case> {
    use SkipKind::*;
    let long = format!("path,x\nhere.jpg,1\n\"{}", "x".repeat(3 << 20));
    let long_line = format!(
        "{{\"path\": \"here.jpg\"}}\n{{\"path\": \"{}\"}}",
        "x".repeat(3 << 20)
    );
    vec![
        case(
            "missing file",
            "csv",
            b"path\nhere.jpg\nnot.jpg\n".to_vec(),
            &["here.jpg"],
            &[("not.jpg", Missing)],
        ),
        case(
            "twice",
            "csv",
            b"path\nhere.jpg\nhere.jpg\n".to_vec(),
            &["here.jpg"],
            &[("here.jpg", Duplicate)],
        ),
        case(
            "fields",
            "csv",
            b"path,x\nhere.jpg,1\na,b,c\n".to_vec(),
            &["here.jpg"],
            &[("line 3", Damaged)],
        ),
        case(
            "not UTF-8",
            "csv",
            b"path\nhere.jpg\n\xff.jpg\n".to_vec(),
            &["here.jpg"],
            &[("line 3", NotUtf8)],
        ),
        case(
            "no path",
            "csv",
            b"path,x\nhere.jpg,1\n,2\n".to_vec(),
            &["here.jpg"],
            &[("line 3", Missing)],
        ),
        case(
            "a folder",
            "csv",
            b"path\nhere.jpg\n.\n".to_vec(),
            &["here.jpg"],
            &[(".", Special)],
        ),
        case(
            "a device",
            "csv",
            b"path\nhere.jpg\n/dev/zero\n".to_vec(),
            &["here.jpg"],
            &[("/dev/zero", Special)],
        ),
        case(
            "an address",
            "csv",
            b"path\nhere.jpg\nhttp://x/y.jpg\n".to_vec(),
            &["here.jpg"],
            &[("http://x/y.jpg", Unsupported)],
        ),
        case(
            "a quote that is not closed",
            "csv",
            long.into_bytes(),
            &["here.jpg"],
            &[("", Damaged)],
        ),
        case(
            "not JSON",
            "jsonl",
            b"{\"path\": \"here.jpg\"}\n{oh\n".to_vec(),
            &["here.jpg"],
            &[("line 2", Damaged)],
        ),
        case(
            "a number as path",
            "jsonl",
            b"{\"path\": \"here.jpg\"}\n{\"path\": 7}\n".to_vec(),
            &["here.jpg"],
            &[("line 2", Missing)],
        ),
        case(
            "deep",
            "jsonl",
            [
                b"{\"path\": \"here.jpg\"}\n{\"path\":".to_vec(),
                vec![b'['; 9999],
            ]
            .concat(),
            &["here.jpg"],
            &[("line 2", Damaged)],
        ),
        case(
            "an endless line",
            "jsonl",
            long_line.into_bytes(),
            &["here.jpg"],
            &[("", Damaged)],
        ),
    ]
}

#[test]
fn hostile_lists() {
    list_cases().iter().for_each(run);
}

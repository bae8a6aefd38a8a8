//! The example of a server inside a program of one's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

#[test]
fn embed_server_serves_until_its_input_ends() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = folder.path().join("g");
    let made = lookalike::create_gallery(&gallery, &crate::support::model(), &Default::default());
    drop(made.unwrap());
    let this = std::env::current_exe().unwrap();
    let built = this.ancestors().nth(2).unwrap();
    let mut program = Command::new(built.join("examples/embed_server"))
        .arg(&gallery)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    let mut said = BufReader::new(program.stdout.take().unwrap());
    said.read_line(&mut url).unwrap();
    let host = url
        .trim()
        .trim_start_matches("http://")
        .trim_end_matches('/');
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "GET /api/v1/gallery HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(program.stdin.take());
    assert!(program.wait().unwrap().success());
}

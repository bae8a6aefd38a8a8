//! The page and the API inside a program of one's own. It ends when its standard input does.
//!
//! ```sh
//! cargo run --release -p lookalike-server --example embed_server -- photos.gallery
//! ```

use std::error::Error;
use std::io::Read;

use lookalike::Searcher;
use lookalike::autoencoder::DeviceChoice;
use lookalike_server::{ServeOptions, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [gallery] = &arguments[..] else {
        return Err("usage: embed_server GALLERY".into());
    };
    let searcher = Searcher::open(gallery, &[], DeviceChoice::Auto)?;
    let options = ServeOptions {
        // Any free port of this machine; others cannot reach it.
        listen: ([127, 0, 0, 1], 0).into(),
        ..ServeOptions::new(gallery)
    };
    let server = Server::bind(searcher, options).await?;
    println!("{}", server.url());

    // Whatever the program waits for in earnest. Requests that have begun are still answered.
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    server.run(async { drop(end.await) }).await;
    Ok(())
}

//! Fetching images by their URL, without becoming a way into the network that the server stands in.
//!
//! Names are resolved by a resolver that gives public addresses only, and the connection goes to
//! just these, so a name that changes its address between check and use gains nothing. Addresses
//! written as such never reach the resolver and are checked in the URL, the first one and that of
//! every redirect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Url};

use crate::options::Limits;
use crate::problem::Problem;
use crate::work::{Held, Room};

const MAX_REDIRECTS: usize = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const FETCH_TIMEOUT: Duration = Duration::from_secs(20);

/// Fetches images.
pub(crate) struct Fetcher {
    client: Client,
    max_bytes: usize,
}

impl Fetcher {
    pub fn new(limits: &Limits) -> Result<Self, lookalike::Error> {
        Self::with(limits, Arc::new(PublicOnly), check_url)
    }

    fn with(
        limits: &Limits,
        resolver: Arc<impl Resolve + 'static>,
        check: fn(&Url) -> Result<(), String>,
    ) -> Result<Self, lookalike::Error> {
        let redirect = move |attempt: Attempt| {
            if attempt.previous().len() > MAX_REDIRECTS {
                return attempt.error("it redirects too many times");
            }
            match check(attempt.url()) {
                Ok(()) => attempt.follow(),
                Err(reason) => attempt.error(reason),
            }
        };
        // The process may have chosen already, for another client.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            // A proxy would resolve names by itself.
            .no_proxy()
            .dns_resolver(resolver)
            .redirect(Policy::custom(redirect))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(FETCH_TIMEOUT)
            .user_agent(concat!("lookalike/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                lookalike::Error::Unusable(format!("cannot fetch images by URL here: {error}"))
            })?;
        Ok(Self {
            client,
            max_bytes: limits.body_bytes,
        })
    }

    /// The bytes behind a URL, and the room that they take.
    ///
    /// # Errors
    ///
    /// 422 for what is no URL, leads into a private network, or cannot be fetched; 413 for what is
    /// too long, 503 when there is no room.
    pub async fn fetch(&self, url: &str, room: &Room) -> Result<(Vec<u8>, Held), Problem> {
        let refused =
            |reason: String| Problem::unusable(format!("cannot fetch this URL: {reason}"));
        let url = Url::parse(url).map_err(|error| refused(error.to_string()))?;
        check_url(&url).map_err(refused)?;
        self.fetch_checked(url, room).await
    }

    async fn fetch_checked(&self, url: Url, room: &Room) -> Result<(Vec<u8>, Held), Problem> {
        let failed = |error: reqwest::Error| {
            Problem::unusable(format!("cannot fetch this URL: {}", innermost(&error)))
        };
        let mut response = self.client.get(url).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(Problem::unusable(format!(
                "cannot fetch this URL: its server answers {}",
                response.status()
            )));
        }
        let promised = response.content_length().unwrap_or(0);
        let too_long = || {
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "what this URL leads to is longer than {} bytes",
                    self.max_bytes
                ),
            )
        };
        if promised > self.max_bytes as u64 {
            return Err(too_long());
        }
        let (mut bytes, mut held) = (Vec::new(), Held::default());
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > self.max_bytes {
                return Err(too_long());
            }
            room.grow(&mut held, chunk.len())?;
            bytes.extend_from_slice(&chunk);
        }
        Ok((bytes, held))
    }
}

/// The plainest cause: what wraps it only repeats the URL.
fn innermost(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => innermost(source),
        None => error.to_string(),
    }
}

/// Whether a URL may be fetched, as far as it can be seen without resolving its name.
fn check_url(url: &Url) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "it begins with {}:, only http and https are fetched",
            url.scheme()
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it has a user name or password in it".to_owned());
    }
    // Parsing has turned every spelling of an address (0x7f.1, 2130706433) into the usual one.
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(address) if !is_public(address) => Err(PRIVATE.to_owned()),
        _ if host.is_empty() => Err("it names no host".to_owned()),
        _ => Ok(()),
    }
}

/// Does not say which address it is: that would disclose names of the network inside.
const PRIVATE: &str = "it leads to an address that is not public, which is not allowed";

/// Resolves names to public addresses only.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let (public, others): (Vec<SocketAddr>, Vec<SocketAddr>) =
                found.partition(|address| is_public(address.ip()));
            // One that leads both ways is not to be trusted with either.
            match others.is_empty() {
                false => Err(PRIVATE.into()),
                true => Ok(Box::new(public.into_iter()) as Addrs),
            }
        })
    }
}

/// Whether an address belongs to the internet at large, by IANA's special-purpose registries.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        // Shared by carriers; protocol assignments; relays; benchmarks; reserved.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // IPv4-mapped IPv6 addresses are checked as IPv4.
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let [a, b, c, ..] = address.segments();
    let inner = |high: u16, low: u16| {
        let ([w, x], [y, z]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(w, x, y, z))
    };
    let segments = address.segments();
    match (a, b) {
        // NAT64 and 6to4 lead to the IPv4 address in them.
        (0x64, 0xff9b) => c == 0 && inner(segments[6], segments[7]),
        (0x2002, _) => inner(b, c),
        // Protocol assignments (Teredo among them) and documentation.
        (0x2001, 0..=0x1ff) | (0x2001, 0xdb8) | (0x3fff, 0..=0xfff) => false,
        // All that is given out to anybody lies in 2000::/3.
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    #[test]
    fn addresses_that_lead_inside_are_not_public() {
        for inside in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:c0a8:101::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "ff02::1",
            "::127.0.0.1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "93.184.215.14",
            "172.32.0.1",
            "192.169.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "64:ff9b::101:101",
            "2002:101:101::1",
        ] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn urls_that_lead_inside_are_refused_in_every_spelling() {
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://169.254.169.254/latest",
            "http://0/",
            "https://10.0.0.1:8443/x",
            "file:///etc/passwd",
            "ftp://example.org/a",
            "gopher://example.org/",
            "data:image/png;base64,AAAA",
            "http://user:secret@example.org/",
        ] {
            let url = Url::parse(url).unwrap();
            assert!(check_url(&url).is_err(), "{url}");
        }
        assert!(check_url(&Url::parse("https://example.org/a.png").unwrap()).is_ok());
    }

    /// Answers each request with the next of `answers`; says where.
    fn serve(answers: Vec<Vec<u8>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept() else {
                    return;
                };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(&answer);
            }
        });
        address
    }

    /// Leads every name to loopback, as a name in the hands of an attacker does.
    struct ToLoopback;

    impl Resolve for ToLoopback {
        fn resolve(&self, _: Name) -> Resolving {
            Box::pin(async {
                Ok(Box::new([SocketAddr::from(([127, 0, 0, 1], 0))].into_iter()) as Addrs)
            })
        }
    }

    fn room() -> Room {
        Room::new(1 << 20)
    }

    #[tokio::test]
    async fn what_is_fetched_takes_room() {
        let body = "x".repeat(300_000);
        let address = serve(vec![ok(&body), ok(&body)]);
        let url = format!("http://a.example:{}/", address.port());
        let room = Room::new(400_000);
        let fetcher = lenient(&Limits::default());
        let held = fetcher.fetch(&url, &room).await.unwrap();
        let full = fetcher.fetch(&url, &room).await.map(|_| ());
        assert_eq!(full.unwrap_err().status(), 503);
        drop(held);
    }

    fn lenient(limits: &Limits) -> Fetcher {
        Fetcher::with(limits, Arc::new(ToLoopback), check_url).unwrap()
    }

    fn ok(body: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .into()
    }

    fn moved(to: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .into()
    }

    #[tokio::test]
    async fn what_is_there_is_fetched_through_redirects() {
        let last = serve(vec![ok("picture")]);
        let first = serve(vec![moved(&format!("http://b.example:{}/x", last.port()))]);
        let fetcher = lenient(&Limits::default());
        let fetched = fetcher
            .fetch(&format!("http://a.example:{}/", first.port()), &room())
            .await;
        assert_eq!(fetched.unwrap().0, b"picture");
    }

    #[tokio::test]
    async fn a_redirect_inside_is_refused() {
        for inside in ["http://127.0.0.1:1/", "http://[::1]/", "file:///etc/passwd"] {
            let first = serve(vec![moved(inside)]);
            let fetcher = lenient(&Limits::default());
            let problem = fetcher
                .fetch(&format!("http://a.example:{}/", first.port()), &room())
                .await;
            let problem = problem.map(|_| ()).unwrap_err();
            assert_eq!(problem.status(), 422, "{inside}");
        }
    }

    #[tokio::test]
    async fn a_redirect_without_end_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(20).flatten() {
                let mut stream = stream;
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(&moved(&format!("http://a.example:{port}/again")));
            }
        });
        let fetcher = lenient(&Limits::default());
        let problem = fetcher
            .fetch(&format!("http://a.example:{port}/"), &room())
            .await
            .map(|_| ())
            .unwrap_err();
        assert!(
            problem.detail().contains("too many times"),
            "{}",
            problem.detail()
        );
    }

    #[tokio::test]
    async fn names_that_lead_inside_are_refused() {
        let fetcher = Fetcher::new(&Limits::default()).unwrap();
        let problem = fetcher
            .fetch("http://localhost/", &room())
            .await
            .map(|_| ())
            .unwrap_err();
        assert!(
            problem.detail().contains("not public") && !problem.detail().contains("127."),
            "{}",
            problem.detail()
        );
    }

    #[tokio::test]
    async fn what_is_too_long_is_left() {
        let limits = Limits {
            body_bytes: 4,
            ..Limits::default()
        };
        let promised = serve(vec![ok("12345")]);
        let endless = serve(vec![
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n123456789".to_vec(),
        ]);
        for address in [promised, endless] {
            let url = format!("http://a.example:{}/", address.port());
            assert_eq!(
                lenient(&limits)
                    .fetch(&url, &room())
                    .await
                    .map(|_| ())
                    .unwrap_err()
                    .status(),
                413
            );
        }
    }

    #[tokio::test]
    async fn an_error_of_theirs_is_none_of_ours() {
        let address = serve(vec![
            b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ]);
        let url = format!("http://a.example:{}/", address.port());
        let problem = lenient(&Limits::default())
            .fetch(&url, &room())
            .await
            .map(|_| ())
            .unwrap_err();
        assert_eq!(problem.status(), 422);
    }
}

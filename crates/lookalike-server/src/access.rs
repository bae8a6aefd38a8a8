//! Who may ask, and for what: tokens, sessions, host names, foreign pages.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::problem::Problem;
use crate::service::Service;

/// A secret that gives access. Only its hash is kept, and comparing takes the same time whatever
/// differs.
#[derive(Clone)]
pub struct Token {
    hash: blake3::Hash,
    /// Text, where it was made for this run and has to be told.
    generated: Option<Arc<str>>,
}

/// The shortest token that is accepted.
pub const MIN_TOKEN_LEN: usize = 12;
/// Makes trying out tokens slow.
pub(crate) const AFTER_WRONG_TOKEN: Duration = Duration::from_millis(300);
/// What a session's cookie is derived for; another purpose would give another value.
const SESSION: &str = "lookalike 2026-11 session cookie";

impl Token {
    /// A token that somebody chose.
    ///
    /// # Errors
    ///
    /// When it is shorter than [`MIN_TOKEN_LEN`] characters, or holds others than visible ASCII.
    pub fn new(text: &str) -> Result<Self, String> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "a token consists of letters, digits and signs of ASCII, without spaces".to_owned(),
            );
        }
        if text.len() < MIN_TOKEN_LEN {
            return Err(format!(
                "the token is too short to be safe: give at least {MIN_TOKEN_LEN} characters"
            ));
        }
        Ok(Self {
            hash: blake3::hash(text.as_bytes()),
            generated: None,
        })
    }

    /// A token of 122 random bits.
    pub fn random() -> Self {
        let text = uuid::Uuid::new_v4().simple().to_string();
        Self {
            hash: blake3::hash(text.as_bytes()),
            generated: Some(text.into()),
        }
    }

    /// The text of a [random](Self::random) token, to tell the user.
    pub fn generated_text(&self) -> Option<&str> {
        self.generated.as_deref()
    }

    /// Whether `text` is the token.
    pub fn is(&self, text: &str) -> bool {
        // Hashes compare in constant time.
        blake3::hash(text.as_bytes()) == self.hash
    }

    /// What a browser that has shown the token presents from then on; it does not give the token
    /// away, and outlives the server.
    pub(crate) fn session(&self) -> String {
        blake3::Hash::from_bytes(blake3::derive_key(SESSION, self.hash.as_bytes()))
            .to_hex()
            .to_string()
    }

    fn is_session(&self, text: &str) -> bool {
        let presented = blake3::hash(text.as_bytes());
        presented == blake3::hash(self.session().as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The address that a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client(pub IpAddr);

impl Client {
    /// What counts as one client: an address, of IPv6 a network of 64 bits, which is what one
    /// customer is given.
    pub fn counted(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address => address,
        }
    }
}

/// Networks whose addresses are proxies: one address, or `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// Leading bits that all addresses of the network share.
    bits: u32,
}

impl Network {
    fn has(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= self.bits
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().ok().map(|a| a.to_canonical());
        let network = address.and_then(|address| {
            let all = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(all), |bits| bits.parse().ok())?;
            (bits <= all).then_some(Self { address, bits })
        });
        network.ok_or_else(|| "expected an address, or a network as in 10.0.0.0/8".to_owned())
    }
}

/// Where a proxy says for whom it asks.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client that a request comes from: `peer`, or, if that is a proxy, whom it asks for. Each
/// proxy adds the address that it was asked from at the end, and whatever stands before what the
/// first trusted one added may be made up.
pub(crate) fn client_of(peer: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> Client {
    let is_proxy =
        |ip: IpAddr| ip.to_canonical().is_loopback() || proxies.iter().any(|one| one.has(ip));
    let mut client = peer;
    let values: Vec<&str> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    for said in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        let said = said.trim();
        let with_port = || said.parse::<SocketAddr>().map(|address| address.ip());
        match said.parse::<IpAddr>().or_else(|_| with_port()) {
            Ok(address) if is_proxy(client) => client = address,
            _ => break,
        }
    }
    Client(client)
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Without a connection, as in tests of single handlers, there is one client.
        let found = parts.extensions.get::<Self>().copied();
        Ok(found.unwrap_or(Self(Ipv4Addr::UNSPECIFIED.into())))
    }
}

/// What a request has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Nothing,
    /// The wrong token.
    Wrong,
    Token,
    Session,
}

/// What a request shows of the token.
pub(crate) fn shown(service: &Service, headers: &HeaderMap) -> Shown {
    let token = &service.options.token;
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let bearer = value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token)
        });
        return match bearer.is_some_and(|text| token.is(text.trim())) {
            true => Shown::Token,
            false => Shown::Wrong,
        };
    }
    let cookie = cookie_name(service.port);
    let sessions = headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == cookie);
    for (_, value) in sessions {
        if token.is_session(value) {
            return Shown::Session;
        }
    }
    Shown::Nothing
}

/// Cookies know no ports, and two servers on one machine are to have one each.
pub(crate) fn cookie_name(port: u16) -> String {
    format!("lookalike-session-{port}")
}

/// The header that gives a browser its session, or takes it away.
pub(crate) fn session_cookie(service: &Service, signed_in: bool) -> HeaderValue {
    let name = cookie_name(service.port);
    let secure = match service.options.tls {
        Some(_) => "; Secure",
        None => "",
    };
    let (value, age) = match signed_in {
        true => (service.options.token.session(), 30 * 24 * 60 * 60),
        false => (String::new(), 0),
    };
    let cookie =
        format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::try_from(cookie).expect("hexadecimal digits and ASCII")
}

/// Whether a path is part of the API: the rest is the page, the health checks and the metrics.
fn is_api(path: &str) -> bool {
    path.starts_with("/api/v1/")
}

/// What anybody may ask, whatever else needs the token: the page itself, how to sign in, whether
/// the server lives.
fn is_open(method: &Method, path: &str) -> bool {
    match path {
        "/api/v1/session" | "/api/v1/openapi.json" => true,
        "/metrics" => false,
        path => !is_api(path) && (method == Method::GET || method == Method::HEAD),
    }
}

/// Whether a request changes the gallery, or what is kept in it.
fn is_write(method: &Method, path: &str) -> bool {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    let changing = [
        "/api/v1/images",
        "/api/v1/duplicates",
        "/api/v1/groups",
        "/api/v1/searches",
    ];
    !reads && changing.iter().any(|start| path.starts_with(start))
}

/// Lets a request in, or says why not.
pub(crate) async fn guard(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    use axum::response::IntoResponse as _;
    if shown(&service, request.headers()) == Shown::Wrong {
        // Before any answer: also one that does not need the token would tell whether it was right.
        tokio::time::sleep(AFTER_WRONG_TOKEN).await;
    }
    if let Err(problem) = admit(&service, request.method(), request.uri(), request.headers()) {
        return problem.into_response();
    }
    next.run(request).await
}

fn admit(
    service: &Service,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let path = uri.path();
    if headers.get_all(header::HOST).iter().count() > 1 {
        return Err(Problem::malformed(
            "the request has two Host headers: send one",
        ));
    }
    // Health checks are exempt from the Host check.
    if !matches!(path, "/livez" | "/readyz") {
        check_host(service, uri, headers)?;
    }
    let write = is_write(method, path);
    let closed = service.options.token_for_reads && !is_open(method, path);
    if !write && !closed {
        return Ok(());
    }
    match shown(service, headers) {
        Shown::Token => Ok(()),
        Shown::Session if write => check_origin(service, headers),
        Shown::Session => Ok(()),
        Shown::Wrong => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "this is not the token: look again at what the server printed when it started, or at its token file",
        )),
        Shown::Nothing => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            match write {
                true => {
                    "changing the gallery needs the token: send it as 'Authorization: Bearer TOKEN', or sign in on the page"
                }
                false => {
                    "this server answers only those who have its token: send it as 'Authorization: Bearer TOKEN', or sign in on the page"
                }
            },
        )),
    }
}

/// A page of another site must not write with a session of ours, though the cookie is not sent from
/// there anyway.
fn check_origin(service: &Service, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let origin = origin.to_str().ok();
    let is_tls = service.options.tls.is_some();
    let own = origin.zip(host);
    match own.is_some_and(|(origin, host)| is_own_origin(origin, host, is_tls)) {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "a page of another site may not change the gallery with this browser's session: send the token instead",
        )),
    }
}

/// Whether pages of an origin are those of the server that was asked as `host`: the same scheme,
/// name and port. A server without TLS is asked by https only through a proxy, under another name
/// than those of this machine.
fn is_own_origin(origin: &str, host: &str, is_tls: bool) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let default_port = match scheme {
        "https" if is_tls || !is_own_name(without_port(host)) => ":443",
        "http" if !is_tls => ":80",
        _ => return false,
    };
    let plain = |authority: &str| {
        let authority = authority.strip_suffix(default_port).unwrap_or(authority);
        authority.to_ascii_lowercase()
    };
    plain(authority) == plain(host)
}

fn check_host(service: &Service, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let options = &service.options;
    if options.hosts.is_empty() && !options.listen.ip().is_loopback() {
        return Ok(());
    }
    let host = uri
        .authority()
        .map(|authority| authority.as_str())
        .or_else(|| headers.get(header::HOST)?.to_str().ok());
    let name = host.map(without_port).unwrap_or_default();
    let named = options
        .hosts
        .iter()
        .any(|own| own.eq_ignore_ascii_case(name));
    if named || (options.listen.ip().is_loopback() && is_own_name(name)) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        format!(
            "this server does not answer to that host name: ask for it by its own, or allow this one with {}",
            options.names.hosts
        ),
    ))
}

/// Names that lead nowhere but to this machine.
fn is_own_name(name: &str) -> bool {
    let bracketed = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let address = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().map(IpAddr::from),
        None => name.parse::<Ipv4Addr>().map(IpAddr::from),
    };
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_text_alone() {
        let token = Token::new("correct-horse-battery").unwrap();
        assert!(token.is("correct-horse-battery"));
        assert!(!token.is("correct-horse-batterz"));
        assert!(!token.is(""));
        assert!(token.is_session(&token.session()));
        assert!(!token.is_session("correct-horse-battery"));
        assert!(!token.is(&token.session()), "a session is not the token");
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn weak_tokens_are_refused() {
        assert!(Token::new("short").unwrap_err().contains("at least"));
        assert!(Token::new("").is_err());
        assert!(Token::new("with spaces in it").is_err());
        assert!(Token::new("nicht-größer-als").is_err());
        let (a, b) = (Token::random(), Token::random());
        assert_ne!(a.generated_text(), b.generated_text());
        assert!(a.is(a.generated_text().unwrap()));
    }

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for own in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_own_name(own), "{own}");
        }
        for other in [
            "",
            "example.org",
            "localhost.example.org",
            "10.0.0.1",
            "127.0.0.1.example.org",
            "[[[127.0.0.1]]]",
            "[127.0.0.1]",
            "::1",
            "[::1",
        ] {
            assert!(!is_own_name(other), "{other}");
        }
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("localhost:8787"), "localhost");
        assert_eq!(without_port("localhost"), "localhost");
    }

    #[test]
    fn an_origin_is_own_by_scheme_name_and_port() {
        for (origin, host, is_tls) in [
            ("http://localhost:8787", "localhost:8787", false),
            ("http://localhost", "localhost:80", false),
            ("https://localhost:8787", "LOCALHOST:8787", true),
            ("https://photos.example", "photos.example", true),
            // Through a proxy that speaks TLS for it.
            ("https://photos.example", "photos.example", false),
            ("https://photos.example:443", "photos.example", false),
        ] {
            assert!(is_own_origin(origin, host, is_tls), "{origin} at {host}");
        }
        for (origin, host, is_tls) in [
            ("https://localhost:8787", "localhost:8787", false),
            ("http://photos.example", "photos.example", true),
            ("http://localhost:8788", "localhost:8787", false),
            ("http://localhost", "localhost:8787", false),
            ("http://localhost:443", "localhost", false),
            ("http://other.example", "photos.example", false),
            ("null", "photos.example", false),
            ("ftp://photos.example", "photos.example", false),
        ] {
            assert!(!is_own_origin(origin, host, is_tls), "{origin} at {host}");
        }
    }

    #[test]
    fn only_proxies_say_for_whom_they_ask() {
        let proxies: Vec<Network> = ["10.1.0.0/16", "2001:db8::7"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        for (peer, said, client) in [
            ("127.0.0.1", &[][..], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.5"], "203.0.113.5"),
            ("::1", &["203.0.113.5:4711"], "203.0.113.5"),
            ("::ffff:127.0.0.1", &["[2001:db8::9]:80"], "2001:db8::9"),
            // Made up by the client, before what the proxy added.
            ("127.0.0.1", &["198.51.100.1, 203.0.113.5"], "203.0.113.5"),
            ("127.0.0.1", &["198.51.100.1", "203.0.113.5"], "203.0.113.5"),
            // Through two proxies.
            ("127.0.0.1", &["203.0.113.5, 10.1.200.3"], "203.0.113.5"),
            ("2001:db8::7", &["203.0.113.5"], "203.0.113.5"),
            ("2001:db8::8", &["203.0.113.5"], "2001:db8::8"),
            ("10.2.0.1", &["203.0.113.5"], "10.2.0.1"),
            // What cannot be read as an address is ignored.
            ("127.0.0.1", &["203.0.113.5, unknown"], "127.0.0.1"),
            ("127.0.0.1", &[""], "127.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
            }
            let found = client_of(peer.parse().unwrap(), &headers, &proxies);
            assert_eq!(found.0.to_string(), client, "{peer} {said:?}");
        }
    }

    #[test]
    fn networks_are_read_and_have_addresses() {
        let has = |network: &str, address: &str| {
            let network: Network = network.parse().unwrap();
            network.has(address.parse().unwrap())
        };
        assert!(has("0.0.0.0/0", "1.2.3.4") && !has("0.0.0.0/0", "::2"));
        assert!(has("fd00::/8", "fdab::1") && !has("fd00::/8", "fe00::1"));
        assert!(has("10.0.0.1", "10.0.0.1") && !has("10.0.0.1", "10.0.0.2"));
        for wrong in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "proxy",
            "10.0.0.0/-1",
            "::/129",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn writes_and_reads_are_told_apart() {
        assert!(is_write(&Method::POST, "/api/v1/images"));
        assert!(is_write(&Method::POST, "/api/v1/images/delete"));
        assert!(is_write(&Method::DELETE, "/api/v1/images/x"));
        assert!(is_write(&Method::PUT, "/api/v1/duplicates/decisions"));
        assert!(is_write(&Method::POST, "/api/v1/searches/x/name"));
        assert!(!is_write(&Method::GET, "/api/v1/searches"));
        assert!(!is_write(&Method::GET, "/api/v1/duplicates"));
        assert!(is_write(&Method::PUT, "/api/v1/groups/kept"));
        assert!(!is_write(&Method::GET, "/api/v1/groups"));
        assert!(!is_write(&Method::GET, "/api/v1/images"));
        assert!(!is_write(&Method::POST, "/api/v1/search"));
        assert!(is_open(&Method::GET, "/"));
        assert!(is_open(&Method::GET, "/assets/app.js"));
        assert!(!is_open(&Method::GET, "/api/v1/images"));
        assert!(!is_open(&Method::GET, "/metrics"));
    }
}

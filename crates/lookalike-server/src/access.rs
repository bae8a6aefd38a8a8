//! Who may ask, and for what: tokens, sessions, host names, foreign pages.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::problem::Problem;
use crate::service::Service;

/// A secret that gives access. Only its hash is kept, and comparing takes the same time whatever differs.
#[derive(Clone)]
pub struct Token {
    hash: blake3::Hash,
    /// Text, where it was made for this run and has to be told.
    told: Option<Arc<str>>,
}

/// The shortest token that is accepted.
pub const SHORTEST_TOKEN: usize = 12;
/// What a session's cookie is derived for; another purpose would give another value.
const SESSION: &str = "lookalike 2026-11 session cookie";

impl Token {
    /// A token that somebody chose.
    ///
    /// # Errors
    ///
    /// When it is shorter than [`SHORTEST_TOKEN`] characters, or holds others than visible ASCII.
    pub fn new(text: &str) -> Result<Self, String> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "a token consists of letters, digits and signs of ASCII, without spaces".to_owned(),
            );
        }
        if text.len() < SHORTEST_TOKEN {
            return Err(format!(
                "the token is too short to be safe: give at least {SHORTEST_TOKEN} characters"
            ));
        }
        Ok(Self {
            hash: blake3::hash(text.as_bytes()),
            told: None,
        })
    }

    /// A token of 122 random bits.
    pub fn random() -> Self {
        let text = uuid::Uuid::new_v4().simple().to_string();
        Self {
            hash: blake3::hash(text.as_bytes()),
            told: Some(text.into()),
        }
    }

    /// The text of a [random](Self::random) token, to tell the user.
    pub fn told(&self) -> Option<&str> {
        self.told.as_deref()
    }

    /// Whether `text` is the token.
    pub fn is(&self, text: &str) -> bool {
        // Hashes compare in constant time.
        blake3::hash(text.as_bytes()) == self.hash
    }

    /// What a browser that has shown the token presents from then on; it does not give the token away, and
    /// outlives the server.
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

/// What anybody may ask, whatever else needs the token: the page itself, how to sign in, whether the server lives.
fn is_open(method: &Method, path: &str) -> bool {
    match path {
        "/api/v1/session" | "/api/v1/openapi.json" => true,
        "/metrics" => false,
        path => !is_api(path) && (method == Method::GET || method == Method::HEAD),
    }
}

/// Whether a request changes the gallery.
fn is_write(method: &Method, path: &str) -> bool {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    !reads && path.starts_with("/api/v1/images")
}

/// Lets a request in, or says why not.
pub(crate) async fn guard(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    use axum::response::IntoResponse as _;
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
    // Whoever asks after its life may not know its name.
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
        Shown::Session if write => check_origin(headers),
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

/// A page of another site must not write with a session of ours, though the cookie is not sent from there anyway.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let own = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"));
    match own {
        Some((_, own)) if Some(own) == host => Ok(()),
        _ => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "a page of another site may not change the gallery with this browser's session: send the token instead",
        )),
    }
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
    if named || is_own_name(name) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "this server does not answer to that host name: ask for it by its own, or start it with --host NAME",
    ))
}

/// Names that lead nowhere but to this machine.
fn is_own_name(name: &str) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
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
        assert_ne!(a.told(), b.told());
        assert!(a.is(a.told().unwrap()));
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
        ] {
            assert!(!is_own_name(other), "{other}");
        }
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("localhost:8787"), "localhost");
        assert_eq!(without_port("localhost"), "localhost");
    }

    #[test]
    fn writes_and_reads_are_told_apart() {
        assert!(is_write(&Method::POST, "/api/v1/images"));
        assert!(is_write(&Method::POST, "/api/v1/images/delete"));
        assert!(is_write(&Method::DELETE, "/api/v1/images/x"));
        assert!(!is_write(&Method::GET, "/api/v1/images"));
        assert!(!is_write(&Method::POST, "/api/v1/search"));
        assert!(is_open(&Method::GET, "/"));
        assert!(is_open(&Method::GET, "/assets/app.js"));
        assert!(!is_open(&Method::GET, "/api/v1/images"));
        assert!(!is_open(&Method::GET, "/metrics"));
    }
}

//! Signing in, for browsers.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};

use super::{Answered, RefusedBody, Shared};
use crate::access::{AFTER_WRONG_TOKEN, session_cookie};
use crate::body;
use crate::problem::Problem;
use crate::types::SignIn;

type Cookie = (StatusCode, [(HeaderName, HeaderValue); 1]);

/// Signs a browser in: it gets a cookie that does what the token does.
#[utoipa::path(
    post, path = "/session", tag = "session", request_body = SignIn,
    responses((status = 204, description = "Signed in"), RefusedBody)
)]
pub(super) async fn sign_in(State(service): Shared, request: Request) -> Answered<Cookie> {
    let takes = "an object with one field, 'token', which is text";
    let SignIn { token } = body::read_secret(request, service.limits(), takes).await?;
    if !service.options.token.is(&token) {
        tokio::time::sleep(AFTER_WRONG_TOKEN).await;
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "this is not the token: look again at what the server printed when it started, or at its token file",
        ));
    }
    Ok(cookie(session_cookie(&service, true)))
}

/// Signs a browser out.
#[utoipa::path(
    delete, path = "/session", tag = "session",
    responses((status = 204, description = "Signed out"), RefusedBody)
)]
pub(super) async fn sign_out(State(service): Shared) -> Answered<Cookie> {
    Ok(cookie(session_cookie(&service, false)))
}

fn cookie(value: HeaderValue) -> Cookie {
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, value)])
}

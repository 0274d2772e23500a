//! Who asks: a program with a token, or somebody with a session, whose cookie the browser sends by itself and which
//! therefore counts only where the request comes from the service's own pages.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, Method, header, request::Parts},
};
use secrecy::SecretString;

use super::{
    Api,
    problem::{Kind, Problem},
};
use crate::store::{Scope, User};

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) user: User,
    pub(crate) scope: Scope,
    /// The session, if it is one.
    pub(crate) session: Option<SecretString>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let found = parts.extensions.get::<Self>().cloned();
        found.ok_or_else(|| Problem::new(Kind::Unauthenticated, "Nobody is signed in"))
    }
}

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The name of the cookie. With the prefix, browsers take it from nobody but this host, by TLS.
pub(super) const fn cookie_name(is_secure: bool) -> &'static str {
    if is_secure { "__Host-backstitch" } else { "backstitch" }
}

/// Finds out who asks.
pub(super) async fn authenticate(
    api: &Api,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Caller, Problem> {
    let now = api.now();
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(bearer);
        let unknown = || Problem::new(Kind::Unauthenticated, "The token is not valid (any more)");
        let token = SecretString::from(token.ok_or_else(unknown)?);
        let (user, scope) = api.store.authenticate(&token, now).await?.ok_or_else(unknown)?;
        return Ok(Caller { user, scope, session: None });
    }
    let nobody =
        || Problem::new(Kind::Unauthenticated, "Nobody is signed in, or the session has ended");
    let session = cookie(headers, cookie_name(api.options.is_secure)).ok_or_else(nobody)?;
    let session = SecretString::from(session);
    let user = api.store.session(&session, api.options.sessions, now).await?.ok_or_else(nobody)?;
    if !method.is_safe() && origin(headers) != Origin::Same {
        let detail = "A session counts only in requests from the service's own pages";
        return Err(Problem::new(Kind::CrossSite, detail));
    }
    Ok(Caller { user, scope: Scope::Write, session: Some(session) })
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A cookie of the request.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// Where a request comes from, as the browser says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// From a page of the service.
    Same,
    /// From elsewhere.
    Other,
    /// It doesn't say: no browser of these years.
    Unsaid,
}

/// Where a request comes from. A page can't set either header, and browsers send at least one with what may change
/// something.
pub(super) fn origin(headers: &HeaderMap) -> Origin {
    if let Some(site) = headers.get(FETCH_SITE) {
        return if site == "same-origin" { Origin::Same } else { Origin::Other };
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Origin::Unsaid };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    match (authority, host) {
        (Some((_, authority)), Some(host)) if authority.eq_ignore_ascii_case(host) => Origin::Same,
        _ => Origin::Other,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let parsed = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        pairs.iter().map(parsed).collect()
    }

    #[test]
    fn a_request_says_where_it_comes_from() {
        let host = ("host", "here.example:8080");
        for (pairs, expected) in [
            (vec![host], Origin::Unsaid),
            (vec![host, ("sec-fetch-site", "same-origin")], Origin::Same),
            (vec![host, ("sec-fetch-site", "same-site")], Origin::Other),
            (
                vec![
                    host,
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "http://here.example:8080"),
                ],
                Origin::Other,
            ),
            (vec![host, ("sec-fetch-site", "none")], Origin::Other),
            (vec![host, ("origin", "http://here.example:8080")], Origin::Same),
            (vec![host, ("origin", "http://HERE.example:8080")], Origin::Same),
            (vec![host, ("origin", "http://here.example")], Origin::Other),
            (vec![host, ("origin", "http://evil.example")], Origin::Other),
            (vec![host, ("origin", "null")], Origin::Other),
            (vec![("origin", "http://here.example")], Origin::Other),
        ] {
            assert_eq!(origin(&headers(&pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let found = headers(&[("cookie", "a=1; backstitch=x=y; b")]);
        assert_eq!(cookie(&found, "backstitch"), Some("x=y"));
        assert_eq!(cookie(&found, "__Host-backstitch"), None);
        assert_eq!(bearer("bearer  t"), Some("t"));
        assert_eq!((bearer("Basic t"), bearer("t")), (None, None));
    }
}

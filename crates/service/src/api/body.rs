//! Bodies, parameters and parts of the path, read strictly: what isn't known is refused, and told where it stands.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    problem::{Fault, Kind, Problem},
    schema::{Misfit, did_you_mean, form, nearest},
};

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + ToSchema> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(Kind::UnsupportedMedia, "The body is not said to be JSON"));
        }
        let bytes =
            Bytes::from_request(request, state).await.map_err(|rejection| unread(&rejection))?;
        let document: Value = serde_json::from_slice(&bytes).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            Problem::new(Kind::Malformed, format!("The body is no JSON ({place})"))
        })?;
        if !document.is_object() {
            return Err(Problem::new(Kind::Malformed, "The body must be a JSON object"));
        }
        if let Some(misfit) = form::<T>().misfit(&document) {
            return Err(Problem::invalid(vec![fault(misfit)]));
        }
        serde_path_to_error::deserialize(document).map(Self).map_err(|error| {
            let pointer = pointer(error.path());
            // The message may quote the value, which may be a secret: only its place and kind are told.
            let detail = if error.inner().to_string().starts_with("missing field") {
                error.inner().to_string()
            } else {
                format!("`{pointer}` has a wrong type or form")
            };
            let remedy = "Look at the reference under /api/reference for its type";
            Problem::invalid(vec![Fault::new(pointer, detail, remedy)])
        })
    }
}

fn fault(misfit: Misfit) -> Fault {
    match misfit {
        Misfit::UnknownKey { pointer, key, nearest } => {
            let detail = format!("`{key}` is not known here");
            Fault::new(pointer, detail, did_you_mean(nearest.as_deref()))
        }
        Misfit::NoFields { pointer } => {
            let detail = format!("`{pointer}` must be an object");
            Fault::new(pointer, detail, "Look at the reference under /api/reference for its fields")
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

fn unread(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(Kind::TooLarge, "The body is larger than is taken");
    }
    Problem::new(Kind::Malformed, "The body could not be read to its end")
}

/// A place in a document as a JSON pointer.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let segment = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { variant } => format!("/{variant}"),
        Segment::Unknown => String::new(),
    };
    path.iter().map(segment).collect()
}

/// The parameters after the path.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + ToSchema> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        use axum::extract::Query as Read;
        let malformed = |_| Problem::new(Kind::Malformed, "The parameters can't be read");
        let Read(pairs) = Read::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(malformed)?;
        let form = form::<T>();
        let known = form.fields().unwrap_or_default();
        for (position, (name, _)) in pairs.iter().enumerate() {
            let pointer = format!("?{name}");
            if !known.contains(&name.as_str()) {
                let remedy = did_you_mean(nearest(name, known.iter().copied()));
                let detail = format!("The parameter `{name}` is not known here");
                return Err(Problem::invalid(vec![Fault::new(pointer, detail, remedy)]));
            }
            if pairs[..position].iter().any(|(earlier, _)| earlier == name) {
                let detail = format!("The parameter `{name}` is there twice");
                return Err(Problem::invalid(vec![Fault::new(pointer, detail, "Give it once")]));
            }
        }
        Read::<T>::from_request_parts(parts, state).await.map(|Read(value)| Self(value)).map_err(
            |error| {
                let text = error.body_text();
                let named = known.iter().find(|name| text.contains(&format!("{name}:")));
                let pointer = format!("?{}", named.copied().unwrap_or_default());
                let detail = "The parameter has a wrong type or form";
                let remedy = "Look at the reference under /api/reference for its type";
                Problem::invalid(vec![Fault::new(pointer, detail, remedy)])
            },
        )
    }
}

/// The parts of the path that vary.
pub(crate) struct Place<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Place<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(_) => Err(Problem::new(Kind::NotFound, "The address can't be read")),
        }
    }
}

/// Reads a field that may be missing, null, or there: `None`, `Some(None)`, `Some(Some(…))`.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

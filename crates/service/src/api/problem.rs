//! What goes wrong with a request, as problem details (RFC 9457): a kind that programs know by its `type`, a sentence for
//! people, what to do about it, and where in the request the fault is.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{host::SettingError, store::StoreError};

/// Makes the closed set of kinds.
macro_rules! kinds {
    ($($(#[$documentation:meta])* $kind:ident = $status:ident, $slug:literal, $title:literal, $remedy:literal;)+) => {
        /// What kind of problem it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($(#[$documentation])* $kind,)+
        }

        impl Kind {
            pub(crate) const ALL: &[Self] = &[$(Self::$kind),+];

            pub(crate) const fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status,)+ }
            }

            /// The end of its `type`, which never changes.
            pub(crate) const fn slug(self) -> &'static str {
                match self { $(Self::$kind => $slug,)+ }
            }

            pub(crate) const fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)+ }
            }

            /// What to do about it, where nothing better is known.
            pub(crate) const fn remedy(self) -> &'static str {
                match self { $(Self::$kind => $remedy,)+ }
            }
        }
    };
}

kinds! {
    /// The request can't be read.
    Malformed = BAD_REQUEST, "malformed", "The request can't be read", "Send what the reference under /api/reference describes";
    /// Fields can't be taken.
    Invalid = UNPROCESSABLE_ENTITY, "invalid", "Some fields can't be taken", "Correct the fields that are listed in `errors`";
    /// Nobody knows who asks.
    Unauthenticated = UNAUTHORIZED, "unauthenticated", "Nobody is signed in", "Sign in, or send a token in the header `Authorization: Bearer …`";
    /// The caller may not.
    Forbidden = FORBIDDEN, "forbidden", "The caller may not do this", "Ask an administrator for the role, or use a token with the scope `write`";
    /// A cookie was sent from elsewhere.
    CrossSite = FORBIDDEN, "cross-site", "The request comes from another site", "Use the service's own pages, or a token";
    /// There is no such thing.
    NotFound = NOT_FOUND, "not-found", "There is no such thing", "Look at the list for those that there are";
    /// The thing can't do that.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here", "Use one of the methods in the header `Allow`";
    /// A name is taken.
    Taken = CONFLICT, "taken", "The name is taken", "Choose another name";
    /// A run is alive.
    AlreadyRunning = CONFLICT, "already-running", "A run is alive", "Wait for it, or stop it first";
    /// It is declared in a file.
    ReadOnly = CONFLICT, "read-only", "It is declared in a file", "Edit the file on the host, and start the service again";
    /// What was confirmed is not what would be done.
    NotConfirmed = CONFLICT, "not-confirmed", "What was confirmed is not what would be done", "Ask for the consequences again, and confirm those";
    /// Nobody would administer any more.
    LastAdministrator = CONFLICT, "last-administrator", "Nobody would be an administrator any more", "Make another user an administrator first";
    /// The key is being used.
    KeyPending = CONFLICT, "idempotency-key-pending", "The request of this key has no answer yet", "Look whether it was done; then send it with another key";
    /// The answer is not kept.
    KeyUsed = CONFLICT, "idempotency-key-used", "The request of this key was answered, and the answer is secret", "Make another with another key, and delete the one whose text was lost";
    /// The key is another request's.
    KeyReused = UNPROCESSABLE_ENTITY, "idempotency-key-reused", "The key was used for another request", "Make a new key for every new request";
    /// It has changed.
    Changed = PRECONDITION_FAILED, "changed", "It has been changed in the meantime", "Read it again and repeat the change";
    /// Which version is meant has to be said.
    VersionRequired = PRECONDITION_REQUIRED, "version-required", "The version that is to be changed is missing", "Send the `ETag` of what you have read in the header `If-Match`";
    /// The body is too large.
    TooLarge = PAYLOAD_TOO_LARGE, "too-large", "The request is too large", "Send less at once";
    /// The body is no JSON.
    UnsupportedMedia = UNSUPPORTED_MEDIA_TYPE, "unsupported-media", "The body must be JSON", "Send the header `Content-Type: application/json`";
    /// Too much is asked.
    TooMany = TOO_MANY_REQUESTS, "too-many", "Too much is asked at once", "Wait as long as the header `Retry-After` says";
    /// A defect.
    Unexpected = INTERNAL_SERVER_ERROR, "unexpected", "Something went wrong that should not", "This is a defect of Backstitch: report it with the log of the service";
    /// The store is away, or something takes too long.
    Unavailable = SERVICE_UNAVAILABLE, "unavailable", "The service can't answer at the moment", "Try again a little later";
}

impl Kind {
    /// Its `type`.
    pub(crate) fn urn(self) -> String {
        format!("urn:backstitch:problem:{}", self.slug())
    }
}

/// A fault at a place of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Where, as a JSON pointer into the body, or `?NAME` for a parameter.
    pub pointer: String,
    /// What is wrong.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
}

/// What is answered when something goes wrong: problem details (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemView {
    /// The kind, as a URN that never changes.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind, for people.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What happened.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
    /// Where in the request the faults are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

impl Fault {
    pub(crate) fn new(
        pointer: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { pointer: pointer.into(), detail: detail.into(), remedy: remedy.into() }
    }
}

impl From<SettingError> for Fault {
    fn from(error: SettingError) -> Self {
        Self { pointer: error.pointer, detail: error.message, remedy: error.remedy }
    }
}

/// A problem.
#[derive(Debug)]
pub(crate) struct Problem(Box<Details>);

#[derive(Debug)]
struct Details {
    kind: Kind,
    detail: String,
    remedy: Option<String>,
    faults: Vec<Fault>,
    more: Map<String, Value>,
    retry_after_seconds: Option<u64>,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            detail: detail.into(),
            remedy: None,
            faults: Vec::new(),
            more: Map::new(),
            retry_after_seconds: None,
        }))
    }

    /// Fields that can't be taken.
    pub(crate) fn invalid(faults: Vec<Fault>) -> Self {
        let detail = match faults.as_slice() {
            [fault] => fault.detail.clone(),
            _ => format!("{} fields can't be taken", faults.len()),
        };
        let mut problem = Self::new(Kind::Invalid, detail);
        if let [fault] = faults.as_slice() {
            problem = problem.remedy(fault.remedy.clone());
        }
        problem.0.faults = faults;
        problem
    }

    /// Says what to do about it.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Adds what programs may want to know.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(name.to_owned(), value.into());
        self
    }

    /// Says when to try again.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::NotFound { .. } => Kind::NotFound,
            StoreError::Taken { .. } => Kind::Taken,
            StoreError::Changed { .. } => Kind::Changed,
            StoreError::AlreadyRunning { .. } => Kind::AlreadyRunning,
            StoreError::LastAdministrator { .. } => Kind::LastAdministrator,
            StoreError::Idle { .. } => {
                let fault = Fault::new("/schedule", error.to_string(), error.remedy());
                return Self::invalid(vec![fault]);
            }
            StoreError::Unavailable { .. } => Kind::Unavailable,
            StoreError::Refused { .. } | StoreError::Newer { .. } | StoreError::Corrupt { .. } => {
                Kind::Unexpected
            }
        };
        if matches!(kind, Kind::Unavailable | Kind::Unexpected) {
            let (remedy, error) = (error.remedy(), &error as &dyn std::error::Error);
            tracing::error!(error, remedy, "A request could not use the control store");
            // What it says of the store's place is for the log.
            return Self::new(kind, "The control store can't be used");
        }
        let problem = Self::new(kind, error.to_string()).remedy(error.remedy());
        match error {
            StoreError::AlreadyRunning { run_id } => problem.with("run_id", run_id),
            _ => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Details { kind, detail, remedy, faults, more, retry_after_seconds } = *self.0;
        let view = ProblemView {
            kind: kind.urn(),
            title: kind.title().to_owned(),
            status: kind.status().as_u16(),
            detail,
            remedy: remedy.unwrap_or_else(|| kind.remedy().to_owned()),
            errors: faults,
        };
        let mut body = json!(view);
        if let Some(fields) = body.as_object_mut() {
            fields.extend(more);
        }
        let mut response = (kind.status(), body.to_string()).into_response();
        let headers = response.headers_mut();
        let kind_of_content = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind_of_content);
        if let Some(seconds) = retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if kind == Kind::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

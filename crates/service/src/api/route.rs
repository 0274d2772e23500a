//! One line of the table of routes: who may use it, what it takes and answers, and what does it.

use std::time::Duration;

use axum::{
    handler::Handler,
    http::StatusCode,
    routing::{MethodFilter, MethodRouter},
};
use utoipa::ToSchema;

use super::{
    Shared,
    access::Access,
    schema::{Form, form},
};

/// The methods that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// What an idempotency key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replay {
    /// Nothing: the request changes nothing, or nobody is known who sends it.
    Never,
    /// The answer is kept and given again.
    Answer,
    /// The answer holds a secret, so it isn't kept; a second request is refused.
    Refuse,
}

/// What is checked before a route's handler.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    /// How long it may take, if not as long as others.
    pub(crate) deadline: Option<Duration>,
    pub(crate) replay: Replay,
}

/// What a body is.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// JSON of a form.
    Json(Form),
    /// A page of a list of it.
    Page(Form),
    /// Something else, by its media type.
    Other(&'static str),
    /// Nothing.
    Nothing,
}

/// A route.
pub(crate) struct Route {
    pub(crate) facts: Facts,
    pub(crate) group: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) query: Option<Form>,
    pub(crate) body: Option<Form>,
    pub(crate) status: StatusCode,
    pub(crate) answer: Content,
    pub(crate) needs_version: bool,
    pub(crate) handler: MethodRouter<Shared>,
}

impl Route {
    /// A route, which answers with nothing unless more is said.
    pub(crate) fn new<T: 'static>(
        method: Method,
        path: &'static str,
        access: Access,
        handler: impl Handler<T, Shared>,
    ) -> Self {
        let replay = if method == Method::Post && access != Access::Public {
            Replay::Answer
        } else {
            Replay::Never
        };
        Self {
            facts: Facts { method, path, access, deadline: None, replay },
            group: "",
            summary: "",
            query: None,
            body: None,
            status: StatusCode::NO_CONTENT,
            answer: Content::Nothing,
            needs_version: false,
            handler: MethodRouter::new().on(method.filter(), handler),
        }
    }

    /// What it does, for people.
    pub(crate) fn does(mut self, group: &'static str, summary: &'static str) -> Self {
        (self.group, self.summary) = (group, summary);
        self
    }

    /// The parameters that it takes.
    pub(crate) fn query<T: ToSchema>(mut self) -> Self {
        self.query = Some(form::<T>());
        self
    }

    /// The body that it takes.
    pub(crate) fn body<T: ToSchema>(mut self) -> Self {
        self.body = Some(form::<T>());
        self
    }

    /// The body that it answers with.
    pub(crate) fn answers<T: ToSchema>(self) -> Self {
        self.answers_as(StatusCode::OK, Content::Json(form::<T>()))
    }

    /// The body that it answers with when it has made something.
    pub(crate) fn makes<T: ToSchema>(self) -> Self {
        self.answers_as(StatusCode::CREATED, Content::Json(form::<T>()))
    }

    /// What its pages are of.
    pub(crate) fn lists<T: ToSchema>(self) -> Self {
        self.answers_as(StatusCode::OK, Content::Page(form::<T>()))
    }

    /// The media type that it answers with.
    pub(crate) fn sends(self, media_type: &'static str) -> Self {
        self.answers_as(StatusCode::OK, Content::Other(media_type))
    }

    fn answers_as(mut self, status: StatusCode, answer: Content) -> Self {
        (self.status, self.answer) = (status, answer);
        self
    }

    /// Has it take longer than others.
    pub(crate) fn within(mut self, deadline: Duration) -> Self {
        self.facts.deadline = Some(deadline);
        self
    }

    /// What an idempotency key does.
    pub(crate) fn replay(mut self, replay: Replay) -> Self {
        self.facts.replay = replay;
        self
    }

    /// Has it need the version that is meant.
    pub(crate) fn versioned(mut self) -> Self {
        self.needs_version = true;
        self
    }
}

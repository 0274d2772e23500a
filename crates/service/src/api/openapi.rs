//! The OpenAPI document, made from the table of routes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde_json::{Map, Value, json};

use super::{
    access::Access,
    problem::Kind,
    route::{Content, Method, Replay, Route},
    routes::routes,
    schema::{Form, reference},
};

/// The document as text. It depends on nothing but the program.
#[must_use]
pub fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", described(&routes())));
    &DOCUMENT
}

fn described(routes: &[Route]) -> Value {
    let mut components =
        BTreeMap::from([("Problem".to_owned(), problem()), ("Fault".to_owned(), fault())]);
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes {
        let answer = match &route.answer {
            Content::Json(form) | Content::Page(form) => Some(form),
            Content::Other(_) | Content::Nothing => None,
        };
        for form in [answer, route.body.as_ref()].into_iter().flatten() {
            components.extend(form.components.clone());
        }
        let method = route.facts.method.name().to_lowercase();
        paths.entry(route.facts.path).or_default().insert(method, operation(route));
    }
    let tokens = json!({
        "type": "http",
        "scheme": "bearer",
        "description": "A token of `/api/v1/tokens`; its scope is `read` or `write`",
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Backstitch",
            "version": "1",
            "description": "Everything that may be done with the service. Programs send a token; \
                people sign in, and their cookie counts only in requests from the service's own pages. \
                Errors are problem details (RFC 9457), whose `type` never changes. A key in the header \
                `Idempotency-Key` has a request done once, however often it is sent.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": failure_components(),
            "securitySchemes": { "token": tokens },
        },
    })
}

fn operation(route: &Route) -> Value {
    let facts = &route.facts;
    let mut operation = json!({
        "operationId": operation_id(facts.method, facts.path),
        "tags": [route.group],
        "summary": route.summary,
        "description": format!("For {}.", facts.access.words()),
        "parameters": parameters(route),
        "responses": responses(route),
        "security": if facts.access == Access::Public { json!([]) } else { json!([{ "token": [] }]) },
    });
    if let (Some(form), Some(fields)) = (&route.body, operation.as_object_mut()) {
        let content = json!({ "application/json": { "schema": reference(&form.name) } });
        fields.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
    }
    operation
}

/// A name for programs that are made from the document: `get_integrations_runs`.
fn operation_id(method: Method, path: &str) -> String {
    let path = path.trim_start_matches("/api/v1").trim_start_matches('/');
    let words = path.split(['/', '.', '-']).map(|word| word.trim_matches(['{', '}']));
    std::iter::once(method.name().to_lowercase().as_str())
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}

fn parameters(route: &Route) -> Vec<Value> {
    let names =
        route.facts.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    parameters.extend(route.query.iter().flat_map(query_parameters));
    if route.facts.replay != Replay::Never {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": false,
            "description": "Has it done once, however often it is sent",
            "schema": { "type": "string", "minLength": 1, "maxLength": 200 },
        }));
    }
    if route.needs_version {
        parameters.push(json!({
            "name": "If-Match",
            "in": "header",
            "required": true,
            "description": "The `ETag` of what was read",
            "schema": { "type": "string", "minLength": 1 },
        }));
    }
    parameters
}

fn query_parameters(form: &Form) -> Vec<Value> {
    let fields = form.root().get("properties").and_then(Value::as_object);
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        let text = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        // A parameter that isn't given is left out, never null.
        if let Some(kind) = schema.get_mut("type")
            && let Some(first) = kind.as_array().and_then(|kinds| kinds.first()).cloned()
        {
            *kind = first;
        }
        json!({ "name": name, "in": "query", "required": false, "description": text, "schema": schema })
    };
    fields.into_iter().flatten().map(parameter).collect()
}

fn responses(route: &Route) -> Value {
    let schema = |kind: &str, schema: Value| json!({ kind: { "schema": schema } });
    let content = match &route.answer {
        Content::Json(form) => Some(schema("application/json", reference(&form.name))),
        Content::Page(form) => Some(schema("application/json", page(&form.name))),
        Content::Other("application/json") => {
            Some(schema("application/json", json!({ "type": "object" })))
        }
        Content::Other("text/event-stream") => Some(schema("text/event-stream", event())),
        Content::Other(kind) => Some(schema(kind, json!({ "type": "string" }))),
        Content::Nothing => None,
    };
    let mut responses = Map::new();
    let mut done = json!({ "description": "Done" });
    if let (Some(content), Some(fields)) = (content, done.as_object_mut()) {
        fields.insert("content".to_owned(), content);
    }
    responses.insert(route.status.as_str().to_owned(), done);
    for status in failures(route) {
        let reference = json!({ "$ref": format!("#/components/responses/{status}") });
        responses.insert(status, reference);
    }
    Value::Object(responses)
}

/// The statuses that a route may answer with when it fails.
fn failures(route: &Route) -> BTreeSet<String> {
    let facts = &route.facts;
    let varies = facts.path.contains('{');
    let is_public = facts.access == Access::Public;
    let takes = route.body.is_some() || route.query.is_some();
    let may_be = |kind: &&Kind| match kind {
        Kind::Unauthenticated => !is_public || route.body.is_some(),
        Kind::Forbidden => !is_public,
        Kind::CrossSite => facts.method != Method::Get,
        Kind::NotFound => varies,
        Kind::Malformed => takes || facts.replay != Replay::Never,
        Kind::Invalid => takes || varies,
        Kind::UnsupportedMedia => route.body.is_some(),
        Kind::TooLarge => facts.method != Method::Get,
        Kind::Taken
        | Kind::AlreadyRunning
        | Kind::ReadOnly
        | Kind::NotConfirmed
        | Kind::LastAdministrator => facts.method != Method::Get && !is_public,
        Kind::KeyPending | Kind::KeyReused => facts.replay != Replay::Never,
        Kind::KeyUsed => facts.replay == Replay::Refuse,
        Kind::Changed | Kind::VersionRequired => route.needs_version,
        Kind::TooMany => !is_public || route.body.is_some(),
        Kind::MethodNotAllowed => false,
        Kind::Unexpected | Kind::Unavailable => true,
    };
    Kind::ALL.iter().filter(may_be).map(status).collect()
}

fn status(kind: &Kind) -> String {
    kind.status().as_str().to_owned()
}

/// What each status means, by the kinds of problems that it stands for.
fn failure_components() -> BTreeMap<String, Value> {
    let mut titles: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for kind in Kind::ALL {
        titles.entry(status(kind)).or_default().push(kind.title());
    }
    let content = json!({ "application/problem+json": { "schema": reference("Problem") } });
    let response =
        |titles: Vec<&str>| json!({ "description": titles.join("; or: "), "content": content });
    titles.into_iter().map(|(status, titles)| (status, response(titles))).collect()
}

fn page(name: &str) -> Value {
    json!({
        "type": "object",
        "required": ["items", "next"],
        "properties": {
            "items": { "type": "array", "items": reference(name) },
            "next": {
                "type": ["string", "null"],
                "description": "From where the next page goes on, if there is one",
            },
        },
    })
}

/// One event of a stream.
fn event() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "description": "Each event",
        "properties": {
            "id": text("The number of the line"),
            "event": text("`line` or `end`"),
            "data": text("The line or the run, as JSON"),
        },
    })
}

fn problem() -> Value {
    let kinds: Vec<String> = Kind::ALL.iter().map(|kind| kind.urn()).collect();
    json!({
        "type": "object",
        "description": "What went wrong (RFC 9457). Some kinds have further fields",
        "required": ["type", "title", "status", "detail", "remedy"],
        "properties": {
            "type": { "type": "string", "description": "The kind, which never changes", "enum": kinds },
            "title": { "type": "string", "description": "The kind, for people" },
            "status": { "type": "integer", "description": "The status of the answer" },
            "detail": { "type": "string", "description": "What went wrong here" },
            "remedy": { "type": "string", "description": "What to do about it" },
            "errors": {
                "type": "array",
                "description": "Where in the request the faults are",
                "items": reference("Fault"),
            },
            "run_id": { "type": "string", "description": "The run that is alive" },
        },
    })
}

fn fault() -> Value {
    json!({
        "type": "object",
        "required": ["pointer", "detail", "remedy"],
        "properties": {
            "pointer": {
                "type": "string",
                "description": "A JSON pointer into the body, or `?` and the name of a parameter",
            },
            "detail": { "type": "string", "description": "What is wrong" },
            "remedy": { "type": "string", "description": "What to do about it" },
        },
    })
}

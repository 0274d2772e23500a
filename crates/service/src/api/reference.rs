//! The reference as a page: made from the OpenAPI document, of plain HTML, with nothing to run and nothing from elsewhere.

use std::{fmt::Write, sync::LazyLock};

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;

use super::openapi;

const POLICY: &str =
    "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'";

const STYLE: &str = "
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
code, .path { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
nav ul { columns: 18rem; padding-left: 1rem; }
section { border-top: 1px solid #8886; margin-top: 2rem; }
article { margin: 1.5rem 0; }
h3 { margin-bottom: 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8883; }
";

pub(super) async fn style() -> Response {
    let kind = HeaderValue::from_static("text/css; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], STYLE).into_response()
}

pub(super) async fn page() -> Response {
    static PAGE: LazyLock<String> = LazyLock::new(|| {
        let document: Value = serde_json::from_str(openapi::document()).unwrap_or_default();
        rendered(&document)
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    (headers, PAGE.as_str()).into_response()
}

/// An operation and where it is.
struct Operation<'d> {
    path: &'d str,
    method: String,
    value: &'d Value,
}

fn rendered(document: &Value) -> String {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, value) in methods.as_object().into_iter().flatten() {
            operations.push(Operation { path, method: method.to_uppercase(), value });
        }
    }
    let mut groups: Vec<&str> = Vec::new();
    for operation in &operations {
        let group = text(&operation.value["tags"][0]);
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups.sort_unstable();
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Backstitch: reference of the API</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><link rel=\"stylesheet\" href=\"/api/reference.css\">\
         <body><h1>Backstitch: reference of the API</h1>",
    );
    put(&mut page, format_args!("<p>{}</p>", escaped(text(&document["info"]["description"]))));
    page.push_str(
        "<p>The same for programs: <a href=\"/api/v1/openapi.json\">OpenAPI</a></p><nav><ul>",
    );
    for group in &groups {
        put(
            &mut page,
            format_args!("<li><a href=\"#{}\">{}</a></li>", anchor(group), escaped(group)),
        );
    }
    page.push_str("<li><a href=\"#forms\">Forms</a></li></ul></nav><main>");
    for group in groups {
        put(
            &mut page,
            format_args!("<section id=\"{}\"><h2>{}</h2>", anchor(group), escaped(group)),
        );
        for operation in
            operations.iter().filter(|operation| text(&operation.value["tags"][0]) == group)
        {
            render_operation(&mut page, operation, &document["components"]["responses"]);
        }
        page.push_str("</section>");
    }
    page.push_str("<section id=\"forms\"><h2>Forms</h2>");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        put(&mut page, format_args!("<article id=\"{0}\"><h3>{0}</h3>", escaped(name)));
        put(&mut page, format_args!("<p>{}</p>", escaped(text(&schema["description"]))));
        render_fields(&mut page, schema);
        page.push_str("</article>");
    }
    page.push_str("</section></main></body></html>");
    page
}

fn render_operation(page: &mut String, operation: &Operation<'_>, failures: &Value) {
    let Operation { path, method, value } = operation;
    let id = escaped(text(&value["operationId"]));
    put(
        page,
        format_args!(
            "<article id=\"{id}\"><h3><span class=\"path\">{method} {}</span></h3>",
            escaped(path)
        ),
    );
    put(
        page,
        format_args!(
            "<p>{}. {}</p>",
            escaped(text(&value["summary"])),
            escaped(text(&value["description"]))
        ),
    );
    let parameters = value["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let described: Vec<&Value> =
        parameters.iter().filter(|parameter| parameter["in"] != "path").collect();
    if !described.is_empty() {
        page.push_str("<table><tr><th>Parameter</th><th>Meaning</th></tr>");
        for parameter in described {
            let (name, meaning) = (text(&parameter["name"]), text(&parameter["description"]));
            put(
                page,
                format_args!(
                    "<tr><td><code>{}</code></td><td>{}</td></tr>",
                    escaped(name),
                    escaped(meaning)
                ),
            );
        }
        page.push_str("</table>");
    }
    let body = &value["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        put(page, format_args!("<p>Takes {}</p>", kind(body)));
    }
    page.push_str("<table><tr><th>Status</th><th>Answer</th></tr>");
    for (status, answer) in value["responses"].as_object().into_iter().flatten() {
        let answer = if answer.get("$ref").is_some() { &failures[status] } else { answer };
        let content = answer["content"].as_object().and_then(|content| content.iter().next());
        let content = content.map_or_else(String::new, |(media_type, content)| {
            format!(" {} <code>{}</code>", kind(&content["schema"]), escaped(media_type))
        });
        let description = escaped(text(&answer["description"]));
        put(
            page,
            format_args!("<tr><td>{}</td><td>{description}{content}</td></tr>", escaped(status)),
        );
    }
    page.push_str("</table></article>");
}

fn render_fields(page: &mut String, schema: &Value) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    page.push_str("<table><tr><th>Field</th><th>Type</th><th>Meaning</th></tr>");
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let optional = if required.contains(&name.as_str()) { "" } else { " (optional)" };
        let (name, kind, meaning) =
            (escaped(name), kind(field), escaped(text(&field["description"])));
        put(
            page,
            format_args!(
                "<tr><td><code>{name}</code>{optional}</td><td>{kind}</td><td>{meaning}</td></tr>"
            ),
        );
    }
    page.push_str("</table>");
}

/// What type something has, as HTML.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|place| place.rsplit('/').next()) {
        let name = escaped(name);
        return format!("<a href=\"#{name}\">{name}</a>");
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    if schema["type"] == "array" {
        return format!("list of {}", kind(&schema["items"]));
    }
    if !schema["properties"]["items"].is_null() {
        return format!("page of {}", kind(&schema["properties"]["items"]["items"]));
    }
    let names = match &schema["type"] {
        Value::Array(names) => names.iter().map(text).collect::<Vec<_>>().join(" or "),
        name => text(name).to_owned(),
    };
    let format =
        schema["format"].as_str().map_or_else(String::new, |format| format!(" ({format})"));
    escaped(&format!("{names}{format}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn anchor(group: &str) -> String {
    group.to_lowercase().replace(' ', "-")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Writing into a text can't fail.
fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    let _written = page.write_fmt(text);
}

//! The OpenAPI document, which is checked in, and its page.

use std::{collections::HashSet, fs, path::Path};

use serde_json::Value;
use service::api::{document, route_table};

use super::Service;

#[test]
fn the_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os("BACKSTITCH_WRITE_DOCS").is_some() {
        fs::write(&path, document()).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == document(),
        "run with BACKSTITCH_WRITE_DOCS=1 to write docs/openapi.json anew"
    );
}

#[test]
fn the_document_has_every_route_and_refers_to_nothing_that_is_missing() {
    let document: Value = serde_json::from_str(document()).unwrap();
    let mut ids = HashSet::new();
    for route in route_table() {
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{route:?}");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{route:?}");
    }
    let operations: usize = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|path| path.as_object().unwrap().len())
        .sum();
    assert_eq!(operations, ids.len());
    let mut undescribed = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (field, schema) in schema["properties"].as_object().unwrap() {
            // What refers to another form is described there.
            let refers = schema.get("$ref").is_some() || schema.get("oneOf").is_some();
            if !refers && schema["description"].as_str().is_none_or(str::is_empty) {
                undescribed.push(format!("{name}.{field}"));
            }
        }
    }
    assert!(undescribed.is_empty(), "{undescribed:?}");
    let mut references = Vec::new();
    collect(&document, &mut references);
    for reference in references {
        let place = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(place).is_some(), "{reference}");
    }
}

/// All references of a document.
fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| collect(field, references));
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, references)),
        _ => {}
    }
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let service = Service::new().await;
    let page = service.anonymous("GET", "/api/reference").send().await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(
        page.header("content-security-policy").starts_with("default-src 'none'; style-src 'self'")
    );
    assert!(
        !page.body.contains("<script") && !page.body.contains("http"),
        "something from elsewhere"
    );
    for route in route_table() {
        assert!(page.body.contains(&format!("{} {}<", route.method, route.path)), "{route:?}");
    }
    let style = service.anonymous("GET", "/api/reference.css").send().await;
    assert_eq!(style.header("content-type"), "text/css; charset=utf-8");
    let served = service.anonymous("GET", "/api/v1/openapi.json").send().await;
    assert_eq!(served.body, document());
}

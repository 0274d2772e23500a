//! The API against its own document, by a program that others wrote: it makes requests of all sorts from the document, good
//! and bad, and judges whether the answers are as the document says.

use std::{fs, path::Path, process::Stdio, time::Duration};

use secrecy::ExposeSecret;
use service::{
    api::{Allowance, ServeOptions},
    store::{LogLevel, Role, Scope},
};
use tokio::{process::Command, time::timeout};

use super::{
    Service,
    logs::{line, write},
    serving::Served,
};

/// What is judged. That good requests are taken isn't: no document says what settings a source has. Nor is a missing
/// header: it would have `If-Match` be told missing by another status than the one that there is for it.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance,negative_data_rejection,unsupported_method,\
    allow_header_conformance,ignored_auth";

/// A service that takes as many requests as come.
async fn served() -> Served {
    let free = Allowance { burst: u32::MAX, every: chrono::TimeDelta::zero() };
    let service = Service::with(|options| {
        options.rates.caller = free;
        options.rates.sign_in_name = free;
        options.rates.sign_in_address = free;
    });
    Served::of(service.await, ServeOptions::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_that_the_document_does_not_say() {
    judge(&served().await, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_it_about_things_that_there_are() {
    let served = served().await;
    let service = &served.service;
    let integration_id = service.integration("One").await;
    let run_id = service.run(&integration_id).await;
    let path = format!("/api/v1/runs/{run_id}");
    let lines = ["one", "two"].map(|body| line(service, LogLevel::Info, body));
    write(service, &run_id, &lines).await;
    service.member("POST", &format!("{path}/stop")).send().await;
    let (user, _) = service.store.user_to_sign_in("viewer").await.unwrap().unwrap();
    let parameters = format!(
        "[parameters]\n\"path.integration_id\" = \"{integration_id}\"\n\"path.run_id\" = \"{run_id}\"\n\
         \"path.user_id\" = \"{}\"\n\"path.table\" = \"contact\"\n",
        user.id
    );
    judge(&served, &parameters).await;
    assert_eq!(service.store.run(&run_id).await.unwrap().state.name(), "stopped");
}

/// Has the program judge the service, with its own configuration.
async fn judge(served: &Served, configuration: &str) {
    let program =
        Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers").join("schemathesis/bin/st");
    assert!(program.exists(), "schemathesis is missing; `cargo xtask setup --tests` installs it");
    let folder = tempfile::tempdir().unwrap();
    let token = served.service.tokens[&(Role::Administrator, Scope::Write)].expose_secret();
    fs::write(folder.path().join("schemathesis.toml"), configuration).unwrap();
    let mut command = Command::new(program);
    command
        .args(["run", &format!("http://127.0.0.1:{}/api/v1/openapi.json", served.port)])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", CHECKS, "--phases", "coverage,fuzzing", "--workers", "1"])
        .args(["--max-examples", "8", "--seed", "1", "--no-shrink", "--no-color"])
        .args(["--continue-on-failure", "--suppress-health-check", "all", "--warnings", "off"])
        .current_dir(&folder)
        .env("HYPOTHESIS_STORAGE_DIRECTORY", folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ended = timeout(Duration::from_secs(300), command.output()).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{told}\n{}", String::from_utf8_lossy(&ended.stderr));
    assert!(told.contains("cases"), "nothing was tried: {told}");
}

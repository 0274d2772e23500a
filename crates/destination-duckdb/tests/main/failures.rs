//! What people read when the file is not what it should be.

use std::{
    fs,
    process::{Command, Stdio},
};

use destination_duckdb::{DuckDb, DuckDbConfig};
use replication::{
    destination::{Destination, DestinationErrorKind},
    stream::WinnerRule,
};

use crate::support::{Warehouse, claimed, commit, contact_load, contacts, open, request};

/// The error of a claim, without the folder's name.
async fn refused(warehouse: &Warehouse, config: DuckDbConfig) -> (DestinationErrorKind, String) {
    let error = open(config).claim(&request("run")).await.unwrap_err();
    let folder = format!("{}/", warehouse.folder.path().display());
    (error.kind, error.message.replace(&folder, ""))
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let warehouse = Warehouse::new();
    for content in ["", "not a database", &"x".repeat(100_000)] {
        fs::write(warehouse.path(), content).unwrap();
        let (kind, message) = refused(&warehouse, warehouse.config()).await;
        assert_eq!(kind, DestinationErrorKind::Refused);
        assert_eq!(message, "`warehouse.duckdb` exists but is not a DuckDB database");
        assert_eq!(fs::read_to_string(warehouse.path()).unwrap(), content);
    }
    fs::remove_file(warehouse.path()).unwrap();
    fs::create_dir(warehouse.path()).unwrap();
    let (_, message) = refused(&warehouse, warehouse.config()).await;
    assert_eq!(message, "`warehouse.duckdb` exists but is not a DuckDB database");
}

#[tokio::test]
async fn a_damaged_file_and_one_of_a_newer_version_are_told() {
    let warehouse = Warehouse::new();
    let destination = warehouse.open();
    claimed(&destination).await;
    destination.close().await;
    // The file is closed, so its bytes may be touched: the storage version follows the checksum and the mark `DUCK`.
    let mut bytes = fs::read(warehouse.path()).unwrap();
    assert_eq!(&bytes[8..12], b"DUCK");
    bytes[12] = 250;
    fs::write(warehouse.path(), &bytes).unwrap();
    let (kind, message) = refused(&warehouse, warehouse.config()).await;
    assert_eq!(
        (kind, message.as_str()),
        (DestinationErrorKind::Refused, "File `warehouse.duckdb` is damaged")
    );

    let checksum = bytes[8..4096].chunks(8).fold(5381, |checksum, word| {
        checksum ^ u64::from_le_bytes(word.try_into().unwrap()).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    });
    bytes[..8].copy_from_slice(&checksum.to_le_bytes());
    fs::write(warehouse.path(), &bytes).unwrap();
    let (kind, message) = refused(&warehouse, warehouse.config()).await;
    assert_eq!(kind, DestinationErrorKind::Refused);
    assert_eq!(
        message,
        "File `warehouse.duckdb` was written by a version of DuckDB that this program can't read"
    );
}

#[tokio::test]
async fn wrong_settings_are_told() {
    let warehouse = Warehouse::new();
    let missing = DuckDbConfig::new(warehouse.folder.path().join("none/w.duckdb"), "s");
    let (kind, message) = refused(&warehouse, missing).await;
    assert_eq!(kind, DestinationErrorKind::Configuration);
    assert_eq!(message, "The folder of `none/w.duckdb` does not exist");
    for limit in ["plenty", "12 parsecs"] {
        let config = DuckDbConfig { memory_limit: Some(limit.to_owned()), ..warehouse.config() };
        let (kind, message) = refused(&warehouse, config).await;
        assert_eq!(kind, DestinationErrorKind::Configuration, "{message}");
        assert_eq!(message, "`memory_limit` is not an amount of memory that DuckDB understands");
    }
    assert!(!warehouse.path().exists());
    let frugal = DuckDbConfig {
        memory_limit: Some("200MB".to_owned()),
        threads: Some(1),
        ..warehouse.config()
    };
    let destination = open(frugal);
    claimed(&destination).await;
    let (_, rows) = destination
        .query_text("select current_setting('memory_limit'), current_setting('threads'), current_setting('timezone')")
        .await
        .unwrap();
    let rows: Vec<&str> = rows[0].iter().map(|text| text.as_deref().unwrap()).collect();
    assert_eq!(rows, ["190.7 MiB", "1", "UTC"]);
}

#[tokio::test]
async fn a_check_says_what_it_found_and_leaves_nothing() {
    let warehouse = Warehouse::new();
    let told = async |destination: DuckDb| {
        let steps = destination.check().await;
        destination.close().await;
        let folder = format!("{}/", warehouse.folder.path().display());
        let told: Vec<String> = steps
            .into_iter()
            .map(|step| match step.result {
                Ok(found) => format!("{}: {}", step.name, found.replace(&folder, "")),
                Err(failure) => {
                    format!("{}: failed: {}", step.name, failure.message.replace(&folder, ""))
                }
            })
            .collect();
        (told.join("; "), fs::read_dir(warehouse.folder.path()).unwrap().count())
    };
    insta::assert_snapshot!(told(warehouse.open()).await.0, @"open the file: `warehouse.duckdb` does not exist yet; the first run creates it; write to it: created a database in its folder, and removed it");
    assert_eq!(told(warehouse.open()).await.1, 0);
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    destination.release(&claim).await.unwrap();
    destination.close().await;
    insta::assert_snapshot!(told(warehouse.open()).await.0, @"open the file: opened `warehouse.duckdb`; write to it: created a schema and a table, and rolled back");
    let reader = DuckDb::open_read_only(warehouse.config()).unwrap();
    assert_eq!(told(reader).await, ("open the file: opened `warehouse.duckdb`".to_owned(), 1));
    let tables = "select schema_name || '.' || table_name from duckdb_tables() order by 1";
    let (_, tables) = warehouse.open().query_text(tables).await.unwrap();
    assert_eq!(tables.len(), 3, "only the system tables are there: {tables:?}");
    fs::write(warehouse.path(), "").unwrap();
    let (found, _) = told(warehouse.open()).await;
    assert_eq!(
        found,
        "open the file: failed: `warehouse.duckdb` exists but is not a DuckDB database"
    );
}

#[tokio::test]
async fn a_file_that_is_taken_away_is_noticed() {
    let warehouse = Warehouse::new();
    let schema = contacts(WinnerRule::Sequence);
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    let load = contact_load(&schema, &[("a", None, None, None)], 1);
    commit(&destination, &claim, &load, "1").await.unwrap();
    fs::remove_file(warehouse.path()).unwrap();
    let error = commit(&destination, &claim, &load, "2").await.unwrap_err();
    assert_eq!(
        error.kind,
        DestinationErrorKind::Refused,
        "no commit into a file that is no more: {error}"
    );
}

/// Started by [`a_full_disk_costs_nothing`], with a limit on the size of files.
#[tokio::test]
#[ignore = "a part of another test, which starts it in a process of its own"]
async fn loads_until_the_disk_is_full() {
    let Ok(path) = std::env::var("FULL_DISK_FILE") else { return };
    let schema = contacts(WinnerRule::Sequence);
    let destination = open(DuckDbConfig::new(path, "stitch_bronto"));
    let claim = claimed(&destination).await;
    commit(&destination, &claim, &contact_load(&schema, &[("a", None, None, None)], 1), "1")
        .await
        .unwrap();
    let texts: Vec<String> = (0..40_000).map(|id| format!("{:x}", u128::MAX / (id + 3))).collect();
    let rows: Vec<_> =
        texts.iter().map(|text| (text.as_str(), None, Some(text.as_str()), None)).collect();
    let error =
        commit(&destination, &claim, &contact_load(&schema, &rows, 2), "2").await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::Full, "{error:?}");
    assert_eq!(destination.memory().await.unwrap().last_batch.as_deref(), Some("1"));
    assert_eq!(destination.count("contact").await.unwrap(), Some(1));
    commit(&destination, &claim, &contact_load(&schema, &[("b", None, None, None)], 3), "3")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_full_disk_costs_nothing() {
    let warehouse = Warehouse::new();
    let test = std::env::current_exe().unwrap();
    let status = Command::new("sh")
        .arg("-c")
        .arg("trap '' XFSZ; ulimit -f 2000; exec \"$0\" --exact failures::loads_until_the_disk_is_full --ignored")
        .arg(test)
        .env("FULL_DISK_FILE", warehouse.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(warehouse.open().count("contact").await.unwrap(), Some(2));
}

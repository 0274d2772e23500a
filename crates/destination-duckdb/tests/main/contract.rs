//! The contract that every destination keeps.

use std::sync::Arc;

use async_trait::async_trait;
use destination_duckdb::{DuckDb, DuckDbConfig};
use replication::{contract::Subject, destination::Destination};
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::support::rows_of;

struct Warehouse {
    folder: TempDir,
}

impl Warehouse {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    fn open(&self) -> DuckDb {
        let path = self.folder.path().join("warehouse.duckdb");
        DuckDb::new(DuckDbConfig::new(path, "stitch_bronto")).expect("the configuration is right")
    }
}

#[async_trait]
impl Subject for Warehouse {
    fn destination(&self) -> Arc<dyn Destination> {
        Arc::new(self.open())
    }

    async fn rows(&self, table: &str) -> Option<Vec<Map<String, Value>>> {
        rows_of(&self.open(), "stitch_bronto", table).await
    }

    fn has_subtables(&self) -> bool {
        false
    }
}

replication::contract_tests!(Warehouse::new());

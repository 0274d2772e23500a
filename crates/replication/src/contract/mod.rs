//! The contract that every destination keeps, as tests: the crate of a destination runs them all against the real thing
//! with [`contract_tests!`](crate::contract_tests). They drive whole runs from scripted sources, so they test the
//! destination together with the commit protocol.

mod auditing;
mod claims;
mod faults;
mod hostile;
mod loading;
mod model;
mod nesting;
mod placing;
mod replaying;
mod scanning;
mod script;
mod values;
mod versions;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::destination::Destination;

pub use auditing::*;
pub use claims::*;
pub use faults::*;
pub use hostile::{alters_nothing_whatever_comes, keeps_large_rows_whole};
pub use loading::*;
pub use model::equals_a_model_whatever_happens;
pub use nesting::*;
pub use placing::*;
pub use replaying::*;
pub use scanning::*;
pub use values::*;
pub use versions::*;

/// An empty schema of a real destination, made for one test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// A destination on the schema. Every call gives one on the same schema.
    fn destination(&self) -> Arc<dyn Destination>;

    /// All rows of a table (by the name that a stream or subtable has there), in any order, as JSON objects by column
    /// name: text as it is, integers as numbers, decimals as their shortest exact text, timestamps as
    /// [`crate::row::instant_text`] gives them, booleans, JSON documents as their text, native lists as arrays, null as
    /// null. None if there is no such table.
    async fn rows(&self, table: &str) -> Option<Vec<Map<String, Value>>>;

    /// Whether lists are subtables here, rather than native columns.
    fn has_subtables(&self) -> bool;
}

/// Declares one `#[tokio::test]` for each clause of the contract. The argument is an expression that makes a
/// [`Subject`] (it may await).
#[macro_export]
macro_rules! contract_tests {
    ($subject:expr) => {
        $crate::contract_tests!(@each $subject;
            creates_every_table_and_column,
            inserts_updates_and_leaves_alone,
            picks_the_winner_within_a_unit,
            never_goes_back_to_an_older_version,
            a_clock_set_back_makes_no_row_old,
            appends_without_a_key,
            appends_without_a_key_while_arrays_come_and_go,
            takes_rows_back_without_a_key,
            adds_columns_in_mid_stream,
            moves_bookmarks_with_their_rows,
            keeps_the_ledger_true,
            records_gaps,
            ends_when_too_many_rows_are_rejected,
            rejects_a_row_once,
            settles_key_collisions_whichever_comes_first,
            keeps_every_value,
            grows_and_shrinks_lists,
            takes_arrays_of_objects_apart,
            keeps_arrays_whole_that_can_not_be_taken_apart,
            keeps_subtables_of_one_name_apart,
            keeps_items_of_an_array_that_comes_no_more,
            keeps_items_beside_a_field_of_a_shorter_name,
            leaves_no_items_of_another_shape_behind,
            replaces_nested_rows_with_their_version,
            alters_nothing_whatever_comes,
            keeps_large_rows_whole,
            splits_a_column_whose_type_changes,
            splits_fields_of_several_types,
            splits_in_mid_stream_and_in_mid_version,
            widens_integers_into_numbers,
            refuses_a_key_that_changes,
            rejects_rows_whose_columns_have_no_name,
            rejects_streams_whose_tables_have_no_name,
            replaces_a_full_table,
            keeps_columns_that_a_version_had,
            accounts_for_live_and_waiting_rows_of_one_unit,
            keeps_a_full_table_that_shrinks_by_mistake,
            forgets_a_version_that_was_never_activated,
            replaces_what_was_read_and_nothing_else,
            settles_key_collisions_within_a_version,
            reads_its_rows_back,
            reads_every_type_back,
            finds_rejects_by_id_and_key,
            agrees_with_its_source,
            names_what_differs_from_its_source,
            accounts_for_rejects_when_audited,
            refuses_a_claimed_schema,
            commits_nothing_when_overtaken,
            refuses_another_integration_and_another_source,
            settles_the_books_of_a_killed_run,
            leaves_nothing_behind_when_rolled_back,
            looks_up_a_commit_whose_reply_was_lost,
            repeats_a_commit_that_did_not_take_place,
            keeps_a_bad_row_from_costing_its_batch,
            refuses_to_commit_when_the_books_do_not_balance,
            refuses_to_commit_when_a_reject_is_lost,
            replays_rejects_once,
            accounts_for_rejects_that_are_alike,
            replays_what_is_asked_for_and_renews_reasons,
            brings_no_former_version_back,
            replays_once_wherever_it_breaks_off,
            removes_old_rejects_and_no_others,
            equals_a_model_whatever_happens,
        );
    };
    (@each $subject:expr; $($clause:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $clause() {
                let subject = $subject;
                $crate::contract::$clause(&subject).await;
            }
        )*
    };
}

//! Recorded answers to columns, as an extraction decodes them but without a service: for benchmarks and studies of
//! answers that were kept.

use std::sync::Arc;

use arrow::array::ArrayRef;
use bronto_client::{AnswerDefect, Function, decode};

use crate::{
    activity_id::IdScheme,
    page::PageSink,
    rows::BuiltRows,
    streams::{BrontoStream, NumberForm, RowForm, SelectedStream},
};

/// Decodes answers to the reads of one stream.
#[derive(Debug)]
pub struct AnswerDecoder {
    stream: BrontoStream,
    sink: PageSink,
}

impl AnswerDecoder {
    /// A decoder of a stream's answers, with lossless ids and numbers as decimals.
    #[must_use]
    pub fn new(selected: &SelectedStream) -> Self {
        let form = RowForm::Columns(NumberForm::Decimal);
        let sink = PageSink::new(selected, &Arc::default(), IdScheme::Lossless, form);
        Self { stream: selected.stream(), sink }
    }

    /// The columns of one page; those of a fault have no rows.
    ///
    /// # Errors
    /// [`AnswerDefect`] for what isn't the complete answer to the stream's read.
    pub fn decode(&mut self, body: &[u8]) -> Result<Vec<ArrayRef>, AnswerDefect> {
        let function = match self.stream {
            BrontoStream::Contact => Function::ReadContacts,
            BrontoStream::InboundActivity => Function::ReadRecentInboundActivities,
            BrontoStream::OutboundActivity => Function::ReadRecentOutboundActivities,
            BrontoStream::List => Function::ReadLists,
            BrontoStream::Unsubscribe => Function::ReadUnsubscribes,
        };
        decode::rows(function, self.stream.object(), body, &mut self.sink)?;
        match self.sink.take().built {
            BuiltRows::Columns(columns) => Ok(columns),
            BuiltRows::Lines(_) => unreachable!("the sink was made for columns"),
        }
    }
}

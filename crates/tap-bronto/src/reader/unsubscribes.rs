//! Unsubscriptions: pages by number, of objects that never change.

use bronto_client::{ReadRequest, ReadUnsubscribes};
use chrono::TimeDelta;

use super::{
    pages::{Motion, read_down},
    worker::{WindowEnd, Worker},
};
use crate::{
    failure::Halt,
    window::{Laid, Sizing},
};

pub(super) const SIZING: Sizing = Sizing {
    first: TimeDelta::days(30),
    shortest: TimeDelta::hours(1),
    longest: TimeDelta::days(90),
};

pub(super) async fn read_window(worker: &mut Worker, laid: Laid) -> Result<WindowEnd, Halt> {
    let request = |page| {
        ReadRequest::Unsubscribes(ReadUnsubscribes {
            // One second earlier, in case the server's window doesn't hold its start.
            start: laid.window.from() - TimeDelta::seconds(1),
            end: laid.window.before(),
            page,
        })
    };
    read_down(worker, laid, Motion::Still, request).await
}

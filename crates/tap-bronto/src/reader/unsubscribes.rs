//! Unsubscriptions: pages by number, of objects that never change.

use bronto_client::{ReadRequest, ReadUnsubscribes};
use chrono::TimeDelta;

use super::{
    pages::{Motion, read_down},
    worker::{WindowEnd, Worker},
};
use crate::{
    failure::Halt,
    window::{Laid, Sizing, Window},
};

pub(super) const SIZING: Sizing = Sizing {
    first: TimeDelta::days(30),
    shortest: TimeDelta::hours(1),
    longest: TimeDelta::days(90),
    least_pages: 4,
};

pub(super) async fn read_window(worker: &mut Worker, laid: Laid) -> Result<WindowEnd, Halt> {
    read_down(worker, laid, Motion::Still, |page| request(laid.window, page)).await
}

/// Asks for a page of a window.
pub(super) fn request(window: Window, page: u32) -> ReadRequest {
    ReadRequest::Unsubscribes(ReadUnsubscribes {
        // One second earlier, in case the server's window doesn't hold its start.
        start: window.from() - TimeDelta::seconds(1),
        end: window.before(),
        page,
    })
}

//! Contacts: pages by number, of objects that change while they are read.

use bronto_client::{ContactIncludes, ReadContacts, ReadRequest};
use chrono::TimeDelta;

use super::{
    pages::{Motion, read_down},
    worker::{WindowEnd, Worker},
};
use crate::{
    failure::Halt,
    streams::SelectedStream,
    window::{Laid, Sizing, Window},
};

pub(super) const SIZING: Sizing = Sizing {
    first: TimeDelta::days(1),
    shortest: TimeDelta::minutes(1),
    longest: TimeDelta::days(90),
    least_pages: 4,
};

pub(super) async fn read_window(worker: &mut Worker, laid: Laid) -> Result<WindowEnd, Halt> {
    let include = worker.includes;
    let fields = worker.stream.custom_fields.ids();
    let request = |page| contacts(laid.window, page, include, fields.clone());
    read_down(worker, laid, Motion::Leaving, request).await
}

/// Asks for a page of a window.
pub(super) fn request(worker: &Worker, window: Window, page: u32) -> ReadRequest {
    contacts(window, page, worker.includes, worker.stream.custom_fields.ids())
}

fn contacts(
    window: Window,
    page: u32,
    include: ContactIncludes,
    fields: Vec<String>,
) -> ReadRequest {
    ReadRequest::Contacts(ReadContacts {
        modified_from: window.from(),
        modified_before: window.before(),
        page,
        include,
        fields,
    })
}

/// What to ask for, so that no selected column stays empty and nothing is fetched in vain.
pub(super) fn includes(selected: &SelectedStream) -> ContactIncludes {
    let any = |names: &[&str]| names.iter().any(|name| selected.has(name));
    ContactIncludes {
        lists: any(&["listIds"]),
        sms_keywords: any(&["SMSKeywordIDs"]),
        geo_ip: any(&[
            "geoIPCity",
            "geoIPStateRegion",
            "geoIPZip",
            "geoIPCountry",
            "geoIPCountryCode",
        ]),
        technology: any(&[
            "primaryBrowser",
            "mobileBrowser",
            "primaryEmailClient",
            "mobileEmailClient",
            "operatingSystem",
        ]),
        rfm: any(&[
            "firstOrderDate",
            "lastOrderDate",
            "lastOrderTotal",
            "totalOrders",
            "totalRevenue",
            "averageOrderValue",
        ]),
        engagement: any(&["lastDeliveryDate", "lastOpenDate", "lastClickDate"]),
        segments: any(&["segmentIds"]),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;
    use crate::streams::BrontoStream;

    #[test]
    fn only_what_is_selected_is_asked_for() {
        let all = includes(&SelectedStream::all(BrontoStream::Contact));
        assert_eq!(all, ContactIncludes::all());
        let none = SelectedStream::with_columns(BrontoStream::Contact, ["email"]).unwrap();
        assert_eq!(includes(&none), ContactIncludes::default());
        let one = SelectedStream::with_columns(BrontoStream::Contact, ["totalOrders"]).unwrap();
        assert_eq!(includes(&one), ContactIncludes { rfm: true, ..ContactIncludes::default() });
    }
}

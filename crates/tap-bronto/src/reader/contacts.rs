//! Contacts: pages by number, of objects that change while they are read.
//!
//! A contact that is modified leaves the window (its `modified` becomes the server's now), and all contacts behind it
//! move up by one. Going through the pages upwards, the contact at the edge of the next page is then missed. So the last
//! page is found first, and the pages are read from there **downwards**: a contact can only move towards pages that are
//! still to be read. Those that leave are not lost either: they lie in a later window, or after the range, for the next
//! run.
//!
//! Page 2 is asked for first: it is empty for most windows, and then page 1 is all there is, two requests in all. Where
//! it isn't, the end is found by doubling, and the pages seen on the way are checked against assumption A6 when they are
//! read again. In the end the last page is read once more, which must show nobody new. Where nothing is expected, page 1
//! comes first, and an idle window takes one request.

use bronto_client::{ContactIncludes, ReadContacts, ReadRequest};
use chrono::TimeDelta;

use super::StreamReader;
use crate::{
    failure::Halt,
    streams::SelectedStream,
    window::{Planner, Sizing, Window},
};

const SIZING: Sizing = Sizing {
    first: TimeDelta::days(1),
    shortest: TimeDelta::minutes(1),
    longest: TimeDelta::days(90),
    rows: 4_000,
};

/// A window with more pages than this is cut.
const MOST_PAGES: u32 = 8;

/// How a window went.
enum Outcome {
    /// It is read whole.
    Complete {
        /// Objects in it, repetitions left out.
        rows: u64,
        /// The most objects that one page held, if there were several pages.
        page_rows: Option<u64>,
    },
    /// It has too many pages.
    TooLarge,
}

pub(super) async fn read(reader: &mut StreamReader) -> Result<(), Halt> {
    let from = reader.lower()?;
    let upper = reader.upper()?;
    let mut planner = Planner::new(from, upper, SIZING);
    while let Some(window) = planner.window() {
        reader.enter(window, &planner);
        match read_window(reader, window, &mut planner).await? {
            Outcome::Complete { rows, page_rows } => {
                reader.complete(window).await?;
                reader.forget_rows(window);
                if let Some(page_rows) = page_rows {
                    planner.aim_at(page_rows * 4 / 5);
                }
                planner.complete(rows);
            }
            Outcome::TooLarge => reader.abandon(window),
        }
    }
    Ok(())
}

async fn read_window(
    reader: &mut StreamReader,
    window: Window,
    planner: &mut Planner,
) -> Result<Outcome, Halt> {
    let include = reader.includes;
    let request = |page| {
        ReadRequest::Contacts(ReadContacts {
            modified_from: window.from(),
            modified_before: window.before(),
            page,
            include,
            fields: Vec::new(),
        })
    };
    let mut end = if planner.expects_rows() { 2 } else { 1 };
    let mut page_rows = None;
    let (mut read, mut inside) = (0, 0);
    loop {
        let outcome = reader.read_page(&request(end), end).await?;
        if outcome.is_end() {
            break;
        }
        read += outcome.read;
        inside += outcome.inside;
        if end > 1 {
            page_rows = page_rows.max(Some(outcome.read));
        }
        // Where whole days are returned, a shorter window would hardly be fewer pages.
        if end >= MOST_PAGES && inside * 2 >= read && planner.cut() {
            return Ok(Outcome::TooLarge);
        }
        end = end.saturating_mul(2);
    }
    let mut rows = 0;
    let mut last = None;
    for page in (1..end).rev() {
        let outcome = reader.read_page(&request(page), page).await?;
        if outcome.read > 0 {
            last.get_or_insert(page);
        }
        rows += outcome.inside;
        page_rows = page_rows.map(|most| most.max(outcome.read));
    }
    // What is on the last page now has moved up since that was read, so whoever is new there was missed.
    if let Some(page) = last.filter(|page| *page > 1)
        && reader.read_page(&request(page), page).await?.unseen > 0
    {
        return Err(reader.out_of_order());
    }
    Ok(Outcome::Complete { rows, page_rows })
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

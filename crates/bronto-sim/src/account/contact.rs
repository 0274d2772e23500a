//! Contacts: what is kept of them, and the rest, which follows from seed, number and revision.

use crate::account::custom_field::FieldRecord;
use crate::account::ids::{IdKind, ObjectId};
use crate::account::timeline::Timed;
use crate::account::{custom_field, lexeme, words};
use crate::chance::{Chance, Subject};
use crate::instant::UtcInstant;
use crate::row::{Row, Sink};

/// What is kept in memory of a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContactRecord {
    pub(crate) created: UtcInstant,
    pub(crate) modified: UtcInstant,
    /// How often the contact has changed.
    pub(crate) revision: u32,
    pub(crate) deleted: bool,
}

impl Timed for ContactRecord {
    fn instant(&self) -> UtcInstant {
        self.modified
    }
}

/// Imports that touched many contacts within seconds.
const IMPORTS: u32 = 3;

impl ContactRecord {
    /// The contact with this number, as the account begins.
    pub(crate) fn generate(seed: u64, number: u32, now: UtcInstant, days: u32) -> Self {
        let span = i64::from(days.max(1)) * super::DAY_NANOS;
        let mut chance = Chance::of(seed, Subject::ContactTimes, u64::from(number));
        let modified = if chance.percent(12) {
            let import = u64::MAX - u64::from(chance.below(IMPORTS));
            let age = Chance::of(seed, Subject::ContactTimes, import).share(span, 1);
            let start = now.plus_nanos(-age).whole_second().plus_seconds(-30);
            let instant = start.plus_nanos(chance.share(20_000_000_000, 2));
            super::sometimes_whole(&mut chance, 60, instant)
        } else {
            let age = chance.share(span - super::DAY_NANOS / 10, 2);
            let instant = now.plus_seconds(-1).plus_nanos(-age);
            super::sometimes_whole(&mut chance, 25, instant)
        };
        let created = if chance.percent(10) {
            modified
        } else {
            modified.plus_nanos(-chance.share(8 * 365 * super::DAY_NANOS, 3))
        };
        Self { created, modified, revision: 0, deleted: chance.percent(2) }
    }
}

/// What of a contact a read asks for besides its own fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ContactView {
    pub(crate) lists: bool,
    pub(crate) segments: bool,
    pub(crate) keywords: bool,
    pub(crate) geo: bool,
    pub(crate) technology: bool,
    pub(crate) orders: bool,
    pub(crate) engagement: bool,
    /// Numbers of the custom fields to return.
    pub(crate) fields: Vec<u32>,
}

impl ContactView {
    /// Everything there is, with these custom fields.
    pub(crate) fn whole(fields: Vec<u32>) -> Self {
        Self {
            lists: true,
            segments: true,
            keywords: true,
            geo: true,
            technology: true,
            orders: true,
            engagement: true,
            fields,
        }
    }

    fn has_read_only_data(&self) -> bool {
        self.geo || self.technology || self.orders || self.engagement
    }
}

/// Who a contact is; never changes.
pub(crate) struct Identity {
    pub(crate) locale: &'static words::Locale,
    pub(crate) given: words::Name,
    pub(crate) family: words::Name,
    pub(crate) email: Option<String>,
    pub(crate) mobile: Option<String>,
}

/// Where a contact stands; changes with every revision.
pub(crate) struct Standing {
    pub(crate) status: &'static str,
    pub(crate) message_preference: &'static str,
    pub(crate) lists: Vec<ObjectId>,
    pub(crate) segments: Vec<ObjectId>,
    pub(crate) keywords: Vec<ObjectId>,
    sends: u32,
    bounces: u32,
    opens: u32,
    clicks: u32,
}

/// A contact of an account.
#[derive(Clone, Copy)]
pub(crate) struct Contact<'a> {
    pub(crate) seed: u64,
    pub(crate) number: u32,
    pub(crate) record: &'a ContactRecord,
    /// How many lists the account began with.
    pub(crate) lists: u32,
    /// The account's custom fields.
    pub(crate) fields: &'a [FieldRecord],
}

impl Contact<'_> {
    pub(crate) fn id(&self) -> ObjectId {
        ObjectId::new(IdKind::Contact, self.number)
    }

    /// Who the contact with this number is.
    pub(crate) fn identity(seed: u64, number: u32) -> Identity {
        let mut chance = Chance::of(seed, Subject::ContactIdentity, u64::from(number));
        let locale = if chance.percent(55) {
            &words::LOCALES[0]
        } else {
            &words::LOCALES[1 + chance.skewed(count(words::LOCALES) - 1) as usize]
        };
        let given = chance.pick(locale.given);
        let family = chance.pick(locale.family);
        let email = (!chance.percent(4)).then(|| {
            let domain = chance.pick_skewed(words::DOMAINS);
            format!("{}.{}{number:x}@{domain}", given.1, family.1)
        });
        let mobile = (email.is_none() || chance.percent(18)).then(|| {
            let subscriber = 200_000_000 + chance.below(700_000_000);
            format!("{}{subscriber}", locale.calling_code)
        });
        Identity { locale, given, family, email, mobile }
    }

    /// The status with which the contact with this number began.
    pub(crate) fn first_status(seed: u64, number: u32) -> &'static str {
        Self::status(&mut Self::standing_chance(seed, number, 0))
    }

    fn standing_chance(seed: u64, number: u32, revision: u32) -> Chance {
        let version = u64::from(number) | u64::from(revision) << 32;
        Chance::of(seed, Subject::ContactStanding, version)
    }

    fn status(chance: &mut Chance) -> &'static str {
        chance.pick_skewed(words::CONTACT_STATUSES)
    }

    pub(crate) fn standing(&self) -> Standing {
        let mut chance = Self::standing_chance(self.seed, self.number, self.record.revision);
        let status = Self::status(&mut chance);
        let message_preference = if chance.percent(85) { "html" } else { "text" };
        let lists = some_of(&mut chance, IdKind::List, self.lists, 6);
        let segments = some_of(&mut chance, IdKind::Segment, count(words::SEGMENTS), 4);
        let keywords = if chance.percent(15) {
            some_of(&mut chance, IdKind::Keyword, count(words::KEYWORDS), 3)
        } else {
            Vec::new()
        };
        // Totals only grow: they start from what never changes.
        let mut life = Chance::of(self.seed, Subject::ContactProfile, u64::from(self.number));
        let sends = life.skewed(700) + 3 * self.record.revision;
        Standing {
            status,
            message_preference,
            lists,
            segments,
            keywords,
            sends,
            bounces: life.skewed(4),
            opens: life.skewed(sends + 1) + self.record.revision,
            clicks: life.skewed(sends / 3 + 1),
        }
    }

    pub(crate) fn source(&self) -> &'static str {
        self.profile_chance().pick_skewed(words::SOURCES)
    }

    pub(crate) fn custom_source(&self) -> Option<&'static str> {
        let mut chance = self.profile_chance();
        chance.bits();
        chance.percent(30).then(|| chance.pick(words::CUSTOM_SOURCES))
    }

    fn profile_chance(&self) -> Chance {
        Chance::of(self.seed, Subject::ContactProfile, u64::from(self.number) | 1 << 40)
    }

    /// Writes the fields of the contact, in schema order.
    pub(crate) fn write<S: Sink>(&self, row: &mut Row<'_, S>, view: &ContactView) {
        let identity = Self::identity(self.seed, self.number);
        let standing = self.standing();
        let orders = Orders::of(self);
        row.key("id", self.id().as_str());
        row.maybe_text("email", identity.email.as_deref());
        row.maybe_text("mobileNumber", identity.mobile.as_deref());
        row.text("status", standing.status);
        row.text("msgPref", standing.message_preference);
        row.text("source", self.source());
        if let Some(custom) = self.custom_source() {
            row.free_text("customSource", custom);
        }
        row.instant("created", self.record.created);
        row.key_instant("modified", self.record.modified);
        row.boolean("deleted", self.record.deleted);
        if view.lists {
            row.ids("listIds", &standing.lists);
        }
        if view.segments {
            row.ids("segmentIds", &standing.segments);
        }
        if !view.fields.is_empty() {
            let fields = custom_field::contents(self, &identity, &view.fields, row.field_dates());
            row.custom_fields("fields", &fields);
        }
        if view.keywords {
            row.ids("SMSKeywordIDs", &standing.keywords);
        }
        for (name, number) in [
            ("numSends", standing.sends),
            ("numBounces", standing.bounces),
            ("numOpens", standing.opens),
            ("numClicks", standing.clicks),
            ("numConversions", orders.as_ref().map_or(0, |orders| orders.count)),
        ] {
            row.number(name, &number.to_string());
        }
        let amount = orders.as_ref().map_or(0, |orders| orders.total_cents);
        let lexeme = lexeme::float(amount, row.float_form(), self.number);
        row.number("conversionAmount", &lexeme);
        if view.has_read_only_data() {
            row.group("readOnlyContactData", |row| {
                self.write_read_only(row, view, &identity, orders.as_ref());
            });
        }
        self.write_consent(row, standing.status);
    }

    fn write_read_only<S: Sink>(
        &self,
        row: &mut Row<'_, S>,
        view: &ContactView,
        identity: &Identity,
        orders: Option<&Orders>,
    ) {
        let mut chance = self.profile_chance();
        chance.bits();
        let (has_geo, has_technology) = (chance.percent(60), chance.percent(55));
        let (city, region, zip) = chance.pick(identity.locale.cities);
        if view.geo && has_geo {
            row.text("geoIPCity", city);
            row.text("geoIPStateRegion", region);
            row.text("geoIPZip", zip);
            row.text("geoIPCountry", identity.locale.country);
            row.text("geoIPCountryCode", identity.locale.country_code);
        }
        let mut device = |percent, choices: &'static [&'static str]| {
            let has = chance.percent(percent);
            let choice = chance.pick_skewed(choices);
            has.then_some(choice)
        };
        let devices = [
            ("primaryBrowser", device(80, words::BROWSERS)),
            ("mobileBrowser", device(50, words::MOBILE_BROWSERS)),
            ("primaryEmailClient", device(70, words::EMAIL_CLIENTS)),
            ("mobileEmailClient", device(45, words::MOBILE_CLIENTS)),
            ("operatingSystem", device(90, words::SYSTEMS)),
        ];
        if view.technology && has_technology {
            for (name, value) in devices {
                row.maybe_text(name, value);
            }
        }
        if let (true, Some(orders)) = (view.orders, orders) {
            orders.write(row);
        }
        if view.engagement {
            let mut latest = self.record.created;
            for (name, percent) in
                [("lastDeliveryDate", 85), ("lastOpenDate", 55), ("lastClickDate", 30)]
            {
                let span = self.record.modified.since(latest);
                let instant = latest.plus_nanos(chance.share(span, 1));
                let instant = super::sometimes_whole(&mut chance, 50, instant);
                if chance.percent(percent) {
                    row.instant(name, instant);
                    latest = self.record.created;
                }
            }
        }
    }

    fn write_consent<S: Sink>(&self, row: &mut Row<'_, S>, status: &str) {
        let mut chance = self.profile_chance();
        chance.bits();
        chance.bits();
        if chance.percent(35) {
            let date = self.record.created.to_utc();
            let form = chance.pick(&["%Y-%m-%d", "%m/%d/%Y", "%Y-%m-%dT%H:%M:%S%z"]);
            row.text("consentDate", &date.format(form).to_string());
            let host = chance.below(250);
            let address = if chance.percent(80) {
                format!("192.0.2.{host}")
            } else {
                format!("2001:db8::{host:x}")
            };
            row.text("consentIp", &address);
        }
        if status == "unsub" {
            let date = self.record.modified.to_utc().format("%Y-%m-%d");
            row.text("lastUnsubscribeDate", &date.to_string());
        }
    }
}

/// A few ids of a kind, each once, in no order.
fn some_of(chance: &mut Chance, kind: IdKind, available: u32, most: u32) -> Vec<ObjectId> {
    let wanted = chance.skewed(most + 1).min(available);
    let mut numbers: Vec<u32> = Vec::with_capacity(wanted as usize);
    for _ in 0..wanted {
        let number = chance.skewed(available);
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    numbers.into_iter().map(|number| ObjectId::new(kind, number)).collect()
}

fn count<T>(things: &[T]) -> u32 {
    u32::try_from(things.len()).expect("a short table")
}

/// What a contact has bought.
struct Orders {
    count: u32,
    last_cents: u64,
    total_cents: u64,
    first: UtcInstant,
    last: UtcInstant,
}

impl Orders {
    fn of(contact: &Contact<'_>) -> Option<Self> {
        let number = u64::from(contact.number);
        let mut chance = Chance::of(contact.seed, Subject::ContactOrders, number);
        if !chance.percent(28) {
            return None;
        }
        let count = 1 + chance.skewed(40) + contact.record.revision;
        let typical = 500 + u64::from(chance.skewed(60_000));
        // One in 200 buys for a whole company.
        let typical = if chance.below(200) == 0 { typical * 90_000 } else { typical };
        let total_cents = typical * u64::from(count) + u64::from(chance.below(100));
        let life = contact.record.modified.since(contact.record.created);
        let first = contact.record.created.plus_nanos(chance.share(life, 2));
        let since_first = contact.record.modified.since(first);
        let last = first.plus_nanos(chance.share(since_first, 1));
        Some(Self {
            count,
            last_cents: typical,
            total_cents,
            first: super::sometimes_whole(&mut chance, 50, first),
            last: super::sometimes_whole(&mut chance, 50, last),
        })
    }

    fn write<S: Sink>(&self, row: &mut Row<'_, S>) {
        row.instant("firstOrderDate", self.first.min(self.last));
        row.instant("lastOrderDate", self.last);
        row.number("lastOrderTotal", &lexeme::money(self.last_cents));
        row.number("totalOrders", &self.count.to_string());
        row.number("totalRevenue", &lexeme::money(self.total_cents));
        let average = lexeme::ten_thousandths(self.total_cents * 100 / u64::from(self.count));
        row.number("averageOrderValue", &average);
    }
}

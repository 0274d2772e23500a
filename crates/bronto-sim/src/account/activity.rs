//! Activities: sends and what contacts did with them.

use std::fmt::Write as _;

use crate::account::Population;
use crate::account::contact::Contact;
use crate::account::delivery::{Delivery, DeliveryKind};
use crate::account::ids::{IdKind, ObjectId};
use crate::account::timeline::Timed;
use crate::account::{list, words};
use crate::chance::{Chance, Subject, mix};
use crate::instant::UtcInstant;
use crate::row::{Row, Sink};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ActivityKind {
    Send,
    SmsSend,
    Open,
    Click,
    Conversion,
    Bounce,
    ContactSkip,
    Reply,
    Unsubscribe,
    FriendForward,
    Social,
    Webform,
    SmsBounce,
    SmsReply,
}

impl ActivityKind {
    /// What may be asked for in an inbound read's `types`.
    pub(crate) const INBOUND_TYPES: &'static [&'static str] = &[
        "open",
        "click",
        "conversion",
        "bounce",
        "reply",
        "unsubscribe",
        "friendforward",
        "social",
        "webform",
        "sms_bounce",
        "sms_reply",
        "contactskip",
    ];
    /// What may be asked for in an outbound read's `types`.
    pub(crate) const OUTBOUND_TYPES: &'static [&'static str] = &["send", "sms_send"];

    /// The `activityType`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::SmsSend => "sms_send",
            Self::Open => "open",
            Self::Click => "click",
            Self::Conversion => "conversion",
            Self::Bounce => "bounce",
            Self::ContactSkip => "contactskip",
            Self::Reply => "reply",
            Self::Unsubscribe => "unsubscribe",
            Self::FriendForward => "friendforward",
            Self::Social => "social",
            Self::Webform => "webform",
            Self::SmsBounce => "sms_bounce",
            Self::SmsReply => "sms_reply",
        }
    }

    fn is_sms(self) -> bool {
        matches!(self, Self::SmsSend | Self::SmsBounce | Self::SmsReply)
    }
}

/// An activity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ActivityRecord {
    pub(crate) created: UtcInstant,
    pub(crate) contact: Option<u32>,
    pub(crate) delivery: Option<u32>,
    pub(crate) kind: ActivityKind,
    /// The number of the send that this is or answers; names its order.
    send: u32,
    /// Decides everything else; two rows equal in all of these are equal in every field.
    detail: u32,
}

impl Timed for ActivityRecord {
    fn instant(&self) -> UtcInstant {
        self.created
    }
}

/// As many first rows are made to a pattern in which every join finds a partner.
const PATTERN: u32 = 10;

impl ActivityRecord {
    /// All sends with which an account begins.
    pub(crate) fn generate_outbound(population: &Population<'_>, count: u32) -> Vec<Self> {
        let mut records: Vec<Self> = Vec::with_capacity(count as usize);
        for number in 0..count {
            let mut chance = Chance::of(population.seed, Subject::Outbound, u64::from(number));
            let record = match records.last() {
                // One send, recorded twice: rows alike in every field.
                Some(previous) if number >= PATTERN && chance.below(300) == 0 => previous.clone(),
                _ => Self::send(population, number, &mut chance),
            };
            records.push(record);
        }
        records
    }

    /// All answers with which an account begins.
    pub(crate) fn generate_inbound(
        population: &Population<'_>,
        count: u32,
        sends: &[Self],
    ) -> Vec<Self> {
        let mut records: Vec<Self> = Vec::with_capacity(count as usize);
        for number in 0..count {
            let mut chance = Chance::of(population.seed, Subject::Inbound, u64::from(number));
            let record = match records.last() {
                // Two opens in one second: rows alike in every field.
                Some(previous) if number >= PATTERN && chance.percent(1) => previous.clone(),
                // Two links in one second: rows that differ in little.
                Some(previous) if previous.kind == ActivityKind::Click && chance.percent(8) => {
                    Self { detail: previous.detail.wrapping_add(1), ..previous.clone() }
                }
                _ => Self::answer(population, number, sends, &mut chance),
            };
            records.push(record);
        }
        records
    }

    fn send(population: &Population<'_>, number: u32, chance: &mut Chance) -> Self {
        let delivery = if number < PATTERN {
            population.recent_delivery(number % 5)
        } else {
            let number = chance.skewed(population.recent);
            population.recent_delivery(number)
        };
        let instant = if delivery.is_burst() {
            let burst = delivery.start.plus_nanos(chance.share(120_000_000_000, 3));
            super::sometimes_whole(chance, 50, burst)
        } else {
            let (from, to) = population.activity_window();
            let instant = from.plus_nanos(chance.share(to.since(from), 1));
            super::sometimes_whole(chance, 25, instant)
        };
        Self {
            created: instant.min(population.now.plus_seconds(-1)),
            contact: population.any_contact(chance),
            delivery: Some(delivery.number),
            kind: match delivery.kind {
                DeliveryKind::Sms => ActivityKind::SmsSend,
                _ => ActivityKind::Send,
            },
            send: number,
            detail: chance.below(u32::MAX),
        }
    }

    fn answer(
        population: &Population<'_>,
        number: u32,
        sends: &[Self],
        chance: &mut Chance,
    ) -> Self {
        let send_count = i64::try_from(sends.len()).unwrap_or(i64::MAX);
        let picked = chance.share(send_count, 2);
        let picked = if number < PATTERN { number } else { u32::try_from(picked).unwrap_or(0) };
        let send = match sends.get(picked as usize) {
            Some(send) => send.clone(),
            None => Self::send(population, picked, chance),
        };
        let kind = Self::answer_kind(population, number, &send, chance);
        let delay = match kind {
            ActivityKind::Bounce | ActivityKind::SmsBounce => chance.share(30_000_000_000, 2),
            _ => chance.share(5 * super::DAY_NANOS, 4),
        };
        let latest = population.now.plus_seconds(-1);
        let mut created = send.created.plus_nanos(delay);
        if created > latest {
            let room = latest.since(send.created).max(0);
            created = send.created.plus_nanos(chance.share(room, 2));
        }
        let is_webform = kind == ActivityKind::Webform;
        let anonymous = (is_webform && chance.percent(50)) || chance.below(100) == 0;
        Self {
            created: super::sometimes_whole(chance, 40, created),
            contact: send.contact.filter(|_| !anonymous || number < PATTERN),
            delivery: send.delivery.filter(|_| !is_webform),
            kind,
            send: send.send,
            detail: chance.below(u32::MAX),
        }
    }

    fn answer_kind(
        population: &Population<'_>,
        number: u32,
        send: &Self,
        chance: &mut Chance,
    ) -> ActivityKind {
        use ActivityKind as Kind;
        if send.kind == Kind::SmsSend {
            return if chance.percent(70) { Kind::SmsReply } else { Kind::SmsBounce };
        }
        let is_order = send.delivery.is_some_and(|number| {
            population.deliveries[number as usize].kind == DeliveryKind::Order
        });
        if is_order && (number < PATTERN || chance.percent(60)) {
            return Kind::Conversion;
        }
        match chance.below(100) {
            _ if number < PATTERN => Kind::Open,
            0..58 => Kind::Open,
            58..80 => Kind::Click,
            80..86 => Kind::Bounce,
            86..89 => Kind::Conversion,
            89..92 => Kind::Webform,
            92..94 => Kind::Unsubscribe,
            94..96 => Kind::Social,
            96..98 => Kind::FriendForward,
            98 => Kind::Reply,
            _ => Kind::ContactSkip,
        }
    }

    /// An activity that happens now.
    pub(crate) fn happening(
        population: &Population<'_>,
        inbound: bool,
        number: u32,
        sends: &[Self],
        chance: &mut Chance,
    ) -> Self {
        let record = if inbound {
            Self::answer(population, number.max(PATTERN), sends, chance)
        } else {
            Self::send(population, number.max(PATTERN), chance)
        };
        Self { created: population.now, ..record }
    }

    /// What makes the chances of this row its own; equal for rows that are equal.
    pub(crate) fn row_identity(&self) -> u64 {
        let who = u64::from(self.contact.unwrap_or(u32::MAX));
        mix(self.created.nanos().cast_unsigned()) ^ (u64::from(self.detail) << 32 | who)
    }

    fn order_id(&self, delivery: Option<&Delivery>) -> Option<String> {
        let by_order = delivery.is_some_and(|delivery| delivery.kind == DeliveryKind::Order);
        if by_order {
            Some(format!("ORD-2026-{:07}", u64::from(self.send) + 1))
        } else if self.kind == ActivityKind::Conversion {
            Some(format!("web/{:08x}", self.detail))
        } else {
            None
        }
    }

    /// Writes the fields of an activity, in schema order.
    ///
    /// What belongs to the contact or list is as it was at the time: later changes don't touch it.
    pub(crate) fn write<S: Sink>(&self, row: &mut Row<'_, S>, seed: u64, deliveries: &[Delivery]) {
        let delivery = self.delivery.and_then(|number| deliveries.get(number as usize));
        let contact = self.contact.map(|number| (number, Contact::identity(seed, number)));
        row.key_instant("createdDate", self.created);
        let contact_id = self.contact.map(|number| ObjectId::new(IdKind::Contact, number));
        row.id("contactId", contact_id);
        if let Some(delivery) = delivery {
            row.id("listId", delivery.list.map(|number| ObjectId::new(IdKind::List, number)));
            row.id("segmentId", delivery.segment.map(|n| ObjectId::new(IdKind::Segment, n)));
            row.id("keywordId", delivery.keyword.map(|n| ObjectId::new(IdKind::Keyword, n)));
            row.id("messageId", Some(ObjectId::new(IdKind::Message, delivery.message)));
            row.id("deliveryId", Some(delivery.id()));
            row.id("workflowId", delivery.workflow.map(|n| ObjectId::new(IdKind::Workflow, n)));
        }
        row.text("activityType", self.kind.name());
        if let Some((number, identity)) = &contact {
            if !self.kind.is_sms() {
                row.maybe_text("emailAddress", identity.email.as_deref());
            }
            row.maybe_text("mobileNumber", identity.mobile.as_deref());
            row.text("contactStatus", Contact::first_status(seed, *number));
        }
        if let Some(delivery) = delivery {
            Self::write_delivery(row, delivery);
        }
        self.write_detail(row, seed, delivery);
    }

    fn write_delivery<S: Sink>(row: &mut Row<'_, S>, delivery: &Delivery) {
        let named = |names: &'static [&'static str], number: Option<u32>| {
            number.and_then(|number| names.get(number as usize).copied())
        };
        row.text("messageName", delivery.message_name());
        row.text("deliveryType", delivery.type_name());
        row.instant("deliveryStart", delivery.start);
        row.maybe_text("workflowName", named(words::WORKFLOWS, delivery.workflow));
        row.maybe_text("segmentName", named(words::SEGMENTS, delivery.segment));
        if let Some(number) = delivery.list {
            row.text("listName", &list::name(number, 0));
            row.text("listLabel", list::label(number));
        }
        if delivery.automator {
            row.text("automatorName", "Order <confirmation> automator");
        }
        row.maybe_text("smsKeywordName", named(words::KEYWORDS, delivery.keyword));
    }

    fn write_detail<S: Sink>(&self, row: &mut Row<'_, S>, seed: u64, delivery: Option<&Delivery>) {
        let mut chance = Chance::of(seed, Subject::ActivityDetail, u64::from(self.detail));
        match self.kind {
            ActivityKind::Bounce | ActivityKind::SmsBounce => {
                row.text("bounceType", chance.pick_skewed(words::BOUNCE_TYPES));
                row.free_text("bounceReason", chance.pick_skewed(words::BOUNCE_REASONS));
            }
            ActivityKind::ContactSkip => row.text("skipReason", chance.pick(words::SKIP_REASONS)),
            ActivityKind::Click => {
                if chance.percent(80) {
                    row.text("linkName", chance.pick_skewed(words::LINK_NAMES));
                }
                row.free_text("linkUrl", &link_url(&mut chance, self.detail));
            }
            _ => {}
        }
        row.maybe_text("orderId", self.order_id(delivery).as_deref());
        match self.kind {
            ActivityKind::Unsubscribe => {
                row.text("unsubscribeMethod", chance.pick_skewed(words::UNSUBSCRIBE_METHODS));
            }
            ActivityKind::FriendForward => {
                let friend = chance.below(100_000);
                row.text("ftafEmails", &format!("friend{friend}@example.net, λίλα@example.org"));
            }
            ActivityKind::Social => {
                row.text("socialNetwork", chance.pick_skewed(words::SOCIAL_NETWORKS));
                row.text("socialActivity", if chance.percent(70) { "view" } else { "share" });
            }
            ActivityKind::Webform => {
                let count = u32::try_from(words::WEBFORMS.len()).expect("a short table");
                let number = chance.skewed(count);
                let (name, kind) = words::WEBFORMS[number as usize];
                row.text("webformType", kind);
                row.text("webformAction", if chance.percent(60) { "view" } else { "submitted" });
                row.text("webformName", name);
                row.id("webformId", Some(ObjectId::new(IdKind::Webform, number)));
            }
            _ => {}
        }
    }
}

/// A link with its tracking parameters; one in fifty is several kilobytes long.
fn link_url(chance: &mut Chance, detail: u32) -> String {
    let path = chance.pick_skewed(words::LINK_PATHS);
    let mut url = format!(
        "https://shop.example.com/{path}?utm_source=bronto&utm_medium=email&utm_campaign=c{}&_bta_tid={detail:08x}",
        chance.below(200)
    );
    if chance.below(50) == 0 {
        for parameter in 0..60 + chance.below(200) {
            write!(url, "&p{parameter}={:016x}", chance.bits()).expect("writing to a string");
        }
    }
    url
}

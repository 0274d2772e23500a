//! Deliveries: what was sent, to whom, and when. Activities and unsubscribes refer to them.

use crate::account::ids::{IdKind, ObjectId};
use crate::account::words;
use crate::chance::{Chance, Subject};
use crate::instant::UtcInstant;

/// What a delivery was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryKind {
    /// To everyone on a list, at once.
    List,
    /// To everyone in a segment, at once.
    Segment,
    /// By a step of a workflow, one by one.
    Workflow,
    /// A confirmation for an order, one by one.
    Order,
    /// A text message to the subscribers of a keyword, at once.
    Sms,
    /// A split test, at once.
    Split,
}

/// The first deliveries are one of each kind, so that every join finds rows in the smallest account.
const FIRST_KINDS: [DeliveryKind; 5] = [
    DeliveryKind::List,
    DeliveryKind::Segment,
    DeliveryKind::Workflow,
    DeliveryKind::Order,
    DeliveryKind::Sms,
];

const LATER_KINDS: &[DeliveryKind] = &[
    DeliveryKind::List,
    DeliveryKind::Segment,
    DeliveryKind::Workflow,
    DeliveryKind::List,
    DeliveryKind::Order,
    DeliveryKind::Split,
    DeliveryKind::Sms,
];

/// A delivery.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) number: u32,
    pub(crate) kind: DeliveryKind,
    pub(crate) start: UtcInstant,
    pub(crate) message: u32,
    pub(crate) list: Option<u32>,
    pub(crate) segment: Option<u32>,
    pub(crate) keyword: Option<u32>,
    pub(crate) workflow: Option<u32>,
    pub(crate) automator: bool,
}

impl Delivery {
    pub(crate) fn generate(seed: u64, number: u32, start: UtcInstant, lists: u32) -> Self {
        let mut chance = Chance::of(seed, Subject::Delivery, u64::from(number));
        let kind = FIRST_KINDS
            .get(number as usize)
            .copied()
            .unwrap_or_else(|| chance.pick_skewed(LATER_KINDS));
        let mut one_of = |wanted: bool, available: u32| {
            let choice = chance.skewed(available);
            (wanted && available > 0).then_some(choice)
        };
        let to_list = matches!(kind, DeliveryKind::List | DeliveryKind::Split);
        let count = |table: usize| u32::try_from(table).expect("a short table");
        let list = one_of(to_list, lists);
        let segment = one_of(kind == DeliveryKind::Segment, count(words::SEGMENTS.len()));
        let keyword = one_of(kind == DeliveryKind::Sms, count(words::KEYWORDS.len()));
        let workflow = one_of(kind == DeliveryKind::Workflow, count(words::WORKFLOWS.len()));
        let message = chance.below(count(words::MESSAGES.len()));
        Self {
            number,
            kind,
            start: super::sometimes_whole(&mut chance, 70, start),
            message,
            list,
            segment,
            keyword,
            workflow,
            automator: kind == DeliveryKind::Order && chance.percent(50),
        }
    }

    pub(crate) fn id(&self) -> ObjectId {
        ObjectId::new(IdKind::Delivery, self.number)
    }

    /// Whether everything went out at once.
    pub(crate) fn is_burst(&self) -> bool {
        !matches!(self.kind, DeliveryKind::Workflow | DeliveryKind::Order)
    }

    /// The `deliveryType` of its activities.
    pub(crate) fn type_name(&self) -> &'static str {
        match self.kind {
            DeliveryKind::List | DeliveryKind::Segment | DeliveryKind::Sms => "bulk",
            DeliveryKind::Workflow | DeliveryKind::Order => "trigger",
            DeliveryKind::Split => "split",
        }
    }

    pub(crate) fn message_name(&self) -> &'static str {
        words::MESSAGES[self.message as usize]
    }
}

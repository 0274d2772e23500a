//! What a source has, drawn from a seed: the steps of four streams, one after the other.

/// A seed, from which everything is drawn.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        // Neighbouring seeds are to have nothing in common, and none may be zero.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    pub(super) fn below(&mut self, sides: usize) -> usize {
        usize::try_from(self.roll(sides as u64)).unwrap_or_default()
    }
}

/// A stream, by how its rows are told apart and which of them stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Rows with a key, of which the later one stays. Their columns come and go and change their types, and the table is
    /// replaced now and then.
    Items,
    /// Rows with a key, of which the one with the later replication key stays, whichever comes first.
    People,
    /// Rows with a key, of which the greatest stays and the others are rejects.
    Optouts,
    /// Rows without a key.
    Log,
}

pub(super) const KINDS: [Kind; 4] = [Kind::Items, Kind::People, Kind::Optouts, Kind::Log];
pub(super) const KEYS: [&str; 7] = ["a", "b", "A", "é", "e\u{301}", "", "'; \"\\\n"];
/// How many columns of items come and go.
pub(super) const NOTES: usize = 3;
/// How many types the value of an item may have.
pub(super) const TYPES: usize = 6;
/// Numbers from here on are given once only.
pub(super) const FIRST_SERIAL: u64 = 1_000_000;

/// The columns of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// The type of the value.
    pub(super) of: usize,
    /// Which of the columns that come and go are there, bit by bit.
    pub(super) notes: u64,
}

impl Shape {
    pub(super) fn has_note(self, note: usize) -> bool {
        self.notes >> note & 1 == 1
    }
}

/// A row: its key, none for one that can't be loaded; the number that its values are made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) key: Option<usize>,
    pub(super) number: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Rows that merge into the live table, or wait in the version that is open.
    Rows { shape: Shape, rows: Vec<Row>, waiting: bool },
    /// Two pages of two workers: the first was asked for first, and comes last.
    Crossed { shape: Shape, first: Vec<Row>, last: Vec<Row> },
    /// A version of the table begins.
    Begin,
    /// It takes the table's place.
    Activate,
    /// Everything up to here may be stored as read.
    Bookmark,
}

#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) kind: Kind,
    pub(super) act: Act,
}

/// The history of all streams, which grows.
pub(super) struct History {
    pub(super) steps: Vec<Step>,
    shapes: [Shape; 2],
    open: Vec<Kind>,
    serial: u64,
}

impl History {
    pub(super) fn new() -> Self {
        let plain = Shape { of: 0, notes: 0 };
        Self { steps: Vec::new(), shapes: [plain; 2], open: Vec::new(), serial: FIRST_SERIAL }
    }

    /// Adds steps, and bookmarks of all streams behind them.
    pub(super) fn grow(&mut self, dice: &mut Dice, steps: usize) {
        for _ in 0..steps {
            let kind = KINDS[dice.below(KINDS.len())];
            let act = self.act(kind, dice);
            self.steps.push(Step { kind, act });
        }
        for kind in std::mem::take(&mut self.open) {
            self.steps.push(Step { kind, act: Act::Activate });
        }
        self.steps.extend(KINDS.map(|kind| Step { kind, act: Act::Bookmark }));
    }

    fn act(&mut self, kind: Kind, dice: &mut Dice) -> Act {
        let is_open = self.open.contains(&kind);
        let has_versions = matches!(kind, Kind::Items | Kind::Log);
        match dice.roll(10) {
            0 if has_versions && is_open => {
                self.open.retain(|open| *open != kind);
                Act::Activate
            }
            0 if has_versions => {
                self.open.push(kind);
                Act::Begin
            }
            1..=2 if !is_open => Act::Bookmark,
            3 if kind == Kind::People => {
                let shape = self.shape(kind, dice);
                Act::Crossed { shape, first: self.rows(kind, dice), last: self.rows(kind, dice) }
            }
            _ => Act::Rows {
                shape: self.shape(kind, dice),
                rows: self.rows(kind, dice),
                waiting: is_open && dice.roll(5) > 0,
            },
        }
    }

    fn shape(&mut self, kind: Kind, dice: &mut Dice) -> Shape {
        let shape = match kind {
            Kind::Items => &mut self.shapes[0],
            Kind::Log => &mut self.shapes[1],
            Kind::People | Kind::Optouts => return self.shapes[1],
        };
        if dice.roll(3) == 0 {
            shape.of = dice.below(TYPES);
        }
        if dice.roll(3) == 0 {
            shape.notes ^= 1 << dice.roll(NOTES as u64);
        }
        *shape
    }

    fn rows(&mut self, kind: Kind, dice: &mut Dice) -> Vec<Row> {
        let count = 1 + dice.roll(6);
        let row = |_| {
            let may_lack_key = matches!(kind, Kind::People | Kind::Optouts);
            let has_key = !may_lack_key || dice.roll(12) > 0;
            let key = has_key.then(|| dice.below(KEYS.len()));
            // A row that is a reject, or has no key, is told from others by its number.
            let number = if has_key && kind != Kind::Log {
                dice.roll(6)
            } else {
                self.serial += 1;
                self.serial
            };
            Row { key, number }
        };
        (0..count).map(row).collect()
    }
}

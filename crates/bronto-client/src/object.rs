//! The shape of Bronto's objects: one table of fields per object.
//!
//! Everything that depends on an object's fields is driven by its table: decoding, columns,
//! schemas, documentation. A new object is a new table.

/// An object that a read returns.
#[derive(Debug)]
pub struct ObjectTable {
    /// The name of the object's type in the WSDL, for example `contactObject`.
    pub name: &'static str,
    /// Its fields in schema order, the members of groups in place. At most 64.
    pub fields: &'static [Field],
}

/// A field of an object.
#[derive(Debug)]
pub struct Field {
    /// The name of its element, which is also its column's name.
    pub name: &'static str,
    /// The element around it, if it isn't a child of the object itself.
    pub group: Option<&'static str>,
    /// How its text reads.
    pub kind: Kind,
    /// What it means.
    pub documentation: &'static str,
}

/// How the text of a field reads, after its type in the WSDL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `xs:string`.
    Text,
    /// `xs:dateTime`, see [`lexical::DateTime`](crate::lexical::DateTime).
    DateTime,
    /// `xs:boolean`, see [`lexical::boolean`](crate::lexical::boolean).
    Boolean,
    /// `xs:long`, see [`lexical::integer`](crate::lexical::integer).
    Integer,
    /// `xs:float`: decimal digits, perhaps with an exponent, or `NaN`, `INF`, `-INF`. See
    /// [`lexical::float`](crate::lexical::float).
    Float,
    /// `xs:decimal`, see [`lexical::decimal`](crate::lexical::decimal).
    Decimal,
    /// `xs:string`, repeated.
    TextList,
    /// `contactField`, repeated: pairs of a field id and a content.
    CustomFields,
    /// Elements with elements in them, repeated, that nothing here needs: passed over.
    PassedOver,
}

impl Kind {
    /// Whether the element may come more than once in one object.
    pub fn is_repeated(self) -> bool {
        matches!(self, Self::TextList | Self::CustomFields | Self::PassedOver)
    }
}

/// Where an element belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is the field at that index.
    Field(usize),
    /// It is the group whose first member is at that index.
    Group(usize),
}

impl ObjectTable {
    /// The index of the field with that name.
    ///
    /// ```
    /// assert_eq!(bronto_client::LIST.index_of("label"), Some(2));
    /// ```
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// Finds the place of an element inside `group` (`None`: inside the object itself).
    ///
    /// Elements come in schema order, so the search runs forward from `start`, just behind the
    /// last hit, and usually ends at its first step; it wraps around, so any order is found.
    pub(crate) fn locate(&self, name: &str, group: Option<&str>, start: usize) -> Option<Place> {
        let (before, after) = self.fields.split_at(start.min(self.fields.len()));
        locate_in(after, name, group)
            .map(|place| place.shifted(before.len()))
            .or_else(|| locate_in(before, name, group))
    }
}

impl Place {
    /// The place, if its slice began `by` fields further on.
    fn shifted(self, by: usize) -> Self {
        match self {
            Self::Field(index) => Self::Field(index + by),
            Self::Group(index) => Self::Group(index + by),
        }
    }
}

/// Whether two groups are the same. As a rule both names come from one table, so that they are one text.
#[inline]
pub(crate) fn is_same(left: Option<&str>, right: Option<&str>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => std::ptr::eq(left, right) || left == right,
        (left, right) => left.is_none() && right.is_none(),
    }
}

/// The first place in a run of fields that fits the element.
fn locate_in(fields: &[Field], name: &str, group: Option<&str>) -> Option<Place> {
    fields.iter().enumerate().find_map(|(index, field)| {
        if field.name == name && is_same(field.group, group) {
            Some(Place::Field(index))
        } else if group.is_none() && field.group == Some(name) {
            Some(Place::Group(index))
        } else {
            None
        }
    })
}

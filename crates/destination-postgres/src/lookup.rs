//! Which rows of a load a table has already, and where.

use bytes::BytesMut;
use replication::destination::{DestinationError, DestinationErrorKind};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::{
    encode::{Encoder, Picked, Rows},
    failure::{Doing, unexpected},
    session::Session,
    sql::merge::{KEYS, Merge},
};

/// Where a table has a row, as the server says it (`ctid`): it means nothing to us, and holds until somebody changes
/// the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot(pub(crate) [u8; 6]);

impl<'a> FromSql<'a> for Spot {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.try_into()?))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TID
    }
}

impl ToSql for Spot {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TID
    }

    to_sql_checked!();
}

/// What a table has of a load.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Where it has each row; null for those that are new.
    pub(crate) spots: Vec<Option<Spot>>,
    /// The places of the rows that are new.
    pub(crate) new: Vec<u32>,
    /// The places of those that it has.
    pub(crate) known: Vec<u32>,
    /// Whether each table may hold rows: the table first, then its subtables.
    pub(crate) filled: Vec<bool>,
    /// Whether the stage of keys was made.
    pub(crate) has_keys: bool,
}

impl Found {
    fn new(spots: Vec<Option<Spot>>, filled: Vec<bool>, has_keys: bool) -> Self {
        let (mut new, mut known) = (Vec::new(), Vec::new());
        for (place, spot) in (0..).zip(&spots) {
            if spot.is_some() { &mut known } else { &mut new }.push(place);
        }
        Self { spots, new, known, filled, has_keys }
    }
}

impl Session<'_> {
    /// Looks the rows of a load up.
    pub(crate) async fn look_up(
        &self,
        sql: &Merge<'_>,
        rows: &Rows<'_>,
    ) -> Result<Found, DestinationError> {
        let tables = sql.tables.names().count();
        if sql.layout.has_generated_key() {
            // Made a moment ago, and nobody else has them.
            return Ok(Found::new(vec![None; rows.count()], vec![false; tables], false));
        }
        let doing = Doing::work(format!("look for rows of `{}`", sql.layout.table));
        let filled = self.connection.query_one(&sql.are_filled(), &[], &doing).await?;
        let filled: Vec<bool> = (0..tables).map(|column| filled.get(column)).collect();
        let mut spots = vec![None; rows.count()];
        if !filled.contains(&true) {
            return Ok(Found::new(spots, filled, false));
        }
        self.connection.run(&sql.create_keys(), &doing).await?;
        let keys = Encoder::for_keys(rows);
        let sent =
            self.connection.copy(&sql.copy_keys(), keys, &Doing::rows(&sql.layout.table)).await?;
        if usize::try_from(sent) != Ok(rows.count()) {
            return Err(unexpected(&doing));
        }
        if filled.first() == Some(&true) {
            let known = self.connection.query_one(&sql.look_up(), &[], &doing).await?;
            let places: Option<Vec<i32>> = known.get(0);
            let found: Option<Vec<Spot>> = known.get(1);
            for (place, spot) in places.into_iter().flatten().zip(found.into_iter().flatten()) {
                let entry = usize::try_from(place).ok().and_then(|place| spots.get_mut(place));
                *entry.ok_or_else(|| unexpected(&doing))? = Some(spot);
            }
        }
        Ok(Found::new(spots, filled, true))
    }
}

impl Found {
    /// The rows that are new, as they are picked for sending.
    pub(crate) fn picked(&self) -> Picked<'_> {
        if self.known.is_empty() { Picked::All } else { Picked::These(&self.new) }
    }

    /// The places of the rows that are new and of those at these spots, in order.
    pub(crate) fn new_and(&self, mut spots: Vec<Spot>) -> Vec<u32> {
        spots.sort_unstable();
        let wanted = (0..)
            .zip(&self.spots)
            .filter(|(_, spot)| spot.is_none_or(|spot| spots.binary_search(&spot).is_ok()));
        wanted.map(|(place, _)| place).collect()
    }

    /// The stages that were made.
    pub(crate) fn stages(&self) -> Vec<&'static str> {
        if self.has_keys { vec![KEYS] } else { Vec::new() }
    }
}

/// Rows that somebody else changed while a load was written.
pub(crate) fn disturbed(table: &str) -> DestinationError {
    DestinationError::new(
        DestinationErrorKind::Busy,
        format!("Somebody else changed rows of `{table}` while they were written"),
        "Let nobody else write the table while a run goes on; the same work can be tried again",
    )
}

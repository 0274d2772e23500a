//! Log lines of runs, and how many of them are kept.

use std::{
    borrow::Cow,
    fmt::{self, Write},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Store, StoreError,
    database::{Dialect, Row, Value, values},
    first,
    runs::not_found,
};
use crate::name::closed_names;

closed_names! {
    /// How grave a line is.
    LogLevel {
        /// For finding faults.
        Debug = "DEBUG",
        /// As it should be.
        Info = "INFO",
        /// Unexpected, and gone on.
        Warning = "WARNING",
        /// Something failed, and the run went on.
        Error = "ERROR",
        /// The run ended.
        Critical = "CRITICAL",
    }
}

/// A line to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLogLine {
    /// When it was written.
    pub logged_at: DateTime<Utc>,
    /// Where it came from: `main`, `tap` or `target`.
    pub location: String,
    /// How grave it is.
    pub level: LogLevel,
    /// What it says.
    pub body: String,
}

/// Stitch's form: `2017-11-21 18:16:08,389Z    tap - INFO …`. The text comes from outside: further lines of it are set in,
/// so that none looks like a line of its own, and what would steer a terminal is written out.
impl fmt::Display for NewLogLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let logged_at = self.logged_at.format("%Y-%m-%d %H:%M:%S,%3fZ");
        write!(formatter, "{logged_at} {:>6} - {} ", self.location, self.level.name())?;
        for letter in self.body.trim_end().chars() {
            match letter {
                '\n' => formatter.write_str("\n    ")?,
                '\t' => formatter.write_char(letter)?,
                '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    write!(formatter, "{}", letter.escape_unicode())?;
                }
                letter if letter.is_control() => write!(formatter, "{}", letter.escape_unicode())?,
                letter => formatter.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// A line that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its number in the run, from 1. Lines that were dropped have numbers too.
    pub number: u64,
    /// The line.
    pub line: NewLogLine,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Lines of one run; what comes after is counted and not stored.
    pub lines_per_run: u64,
    /// How long the lines of a run that has ended are kept.
    pub age: TimeDelta,
    /// Bytes of all runs together; the oldest go first.
    pub bytes: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { lines_per_run: 100_000, age: TimeDelta::days(60), bytes: 1 << 30 }
    }
}

/// The longest text that a log line or an error may bring, in bytes.
const LONGEST_TEXT: usize = 16 << 10;

/// A text from outside as it is stored: one that is too long is cut, and says so.
pub(super) fn bounded(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST_TEXT {
        return text.into();
    }
    let cut = &text[..text.floor_char_boundary(LONGEST_TEXT)];
    format!("{cut}… (cut off: {} bytes in all)", text.len()).into()
}

/// The statement for lines of a run after a number, of some levels.
macro_rules! lines {
    ($levels:expr) => {
        concat!(
            "select line_number, logged_at, location, level, body from log_lines \
             where run_id = $1 and line_number > $2 ",
            $levels,
            " order by line_number limit $3"
        )
    };
}

/// The same for lines up to another number that are like a pattern. Without a locale, both databases take only the letters
/// of ASCII for alike in both cases.
macro_rules! lines_like {
    ($like:literal, $levels:literal) => {
        concat!(
            "select line_number, logged_at, location, level, body from log_lines \
             where run_id = $1 and line_number > $2 and line_number <= $4 and body ",
            $like,
            " $5 escape '\\' ",
            $levels,
            " order by line_number limit $3"
        )
    };
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLines {
    /// The lines.
    pub lines: Vec<LogLine>,
    /// The number of the last line that was looked at, if there are more.
    pub next: Option<u64>,
}

/// Of so many lines one is grave, about: so many more are looked through for those alone.
const GRAVE_SHARE: u64 = 20;

/// How many runs are looked at together when logs are deleted.
const PRUNED_AT_ONCE: i64 = 100;

/// What a line needs in the store beside its text, roughly.
const LINE_OVERHEAD: usize = 64;

impl Store {
    /// Stores lines of a run, in their order. Beyond the run's limit they are counted instead.
    ///
    /// # Errors
    /// When there is no such run.
    pub async fn append_log(
        &self,
        run_id: &str,
        lines: &[NewLogLine],
        limits: &LogLimits,
    ) -> Result<(), StoreError> {
        let mut transaction = self.database.begin().await?;
        // The update keeps others from numbering lines of the run at the same time.
        let lock = "update runs set log_lines = log_lines where id = $1";
        transaction.change(lock, values![run_id]).await?;
        let size = "select log_lines, log_lines_dropped from runs where id = $1";
        let row = first(transaction.as_mut(), size, values![run_id]).await?;
        let mut row = row.ok_or_else(|| not_found(run_id))?;
        let (kept, dropped) = (row.count()?, row.count()?);
        let room = usize::try_from(limits.lines_per_run.saturating_sub(kept)).unwrap_or(usize::MAX);
        let (stored, rest) = lines.split_at(room.min(lines.len()));
        let mut bytes = 0_usize;
        let rows = (kept + dropped + 1..).zip(stored).map(|(number, line)| {
            let body = bounded(&line.body);
            bytes += body.len() + LINE_OVERHEAD;
            values![run_id, number, line.logged_at, &line.location, line.level.name(), &*body]
        });
        let rows: Vec<Vec<Value>> = rows.collect();
        let insert = "insert into log_lines (run_id, line_number, logged_at, location, level, body) \
                      values ($1, $2, $3, $4, $5, $6)";
        transaction.change_each(insert, rows).await?;
        let update = "update runs set log_lines = log_lines + $1, log_bytes = log_bytes + $2, \
                      log_lines_dropped = log_lines_dropped + $3 where id = $4";
        let counts = values![stored.len(), bytes, rest.len(), run_id];
        transaction.change(update, counts).await?;
        transaction.commit().await
    }

    /// Lines of a run after a number, at most so many: from the beginning after 0.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn log(
        &self,
        run_id: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<LogLine>, StoreError> {
        self.log_from(run_id, after, LogLevel::Debug, limit).await
    }

    /// Lines of a run after a number that are of a level or graver, at most so many.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn log_from(
        &self,
        run_id: &str,
        after: u64,
        level: LogLevel,
        limit: u32,
    ) -> Result<Vec<LogLine>, StoreError> {
        // Grave lines are few among many, and have an index of their own.
        let sql = match level {
            LogLevel::Debug => lines!(""),
            LogLevel::Info => lines!("and level <> 'DEBUG'"),
            LogLevel::Warning => lines!("and level in ('WARNING', 'ERROR', 'CRITICAL')"),
            LogLevel::Error => {
                lines!("and level in ('WARNING', 'ERROR', 'CRITICAL') and level <> 'WARNING'")
            }
            LogLevel::Critical => {
                lines!("and level in ('WARNING', 'ERROR', 'CRITICAL') and level = 'CRITICAL'")
            }
        };
        self.read(sql, values![run_id, after, limit], log_line).await
    }

    /// Lines of a run after a number that are of a level or graver and hold a text, whatever the case of its letters, at
    /// most so many, among the next `looked_at` lines; more of them where only grave lines are wanted, which are few.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn search_log(
        &self,
        run_id: &str,
        after: u64,
        level: LogLevel,
        text: &str,
        looked_at: u64,
        limit: u32,
    ) -> Result<FoundLines, StoreError> {
        let last = "select coalesce(max(line_number), 0) from log_lines where run_id = $1";
        let last = self.read(last, values![run_id], |mut row: Row| row.count()).await?;
        let last = last.into_iter().max().unwrap_or(0);
        let is_grave = level >= LogLevel::Warning;
        let looked_at = if is_grave { looked_at.saturating_mul(GRAVE_SHARE) } else { looked_at };
        let until = after.saturating_add(looked_at).min(last);
        // The database finds what may be meant, and all letters are compared here.
        let sql = match (self.database.dialect(), is_grave) {
            (Dialect::Sqlite, false) => lines_like!("like", ""),
            (Dialect::Sqlite, true) => {
                lines_like!("like", "and level in ('WARNING', 'ERROR', 'CRITICAL')")
            }
            (Dialect::Postgres, false) => lines_like!("collate \"C\" ilike", ""),
            (Dialect::Postgres, true) => {
                lines_like!("collate \"C\" ilike", "and level in ('WARNING', 'ERROR', 'CRITICAL')")
            }
        };
        let text = text.to_lowercase();
        let pattern = pattern(&text);
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let (mut lines, mut from) = (Vec::new(), after);
        loop {
            let values = values![run_id, from, limit, until, &pattern];
            let page = self.read(sql, values, log_line).await?;
            let is_last = page.len() < wanted;
            for line in page {
                from = line.number;
                if line.line.level >= level && line.line.body.to_lowercase().contains(&text) {
                    lines.push(line);
                }
                if lines.len() == wanted {
                    return Ok(FoundLines { lines, next: (from < last).then_some(from) });
                }
            }
            if is_last {
                return Ok(FoundLines { lines, next: (until < last).then_some(until) });
            }
        }
    }

    /// Deletes the lines of runs that ended too long ago, and then of the oldest until the rest has room, beside those of
    /// runs that are alive, which stay. Answers of how many runs.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn prune_logs(
        &self,
        limits: &LogLimits,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let sum = "select cast(coalesce(sum(log_bytes), 0) as bigint) from runs where log_lines > 0 and ended_at is null \
                   union all \
                   select cast(coalesce(sum(log_bytes), 0) as bigint) from runs where log_lines > 0 and ended_at is not null";
        let sums = self.read(sum, values![], |mut row: Row| row.count()).await?;
        let mut bytes = sums.into_iter().fold(0_u64, u64::saturating_add);
        let oldest = "select id, log_bytes, ended_at from runs where log_lines > 0 and ended_at is not null \
                      order by ended_at, id limit $1";
        let read = |mut row: Row| Ok((row.text()?, row.count()?, row.instant()?));
        let mut pruned = 0;
        loop {
            let runs = self.read(oldest, values![PRUNED_AT_ONCE], read).await?;
            if runs.is_empty() {
                return Ok(pruned);
            }
            for (run_id, bytes_of_run, ended_at) in runs {
                if now - ended_at <= limits.age && bytes <= limits.bytes {
                    return Ok(pruned);
                }
                self.forget_log(&run_id).await?;
                bytes = bytes.saturating_sub(bytes_of_run);
                pruned += 1;
            }
        }
    }

    /// Deletes the lines of a run, in a transaction of its own, so that no other waits long.
    async fn forget_log(&self, run_id: &str) -> Result<(), StoreError> {
        let mut transaction = self.database.begin().await?;
        transaction.change("delete from log_lines where run_id = $1", values![run_id]).await?;
        let forget = "update runs set log_lines_dropped = log_lines_dropped + log_lines, log_lines = 0, log_bytes = 0 \
                      where id = $1";
        transaction.change(forget, values![run_id]).await?;
        transaction.commit().await
    }
}

fn log_line(mut row: Row) -> Result<LogLine, StoreError> {
    let number = row.count()?;
    let line = NewLogLine {
        logged_at: row.instant()?,
        location: row.text()?,
        level: row.named(LogLevel::named)?,
        body: row.text()?,
    };
    Ok(LogLine { number, line })
}

/// The pattern that all texts fulfil which hold this one in letters of either case: a letter beyond ASCII stands for
/// anything.
fn pattern(text: &str) -> String {
    let mut pattern = "%".to_owned();
    for letter in text.chars() {
        match letter {
            '%' | '_' | '\\' => pattern.extend(['\\', letter]),
            // Two letters beyond ASCII become these in lower case: the Kelvin sign, and a capital with a dot.
            'k' | 'i' => pattern.push('%'),
            letter if letter.is_ascii() => pattern.push(letter),
            _ => pattern.push('%'),
        }
    }
    pattern.push('%');
    pattern
}

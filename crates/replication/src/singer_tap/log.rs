//! A tap's log: taken line by line from its standard error into ours, without the secrets of its configuration.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line that is shown; the rest of it is left out.
const LINE_BYTES: usize = 4 << 10;
/// How many lines are kept for the message that tells of the tap's end, and how much of each.
const LAST_LINES: usize = 5;
const LAST_LINE_CHARACTERS: usize = 400;
/// What stands in the log where a secret stood.
const MASK: &str = "[secret]";
/// The shortest line of a secret of several lines that is masked by itself.
const SHORTEST_PART: usize = 8;

/// Masks secrets, in every form in which a program might write them.
pub(super) struct Masks(Vec<SecretString>);

impl Masks {
    pub(super) fn new(secrets: &[SecretString]) -> Self {
        let mut forms: Vec<String> = Vec::new();
        for secret in secrets.iter().map(ExposeSecret::expose_secret) {
            forms.push(secret.to_owned());
            forms.push(escaped(secret));
            forms.push(ascii_escaped(secret));
            forms.push(shown_by_python(secret));
            forms.push(percent_encoded(secret));
            forms.extend(
                secret
                    .lines()
                    .filter(|line| line.len() >= SHORTEST_PART && line.len() < secret.len())
                    .map(str::to_owned),
            );
        }
        forms.retain(|form| !form.is_empty());
        // A form that holds another one must go first, or its rest would stay.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self(forms.into_iter().map(SecretString::from).collect())
    }

    fn apply(&self, line: &str) -> String {
        let mut masked = line.to_owned();
        for secret in &self.0 {
            if masked.contains(secret.expose_secret()) {
                masked = masked.replace(secret.expose_secret(), MASK);
            }
        }
        masked
    }
}

/// The text as it stands within a JSON string.
fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.unwrap_or_default().to_owned()
}

/// The text as it stands within a JSON string that is ASCII only, as Python writes it.
fn ascii_escaped(text: &str) -> String {
    let mut ascii = String::new();
    for character in escaped(text).chars() {
        if character.is_ascii() && character != '\u{7f}' {
            ascii.push(character);
        } else {
            let units = character.encode_utf16(&mut [0; 2]).to_vec();
            ascii.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    ascii
}

/// The text as it stands between the quotes where Python shows a value.
fn shown_by_python(text: &str) -> String {
    let shown = text.replace('\\', "\\\\").replace('\n', "\\n");
    let shown = shown.replace('\r', "\\r").replace('\t', "\\t");
    if text.contains('"') { shown.replace('\'', "\\'") } else { shown }
}

/// The text as it stands in an address.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The last lines of a tap's log that may tell why it ended: those that call themselves information only count where
/// there are no others.
#[derive(Debug, Clone, Default)]
pub(super) struct LastLines(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    telling: VecDeque<String>,
    any: VecDeque<String>,
}

impl LastLines {
    fn add(&self, line: &str, is_information: bool) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = if is_information { &mut kept.any } else { &mut kept.telling };
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line.chars().take(LAST_LINE_CHARACTERS).collect());
    }

    /// The lines, the newest last.
    pub(super) fn lines(&self) -> Vec<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = if kept.telling.is_empty() { &kept.any } else { &kept.telling };
        lines.iter().cloned().collect()
    }
}

/// Passes everything on to our log until it ends.
pub(super) async fn pass_on<R: AsyncRead + Unpin>(mut stderr: R, masks: Masks, last: LastLines) {
    let mut chunk = vec![0; 16 << 10];
    let mut line = BoundedLine::default();
    loop {
        let count = match stderr.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        for byte in chunk.get(..count).unwrap_or_default() {
            if *byte == b'\n' {
                say(&line.take(&masks), &last);
            } else {
                line.push(*byte);
            }
        }
    }
    say(&line.take(&masks), &last);
}

/// A line of which no more than [`LINE_BYTES`] are kept.
#[derive(Default)]
struct BoundedLine {
    bytes: Vec<u8>,
    left_out: usize,
}

impl BoundedLine {
    fn push(&mut self, byte: u8) {
        if self.bytes.len() < LINE_BYTES {
            self.bytes.push(byte);
        } else {
            self.left_out += 1;
        }
    }

    fn take(&mut self, masks: &Masks) -> String {
        let bytes = std::mem::take(&mut self.bytes);
        let left_out = std::mem::take(&mut self.left_out);
        // Masked as the tap wrote it: secrets may hold what is replaced or trimmed.
        let mut text: String = masks
            .apply(&String::from_utf8_lossy(&bytes))
            .trim_end()
            .chars()
            .map(|character| if character.is_control() { ' ' } else { character })
            .collect();
        if left_out > 0 {
            // A secret that is cut by the bound would not be recognised, so the word at the edge goes too.
            text.truncate(text.rfind(' ').unwrap_or(0));
            text.push_str(&format!(" … ({left_out} bytes more)"));
        }
        text
    }
}

fn say(line: &str, last: &LastLines) {
    if line.is_empty() {
        return;
    }
    let (level, body) = level(line);
    last.add(line, matches!(level, Some(Level::Debug | Level::Info)));
    match level.unwrap_or(Level::Info) {
        Level::Debug => tracing::debug!(target: "singer::tap", "{body}"),
        Level::Info => tracing::info!(target: "singer::tap", "{body}"),
        Level::Warning => tracing::warn!(target: "singer::tap", "{body}"),
        Level::Error => tracing::error!(target: "singer::tap", "{body}"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

impl Level {
    fn named(word: &str) -> Option<Self> {
        Some(match word {
            "DEBUG" | "TRACE" => Self::Debug,
            "INFO" => Self::Info,
            "WARNING" | "WARN" => Self::Warning,
            "ERROR" | "CRITICAL" | "FATAL" => Self::Error,
            _ => return None,
        })
    }
}

/// The level of a line, by the first of its leading words that names one, and what is left of it if that word stands in
/// front.
fn level(line: &str) -> (Option<Level>, &str) {
    const LEADING_WORDS: usize = 12;
    if let Some((first, rest)) = line.split_once(' ')
        && let Some(level) = Level::named(first.trim_end_matches(':'))
    {
        return (Some(level), rest.trim_start());
    }
    let words = line.split(|c: char| c.is_whitespace() || "|:[]-,=".contains(c));
    let level = words.filter(|word| !word.is_empty()).take(LEADING_WORDS).find_map(Level::named);
    (level, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_in_every_form() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----";
        let secrets = ["p\"ss/wörd", "p\"ss/wörd and more", key].map(SecretString::from);
        let masks = Masks::new(&secrets);
        let masked = |line| masks.apply(line);
        assert_eq!(masked("login with p\"ss/wörd failed"), "login with [secret] failed");
        assert_eq!(masked(r#"{"password": "p\"ss/wörd"}"#), r#"{"password": "[secret]"}"#);
        assert_eq!(masked("x://u:p%22ss%2Fw%C3%B6rd@h"), "x://u:[secret]@h");
        assert_eq!(masked("p\"ss/wörd and more"), "[secret]");
        assert_eq!(masked("key: MIIEvQIBADANBg"), "key: [secret]");
        let ascii = r#"{"password": "p\"ss/w\u00f6rd"}"#;
        assert_eq!(masked(ascii), r#"{"password": "[secret]"}"#, "as Python writes JSON");
        let quoted = Masks::new(&["a\"", "b\u{7f}🦀"].map(SecretString::from));
        assert_eq!(
            quoted.apply(r#"["a\"", "b\u007f\ud83e\udd80"]"#),
            r#"["[secret]", "[secret]"]"#
        );
        let shown = Masks::new(&["c\\d\"e"].map(SecretString::from));
        assert_eq!(
            shown.apply(r#"{'key': 'c\\d"e'}"#),
            "{'key': '[secret]'}",
            "as Python shows values"
        );
    }

    #[test]
    fn levels_are_found_where_taps_write_them() {
        assert_eq!(level("INFO Starting sync"), (Some(Level::Info), "Starting sync"));
        assert_eq!(level("CRITICAL no such host"), (Some(Level::Error), "no such host"));
        let sdk = "2026-11-23 13:00:00,125 | WARNING  | tap-x | slow";
        assert_eq!(level(sdk), (Some(Level::Warning), sdk));
        let pipelinewise = "time=2026-11-23 13:00:00 name=tap_postgres level=ERROR message=no";
        assert_eq!(level(pipelinewise), (Some(Level::Error), pipelinewise));
        assert_eq!(level("ValueError: bad").0, None);
    }

    #[tokio::test]
    async fn lines_are_bounded_and_the_last_ones_are_kept() {
        let long = "x".repeat(3 * LINE_BYTES);
        let input = format!("one\n\ntwo {long}\nthree\nfour\nINFO METRIC: {{}}\nfive\u{7}\nsix");
        let last = LastLines::default();
        pass_on(input.as_bytes(), Masks::new(&[]), last.clone()).await;
        let expected = ["two … (8196 bytes more)", "three", "four", "five ", "six"];
        assert_eq!(last.lines(), expected);
        let last = LastLines::default();
        let masks = Masks::new(&["hunter\t2 ".into()]);
        pass_on("with hunter\t2 \nno\thunter\t2 \tthere".as_bytes(), masks, last.clone()).await;
        assert_eq!(last.lines(), ["with [secret]", "no [secret] there"]);
        let last = LastLines::default();
        pass_on("INFO one\nDEBUG two\n".as_bytes(), Masks::new(&[]), last.clone()).await;
        assert_eq!(last.lines(), ["INFO one", "DEBUG two"]);
    }
}

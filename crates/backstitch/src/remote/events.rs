//! Server-sent events, read from a stream as its pieces come.

/// The longest event that is read, in bytes.
const LONGEST: usize = 4 << 20;

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Its name.
    pub(super) name: String,
    /// What it says.
    pub(super) data: String,
    /// The id of the last event that had one, this one included.
    pub(super) id: Option<String>,
}

/// An event that is too long to be one of ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Reads events from the pieces of a stream, wherever it is cut.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The line so far.
    line: Vec<u8>,
    /// Whether the last byte was a carriage return, which a line feed may belong to.
    was_return: bool,
    event: Event,
    has_data: bool,
}

impl Events {
    /// Takes a piece, and answers the events that end in it.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut found = Vec::new();
        for &byte in piece {
            let is_second = byte == b'\n' && self.was_return;
            self.was_return = byte == b'\r';
            match byte {
                b'\n' if is_second => {}
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    found.extend(self.end_line(&String::from_utf8_lossy(&line)));
                }
                byte => self.line.push(byte),
            }
            if self.line.len() + self.event.data.len() > LONGEST {
                return Err(TooLong);
            }
        }
        Ok(found)
    }

    fn end_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let id = self.event.id.clone();
            let next = Event { id, ..Event::default() };
            let event = std::mem::replace(&mut self.event, next);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.name = value.to_owned(),
            "id" => self.event.id = Some(value.to_owned()),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // Comments, which keep the connection alive, and what isn't known.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_wherever_the_stream_is_cut() {
        let stream = "id: 1\nevent: line\ndata: {\"a\":\ndata: \"ü\"}\n\n: alive\n\nid:2\r\nevent:line\r\ndata\r\n\r\n\
                      event: end\rdata: x: y\r\revent: lost\ndata: half"
            .as_bytes();
        let event = |id: &str, name: &str, data: &str| Event {
            name: name.to_owned(),
            data: data.to_owned(),
            id: Some(id.to_owned()),
        };
        let expected = vec![
            event("1", "line", "{\"a\":\n\"ü\"}"),
            event("2", "line", ""),
            event("2", "end", "x: y"),
        ];
        for cut in 0..=stream.len() {
            let mut events = Events::default();
            let mut found = events.take(&stream[..cut]).unwrap_or_default();
            found.extend(events.take(&stream[cut..]).unwrap_or_default());
            assert_eq!(found, expected, "cut at {cut}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut events = Events::default();
        let piece = [b'x'; 1 << 20];
        let results: Vec<bool> = (0..6).map(|_| events.take(&piece).is_ok()).collect();
        assert_eq!(results, [true, true, true, true, false, false]);
    }
}

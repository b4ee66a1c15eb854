//! Formats a line of the log as JSON: the object that tracing-subscriber's own formatter writes, but by hand, because
//! each request has a line, or two.

use std::cell::Cell;
use std::fmt;
use std::io::Write as _;

use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::lines::Logged;
use crate::clock;

thread_local! {
    /// The buffer of the last line.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Writes each event as one object. Members: `timestamp`, `level`, then the event's fields. There are no spans.
pub(super) struct Json(pub(super) Logged);

impl<S: Subscriber> Layer<S> for Json {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line(BUFFER.take());
        line.begin(event.metadata().level().as_str(), clock::instant());
        event.record(&mut line);
        line.0.extend_from_slice(b"}\n");
        // The writer counts what it cannot take.
        let _ = self.0.clone().write_all(&line.0);
        BUFFER.set(line.0);
    }
}

/// An object without its last brace.
struct Line(Vec<u8>);

impl Line {
    fn begin(&mut self, level: &str, now: OffsetDateTime) {
        self.0.clear();
        self.0.extend_from_slice(b"{\"timestamp\":\"");
        self.timestamp(now);
        self.0.extend_from_slice(b"\",\"level\":\"");
        self.0.extend_from_slice(level.as_bytes());
        self.0.push(b'"');
    }

    /// RFC 3339 with microseconds: `2026-11-28T16:00:00.000000Z`.
    fn timestamp(&mut self, now: OffsetDateTime) {
        let (year, month, day) = now.to_calendar_date();
        let (hour, minute, second, micro) = now.to_hms_micro();
        self.digits::<4>(year.unsigned_abs());
        for (separator, value) in [(b'-', month.into()), (b'-', day), (b'T', hour), (b':', minute), (b':', second)] {
            self.0.push(separator);
            self.digits::<2>(value.into());
        }
        self.0.push(b'.');
        self.digits::<6>(micro);
        self.0.push(b'Z');
    }

    /// `value` in `N` digits, with zeros before.
    fn digits<const N: usize>(&mut self, mut value: u32) {
        let mut digits = [b'0'; N];
        for digit in digits.iter_mut().rev() {
            *digit += u8::try_from(value % 10).unwrap_or_default();
            value /= 10;
        }
        self.0.extend_from_slice(&digits);
    }

    fn name(&mut self, field: &Field) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(field.name().as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn text(&mut self, text: &str) {
        if is_plain(text.as_bytes()) {
            self.0.push(b'"');
            self.0.extend_from_slice(text.as_bytes());
            self.0.push(b'"');
        } else {
            self.value(&text);
        }
    }

    /// Most values need no escapes: they are written in place, and once more only if they do.
    fn debug(&mut self, value: &dyn fmt::Debug) {
        let begin = self.0.len();
        self.0.push(b'"');
        #[expect(clippy::expect_used, reason = "into memory")]
        write!(self.0, "{value:?}").expect("text");
        let text = self.0.get(begin + 1..).unwrap_or_default();
        if is_plain(text) {
            self.0.push(b'"');
        } else {
            let text = String::from_utf8_lossy(text).into_owned();
            self.0.truncate(begin);
            self.value(&text);
        }
    }

    fn value(&mut self, value: &impl serde::Serialize) {
        #[expect(clippy::expect_used, reason = "text and numbers, into memory")]
        serde_json::to_writer(&mut self.0, value).expect("JSON");
    }
}

/// Whether JSON writes `text`, which is UTF-8, as it is.
#[expect(clippy::needless_bitwise_bool, reason = "without a branch for each byte, so many are compared at once")]
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, byte| plain & (*byte >= b' ') & (*byte != b'"') & (*byte != b'\\'))
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        self.text(value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field);
        self.value(&value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.name(field);
        self.value(&value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.name(field);
        self.value(&value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field);
        self.value(&value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field);
        self.debug(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(now: OffsetDateTime, texts: &[&str]) -> String {
        let mut line = Line(b"left from before".to_vec());
        line.begin("INFO", now);
        for text in texts {
            line.text(text);
        }
        String::from_utf8(line.0).unwrap()
    }

    #[test]
    fn a_line_begins_with_the_time_and_the_level() {
        for (nanos, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_780_315_200_000_001_999, "2026-06-01T12:00:00.000001Z"),
            (253_402_300_799_999_999_999, "9999-12-31T23:59:59.999999Z"),
        ] {
            let now = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap();
            assert_eq!(line(now, &[]), format!("{{\"timestamp\":\"{expected}\",\"level\":\"INFO\""));
        }
    }

    #[test]
    fn texts_are_json() {
        let begun = line(OffsetDateTime::UNIX_EPOCH, &[]);
        for text in ["", "orders:read", "é ✓", "a\"b", "a\\b", "\n", "\u{1f}", "\u{7f}"] {
            let expected = serde_json::to_string(text).unwrap();
            let written = line(OffsetDateTime::UNIX_EPOCH, &[text]);
            assert_eq!(written.strip_prefix(&begun).unwrap(), expected);
            let mut shown = Line(b"before".to_vec());
            shown.debug(&format_args!("{text}"));
            assert_eq!(String::from_utf8(shown.0).unwrap().strip_prefix("before").unwrap(), expected);
        }
    }
}

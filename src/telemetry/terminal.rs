//! A line of the log for a person at a terminal: one short line for a request, and words and `name=value` for the rest.

use std::fmt::{self, Write as _};

use time::format_description::well_known::Iso8601;
use time::format_description::well_known::iso8601::{Config, EncodedConfig, FormattedComponents, TimePrecision};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::{ACCESS, AUDIT};
use crate::clock;

/// The time of day in UTC, with milliseconds.
const MILLIS: EncodedConfig = Config::DEFAULT
    .set_formatted_components(FormattedComponents::Time)
    .set_time_precision(TimePrecision::Second { decimal_digits: std::num::NonZeroU8::new(3) })
    .encode();
/// As many characters of a key's id as tell it from others, as `lingpai keys list` shows it.
const KID: usize = 11;

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const DIM: &str = "2";

/// Time, level, then the request or the event. The audit's lines are left out: the request has its line.
pub(super) struct Terminal;

impl<S, N> FormatEvent<S, N> for Terminal
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let line = match metadata.target() {
            AUDIT => return Ok(()),
            ACCESS => request(&fields),
            _ => rest(&fields),
        };
        let level = *metadata.level();
        let now = clock::instant().format(&Iso8601::<MILLIS>).map_err(|_| fmt::Error)?;
        let line = painted(&format!("{}Z", now.trim_start_matches('T')), level, &line, writer.has_ansi_escapes());
        writeln!(writer, "{line}")
    }
}

/// What stands in a line, and its colour, if it has one.
type Words = Vec<(String, Option<&'static str>)>;

fn painted(now: &str, level: Level, words: &Words, in_colour: bool) -> String {
    let colour = match level {
        Level::ERROR => Some(RED),
        Level::WARN => Some(YELLOW),
        _ => None,
    };
    let head = [(now.to_owned(), Some(DIM)), (format!("{level:>5}"), colour)];
    let mut line = String::new();
    for (word, colour) in head.iter().chain(words) {
        if !line.is_empty() {
            line.push(' ');
        }
        match colour.filter(|_| in_colour) {
            Some(colour) => _ = write!(line, "\x1b[{colour}m{word}\x1b[0m"),
            None => line.push_str(word),
        }
    }
    line
}

/// `POST /token 403 412 µs orders scope_not_allowed (orders:write)`.
fn request(fields: &Fields) -> Words {
    let status = fields.of("status");
    let colour = match status.bytes().next() {
        Some(b'2' | b'3') => GREEN,
        Some(b'5') => RED,
        _ => YELLOW,
    };
    let or_dash = |name| Some(fields.of(name)).filter(|word| !word.is_empty()).unwrap_or("-").to_owned();
    let mut words = vec![
        (or_dash("method"), None),
        (or_dash("route"), None),
        (status.to_owned(), Some(colour)),
        (micros(fields), None),
    ];
    words.extend(["client", "cause"].into_iter().filter_map(|name| Some((fields.get(name)?.to_owned(), None))));
    words.extend(fields.get("refused").map(|value| (format!("({value})"), None)));
    words
}

fn micros(fields: &Fields) -> String {
    format!("{} µs", fields.of("micros"))
}

/// What happened, then what is known of it.
fn rest(fields: &Fields) -> Words {
    let mut words = vec![(fields.message.clone(), None)];
    words.extend(fields.named.iter().map(|(name, value)| {
        let value = match *name {
            "kid" | "signing" => value.get(..KID).unwrap_or(value),
            _ => value,
        };
        let value = if value.contains(' ') { format!("\"{value}\"") } else { value.to_owned() };
        (format!("{name}={value}"), Some(DIM))
    }));
    words
}

/// The fields of an event, as text in which nothing moves the cursor.
#[derive(Default)]
struct Fields {
    message: String,
    named: Vec<(&'static str, String)>,
}

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.named.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn of(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    fn add(&mut self, field: &Field, value: &str) {
        let mut text = String::with_capacity(value.len());
        for c in value.chars() {
            if c.is_control() {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        match field.name() {
            "message" => self.message = text,
            name => self.named.push((name, text)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(named: &[(&'static str, &str)]) -> Fields {
        let named = named.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Fields { message: "reloaded".to_owned(), named }
    }

    fn line(words: &Words, in_colour: bool) -> String {
        painted("12:00:00.000Z", Level::INFO, words, in_colour)
    }

    #[test]
    fn a_request_is_one_short_line() {
        let asked = [("request_id", "a-1"), ("method", "POST"), ("route", "/token"), ("micros", "412")];
        let good = request(&fields(&[&asked[..], &[("status", "200"), ("client", "orders")]].concat()));
        assert_eq!(line(&good, false), "12:00:00.000Z  INFO POST /token 200 412 µs orders");
        let refused = [("status", "403"), ("client", "orders"), ("cause", "scope_not_allowed"), ("refused", "a:b")];
        let refused = request(&fields(&[&asked[..], &refused].concat()));
        assert_eq!(line(&refused, false), "12:00:00.000Z  INFO POST /token 403 412 µs orders scope_not_allowed (a:b)");
        assert!(line(&good, true).contains("\x1b[32m200") && line(&refused, true).contains("\x1b[33m403"));
        let odd = request(&fields(&[("method", ""), ("route", ""), ("status", "404"), ("micros", "9")]));
        assert_eq!(line(&odd, false), "12:00:00.000Z  INFO - - 404 9 µs");
    }

    #[test]
    fn ids_of_keys_are_short() {
        let words = [("signing", "0123456789abcdefghij"), ("key", "2026-11-22T00-00-00Z.es256.pem"), ("listen", "a b")];
        let expected =
            "12:00:00.000Z  INFO reloaded signing=0123456789a key=2026-11-22T00-00-00Z.es256.pem listen=\"a b\"";
        assert_eq!(line(&rest(&fields(&words)), false), expected);
    }
}

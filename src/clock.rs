//! Time: [`Timestamp`], seconds since 1970 in UTC, and [`Clock`], the only reader of the system
//! clock. Everything else gets the time as a parameter.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// 9999-12-31T23:59:59Z, the last second of the last four-digit year.
const LAST: i64 = 253_402_300_799;

/// An instant in whole seconds since 1970-01-01T00:00:00Z (RFC 7519
/// `NumericDate` without a fraction), never later than the year 9999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "i64", try_from = "i64")]
pub struct Timestamp(i64);

impl Timestamp {
    /// Returns the instant `seconds` after 1970, clamped to the years 1970 to 9999.
    #[must_use]
    pub fn from_unix(seconds: i64) -> Self {
        Self(seconds.clamp(0, LAST))
    }

    /// Returns the seconds since 1970.
    #[must_use]
    pub fn unix(self) -> i64 {
        self.0
    }

    /// Returns this instant plus `seconds`.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self::from_unix(self.0.saturating_add(seconds))
    }

    /// Returns the seconds from `earlier` to this instant, negative if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Parses an RFC 3339 instant in UTC with whole seconds: `2026-11-22T00:00:00Z`.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let at = Self::try_from(parsed.unix_timestamp()).ok()?;
        (at.rfc3339() == text).then_some(at)
    }

    /// Formats as `2026-11-22T00:00:00Z`.
    #[must_use]
    #[expect(clippy::missing_panics_doc, clippy::expect_used, reason = "an instant is within 1970 and 9999")]
    pub fn rfc3339(self) -> String {
        let written = OffsetDateTime::from_unix_timestamp(self.0).ok().and_then(|at| at.format(&Rfc3339).ok());
        written.expect("a year of four digits")
    }

    /// Formats as `2026-11-22T00:00:00.000Z`, like JavaScript's `Date.prototype.toISOString`, for
    /// the token endpoint.
    #[must_use]
    pub fn iso_millis(self) -> String {
        let mut text = self.rfc3339();
        text.truncate(text.len().saturating_sub(1));
        text.push_str(".000Z");
        text
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl From<Timestamp> for i64 {
    fn from(at: Timestamp) -> Self {
        at.0
    }
}

impl TryFrom<i64> for Timestamp {
    type Error = &'static str;

    fn try_from(seconds: i64) -> Result<Self, Self::Error> {
        if (0..=LAST).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err("an instant between the years 1970 and 9999")
        }
    }
}

/// The source of `now`: the system, or a value that a test sets.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// Returns the system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// Returns a clock that stands at `at` until [`Clock::set`] moves it. Clones share their time.
    #[must_use]
    pub fn manual(at: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at.unix()))))
    }

    /// Moves a manual clock; has no effect on the system's.
    pub fn set(&self, at: Timestamp) {
        if let Some(hand) = &self.0 {
            hand.store(at.unix(), Ordering::SeqCst);
        }
    }

    /// Returns the current second.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Some(hand) => Timestamp::from_unix(hand.load(Ordering::SeqCst)),
            None => system_now(),
        }
    }
}

fn system_now() -> Timestamp {
    Timestamp::from_unix(instant().unix_timestamp())
}

/// Returns the system's time in full precision, for the log.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the system what time it is")]
pub(crate) fn instant() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_the_same_instant() {
        let at = Timestamp::from_unix(1_704_067_200);
        assert_eq!(at.rfc3339(), "2024-01-01T00:00:00Z");
        assert_eq!(at.iso_millis(), "2024-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::parse_rfc3339("2024-01-01T00:00:00Z"), Some(at));
        assert_eq!(Timestamp::from_unix(i64::MAX).rfc3339(), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn refuses_other_spellings_of_an_instant() {
        for text in [
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-01-01t00:00:00z",
            "2024-01-01T00:00:00.5Z",
            "2024-01-01T01:00:00+01:00",
            "2024-02-30T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "1969-12-31T23:59:59Z",
            " 2024-01-01T00:00:00Z",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn arithmetic_never_leaves_the_calendar() {
        let last = Timestamp::from_unix(LAST);
        assert_eq!(last.plus(i64::MAX), last);
        assert_eq!(Timestamp::from_unix(5).plus(i64::MIN).unix(), 0);
        assert_eq!(Timestamp::from_unix(5).since(last), 5 - LAST);
    }
}

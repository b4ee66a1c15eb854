//! The name of a key file, which is the key's schedule.

use std::fmt;
use std::str::FromStr;

use super::Alg;
use crate::clock::Timestamp;

/// `YYYY-MM-DDThh-mm-ssZ.<alg>.pem`: when the key starts to sign, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName {
    /// When the key starts to sign.
    pub from: Timestamp,
    /// What it signs with.
    pub alg: Alg,
}

impl FromStr for KeyName {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "expected a name such as 2026-11-22T00-00-00Z.es256.pem: when the key starts to sign \
                            (UTC), then es256, eddsa or rs256";
        let mut parts = name.split('.');
        let (Some(instant), Some(alg), Some("pem"), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(FORM);
        };
        let alg = Alg::ALL.into_iter().find(|a| a.file_word() == alg).ok_or(FORM)?;
        let (date, time) = instant.split_once('T').ok_or(FORM)?;
        if time.contains(':') {
            return Err(FORM);
        }
        let from = Timestamp::parse_rfc3339(&format!("{date}T{}", time.replace('-', ":"))).ok_or(FORM)?;
        Ok(Self { from, alg })
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.pem", self.from.rfc3339().replace(':', "-"), self.alg.file_word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in
            ["2026-11-22T00-00-00Z.es256.pem", "2026-11-22T23-59-59Z.eddsa.pem", "1970-01-01T00-00-00Z.rs256.pem"]
        {
            assert_eq!(text.parse::<KeyName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_every_other_form() {
        for text in [
            "a.pem",
            ".pem",
            "2026-11-22.es256.pem",
            "2026-11-22T00:00:00Z.es256.pem",
            "2026-11-22T00-00-00.es256.pem",
            "2026-11-22T00-00-00Z.ES256.pem",
            "2026-11-22T00-00-00Z.pem",
            "2026-11-22T00-00-00Z.es384.pem",
            "2026-11-22T00-00-00Z.es256.old.pem",
            "2026-02-30T00-00-00Z.es256.pem",
            "2026-11-22T24-00-00Z.es256.pem",
            "2026-11-22t00-00-00z.es256.pem",
            "2026-11-22T00-00-00Z.es256.PEM",
            "2026-11-22T00-00-00.5Z.es256.pem",
            "1969-11-22T00-00-00Z.es256.pem",
            "2026-11-22T00-00-00+00-00.es256.pem",
        ] {
            assert!(text.parse::<KeyName>().is_err(), "{text}");
        }
    }
}

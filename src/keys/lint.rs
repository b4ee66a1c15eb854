//! The linter: what a schedule, or a change to it, would break, and for whom.
//!
//! The caller decides what follows: the command line refuses what [`Gravity::Breaks`],
//! while a running server warns and continues, because a refusal would not help then.

use std::fmt;

use super::files::MAX_KEYS;
use super::keyring::Entry;
use super::{Key, KeyName, KeyRing, Kid};
use crate::clock::Timestamp;

/// How far back a new key may be dated, in seconds: the time its file may take to
/// arrive. It signs before verifiers can know it.
pub(super) const LATE: i64 = 60;
/// How far the clock may be from the newest key, in days. A yearly rotation stays within it.
pub(super) const FAR: i64 = 400;
pub(super) const DAY: i64 = 86_400;

/// What follows from a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gravity {
    /// It is not applied: a running server keeps its old keys.
    Refused,
    /// Tokens or verifiers would fail: the command line refuses, and a running server warns.
    Breaks,
    /// It may be intended: both warn.
    Odd,
}

/// What is wrong with a schedule, what would happen to whom, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What follows.
    pub gravity: Gravity,
    /// One sentence or two.
    pub message: String,
    /// When the harm ends; None if it lasts until somebody acts.
    pub until: Option<Timestamp>,
}

impl Finding {
    fn refused(message: String) -> Self {
        Self { gravity: Gravity::Refused, message, until: None }
    }

    fn breaks(message: String, until: impl Into<Option<Timestamp>>) -> Self {
        Self { gravity: Gravity::Breaks, message, until: until.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl KeyRing {
    /// Returns what would happen if these keys replaced `old` at `now`. Verifiers may
    /// cache the JWKS of `old` for `jwks_max_age` seconds.
    #[must_use]
    pub fn replacing(&self, old: &Self, jwks_max_age: i64, now: Timestamp) -> Vec<Finding> {
        let here = self.entries.iter().map(|entry| (entry.key.name(), entry.key.kid()));
        let all = here.chain(self.retired.iter().map(|(name, kid)| (*name, kid)));
        let news = all.filter(|(_, kid)| !old.knows(kid)).map(|(name, _)| name);
        // A new folder has no history to respect.
        let anew = !old.entries.iter().any(|entry| self.knows(entry.key.kid()));
        let mut findings: Vec<_> = news.filter_map(|name| self.arrival(name, jwks_max_age, now, anew)).collect();
        if !anew {
            findings.extend(self.steps_back(old, now));
        }
        findings.extend(old.entries.iter().filter_map(|before| self.signs_again(&before.key, now)));
        let could_have_signed = old.entries.iter().filter(|entry| entry.key.name().from <= now);
        findings.extend(could_have_signed.filter_map(|entry| self.cut_short(old, entry, now)));
        findings
    }

    /// Returns the ids that `old` counts as revoked and these keys do not, although they hold the key.
    pub fn unrevoked<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = &'a Kid> {
        let here = |kid: &Kid| {
            let held = self.entries.iter().map(|entry| entry.key.kid());
            held.chain(self.retired.iter().map(|(_, kid)| kid)).any(|one| one == kid)
        };
        old.plan.revoked.iter().filter(move |kid| !self.plan.revoked.contains(kid) && here(kid))
    }

    /// Remembers the keys that `old` had and these do not: one that is put back is not new.
    pub fn remember(&mut self, old: &Self) {
        let gone = old.entries.iter().map(|entry| entry.key.kid()).filter(|kid| !self.knows(kid));
        let mut departed: Vec<_> = gone.chain(&old.departed).cloned().collect();
        departed.truncate(MAX_KEYS);
        self.departed = departed;
    }

    /// Returns what is wrong with the schedule itself at `now`: a clock that cannot be right.
    #[must_use]
    pub fn doubts(&self, now: Timestamp) -> Vec<Finding> {
        let days = |key: &Key| key.name().from.since(now) / DAY;
        let doubt = |key: &Key| match days(key) {
            ahead if ahead > FAR => Some(format!(
                "{} starts to sign {ahead} days after what this machine's clock says ({now}): set the clock, or rename \
                 the key",
                key.name()
            )),
            ahead if ahead < -FAR => Some(format!(
                "the newest key, {}, is {} days older than what this machine's clock says ({now}): with a clock that \
                 is ahead, every verifier refuses new tokens, and keys are pruned that still verify; set the clock, or \
                 if it is right, rotate with `lingpai keys new --at INSTANT`",
                key.name(),
                -ahead
            )),
            _ => None,
        };
        self.entries
            .last()
            .and_then(|newest| doubt(&newest.key))
            .map(|message| Finding::breaks(message, None))
            .into_iter()
            .collect()
    }

    /// Returns the keys that were written too late for verifiers, judging by when each
    /// file was `written`.
    pub fn published_late(
        &self,
        written: impl Iterator<Item = (KeyName, Timestamp)>,
        jwks_max_age: i64,
        now: Timestamp,
    ) -> Vec<Finding> {
        let late = |(name, written): (KeyName, Timestamp)| {
            let takes_over = self.of(name.alg).any(|entry| entry.key.name().from < name.from);
            let lead = name.from.since(written);
            (self.uses(name.alg) && takes_over && name.from > now && lead < jwks_max_age).then(|| {
                let message = format!(
                    "{name} was written at {written}, {lead} s before it signs, and verifiers may keep the keys without \
                     it for {jwks_max_age} s: they refuse its tokens until then; rename it to a later instant, unless \
                     the file is a copy of one that was published in time"
                );
                Finding::breaks(message, written.plus(jwks_max_age))
            })
        };
        written.filter_map(late).collect()
    }

    fn knows(&self, kid: &Kid) -> bool {
        let here = self.entries.iter().map(|entry| &entry.key).chain(&self.revoked).map(Key::kid);
        let gone = self.retired.iter().map(|(_, kid)| kid).chain(&self.departed);
        here.chain(gone).chain(&self.plan.revoked).any(|known| known == kid)
    }

    fn arrival(&self, name: KeyName, jwks_max_age: i64, now: Timestamp, anew: bool) -> Option<Finding> {
        let lead = name.from.since(now);
        if lead < -LATE && !anew {
            return Some(Finding::refused(format!(
                "{name} is new, and dated more than {LATE} s back: a new key must start at a future instant, so that \
                 verifiers learn of it first; delete it, here and where it was made, and make another with \
                 `lingpai keys rotate`, in an emergency with --now --in 6m; or rename it everywhere to a future instant"
            )));
        }
        (lead < jwks_max_age && self.uses(name.alg)).then(|| {
            let when = if lead > 0 { format!("in {lead} s") } else { "at once".to_owned() };
            let message = format!(
                "{name} is new and signs {when}, and verifiers may keep the keys without it for {jwks_max_age} s: until \
                 then they refuse its tokens; publish a key at least {jwks_max_age} s before it signs"
            );
            Finding::breaks(message, now.plus(jwks_max_age))
        })
    }

    /// A replaced key must not sign again, unless its successor is revoked.
    fn steps_back(&self, old: &Self, now: Timestamp) -> Option<Finding> {
        self.plan.algorithms.iter().find_map(|alg| {
            let (before, after) = (old.signer(*alg, now)?, self.signer(*alg, now)?);
            if after.name().from >= before.name().from || after.kid() == before.kid() {
                return None;
            }
            if self.plan.revoked.contains(before.kid()) {
                let message = format!(
                    "{} is revoked, and {} signs again in its place, which verifiers may have forgotten: make a new key \
                     first, with `lingpai keys rotate --now`, and revoke then",
                    before.name(),
                    after.name()
                );
                return Some(Finding { gravity: Gravity::Odd, message, until: None });
            }
            Some(Finding::refused(format!(
                "without {}, which signs now, {} would sign again, which verifiers may have forgotten: put it back, or \
                 name its kid {} in [keys] revoked if it was stolen",
                before.name(),
                after.name(),
                before.kid()
            )))
        })
    }

    /// A key that has signed must not be renamed to sign again.
    fn signs_again(&self, before: &Key, now: Timestamp) -> Option<Finding> {
        let name = self.entry(before.kid())?.key.name();
        (before.name().from <= now && name.from > now).then(|| {
            let message = format!(
                "{} has signed and is renamed {name}, to sign once more, when verifiers may have forgotten it: make a new \
                 key instead, with `lingpai keys rotate`",
                before.name()
            );
            Finding::breaks(message, name.from)
        })
    }

    fn entry(&self, kid: &Kid) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key.kid() == kid)
    }

    /// Whether tokens signed by the key `before` of `old` would outlive it.
    fn cut_short(&self, old: &Self, before: &Entry, now: Timestamp) -> Option<Finding> {
        let name = before.key.name();
        if self.plan.revoked.contains(before.key.kid()) {
            return None;
        }
        // Its last token was signed now, or at its successor's instant.
        let last = before.until.map_or(now, |until| until.min(now));
        let ends = last.plus(old.longest_window());
        if ends <= now {
            return None;
        }
        let Some(after) = self.entry(before.key.kid()) else {
            let message = format!(
                "{name} is gone, and tokens that it signed last until {ends}: they are refused from now on; put it back, \
                 and let `lingpai keys prune` delete it in time"
            );
            return Some(Finding::breaks(message, ends));
        };
        let windows = [
            ("access", old.plan.access_window, self.plan.access_window),
            ("refresh", old.plan.refresh_window, self.plan.refresh_window),
        ];
        windows.into_iter().find_map(|(kind, was, is)| {
            let (tokens_end, key_ends) = (last.plus(was), after.until?.plus(is));
            if tokens_end <= now || key_ends >= tokens_end {
                return None;
            }
            let message = if was == is {
                let late = tokens_end.since(key_ends);
                format!(
                    "{name} has signed for {late} s after its successor's instant, because that came late: {kind} tokens \
                     of these seconds are refused {late} s before they end"
                )
            } else {
                format!(
                    "the {kind} lifetime is lowered while {kind} tokens of {name} live until {tokens_end}, and now it \
                     verifies them only until {key_ends}: from then on they are refused; lower lifetimes when no key is \
                     replaced within the old one, or keep the old value until {tokens_end}"
                )
            };
            Some(Finding::breaks(message, tokens_end))
        })
    }
}

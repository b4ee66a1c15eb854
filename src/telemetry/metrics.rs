//! Metrics: every name and label in one place, in Prometheus' text format.
//!
//! Every name begins with `lingpai_`. Labels come from closed sets, never from what
//! a caller sent.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::clock::Timestamp;

/// Upper bounds of the buckets in seconds. A signature takes tens of microseconds.
const BUCKETS: [f64; 9] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.25, 5.0];

/// What is reloaded independently: the configuration with the keys, the TLS identity, and the list of revocations.
pub const RELOAD_PARTS: [&str; 3] = ["configuration", "tls", "revocations"];

/// What the ops listener's `/metrics` shows.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    tokens: IntCounterVec,
    refusals: IntCounterVec,
    hits: IntCounter,
    misses: IntCounter,
    proofs: IntCounterVec,
    shed: IntCounter,
    handshake_failures: IntCounterVec,
    log_lines_dropped: IntGauge,
    reloads: IntCounter,
    reload_failures: IntCounterVec,
    reload_successful: IntGauge,
    warnings: IntGauge,
    keys: IntGaugeVec,
    newest_key: IntGaugeVec,
    keys_digest: IntGauge,
    configuration_digest: IntGauge,
    issuer_keys_age: IntGaugeVec,
    /// Where there is no list, there are none of these.
    revocations: OnceLock<RevocationMetrics>,
}

struct RevocationMetrics {
    entries: IntGaugeVec,
    newest: IntGauge,
    digest: IntGauge,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let gauge = |name, help| registered(&registry, IntGauge::new(name, help));
        let counter = |name, help| registered(&registry, IntCounter::new(name, help));
        let build = Opts::new("lingpai_build_info", "1, with the version as a label.");
        let build = build.const_label("version", env!("CARGO_PKG_VERSION"));
        registered(&registry, IntGauge::with_opts(build)).set(1);
        let requests = Opts::new("lingpai_requests_total", "Requests by route, method and status.");
        let durations = HistogramOpts::new(
            "lingpai_request_duration_seconds",
            "From the head of a request to its answer, by route and method.",
        );
        let durations = durations.buckets(BUCKETS.to_vec());
        let tokens = Opts::new(
            "lingpai_tokens_total",
            "Tokens by what was done and through which dialect: issued, refreshed, access tokens verified.",
        );
        let refusals =
            Opts::new("lingpai_refusals_total", "Requests that were refused, by the reason that the log has.");
        let lookups = Opts::new(
            "lingpai_cache_lookups_total",
            "Access tokens that were looked for among those found good before: hits need no signature.",
        );
        let handshakes = Opts::new(
            "lingpai_tls_handshake_failures_total",
            "TLS handshakes that failed, by the reason that the log has.",
        );
        let proofs = Opts::new(
            "lingpai_dpop_proofs_total",
            "DPoP proofs by what became of them: accepted, refused, nonce_needed, replayed, limited (no room for the client).",
        );
        let keys = Opts::new("lingpai_keys", "Keys by what they do now.");
        let reload_failures = Opts::new(
            "lingpai_reload_failures_total",
            "Reloads that were refused, by part: configuration (with the keys), tls, revocations. The part that was loaded before stays.",
        );
        let newest_key = Opts::new(
            "lingpai_newest_key_start_timestamp_seconds",
            "When the newest key of an algorithm that signs starts to sign, or did.",
        );
        let issuer_keys_age = Opts::new(
            "lingpai_issuer_keys_age_seconds",
            "How long ago an issuer's keys were fetched, where they were.",
        );
        let lookups = registered(&registry, IntCounterVec::new(lookups, &["result"]));
        let metrics = Self {
            requests: registered(&registry, IntCounterVec::new(requests, &["route", "method", "status"])),
            durations: registered(&registry, HistogramVec::new(durations, &["route", "method"])),
            tokens: registered(&registry, IntCounterVec::new(tokens, &["event", "dialect"])),
            refusals: registered(&registry, IntCounterVec::new(refusals, &["reason"])),
            hits: lookups.with_label_values(&["hit"]),
            misses: lookups.with_label_values(&["miss"]),
            proofs: registered(&registry, IntCounterVec::new(proofs, &["result"])),
            shed: counter(
                "lingpai_requests_shed_total",
                "Requests that were refused, with 503 or REFUSED_STREAM, because more came than could be answered; counted nowhere else.",
            ),
            handshake_failures: registered(&registry, IntCounterVec::new(handshakes, &["reason"])),
            log_lines_dropped: gauge(
                "lingpai_log_lines_dropped",
                "Lines of the log that nobody read in time, or that could not be written, since the start.",
            ),
            reloads: counter("lingpai_reloads_total", "Reloads of configuration and keys that were applied."),
            reload_failures: registered(&registry, IntCounterVec::new(reload_failures, &["part"])),
            reload_successful: gauge(
                "lingpai_last_reload_successful",
                "Whether what is in the files now is what the server works with: 1, or 0 while a reload is refused.",
            ),
            issuer_keys_age: registered(&registry, IntGaugeVec::new(issuer_keys_age, &["issuer"])),
            warnings: gauge(
                "lingpai_warnings",
                "Warnings about the configuration and the keys in force; the log has them.",
            ),
            keys: registered(&registry, IntGaugeVec::new(keys, &["state"])),
            newest_key: registered(&registry, IntGaugeVec::new(newest_key, &["alg"])),
            keys_digest: gauge(
                "lingpai_keys_digest",
                "The first 48 bits of the digest of the key set: replicas that differ have other keys.",
            ),
            configuration_digest: gauge(
                "lingpai_configuration_digest",
                "The first 48 bits of the digest of the configuration without secrets: replicas that differ apply another.",
            ),
            revocations: OnceLock::new(),
            registry,
        };
        metrics.reload_successful.set(1);
        for part in RELOAD_PARTS {
            metrics.reload_failures.with_label_values(&[part]);
        }
        for result in ["accepted", "refused", "nonce_needed", "replayed", "limited"] {
            metrics.proofs.with_label_values(&[result]);
        }
        for event in [Event::Issued, Event::Refreshed, Event::Verified] {
            for dialect in ["native", "oauth2"] {
                metrics.tokens.with_label_values(&[event.word(), dialect]);
            }
        }
        metrics
    }
}

/// What was done with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A pair began a session.
    Issued,
    /// A pair continued one.
    Refreshed,
    /// An access token was found good.
    Verified,
}

impl Event {
    fn word(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Refreshed => "refreshed",
            Self::Verified => "verified",
        }
    }
}

impl Metrics {
    /// Counts an answered request. An unknown route or method is `other`.
    pub fn answered(&self, route: &str, method: &str, status: &str, took: Duration, cause: Option<&str>) {
        let (route, method) = (or_other(route), or_other(method));
        self.requests.with_label_values(&[route, method, status]).inc();
        self.durations.with_label_values(&[route, method]).observe(took.as_secs_f64());
        if let Some(cause) = cause {
            self.refusals.with_label_values(&[cause]).inc();
        }
    }

    /// Counts a lookup in the cache of verified tokens.
    pub fn looked_up(&self, found: bool) {
        let counter = if found { &self.hits } else { &self.misses };
        counter.inc();
    }

    /// Counts what became of a proof.
    pub fn proof(&self, result: &'static str) {
        self.proofs.with_label_values(&[result]).inc();
    }

    /// Counts a request refused because of overload, or because too many are in flight.
    pub fn shed(&self) {
        self.shed.inc();
    }

    /// Counts a TLS handshake that failed for this reason, a word of a closed set.
    pub fn handshake_failed(&self, reason: &'static str) {
        self.handshake_failures.with_label_values(&[reason]).inc();
    }

    /// Counts what was done with a token, in this dialect.
    pub fn token(&self, event: Event, dialect: &'static str) {
        self.tokens.with_label_values(&[event.word(), dialect]).inc();
    }

    /// What was loaded is in force.
    pub fn loaded(&self, keys_digest: &[u8; 32], configuration_digest: &[u8; 32]) {
        self.keys_digest.set(first_48_bits(keys_digest));
        self.configuration_digest.set(first_48_bits(configuration_digest));
    }

    /// A list of revocations is in force, with so many entries of each kind, which was written at `newest`.
    pub fn revocations(
        &self,
        counts: impl Iterator<Item = (&'static str, usize)>,
        newest: Option<Timestamp>,
        digest: &[u8; 32],
    ) {
        let metrics = self.revocations.get_or_init(|| {
            let gauge = |name, help| registered(&self.registry, IntGauge::new(name, help));
            let entries = Opts::new("lingpai_revocations", "Entries of the list of revocations in force, by kind.");
            RevocationMetrics {
                entries: registered(&self.registry, IntGaugeVec::new(entries, &["kind"])),
                newest: gauge(
                    "lingpai_revocations_newest_timestamp_seconds",
                    "When the newest file of the list of revocations in force was written; 0 if it has gone.",
                ),
                digest: gauge(
                    "lingpai_revocations_digest",
                    "The first 48 bits of the digest of the list of revocations: replicas that differ obey another.",
                ),
            }
        });
        for (kind, count) in counts {
            metrics.entries.with_label_values(&[kind]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        metrics.newest.set(newest.map_or(0, Timestamp::unix));
        metrics.digest.set(first_48_bits(digest));
    }

    /// A reload was applied.
    pub fn reloaded(&self) {
        self.reloads.inc();
    }

    /// Sets whether the files' current content is in force.
    pub fn in_force(&self, all: bool) {
        self.reload_successful.set(all.into());
    }

    /// A reload of this part, one of [`RELOAD_PARTS`], was refused.
    pub fn reload_refused(&self, part: &'static str) {
        self.reload_failures.with_label_values(&[part]).inc();
    }

    /// Sets, for each issuer of the configuration, how many seconds ago its keys were fetched, if they ever were.
    pub fn issuer_keys<'a>(&self, ages: impl Iterator<Item = (&'a str, Option<i64>)>) {
        self.issuer_keys_age.reset();
        for (issuer, age) in ages {
            if let Some(age) = age {
                self.issuer_keys_age.with_label_values(&[issuer]).set(age);
            }
        }
    }

    /// Returns all metrics as text, with the number of keys in each state, the start of each algorithm's
    /// newest key if it signs, and the number of warnings.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        clippy::expect_used,
        reason = "each family has a name and a sample, which is all that is asked of it"
    )]
    pub fn text(
        &self,
        keys_by_state: &[(&'static str, usize)],
        newest_by_alg: &[(&'static str, Option<i64>)],
        warnings: usize,
    ) -> String {
        self.warnings.set(i64::try_from(warnings).unwrap_or(i64::MAX));
        self.log_lines_dropped.set(i64::try_from(super::lines::lost()).unwrap_or(i64::MAX));
        for (state, count) in keys_by_state {
            self.keys.with_label_values(&[*state]).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        for (alg, newest) in newest_by_alg {
            match newest {
                Some(from) => self.newest_key.with_label_values(&[*alg]).set(*from),
                // A missing one is no error.
                None => _ = self.newest_key.remove_label_values(&[*alg]),
            }
        }
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("metrics")
    }
}

fn or_other(word: &str) -> &str {
    if word.is_empty() { "other" } else { word }
}

/// Only a duplicate or malformed name can be refused, and all names are above.
fn registered<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let registered = made.and_then(|metric| registry.register(Box::new(metric.clone())).map(|()| metric));
    #[expect(clippy::expect_used, reason = "a test makes the metrics, so a wrong name never leaves this house")]
    registered.expect("a metric's name is well formed and used once")
}

/// As many bits as a Prometheus sample represents exactly.
fn first_48_bits(digest: &[u8; 32]) -> i64 {
    digest.iter().take(6).fold(0, |number, byte| number << 8 | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_ours_and_has_a_help() {
        let metrics = Metrics::default();
        metrics.loaded(&[0xff; 32], &[1; 32]);
        metrics.reload_refused("tls");
        metrics.in_force(false);
        let text = metrics.text(&[("signing", 1), ("upcoming", 0)], &[("ES256", Some(7)), ("RS256", None)], 2);
        assert!(
            text.lines()
                .all(|line| line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ").starts_with("lingpai_"))
        );
        for line in [
            "lingpai_keys_digest 281474976710655",
            "lingpai_configuration_digest 1103823438081",
            "lingpai_keys{state=\"signing\"} 1",
            "lingpai_keys{state=\"upcoming\"} 0",
            "lingpai_newest_key_start_timestamp_seconds{alg=\"ES256\"} 7",
            "lingpai_reload_failures_total{part=\"configuration\"} 0",
            "lingpai_reload_failures_total{part=\"tls\"} 1",
            "lingpai_last_reload_successful 0",
            "lingpai_warnings 2",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}

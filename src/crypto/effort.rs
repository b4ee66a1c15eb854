//! Counts the signature checks of this thread, for tests that compare costs without a clock.

use std::cell::Cell;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

thread_local! {
    static CHECKED: Cell<usize> = const { Cell::new(0) };
}

/// Counts one check.
pub(crate) fn count() {
    CHECKED.set(CHECKED.get() + 1);
}

/// Returns the result of `work` and how many signatures it checked on this thread.
pub(crate) fn of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = CHECKED.get();
    let made = work();
    (made, CHECKED.get() - before)
}

/// Returns the algorithms that check certificates' signatures, so that each check counts. Leaks a few words.
pub(crate) fn counted(algorithms: WebPkiSupportedAlgorithms) -> WebPkiSupportedAlgorithms {
    let counted = |one: &&'static _| &*Box::leak(Box::new(Counted(*one))) as &dyn SignatureVerificationAlgorithm;
    let all: Vec<_> = algorithms.all.iter().map(counted).collect();
    WebPkiSupportedAlgorithms { all: all.leak(), ..algorithms }
}

#[derive(Debug)]
struct Counted(&'static dyn SignatureVerificationAlgorithm);

impl SignatureVerificationAlgorithm for Counted {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        count();
        self.0.verify_signature(key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.0.signature_alg_id()
    }
}
